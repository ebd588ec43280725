// Contacts and companies: search, filters, pages; a drawer for each of them.

import { download, get, query } from "./api.js";
import { button, el, empty, heading, icon, link, opener, put, quiet, soon, text, when } from "./dom.js";
import { Place, pager, table } from "./list.js";
import { dialog } from "./overlay.js";
import { Drawer } from "./drawer.js";
import { avatar } from "./submission.js";

export const KINDS = {
  contacts: { plural: "contacts", one: "contact", many: "contacts", key: "email", label: "Email",
    title: "Contacts",
    words: "Everybody who left an address.",
    none: "People appear here when they send a form, or when you add or import them." },
  companies: { plural: "companies", one: "company", many: "companies", key: "name", label: "Name",
    title: "Companies",
    words: "Kept by their names.", none: "Add a company, or import a file of them." },
};
const TIMES = [["created_after", "Created after"], ["created_before", "Created before"],
  ["updated_after", "Changed after"], ["updated_before", "Changed before"]];
const OWN = new Set(["id", "email", "created_at", "updated_at", "name", "first_name", "last_name", "full_name"]);

export const contacts = (main, context) => new Records(KINDS.contacts, context).start(main);
export const companies = (main, context) => new Records(KINDS.companies, context).start(main);

class Records {
  constructor(kind, { params, replace, signal }) {
    Object.assign(this, { kind, params, replace, signal });
    this.hidden = new Set(); // deleted a moment ago
    this.place = new Place(signal, (until) => get(`/v1/${kind.plural}${query(this.asked())}`, { signal: until }),
      (page) => this.show(page));
  }

  /** What the address says, without the record that is open. */
  asked() {
    const { open, ...rest } = this.params;
    return { page_size: 20, ...rest };
  }

  async start(main) {
    const { kind } = this;
    put(main, heading(kind.title, kind.words,
      button("Export", () => this.export(), { image: "download" }),
      button(`Add a ${kind.one}`, () => this.open(null), { kind: "primary", image: "plus" })),
    this.toolbar(), this.place.node);
    await this.place.load();
    if (this.params.open) this.open(this.params.open);
  }

  change(changed) {
    Object.assign(this.params, { page: "" }, changed);
    for (const [name, value] of Object.entries(this.params)) if (value === "") delete this.params[name];
    this.replace(this.params);
    this.showChips();
    return this.place.load();
  }

  // -- search and filters

  toolbar() {
    const { kind } = this;
    const search = el("input",
      { type: "search", "aria-label": `Search ${kind.many}`, placeholder: `Search ${kind.many}`,
      value: this.params.q, maxlength: 100 });
    search.addEventListener("input", soon(() => this.change({ q: search.value.trim() })));
    this.chips = el("div", { class: "chips" });
    this.showChips();
    return el("div", {}, el("div", { class: "toolbar" }, el("div", { class: "search" }, icon("search"), search),
      button("Filter", () => this.filter(), { image: "filter" })), this.chips);
  }

  showChips() {
    const chips = Object.entries(this.params).flatMap(([name, value]) => {
      const on = name.match(/^filter\[(.*)\]$/)?.[1];
      const said = on ? `${on} is ${value}` : TIMES.find(([one]) => one === name)?.[1] + ` ${value}`;
      return on || TIMES.some(([one]) => one === name) ? [[name, said]] : [];
    });
    put(this.chips, chips.map(([name, said]) => el("span", { class: "chip" }, said,
      button(`Take away: ${said}`, () => this.change({ [name]: "" }), { kind: "bare tiny", image: "close" }))));
  }

  filter() {
    dialog("Filter", (body, close) => {
      const line = (label, control) => el("div", { class: "field" },
        el("label", { for: (control.id ||= `f-${label}`) }, label), control);
      const name = el("input", { placeholder: "plan", autocomplete: "off", maxlength: 200 });
      const value = el("input", { placeholder: "pro", autocomplete: "off" });
      const times = TIMES.map(([one]) => el("input", { type: "date", value: this.params[one] }));
      const form = el("form", { class: "form" },
        el("div", { class: "pair" }, line("Field", name), line("Is exactly", value)),
        el("div", { class: "pair" }, TIMES.map(([, label], n) => line(label, times[n]))),
        el("footer", {}, button("Cancel", close), button("Show", null, { kind: "primary", type: "submit" })));
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        const changed = Object.fromEntries(TIMES.map(([one], n) => [one, times[n].value]));
        if (name.value.trim()) changed[`filter[${name.value.trim()}]`] = value.value;
        close();
        this.change(changed);
      });
      put(body, form);
    }, { kind: "sheet small" });
  }

  // -- the table

  show(page) {
    const rows = page.data.filter((row) => !this.hidden.has(row.id));
    if (!rows.length && page.page === 1) return this.none();
    return [table(this.kind.title, this.columns(rows), rows, (row) => this.open(row.id)),
      pager({ ...page, total: page.total - (page.data.length - rows.length) }, this.kind.one, this.kind.many,
        (to) => this.change({ page: to }))];
  }

  none() {
    const { kind } = this;
    if (Object.keys(this.params).length) {
      return empty("search", "Nothing found", "Search for fewer words, or take a filter away.",
        button("Show all", () => this.clear()));
    }
    return empty(kind.plural, `No ${kind.many} yet`, kind.none,
      button(`Add a ${kind.one}`, () => this.open(null), { kind: "primary" }), link("Import a file", "#/files"));
  }

  clear() {
    for (const name of Object.keys(this.params)) delete this.params[name];
    document.querySelector(".toolbar input").value = "";
    return this.change({});
  }

  columns(rows) {
    const { kind } = this;
    const first = { title: kind.label, kind: "main", cell: (row) => {
      const called = kind.key === "email" && personName(row);
      return el("div", { class: "who" }, avatar(called || row[kind.key]), el("div", {},
        opener(`#/${kind.plural}?open=${row.id}`, () => this.open(row.id), {}, row[kind.key]),
        called && el("small", {}, called)));
    } };
    const others = common(rows).map((name) => ({ title: name, kind: "extra", cell: (row) => brief(row[name]) }));
    return [first, ...others, { title: "Added", kind: "time", cell: (row) => when(row.created_at) }];
  }

  // -- one of them

  open(id) {
    if (id) this.replace({ ...this.params, open: id });
    new Drawer(this.kind, id, {
      closed: () => {
        delete this.params.open;
        if (!this.signal.aborted) this.replace(this.params);
      },
      changed: () => !this.signal.aborted && this.place.load(),
      hide: (ref, gone) => {
        this.hidden[gone ? "add" : "delete"](ref);
        if (!this.signal.aborted) this.place.load();
      },
    }).show();
  }

  export() {
    const { page, ...rest } = this.asked();
    delete rest.page_size;
    const path = (form) => `/v1/${this.kind.plural}.${form}${query(rest)}`;
    dialog(`Export ${this.kind.many}`, (body) => {
      const as = (form, words) => el("li", {},
        el("div", {}, el("strong", {}, form.toUpperCase()), el("small", {}, words)),
        button(`Download ${form.toUpperCase()}`, () => download(path(form), `${this.kind.plural}.${form}`),
          { image: "download" }));
      put(body, el("p", {}, Object.keys(rest).length ? "What your search and filters show." : "All of them."),
        el("ul", { class: "rows choices" }, as("csv", "For a spreadsheet"), as("jsonl", "Exact, types and all")));
    }, { kind: "sheet small" });
  }
}

function personName(row) {
  const whole = [row.first_name, row.last_name].filter((part) => typeof part === "string" && part).join(" ");
  return [row.name, row.full_name, whole].find((one) => typeof one === "string" && one.trim()) || null;
}

/** The three fields that most of these rows have. */
function common(rows) {
  const counts = new Map();
  for (const row of rows) {
    for (const [name, value] of Object.entries(row)) {
      const plain = value !== null && typeof value !== "object";
      if (plain && !OWN.has(name)) counts.set(name, (counts.get(name) || 0) + 1);
    }
  }
  return [...counts].sort((a, b) => b[1] - a[1]).slice(0, 3).map(([name]) => name);
}

const brief = (value) => (value === undefined || value === null ? quiet("–") : text(value).slice(0, 120));
