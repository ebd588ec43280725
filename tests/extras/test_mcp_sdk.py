"""The official Python client of the Model Context Protocol (`pip install mcp`, a need
of this test only) lists and calls every tool, in both eras."""

import asyncio
import json

import pytest
from mcp import Client
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

from processes import SECRET, Server

PAGE = {"Origin": "https://example.com"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("mcp"))
    server.start()
    yield server
    server.stop()


def connect(server, mode, key=SECRET):
    web = create_mcp_http_client(headers={"Authorization": f"Bearer {key}"})
    transport = streamable_http_client(f"{server.url}/mcp", http_client=web)
    return Client(transport, mode=mode)


def ref_of_submission(server):
    body = {"type": "publishable", "domains": ["example.com"]}
    key = server.ask("POST", "/api/api-keys", body).json["data"]["key"]
    sent = {"email": "visitor@example.com", "message": "Hello"}
    server.ask("POST", "/v1/contacts", sent, headers=PAGE, key=key)
    return server.ask("GET", "/v1/submissions").json["data"][0]["id"]


@pytest.mark.parametrize("mode", ["auto", "2026-07-28", "legacy"])
def test_every_tool_is_listed_and_called(server, mode):
    submission = ref_of_submission(server)

    async def use():
        async with connect(server, mode) as client:
            listed = (await client.list_tools()).tools
            answers = {}

            async def call(name, **arguments):
                answers[name] = await client.call_tool(name, arguments)
                return answers[name].structured_content

            made = await call("create_contact", email=f"{mode}@x.example", fields={})
            ref = made["id"]
            await call("get_contact", id=ref)
            await call("update_contact", id=ref, fields={"plan": "pro"})
            found = await call("search_contacts", query=mode)
            assert [one["id"] for one in found["data"]] == [ref]
            for name in ("list_contacts", "list_companies", "list_calls"):
                await call(name)
            await call("list_submissions", state="accepted")
            await call("get_submission", id=submission)
            await call("update_submission", id=submission, state="spam")
            await call("delete_contact", id=ref)
            return {tool.name for tool in listed}, answers

    names, answers = asyncio.run(use())
    assert names == set(answers) and len(names) == 11
    assert {name for name, answer in answers.items() if answer.is_error} == set()
    assert answers["update_submission"].structured_content["state"] == "spam"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_key_without_the_permission_gets_a_tool_error(server, mode):
    body = {"name": "reads", "permissions": ["contacts:read"]}
    key = server.ask("POST", "/api/api-keys", body).json["data"]["key"]

    async def use():
        async with connect(server, mode, key) as client:
            listed = (await client.list_tools()).tools
            refused = await client.call_tool("delete_contact", {"id": "con_0"})
            return {tool.name for tool in listed}, refused

    names, refused = asyncio.run(use())
    assert names == {"list_contacts", "get_contact", "search_contacts"}
    assert refused.is_error
    assert json.loads(refused.content[0].text)["code"] == "forbidden"
