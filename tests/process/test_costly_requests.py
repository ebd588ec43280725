"""Requests made to keep a server busy, beside plain ones."""

import os
from pathlib import Path

import pytest

from processes import Server, request_bytes

TICK = 1 / os.sysconf("SC_CLK_TCK")


def seconds_of(server):
    """What the processor has done for it so far."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2]
    return sum(map(int, fields.split()[11:13])) * TICK


def cost(server, data, times, answers):
    before = seconds_of(server)
    for _ in range(times):
        with server.wire() as wire:
            wire.send(data)
            assert wire.read().status in answers
    return seconds_of(server) - before


COSTLY = {
    "digits of a host": b"GET http://" + b"1" * 32_600 + b"/x HTTP/1.1\r\n\r\n",
    "digits of a host, no version": b"GET http://" + b"1" * 32_600 + b"/x x\r\n\r\n",
    "spaces before a value": b"GET /x HTTP/1.1\r\nX:" + b" " * 32_600 + b"a\r\n\r\n",
    "spaces and a control": b"GET /x HTTP/1.1\r\nX:" + b" " * 32_600 + b"\1\r\n\r\n",
    "thousands of fields": b"GET /x HTTP/1.1\r\n" + b"A:\r\n" * 8_000 + b"\r\n",
    "thousands of folds": b"GET /x HTTP/1.1\r\nA: b\r\n" + b" c\r\n" * 8_000 + b"\r\n",
    "chunks of one byte": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"1\r\nx\r\n" * 5_000
    + b"0\r\n\r\n",
    "a size without end": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"1" * 32_000,
    "many trailers": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    + b"A: b\r\n" * 6_000,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    one = Server(tmp_path_factory.mktemp("costly"))
    try:
        yield one.start()
    finally:
        one.kill()


@pytest.mark.parametrize("data", COSTLY.values(), ids=COSTLY)
def test_no_request_of_32_kib_costs_as_much_as_a_hundred_plain_ones(server, data):
    """The first cost 90 s of everybody's time."""
    plain = cost(server, request_bytes("GET", "/healthz", key=None), 200, (200,))
    assert cost(server, data, 20, (400, 404, 405)) < 10 * (plain + TICK)


def test_a_costly_request_line_does_not_hold_the_exit(serve):
    server = serve()
    with server.wire() as wire:
        wire.send(b"GET http://" + b"1" * 12_000 + b"/x HTTP/1.1\r\n\r\n")
        server.stop()
        assert wire.read().status == 404


def test_a_header_that_comes_byte_by_byte_is_answered_beside_others(server):
    with server.wire() as wire:
        for byte in request_bytes("GET", "/v1/contacts?" + "a" * 1000):
            wire.send(bytes([byte]))
        assert server.ask("GET", "/healthz").status == 200
        assert wire.read().status == 200
