// A session's page: its state, an editor, its statements as they run, its log, its facts, with whom it is shared.

import { address, call, every, get } from "./api.js";
import { add, badge, confirmed, fill, h, link, toast } from "./dom.js";
import { facts, isEnd, missing, tabs } from "./details.js";
import { editor } from "./editor.js";
import { guess } from "./highlight.js";
import { logView } from "./log.js";
import { shares } from "./share.js";
import { statementList } from "./statements.js";
import { timeline } from "./timeline.js";

export async function session(place, [id], signal) {
    const path = `/sessions/${id}`;
    let view;
    try {
        view = await get(path, null, signal);
    } catch (error) {
        if (!signal.aborted) missing(place, error, `/history/${id}`, "Look among those that have ended");
        return;
    }
    const kinds = new Map();
    const mainKind = view.kind === "shared" ? "pyspark" : view.kind;
    const hasEnded = () => isEnd(view.state);
    const tell = (error) => { if (!signal.aborted) toast(error.message, true); };

    const state = h("span", { id: "state", role: "status" });
    const interrupt = h("button", { onclick: () => call("POST", `${path}/interrupt`).then(() => toast("Interrupted."), tell) }, "Interrupt");
    const end = h("button", { class: "danger", onclick: remove }, "End session");
    // Work asked for, or this, has the idle time begin anew.
    const extend = h("button", { title: "Its idle time begins anew", onclick: () => call("POST", `${path}/connect`).then(() => toast("Its idle time begins anew."), tell) }, "Extend");
    const start = timeline();
    const [above, details, facing] = [h("div", { class: "above" }), h("div"), h("div")];
    const code = editor(path, mainKind, run, tell);
    const list = statementList(id, signal, (statement) => kinds.get(statement.id) ?? guess(statement.code, mainKind), code.edit);
    const log = logView(`${path}/log`, signal, hasEnded);

    fill(place,
        h("div", { class: "row" }, h("h1", null, `Session ${view.id}`, view.name && h("span", { class: "name" }, ` ${view.name}`)), state, h("span", { class: "grow" }), extend, interrupt, end),
        above,
        tabs("Parts of the session", [["Statements", [code.node, ...list.node]], ["Log", log.node], ["Details", [facing, details]], ["Sharing", () => shares(path)]]));
    if (!hasEnded()) code.focus();

    function showState(now) {
        const before = state.dataset.state;
        view.state = now;
        if (before === now) return;
        state.dataset.state = now;
        fill(state, badge(now));
        const isOver = isEnd(now);
        for (const part of [extend, interrupt, end]) part.disabled = isOver;
        code.off(isOver);
        start.starting(now === "starting");
        // While it starts that is what one looks at; afterwards it is one of the facts.
        (now === "starting" ? above : facing).append(start.node);
        if (isOver && !isEnd(before)) log.restart();
    }

    function showFacts() {
        const { kind: language, owner, proxyUser, appId } = view;
        fill(details, facts({ kind: language, owner, proxyUser, appId, ...view }));
    }

    async function run(text, kind) {
        try {
            const made = await call("POST", `${path}/statements`, { body: { code: text, kind } });
            kinds.set(made.id, kind);
            list.show(made);
            return true;
        } catch (error) {
            tell(error);
            return false;
        }
    }

    async function remove() {
        if (!(await confirmed(`End session ${view.id}? What it has in memory is lost.`, "End it"))) return;
        try {
            await call("DELETE", path);
            toast(`Session ${view.id} has ended.`);
            location.hash = "#/sessions";
        } catch (error) {
            tell(error);
        }
    }

    showState(view.state);
    showFacts();
    follow();

    /** Events tell what happens; where there is no place for one more follower, looking now and again does. */
    function follow() {
        const source = new EventSource(address(`${path}/events`));
        signal.addEventListener("abort", () => source.close());
        const on = (name, act) => source.addEventListener(name, (event) => { if (!signal.aborted) act(JSON.parse(event.data)); });
        on("reset", (data) => { showState(data.state); start.all(data.start ?? []); list.heard.reset(data); });
        on("start", start.add);
        on("state", (data) => showState(data.state));
        for (const name of ["statement", "progress", "output"]) on(name, list.heard[name]);
        source.addEventListener("error", () => {
            if (signal.aborted || source.readyState !== EventSource.CLOSED) return;
            every(3000, signal, () => list.load());
        });
        every(5000, signal, async () => {
            try {
                view = await get(path, null, signal);
            } catch (error) {
                if (error.status !== 404) throw error;
                showState("dead");
                add(state, [" ", link(`/history/${id}`, "what is kept of it")]);
                source.close();
                return Infinity;
            }
            showState(view.state);
            showFacts();
            return hasEnded() ? Infinity : 5000;
        }, tell);
    }
}
