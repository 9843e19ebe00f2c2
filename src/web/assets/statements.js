// The statements of a session: newest first, each with its code, its progress, what it prints, and its output.

import { call, get, send } from "./api.js";
import { badge, duration, fill, h, toast, when } from "./dom.js";
import { code } from "./highlight.js";
import { output, terminal } from "./output.js";

const FIRST = 30;
const LIVE_KEPT = 200000;
const ENDED = ["available", "cancelled", "error"];

/** The list. `again` gets code that is to be edited anew; `kindOf` tells a statement's language. */
export function statementList(id, signal, kindOf, again) {
    const cards = new Map();
    const list = h("div", { class: "statements" });
    const older = h("button", { hidden: true, onclick: () => load(Math.min(...cards.keys())).catch(tell) }, "Earlier statements");
    const tell = (error) => { if (!signal.aborted) toast(error.message, true); };
    const path = `/sessions/${id}/statements`;

    function card(number) {
        if (cards.has(number)) return cards.get(number);
        // These stay: whoever is on a button is not taken off it by the next news.
        const cancel = h("button", { class: "danger cancel", onclick: () => call("POST", `${path}/${number}/cancel`).catch(tell) }, "Cancel");
        const head = { state: h("span"), took: h("small"), cancel };
        const parts = { head, code: h("div"), bar: h("progress", { max: 1, value: 0, hidden: true, "aria-label": "Progress" }),
            live: h("pre", { class: "text live", hidden: true, "aria-live": "off" }), output: h("div") };
        const made = { parts, text: "", state: "", node: h("article", { class: "statement", "aria-label": `Statement ${number}`, "data-id": number }, h("div", { class: "row head" }, h("strong", null, `[${number}]`), head.state, head.took, h("span", { class: "grow" }), cancel, h("button", { onclick: () => again(made.code) }, "Edit again")),
            parts.code, parts.bar, parts.live, parts.output) };
        cards.set(number, made);
        const next = [...cards.keys()].filter((other) => other < number).sort((a, b) => b - a)[0];
        list.insertBefore(made.node, next === undefined ? null : cards.get(next).node);
        return made;
    }

    function show(statement) {
        const made = card(statement.id);
        const hasEnded = ENDED.includes(statement.state);
        // What an answer that was on its way says of a statement that has ended since is old.
        if (ENDED.includes(made.state) && !hasEnded) return;
        made.state = statement.state;
        made.node.dataset.state = statement.state;
        const isFailed = statement.output?.status === "error";
        const took = statement.started && statement.completed ? duration(statement.completed - statement.started) : "";
        const { head } = made.parts;
        fill(head.state, badge(isFailed ? "error" : statement.state));
        head.took.textContent = took;
        head.took.title = when(statement.started);
        head.cancel.hidden = hasEnded;
        if (made.code !== statement.code) {
            made.code = statement.code;
            fill(made.parts.code, code(statement.code, kindOf(statement)));
        }
        progress(made, statement);
        if (hasEnded) {
            made.text = "";
            made.parts.live.hidden = true;
            fill(made.parts.output, output(statement.output, { path: `${path}/${statement.id}`, whole: true }));
        }
    }

    function progress(made, { state, progress: done }) {
        made.parts.bar.hidden = state !== "running" && state !== "cancelling";
        // Without a Spark job there is no telling how far it is.
        if (done > 0) made.parts.bar.value = done;
        else made.parts.bar.removeAttribute("value");
    }

    async function fetchOne(number) {
        const answer = await send("GET", `${path}/${number}`, { signal });
        const cut = answer.headers.get("X-Firesteel-Truncated");
        const statement = exactly(await answer.text());
        show(statement);
        if (cut && ENDED.includes(statement.state)) cards.get(number).parts.output.append(h("p", { class: "quiet" }, `Cut: ${cut}`));
    }

    async function load(before) {
        const total = (await get(path, { size: 0 }, signal)).total_statements;
        const query = before === undefined ? { order: "desc", size: FIRST } : { order: "desc", from: cards.size, size: FIRST };
        const page = await call("GET", path, { query, signal, exact: true });
        page.statements.forEach(show);
        older.hidden = page.statements.length === 0 || cards.size >= total;
    }

    const heard = {
        statement(event) {
            const made = cards.get(event.id);
            if (!made || ENDED.includes(event.state)) return fetchOne(event.id).catch(tell);
            if (made.state !== event.state) return fetchOne(event.id).catch(tell);
            return progress(made, event);
        },
        progress(event) {
            const made = cards.get(event.id);
            if (made && !ENDED.includes(made.state)) progress(made, { state: "running", progress: event.progress });
        },
        output(event) {
            const made = card(event.id);
            if (ENDED.includes(made.state)) return;
            const gap = event.skipped ? `\n… ${event.skipped} bytes are not shown …\n` : "";
            made.text = (made.text + gap + event.text).slice(-LIVE_KEPT);
            made.parts.live.hidden = false;
            made.parts.live.textContent = terminal(made.text);
            made.parts.live.scrollTop = made.parts.live.scrollHeight;
        },
        async reset(event) {
            for (const made of cards.values()) made.text = "";
            await load().catch(tell);
            for (const piece of event.output) heard.output(piece);
        },
    };
    return { node: [list, older], heard, show, load: () => load().catch(tell) };
}

/** JSON whose numbers keep all their digits. */
function exactly(text) {
    return JSON.parse(text, (key, value, context) => {
        const source = context?.source;
        return typeof value === "number" && source && !Number.isSafeInteger(value) && source.length > 15 ? source : value;
    });
}
