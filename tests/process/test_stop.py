"""What is left after SIGKILL; clean stops by SIGTERM and SIGINT."""

import contextlib
import http.client
import random
import signal
import time
from collections import Counter

import pytest

from processes import (
    Client,
    Cut,
    big_contacts,
    half,
    request_bytes,
    running,
    together,
    until,
)

# -- SIGKILL


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


# -- SIGTERM and SIGINT


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
