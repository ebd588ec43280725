// All keys: make one and see its token once, rename, revoke.

import { get, patch, post, query, remove, session } from "./api.js";
import { badge, blame, busy, button, choice, el, field, heading, put, quiet, unblame, when } from "./dom.js";
import { Place, table } from "./list.js";
import { confirmed, dialog, once, toast } from "./overlay.js";
import { keyName, keysChanged, state } from "./state.js";

const PERMISSIONS = ["contacts", "companies", "calls", "submissions", "keys"];
const TYPES = { secret: ["Secret", "good"], publishable: ["Form", "soft"], restricted: ["Restricted", "grey"] };

export async function keysView(main, { signal }) {
  const place = new Place(signal, (until) => get("/api/api-keys", { signal: until }), ({ keys }) => {
    state.keys = keys;
    return list(keys, () => place.load());
  });
  put(main, heading("Keys", "Who may ask this server, and for what.",
    button("Make a key", () => make(() => place.load()), { kind: "primary", image: "plus" })), place.node);
  await place.load();
}

/** Whether a key is the one that this page works with, as far as its hint tells. */
function isOwn(key) {
  const [begin, end] = (key.hint || "").split(/…|\.\.\./);
  return Boolean(begin && end && session.key?.startsWith(begin) && session.key.endsWith(end));
}

const list = (keys, changed) => table("Keys", [
  { title: "Name", kind: "main", cell: (key) => el("div", {},
    key.type === "publishable"
      ? el("a", { href: `#/forms/${key.id}` }, keyName(key.id)) : el("strong", {}, key.name || "unnamed"),
    el("small", { class: "mono" }, key.hint || key.id), isOwn(key) && badge("this page's", "good")) },
  { title: "Kind", cell: (key) => badge(...TYPES[key.type]) },
  { title: "May", kind: "extra", cell: may },
  { title: "Made by", kind: "extra",
    cell: (key) => (key.created_by ? keyName(key.created_by) : quiet("the environment")) },
  { title: "Last used", kind: "time extra", cell: (key) => when(key.last_used_at) },
  { title: "", kind: "act", cell: (key) => key.id !== "env" && [
    button(`Rename ${keyName(key.id)}`, () => rename(key, changed), { kind: "bare", image: "edit" }),
    button(`Revoke ${keyName(key.id)}`, () => revoke(key, changed), { kind: "bare", image: "trash" })] },
], keys);

function may(key) {
  if (key.type === "secret") return "everything";
  if (key.type === "publishable") return `send from ${key.domains.join(", ")}`;
  return key.permissions.flatMap((one) => [badge(one), " "]);
}

function make(changed) {
  dialog("Make a key", (body, close) => {
    const name = el("input", { autocomplete: "off", maxlength: 200, placeholder: "Newsletter tool" });
    const rights = el("fieldset", { class: "grid", "data-param": "permissions" }, el("legend", {}, "It may"),
      PERMISSIONS.flatMap((kind) => ["read", "write"].map((verb) =>
        choice("checkbox", "permission", `${kind}:${verb}`, `${verb} ${kind}`))),
      el("p", { class: "wrong" }));
    const types = el("fieldset", {}, el("legend", {}, "Kind"),
      choice("radio", "type", "restricted", "Restricted",
        { checked: true, hint: "For one program: only what you tick." }),
      choice("radio", "type", "secret", "Secret",
        { hint: "Everything in this workspace. Opens this page, too." }));
    types.addEventListener("change", () => { rights.hidden = form.elements.type.value === "secret"; });
    const save = button("Make the key", null, { kind: "primary", type: "submit" });
    const form = el("form", { class: "form", novalidate: true }, field("Name", name, { name: "name" }), types,
      rights,
      el("p", { class: "hint" }, "For a form on a web page, ",
        el("a", { href: "#/forms/new", onclick: close }, "make a form"), " instead."),
      el("p", { class: "wrong", role: "alert" }), el("footer", {}, button("Cancel", close), save));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      busy(save, () => create(form, name.value, body, close, changed));
    });
    put(body, form);
  });
}

async function create(form, name, body, close, changed) {
  unblame(form);
  const type = form.elements.type.value;
  const permissions = [...form.querySelectorAll("[name=permission]:checked")].map((box) => box.value);
  try {
    const made = await post("/api/api-keys", { name, type, ...(type === "restricted" && { permissions }) });
    put(body, once("The new key", made.key,
      "This is the only time that it is shown. Keep it where secrets are kept."),
      el("footer", {}, button("Done", close, { kind: "primary" })));
    keysChanged();
    changed();
  } catch (err) {
    blame(form, err);
  }
}

export function rename(key, changed) {
  dialog("Rename the key", (body, close) => {
    const name = el("input", { value: key.name, autocomplete: "off", maxlength: 200 });
    const save = button("Save", null, { kind: "primary", type: "submit" });
    const form = el("form", { class: "form", novalidate: true }, field("Name", name, { name: "name" }),
      el("p", { class: "wrong", role: "alert" }), el("footer", {}, button("Cancel", close), save));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      busy(save, async () => {
        try {
          await patch(`/api/api-keys/${key.id}`, { name: name.value });
          keysChanged();
          close();
          changed();
        } catch (err) {
          blame(form, err);
        }
      });
    });
    put(body, form);
  }, { kind: "sheet small" });
}

export async function revoke(key, changed) {
  const children = choice("checkbox", "children", "1", "Also revoke the keys and webhooks that it made");
  const own = isOwn(key) ? "This page works with this key: you will be signed out. " : "";
  const what = key.type === "publishable" ? "Forms that use it stop working at once."
    : "Programs that use it stop working at once.";
  if (!(await confirmed(`Revoke ${keyName(key.id)}?`, `${own}${what} This cannot be undone.`, "Revoke", children))) return;
  const all = children.querySelector("input").checked;
  await remove(`/api/api-keys/${key.id}${query({ children: all ? "true" : "" })}`);
  toast(`Revoked ${keyName(key.id)}`);
  keysChanged();
  changed();
}
