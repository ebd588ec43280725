// Elements, and what the views show in one way only. Values are only ever set as text.

const SVG = "http://www.w3.org/2000/svg";
let lastId = 0;

/** An element. `on…` props are listeners, true is an empty attribute, false and null none. */
export function el(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...shown(children));
  return node;
}

const shown = (children) => children.flat(Infinity).filter((child) => child != null && child !== false);

/** Puts these in the place of what a node holds; the focus stays on what is called the same. */
export function put(node, ...children) {
  const at = document.activeElement;
  const words = at !== node && node.contains(at) && spoken(at);
  node.replaceChildren(...shown(children));
  if (words) [...node.querySelectorAll("button, a")].find((one) => spoken(one) === words)?.focus({ preventScroll: true });
  return node;
}

const spoken = (one) => one.getAttribute("aria-label") || one.textContent;

export const newId = (word) => `${word}-${++lastId}`;

/** One of the symbols in dashboard.html. */
export function icon(name) {
  return svg("svg", { class: "icon", "aria-hidden": "true" }, svg("use", { href: `#i-${name}` }));
}

/** A button; `work` may be a promise: until it is settled the button is busy. */
export function button(label, work, { kind = "", image = null, title = null, ...props } = {}) {
  const node = el("button", { type: "button", class: `button ${kind}`, title, ...props });
  node.append(...shown([image && icon(image), kind.includes("bare") ? null : el("span", {}, label)]));
  if (kind.includes("bare")) node.setAttribute("aria-label", label);
  if (work) node.addEventListener("click", () => busy(node, work));
  return node;
}

/** A link that looks like a button. */
export function link(label, href, { kind = "", image = null, title = null } = {}) {
  return el("a", { class: `button ${kind}`, href, title }, image && icon(image), el("span", {}, label));
}

/** A link to what `work` shows without leaving the view; in another tab it is a link like others. */
export function opener(href, work, props, ...children) {
  return el("a", { href, ...props, onclick: (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    work();
  } }, children);
}

/** Runs work once at a time; what goes wrong is told by the event `failed`. */
export async function busy(node, work) {
  if (node.getAttribute("aria-busy") === "true") return;
  node.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (err) {
    tell(err);
  } finally {
    node.removeAttribute("aria-busy");
  }
}

export function tell(err) {
  if (err.name === "AbortError") return;
  document.dispatchEvent(new CustomEvent("failed", { detail: err }));
}

/** A control with its label, a hint, and a place for an error. `name` is the API's `param`. */
export function field(label, control, { hint = null, name = null, wide = false } = {}) {
  control.id ||= newId("control");
  const said = newId("said");
  control.setAttribute("aria-describedby", said);
  return el("div", { class: `field${wide ? " wide" : ""}`, "data-param": name },
    el("label", { for: control.id }, label), control,
    el("div", { id: said, class: "said" }, hint && el("p", { class: "hint" }, hint),
      el("p", { class: "wrong" })));
}

/** A check box or radio button before its label and hint. */
export function choice(type, name, value, label, { hint = null, checked = false, disabled = false } = {}) {
  const id = newId("choice");
  return el("div", { class: "choice" },
    el("input", { type, name, value, id, checked, disabled, "aria-describedby": hint && `${id}-hint` }),
    el("div", {}, el("label", { for: id }, label), hint && el("p", { class: "hint", id: `${id}-hint` }, hint)));
}

export function select(options, value, props = {}) {
  return el("select", props,
    options.map(([key, label]) => el("option", { value: key, selected: key === value }, label)));
}

/** Says an API error beside the control it is about, or in the form's own line. */
export function blame(form, err) {
  if (err.name === "AbortError") return;
  unblame(form);
  const fields = [...form.querySelectorAll("[data-param]")];
  const at = fields.find((one) => err.param && one.dataset.param === err.param) || form;
  const line = at.querySelector(at === form ? ":scope > .wrong, :scope > * > .wrong.all" : ".wrong");
  line.textContent = sentence(err.message);
  const control = at === form ? null : at.querySelector("input, select, textarea");
  if (!control) return;
  control.setAttribute("aria-invalid", "true");
  control.focus();
}

export function unblame(form) {
  for (const line of form.querySelectorAll(".wrong")) line.textContent = "";
  for (const control of form.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
}

/** "no such key" → "No such key." */
export function sentence(words) {
  const whole = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.!?…)]$/.test(whole) ? whole : `${whole}.`;
}

export function note(kind, ...children) {
  return el("div", { class: `note ${kind}`, role: kind === "bad" ? "alert" : null }, children);
}

/** What stands where a list could not be read. */
export function failure(err, again) {
  return note("bad", el("p", {}, sentence(err.message)), again && button("Try again", again));
}

export function empty(image, title, words, ...actions) {
  return el("div", { class: "empty" }, el("span", { class: "medal" }, icon(image)),
    el("h2", {}, title), el("p", {}, words), actions.length > 0 && el("div", { class: "actions" }, actions));
}

export function skeleton(rows = 6) {
  const lines = Array.from({ length: rows }, () => el("div", { class: "bone" }));
  return el("div", { class: "skeleton", role: "status" }, el("span", { class: "hidden" }, "Loading"), lines);
}

export const quiet = (words) => el("span", { class: "quiet" }, words);
export const badge = (words, kind = "") => el("span", { class: `badge ${kind}` }, words);

/** A view's title, what it is for, and what can be done. */
export function heading(title, words, ...actions) {
  return el("header", { class: "heading" },
    el("div", {}, el("h1", { tabindex: "-1" }, title), words && el("p", {}, words)),
    actions.length > 0 && el("div", { class: "actions" }, actions));
}

// -- text, numbers, times

const numbers = new Intl.NumberFormat("en");
const days = new Intl.DateTimeFormat("en", { day: "numeric", month: "short" });
const years = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", year: "numeric" });
const minutes = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

export const number = (n) => numbers.format(n);
export const plural = (n, one, many = `${one}s`) => `${number(n)} ${n === 1 ? one : many}`;

/** A JSON value as a person reads it. */
export function text(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** "5 min ago", "Jul 3"; the whole of it on hover. */
export function when(iso) {
  if (!iso) return quiet("never");
  return el("time", { datetime: iso, title: minutes.format(new Date(iso)) }, ago(new Date(iso), Date.now()));
}

export function ago(date, now) {
  const past = (now - date) / 60_000;
  if (past < -60) return minutes.format(date);
  if (past < 0) return `in ${Math.ceil(-past)} min`;
  if (past < 1) return "just now";
  if (past < 60) return `${Math.floor(past)} min ago`;
  if (past < 24 * 60) return `${Math.floor(past / 60)} h ago`;
  if (past < 7 * 24 * 60) return plural(Math.floor(past / 60 / 24), "day") + " ago";
  return (date.getFullYear() === new Date(now).getFullYear() ? days : years).format(date);
}

/** What opens a mail to this address. */
export const mailto = (address) => `mailto:${encodeURIComponent(address).replace("%40", "@")}`;

/** Runs work a moment after the last of several calls. */
export function soon(work, wait = 220) {
  let timer;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...args), wait);
  };
}
