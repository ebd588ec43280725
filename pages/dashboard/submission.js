// How a submission is spoken of: in the inbox, on the overview.

import { badge, el, text, when } from "./dom.js";

const REASONS = {
  unconfirmed: "not confirmed yet", captcha_unavailable: "captcha could not be asked",
  honeypot: "honeypot was filled", score: "low captcha score", marked: "marked by a person",
};

export const reason = (one) => REASONS[one.reason] || one.reason;

/** Who sent it, as they would say. */
export function sender(one) {
  const { name, first_name: first, last_name: last } = one.fields;
  const called = [name, [first, last].filter((part) => typeof part === "string").join(" ")];
  return called.find((part) => typeof part === "string" && part.trim()) || one.email || "Somebody";
}

/** The first words of what was sent. */
function excerpt(one) {
  const said = ["message", "comment", "text", "body"].map((name) => one.fields[name]);
  const words = said.find((value) => typeof value === "string" && value);
  if (words) return words;
  const rest = Object.entries(one.fields).filter(([name]) => !["name", "email", "subject"].includes(name));
  return rest.map(([name, value]) => `${name}: ${text(value)}`).join(" · ") || one.email || "";
}

export function avatar(words) {
  const letter = [...words.trim()].find((char) => /[\p{L}\p{N}]/u.test(char)) || "?";
  const tone = [...words].reduce((sum, char) => (sum * 31 + char.codePointAt(0)) % 6, 0);
  return el("span", { class: `avatar tone-${tone}`, "aria-hidden": "true" }, letter.toUpperCase());
}

/** The two lines of a list. */
export function summary(one) {
  const who = sender(one);
  return [avatar(who), el("div", { class: "summary" },
    el("span", { class: "line" }, el("strong", {}, who), when(one.created_at)),
    one.subject && el("span", { class: "subject" }, one.subject),
    el("small", {}, excerpt(one).slice(0, 200)),
    one.reason && badge(reason(one), one.state === "held" ? "warn" : "grey"))];
}
