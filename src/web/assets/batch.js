// A batch's page: its state, its log, its facts, with whom it is shared.

import { call, every, get } from "./api.js";
import { badge, confirmed, fill, h, toast } from "./dom.js";
import { facts, isEnd, missing, tabs } from "./details.js";
import { logView } from "./log.js";
import { shares } from "./share.js";

export async function batch(place, [id], signal) {
    const path = `/batches/${id}`;
    let view;
    try {
        view = await get(path, null, signal);
    } catch (error) {
        if (!signal.aborted) missing(place, error, "/batches", "All batches");
        return;
    }
    const hasEnded = () => isEnd(view.state);
    const tell = (error) => { if (!signal.aborted) toast(error.message, true); };
    const state = h("span", { id: "state", role: "status" });
    const details = h("div");
    const log = logView(`${path}/log`, signal, hasEnded);
    const end = h("button", { class: "danger", onclick: remove });

    fill(place,
        h("div", { class: "row" }, h("h1", null, `Batch ${view.id}`, view.name && h("span", { class: "name" }, ` ${view.name}`)), state, h("span", { class: "grow" }), end),
        tabs("Parts of the batch", [["Log", log.node], ["Details", details], ["Sharing", () => shares(path)]]));

    async function remove() {
        const question = hasEnded() ? `Remove batch ${view.id} and its log?` : `End batch ${view.id}, and remove it and its log?`;
        if (!(await confirmed(question, "Delete it"))) return;
        try {
            await call("DELETE", path);
            toast(`Batch ${view.id} is deleted.`);
            location.hash = "#/batches";
        } catch (error) {
            tell(error);
        }
    }

    let last = "";
    function show() {
        if (last === view.state) return;
        if (last && hasEnded()) log.restart();
        last = view.state;
        state.dataset.state = view.state;
        fill(state, badge(view.state), view.appInfo?.exitCode && ` exit code ${view.appInfo.exitCode}`);
        fill(end, hasEnded() ? "Delete" : "End and delete");
    }

    every(2000, signal, async () => {
        view = await get(path, null, signal);
        show();
        fill(details, facts(view));
        return hasEnded() ? Infinity : 2000;
    }, tell);
}
