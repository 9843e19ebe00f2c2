// The box in which code is written: Ctrl+Enter runs it, Ctrl+Space shows what could stand at the cursor.

import { call } from "./api.js";
import { fill, h, labelled } from "./dom.js";

const KINDS = ["pyspark", "spark", "sql", "sparkr"];
const OFFERED = 50;
const WORD = /[\p{L}\p{N}_]*$/u;

/** The editor of the session at `path`. `run` gets code and kind, and says whether it was taken; `tell` gets what fails. */
export function editor(path, mainKind, run, tell) {
    let offered = [];
    let at = 0;
    const box = h("textarea", { id: "code", rows: 5, spellcheck: "false", autocapitalize: "none", autocomplete: "off", "aria-label": "Code", placeholder: "Code. Ctrl+Enter runs it, Ctrl+Space completes it",
        "aria-haspopup": "listbox", "aria-controls": "candidates", "aria-autocomplete": "list", oninput: () => { grow(); close(); }, onkeydown: pressed, onblur: () => close() });
    const kind = h("select", { id: "kind" }, KINDS.map((one) => h("option", { value: one, selected: one === mainKind }, one)));
    const button = h("button", { class: "primary", id: "run", onclick: () => send() }, "Run");
    const list = h("ul", { id: "candidates", role: "listbox", "aria-label": "Completions", hidden: true });

    function grow() {
        box.style.height = "auto";
        box.style.height = `${Math.min(600, box.scrollHeight + 4)}px`;
    }

    function pressed(event) {
        const hasMod = event.ctrlKey || event.metaKey;
        const act = event.key === "Enter" && hasMod ? send
            : event.key === " " && event.ctrlKey ? complete
            : list.hidden ? null
            : { ArrowDown: () => choose(at + 1), ArrowUp: () => choose(at - 1), Enter: take, Tab: take, Escape: close }[event.key];
        if (!act) return;
        event.preventDefault();
        act();
    }

    async function complete() {
        const [code, cursor] = [box.value, box.selectionStart];
        let candidates;
        try {
            ({ candidates } = await call("POST", `${path}/completion`, { body: { code, kind: kind.value, cursor: [...code.slice(0, cursor)].length } }));
        } catch (error) {
            tell(error);
            return;
        }
        // Whoever has written on meanwhile does not wait for it.
        if (box.value !== code || box.selectionStart !== cursor || document.activeElement !== box) return;
        offered = candidates.slice(0, OFFERED);
        if (offered.length === 1) {
            take();
            return;
        }
        fill(list, offered.length === 0 ? h("li", { role: "option", "aria-selected": "false", "aria-disabled": "true" }, "Nothing is known here.")
            : offered.map((text, number) => h("li", { role: "option", id: `candidate-${number}`, onmousedown: (event) => { event.preventDefault(); at = number; take(); } }, text)));
        list.hidden = false;
        choose(0);
    }

    function choose(number) {
        if (offered.length === 0) return;
        at = (number + offered.length) % offered.length;
        [...list.children].forEach((item, place) => item.setAttribute("aria-selected", String(place === at)));
        list.children[at].scrollIntoView({ block: "nearest" });
        box.setAttribute("aria-activedescendant", `candidate-${at}`);
    }

    /** Puts what is chosen in the place of the word before the cursor. */
    function take() {
        const chosen = offered[at];
        close();
        if (chosen === undefined) return;
        const end = box.selectionStart;
        box.setRangeText(chosen, end - WORD.exec(box.value.slice(0, end))[0].length, end, "end");
        grow();
    }

    function close() {
        list.hidden = true;
        [offered, at] = [[], 0];
        box.removeAttribute("aria-activedescendant");
    }

    async function send() {
        const code = box.value;
        if (!code.trim() || button.disabled) return;
        close();
        button.disabled = true;
        const taken = await run(code, kind.value);
        button.disabled = isOff;
        if (taken && box.value === code) {
            box.value = "";
            grow();
        }
    }

    let isOff = false;
    return {
        node: h("div", { class: "editor" }, h("div", { class: "box" }, box, list), h("div", { class: "row" }, labelled("Language", kind), h("span", { class: "grow" }), button)),
        focus: () => box.focus({ preventScroll: true }),
        /** Code that is to be edited anew. */
        edit(code) {
            box.value = code;
            grow();
            box.focus();
        },
        /** Nothing can be run any more, or again. */
        off(yes) {
            isOff = yes;
            button.disabled = yes;
        },
    };
}
