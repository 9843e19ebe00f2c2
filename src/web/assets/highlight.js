// Colours for code: a small tokenizer that knows comments, strings, numbers and words. What it gets wrong has the wrong colour and nothing else.

import { h } from "./dom.js";

const words = (text) => new Set(text.split(" "));
const PYTHON = words("and as assert async await break class continue def del elif else except finally for from global if import in is lambda nonlocal not or pass raise return try while with yield match case None True False");
const SCALA = words("abstract case catch class def do else extends false final finally for given if implicit import lazy match new null object override package private protected return sealed super then this throw trait true try type using val var while with yield");
const SQL = words("add all alter and as asc between by cache case cast create cross database delete desc describe distinct drop else end exists explain false from full group having if in inner insert into is join left like limit not null on or order outer over overwrite partition right select set show table tables then true union update use using values view when where with");
const R = words("if else repeat while function for next break TRUE FALSE NULL Inf NaN NA library require return in");
const HASH = "#[^\\n]*";
const QUOTED = "\"(?:\\\\[^]|[^\"\\\\\\n])*\"?|'(?:\\\\[^]|[^'\\\\\\n])*'?";
const NUMBER = "\\b(?:0[xXbB][0-9a-fA-F_]+|\\d[\\d_]*(?:\\.\\d+)?(?:[eE][+-]?\\d+)?)[LlfFdD]?\\b";
const NAME = "[\\p{L}_][\\p{L}\\p{N}_]*";
const LANGUAGES = {
    pyspark: make(HASH, `"""(?:\\\\[^]|[^\\\\])*?(?:"""|$)|'''(?:\\\\[^]|[^\\\\])*?(?:'''|$)|${QUOTED}`, PYTHON),
    spark: make("\\/\\/[^\\n]*|\\/\\*[^]*?(?:\\*\\/|$)", `"""[^]*?(?:"""|$)|"(?:\\\\[^]|[^"\\\\\\n])*"?|'(?:\\\\[^\\n]|[^'\\n])'`, SCALA),
    sql: make("--[^\\n]*|\\/\\*[^]*?(?:\\*\\/|$)", `${QUOTED}|\`[^\`]*\`?`, SQL, true),
    sparkr: make(HASH, QUOTED, R),
};
LANGUAGES.shared = LANGUAGES.pyspark;
const LONGEST = 50000;

function make(comment, string, keywords, anyCase = false) {
    const pattern = new RegExp(`(?<comment>${comment})|(?<string>${string})|(?<number>${NUMBER})|(?<word>@?${NAME})`, "gu");
    return { pattern, keywords, anyCase };
}

/** The language of a statement that does not say its own: the session's, unless it looks like SQL. */
export function guess(text, kind) {
    const first = text.trimStart().split("\n", 1)[0];
    const isSql = /^(?:select|with|insert\s+into|create|show|describe|drop|alter|explain|values|merge\s+into)\s+[\w*`(]/i.test(first) && !/:\s*(?:#.*)?$/.test(first);
    return isSql ? "sql" : kind === "shared" ? "pyspark" : kind;
}

/** The code as an element; long code, and code of languages that are not known, has no colours. */
export function code(text, kind) {
    const language = LANGUAGES[kind];
    const place = h("code");
    if (!language || text.length > LONGEST) {
        place.append(text);
        return h("pre", { class: "code" }, place);
    }
    let at = 0;
    for (const found of text.matchAll(language.pattern)) {
        const { comment, string, number, word } = found.groups;
        const isKeyword = word && language.keywords.has(language.anyCase ? word.toLowerCase() : word);
        const kindOf = comment ? "t-comment" : string ? "t-string" : number ? "t-number" : isKeyword ? "t-keyword" : word?.startsWith("@") ? "t-at" : "";
        if (!kindOf) continue;
        place.append(text.slice(at, found.index), h("span", { class: kindOf }, found[0]));
        at = found.index + found[0].length;
    }
    place.append(text.slice(at));
    return h("pre", { class: "code" }, place);
}
