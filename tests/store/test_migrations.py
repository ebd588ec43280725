"""The schema: that of a new file, frozen steps that bring a file of schema 1 to it, and
failures."""

import json
import logging
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import contactapi
from contactapi import Config, Mistake
from extras import history, upgrades, upkeep
from extras.event_log import EventLog
from extras.upgrades import Step

URL = "sqlite:///"
SCHEMA_1 = Path(__file__).with_name("schema-1.sql")
# Tokens of the frozen file's keys.
SECRET = "ck_secret_nycc7an4gg00fyx472y72tf7pzapma90"
KEEPS = "ck_pub_bdf0gz6zg50822cqdxez5zcy4zs0y9dr"
TODAY = contactapi.SCHEMA
# The frozen file has eva@bücher.example and eva@xn--bcher-kva.example.
TWINS_OF_OLD = ("6mjhanr38g8hfv4gs4x6n21xay", "7yjhfqqb6j8ev9f4kt9c7x8c2w")


def file_of(sql, path):
    with closing(sqlite3.connect(path)) as file:
        file.executescript(sql)
    return str(path)


@pytest.fixture
def old(tmp_path):
    """The path of a database of schema 1."""
    return file_of(SCHEMA_1.read_text(), tmp_path / "contacts.db")


def ask(path, sql):
    with closing(sqlite3.connect(path)) as file:
        return file.execute(sql).fetchall()


def dump(path):
    with closing(sqlite3.connect(path)) as file:
        return list(file.iterdump())


def schema(path):
    """Every table's columns in their order with type and default, its references and
    indexes, and whether its numbers are used once: all but how it was written."""
    tables = ask(path, "SELECT name, sql FROM sqlite_master WHERE type = 'table'")
    said = [("AUTOINCREMENT" in sql, "WITHOUT ROWID" in sql) for _, sql in tables]
    return {
        name: (
            said[number],
            ask(path, f'SELECT * FROM pragma_table_xinfo("{name}")'),
            sorted(row[2:] for row in ask(path, f'PRAGMA foreign_key_list("{name}")')),
            sorted(indexes(path, name)),
        )
        for number, (name, _) in enumerate(tables)
    }


def indexes(path, table):
    for _, name, *rest in ask(path, f'PRAGMA index_list("{table}")'):
        yield name, rest, ask(path, f'PRAGMA index_xinfo("{name}")')


def take(monkeypatch, *steps):
    """Has these steps lead on from schema 1."""
    monkeypatch.setattr(contactapi, "SCHEMA", 1 + len(steps))
    monkeypatch.setattr(upgrades, "STEPS", dict(enumerate(steps, 1)))


def test_an_old_file_and_a_new_one_have_the_same_schema(old, tmp_path):
    new = str(tmp_path / "new.db")
    for path in (old, new):
        store = contactapi.open_database(path)
        for extra in contactapi.EXTRAS:
            contactapi.equip(extra, store)
        store.close()
    assert schema(old) == schema(new)
    assert len(schema(new)) > 10 and schema(new)["contact"][1]
    assert ask(old, "PRAGMA user_version") == ask(new, "PRAGMA user_version")
    assert ask(old, "PRAGMA application_id") == ask(new, "PRAGMA application_id")
    secret = "SELECT length(value) FROM note WHERE name = 'uid secret'"
    assert ask(old, secret) == ask(new, secret) == [(64,)]


@pytest.mark.parametrize(
    "change",
    [
        *("ALTER TABLE event ADD COLUMN more", "DROP INDEX answer_call_id"),
        "ALTER TABLE event DROP COLUMN restated",
        "CREATE INDEX more ON call (status)",
    ],
)
def test_the_test_of_the_two_schemas_sees_what_differs(tmp_path, change):
    path = str(tmp_path / "new.db")
    contactapi.open_database(path).close()
    before = schema(path)
    ask(path, change)
    assert schema(path) != before


def test_a_step_leads_from_every_schema_to_the_next():
    assert list(upgrades.STEPS) == list(range(1, contactapi.SCHEMA))


def test_a_file_of_schema_1_keeps_what_it_held(old):
    before = {
        table: ask(old, f'SELECT count(*) FROM "{table}"')[0][0]
        for (table,) in ask(old, "SELECT name FROM sqlite_master WHERE type = 'table'")
    }
    assert before["contact"] == 12 and before["event"] == 32
    hashes = ask(old, 'SELECT uid, hash, last_used_at FROM "key" ORDER BY id')
    events = ask(old, "SELECT id, type, record, data FROM event ORDER BY id")
    del before["note"]  # which has the secret of the uids now
    del before["sqlite_sequence"]  # which counts deliveries, too
    del before["tally"]  # which counts submissions, too
    contactapi.open_database(old).close()
    assert hashes == ask(old, 'SELECT uid, hash, last_used_at FROM "key" ORDER BY id')
    assert events == ask(old, "SELECT id, type, record, data FROM event ORDER BY id")
    for table, count in before.items():
        assert ask(old, f'SELECT count(*) FROM "{table}"') == [(count,)], table
    assert ask(old, "PRAGMA foreign_key_check") == []


def test_a_file_of_schema_1_is_served_as_it_was(old):
    config = Config.from_env({"DATABASE_URL": f"sqlite:///{old}"})
    services = contactapi.open_services(config)
    caller = services.keys.find(SECRET)
    page = services.contacts.page(caller.workspace, (), 1, 100)
    assert page.total == 11
    shown = contactapi.NativeWire.page(contactapi.CONTACTS, page, 1, 100)
    for text in ("Ada@Example.com", "12345678901234567890123", "Grace 😀 Ünïcode"):
        assert text in shown
    assert services.keys.find(KEEPS).existing == "keep"
    assert services.keys.find(KEEPS).domains == ("localhost",)
    assert [what for what, found in upkeep.problems(services.store) if found] == []
    services.close()


def test_what_a_record_still_was_after_its_history_was_erased_is_in_no_history(old):
    contactapi.open_database(old).close()
    found = ask(old, "SELECT id, owner, subject FROM event WHERE restated")
    assert found == [(14, "contact", 9)]
    services = contactapi.open_services(Config.from_env({"DATABASE_URL": URL + old}))
    caller, ref = services.keys.find(SECRET), "con_1kbewj5h658cfa09xe0448q83n"
    uid = contactapi.CONTACTS.uid(ref)
    events = EventLog(services.submissions)
    page = history.feed(events, caller.workspace, 13, 1)
    assert [row.id for row in page.rows] == [14]
    records = services.contacts
    assert history.history(events, records, caller.workspace, uid, None, 9).rows == []
    work = history.forgetting(records, caller, uid)
    assert services.store.write(work) == 1
    services.close()


def test_what_stood_in_events_becomes_accepted_submissions_of_their_time(old, make):
    events = ask(
        old,
        "SELECT event.created_at, key, submitted, contact.uid FROM event "
        "JOIN contact ON contact.id = subject WHERE submitted IS NOT NULL "
        "ORDER BY event.id",
    )
    assert len(events) == 3
    count = "SELECT count(*) FROM event WHERE type NOT LIKE 'key.%'"
    log = ask(old, count)
    api = make()
    told = api.get("/v1/submissions").json
    assert told["total"] == 3
    for (at, key, text, uid), shown in zip(events, reversed(told["data"])):
        fields = json.loads(text)
        assert shown["fields"] == fields and shown["email"] == fields["email"]
        assert (shown["key"], shown["contact"]) == (key, f"con_{uid}")
        assert (shown["state"], shown["reason"]) == ("accepted", None)
        assert shown["created_at"] == shown["updated_at"] == contactapi.iso(at)
        assert shown["confirmed_at"] is None
        assert api.get(f"/v1/submissions/{shown['id']}").json == shown
        (found,) = api.get(f"/v1/submissions?q={fields['email']}&page_size=1").json[
            "data"
        ]
        assert found["email"] == fields["email"]
    assert ask(old, count) == log
    assert [found for _, found in upkeep.problems(api.services.store) if found] == []


def test_what_the_dialler_of_schema_1_was_to_do_is_in_the_outbox(old):
    contactapi.open_database(old).close()
    sql = "SELECT sender, target, call_id, state, tries, due_at FROM delivery"
    assert ask(old, "SELECT DISTINCT endpoint FROM delivery") == [("dialler",)]
    endpoints = ask(old, "SELECT name, sender, due_at FROM endpoint")
    assert endpoints == [("dialler", "call", 1783000107500000)]
    assert ask(old, f"{sql} ORDER BY id") == [
        ("hangup", "+442079460002", 3, "waiting", 0, 1783000107500000),
        ("call", "+442079460003", 4, "sending", 1, 1783000113750000 + 20_000_000),
        ("call", "+442079460004", 5, "waiting", 0, 1783000122500000),
    ]
    sids = ask(old, "SELECT sid, sequence FROM call WHERE sid IS NOT NULL")
    assert sids == [(f"CA{'1' * 32}", 2), (f"CA{'2' * 32}", -1)]


def test_the_dialler_goes_on_where_it_stopped_in_schema_1(old, make, twilio):
    client = make("contacts.db", **twilio.settings)
    client.clock.now = 1783000123.0  # a moment after the newest was asked for
    while client.services.outbox.step():
        pass
    assert twilio.ended == ["CA" + "2" * 32]
    assert [form["To"] for form in twilio.placed] == ["+442079460004"]
    client.turn(20)
    assert not client.services.outbox.step()
    calls = client.get("/api/calls/list", key=SECRET).json["data"]["calls"]
    shown = {call["phone_number"]: (call["status"], call["reason"]) for call in calls}
    assert shown["+442079460002"] == ("canceled", None)
    interrupted = "interrupted: it may have got through"
    assert shown["+442079460003"] == ("failed", interrupted)
    assert shown["+442079460004"] == ("queued", None)
    assert len(twilio.requests) == 2


def test_a_copy_of_the_old_file_stands_beside_the_new(old, tmp_path, caplog):
    before = dump(old)
    with caplog.at_level(logging.INFO, "contactapi"):
        contactapi.open_database(old).close()
    kept = tmp_path / "contacts.db.schema-1.backup"
    assert dump(kept) == before
    assert stat.S_IMODE(os.stat(kept).st_mode) == 0o600
    assert ask(kept, "PRAGMA user_version") == [(1,)]
    assert [record.getMessage() for record in caplog.records] == [
        f"{old}: from schema 1 to {TODAY}",
        f"as it was it is kept in {kept}: delete that when all is well",
        upkeep.TWINS % TWINS_OF_OLD,
    ]


def test_a_copy_that_an_earlier_try_left_is_made_anew(old, tmp_path):
    kept = tmp_path / "contacts.db.schema-1.backup"
    kept.write_text("cut short")
    contactapi.open_database(old).close()
    assert len(ask(kept, "SELECT * FROM contact")) == 12


def test_no_copy_is_made_of_a_new_file_nor_where_no_row_changes(
    old, tmp_path, monkeypatch
):
    contactapi.open_database(str(tmp_path / "new.db")).close()
    take(monkeypatch, Step(("CREATE TABLE added (id);\n",)))
    contactapi.open_database(old).close()
    assert list(tmp_path.glob("*.backup")) == []
    assert ask(old, "SELECT * FROM added") == []


def test_a_backup_of_schema_1_is_still_verified_and_left_alone(old):
    before = Path(old).read_bytes()
    upkeep.verify(old)
    assert Path(old).read_bytes() == before


def test_a_backup_of_a_newer_schema_is_not_called_damaged(old):
    ask(old, f"PRAGMA user_version = {TODAY + 1}")
    with pytest.raises(Mistake, match=f"has schema {TODAY + 1}; this contactapi"):
        upkeep.verify(old)


def broken_function(store):
    store.run("DELETE FROM contact")
    raise ValueError("nobody expected this")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("DELETE FROM event;\nINSERT INTO nowhere VALUES (1);\n", "nowhere"),
        ("DELETE FROM event;\nINSERT INTO note VALUES (NULL, NULL);\n", "NOT NULL"),
        (broken_function, "nobody expected this"),
    ],
)
def test_a_step_that_fails_leaves_the_file_as_it_was(old, monkeypatch, fault, said):
    before, fault = dump(old), Step((fault,), rewrites=True)
    take(monkeypatch, *upgrades.STEPS.values(), fault)
    with pytest.raises(Mistake, match=re.escape(f"{old} stays at schema 1: ")) as err:
        contactapi.open_database(old)
    assert said in str(err.value) and "\n" not in str(err.value)
    assert dump(old) == before
    assert ask(old, "PRAGMA user_version") == [(1,)]
    monkeypatch.undo()
    contactapi.open_database(old).close()
    assert ask(old, "PRAGMA user_version") == [(TODAY,)]


KILLED_HALFWAY = """
import os, signal, sys, contactapi
from extras import upgrades

def step(store):
    store.run("DELETE FROM contact")
    os.kill(os.getpid(), signal.SIGKILL)

upgrades.STEPS[contactapi.SCHEMA] = upgrades.Step((step,))
contactapi.SCHEMA += 1
contactapi.open_database(sys.argv[1])
"""


def test_a_process_that_is_killed_within_a_step_leaves_the_file_as_it_was(old):
    before, folder = dump(old), Path(contactapi.__file__).parent
    ended = subprocess.run([sys.executable, "-c", KILLED_HALFWAY, old], cwd=folder)
    assert ended.returncode == -signal.SIGKILL
    assert dump(old) == before and ask(old, "PRAGMA user_version") == [(1,)]
    contactapi.open_database(old).close()
    assert ask(old, "PRAGMA user_version") == [(TODAY,)]


def test_check_names_the_copy_until_it_is_deleted(old, tmp_path, shell):
    kept = tmp_path / "contacts.db.schema-1.backup"
    assert f"upgrade: {kept} is as it was before" in shell("check")[1]
    kept.unlink()
    assert "upgrade" not in shell("check")[1]


def test_a_copy_that_cannot_be_made_leaves_the_file_as_it_was(old, tmp_path):
    (tmp_path / "contacts.db.schema-1.backup").mkdir()
    before = dump(old)
    with pytest.raises(Mistake, match=r"contacts\.db"):
        contactapi.open_database(old)
    assert dump(old) == before


def test_processes_that_start_at_once_migrate_once(old, tmp_path):
    command = [sys.executable, contactapi.__file__, "keys", "list"]
    env = {**os.environ, "DATABASE_URL": f"sqlite:///{old}"}
    started = [
        subprocess.Popen(command, env=env, stdout=-1, stderr=-1, text=True)
        for _ in range(4)
    ]
    ends = [(process.communicate(), process.returncode) for process in started]
    assert {(len(out.splitlines()), code) for (out, _), code in ends} == {(6, 0)}
    said = "".join(err for (_, err), _ in ends)
    assert said.count(f"from schema 1 to {TODAY}") == 1
    assert len(list(tmp_path.glob("*.backup"))) == 1
    assert len(ask(old, "SELECT * FROM contact")) == 12
