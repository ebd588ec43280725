"""pages/openapi.json as other people's tools read it: a validator, a generator of
clients, and Schemathesis, which asks the server for all that it says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from processes import SECRET, Server

HERE = Path(__file__).parent


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
