// How a session starts: phase by phase, as it is told, and afterwards how long each took.

import { duration, fill, h } from "./dom.js";

const PHASES = [["queue", "Queue"], ["spawn", "Launch"], ["jvm", "JVM"], ["context", "SparkContext"], ["interpreter", "Interpreter"]];

/** The timeline. `node` is empty until something is known; a session that an earlier server started tells nothing. */
export function timeline() {
    const node = h("section", { class: "timeline", "aria-label": "Start", hidden: true });
    let took = new Map();
    let isStarting = false;

    function draw() {
        node.hidden = took.size === 0 && !isStarting;
        const total = [...took.values()].reduce((sum, ms) => sum + ms, 0);
        // A warm driver has passed some phases before the session was made.
        const last = PHASES.findLastIndex(([name]) => took.has(name));
        const known = PHASES.filter(([name], at) => took.has(name) || (isStarting && at > last));
        const current = isStarting ? PHASES[last + 1]?.[0] : undefined;
        fill(node, h("h2", null, isStarting ? "It starts" : `Started in ${duration(total)}`), h("ol", null, known.map(([name, text]) => {
            const ms = took.get(name);
            const state = ms !== undefined ? "past" : name === current ? "now" : "next";
            const step = h("li", { class: state, "aria-current": state === "now" ? "step" : undefined }, h("span", null, text), h("small", null, ms !== undefined ? duration(ms) : state === "now" ? "…" : ""));
            step.style.flexGrow = ms !== undefined && total > 0 ? Math.max(0.02, ms / total) : 0.02;
            return step;
        })));
    }

    return {
        node,
        /** All phases that are known, in place of what was. */
        all(phases) {
            took = new Map(phases.map(({ phase, ms }) => [phase, ms]));
            draw();
        },
        /** One more has ended. */
        add({ phase, ms }) {
            took.set(phase, ms);
            draw();
        },
        /** Whether the session starts still. */
        starting(yes) {
            isStarting = yes;
            draw();
        },
    };
}
