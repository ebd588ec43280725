"""How long the server waits for whom, and how much it reads ahead."""

import time
import types

import pytest

import contactapi
from client import ADA
from processes import Wire, read_answer, request_bytes, until


@pytest.fixture
def late(monkeypatch):
    """Makes it so many seconds later for the server's look at its connections."""
    turned = types.SimpleNamespace(**vars(time))
    monkeypatch.setattr("waitress.server.time", turned)

    def turn(seconds):
        turned.time = lambda: time.time() + seconds

    return turn


def is_closed(wire):
    wire.socket.settimeout(3)
    try:
        return wire.ended()
    except TimeoutError:
        return False


def test_who_sends_a_body_at_less_than_16_kib_a_second_is_cut_off(served, late):
    client = served()
    whole = request_bytes("POST", "/v1/contacts", {**ADA, "pad": "x" * 60_000}, None)
    start = whole.index(b"\r\n\r\n") + 4
    with Wire(client.address[1]) as slow, Wire(client.address[1]) as fast:
        slow.send(whole[: start + 10])
        fast.send(whole[: start + 50_000])  # which take 3 s at that speed
        assert until(lambda: len(client.server.active_channels) == 2)
        time.sleep(0.2)
        late(32)
        assert is_closed(slow)
        fast.send(whole[start + 50_000 :])
        assert fast.read().status == 401


@pytest.mark.parametrize(("seconds", "closed"), [(120, False), (126, True)])
def test_a_connection_at_rest_lives_125_s(served, late, seconds, closed):
    client = served()
    with Wire(client.address[1]) as wire:
        wire.send(request_bytes("GET", "/healthz", key=None))
        assert wire.read().status == 200
        late(seconds)
        assert is_closed(wire) == closed


def test_what_a_connection_sends_ahead_waits_as_64_kib_at_most(served, monkeypatch):
    client, ahead = served(), []
    parse = contactapi.Channel.parse

    def note(channel):
        ahead.append(len(channel.unread))
        parse(channel)

    monkeypatch.setattr(contactapi.Channel, "parse", note)
    request = request_bytes("GET", "/healthz", key=None)
    count = 200_000 // len(request)
    with Wire(client.address[1]) as wire:
        wire.send(request * count)
        assert {read_answer(wire.stream).status for _ in range(count)} == {200}
    assert len(request) < max(ahead) <= 65536
