"""Requests that share a commit."""

import contextlib
import json
import logging
import socket
import sqlite3
import struct
import threading

import pytest

import contactapi
from client import a_busy_writer, hiding_a_failure, until


@pytest.fixture
def served(make):
    """Serves an app on a port; its client gains `address`."""
    started = []

    def serve(**settings):
        client = make(CONTACTAPI_RATE_LIMIT="off", **settings)
        server = contactapi.Server(client.app, contactapi.listen("127.0.0.1", 0), 2)
        client.server, client.address = server, server.socket.getsockname()
        started.append((server, threading.Thread(target=server.run)))
        started[-1][1].start()
        return client

    yield serve
    for server, thread in started:
        server.stop()
        thread.join(20)


def begun(client, method, body, key, path=""):
    """A connection on which this request is on its way."""
    raw = b"" if body is None else json.dumps(body).encode()
    lines = [
        f"{method} /v1/contacts{path} HTTP/1.1",
        *("Host: x", "Connection: close", f"Content-Length: {len(raw)}"),
        f"Authorization: Bearer {key}",
    ]
    sock = socket.create_connection(client.address, timeout=20)
    sock.sendall("\r\n".join([*lines, "", ""]).encode() + raw)
    return sock


def queued(client, *requests):
    """Connections with a POST each, (body, key), that wait for the writer."""
    sockets, store = [], client.services.store
    for number, request in enumerate(requests, 1):
        sockets.append(begun(client, "POST", *request))
        until(lambda number=number: store.queue.qsize() == number)
    return sockets


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
        for connection in store.db.opened:
            connection.set_trace_callback(said.append)
    answers = [received(sock) for sock in sockets]
    assert [status for status, _, _ in answers] == [201] * 12
    assert [body["email"] for _, body, _ in answers] == emails
    assert said.count("COMMIT") == 1
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
        sockets = queued(client, *requests, stranger)
        monkeypatch.setattr(store, "run", on_a_full_disk)
    answers = [received(sock) for sock in sockets]
    assert [status for status, _, _ in answers] == [503, 503, 401]
    assert {answers[n][1]["error"]["code"] for n in (0, 1)} == {"unavailable"}
    lines = [record.getMessage() for record in caplog.records]
    for status, _, ref in answers:  # one line each, of what came of it
        (line,) = [line for line in lines if line.endswith(ref)]
        assert f" {status} " in line
    assert lines.count("nothing could be written: database or disk is full") == 1
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
    assert [event["type"] for event in client.get("/v1/events").json["data"]] == [
        "contact.created"
    ] * 2


def test_a_request_that_was_undone_is_not_confirmed(served, monkeypatch):
    client = served()
    store, contacts = client.services.store, client.services.contacts
    store.write(lambda: store.run("CREATE TABLE jotting (name TEXT)"))
    monkeypatch.setattr(contacts, "put", hiding_a_failure(store, contacts.put))
    status, body, _ = received(
        begun(client, "POST", {"email": "a@x.org"}, client.secret)
    )
    assert (status, body["error"]["code"]) == (500, "internal_error")
    assert client.emails() == []


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
    client, said = served(), []
    store = client.services.store
    with a_busy_writer(store):
        sockets = queued(client, *secretly(client, "a@x.org"))
        for number, path in enumerate(("/con_" + "0" * 26, ""), 2):
            method = "PATCH" if path else "POST"
            sockets.append(
                begun(client, method, {"email": "b@x.org"}, client.secret, path)
            )
            until(lambda number=number: store.queue.qsize() == number)
        for connection in store.db.opened:
            connection.set_trace_callback(said.append)
    assert [received(sock)[0] for sock in sockets] == [201, 404, 201]
    assert (said.count("COMMIT"), said.count("ROLLBACK")) == (1, 0)


def test_who_is_gone_when_all_is_done_again_is_not_said_to_be_stored(
    served, monkeypatch, caplog
):
    client = served()
    caplog.set_level(logging.INFO)
    store, contacts = client.services.store, client.services.contacts
    add, sockets = contacts.events.add, []

    def fail_once(*drafts):
        if any("bad@x.org" in draft.data for draft in drafts):
            monkeypatch.setattr(contacts.events, "add", add)
            channels = client.server.active_channels.values()
            gone = sockets[0].getsockname()
            next(each for each in channels if each.addr == gone).handle_close()
            raise LookupError
        add(*drafts)

    monkeypatch.setattr(contacts.events, "add", fail_once)
    with a_busy_writer(store):
        sockets += queued(client, *secretly(client, "gone@x.org", "bad@x.org"))
    assert received(sockets[1])[0] == 201
    assert client.emails() == ["bad@x.org"]
    assert caplog.text.count("POST /v1/contacts 201") == 1


def test_a_broken_transaction_confirms_nothing_that_was_in_it(served, monkeypatch):
    client = served()
    store, contacts = client.services.store, client.services.contacts

    def lose_it(self, number):
        store.run("ROLLBACK")  # as SQLite itself does when the disk is full
        raise contactapi.Unavailable() from sqlite3.OperationalError("disk I/O error")

    requests = secretly(client, "a@x.org", "b@x.org", "c@x.org")
    count, calls = contacts._count, []

    def second_loses_it(*args):
        calls.append(args)
        return lose_it(*args) if len(calls) == 2 else count(*args)

    monkeypatch.setattr(contacts, "_count", second_loses_it)
    with pytest.raises(contactapi.Unavailable), a_busy_writer(store):
        sockets = queued(client, *requests)
    assert [received(sock)[0] for sock in sockets] == [503] * 3
    assert client.emails() == []
    assert client.add("a@x.org")


def test_who_does_not_wait_for_the_answer_is_stored_and_logged(served, caplog):
    client = served()
    caplog.set_level(logging.INFO)
    with a_busy_writer(client.services.store):
        (sock,) = queued(client, *secretly(client, "gone@x.org"))
        hang_up(sock)
    until(lambda: client.emails() == ["gone@x.org"])
    until(lambda: "POST /v1/contacts 201" in caplog.text)


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


@pytest.mark.parametrize(
    ("method", "path", "grouped"),
    [
        ("POST", "/v1/contacts", True),
        ("PATCH", "/v1/contacts/con_x", True),
        ("DELETE", "/v1/companies/cmp_x/history", True),
        ("POST", "/v1/contacts.jsonl", False),  # may take long
        ("POST", "/v1/companies.csv/", False),
        ("GET", "/v1/contacts", False),
        ("OPTIONS", "/v1/contacts", False),
        ("POST", "/api/calls/create", False),  # tells a second of the same key so
    ],
)
def test_only_short_writes_run_in_the_writers_transaction(api, method, path, grouped):
    assert api.app.is_grouped(method, path) is grouped


def test_a_task_that_came_before_any_thread_is_taken_by_the_first():
    turns, taken = contactapi.Turns(), []
    turns.put("task")
    thread = threading.Thread(target=lambda: taken.append(turns.take()), daemon=True)
    thread.start()
    thread.join(10)
    assert taken == ["task"]
