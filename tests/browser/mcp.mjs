// Lists the tools of an MCP server and calls some, with the official client of the
// package named: node mcp.mjs PACKAGE URL KEY. Prints one JSON object.
const [name, url, key] = process.argv.slice(2);
const modern = name === "@modelcontextprotocol/client";
const { Client } = await import(modern ? name : `${name}/client/index.js`);
const { StreamableHTTPClientTransport } = await import(modern ? name : `${name}/client/streamableHttp.js`);

const requestInit = { headers: { Authorization: `Bearer ${key}` } };
const versionNegotiation = { mode: "auto" }; // asks which era the server knows
const client = new Client({ name: "test", version: "1" }, modern ? { versionNegotiation } : {});
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit }));
const { tools } = await client.listTools();
const call = async (tool, args) => client.callTool({ name: tool, arguments: args });
const made = await call("create_contact", { email: "eva@example.com", fields: { plan: "pro" } });
const found = await call("search_contacts", { query: "eva" });
const missing = await call("get_contact", { id: "con_0" });
console.log(JSON.stringify({ tools: tools.map((tool) => tool.name), made, found, missing, version: client.getNegotiatedProtocolVersion?.() ?? client.getServerVersion() }));
await client.close();
