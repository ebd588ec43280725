// The HTML of a form, to paste into any page.

/** What a form asks for: [name, label, type]. */
export const TEMPLATES = {
  signup: { label: "Sign-up", button: "Sign up",
    fields: [["name", "Name", "text"], ["email", "Email", "email"]] },
  contact: { label: "Contact form", button: "Send",
    fields: [["name", "Name", "text"], ["email", "Email", "email"], ["message", "Message", "area"]] },
  newsletter: { label: "Newsletter", button: "Subscribe", fields: [["email", "Email", "email"]] },
};

/** This server as visitors' browsers reach it. */
export function publicUrl() {
  return document.querySelector("meta[name=public-url]").content || location.origin;
}

export const formUrl = (token) => `${publicUrl()}/f/${token}`;

const SERVICE = "  <!-- your captcha's widget goes here: Turnstile, hCaptcha, reCAPTCHA or Cap -->";
const HONEYPOT = '  <input name="_gotcha" tabindex="-1" autocomplete="off" hidden>';

/** Plain HTML: `token` a publishable key, `captcha` as the key has it. */
export function formHtml({ token, template, captcha = "none" }) {
  const { fields, button } = TEMPLATES[template];
  const solved = captcha === "altcha"
    && `  <contactapi-captcha challenge="${formUrl(token)}/challenge">This form needs JavaScript.</contactapi-captcha>`;
  return [
    captcha === "altcha" && `<script src="${publicUrl()}/captcha.js" defer></script>`,
    `<form action="${formUrl(token)}" method="post">`,
    ...fields.map(labelled),
    HONEYPOT,
    captcha === "service" && SERVICE,
    solved,
    `  <button>${button}</button>`,
    "</form>",
  ].filter(Boolean).join("\n");
}

function labelled([name, label, type]) {
  if (type === "area") return `  <label>${label} <textarea name="${name}" rows="5"></textarea></label>`;
  const needed = type === "email" ? " required" : "";
  return `  <label>${label} <input name="${name}" type="${type}" autocomplete="${name}"${needed}></label>`;
}
