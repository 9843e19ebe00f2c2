// The overview: sessions and batches by state, GPUs, warm drivers, one's own quota.

import { every, get, isAdmin } from "./api.js";
import { add, badge, bytes, fill, grid, h, link, section, toast } from "./dom.js";
import { quotaTable } from "./quotas.js";

const SHOWN = 1000;

/** How many there are of each state, of the newest ones. */
async function states(path, signal) {
    const { total } = await get(path, { size: 0 }, signal);
    const { sessions } = await get(path, { from: Math.max(0, total - SHOWN), size: SHOWN }, signal);
    const counts = new Map();
    for (const { state } of sessions) counts.set(state, (counts.get(state) ?? 0) + 1);
    return { total, counts, isPart: total > SHOWN, newest: sessions.slice(-5).reverse() };
}

function tile(title, to, { total, counts, isPart, newest }) {
    const rows = [...counts].sort().map(([state, count]) => h("li", null, badge(state), " ", h("strong", null, count)));
    return section(title,
        h("p", { class: "big" }, link(to, total), h("small", null, isPart ? ` in all; of the newest ${SHOWN}:` : " in all")),
        h("ul", { class: "states" }, rows),
        newest.length > 0 && h("ul", { class: "plainlist" }, newest.map((one) =>
            h("li", null, badge(one.state), " ", link(`${to}/${one.id}`, `${one.id} ${one.name ?? ""}`.trim()), one.owner && h("small", null, ` ${one.owner}`)))),
        h("p", null, link(`${to}/new`, to === "/batches" ? "New batch" : "New session", { class: "button" })));
}

function gpuTable({ gpus, waiting }) {
    if (gpus.length === 0) return section("GPUs", h("p", { class: "quiet" }, "This host has none that sessions can get."));
    const rows = gpus.map((gpu) => h("tr", null,
        h("th", { scope: "row" }, gpu.name, h("br"), h("small", null, gpu.uuid)),
        h("td", null, gpu.trouble ? h("span", { class: "badge s-dead" }, gpu.trouble) : meter(gpu.utilization, "of its time")),
        h("td", null, meter(gpu.memory ? Math.round((100 * gpu.used) / gpu.memory) : null, "of its memory"), h("small", null, ` ${bytes(gpu.used)} of ${bytes(gpu.memory)}`)),
        h("td", null, gpu.temperature === null ? "–" : `${gpu.temperature} °C`),
        h("td", null, gpu.held.length === 0 ? "free" : h("ul", { class: "plainlist" }, gpu.held.map((part) =>
            h("li", null, holder(part.by), ` ${bytes(part.memory)}`, part.shared && " (shared)"))))));
    return section("GPUs",
        grid("GPUs", ["GPU", "Use", "Memory", "Temperature", "Held by"], h("tbody", null, rows)),
        h("p", { class: "quiet" }, waiting === 0 ? "Nobody waits for GPUs." : `${waiting} wait for GPUs.`));
}

function holder(by) {
    const found = /^(session|batch) (\d+)$/.exec(by);
    return found ? link(`/${found[1] === "batch" ? "batches" : "sessions"}/${found[2]}`, by) : by;
}

function meter(percent, of) {
    if (percent === null || percent === undefined) return "–";
    const bar = h("progress", { max: 100, value: percent, "aria-label": `${percent} % ${of}` });
    return h("span", { class: "meter" }, bar, ` ${percent} %`);
}

function poolTable({ pool }) {
    if (pool.length === 0) return section("Warm drivers", h("p", { class: "quiet" }, "None are kept (pool.*)."));
    const columns = ["size", "ready", "starting", "claimed", "missed", "failed", "retired"];
    const rows = pool.map((stock) => h("tr", null,
        h("th", { scope: "row" }, stock.profile ?? "without a profile", stock.user && h("small", null, ` ${stock.user}`)),
        columns.map((column) => h("td", { class: "number" }, stock[column]))));
    return section("Warm drivers", grid("Warm drivers", ["profile", ...columns].map((name) => h("th", { scope: "col", class: name === "profile" ? undefined : "number" }, name)), h("tbody", null, rows)));
}

export function overview(place, _, signal) {
    const content = h("div", { class: "tiles" }, h("p", { class: "quiet" }, "Loading…"));
    add(place, [h("h1", null, "Overview"), content]);
    let last = "";
    every(3000, signal, async () => {
        const [sessions, batches, gpus, pool, quotas] = await Promise.all([
            states("/sessions", signal), states("/batches", signal), get("/gpus", null, signal), isAdmin && get("/pool", null, signal), get("/quotas", { size: 100 }, signal)]);
        if (signal.aborted) return;
        // What has not changed stays as it is: focus and selection with it.
        const now = JSON.stringify([[...sessions.counts], sessions, [...batches.counts], batches, gpus, pool, quotas]);
        if (now === last) return;
        last = now;
        fill(content, tile("Sessions", "/sessions", sessions), tile("Batches", "/batches", batches),
            section(quotas.quotas.length > 1 ? "Quotas" : "Your quota", quotaTable(quotas.quotas)), gpuTable(gpus), pool && poolTable(pool));
    }, (error) => toast(error.message, true));
}
