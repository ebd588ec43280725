// What more than one view shows: the counts, and the names of keys.

import { get } from "./api.js";

export const state = { stats: null, keys: null };

/** Reads the counts anew; whoever shows them hears `counts`. */
export async function refreshStats(options) {
  state.stats = await get("/v1/stats", options);
  announce();
  return state.stats;
}

/** A submission went from one state to another (null: it was deleted, or is back). */
export function moveSubmission(from, to) {
  const counts = state.stats?.submissions;
  if (!counts) return;
  if (from in counts) counts[from] = Math.max(0, counts[from] - 1);
  if (to in counts) counts[to] += 1;
  announce();
}

export function forget() {
  state.stats = state.keys = null;
}

function announce() {
  document.dispatchEvent(new CustomEvent("counts", { detail: state.stats }));
}

/** All keys of the workspace, read once until one of them changes. */
export async function keys(options) {
  state.keys ||= (await get("/api/api-keys", options)).keys;
  return state.keys;
}

export function keysChanged() {
  state.keys = null;
}

const WITHOUT_KEY = {
  cli: "command line", env: "the environment's key", "first start": "first start",
  retention: "retention", twilio: "Twilio", confirmation: "the person's confirmation",
};

/** What a person calls a key. */
export function keyName(ref) {
  const key = state.keys?.find((one) => one.id === ref);
  const unnamed = { publishable: "unnamed form", secret: "unnamed secret key" };
  if (key) return key.name || unnamed[key.type] || "unnamed key";
  return WITHOUT_KEY[ref] || "a revoked key";
}

/** Publishable tokens made in this tab, so that the HTML to paste is filled in. They are public. */
export const tokens = {
  of: (ref) => sessionStorage.getItem(`contactapi.form.${ref}`),
  keep: (ref, token) => sessionStorage.setItem(`contactapi.form.${ref}`, token),
};
