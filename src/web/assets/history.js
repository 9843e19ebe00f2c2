// An ended session's page: why it ended, its statements, its log.

import { call, get } from "./api.js";
import { badge, fill, h, when } from "./dom.js";
import { facts, missing, tabs } from "./details.js";
import { code, guess } from "./highlight.js";
import { logView } from "./log.js";
import { output } from "./output.js";

const PAGE = 30;

export async function endedSession(place, [id], signal) {
    const path = `/history/${id}`;
    let view;
    let shown = 0;
    try {
        view = await get(path, null, signal);
    } catch (error) {
        if (!signal.aborted) missing(place, error, "/history", "All ended sessions");
        return;
    }
    const list = h("div", { class: "statements" });
    const more = h("button", { onclick: load }, "More statements");

    async function load() {
        const page = await call("GET", `${path}/statements`, { query: { from: shown, size: PAGE }, signal, exact: true });
        for (const statement of page.statements) {
            list.append(h("article", { class: "statement", "aria-label": `Statement ${statement.id}` },
                h("div", { class: "row head" }, h("strong", null, `[${statement.id}]`), badge(statement.output?.status === "error" ? "error" : statement.state)),
                code(statement.code, guess(statement.code, view.kind)), output(statement.output, { path: `${path}/statements/${statement.id}` })));
        }
        shown += page.statements.length;
        more.hidden = page.statements.length === 0 || shown >= page.total_statements;
        if (shown === 0) fill(list, h("p", { class: "quiet" }, "It has no statements."));
    }

    fill(place, h("div", { class: "row" }, h("h1", null, `Session ${view.id}`, view.name && h("span", { class: "name" }, ` ${view.name}`)), badge(view.state), h("small", null, `ended ${when(view.ended)}`)),
        view.diagnosis && h("p", { class: "notice" }, view.diagnosis),
        tabs("Parts of the session", [["Statements", [list, more]], ["Log", logView(`${path}/log`, signal, () => true).node], ["Details", facts({ ...view, created: when(view.created), ended: when(view.ended) })]]));
    await load();
}
