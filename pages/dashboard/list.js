// Tables in pages, with a place for what loads, what is empty and what failed.

import { button, el, failure, number, plural, put, skeleton } from "./dom.js";

/** A table: `columns` are {title, cell(row), kind}; `open(row)` makes rows answer to a click. */
export function table(caption, columns, rows, open = null) {
  const line = (row) => {
    const cells = columns.map((column, n) => el(n ? "td" : "th",
      { class: column.kind, scope: n ? null : "row", "data-title": column.title }, column.cell(row)));
    return el("tr", { "data-id": row.id, class: open && "opens", onclick: (event) => {
      if (open && !event.target.closest("a, button, input")) open(row);
    } }, cells);
  };
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", { class: "list" },
    el("caption", { class: "hidden" }, caption),
    el("thead", {}, el("tr", {}, columns.map((column) => el("th", { scope: "col", class: column.kind },
      column.kind === "act" ? el("span", { class: "hidden" }, "What to do") : column.title)))),
    el("tbody", {}, rows.map(line))));
}

export function pager({ page, total_pages: last, total, total_capped: capped }, one, many, go) {
  const counted = capped ? `more than ${number(total)} ${many}` : plural(total, one, many);
  const turn = (label, to, possible) => button(label, () => go(to), { kind: "small", disabled: !possible });
  return el("nav", { class: "pager", "aria-label": "Pages" },
    el("p", {}, last > 1 ? `Page ${number(page)} of ${capped ? "many" : number(last)} · ${counted}` : counted),
    (last > 1 || page > 1) && el("div", { class: "actions" },
      turn("Previous", page - 1, page > 1), turn("Next", page + 1, page < last)));
}

/** A place that shows what `read(signal)` brings; a newer look ends an older one. */
export class Place {
  constructor(signal, read, show) {
    Object.assign(this, { signal, read, show, node: el("div", { class: "place" }) });
  }

  async load() {
    this.looking?.abort();
    this.looking = new AbortController();
    const signal = AbortSignal.any([this.signal, this.looking.signal]);
    if (!this.node.firstChild) put(this.node, skeleton());
    this.node.setAttribute("aria-busy", "true");
    try {
      const found = await this.read(signal);
      if (!signal.aborted) put(this.node, this.show(found));
    } catch (err) {
      if (err.name !== "AbortError") put(this.node, failure(err, () => this.load()));
    } finally {
      if (!signal.aborted) this.node.removeAttribute("aria-busy");
    }
  }
}
