// What is one's own: uploads, API tokens, quotas; for administrators everybody's quotas, which they change here.

import { call, get, part } from "./api.js";
import { add, bytes, confirmed, fill, h, labelled, section, toast, when } from "./dom.js";

const AMOUNTS = [["sessions", "Sessions"], ["batches", "Batches"], ["queued", "Waiting"], ["cores", "Cores"], ["memory", "Memory", bytes], ["gpus", "GPUs"],
    ["uploads", "Uploads", bytes], ["statementsPerMinute", "Statements a minute"]];
const SCOPES = ["all", "read", "sessions", "batches", "tokens"];
const PAGE = 100;

/** Usage and limits of each quota; `change` gets one that an administrator wants to change. */
export function quotaTable(quotas, change) {
    const cell = (quota, key, write = String) => {
        const [used, limit] = [quota.usage[key], quota.limits[key]];
        if (used === null && limit === null) return "–";
        const shown = `${used === null ? "" : write(used)}${limit === null ? "" : ` of ${write(limit)}`}`.trim();
        const isFull = limit !== null && used !== null && used >= limit && limit > 0;
        return h("span", { class: isFull ? "full" : undefined }, shown, limit > 0 && used !== null && h("progress", { max: limit, value: Math.min(used, limit), "aria-hidden": "true" }));
    };
    return h("div", { class: "scroll" }, h("table", null,
        h("thead", null, h("tr", null, h("th", { scope: "col" }, "User"), AMOUNTS.map(([, name]) => h("th", { scope: "col" }, name)), change && h("th", { scope: "col" }, h("span", { class: "unseen" }, "Change")))),
        h("tbody", null, quotas.map((quota) => h("tr", null,
            h("th", { scope: "row" }, quota.user ?? "everybody", quota.quota && h("small", null, ` ${quota.quota}${quota.together ? ", together" : ""}`)),
            AMOUNTS.map(([key, , write]) => h("td", null, cell(quota, key, write))),
            change && h("td", null, quota.user && h("button", { onclick: () => change(quota) }, "Change")))))));
}

function uploadsOf(tell) {
    const list = h("tbody");
    const file = h("input", { type: "file", required: true, multiple: true });
    const bar = h("progress", { hidden: true, "aria-label": "Sending" });
    const load = async () => {
        const { uploads, total } = await get("/uploads", { size: PAGE });
        fill(list, uploads.map((upload) => h("tr", null, h("th", { scope: "row" }, upload.name), h("td", { class: "number" }, bytes(upload.size)), h("td", null, h("code", { class: "uri" }, upload.uri)),
            h("td", null, h("button", { "aria-label": `Delete ${upload.name}`, onclick: () => call("DELETE", `/uploads/${part(upload.id)}`).then(load).catch(tell) }, "Delete")))),
        total > PAGE && h("tr", null, h("td", { colspan: 4 }, `The first ${PAGE} of ${total}.`)));
    };
    const send = async (event) => {
        event.preventDefault();
        bar.hidden = false;
        try {
            for (const one of file.files) {
                const body = new FormData();
                body.append("file", one, one.name);
                await call("POST", "/uploads", { body });
            }
            file.value = "";
            await load();
        } catch (error) {
            tell(error);
        } finally {
            bar.hidden = true;
        }
    };
    load().catch(tell);
    return section("Files", h("form", { class: "row bottom", onsubmit: send }, labelled("Files to send", file), h("button", { class: "primary" }, "Send"), bar),
        h("div", { class: "scroll" }, h("table", null, h("thead", null, h("tr", null, ["Name", "Size", "URI", ""].map((name) => h("th", { scope: "col" }, name)))), list)));
}

function tokensOf(tell) {
    const list = h("tbody");
    const made = h("div", { role: "status" });
    const name = h("input", { autocomplete: "off", placeholder: "nightly" });
    const scopes = h("select", null, SCOPES.map((one) => h("option", { value: one }, one)));
    const age = h("input", { autocomplete: "off", placeholder: "30d" });
    const load = async () => {
        const { tokens } = await get("/tokens", { size: PAGE });
        fill(list, tokens.map((token) => h("tr", null, h("th", { scope: "row" }, token.name ?? token.id), h("td", null, token.owner ?? ""), h("td", null, [token.scopes].flat().join(", ")), h("td", null, when(token.created)), h("td", null, when(token.expires)),
            h("td", null, h("button", { "aria-label": `Revoke ${token.name ?? token.id}`, onclick: () => revoke(token) }, "Revoke")))));
    };
    const revoke = async (token) => {
        if (await confirmed(`Revoke the token ${token.name ?? token.id}? What uses it is refused from now on.`, "Revoke")) {
            await call("DELETE", `/tokens/${part(token.id)}`).then(load).catch(tell);
        }
    };
    const create = async (event) => {
        event.preventDefault();
        try {
            const body = { name: name.value || undefined, scopes: [scopes.value], expiresIn: age.value || undefined };
            const { token } = await call("POST", "/tokens", { body });
            fill(made, h("p", { class: "notice" }, "The token, which is shown only now: ", h("code", { class: "uri" }, token)));
            name.value = "";
            await load();
        } catch (error) {
            tell(error);
        }
    };
    load().catch(tell);
    return section("API tokens", h("form", { class: "row bottom", onsubmit: create }, labelled("Name", name), labelled("May", scopes), labelled("Lasts", age), h("button", { class: "primary" }, "Make a token")), made,
        h("div", { class: "scroll" }, h("table", null, h("thead", null, h("tr", null, ["Name", "Owner", "May", "Made", "Expires", ""].map((one) => h("th", { scope: "col" }, one)))), list)));
}

function quotasOf(tell, signal) {
    const place = h("div");
    const load = async () => {
        const [{ quotas, total }, isAdmin] = await Promise.all([get("/quotas", { size: PAGE }, signal), get("/pool", null, signal).then(() => true, () => false)]);
        fill(place, quotaTable(quotas, isAdmin && change), total > PAGE && h("p", { class: "quiet" }, `The first ${PAGE} of ${total}.`), isAdmin && quotas.some((quota) => quota.user) && other());
    };
    const other = () => {
        const user = h("input", { required: true, autocomplete: "off", autocapitalize: "none" });
        return h("form", { class: "row bottom", onsubmit: (event) => { event.preventDefault(); change({ user: user.value.trim(), changed: null }); } }, labelled("Another user", user), h("button", null, "Change"));
    };
    const change = (quota) => {
        const fields = AMOUNTS.map(([key, label, write]) => {
            const now = quota.changed?.[key];
            const field = h("input", { autocomplete: "off", value: now === null || now === undefined ? "" : now, placeholder: write ? "64GiB" : "as configured" });
            return [key, field, labelled(label, field)];
        });
        const save = async (event) => {
            event.preventDefault();
            const body = {};
            for (const [key, field] of fields) {
                const given = field.value.trim();
                if (given) body[key] = ["memory", "uploads"].includes(key) && !/^\d+$/.test(given) ? given : /^\d+$/.test(given) && ["memory", "uploads"].includes(key) ? `${given}B` : given;
            }
            try {
                await call("PUT", `/quotas/${part(quota.user)}`, { body });
                dialog.close();
                await load();
            } catch (error) {
                tell(error);
            }
        };
        const dialog = h("dialog", { "aria-label": `Quota of ${quota.user}`, onclose: () => dialog.remove() }, h("form", { onsubmit: save }, h("h2", null, `Quota of ${quota.user}`),
            h("p", { class: "quiet" }, "Empty: as the configuration says. 0: no limit."), h("div", { class: "grid" }, fields.map(([, , field]) => field)),
            h("div", { class: "row end" }, h("button", { type: "button", onclick: () => dialog.close() }, "Keep"), h("button", { class: "primary" }, "Save"))));
        document.body.append(dialog);
        dialog.showModal();
    };
    load().catch(tell);
    return section("Quotas", place);
}

export function account(place, _, signal) {
    const tell = (error) => { if (!signal.aborted) toast(error.message, true); };
    add(place, [h("h1", null, "Account"), uploadsOf(tell), tokensOf(tell), quotasOf(tell, signal)]);
}
