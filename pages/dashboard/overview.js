// The first page: how much there is, what waits, and where to begin.

import { get, post, session } from "./api.js";
import { chart } from "./chart.js";
import { button, el, failure, heading, icon, link, number, plural, put, skeleton } from "./dom.js";
import { code } from "./overlay.js";
import { formHtml, publicUrl } from "./snippet.js";
import { keys, keysChanged, refreshStats, state, tokens } from "./state.js";
import { summary } from "./submission.js";

export async function overview(main, { signal }) {
  const body = el("div", {}, skeleton(5));
  put(main, heading("Overview", "What came in, and what waits for you."), body);
  try {
    const [stats, latest, troubled] = await Promise.all([
      refreshStats({ signal }), get("/v1/submissions?page_size=5", { signal }), failedDeliveries({ signal }),
      keys({ signal }),
    ]);
    if (isEmpty(stats)) return put(body, firstSteps());
    put(body, tiles(stats), el("div", { class: "columns" }, signUps(stats), waits(stats, troubled)),
      newest(latest));
  } catch (err) {
    if (err.name !== "AbortError") put(body, failure(err, () => overview(main, { signal })));
  }
}

/** Of the last hundred deliveries. */
async function failedDeliveries(options) {
  const { data } = await get("/v1/deliveries?page_size=100", options).catch(absent);
  return data.filter((one) => one.state === "failed").length;
}

/** A server without extras/webhooks.py has none. */
function absent(err) {
  if (err.status === 404) return { data: [] };
  throw err;
}

function isEmpty({ contacts, companies, calls, submissions }) {
  return contacts + companies + calls + submissions.accepted + submissions.held + submissions.spam === 0;
}

function tiles({ contacts, companies, calls, submissions, daily }) {
  const month = daily.reduce((sum, one) => sum + one.contacts, 0);
  return el("ul", { class: "tiles" },
    tile("contacts", "Contacts", contacts, month ? `${number(month)} new in 30 days` : "none new in 30 days"),
    tile("inbox", "Submissions", submissions.accepted,
      submissions.held ? `${number(submissions.held)} held` : "none held"),
    tile("companies", "Companies", companies, "by name"),
    tile("calls", "Calls", calls, "outbound"));
}

const tile = (view, title, count, more) => el("li", {}, el("a", { href: `#/${view}` },
  el("span", { class: "name" }, icon(view), title), el("strong", {}, number(count)), el("small", {}, more)));

function signUps({ daily }) {
  const month = daily.reduce((sum, one) => sum + one.contacts, 0);
  return el("section", { class: "card", "aria-labelledby": "sign-ups" },
    el("header", {}, el("h2", { id: "sign-ups" }, "Sign-ups"),
      el("p", {}, `${plural(month, "new contact")} in the last 30 days`)),
    chart(daily));
}

function waits({ submissions }, troubled) {
  const rows = [
    submissions.held && waiting("inbox?state=held", "clock", plural(submissions.held, "held submission"),
      "Accept them, or say that they are spam"),
    troubled && waiting("webhooks", "alert", plural(troubled, "failed delivery", "failed deliveries"),
      "See what the receiver said and send again"),
    submissions.spam && waiting("inbox?state=spam", "spam",
      `${number(submissions.spam)} in spam`, "Goes by itself after 30 days"),
  ].filter(Boolean);
  const none = el("p", { class: "calm" }, icon("check"),
    "Nothing waits. All that came in is accepted and sent on.");
  return el("section", { class: "card", "aria-labelledby": "waits" },
    el("header", {}, el("h2", { id: "waits" }, "Waiting for you")),
    rows.length ? el("ul", { class: "rows" }, rows) : none);
}

const waiting = (to, image, title, words) => el("li", {}, el("a", { href: `#/${to}`, class: "row" },
  el("span", { class: "medal small" }, icon(image)),
  el("div", {}, el("strong", {}, title), el("small", {}, words)), icon("next")));

function newest({ data }) {
  const none = el("p", { class: "calm" }, "No form has sent anything yet. ",
    el("a", { href: "#/forms/new" }, "Make a form"));
  return el("section", { class: "card", "aria-labelledby": "newest" },
    el("header", {}, el("h2", { id: "newest" }, "Latest submissions"),
      el("a", { href: "#/inbox" }, "Open the inbox")),
    data.length ? el("ul", { class: "rows" }, data.map((one) => el("li", {}, el("a",
      { class: "row", href: `#/inbox?state=${one.state}&open=${one.id}` }, summary(one))))) : none);
}

// -- an empty store

function firstSteps() {
  const command = (key) => `curl ${publicUrl()}/v1/contacts \\\n  -H 'Authorization: Bearer ${key}' \\\n`
    + "  -H 'Content-Type: application/json' \\\n  -d '{\"email\": \"ada@example.com\", \"name\": \"Ada\"}'";
  const form = el("div", {});
  showForm(form, state.keys.find((one) => one.type === "publishable" && tokens.of(one.id)));
  return el("div", { class: "first" },
    el("p", { class: "lead" }, "Nothing is stored yet. Three ways to begin; the first takes ten seconds."),
    el("ol", { class: "steps" },
      step("Add a contact from a terminal", "The line is copied with your key in it.",
        code("Terminal", command(`${session.key.slice(0, 10)}…`), command(session.key))),
      step("Put a form on your page", "Paste it where people should sign up. It needs no JavaScript.", form),
      step("Bring the contacts that you have", "A CSV file as your spreadsheet or newsletter tool writes it.",
        el("p", {}, link("Import a file", "#/files", { kind: "primary", image: "upload" })))));
}

const step = (title, words, ...more) => el("li", { class: "card" }, el("h2", {}, title),
  el("p", { class: "quiet" }, words), more);

function showForm(place, key) {
  const token = key && tokens.of(key.id);
  put(place, code("HTML", formHtml({ token: token || "ck_pub_…", template: "signup" })),
    el("p", { class: "actions" },
      !key && button("Fill in a key for localhost", () => makeKey(place), { kind: "primary", image: "forms" }),
      key && link("Try it here", `#/forms/${key.id}`),
      link("Make one for my site", "#/forms/new")));
}

async function makeKey(place) {
  const key = await post("/api/api-keys", { name: "First form", type: "publishable", domains: ["localhost"] });
  tokens.keep(key.id, key.key);
  keysChanged();
  await keys();
  showForm(place, key);
}
