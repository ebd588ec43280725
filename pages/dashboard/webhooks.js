// Webhooks: where events are sent, whether they arrived, and sending again.

import { get, patch, post, query, remove } from "./api.js";
import { badge, blame, busy, button, choice, el, empty, field, heading, note, put, quiet, select, sentence, unblame,
  when } from "./dom.js";
import { Place, pager, table } from "./list.js";
import { confirmed, dialog, once, toast } from "./overlay.js";

const SHAPES = [["standard", "Standard Webhooks (signed JSON)"], ["slack", "Slack"], ["discord", "Discord"],
  ["text", "Plain text (Mattermost, Google Chat …)"], ["ntfy", "ntfy"]];
const EVENTS = ["contact.created", "contact.updated", "contact.deleted", "company.created", "company.updated",
  "company.deleted",
  "call.created", "call.updated", "submission.accepted", "submission.updated", "submission.deleted"];
/** What a webhook that names none does not get. */
const OTHERS = ["key.created", "key.updated", "key.revoked", "webhook.created", "webhook.updated", "webhook.deleted"];
const STATES = { delivered: "good", failed: "bad", waiting: "warn" };

export async function webhooks(main, { params, replace, signal }) {
  const hooks = new Place(signal, (until) => get("/v1/webhooks?page_size=100", { signal: until }),
    ({ data }) => list(data, () => hooks.load(), () => sent.load()));
  const sent = new Place(signal,
    (until) => get(`/v1/deliveries${query({ page: params.page, page_size: 20 })}`, { signal: until }),
    (page) => deliveries(page, () => sent.load(), (to) => {
      params.page = to;
      replace(params);
      return sent.load();
    }));
  put(main, heading("Webhooks", "Tell other programs, or a chat, what happens here.",
    button("Add a webhook", () => edit(null, () => hooks.load()), { kind: "primary", image: "plus" })),
      hooks.node,
  el("div", { class: "below" }, el("header", { class: "subhead" }, el("h2", {}, "Deliveries"),
    button("Look again", () => sent.load(), { kind: "small", image: "refresh" })), sent.node));
  await Promise.all([hooks.load(), sent.load()]);
}

function list(hooks, changed, delivered) {
  if (!hooks.length) return empty("webhooks", "No webhooks yet",
    "Add an address, and each event is sent to it, signed, until it arrives.");
  return el("ul", { class: "cards wide" }, hooks.map((hook) => el("li", {}, card(hook, changed, delivered))));
}

function card(hook, changed, delivered) {
  const answer = el("div", { role: "status" });
  const shape = SHAPES.find(([name]) => name === hook.shape)?.[1] || hook.shape;
  const turn = hook.enabled ? "Disable" : "Enable";
  return el("article", { class: "card hook", "data-id": hook.id },
    el("header", {}, el("h2", { class: "address" }, hook.url),
      badge(hook.enabled ? "enabled" : "disabled", hook.enabled ? "good" : "bad")),
    !hook.enabled && hook.reason && note("bad", el("p", {}, sentence(hook.reason))),
    el("p", { class: "quiet" }, shape, " · made ", when(hook.created_at)),
    el("p", { class: "badges" },
      String(hook.events) === String(EVENTS) ? badge("every event") : hook.events.map((one) => badge(one))),
    answer,
    el("div", { class: "actions" },
      button("Send a test", () => test(hook, answer, delivered), { kind: "small", image: "send" }),
      button("Edit", () => edit(hook, changed), { kind: "small", image: "edit" }),
      button(turn, () => patch(`/v1/webhooks/${hook.id}`, { enabled: !hook.enabled }).then(changed), { kind: "small" }),
      button("New secret", () => rotate(hook), { kind: "small", image: "keys" }),
      button("Delete", () => drop(hook, changed), { kind: "danger quiet small", image: "trash" })));
}

async function test(hook, place, delivered) {
  put(place, el("p", { class: "quiet" }, "Sending …"));
  try {
    const { status, answer } = await post(`/v1/webhooks/${hook.id}/test`, {});
    const good = status >= 200 && status < 300;
    put(place, note(good ? "good" : "bad", el("p", {}, good ? `It arrived: the receiver answered ${status}.`
      : status ? `The receiver answered ${status}, which is no success.` : "Nobody answered."),
    answer && el("pre", { tabindex: "0", role: "region", "aria-label": "The answer" }, answer)));
    delivered();
  } catch (err) {
    put(place, note("bad", el("p", {}, sentence(err.message))));
  }
}

/** Makes one, or changes it. */
function edit(hook, changed) {
  dialog(hook ? "Edit the webhook" : "Add a webhook", (body, close) => {
    const url = el("input",
      { type: "url", value: hook?.url, placeholder: "https://example.com/hook", autocomplete: "off",
        required: true });
    const shape = select(SHAPES, "standard");
    const wanted = new Set(hook?.events || []);
    const events = el("fieldset", { class: "grid", "data-param": "events" }, el("legend", {}, "Events"),
      [...new Set([...EVENTS, ...OTHERS, ...wanted])].map((one) =>
        choice("checkbox", "event", one, one, { checked: wanted.has(one) })),
      el("p", { class: "wrong" }));
    const save = button(hook ? "Save" : "Add it", null, { kind: "primary", type: "submit" });
    const form = el("form", { class: "form", novalidate: true },
      field("Address", url, { name: "url", hint: "A public http or https address." }),
      !hook && field("Shape", shape, { name: "shape" }), events,
      !hook && el("p", { class: "hint" },
        "None ticked: all but those of keys and webhooks; to a chat, accepted submissions only."),
      el("p", { class: "wrong", role: "alert" }), el("footer", {}, button("Cancel", close), save));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const picked = [...form.querySelectorAll("[name=event]:checked")].map((box) => box.value);
      const asked = { url: url.value.trim(), ...(picked.length && { events: picked }) };
      busy(save, async () => {
        const done = hook ? await update(form, hook, asked)
          : await create(form, { ...asked, shape: shape.value }, body, close);
        if (done) changed();
        if (done === "close") close();
      });
    });
    put(body, form);
  });
}

async function create(form, asked, body, close) {
  unblame(form);
  try {
    const made = await post("/v1/webhooks", asked);
    put(body, once("Its secret", made.secret,
      "With it the receiver knows that we sent it. This is the only time that it is shown."),
      el("footer", {}, button("Done", close, { kind: "primary" })));
    return "made";
  } catch (err) {
    return blame(form, err);
  }
}

async function update(form, hook, asked) {
  unblame(form);
  try {
    if (asked.url === hook.url) delete asked.url;
    await patch(`/v1/webhooks/${hook.id}`, asked);
    return "close";
  } catch (err) {
    return blame(form, err);
  }
}

async function rotate(hook) {
  const words = "The old secret goes on signing beside the new one for 24 hours. A third one ends the oldest at once.";
  if (!(await confirmed("Make a new secret?", words, "Make it"))) return;
  const { secret } = await patch(`/v1/webhooks/${hook.id}`, { rotate: true });
  dialog("The new secret",
    (body, close) => put(body, once("Its secret", secret, "This is the only time that it is shown."),
    el("footer", {}, button("Done", close, { kind: "primary" }))));
}

async function drop(hook, changed) {
  if (!(await confirmed("Delete the webhook?",
    `Nothing is sent to ${hook.url} any more, what waits neither.`, "Delete"))) return;
  await remove(`/v1/webhooks/${hook.id}`);
  toast("The webhook is deleted");
  await changed();
}

// -- deliveries

function deliveries(page, changed, go) {
  if (!page.data.length) return el("p", { class: "calm" }, "Nothing was sent in the last 30 days.");
  const columns = [
    { title: "To", kind: "main",
      cell: (row) => el("div", {}, el("strong", {}, row.host), el("small", { class: "mono" }, row.event)) },
    { title: "State", cell: (row) => badge(row.state, STATES[row.state]) },
    { title: "Tries", kind: "extra number", cell: (row) => row.tries },
    { title: "Next try", kind: "extra",
      cell: (row) => (row.next_try_at ? when(row.next_try_at) : quiet("–")) },
    { title: "Last answer",
      cell: (row) => el("div", { class: "answer" }, row.last_status && el("strong", {}, row.last_status), " ",
        row.last_answer || "") },
    { title: "", kind: "act", cell: (row) => button("Send again", async () => {
      await post(`/v1/deliveries/${row.id}/retry`, {});
      toast(`Sent to ${row.host} once more`);
      await changed();
    }, { kind: "small", image: "refresh" }) },
  ];
  return [table("Deliveries", columns, page.data), pager(page, "delivery", "deliveries", go)];
}
