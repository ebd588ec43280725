// Import with a look at the first rows, and export.

import { download, query, upload } from "./api.js";
import { blame, button, choice, el, field, heading, icon, note, number, plural, put, select, sentence, text,
  unblame } from "./dom.js";
import { sample } from "./sample.js";
import { refreshStats } from "./state.js";

const MEDIA = { csv: "text/csv", jsonl: "application/jsonl" };
const KEYS = { contacts: "email", companies: "name" };
const ENCODINGS = [["utf-8", "UTF-8"], ["windows-1252", "Windows (Western Europe)"],
  ["windows-1250", "Windows (Central Europe)"],
  ["windows-1251", "Windows (Cyrillic)"], ["iso-8859-1", "ISO 8859-1"], ["shift_jis", "Shift JIS"]];

export async function files(main, { signal }) {
  put(main, heading("Import and export", "Bring what you have, take what is here."),
    el("div", { class: "stack" }, new Import(signal).node, exports()));
}

// -- out

function exports() {
  const rows = [["contacts", "Contacts"], ["companies", "Companies"], ["submissions", "Submissions"]];
  const as = (kind, form) => button(`${form.toUpperCase()}`, () => download(`/v1/${kind}.${form}`, `${kind}.${form}`),
    { kind: "small", image: "download", "aria-label": `Download ${kind} as ${form.toUpperCase()}` });
  return el("section", { class: "card", "aria-labelledby": "export" },
    el("header", {}, el("h2", { id: "export" }, "Export")),
    el("p", { class: "quiet" },
      "CSV opens in a spreadsheet; JSONL is exact, types and all. Narrowed ones: search first, then export there."),
    el("ul", { class: "rows choices" },
      rows.map(([kind, title]) => el("li", {},
        el("strong", {}, icon(kind === "submissions" ? "inbox" : kind), title),
      el("div", { class: "actions" }, as(kind, "csv"), as(kind, "jsonl"))))));
}

// -- in

class Import {
  constructor(signal) {
    Object.assign(this, { signal, file: null, column: null });
    this.picker = el("input", { type: "file", accept: ".csv,.tsv,.txt,.jsonl,.ndjson", id: "file" });
    this.picker.addEventListener("change", () => this.take(this.picker.files[0]));
    this.drop = el("div", { class: "drop" }, el("span", { class: "medal" }, icon("upload")),
      el("label", { for: "file" }, "Choose a CSV or JSONL file"), this.picker,
      el("p", { class: "hint" }, "or drop one here, up to 64 MB"));
    this.drop.addEventListener("dragover",
      (event) => { event.preventDefault(); this.drop.classList.add("over"); });
    this.drop.addEventListener("dragleave", () => this.drop.classList.remove("over"));
    this.drop.addEventListener("drop", (event) => this.dropped(event));
    this.kinds = el("fieldset", { class: "flat" }, el("legend", { class: "hidden" }, "What the file holds"),
      choice("radio", "kind", "contacts", "Contacts", { checked: true }),
      choice("radio", "kind", "companies", "Companies"));
    this.kinds.addEventListener("change", () => this.look());
    this.encoding = select(ENCODINGS, "utf-8", { name: "encoding" });
    this.encoding.addEventListener("change", () => this.look());
    this.seen = el("div", { class: "seen" });
    this.report = el("div", { role: "status", class: "report" });
    this.node = el("form", { class: "form card", "aria-labelledby": "import" },
      el("header", {}, el("h2", { id: "import" }, "Import")),
      this.drop, this.seen, el("p", { class: "wrong", role: "alert" }), this.report);
  }

  dropped(event) {
    event.preventDefault();
    this.drop.classList.remove("over");
    this.take(event.dataTransfer.files[0]);
  }

  take(file) {
    if (!file) return;
    Object.assign(this, { file, column: null });
    put(this.report);
    this.look();
  }

  get kind() {
    return this.kinds.querySelector("input:checked").value;
  }

  /** Shows the first rows and which column is the key's. */
  async look() {
    unblame(this.node);
    if (!this.file) return;
    try {
      this.sample = await sample(this.file, KEYS[this.kind], this.encoding.value);
    } catch {
      return blame(this.node, { message: "The file cannot be read" });
    }
    const { found, columns, form } = this.sample;
    const named = this.column && columns.includes(this.column) ? this.column : found;
    const pick = select([["", "Choose the column"], ...columns.map((name) => [name, name])], named || "",
      { "aria-label": "Key column" });
    pick.addEventListener("change", () => { this.column = pick.value || null; this.look(); });
    put(this.seen, el("p", { class: "file" }, icon("file"), el("strong", {}, this.file.name), " ",
      el("span", { class: "quiet" }, size(this.file.size))),
      el("div", { class: "pair" }, this.kinds, form === "csv" && field("Encoding", this.encoding)),
      columns.length ? this.preview(named) : note("bad", el("p", {}, "The file has no lines.")),
      form === "csv" && field(`Column with the ${KEYS[this.kind]}`, pick, { name: "column",
        hint: named ? `Found: ${named}` : "None was found by its name: choose the one." }),
      el("footer", {}, button(`Import ${this.kind}`, () => this.send(named),
        { kind: "primary", image: "upload", disabled: !named })));
  }

  preview(named) {
    const { columns, rows } = this.sample;
    const few = [named, ...columns.filter((name) => name !== named)].filter(Boolean).slice(0, 8);
    return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The first rows" },
      el("table", { class: "list small" },
      el("caption", {}, `The first ${plural(rows.length, "row")}`,
        columns.length > few.length && `, ${few.length} of ${columns.length} columns`),
      el("thead", {}, el("tr", {},
        few.map((name) => el("th", { scope: "col", class: name === named && "key" }, name)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, few.map((name) =>
        el("td", { class: name === named && "key" },
          row[name] === undefined ? "" : text(row[name]).slice(0, 80))))))));
  }

  async send(named) {
    unblame(this.node);
    const { found, form } = this.sample, { kind } = this;
    const bar = el("progress", { max: 1, value: 0, "aria-label": "Import" });
    const words = el("p", { class: "quiet" }, "Sending the file …");
    put(this.report, bar, words);
    const type = form === "csv" ? `${MEDIA.csv}; charset=${this.encoding.value}` : MEDIA.jsonl;
    const path = `/v1/${kind}.${form}${query({ column: form === "csv" && named !== found ? named : "" })}`;
    try {
      const report = await upload(path, this.file, type, (share) => {
        bar.value = share;
        if (share < 1) return;
        bar.removeAttribute("value");
        put(words, "The server takes the lines in …");
      }, this.signal);
      put(this.report, result(report, kind));
      refreshStats().catch(() => {});
    } catch (err) {
      put(this.report);
      blame(this.node, err);
    }
  }
}

function result({ created, updated, failed, errors, warnings = [] }, kind) {
  const good = failed ? "warn" : "good";
  const words = `${number(created)} new, ${number(updated)} known and brought up to date, ${number(failed)} not taken. `;
  return [
    note(good, icon(failed ? "alert" : "check"), el("p", {}, words, el("a", { href: `#/${kind}` }, `See the ${kind}`))),
    lines("Lines that were not taken", errors, failed),
    lines("Lines taken with a remark", warnings, warnings.length),
  ];
}

function lines(title, found, all) {
  if (!found?.length) return null;
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title },
    el("table", { class: "list small" },
    el("caption", {}, title, all > found.length && ` (the first ${found.length} of ${number(all)})`),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Line"),
      el("th", { scope: "col" }, "What is wrong"))),
    el("tbody", {}, found.map((one) => el("tr", {}, el("th", { scope: "row" }, number(one.line)),
      el("td", {}, sentence(one.message)))))));
}

function size(bytes) {
  if (bytes < 1024) return `${bytes} bytes`;
  return bytes < 1024 ** 2 ? `${Math.round(bytes / 1024)} KB` : `${(bytes / 1024 ** 2).toFixed(1)} MB`;
}
