"""The server as a process: start, faults, clean stops, usage, log, protocol.

Everything here is seen from outside, through sockets, files and exit statuses; the
contract alone decides what is right.
"""

import contextlib
import gzip
import http.client
import json
import os
import random
import re
import select
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from processes import (
    PATIENCE,
    REVOKED_WITHIN,
    SCRIPT,
    SECRET,
    STOP_WITHIN,
    TOKEN,
    Client,
    Cut,
    Server,
    Terminal,
    bound_by_file_modes,
    environment,
    files_in,
    free_port,
    listed_keys,
    make_key,
    modes_in,
    request_bytes,
    run,
    running,
    together,
    until,
    wait_until_ready,
)

UNKNOWN_KEY = "ck_secret_nobodyevermadethiskey00000000"


def is_one_line(text):
    """One line, ended, and not the first of a traceback."""
    return text.endswith("\n") and text.count("\n") == 1 and "Traceback" not in text


def assert_error(answer, *statuses, code=None):
    """The contract's one shape of an error, with the headers that every answer has."""
    assert answer is not None, "no answer at all"
    assert answer.status in statuses, answer
    assert answer.headers["content-type"] == "application/json; charset=utf-8", answer
    assert answer.headers["cache-control"] == "no-store", answer
    assert answer.headers["x-content-type-options"] == "nosniff", answer
    assert answer.headers["x-request-id"], answer
    assert set(answer.json) == {"error"}, answer
    assert (
        {"code", "message"} <= set(answer.json["error"]) <= {"code", "message", "param"}
    )
    assert all(type(text) is str and text for text in answer.json["error"].values())
    if code:
        assert answer.json["error"]["code"] == code, answer


# ---------------------------------------------------------------------------
# Start
# ---------------------------------------------------------------------------


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
    """Started plainly, it serves as a module of its own name, where it can be one."""
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
        plain = not options and name == "contactapi.py"
        assert (b"-c" in arguments) is plain
    finally:
        process.terminate()
        _, said = process.communicate(timeout=STOP_WITHIN)
    assert process.returncode == 0, said


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
    assert is_one_line(line)
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


# ---------------------------------------------------------------------------
# SIGKILL
# ---------------------------------------------------------------------------


class Ledger:
    """What one client was promised: per email the values that may be stored now.

    `None` stands for "no such contact". While a request is under way both the value
    before and the one after it may be there; an answer leaves one of them.
    """

    def __init__(self):
        self.may_be = {}

    def begin(self, email, value):
        self.may_be[email] = {*self.may_be.get(email, {None}), value}

    def acknowledged(self, email, value):
        self.may_be[email] = {value}

    def settle(self, stored):
        """Checks the promises against `stored` and goes on from what is there."""
        for email, values in self.may_be.items():
            assert stored.get(email) in values, (email, stored.get(email), values)
            self.may_be[email] = {stored.get(email)}


class Writer:
    """One client that creates, changes and deletes contacts until it is cut off."""

    def __init__(self, server, name):
        self.server, self.name = server, name
        self.ledger, self.ids, self.count, self.shared = Ledger(), {}, 0, 0
        self.answered = 0

    def __call__(self):
        dice = random.Random(f"{self.name} {self.count}")
        cut_off = contextlib.suppress(OSError, http.client.HTTPException)
        with cut_off, Client(self.server.port) as client:
            while True:
                self.step(client, dice)

    def step(self, client, dice):
        self.count += 1
        known = sorted(self.ids)
        if not known or dice.random() < 0.4:
            self.put(client, f"{self.name}-{self.count}@writers.example", 201)
        elif dice.random() < 0.5:
            self.put(client, dice.choice(known), 201)
        elif dice.random() < 0.6:
            self.patch(client, dice.choice(known))
        elif dice.random() < 0.5:
            self.delete(client, dice.choice(known))
        else:
            self.put_shared(client)
        self.answered += 1

    def put(self, client, email, status):
        value = self.count
        self.ledger.begin(email, value)
        answer = client.ask("POST", "/v1/contacts", {"email": email, "n": value})
        assert answer.status == status, answer
        self.ids[email] = answer.json["id"]
        self.ledger.acknowledged(email, value)

    def patch(self, client, email):
        value = self.count
        self.ledger.begin(email, value)
        answer = client.ask("PATCH", f"/v1/contacts/{self.ids[email]}", {"n": value})
        assert answer.status == 200, answer
        self.ledger.acknowledged(email, value)

    def delete(self, client, email):
        self.ledger.begin(email, None)
        answer = client.ask("DELETE", f"/v1/contacts/{self.ids.pop(email)}")
        assert answer.status == 200, answer
        self.ledger.acknowledged(email, None)

    def put_shared(self, client):
        body = {"email": "shared@writers.example", self.name: self.count}
        answer = client.ask("POST", "/v1/contacts", body)
        assert answer.status == 201, answer
        self.shared = self.count

    def settle(self, contacts):
        mine = f"{self.name}-"
        stored = {email: c for email, c in contacts.items() if email.startswith(mine)}
        assert set(stored) <= set(self.ledger.may_be)
        self.ledger.settle({email: contact["n"] for email, contact in stored.items()})
        self.ids = {email: contact["id"] for email, contact in stored.items()}
        if self.shared:
            assert contacts["shared@writers.example"][self.name] >= self.shared


def test_sigkill_loses_nothing_that_was_acknowledged(serve):
    server = serve()
    writers = [Writer(server, f"w{n}") for n in range(8)]
    for moment in (0.2, 0.5, 0.3, 0.6, 0.25, 0.45, 0.35, 0.7, 0.3, 0.4):
        before = sum(writer.answered for writer in writers)

        def kill(moment=moment, enough=before + 50):
            until(lambda: sum(writer.answered for writer in writers) >= enough)
            time.sleep(moment)
            server.kill()

        together(*writers, kill)
        assert sum(writer.answered for writer in writers) >= before + 50
        server.start()
        contacts = {contact["email"]: contact for contact in server.walk()}
        for writer in writers:
            writer.settle(contacts)
        assert server.integrity() == "ok"
    server.stop()
    assert server.integrity() == "ok"


# ---------------------------------------------------------------------------
# SIGTERM and SIGINT
# ---------------------------------------------------------------------------


class Caller:
    """One client that posts until the server is gone, and notes what became of each.

    `fates` has (email, sent at, fate): a status, "cut" for an answer that began and did
    not end, "silence" for a connection that ended with no answer.
    """

    def __init__(self, server, name, keep_alive):
        self.server, self.name, self.keep_alive = server, name, keep_alive
        self.fates = []

    def __call__(self):
        wire, goes_on = None, True
        while goes_on:
            try:
                wire = wire or self.server.wire()
            except OSError:
                return  # no new connections any more
            goes_on = self.post(wire)
            if not self.keep_alive:
                wire.close()
                wire = None
        if wire:
            wire.close()

    def post(self, wire):
        email = f"{self.name}-{len(self.fates)}@callers.example"
        data = request_bytes("POST", "/v1/contacts", {"email": email, "pad": "x" * 500})
        try:
            wire.socket.sendall(data)
        except OSError:
            return False  # closed before the request: nothing was accepted
        sent = time.monotonic()
        answer = None
        try:
            answer = wire.read()
        except Cut:
            fate = "cut"
        except ConnectionResetError:
            fate = "silence"
        else:
            fate = answer.status if answer else "silence"
        self.fates.append((email, sent, fate))
        closing = (
            self.keep_alive and answer and answer.headers.get("connection") == "close"
        )
        return fate == 201 and not closing


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_clean_stop_under_load_loses_no_accepted_request(serve, number):
    server = serve()
    promised = set()
    for turn in range(3):
        callers = [
            Caller(server, f"{turn}-{n}", keep_alive=n % 2 == 0) for n in range(16)
        ]
        signalled = []

        def stop(callers=callers, signalled=signalled):
            until(lambda: all(len(caller.fates) >= 5 for caller in callers))
            time.sleep(0.2)
            signalled.append(time.monotonic())
            server.signal(number)
            assert server.exit_status() == 0

        together(*callers, stop)
        fates = [fate for caller in callers for fate in caller.fates]
        accepted = [fate for _, sent, fate in fates if sent < signalled[0]]
        assert set(accepted) == {201}, Counter(accepted)
        assert {fate for _, _, fate in fates} <= {201, "silence"}, Counter(fates)
        promised |= {email for email, _, fate in fates if fate == 201}
        server.start()
        stored = {contact["email"] for contact in server.walk()}
        assert promised <= stored
    server.stop()


def half(data, where):
    """Cuts a request in two: after its first byte, in its head or in its body."""
    head = data.index(b"\r\n\r\n") + 4
    cut = {"first byte": 1, "head": head // 2, "body": head + (len(data) - head) // 2}[
        where
    ]
    return data[:cut], data[cut:]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("where", ["first byte", "head", "body"])
@pytest.mark.parametrize(
    "used", [False, True], ids=["new connection", "used connection"]
)
def test_a_request_half_sent_at_the_signal_is_answered(serve, number, where, used):
    server = serve()
    data = request_bytes("POST", "/v1/contacts", {"email": "half@sent.example", "n": 1})
    first, rest = half(data, where)
    with server.wire() as wire:
        if used:
            wire.send(request_bytes("GET", "/v1/contacts"))
            assert wire.read().status == 200
        wire.send(first)
        time.sleep(0.3)
        server.signal(number)
        time.sleep(1)
        wire.send(rest)
        answer = wire.read()
        assert answer is not None, "closed without an answer"
        assert answer.status == 201, answer
        assert wire.ended()
    assert server.exit_status() == 0
    server.start()
    assert [contact["email"] for contact in server.walk()] == ["half@sent.example"]


def test_pipelined_requests_that_have_arrived_are_all_answered_at_a_stop(serve):
    server = serve()
    posts = [
        request_bytes("POST", "/v1/contacts", {"email": f"p{n}@pipeline.example"})
        for n in range(40)
    ]
    with server.wire() as wire:
        wire.send(b"".join(posts))
        assert wire.read().status == 201
        server.signal()
        for _ in posts[1:]:
            answer = wire.read()
            assert answer is not None, "closed without an answer"
            assert answer.status == 201
    assert server.exit_status() == 0


@pytest.mark.parametrize("where", ["first byte", "head", "body"])
def test_a_request_that_is_never_completed_does_not_hold_the_exit(serve, where):
    server = serve()
    data = request_bytes("POST", "/v1/contacts", {"email": "half@sent.example"})
    with server.wire() as wire:
        wire.send(half(data, where)[0])
        time.sleep(0.3)
        server.signal()
        assert server.exit_status() == 0
    server.start()
    assert server.walk() == []


def test_a_request_that_trickles_on_does_not_hold_the_exit(serve):
    server = serve()
    data = request_bytes("POST", "/v1/contacts", {"email": "slow@sent.example"})

    def trickle(stopped):
        for byte in data[:-1]:
            if stopped.wait(0.2):
                return
            wire.send(bytes([byte]))

    with server.wire() as wire, running(trickle):
        time.sleep(0.5)
        server.signal()
        assert server.exit_status() == 0


def test_an_idle_connection_does_not_hold_the_exit(serve):
    server = serve()
    with server.wire() as used, server.wire() as unused:
        used.send(request_bytes("GET", "/v1/contacts"))
        assert used.read().status == 200
        server.signal()
        assert used.ended()
        assert unused.ended()
        assert server.exit_status() == 0


def test_new_connections_are_refused_after_the_signal(serve):
    server = serve()

    def refused():
        try:
            server.wire().close()
        except (ConnectionRefusedError, ConnectionResetError):
            return True
        return False

    with server.wire() as wire:
        first, rest = half(request_bytes("GET", "/v1/contacts"), "head")
        wire.send(first)
        time.sleep(0.3)
        server.signal()
        assert until(refused, within=3)
        assert server.process.poll() is None
        wire.send(rest)
        assert wire.read().status == 200
    assert server.exit_status() == 0


def big_contacts(server, count=60, size=60_000):
    """Makes contacts whose first page is a few megabytes, more than sockets buffer."""
    with Client(server.port) as client:
        for n in range(count):
            body = {"email": f"big{n}@big.example", "pad": "x" * size}
            assert client.ask("POST", "/v1/contacts", body).status == 201


def test_a_long_answer_under_way_is_sent_to_its_end(serve):
    server = serve()
    big_contacts(server)
    wires = [server.wire(receive_buffer=16_384) for _ in range(4)]
    with contextlib.ExitStack() as stack:
        for wire in wires:
            stack.enter_context(wire)
            wire.send(request_bytes("GET", "/v1/contacts?page_size=100"))
            assert wire.stream.peek(1)[:1] == b"H"
        server.signal()
        time.sleep(1)
        answers = []
        together(*[lambda wire=wire: answers.append(wire.read()) for wire in wires])
        assert [len(answer.json["data"]) for answer in answers] == [60] * 4
    assert server.exit_status() == 0


def test_a_client_that_does_not_read_its_answer_does_not_hold_the_exit(serve):
    server = serve()
    big_contacts(server)
    with server.wire(receive_buffer=16_384) as wire:
        wire.send(request_bytes("GET", "/v1/contacts?page_size=100"))
        assert wire.stream.peek(1)[:1] == b"H"
        server.signal()
        assert server.exit_status() == 0


# ---------------------------------------------------------------------------
# Full disk, read-only database, no database
# ---------------------------------------------------------------------------


def fill_the_disk(server, name, promised, refused):
    """Posts until ten writes in a row were refused; notes what was promised."""
    in_a_row, n = 0, 0
    with Client(server.port) as client:
        while in_a_row < 10:
            email, n = f"{name}-{n}@disk.example", n + 1
            assert n < 1000, "the disk never got full"
            body = {"email": email, "n": n, "pad": "x" * 20_000}
            answer = client.ask("POST", "/v1/contacts", body)
            if answer.status == 201:
                promised[email] = n
                in_a_row = 0
            else:
                assert_error(answer, 503, code="unavailable")
                refused[email] = n
                in_a_row += 1


def stored_numbers(server):
    return {contact["email"]: contact["n"] for contact in server.walk()}


def test_a_full_disk_refuses_writes_serves_reads_and_heals_without_a_restart(serve):
    server = serve(CONTACTAPI_LOG="json")
    key = make_key(server.env, "--type", "secret")
    first = server.ask("POST", "/v1/contacts", {"email": "first@disk.example", "n": 0})
    url = f"/v1/contacts/{first.json['id']}"
    promised, refused = {"first@disk.example": 0}, {}
    largest = max(path.stat().st_size for path in files_in(server.folder))
    server.limit_file_size(largest + 400_000)
    together(
        *[
            lambda name=f"d{n}": fill_the_disk(server, name, promised, refused)
            for n in range(4)
        ]
    )

    assert refused
    assert server.ask("GET", url, key=key).json["n"] == 0
    assert server.ask("GET", "/v1/contacts").status == 200
    assert server.ask("GET", "/healthz").json == {"status": "ok"}
    big = {"pad": "x" * 50_000}
    assert_error(server.ask("PATCH", url, big), 503, code="unavailable")
    assert promised.items() <= stored_numbers(server).items()

    server.limit_file_size()
    again = {"email": "again@disk.example", "n": 1}
    assert until(
        lambda: server.ask("POST", "/v1/contacts", again).status == 201, within=10
    )
    promised["again@disk.example"] = 1
    for email, n in refused.items():  # the client may retry
        assert (
            server.ask("POST", "/v1/contacts", {"email": email, "n": n}).status == 201
        )
    promised |= refused
    assert stored_numbers(server) == promised
    server.kill()
    assert all(type(json.loads(line)) is dict for line in server.output.splitlines())
    server.start()
    assert stored_numbers(server) == promised
    assert server.integrity() == "ok"
    server.stop()


def test_a_full_disk_does_not_hold_a_clean_stop(serve):
    server = serve()
    promised, refused = {}, {}
    server.limit_file_size(
        max(path.stat().st_size for path in files_in(server.folder)) + 400_000
    )
    fill_the_disk(server, "d", promised, refused)
    server.stop()
    server.start()
    assert promised.items() <= stored_numbers(server).items()
    assert server.integrity() == "ok"


def test_a_read_only_database_serves_reads_and_heals_without_a_restart(serve):
    server = serve()
    key = make_key(server.env, "--type", "secret")
    made = server.ask("POST", "/v1/contacts", {"email": "a@x.org", "n": 1}).json
    server.stop()
    server.database.chmod(0o400)
    server.start(preexec_fn=bound_by_file_modes)
    url = f"/v1/contacts/{made['id']}"
    for _ in range(3):
        assert server.ask("GET", url, key=key).json == made
        assert server.ask("GET", "/v1/contacts", key=key).json["total"] == 1
        assert server.ask("GET", "/healthz").json == {"status": "ok"}
        post = server.ask("POST", "/v1/contacts", {"email": "b@x.org"}, key=key)
        assert_error(post, 503, code="unavailable")
        assert_error(server.ask("PATCH", url, {"n": 2}), 503, code="unavailable")
        assert_error(server.ask("DELETE", url), 503, code="unavailable")

    server.database.chmod(0o600)
    post = ("POST", "/v1/contacts", {"email": "b@x.org"})
    assert until(lambda: server.ask(*post).status == 201, within=10)
    assert {contact["email"] for contact in server.walk()} == {"a@x.org", "b@x.org"}
    server.stop()


def garbage(length=20_000):
    return random.Random(5).randbytes(length)


def damage(database, how):
    if how == "garbage":
        database.write_bytes(garbage())
    elif how == "garbage after a good header":
        data = database.read_bytes()
        database.write_bytes(data[:100] + garbage(len(data) - 100))
    elif how == "a newer schema":
        with contextlib.closing(sqlite3.connect(database)) as db:
            [version] = db.execute("PRAGMA user_version").fetchone()
            assert version > 0, "the schema's version is not recorded"
            db.execute(f"PRAGMA user_version = {version + 1}")
    elif how == "a folder in its place":
        database.unlink()
        database.mkdir()


DAMAGES = [
    "garbage",
    "garbage after a good header",
    "a newer schema",
    "a folder in its place",
]


@pytest.mark.parametrize("how", DAMAGES)
def test_a_database_that_cannot_be_used_stops_the_start_with_one_line(serve, how):
    server = serve()
    assert server.ask("POST", "/v1/contacts", {"email": "a@x.org"}).status == 201
    server.stop()
    damage(server.database, how)
    before = server.database.is_file() and server.database.read_bytes()
    started = run(server.env, "serve", "--port", server.port)
    assert (started.returncode, is_one_line(started.stderr)) == (1, True), started
    assert "contacts.db" in started.stderr
    assert "Traceback" not in started.stdout
    listed = run(server.env, "keys", "list")
    assert (listed.returncode, is_one_line(listed.stderr)) == (1, True), listed
    assert (server.database.is_file() and server.database.read_bytes()) == before


def test_a_database_in_a_folder_that_is_not_there_stops_the_start_with_one_line(
    tmp_path,
):
    started = run(environment(tmp_path / "nowhere"), "serve", "--port", free_port())
    assert (started.returncode, is_one_line(started.stderr)) == (1, True), started
    assert not (tmp_path / "nowhere").exists()


# ---------------------------------------------------------------------------
# Wrong usage
# ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("CONTACTAPI_RATE_LIMITS", "CONTACTAPI_RATE_LIMIT"),
        ("CONTACTAPI_SECERT_KEY", "CONTACTAPI_SECRET_KEY"),
        ("CONTACTAPI_TRUST_PROXY", "CONTACTAPI_TRUSTED_PROXY"),
        ("CONTACTAPI_MAXBODY", "CONTACTAPI_MAX_BODY"),
    ],
)
def test_an_unknown_variable_is_named_with_its_nearest_but_never_its_value(
    tmp_path, name, nearest
):
    env = environment(tmp_path, **{name: "s3cr3t-v4lue"})
    ran = run(env, "serve", "--port", free_port())
    assert (ran.returncode, is_one_line(ran.stderr)) == (1, True), ran
    assert re.search(rf"\b{name}\b", ran.stderr)
    assert re.search(rf"\b{nearest}\b", ran.stderr)
    assert "s3cr3t-v4lue" not in ran.stderr + ran.stdout
    assert files_in(tmp_path) == []


def test_variables_that_container_platforms_inject_are_let_through(serve):
    server = serve(
        CONTACTAPI_PORT="tcp://10.0.0.1:8080",
        CONTACTAPI_PORT_8080_TCP="tcp://10.0.0.1:8080",
        CONTACTAPI_PORT_8080_TCP_ADDR="10.0.0.1",
        CONTACTAPI_SERVICE_HOST="10.0.0.1",
        CONTACTAPI_SERVICE_PORT="8080",
    )
    assert server.ask("GET", "/healthz").status == 200
    server.stop()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty-thousand"),
        ("PORT", "808080"),
        ("DATABASE_URL", "mysql://me:p4ssw0rd@host/db"),
        ("CONTACTAPI_SECRET_KEY", "ck_secret_short"),
        ("CONTACTAPI_SECRET_KEY", "no-prefix-but-more-than-24-characters-long"),
        ("CONTACTAPI_RATE_LIMIT", "a-hundred"),
        ("CONTACTAPI_RATE_LIMIT", "100/sixty"),
        ("CONTACTAPI_RATE_LIMIT", "-100/-60"),
        ("CONTACTAPI_MAX_BODY", "64KiB-or-so"),
        ("CONTACTAPI_MAX_BODY", "-65537"),
        ("CONTACTAPI_THREADS", "eight-or-so"),
        ("CONTACTAPI_THREADS", "-88"),
        ("CONTACTAPI_PROXY_HOPS", "one-or-two"),
        ("CONTACTAPI_LOG", "xmlish"),
        ("CONTACTAPI_RETENTION_DAYS", "a-fortnight"),
        ("CONTACTAPI_HISTORY_DAYS", "a-year-or-so"),
        ("CONTACTAPI_CALLS_PER_DAY", "a-hundred-or-so"),
    ],
)
def test_a_value_that_cannot_be_read_stops_the_start(tmp_path, name, value):
    env = environment(tmp_path, **{name: value})
    ran = run(env, "serve")
    assert (ran.returncode, is_one_line(ran.stderr)) == (1, True), ran
    assert re.search(rf"\b{name}\b", ran.stderr)
    assert value not in ran.stderr + ran.stdout
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["keys", "create", "--type", "publishable"],
        ["keys", "create", "--type", "restricted", "--permission", "contacts:reed"],
        ["keys", "create", "--type", "imaginary"],
        ["keys", "create"],
        ["keys"],
        ["keys", "revoke"],
        ["serve", "--port", "eighty"],
        ["serve", "--colour", "red"],
        ["swerve"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2_and_makes_nothing(tmp_path, arguments):
    ran = run(environment(tmp_path), *arguments)
    assert (ran.returncode, ran.stdout) == (2, ""), ran
    assert is_one_line(ran.stderr), ran.stderr
    assert listed_keys(environment(tmp_path)) == []


@pytest.mark.parametrize(
    "arguments",
    [["revoke"], ["update", "--name", "new"]],
    ids=["revoke", "update"],
)
@pytest.mark.parametrize(
    "key_id", ["key_00000000000000000000000000", "nonsense", "env"]
)
def test_an_unknown_key_id_is_one_line_and_exit_1(tmp_path, arguments, key_id):
    env = environment(tmp_path)
    make_key(env, "--type", "secret")
    ran = run(env, "keys", arguments[0], key_id, *arguments[1:])
    assert (ran.returncode, ran.stdout) == (1, ""), ran
    assert is_one_line(ran.stderr), ran.stderr


def test_the_environments_key_cannot_be_revoked_or_changed(tmp_path):
    env = environment(tmp_path, CONTACTAPI_SECRET_KEY=SECRET)
    assert [key["id"] for key in listed_keys(env)] == ["env"]
    for arguments in (["revoke", "env"], ["update", "env", "--name", "new"]):
        ran = run(env, "keys", *arguments)
        assert (ran.returncode, is_one_line(ran.stderr)) == (1, True), ran


def test_version_prints_the_version(tmp_path):
    ran = run(environment(tmp_path), "--version")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert re.fullmatch(r"(contactapi )?\d+\.\d+(\.\d+)?\S*\n", ran.stdout)
    assert files_in(tmp_path) == []


# ---------------------------------------------------------------------------
# Keys from the command line
# ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "prefix"),
    [
        (["--type", "secret"], "ck_secret_"),
        (["--type", "publishable", "--domain", "example.com"], "ck_pub_"),
        (["--type", "restricted", "--permission", "contacts:read"], "ck_live_"),
    ],
    ids=["secret", "publishable", "restricted"],
)
def test_keys_create_prints_the_token_alone_and_stores_it_nowhere(
    tmp_path, arguments, prefix
):
    env = environment(tmp_path)
    made = run(env, "keys", "create", "--name", "mine", *arguments)
    assert (made.returncode, made.stderr) == (0, "")
    assert re.fullmatch(rf"{prefix}[A-Za-z0-9_-]{{22,}}\n", made.stdout)
    token = made.stdout.strip()
    random_part = token.removeprefix(prefix)
    for path in files_in(tmp_path):
        assert random_part.encode() not in path.read_bytes()


def test_keys_list_shows_a_hint_and_never_a_token(tmp_path):
    env = environment(tmp_path)
    tokens = [
        make_key(env, "--name", "backend", "--type", "secret"),
        make_key(env, "--name", "site", "--type", "publishable", "--domain", "https://X.org/a"),
        make_key(
            env, "--name", "reader", "--type", "restricted",
            "--permission", "contacts:read", "--permission", "companies:read",
        ),
    ]  # fmt: skip
    listed = listed_keys(env)
    by_name = {key["name"]: key for key in listed}
    assert {name: key["type"] for name, key in by_name.items()} == {
        "backend": "secret",
        "site": "publishable",
        "reader": "restricted",
    }
    assert by_name["site"]["domains"] == ["x.org"]
    assert by_name["reader"]["permissions"] == ["contacts:read", "companies:read"]
    for token, name in zip(tokens, ("backend", "site", "reader"), strict=True):
        hint = by_name[name]["hint"]
        assert hint.startswith(token.split("_")[0] + "_" + token.split("_")[1])
        assert hint.endswith(token[-4:])
        assert len(hint) < 24
    for shown in (json.dumps(listed), run(env, "keys", "list").stdout):
        assert "backend" in shown
        assert not any(token in shown for token in tokens)


def key_id(env, name):
    [found] = [key["id"] for key in listed_keys(env) if key["name"] == name]
    return found


def test_a_new_key_works_at_once_and_a_revoked_one_within_5_s_no_more(serve):
    server = serve()
    token = make_key(server.env, "--type", "secret", "--name", "short-lived")
    assert server.ask("GET", "/v1/contacts", key=token).status == 200
    assert (
        run(server.env, "keys", "revoke", key_id(server.env, "short-lived")).returncode
        == 0
    )
    refused = until(
        lambda: server.ask("GET", "/v1/contacts", key=token).status == 401,
        REVOKED_WITHIN,
    )
    assert refused
    assert "short-lived" not in [key["name"] for key in listed_keys(server.env)]
    server.stop()
    server.start()
    assert_error(server.ask("GET", "/v1/contacts", key=token), 401, code="unauthorized")


def test_a_key_works_at_once_though_it_was_refused_before_it_was_made(serve, tmp_path):
    server = serve()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    token = make_key(environment(elsewhere), "--type", "secret")
    answer = server.ask("GET", "/v1/contacts", key=token)
    assert_error(answer, 401, code="unauthorized")
    with contextlib.closing(sqlite3.connect(server.database, timeout=PATIENCE)) as db:
        db.execute("ATTACH ? AS elsewhere", (str(elsewhere / "contacts.db"),))
        db.execute("INSERT INTO main.key SELECT * FROM elsewhere.key")
        db.commit()
    assert server.ask("GET", "/v1/contacts", key=token).status == 200


def test_new_domains_from_the_command_line_take_effect_within_5_s(serve):
    server = serve()
    arguments = ["--type", "publishable", "--domain", "old.example", "--name", "site"]
    token = make_key(server.env, *arguments)

    def posted_from(origin):
        body, headers = {"email": "a@x.org"}, {"Origin": origin}
        return server.ask("POST", "/v1/contacts", body, headers, key=token).status

    assert posted_from("https://old.example") == 201
    assert posted_from("https://new.example") == 403
    changed = run(
        server.env,
        "keys",
        "update",
        key_id(server.env, "site"),
        "--domain",
        "new.example",
    )
    assert (changed.returncode, changed.stderr) == (0, "")
    assert until(lambda: posted_from("https://new.example") == 201, REVOKED_WITHIN)
    assert until(lambda: posted_from("https://old.example") == 403, REVOKED_WITHIN)


def test_keys_create_makes_the_workspace_that_it_names(serve):
    server = serve()
    token = make_key(server.env, "--type", "secret", "--workspace", "other")
    made = server.ask("POST", "/v1/contacts", {"email": "a@x.org"}, key=token)
    assert made.status == 201
    url = f"/v1/contacts/{made.json['id']}"
    assert server.ask("GET", url, key=token).status == 200
    assert_error(server.ask("GET", url), 404, code="not_found")
    assert server.ask("GET", "/v1/contacts").json["total"] == 0


# ---------------------------------------------------------------------------
# Log
# ---------------------------------------------------------------------------

MARK = "Xq7Zv"  # stands in every secret below, and nowhere else


def drive_with_secrets(server, secret, publishable):
    """Requests that carry what must never be logged; returns their request ids."""
    ids = []

    def ask(method, path, body=None, key=SECRET, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        ids.append(server.ask(method, path, body, headers, key).headers["x-request-id"])

    ask("GET", f"/v1/contacts?email={MARK}%40query.example")
    ask("GET", f"/v1/contacts?page=0&q={MARK}")
    ask("GET", f"/v1/contacts?{MARK}")
    ask("GET", f"/no/such/path?token={MARK}")
    ask("GET", "/v1/contacts", key=secret)
    ask("GET", "/v1/contacts", key=f"ck_secret_{MARK}invalidinvalidinvalid")
    ask("GET", "/v1/contacts", key=None, x_api_key=f"ck_live_{MARK}invalidinvalid")
    ask("GET", "/v1/contacts", key=None, Authorization=f"Basic {MARK}")
    ask("GET", "/v1/contacts", key=None, Authorization=f"Bearer {MARK}\xe9\xff")
    ask(
        "POST",
        "/v1/contacts",
        {"email": f"{MARK}@body.example", "name": f"{MARK} name"},
    )
    ask("POST", "/v1/contacts", {"email": f"{MARK} is no email"})
    ask("POST", "/v1/contacts", f'{{"email": "{MARK}'.encode())
    ask("POST", "/v1/contacts", f"email={MARK}".encode(), Content_Type="text/plain")
    ask("POST", "/v1/contacts", gzip.compress(MARK.encode()), Content_Encoding="gzip")
    ask("POST", "/v1/contacts", b"x" * 70_000 + MARK.encode())
    ask("POST", "/v1/contacts", {"email": "a@x.org"}, key=publishable)
    page = {"Origin": "https://example.com", "Referer": f"https://example.com/?{MARK}"}
    ask("POST", "/v1/contacts", {"email": "a@x.org"}, key=publishable, **page)
    ask("POST", f"/f/{publishable}", {"email": "a@x.org"}, key=None)
    ask("GET", f"/f/{publishable}", key=None)
    ask("POST", f"/f/{publishable}/", {"email": "a@x.org"}, key=None)
    ask("POST", f"//f//{publishable}", {"email": "a@x.org"}, key=None)
    ask("POST", f"/%66/{publishable}", {"email": "a@x.org"}, key=None)
    ask("POST", f"/f/ck_pub_{MARK}unknownunknown", {"email": "a@x.org"}, key=None)
    ask("GET", f"/v1/contacts/{secret}")
    ask("GET", f"/{secret}")
    ask("GET", f"/v1/contacts/ck_secret_{MARK}unknownunknown")
    ask("GET", f"/x%3Fq={MARK}")
    ask("GET", "/v1/contacts/%0aFORGED%20line%0d%0aFORGED%1b[31m%00%7f%c2%9b%e2%80%a8x")
    ask("DELETE", f"/v1/contacts/con_{MARK}")
    return [request_id for request_id in ids if request_id]


def send_malformed(server, secret):
    for data in (
        f"GET /v1/contacts?q={MARK} HTTP/1.1\r\nno colon {MARK}\r\n\r\n",
        f"GET /v1/contacts HTTP/1.1\r\nAuthorization : Bearer {secret}\r\n\r\n",
        f"g3t /v1/contacts?q={MARK} HTTP/1.1\r\n\r\n",
        f"{MARK}\r\n\r\n",
        f"GET /v1/contacts?q={MARK} {secret} HTTP/1.1\r\n\r\n",
        f"GET http://[{MARK}/?q={MARK} HTTP/1.1\r\n\r\n",
        f"GET /\x01\x1b[31m?q={MARK} HTTP/1.1\r\n\r\n",
        f"POST /v1/contacts?q={MARK} HTTP/1.1\r\nContent-Length: {MARK}\r\n\r\n{MARK}",
        f"POST /v1/contacts HTTP/1.1\r\nTransfer-Encoding: {MARK}\r\n\r\n{MARK}",
        "POST /v1/contacts HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        f"{MARK}\r\n{MARK}\r\n0\r\n\r\n",
        f"GET /v1/contacts HTTP/1.1\r\nX-Long: {secret}{'x' * 400_000}\r\n\r\n",
    ):
        with server.wire(timeout=10) as wire:
            wire.send(data.encode("latin-1"))
            wire.socket.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                wire.stream.read()
    with server.wire() as wire:  # gone before its answer
        wire.send(request_bytes("GET", f"/v1/contacts?q={MARK}"))
    with server.wire() as wire:  # gone in the middle of its body
        wire.send(
            request_bytes("POST", "/v1/contacts", {"email": f"{MARK}@x.org"})[:-3]
        )


@pytest.mark.parametrize("variant", ["json", "text"])
def test_the_log_holds_no_key_no_body_no_query_and_no_control_character(serve, variant):
    server = serve(CONTACTAPI_LOG=variant)
    secret = make_key(server.env, "--type", "secret")
    publishable = make_key(
        server.env, "--type", "publishable", "--domain", "example.com"
    )
    request_ids = drive_with_secrets(server, secret, publishable)
    send_malformed(server, secret)
    server.stop()
    log = server.output
    lines = log.decode().split("\n")

    assert lines.pop() == ""
    if variant == "json":
        assert all(type(json.loads(line)) is dict for line in lines), lines
    for marker in (MARK, SECRET, secret, publishable):
        assert marker.lower().encode() not in log.lower(), marker
        tail = marker.rpartition("_")[2]
        assert tail.encode() not in log, tail
    assert not [line for line in lines if line.lstrip().startswith("FORGED")]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", log.decode())
    assert len(set(request_ids)) == len(request_ids) > 25
    for request_id in request_ids:
        assert len([line for line in lines if request_id in line]) == 1, request_id


@pytest.mark.parametrize("what", ["a taken port", "a damaged database"])
def test_a_start_that_fails_is_one_json_line_in_the_json_log(tmp_path, what):
    server = Server(tmp_path, CONTACTAPI_LOG="json")
    with socket.socket() as taken:
        if what == "a taken port":
            taken.bind(("127.0.0.1", server.port))
            taken.listen()
        else:
            server.database.write_bytes(garbage())
        ran = run(server.env, "serve", "--port", server.port)
    assert (ran.returncode, is_one_line(ran.stdout + ran.stderr)) == (1, True), ran
    assert type(json.loads(ran.stdout + ran.stderr)) is dict


def test_a_form_keys_path_is_written_without_the_key(serve):
    server = serve(CONTACTAPI_LOG="json")
    publishable = make_key(
        server.env, "--type", "publishable", "--domain", "example.com"
    )
    server.ask("POST", f"/f/{publishable}", {"email": "a@x.org"}, key=None)
    server.stop()
    paths = [str(value) for line in server.output.splitlines()
             for value in json.loads(line).values()]  # fmt: skip
    assert [path for path in paths if "/f/…" in path], paths


# ---------------------------------------------------------------------------
# Protocol: what is malformed
# ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One server for all tests of the protocol; they only add contacts."""
    server = Server(tmp_path_factory.mktemp("shared"))
    try:
        yield server.start()
        server.stop()
    finally:
        server.kill()


def first_answer(server, data, timeout=PATIENCE):
    with server.wire(timeout=timeout) as wire:
        wire.send(data)
        return wire.read()


def test_tls_spoken_to_the_plain_port_is_closed_at_once(shared):
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 40
    with shared.wire() as wire:
        wire.send(hello)  # not even a whole one
        assert wire.ended()
    assert is_well(shared)


def is_well(server):
    return server.ask("GET", "/healthz").json == {"status": "ok"}


GET = b"GET /v1/contacts HTTP/1.1\r\nHost: x\r\n"

MALFORMED = {
    "a header without a colon": GET + b"no colon here\r\n\r\n",
    "a space before the colon": GET + b"X-Thing : 1\r\n\r\n",
    "a folded first header": b"GET /v1/contacts HTTP/1.1\r\n folded: 1\r\n\r\n",
    "a header without a name": GET + b": 1\r\n\r\n",
    "a space in a header's name": GET + b"X Thing: 1\r\n\r\n",
    "a non-ASCII header name": GET + "X-Ä: 1\r\n\r\n".encode(),
    "a control character in a header": GET + b"X-Thing: a\x01b\r\n\r\n",
    "a NUL in a header": GET + b"X-Thing: a\x00b\r\n\r\n",
    "a bare CR in a header": GET + b"X-Thing: a\rb\r\n\r\n",
    "a bare LF in a header": GET + b"X-Thing: a\nb\r\n\r\n",
    "a lower-case method": b"get /v1/contacts HTTP/1.1\r\nHost: x\r\n\r\n",
    "no method": b" /v1/contacts HTTP/1.1\r\nHost: x\r\n\r\n",
    "raw bytes in the path": GET.replace(b"contacts", b"\xff\xfe") + b"\r\n",
    "no path": b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
    "one word": b"nonsense\r\n\r\n",
    "words too many": b"GET /v1/contacts and more HTTP/1.1\r\nHost: x\r\n\r\n",
    "a broken absolute URI": b"GET http://[::1/v1/contacts HTTP/1.1\r\nHost: x\r\n\r\n",
}
POST = b"POST /v1/contacts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BAD_LENGTHS = {
    "twice, not the same": b"Content-Length: 17\r\nContent-Length: 18\r\n",
    "a list": b"Content-Length: 17, 17\r\n",
    "not a number": b"Content-Length: seventeen\r\n",
    "empty": b"Content-Length:\r\n",
    "negative": b"Content-Length: -17\r\n",
    "signed": b"Content-Length: +17\r\n",
    "with an underscore": b"Content-Length: 1_7\r\n",
    "with other digits": "Content-Length: ١٧\r\n".encode(),
    "a fraction": b"Content-Length: 17.0\r\n",
    "hexadecimal": b"Content-Length: 0x11\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_malformed_http_is_a_json_400(shared, data):
    assert_error(first_answer(shared, data), 400, 431, code="invalid_request")
    assert is_well(shared)


@pytest.mark.parametrize("length", BAD_LENGTHS.values(), ids=BAD_LENGTHS)
def test_an_unreadable_content_length_is_a_json_400(shared, length):
    data = POST + length + b"\r\n" + b'{"email":"a@x.y"}'
    assert_error(first_answer(shared, data), 400, code="invalid_request")
    assert is_well(shared)


@pytest.mark.parametrize("length", [b"9" * 10, b"9" * 30, b"9" * 4000], ids=len)
def test_an_enormous_content_length_is_a_json_413(shared, length):
    data = POST + b"Content-Length: " + length + b"\r\n\r\n"
    assert_error(first_answer(shared, data), 413, code="payload_too_large")


CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
BAD_CHUNKS = {
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "a size that is no number": b"five\r\nhello\r\n0\r\n\r\n",
    "a negative size": b"-5\r\nhello\r\n0\r\n\r\n",
    "a signed size": b"+5\r\nhello\r\n0\r\n\r\n",
    "a size with a prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "more than the size says": b"5\r\nhello, world\r\n0\r\n\r\n",
    "a control character in an extension": b"5;a=\x01\r\nhello\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("data", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_a_malformed_chunk_is_a_json_400(shared, data):
    assert_error(first_answer(shared, CHUNKED + data), 400, code="invalid_request")
    assert is_well(shared)


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"x"])
def test_an_unknown_transfer_coding_is_a_json_error(shared, coding):
    data = POST + b"Transfer-Encoding: " + coding + b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    assert_error(first_answer(shared, data), 400, 501)
    assert is_well(shared)


def test_length_and_chunks_together_smuggle_nothing(shared):
    inner = request_bytes("POST", "/v1/contacts", {"email": "smuggled@x.org"})
    head = (
        POST
        + f"Authorization: Bearer {SECRET}\r\nTransfer-Encoding: chunked\r\n".encode()
    )
    data = (
        head + b"Content-Length: %d\r\n\r\n" % (len(inner) + 5) + b"0\r\n\r\n" + inner
    )
    with shared.wire() as wire:
        wire.send(data)
        assert_error(wire.read(), 400)
        assert wire.ended()
    assert shared.ask("GET", "/v1/contacts?email=smuggled@x.org").json["data"] == []


@pytest.mark.parametrize(
    "data",
    [
        GET + b"X-Long: " + b"x" * 1_000_000 + b"\r\n\r\n",
        GET + b"X-Thing: 1\r\n" * 100_000 + b"\r\n",
        b"GET /v1/contacts?q=" + b"x" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        GET + b"X-Endless: " + b"x" * 1_000_000,
    ],
    ids=["one long header", "many headers", "a long path", "a header without end"],
)
def test_a_head_that_is_too_large_is_a_json_error(shared, data):
    assert_error(first_answer(shared, data), 400, 414, 431)
    assert is_well(shared)


@pytest.mark.parametrize("length", [8_192, 60_000])
def test_a_very_long_key_is_a_json_error(shared, length):
    for header in ("Authorization: Bearer ck_secret_", "X-Api-Key: ck_secret_"):
        data = request_bytes(
            "GET", "/v1/contacts", key=None, headers=[header + "a" * length]
        )
        assert_error(first_answer(shared, data), 400, 401, 431)


# ---------------------------------------------------------------------------
# Protocol: bodies over the limit
# ---------------------------------------------------------------------------

LIMIT = 65_536


def test_a_body_of_exactly_the_limit_is_taken_and_one_byte_more_refused(shared):
    def body(length):
        start = b'{"email":"limit@x.org","pad":"'
        return start + b"x" * (length - len(start) - 2) + b'"}'

    assert len(body(LIMIT)) == LIMIT
    headers = {"Content-Type": "application/json"}
    assert shared.ask("POST", "/v1/contacts", body(LIMIT), headers).status == 201
    answer = shared.ask("POST", "/v1/contacts", body(LIMIT + 1), headers)
    assert_error(answer, 413, code="payload_too_large")


@pytest.mark.parametrize(
    "line",
    [
        b"POST /v1/contacts HTTP/1.1",
        b"POST /no/such/path HTTP/1.1",
        b"POST /healthz HTTP/1.1",
        b"PUT /v1/contacts HTTP/1.1",
        b"POST /v1/companies/ HTTP/1.1",
        b"POST /v1/contacts.csv HTTP/1.1",
        b"GET /v1/contacts HTTP/1.1",
        b"DELETE /v1/contacts/x HTTP/1.1",
    ],
    ids=bytes.decode,
)
def test_a_large_length_is_refused_before_any_of_the_body_is_sent(shared, line):
    data = line + b"\r\nHost: x\r\nContent-Length: 65537\r\n\r\n"
    assert_error(first_answer(shared, data), 413, code="payload_too_large")


def test_a_large_length_is_refused_instead_of_being_asked_for(shared):
    data = POST + b"Expect: 100-continue\r\nContent-Length: 65537\r\n\r\n"
    assert_error(first_answer(shared, data), 413, code="payload_too_large")


def test_a_large_body_that_is_sent_all_the_same_is_a_413(shared):
    data = POST + b"Content-Length: 3000000\r\n\r\n" + b"x" * 3_000_000
    assert_error(first_answer(shared, data), 413, code="payload_too_large")
    assert is_well(shared)


def test_reads_go_on_while_another_process_holds_the_database(serve):
    server = serve()
    path = server.folder / "contacts.db"
    foreign = sqlite3.connect(path, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(20) as pool:
        writes = [
            pool.submit(server.ask, "POST", "/v1/contacts", {"email": f"a{n}@x.org"})
            for n in range(20)
        ]
        time.sleep(0.5)
        for _ in range(5):
            assert server.ask("GET", "/healthz").status == 200
            assert server.ask("GET", "/v1/contacts").json["total"] == 0
        assert not any(write.done() for write in writes)
        foreign.execute("ROLLBACK")
        assert {write.result().status for write in writes} == {201}
    foreign.close()


def test_a_request_that_came_behind_a_waiting_one_is_answered_at_a_stop(serve):
    server = serve()
    foreign = sqlite3.connect(server.folder / "contacts.db", isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    with server.wire() as wire:
        wire.send(request_bytes("POST", "/v1/contacts", {"email": "a@x.org"}))
        time.sleep(0.3)
        wire.send(request_bytes("GET", "/v1/contacts"))
        time.sleep(0.3)
        server.signal()
        time.sleep(0.3)
        foreign.execute("ROLLBACK")
        assert wire.read().status == 201
        assert wire.read().json["total"] == 1
    assert server.exit_status() == 0
    foreign.close()


def test_a_stop_ends_long_searches_and_exits_with_0(serve):
    server = serve(CONTACTAPI_RATE_LIMIT="off")
    lines = b"".join(
        json.dumps({"email": f"a{n}@x.org", "text": "x" * 500}).encode() + b"\n"
        for n in range(60_000)
    )
    headers = {"Content-Type": "application/jsonl"}
    assert server.ask("POST", "/v1/contacts.jsonl", lines, headers).status == 200
    path = "/v1/contacts?filter%5Bx%220%5D=1"  # a name that no index helps to find
    wires = [server.wire() for _ in range(12)]
    for wire in wires:
        wire.send(request_bytes("GET", path))
    time.sleep(0.3)
    server.signal()
    assert server.exit_status() == 0
    for wire in wires:
        wire.close()


def test_a_client_that_sends_twenty_megabytes_before_it_listens_hears_413(shared):
    data = POST + b"Content-Length: 20000000\r\n\r\n" + b"x" * 20_000_000
    for _ in range(3):
        assert_error(first_answer(shared, data), 413, code="payload_too_large")


def test_a_chunked_body_is_refused_once_it_is_too_large(shared):
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    with shared.wire() as wire:  # one chunk over the limit, the end not sent
        wire.send(CHUNKED + chunk * 17)
        assert_error(wire.read(), 413, code="payload_too_large")
    with shared.wire() as wire:  # one chunk that announces too much
        wire.send(CHUNKED + b"FFFFFFFF\r\n" + b"x" * 70_000)
        assert_error(wire.read(), 413, code="payload_too_large")


def test_a_chunked_body_without_end_is_refused_at_the_limit(shared):
    sent = 0
    with shared.wire() as wire:
        wire.send(CHUNKED)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent < 50_000_000 and not select.select([wire.socket], [], [], 0)[0]:
                wire.socket.sendall((b"1000\r\n" + b"x" * 4096 + b"\r\n") * 16)
                sent += 65_536
        assert sent < 50_000_000, "50 MB were taken"
        assert_error(wire.read(), 413, code="payload_too_large")
    assert is_well(shared)


def test_chunks_of_nothing_but_extensions_are_refused(shared):
    sent = 0
    with shared.wire() as wire:
        wire.send(CHUNKED)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent < 50_000_000 and not select.select([wire.socket], [], [], 0)[0]:
                wire.socket.sendall(b"1;" + b"e" * 65_536)
                sent += 65_536
        assert sent < 50_000_000, "50 MB were taken"
        assert_error(wire.read(), 400, 413, 431)
    assert is_well(shared)


def test_a_413_can_be_read_by_a_page_of_another_origin(shared):
    origin = b"Origin: https://example.com\r\n"
    for data in (
        POST + origin + b"Content-Length: 65537\r\n\r\n",
        POST
        + origin
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"11000\r\n"
        + b"x" * 0x11000,
    ):
        answer = first_answer(shared, data)
        assert_error(answer, 413, code="payload_too_large")
        allowed = answer.headers["access-control-allow-origin"]
        assert allowed in ("*", "https://example.com")
        assert "origin" in answer.headers["vary"].lower()
        assert "X-Request-Id" in answer.headers["access-control-expose-headers"]


# ---------------------------------------------------------------------------
# Protocol: what is unusual but right
# ---------------------------------------------------------------------------


def test_http_1_0_is_answered_and_the_connection_closed(shared):
    with shared.wire() as wire:
        wire.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        answer = wire.read()
        assert (answer.status, answer.json) == (200, {"status": "ok"})
        assert "transfer-encoding" not in answer.headers
        assert wire.ended()
    with shared.wire() as wire:
        body = {"email": "http10@x.org"}
        wire.send(request_bytes("POST", "/v1/contacts", body, version="1.0"))
        assert wire.read().json["email"] == "http10@x.org"
        assert wire.ended()
    answer = first_answer(shared, b"GET /v1/contacts HTTP/1.0\r\n\r\n")
    assert_error(answer, 401, code="unauthorized")


def test_pipelined_requests_are_answered_in_order(shared):
    with shared.wire() as wire:
        wire.send(
            request_bytes("POST", "/v1/contacts", {"email": "pipe@x.org", "n": 1})
            + request_bytes("GET", "/v1/contacts?email=pipe@x.org")
            + request_bytes("GET", "/v1/contacts/con_nothing")
            + request_bytes("POST", "/v1/contacts", {"email": "pipe@x.org", "n": 2})
            + request_bytes("GET", "/healthz", headers=["Connection: close"])
        )
        answers = [wire.read() for _ in range(5)]
        assert wire.ended()
    assert [answer.status for answer in answers] == [201, 200, 404, 201, 200]
    assert [contact["n"] for contact in answers[1].json["data"]] == [1]
    assert answers[3].json["n"] == 2
    assert answers[4].json == {"status": "ok"}
    assert len({answer.headers["x-request-id"] for answer in answers}) == 5


def test_a_keep_alive_connection_survives_errors_of_the_request(shared):
    with shared.wire() as wire:
        for data, status in (
            (request_bytes("GET", "/v1/contacts", key=None), 401),
            (request_bytes("GET", "/nowhere"), 404),
            (request_bytes("PUT", "/v1/contacts", {"email": "a@x.org"}), 405),
            (request_bytes("POST", "/v1/contacts", b"{"), 400),
            (request_bytes("GET", "/v1/contacts"), 200),
        ):
            wire.send(data)
            assert wire.read().status == status


def test_expect_100_continue_is_asked_for_the_body(shared):
    data = request_bytes(
        "POST",
        "/v1/contacts",
        {"email": "expect@x.org"},
        headers=["Expect: 100-continue"],
    )
    head, body = data.split(b"\r\n\r\n")
    with shared.wire() as wire:
        wire.send(head + b"\r\n\r\n")
        assert wire.read().status == 100
        wire.send(body)
        answer = wire.read()
        assert (answer.status, answer.json["email"]) == (201, "expect@x.org")


def test_a_chunked_body_is_taken(shared):
    body = json.dumps({"email": "chunked@x.org", "name": "Zoë"}).encode()
    chunks = b"".join(b"%x;ext=1\r\n%c\r\n" % (1, byte) for byte in body)
    data = POST + f"Authorization: Bearer {SECRET}\r\n".encode()
    data += (
        b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nX-Trailer: 1\r\n\r\n"
    )
    answer = first_answer(shared, data)
    assert (answer.status, answer.json["name"]) == (201, "Zoë")


def test_a_trailing_slash_is_the_same_path(shared):
    made = shared.ask("POST", "/v1/contacts/", {"email": "slash@x.org"})
    assert made.status == 201
    url = f"/v1/contacts/{made.json['id']}"
    assert shared.ask("GET", url + "/").json == shared.ask("GET", url).json
    assert shared.ask("GET", "/v1/contacts/?page_size=1").json["page_size"] == 1
    assert shared.ask("GET", "/healthz/").json == {"status": "ok"}
    assert_error(shared.ask("PUT", "/v1/contacts/", {}), 405, code="method_not_allowed")


@pytest.mark.parametrize(
    "path", ["/healthz", "/v1/contacts", "/v1/contacts/con_x", "/nowhere"]
)
def test_head_is_get_without_the_body(shared, path):
    got = shared.ask("GET", path)
    with shared.wire() as wire:
        wire.send(request_bytes("HEAD", path))
        head = wire.read(head=True)
        wire.send(request_bytes("GET", "/healthz"))
        assert wire.read().json == {"status": "ok"}
    assert head.status == got.status
    for name in ("content-type", "content-length", "cache-control"):
        assert head.headers[name] == got.headers[name]


def test_an_absolute_request_uri_is_its_path(shared):
    for host in (f"127.0.0.1:{shared.port}", "elsewhere.example"):
        data = request_bytes("GET", f"http://{host}/v1/contacts?page_size=1")
        assert first_answer(shared, data).json["page_size"] == 1


@pytest.mark.parametrize(
    "path",
    [
        "/v1/contacts/%00",
        "/v1/contacts/con_%00",
        "/v1/contacts/con_01h455vb4pex5vsknk084sn02q%00",
        "/v1/contacts/con_01h455vb4pex5vsknk084sn02q%0a",
        "/v1/contacts/%ff%fe",
        "/v1/contacts/%ed%a0%80",
        "/v1/contacts/%F0%9F%92%A9",
        "/v1/contacts/%zz",
        "/v1/contacts/%",
        "/v1/contacts/..%2f..%2fetc%2fpasswd",
        "/v1/contacts/../../etc/passwd",
        "/v1/contacts/" + "0" * 20_000,
        "/v1/contacts/con_" + "9" * 26,
        "/v1/contacts/con_8zzzzzzzzzzzzzzzzzzzzzzzzz",
        "/v1/companies/con_01h455vb4pex5vsknk084sn02q",
        "/v1/contacts/00000000-0000-0000-0000-00000000000",
        "//",
        "/v1//contacts",
        "/%76%31/contacts/x",
        "/v1/contacts/x;y=1",
    ],
    ids=ascii,
)
def test_a_path_of_nothing_is_a_json_404(shared, path):
    answer = first_answer(shared, request_bytes("GET", path))
    assert_error(answer, 404, code="not_found")
    assert is_well(shared)


@pytest.mark.parametrize(
    "query",
    [
        "page=%00",
        "page=%ff",
        "page_size=%zz",
        "email=%ff",
        "q=%ff",
        "page=1%0a",
        "page=١",
    ],
)
def test_a_query_that_cannot_be_read_is_a_json_400(shared, query):
    path = f"/v1/contacts?{query}".encode().decode("latin-1")
    answer = first_answer(shared, request_bytes("GET", path))
    assert_error(answer, 400)
    assert is_well(shared)


@pytest.mark.parametrize(
    "method",
    ["PUT", "TRACE", "CONNECT", "PROPFIND", "POTATO", "G@T", "DELETE", "A" * 5_000],
)
def test_another_method_is_a_json_405(shared, method):
    answer = first_answer(shared, request_bytes(method, "/v1/contacts"))
    assert_error(answer, 400, 405)
    if answer.status == 405:
        assert {"GET", "HEAD", "POST"} <= set(answer.headers["allow"].split(", "))
    assert is_well(shared)


@pytest.mark.parametrize(
    "key", ["\xe9\xff", "ck_secret_\x80\x81", "ck_secret_ two words", ""]
)
def test_a_key_of_strange_bytes_is_a_401(shared, key):
    bare = first_answer(shared, request_bytes("GET", "/v1/contacts", key=None))
    for header in (f"Authorization: Bearer {key}", f"X-Api-Key: {key}"):
        data = request_bytes("GET", "/v1/contacts", key=None, headers=[header])
        answer = first_answer(shared, data)
        assert_error(answer, 401, code="unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.body == bare.body


def test_the_refusals_come_in_the_contracts_order(shared):
    large = b"Content-Length: 65537\r\n\r\n"
    small = b"Content-Length: 1\r\n\r\n{"
    wrong = f"Authorization: Bearer {UNKNOWN_KEY}\r\n".encode()
    right = f"Authorization: Bearer {SECRET}\r\nContent-Type: text/plain\r\n".encode()
    for head, status in (
        (b"PUT /nowhere HTTP/1.1\r\n" + wrong + large, 413),
        (b"PUT /nowhere HTTP/1.1\r\n" + wrong + small, 404),
        (b"PUT /v1/contacts HTTP/1.1\r\n" + wrong + small, 405),
        (b"POST /v1/contacts HTTP/1.1\r\n" + wrong + small, 401),
        (b"POST /v1/contacts HTTP/1.1\r\n" + right + small, 415),
        (b"PATCH /v1/contacts/con_x HTTP/1.1\r\n" + right + small, 415),
    ):
        assert_error(first_answer(shared, head), status)


# ---------------------------------------------------------------------------
# Protocol: clients that are slow, or gone
# ---------------------------------------------------------------------------


def test_slow_clients_do_not_stop_the_others_and_are_answered(shared):
    slow, answers = 40, []
    data = request_bytes("GET", "/healthz")

    def trickle():
        with shared.wire() as wire:
            for byte in data:
                wire.send(bytes([byte]))
                time.sleep(0.03)
            answers.append(wire.read().json)

    def others(stopped):
        while not stopped.wait(0.02):
            assert shared.ask("GET", "/v1/contacts").status == 200
            assert (
                shared.ask("POST", "/v1/contacts", {"email": "fast@x.org"}).status
                == 201
            )

    with running(others, others):
        together(*[trickle] * slow)
    assert answers == [{"status": "ok"}] * slow


def test_clients_that_stop_in_the_middle_do_not_stop_the_others(shared):
    post = request_bytes("POST", "/v1/contacts", {"email": "never@x.org"})
    with contextlib.ExitStack() as stack:
        for n in range(60):
            wire = stack.enter_context(shared.wire())
            wire.send(half(post, ("first byte", "head", "body")[n % 3])[0])
        for n in range(20):
            answer = shared.ask("POST", "/v1/contacts", {"email": f"other{n}@x.org"})
            assert answer.status == 201
    assert shared.ask("GET", "/v1/contacts?email=never@x.org").json["data"] == []


def test_clients_that_do_not_read_do_not_stop_the_others(serve):
    server = serve()
    big_contacts(server)
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            wire = stack.enter_context(server.wire(receive_buffer=16_384))
            wire.send(request_bytes("GET", "/v1/contacts?page_size=100") * 2)
        for n in range(20):
            answer = server.ask("POST", "/v1/contacts", {"email": f"other{n}@x.org"})
            assert answer.status == 201
    assert server.ask("GET", "/v1/contacts").json["total"] == 80
    server.stop()


def test_many_connections_at_once_are_all_answered(shared):
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(shared.wire()) for _ in range(80)]
        for wire in wires:
            wire.send(request_bytes("GET", "/v1/contacts?page_size=1"))
        assert {wire.read().status for wire in wires} == {200}
