"""The database: its files, its transactions, its failures."""

import contextlib
import os
import sqlite3
import stat
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import contactapi
from client import (
    ADA,
    a_busy_writer,
    failing,
    failure,
    hiding_a_failure,
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
    assert version == (len(contactapi.MIGRATIONS),)


def test_a_newer_schema_is_refused_and_left_alone(make, tmp_path):
    make().close()
    newer = len(contactapi.MIGRATIONS) + 1
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
        other.execute(f"PRAGMA user_version = {len(contactapi.MIGRATIONS)}")
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


def waiting_jobs(store, pool, works):
    """These jobs, all queued behind a busy writer, in this order."""
    with a_busy_writer(store):
        futures = []
        for number, work in enumerate(works, 1):
            futures.append(pool.submit(store.write, work))
            deadline = time.monotonic() + 20
            while store.queue.qsize() < number and time.monotonic() < deadline:
                time.sleep(0.001)
    return futures


def test_what_has_queued_up_is_committed_together(noted):
    said, names = [], [f"w{n}" for n in range(20)]

    def listen():
        noted.db.connection().set_trace_callback(said.append)

    noted.write(listen)
    with ThreadPoolExecutor(20) as pool:
        futures = waiting_jobs(noted, pool, [inserted(noted, name) for name in names])
        assert [future.result() for future in futures] == names
    commits = said.count("COMMIT")
    assert 2 <= commits <= 3  # listen's own may be heard, the busy one's, the twenty's
    assert notes(noted) == names


def test_a_jobs_exception_undoes_that_job_alone(noted):
    store = noted
    with ThreadPoolExecutor(3) as pool:
        works = [inserted(store, "a"), failing(store, "b"), inserted(store, "c")]
        first, second, third = waiting_jobs(store, pool, works)
        assert (first.result(), third.result()) == ("a", "c")
        with pytest.raises(LookupError, match="b"):
            second.result()
    assert notes(store) == ["a", "c"]


def test_a_job_that_fails_halfway_and_alone_leaves_nothing_behind(noted):
    with pytest.raises(LookupError, match="a"):
        noted.write(failing(noted, "a"))
    noted.write(inserted(noted, "b"))
    assert notes(noted) == ["b"]


@pytest.mark.parametrize("others", [0, 2])
def test_what_was_undone_is_not_said_to_be_done(noted, others):
    with ThreadPoolExecutor(3) as pool:
        works = [hiding_a_failure(noted, inserted(noted, "a"))]
        works += [inserted(noted, f"n{n}") for n in range(others)]
        first, *rest = waiting_jobs(noted, pool, works)
        with pytest.raises(contactapi.InternalError):
            first.result()
        assert [future.result() for future in rest] == [f"n{n}" for n in range(others)]
    assert notes(noted) == [f"n{n}" for n in range(others)]


def test_a_job_that_fails_before_it_writes_undoes_nothing(noted):
    said = []

    def refused():
        noted.db.connection().set_trace_callback(said.append)
        raise LookupError

    with ThreadPoolExecutor(3) as pool:
        works = [inserted(noted, "a"), refused, inserted(noted, "b")]
        first, second, third = waiting_jobs(noted, pool, works)
        assert (first.result(), third.result()) == ("a", "b")
        with pytest.raises(LookupError):
            second.result()
    assert "ROLLBACK" not in said
    assert notes(noted) == ["a", "b"]


def test_a_refused_request_does_not_undo_those_committed_with_it(make):
    api = make(CONTACTAPI_MAX_BODY="1024")
    store = api.services.store
    api.add("big@example.com", a="x" * 600)
    with ThreadPoolExecutor(3) as pool:
        with a_busy_writer(store):
            bodies = [
                {"email": "one@example.com"},
                {"email": "big@example.com", "b": "x" * 600},
                {"email": "two@example.com"},
            ]
            futures = [pool.submit(api.post, body) for body in bodies]
            deadline = time.monotonic() + 20
            while store.queue.qsize() < 3 and time.monotonic() < deadline:
                time.sleep(0.001)
        assert [f.result().status_int for f in futures] == [201, 413, 201]
    assert set(api.emails()) == {
        "big@example.com",
        "one@example.com",
        "two@example.com",
    }


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
    began = time.monotonic()
    with a_busy_writer(api.services.store):
        assert api.emails() == ["ada@example.com"]
        assert api.get(f"/v1/contacts/{ref}").status_int == 200
        assert api.get("/healthz", key=None).json == {"status": "ok"}
    assert time.monotonic() - began < 5


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
