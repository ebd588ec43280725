"""pages/openapi.json as other people's tools read it: a validator, a generator of
clients, and Schemathesis, which asks the server for all that it says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from client import PAGE
from processes import SECRET, Server

HERE = Path(__file__).parent
SPEC = json.loads((HERE.parent.parent / "pages" / "openapi.json").read_text())


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path)
    server.start()
    yield server
    server.stop()


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def test_the_document_is_valid(server):
    validate(server.ask("GET", "/openapi.json").json)


def misfits(schema, value):
    whole = {**schema, "components": SPEC["components"]}
    return [error.message for error in Draft202012Validator(whole).iter_errors(value)]


def contents(value):
    """What stands under each media type, wherever the document has one."""
    if isinstance(value, dict):
        yield from (one for one in value.get("content", {}).values())
        value = value.values()
    if not isinstance(value, str | int | float | None):
        for one in value:
            yield from contents(one)


def test_every_example_fits_its_schema():
    shown = [c for c in contents(SPEC["paths"]) if "example" in c and "schema" in c]
    assert len(shown) > 50
    for content in shown:
        assert misfits(content["schema"], content["example"]) == [], content["example"]


def describes(path, method, answer):
    """Whether the document has this answer: its media type, its shape."""
    said = SPEC["paths"][path][method]["responses"][str(answer.status_int)]
    if "$ref" in said:
        said = SPEC["components"]["responses"][said["$ref"].rpartition("/")[2]]
    content = said["content"].get(answer.content_type)
    value = answer.json if answer.content_type == "application/json" else answer.text
    return content is not None and misfits(content["schema"], value) == []


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_what_a_confirmation_refuses_is_described(mails, accept):
    sent = {"Accept": accept, "Content-Type": "application/x-www-form-urlencoded"}
    told = {"Accept": accept, "Content-Type": "text/plain"}
    for body, headers, status in (
        (b"answer=yes", sent, 410),
        (b"answer=%ff", sent, 400),
        (b"yes", told, 415),
        (b"x" * 70_000, sent, 413),
    ):
        answer = mails.ask("POST", "/c/x", body, key=None, headers=headers)
        assert answer.status_int == status
        assert describes("/c/{token}", "post", answer), answer.text
    answer = mails.ask("GET", "/c/x", key=None, headers={"Accept": accept})
    assert describes("/c/{token}", "get", answer), answer.text


def test_what_a_key_is_told_that_may_write_but_not_read_is_described(make):
    api = make()
    kinds = ("contacts", "companies", "calls", "keys", "submissions")
    blind = api.key("restricted", *(f"{kind}:write" for kind in kinds))
    (contact,) = api.add("ada@example.com")
    company = api.post({"name": "Acme"}, "/v1/companies").json["id"]
    ask = {"contact_id": contact, "phone_number": "+442012345678"}
    call = api.post(ask, "/api/calls/create").json["data"]["id"]
    other = {"name": "x", "permissions": ["calls:write"]}
    key = api.post(other, "/api/api-keys").json["data"]["id"]
    api.post({"email": "ada@example.com"}, key=api.key("publishable"), headers=PAGE)
    (row,) = api.get("/v1/submissions").json["data"]
    for path, ref, body in (
        ("/v1/contacts/{id}", contact, {"plan": "pro"}),
        ("/v1/companies/{id}", company, {"size": 5}),
        ("/v1/submissions/{id}", row["id"], {"state": "spam"}),
        ("/api/calls/{id}", call, {"status": "ringing"}),
        ("/api/api-keys/{id}", key, {"name": "y"}),
    ):
        for token in (blind, api.secret):
            answer = api.ask("PATCH", path.replace("{id}", ref), body, key=token)
            assert describes(path, "patch", answer), answer.text


def test_schemathesis_finds_nothing(server):
    """All checks, a fixed seed; what no schema can say is in schemathesis.toml."""
    for kind, name in (("contacts", "email"), ("companies", "name")):
        server.ask("POST", f"/v1/{kind}", {name: "ada@example.com"})
    run(
        *(sys.executable, "-m", "schemathesis.cli"),
        *("--config-file", str(HERE / "schemathesis.toml")),
        *("run", f"{server.url}/openapi.json", "--no-color"),
        *("-H", f"Authorization: Bearer {SECRET}"),
        cwd=HERE,
    )


def test_a_generated_client_makes_a_contact(server, tmp_path):
    spec = tmp_path / "openapi.json"
    spec.write_text(json.dumps(server.ask("GET", "/openapi.json").json))
    target = tmp_path / "client"
    run(
        *(sys.executable, "-m", "openapi_python_client", "generate"),
        *("--path", str(spec), "--output-path", str(target), "--meta", "none"),
        cwd=tmp_path,
    )
    use = (
        "from client import AuthenticatedClient\n"
        "from client.api.contacts import create_contact\n"
        "from client.models import ContactInput\n"
        "import sys\n"
        "web = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2])\n"
        "made = create_contact.sync(\n"
        "    client=web, body=ContactInput.from_dict(dict(email='a@b.example', n=1))\n"
        ")\n"
        "print(made.id, made.email, made['n'])\n"
    )
    said = run(sys.executable, "-c", use, server.url, SECRET, cwd=tmp_path)
    ref, email, number = said.split()
    assert (email, number) == ("a@b.example", "1")
    assert server.ask("GET", f"/v1/contacts/{ref}").json["n"] == 1
