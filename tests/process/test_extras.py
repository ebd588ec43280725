"""Extras: what needs none is served by contactapi.py alone, and one that is missing is
one line that says what to do."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import contactapi
from doubles import TWILIO
from extras.pages import PAGE_PATHS
from processes import (
    SCRIPT,
    Server,
    bound_by_file_modes,
    environment,
    free_port,
    make_key,
    run,
    until,
)

SCHEMA_1 = SCRIPT.parent / "tests/store/schema-1.sql"


@pytest.fixture
def alone(tmp_path):
    """contactapi.py by itself in an otherwise empty folder."""
    folder = tmp_path / "alone"
    folder.mkdir()
    return Path(shutil.copy(SCRIPT, folder))


@pytest.fixture
def serve_alone(alone, tmp_path):
    servers = []

    def start(**settings):
        server = Server(tmp_path / "data", **settings)
        server.script = alone
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.kill()


def extra(alone, text):
    """Puts an extras/twilio.py of this text beside the file."""
    folder = alone.with_name("extras")
    folder.mkdir()
    (folder / "twilio.py").write_text(text)


def all_but(alone, missing):
    """Puts every extra but one beside the file."""
    folder = shutil.copytree(SCRIPT.with_name("extras"), alone.with_name("extras"))
    Path(folder, f"{missing}.py").unlink()


def refused(alone, tmp_path, **settings):
    """What a start says that ends with one line and has made nothing."""
    data = tmp_path / "data"
    data.mkdir()
    env = environment(data, PORT=free_port(), **settings)
    ended = run(env, "serve", script=alone)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert list(data.iterdir()) == []
    return ended.stderr.rstrip("\n")


def test_the_file_alone_serves_everything_that_needs_no_extra(serve_alone):
    server = serve_alone()
    made = server.ask("POST", "/v1/contacts", {"email": "ada@example.com"})
    assert made.status == 201
    ref = made.json["id"]
    uid = server.ask("GET", "/api/v1/contacts").json["data"][0]["id"]
    assert server.ask("GET", f"/api/v1/contacts/{uid}").status == 200
    body = {"contact_id": ref, "phone_number": "+12025550100"}
    call = server.ask("POST", "/api/calls/create", body).json["data"]
    path = f"/api/calls/{call['id']}"
    assert server.ask("PATCH", path, {"status": "completed"}).status == 200
    assert server.ask("GET", path).json["data"]["status"] == "completed"
    assert server.ask("POST", f"{path}/twilio").status == 404
    for path in (
        *("/healthz", "/v1/contacts", "/v1/companies"),
        *("/v1/contacts.jsonl", f"/v1/contacts/{ref}", "/v1/submissions"),
        *("/api/v1/companies", "/api/api-keys", "/api/calls/list"),
    ):
        assert server.ask("GET", path).status == 200, path
    for path in (
        *("/v1/events", "/v1/stats"),
        *(f"/v1/contacts/{ref}/history", f"/v1/contacts/{ref}/export"),
    ):
        message = server.ask("GET", path).json["error"]["message"]
        assert message.endswith("put extras/history.py beside contactapi.py")
    for path in PAGE_PATHS:
        error = server.ask("GET", path).json["error"]
        missing = "to serve pages/, put extras/pages.py beside contactapi.py"
        assert error == {"code": "not_found", "message": missing}
    server.stop()


def test_without_its_extra_webhooks_are_404_that_says_what_is_missing(serve_alone):
    server = serve_alone()
    for path in ("/v1/webhooks", "/v1/webhooks/whk_1/test", "/v1/deliveries"):
        answer = server.ask("GET", path)
        missing = "to send webhooks, put extras/webhooks.py beside contactapi.py"
        assert (answer.status, answer.json["error"]["message"]) == (404, missing)


def test_without_its_extra_a_key_that_asks_for_a_captcha_lets_nobody_in(serve_alone):
    server = serve_alone()
    page = {"Origin": "https://example.com"}
    for captcha in ("altcha", "service"):
        options = ("--type", "publishable", "--domain", "example.com")
        key = make_key(server.env, *options, "--captcha", captcha)
        absent = server.ask("GET", f"/f/{key}/challenge").json
        assert absent["message"].endswith("put extras/captcha.py beside contactapi.py")
        body = {"email": "ada@example.com", "altcha": "x", "cap-token": "x"}
        for path in ("/v1/contacts", f"/f/{key}"):
            answer = server.ask("POST", path, body, page, key)
            assert answer.status == 503, answer
            assert answer.json["error"]["code"] == "unavailable"
    assert server.ask("GET", "/v1/submissions").json["total"] == 0
    server.stop()


NO_CSV = "to read and write CSV, put extras/spreadsheets.py beside contactapi.py"


def test_without_its_extra_csv_is_404_that_says_what_is_missing(serve_alone):
    server = serve_alone()
    lines = b'{"email": "a@x.org"}\n' * 10_000
    media = {"Content-Type": "application/jsonl"}
    assert server.ask("POST", "/v1/contacts.jsonl", lines, media).status == 200
    media = {"Content-Type": "text/csv"}
    for path in ("/v1/contacts.csv", "/v1/companies.csv", "/v1/contacts.csv/"):
        for method, body in (
            *(("GET", None), ("POST", b"email\na@x.org\n"), ("DELETE", None)),
            ("POST", b"email\n" + b"a@x.org\n" * 10_000),
        ):
            answer = server.ask(method, path, body, media)
            assert answer.status == 404
            error = {"code": "not_found", "message": NO_CSV}
            assert answer.json == {"error": error}
    assert server.ask("GET", "/v1/contacts/x.csv").json["error"]["message"] != NO_CSV
    assert server.ask("GET", "/v1/contacts").json["total"] == 1
    server.stop()


@pytest.mark.parametrize(
    "command",
    [
        *("import in.jsonl", "export out.jsonl --kind nothing", "check --compact"),
        *("backup --verify x", "copy", "import --help"),
    ],
)
def test_a_command_of_an_extra_that_is_not_there_is_one_line(alone, tmp_path, command):
    ended = run(environment(tmp_path), *command.split(), script=alone, cwd=tmp_path)
    purpose, file = "back up, copy and check databases", "upkeep"
    if command.startswith(("import", "export")):
        purpose, file = "import and export files", "files"
    said = f"contactapi: to {purpose}, put extras/{file}.py beside contactapi.py\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", said)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["alone"]


def test_a_nightly_backup_that_is_asked_for_needs_its_extra(alone, tmp_path):
    said = refused(alone, tmp_path, CONTACTAPI_BACKUP_DIR=tmp_path)
    assert said.endswith("put extras/upkeep.py beside contactapi.py")


def test_retention_that_is_asked_for_needs_its_extra(alone, tmp_path):
    said = refused(alone, tmp_path, CONTACTAPI_RETENTION_DAYS=30)
    assert said.endswith("contacts, put extras/retention.py beside contactapi.py")


def test_fields_that_are_to_be_indexed_need_their_extra(alone, tmp_path):
    said = refused(alone, tmp_path, CONTACTAPI_INDEX_FIELDS="plan")
    assert said.endswith("to index fields, put extras/indexes.py beside contactapi.py")


def test_a_server_loads_no_extra_that_nothing_asks_for(tmp_path):
    asking = f"""
import sys
sys.path.insert(0, {str(SCRIPT.parent)!r})
import contactapi
contactapi.parser("serve").parse_args(["serve"])
contactapi.make_app(contactapi.Config.from_env({{}}))
print(sorted(name for name in sys.modules if name.startswith("extras.")))
"""
    ran = subprocess.run(
        [sys.executable, "-c", asking], cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.stderr == "" and "extras.spreadsheets" in ran.stdout
    for module in ("files", "indexes", "retention", "twilio", "upgrades", "upkeep"):
        assert f"extras.{module}" not in ran.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        *("import in.csv", "export out.CSV", "export out.csv --raw --bom"),
        "import in.csv --encoding latin-1 --column x",
    ],
)
def test_without_its_extra_csv_is_one_line_on_the_command_line(
    alone, tmp_path, arguments
):
    all_but(alone, "spreadsheets")
    (tmp_path / "in.csv").write_text("email\na@x.org\n")
    ended = run(environment(tmp_path), *arguments.split(), script=alone, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"contactapi: {NO_CSV}\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["alone", "in.csv"]


def test_the_command_line_has_json_lines_without_those_of_csv(alone, tmp_path):
    all_but(alone, "spreadsheets")
    env = environment(tmp_path)
    (tmp_path / "in.jsonl").write_text('{"email": "a@x.org"}\n')
    taken = run(env, "import", tmp_path / "in.jsonl", script=alone)
    assert (taken.returncode, taken.stderr) == (0, "")
    assert run(env, "export", tmp_path / "o.ndjson", script=alone).returncode == 0
    assert b'"a@x.org"' in (tmp_path / "o.ndjson").read_bytes()


def test_a_part_of_an_extra_that_is_missing_is_named(alone, serve_alone):
    all_but(alone, "csv_rows")
    server = serve_alone()
    said = server.ask("GET", "/v1/contacts.csv").json["error"]["message"]
    assert said == NO_CSV.replace("spreadsheets", "csv_rows")
    server.stop()


def test_a_file_of_an_older_schema_needs_its_extra_and_is_left_alone(alone, tmp_path):
    with closing(sqlite3.connect(tmp_path / "contacts.db")) as file:
        file.executescript(SCHEMA_1.read_text())
    ended = run(environment(tmp_path), "keys", "list", script=alone)
    what = "to use a database of an older version"
    said = f"contactapi: {what}, put extras/upgrades.py beside contactapi.py\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", said)
    with closing(sqlite3.connect(tmp_path / "contacts.db")) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (1,)


def test_an_extra_that_comes_later_brings_its_tables_where_it_may(serve_alone, alone):
    server = serve_alone()
    made = server.ask("POST", "/v1/contacts", {"email": "a@x.org"}).json
    tables = "SELECT name FROM sqlite_master WHERE name IN ('webhook', 'delivery')"
    with closing(sqlite3.connect(server.database)) as file:
        assert file.execute(tables).fetchall() == []
    server.stop()
    server.database.chmod(0o400)
    shutil.copytree(SCRIPT.with_name("extras"), alone.with_name("extras"))
    server.start(preexec_fn=bound_by_file_modes)
    assert server.ask("GET", f"/v1/contacts/{made['id']}").json == made
    answer = server.ask("GET", "/v1/webhooks")
    said = f"to send webhooks, {server.database} needs more tables: attempt to write"
    assert answer.status == 404 and answer.json["error"]["message"].startswith(said)
    server.stop()
    server.database.chmod(0o600)
    server.start()
    assert server.ask("GET", "/v1/webhooks").json["total"] == 0
    assert server.ask("DELETE", f"/v1/contacts/{made['id']}").status == 200
    server.stop()


def test_settings_that_ask_for_no_extra_need_none(serve_alone):
    asking = ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_VOICE_URL")
    given = {name: value for name, value in TWILIO.items() if name not in asking}
    server = serve_alone(**given)
    assert server.ask("GET", "/v1/contacts").status == 200
    server.stop()


def test_the_help_of_the_file_alone_has_the_settings_of_extras(alone, tmp_path):
    shown = run(environment(tmp_path), "--help", script=alone)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert all(f"  {name} " in shown.stdout for name in TWILIO)


def test_half_of_an_extras_settings_is_said_without_the_extra(alone, tmp_path):
    said = refused(alone, tmp_path, TWILIO_ACCOUNT_SID=TWILIO["TWILIO_ACCOUNT_SID"])
    assert said == (
        "contactapi: to call through Twilio, set TWILIO_AUTH_TOKEN, TWILIO_VOICE_URL, "
        "CONTACTAPI_PUBLIC_URL, CONTACTAPI_CALL_PREFIXES too"
    )


def test_an_extra_that_is_not_there_is_one_line_that_says_where_it_belongs(
    alone, tmp_path
):
    said = refused(alone, tmp_path, **TWILIO)
    where = "put extras/twilio.py beside contactapi.py"
    assert said == f"contactapi: to call through Twilio, {where}"


@pytest.mark.parametrize(
    ("purpose", "settings"),
    [
        ("call through Twilio", TWILIO),
        (
            "send mail",
            {
                "CONTACTAPI_SMTP_URL": "smtp://localhost",
                "CONTACTAPI_MAIL_FROM": "contact@example.com",
            },
        ),
    ],
)
def test_what_sends_needs_the_outbox(alone, tmp_path, purpose, settings):
    all_but(alone, "outbox")
    said = refused(alone, tmp_path, **settings)
    assert (
        said == f"contactapi: to {purpose}, put extras/outbox.py beside contactapi.py"
    )


def test_a_package_that_an_extra_lacks_is_one_line_that_says_what_to_install(
    alone, tmp_path
):
    extra(alone, "import contactapi\nimport no_such_package\n")
    said = refused(alone, tmp_path, **TWILIO)
    what = "no_such_package is needed: pip install no_such_package"
    assert said == f"contactapi: to call through Twilio, {what}"


def test_an_extra_of_another_version_is_one_line_that_says_which_to_take(
    alone, tmp_path
):
    extra(alone, "from contactapi import of_another_version\n")
    said = refused(alone, tmp_path, **TWILIO)
    which = f"take the extras/twilio.py of contactapi {contactapi.VERSION}"
    assert said == f"contactapi: to call through Twilio, {which}"


def test_check_names_an_extra_that_is_missing_and_other_commands_need_none(
    alone, tmp_path
):
    env = environment(tmp_path, **TWILIO)
    made = run(env, "keys", "create", "--type", "secret", script=alone)
    assert (made.returncode, made.stderr) == (0, "")
    all_but(alone, "twilio")
    checked = run(env, "check", script=alone)
    assert checked.returncode == 1 and "integrity: ok" in checked.stdout
    assert "configuration: ok" not in checked.stdout
    assert checked.stderr.startswith("contactapi: to call through Twilio, put extras/")


def test_an_extra_has_the_running_file_and_no_second_one(alone, tmp_path):
    """Under whatever name it was started."""
    extra(
        alone,
        "import sys, contactapi\n"
        "copies = {id(m) for m in sys.modules.values() if hasattr(m, 'EXTRAS')}\n"
        "raise contactapi.Mistake(f'{len(copies)} of them')\n",
    )
    renamed = alone.rename(alone.with_name("server.py"))
    assert refused(renamed, tmp_path, **TWILIO) == "contactapi: 1 of them"


def test_an_extra_gives_routes_and_senders(alone, serve_alone, twilio):
    shutil.copytree(SCRIPT.with_name("extras"), alone.with_name("extras"))
    server = serve_alone(**twilio.settings)
    ref = server.ask("POST", "/v1/contacts", {"email": "ada@example.com"}).json["id"]
    body = {"contact_id": ref, "phone_number": "+12025550100"}
    call = server.ask("POST", "/api/calls/create", body).json["data"]
    assert until(lambda: len(twilio.placed) == 1)
    assert server.ask("POST", f"/api/calls/{call['id']}/twilio").status == 403
    server.stop()
