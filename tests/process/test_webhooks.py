"""Webhooks from a real process: the command line beside a running server, what a crash
may not lose, and a receiver that hangs."""

import contextlib
import json
import sqlite3
import threading

import pytest

from client import jsonl
from doubles import Receiver
from processes import environment, free_port, run, until


def webhooks(server, *arguments):
    ran = run(server.env, "webhooks", *arguments)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def create(server, url, *arguments):
    """The id of a new one."""
    return webhooks(server, "create", "--url", url, *arguments).split()[0]


def emails(receiver):
    return [one["data"]["email"] for one in receiver.told]


def add(server, *emails):
    for email in emails:
        answer = server.ask("POST", "/v1/contacts", {"email": email})
        assert answer.status == 201, answer


def states(server):
    rows = server.ask("GET", "/v1/deliveries?page_size=100").json["data"]
    return [row["state"] for row in rows]


def end_what_is_sent(server):
    """Of a server that is gone: its claims lapse now, not in 20 seconds."""
    with contextlib.closing(sqlite3.connect(server.database, timeout=60)) as db, db:
        db.execute("UPDATE delivery SET due_at = 1 WHERE state = 'sending'")
        db.execute("UPDATE endpoint SET due_at = 1, lapses_at = 1")


def test_a_running_server_heeds_the_command_line(serve, receiver):
    server = serve()
    wanted = ("--shape", "text", "--event", "contact.created")
    made = webhooks(server, "create", "--url", f"{receiver.url}/s3cret", *wanted)
    ref, secret = made.split()
    assert secret.startswith("whsec_")
    add(server, "a@x.org")
    assert until(lambda: len(receiver.requests) == 1)
    listed = webhooks(server, "list")
    assert listed == f"{ref}  default  text  127.0.0.1  contact.created  enabled"
    assert webhooks(server, "test", ref) == "200"
    assert len(receiver.requests) == 2
    assert webhooks(server, "update", ref, "--disable") == ref
    assert webhooks(server, "list").endswith("disabled by cli")
    add(server, "b@x.org")
    assert webhooks(server, "update", ref, "--enable", "--rotate").startswith(f"{ref} ")
    add(server, "c@x.org")
    assert until(lambda: len(receiver.requests) == 3)
    assert "c@" in receiver.told[-1]["text"]
    assert webhooks(server, "delete", ref) == f"deleted {ref}"
    assert webhooks(server, "list") == ""
    assert b"s3cret" not in server.output
    server.stop()


def test_what_a_command_does_is_told_by_the_server_that_runs(serve, receiver, tmp_path):
    server = serve()
    wanted = ("contact.created", "key.created", "key.revoked")
    create(server, receiver.url, *(f"--event={name}" for name in wanted))
    file = tmp_path / "people.jsonl"
    file.write_text(jsonl({"email": "a@x.org"}, {"email": "b@x.org"}))
    assert run(server.env, "import", str(file)).returncode == 0
    assert run(server.env, "keys", "create", "--type", "secret").returncode == 0
    told = ["contact.created", "contact.created", "key.created"]
    assert until(lambda: [one["type"] for one in receiver.told] == told)


@pytest.mark.parametrize(
    "arguments, status, words",
    [
        (("create", "--url", "ftp://x"), 2, "url must be"),
        (("create", "--url", "http://x", "--event", "x"), 2, "events are"),
        (("create", "--url", "http://x", "--workspace", "w"), 1, "no workspace w"),
        (("update", "whk_x"), 1, "no such webhook"),
        (("delete", "whk_x"), 1, "no such webhook"),
        (("test", "whk_x"), 1, "no such webhook"),
        ((), 2, "see --help"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, arguments, status, words):
    ran = run(environment(tmp_path), "webhooks", *arguments)
    assert (ran.returncode, ran.stdout) == (status, "")
    assert words in ran.stderr and ran.stderr.count("\n") == 1


def test_a_test_that_does_not_arrive_says_why(serve):
    server = serve()
    ref = create(server, f"http://127.0.0.1:{free_port()}/")
    ran = run(server.env, "webhooks", "test", ref)
    assert ran.returncode == 1 and "Connection refused" in ran.stderr
    with Receiver() as receiver:
        receiver.answers = [(404, b"", {})]
        webhooks(server, "update", ref, "--url", receiver.url)
        ran = run(server.env, "webhooks", "test", ref)
    assert (ran.returncode, ran.stdout) == (1, "404\n")


def test_killed_before_anything_is_sent_each_event_comes_after_the_next_start(serve):
    port = free_port()  # nobody listens there yet
    server = serve()
    create(server, f"http://127.0.0.1:{port}/")
    sent = [f"c{n}@x.org" for n in range(20)]
    add(server, *sent)
    server.kill()
    with Receiver(port) as receiver:
        server.start()
        end_what_is_sent(server)
        assert until(lambda: len(receiver.requests) >= 20)
        assert sorted(set(emails(receiver))) == sorted(sent)
        assert until(lambda: states(server) == ["delivered"] * 20)


def test_killed_while_it_is_sent_the_event_comes_again_with_the_same_id(
    serve, receiver
):
    server = serve()
    create(server, receiver.url)
    receiver.silent = True
    add(server, "a@x.org", "b@x.org")
    assert until(lambda: receiver.requests)
    server.kill()
    receiver.released.set()
    receiver.silent = False
    end_what_is_sent(server)
    server.start()
    assert until(lambda: len(receiver.requests) == 3)
    assert emails(receiver) == ["a@x.org", "a@x.org", "b@x.org"]
    refs = [headers["webhook-id"] for _, headers, _ in receiver.requests]
    assert refs[0] == refs[1] != refs[2]
    assert until(lambda: states(server) == ["delivered"] * 2)


def test_killed_after_the_answer_and_before_it_is_noted_nothing_is_lost(
    serve, receiver
):
    """The answer itself kills the server."""
    server = serve()
    create(server, receiver.url)

    def kill(handler):
        handler.send_response(200)
        server.kill()
        return 200, b"", {}

    receiver.answers = [kill]
    add(server, "a@x.org")
    assert until(lambda: server.process.poll() is not None)
    end_what_is_sent(server)
    server.start()
    assert until(lambda: states(server) == ["delivered"])
    assert emails(receiver) == ["a@x.org", "a@x.org"]


def test_killed_again_and_again_no_event_is_lost(serve, receiver):
    server = serve(CONTACTAPI_RATE_LIMIT="off")
    create(server, receiver.url)
    sent = []
    for turn in range(4):
        some = [f"c{turn}-{n}@x.org" for n in range(15)]
        add(server, *some)
        sent += some
        assert until(lambda t=turn: len(receiver.requests) >= 10 * (t + 1))
        server.kill()
        end_what_is_sent(server)
        server.start()
    assert until(lambda: set(emails(receiver)) == set(sent))
    assert until(lambda: states(server) == ["delivered"] * 60)
    assert len(receiver.requests) <= 60 + 4


def test_a_receiver_that_hangs_holds_up_no_other_no_request_and_no_stop(
    serve, receiver
):
    server = serve(CONTACTAPI_RATE_LIMIT="off")
    with Receiver() as hanging:
        hanging.silent = True
        for _ in range(3):
            create(server, hanging.url)
        create(server, receiver.url)
        add(server, *(f"c{n}@x.org" for n in range(30)))
        assert until(lambda: len(receiver.requests) == 30)
        assert len(hanging.requests) == 3
        server.stop()


def test_two_processes_on_one_database_send_each_event_once(serve, receiver):
    first = serve(CONTACTAPI_RATE_LIMIT="off")
    second = serve(first.folder, CONTACTAPI_RATE_LIMIT="off")
    create(first, receiver.url)
    for server in (first, second):
        thread = threading.Thread(
            target=add, args=(server, *(f"{server.port}-{n}@x.org" for n in range(40)))
        )
        thread.start()
        thread.join()
    assert until(lambda: len(receiver.requests) >= 80)
    assert until(lambda: set(states(first)) == {"delivered"})
    assert len(set(emails(receiver))) == len(receiver.requests) == 80


def test_an_import_of_many_is_sent_in_its_order(serve, receiver):
    server = serve(CONTACTAPI_RATE_LIMIT="off")
    create(server, receiver.url)
    sent = [f"c{n}@x.org" for n in range(500)]
    body = jsonl(*({"email": email} for email in sent)).encode()
    headers = {"Content-Type": "application/jsonl"}
    assert server.ask("POST", "/v1/contacts.jsonl", body, headers).status == 200
    assert until(lambda: len(receiver.requests) == 500)
    assert emails(receiver) == sent
    assert json.loads(receiver.requests[0][2])["workspace"] == "default"
