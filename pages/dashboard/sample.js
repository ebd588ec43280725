// The first rows of a file that is to be imported, read as the server reads them.

const BEGIN = 64 * 1024;
const ALIASES = {
  email: ["email", "emailaddress", "e-mailaddress", "e-mail", "e-mail1-value", "primaryemail", "youremail",
    "e-mail-adresse", "mail"],
  name: ["name"],
};

/** {rows, columns, found, form}: objects by column, their names, the key's column or null, "csv" or "jsonl". */
export async function sample(file, key, encoding) {
  const bytes = new Uint8Array(await file.slice(0, BEGIN).arrayBuffer());
  const text = new TextDecoder(byteOrder(bytes) || encoding).decode(bytes);
  const whole = file.size > BEGIN ? text.slice(0, text.search(/[\r\n][^\r\n]*$/)) : text;
  return /\.(jsonl|ndjson)$/i.test(file.name) ? ofJsonl(whole, key) : ofCsv(whole, key);
}

function byteOrder([first, second]) {
  if (first === 0xff && second === 0xfe) return "utf-16le";
  if (first === 0xfe && second === 0xff) return "utf-16be";
  return null;
}

function ofJsonl(text, key) {
  const rows = text.split("\n").filter((line) => line.trim()).slice(0, 5).map((line) => {
    try {
      return JSON.parse(line);
    } catch {
      return { "not JSON": line.slice(0, 80) };
    }
  });
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  return { rows, columns, found: columns.includes(key) ? key : null, form: "jsonl" };
}

function ofCsv(text, key) {
  const read = [",", ";", "\t"].map((separator) => lines(text, separator).slice(0, 27));
  for (let n = 0; n < 21; n += 1) {
    for (const table of read) {
      if (table[n] && keyColumn(table[n], key) !== null) return table5(table, n, key);
    }
  }
  const widest = read.reduce((a, b) => ((b[0]?.length || 0) > (a[0]?.length || 0) ? b : a));
  return table5(widest, 0, key);
}

function table5(table, at, key) {
  const columns = (table[at] || []).map((name) => name.trim()).filter(Boolean);
  const rows = table.slice(at + 1, at + 6).map((cells) =>
    Object.fromEntries(columns.map((name, n) => [name, cells[n] ?? ""])));
  const n = keyColumn(columns, key);
  return { rows, columns, found: n === null ? null : columns[n], form: "csv" };
}

/** The place of the column that names the key: exactly, else alone in another spelling, else by an alias. */
function keyColumn(names, key) {
  const plain = (name) => name.trim().toLowerCase();
  const folded = names.map((name) => plain(name).replace(/[\s_]/g, ""));
  const ways = [(n) => names[n].trim() === key, (n) => folded[n].replaceAll("-", "") === key,
    (n) => ALIASES[key].includes(folded[n])];
  for (const fits of ways) {
    const found = names.map((_, n) => n).filter(fits);
    if (found.length === 1 || (found.length && ways[0] === fits)) return found[0];
  }
  return null;
}

/** Lines of cells; quotes as RFC 4180 has them; blank lines, `sep=` and `#TYPE` are left out. */
function lines(text, separator) {
  const table = [];
  let cells = [], cell = "", quoted = false;
  const end = () => {
    cells.push(cell);
    const first = cells.length === 1 || cells.slice(1).every((one) => !one) ? cells[0] : null;
    if (!/^\s*$|^sep=|^#TYPE/.test(first ?? "x")) table.push(cells);
    [cells, cell] = [[], ""];
  };
  for (let n = 0; n < text.length && table.length < 27; n += 1) {
    const char = text[n];
    if (quoted) {
      if (char === '"' && text[n + 1] === '"') cell += text[n += 1];
      else if (char === '"') quoted = false;
      else cell += char;
    } else if (char === '"' && !cell.trim()) [cell, quoted] = ["", true];
    else if (char === separator) [cells, cell] = [[...cells, cell], ""];
    else if (char === "\n" || char === "\r") {
      if (char === "\r" && text[n + 1] === "\n") n += 1;
      end();
    } else cell += char;
  }
  if (cell || cells.length) end();
  return table;
}
