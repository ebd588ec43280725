// A form as visitors see it, that submits for real.

import { ApiError, patch, send } from "./api.js";
import { busy, button, el, field, put, sentence } from "./dom.js";
import { TEMPLATES } from "./snippet.js";
import { keysChanged, refreshStats } from "./state.js";

export function preview(key, token, template) {
  const { fields, button: label } = TEMPLATES[template];
  const said = el("div", { role: "status", class: "answered" });
  const sendIt = button(label, null, { kind: "primary", type: "submit" });
  const form = el("form", { class: "form", novalidate: true, "aria-label": "Preview" },
    fields.map(([name, title, type]) => field(title, control(name, type), { name })),
    key.captcha === "altcha" && captcha(token), el("p", { class: "wrong", role: "alert" }), sendIt, said);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(sendIt, () => submit(form, key, token, said));
  });
  return el("div", { class: "preview" }, el("h3", {}, "Try it"),
    el("p", { class: "hint" },
      key.captcha === "service"
        ? "Your captcha's widget is not here, so this one is refused: try it on your page."
      : "What you send from here arrives as a submission."), form);
}

function control(name, type) {
  if (type === "area") return el("textarea", { name, rows: 4 });
  return el("input", { name, type, autocomplete: "off" });
}

function captcha(token) {
  if (!document.querySelector("script[src$='captcha.js']")) {
    document.head.append(el("script", { src: "captcha.js", async: true }));
  }
  return el("contactapi-captcha", { challenge: `f/${token}/challenge` });
}

async function submit(form, key, token, said) {
  put(said);
  const body = JSON.stringify(Object.fromEntries(new FormData(form)));
  try {
    const answer = await (await send("POST", `f/${token}`, { body, key: null })).json();
    form.reset();
    put(said, el("p", { class: "note good" }, `${sentence(answer.message)} `,
      answer.submission && el("a", { href: `#/inbox?open=${answer.submission}` }, "See it in the inbox")));
    await refreshStats();
  } catch (err) {
    put(said, el("div", { class: "note bad" }, el("p", {}, sentence(err.message)),
      mayAllow(err, form, key, token, said)));
  }
}

/** A site that the key does not know may be this very page's. */
function mayAllow(err, form, key, token, said) {
  if (!(err instanceof ApiError) || err.status !== 403 || err.code !== "forbidden") return null;
  return button(`Allow ${location.host} for this form`, async () => {
    const domains = [...key.domains, location.host];
    await patch(`/api/api-keys/${key.id}`, { domains });
    key.domains = domains;
    keysChanged();
    await submit(form, key, token, said);
  });
}
