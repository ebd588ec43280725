#!/usr/bin/env python3
"""What does it cost when much waits to be sent, and how fast does it go out?

    python bench/outbox.py                 a minute
    python bench/outbox.py --waiting 100000

Two servers of our own with as many contacts take turns: for one nothing waits, for the
other 10,000 deliveries to a webhook whose receiver is down. Prints a client's times as
a ratio of the two, what the waiting ones cost in memory, and then, with a receiver that
answers at once, how many are delivered in a second and what requests take meanwhile.
Exit status 1 where a goal is missed. Standard library only.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from doubles import Receiver  # noqa: E402 - found by the line above
from processes import Client, Server, free_port, run, until  # noqa: E402

# Times as ratios, megabytes, deliveries a second.
GOALS = {"GET": 1.2, "PATCH": 1.2, "memory": 5, "rate": 200}
ROUNDS, REQUESTS = 7, 150


def started(folder: Path, event: str, contacts: int) -> Server:
    """With contacts, and a webhook for this event at which nobody listens."""
    server = Server(folder, CONTACTAPI_RATE_LIMIT="off").start()
    url = f"http://127.0.0.1:{free_port()}/"
    wanted = ("webhooks", "create", "--url", url, "--event", event)
    server.webhook = run(server.env, *wanted).stdout.split()[0]
    lines = [json.dumps({"email": f"c{n}@x.org", "n": n}) for n in range(contacts)]
    body, media = "\n".join(lines).encode(), {"Content-Type": "application/jsonl"}
    assert server.ask("POST", "/v1/contacts.jsonl", body, media).status == 200
    server.contact = server.ask("GET", "/v1/contacts").json["data"][0]["id"]
    return server


def resident(server: Server) -> float:
    """Megabytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def times(server: Server, method: str) -> float:
    """The median of some requests, in milliseconds."""
    taken, path = [], f"/v1/contacts/{server.contact}"
    with Client(server.port) as client:
        for _ in range(REQUESTS):
            body = {"n": time.monotonic()} if method == "PATCH" else None
            began = time.perf_counter()
            assert client.ask(method, path, body).status == 200
            taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken)


def compared(calm: Server, laden: Server) -> dict:
    """How many times as long a request takes where much waits."""
    ratios = {"GET": [], "PATCH": []}
    for _ in range(ROUNDS):
        for method, found in ratios.items():
            without = times(calm, method)
            found.append(times(laden, method) / without)
    return {method: statistics.median(found) for method, found in ratios.items()}


def waiting(server: Server) -> int:
    return server.ask("GET", "/v1/deliveries?page_size=1").json["total"]


def drained(server: Server, count: int) -> tuple:
    """(deliveries a second to a receiver that answers at once, milliseconds of a GET
    meanwhile)."""
    with Receiver() as receiver:
        run(server.env, "webhooks", "update", server.webhook, "--url", receiver.url)
        run(server.env, "webhooks", "update", server.webhook, "--disable")
        run(server.env, "webhooks", "update", server.webhook, "--enable")
        assert until(lambda: receiver.requests, within=60)
        began, first = time.monotonic(), len(receiver.requests)
        meanwhile = times(server, "GET")
        assert until(lambda: len(receiver.requests) >= count, within=600)
        seconds = time.monotonic() - began
        sent = [headers["webhook-id"] for _, headers, _ in receiver.requests]
    assert len(set(sent)) == count, "something was lost"
    return (count - first) / seconds, meanwhile


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--waiting", type=int, default=10_000, metavar="N")
    count = parser.parse_args().waiting
    with tempfile.TemporaryDirectory() as folder:
        laden = started(Path(folder, "laden"), "contact.created", count)
        calm = started(Path(folder, "calm"), "contact.deleted", count)
        try:
            assert (waiting(laden), waiting(calm)) == (count, 0)
            time.sleep(35)  # what the import took goes back
            found = compared(calm, laden)
            found["memory"] = resident(laden) - resident(calm)
            found["rate"], meanwhile = drained(laden, count)
        finally:
            calm.kill()
            laden.kill()
    print(f"with {count:,} waiting, as a ratio to none:")
    print(f"  GET {found['GET']:.2f} ×, PATCH {found['PATCH']:.2f} ×")
    print(f"  memory {found['memory']:+.1f} MB")
    print(
        f"drained at {found['rate']:.0f} a second, a GET meanwhile {meanwhile:.1f} ms"
    )
    missed = [n for n in GOALS if (found[n] > GOALS[n]) != (n == "rate")]
    if missed:
        print("missed:", ", ".join(missed))
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
