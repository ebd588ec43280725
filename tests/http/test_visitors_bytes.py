"""How much a visitor may send: the windows of bytes."""

import itertools
import json

import pytest

from client import PAGE, failure
from contactapi import SlidingWindow

FULL = 16_384  # bytes of the largest body
HOUR = 3600
BUSY = (429, "rate_limit", None)


NUMBERS = itertools.count()


def body(size):
    """Never the same twice, which would not be kept."""
    number = f"{next(NUMBERS):09}"
    empty = json.dumps({"email": "ada@example.com", "a": number})
    filling = "x" * (size - len(empty))
    return json.dumps({"email": "ada@example.com", "a": number + filling})


def send(client, key, size=FULL, address="203.0.113.1", **options):
    return client.post(
        body(size).encode(),
        key=key,
        headers={**PAGE, "X-Forwarded-For": address},
        **options,
    )


@pytest.fixture
def client(make):
    return make(CONTACTAPI_TRUSTED_PROXY="203.0.113.1", CONTACTAPI_RATE_LIMIT="5000/60")


@pytest.fixture
def spent(client):
    """A key with which one visitor has sent 1 MiB just now."""
    key = client.key("publishable")
    for _ in range(64):
        assert send(client, key).status_int == 201
    return key


def test_a_visitor_sends_1_mib_an_hour(client, spent):
    answer = send(client, spent, 60)
    assert failure(answer) == BUSY
    wait = int(answer.headers["Retry-After"])
    assert HOUR <= wait <= HOUR + 36 + 1
    client.turn(wait - 40)
    assert failure(send(client, spent, 60)) == BUSY
    client.turn(40)
    assert send(client, spent, 60).status_int == 201


def test_retry_after_waits_for_as_many_bytes_as_were_sent(client):
    key = client.key("publishable")
    for _ in range(63):
        assert send(client, key, FULL).status_int == 201
        client.turn(40)
    for _ in range(16):
        assert send(client, key, 1024).status_int == 201
    little, much = (send(client, key, size) for size in (1024, FULL))
    assert {failure(little), failure(much)} == {BUSY}
    wait = int(much.headers["Retry-After"])
    client.turn(wait)
    assert send(client, key).status_int == 201


def test_a_refused_post_counts_neither_as_bytes_nor_as_a_request(client, spent):
    before = send(client, spent, 60).headers["RateLimit"]
    for _ in range(5):
        answer = send(client, spent)
        assert failure(answer) == BUSY and answer.headers["RateLimit"] == before
    count = client.get("/v1/events?limit=1000").json["data"]
    assert len([e for e in count if e["type"].startswith("submission.")]) == 64


def test_visitors_and_keys_have_windows_of_their_own(client, spent):
    other = client.key("publishable")
    assert send(client, other).status_int == 201
    assert send(client, spent, address="203.0.113.2").status_int == 201
    assert client.post(json.loads(body(FULL))).status_int == 201


def test_a_visitor_is_a_64_of_ipv6(client):
    key = client.key("publishable")
    for number in range(64):
        address = f"2001:db8::{number:x}"
        assert send(client, key, address=address).status_int == 201
    assert failure(send(client, key, address="2001:db8::ffff")) == BUSY
    assert send(client, key, address="2001:db8:0:1::").status_int == 201


def test_the_bytes_of_one_form_are_64_mib_a_day(client):
    """The same window, smaller, so that the test need not send as much."""
    gate = client.app.gate
    assert (gate.bytes_by_form.limit, gate.bytes_by_form.seconds) == (2**26, 86_400)
    gate.bytes_by_form = SlidingWindow(4 * FULL, 86_400, client.ticker)
    key = client.key("publishable")
    for number in range(4):
        assert send(client, key, address=f"198.51.100.{number}").status_int == 201
    answer = send(client, key, address="198.51.100.9")
    assert failure(answer) == BUSY
    assert 86_400 <= int(answer.headers["Retry-After"]) <= 86_400 * 1.01 + 1
    visitor = gate.bytes_by_visitor.standing(f"{client.ref(key)} 198.51.100.9")
    assert visitor.remaining == 2**20
    client.turn(86_400 * 1.01 + 1)
    assert send(client, key, address="198.51.100.9").status_int == 201


@pytest.mark.parametrize(
    "raw, status",
    [
        (b"{}", 400),
        (b"not JSON", 400),
        (b'{"email":"none"}', 400),
        (b"x" * (FULL + 1), 413),
    ],
)
def test_every_other_fault_comes_first(client, spent, raw, status):
    headers = {**PAGE, "X-Forwarded-For": "203.0.113.1"}
    assert client.post(raw, key=spent, headers=headers).status_int == status


def test_without_limits_bytes_are_not_counted(free):
    key = free.key("publishable")
    for _ in range(66):
        assert send(free, key).status_int == 201
