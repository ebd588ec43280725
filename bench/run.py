#!/usr/bin/env python3
"""Measure contactapi beside what its stack can do at most and beside its like.

    python bench/run.py                     everything, about half an hour
    python bench/run.py --quick             a few minutes, to see that all of it works
    python bench/run.py --only load FastAPI           some parts, some servers

Needs Linux, `wrk` and a C compiler. Reads and writes nothing outside a temporary
folder, a cache folder for Python packages, and the folder named by --out; talks to
127.0.0.1 only. See bench/README.md for how to read what it prints.
"""

import argparse
import csv
import itertools
import json
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional
from urllib.parse import quote

from chart import chart
from figures import CEILING, RIVALS, Results, Times, Transfer
from load import OPERATIONS, PATH, VISITS, drive, lua, middle
from machine import described, in_memory, make_python, python_start
from report import markdown
from servers.sample import contact
from subjects import Client, Skipped, Subject, clean_environ, run

HERE = Path(__file__).resolve().parent
SERVERS = HERE / "servers"
PARTS = ("start", "load", "files", "pages", "search", "visitors", "slowdisk")
CONNECTIONS = (1, 16, 64)
SAMPLED_IDS = 20_000
SLOW_DISK_CONNECTIONS = 16


@dataclass
class Bench:
    """One run: what is asked for, where things are, and what has been measured."""

    server: Path
    python: Path
    folder: Path
    sizes: list
    rounds: int
    seconds: int
    repeats: int
    cold: bool
    results: Results
    before: Optional[Path] = None

    def attempt(self, part, *args):
        """part(self, *args); when it is Skipped, say so and go on with None."""
        try:
            return part(self, *args)
        except Skipped as reason:
            say(f"skipped: {reason}")
            self.results.skipped.append(str(reason))


def main() -> int:
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if shutil.which("wrk") is None:
        print("wrk is needed (Debian: apt install wrk)", file=sys.stderr)
        return 1
    try:
        say("making a Python for the servers")
        python, able = make_python(options.server.parent / "requirements.txt")
    except Skipped as reason:
        print(reason, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="contactapi-bench-") as name:
        folder = Path(name)
        how = (1, 1, 5) if options.quick else (5, 2, 30)
        results = Results(described(python, able, folder), max(options.sizes))
        results.how = f"medians of {how[0]} interleaved rounds of {how[1]} s"
        bench = Bench(
            options.server, python, folder, options.sizes, *how, options.cold, results
        )
        bench.before = options.before and options.before.resolve()
        rivals = [name for name in RIVALS if name in options.servers]
        for name in set(rivals) - able:
            results.skipped.append(f"{name}: its packages cannot be installed")
        measure(bench, options.parts, [name for name in rivals if name in able])
    text = markdown(results)
    print("\n" + text)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "results.md").write_text(text)
        (options.out / "results.svg").write_text(chart(results))
        say(f"written to {options.out}")
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="short and rough")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        choices=(*PARTS, *RIVALS),
        help=f"parts ({', '.join(PARTS)}) and rivals ({', '.join(RIVALS)})",
    )
    parser.add_argument(
        "--sizes", default=None, help="contacts, such as 1000,100000,1000000"
    )
    parser.add_argument(
        "--cold", action="store_true", help="do not hold the databases in memory"
    )
    parser.add_argument(
        "--server", type=Path, default=HERE.parent / "contactapi.py", metavar="FILE"
    )
    parser.add_argument(
        "--before", type=Path, metavar="FILE", help="another contactapi.py beside it"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where results.md and results.svg go; bench/results for a whole run, "
        "nowhere for a quick or a partial one",
    )
    options = parser.parse_args()
    whole = not (options.quick or options.only or options.sizes or options.cold)
    whole = whole and not options.before
    usual = "1000,20000" if options.quick else "1000,100000,1000000"
    options.sizes = sorted(map(int, (options.sizes or usual).split(",")))
    options.parts = [name for name in options.only if name in PARTS] or PARTS
    options.servers = [name for name in options.only if name in RIVALS]
    options.servers = options.servers or ([] if options.only else list(RIVALS))
    options.out = options.out or (HERE / "results" if whole else None)
    options.server = options.server.resolve()
    return options


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def measure(bench: Bench, parts: list, rivals: list) -> None:
    """Every part asked for, each server on its own database; all are stopped after."""
    if set(parts) - {"visitors", "slowdisk"}:
        side_by_side(bench, parts, rivals)
    if "visitors" in parts:
        bench.attempt(visitors)
    if "slowdisk" in parts:
        bench.attempt(slow_disk)


def side_by_side(bench: Bench, parts: list, rivals: list) -> None:
    """All servers run at once; those that are not being driven wait idly."""
    with ExitStack() as stack:
        made = [bench.attempt(ceiling)]
        made += [bench.attempt(contactapi, size, parts) for size in bench.sizes]
        if bench.before:
            made.append(bench.attempt(earlier))
        made += [bench.attempt(rival, name) for name in rivals]
        subjects = [each for each in made if each]
        for subject in subjects:
            stack.callback(subject.stop)
        if not bench.cold:
            files = [bench.folder / f"contactapi-{size}.db" for size in bench.sizes]
            kept = stack.enter_context(in_memory(files))
            bench.results.machine.append(f"the databases {kept}")
        python = python_start(bench.python)
        subjects = [s for s in subjects if bench.attempt(weigh_idle, s, python, parts)]
        if "load" in parts:
            load(bench, subjects)
        ours = [each for each in subjects if each.label.startswith("contactapi")]
        if "pages" in parts:
            for subject in ours:
                bench.attempt(pages, subject)
        if "search" in parts and ours:
            bench.attempt(searches, ours[-1])
            bench.attempt(get_beside_search, ours[-1])
        for subject in subjects:
            bench.results.weight[subject.label]["after"] = subject.rss()
        if "search" in parts and ours:
            bench.attempt(indexed_filters, ours[-1])


# The servers


def ceiling(bench: Bench) -> Subject:
    ids = bench.folder / "ceiling.ids"
    ids.write_text("con_01h455vb4pex5vsknk084sn02q\n")
    command = [bench.python, SERVERS / "ceiling.py", "{port}"]
    log = bench.folder / "ceiling.log"
    return Subject(CEILING, 1000, command, clean_environ(), log, ids)


def rival(bench: Bench, name: str) -> Subject:
    """The obvious version with this framework, on as many contacts as the smallest
    of contactapi's databases."""
    size = min(bench.sizes)
    module = f"{name.lower()}_version"
    database = bench.folder / f"{module}.db"
    ids = bench.folder / f"{module}.ids"
    script = SERVERS / f"{module}.py"
    seed = [bench.python, script, "seed", database, size]
    ids.write_text(run(seed, clean_environ())[2])
    environ = {**clean_environ(), "BENCH_DATABASE": str(database)}
    command = [bench.python, script, "serve", database, "{port}"]
    if name == "Flask":
        command = [bench.python, "-m", "gunicorn", "--chdir", SERVERS]
        command += ["--threads", 8, "--bind", "127.0.0.1:{port}", f"{module}:app"]
    log = bench.folder / f"{module}.log"
    return Subject(RIVALS[name], size, command, environ, log, ids)


def contactapi(bench: Bench, size: int, parts: list) -> Subject:
    """contactapi as shipped, but for the rate limit, with a database of this size."""
    subject = empty_contactapi(bench, f"contactapi-{size}", size)
    say(f"{subject.label}: import and export")
    source = bench.folder / f"contacts-{size}.jsonl"
    with open(source, "w") as file:
        for number in range(size):
            file.write(json.dumps(contact(number)) + "\n")
    transfer(bench, subject, "import", source)
    source.unlink()
    exported = bench.folder / f"exported-{size}.jsonl"
    transfer(bench, subject, "export", exported)
    with open(exported) as lines, open(subject.ids, "w") as ids:
        step = max(1, size // SAMPLED_IDS)
        for line in itertools.islice(lines, 0, None, step):
            ids.write(json.loads(line)["id"] + "\n")
    exported.unlink()
    if "files" in parts and size == max(bench.sizes):
        bench.attempt(csv_files, subject)
    return subject


def earlier(bench: Bench) -> Subject:
    """Another contactapi.py, on as many contacts as the smallest of ours; its imports
    and exports are no rows of the results."""
    folder = bench.folder / "before"
    folder.mkdir()
    results = Results([], max(bench.sizes))
    other = replace(bench, server=bench.before, folder=folder, results=results)
    subject = contactapi(other, min(bench.sizes), [])
    subject.label = "before: " + subject.label
    return subject


def empty_contactapi(bench: Bench, name: str, size: int) -> Subject:
    """contactapi with a secret key and no contact; not started."""
    database = bench.folder / f"{name}.db"
    environ = {
        **clean_environ(),
        "DATABASE_URL": f"sqlite:///{database}",
        "CONTACTAPI_RATE_LIMIT": "off",
    }
    make_key = [bench.python, bench.server, "keys", "create", "--type", "secret"]
    token = run(make_key, environ)[2].strip()
    command = [bench.python, bench.server, "serve", "--port", "{port}"]
    log, ids = bench.folder / f"{name}.log", bench.folder / f"{name}.ids"
    return Subject(
        f"contactapi, {size:,} contacts", size, command, environ, log, ids, token
    )


# Files


def transfer(bench: Bench, subject: Subject, verb: str, file: Path) -> None:
    """Import or export by command line, as a row of the results."""
    command = [bench.python, bench.server, verb, file, "--workspace", "default"]
    seconds, peak, _ = run(command, subject.environ)
    kind = file.suffix[1:].upper()
    row = Transfer(f"{verb} {kind}", subject.size, seconds, peak)
    bench.results.transfers.append(row)
    say(f"  {row.what}: {row.rate:,.0f} contacts/s, {peak:.0f} MB at most")


def csv_files(bench: Bench, subject: Subject) -> None:
    """The same contacts out as CSV, and as CSV into a database of their own."""
    transfer(bench, subject, "export", bench.folder / "exported.csv")
    (bench.folder / "exported.csv").unlink()
    source = bench.folder / "contacts.csv"
    with open(source, "w", newline="") as file:
        writer = csv.DictWriter(file, list(contact(0)))
        writer.writeheader()
        writer.writerows(contact(number) for number in range(subject.size))
    other = empty_contactapi(bench, "csv", subject.size)
    transfer(bench, other, "import", source)
    for leftover in (source, *bench.folder.glob("csv.db*")):
        leftover.unlink()


# Start and memory


def weigh_idle(bench: Bench, subject: Subject, python: float, parts: list) -> bool:
    """Start it (five times where starts are measured) and leave it running."""
    starts = []
    for _ in range(5 if "start" in parts else 1):
        subject.stop()
        starts.append(subject.start() - python)
    time.sleep(0.5)
    weight = {"start": statistics.median(starts), "idle": subject.rss()}
    bench.results.weight[subject.label] = weight
    say(f"{subject.label}: {weight['start']:.2f} s, {weight['idle']:.0f} MB idle")
    return True


# Load


def load(bench: Bench, subjects: list) -> None:
    """Every operation at every number of connections, the servers in turn in each
    round, so that what else the machine does meets all of them alike."""
    for operation in OPERATIONS:
        able = [each for each in subjects if bench.attempt(answers, each, operation)]
        for connections in CONNECTIONS:
            drives = {subject.label: [] for subject in able}
            for _ in range(bench.rounds):
                for subject in able:
                    one = drive_once(bench, subject, operation, connections)
                    drives[subject.label].append(one)
            say(f"{operation}, connections: {connections}")
            for label, all_of_them in drives.items():
                median = middle(all_of_them)
                bench.results.load[label, operation, connections] = median
                say(f"  {median.rate:8,.0f}/s  p99 {median.p99:7.2f} ms  {label}")


def answers(bench: Bench, subject: Subject, operation: str) -> bool:
    subject.check(operation)
    return True


def drive_once(bench: Bench, subject: Subject, operation: str, connections: int):
    script = bench.folder / "script.lua"
    script.write_text(lua(operation, subject.ids, subject.size, subject.token))
    return drive(subject.port, script, connections, bench.seconds)


# Single requests


def timed(subject: Subject, paths: dict, repeats: int, budget: float = 60) -> dict:
    """name → milliseconds of each request, all paths in turn; no new turn is begun
    after `budget` seconds."""
    times = {name: [] for name in paths}
    until = time.monotonic() + budget
    client = Client(subject)
    for path in paths.values():  # the first of each finds its pages not yet read
        client.time(path)
    for _ in range(repeats):
        for name, path in paths.items():
            times[name].append(client.time(path))
        if time.monotonic() > until:
            break
    client.close()
    return times


def pages(bench: Bench, subject: Subject) -> None:
    """The cost of each page depth, a full page each."""
    for page_size in (20, 100):
        last = last_page(subject, page_size)
        depth = {"first": 1, "quarter": last // 4, "middle": last // 2, "last": last}
        paths = {
            name: f"{PATH}?page={max(1, page)}&page_size={page_size}"
            for name, page in depth.items()
        }
        for name, times in timed(subject, paths, bench.repeats).items():
            key = (subject.size, page_size, name)
            bench.results.pages[key] = Times.of(times)
    say(f"{subject.label}: pages measured")


def last_page(subject: Subject, page_size: int) -> int:
    """The last full page: by now there are more contacts than `size`."""
    client = Client(subject)
    _, body = client.ask("GET", f"{PATH}?page_size={page_size}")
    total = json.loads(body)["total"]
    client.close()
    return max(1, total // page_size)


SEARCHES = {
    "`q` that no contact matches": "q=zqxzqx",
    "`q` that one contact matches": "q=contact0000777",
    "`q` of two words, a few match": "q=" + quote("lovelace contact00007"),
    "`q` that all match": "q=example.org",
}
FILTERS = {
    "`filter[plan]` that a quarter matches": "filter%5Bplan%5D=pro",
    "`filter[plan]` that no contact matches": "filter%5Bplan%5D=none",
}


def searches(bench: Bench, subject: Subject) -> None:
    queries = {**SEARCHES, **FILTERS}
    paths = {name: f"{PATH}?{query}" for name, query in queries.items()}
    for name, times in timed(subject, paths, max(3, bench.repeats // 4)).items():
        bench.results.searches[name] = Times.of(times)
    say(f"{subject.label}: searches measured")


def get_beside_search(bench: Bench, subject: Subject) -> None:
    """GET one, alone and while another connection searches without a pause."""
    with open(subject.ids) as lines:
        ids = [line.strip() for line in itertools.islice(lines, 1000)]
    alone = gets_for(subject, ids, bench.seconds)
    over, searched = threading.Event(), []
    searcher = threading.Thread(target=search_on, args=(subject, over, searched))
    searcher.start()
    try:
        beside = gets_for(subject, ids, bench.seconds)
    finally:
        over.set()
        searcher.join(60)
    if not searched:
        raise Skipped("GET beside a search: no search came to its end")
    bench.results.beside = {"alone": alone, "while `q` runs": beside}


def gets_for(subject: Subject, ids: list, seconds: float) -> Times:
    client, times = Client(subject), []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        times.append(client.time(f"{PATH}/{ids[len(times) % len(ids)]}"))
    client.close()
    return Times.of(times)


def search_on(subject: Subject, over: threading.Event, searched: list) -> None:
    """Search again and again until it is over; each search's time into `searched`."""
    client = Client(subject)
    try:
        while not over.is_set():
            searched.append(client.time(f"{PATH}?q=zqxzqx"))
    except Skipped:
        pass
    client.close()


def indexed_filters(bench: Bench, subject: Subject) -> None:
    """The filters again, after a start that builds the index."""
    subject.stop()
    taken = subject.start({"CONTACTAPI_INDEX_FIELDS": "plan"}, patience=120)
    say(f"{subject.label}: {taken:.1f} s to start with a new index")
    paths = {f"{name}, indexed": f"{PATH}?{query}" for name, query in FILTERS.items()}
    for name, times in timed(subject, paths, bench.repeats).items():
        bench.results.searches[name] = Times.of(times)


# A slow disk


def slow_disk(bench: Bench) -> None:
    """Creates where each sync takes 2 ms longer, against one lock and one commit."""
    shim = bench.folder / "slowsync.so"
    build = ["cc", "-O2", "-shared", "-fPIC", "-o", shim, HERE / "slowsync.c", "-ldl"]
    try:
        subprocess.run(build, check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as err:
        raise Skipped("no slow disk: slowsync.c cannot be compiled") from err
    ours = empty_contactapi(bench, "slow", 1000)
    database, log = bench.folder / "one_lock.db", bench.folder / "one_lock.log"
    command = [bench.python, SERVERS / "one_lock.py", "{port}", database]
    lock = Subject("one lock", 1000, command, clean_environ(), log, ours.ids)
    ours.label = "contactapi"
    ours.ids.write_text("none\n")
    with ExitStack() as stack:
        drives = {}
        for subject in (ours, lock):
            stack.callback(subject.stop)
            subject.start({"LD_PRELOAD": str(shim)})
            subject.check("create")
            drives[subject.label] = []
        for _ in range(bench.rounds):
            for subject in (ours, lock):
                one = drive_once(bench, subject, "create", SLOW_DISK_CONNECTIONS)
                drives[subject.label].append(one)
    medians = {label: middle(all_of_them) for label, all_of_them in drives.items()}
    if not all(median.rate for median in medians.values()):
        raise Skipped("the slow disk: a server answered nothing")
    if medians["one lock"].rate > 500:
        raise Skipped("no slow disk: the shim does not reach SQLite's syncs")
    bench.results.slow_disk = medians
    say(f"slow disk: {', '.join(f'{k} {v.rate:,.0f}/s' for k, v in medians.items())}")


# Visitors


def visitors(bench: Bench) -> None:
    """What a page sends beside creates by a secret key, in turn on one database; the
    answers leave when they are ready."""
    subject = empty_contactapi(bench, "visitors", 1000)
    subject.command.insert(1, SERVERS / "no_grid.py")
    subject.ids.write_text("none\n")
    make_key = [bench.python, bench.server, "keys", "create", "--type", "publishable"]
    public = run([*make_key, "--domain", "example.com"], subject.environ)[2].strip()
    tokens = {"create": subject.token, **dict.fromkeys(VISITS, public)}
    with ExitStack() as stack:
        stack.callback(subject.stop)
        subject.start()
        subject.check("create")
        drives = {operation: [] for operation in tokens}
        for _ in range(bench.rounds):
            for operation, subject.token in tokens.items():
                one = drive_once(bench, subject, operation, 16)
                drives[operation].append(one)
    medians = {
        operation: middle(all_of_them) for operation, all_of_them in drives.items()
    }
    if any(median.refused or not median.rate for median in medians.values()):
        raise Skipped("visitors: some were refused")
    bench.results.visitors = medians
    say(f"visitors: {', '.join(f'{k} {v.rate:,.0f}/s' for k, v in medians.items())}")


if __name__ == "__main__":
    sys.exit(main())
