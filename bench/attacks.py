#!/usr/bin/env python3
"""Attack a server of our own while a quiet client of another workspace looks on.

    python bench/attacks.py                   everything three times, 15 to 60 minutes
    python bench/attacks.py --runs 1 --only idle_connections tls_hello
    python bench/attacks.py --server OTHER/contactapi.py --out before.json
    python bench/attacks.py --before before.json      with the columns of that run

For each attack a server is started over a copy of one database. The quiet client asks
`/healthz`, each time on a new connection, and a contact on a connection that it keeps,
in turn: 500 requests before the attack, at least 500 in at least 6 s while it goes on
(20 s at most), then an export of its own workspace; then the server gets SIGTERM, the
attack still going on.
The limiter is off, so that it protects nothing here. An attack is a process of its own
that sends to 127.0.0.1 only, bounded in connections, steps and seconds.

Prints a Markdown table; exit status 1 where a goal was missed. Standard library only.
"""

import argparse
import contextlib
import http.client
import json
import multiprocessing
import os
import re
import resource
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from itertools import count, cycle
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import NamedTuple, Optional
from urllib.parse import quote

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from processes import (  # noqa: E402 - found by the line above
    Server,
    environment,
    make_key,
    request_bytes,
    run,
    together,
)

REQUESTS = 500  # of the quiet client, before and during an attack
PACE = 0.005  # seconds between two of them
PATIENCE = 10.0  # seconds until the quiet client gives an answer up
WATCHED, MEASURED = 6.0, 20.0  # seconds at least and at most that an attack is seen
STOPPED = 15.0  # seconds at most for a stop; the contract allows 10
STEPS = 100_000  # of one attack at most
GOALS = {"ratio": 10, "worst": 2.0, "memory": 120, "stop": 10}

LINES = b"X: a\r\n" * 10_000
MARKS = "\u0315\u0300\u0323" * 2_600  # 16 KB that are all disorder: to be sorted


# ---------------------------------------------------------------------------
# The quiet client
# ---------------------------------------------------------------------------


class Seen(NamedTuple):
    """The seconds of each request, and how many were not answered with 200."""

    seconds: list
    failed: int

    @property
    def p99(self) -> float:
        return sorted(self.seconds)[int(len(self.seconds) * 0.99)]


class Quiet:
    """A client with a key of its own workspace, who never has more than one request."""

    def __init__(self, port: int, key: str, contact: str):
        self.port, self.contact = port, contact
        self.headers = {"Authorization": f"Bearer {key}"}
        self.kept = self.connect()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def close(self) -> None:
        self.kept.close()

    def look(self, least: float, most: float) -> Seen:
        """REQUESTS requests: more until `least` seconds are over, less after `most`."""
        times, failed = [], 0
        first = time.monotonic()
        for number in count():
            began = time.monotonic()
            wanted = number < REQUESTS or began < first + least
            if not wanted or began > first + most:
                break
            failed += not self.succeeds(
                self.healthz if number % 2 else self.own_contact
            )
            times.append(time.monotonic() - began)
            time.sleep(PACE)
        return Seen(times, failed)

    def succeeds(self, request: Callable) -> bool:
        try:
            return request()
        except (OSError, http.client.HTTPException):
            self.kept.close()
            return False

    def healthz(self) -> bool:
        with contextlib.closing(self.connect()) as connection:
            return self.is_answered(connection, "/healthz")

    def own_contact(self) -> bool:
        """Asked again, as every client does, where the connection that was kept is
        found closed."""
        path = f"/v1/contacts/{self.contact}"
        try:
            return self.is_answered(self.kept, path)
        except ConnectionError:
            self.kept.close()
            return self.is_answered(self.kept, path)

    def own_export(self) -> bool:
        with contextlib.closing(self.connect()) as connection:
            return self.is_answered(connection, "/v1/contacts.jsonl")

    def is_answered(self, connection: http.client.HTTPConnection, path: str) -> bool:
        connection.request("GET", path, headers=self.headers)
        answer = connection.getresponse()
        return bool(answer.read()) and answer.status == 200


# ---------------------------------------------------------------------------
# What attacks are made of
# ---------------------------------------------------------------------------


class Target:
    """Where an attack goes, what it holds (a page's key; a secret key of a workspace
    with many contacts, for those that need one), and when it ends."""

    source = "127.0.0.2"  # its address

    def __init__(self, port: int, stock: "Stock", began: Event, stopped: Event):
        self.port, self.stock = port, stock
        self.began, self.stopped = began, stopped
        self.steps = count(1)
        self.end = time.monotonic() + MEASURED + 3 * STOPPED

    def going(self) -> bool:
        """Whether to go on; asked before each step, so the second time says that the
        attack is under way."""
        step = next(self.steps)
        if step == 2:
            self.began.set()
        late = time.monotonic() > self.end or step > STEPS
        return not (late or self.stopped.is_set())

    def open(
        self, opening: bytes, source: Optional[str] = None
    ) -> Optional[socket.socket]:
        """A connection that has sent `opening`, None where there is none to be had. Its
        receive buffer is small: what it does not read stays with the server."""
        sock = socket.socket()
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(1)
            sock.bind((source or self.source, 0))
            sock.connect(("127.0.0.1", self.port))
            sock.sendall(opening)
            return sock
        except OSError:
            sock.close()
            return None


def hold(
    target: Target,
    connections: int,
    opening: bytes,
    more: bytes = b"",
    read: int = 0,
    pause: float = 0.05,
) -> None:
    """Keeps so many connections that have sent `opening`. After each pause every one
    sends `more` and reads `read` bytes; one that was closed is opened anew."""
    held = []
    while target.going():
        for _ in range(connections - len(held)):
            sock = not target.stopped.is_set() and target.open(opening)
            if not sock:
                break
            sock.setblocking(False)
            held.append(sock)
        time.sleep(pause)
        held = [sock for sock in held if goes_on(sock, more, read)]


def goes_on(sock: socket.socket, more: bytes, read: int) -> bool:
    """Whether the other end has not closed, once this one has sent and read."""
    watch = select.poll()
    watch.register(sock, select.POLLRDHUP)
    alive = not watch.poll(0)
    try:
        if alive and more:
            sock.send(more)
        if alive and read:
            sock.recv(read)
    except BlockingIOError:
        pass  # nothing more can be sent, or there is nothing to read
    except OSError:
        alive = False
    if not alive:
        sock.close()
    return alive


def fire(
    target: Target,
    clients: int,
    requests: Iterable[bytes],
    patience: float = 10,
    addresses: bool = False,
) -> None:
    """So many clients that send the requests in turn, each after the answer to the one
    before; after `patience` seconds without one a client goes away and comes anew.
    With `addresses` each connection has an address of its own."""
    supply, numbers = cycle(list(requests)), count()

    def client() -> None:
        sock = None
        while target.going():
            number = next(numbers)
            source = f"127.0.{number // 200 % 200 + 1}.{number % 200 + 2}"
            if addresses or sock is None:
                sock = target.open(b"", source if addresses else None)
            if sock is None:
                time.sleep(0.05)
                continue
            sock.settimeout(patience)
            try:
                sock.sendall(next(supply))
                answered = sock.recv(65536)
            except OSError:
                answered = b""
            if addresses or not answered:
                sock.close()
                sock = None

    together(*[client] * clients)


def flood(target: Target, clients: int, head: bytes, body: Callable) -> None:
    """So many clients that send `head` and then the parts of `body()` as fast as they
    are taken, then wait for the answer and begin anew."""

    def client() -> None:
        while target.going():
            sock = target.open(head)
            if sock is None:
                time.sleep(0.05)
                continue
            sock.settimeout(10)
            with contextlib.suppress(OSError), sock:
                for part in body():
                    sock.sendall(part)
                sock.recv(65536)

    together(*[client] * clients)


def post_of_a_visitor(target: Target, body: dict) -> bytes:
    text = json.dumps(body, ensure_ascii=False).encode()
    origin = ["Origin: https://example.com"]
    return request_bytes("POST", "/v1/contacts", text, target.stock.page_key, origin)


def asking(target: Target, *paths: str) -> list:
    return [request_bytes("GET", path, key=target.stock.secret) for path in paths]


def head_of(path: str, *headers: str, key: Optional[str] = None) -> bytes:
    """A POST up to where its body begins."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    return "\r\n".join([*lines, "", ""]).encode()


# ---------------------------------------------------------------------------
# Attacks without a key
# ---------------------------------------------------------------------------


def quadratic_request_line(target: Target) -> None:
    """`GET http://` and 32,600 digits, then what is no version, on four connections."""
    fire(target, 4, [b"GET http://" + b"1" * 32_600 + b" x\r\n\r\n"])


def quadratic_header(target: Target) -> None:
    """A field of 32,600 spaces and a letter, over and over on four connections."""
    fire(target, 4, [b"GET / HTTP/1.1\r\nX:" + b" " * 32_600 + b"a\r\n\r\n"])


def many_small_fields(target: Target) -> None:
    """Heads of 8,000 fields, and of 16,000 empty lines and folds."""
    heads = (b"a:b\r\n" * 6_500, b"X: a\r\n" + b" \r\n" * 10_000, b"\r\n" * 16_000)
    fire(target, 4, [b"GET / HTTP/1.1\r\n" + fields + b"\r\n" for fields in heads])


def long_values(target: Target) -> None:
    """31 KB in each header that the server looks at."""
    values = {
        "Authorization": "Bearer " + "a" * 31_000,
        "X-Api-Key": "ck_secret_" + "a" * 31_000,
        "X-Forwarded-For": "1," * 15_500,
        "Origin": "https://" + "a." * 15_500,
        "Referer": "https://" + "xn--" * 7_700,
        "Content-Type": "application/" + "a+" * 15_500,
        "Content-Length": "1" * 31_000,
        "Transfer-Encoding": "chunked, " * 3_400,
        "Accept": "text/html;q=0.1," * 1_900,
        "Connection": "keep-alive, " * 2_500,
    }
    heads = [f"GET /v1/contacts HTTP/1.1\r\n{n}: {v}" for n, v in values.items()]
    fire(target, 4, [f"{head}\r\n\r\n".encode() for head in heads])


def header_byte_by_byte(target: Target) -> None:
    """Fifty heads that arrive a byte at a time."""
    hold(target, 50, b"GET / HTTP/1.1\r\nX: ", b"a", pause=0.001)


def endless_chunk_size(target: Target) -> None:
    """The size line of a first chunk that does not end, on 1,100 connections, renewed
    each second when they are closed."""
    opening = head_of("/v1/contacts", "Transfer-Encoding: chunked") + b"0" * 400_000
    hold(target, 1_100, opening, b"0" * 65_536, pause=1)


def pipelined_unread(target: Target) -> None:
    """64 KiB of pipelined requests of 16 bytes, again and again on eight connections,
    nothing read."""
    requests = b"A / HTTP/1.1\r\n\r\n" * 4_096
    hold(target, 8, requests, requests)


def partial_headers(target: Target) -> None:
    """1,100 heads that never end, from one address, renewed when they are closed."""
    hold(target, 1_100, b"GET / HTTP/1.1\r\nX: ", b"a", pause=1)


def slow_bodies(target: Target) -> None:
    """1,100 bodies of which a byte comes each second, from one address."""
    hold(target, 1_100, head_of("/v1/contacts", "Content-Length: 60000"), b"a", pause=1)


def tls_hello(target: Target) -> None:
    """1,100 TLS greetings, renewed when they are closed."""
    hold(target, 1_100, bytes.fromhex("1603010200010001fc0303") + b"\x00" * 506)


def idle_connections(target: Target) -> None:
    """1,100 connections on which nothing is said, renewed each second."""
    hold(target, 1_100, b"", pause=1)


def connections_that_come_and_go(target: Target) -> None:
    """Connections that are closed as soon as they are made, as many as can be."""
    while target.going():
        sock = target.open(b"")
        if sock:
            sock.close()


def refusals(target: Target) -> None:
    """413, 404, 405 and 401 as fast as eight clients can ask, without a key."""
    lines = (
        head_of("/v1/contacts", "Content-Length: 99999999"),
        request_bytes("GET", "/nothing/here", key=None),
        request_bytes("PUT", "/v1/contacts", key=None),
        request_bytes("GET", "/v1/contacts", key="ck_secret_" + "0" * 32),
    )
    fire(target, 8, lines)


def large_bodies_refused(target: Target) -> None:
    """413s whose 60 MB are sent all the same, on eight connections."""
    head = head_of("/v1/contacts.csv", "Content-Length: 60000000")
    flood(target, 8, head, lambda: (b"a" * 65_536 for _ in range(900)))


# ---------------------------------------------------------------------------
# Attacks with a page's key, which every visitor has
# ---------------------------------------------------------------------------


def marks_of_a_visitor(target: Target) -> None:
    """16 KB of combining marks as a value, as a name and as an email, from eight
    clients whose address changes with each request."""
    bodies = (
        {"email": "marks@example.com", "name": MARKS},
        {"email": "marks@example.com", MARKS: 1},
        {"email": f"{MARKS}@example.com"},
        {"email": f"marks@{MARKS}.example"},
    )
    posts = [post_of_a_visitor(target, body) for body in bodies]
    fire(target, 8, posts, addresses=True)


def odd_bodies_of_a_visitor(target: Target) -> None:
    """16 KB of brackets, digits, escapes, labels and one name again and again."""
    texts = (
        b'{"email":"odd@example.com","a":' + b"[" * 15_000,
        b'{"email":"odd@example.com","a":[' + b'{"a":' * 3_000,
        b'{"email":"odd@example.com","a":[' + b"9" * 4_300 + b"]}",
        b'{"email":"odd@example.com","a":' + b"9" * 16_000 + b"}",
        b'{"email":"odd@example.com","a":"' + b"\\u0041" * 2_600 + b'"}',
        b'{"email":"odd@' + b"xn--a." * 2_600 + b'example"}',
        b'{"email":"odd@' + "ü".encode() * 7_000 + b'.example"}',
        b'{"email":"' + b"@" * 16_000 + b'"}',
        b'{"email":"' + "\u200b".encode() * 5_000 + b'odd@example.com"}',
        b'{"email":"odd@example.com"' + b',"a":1' * 2_600 + b"}",
    )
    headers = ("Content-Type: application/json", "Origin: https://example.com")
    posts = [
        request_bytes("POST", "/v1/contacts", text, target.stock.page_key, headers)
        for text in texts
    ]
    fire(target, 8, posts, addresses=True)


def posts_to_a_grown_record(target: Target) -> None:
    """Small posts of a visitor to a contact of 60 KB, from eight clients whose address
    changes with each request."""
    posts = (
        post_of_a_visitor(target, {"email": "grown@example.com", "a": number})
        for number in range(1_000)
    )
    fire(target, 8, posts, addresses=True)


# ---------------------------------------------------------------------------
# Attacks with a key that may read or write a workspace
# ---------------------------------------------------------------------------


def marks_in_q(target: Target) -> None:
    """30 KB of combining marks in `q`, `email` and a filter, from eight clients."""
    marks = quote(MARKS[:5_000])
    paths = (f"q={marks}", f"email={marks}@example.com", f"filter[a]={marks}")
    fire(target, 8, asking(target, *(f"/v1/contacts?{each}" for each in paths)))


def costly_filters(target: Target) -> None:
    """Ten filters of quoted names over the whole table, from eight clients who go away
    after 0.3 s and come again."""
    filters = "&".join(f"filter[a%22{n}]=none" for n in range(10))
    fire(target, 8, asking(target, f"/v1/contacts?{filters}"), patience=0.3)


def equal_filters(target: Target) -> None:
    """One filter ten times, from eight clients who wait."""
    filters = "&".join(["filter[visits]=-1"] * 10)
    fire(target, 8, asking(target, f"/v1/contacts?{filters}"))


def searches(target: Target) -> None:
    """Five words that are nowhere, parts of company names, and the middle of the table,
    from eight clients who go away after 0.3 s."""
    paths = (
        "/v1/contacts?q=%25a%25+%5Fa%5F+zzz+yyy+xxx",
        f"/v1/contacts?page={target.stock.contacts // 200}&page_size=100",
        "/api/v1/companies?name=zzz",
        "/v1/contacts?q=zzz&filter[a]=1&created_after=2000-01-01",
    )
    fire(target, 8, asking(target, *paths), patience=0.3)


def slow_readers_of_a_subject_export(target: Target) -> None:
    """Eight exports of a person with a long history, two bytes read each second."""
    path = f"/v1/contacts/{target.stock.grown}/export"
    hold(target, 8, asking(target, path)[0], read=1, pause=0.5)


def slow_readers_of_exports(target: Target) -> None:
    """Eight exports of the whole workspace, two bytes read each second."""
    hold(target, 8, asking(target, "/v1/contacts.jsonl")[0], read=1, pause=0.5)


def unread_pages(target: Target) -> None:
    """A page of 100 large contacts on each of 160 connections, nothing read."""
    hold(target, 160, asking(target, "/v1/contacts?page_size=100")[0])


def import_bodies(target: Target) -> None:
    """Twelve imports of 60 MB at once, as fast as they are taken."""
    line = b"c%07d@example.com," + b"x" * 200 + b"\n"
    lines = [b"email,name\n", *(line % number * 300 for number in range(900))]
    size = sum(map(len, lines))
    flood(target, 12, import_head(target, size), lambda: lines)


def slow_imports(target: Target) -> None:
    """Twelve imports of which a byte comes each second."""
    hold(target, 12, import_head(target, 60_000_000), b"a", pause=1)


def endless_trailer(target: Target) -> None:
    """An import's trailer that does not end, as fast as it is taken, on four
    connections."""
    flood(target, 4, chunked_import_head(target) + b"0\r\n", lambda: [LINES] * 1_000)


def endless_chunk_extensions(target: Target) -> None:
    """An import in chunks of one byte, each with an extension of 60 KB, on four
    connections."""
    chunk = b"1;" + b"a" * 60_000 + b"\r\na\r\n"
    flood(target, 4, chunked_import_head(target), lambda: [chunk] * 1_000)


def one_quoted_cell(target: Target) -> None:
    """A CSV whose only cell is quoted and has 32 million lines without an end, on two
    connections."""
    parts = [b'email,name\na@example.com,"', *([b"x\n" * 32_768] * 1_000)]
    flood(target, 2, import_head(target, sum(map(len, parts))), lambda: parts)


def quotes_and_separators(target: Target) -> None:
    """CSVs of nothing but quotes, of nothing but separators, and of lines whose quoted
    cell does not end, 25 MB each, on two connections."""
    parts = (b'"\n' * 32_768, b'"",' * 21_845, b"," * 65_536, b'a,"\n' * 16_384)
    texts = cycle([[b"email\n", *([part] * 400)] for part in parts])
    flood(target, 2, chunked_import_head(target), lambda: chunked(next(texts)))


def chunked(parts: Iterable[bytes]) -> Iterable[bytes]:
    for part in parts:
        yield b"%x\r\n%b\r\n" % (len(part), part)
    yield b"0\r\n\r\n"


def chunked_import_head(target: Target) -> bytes:
    what = ("Content-Type: text/csv", "Transfer-Encoding: chunked", "Connection: close")
    return head_of("/v1/contacts.csv", *what, key=target.stock.secret)


def import_head(target: Target, size: int) -> bytes:
    what = ("Content-Type: text/csv", f"Content-Length: {size}", "Connection: close")
    return head_of("/v1/contacts.csv", *what, key=target.stock.secret)


ATTACKS = {
    attack.__name__: attack
    for attack in (
        *(quadratic_request_line, quadratic_header, many_small_fields, long_values),
        *(header_byte_by_byte, endless_chunk_size, endless_trailer),
        *(endless_chunk_extensions, pipelined_unread, partial_headers, slow_bodies),
        *(tls_hello, idle_connections, connections_that_come_and_go, refusals),
        *(large_bodies_refused, marks_of_a_visitor, odd_bodies_of_a_visitor),
        *(posts_to_a_grown_record, marks_in_q, costly_filters, equal_filters, searches),
        *(slow_readers_of_a_subject_export, slow_readers_of_exports, unread_pages),
        *(import_bodies, slow_imports, one_quoted_cell, quotes_and_separators),
    )
}


def carry_out(name: str, *target) -> None:
    """An attack, in its process."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    ATTACKS[name](Target(*target))


# ---------------------------------------------------------------------------
# The database
# ---------------------------------------------------------------------------


class Stock(NamedTuple):
    """The database that every server gets a copy of, and who may do what there."""

    folder: str
    contacts: int
    secret: str  # of the workspace `crowd`, which has them
    page_key: str  # of a page of `crowd`
    grown: str  # the id of a contact of `crowd` with a record and a history to match
    quiet: str  # the secret key of the workspace `quiet`
    own: str  # the id of the only contact there


def make_stock(folder: Path, contacts: int) -> Stock:
    folder.mkdir()
    env = environment(folder)
    crowd, quiet = ("--workspace", "crowd"), ("--workspace", "quiet")
    secret = make_key(env, "--type", "secret", *crowd)
    page_key = make_key(env, "--type", "publishable", "--domain", "*", *crowd)
    quiet_key = make_key(env, "--type", "secret", *quiet)
    with open(folder / "crowd.jsonl", "w") as file:
        file.writelines(f"{json.dumps(small(number))}\n" for number in range(contacts))
        file.writelines(f"{json.dumps(large(number))}\n" for number in range(100))
    imported = run(env, "import", folder / "crowd.jsonl", *crowd, timeout=600)
    assert imported.returncode == 0, imported
    server = Server(folder, CONTACTAPI_SECRET_KEY=None)
    server.start()
    try:
        grown = grow(server, secret)
        made = server.ask(
            "POST", "/v1/contacts", {"email": "a@b.example"}, {}, quiet_key
        )
        server.stop()
    finally:
        server.kill()
    (folder / "crowd.jsonl").unlink()
    own = made.json["id"]
    return Stock(str(folder), contacts, secret, page_key, grown, quiet_key, own)


def small(number: int) -> dict:
    email, plan = f"c{number:07}@example.org", ("pro", "free")[number % 2]
    return {"email": email, "name": "Ada Lovelace", "plan": plan, "visits": number}


def large(number: int) -> dict:
    return {"email": f"large{number}@example.org", "text": "x" * 60_000}


def grow(server: Server, secret: str) -> str:
    """A contact of 60 KB that was changed a hundred times."""
    for number in range(100):
        text = f"{number:05}" * 12_000
        body = {"email": "grown@example.com", "text": text}
        answer = server.ask("POST", "/v1/contacts", body, key=secret)
        assert answer.status == 201, answer
    return answer.json["id"]


# ---------------------------------------------------------------------------
# One attack, looked at
# ---------------------------------------------------------------------------


class Outcome(NamedTuple):
    """One attack: the quiet client's p99 in times of the one before, its worst answer
    in seconds, how many it got and how many of them were no 200 (its export among
    them); the server's most memory and the most bytes that it had in unnamed files,
    both in MB; its answers of 5xx; the seconds that its stop took."""

    ratio: float
    worst: float
    asked: int
    failed: int
    memory: float
    spooled: float
    logged: int
    fives: int
    stop: float

    def missed(self) -> list:
        """The names of the goals that it missed."""
        over = [name for name, most in GOALS.items() if getattr(self, name) > most]
        return over + ["failed"] * bool(self.failed)


def look_at(name: str, stock: Stock, folder: Path) -> Outcome:
    """One attack on a server of its own, over a copy of the database."""
    shutil.copytree(stock.folder, folder)
    # No proxy is trusted, so that loopback addresses count as anyone's.
    settings = {"CONTACTAPI_TRUSTED_PROXY": "10.255.255.1"}
    server = Server(folder, CONTACTAPI_SECRET_KEY=None, **settings)
    try:
        server.start()
        quiet = Quiet(server.port, stock.quiet, stock.own)
        before = quiet.look(0, MEASURED)
        assert not before.failed, f"without an attack {before.failed} failed"
        with under_attack(name, server, stock), watched(server.process.pid) as most:
            during = quiet.look(WATCHED, MEASURED)
            failed = during.failed + (not quiet.succeeds(quiet.own_export))
            quiet.close()
            log = server.output.decode("utf-8", "replace")
            stop = seconds_to_stop(server)
        statuses = re.findall(r"^\S+ INFO \S+ \S+ (\d{3}) ", log, re.MULTILINE)
        return Outcome(
            during.p99 / before.p99,
            max(during.seconds),
            len(during.seconds),
            failed,
            most["memory"] / 2**20,
            most["spooled"] / 2**20,
            len(statuses),
            sum(status >= "500" for status in statuses),
            stop,
        )
    finally:
        server.kill()
        shutil.rmtree(folder)


@contextlib.contextmanager
def under_attack(name: str, server: Server, stock: Stock):
    """While the block runs, the attack does; it has begun, or is held up, before."""
    context = multiprocessing.get_context("spawn")
    began, stopped = context.Event(), context.Event()
    arguments = (name, server.port, stock, began, stopped)
    attack = context.Process(target=carry_out, args=arguments, daemon=True)
    attack.start()
    try:
        began.wait(3)
        yield
    finally:
        stopped.set()
        attack.join(1)
        attack.kill()
        attack.join()


@contextlib.contextmanager
def watched(pid: int):
    """The most bytes of memory, and of files without a name, of a process meanwhile."""
    most, done = {"memory": 0, "spooled": 0}, threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            with contextlib.suppress(OSError):
                most["memory"] = max(most["memory"], peak_memory(pid))
                most["spooled"] = max(most["spooled"], unnamed_bytes(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield most
    finally:
        done.set()
        watcher.join()


def peak_memory(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def unnamed_bytes(pid: int) -> int:
    """What lies in files that were unlinked, such as spooled bodies."""
    total = 0
    for entry in os.scandir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(entry.path).endswith("(deleted)"):
                total += os.stat(entry.path).st_size
    return total


def seconds_to_stop(server: Server) -> float:
    """From SIGTERM to the exit, STOPPED where it does not come or is not with 0."""
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        if server.exit_status(STOPPED) == 0:
            return time.monotonic() - began
    return STOPPED


# ---------------------------------------------------------------------------
# All of it
# ---------------------------------------------------------------------------


def summed_up(outcomes: list) -> Outcome:
    """Of several runs: the median ratio; of all else the worst."""
    columns = dict(zip(Outcome._fields, zip(*outcomes)))
    worst = {name: max(values) for name, values in columns.items()}
    worst["asked"] = min(columns["asked"])
    return Outcome(**worst | {"ratio": statistics.median(columns["ratio"])})


def table(results: dict, before: dict) -> str:
    """Markdown, a row for each attack, with the columns of an earlier run if any."""
    earlier = ["p99 before", "worst before", "memory before"] if before else []
    names = ["p99", "worst", "memory", "spooled", "no 200", "5xx", "stop"]
    head = ["attack", *earlier, *names]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    for name, outcome in results.items():
        old = cells(before[name])[:3] if name in before else [""] * len(earlier)
        row = [name.replace("_", " "), *old, *cells(outcome)]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def cells(outcome: Outcome) -> list:
    missed = outcome.missed()
    shown = {
        "ratio": f"{outcome.ratio:,.1f} ×",
        "worst": seconds(outcome.worst, PATIENCE),
        "memory": f"{outcome.memory:,.0f} MB",
        "spooled": f"{outcome.spooled:,.0f} MB",
        "failed": f"{outcome.failed} of {outcome.asked + 1}",
        "fives": str(outcome.fives),
        "stop": seconds(outcome.stop, STOPPED),
    }
    return [f"**{text}**" if name in missed else text for name, text in shown.items()]


def seconds(value: float, most: float) -> str:
    return f"over {most:.0f} s" if value >= most else f"{value:.2f} s"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3, metavar="N")
    parser.add_argument(
        "--only", nargs="+", default=list(ATTACKS), metavar="NAME", choices=ATTACKS
    )
    parser.add_argument(
        "--contacts", type=int, default=200_000, metavar="N", help="in the large table"
    )
    parser.add_argument("--server", type=Path, metavar="FILE", help="contactapi.py")
    parser.add_argument("--out", type=Path, metavar="JSON", help="keep the figures")
    parser.add_argument("--before", type=Path, metavar="JSON", help="figures kept then")
    parser.add_argument("--list", action="store_true", help="what each attack does")
    return parser.parse_args()


def read_figures(path: Optional[Path]) -> dict:
    if path is None or not path.exists():
        return {}
    kept = json.loads(path.read_text())
    return {name: Outcome(**outcome) for name, outcome in kept.items()}


def main() -> int:
    options = parse()
    if options.list:
        for name, attack in ATTACKS.items():
            print(f"{name}: {' '.join(attack.__doc__.split())}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if options.server:
        Server.script = options.server.resolve()
    outcomes = {name: [] for name in options.only}
    with tempfile.TemporaryDirectory(prefix="contactapi-attacks-") as name:
        folder = Path(name)
        stock = make_stock(folder / "stock", options.contacts)
        for _ in range(options.runs):
            for attack, made in outcomes.items():
                made.append(look_at(attack, stock, folder / "server"))
                print(f"{attack}: {made[-1]}", file=sys.stderr, flush=True)
    results = {name: summed_up(made) for name, made in outcomes.items()}
    if options.out:
        kept = {name: outcome._asdict() for name, outcome in results.items()}
        options.out.write_text(json.dumps(kept, indent=1) + "\n")
    print(table(results, read_figures(options.before)))
    return int(any(outcome.missed() for outcome in results.values()))


if __name__ == "__main__":
    sys.exit(main())
