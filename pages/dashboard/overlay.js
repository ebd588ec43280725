// What lies over a view: messages, undo, dialogs, the drawer.

import { button, el, icon, newId, put, sentence } from "./dom.js";

const UNDO_SECONDS = 6;
const waiting = new Set();

/** A line at the lower edge; the newest is read out. */
export function toast(message, { kind = "", action = null, work = null, seconds = 5 } = {}) {
  const line = el("div", { class: `toast ${kind}` },
    icon(kind === "bad" ? "alert" : "check"), el("p", {}, message));
  const leave = () => line.remove();
  if (action) line.append(button(action, () => { leave(); work(); }, { kind: "link" }));
  line.append(button("Dismiss", leave, { kind: "bare small", image: "close" }));
  document.getElementById("toasts").append(line);
  if (seconds) setTimeout(leave, seconds * 1000);
  return leave;
}

document.addEventListener("failed", (event) =>
  toast(sentence(event.detail.message), { kind: "bad", seconds: 10 }));

/** Shows something as done; `work` runs 6 s later, unless `back` was asked for. */
export function undoable(message, work, back) {
  const pending = {
    run(options) {
      if (!waiting.delete(pending)) return;
      clearTimeout(timer);
      leave();
      Promise.resolve(work(options)).catch((err) => {
        if (err.status === 404) return; // somebody else was faster
        back();
        toast(sentence(err.message), { kind: "bad", seconds: 10 });
      });
    },
    undo() {
      if (!waiting.delete(pending)) return;
      clearTimeout(timer);
      leave();
      back();
    },
  };
  waiting.add(pending);
  const leave = toast(message, { action: "Undo", work: pending.undo, seconds: 0 });
  const timer = setTimeout(() => pending.run(), UNDO_SECONDS * 1000);
}

/** Takes back the last thing that can be. */
export function undoLast() {
  [...waiting].at(-1)?.undo();
}

/** Who leaves the page has meant it: nothing that was shown as done is forgotten. */
function finishAll() {
  for (const pending of [...waiting]) pending.run({ keepalive: true });
}

addEventListener("pagehide", finishAll);
document.addEventListener("signing-out", finishAll);

/**
 * A modal dialog; `fill(body, close)` puts in what it holds. `closed` resolves when it is.
 * A drawer in which somebody typed asks before it goes, until `saved()` is called.
 */
export function dialog(title, fill, { kind = "sheet", onclose = null } = {}) {
  const id = newId("title");
  const body = el("div", { class: "body" });
  const node = el("dialog", { class: kind, "aria-labelledby": id });
  let typed = false;
  const close = () => node.close();
  const leave = async () => {
    if (!typed || await confirmed("Close without saving?", "What you typed would be lost.", "Close it")) close();
  };
  const shut = button("Close", leave, { kind: "bare", image: "close" });
  node.append(el("header", {}, el("h2", { id, tabindex: "-1" }, title), shut), body);
  node.addEventListener("input", () => { typed = kind === "drawer"; });
  node.addEventListener("click", (event) => event.target === node && leave());
  node.addEventListener("cancel", (event) => {
    event.preventDefault();
    leave();
  });
  document.body.append(node);
  const closed = new Promise((resolve) => {
    node.addEventListener("close", () => {
      node.remove();
      onclose?.();
      resolve();
    });
  });
  fill(body, close, node);
  node.showModal();
  (body.querySelector("input, select, textarea, button") || node.querySelector("h2")).focus();
  return { close, closed, saved: () => { typed = false; },
    rename: (words) => put(node.querySelector("h2"), words) };
}

export function closeAll() {
  for (const node of document.querySelectorAll("dialog[open]")) node.close();
}

/** Whether a person says yes to something that cannot be taken back. */
export async function confirmed(title, words, action, more = null) {
  let answer = false;
  const { closed } = dialog(title, (body, close) => {
    const yes = button(action, () => { answer = true; close(); }, { kind: "danger" });
    put(body, el("p", {}, words), more, el("footer", {}, button("Cancel", close), yes));
  }, { kind: "sheet small" });
  await closed;
  return answer;
}

// -- what is copied

/** By the clipboard's interface where the browser has it (https, localhost) and allows it. */
async function copy(words) {
  try {
    await navigator.clipboard.writeText(words);
  } catch {
    const area = el("textarea", { class: "hidden" }, words);
    (document.querySelector("dialog[open]") || document.body).append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

/** Copies what `words()` gives and says so on itself. */
function copyButton(words, label = "Copy", kind = "small") {
  const node = button(label, async () => {
    await copy(words());
    node.lastChild.textContent = "Copied";
    setTimeout(() => { node.lastChild.textContent = label; }, 2000);
  }, { kind, image: "copy" });
  node.lastChild.setAttribute("aria-live", "polite");
  return node;
}

/** Text to paste elsewhere; `copied` where that differs from what is shown. */
export function code(label, words, copied = words) {
  return el("figure", { class: "code" },
    el("figcaption", {}, el("span", {}, label), copyButton(() => copied)),
    el("pre", { tabindex: "0", "aria-label": label, role: "region" }, el("code", {}, words)));
}

/** A secret that is shown once. */
export function once(label, token, words) {
  return el("div", { class: "once" }, code(label, token),
    el("p", { class: "hint" }, icon("alert"), words));
}
