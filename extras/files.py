"""Records from and to files: the commands `import` and `export`. JSON Lines is ours,
any other format that of an extra (its path `/v1/*.csv`)."""

import argparse
import functools
import os
import sys
import time
from collections.abc import Iterator
from typing import Any, Optional

import contactapi
from contactapi import (
    EXTRAS,
    Extra,
    Kind,
    Line,
    Listed,
    Mistake,
    Records,
    Report,
    Services,
    jsonl_file,
    on_database,
    operator,
    option,
    read_jsonl,
)
from extras.upkeep import new_file

# -- import


def import_arguments(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=functools.partial(on_database, run_import))
    add_what(command)
    about, cast = "of a CSV file without a BOM (utf-8)", option(an_encoding)
    command.add_argument("--encoding", metavar="E", type=cast, help=about)
    keys = ", ".join(f"{kind.name}: {kind.key}" for kind in contactapi.KINDS)
    about = f"the CSV column by which records are known ({keys})"
    command.add_argument("--column", metavar="NAME", help=about)


def run_import(services: Services, args: argparse.Namespace) -> None:
    records, workspace = listed_of(services, args)
    caller = operator("cli", workspace)
    report = Report()
    try:
        with open(args.file, "rb") as file:
            progress = Progress(os.fstat(file.fileno()).st_size)
            lines = read_file(file, records, args)
            for report in records.import_lines(caller, lines):
                progress.show(file.tell(), f"{report.created + report.updated} lines")
            progress.end()
    except OSError as err:
        raise Mistake(f"{args.file} cannot be read: {err.strerror}") from None
    print(f"{report.created} created, {report.updated} updated, {report.failed} failed")
    for named in report.errors + report.warnings:
        print(f"line {named['line']}: {named['message']}", file=sys.stderr)
    if report.failed:
        raise Mistake(f"{report.failed} lines of {args.file} were not taken")


def read_file(file: Any, records: Records, args: argparse.Namespace) -> Iterator[Line]:
    if extra := extra_for(args.file):
        return extra.load().read_file(file, records, args)
    return read_jsonl(file, records.kind.key, records.longest_line)


# -- export


def export_arguments(command: argparse.ArgumentParser) -> None:
    run = functools.partial(on_database, run_export, made=False)
    command.set_defaults(run=run)
    add_what(command, contactapi.SUBMISSIONS)
    about = "CSV without the ' before what a spreadsheet would run"
    command.add_argument("--raw", action="store_true", help=about)
    about = "CSV with a byte order mark, for Excel"
    command.add_argument("--bom", action="store_true", help=about)


def run_export(services: Services, args: argparse.Namespace) -> None:
    listed, workspace = listed_of(services, args)
    texts = write_file(listed, workspace, args)
    total, count = listed.total(workspace), 0
    progress = Progress(total)
    with (
        new_file(args.file) as part,
        open(part, "w", encoding="utf-8", newline="") as file,
    ):
        for text in texts:
            file.write(text)
            count += text.count("\n")
            progress.show(count, f"{count} lines")
    progress.end()
    print(f"{args.file}: {total} {args.kind}")


def write_file(
    listed: Listed, workspace: int, args: argparse.Namespace
) -> Iterator[str]:
    if extra := extra_for(args.file):
        return extra.load().write_file(listed, workspace, args)
    return jsonl_file(listed.kind, listed.oldest_first(workspace))


# -- both


def add_what(command: argparse.ArgumentParser, *others: Kind) -> None:
    kinds = [kind.plural for kind in (*contactapi.KINDS, *others)]
    command.add_argument("file", metavar="FILE", type=option(a_data_file))
    command.add_argument("--kind", choices=kinds, default=kinds[0])
    command.add_argument("--workspace", default="default")


def a_data_file(text: str) -> None:
    if extra := extra_for(text):
        extra.load()  # Mistake, before anything is made
    elif not text.lower().endswith((".jsonl", ".ndjson")):
        raise ValueError("FILE.csv, FILE.jsonl or FILE.ndjson")


def an_encoding(text: str) -> None:
    if extra_for("x.csv").load().charset(text) is None:
        raise ValueError("utf-8, utf-16, windows-1252, shift_jis …")


def extra_for(file: str) -> Optional[Extra]:
    """The one that serves records in files of this name, and reads and writes them;
    none for JSON Lines."""
    place = "/v1/*" + os.path.splitext(file)[1].lower()
    return next((extra for extra in EXTRAS if place in extra.paths), None)


OF_CSV = ("encoding", "column", "raw", "bom")


def listed_of(services: Services, args: argparse.Namespace) -> tuple:
    """(what --kind names, the number of --workspace)."""
    given = any(getattr(args, name, None) for name in OF_CSV)
    if given and not extra_for(args.file):
        raise Mistake(f"--{' and --'.join(OF_CSV)} are for CSV; see --help", 2)
    workspace = services.workspaces.find(args.workspace)
    return services.listed[args.kind], workspace


class Progress:
    """A bar on standard error, where that is a terminal."""

    def __init__(self, whole: int):
        self.whole, self.drawn = max(whole, 1), 0.0
        self.wanted = sys.stderr.isatty()

    def show(self, part: int, text: str) -> None:
        if self.wanted and time.monotonic() - self.drawn > 0.1:
            self.drawn = time.monotonic()
            share = min(part / self.whole, 1)
            bar = "#" * int(share * 30)
            print(f"\r[{bar:30}] {share:4.0%} {text} ", end="", file=sys.stderr)

    def end(self) -> None:
        if self.wanted and self.drawn:
            print("\r\033[K", end="", file=sys.stderr)


COMMANDS = {"import": import_arguments, "export": export_arguments}
