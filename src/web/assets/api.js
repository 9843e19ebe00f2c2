// The public API, as this page's user. Every request that changes something says where it comes from (X-Requested-By); who is not known is sent to
// the login.

/** Where the server is, below any prefix: this file is at ROOT/ui/assets/VERSION/api.js. */
export const ROOT = new URL("../../../", import.meta.url);

/** An answer that says no. */
export class Refused extends Error {
    constructor(status, message) {
        super(message);
        this.status = status;
    }
}

let leaving = false;

/** One request. `query` is an object; `body` becomes JSON unless it is a form. Gives the answer's JSON. */
export async function call(method, path, { query, body, signal, exact } = {}) {
    const answer = await send(method, path, { query, body, signal });
    const text = await answer.text();
    return text ? JSON.parse(text, exact ? keepDigits : undefined) : null;
}

/** The same, as the answer itself. */
export async function send(method, path, { query, body, signal } = {}) {
    const headers = { Accept: "application/json" };
    if (method !== "GET") headers["X-Requested-By"] = "firesteel";
    const isForm = body instanceof FormData;
    if (body !== undefined && !isForm) headers["Content-Type"] = "application/json";
    const sent = isForm || body === undefined ? body : JSON.stringify(body);
    let answer;
    try {
        answer = await fetch(address(path, query), { method, headers, body: sent, signal, credentials: "same-origin", redirect: "error" });
    } catch (error) {
        if (signal?.aborted) throw error;
        throw new Refused(0, "The server cannot be reached.");
    }
    if (answer.ok) return answer;
    if (answer.status === 401) toLogin();
    throw new Refused(answer.status, await reason(answer));
}

/** The full address of a path of the API. */
export function address(path, query) {
    const url = new URL(path.replace(/^\//, ""), ROOT);
    for (const [key, value] of Object.entries(query ?? {})) {
        if (value !== undefined && value !== null) url.searchParams.set(key, value);
    }
    return url;
}

export const get = (path, query, signal) => call("GET", path, { query, signal });

/** A part of a path, whatever is in it. */
export const part = (text) => encodeURIComponent(text);

async function reason(answer) {
    const text = await answer.text();
    try {
        const body = JSON.parse(text);
        const told = typeof body === "string" ? body : body.msg ?? body.message;
        if (told) return String(told);
    } catch {
        // No JSON: the status says it.
    }
    if (answer.status === 403) return "You may not do this.";
    if (answer.status === 404) return "There is no such thing, or it is not yours to see.";
    return `The server answered ${answer.status}.`;
}

/** Whether browsers log in by a page of the server. */
export const hasLogin = document.querySelector("script[data-login]") !== null;

/** Whether the reader is an administrator; without authentication everybody is. */
export const isAdmin = document.querySelector("script[data-admin]") !== null;

function toLogin() {
    if (leaving || !hasLogin) return;
    leaving = true;
    location.assign(address("/login"));
}

/** Numbers that JavaScript would round keep all their digits, as text. */
function keepDigits(key, value, context) {
    const source = context?.source;
    return typeof value === "number" && source && String(value) !== source && Number.isFinite(value) && !/[eE]/.test(source)
        && !(/\.\d*0$/.test(source) && source.length < 16) ? source : value;
}

/** Does something now and again, while the page is seen and until `signal` says stop. A failure is told to `failed` and tried again. */
export function every(ms, signal, work, failed) {
    let timer;
    const round = async () => {
        clearTimeout(timer);
        if (signal.aborted) return;
        let next = ms;
        if (!document.hidden) {
            try {
                next = (await work()) ?? ms;
            } catch (error) {
                if (signal.aborted) return;
                failed?.(error);
                next = Math.max(ms, 5000);
            }
        }
        if (!signal.aborted && next !== Infinity) timer = setTimeout(round, next);
    };
    const seen = () => { if (!document.hidden) round(); };
    document.addEventListener("visibilitychange", seen, { signal });
    signal.addEventListener("abort", () => clearTimeout(timer));
    round();
    return round;
}
