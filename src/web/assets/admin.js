// What administrators see and do: the drain, everybody's usage and limits, who did what.

import { call, get, isAdmin, part } from "./api.js";
import { add, badge, bytes, confirmed, fill, grid, h, labelled, section, toast, when } from "./dom.js";
import { AMOUNTS, quotaTable } from "./quotas.js";

const PAGE = 100;
const LINES = 200;

function drainOf(tell, signal) {
    const place = h("div", { class: "row", id: "drain" });
    const show = ({ draining }) => fill(place, draining ? badge("draining") : badge("available"),
        h("span", null, draining ? "New sessions and batches are refused. What is there goes on." : "New sessions and batches are taken."), h("span", { class: "grow" }),
        h("button", { class: draining ? "primary" : "danger", onclick: () => change(!draining) }, draining ? "Take new ones again" : "Drain"));
    const change = async (draining) => {
        if (draining && !(await confirmed("Drain the server? It refuses new sessions and batches until you end it, or it is restarted.", "Drain it"))) return;
        await call("PUT", "/drain", { body: { draining } }).then(show).catch(tell);
        place.querySelector("button")?.focus();
    };
    get("/drain", null, signal).then(show).catch(tell);
    return section("Drain", place);
}

function quotasOf(tell, signal) {
    const place = h("div", { class: "stack" });
    const load = async () => {
        const { quotas, total } = await get("/quotas", { size: PAGE }, signal);
        fill(place, quotaTable(quotas, change), total > PAGE && h("p", { class: "quiet" }, `The first ${PAGE} of ${total}.`), quotas.some((quota) => quota.user) && other());
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
                // A number of bytes needs its unit.
                if (given) body[key] = ["memory", "uploads"].includes(key) && /^\d+$/.test(given) ? `${given}B` : given;
            }
            try {
                await call("PUT", `/quotas/${part(quota.user)}`, { body });
                dialog.close();
                await load();
            } catch (error) {
                tell(error);
            }
        };
        const dialog = h("dialog", { class: "broad", "aria-label": `Quota of ${quota.user}`, onclose: () => dialog.remove() }, h("form", { onsubmit: save }, h("h2", null, `Quota of ${quota.user}`),
            h("p", { class: "quiet" }, "Empty: as the configuration says. 0: no limit."), h("div", { class: "grid" }, fields.map(([, , field]) => field)),
            h("div", { class: "row end" }, h("button", { type: "button", onclick: () => dialog.close() }, "Keep"), h("button", { class: "primary" }, "Save"))));
        document.body.append(dialog);
        dialog.showModal();
    };
    load().catch(tell);
    return section("Usage and limits", place);
}

function auditOf(tell, signal) {
    let entries = [];
    const list = h("tbody");
    const told = h("span", { class: "quiet", role: "status" });
    const filter = h("input", { type: "search", placeholder: "Filter: words", "aria-label": "Filter the audit log", oninput: () => draw() });
    const of = (entry) => ["session", "batch", "statement", "named"].filter((key) => entry[key] !== undefined).map((key) => `${key} ${entry[key]}`).join(", ");
    const draw = () => {
        const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
        const shown = entries.filter(({ text }) => words.every((word) => text.includes(word)));
        told.textContent = words.length ? `${shown.length} of ${entries.length}` : `the last ${entries.length}`;
        fill(list, shown.map(({ entry }) => h("tr", null, h("td", null, when(entry.time)),
            entry.missing !== undefined ? h("td", { colspan: 6 }, `${entry.missing} are missing`) : [
                h("td", null, entry.user ?? "–", entry.acting_as && h("small", null, ` as ${entry.acting_as}`)), h("td", null, entry.from ?? ""), h("td", null, `${entry.method ?? ""} ${entry.route ?? ""}`),
                h("td", null, of(entry)), h("td", null, entry.allowed === false ? h("span", { class: "badge s-dead" }, "refused") : "allowed"), h("td", { class: "number" }, entry.status)])));
    };
    const load = async () => {
        const answer = await get("/audit", { size: LINES }, signal);
        entries = answer.entries.map((entry) => ({ entry, text: JSON.stringify(entry).toLowerCase() }));
        if (answer.on) draw();
        else fill(place, h("p", { class: "quiet" }, "There is no audit log: audit.file names none."));
    };
    const place = h("div", { class: "stack" }, h("div", { class: "row" }, filter, told, h("span", { class: "grow" }), h("button", { onclick: () => load().catch(tell) }, "Read again")),
        h("div", { class: "audit" }, grid("Audit log", ["Time", "User", "From", "What", "Of", "Allowed", "Status"], list)));
    load().catch(tell);
    return section("Audit log", place);
}

export function admin(place, _, signal) {
    const tell = (error) => { if (!signal.aborted) toast(error.message, true); };
    add(place, [h("h1", null, "Administration")]);
    if (isAdmin) add(place, [drainOf(tell, signal), quotasOf(tell, signal), auditOf(tell, signal)]);
    else add(place, [h("p", null, "This page is for administrators.")]);
}
