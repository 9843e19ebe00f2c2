// What a statement's output looks like: text, error, tables, images, HTML. Text is text; HTML goes into a frame that has no scripts, no forms and no
// origin; images are shown as images, in which nothing runs.

import { address } from "./api.js";
import { h } from "./dom.js";

const TEXT_SHOWN = 100000;
const ROWS_SHOWN = 100;
const IMAGES = ["image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml"];
const TABLE = "application/vnd.livy.table.v1+json";

/** The output of a statement. `place` has its `path` in the API, and whether the `whole` result can be fetched. */
export function output(output, place) {
    if (!output) return null;
    if (output.status === "error") return failure(output);
    const data = output.data ?? {};
    const shown = [];
    for (const [kind, value] of Object.entries(data)) {
        if (kind === "text/plain") {
            if (value !== "" || Object.keys(data).length === 1) shown.unshift(longText(textOf(value)));
        } else if (IMAGES.includes(kind)) shown.push(image(kind, textOf(value)));
        else if (kind === "text/html") shown.push(frame(textOf(value), place));
        else if (kind === TABLE) shown.push(table((value.headers ?? []).map((column) => column.name), (value.headers ?? []).map((column) => column.type), value.data ?? [], place));
        else if (kind === "application/json") shown.push(json(value, place));
        else shown.push(h("div", null, h("small", null, kind), longText(textOf(value))));
    }
    return h("div", { class: "output" }, shown);
}

const textOf = (value) => (typeof value === "string" ? value : Array.isArray(value) ? value.join("") : JSON.stringify(value, null, 2));

/** Without the codes that colour text in a terminal. */
export const bare = (text) => text.replace(/\u001b\[[0-9;?]*[A-Za-z]/g, "");

function failure({ ename, evalue, traceback }) {
    const trace = bare((traceback ?? []).join(""));
    return h("div", { class: "output failure" },
        h("p", null, h("strong", null, ename ?? "Error"), evalue && `: ${bare(String(evalue))}`),
        trace && h("details", { open: true }, h("summary", null, "Traceback"), longText(trace)));
}

/** Text as a terminal shows it: what a carriage return overwrites is gone. */
export function terminal(text) {
    if (!text.includes("\r")) return bare(text);
    const lines = bare(text).replaceAll("\r\n", "\n").split("\n").map((line) => {
        let shown = "";
        for (const piece of line.split("\r")) shown = piece + shown.slice(piece.length);
        return shown;
    });
    return lines.join("\n");
}

function longText(text) {
    const shown = terminal(text);
    const pre = h("pre", { class: "text" }, shown.slice(0, TEXT_SHOWN));
    if (shown.length <= TEXT_SHOWN) return pre;
    const more = h("button", { onclick: () => { pre.textContent = shown; more.remove(); } }, `Show all ${shown.length} characters`);
    return h("div", null, pre, more);
}

function image(kind, value) {
    const data = kind === "image/svg+xml" ? `${kind};charset=utf-8,${encodeURIComponent(value)}` : `${kind};base64,${value.replace(/\s/g, "")}`;
    const made = h("img", { alt: `The statement's output, ${kind}` });
    made.src = `data:${data}`;
    return made;
}

/** HTML of the statement's: a page of the server's that can do nothing, in a frame that lets it do nothing. */
function frame(html, place) {
    const made = h("iframe", { title: "The statement's output, HTML", "data-html": `${place.path}/html` });
    made.setAttribute("sandbox", "");
    made.setAttribute("loading", "lazy");
    made.setAttribute("referrerpolicy", "no-referrer");
    const rows = (html.match(/<(?:tr|p|li|br|h\d|div)\b/gi) ?? []).length;
    made.style.height = `${Math.min(480, 60 + 26 * Math.max(rows, html.length / 400))}px`;
    look(made);
    return made;
}

function look(frame) {
    const theme = getComputedStyle(document.documentElement).colorScheme.includes("dark") ? "dark" : "light";
    if (frame.dataset.look === theme) return;
    frame.dataset.look = theme;
    frame.src = address(frame.dataset.html, { theme });
}

/** Has the frames look as the page does now. */
export const restyle = () => document.querySelectorAll("iframe[data-html]").forEach(look);

function json(value, place) {
    const isRows = value && Array.isArray(value.data) && Array.isArray(value.schema?.fields);
    if (isRows) {
        const { fields } = value.schema;
        return table(fields.map((field) => field.name), fields.map((field) => typeName(field.type)), value.data, place);
    }
    const isObjects = Array.isArray(value) && value.length > 0 && value.every((row) => row && typeof row === "object" && !Array.isArray(row));
    if (isObjects) {
        const names = [...new Set(value.slice(0, 1000).flatMap(Object.keys))];
        return table(names, [], value.map((row) => names.map((name) => row[name])), place);
    }
    return longText(JSON.stringify(value, null, 2) ?? "");
}

const typeName = (type) => (typeof type === "string" ? type : type?.type ?? "");
const NUMERIC = /^(?:byte|short|int|integer|long|float|double|decimal|bigint|smallint|tinyint)|_TYPE$/i;

function table(names, types, rows, place) {
    const body = h("tbody");
    const isNumber = names.map((_, at) => NUMERIC.test(types[at] ?? "") && !/^STRING/.test(types[at]));
    const cell = (value, at) => {
        if (value === null || value === undefined) return h("td", { class: "null" }, "null");
        const text = typeof value === "object" ? JSON.stringify(value) : String(value);
        return h("td", { class: isNumber[at] || typeof value === "number" ? "number" : undefined }, text);
    };
    let shown = 0;
    const more = h("button", { onclick: () => next() });
    const next = () => {
        for (const row of rows.slice(shown, shown + ROWS_SHOWN)) {
            body.append(h("tr", null, (Array.isArray(row) ? row : names.map((name) => row?.[name])).map(cell)));
        }
        shown = Math.min(rows.length, shown + ROWS_SHOWN);
        more.hidden = shown >= rows.length;
        more.textContent = `Show more (${shown} of ${rows.length})`;
    };
    next();
    const download = (format) => {
        const made = h("a", { download: "" }, format);
        made.href = address(`${place.path}/result`, { format });
        return made;
    };
    const heads = names.map((name, at) => h("th", { scope: "col", class: isNumber[at] ? "number" : undefined }, name, types[at] && h("small", null, ` ${types[at]}`)));
    return h("div", null,
        h("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Rows" }, h("table", { class: "data" }, h("thead", null, h("tr", null, heads)), body)),
        h("div", { class: "row" }, h("small", null, `${rows.length} rows`), more,
            place.whole && h("small", null, "Whole result: ", download("csv"), " ", download("jsonl"), " ", download("parquet"), " ", download("arrow"))));
}
