// The reference of the API, from the server's own OpenAPI document: what each request takes and what it may answer, with examples.

import { ROOT, call } from "./api.js";
import { fill, h, section } from "./dom.js";

const METHODS = ["get", "post", "put", "delete"];
const DEPTH = 4;

export async function reference(place, _parts, signal) {
    let api;
    try {
        api = await call("GET", "/openapi.json", { signal });
    } catch (error) {
        if (!signal.aborted) fill(place, h("h1", null, "API"), h("p", { class: "notice error" }, error.message));
        return;
    }
    const entries = [];
    const groups = api.tags.map((tag) => {
        const own = Object.entries(api.paths).flatMap(([path, item]) => METHODS.filter((method) => item[method]?.tags?.includes(tag.name))
            .map((method) => entry(api, method, path, item[method])));
        entries.push(...own);
        const made = section(tag.name, h("p", { class: "quiet" }, tag.description), own.map((one) => one.element));
        return { made, own };
    });
    const find = h("input", { type: "search", placeholder: "Find: sessions, cancel, POST", "aria-label": "Find operations", oninput: () => {
        const words = find.value.toLowerCase().split(/\s+/);
        for (const one of entries) one.element.hidden = !words.every((word) => one.text.includes(word));
        for (const { made, own } of groups) made.hidden = own.every((one) => one.element.hidden);
    } });
    fill(place,
        h("div", { class: "row" }, h("h1", null, "API"), h("span", { class: "grow" }), find),
        h("p", { class: "quiet" }, api.info.description, " ", h("a", { href: new URL("openapi.json", ROOT).href, download: "openapi.json" }, "openapi.json")),
        groups.map(({ made }) => made));
}

/** One operation, whose parts are made when it is opened. */
function entry(api, method, path, operation) {
    const name = `${method.toUpperCase()} ${path}`;
    const title = (operation.summary ?? "").trim();
    const body = h("div", { class: "stack" });
    const element = h("details", { class: "operation", ontoggle: () => {
        if (element.open && !body.firstChild) fill(body, parts(api, method, path, operation));
    } }, h("summary", null, h("code", null, name), " ", h("span", { class: "quiet" }, title)), body);
    return { element, text: `${name} ${title} ${operation.operationId}`.toLowerCase() };
}

function parts(api, method, path, operation) {
    const [kind, content] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
    const parameters = (operation.parameters ?? []).map((one) => [one.name, `${one.in}, ${typeOf(one.schema)}`, one.required, one.description]);
    return [
        operation.description && h("p", null, prose(operation.description)),
        parameters.length > 0 && table("Parameters", parameters),
        content && h("div", null, h("h3", null, `Body: ${kind}`), schema(api, content.schema), example(content.example)),
        block("By curl", command(method, path, kind, content?.example)),
        h("h3", null, "Answers"),
        Object.entries(operation.responses).sort().map(([status, response]) => answer(api, status, response)),
    ];
}

function answer(api, status, response) {
    const headers = Object.entries(response.headers ?? {}).map(([name, one]) => [name, typeOf(one.schema), false, one.description]);
    const contents = Object.entries(response.content ?? {});
    const text = h("span", null, h("code", null, status), " ", prose(response.description));
    if (contents.length === 0 && headers.length === 0) return h("p", null, text);
    return h("details", null, h("summary", null, text),
        headers.length > 0 && table("Headers", headers),
        contents.map(([kind, content]) => [h("p", { class: "quiet" }, kind), content.schema && schema(api, content.schema), example(content.example)]));
}

/** The fields of a schema; those of an object within it where it is opened. */
function schema(api, given, depth = 0) {
    const [name, found] = resolved(api, given);
    const list = found.items ? resolved(api, found.items) : null;
    const [shown, of] = list ? [list[1], `list of ${list[0] || typeOf(found.items)}`] : [found, name];
    const fields = Object.entries(shown.properties ?? {});
    if (fields.length === 0) return h("p", null, of || typeOf(found), found.description && [": ", prose(found.description)]);
    const rows = fields.map(([key, field]) => {
        const [, inner] = resolved(api, field);
        const item = inner.items ? resolved(api, inner.items)[1] : inner;
        const more = item.properties && depth < DEPTH && h("details", null, h("summary", null, "Fields"), schema(api, field, depth + 1));
        return [key, typeOf(field), shown.required?.includes(key), [prose(field.description ?? inner.description), more]];
    });
    return table(of || "Fields", rows);
}

/** A schema that is named elsewhere, with its name. */
function resolved(api, given) {
    const reference = given?.$ref ?? (given?.oneOf ?? given?.allOf)?.find((one) => one.$ref)?.$ref;
    if (!reference) return ["", given ?? {}];
    const name = reference.split("/").pop();
    return [name, api.components.schemas[name] ?? {}];
}

function typeOf(given) {
    if (!given) return "";
    if (given.$ref) return given.$ref.split("/").pop();
    const either = given.oneOf ?? given.allOf ?? given.anyOf;
    if (either) return either.map(typeOf).join(" or ");
    const types = [given.type ?? "any"].flat();
    const named = types.map((type) => (type === "array" ? `list of ${typeOf(given.items)}` : type));
    return named.join(" or ") + (given.enum ? `: ${given.enum.join(", ")}` : "");
}

function table(caption, rows) {
    return h("div", { class: "scroll" }, h("table", null, h("caption", null, caption),
        h("thead", null, h("tr", null, ["Name", "Type", "Meaning"].map((title) => h("th", { scope: "col" }, title)))),
        h("tbody", null, rows.map(([name, type, isRequired, meaning]) => h("tr", null,
            h("th", { scope: "row" }, h("code", null, name), isRequired && h("small", null, " required")), h("td", null, type), h("td", null, typeof meaning === "string" ? prose(meaning) : meaning))))));
}

/** A text of the document, with what stands between backticks as code. */
function prose(text) {
    return (text ?? "").split("`").map((part, at) => (at % 2 ? h("code", null, part) : part));
}

/** What somebody recorded, where somebody has. */
function example(value) {
    return value === undefined || value === null ? null : block("Example", JSON.stringify(value, null, 2));
}

function block(title, text) {
    return h("div", null, h("p", { class: "quiet" }, title), h("pre", { class: "code", tabindex: 0, "aria-label": title }, text));
}

/** The same request from a shell. */
function command(method, path, kind, body) {
    const address = new URL(path.slice(1), ROOT).href.replaceAll("%7B", "{").replaceAll("%7D", "}");
    const words = ["curl"];
    if (method !== "get") words.push("-X", method.toUpperCase());
    if (kind === "application/json") {
        words.push("-H 'Content-Type: application/json'");
        words.push(`-d '${JSON.stringify(body ?? {}).replaceAll("'", "'\\''")}'`);
    } else if (kind === "multipart/form-data") {
        words.push("-F file=@FILE");
    }
    return [...words, `'${address}'`].join(" ");
}
