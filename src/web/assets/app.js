// The frame around the pages: navigation, theme, which page is shown. Each page is a function of (place, parts, signal): it fills the place and
// stops all that it has going when the signal is aborted.

import { address, call, hasLogin, isAdmin } from "./api.js";
import { fill, h, toast } from "./dom.js";
import { overview } from "./overview.js";
import { batches, ended, sessions } from "./lists.js";
import { session } from "./session.js";
import { batch } from "./batch.js";
import { endedSession } from "./history.js";
import { newBatch, newSession } from "./create.js";
import { account } from "./account.js";
import { admin } from "./admin.js";
import { reference } from "./reference.js";
import { restyle } from "./output.js";

const ROUTES = [
    [/^\/$/, overview, "Overview"],
    [/^\/sessions$/, sessions, "Sessions"],
    [/^\/sessions\/new$/, newSession, "New session"],
    [/^\/sessions\/(\d+)$/, session, "Session"],
    [/^\/batches$/, batches, "Batches"],
    [/^\/batches\/new$/, newBatch, "New batch"],
    [/^\/batches\/(\d+)$/, batch, "Batch"],
    [/^\/history$/, ended, "Ended sessions"],
    [/^\/history\/(\d+)$/, endedSession, "Ended session"],
    [/^\/account$/, account, "Account"],
    [/^\/admin$/, admin, "Administration"],
    [/^\/api$/, reference, "API"],
];
const LINKS = [["/", "Overview"], ["/sessions", "Sessions"], ["/batches", "Batches"], ["/history", "Ended"], ["/account", "Account"],
    ...(isAdmin ? [["/admin", "Administration"]] : [])];
const THEMES = ["auto", "light", "dark"];

const version = document.querySelector("script[data-version]")?.dataset.version ?? "";
const main = h("main", { id: "main", tabindex: "-1" });
const nav = h("nav", { "aria-label": "Pages" });
let current;

function show() {
    current?.abort();
    current = new AbortController();
    const path = location.hash.slice(1).split("?")[0] || "/";
    fill(nav, LINKS.map(([to, text]) => {
        const isHere = to === "/" ? path === "/" : path.startsWith(to);
        return h("a", { href: `#${to}`, "aria-current": isHere ? "page" : undefined }, text);
    }));
    const place = h("div", { class: "page" });
    fill(main, place);
    for (const [pattern, page, title] of ROUTES) {
        const found = pattern.exec(path);
        if (!found) continue;
        document.title = `${[title, ...found.slice(1)].join(" ")} · Firesteel`;
        page(place, found.slice(1), current.signal);
        return;
    }
    document.title = "Not found · Firesteel";
    fill(place, h("h1", null, "There is no such page"), h("p", null, h("a", { href: "#/" }, "To the overview")));
}

function theme() {
    let chosen = "auto";
    try {
        chosen = localStorage.getItem("firesteel-theme") ?? "auto";
    } catch {
        // Without storage the choice holds for this page.
    }
    const button = h("button", { class: "plain", id: "theme" });
    const apply = () => {
        document.documentElement.dataset.theme = chosen;
        fill(button, { auto: "◐", light: "☀", dark: "☾" }[chosen] ?? "◐");
        button.setAttribute("aria-label", `Theme: ${chosen}`);
        button.title = `Theme: ${chosen}`;
        restyle();
    };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
    button.addEventListener("click", () => {
        chosen = THEMES[(THEMES.indexOf(chosen) + 1) % THEMES.length];
        try {
            localStorage.setItem("firesteel-theme", chosen);
        } catch {
            // As above.
        }
        apply();
    });
    apply();
    return button;
}

async function logOut() {
    try {
        await call("POST", "/logout");
        location.assign(address("/login"));
    } catch (error) {
        toast(error.message, true);
    }
}

const out = hasLogin && h("button", { class: "plain", onclick: logOut }, "Log out");
document.body.replaceChildren();
document.body.append(
    h("a", { class: "skip", href: "#main", onclick: (event) => { event.preventDefault(); main.focus(); } }, "To the content"),
    h("header", { class: "top" }, h("a", { class: "brand", href: "#/" }, "Firesteel"), nav, h("span", { class: "grow" }), theme(), out),
    main,
    h("footer", null, `Firesteel ${version} · `, h("a", { href: "#/api" }, "API")),
    h("div", { id: "toasts", "aria-live": "polite" }),
);
// A page that has a field to begin with takes the focus from there.
addEventListener("hashchange", () => { main.focus({ preventScroll: true }); show(); scrollTo(0, 0); });
show();
