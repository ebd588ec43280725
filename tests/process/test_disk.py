"""A full disk, a read-only database, no database."""

import contextlib
import json
import sqlite3

import pytest

from client import one_line
from processes import (
    Client,
    assert_error,
    bound_by_file_modes,
    environment,
    files_in,
    free_port,
    garbage,
    make_key,
    request_bytes,
    run,
    together,
    until,
)


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


def test_a_body_that_the_disk_has_no_room_for_is_503_and_leaves_its_place(serve):
    server, kind = serve(), {"Content-Type": "application/jsonl"}
    line = json.dumps({"email": "a@disk.example", "pad": "x" * 1000}).encode() + b"\n"
    server.limit_file_size(600_000)  # above 512 KiB a body is kept in a file
    for _ in range(3):
        with server.wire() as wire:
            head = ["Content-Type: application/jsonl"]
            wire.send(
                request_bytes("POST", "/v1/contacts.jsonl", line * 3000, headers=head)
            )
            assert_error(wire.read(), 503, code="unavailable")
    server.limit_file_size()
    answer = server.ask("POST", "/v1/contacts.jsonl", line * 3000, kind)
    assert (answer.status, answer.json["created"]) == (200, 1)


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
    assert (started.returncode, one_line(started.stderr)) == (1, True), started
    assert "contacts.db" in started.stderr
    assert "Traceback" not in started.stdout
    listed = run(server.env, "keys", "list")
    assert (listed.returncode, one_line(listed.stderr)) == (1, True), listed
    assert (server.database.is_file() and server.database.read_bytes()) == before


def test_a_database_in_a_folder_that_is_not_there_stops_the_start_with_one_line(
    tmp_path,
):
    started = run(environment(tmp_path / "nowhere"), "serve", "--port", free_port())
    assert (started.returncode, one_line(started.stderr)) == (1, True), started
    assert not (tmp_path / "nowhere").exists()
