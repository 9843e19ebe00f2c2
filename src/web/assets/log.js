// A log: its last lines, followed while it grows, searched.

import { every, get } from "./api.js";
import { fill, h } from "./dom.js";

const PAGE = 2000;
const KEPT = 20000;

/** The log at a path of the API, followed until `signal`; `hasEnded` says whether it can still grow. */
export function logView(path, signal, hasEnded = () => false) {
    let lines = [];
    let first = 0;
    let total = 0;
    const pre = h("pre", { class: "log", tabindex: "0", role: "log", "aria-label": "Log", "aria-live": "off" });
    const follow = h("input", { type: "checkbox", checked: true });
    const only = h("input", { type: "checkbox", onchange: () => draw() });
    const search = h("input", { type: "search", placeholder: "Search the log", "aria-label": "Search the log", oninput: () => { at = 0; draw(); mark(0); },
        onkeydown: (event) => { if (event.key === "Enter") { event.preventDefault(); mark(event.shiftKey ? -1 : 1); } } });
    const told = h("span", { class: "quiet", role: "status" });
    const earlier = h("button", { hidden: true, onclick: () => load(Math.max(0, first - PAGE), first) }, "Earlier lines");
    let at = 0;

    function line(text, needle) {
        if (!needle) return [`${text}\n`];
        const parts = [];
        const low = text.toLowerCase();
        let from = 0;
        for (let found = low.indexOf(needle); found >= 0; found = low.indexOf(needle, from)) {
            parts.push(text.slice(from, found), h("mark", null, text.slice(found, found + needle.length)));
            from = found + needle.length;
        }
        parts.push(`${text.slice(from)}\n`);
        return parts;
    }

    function draw() {
        const needle = search.value.toLowerCase();
        const shown = only.checked && needle ? lines.filter((text) => text.toLowerCase().includes(needle)) : lines;
        fill(pre, needle ? shown.map((text) => line(text, needle)) : shown.join("\n"));
        earlier.hidden = first === 0;
        tell();
        if (follow.checked && !needle) pre.scrollTop = pre.scrollHeight;
    }

    function tell() {
        const marks = pre.querySelectorAll("mark").length;
        told.textContent = search.value ? `${marks} found${marks ? `, ${at + 1} shown` : ""}` : `${total} lines`;
    }

    function mark(step) {
        const marks = pre.querySelectorAll("mark");
        if (marks.length === 0) return;
        marks[at]?.classList.remove("here");
        at = (at + step + marks.length) % marks.length;
        marks[at].classList.add("here");
        marks[at].scrollIntoView({ block: "center" });
        tell();
    }

    async function load(from, to) {
        const page = await get(path, { from, size: to - from }, signal);
        lines = page.log.concat(lines);
        first = from;
        draw();
    }

    async function more() {
        if (total === 0) {
            const page = await get(path, { size: PAGE }, signal);
            [lines, first, total] = [page.log, page.from, page.total];
            draw();
            return hasEnded() ? Infinity : 1500;
        }
        const next = first + lines.length;
        const page = await get(path, { from: next, size: PAGE }, signal);
        if (page.total < next) return restart();
        if (page.log.length > 0) {
            lines = lines.concat(page.log);
            if (lines.length > KEPT) {
                first += lines.length - KEPT;
                lines = lines.slice(-KEPT);
            }
            total = page.total;
            const isAtEnd = pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 40;
            const before = pre.scrollTop;
            draw();
            if (!isAtEnd && !follow.checked) pre.scrollTop = before;
        }
        if (first + lines.length < page.total) return 10;
        return hasEnded() ? Infinity : 1500;
    }

    function restart() {
        [lines, first, total] = [[], 0, 0];
        return 10;
    }

    // What is not in sight waits.
    const again = every(1500, signal, async () => (pre.isConnected && pre.offsetParent !== null ? (follow.checked || total === 0 ? more() : 1500) : 300), (error) => { told.textContent = error.message; });
    return {
        node: h("div", { class: "logs" }, h("div", { class: "row" }, search, h("label", { class: "check" }, only, " only these"),
            h("label", { class: "check" }, follow, " follow"), earlier, told), pre),
        /** Reads it anew: the sentence that explains an end comes first in it. */
        restart() {
            restart();
            again();
        },
    };
}
