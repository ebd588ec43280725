"""Ids are random in every bit, and found without an index of them."""

import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

import pytest

import contactapi
from client import hyphenated, jsonl, upload
from contactapi import NumberedUids
from extras.upkeep import backup

SCHEMA_1 = Path(__file__).with_name("schema-1.sql")
OLD_KEY = "ck_secret_nycc7an4gg00fyx472y72tf7pzapma90"
VERSION = 0xF << 76 | 0b11 << 62  # the bits that are the same in every UUID
BITS = [bit for bit in range(128) if not VERSION >> bit & 1]


def numbers(uids):
    return [contactapi.from_base32(uid) for uid in uids]


def unlikely(ones, of):
    """Whether so many ones of fair coins are six standard deviations off."""
    return abs(ones - of / 2) > 3 * of**0.5


@pytest.mark.parametrize(
    "uids",
    [
        [contactapi.new_uid() for _ in range(4000)],
        NumberedUids(b"secret").make(1, 4000),
        NumberedUids(b"secret").make(2**49, 4000),
    ],
    ids=["plain", "numbered", "of high numbers"],
)
def test_every_bit_of_a_uid_is_random_but_those_that_name_its_version(uids):
    made = numbers(uids)
    assert len(set(made)) == 4000
    assert {n & VERSION for n in made} == {4 << 76 | 0b10 << 62}
    assert {uuid.UUID(int=n).version for n in made} == {4}
    alike = [one ^ other for one, other in zip(made, made[1:])]
    for bit in BITS:
        assert not unlikely(sum(n >> bit & 1 for n in made), len(made)), bit
        assert not unlikely(sum(n >> bit & 1 for n in alike), len(alike)), bit


def test_the_ids_of_one_import_share_no_bit(free):
    lines = [{"email": f"p{n}@x.org"} for n in range(2000)]
    assert upload(free, jsonl(*lines)).json["created"] == 2000
    rows = free.services.store.rows("SELECT uid FROM contact ORDER BY id")
    made = numbers(uid for (uid,) in rows)
    alike = [one ^ other for one, other in zip(made, made[1:])]
    for bit in BITS:
        assert not unlikely(sum(n >> bit & 1 for n in alike), len(alike)), bit


@pytest.mark.parametrize("number", [1, 2, 1023, 1024, 10**9, 2**50 - 20])
def test_a_uid_holds_its_rows_number_for_who_has_the_secret(number):
    ours, theirs = NumberedUids(b"secret"), NumberedUids(b"secreT")
    uids = ours.make(number, 20)
    assert [ours.number(uid) for uid in uids] == list(range(number, number + 20))
    assert not {theirs.number(uid) - i for i, uid in enumerate(uids)} & {number}


def test_every_database_has_a_secret_of_its_own_and_copies_have_the_same(
    free, shell, tmp_path
):
    other = contactapi.open_database(str(tmp_path / "other.db"))
    (ref,) = free.add("ada@example.com")
    store = free.services.store
    assert store.uids.number(ref[4:]) == 1 != other.uids.number(ref[4:])
    other.close()
    backup(store, str(tmp_path / "backup.db"))
    assert shell("copy", "sqlite:///contacts.db", "sqlite:///copy.db")[0] == 0
    for name in ("backup.db", "copy.db"):
        store = contactapi.open_database(str(tmp_path / name))
        assert store.uids.number(ref[4:]) == 1
        store.close()


def test_an_id_that_differs_in_any_digit_names_nothing(free):
    (ref,) = free.add("ada@example.com")
    for place in range(4, 30):
        other = "1" if ref[place] == "0" else "0"
        wrong = ref[:place] + other + ref[place + 1 :]
        assert free.get(f"/v1/contacts/{wrong}").status_int == 404
    assert free.get(f"/v1/contacts/{ref}").status_int == 200


def test_an_id_names_one_record_though_its_rows_number_is_used_again(free):
    (gone,) = free.add("ada@example.com")
    free.ask("DELETE", f"/v1/contacts/{gone}")
    (there,) = free.add("eva@example.com")
    number = free.services.store.uids.number
    assert number(gone[4:]) == number(there[4:]) == 1
    for ref, status in ((gone, 404), (there, 200)):
        assert free.get(f"/v1/contacts/{ref}").status_int == status
        uuid_path = f"/api/v1/contacts/{hyphenated(ref)}"
        assert free.get(uuid_path).status_int == status
        assert free.patch(ref, {"a": 1}).status_int == status
        body = {"contact_id": ref, "phone_number": "+442071838750"}
        called = free.post(body, "/api/calls/create").status_int
        assert called == {200: 201, 404: 404}[status]
        calls = free.get(f"/api/calls/list?contact_id={ref}").json["data"]
        assert calls["total"] == len(calls["calls"]) == (status == 200)


def test_an_id_of_another_workspace_or_kind_names_nothing(free):
    (ref,) = free.add("ada@example.com")
    free.post({"name": "Acme"}, "/v1/companies")
    theirs = free.key("secret", workspace="other")
    assert free.get(f"/v1/contacts/{ref}", key=theirs).status_int == 404
    assert free.get(f"/v1/companies/cmp_{ref[4:]}").status_int == 404
    path = f"/api/calls/list?contact_id={ref}"
    assert free.get(path, key=theirs).json["data"]["total"] == 0


@pytest.fixture
def old(tmp_path, make):
    """A client of a file of schema 1, asking with that file's key."""
    with closing(sqlite3.connect(tmp_path / "contacts.db")) as file:
        file.executescript(SCHEMA_1.read_text())
    client = make(CONTACTAPI_RATE_LIMIT="off")
    client.secret = OLD_KEY
    return client


def test_ids_of_schema_1_are_known_as_before(old):
    contacts = old.get("/v1/contacts?page_size=100").json["data"]
    companies = old.get("/v1/companies?page_size=100").json["data"]
    assert contacts and companies
    for shown in contacts:
        ref = shown["id"]
        assert old.get(f"/v1/contacts/{ref}").json == shown
        assert old.get(f"/api/v1/contacts/{hyphenated(ref)}").status_int == 200
    for shown in companies:
        assert old.get(f"/v1/companies/{shown['id']}").json == shown
    calls = old.get("/api/calls/list?limit=100").json["data"]["calls"]
    assert calls
    for call in calls:
        listed = old.get(f"/api/calls/list?contact_id={call['contact_id']}")
        assert call in listed.json["data"]["calls"]
        export = old.get(f"/v1/contacts/{call['contact_id']}/export").json
        assert call in export["calls"]


def test_of_an_old_record_that_is_deleted_no_id_stays(old):
    ref = old.get("/v1/contacts").json["data"][0]["id"]
    store = old.services.store
    known = "SELECT count(*) FROM old_uid WHERE uid = ?"
    assert store.row(known, (ref[4:],)) == (1,)
    assert old.ask("DELETE", f"/v1/contacts/{ref}").status_int == 200
    assert store.row(known, (ref[4:],)) == (0,)
    assert old.get(f"/v1/contacts/{ref}").status_int == 404


def test_no_id_costs_a_page_in_an_index(free):
    sql = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql LIKE '%uid%'"
    names = {name for (name,) in free.services.store.rows(sql)}
    assert names == {"call_uid", "key_uid", "webhook_uid"}
