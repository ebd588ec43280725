"""The command line: keys, imports, exports, settings."""

import contextlib
import io
import json
import logging
import os
import pty
import re
import shlex
import socket
import stat
import sys
import threading

import pytest

import contactapi
from client import ADA, ENV_KEY, MEDIA, PAGE, jsonl, one_line
from contactapi import Config
from extras import spreadsheets


def test_version_is_printed(shell, tmp_path):
    assert shell("--version") == (0, f"contactapi {contactapi.VERSION}\n", "")
    assert list(tmp_path.iterdir()) == []


def test_help_names_every_command_and_every_setting(shell):
    status, out, _ = shell("--help")
    assert status == 0 and "serve" in out and "keys" in out
    for name, default, about in Config.table():
        assert name in out and default in out and about in out


def test_keys_create_prints_the_token_alone_and_it_works(shell, make):
    status, token, err = shell("keys", "create", "--type", "secret", "--name", "mine")
    assert (status, err) == (0, "") and re.fullmatch(r"ck_secret_\S{26,}\n", token)
    api = make()
    assert api.get("/v1/contacts", key=token.strip()).status_int == 200
    assert {key.name for key in api.services.keys.list()} == {"mine", ""}


def test_keys_create_makes_publishable_and_restricted_keys(shell, make):
    _, public, _ = shell(
        *("keys", "create", "--type", "publishable", "--existing", "keep"),
        *("--domain", "https://example.com/page", "--domain", "*.example.org:8080"),
    )
    _, reader, _ = shell(
        *("keys", "create", "--type", "restricted", "--workspace", "shop"),
        *("--permission", "contacts:read", "--permission", "companies:read"),
    )
    status, out, err = shell("keys", "list", "--json")
    assert (status, err) == (0, "")
    first, second = json.loads(out)
    assert first["type"] == "publishable" and first["existing"] == "keep"
    assert first["domains"] == ["example.com", "*.example.org:8080"]
    assert (first["workspace"], first["permissions"]) == ("default", [])
    assert second["permissions"] == ["contacts:read", "companies:read"]
    assert (second["workspace"], second["domains"]) == ("shop", [])
    assert second["last_used_at"] is None and second["id"].startswith("key_")
    api = make()
    assert api.post(ADA, key=public.strip(), headers=PAGE).status_int == 201
    assert api.get("/v1/contacts", key=reader.strip()).json["total"] == 0
    assert api.get("/v1/companies", key=reader.strip()).status_int == 200
    assert api.post(ADA, key=reader.strip()).status_int == 403


def test_keys_list_shows_no_token(shell):
    tokens = [
        shell("keys", "create", "--type", "secret", "--name", name)[1].strip()
        for name in ("one", "two")
    ]
    for argv in (("keys", "list"), ("keys", "list", "--json")):
        status, out, _ = shell(*argv)
        assert status == 0 and "one" in out and "two" in out
        for token in tokens:
            assert token not in out and token.rpartition("_")[2] not in out
            assert token[-4:] in out
    assert len(shell("keys", "list")[1].splitlines()) == 2


def test_keys_revoke_ends_a_key_by_the_id_that_list_shows(shell, make):
    token = shell("keys", "create", "--type", "secret")[1].strip()
    ref = shell("keys", "list")[1].split()[0]
    assert ref == json.loads(shell("keys", "list", "--json")[1])[0]["id"]
    status, _, err = shell("keys", "revoke", ref)
    assert (status, err) == (0, "")
    assert json.loads(shell("keys", "list", "--json")[1]) == []
    assert make().get("/v1/contacts", key=token).status_int == 401
    status, out, err = shell("keys", "revoke", ref)
    assert (status, out, one_line(err)) == (1, "", True)


def test_keys_update_changes_what_is_named_and_nothing_else(shell):
    shell("keys", "create", "--type", "publishable", "--domain", "a.com", "--name", "n")
    before = json.loads(shell("keys", "list", "--json")[1])[0]
    assert shell("keys", "update", before["id"], "--domain", "b.com")[0] == 0
    assert json.loads(shell("keys", "list", "--json")[1])[0] == {
        **before,
        "domains": ["b.com"],
    }
    options = ("--name", "new", "--existing", "keep")
    assert shell("keys", "update", before["id"], *options)[0] == 0
    assert json.loads(shell("keys", "list", "--json")[1])[0] == {
        **before,
        "domains": ["b.com"],
        "name": "new",
        "existing": "keep",
    }


def test_the_environments_key_is_listed_as_env_and_stays(shell, monkeypatch):
    monkeypatch.setenv("CONTACTAPI_SECRET_KEY", ENV_KEY)
    status, out, _ = shell("keys", "list")
    assert status == 0 and out.split()[0] == "env" and ENV_KEY not in out
    assert [row["id"] for row in json.loads(shell("keys", "list", "--json")[1])] == [
        "env"
    ]
    for argv in (("revoke", "env"), ("update", "env", "--name", "x")):
        status, out, err = shell("keys", *argv)
        assert (status, out, one_line(err)) == (1, "", True)


@pytest.mark.parametrize(
    "argv",
    [
        "keys create --type publishable",
        "keys create --type restricted",
        "keys create --type restricted --permission contacts:reed",
        "keys create --type restricted --permission everything",
        "keys create --type secret --permission contacts:read",
        "keys create --type secret --domain example.com",
        "keys create --type publishable --domain exa_$mple",
        "keys create --type imaginary",
        "keys create --type secret --workspace ../x",
        "keys create --type publishable --domain a.com --existing overwrite",
        "keys create",
        "keys",
        "keys revoke",
        "keys update",
        "keys nonsense",
        "serve --port eighty",
        "serve --colour red",
        "swerve",
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(shell, argv):
    status, out, err = shell(*argv.split())
    assert (status, out) == (2, "")
    assert one_line(err), err


@pytest.mark.parametrize("ref", ["key_00000000000000000000000000", "nonsense", "con_x"])
@pytest.mark.parametrize("argv", [("revoke",), ("update", "--name", "x")])
def test_an_unknown_key_is_one_line_and_exit_1(shell, argv, ref):
    status, out, err = shell("keys", argv[0], ref, *argv[1:])
    assert (status, out, one_line(err)) == (1, "", True)


@pytest.mark.parametrize(
    "name, value",
    [
        ("CONTACTAPI_RATE_LIMIT", "hunter2"),
        ("CONTACTAPI_SECRETKEY", "hunter2"),
        ("DATABASE_URL", "mysql://hunter2"),
        ("PORT", "hunter2"),
    ],
)
def test_a_wrong_variable_is_one_line_and_exit_1(shell, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    status, out, err = shell("keys", "list")
    assert (status, out, one_line(err)) == (1, "", True)
    assert name in err and "hunter2" not in err


@pytest.mark.parametrize("content", [b"no database at all" * 99, None])
def test_a_database_that_cannot_be_used_is_one_line_and_exit_1(
    shell, tmp_path, content
):
    if content is None:
        (tmp_path / "contacts.db").mkdir()
    else:
        (tmp_path / "contacts.db").write_bytes(content)
    status, out, err = shell("keys", "list")
    assert (status, out, one_line(err)) == (1, "", True)
    assert "contacts.db" in err


def test_serve_binds_the_port_before_it_makes_anything(shell, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, out, err = shell("serve", "--port", port)
    assert (status, out, one_line(err)) == (1, "", True)
    assert str(port) in err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("argv", [[], ["serve"]])
def test_the_start_line_names_the_address_and_the_databases_absolute_path(
    shell, tmp_path, monkeypatch, caplog, argv
):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(contactapi.Server, "run", lambda server: server.close())
    status, out, err = shell(*argv, "--port", 0, "--database", "sqlite:///own.db")
    assert (status, out) == (0, "")
    line = next(text for text in (caplog.text + err).splitlines() if "listens" in text)
    assert re.search(r"http://127\.0\.0\.1:[1-9]\d+\b", line)
    assert str(tmp_path / "own.db") in line
    assert [path.name for path in tmp_path.iterdir()] == ["own.db"]


class Screen(io.StringIO):
    def isatty(self):
        return True


def first_start(api, monkeypatch, screen):
    monkeypatch.setattr(sys, "stdout", screen)
    contactapi.offer_keys(api.services, "http://127.0.0.1:8080")
    return screen.getvalue()


def test_the_first_start_at_a_terminal_shows_two_keys_once(make, monkeypatch):
    api = make()
    api.revoke(api.secret)
    shown = first_start(api, monkeypatch, Screen())
    (secret,) = set(re.findall(r"ck_secret_\w+", shown))
    (public,) = set(re.findall(r"ck_pub_\w+", shown))
    assert {key.created_by for key in api.services.keys.list()} == {"first start"}
    local = {"Origin": "http://localhost:5500"}
    assert api.post(ADA, key=public, headers=local).status_int == 201
    assert api.post(ADA, key=public, headers=PAGE).status_int == 403
    assert api.get("/v1/contacts", key=secret).json["total"] == 1
    assert first_start(api, monkeypatch, Screen()) == ""


def test_the_curl_line_of_the_first_start_works_as_pasted(make, monkeypatch):
    api = make()
    api.revoke(api.secret)
    shown = first_start(api, monkeypatch, Screen())
    line = shown[shown.index("curl ") :].replace("\\\n", "")
    words = shlex.split(line)
    url = next(word for word in words if word.startswith("http"))
    pairs = [words[n + 1] for n, word in enumerate(words) if word == "-H"]
    body = words[words.index("-d") + 1].encode()
    path = url.removeprefix("http://127.0.0.1:8080")
    headers = dict(pair.split(": ", 1) for pair in pairs)
    answer = api.ask("POST", path, body, key=None, headers=headers)
    assert answer.status_int == 201


def test_without_a_terminal_no_key_is_made_and_one_line_says_how(
    make, monkeypatch, caplog
):
    api = make()
    api.revoke(api.secret)
    assert first_start(api, monkeypatch, io.StringIO()) == ""
    (record,) = caplog.records
    assert "keys create" in record.getMessage() and "\n" not in record.getMessage()
    assert api.services.keys.list() == []


def test_with_the_environments_key_none_is_made(make, monkeypatch, caplog):
    api = make(CONTACTAPI_SECRET_KEY=ENV_KEY)
    api.revoke(api.secret)
    assert first_start(api, monkeypatch, Screen()) == ""
    assert [key.name for key in api.services.keys.list()] == ["CONTACTAPI_SECRET_KEY"]
    assert caplog.records == []


# -- imports and exports


@pytest.mark.parametrize("kind", ["contacts", "companies"])
@pytest.mark.parametrize("form", MEDIA)
def test_the_command_line_exports_what_http_exports(shell, make, tmp_path, kind, form):
    api = make()
    api.add("a@x.org", v="=1", n=[1])
    api.post({"name": "Acme", "v": "'"}, path="/v1/companies")
    status, out, err = shell("export", f"out.{form}", "--kind", kind)
    assert (status, err) == (0, "") and f"out.{form}" in out and out.count("\n") == 1
    file = (tmp_path / f"out.{form}").read_bytes()
    assert file == api.get(f"/v1/{kind}.{form}").body and len(file) > 80


def test_files_that_commands_make_have_mode_0600(shell, make, tmp_path):
    make().add("a@x.org")
    before = os.umask(0)
    try:
        for argv in ("export o.csv", "export o.jsonl", "backup o.db"):
            assert shell(*argv.split())[0] == 0
    finally:
        os.umask(before)
    for name in ("o.csv", "o.jsonl", "o.db"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    left = {path.name for path in tmp_path.iterdir()}
    assert left - {"contacts.db", "contacts.db-wal", "contacts.db-shm"} == {
        "o.csv",
        "o.jsonl",
        "o.db",
    }


@pytest.mark.parametrize("argv", ["export o.csv", "export o.jsonl", "backup o.db"])
@pytest.mark.parametrize("there", ["file", "empty", "folder", "dangling link"])
def test_export_and_backup_refuse_what_exists(shell, tmp_path, argv, there):
    command, name = argv.split()
    path = tmp_path / name
    assert shell("keys", "list")[0] == 0  # which makes the database
    if there == "folder":
        path.mkdir()
    elif there == "dangling link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_text("mine" if there == "file" else "")
    status, out, err = shell(command, name)
    assert (status, out, one_line(err)) == (1, "", True)
    assert name in err
    if there in ("file", "empty"):
        assert path.read_text() == ("mine" if there == "file" else "")
    assert not (tmp_path / "elsewhere").exists()
    assert not [p for p in tmp_path.iterdir() if "part" in p.name]


@pytest.mark.parametrize(
    "argv, status",
    [
        ("import in.jsonl --workspace nowhere", 1),
        ("export o.csv --workspace nowhere", 1),
        ("import missing.csv", 1),
        ("import folder.csv", 1),
        ("import headless.csv", 1),
        ("import empty.csv", 1),
        ("export nowhere/o.csv", 1),
        ("backup nowhere/o.db", 1),
        ("import in.xml", 2),
        ("export o.xml", 2),
        ("export o", 2),
        ("import in.jsonl --kind calls", 2),
        ("import", 2),
        ("export", 2),
        ("backup", 2),
        ("copy sqlite:///contacts.db", 2),
        ("copy contacts.db other.db", 2),
        ("check --fast", 2),
    ],
)
def test_a_mistake_in_a_command_is_one_line(shell, tmp_path, argv, status):
    (tmp_path / "in.jsonl").write_text(jsonl({"email": "a@x.org"}))
    (tmp_path / "in.xml").write_text("<x/>")
    (tmp_path / "headless.csv").write_text("a,b\n1,2\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "folder.csv").mkdir()
    result, out, err = shell(*argv.split())
    assert (result, out) == (status, "")
    assert one_line(err), err
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith("o.")]


def test_an_export_that_fails_leaves_no_file(shell, make, tmp_path, monkeypatch):
    def refuse(*_):
        raise contactapi.InvalidRequest("it is no CSV")

    make().add("a@x.org")
    monkeypatch.setattr(spreadsheets, "csv_columns", refuse)
    before = {path.name for path in tmp_path.iterdir()}
    status, out, err = shell("export", "o.csv")
    assert (status, out, one_line(err)) == (1, "", True)
    assert not [p for p in tmp_path.iterdir() if p.name not in before]


@contextlib.contextmanager
def a_terminal(monkeypatch, name):
    """A terminal in the place of sys.stdout or sys.stderr; gives what it shows."""
    master, slave = pty.openpty()
    shown = []

    def read():
        with contextlib.suppress(OSError):
            while data := os.read(master, 65536):
                shown.append(data.decode())

    reader = threading.Thread(target=read)
    with monkeypatch.context() as patch, os.fdopen(slave, "w") as file:
        patch.setattr(sys, name, file)
        reader.start()
        yield shown
        file.flush()
    reader.join(10)
    os.close(master)


@pytest.mark.parametrize("argv", ["import in.jsonl", "import in.csv", "export o.jsonl"])
def test_long_work_shows_a_progress_bar_on_a_terminal_alone(
    shell, make, tmp_path, monkeypatch, argv
):
    many = [{"email": f"u{n}@x.org"} for n in range(1200)]
    (tmp_path / "in.jsonl").write_text(jsonl(*many))
    (tmp_path / "in.csv").write_text("email\n" + "\n".join(c["email"] for c in many))
    if argv.startswith("export"):
        shell("import", "in.jsonl")
    with a_terminal(monkeypatch, "stderr") as shown:
        status, out, err = shell(*argv.split())
    assert (status, err) == (0, "") and "[" not in out and "\r" not in out
    text = "".join(shown)
    assert re.search(r"\[[# ]{10,}\] +\d+%", text), text
    assert text.rpartition("\r")[2].strip("\033[K") == ""  # the bar is wiped away
    (tmp_path / "o.jsonl").unlink(missing_ok=True)
    status, out, err = shell(*argv.split())
    assert (status, err) == (0, "") and "#" not in out


def test_a_failed_import_says_so_beside_its_bar(shell, tmp_path, monkeypatch):
    (tmp_path / "in.jsonl").write_text("nonsense\n")
    with a_terminal(monkeypatch, "stderr") as shown:
        status, out, _ = shell("import", "in.jsonl")
    assert (status, out) == (1, "0 created, 0 updated, 1 failed\n")
    last = "".join(shown).replace("\r\n", "\n").rpartition("\r")[2].splitlines()
    assert any(
        line.endswith("line 1: the line is not JSON: Expecting value") for line in last
    ), last
