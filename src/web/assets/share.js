// With whom a session or batch is shared, and handing it over.

import { call, get, part } from "./api.js";
import { add, fill, h, labelled, toast } from "./dom.js";

/** The shares of what is at `path`. Who may not share it is told so. */
export function shares(path) {
    const place = h("div", { class: "card stack" });
    const list = h("ul", { class: "plainlist" });
    const tell = (error) => toast(error.message, true);
    const load = () => get(`${path}/shares`).then((view) => fill(list, view.shares.length === 0 ? h("li", { class: "quiet" }, "With nobody.") : view.shares.map(row)));
    const route = (share) => `${path}/shares/${share.user ? "users" : "groups"}/${part(share.user ?? share.group)}`;
    const row = (share) => h("li", { class: "row" }, share.user ?? `@${share.group}`, h("span", { class: "badge" }, share.access),
        h("button", { onclick: () => call("DELETE", route(share)).then(load, tell) }, "Take back"));
    const name = h("input", { required: true, autocomplete: "off", autocapitalize: "none", placeholder: "bob, or @ops for a group" });
    const access = h("select", null, ["view", "modify", "own"].map((word) => h("option", { value: word }, word)));
    const submit = (event) => {
        event.preventDefault();
        const given = name.value.trim();
        const share = given.startsWith("@") ? { group: given.slice(1) } : { user: given };
        call("PUT", route(share), { body: { access: access.value } }).then(() => { name.value = ""; return load(); }).catch(tell);
    };
    const owner = h("input", { required: true, autocomplete: "off", autocapitalize: "none" });
    const hand = (event) => {
        event.preventDefault();
        call("POST", `${path}/owner`, { body: { user: owner.value.trim() } }).then((answer) => toast(answer.msg ?? "Done."), tell);
    };
    add(place, [list,
        h("form", { class: "row bottom", onsubmit: submit }, labelled("User or @group", name), labelled("May", access), h("button", null, "Share")),
        h("p", { class: "quiet" }, "Whoever may modify a session runs code as the user of its driver."),
        h("form", { class: "row bottom", onsubmit: hand }, labelled("New owner", owner), h("button", null, "Hand over"))]);
    load().catch((error) => fill(place, h("p", { class: "quiet" }, error.message)));
    return place;
}
