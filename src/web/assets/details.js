// What sessions' and batches' pages share: which states are ends, the facts as a list, parts of a page that open by tabs.

import { fill, h, link } from "./dom.js";

const ENDED = new Set(["dead", "error", "killed", "success"]);
const LINKS = new Set(["sparkUiUrl", "driverLogUrl", "executorLogUrls"]);

/** Whether a session or batch in this state has ended. */
export const isEnd = (state) => ENDED.has(state);

/** All that is known of a session or batch, but its log. */
export function facts(view) {
    const rows = [];
    const put = (name, value) => {
        const isEmpty = value === null || value === undefined || value === "" || value === 0 || (Array.isArray(value) && value.length === 0);
        if (isEmpty) return;
        const shown = LINKS.has(name) ? h("a", { href: value }, value) : Array.isArray(value) ? value.join(", ") : String(value);
        rows.push(h("dt", null, name), h("dd", null, shown));
    };
    for (const [name, value] of Object.entries(view)) {
        if (name === "log" || name === "id") continue;
        if (name === "appInfo") Object.entries(value ?? {}).forEach(([key, one]) => put(key, one));
        else if (name === "conf") Object.entries(value ?? {}).forEach(([key, one]) => put(key, one));
        else put(name, value);
    }
    return h("dl", { class: "facts" }, rows);
}

/** Tabs, as the keyboard works them: arrows go from one to the next. `parts` is a list of [name, node]; a function makes its node when the part is opened. */
export function tabs(label, parts) {
    const panels = parts.map(([name, node], at) => h("div", { role: "tabpanel", id: `panel-${at}`, "aria-labelledby": `tab-${at}`, hidden: at > 0 }, typeof node === "function" ? null : node));
    const buttons = parts.map(([name], at) => h("button", { role: "tab", id: `tab-${at}`, "aria-controls": `panel-${at}`, "aria-selected": String(at === 0), tabindex: at ? -1 : 0,
        onclick: () => choose(at),
        onkeydown: (event) => {
            const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
            if (!step) return;
            const next = (at + step + parts.length) % parts.length;
            choose(next);
            buttons[next].focus();
        } }, name));
    const choose = (chosen) => buttons.forEach((button, at) => {
        button.setAttribute("aria-selected", String(at === chosen));
        button.tabIndex = at === chosen ? 0 : -1;
        panels[at].hidden = at !== chosen;
        if (at === chosen && typeof parts[at][1] === "function") fill(panels[at], parts[at][1]());
    });
    return [h("div", { role: "tablist", "aria-label": label, class: "tabs" }, buttons), ...panels];
}

/** What a page shows of something that is not there. */
export function missing(place, error, to, text) {
    fill(place, h("h1", null, "Not here"), h("p", null, error.message), h("p", null, link(to, text)));
}
