// Calls that programs asked for: what became of them, and a new one.

import { get, patch, post, query } from "./api.js";
import { badge, blame, busy, button, el, empty, field, heading, number, plural, put, quiet, select, unblame,
  when } from "./dom.js";
import { Place, table } from "./list.js";
import { dialog, toast } from "./overlay.js";

const STAGES = ["initiating", "queued", "ringing", "in-progress", "completed", "busy", "failed", "no-answer",
  "canceled"];
const ENDED = new Set(STAGES.slice(4));
const LOOK = { completed: "good", failed: "bad", busy: "warn", "no-answer": "warn", canceled: "grey" };

export async function calls(main, { params, replace, signal }) {
  const path = (cursor) => `/api/calls/list${query({ limit: 25, status: params.status, cursor })}`;
  const place = new Place(signal, (until) => get(path(""), { signal: until }),
    (found) => show(found, path, place));
  const stage = select([["", "Any status"], ...STAGES.map((one) => [one, one])], params.status || "",
    { "aria-label": "Status" });
  stage.addEventListener("change", () => {
    params.status = stage.value;
    replace(params);
    place.load();
  });
  put(main, heading("Calls", "Outbound calls and what became of them.",
    button("Ask for a call", () => ask(() => place.load()), { kind: "primary", image: "plus" })),
  el("div", { class: "toolbar" }, stage), place.node);
  await place.load();
}

function show({ calls: rows, total, next_cursor: next }, path, place) {
  if (!rows.length) return empty("calls", "No calls",
    "Calls that your programs ask for stand here, with their status and duration.");
  const body = el("div", {}, list(rows, place));
  const more = (cursor) => cursor && button("Show older", async () => {
    const page = await get(path(cursor));
    body.lastChild.replaceWith(list(page.calls, place));
    body.insertBefore(list(rows = [...rows, ...page.calls], place), body.firstChild);
    body.children[1].remove();
    put(foot, el("p", {}, plural(page.total, "call")), more(page.next_cursor));
  });
  const foot = el("div", { class: "pager" }, el("p", {}, plural(total, "call")), more(next));
  return [body, foot];
}

const list = (rows, place) => table("Calls", [
  { title: "Number", kind: "main", cell: (row) => el("strong", { class: "mono" }, row.phone_number) },
  { title: "Status", cell: (row) => [badge(row.status, LOOK[row.status] || "soft"),
    row.reason && el("small", {}, ` ${row.reason}`)] },
  { title: "Contact", kind: "extra",
    cell: (row) => el("a", { href: `#/contacts?open=${row.contact_id}` }, "Open the contact") },
  { title: "From", kind: "extra", cell: (row) => row.from_number || quiet("–") },
  { title: "Seconds", kind: "extra number",
    cell: (row) => (row.duration === null ? quiet("–") : number(Number(row.duration))) },
  { title: "Asked for", kind: "time extra", cell: (row) => when(row.created_at) },
  { title: "", kind: "act",
    cell: (row) => !ENDED.has(row.status) && button("Cancel", () => cancel(row, place),
      { kind: "small", image: "close" }) },
], rows);

async function cancel(row, place) {
  await patch(`/api/calls/${row.id}`, { status: "canceled" });
  toast(`The call to ${row.phone_number} is canceled`);
  await place.load();
}

/** A new call: the contact is found by its address. */
function ask(done) {
  dialog("Ask for a call", (body, close) => {
    const email = el("input", { type: "email", required: true, autocomplete: "off" });
    const to = el("input", { type: "tel", required: true, placeholder: "+442012345678", autocomplete: "off" });
    const from = el("input", { type: "tel", placeholder: "+442012345679", autocomplete: "off" });
    const send = button("Call", null, { kind: "primary", type: "submit", image: "calls" });
    const form = el("form", { class: "form", novalidate: true },
      field("Contact's email", email, { name: "email" }),
      field("Number to call", to, { name: "phone_number", hint: "With + and the country's code." }),
      field("Call from", from, { name: "from_number", hint: "May be left empty where the server has one." }),
      el("p", { class: "wrong", role: "alert" }), el("footer", {}, button("Cancel", close), send));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      busy(send, () => create(form, email.value, { phone_number: to.value, from_number: from.value },
        () => { close(); done(); }));
    });
    put(body, form);
  }, { kind: "sheet small" });
}

async function create(form, email, { from_number: from, ...sent }, done) {
  unblame(form);
  try {
    const { data: [contact] } = email.trim()
      ? await get(`/v1/contacts${query({ email, page_size: 1 })}`) : { data: [] };
    if (!contact) return blame(form, { message: "No contact has this address: add it first", param: "email" });
    await post("/api/calls/create", { contact_id: contact.id, ...sent, ...(from && { from_number: from }) },
      {});
    toast(`Asked for a call to ${sent.phone_number}`);
    done();
  } catch (err) {
    blame(form, err);
  }
}
