"""Calls through Twilio from a real process: what a crash may and may not do.

The contract: a crash between the answer and the dialling loses no call; a call that may
or may not have reached Twilio when the crash came is marked `failed`, never dialled
again. Twilio is a double on 127.0.0.1 that holds each request against Twilio's own
description of its API.
"""

import contextlib
import sqlite3
import time

import pytest

from doubles import ACCOUNT, PUBLIC, TWILIO, TwilioDouble, call_back
from processes import STOP_WITHIN, environment, free_port, run, together, until

STALE = 20  # seconds after which a dialling that nobody finished was interrupted
QUIET = 3  # seconds without a second request that tell that none comes


def add_contact(server, email="ada@example.com"):
    return server.ask("POST", "/v1/contacts", {"email": email}).json["id"]


def call(server, contact, number="+12025550100"):
    """The id of a call that was acknowledged."""
    body = {"contact_id": contact, "phone_number": number}
    answer = server.ask("POST", "/api/calls/create", body)
    assert answer.status == 201, answer
    assert answer.json["data"]["status"] == "initiating"
    return answer.json["data"]["id"]


def show(server, ref):
    return server.ask("GET", f"/api/calls/{ref}").json["data"]


def status_of(server, ref):
    return show(server, ref)["status"]


def deliveries(server):
    """(how far it is, whether it was tried) of each delivery, as it is kept."""
    sql = "SELECT state, tries > 0 FROM delivery ORDER BY id"
    with contextlib.closing(sqlite3.connect(server.database, timeout=60)) as db:
        return [(state, bool(tried)) for state, tried in db.execute(sql)]


def turn_the_clock(server, seconds):
    """Puts what the outbox of a server that stands still is to do into the past."""
    shift = "due_at = due_at - :s"
    with contextlib.closing(sqlite3.connect(server.database, timeout=60)) as db, db:
        for sql in (
            f"UPDATE delivery SET {shift}",
            f"UPDATE endpoint SET {shift}, lapses_at = lapses_at - :s",
        ):
            db.execute(sql, {"s": seconds * 1_000_000})


def test_a_call_is_placed_once_and_its_callbacks_move_it(serve, twilio):
    server = serve(**twilio.settings)
    ref = call(server, add_contact(server))
    assert until(lambda: status_of(server, ref) == "queued", within=10)
    assert twilio.problems == []
    (form,) = twilio.placed
    assert form["To"] == "+12025550100" and form["From"] == "+15550001111"
    url = form["StatusCallback"]
    assert url == f"{PUBLIC}/api/calls/{ref}/twilio"
    steps = [("ringing", 1), ("completed", 3), ("in-progress", 2), ("completed", 3)]
    for status, number in steps:
        said = {"CallSid": f"CA{1:032x}", "CallStatus": status}
        said |= {"SequenceNumber": str(number), "CallDuration": "42"}
        assert call_back(url, server.port, said) == 200
        assert call_back(url, server.port, {**said, "x": "y"}, "wrong") == 403
    done = show(server, ref)
    assert (done["status"], done["duration"]) == ("completed", 42)
    time.sleep(QUIET)
    assert len(twilio.requests) == 1
    server.stop()


def test_killed_between_the_answer_and_the_dialling_a_call_is_placed_once(serve):
    port = free_port()  # nobody listens there yet
    server = serve(**TWILIO | {"TWILIO_API_BASE": f"http://127.0.0.1:{port}"})
    ref = call(server, add_contact(server))
    # A try that was refused leaves it waiting for the next one, a second later.
    assert until(lambda: deliveries(server) == [("waiting", True)], within=10)
    server.kill()
    assert deliveries(server) == [("waiting", True)]
    with TwilioDouble(port) as twilio:
        server.start()
        assert until(lambda: status_of(server, ref) == "queued", within=30)
        time.sleep(QUIET)
        assert (len(twilio.placed), twilio.problems) == (1, [])
        server.kill()
        server.start()
        time.sleep(QUIET)
        assert len(twilio.requests) == 1
        assert status_of(server, ref) == "queued"
        server.stop()


def test_killed_right_after_the_answer_no_call_is_lost_or_placed_twice(serve):
    port = free_port()
    server = serve(**TWILIO | {"TWILIO_API_BASE": f"http://127.0.0.1:{port}"})
    contact = add_contact(server)
    refs = {}
    for n in range(5):
        number = f"+1202555010{n}"
        refs[call(server, contact, number)] = number
        server.kill()
        if n < 4:
            server.start()
    turn_the_clock(server, STALE)
    with TwilioDouble(port) as twilio:
        server.start()
        shown = server.ask("GET", "/api/calls/list").json["data"]
        assert {one["id"] for one in shown["calls"]} == set(refs)

        def settled():
            states = [show(server, ref) for ref in refs]
            waiting = [one for one in states if one["status"] == "initiating"]
            return [] if waiting else states

        states = until(settled)
        assert states
        time.sleep(QUIET)
        placed = sorted(form["To"] for form in twilio.placed)
        queued = [refs[one["id"]] for one in states if one["status"] == "queued"]
        assert placed == sorted(queued)
        failed = [one for one in states if one["status"] != "queued"]
        assert all(one["status"] == "failed" and one["reason"] for one in failed)
        assert twilio.problems == []


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_dialling_cut_short_ends_as_failed_and_is_not_placed_again(
    serve, twilio, how
):
    twilio.silent = True
    server = serve(**twilio.settings)
    ref = call(server, add_contact(server))
    assert until(lambda: len(twilio.requests) == 1, within=10)
    if how == "killed":
        server.kill()
    else:
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < STOP_WITHIN
    twilio.silent = False
    turn_the_clock(server, STALE)
    server.start()
    assert until(lambda: status_of(server, ref) == "failed")
    assert show(server, ref)["reason"]
    time.sleep(QUIET)
    assert len(twilio.requests) == 1
    assert twilio.placed == []
    server.stop()


def test_canceled_after_hand_over_twilio_is_asked_to_end_the_call(serve, twilio):
    server = serve(**twilio.settings)
    ref = call(server, add_contact(server))
    assert until(lambda: status_of(server, ref) == "queued", within=10)
    answer = server.ask("PATCH", f"/api/calls/{ref}", {"status": "canceled"})
    assert answer.json["data"]["status"] == "canceled"
    assert until(lambda: twilio.ended == [f"CA{1:032x}"], within=10)
    assert twilio.problems == []


def test_two_processes_on_one_database_place_each_call_once(serve, twilio, tmp_path):
    folder = tmp_path / "shared"
    servers = [serve(folder, **twilio.settings) for _ in range(2)]
    contact = add_contact(servers[0])
    numbers = [f"+120255501{n:02}" for n in range(30)]

    def calls_through(server, some):
        def work():
            for number in some:
                call(server, contact, number)

        return work

    together(*map(calls_through, servers, (numbers[::2], numbers[1::2])))
    assert until(lambda: len(twilio.placed) >= 30, within=30)
    time.sleep(QUIET)
    assert sorted(form["To"] for form in twilio.placed) == numbers
    calls = servers[0].ask("GET", "/api/calls/list").json["data"]["calls"]
    assert {one["status"] for one in calls} == {"queued"}


def test_a_silent_twilio_slows_no_request(serve, twilio):
    twilio.silent = True
    server = serve(**twilio.settings)
    contact = add_contact(server)
    call(server, contact)
    assert until(lambda: len(twilio.requests) == 1, within=10)
    for n in range(20):
        call(server, contact, f"+120255501{n:02}")
        assert server.ask("GET", "/v1/contacts").status == 200
    assert len(twilio.requests) == 1  # all that time Twilio said nothing


@pytest.mark.parametrize(
    "given, missing",
    [
        (
            {"TWILIO_ACCOUNT_SID": ACCOUNT},
            ["TWILIO_AUTH_TOKEN", "TWILIO_VOICE_URL"],
        ),
        (
            {name: value for name, value in TWILIO.items() if "CONTACTAPI" not in name},
            ["CONTACTAPI_PUBLIC_URL", "CONTACTAPI_CALL_PREFIXES"],
        ),
    ],
    ids=["sid alone", "without public URL and prefixes"],
)
def test_half_of_twilio_stops_the_start_with_one_line(tmp_path, given, missing):
    env = environment(tmp_path, PORT=free_port(), **given)
    ended = run(env, "serve")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.count("\n") == 1
    assert all(name in ended.stderr for name in missing)
    assert ACCOUNT not in ended.stderr and "Traceback" not in ended.stderr
    assert not (tmp_path / "contacts.db").exists()
