// What visitors sent: read, accept, mark as spam, delete, answer.

import { get, patch, query, remove } from "./api.js";
import { badge, busy, button, el, empty, failure, heading, icon, link, mailto, number, opener, put, skeleton, soon, tell, text,
  when } from "./dom.js";
import { dialog, toast, undoable } from "./overlay.js";
import { keyName, keys, moveSubmission, refreshStats, state } from "./state.js";
import { avatar, reason, sender, summary } from "./submission.js";

const TABS = [["accepted", "Accepted"], ["held", "Held"], ["spam", "Spam"]];
const NONE = {
  accepted: ["inbox", "Nothing here yet", "What visitors send through your forms arrives here."],
  held: ["clock", "Nothing is held", "What waits for a confirmation or a captcha service would stand here."],
  spam: ["spam", "No spam", "What a honeypot catches, or you mark, stands here for 30 days."],
};
const SILENT = "contactapi.no-shortcuts";

export async function inbox(main, { params, replace, signal }) {
  const view = new Inbox(params, replace, signal);
  put(main, view.head(), view.node);
  document.addEventListener("keydown", (event) => view.pressed(event), { signal });
  document.addEventListener("counts", () => view.showCounts(), { signal });
  await Promise.all([keys({ signal }), refreshStats({ signal })]).catch(tell);
  view.showForms();
  await view.load();
}

class Inbox {
  constructor(params, replace, signal) {
    Object.assign(this, { params, replace, signal, rows: [], total: 0, open: null });
    this.params.state ||= "accepted";
    this.list = el("ol", { class: "letters", "aria-label": "Submissions" });
    this.more = el("div", { class: "further" });
    this.pane = el("article", { class: "reading", "aria-live": "polite" });
    this.node = el("div", { class: "inbox" },
      el("div", { class: "listing" }, this.fresh = el("div"), this.list, this.more), this.pane);
  }

  // -- what stands above the list

  head() {
    this.tabs = el("div", { class: "tabs", role: "group", "aria-label": "State" },
      TABS.map(([name, label]) => button(label, () => this.change({ state: name, open: "" }),
        { kind: "tab", "data-state": name })));
    const search = el("input",
      { type: "search", placeholder: "Search submissions", "aria-label": "Search submissions",
      value: this.params.q, maxlength: 100 });
    search.addEventListener("input", soon(() => this.change({ q: search.value.trim(), open: "" })));
    this.forms = el("select", { "aria-label": "Form" });
    this.forms.addEventListener("change", () => this.change({ key: this.forms.value, open: "" }));
    const narrowed = this.params.contact && el("p", { class: "chips" },
      el("span", { class: "chip" }, "Of one contact",
      el("a", { href: "#/inbox", "aria-label": "Show those of all" }, icon("close"))));
    this.showCounts();
    return el("div", { class: "above" }, heading("Inbox", "What visitors sent through your forms.",
      button("Shortcuts", shortcuts, { kind: "wide-only", image: "keyboard" })),
    el("div", { class: "toolbar" }, this.tabs, el("div", { class: "search" }, icon("search"), search),
      this.forms), narrowed);
  }

  showForms() {
    const forms = (state.keys || []).filter((one) => one.type === "publishable");
    put(this.forms, el("option", { value: "" }, "All forms"),
      forms.map((one) => el("option", { value: one.id, selected: one.id === this.params.key }, keyName(one.id))));
    this.forms.hidden = forms.length < 2 && !this.params.key;
  }

  showCounts() {
    const counts = state.stats?.submissions;
    for (const tab of this.tabs.children) {
      const { state: name } = tab.dataset, now = name === this.params.state;
      tab.setAttribute("aria-pressed", now);
      put(tab.firstChild, TABS.find(([one]) => one === name)[1]);
      tab.querySelector(".count")?.remove();
      if (counts) tab.append(el("span", { class: "count" }, number(counts[name])));
    }
    const known = counts?.[this.params.state];
    const arrived = this.seen !== undefined && known > this.seen;
    put(this.fresh, arrived && button("New submissions: show them", () => this.load(), { kind: "fresh" }));
  }

  change(changed) {
    Object.assign(this.params, changed);
    this.replace(this.params);
    this.showCounts();
    return this.load();
  }

  // -- the list

  path(page) {
    const { state: name, q, key, contact } = this.params;
    return `/v1/submissions${query({ state: name, q, key, contact, page, page_size: 25 })}`;
  }

  async load() {
    this.loading?.abort();
    this.loading = new AbortController();
    const signal = AbortSignal.any([this.signal, this.loading.signal]);
    if (!this.rows.length) put(this.list, el("li", {}, skeleton()));
    this.list.setAttribute("aria-busy", "true");
    try {
      const page = await get(this.path(1), { signal });
      this.rows = page.data;
      this.total = page.total;
      this.seen = state.stats?.submissions[this.params.state];
      await this.showAsked(signal);
    } catch (err) {
      if (err.name !== "AbortError") put(this.list, el("li", {}, failure(err, () => this.load())));
    } finally {
      if (!signal.aborted) this.list.removeAttribute("aria-busy");
    }
  }

  /** The one that the address names, or none: on a wide page the first. */
  async showAsked(signal) {
    const asked = this.params.open;
    let one = this.rows.find((row) => row.id === asked);
    if (asked && !one) one = await get(`/v1/submissions/${asked}`, { signal }).catch(() => null);
    const wide = matchMedia("(min-width: 60rem)").matches;
    this.select(one || (wide && this.rows[0]) || null, { quiet: !asked });
    this.showCounts();
  }

  showList() {
    put(this.list, this.rows.length ? this.rows.map((one) => this.item(one)) : el("li", {}, this.none()));
    const left = this.total - this.rows.length;
    put(this.more, left > 0 && button(`Show more (${number(left)} left)`, () => this.loadMore()));
    this.node.classList.toggle("none", !this.rows.length && !this.open);
  }

  none() {
    if (this.params.q) return empty("search", "Nothing found", "No submission has all of these words.");
    const begin = this.params.state === "accepted" ? [link("Make a form", "#/forms/new", { kind: "primary" })] : [];
    return empty(...NONE[this.params.state], ...begin);
  }

  item(one) {
    const now = this.open?.id === one.id && "true";
    return el("li", { "data-id": one.id }, opener(`#/inbox?state=${one.state}&open=${one.id}`,
      () => this.select(one, { read: true }), { class: "row", "aria-current": now }, summary(one)));
  }

  async loadMore() {
    const page = await get(this.path(Math.floor(this.rows.length / 25) + 1), { signal: this.signal });
    const known = new Set(this.rows.map((row) => row.id));
    this.rows.push(...page.data.filter((row) => !known.has(row.id)));
    this.showList();
  }

  // -- one of them

  /** `read`: somebody asked for it, so a narrow page shows it in place of the list. */
  select(one, { read = false, quiet = false } = {}) {
    this.open = one;
    if (!quiet) this.replace({ ...this.params, open: (this.params.open = one?.id || "") });
    this.node.classList.toggle("read", Boolean(one) && (read || Boolean(this.params.open)));
    this.showList();
    put(this.pane, one ? this.letter(one) : el("p", { class: "calm" }, "Choose a submission to read it."));
    const now = this.list.querySelector("[aria-current]");
    if (this.list.contains(document.activeElement)) now?.focus();
    now?.scrollIntoView({ block: "nearest" });
  }

  back() {
    this.node.classList.remove("read");
    this.replace({ ...this.params, open: (this.params.open = "") });
    this.list.querySelector("[aria-current]")?.focus();
  }

  letter(one) {
    const who = sender(one), by = one.subject && who !== one.email && `${who} · `;
    const held = one.reason && badge(reason(one), one.state === "held" ? "warn" : "grey");
    return [
      el("header", {},
        button("Back to the list", () => this.back(), { kind: "bare narrow-only", image: "back" }),
        avatar(who),
        el("div", {}, el("h2", {}, one.subject || who),
          el("p", {}, by, one.email || "no address", " · ", when(one.created_at), " ", held)),
      ),
      el("div", { class: "actions" }, this.actions(one)),
      el("dl", { class: "fields" }, Object.entries(one.fields).map(([name, value]) =>
        [el("dt", {}, name), el("dd", {}, typeof value === "string" ? value : text(value))])),
      el("footer", {}, facts(one)),
    ];
  }

  actions(one) {
    return [
      one.state !== "accepted" && button("Accept", () => this.mark(one, "accepted"),
        { kind: "primary", image: "check", title: "e" }),
      one.email && link("Reply", reply(one), { image: "reply", title: "r" }),
      one.state !== "spam" && button("Spam", () => this.mark(one, "spam"), { image: "spam", title: "s" }),
      button("Delete", () => this.drop(one), { image: "trash", title: "#" }),
    ];
  }

  async mark(one, to) {
    if (one.state === to) return;
    const from = one.state;
    const changed = await patch(`/v1/submissions/${one.id}`, { state: to });
    if (changed.state !== to) { // accepted by us, but not by the person yet
      toast(`${sender(one)} is asked to confirm by mail first`);
      return this.load();
    }
    moveSubmission(from, to);
    this.gone(one);
    const words = to === "accepted" ? "Accepted" : "Marked as spam";
    const undo = from === "accepted" && to === "spam"
      && { action: "Undo", work: () => this.mark(changed, from).then(() => this.load()).catch(tell) };
    toast(`${words}: ${sender(one)}`, undo || {});
  }

  drop(one) {
    const at = this.rows.indexOf(one);
    moveSubmission(one.state, null);
    this.gone(one);
    undoable(`Deleted what ${sender(one)} sent`, (options) => remove(`/v1/submissions/${one.id}`, options), () => {
      moveSubmission(null, one.state);
      if (this.signal.aborted || one.state !== this.params.state) return;
      this.rows.splice(Math.max(0, at), 0, one);
      this.total += 1;
      this.select(one);
    });
  }

  /** It leaves this list; the one after it is read. */
  gone(one) {
    const at = this.rows.findIndex((row) => row.id === one.id);
    if (at >= 0) {
      this.rows.splice(at, 1);
      this.total -= 1;
    }
    this.seen = state.stats?.submissions[this.params.state];
    const reading = this.node.classList.contains("read");
    this.select(this.rows[Math.max(0, Math.min(at, this.rows.length - 1))] || null);
    if (reading && !matchMedia("(min-width: 60rem)").matches) this.back();
  }

  // -- the keyboard

  pressed(event) {
    const typing = event.target.closest("input, textarea, select, dialog");
    if (typing || event.metaKey || event.ctrlKey || event.altKey || localStorage.getItem(SILENT)) return;
    const one = this.open, at = this.rows.findIndex((row) => row.id === one?.id);
    const work = {
      j: () => this.rows[at + 1] && this.select(this.rows[at + 1], { read: true }),
      k: () => this.rows[at - 1] && this.select(this.rows[at - 1], { read: true }),
      e: () => one && busy(this.pane, () => this.mark(one, "accepted")),
      s: () => one && busy(this.pane, () => this.mark(one, "spam")),
      "#": () => one && this.drop(one),
      r: () => one?.email && this.pane.querySelector("a[href^='mailto:']").click(),
      "?": shortcuts,
    }[event.key];
    if (!work) return;
    event.preventDefault();
    work();
  }
}

/** A mail to who sent it, begun with their words. */
function reply(one) {
  const about = one.subject || one.fields.subject || "your message";
  const said = typeof one.fields.message === "string" ? one.fields.message : "";
  const quoted = said.slice(0, 1000).split("\n").map((line) => `> ${line}`).join("\r\n");
  const params = [`subject=${encodeURIComponent(`Re: ${text(about)}`.toWellFormed())}`];
  if (said) params.push(`body=${encodeURIComponent(`\r\n\r\n${quoted}`.toWellFormed())}`);
  return `${mailto(one.email)}?${params.join("&")}`;
}

function facts(one) {
  const rows = [
    ["Form", keyName(one.key)], ["Page", one.page], ["Confirmed", one.confirmed_at && when(one.confirmed_at)],
    ["Contact", one.contact && el("a", { href: `#/contacts?open=${one.contact}` }, "Open the contact")],
    ["Id", one.id],
  ];
  return el("dl", { class: "facts" }, rows.filter(([, value]) => value).map(([name, value]) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

function shortcuts() {
  const rows = [["j", "next"], ["k", "the one before"], ["e", "accept"], ["s", "mark as spam"], ["#", "delete"],
    ["r", "reply by mail"], ["z", "undo"], ["?", "this help"]];
  const off = el("input", { type: "checkbox", id: "shortcuts-on", checked: !localStorage.getItem(SILENT) });
  off.addEventListener("change", () =>
    (off.checked ? localStorage.removeItem(SILENT) : localStorage.setItem(SILENT, "1")));
  dialog("Keyboard shortcuts", (body) => put(body,
    el("dl", { class: "shortcuts" },
      rows.map(([key, what]) => el("div", {}, el("dt", {}, el("kbd", {}, key)), el("dd", {}, what)))),
    el("div", { class: "choice" }, off,
      el("label", { for: "shortcuts-on" }, "Single keys do this in the inbox"))), { kind: "sheet small" });
}
