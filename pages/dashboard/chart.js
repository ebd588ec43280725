// Sign-ups a day: bars for the eye, a table for the ear.

import { el, number, plural, svg } from "./dom.js";

const WIDTH = 560, HEIGHT = 246, LEFT = 34, BOTTOM = 28, TOP = 10;
const day = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", timeZone: "UTC" });
const dated = (date) => day.format(new Date(`${date}T00:00:00Z`));

/** Round steps of which at most four reach the most. */
export function steps(most) {
  const rough = Math.max(1, most / 4);
  const ten = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * ten).find((n) => n >= rough);
  return Array.from({ length: Math.ceil(Math.max(most, 1) / step) + 1 }, (_, n) => n * step);
}

/** `daily` as /v1/stats gives it: `{date, contacts}`, oldest first. */
export function chart(daily) {
  const lines = steps(Math.max(...daily.map((one) => one.contacts)));
  const height = (n) => ((HEIGHT - BOTTOM - TOP) * n) / lines.at(-1);
  const floor = HEIGHT - BOTTOM;
  const slot = (WIDTH - LEFT) / daily.length;
  const label = el("p", { class: "pointed", "aria-hidden": "true" });
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true", class: "chart" },
    lines.map((n) => svg("g", {},
      svg("line", { class: "grid", x1: LEFT, x2: WIDTH, y1: floor - height(n), y2: floor - height(n) }),
      svg("text", { class: "tick", x: LEFT - 8, y: floor - height(n) + 4, "text-anchor": "end" }, number(n)))),
    daily.map((one, n) => bar(one, LEFT + n * slot, slot, floor, height(one.contacts), label)),
    daily.map((one, n) => n % 7 === 1 && svg("text",
      { class: "tick", x: LEFT + (n + 0.5) * slot, y: HEIGHT - 6, "text-anchor": n > 26 ? "end" : "middle" },
      dated(one.date))));
  return el("div", { class: "plot" }, label, drawing, table(daily));
}

function bar(one, x, slot, floor, height, label) {
  const say = () => { label.textContent = `${dated(one.date)}: ${plural(one.contacts, "sign-up")}`; };
  const width = slot * 0.68, tall = Math.max(height, one.contacts ? 3 : 2);
  return svg("g", { class: one.contacts ? "bar" : "bar none", onpointerenter: say,
    onpointerleave: () => { label.textContent = ""; } },
  svg("rect", { class: "reach", x, y: 0, width: slot, height: floor }),
  svg("rect", { class: "value", x: x + (slot - width) / 2, y: floor - tall, width, height: tall,
    rx: Math.min(3, tall / 2) }));
}

function table(daily) {
  return el("table", { class: "hidden" }, el("caption", {}, "Sign-ups a day, the last 30 days"),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Day"), el("th", { scope: "col" }, "Sign-ups"))),
    el("tbody", {}, daily.map((one) => el("tr", {},
      el("th", { scope: "row" }, dated(one.date)), el("td", {}, number(one.contacts))))));
}
