// The lists of sessions, batches and ended sessions. The newest rows come first, the others in the background; only those in sight are in the document.

import { every, get } from "./api.js";
import { add, badge, fill, h, link, toast, when } from "./dom.js";

const FIRST = 100;
const PAGE = 2500;
const AT_ONCE = 3;
const WORDS = new Intl.Collator();
const ROW = 38;
const AROUND = 12;

/** A table with a filter, sortable columns, and rows that are made when they come into sight. */
function listing(columns, noun) {
    let all = [];
    let total = 0;
    let shown = [];
    let sort = { at: 0, down: true };
    const filter = h("input", { type: "search", placeholder: "Filter: words, or state:idle owner:ada", "aria-label": `Filter ${noun}`, oninput: () => apply() });
    const count = h("span", { class: "quiet", role: "status" });
    const head = h("tr");
    const body = h("tbody");
    const table = h("table", { class: "list" }, h("thead", null, head), body);
    const scroller = h("div", { class: "scroll rows", tabindex: "0", role: "region", "aria-label": noun }, table);
    const empty = h("p", { class: "quiet", hidden: true });
    let drawn = "";

    const heads = () => fill(head, columns.map((column, at) => {
        const isBy = sort.at === at;
        const toggle = () => {
            sort = { at, down: isBy ? !sort.down : false };
            heads();
            apply();
            head.children[at].firstChild.focus();
        };
        return h("th", { scope: "col", class: column.class, "aria-sort": isBy ? (sort.down ? "descending" : "ascending") : undefined },
            h("button", { class: "plain", onclick: toggle }, column.name, isBy && h("span", { "aria-hidden": "true" }, sort.down ? " ▾" : " ▴")));
    }));

    function apply() {
        const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean).map((word) => {
            const found = /^(\w+):(.*)$/.exec(word);
            return found && columns.some((column) => column.key === found[1]) ? found.slice(1) : ["", word];
        });
        const has = (row) => words.every(([key, word]) => (key ? String(row[key] ?? "").toLowerCase().includes(word) : row.text.includes(word)));
        const { key } = columns[sort.at];
        const way = sort.down ? -1 : 1;
        shown = words.length ? all.filter(has) : all.slice();
        shown.sort((a, b) => {
            const [x, y] = [a[key] ?? "", b[key] ?? ""];
            const order = typeof x === "number" && typeof y === "number" ? x - y : x === y ? 0 : WORDS.compare(String(x), String(y));
            return way * order || b.id - a.id;
        });
        table.setAttribute("aria-rowcount", shown.length + 1);
        count.textContent = `${words.length ? `${shown.length} of ` : ""}${total}${all.length < total ? ", being fetched" : ""}`;
        empty.hidden = shown.length > 0;
        empty.textContent = all.length ? "Nothing fits the filter." : `There are no ${noun}.`;
        drawn = "";
        draw();
    }

    function draw() {
        const first = Math.max(0, Math.floor(scroller.scrollTop / ROW) - AROUND);
        const last = Math.min(shown.length, first + Math.ceil(scroller.clientHeight / ROW) + 2 * AROUND);
        if (drawn === `${first}-${last}`) return;
        drawn = `${first}-${last}`;
        const gap = (rows) => {
            const made = h("tr", { "aria-hidden": "true", class: "gap" }, h("td", { colspan: columns.length }));
            made.style.height = `${rows * ROW}px`;
            return rows > 0 && made;
        };
        // A link that has the focus keeps it.
        const focused = document.activeElement?.closest?.("tr")?.dataset.id;
        fill(body, gap(first), shown.slice(first, last).map((row, at) => h("tr", { "data-id": row.id, "aria-rowindex": first + at + 2 },
            columns.map((column) => h("td", { class: column.class }, column.cell ? column.cell(row) : row[column.key] ?? "")))), gap(shown.length - last));
        if (focused) body.querySelector(`tr[data-id="${CSS.escape(focused)}"] a`)?.focus({ preventScroll: true });
    }

    scroller.addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
    heads();
    return {
        node: [h("div", { class: "row" }, filter, count), scroller, empty],
        rows(rows, inAll = rows.length) {
            [all, total] = [rows, inAll];
            apply();
        },
        resized: () => draw(),
    };
}

/** All rows of a list. `first` gets the newest ones, and how many there are in all, where those are not all. */
async function fetchAll(path, isNewestFirst, signal, first) {
    const page = async (from, size) => {
        const answer = await get(path, { from, size }, signal);
        return { total: answer.total, rows: answer.sessions.map(slim) };
    };
    if (first) {
        const { total, rows } = await page(0, FIRST);
        if (rows.length >= total) return rows;
        first(isNewestFirst ? rows : (await page(total - FIRST, FIRST)).rows, total);
    }
    let { total, rows } = await page(0, PAGE);
    for (let from = PAGE; from < total; from += PAGE * AT_ONCE) {
        const froms = Array.from({ length: AT_ONCE }, (_, at) => from + at * PAGE).filter((one) => one < total);
        rows = rows.concat(...(await Promise.all(froms.map((one) => page(one, PAGE)))).map((one) => one.rows));
    }
    return rows;
}

function slim(row) {
    const { id, name, owner, proxyUser, kind, state, appId, appInfo } = row;
    const gpus = appInfo?.gpus ?? "";
    return { id, name: name ?? "", owner: owner ?? "", proxyUser, kind, state, appId: appId ?? "", gpus, ended: row.ended, diagnosis: row.diagnosis,
        text: [id, name, owner, proxyUser, kind, state, appId, gpus, row.diagnosis].filter((part) => part ?? false).join("\n").toLowerCase() };
}

function page(place, signal, { title, path, columns, create, fast, isNewestFirst }) {
    const list = listing(columns, title.toLowerCase());
    add(place, [h("div", { class: "row" }, h("h1", null, title), h("span", { class: "grow" }), create && link(create[0], create[1], { class: "button primary" })), list.node]);
    addEventListener("resize", list.resized, { signal });
    let last = "";
    let isFirst = true;
    every(fast, signal, async () => {
        const rows = await fetchAll(path, isNewestFirst, signal, isFirst && ((some, total) => { if (!signal.aborted) list.rows(some, total); }));
        if (signal.aborted) return undefined;
        const now = JSON.stringify(rows);
        if (isFirst || now !== last) list.rows(rows);
        [last, isFirst] = [now, false];
        return rows.length > 1000 ? 20000 : fast;
    }, (error) => toast(error.message, true));
}

const idOf = (to) => ({ key: "id", name: "Id", class: "number", cell: (row) => link(`${to}/${row.id}`, row.id) });
const named = (to) => ({ key: "name", name: "Name", cell: (row) => (row.name ? link(`${to}/${row.id}`, row.name, { tabindex: "-1" }) : h("span", { class: "quiet" }, "–")) });
const STATE = { key: "state", name: "State", cell: (row) => badge(row.state) };
const OWNER = { key: "owner", name: "Owner", cell: (row) => [row.owner, row.proxyUser && row.proxyUser !== row.owner && h("small", null, ` as ${row.proxyUser}`)] };
const KIND = { key: "kind", name: "Kind" };
const APP = { key: "appId", name: "Application", class: "wide" };
const GPUS = { key: "gpus", name: "GPUs", class: "wide" };

export function sessions(place, _, signal) {
    page(place, signal, { title: "Sessions", path: "/sessions", create: ["/sessions/new", "New session"], fast: 2000,
        columns: [idOf("/sessions"), named("/sessions"), STATE, KIND, OWNER, APP, GPUS] });
}

export function batches(place, _, signal) {
    page(place, signal, { title: "Batches", path: "/batches", create: ["/batches/new", "New batch"], fast: 2000,
        columns: [idOf("/batches"), named("/batches"), STATE, OWNER, APP, GPUS] });
}

export function ended(place, _, signal) {
    page(place, signal, { title: "Ended sessions", path: "/history", fast: 10000, isNewestFirst: true,
        columns: [idOf("/history"), named("/history"), STATE, KIND, OWNER,
            { key: "ended", name: "Ended", cell: (row) => when(row.ended) },
            { key: "diagnosis", name: "Why", class: "wide clip", cell: (row) => h("span", { title: row.diagnosis }, row.diagnosis ?? "") }] });
}
