// The public API, asked with the secret key of this tab; its failures in words.

const PLACE = "contactapi.key";

export class ApiError extends Error {
  constructor(status, { code = "", message, param = null }) {
    super(message);
    Object.assign(this, { status, code, param });
  }
}

/** The key lives in this tab's sessionStorage only: never in a URL or a cookie. */
export const session = {
  get key() {
    return sessionStorage.getItem(PLACE);
  },
  open(key) {
    sessionStorage.setItem(PLACE, key);
  },
  /** Everything that shows data goes; `why` is said where one signs in. */
  close(why = "") {
    if (!this.key) return;
    document.dispatchEvent(new CustomEvent("signing-out"));
    sessionStorage.clear();
    document.dispatchEvent(new CustomEvent("signed-out", { detail: why }));
  },
};

const REVOKED = "This key no longer works here: it was revoked or replaced. Sign in with another one.";
const OFFLINE = "The server cannot be reached. Look at your connection, then try again.";
const NOT_OURS = "The answer is not one of this server's. Is something between it and you?";

/** A path of the API as seen from this page, which may itself stand below a path. */
const placed = (path) => new URL(path.replace(/^\//, ""), document.baseURI);

/** JSON whose numbers stay as they were written, be they beyond a double or `1.0`. */
export function parse(source) {
  return JSON.parse(source, (_, value, context) => {
    const changed = typeof value === "number" && context && String(value) !== context.source;
    return changed && JSON.rawJSON ? JSON.rawJSON(context.source) : value;
  });
}

/** What the API answers; an envelope is taken off. `body` is sent as JSON, text and files as they are. */
export async function ask(method, path, options = {}) {
  const answer = await send(method, path, options);
  return answer.status === 204 ? null : unpacked(path, read(await answer.text(), answer.status));
}

export const get = (path, options) => ask("GET", path, options);
export const post = (path, body, options) => ask("POST", path, { body, ...options });
export const patch = (path, body, options) => ask("PATCH", path, { body, ...options });
export const remove = (path, options) => ask("DELETE", path, options);

/** The response itself, once it is known to be a success. */
export async function send(method, path, { body, type, key = session.key, ...options } = {}) {
  const headers = { Accept: "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = type || "application/json";
  const plain = body === undefined || typeof body === "string" || body instanceof Blob;
  const sent = { method, headers, body: plain ? body : JSON.stringify(body), credentials: "omit", ...options };
  let answer;
  try {
    answer = await fetch(placed(path), sent);
  } catch (err) {
    throw err.name === "AbortError" ? err : new ApiError(0, { code: "offline", message: OFFLINE });
  }
  if (!answer.ok) throw refused(answer.status, answer.headers.get("Retry-After"), await answer.text(), key);
  return answer;
}

function read(source, status) {
  try {
    return parse(source);
  } catch {
    throw new ApiError(status, { message: NOT_OURS });
  }
}

const unpacked = (path, document) => (path.startsWith("/api/") ? document.data : document);

/** The error of an answer; a session whose key is no longer known ends. */
function refused(status, wait, source, key) {
  let error;
  try {
    error = JSON.parse(source).error;
  } catch {
    error = null;
  }
  const err = new ApiError(status, error || { message: `${NOT_OURS} (status ${status})` });
  if (status === 429 && wait) err.message = `Too many requests in a minute. The server takes the next in ${wait} s.`;
  if (status === 401 && key && key === session.key) session.close(REVOKED);
  return err;
}

/** Sends a file; `progress(share)` is told how much of it has left, from 0 to 1. */
export function upload(path, file, type, progress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", placed(path));
    request.setRequestHeader("Authorization", `Bearer ${session.key}`);
    request.setRequestHeader("Content-Type", type);
    request.upload.addEventListener("progress", (event) => progress(event.loaded / event.total));
    request.addEventListener("error", () => reject(new ApiError(0, { code: "offline", message: OFFLINE })));
    request.addEventListener("abort", () => reject(new DOMException("left", "AbortError")));
    request.addEventListener("load", () => {
      const { status, responseText } = request;
      if (status === 200) resolve(JSON.parse(responseText));
      else reject(refused(status, request.getResponseHeader("Retry-After"), responseText, session.key));
    });
    signal?.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

/** Saves what a path answers as a file of the reader's. */
export async function download(path, name, options) {
  const answer = await send("GET", path, options);
  save(await answer.blob(), name);
}

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** "?a=1&b=2" without what is empty. */
export function query(params) {
  const kept = Object.entries(params).filter(([, value]) => value !== "" && value != null);
  return kept.length ? `?${new URLSearchParams(kept)}` : "";
}
