// Elements, and how numbers and times are written. All that comes from elsewhere becomes text nodes or checked attributes: nothing here makes
// markup of a string.

const PLAIN = new Set(["class", "id", "type", "name", "value", "placeholder", "for", "role", "title", "rows", "cols", "min", "max", "step", "scope",
    "colspan", "tabindex", "autocomplete", "spellcheck", "list", "download", "rel", "target", "alt", "enterkeyhint", "accept", "inputmode", "pattern",
    "maxlength", "autocapitalize"]);
const FLAGS = new Set(["disabled", "hidden", "checked", "selected", "required", "multiple", "open", "readonly"]);

/** An element. `props` has attributes of the list above, `aria-*`, `data-*`, flags, `href` (checked), and `on...` listeners. */
export function h(tag, props, ...children) {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(props ?? {})) {
        if (value === undefined || value === null || value === false) continue;
        if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
        else if (key === "href") setHref(element, value);
        else if (FLAGS.has(key)) element.toggleAttribute(key, true);
        else if (PLAIN.has(key) || key.startsWith("aria-") || key.startsWith("data-")) element.setAttribute(key, String(value));
        else throw new Error(`h: ${key} is no attribute that may be set`);
    }
    add(element, children);
    return element;
}

/** Appends texts and nodes; what is null or false is left out. */
export function add(parent, children) {
    for (const child of children.flat(Infinity)) {
        if (child === undefined || child === null || child === false) continue;
        parent.append(child instanceof Node ? child : String(child));
    }
    return parent;
}

/** Puts these in the place of all that is in an element. */
export function fill(parent, ...children) {
    parent.replaceChildren();
    return add(parent, children);
}

/** Sets a link's address, where it is one of this page or of the web. */
function setHref(element, value) {
    let url;
    try {
        url = new URL(value, location.href);
    } catch {
        return;
    }
    if (!["http:", "https:", "blob:"].includes(url.protocol)) return;
    element.setAttribute("href", value);
    if (url.origin !== location.origin) {
        element.setAttribute("rel", "noopener noreferrer");
        element.setAttribute("target", "_blank");
    }
}

/** A link to a page of this app. */
export const link = (to, text, props) => h("a", { href: `#${to}`, ...props }, text);

/** A state's word, coloured by what it means. */
export function badge(state) {
    const known = /^[a-z_]+$/.test(state ?? "") ? state : "unknown";
    return h("span", { class: `badge s-${known}` }, (state ?? "unknown").replaceAll("_", " "));
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** Bytes with their unit. */
export function bytes(count) {
    if (count === null || count === undefined) return "–";
    let at = 0;
    let rest = Number(count);
    while (rest >= 1024 && at < UNITS.length - 1) [rest, at] = [rest / 1024, at + 1];
    return `${at === 0 ? rest : rest.toFixed(rest < 10 ? 1 : 0)} ${UNITS[at]}`;
}

/** Milliseconds as people say them. */
export function duration(ms) {
    if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
    const seconds = ms / 1000;
    if (seconds < 60) return `${seconds.toFixed(1)} s`;
    const minutes = Math.floor(seconds / 60);
    if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
    return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A time of day and date in the reader's own writing; from epoch milliseconds or RFC 3339. */
export function when(time) {
    if (!time) return "–";
    const date = new Date(time);
    return Number.isNaN(date.getTime()) ? String(time) : date.toLocaleString();
}

/** A short message that goes by itself, and is read out. */
export function toast(text, isError = false) {
    const place = document.getElementById("toasts");
    const made = h("div", { class: isError ? "toast error" : "toast", role: isError ? "alert" : "status" }, text,
        h("button", { class: "plain", "aria-label": "Dismiss", onclick: () => made.remove() }, "×"));
    place.append(made);
    while (place.children.length > 4) place.firstChild.remove();
    setTimeout(() => made.remove(), isError ? 12000 : 4000);
}

/** Asks for a yes before something that can't be taken back. Resolves to whether it was given. */
export function confirmed(question, yes) {
    return new Promise((resolve) => {
        const dialog = h("dialog", { "aria-label": question },
            h("p", null, question),
            h("div", { class: "row end" },
                h("button", { onclick: () => dialog.close("") }, "Keep"),
                h("button", { class: "danger", onclick: () => dialog.close("yes") }, yes)));
        dialog.addEventListener("close", () => {
            dialog.remove();
            resolve(dialog.returnValue === "yes");
        });
        document.body.append(dialog);
        dialog.showModal();
    });
}

/** A labelled field of a form; `field` is an input, a select or a textarea. */
export function labelled(text, field, hint) {
    return h("label", { class: "field" }, h("span", null, text), field, hint && h("small", null, hint));
}

/** A table that is moved sideways where it is too wide, with the keyboard too. `heads` are its columns' names, or their cells. */
export function grid(label, heads, body) {
    const head = h("tr", null, heads.map((name) => (typeof name !== "string" ? name : name ? h("th", { scope: "col" }, name) : h("td"))));
    return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, h("table", null, h("thead", null, head), body));
}

/** A named section. */
export function section(title, ...children) {
    return h("section", { class: "card", "aria-label": title }, h("h2", null, title), ...children);
}
