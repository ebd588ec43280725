"""Backups, checks and copies of a database: the commands `backup`, `check` and `copy`,
and the backup that CONTACTAPI_BACKUP_DIR asks for every night."""

import argparse
import contextlib
import functools
import glob
import os
import re
import secrets
from collections.abc import Iterator
from typing import Any

import contactapi
from contactapi import (
    SUBMISSIONS,
    TALLY_OF_SUBMISSION,
    Config,
    Mistake,
    Services,
    Setting,
    Store,
    Unavailable,
    a_database,
    email_key,
    load_extras,
    log,
    on_database,
    open_database,
    open_to_others,
    schema_of,
    trim,
)

ABOUT_BACKUPS = "a backup is put there every night, seven are kept"
SETTINGS = {"CONTACTAPI_BACKUP_DIR": Setting(str, None, ABOUT_BACKUPS)}


def setup(app: Any, services: Services, config: Config) -> None:
    work = functools.partial(nightly_backup, services.store, config.backup_dir)
    services.nightly.append(work)


def nightly_backup(store: Store, folder: str, today: str) -> None:
    """That of this night, and no more than seven."""
    name = r"contactapi-\d{4}-\d\d-\d\d\.db"
    path = os.path.join(folder, f"contactapi-{today}.db")
    if not os.path.exists(path):
        backup(store, path)
    there = sorted(os.listdir(folder))
    kept = [one for one in there if re.fullmatch(name, one)]
    cut_short = [one for one in there if re.fullmatch(name + r"\.\w+\.part", one)]
    for one in cut_short + kept[:-7]:
        os.unlink(os.path.join(folder, one))
    log.info("backed up to %s", path)


# -- new files


def backup(store: Store, path: str) -> None:
    """A copy as of now, compact, in a new file of mode 0600; writers go on."""
    with new_file(path) as part:
        store.run("VACUUM INTO ?", (part,))
        verify(part)


@contextlib.contextmanager
def new_file(path: str) -> Iterator[str]:
    """The name of an empty file of mode 0600 to fill; it takes the name `path` when it
    is complete and on the disk. Mistake if there is such a file already."""
    part = f"{path}.{secrets.token_hex(4)}.part"
    try:
        if os.path.lexists(path):
            raise Mistake(f"{path} is there already")
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            yield part
            with open(part, "rb") as file:
                os.fsync(file.fileno())
            give_name(part, path)
        finally:
            os.unlink(part)
    except OSError as err:
        raise Mistake(f"{path} cannot be made: {err.strerror}") from None


def give_name(part: str, path: str) -> None:
    """Unlike a rename, a link replaces no file; not every file system has links."""
    try:
        os.link(part, path)
    except (PermissionError, NotImplementedError):
        os.rename(part, path)
        open(part, "x").close()  # for the caller to remove


# -- what is wrong with a database


def verify(path: str) -> None:
    """Mistake unless this file is a whole database of ours."""
    if not os.path.isfile(path):
        raise Mistake(f"{path} is no file")
    with contextlib.closing(Store(path)) as store:
        try:
            if not schema_of(store):
                raise Mistake(f"{path} is damaged: no schema")
            wrong = [f"{what}: {found}" for what, found in problems(store) if found]
        except Unavailable as err:
            wrong = [str(err.__cause__)]
    if wrong:
        raise Mistake(f"{path} is damaged: {'; '.join(wrong)}")


def problems(store: Store) -> Iterator[tuple]:
    """(what was checked, what is wrong with it or "")."""
    found = [row[0] for row in store.rows("PRAGMA integrity_check(10)")]
    yield "integrity", "" if found == ["ok"] else "; ".join(found)
    orphans = store.rows("PRAGMA foreign_key_check")[:10]
    yield "orphans", "; ".join(f"{table} {rowid}" for table, rowid, *_ in orphans)
    yield "counters", "; ".join(wrong_tallies(store))
    yield "events", "; ".join(events_without_base(store))


def wrong_tallies(store: Store) -> Iterator[str]:
    counts = {kind.table: f"'{kind.name}'" for kind in contactapi.KINDS}
    counts[SUBMISSIONS.table] = TALLY_OF_SUBMISSION
    tables = {row[0] for row in store.rows("SELECT name FROM sqlite_master")}
    # One that a backup of an older schema lacks has no tally either.
    counted = " UNION ALL ".join(
        f"SELECT workspace_id, {kind} AS kind, 0 AS total, count(*) AS n FROM {table} "
        "GROUP BY 1, 2"
        for table, kind in counts.items()
        if table in tables
    )
    kept = "SELECT workspace_id, kind, total, 0 FROM tally"
    sql = (
        "SELECT workspace.name, kind, sum(total), sum(n) FROM "
        f"({counted} UNION ALL {kept}) JOIN workspace ON workspace.id = workspace_id "
        "GROUP BY workspace_id, kind HAVING sum(total) <> sum(n)"
    )
    for workspace, kind, kept, found in store.rows(sql):
        yield f"{workspace} counts {kept} of {kind} and has {found}"


def events_without_base(store: Store) -> Iterator[str]:
    sql = (
        "SELECT id, base FROM event WHERE base IS NOT NULL AND NOT EXISTS ("
        "SELECT 1 FROM event AS whole WHERE whole.id = event.base "
        "AND whole.base IS NULL AND whole.record = event.record) LIMIT 10"
    )
    columns = store.rows("SELECT name FROM pragma_table_info('event')")
    if ("base",) not in columns:  # a backup of schema 1
        return
    for number, base in store.rows(sql):
        yield f"event {number} rests on {base}, which is not there"


# -- contacts that an upgrade found to have one address

TWINS = (
    "con_%s and con_%s have one address, which counted as two before: both are kept, "
    "the first is found by its id alone: merge them and delete one"
)


def twins(store: Store) -> Iterator[str]:
    """Contacts whose address is another's, since addresses are compared anew."""
    other = "SELECT uid FROM contact WHERE workspace_id = ? AND natural_key = ?"
    for _, uid, workspace, label, key in addresses_with_more(store):
        found = email_key_or(label, key)
        if found != key and (row := store.row(other, (workspace, found))):
            yield TWINS % (uid, row[0])


def addresses_with_more(store: Store) -> Iterator[tuple]:
    """(id, uid, workspace, label, natural key) of each contact whose address is not
    ASCII alone: only those are compared in another way than by case."""
    sql = (
        "SELECT id, uid, workspace_id, label, natural_key FROM contact "
        "WHERE id > ? AND label GLOB '*[^ -~]*' ORDER BY id LIMIT 1000"
    )
    last = 0
    while rows := store.rows(sql, (last,)):
        yield from rows
        last = rows[-1][0]


def email_key_or(label: str, key: str) -> str:
    """An address that was valid once, and is none any more, keeps its key."""
    try:
        return email_key(trim(label))
    except ValueError:
        return key


# -- commands


def backup_arguments(command: argparse.ArgumentParser) -> None:
    run = functools.partial(on_database, run_backup, made=False)
    command.set_defaults(run=run)
    command.add_argument("file", metavar="FILE", help="must not exist")
    verifying = {"action": "store_const", "dest": "run", "const": run_verify}
    command.add_argument("--verify", **verifying, help="check one made before")


def run_backup(services: Services, args: argparse.Namespace) -> None:
    backup(services.store, args.file)
    print(f"{args.file}: {os.path.getsize(args.file)} bytes")


def run_verify(config: Config, args: argparse.Namespace) -> None:
    verify(args.file)
    print(f"{args.file} is whole")


def copy_arguments(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=run_copy)
    command.add_argument("source", metavar="SOURCE_URL")
    command.add_argument("target", metavar="TARGET_URL", help="must be empty")


def run_copy(config: Config, args: argparse.Namespace) -> None:
    """Everything from one database, brought to today's schema, to another, which must
    be empty."""
    try:
        source, target = a_database(args.source), a_database(args.target)
    except ValueError as err:
        raise Mistake(f"give two database URLs: {err}", 2) from None
    if not os.path.exists(source):
        raise Mistake(f"{source} is not there")
    if source == target or (os.path.exists(target) and os.path.getsize(target)):
        raise Mistake(f"{target} is not empty")
    with contextlib.closing(open_database(source)) as store:
        with contextlib.suppress(OSError):  # what stays there is said
            os.unlink(target)
        backup(store, target)
    print(f"{target}: {os.path.getsize(target)} bytes")


def check_arguments(command: argparse.ArgumentParser) -> None:
    run = functools.partial(on_database, run_check, made=False)
    command.set_defaults(run=run)
    about = "rewrite the file: erases, and shrinks it"
    command.add_argument("--compact", action="store_true", help=about)


def run_check(services: Services, args: argparse.Namespace) -> None:
    """A line for each thing; Mistake if one of them is wrong."""
    wrong = 0
    for what, found in problems(services.store):
        print(f"{what}: {found or 'ok'}")
        wrong += bool(found)
    path = services.store.path
    print(f"mode: {open_to_others(path) or 'ok'}")  # no damage
    for pair in twins(services.store):
        print(f"twins: {pair}")
    for kept in glob.glob(f"{glob.escape(path)}.schema-*.backup"):
        print(f"upgrade: {kept} is as it was before; delete it when all is well")
    load_extras(services.calls.config)
    print("configuration: ok")  # or we would not be here
    if wrong:
        raise Mistake(f"{path} is damaged: restore a backup")
    if args.compact:
        before = os.path.getsize(path)
        services.store.rewrite()
        after = os.path.getsize(path)
        print(f"compact: {before} bytes before, {after} after")


COMMANDS = {
    "backup": backup_arguments,
    "copy": copy_arguments,
    "check": check_arguments,
}
