"""Submissions and real processes: a crash, several at once, a start."""

import contextlib
import http.client
import json
import sqlite3
from contextlib import closing
from itertools import count

from client import DAY
from processes import Client, make_key, run, running, together, until

PAGE = {"Origin": "https://example.com"}
FORM = {**PAGE, "Content-Type": "application/x-www-form-urlencoded"}
LOST = (OSError, http.client.HTTPException)


def form_key(server, *settings):
    arguments = ("--type", "publishable", "--domain", "example.com")
    return make_key(server.env, *arguments, *settings)


def inbox(server, key=None):
    """All of them by what they were sent with."""
    answer = server.ask("GET", "/v1/submissions.jsonl")
    assert answer.status == 200
    rows = [json.loads(line) for line in answer.body.decode().splitlines()]
    return {row["fields"]["n"]: row for row in rows}


def a_visitor(server, key, name, kept):
    """For `running`: posts as pages do until the server is gone, and notes in `kept`
    what was acknowledged."""

    def posts(stopped):
        with contextlib.suppress(*LOST), Client(server.port, key=None) as client:
            for number in count():
                n = f"{name}-{number}"
                email = f"{name}{number % 20}@crash.example"
                if number % 2:
                    body = f"email={email}&n={n}".encode()
                    answer = client.ask("POST", f"/f/{key}", body, FORM)
                else:
                    body, signed = {"email": email, "n": n}, {"X-Api-Key": key}
                    answer = client.ask("POST", "/v1/contacts", body, PAGE | signed)
                assert answer.status in (200, 201), answer
                kept.append(n)

    return posts


def test_a_kill_loses_no_submission_that_was_acknowledged_and_leaves_none_by_half(
    serve,
):
    server = serve(CONTACTAPI_RATE_LIMIT="off")
    key, kept = form_key(server), [[] for _ in range(6)]
    visitors = [a_visitor(server, key, f"v{n}", mine) for n, mine in enumerate(kept)]
    with running(*visitors):
        assert until(lambda: all(len(mine) > 20 for mine in kept))
        server.kill()
    server.start()
    found = inbox(server)
    assert {n for mine in kept for n in mine} <= found.keys()
    assert {row["state"] for row in found.values()} == {"accepted"}
    contacts = {contact["id"] for contact in server.walk()}
    assert {row["contact"] for row in found.values()} == contacts
    after, told = "", []
    while True:
        page = server.ask("GET", f"/v1/events?limit=1000{after}").json
        told += [
            e["record"] for e in page["data"] if e["type"] == "submission.accepted"
        ]
        after = f"&after={page['next_after']}"
        if not page["has_more"]:
            break
    assert sorted(told) == sorted(row["id"] for row in found.values())
    checked = run(server.env, "check")
    assert checked.returncode == 0, checked.stdout


def test_a_double_click_at_two_processes_is_one_submission(serve):
    first = serve(CONTACTAPI_RATE_LIMIT="off")
    second = serve(folder=first.folder, CONTACTAPI_RATE_LIMIT="off")
    key, answers = form_key(first, "--existing", "keep"), []

    def click(server, n):
        with Client(server.port, key=None) as client:
            headers = {**PAGE, "X-Api-Key": key}
            body = {"email": "ada@example.com", "n": n}
            answers.append(client.ask("POST", "/v1/contacts", body, headers))

    for n in range(10):
        together(*(lambda s=s, n=n: click(s, n) for s in (first, second) * 4))
        told = {answer.body for answer in answers[-8:]}
        assert len(told) == 1 and {a.status for a in answers} == {201}
    assert sorted(inbox(first)) == list(range(10))
    assert first.ask("GET", "/v1/contacts").json["total"] == 1


def test_what_was_kept_long_enough_goes_at_a_start(serve):
    server = serve()
    key = form_key(server)
    with Client(server.port, key=None) as client:
        for n in range(3):
            body = f"email=a@x.org&n={n}".encode()
            assert client.ask("POST", f"/f/{key}", body, FORM).status == 200
    server.stop()
    with closing(sqlite3.connect(server.database)) as file, file:
        sql = "UPDATE submission SET created_at = created_at - ? WHERE id < 3"
        file.execute(sql, (366 * DAY * 1_000_000,))
    server.start()
    assert until(lambda: sorted(inbox(server)) == ["2"])
