"""Who holds connections or answers for long takes nothing from the others."""

import contextlib
import json
import re
import resource
import select
import socket
from pathlib import Path

import pytest

from processes import request_bytes, until

LIMIT = 40  # connections, with so many descriptors that 100 stay for the rest


def few_descriptors():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT + 100, hard))


def crowd(port, count):
    """So many connections from another address of this machine, whose kernel takes
    little that they do not read."""
    socks = [socket.socket() for _ in range(count)]
    for sock in socks:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.bind(("127.0.0.2", 0))
        sock.connect(("127.0.0.1", port))
    return socks


def open_ones(socks):
    """Those that the server has not closed."""
    watch = select.poll()
    for sock in socks:
        watch.register(sock, select.POLLRDHUP)
    closed = {number for number, _ in watch.poll(0)}
    return [sock for sock in socks if sock.fileno() not in closed]


@pytest.mark.parametrize("opening", [b"", b"GET / HTTP/1.1\r\nX: "])
def test_who_takes_more_than_a_quarter_when_connections_are_short_loses_them(
    serve, opening
):
    server = serve(preexec_fn=few_descriptors, CONTACTAPI_TRUSTED_PROXY="10.255.255.1")
    socks = crowd(server.port, 3 * LIMIT)
    try:
        for sock in socks:
            with contextlib.suppress(OSError):  # it may be closed already
                sock.sendall(opening)
        for _ in range(20):
            assert server.ask("GET", "/healthz").status == 200
        assert until(lambda: len(open_ones(socks)) < LIMIT * 3 // 4)
    finally:
        for sock in socks:
            sock.close()


def test_a_trusted_proxy_may_hold_more_than_a_quarter(serve):
    server = serve(preexec_fn=few_descriptors, CONTACTAPI_TRUSTED_PROXY="127.0.0.2")
    socks = crowd(server.port, LIMIT * 3 // 4)
    try:
        for _ in range(20):
            assert server.ask("GET", "/healthz").status == 200
        assert len(open_ones(socks)) == len(socks)
    finally:
        for sock in socks:
            sock.close()


def page_of_six_megabytes(server):
    """The bytes of a request for it, once there is one."""
    lines = [
        json.dumps({"email": f"c{number}@example.com", "text": "x" * 60_000})
        for number in range(100)
    ]
    body, kind = "\n".join(lines).encode(), {"Content-Type": "application/jsonl"}
    assert server.ask("POST", "/v1/contacts.jsonl", body, kind).json["created"] == 100
    return request_bytes("GET", "/v1/contacts?page_size=100")


def test_answers_that_nobody_reads_are_held_in_bounded_memory(serve):
    """64 MiB in sum, and what a few take while they are made; all would be 240."""
    server = serve()
    page = page_of_six_megabytes(server)
    before = peak_memory(server)
    socks = crowd(server.port, 40)
    try:
        for sock in socks:
            sock.sendall(page)
        assert until(lambda: len(open_ones(socks)) < len(socks))
        assert server.ask("GET", "/healthz").status == 200
        assert peak_memory(server) < before + 120 * 2**20
    finally:
        for sock in socks:
            sock.close()


def peak_memory(server):
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) * 1024


def test_a_reader_of_less_than_1_kib_a_second_is_cut_off_and_a_faster_one_is_not(serve):
    server = serve()
    page = page_of_six_megabytes(server)
    with server.wire(receive_buffer=4096) as slow, server.wire() as fast:
        slow.send(page)
        fast.send(page)

        def is_cut_off():
            fast.socket.recv(256)
            return not open_ones([slow.socket])

        assert until(is_cut_off)
        assert open_ones([fast.socket])
