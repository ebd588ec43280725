// One record: its fields, its history, all that is held on it.

import { ask, download, get, patch, post, remove } from "./api.js";
import { badge, blame, busy, button, el, failure, field, link, mailto, put, skeleton, tell, text, unblame,
  when } from "./dom.js";
import { FieldsEditor, Unreadable, changes } from "./fields.js";
import { confirmed, dialog, toast, undoable } from "./overlay.js";
import { keyName, keys, refreshStats } from "./state.js";

const MERGE = { type: "application/merge-patch+json" };

export class Drawer {
  /** `heard` has closed(), changed() and hide(id, gone). Without an id a new record is made. */
  constructor(kind, id, heard) {
    Object.assign(this, { kind, id, heard, path: `/v1/${kind.plural}/${id}` });
  }

  show() {
    const title = this.id ? this.kind.title : `Add a ${this.kind.one}`;
    this.dialog = dialog(title, (body) => { this.body = body; }, { kind: "drawer", onclose: this.heard.closed });
    if (this.id) this.load();
    else this.showDetails({});
  }

  async load() {
    put(this.body, skeleton(4));
    try {
      this.showRecord(await get(this.path));
    } catch (err) {
      const gone = err.status === 404 ? { message: `There is no such ${this.kind.one} any more` } : err;
      put(this.body, failure(gone, err.status === 404 ? null : () => this.load()));
    }
  }

  showRecord(record) {
    this.record = record;
    this.dialog.saved();
    this.dialog.rename(record[this.kind.key]);
    this.showDetails(record);
  }

  tabs(now) {
    if (!this.id) return null;
    const tab = (name, label, work) => button(label, work, { kind: "tab", "aria-pressed": String(name === now) });
    return el("div", { class: "tabs", role: "group", "aria-label": "What to see" },
      tab("details", "Details", () => this.showDetails(this.record)),
      tab("history", "History", () => this.showHistory()));
  }

  // -- its fields

  showDetails(record) {
    const { kind } = this;
    const { id, created_at: created, updated_at: updated, [kind.key]: label = "", ...others } = record;
    const inputmode = kind.key === "email" ? "email" : null; // a field of type email would turn bücher into punycode
    this.label = el("input", { inputmode, value: label, autocomplete: "off", autocapitalize: "none", spellcheck: "false" });
    this.editor = new FieldsEditor(id ? others : (kind.key === "email" ? { name: "" } : {}));
    const turn = (asJson) => () => {
      try {
        unblame(form);
        this.editor.turn(asJson);
        ways.firstChild.setAttribute("aria-pressed", String(!asJson));
        ways.lastChild.setAttribute("aria-pressed", String(asJson));
      } catch (err) {
        blame(form, err);
      }
    };
    const ways = el("div", { class: "tabs small", role: "group", "aria-label": "How to edit" },
      button("Fields", turn(false), { kind: "tab", "aria-pressed": "true" }),
      button("JSON", turn(true), { kind: "tab", "aria-pressed": "false" }));
    const save = button(id ? "Save" : `Add the ${kind.one}`, null, { kind: "primary", type: "submit" });
    const form = el("form", { class: "form", novalidate: true },
      field(kind.label, this.label, { name: kind.key }),
      el("div", { class: "subhead" }, el("h3", {}, "Other fields"), ways), this.editor.node,
      el("p", { class: "wrong", role: "alert" }), el("footer", {}, id && this.drop(), save));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      busy(save, () => this.save(others, form));
    });
    put(this.body, this.tabs("details"), id && this.facts(record), form);
    if (!id) this.label.focus();
  }

  facts({ id, created_at: created, updated_at: updated }) {
    const person = this.kind.key === "email";
    return el("div", { class: "about" },
      el("p", { class: "quiet" }, "Added ", when(created), updated !== created && [", changed ", when(updated)]),
      person && el("p", { class: "actions" },
        link("Write", mailto(this.record.email), { kind: "small", image: "reply" }),
        link("Submissions", `#/inbox?contact=${id}`, { kind: "small", image: "inbox" }),
        button("Everything held", () => download(`${this.path}/export`, `${id}.json`),
          { kind: "small", image: "download",
            title: "All that is stored on this person, for an access request" })));
  }

  async save(others, form) {
    unblame(form);
    try {
      const fields = this.editor.read();
      if (this.id) await this.update(others, fields);
      else await this.create(fields);
      this.heard.changed();
    } catch (err) {
      blame(form, err instanceof Unreadable ? { message: err.message } : err);
    }
  }

  async create(fields) {
    const { kind } = this;
    const given = Object.entries(fields).filter(([, value]) => value !== "");
    const made = await post(`/v1/${kind.plural}`, { [kind.key]: this.label.value, ...Object.fromEntries(given) });
    const fresh = made.created_at === made.updated_at;
    toast(`${made[kind.key]} ${fresh ? "is added" : "was known already and has these fields now"}`);
    refreshStats().catch(tell);
    this.dialog.close();
  }

  /** What is removed by a merge patch, what is set by a plain one, which replaces whole values. */
  async update(others, fields) {
    const { set, gone } = changes(others, fields);
    if (this.label.value !== this.record[this.kind.key]) set[this.kind.key] = this.label.value;
    let record = this.record;
    if (Object.keys(set).length) record = await patch(this.path, set);
    if (gone.length) record = await ask("PATCH", this.path,
      { body: Object.fromEntries(gone.map((name) => [name, null])), ...MERGE });
    toast(record === this.record ? "Nothing was changed" : "Saved");
    this.showRecord(record);
  }

  drop() {
    return button("Delete", () => {
      this.dialog.close();
      this.heard.hide(this.id, true);
      undoable(`Deleted ${this.record[this.kind.key]}`,
        (options) => remove(this.path, options).then(() => this.heard.changed()),
        () => this.heard.hide(this.id, false));
    }, { kind: "danger quiet", image: "trash" });
  }

  // -- what happened to it

  async showHistory() {
    put(this.body, this.tabs("history"), skeleton(4));
    try {
      const [page] = await Promise.all([get(`${this.path}/history`), keys()]);
      const list = el("ol", { class: "history" }, page.data.map(happened));
      const none = el("p", { class: "calm" }, "Nothing is kept of what happened before.");
      put(this.body, this.tabs("history"), page.data.length ? list : none, this.more(page, list),
        page.data.length > 0 && el("footer", {},
          button("Erase this history", () => this.erase(), { kind: "danger quiet", image: "trash" })));
    } catch (err) {
      put(this.body, this.tabs("history"), failure(err, () => this.showHistory()));
    }
  }

  more(page, list) {
    if (!page.has_more) return null;
    const node = button("Show older", async () => {
      const next = await get(`${this.path}/history?after=${page.next_after}`);
      list.append(...next.data.map(happened));
      node.replaceWith(this.more(next, list) || "");
    });
    return node;
  }

  async erase() {
    const words = `The past values of ${this.record[this.kind.key]} are erased, the ${this.kind.one} itself stays. `
      + "This cannot be undone.";
    if (!(await confirmed("Erase the history?", words, "Erase"))) return;
    await remove(`${this.path}/history`);
    await this.showHistory();
  }
}

const WORDS = { created: "Created", updated: "Changed", deleted: "Deleted", accepted: "Submission accepted" };

function happened(event) {
  const [kind, verb] = event.type.split(".");
  const what = kind === "submission" && verb !== "accepted" ? `Submission ${verb}` : WORDS[verb] || event.type;
  const names = event.changed?.length && verb !== "created" ? event.changed.map((name) => badge(name)) : null;
  return el("li", {}, el("p", {}, el("strong", {}, what), " ", names),
    el("p", { class: "quiet" }, when(event.created_at), " by ", keyName(event.key)),
    el("details", {}, el("summary", {}, "As it was then"), values(event.data)));
}

const values = (data) => el("dl", { class: "fields" }, Object.entries(data || {}).map(([name, value]) =>
  [el("dt", {}, name), el("dd", {}, text(value))]));
