"""HTTP on the wire: malformed, too large, unusual but right, slow."""

import contextlib
import json
import select
import socket
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from processes import (
    PATIENCE,
    SECRET,
    Server,
    assert_error,
    big_contacts,
    half,
    request_bytes,
    running,
    together,
)

UNKNOWN_KEY = "ck_secret_nobodyevermadethiskey00000000"

# -- what is malformed


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One server for all tests of the protocol; they only add contacts."""
    server = Server(tmp_path_factory.mktemp("shared"))
    try:
        yield server.start()
        server.stop()
    finally:
        server.kill()


def first_answer(server, data, timeout=PATIENCE):
    with server.wire(timeout=timeout) as wire:
        wire.send(data)
        return wire.read()


def test_tls_spoken_to_the_plain_port_is_closed_at_once(shared):
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 40
    with shared.wire() as wire:
        wire.send(hello)  # not even a whole one
        assert wire.ended()
    assert is_well(shared)


def is_well(server):
    return server.ask("GET", "/healthz").json == {"status": "ok"}


GET = b"GET /v1/contacts HTTP/1.1\r\nHost: x\r\n"
MALFORMED = {
    "a header without a colon": GET + b"no colon here\r\n\r\n",
    "a space before the colon": GET + b"X-Thing : 1\r\n\r\n",
    "a folded first header": b"GET /v1/contacts HTTP/1.1\r\n folded: 1\r\n\r\n",
    "a header without a name": GET + b": 1\r\n\r\n",
    "a space in a header's name": GET + b"X Thing: 1\r\n\r\n",
    "a non-ASCII header name": GET + "X-Ä: 1\r\n\r\n".encode(),
    "a control character in a header": GET + b"X-Thing: a\x01b\r\n\r\n",
    "a NUL in a header": GET + b"X-Thing: a\x00b\r\n\r\n",
    "a bare CR in a header": GET + b"X-Thing: a\rb\r\n\r\n",
    "a bare LF in a header": GET + b"X-Thing: a\nb\r\n\r\n",
    "a lower-case method": b"get /v1/contacts HTTP/1.1\r\nHost: x\r\n\r\n",
    "no method": b" /v1/contacts HTTP/1.1\r\nHost: x\r\n\r\n",
    "raw bytes in the path": GET.replace(b"contacts", b"\xff\xfe") + b"\r\n",
    "no path": b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
    "one word": b"nonsense\r\n\r\n",
    "words too many": b"GET /v1/contacts and more HTTP/1.1\r\nHost: x\r\n\r\n",
    "a broken absolute URI": b"GET http://[::1/v1/contacts HTTP/1.1\r\nHost: x\r\n\r\n",
}
POST = b"POST /v1/contacts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BAD_LENGTHS = {
    "twice, not the same": b"Content-Length: 17\r\nContent-Length: 18\r\n",
    "a list": b"Content-Length: 17, 17\r\n",
    "not a number": b"Content-Length: seventeen\r\n",
    "empty": b"Content-Length:\r\n",
    "negative": b"Content-Length: -17\r\n",
    "signed": b"Content-Length: +17\r\n",
    "with an underscore": b"Content-Length: 1_7\r\n",
    "with other digits": "Content-Length: ١٧\r\n".encode(),
    "a fraction": b"Content-Length: 17.0\r\n",
    "hexadecimal": b"Content-Length: 0x11\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_malformed_http_is_a_json_400(shared, data):
    assert_error(first_answer(shared, data), 400, 431, code="invalid_request")
    assert is_well(shared)


@pytest.mark.parametrize("length", BAD_LENGTHS.values(), ids=BAD_LENGTHS)
def test_an_unreadable_content_length_is_a_json_400(shared, length):
    data = POST + length + b"\r\n" + b'{"email":"a@x.y"}'
    assert_error(first_answer(shared, data), 400, code="invalid_request")
    assert is_well(shared)


@pytest.mark.parametrize("length", [b"9" * 10, b"9" * 30, b"9" * 4000], ids=len)
def test_an_enormous_content_length_is_a_json_413(shared, length):
    data = POST + b"Content-Length: " + length + b"\r\n\r\n"
    assert_error(first_answer(shared, data), 413, code="payload_too_large")


CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
BAD_CHUNKS = {
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "a size that is no number": b"five\r\nhello\r\n0\r\n\r\n",
    "a negative size": b"-5\r\nhello\r\n0\r\n\r\n",
    "a signed size": b"+5\r\nhello\r\n0\r\n\r\n",
    "a size with a prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "more than the size says": b"5\r\nhello, world\r\n0\r\n\r\n",
    "a control character in an extension": b"5;a=\x01\r\nhello\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("data", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_a_malformed_chunk_is_a_json_400(shared, data):
    assert_error(first_answer(shared, CHUNKED + data), 400, code="invalid_request")
    assert is_well(shared)


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"x"])
def test_an_unknown_transfer_coding_is_a_json_error(shared, coding):
    data = POST + b"Transfer-Encoding: " + coding + b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    assert_error(first_answer(shared, data), 400, 501)
    assert is_well(shared)


def test_length_and_chunks_together_smuggle_nothing(shared):
    inner = request_bytes("POST", "/v1/contacts", {"email": "smuggled@x.org"})
    head = (
        POST
        + f"Authorization: Bearer {SECRET}\r\nTransfer-Encoding: chunked\r\n".encode()
    )
    data = (
        head + b"Content-Length: %d\r\n\r\n" % (len(inner) + 5) + b"0\r\n\r\n" + inner
    )
    with shared.wire() as wire:
        wire.send(data)
        assert_error(wire.read(), 400)
        assert wire.ended()
    assert shared.ask("GET", "/v1/contacts?email=smuggled@x.org").json["data"] == []


@pytest.mark.parametrize(
    "data",
    [
        GET + b"X-Long: " + b"x" * 1_000_000 + b"\r\n\r\n",
        GET + b"X-Thing: 1\r\n" * 100_000 + b"\r\n",
        b"GET /v1/contacts?q=" + b"x" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        GET + b"X-Endless: " + b"x" * 1_000_000,
    ],
    ids=["one long header", "many headers", "a long path", "a header without end"],
)
def test_a_head_that_is_too_large_is_a_json_error(shared, data):
    assert_error(first_answer(shared, data), 400, 414, 431)
    assert is_well(shared)


@pytest.mark.parametrize("length", [8_192, 60_000])
def test_a_very_long_key_is_a_json_error(shared, length):
    for header in ("Authorization: Bearer ck_secret_", "X-Api-Key: ck_secret_"):
        data = request_bytes(
            "GET", "/v1/contacts", key=None, headers=[header + "a" * length]
        )
        assert_error(first_answer(shared, data), 400, 401, 431)


# -- bodies over the limit

LIMIT = 65_536


def test_a_body_of_exactly_the_limit_is_taken_and_one_byte_more_refused(shared):
    def body(length):
        start = b'{"email":"limit@x.org","pad":"'
        return start + b"x" * (length - len(start) - 2) + b'"}'

    assert len(body(LIMIT)) == LIMIT
    headers = {"Content-Type": "application/json"}
    assert shared.ask("POST", "/v1/contacts", body(LIMIT), headers).status == 201
    answer = shared.ask("POST", "/v1/contacts", body(LIMIT + 1), headers)
    assert_error(answer, 413, code="payload_too_large")


@pytest.mark.parametrize(
    "line",
    [
        b"POST /v1/contacts HTTP/1.1",
        b"POST /no/such/path HTTP/1.1",
        b"POST /healthz HTTP/1.1",
        b"PUT /v1/contacts HTTP/1.1",
        b"POST /v1/companies/ HTTP/1.1",
        b"POST /v1/contacts.csv HTTP/1.1",
        b"GET /v1/contacts HTTP/1.1",
        b"DELETE /v1/contacts/x HTTP/1.1",
    ],
    ids=bytes.decode,
)
def test_a_large_length_is_refused_before_any_of_the_body_is_sent(shared, line):
    data = line + b"\r\nHost: x\r\nContent-Length: 65537\r\n\r\n"
    assert_error(first_answer(shared, data), 413, code="payload_too_large")


def test_a_large_length_is_refused_instead_of_being_asked_for(shared):
    data = POST + b"Expect: 100-continue\r\nContent-Length: 65537\r\n\r\n"
    assert_error(first_answer(shared, data), 413, code="payload_too_large")


def test_a_large_body_that_is_sent_all_the_same_is_a_413(shared):
    data = POST + b"Content-Length: 3000000\r\n\r\n" + b"x" * 3_000_000
    assert_error(first_answer(shared, data), 413, code="payload_too_large")
    assert is_well(shared)


def test_reads_go_on_while_another_process_holds_the_database(serve):
    server = serve()
    path = server.folder / "contacts.db"
    foreign = sqlite3.connect(path, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(20) as pool:
        writes = [
            pool.submit(server.ask, "POST", "/v1/contacts", {"email": f"a{n}@x.org"})
            for n in range(20)
        ]
        time.sleep(0.5)
        for _ in range(5):
            assert server.ask("GET", "/healthz").status == 200
            assert server.ask("GET", "/v1/contacts").json["total"] == 0
        assert not any(write.done() for write in writes)
        foreign.execute("ROLLBACK")
        assert {write.result().status for write in writes} == {201}
    foreign.close()


def test_a_request_that_came_behind_a_waiting_one_is_answered_at_a_stop(serve):
    server = serve()
    foreign = sqlite3.connect(server.folder / "contacts.db", isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    with server.wire() as wire:
        wire.send(request_bytes("POST", "/v1/contacts", {"email": "a@x.org"}))
        time.sleep(0.3)
        wire.send(request_bytes("GET", "/v1/contacts"))
        time.sleep(0.3)
        server.signal()
        time.sleep(0.3)
        foreign.execute("ROLLBACK")
        assert wire.read().status == 201
        assert wire.read().json["total"] == 1
    assert server.exit_status() == 0
    foreign.close()


def test_a_stop_ends_long_searches_and_exits_with_0(serve):
    server = serve(CONTACTAPI_RATE_LIMIT="off")
    lines = b"".join(
        json.dumps({"email": f"a{n}@x.org", "text": "x" * 500}).encode() + b"\n"
        for n in range(60_000)
    )
    headers = {"Content-Type": "application/jsonl"}
    assert server.ask("POST", "/v1/contacts.jsonl", lines, headers).status == 200
    path = "/v1/contacts?filter%5Bx%220%5D=1"  # a name that no index helps to find
    wires = [server.wire() for _ in range(12)]
    for wire in wires:
        wire.send(request_bytes("GET", path))
    time.sleep(0.3)
    server.signal()
    assert server.exit_status() == 0
    for wire in wires:
        wire.close()


def test_a_client_that_sends_twenty_megabytes_before_it_listens_hears_413(shared):
    data = POST + b"Content-Length: 20000000\r\n\r\n" + b"x" * 20_000_000
    for _ in range(3):
        assert_error(first_answer(shared, data), 413, code="payload_too_large")


def test_a_chunked_body_is_refused_once_it_is_too_large(shared):
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    with shared.wire() as wire:  # one chunk over the limit, the end not sent
        wire.send(CHUNKED + chunk * 17)
        assert_error(wire.read(), 413, code="payload_too_large")
    with shared.wire() as wire:  # one chunk that announces too much
        wire.send(CHUNKED + b"FFFFFFFF\r\n" + b"x" * 70_000)
        assert_error(wire.read(), 413, code="payload_too_large")


def test_a_chunked_body_without_end_is_refused_at_the_limit(shared):
    sent = 0
    with shared.wire() as wire:
        wire.send(CHUNKED)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent < 50_000_000 and not select.select([wire.socket], [], [], 0)[0]:
                wire.socket.sendall((b"1000\r\n" + b"x" * 4096 + b"\r\n") * 16)
                sent += 65_536
        assert sent < 50_000_000, "50 MB were taken"
        assert_error(wire.read(), 413, code="payload_too_large")
    assert is_well(shared)


def test_chunks_of_nothing_but_extensions_are_refused(shared):
    sent = 0
    with shared.wire() as wire:
        wire.send(CHUNKED)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent < 50_000_000 and not select.select([wire.socket], [], [], 0)[0]:
                wire.socket.sendall(b"1;" + b"e" * 65_536)
                sent += 65_536
        assert sent < 50_000_000, "50 MB were taken"
        assert_error(wire.read(), 400, 413, 431)
    assert is_well(shared)


def test_a_413_can_be_read_by_a_page_of_another_origin(shared):
    origin = b"Origin: https://example.com\r\n"
    for data in (
        POST + origin + b"Content-Length: 65537\r\n\r\n",
        POST
        + origin
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"11000\r\n"
        + b"x" * 0x11000,
    ):
        answer = first_answer(shared, data)
        assert_error(answer, 413, code="payload_too_large")
        allowed = answer.headers["access-control-allow-origin"]
        assert allowed in ("*", "https://example.com")
        assert "origin" in answer.headers["vary"].lower()
        assert "X-Request-Id" in answer.headers["access-control-expose-headers"]


# -- what is unusual but right


def test_http_1_0_is_answered_and_the_connection_closed(shared):
    with shared.wire() as wire:
        wire.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        answer = wire.read()
        assert (answer.status, answer.json) == (200, {"status": "ok"})
        assert "transfer-encoding" not in answer.headers
        assert wire.ended()
    with shared.wire() as wire:
        body = {"email": "http10@x.org"}
        wire.send(request_bytes("POST", "/v1/contacts", body, version="1.0"))
        assert wire.read().json["email"] == "http10@x.org"
        assert wire.ended()
    answer = first_answer(shared, b"GET /v1/contacts HTTP/1.0\r\n\r\n")
    assert_error(answer, 401, code="unauthorized")


def test_pipelined_requests_are_answered_in_order(shared):
    with shared.wire() as wire:
        wire.send(
            request_bytes("POST", "/v1/contacts", {"email": "pipe@x.org", "n": 1})
            + request_bytes("GET", "/v1/contacts?email=pipe@x.org")
            + request_bytes("GET", "/v1/contacts/con_nothing")
            + request_bytes("POST", "/v1/contacts", {"email": "pipe@x.org", "n": 2})
            + request_bytes("GET", "/healthz", headers=["Connection: close"])
        )
        answers = [wire.read() for _ in range(5)]
        assert wire.ended()
    assert [answer.status for answer in answers] == [201, 200, 404, 201, 200]
    assert [contact["n"] for contact in answers[1].json["data"]] == [1]
    assert answers[3].json["n"] == 2
    assert answers[4].json == {"status": "ok"}
    assert len({answer.headers["x-request-id"] for answer in answers}) == 5


def test_a_keep_alive_connection_survives_errors_of_the_request(shared):
    with shared.wire() as wire:
        for data, status in (
            (request_bytes("GET", "/v1/contacts", key=None), 401),
            (request_bytes("GET", "/nowhere"), 404),
            (request_bytes("PUT", "/v1/contacts", {"email": "a@x.org"}), 405),
            (request_bytes("POST", "/v1/contacts", b"{"), 400),
            (request_bytes("GET", "/v1/contacts"), 200),
        ):
            wire.send(data)
            assert wire.read().status == status


def test_expect_100_continue_is_asked_for_the_body(shared):
    data = request_bytes(
        "POST",
        "/v1/contacts",
        {"email": "expect@x.org"},
        headers=["Expect: 100-continue"],
    )
    head, body = data.split(b"\r\n\r\n")
    with shared.wire() as wire:
        wire.send(head + b"\r\n\r\n")
        assert wire.read().status == 100
        wire.send(body)
        answer = wire.read()
        assert (answer.status, answer.json["email"]) == (201, "expect@x.org")


def test_a_chunked_body_is_taken(shared):
    body = json.dumps({"email": "chunked@x.org", "name": "Zoë"}).encode()
    chunks = b"".join(b"%x;ext=1\r\n%c\r\n" % (1, byte) for byte in body)
    data = POST + f"Authorization: Bearer {SECRET}\r\n".encode()
    data += (
        b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nX-Trailer: 1\r\n\r\n"
    )
    answer = first_answer(shared, data)
    assert (answer.status, answer.json["name"]) == (201, "Zoë")


def test_a_trailing_slash_is_the_same_path(shared):
    made = shared.ask("POST", "/v1/contacts/", {"email": "slash@x.org"})
    assert made.status == 201
    url = f"/v1/contacts/{made.json['id']}"
    assert shared.ask("GET", url + "/").json == shared.ask("GET", url).json
    assert shared.ask("GET", "/v1/contacts/?page_size=1").json["page_size"] == 1
    assert shared.ask("GET", "/healthz/").json == {"status": "ok"}
    assert_error(shared.ask("PUT", "/v1/contacts/", {}), 405, code="method_not_allowed")


@pytest.mark.parametrize(
    "path", ["/healthz", "/v1/contacts", "/v1/contacts/con_x", "/nowhere"]
)
def test_head_is_get_without_the_body(shared, path):
    got = shared.ask("GET", path)
    with shared.wire() as wire:
        wire.send(request_bytes("HEAD", path))
        head = wire.read(head=True)
        wire.send(request_bytes("GET", "/healthz"))
        assert wire.read().json == {"status": "ok"}
    assert head.status == got.status
    for name in ("content-type", "content-length", "cache-control"):
        assert head.headers[name] == got.headers[name]


def test_an_absolute_request_uri_is_its_path(shared):
    for host in (f"127.0.0.1:{shared.port}", "elsewhere.example"):
        data = request_bytes("GET", f"http://{host}/v1/contacts?page_size=1")
        assert first_answer(shared, data).json["page_size"] == 1


@pytest.mark.parametrize(
    "path",
    [
        "/v1/contacts/%00",
        "/v1/contacts/con_%00",
        "/v1/contacts/con_01h455vb4pex5vsknk084sn02q%00",
        "/v1/contacts/con_01h455vb4pex5vsknk084sn02q%0a",
        "/v1/contacts/%ff%fe",
        "/v1/contacts/%ed%a0%80",
        "/v1/contacts/%F0%9F%92%A9",
        "/v1/contacts/%zz",
        "/v1/contacts/%",
        "/v1/contacts/..%2f..%2fetc%2fpasswd",
        "/v1/contacts/../../etc/passwd",
        "/v1/contacts/" + "0" * 20_000,
        "/v1/contacts/con_" + "9" * 26,
        "/v1/contacts/con_8zzzzzzzzzzzzzzzzzzzzzzzzz",
        "/v1/companies/con_01h455vb4pex5vsknk084sn02q",
        "/v1/contacts/00000000-0000-0000-0000-00000000000",
        "//nothing",
        "/v1//contacts",
        "/%76%31/contacts/x",
        "/v1/contacts/x;y=1",
    ],
    ids=ascii,
)
def test_a_path_of_nothing_is_a_json_404(shared, path):
    answer = first_answer(shared, request_bytes("GET", path))
    assert_error(answer, 404, code="not_found")
    assert is_well(shared)


@pytest.mark.parametrize(
    "query",
    [
        "page=%00",
        "page=%ff",
        "page_size=%zz",
        "email=%ff",
        "q=%ff",
        "page=1%0a",
        "page=١",
    ],
)
def test_a_query_that_cannot_be_read_is_a_json_400(shared, query):
    path = f"/v1/contacts?{query}".encode().decode("latin-1")
    answer = first_answer(shared, request_bytes("GET", path))
    assert_error(answer, 400)
    assert is_well(shared)


@pytest.mark.parametrize(
    "method",
    ["PUT", "TRACE", "CONNECT", "PROPFIND", "POTATO", "G@T", "DELETE", "A" * 5_000],
)
def test_another_method_is_a_json_405(shared, method):
    answer = first_answer(shared, request_bytes(method, "/v1/contacts"))
    assert_error(answer, 400, 405)
    if answer.status == 405:
        assert {"GET", "HEAD", "POST"} <= set(answer.headers["allow"].split(", "))
    assert is_well(shared)


@pytest.mark.parametrize(
    "key", ["\xe9\xff", "ck_secret_\x80\x81", "ck_secret_ two words", ""]
)
def test_a_key_of_strange_bytes_is_a_401(shared, key):
    bare = first_answer(shared, request_bytes("GET", "/v1/contacts", key=None))
    for header in (f"Authorization: Bearer {key}", f"X-Api-Key: {key}"):
        data = request_bytes("GET", "/v1/contacts", key=None, headers=[header])
        answer = first_answer(shared, data)
        assert_error(answer, 401, code="unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.body == bare.body


def test_the_refusals_come_in_the_contracts_order(shared):
    large = b"Content-Length: 65537\r\n\r\n"
    small = b"Content-Length: 1\r\n\r\n{"
    wrong = f"Authorization: Bearer {UNKNOWN_KEY}\r\n".encode()
    right = f"Authorization: Bearer {SECRET}\r\nContent-Type: text/plain\r\n".encode()
    for head, status in (
        (b"PUT /nowhere HTTP/1.1\r\n" + wrong + large, 413),
        (b"PUT /nowhere HTTP/1.1\r\n" + wrong + small, 404),
        (b"PUT /v1/contacts HTTP/1.1\r\n" + wrong + small, 405),
        (b"POST /v1/contacts HTTP/1.1\r\n" + wrong + small, 401),
        (b"POST /v1/contacts HTTP/1.1\r\n" + right + small, 415),
        (b"PATCH /v1/contacts/con_x HTTP/1.1\r\n" + right + small, 415),
    ):
        assert_error(first_answer(shared, head), status)


# -- clients that are slow, or gone


def test_slow_clients_do_not_stop_the_others_and_are_answered(shared):
    slow, answers = 40, []
    data = request_bytes("GET", "/healthz")

    def trickle():
        with shared.wire() as wire:
            for byte in data:
                wire.send(bytes([byte]))
                time.sleep(0.03)
            answers.append(wire.read().json)

    def others(stopped):
        while not stopped.wait(0.02):
            assert shared.ask("GET", "/v1/contacts").status == 200
            assert (
                shared.ask("POST", "/v1/contacts", {"email": "fast@x.org"}).status
                == 201
            )

    with running(others, others):
        together(*[trickle] * slow)
    assert answers == [{"status": "ok"}] * slow


def test_clients_that_stop_in_the_middle_do_not_stop_the_others(shared):
    post = request_bytes("POST", "/v1/contacts", {"email": "never@x.org"})
    with contextlib.ExitStack() as stack:
        for n in range(60):
            wire = stack.enter_context(shared.wire())
            wire.send(half(post, ("first byte", "head", "body")[n % 3])[0])
        for n in range(20):
            answer = shared.ask("POST", "/v1/contacts", {"email": f"other{n}@x.org"})
            assert answer.status == 201
    assert shared.ask("GET", "/v1/contacts?email=never@x.org").json["data"] == []


def test_clients_that_do_not_read_do_not_stop_the_others(serve):
    server = serve()
    big_contacts(server)
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            wire = stack.enter_context(server.wire(receive_buffer=16_384))
            wire.send(request_bytes("GET", "/v1/contacts?page_size=100") * 2)
        for n in range(20):
            answer = server.ask("POST", "/v1/contacts", {"email": f"other{n}@x.org"})
            assert answer.status == 201
    assert server.ask("GET", "/v1/contacts").json["total"] == 80
    server.stop()


def test_many_connections_at_once_are_all_answered(shared):
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(shared.wire()) for _ in range(80)]
        for wire in wires:
            wire.send(request_bytes("GET", "/v1/contacts?page_size=1"))
        assert {wire.read().status for wire in wires} == {200}


def test_a_client_that_closes_its_side_once_it_has_asked_gets_its_answer(serve):
    server = serve()
    post = request_bytes("POST", "/v1/contacts", {"email": "half@example.com"})
    asked = {
        201: post,
        200: request_bytes("GET", "/v1/contacts?q=half"),
        404: request_bytes("GET", "/v1/contacts/con_1"),
    }
    for status, request in asked.items():
        for _ in range(5):
            with server.wire() as wire:
                wire.send(request)
                wire.socket.shutdown(socket.SHUT_WR)
                assert wire.read().status == status
                assert wire.ended()
