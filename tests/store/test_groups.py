"""Requests that share a commit."""

import contextlib
import json
import logging
import socket
import sqlite3
import struct

import pytest

import contactapi
from client import a_busy_writer, feed
from processes import until


def begun(client, method, body, key, path=""):
    """A connection on which this request is on its way."""
    raw = b"" if body is None else json.dumps(body).encode()
    path = path if path.startswith("/v1") else f"/v1/contacts{path}"
    lines = [
        f"{method} {path} HTTP/1.1",
        *("Host: x", "Connection: close", f"Content-Length: {len(raw)}"),
        f"Authorization: Bearer {key}",
    ]
    sock = socket.create_connection(client.address, timeout=20)
    sock.sendall("\r\n".join([*lines, "", ""]).encode() + raw)
    return sock


def queued(client, *requests):
    """Connections with a POST each, (body, key), that wait for a transaction."""
    sockets = []
    for number, request in enumerate(requests, 1):
        sockets.append(begun(client, "POST", *request))
        assert until(lambda number=number: waiting(client) == number)
    return sockets


def waiting(client):
    return len(client.server.task_dispatcher.writer.waiting)


def hang_up(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def received(sock):
    """(status, body, X-Request-Id), read until the server closes."""
    with sock, sock.makefile("rb") as file:
        head, _, body = file.read().partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), json.loads(body), headers["X-Request-Id"]


def secretly(client, *emails):
    return [({"email": email}, client.secret) for email in emails]


def test_requests_that_write_share_one_commit(served):
    client, said = served(), []
    store = client.services.store
    with a_busy_writer(store):
        emails = [f"c{n}@x.org" for n in range(12)]
        sockets = queued(client, *secretly(client, *emails))
        store.writing.connection().set_trace_callback(said.append)
    answers = [received(sock) for sock in sockets]
    assert [status for status, _, _ in answers] == [201] * 12
    assert [body["email"] for _, body, _ in answers] == emails
    assert said.count("COMMIT") == 2  # the busy writer's, and theirs
    assert sorted(client.emails()) == sorted(emails)


def test_when_the_commit_fails_no_write_is_confirmed(served, monkeypatch, caplog):
    client = served()
    caplog.set_level(logging.INFO)
    store = client.services.store
    run = store.run

    def on_a_full_disk(sql, params=()):
        if sql == "COMMIT":
            cause = sqlite3.OperationalError("database or disk is full")
            raise contactapi.Unavailable() from cause
        return run(sql, params)

    requests = secretly(client, "a@x.org", "b@x.org")
    stranger = ({"email": "c@x.org"}, "ck_secret_of_nobody")
    with pytest.raises(contactapi.Unavailable), a_busy_writer(store):
        sockets = queued(client, *requests)
        sockets.append(begun(client, "POST", *stranger))
        monkeypatch.setattr(store, "run", on_a_full_disk)
    answers = [received(sock) for sock in sockets]
    assert [status for status, _, _ in answers] == [503, 503, 401]
    assert {answers[n][1]["error"]["code"] for n in (0, 1)} == {"unavailable"}
    lines = [record.getMessage() for record in caplog.records]
    for status, _, ref in answers:  # one line each, of what came of it
        (line,) = [line for line in lines if line.endswith(ref)]
        assert f" {status} " in line
    assert lines.count("nothing could be written: database or disk is full") == 2
    monkeypatch.setattr(store, "run", run)
    assert client.emails() == []
    assert client.add("a@x.org")


def test_a_request_that_fails_halfway_is_undone_alone(served, monkeypatch):
    client = served()
    store, contacts = client.services.store, client.services.contacts
    add = contacts.events.add

    def fail_once(*drafts):
        if any("bad@x.org" in draft.data for draft in drafts):
            raise LookupError
        add(*drafts)

    monkeypatch.setattr(contacts.events, "add", fail_once)
    with a_busy_writer(store):
        emails = ("one@x.org", "bad@x.org", "two@x.org")
        sockets = queued(client, *secretly(client, *emails))
    assert [received(sock)[0] for sock in sockets] == [201, 500, 201]
    assert client.emails() == ["two@x.org", "one@x.org"]
    assert client.get("/v1/contacts").json["total"] == 2
    assert [event["type"] for event in feed(client)["data"]] == ["contact.created"] * 2


def test_a_failure_is_logged_under_the_id_of_its_answer(served, monkeypatch, caplog):
    client = served()
    events = client.services.contacts.events
    monkeypatch.setattr(events, "add", lambda *drafts: [].pop())
    status, _, ref = received(
        begun(client, "POST", {"email": "a@x.org"}, client.secret)
    )
    assert status == 500
    assert f"{ref}: IndexError" in caplog.text


def test_a_request_that_is_refused_does_not_undo_the_others(served):
    client, said = served(CONTACTAPI_MAX_BODY="1024"), []
    store = client.services.store
    client.add("big@x.org", a="x" * 600)
    bodies = [
        {"email": "one@x.org"},
        {"email": "big@x.org", "b": "x" * 600},
        {"email": "two@x.org"},
    ]
    with a_busy_writer(store):
        sockets = queued(client, *((body, client.secret) for body in bodies))
        store.writing.connection().set_trace_callback(said.append)
    assert [received(sock)[0] for sock in sockets] == [201, 413, 201]
    assert (said.count("COMMIT"), said.count("ROLLBACK")) == (2, 0)


def test_a_statement_that_is_mistyped_costs_its_own_request_alone(served):
    client = served()
    store = client.services.store

    def mistyped(caller):
        return contactapi.Write(lambda: store.run("INSERT INTO nowhere"), str)

    client.app.post("/v1/mistyped", needs=("contacts:write",))(mistyped)
    with a_busy_writer(store):
        requests = []
        for number in range(4):
            requests += [({"email": f"c{number}@x.org"}, client.secret)]
            requests += [({}, client.secret, "/v1/mistyped")]
        sockets = queued(client, *requests)
    assert [received(sock)[0] for sock in sockets] == [201, 500] * 4
    assert len(client.emails()) == 4


def test_what_is_done_again_counts_once_and_is_logged_once(served, monkeypatch, caplog):
    client = served(CONTACTAPI_RATE_LIMIT="100/60")
    caplog.set_level(logging.INFO)
    store, contacts = client.services.store, client.services.contacts
    add, tries = contacts.events.add, []

    def fail(*drafts):
        tries.append(drafts)
        if any("bad@x.org" in draft.data for draft in drafts):
            raise LookupError
        add(*drafts)

    monkeypatch.setattr(contacts.events, "add", fail)
    with a_busy_writer(store):
        emails = ("one@x.org", "bad@x.org", "two@x.org", "three@x.org")
        sockets = queued(client, *secretly(client, *emails))
    answers = [received(sock) for sock in sockets]
    assert [status for status, _, _ in answers] == [201, 500, 201, 201]
    assert len(tries) > 4  # some of them were done again
    rest = client.get("/healthz").headers, client.get("/v1/contacts").headers
    assert rest[1]["RateLimit"].startswith('"key";r=95')
    for status, _, ref in answers:
        ours = [r.getMessage() for r in caplog.records if ref in r.getMessage()]
        assert len(ours) == (2 if status == 500 else 1)  # the failure and the line


@pytest.mark.parametrize(
    ("method", "path", "body", "key", "status"),
    [
        ("POST", "", {"email": "a@x.org"}, "ck_secret_of_nobody", 401),
        ("POST", "", {"email": "none"}, ..., 400),
        ("PATCH", "/con_" + "0" * 26, {"a": 1}, ..., 404),
        ("DELETE", "/con_" + "0" * 26, None, ..., 404),
        ("POST", ".nothing", {"email": "a@x.org"}, ..., 404),
    ],
)
def test_what_is_refused_anyhow_does_not_wait_for_a_transaction(
    served, method, path, body, key, status
):
    client = served()
    key = client.secret if key is ... else key
    with a_busy_writer(client.services.store):
        assert received(begun(client, method, body, key, path))[0] == status


def test_who_is_gone_when_all_is_done_again_is_stored_all_the_same(
    served, monkeypatch, caplog
):
    client = served()
    caplog.set_level(logging.INFO)
    store, contacts = client.services.store, client.services.contacts
    add, sockets = contacts.events.add, []

    def fail_once(*drafts):
        if any("bad@x.org" in draft.data for draft in drafts):
            channels = client.server.active_channels.values()
            gone = sockets[0].getsockname()
            next(each for each in channels if each.addr == gone).handle_close()
            raise LookupError
        add(*drafts)

    monkeypatch.setattr(contacts.events, "add", fail_once)
    with a_busy_writer(store):
        sockets += queued(client, *secretly(client, "gone@x.org", "bad@x.org"))
    assert received(sockets[1])[0] == 500
    assert until(lambda: caplog.text.count("POST /v1/contacts 201") == 1)
    assert client.emails() == ["gone@x.org"]


def test_a_broken_transaction_confirms_nothing_that_was_in_it(served, monkeypatch):
    client = served()
    store = client.services.store

    def lose_it(*_):
        store.run("ROLLBACK")  # as SQLite itself does when the disk is full
        raise contactapi.Unavailable() from sqlite3.OperationalError("disk I/O error")

    requests = secretly(client, "a@x.org", "b@x.org", "c@x.org")
    count, calls = store.count, []

    def second_loses_it(*args):
        calls.append(args)
        return lose_it(*args) if len(calls) == 2 else count(*args)

    monkeypatch.setattr(store, "count", second_loses_it)
    with a_busy_writer(store):
        sockets = queued(client, *requests)
    # the third is not in it any more, but in the next one
    assert [received(sock)[0] for sock in sockets] == [503, 503, 201]
    assert client.emails() == ["c@x.org"]


def test_who_does_not_wait_for_the_answer_is_stored_and_logged(served, caplog):
    client = served()
    caplog.set_level(logging.INFO)
    with a_busy_writer(client.services.store):
        (sock,) = queued(client, *secretly(client, "gone@x.org"))
        hang_up(sock)
    assert until(lambda: client.emails() == ["gone@x.org"])
    assert until(lambda: "POST /v1/contacts 201" in caplog.text)


def test_reads_are_answered_while_another_process_holds_the_database(served, tmp_path):
    client = served()
    client.services.store.patience = 1
    (ref,) = client.add("a@x.org")
    with contextlib.closing(sqlite3.connect(tmp_path / "contacts.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        bodies = [{"email": f"c{number}@x.org"} for number in range(20)]
        writes = [begun(client, "POST", body, client.secret) for body in bodies]
        reads = [begun(client, "GET", None, client.secret, f"/{ref}") for _ in "abcd"]
        assert {received(sock)[0] for sock in reads} == {200}
        assert {received(sock)[0] for sock in writes} == {503}
        other.rollback()
    assert received(begun(client, "POST", bodies[0], client.secret))[0] == 201


def test_a_failure_of_the_main_loop_ends_no_server(served, monkeypatch, caplog):
    client = served()
    monkeypatch.setattr(client.server, "maintenance", lambda now: [].pop())
    until(lambda: "server: IndexError" in caplog.text)
    monkeypatch.undo()
    status, _, _ = received(begun(client, "POST", {"email": "a@x.org"}, client.secret))
    assert status == 201
