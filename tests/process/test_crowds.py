"""Many connections from one address do not close the server for another."""

import contextlib
import resource
import select
import socket

import pytest

from processes import until

LIMIT = 40  # connections, with so many descriptors that 100 stay for the rest


def few_descriptors():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT + 100, hard))


def crowd(port, count):
    """So many connections from another address of this machine."""
    return [
        socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0))
        for _ in range(count)
    ]


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
