// Renders openapi.json: contents, a section for each endpoint, examples with this
// server's own URL. Values are only ever set as text.

const METHODS = ["get", "post", "patch", "delete"];
const LANGUAGES = { curl, JavaScript: javascript, Python: python };
const NAMES = { secret: "a secret key", publishable: "a publishable key", any: "any key but a publishable one" };

const state = { language: "curl", key: "" };
const server = location.origin;

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

// Text in which `this` is code.
function prose(text) {
  return text.split("`").map((part, i) => (i % 2 ? element("code", {}, part) : part));
}

// -- what the document says

let spec;

function resolve(value) {
  while (value && value.$ref) {
    value = value.$ref.slice(2).split("/").reduce((at, name) => at[name], spec);
  }
  return value;
}

function operations() {
  const found = [];
  for (const [path, item] of Object.entries(spec.paths)) {
    for (const method of METHODS.filter((name) => item[name])) {
      const parameters = [...(item.parameters || []), ...(item[method].parameters || [])];
      found.push({ path, method, ...item[method], parameters: parameters.map(resolve) });
    }
  }
  return found;
}

function needs(operation) {
  const roles = (operation.security || [])
    .filter((way) => way.bearer)
    .map((way) => way.bearer.map((role) => NAMES[role] || `\`${role}\``).join(" and "));
  return roles.length ? `Needs ${roles.join(", or ")}.` : "Needs no key.";
}

function typeOf(schema) {
  schema = resolve(schema) || {};
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" | ");
  if (schema.type === "array") return `array of ${typeOf(schema.items)}`;
  const names = [schema.type || "any"].flat().join(" | ");
  const from = schema.minimum, to = schema.maximum;
  const range = from === undefined ? "" : to === undefined ? ` from ${from}` : ` ${from}–${to}`;
  return names + range + (schema.default === undefined ? "" : `, ${JSON.stringify(schema.default)} by default`);
}

function properties(schema) {
  schema = resolve(schema) || {};
  const usual = (schema.anyOf || []).slice(0, 1); // of several shapes the first
  const parts = [schema, ...(schema.allOf || usual).map(resolve)];
  const required = new Set(parts.flatMap((part) => part.required || []));
  const all = Object.assign({}, ...parts.map((part) => part.properties || {}));
  return Object.entries(all).map(([name, value]) => ({ name, value, required: required.has(name) }));
}

function body(operation) {
  return Object.entries(operation.requestBody?.content || {});
}

function success(operation) {
  const status = Object.keys(operation.responses).find((code) => code[0] === "2");
  const answer = status && resolve(operation.responses[status]);
  return { status, media: Object.entries(answer?.content || {})[0], about: answer?.description };
}

// -- examples in each language

function address(operation) {
  const path = operation.path.replace("{key}", "ck_pub_…").replace("{id}", exampleId(operation));
  return server + path;
}

function exampleId(operation) {
  const example = success(operation).media?.[1].example;
  return (example?.data ?? example)?.id ?? "ID";
}

function request(operation) {
  const [type, content] = body(operation)[0] || [];
  const example = content?.example;
  const headers = {};
  if (operation.security?.length) headers.Authorization = `Bearer ${state.key || placeholder(operation)}`;
  if (type) headers["Content-Type"] = type;
  const text = typeof example === "string" || example === undefined ? example : encode(type, example);
  return { method: operation.method.toUpperCase(), url: address(operation), headers, text };
}

function placeholder(operation) {
  return operation.security[0].bearer[0] === "secret" ? "ck_secret_…" : "ck_live_…";
}

function encode(type, example) {
  return type === "application/x-www-form-urlencoded" ? String(new URLSearchParams(example)) : JSON.stringify(example);
}

function shell(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function curl(operation) {
  const { method, url, headers, text } = request(operation);
  const lines = [`curl ${method === "GET" ? "" : `-X ${method} `}${shell(url)}`];
  for (const [name, value] of Object.entries(headers)) lines.push(`-H ${shell(`${name}: ${value}`)}`);
  if (text !== undefined) lines.push(`--data-binary ${shell(text)}`);
  return lines.join(" \\\n  ");
}

function javascript(operation) {
  const { method, url, headers, text } = request(operation);
  const options = [];
  if (method !== "GET") options.push(`  method: ${JSON.stringify(method)},`);
  if (Object.keys(headers).length) options.push(`  headers: ${JSON.stringify(headers, null, 2).replaceAll("\n", "\n  ")},`);
  if (text !== undefined) options.push(`  body: ${JSON.stringify(text)},`);
  const more = options.length ? `, {\n${options.join("\n")}\n}` : "";
  return `const answer = await fetch(${JSON.stringify(url)}${more});\nconsole.log(answer.status, await answer.text());`;
}

function python(operation) {
  const { method, url, headers, text } = request(operation);
  const options = [`    ${JSON.stringify(url)},`, `    method=${JSON.stringify(method)},`];
  if (Object.keys(headers).length) options.push(`    headers=${JSON.stringify(headers)},`);
  if (text !== undefined) options.push(`    data=${JSON.stringify(text)}.encode(),`);
  return [
    "from urllib.request import Request, urlopen", "", "request = Request(", ...options, ")",
    "with urlopen(request) as answer:", "    print(answer.status, answer.read().decode())",
  ].join("\n");
}

// -- the page

function listOf(entries) {
  return element("dl", {}, ...entries.flatMap(({ name, value, required, about }) => [
    element("dt", {}, element("code", {}, name), element("span", { className: "type" }, typeOf(value) + (required ? ", required" : ""))),
    element("dd", {}, ...prose(about || resolve(value)?.description || "")),
  ]));
}

function parts(title, entries) {
  return entries.length ? [element("h4", {}, title), listOf(entries)] : [];
}

function article(operation) {
  const { status, media, about } = success(operation);
  const [, content] = body(operation)[0] || [];
  const failures = Object.entries(operation.responses).filter(([code]) => code[0] > "3");
  const parameters = operation.parameters.map((p) => ({ name: p.name, value: p.schema, required: p.required, about: p.description }));
  return element("article", { id: operation.operationId },
    element("h3", {}, element("a", { href: `#${operation.operationId}` }, ...prose(operation.summary))),
    element("p", { className: "call" }, element("span", { className: `method ${operation.method}` }, operation.method.toUpperCase()), ` ${operation.path}`),
    element("p", { className: "needs" }, ...prose(needs(operation))),
    ...(operation.description ? [element("p", {}, ...prose(operation.description))] : []),
    ...parts("Parameters", parameters),
    ...parts("Body", properties(content?.schema)),
    ...(body(operation).length ? [element("p", { className: "needs" }, `As ${body(operation).map(([type]) => type).join(", ")}.`)] : []),
    element("h4", {}, `Answers ${status || ""}`),
    element("p", {}, ...prose(about || "")),
    ...parts("", properties(media?.[1].schema).map((one) => ({ ...one, required: false }))).slice(1),
    element("h4", {}, "Refuses"),
    element("dl", { className: "refusals" }, ...failures.flatMap(([code, answer]) => [
      element("dt", {}, element("code", {}, code)), element("dd", {}, ...prose(resolve(answer).description)),
    ])),
    example(operation, media),
  );
}

function example(operation, media) {
  const code = element("code");
  const pre = element("pre", { tabIndex: 0, "aria-label": "request" }, code);
  const copy = element("button", { className: "copy", type: "button" }, "Copy");
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(code.textContent);
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  });
  const tabs = Object.keys(LANGUAGES).map((name) => {
    const tab = element("button", { type: "button", role: "tab" }, name);
    tab.addEventListener("click", () => { state.language = name; redraw(); });
    return tab;
  });
  const draw = () => {
    code.textContent = LANGUAGES[state.language](operation);
    for (const tab of tabs) tab.setAttribute("aria-selected", tab.textContent === state.language);
  };
  drawings.push(draw);
  draw();
  const answer = media?.[1].example;
  return element("div", { className: "example" },
    element("div", { className: "tabs" }, element("div", { role: "tablist", "aria-label": "language" }, ...tabs), copy),
    pre,
    ...(answer === undefined ? [] : [
      element("h4", {}, "Answer"),
      element("pre", { tabIndex: 0, "aria-label": "answer" }, element("code", {}, JSON.stringify(answer, null, 2))),
    ]),
  );
}

const drawings = [];

function redraw() {
  for (const draw of drawings) draw();
}

function render() {
  const contents = document.getElementById("contents");
  const main = document.getElementById("reference");
  const all = operations();
  for (const { name, description } of spec.tags) {
    const mine = all.filter((operation) => operation.tags[0] === name);
    const items = mine.map((operation) => element("li", { "data-for": operation.operationId },
      element("a", { href: `#${operation.operationId}` }, ...prose(operation.summary))));
    contents.append(element("section", {}, element("h2", {}, name), element("ul", {}, ...items)));
    main.append(element("section", { className: "tag" }, element("h2", {}, name), element("p", {}, description), ...mine.map(article)));
  }
}

function search(words) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const section of document.querySelectorAll("article")) {
    const text = section.textContent.toLowerCase();
    section.hidden = !wanted.every((word) => text.includes(word));
    shown += !section.hidden;
    document.querySelector(`[data-for="${section.id}"]`).hidden = section.hidden;
  }
  for (const part of document.querySelectorAll(".tag, nav section")) {
    part.hidden = !part.querySelector("article:not([hidden]), li:not([hidden])");
  }
  document.getElementById("state").textContent = wanted.length ? `${shown} found` : "";
}

async function start() {
  const status = document.getElementById("state");
  try {
    const answer = await fetch("/openapi.json");
    if (!answer.ok) throw new Error(answer.status);
    spec = await answer.json();
  } catch {
    status.textContent = "The reference cannot be read: is pages/openapi.json there?";
    return;
  }
  status.textContent = "";
  render();
  document.getElementById("search").addEventListener("input", (event) => search(event.target.value));
  document.getElementById("key").addEventListener("input", (event) => { state.key = event.target.value.trim(); redraw(); });
  document.getElementById("reader").addEventListener("submit", (event) => event.preventDefault());
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

start();
