// The dashboard: signing in, and which view the address names. Each view is a module beside this one.

import { ApiError, get, session } from "./dashboard/api.js";
import { blame, busy, button, el, put, tell, unblame } from "./dashboard/dom.js";
import { calls } from "./dashboard/calls.js";
import { files } from "./dashboard/files.js";
import { forms } from "./dashboard/forms.js";
import { inbox } from "./dashboard/inbox.js";
import { keysView } from "./dashboard/keys.js";
import { closeAll, undoLast } from "./dashboard/overlay.js";
import { overview } from "./dashboard/overview.js";
import { companies, contacts } from "./dashboard/records.js";
import { forget, refreshStats, state } from "./dashboard/state.js";
import { webhooks } from "./dashboard/webhooks.js";

const VIEWS = { overview, inbox, contacts, companies, calls, forms, keys: keysView, webhooks, files };
const EVERY = 30_000;
const $ = (selector) => document.querySelector(selector);

let leaving = null;

// -- views

/** "#/contacts/rest?q=ada" → the view, what follows it, and its parameters. */
function address() {
  const [path, search = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  return { name: name in VIEWS ? name : "overview", rest: rest.join("/"),
    params: Object.fromEntries(new URLSearchParams(search)) };
}

/** Says in the address what a view shows, without leaving it. */
function replacer(path) {
  return (params) => {
    const kept = Object.entries(params).filter(([, value]) => value !== "" && value != null);
    history.replaceState(null, "", `#/${path}${kept.length ? `?${new URLSearchParams(kept)}` : ""}`);
  };
}

async function show({ focus = true } = {}) {
  leaving?.abort();
  leaving = new AbortController();
  closeAll();
  const { name, rest, params } = address();
  for (const link of document.querySelectorAll("nav a[data-view]")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  $("#app").classList.remove("more");
  const main = put($("#main"));
  scrollTo(0, 0);
  const shown = VIEWS[name](main,
    { rest, params, signal: leaving.signal, replace: replacer(rest ? `${name}/${rest}` : name) });
  document.title = `${main.querySelector("h1")?.textContent || "Dashboard"} · contactapi`;
  if (focus) main.querySelector("h1")?.focus({ preventScroll: true });
  await shown.catch(tell);
}

function showHeld() {
  const held = state.stats?.submissions.held || 0;
  put($("#held"), held ? String(held) : "");
  $("#held").hidden = !held;
  $("#held").title = `${held} held`;
}

// -- signing in and out

function signedIn(focus) {
  $("#signin").hidden = true;
  $("#app").hidden = false;
  show({ focus });
}

function signedOut(why) {
  leaving?.abort();
  closeAll();
  forget();
  put($("#main"));
  $("#app").hidden = true;
  $("#signin").hidden = false;
  document.title = "Sign in · contactapi";
  put($("#why"), why && el("p", { class: "note bad" }, why));
  $("#signin form").reset();
  $("#key").type = "password";
  $("#key").focus();
}

const WRONG = "This key is not known here. Look whether all of it was copied: it begins with ck_secret_.";
const KINDS = { ck_pub_: "This is a form's key, which may only send. Sign in with a secret key: it begins with ck_secret_.",
  ck_live_: "This is a restricted key. The dashboard needs a secret one: it begins with ck_secret_." };

async function signIn(form) {
  unblame(form);
  const key = $("#key").value.trim();
  try {
    const kind = KINDS[Object.keys(KINDS).find((start) => key.startsWith(start))];
    if (kind) throw new ApiError(403, { message: kind, param: "key" });
    if (!/^[!-~]+$/.test(key)) throw new ApiError(401,
      { message: key ? WRONG : "Put your secret key in", param: "key" });
    state.stats = await get("/v1/stats", { key });
    session.open(key);
    put($("#why"));
    signedIn(true);
  } catch (err) {
    const words = { 401: key && WRONG, 403: KINDS.ck_live_ }[err.status];
    blame(form, { message: err.param ? err.message : words || err.message, param: "key" });
  }
}

// -- the page

function begin() {
  const form = $("#signin form");
  const send = button("Sign in", null, { kind: "primary", type: "submit" });
  form.append(send);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(send, () => signIn(form));
  });
  $("#reveal").addEventListener("change", () => { $("#key").type = $("#reveal").checked ? "text" : "password"; });
  $(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address is the view's
    $("#main").focus();
  });
  $("#leave").addEventListener("click", () => session.close("You are signed out."));
  $("#more").addEventListener("click", () => {
    const open = $("#app").classList.toggle("more");
    $("#more").setAttribute("aria-expanded", open);
  });
  addEventListener("hashchange", () => session.key && show());
  document.addEventListener("signed-out", (event) => signedOut(event.detail));
  document.addEventListener("counts", showHeld);
  document.addEventListener("keydown", (event) => {
    if (event.key === "z" && !event.target.closest("input, textarea, select, dialog")) undoLast();
  });
  setInterval(() => {
    if (session.key && !document.hidden) refreshStats().catch(() => {});
  }, EVERY);
  if (session.key) signedIn(false);
  else signedOut("");
}

begin();
