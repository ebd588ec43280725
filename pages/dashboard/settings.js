// A form's settings, as questions; the wizard asks them step by step, a form's page all at once.

import { choice, el, field } from "./dom.js";

const lines = (words) => words.split(/[\s,;]+/).filter(Boolean);
const DEFAULTS = { name: "", domains: [], existing: "update", notify: [], redirect: null, captcha: "none",
  confirm: false, keep_days: 365 };

/** The steps: [title, words, controls]; `read()` gives what the API takes. */
export function questions(key = DEFAULTS) {
  const asked = { ...DEFAULTS, ...key };
  const name = el("input", { value: asked.name, autocomplete: "off", maxlength: 200, placeholder: "Newsletter" });
  const domains = el("textarea", { rows: 2, spellcheck: "false", placeholder: "example.com" },
    asked.domains.join("\n"));
  const notify = el("textarea", { rows: 2, spellcheck: "false", placeholder: "me@example.com" },
    (asked.notify || []).join("\n"));
  const redirect = el("input",
    { type: "url", value: asked.redirect || "", placeholder: "https://example.com/thanks" });
  const days = el("input", { type: "number", min: 0, value: asked.keep_days, inputmode: "numeric" });
  const one = (group, value, label, hint) => choice("radio", group, value, label,
    { hint, checked: asked[group] === value });
  const existing = set("When the address is known already", "existing",
    one("existing", "update", "Update the contact", "What was sent is written over what is stored."),
    one("existing", "keep", "Keep what is stored",
      "New fields are added, none is overwritten. Right for forms that anybody may fill in."));
  const captcha = set("Captcha", "captcha",
    one("captcha", "none", "None", "A honeypot field is in the form all the same."),
    one("captcha", "altcha", "Built in",
      "The visitor's browser solves a small puzzle. Nobody else is asked, nothing is to be clicked."),
    one("captcha", "service", "A service",
      "Turnstile, hCaptcha, reCAPTCHA or Cap, as the server's settings name it."));
  const confirm = set("Double opt-in", "confirm",
    choice("checkbox", "confirm", "on", "Ask for a confirmation by mail",
      { checked: asked.confirm,
        hint: "Nobody becomes a contact before they pressed the button in a mail. Needs mail and a public URL." }));
  const steps = [
    ["Where", "Where will the form stand?",
      [field("Name", name, { name: "name", hint: "For you; visitors do not see it." }),
      field("Sites", domains,
        { name: "domains", hint: "One a line: example.com, *.example.com, localhost. Nobody else can use the form." })]],
    ["Contacts", "What becomes of what is sent?", [existing,
      field("Send a mail to", notify,
        { name: "notify", hint: "For each submission, up to ten addresses. May be empty." }),
      field("After sending, show", redirect,
        { name: "redirect", hint: "A page of yours; empty for a plain thank-you page." })]],
    ["Protection", "How are people told from programs?", [captcha, confirm,
      field("Keep submissions for, in days", days, { name: "keep_days", hint: "0 for ever." })]],
  ];
  const picked = (group) => group.querySelector("input:checked")?.value;
  const read = () => ({
    name: name.value.trim(), domains: lines(domains.value), existing: picked(existing),
    notify: lines(notify.value),
    redirect: redirect.value.trim() || null, captcha: picked(captcha), confirm: Boolean(picked(confirm)),
    keep_days: days.value === "" ? DEFAULTS.keep_days : Number(days.value),
  });
  return { steps, read };
}

function set(legend, param, ...choices) {
  return el("fieldset", { "data-param": param }, el("legend", {}, legend), choices, el("p", { class: "wrong" }));
}

/** What differs from how the key is, so that nothing else is asked for. */
export function changed(key, asked) {
  return Object.fromEntries(Object.entries(asked).filter(([name, value]) =>
    JSON.stringify(value) !== JSON.stringify(key[name] ?? DEFAULTS[name])));
}
