"""What the server's parser takes, refuses and holds, and that its work is linear."""

import random
import sys

import pytest

from client import seconds
from contactapi import (
    MOST_FIELDS,
    InvalidRequest,
    Parser,
    PayloadTooLarge,
)

KIB = 1024


class App:
    """Takes bodies of so many bytes."""

    def __init__(self, limit):
        self.limit = limit

    def expect(self, environ, length):
        if length > self.limit:
            raise self.too_large(environ)
        return self.limit

    def too_large(self, environ):
        return PayloadTooLarge()


def parser(limit=65536):
    return Parser(App(limit), {})


def parse(data, pieces=None, limit=65536):
    """The requests in these bytes, which come in pieces of that many (all at once)."""
    requests, request = [], parser(limit)
    for start in range(0, len(data), pieces or len(data)):
        piece = data[start : start + (pieces or len(data))]
        while piece:
            piece = piece[request.received(piece) :]
            if request.completed:
                requests += [] if request.empty else [request]
                request = parser(limit)
    return requests


def one(data, **options):
    (request,) = parse(data, **options)
    return request


def refusal(data, **options):
    """The status of the first refusal."""
    return parse(data, **options)[0].error.status


def body_of(request):
    return request.environ["wsgi.input"].read()


def path_of(request):
    return request.environ["PATH_INFO"]


def headers_of(request):
    """As the environ has them, and the length of the body if it has one."""
    names = [name for name in request.environ if name.startswith("HTTP_")]
    headers = {name.removeprefix("HTTP_"): request.environ[name] for name in names}
    length = request.environ.get("CONTENT_LENGTH")
    return {**headers, "CONTENT_LENGTH": length} if length else headers


def get(line=b"GET / HTTP/1.1", *fields):
    return b"\r\n".join([line, *fields, b"", b""])


def chunked(body):
    return get(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked") + body


# -- what is taken


@pytest.mark.parametrize(
    "target, path, query",
    [
        ("/v1/contacts", "/v1/contacts", ""),
        ("/v1/contacts?page=2&q=a?b", "/v1/contacts", "page=2&q=a?b"),
        ("/a%20b%C3%BC%", "/a b\xc3\xbc%", ""),
        ("/ü?q=ü", "/\xc3\xbc", "q=\xc3\xbc"),
        ("/a#fragment?no=query", "/a", ""),
        ("//two//slashes", "//two//slashes", ""),
        ("/http://elsewhere/", "/http://elsewhere/", ""),
        ("http://elsewhere.example/v1?a=b", "/v1", "a=b"),
        ("HTTPS://user-less:8080?a=b", "/", "a=b"),
        ("http://[2001:db8::1]:80/v1", "/v1", ""),
    ],
)
def test_an_address_is_its_path_and_its_query(target, path, query):
    request = one(get(f"GET {target} HTTP/1.1".encode()))
    assert (request.error, path_of(request)) == (None, path)
    assert request.environ["QUERY_STRING"] == query


def test_fields_lose_their_outer_space_and_their_spelling():
    request = one(
        get(b"GET / HTTP/1.1", b"x-Api-KEY: \t a b\t ", b"Empty:", b"U: \xe9")
    )
    assert headers_of(request) == {"X_API_KEY": "a b", "EMPTY": "", "U": "\xe9"}


def test_a_repeated_field_is_a_list():
    request = one(get(b"GET / HTTP/1.1", b"X-A: 1", b"x-b: 2", b"X-a: 3"))
    assert headers_of(request) == {"X_A": "1, 3", "X_B": "2"}


def test_a_field_with_an_underscore_cannot_stand_for_one_with_a_hyphen():
    request = one(get(b"GET / HTTP/1.1", b"X_Forwarded_For: 1.1.1.1"))
    assert headers_of(request) == {}


def test_blank_lines_before_a_request_are_passed_over():
    assert parse(b"\r\n" * 1000) == []
    requests = parse(b"\r\n\r\n" + get() + b"\r\n" + get(b"GET /2 HTTP/1.0"))
    assert [(path_of(r), r.environ["SERVER_PROTOCOL"]) for r in requests] == [
        ("/", "HTTP/1.1"),
        ("/2", "HTTP/1.0"),
    ]


def test_a_body_is_as_long_as_its_length_says():
    post = get(b"POST / HTTP/1.1", b"Content-Length: 5") + b"hello"
    first, second = parse(post + get())
    assert (body_of(first), second.environ["REQUEST_METHOD"]) == (b"hello", "GET")


def test_a_body_in_chunks_is_put_together_and_its_trailers_passed_over():
    body = b"5\r\nhello\r\n7;a=b\r\n, world\r\n0;last\r\nX-Sum: 1\r\nY:\r\n\r\n"
    first, second = parse(chunked(body) + get())
    assert (body_of(first), second.environ["REQUEST_METHOD"]) == (
        b"hello, world",
        "GET",
    )
    assert headers_of(first) == {"CONTENT_LENGTH": "12"}


@pytest.mark.parametrize("pieces", [1, 2, 3, 5, 7, 100])
def test_wherever_the_bytes_are_cut_the_requests_are_the_same(pieces):
    chunks = b"3;x=y\r\nabc\r\n10\r\n" + b"d" * 16 + b"\r\n0\r\nA: b\r\n\r\n"
    stream = b"\r\n" + get(b"GET /?a=b HTTP/1.1", b"Host: x") + chunked(chunks)
    stream += get(b"POST /x HTTP/1.0", b"Content-Length: 3") + b"\r\n\r" + get()

    def seen(requests):
        return [
            (r.environ["QUERY_STRING"], headers_of(r), body_of(r)) for r in requests
        ]

    whole = seen(parse(stream))
    assert len(whole) == 4
    assert seen(parse(stream, pieces)) == whole


def test_a_large_body_is_asked_for_only_if_it_is_taken():
    fields = b"Expect: 100-Continue", b"Content-Length: 10"
    taken, refused = parser(10), parser(9)
    taken.received(get(b"POST / HTTP/1.1", *fields))
    refused.received(get(b"POST / HTTP/1.1", *fields))
    assert (taken.expect_continue, taken.completed) == (True, False)
    assert (refused.expect_continue, refused.error.status) == (False, 413)


# -- what is refused

LENGTH = b"Content-Length: 5"
CHUNKS = b"Transfer-Encoding: chunked"
REFUSED = {
    "no version": get(b"GET /"),
    "an old version": get(b"GET / HTTP/0.9"),
    "a new version": get(b"GET / HTTP/2.0"),
    "a later version": get(b"GET / HTTP/1.2"),
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "two spaces": get(b"GET  / HTTP/1.1"),
    "a space at the end": get(b"GET / HTTP/1.1 "),
    "a tab": get(b"GET\t/ HTTP/1.1"),
    "a long method": get(b"A" * 33 + b" / HTTP/1.1"),
    "no path": get(b"GET v1/contacts HTTP/1.1"),
    "a star": get(b"OPTIONS * HTTP/1.1"),
    "an authority": get(b"CONNECT example.com:443 HTTP/1.1"),
    "another scheme": get(b"GET ftp://example.com/ HTTP/1.1"),
    "user information": get(b"GET http://a@example.com/ HTTP/1.1"),
    "half a bracket": get(b"GET http://[::1/ HTTP/1.1"),
    "bytes that are not UTF-8": get(b"GET /\xff HTTP/1.1"),
    "a folded line": get(b"GET / HTTP/1.1", b"A: b", b" c"),
    "a bare LF": get(b"GET / HTTP/1.1", b"A: b\nC: d"),
    "a bare CR": get(b"GET / HTTP/1.1", b"A: b\rC: d"),
    "a NUL": get(b"GET / HTTP/1.1", b"A: \0"),
    "a space before the colon": get(b"GET / HTTP/1.1", b"A : b"),
    "too many fields": get(b"GET / HTTP/1.1", *[b"A: b"] * (MOST_FIELDS + 1)),
    "a length and chunks": get(b"POST / HTTP/1.1", LENGTH, CHUNKS),
    "chunks in HTTP/1.0": get(b"POST / HTTP/1.0", CHUNKS),
    "chunks twice": get(b"POST / HTTP/1.1", CHUNKS, CHUNKS),
    "an empty coding": get(b"POST / HTTP/1.1", b"Transfer-Encoding:"),
    "another coding": get(b"POST / HTTP/1.1", b"Transfer-Encoding: gzip, chunked"),
    "two lengths": get(b"POST / HTTP/1.1", LENGTH, LENGTH),
    "a signed length": get(b"POST / HTTP/1.1", b"Content-Length: +5"),
    "digits of another script": get(b"POST / HTTP/1.1", b"Content-Length: \xb2"),
    "a chunk without a size": chunked(b"\r\nhello\r\n0\r\n\r\n"),
    "a size after a blank line": chunked(b"1\r\na\r\n\r\n0\r\n\r\n"),
    "a size with a bare LF": chunked(b"5\nhello\r\n0\r\n\r\n"),
    "a size and a space": chunked(b"5 \r\nhello\r\n0\r\n\r\n"),
    "a size of 17 digits": chunked(b"1" * 17 + b"\r\n"),
    "a chunk longer than its size": chunked(b"5\r\nhello!\r\n0\r\n\r\n"),
    "a chunk that ends with LF": chunked(b"5\r\nhello\n0\r\n\r\n"),
    "a control in an extension": chunked(b"5;a=\x01\r\nhello\r\n0\r\n\r\n"),
    "a line of 1,025 bytes": chunked(b"5;" + b"a" * 1021 + b"\r\n"),
    "a trailer that is no field": chunked(b"0\r\nsmuggled\r\n\r\n"),
    "a trailer that is folded": chunked(b"0\r\nA: b\r\n c\r\n\r\n"),
    "trailers of 32 KiB and more": chunked(b"0\r\n" + b"A: b\r\n" * 6000),
    "a trailer without end": chunked(b"0\r\nA: " + b"b" * 40_000),
}


@pytest.mark.parametrize("pieces", [None, 1], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_could_be_understood_in_two_ways_is_refused(data, pieces):
    assert refusal(data, pieces=pieces) == 400


def test_nothing_is_read_after_a_refusal():
    request = parser()
    data = get(b"nonsense") + get()
    assert (request.received(data), request.completed) == (len(data), True)
    assert request.received(get()) == 0


def test_a_header_may_have_32_kib():
    most = 32 * KIB - len(get(b"GET / HTTP/1.1", b"A: "))
    assert one(get(b"GET / HTTP/1.1", b"A: " + b"b" * most)).error is None
    assert refusal(get(b"GET / HTTP/1.1", b"A: " + b"b" * (most + 1))) == 400
    assert refusal(b"A" * 40_000) == 400
    assert refusal(b"A" * 40_000, pieces=1) == 400


def test_a_header_may_have_a_hundred_fields():
    assert one(get(b"GET / HTTP/1.1", *[b"A: b"] * MOST_FIELDS)).error is None


def test_the_size_of_a_chunk_may_have_1_kib_with_its_extensions():
    line = b"5;" + b"a" * 1020 + b"\r\n"
    assert len(line) == KIB
    assert body_of(one(chunked(line + b"hello\r\n0\r\n\r\n"))) == b"hello"


def test_trailers_may_have_32_kib():
    trailers = b"A: " + b"b" * (16 * KIB - 5) + b"\r\n"
    trailers += b"B: " + b"c" * (16 * KIB - 7) + b"\r\n\r\n"
    assert len(trailers) == 32 * KIB
    assert one(chunked(b"0\r\n" + trailers)).error is None
    assert refusal(chunked(b"0\r\n" + b"A: b\r\n" + trailers)) == 400


@pytest.mark.parametrize("pieces", [None, 1, 1000])
def test_a_body_over_its_limit_is_413_with_a_length_or_in_chunks(pieces):
    length = get(b"POST / HTTP/1.1", b"Content-Length: %s")
    assert refusal(length % b"11" + b"x" * 11, pieces=pieces, limit=10) == 413
    assert refusal(length % (b"9" * 9999), pieces=pieces, limit=10) == 413
    assert refusal(chunked(b"b\r\n" + b"x" * 11), pieces=pieces, limit=10) == 413
    small = chunked(b"1;" + b"a" * 100 + b"\r\nx\r\n")  # framing alone
    assert refusal(small, pieces=pieces, limit=10) == 413


# -- how much work it is


def fed(size, times=1):
    """Feeds a stream to a new parser, `size` bytes at a time."""

    def feed(data):
        for _ in range(times):
            parse(data, size, limit=2**26)

    return feed


HEADS = {
    "digits of a host": lambda n: b"GET http://" + b"1" * n + b" HTTP/1.1\r\n\r\n",
    "digits of a host, no version": lambda n: b"GET http://" + b"1" * n + b" x\r\n\r\n",
    "a scheme without end": lambda n: b"GET " + b"a" * n + b":/ HTTP/1.1\r\n\r\n",
    "percent signs": lambda n: b"GET /" + b"%" * n + b" HTTP/1.1\r\n\r\n",
    "a long method": lambda n: b"A" * n + b"\r\n\r\n",
    "spaces in a line": lambda n: b"GET " + b" " * n + b"\r\n\r\n",
    "spaces before a value": lambda n: get(b"GET / HTTP/1.1", b"X:" + b" " * n + b"a"),
    "spaces and a control": lambda n: get(b"GET / HTTP/1.1", b"X:" + b" " * n + b"\1"),
    "words and a control": lambda n: get(b"GET / HTTP/1.1", b"X:" + b"a " * n + b"\1"),
    "folded lines": lambda n: get(b"GET / HTTP/1.1", b"A: b", *[b" c"] * (n // 4)),
    "one field often": lambda n: get(b"GET / HTTP/1.1", *[b"A:"] * (n // 4)),
    "a name without end": lambda n: get(b"GET / HTTP/1.1", b"A" * n),
    "no line end": lambda n: b"G" * n,
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_twice_the_header_is_no_more_than_twice_the_work(head):
    feed = fed(65536, times=40)
    half, whole = (seconds(lambda n=n: feed(head(n))) for n in (8000, 16000))
    assert whole < 3 * half + 0.002


@pytest.mark.parametrize("size", [1, 100], ids=["byte by byte", "in hundreds"])
def test_a_header_in_small_pieces_is_read_once(size):
    feed = fed(size)
    lines = [get(b"GET /?" + b"a" * n + b" HTTP/1.1") for n in (15000, 30000)]
    half, whole = (seconds(lambda line=line: feed(line)) for line in lines)
    assert whole < 3 * half


BODIES = {
    "a size without end": lambda n: b"1" * n,
    "an extension without end": lambda n: b"1;" + b"a=b;" * n,
    "chunks of one byte": lambda n: b"1\r\nx\r\n" * (n // 6),
    "a trailer": lambda n: b"0\r\nA: " + b"b" * n,
    "many trailers": lambda n: b"0\r\n" + b"A: b\r\n" * (n // 6),
}


@pytest.mark.parametrize("size", [1, 65536], ids=["byte by byte", "at once"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_twice_the_chunks_are_no_more_than_twice_the_work(body, size):
    feed = fed(size, times=5 if size > 1 else 1)
    half, whole = (seconds(lambda n=n: feed(chunked(body(n)))) for n in (16000, 32000))
    assert whole < 3 * half + 0.002


def test_a_header_that_has_not_ended_holds_no_more_than_was_sent():
    request = parser()
    for sent in range(1, 30_000):
        request.received(b"x")
        assert len(request.head) == sent
    assert sys.getsizeof(request.head) < 2 * 30_000


@pytest.mark.parametrize("start", [b"", b"1;", b"0\r\n"])
def test_of_sizes_and_trailers_only_the_line_in_hand_is_held(start):
    body = parser(2**26)
    body.received(chunked(b""))
    body.received(start)
    line, held = b"A: b\r\n" if start == b"0\r\n" else b"a", []
    while not body.error:
        body.received(line)
        held.append(len(body.line))
    assert isinstance(body.error, InvalidRequest)
    assert len(held) < 100_000 and max(held) <= KIB


def test_what_nobody_meant_is_refused_or_read_and_never_fails():
    chance = random.Random(7)
    parts = [b"GET", b" ", b"/", b"?", b"%", b":", b"\r", b"\n", b"\r\n", b"\r\n\r\n"]
    parts += [b"HTTP/1.1", b"http://", b"[", b"]", b"\xff", b"\0", b"0", b"5", b"a" * 9]
    parts += [CHUNKS, LENGTH, b"Expect: 100-continue", get(), chunked(b"")]
    for _ in range(3000):
        data = b"".join(chance.choices(parts, k=chance.randrange(1, 30)))
        for request in parse(data, chance.choice([None, 1, 3])):
            assert request.error is None or request.error.status in (400, 413)
