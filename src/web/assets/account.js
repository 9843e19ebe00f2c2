// What is one's own: uploads, API tokens, quotas.

import { call, get, part } from "./api.js";
import { add, bytes, confirmed, fill, grid, h, labelled, section, toast, when } from "./dom.js";
import { quotaTable } from "./quotas.js";

const SCOPES = ["all", "read", "sessions", "batches", "tokens"];
const PAGE = 100;

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
        grid("Files", ["Name", "Size", "URI", ""], list));
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
        grid("API tokens", ["Name", "Owner", "May", "Made", "Expires", ""], list));
}

function quotasOf(tell, signal) {
    const place = h("div", { class: "stack" });
    get("/quotas", { size: PAGE }, signal).then(({ quotas, total }) => {
        fill(place, quotaTable(quotas), total > PAGE && h("p", { class: "quiet" }, `The first ${PAGE} of ${total}.`));
    }).catch(tell);
    return section("Quotas", place);
}

export function account(place, _, signal) {
    const tell = (error) => { if (!signal.aborted) toast(error.message, true); };
    add(place, [h("h1", null, "Account"), uploadsOf(tell), tokensOf(tell), quotasOf(tell, signal)]);
}
