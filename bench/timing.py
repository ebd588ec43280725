#!/usr/bin/env python3
"""Does the time of an answer tell a visitor whether an email was known?

    python bench/timing.py       seven shapes of what is sent and stored, some minutes
    python bench/timing.py --requests 200 --only small keep
    python bench/timing.py --server OTHER/contactapi.py

Posts with a publishable key to a server of our own, one request at a time and each
email once, known and new ones in random order. Prints the AUC (Mann-Whitney: how often
a known email's answer takes longer than a new one's; 0.5 tells nothing), with the grid
on which such answers leave, and without it, where the work that is done shows. With 800
requests of each kind a fair 0.5 is measured as 0.46 to 0.54 (99 of 100 times). Exit
status 1 where one with the grid is not 0.45 to 0.55. Standard library only.
"""

import argparse
import bisect
import json
import random
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

import processes  # noqa: E402 - found by the line above
from processes import Server, environment, make_key, request_bytes, run  # noqa: E402

GOAL = (0.45, 0.55)
PERSON = {"name": "Ada Lovelace", "plan": "pro", "visits": 7}
NO_GRID = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import contactapi
contactapi.GRID = 0
sys.exit(contactapi.main())
"""


class Shape(NamedTuple):
    """What is sent, what a known email's record holds, the key's rule, to where it is
    sent, and what is sent with a known email alone."""

    sent: dict
    stored: dict
    existing: str = "update"
    path: str = "/v1/contacts"
    known: dict = {}


SHAPES = {
    "small": Shape(PERSON, {**PERSON, "plan": "free"}),
    "large body": Shape({"text": "ä word " * 1_300}, PERSON),
    "large record": Shape(PERSON, {"text": "ä word " * 7_500}),
    "many fields": Shape(
        {f"field {n}": {"answer": n} for n in range(99)},
        {f"field {n}": {"answer": -n} for n in range(190)},
    ),
    "keep": Shape({**PERSON, "note": "x" * 500}, PERSON, existing="keep"),
    "form": Shape(PERSON, {**PERSON, "plan": "free"}, path="/f/{}"),
    "form, its honeypot filled or not": Shape(
        PERSON, PERSON, path="/f/{}", known={"_gotcha": "x"}
    ),
}


class Gridless(Server):
    """Whose answers to a publishable key leave when they are ready."""

    @property
    def command(self) -> list:
        _, script, *arguments = super().command
        return [sys.executable, "-c", NO_GRID, str(Path(script).parent), *arguments]


class Visitor:
    """One connection with a publishable key, from a page."""

    def __init__(self, port: int, key: str, path: str):
        self.path = path.format(key)
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.key = key

    def post(self, body: dict) -> float:
        """The seconds from the request's last byte to the answer's first."""
        origin = ("Origin: https://example.com",)
        data = request_bytes("POST", self.path, body, self.key, origin)
        time.sleep(random.uniform(0, 0.005))  # at no moment of the grid in particular
        self.socket.sendall(data)
        begun = time.perf_counter()
        answer = self.socket.recv(65_536)
        seconds = time.perf_counter() - begun
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 20"), head
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r")[0])
        while len(body) < length:
            body += self.socket.recv(65_536)
        return seconds

    def close(self) -> None:
        self.socket.close()


def measured(kind: type, folder: Path, shape: Shape, requests: int) -> tuple:
    """The seconds of each post to (a known email, a new one)."""
    env = environment(folder)
    domain, existing = ("--domain", "example.com"), ("--existing", shape.existing)
    key = make_key(env, "--type", "publishable", *domain, *existing)
    stock = folder / "known.jsonl"
    emails = [f"person{n:06}@example.org" for n in range(2 * requests)]
    random.shuffle(emails)
    known = set(emails[:requests])
    lines = (json.dumps({"email": email, **shape.stored}) for email in sorted(known))
    stock.write_text("".join(f"{line}\n" for line in lines))
    assert run(env, "import", stock).returncode == 0
    random.shuffle(emails)
    server = kind(folder, CONTACTAPI_SECRET_KEY=None)
    server.start()
    try:
        return posted(Visitor(server.port, key, shape.path), emails, known, shape)
    finally:
        server.kill()


def posted(visitor: Visitor, emails: list, known: set, shape: Shape) -> tuple:
    for number in range(50):
        visitor.post({"email": f"warm{number}@example.org", **shape.sent})
    times = ([], [])
    for email in emails:
        body = {"email": email, **shape.sent, **(shape.known if email in known else {})}
        times[email not in known].append(visitor.post(body))
    visitor.close()
    return times


def auc(ones: list, others: list) -> float:
    """How often one of `ones` is greater than one of `others`, ties by half."""
    others = sorted(others)
    below = (bisect.bisect_left(others, one) for one in ones)
    upto = (bisect.bisect_right(others, one) for one in ones)
    return (sum(below) + sum(upto)) / 2 / len(ones) / len(others)


def milliseconds(times: list) -> str:
    return f"{statistics.median(times) * 1000:.2f}"


def main() -> int:
    options = parse()
    if options.server:
        processes.SCRIPT = options.server.resolve()
    print("| body / record | AUC | known, ms | new, ms | without grid: AUC | ms | ms |")
    print("|---|---|---|---|---|---|---|")
    missed = False
    for name in options.only:
        cells = [name]
        for kind in (Server, Gridless):
            with tempfile.TemporaryDirectory() as folder:
                times = measured(kind, Path(folder), SHAPES[name], options.requests)
            found = auc(*times)
            cells += [f"{found:.3f}", *map(milliseconds, times)]
            missed |= kind is Server and not GOAL[0] <= found <= GOAL[1]
        print(f"| {' | '.join(cells)} |", flush=True)
    return int(missed)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--requests", type=int, default=800, help="of each kind, for each shape")
    add("--only", nargs="+", choices=SHAPES, default=list(SHAPES), metavar="SHAPE")
    add("--server", type=Path, help="another contactapi.py")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
