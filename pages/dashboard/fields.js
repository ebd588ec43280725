// A record's fields to edit, one by one or as JSON.

import { parse } from "./api.js";
import { button, el, newId, put, select, text } from "./dom.js";

const TYPES = [["text", "Text"], ["number", "Number"], ["yesno", "Yes or no"], ["null", "Nothing"],
  ["json", "JSON"]];

function typeOf(value) {
  if (value === null) return "null";
  const type = { string: "text", boolean: "yesno", number: "number" }[typeof value];
  return type || (JSON.isRawJSON?.(value) ? "number" : "json");
}

/** What is wrong with what somebody wrote, said beside it. */
export class Unreadable extends Error {}

/** A value's control; `read()` gives it back or throws `Unreadable`. */
function control(name, type, value) {
  const label = { "aria-label": `Value of ${name || "the new field"}` };
  if (type === "null") return { node: el("p", { class: "quiet" }, "null"), read: () => null };
  if (type === "yesno") {
    const node = select([["true", "Yes"], ["false", "No"]], String(value), label);
    return { node, read: () => node.value === "true" };
  }
  if (type === "text") {
    const long = value.length > 60 || /[\r\n]/.test(value);
    const node = long ? el("textarea", { rows: 4, ...label }, value) : el("input", { ...label, value });
    return { node, read: unlessEdited(node, value, (words) => words) };
  }
  const words = type === "json" ? JSON.stringify(value, null, 2) : text(value);
  const node = type === "number" ? el("input", { inputmode: "decimal", ...label, value: words })
    : el("textarea", { rows: 5, class: "mono", spellcheck: "false", ...label }, words);
  return { node, read: unlessEdited(node, value, (now) => json(now, `The value of ${name || "the new field"}`)) };
}

/** What a control was given, exactly, where nobody touched it: its own text has other line ends. */
function unlessEdited(node, value, read) {
  const begun = node.value;
  return () => (node.value === begun && value !== undefined ? value : read(node.value));
}

function json(words, what = "That") {
  try {
    return parse(words);
  } catch (err) {
    throw new Unreadable(`${what} is not JSON (${err.message})`);
  }
}

/** An editor of an object: `node`, and `read()` for what it says now. */
export class FieldsEditor {
  constructor(document) {
    this.node = el("div", { class: "editor" });
    this.asJson = false;
    this.show(document);
  }

  show(document) {
    if (this.asJson) {
      this.area = el("textarea",
        { class: "mono", rows: 18, spellcheck: "false", "aria-label": "The fields as JSON" },
        JSON.stringify(document, null, 2));
      this.rows = null;
      put(this.node, this.area);
      return;
    }
    this.rows = Object.entries(document).map(([name, value]) => this.row(name, value));
    this.list = el("div", { class: "edited" }, this.rows.map((row) => row.node));
    put(this.node, this.list, button("Add a field", () => this.add(), { image: "plus", kind: "small" }));
  }

  read() {
    if (!this.asJson) return this.readRows();
    const document = json(this.area.value);
    const isObject = typeOf(document) === "json" && !Array.isArray(document);
    if (!isObject) throw new Unreadable("Give one JSON object: { … }");
    return document;
  }

  readRows() {
    const named = this.rows.map((row) => [row.name(), row.read]);
    const twice = named.find(([name], n) => named.findIndex(([other]) => other === name) !== n);
    if (twice) throw new Unreadable(`There are two fields named ${twice[0]}`);
    if (named.some(([name]) => !name)) throw new Unreadable("Give each field a name, or take it out");
    return Object.fromEntries(named.map(([name, read]) => [name, read()]));
  }

  /** Changes between fields and JSON; throws where what is written cannot be read. */
  turn(asJson) {
    if (asJson === this.asJson) return;
    const document = this.read();
    this.asJson = asJson;
    this.show(document);
  }

  add() {
    const row = this.row("", "", true);
    this.rows.push(row);
    this.list.append(row.node);
    row.node.querySelector("input").focus();
  }

  row(name, value, fresh = false) {
    const row = {};
    const naming = el("input", { "aria-label": "Name of the field", value: name, placeholder: "Name" });
    const label = fresh ? naming : el("span", { class: "fieldname" }, name);
    const place = el("div", { class: "value" });
    const types = select(TYPES, typeOf(value), { "aria-label": `Type of ${name || "the new field"}` });
    let shown;
    const show = (type, from) => {
      shown = control(name, type, from);
      put(place, shown.node);
    };
    types.addEventListener("change", () => show(types.value, turned(types.value, shown.node.value ?? "")));
    show(typeOf(value), value);
    row.name = () => (fresh ? naming.value.trim() : name);
    row.read = () => shown.read();
    const drop = button(`Remove ${name || "this field"}`, () => {
      this.rows.splice(this.rows.indexOf(row), 1);
      row.node.remove();
    }, { kind: "bare small", image: "close" });
    row.node = el("div", { class: "edit", id: newId("row") }, el("div", { class: "top" }, label, types, drop),
      place);
    return row;
  }
}

/** What another type begins with, of the words that stood there; undefined where they are no number. */
function turned(type, words) {
  if (type === "text") return words;
  if (type === "yesno") return words === "true";
  if (type === "null") return null;
  try {
    const value = parse(words);
    return type === "json" || typeOf(value) === "number" ? value : undefined;
  } catch {
    return type === "json" ? words : undefined;
  }
}

/** What differs: fields to set, and names of those that are gone. */
export function changes(before, after) {
  const same = (name, value) => Object.hasOwn(before, name) && JSON.stringify(before[name]) === JSON.stringify(value);
  const set = Object.fromEntries(Object.entries(after).filter(([name, value]) => !same(name, value)));
  return { set, gone: Object.keys(before).filter((name) => !Object.hasOwn(after, name)) };
}
