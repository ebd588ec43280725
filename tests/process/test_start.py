"""How a server starts: first key, port, files, settings."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from client import one_line
from processes import (
    PATIENCE,
    SCRIPT,
    SECRET,
    STOP_WITHIN,
    TOKEN,
    Server,
    Terminal,
    assert_error,
    environment,
    free_port,
    listed_keys,
    make_key,
    modes_in,
    run,
    until,
    wait_until_ready,
)


def test_the_start_line_names_the_address_and_the_absolute_path_of_the_database(
    tmp_path,
):
    server = Server(tmp_path, DATABASE_URL="sqlite:///people.db")
    try:
        server.start(cwd=tmp_path)
        server.stop()
    finally:
        server.kill()
    lines = server.output.decode().splitlines()
    path = os.path.realpath(tmp_path / "people.db")
    assert [li for li in lines if f"127.0.0.1:{server.port}" in li and path in li], (
        lines
    )


def test_an_option_of_the_command_line_wins_over_the_environment(serve):
    server = serve(PORT=free_port())  # with --port
    server.stop()
    assert f"127.0.0.1:{server.port}".encode() in server.output


@pytest.mark.parametrize("serve", [[], ["serve"]])
@pytest.mark.parametrize("options", [[], ["-u"]])
@pytest.mark.parametrize("name", ["contactapi.py", "my forms.py", "it's.v2.py"])
def test_the_file_serves_from_any_place_under_any_name(tmp_path, name, options, serve):
    """And `ps` shows it as it was called."""
    place = tmp_path / 'it\'s a \\ "folder"'
    place.mkdir()
    shutil.copy(SCRIPT, place / name)
    (tmp_path / "json.py").write_text("raise SystemExit('a module of the folder')")
    port, env = free_port(), environment(tmp_path, CONTACTAPI_SECRET_KEY=SECRET)
    command = [sys.executable, *options, str(place / name)]
    process = subprocess.Popen(
        [*command, *serve, "--port", str(port)],
        env=env,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
    )
    try:
        wait_until_ready(port, process, lambda: b"")
        arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
        called = [*options, str(place / name), *serve, "--port", str(port)]
        assert arguments[1:-1] == [os.fsencode(part) for part in called]
    finally:
        process.terminate()
        _, said = process.communicate(timeout=STOP_WITHIN)
    assert process.returncode == 0, said


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_missing_package_is_one_line_that_says_how_to_get_it(tmp_path, form):
    """-S: without the packages of the environment."""
    ran = subprocess.run(
        [sys.executable, "-S", SCRIPT, "serve"],
        env=environment(tmp_path, CONTACTAPI_LOG=form),
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stdout, one_line(ran.stderr)) == (1, "", True), ran
    assert re.search(r"\b(bottle|multipart|peewee) is not installed", ran.stderr)
    assert "pip install -r requirements.txt" in ran.stderr
    if form == "json":
        assert list(json.loads(ran.stderr)) == ["time", "level", "message"]


@pytest.mark.parametrize("umask", [0o022, 0o000])
def test_every_file_it_makes_has_mode_0600(serve, umask):
    server = serve(preexec_fn=lambda: os.umask(umask))
    assert server.ask("POST", "/v1/contacts", {"email": "a@x.org"}).status == 201
    make_key(server.env, "--type", "secret")
    assert "contacts.db" in modes_in(server.folder)
    assert set(modes_in(server.folder).values()) == {"0o600"}, modes_in(server.folder)
    server.stop()
    assert set(modes_in(server.folder).values()) == {"0o600"}, modes_in(server.folder)


def test_keys_create_makes_its_files_with_mode_0600(tmp_path):
    env = environment(tmp_path)
    made = run(
        env, "keys", "create", "--type", "secret", preexec_fn=lambda: os.umask(0)
    )
    assert made.returncode == 0
    assert set(modes_in(tmp_path).values()) == {"0o600"}, modes_in(tmp_path)


def test_a_first_start_without_a_terminal_makes_no_key_and_names_keys_create(serve):
    server = serve(CONTACTAPI_SECRET_KEY=None)
    server.stop()
    assert b"keys create" in server.output
    assert not TOKEN.search(server.output.decode())
    assert listed_keys(server.env) == []


def pasted_curl_line(shown):
    """The one curl line that a terminal shows, continuation lines included."""
    lines = re.findall(r"(?m)^[ \t$>]*(curl (?:.*\\\n)*.*)$", shown)
    assert len(lines) == 1, shown
    return lines[0]


def run_pasted(line):
    """The JSON answer to a curl line, run by the shell, or read by us without curl."""
    if shutil.which("curl"):
        ran = subprocess.run(["sh", "-c", line], capture_output=True, timeout=PATIENCE)
        assert ran.returncode == 0, ran
        return json.loads(ran.stdout)
    words = shlex.split(line)[1:]
    request = urllib.request.Request("http://unset")
    while words:
        word = words.pop(0)
        if word in ("-X", "--request"):
            request.method = words.pop(0)
        elif word in ("-H", "--header"):
            name, _, value = words.pop(0).partition(":")
            request.add_header(name, value.strip())
        elif word in ("-d", "--data", "--json"):
            request.data = words.pop(0).encode()
            if word == "--json":
                request.add_header("Content-Type", "application/json")
        elif not word.startswith("-"):
            request.full_url = word
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


def test_a_first_start_on_a_terminal_shows_keys_and_a_curl_line_once(tmp_path):
    server = Server(tmp_path / "data", CONTACTAPI_SECRET_KEY=None)
    with Terminal(server.command, server.env) as terminal:
        wait_until_ready(server.port, terminal.process, lambda: terminal.shown)
        assert until(lambda: "curl " in terminal.shown), terminal.shown
        tokens = set(TOKEN.findall(terminal.shown))
        [secret] = [token for token in tokens if token.startswith("ck_secret_")]
        [publishable] = [token for token in tokens if token.startswith("ck_pub_")]
        assert tokens == {secret, publishable}

        made = run_pasted(pasted_curl_line(terminal.shown))
        assert re.fullmatch("con_[0-9a-hjkmnp-tv-z]{26}", made["id"])
        page = server.ask("GET", "/v1/contacts", key=secret).json
        assert [contact["id"] for contact in page["data"]] == [made["id"]]

        mine, others = (
            {"Origin": "http://localhost:3000"},
            {"Origin": "https://example.com"},
        )
        post = ("POST", "/v1/contacts", {"email": "from@browser.example"})
        assert server.ask(*post, mine, key=publishable).status == 201
        assert_error(server.ask(*post, others, key=publishable), 403, code="forbidden")

        [action] = re.findall('<form method="post" action="(.*)">', terminal.shown)
        assert action == f"http://127.0.0.1:{server.port}/f/{publishable}"
        assert f"http://127.0.0.1:{server.port}/\n" in terminal.shown  # the dashboard
        sent = server.ask("POST", f"/f/{publishable}", {"message": "Hi"}, mine)
        assert sent.json["success"] is True

        terminal.press_ctrl_c()
        assert terminal.exit_status(STOP_WITHIN) == 0
    with Terminal(server.command, server.env) as terminal:
        wait_until_ready(server.port, terminal.process, lambda: terminal.shown)
        page = server.ask("GET", "/v1/contacts", key=secret).json
        assert [contact["email"] for contact in page["data"]][-1] == made["email"]
        assert page["total"] == 2
        terminal.press_ctrl_c()
        assert terminal.exit_status(STOP_WITHIN) == 0
        assert not TOKEN.search(terminal.shown)
        assert "curl " not in terminal.shown


def test_the_first_keys_are_shown_past_the_log(tmp_path):
    server = Server(
        tmp_path / "data", CONTACTAPI_SECRET_KEY=None, CONTACTAPI_LOG="json"
    )
    with open(tmp_path / "log", "wb") as log:
        terminal = Terminal(server.command, server.env, errors=log)
    with terminal:
        wait_until_ready(server.port, terminal.process, lambda: terminal.shown)
        assert until(lambda: "curl " in terminal.shown), terminal.shown
        terminal.press_ctrl_c()
        assert terminal.exit_status(STOP_WITHIN) == 0
    assert "ck_secret_" in terminal.shown
    assert not TOKEN.search((tmp_path / "log").read_text())


def test_the_port_is_bound_before_a_key_is_minted(tmp_path):
    server = Server(tmp_path / "data", CONTACTAPI_SECRET_KEY=None)
    with socket.socket() as taken, open(tmp_path / "errors", "wb") as errors:
        taken.bind(("127.0.0.1", server.port))
        taken.listen()
        with Terminal(server.command, server.env, errors=errors) as terminal:
            assert terminal.exit_status() == 1
    assert not TOKEN.search(terminal.shown)
    line = (tmp_path / "errors").read_text()
    assert one_line(line)
    assert str(server.port) in line
    assert listed_keys(server.env) == []


def test_with_the_environments_key_none_is_minted_and_it_is_never_shown(tmp_path):
    server = Server(tmp_path / "data")
    with Terminal(server.command, server.env) as terminal:
        wait_until_ready(server.port, terminal.process, lambda: terminal.shown)
        assert server.ask("GET", "/v1/contacts").status == 200
        terminal.press_ctrl_c()
        assert terminal.exit_status(STOP_WITHIN) == 0
    assert not TOKEN.search(terminal.shown)
    assert SECRET not in terminal.shown
    without = environment(server.folder)
    assert listed_keys(without) == []
    server.env = without
    server.start()
    assert_error(server.ask("GET", "/v1/contacts"), 401, code="unauthorized")
    server.stop()


# -- the script's end, where main() is called


def memory_at_rest(server):
    """Kilobytes of what a started server has in memory."""
    status = Path(f"/proc/{server.start().process.pid}/status").read_text()
    server.stop()
    return int(re.search(r"VmRSS:\s*([0-9]+) kB", status)[1])


def test_the_script_takes_no_more_memory_than_the_module(tmp_path):
    """A script's syntax tree alone would be a third of it."""
    module = tmp_path / "module.py"
    module.write_text(
        f"import sys\nsys.path.insert(0, {str(SCRIPT.parent)!r})\n"
        "import contactapi\nsys.exit(contactapi.main())\n"
    )
    imported = Server(tmp_path / "imported")
    imported.script = module
    script = memory_at_rest(Server(tmp_path / "script"))
    assert script < 1.15 * memory_at_rest(imported)


@pytest.mark.parametrize(
    "arguments, status",
    [
        *(("--help", 0), ("--version", 0), ("import --help", 0), ("keys list", 0)),
        *(("keys", 2), ("nonsense", 2), ("check", 1)),
    ],
)
def test_a_command_ends_with_its_status(tmp_path, arguments, status):
    ended = run(environment(tmp_path), *arguments.split())
    assert ended.returncode == status
    assert "Traceback" not in ended.stderr


def test_a_failure_of_ours_is_a_line_of_the_log_and_status_1(tmp_path):
    folder = tmp_path / "alone"
    (folder / "extras").mkdir(parents=True)
    script = Path(shutil.copy(SCRIPT, folder))
    (folder / "extras" / "outbox.py").write_text("1 / 0\n")
    ended = run(environment(tmp_path), "keys", "list", script=script)
    assert ended.returncode == 1
    assert " ERROR main: ZeroDivisionError\n" in ended.stderr
    assert not [line for line in ended.stderr.splitlines()[1:] if line[:1] != " "]
