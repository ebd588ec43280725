"""The database: its files, its transactions, its failures."""

import contextlib
import os
import sqlite3
import stat
import time
from concurrent.futures import ThreadPoolExecutor

import peewee
import pytest

import contactapi
from client import (
    ADA,
    a_busy_writer,
    failing,
    failure,
    inserted,
    shows,
)
from contactapi import Mistake


def in_job(api, sql):
    """What the writer's connection answers."""
    return api.services.store.write(lambda: api.services.store.row(sql))


def test_the_database_is_in_wal_mode_and_synchronous_full(api):
    assert api.services.store.row("PRAGMA journal_mode") == ("wal",)
    assert in_job(api, "PRAGMA journal_mode") == ("wal",)
    assert in_job(api, "PRAGMA synchronous") == (2,)


def test_what_is_deleted_is_overwritten_and_foreign_keys_hold(api):
    assert in_job(api, "PRAGMA secure_delete") == (1,)
    assert in_job(api, "PRAGMA foreign_keys") == (1,)
    assert api.services.store.row("PRAGMA foreign_keys") == (1,)


def test_every_file_of_the_database_has_mode_0600(make, tmp_path):
    before = os.umask(0)
    try:
        api = make()
        api.add("ada@example.com")
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert set(modes) >= {"contacts.db", "contacts.db-wal"}
    assert set(modes.values()) == {0o600}


def test_what_was_stored_is_there_after_a_restart(make):
    first = make()
    (ref,) = first.add("ada@example.com", plan="pro")
    first.close()
    second = make(like=first)
    answer = second.get(f"/v1/contacts/{ref}", key=first.secret)
    assert shows(answer, {"id": ref, "email": "ada@example.com", "plan": "pro"})


def test_the_schema_version_is_recorded(api):
    version = api.services.store.row("PRAGMA user_version")
    assert version == (contactapi.SCHEMA,)


def test_a_newer_schema_is_refused_and_left_alone(make, tmp_path):
    make().close()
    newer = contactapi.SCHEMA + 1
    with contextlib.closing(sqlite3.connect(tmp_path / "contacts.db")) as other:
        other.execute(f"PRAGMA user_version = {newer}")
    with pytest.raises(Mistake, match=r"contacts\.db") as caught:
        make()
    assert "\n" not in str(caught.value)
    with contextlib.closing(sqlite3.connect(tmp_path / "contacts.db")) as other:
        assert other.execute("PRAGMA user_version").fetchone() == (newer,)


def test_a_database_of_something_else_is_refused_and_left_alone(make, tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "contacts.db")) as other:
        other.execute("CREATE TABLE theirs (id)")
    before = (tmp_path / "contacts.db").read_bytes()
    with pytest.raises(Mistake, match=r"contacts\.db"):
        make()
    assert (tmp_path / "contacts.db").read_bytes() == before


def test_a_database_of_something_else_with_our_version_is_refused(make, tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "contacts.db")) as other:
        other.execute("CREATE TABLE theirs (id)")
        other.execute(f"PRAGMA user_version = {contactapi.SCHEMA}")
    with pytest.raises(Mistake, match=r"contacts\.db"):
        make()


def test_a_file_that_is_no_database_is_refused(make, tmp_path):
    (tmp_path / "contacts.db").write_bytes(b"no database at all, but long enough" * 99)
    with pytest.raises(Mistake, match=r"contacts\.db"):
        make()


def test_a_folder_that_is_not_there_is_refused(make, tmp_path):
    with pytest.raises(Mistake, match=r"nowhere/contacts\.db"):
        make(file="nowhere/contacts.db")
    assert not (tmp_path / "nowhere").exists()


@pytest.fixture
def noted(api):
    """A store with a table of its own, into which the jobs below write."""
    store = api.services.store
    store.write(lambda: store.run("CREATE TABLE jotting (name TEXT)"))
    return store


def notes(store):
    return [name for (name,) in store.rows("SELECT name FROM jotting ORDER BY rowid")]


def grouped(store, *works):
    """What came of these works in one group, and what its commit raised."""
    store.begin()
    group = contactapi.Group(store)
    outcomes = [group.add(work) for work in works]
    try:
        group.commit()
    except contactapi.Unavailable as err:
        return outcomes, err
    return outcomes, None


def test_works_of_one_group_share_one_commit(noted):
    said, names = [], [f"w{n}" for n in range(20)]
    noted.writing.connection().set_trace_callback(said.append)
    outcomes, failure = grouped(noted, *(inserted(noted, name) for name in names))
    assert outcomes == [(name, None) for name in names] and failure is None
    assert said.count("COMMIT") == 1
    assert notes(noted) == names


def test_nothing_of_a_group_is_seen_before_its_commit(noted):
    noted.begin()
    group = contactapi.Group(noted)
    group.add(inserted(noted, "a"))
    assert notes(noted) == []
    group.commit()
    assert notes(noted) == ["a"]


def test_a_group_in_which_one_fails_halfway_leaves_nothing_behind(noted):
    works = [inserted(noted, "a"), failing(noted, "b"), inserted(noted, "c")]
    (first, second, third), failure = grouped(noted, *works)
    assert (first, failure) == (("a", None), None)
    assert isinstance(second.error, LookupError) and third.error is second.error
    assert notes(noted) == []


def test_a_work_that_fails_before_it_changes_anything_disturbs_no_other(noted):
    def refused():
        noted.row("SELECT count(*) FROM jotting")
        raise LookupError

    works = [inserted(noted, "a"), refused, inserted(noted, "b")]
    (first, second, third), failure = grouped(noted, *works)
    assert (first.result, third.result, failure) == ("a", "b", None)
    assert isinstance(second.error, LookupError)
    assert notes(noted) == ["a", "b"]


def test_a_mistyped_statement_is_a_mistake_and_no_outage(noted):
    works = [
        inserted(noted, "a"),
        lambda: noted.run("INSERT INTO no_such_table VALUES (1)"),
        inserted(noted, "b"),
    ]
    (first, second, third), failure = grouped(noted, *works)
    assert (first.result, third.result, failure) == ("a", "b", None)
    assert isinstance(second.error, sqlite3.OperationalError)
    assert notes(noted) == ["a", "b"]


@pytest.mark.parametrize("ask", ["run", "row", "rows"])
def test_bad_sql_stays_what_sqlite_says(noted, ask):
    with pytest.raises(sqlite3.OperationalError, match="syntax"):
        getattr(noted, ask)("SELEC 1")


@pytest.mark.parametrize(
    "code",
    [
        *("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR"),
        *("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_READONLY", "SQLITE_CANTOPEN"),
        *("SQLITE_INTERRUPT", "SQLITE_READONLY_DBMOVED", "SQLITE_IOERR_FSYNC"),
    ],
)
def test_what_an_operator_mends_or_what_passes_is_an_outage(code):
    err = sqlite3.OperationalError("as SQLite says it")
    err.sqlite_errorcode = getattr(sqlite3, code)
    assert isinstance(contactapi.outage(err), contactapi.Unavailable)
    assert isinstance(
        contactapi.outage(peewee.OperationalError(err)), contactapi.Unavailable
    )


@pytest.mark.parametrize(
    "code", ["SQLITE_ERROR", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_MISUSE"]
)
def test_a_mistake_of_ours_is_no_outage(code):
    err = sqlite3.DatabaseError("as SQLite says it")
    err.sqlite_errorcode = getattr(sqlite3, code)
    assert contactapi.outage(err) is err


def test_a_work_that_fails_halfway_and_alone_leaves_nothing_behind(noted):
    with pytest.raises(LookupError, match="a"):
        noted.write(failing(noted, "a"))
    noted.write(inserted(noted, "b"))
    assert notes(noted) == ["b"]


def test_a_work_may_not_begin_another(noted):
    with pytest.raises(AssertionError):
        noted.write(lambda: noted.write(inserted(noted, "a")))
    noted.write(inserted(noted, "b"))
    assert notes(noted) == ["b"]


def test_a_write_waits_for_another_threads(noted):
    with ThreadPoolExecutor(1) as pool:
        with a_busy_writer(noted):
            late = pool.submit(noted.write, inserted(noted, "late"))
            time.sleep(0.05)
            assert not late.done()
        assert late.result() == "late"


def test_an_answered_write_is_seen_by_other_processes(api, tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "contacts.db")) as other:
        api.add("ada@example.com")
        assert other.execute("SELECT label FROM contact").fetchall() == [
            ("ada@example.com",)
        ]


def test_sixteen_threads_and_one_email_make_one_contact(free):
    with ThreadPoolExecutor(16) as pool:
        bodies = [{"email": "ada@example.com", f"field{n}": n} for n in range(16)]
        answers = list(pool.map(free.post, bodies))
    assert {answer.status_int for answer in answers} == {201}
    assert len({answer.json["id"] for answer in answers}) == 1
    listed = free.get("/v1/contacts").json
    assert (listed["total"], len(listed["data"])) == (1, 1)
    assert {f"field{n}": n for n in range(16)}.items() <= listed["data"][0].items()


def test_two_processes_on_one_file_never_see_it_locked(make):
    one = make(CONTACTAPI_RATE_LIMIT="off")
    two = make(like=one, CONTACTAPI_RATE_LIMIT="off")

    def post(n):
        return (one, two)[n % 2].post({"email": f"a{n // 4}@x.org", f"f{n % 4}": n})

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(post, range(160)))
    assert {answer.status_int for answer in answers} == {201}
    listed = two.get("/v1/contacts?page_size=100").json
    assert listed["total"] == 40
    assert {len(contact) for contact in listed["data"]} == {4 + 4}


def test_reads_do_not_wait_for_an_open_write(api):
    (ref,) = api.add("ada@example.com")
    with a_busy_writer(api.services.store):  # which gives up while nobody reads
        assert api.emails() == ["ada@example.com"]
        assert api.get(f"/v1/contacts/{ref}").status_int == 200
        assert api.get("/healthz", key=None).json == {"status": "ok"}


def test_reads_do_not_wait_for_the_write_of_another_process(api, tmp_path):
    api.add("ada@example.com")
    path = tmp_path / "contacts.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM contact")
        assert api.emails() == ["ada@example.com"]
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(api.post, {"email": "bob@example.com"})
            time.sleep(0.05)
            assert not late.done()
            other.execute("ROLLBACK")
            assert late.result().status_int == 201


def test_on_a_full_disk_writes_are_503_reads_go_on_and_nothing_is_lost(api):
    (ref,) = api.add("ada@example.com")
    store = api.services.store

    def fill():
        (pages,) = store.row("PRAGMA page_count")
        store.row(f"PRAGMA max_page_count = {pages}")

    store.write(fill)
    large = {"email": "bob@example.com", "note": "x" * 60_000}
    assert failure(api.post(large)) == (503, "unavailable", None)
    assert api.emails() == ["ada@example.com"]
    assert api.get(f"/v1/contacts/{ref}").status_int == 200
    # the limit was the lost connection's own: the disk has room again
    assert api.post(large).status_int == 201
    assert api.get("/v1/contacts").json["total"] == 2


def test_a_closed_store_is_503_and_not_a_hanging_request(api):
    api.close()
    assert failure(api.post(ADA)) == (503, "unavailable", None)
    assert failure(api.get("/healthz", key=None)) == (503, "unavailable", None)
