// A session's page: its state, an editor, its statements as they run, its log, its facts, with whom it is shared.

import { address, call, every, get } from "./api.js";
import { add, badge, confirmed, fill, h, labelled, link, toast } from "./dom.js";
import { facts, isEnd, missing, tabs } from "./details.js";
import { logView } from "./log.js";
import { shares } from "./share.js";
import { statementList } from "./statements.js";

const KINDS = ["pyspark", "spark", "sql", "sparkr"];

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
    const details = h("div");
    const box = h("textarea", { id: "code", rows: 5, spellcheck: "false", autocapitalize: "none", autocomplete: "off", "aria-label": "Code", placeholder: "Code; Ctrl+Enter runs it", oninput: grow,
        onkeydown: (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run(); } } });
    const kind = h("select", { id: "kind" }, KINDS.map((one) => h("option", { value: one, selected: one === mainKind }, one)));
    const runButton = h("button", { class: "primary", id: "run", onclick: () => run() }, "Run");
    const list = statementList(id, signal, (number) => kinds.get(number) ?? mainKind, (code) => { box.value = code; grow(); box.focus(); });
    const log = logView(`${path}/log`, signal, hasEnded);
    const editor = h("div", { class: "editor" }, box, h("div", { class: "row" }, labelled("Language", kind), h("span", { class: "grow" }), runButton));

    fill(place,
        h("div", { class: "row" }, h("h1", null, `Session ${view.id}`, view.name && h("span", { class: "name" }, ` ${view.name}`)), state, h("span", { class: "grow" }), interrupt, end),
        tabs("Parts of the session", [["Statements", [editor, ...list.node]], ["Log", log.node], ["Details", details], ["Sharing", h("div", { class: "lazy" })]]));
    // Who may not share it is told so once they look.
    place.querySelector("#tab-3").addEventListener("click", () => fill(place.querySelector("#panel-3"), shares(path)));
    if (!hasEnded()) box.focus({ preventScroll: true });

    function grow() {
        box.style.height = "auto";
        box.style.height = `${Math.min(600, box.scrollHeight + 4)}px`;
    }

    function showState(now) {
        const before = state.dataset.state;
        view.state = now;
        if (before === now) return;
        state.dataset.state = now;
        fill(state, badge(now));
        const isOver = isEnd(now);
        for (const part of [runButton, interrupt, end]) part.disabled = isOver;
        if (isOver && !isEnd(before)) log.restart();
    }

    function showFacts() {
        const { kind: language, owner, proxyUser, appId } = view;
        fill(details, facts({ kind: language, owner, proxyUser, appId, ...view }));
    }

    async function run() {
        const code = box.value;
        if (!code.trim() || runButton.disabled) return;
        runButton.disabled = true;
        try {
            const made = await call("POST", `${path}/statements`, { body: { code, kind: kind.value } });
            kinds.set(made.id, kind.value);
            list.show(made);
            box.value = "";
            grow();
        } catch (error) {
            tell(error);
        } finally {
            runButton.disabled = hasEnded();
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
        on("reset", (data) => { showState(data.state); list.heard.reset(data); });
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
