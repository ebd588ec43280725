// Forms: a publishable key each, made in a wizard; the HTML to paste, tried out here.

import { get, patch, post } from "./api.js";
import { badge, blame, busy, button, el, empty, field, heading, icon, link, put, unblame, when } from "./dom.js";
import { Place } from "./list.js";
import { code, once, toast } from "./overlay.js";
import { revoke } from "./keys.js";
import { preview } from "./preview.js";
import { changed, questions } from "./settings.js";
import { TEMPLATES, formHtml, formUrl } from "./snippet.js";
import { keyName, keysChanged, state, tokens } from "./state.js";

export async function forms(main, context) {
  if (context.rest === "new") return wizard(main);
  if (context.rest) return oneForm(main, context);
  const place = new Place(context.signal, (signal) => allKeys({ signal }), (keys) => list(keys));
  put(main, heading("Forms", "Each has a key that may only send, from its own sites.",
    link("Make a form", "#/forms/new", { kind: "primary", image: "plus" })), place.node);
  await place.load();
}

async function allKeys(options) {
  state.keys = (await get("/api/api-keys", options)).keys;
  return state.keys;
}

function list(keys) {
  const found = keys.filter((key) => key.type === "publishable");
  if (!found.length) {
    return empty("forms", "No forms yet", "Make one in a minute: say where it stands, get the HTML, paste it.",
      link("Make a form", "#/forms/new", { kind: "primary" }));
  }
  return el("ul", { class: "cards" },
    found.map((key) => el("li", {}, el("a", { class: "card", href: `#/forms/${key.id}` },
    el("h2", {}, keyName(key.id)), el("p", { class: "quiet" }, key.domains.join(", ")),
    el("p", { class: "badges" }, traits(key)), el("small", {}, "Last used ", when(key.last_used_at))))));
}

function traits(key) {
  return [
    badge(key.existing === "keep" ? "keeps what is known" : "updates contacts", "grey"),
    key.captcha === "altcha" && badge("built-in captcha", "soft"),
    key.captcha === "service" && badge("captcha service", "soft"),
    key.confirm && badge("double opt-in", "soft"),
    key.notify?.length > 0 && badge(`mail to ${key.notify.length}`, "soft"),
  ];
}

// -- the wizard

function wizard(main) {
  const { steps, read } = questions();
  const titles = [...steps.map(([title]) => title), "Paste"];
  const trail = el("ol", { class: "trail" });
  const form = el("form", { class: "form card steps-of", novalidate: true });
  const mark = (now) => put(trail, titles.map((title, n) =>
    el("li", { "aria-current": n === now && "step", class: n < now && "done" }, title)));
  let at = 0;
  const show = (to) => {
    at = to;
    mark(at);
    for (const [n, panel] of [...panels].entries()) panel.hidden = n !== at;
    back.hidden = at === 0;
    next.lastChild.textContent = at === steps.length - 1 ? "Make the form" : "Next";
    panels[at].querySelector("h2").focus();
  };
  const panels = steps.map(([, question, controls]) => el("div", { class: "panel" },
    el("h2", { tabindex: "-1" }, question), controls));
  const back = button("Back", () => show(at - 1));
  const next = button("Next", null, { kind: "primary", type: "submit" });
  put(form, panels, el("p", { class: "wrong", role: "alert" }), el("footer", {}, back, next));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    unblame(form);
    if (at === 0 && !read().domains.length) return blame(form,
      { message: "Name at least one site, localhost to try it out", param: "domains" });
    if (at < steps.length - 1) return show(at + 1);
    busy(next, () => create(form, read(), panels, show, (key) => {
      mark(steps.length);
      form.replaceWith(made(key));
      document.querySelector("#main h1").focus();
    }));
  });
  put(main, heading("Make a form", "Three questions, then the HTML to paste."), trail, form);
  show(0);
}

/** A setting that is not as the server takes it is shown on the step that asks for it. */
async function create(form, asked, panels, show, done) {
  const { name, domains, ...settings } = asked;
  try {
    const key = await post("/api/api-keys", { type: "publishable", name, domains, ...changed({}, settings) });
    tokens.keep(key.id, key.key);
    keysChanged();
    done(key);
  } catch (err) {
    const wrong = panels.findIndex((panel) => err.param
      && panel.querySelector(`[data-param="${CSS.escape(err.param)}"]`));
    if (wrong >= 0) show(wrong);
    blame(form, err);
  }
}

function made(key) {
  return el("div", { class: "stack" },
    el("div", { class: "note good" }, icon("check"),
      el("p", {}, "The form is ready. Paste the HTML into your page, or try it here first.")),
    paste(key, key.key),
    el("section", { class: "card" },
      once("The form's key", key.key,
        "It is public: it stands in your page's HTML. It is shown in full only now.")),
    el("p", { class: "actions" }, link("The form's settings", `#/forms/${key.id}`), link("All forms", "#/forms")));
}

/** The HTML for one of some kinds of forms, and the same form to be tried. */
function paste(key, token) {
  const shown = el("div", { class: "split" });
  const kinds = el("div", { class: "tabs", role: "group", "aria-label": "What the form asks for" });
  const show = (template) => {
    for (const tab of kinds.children) tab.setAttribute("aria-pressed", String(tab.dataset.kind === template));
    put(shown, code("HTML to paste", formHtml({ token, template, captcha: key.captcha })),
      preview(key, token, template));
  };
  put(kinds, Object.entries(TEMPLATES).map(([kind, { label }]) => button(label, () => show(kind),
    { kind: "tab", "data-kind": kind })));
  show("signup");
  return el("section", { class: "card", "aria-label": "HTML and preview" },
    el("header", {}, el("h2", {}, "HTML"), kinds), shown,
    el("p", { class: "hint" }, "A form of your own works as well: send it to ", el("code", {}, formUrl(token)),
      " and name the fields as you like."));
}

// -- one form

async function oneForm(main, { rest: id, signal }) {
  const place = new Place(signal, async (until) => {
    const key = (await allKeys({ signal: until })).find((one) => one.id === id && one.type === "publishable");
    if (!key) throw new Error("There is no such form. It may have been revoked");
    return key;
  }, (key) => {
    put(title.querySelector("h1"), keyName(key.id));
    put(title.querySelector("p"), `On ${key.domains.join(", ")}`);
    return formPage(key, () => place.load());
  });
  const title = heading("Form", "…", link("All forms", "#/forms", { image: "back" }),
    link("Submissions", `#/inbox?key=${id}`, { image: "inbox" }));
  put(main, title, place.node);
  await place.load();
}

function formPage(key, reload) {
  const token = tokens.of(key.id);
  return [token ? paste(key, token) : askToken(key, reload), settings(key, reload),
    el("section", { class: "card row-card" },
      el("div", {}, el("h2", {}, "Revoke this form"),
        el("p", { class: "quiet" }, "Pages that use its key can send nothing any more.")),
      button("Revoke", () => revoke(key, () => { location.hash = "#/forms"; }),
        { kind: "danger quiet", image: "trash" }))];
}

/** A token is stored by nobody: who wants the HTML filled in pastes it. */
function askToken(key, reload) {
  const hint = `Begins and ends as ${key.hint || "ck_pub_…"}. The server keeps no copy of it: `
    + "paste it to have the HTML filled in.";
  const token = el("input", { placeholder: key.hint || "ck_pub_…", autocomplete: "off", spellcheck: "false" });
  const form = el("form", { class: "form inline", novalidate: true },
    field("The form's key", token, { name: "token", hint }),
    button("Show the HTML", null, { type: "submit", kind: "primary" }),
    el("p", { class: "wrong all", role: "alert" }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const given = token.value.trim(), [begin, end = ""] = (key.hint || "ck_pub_").split(/…|\.\.\./);
    if (!given.startsWith(begin) || !given.endsWith(end)) return blame(form,
      { message: "That is another key", param: "token" });
    tokens.keep(key.id, given);
    reload();
  });
  return el("section", { class: "card" }, el("header", {}, el("h2", {}, "HTML")), form);
}

function settings(key, reload) {
  const { steps, read } = questions(key);
  const save = button("Save", null, { kind: "primary", type: "submit" });
  const form = el("form", { class: "form", novalidate: true },
    steps.map(([title, , controls]) => el("div", { class: "panel" }, el("h3", {}, title), controls)),
    el("p", { class: "wrong", role: "alert" }), el("footer", {}, save));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(save, async () => {
      unblame(form);
      try {
        await patch(`/api/api-keys/${key.id}`, changed(key, read()));
        keysChanged();
        toast("Saved");
        await reload();
      } catch (err) {
        blame(form, err);
      }
    });
  });
  return el("section", { class: "card" }, el("header", {}, el("h2", {}, "Settings")), form);
}
