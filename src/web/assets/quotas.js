// Quotas as a table: what is used, of how much.

import { bytes, grid, h } from "./dom.js";

export const AMOUNTS = [["sessions", "Sessions"], ["batches", "Batches"], ["queued", "Waiting"], ["cores", "Cores"], ["memory", "Memory", bytes], ["gpus", "GPUs"],
    ["uploads", "Uploads", bytes], ["statementsPerMinute", "Statements a minute"]];

/** Usage and limits of each quota; `change` gets one that an administrator wants to change. */
export function quotaTable(quotas, change) {
    const cell = (quota, key, write = String) => {
        const [used, limit] = [quota.usage[key], quota.limits[key]];
        if (used === null && limit === null) return "–";
        const shown = `${used === null ? "" : write(used)}${limit === null ? "" : ` of ${write(limit)}`}`.trim();
        const isFull = limit !== null && used !== null && used >= limit && limit > 0;
        return h("span", { class: isFull ? "full" : undefined }, shown, limit > 0 && used !== null && h("progress", { max: limit, value: Math.min(used, limit), "aria-hidden": "true" }));
    };
    return grid("Quotas", ["User", ...AMOUNTS.map(([, name]) => name), ...(change ? [""] : [])],
        h("tbody", null, quotas.map((quota) => h("tr", null,
            h("th", { scope: "row" }, quota.user ?? "everybody", quota.quota && h("small", null, ` ${quota.quota}${quota.together ? ", together" : ""}`)),
            AMOUNTS.map(([key, , write]) => h("td", null, cell(quota, key, write))),
            change && h("td", null, quota.user && h("button", { "aria-label": `Change the quota of ${quota.user}`, onclick: () => change(quota) }, "Change"))))));
}
