// The forms for a new session and a new batch.

import { call, get } from "./api.js";
import { add, h, labelled, toast } from "./dom.js";

const LANGUAGES = ["pyspark", "spark", "sql", "sparkr", "shared"];

const text = (placeholder, more) => h("input", { autocomplete: "off", autocapitalize: "none", spellcheck: "false", placeholder, ...more });
const count = () => h("input", { type: "number", min: 0, step: 1, inputmode: "numeric" });
const lines = (placeholder, rows = 2) => h("textarea", { rows, placeholder, spellcheck: "false", autocapitalize: "none" });

/** Lines, without those that are empty. */
const listOf = (field) => field.value.split("\n").map((line) => line.trim()).filter(Boolean);

/** `key=value` or `key value` on each line. */
function confOf(field) {
    const conf = {};
    for (const line of listOf(field)) {
        const found = /^([^\s=]+)\s*[=\s]\s*(.*)$/.exec(line);
        if (!found) throw new Error(`Conf: "${line}" needs a key and a value, such as spark.executor.memory=4g`);
        conf[found[1]] = found[2];
    }
    return conf;
}

/** A form whose fields become a request. `fields` is a list of groups: [title, isOpen, [[key, label, input, hint], ...]]. */
function form(place, { title, path, groups, button, to }) {
    const fields = groups.flatMap(([, , rows]) => rows);
    const wrong = h("p", { class: "notice error", role: "alert", hidden: true });
    const submit = h("button", { class: "primary" }, button);
    const send = async (event) => {
        event.preventDefault();
        wrong.hidden = true;
        submit.disabled = true;
        try {
            const body = {};
            for (const [key, , field] of fields) {
                if (field.value.trim() === "") continue;
                if (key === "conf") body.conf = { ...body.conf, ...confOf(field) };
                else if (key === "profile") body.conf = { ...body.conf, "firesteel.profile": field.value.trim() };
                else if (field.type === "number") body[key] = Number(field.value);
                else if (field.tagName === "TEXTAREA") body[key] = listOf(field);
                else body[key] = field.value.trim();
            }
            const made = await call("POST", path, { body });
            location.hash = `#${to}/${made.id}`;
        } catch (error) {
            wrong.textContent = error.message;
            wrong.hidden = false;
            wrong.scrollIntoView({ block: "nearest" });
        } finally {
            submit.disabled = false;
        }
    };
    const shown = groups.map(([name, isOpen, rows]) => {
        const grid = h("div", { class: "grid" }, rows.map(([key, label, field, hint]) => {
            field.name = key;
            return labelled(label, field, hint);
        }));
        return isOpen ? grid : h("details", null, h("summary", null, name), grid);
    });
    add(place, [h("h1", null, title), h("form", { class: "card", onsubmit: send }, shown, wrong, h("div", { class: "row end" }, submit))]);
    fields.find(([, , field]) => field.tagName !== "SELECT")[2].focus({ preventScroll: true });
}

const resources = () => ["Resources", false, [
    ["driverMemory", "Driver memory", text("2g")], ["driverCores", "Driver cores", count()],
    ["executorMemory", "Executor memory", text("4g")], ["executorCores", "Executor cores", count()],
    ["numExecutors", "Executors", count()], ["queue", "Queue of the cluster", text("")]]];
const files = () => ["Files", false, [
    ["jars", "Jars", lines("one a line: hdfs:///lib/a.jar or upload://…")], ["pyFiles", "Python files", lines("one a line")],
    ["files", "Files", lines("one a line")], ["archives", "Archives", lines("one a line")]]];
const conf = () => ["Conf", false, [["conf", "Spark conf", lines("spark.sql.shuffle.partitions=8", 4), "key=value on each line"],
    ["profile", "Profile", text("gpu"), "one of the administrator's"], ["proxyUser", "Runs as", text(""), "where acting for others is on"]]];

export function newSession(place) {
    const kind = h("select", null, LANGUAGES.map((one) => h("option", { value: one }, one)));
    form(place, { title: "New session", path: "/sessions", to: "/sessions", button: "Create session", groups: [
        ["", true, [["name", "Name", text("etl"), "may be left out"], ["kind", "Language", kind]]], resources(), conf(), files(),
        ["Times", false, [["idleTimeout", "Ends when idle for", text("1h")], ["ttl", "Lives at most", text("8h")],
            ["heartbeatTimeoutInSecond", "Seconds without a request", count()]]]] });
}

export function newBatch(place, _, signal) {
    const known = h("datalist", { id: "uploads" });
    form(place, { title: "New batch", path: "/batches", to: "/batches", button: "Create batch", groups: [
        ["", true, [["file", "Application", text("/jobs/report.py", { required: true, list: "uploads" }), "a jar, a Python or an R file; uploads are offered"],
            ["name", "Name", text(""), "may be left out"], ["className", "Main class", text("org.example.Main"), "of a jar"], ["args", "Arguments", lines("one a line")]]],
        resources(), conf(), files()] });
    place.append(known);
    get("/uploads", { size: 100 }, signal).then(({ uploads }) => {
        known.append(...uploads.map((upload) => h("option", { value: upload.uri }, upload.name)));
    }).catch((error) => { if (!signal.aborted) toast(error.message, true); });
}
