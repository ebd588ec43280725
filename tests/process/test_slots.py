"""An import leaves its place in every way in which it can end."""

import pytest

from processes import Server, big_contacts, request_bytes, until

KIND = ["Content-Type: application/jsonl"]
LINE = b'{"email": "ada@example.com"}\n'
IMPORT = request_bytes("POST", "/v1/contacts.jsonl", LINE, headers=KIND)
EXPECTED = request_bytes(
    "POST", "/v1/contacts.jsonl", LINE, headers=[*KIND, "Expect: 100-continue"]
)
LONG = request_bytes("GET", "/v1/contacts?page_size=100")
LAST = request_bytes("GET", "/healthz", headers=["Connection: close"])
CHUNKED = b"Content-Length: %d" % len(LINE), b"Transfer-Encoding: chunked"
ENDS = {
    "answered": IMPORT,
    "behind the last request of its connection": LAST + IMPORT,
    "two behind the last request": LAST + IMPORT + IMPORT,
    "half sent behind the last request": LAST + IMPORT[:-5],
    "behind an answer that is not read": LONG + LONG + IMPORT,
    "half sent": IMPORT[:-5],
    "a chunk that is none": IMPORT.replace(*CHUNKED),
    "of a kind that is not taken": IMPORT.replace(b"application/jsonl", b"text/html"),
    "before what cannot be read": IMPORT + b"nonsense\r\n\r\n",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("slots"))
    try:
        big_contacts(server.start())
        yield server
        server.stop()
    finally:
        server.kill()


def status_of_an_import(server):
    with server.wire() as wire:
        wire.send(IMPORT)
        return wire.read().status


@pytest.mark.parametrize("reads", [True, False], ids=["reads", "goes away"])
@pytest.mark.parametrize("sent", ENDS.values(), ids=ENDS)
def test_an_import_leaves_its_place_however_it_ends(server, sent, reads):
    for _ in range(2):  # as many as have a place
        with server.wire() as wire:
            wire.send(sent)
            if reads and sent != ENDS["half sent"]:
                wire.read()
    assert until(lambda: status_of_an_import(server) == 200, within=10)


def test_an_import_that_finds_no_place_does_not_count(serve):
    server = serve(CONTACTAPI_RATE_LIMIT="100/60")
    head, _, body = EXPECTED.partition(b"\r\n\r\n")
    with server.wire() as one, server.wire() as other:
        for wire in (one, other):
            wire.send(head + b"\r\n\r\n")
            assert wire.read().status == 100
        for _ in range(3):
            assert status_of_an_import(server) == 429
        for wire in (one, other):
            wire.send(body)
            assert wire.read().status == 200
    assert "r=97;" in server.ask("GET", "/v1/contacts").headers["ratelimit"]
