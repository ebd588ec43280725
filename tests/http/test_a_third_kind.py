"""What a kind of record costs: a Kind, a model and a cleaner. Everything else is driven
by KINDS."""

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import contactapi
from client import (
    counts,
    enveloped,
    exported,
    failure,
    feed,
    history,
    jsonl,
    make_key,
    upload,
)
from contactapi import InvalidRequest, Kind, Record
from extras.upkeep import wrong_tallies

SCHEMA_1 = Path(__file__).parent.parent / "store" / "schema-1.sql"

# -- what it costs


class Venue(Record):
    pass


def clean_venue(value):
    """(as written, as compared): three capitals and a number."""
    text = value.strip().upper() if isinstance(value, str) else ""
    if not re.fullmatch(r"[A-Z]{3}[0-9]+", text):
        raise InvalidRequest("code must be three letters and a number", "code")
    return text, text


VENUES = Kind("venue", "venues", "ven", "code", Venue, clean_venue)


@pytest.fixture
def kinds(monkeypatch):
    monkeypatch.setattr(contactapi, "KINDS", (*contactapi.KINDS, VENUES))


@pytest.fixture
def here(kinds, make):
    """An app that has venues, too."""
    return make(CONTACTAPI_RATE_LIMIT="off", CONTACTAPI_INDEX_FIELDS="city")


# -- what one gets for it


def add(api, code, **fields):
    answer = api.post({"code": code, **fields}, "/v1/venues")
    assert answer.status_int == 201, answer.text
    return answer.json


def codes(api, query=""):
    answer = api.get(f"/v1/venues{query}")
    assert answer.status_int == 200, answer.text
    return [one["code"] for one in answer.json["data"]]


def test_a_third_kind_has_the_five_verbs(here):
    made = add(here, " ulm7", city="Ulm")
    assert list(made) == ["id", "code", "city", "created_at", "updated_at"]
    assert made["id"].startswith("ven_") and made["code"] == "ULM7"
    one = f"/v1/venues/{made['id']}"
    assert here.get(one).json == made
    assert add(here, "Ulm7", seats=90)["id"] == made["id"]
    changed = here.ask("PATCH", one, {"code": "BER1"}).json
    assert (changed["code"], changed["city"], changed["seats"]) == ("BER1", "Ulm", 90)
    assert here.ask("DELETE", one).json == {"id": made["id"], "deleted": True}
    assert failure(here.get(one)) == (404, "not_found", None)
    assert failure(here.post({"code": "?"}, "/v1/venues"))[::2] == (400, "code")


def test_a_third_kind_is_listed_filtered_and_counted(here):
    for number in range(5):
        add(here, f"abc{number}", city="Ulm" if number % 2 else "Bonn")
    assert codes(here, "?page_size=2&page=2") == ["ABC2", "ABC1"]
    assert codes(here, "?code=abc3") == ["ABC3"]
    assert codes(here, "?q=ulm") == ["ABC3", "ABC1"]
    assert codes(here, "?filter[city]=Bonn") == ["ABC4", "ABC2", "ABC0"]
    indexes = here.services.store.rows("SELECT name FROM pragma_index_list('venue')")
    assert ("venue_by_" + b"city".hex(),) in indexes
    stats = here.get("/v1/stats").json
    assert (stats["contacts"], stats["companies"], stats["venues"]) == (0, 0, 5)


def test_a_third_kind_has_a_history_and_stands_in_the_log(here):
    ref = add(here, "abc1", city="Ulm")["id"]
    add(here, "abc1", city="Bonn")
    told = [(e["type"], e["record"], e["changed"]) for e in feed(here)["data"]]
    made, changed = ("venue.created", ref, ["code", "city"]), ["city"]
    assert told == [made, ("venue.updated", ref, changed)]
    assert [e["data"]["city"] for e in history(here, ref, kind="venues")] == [
        *("Bonn", "Ulm")
    ]
    path = f"/v1/venues/{ref}/history"
    assert here.ask("DELETE", path).json == {"id": ref, "erased": 2}


def test_a_third_kind_is_imported_and_exported(here):
    lines = jsonl({"code": "abc1", "n": [1]}, {"code": "x"}, {"code": "abc2", "a": "="})
    assert counts(upload(here, lines, "/v1/venues.jsonl")) == (2, 0, 1, [2])
    first = exported(here, "/v1/venues.jsonl")
    assert [one["code"] for one in first] == ["ABC1", "ABC2"]
    content = here.get("/v1/venues.csv").text
    assert content.startswith("id,code,created_at,updated_at,a,n\r\n")
    key = here.key("secret", workspace="copy")
    answer = upload(here, content, "/v1/venues.csv", key=key)
    assert counts(answer) == (2, 0, 0, [])
    second = exported(here, "/v1/venues.jsonl", key=key)
    assert [{**one, "id": 0} for one in second] == [{**one, "id": 0} for one in first]


def test_a_third_kind_has_permissions_of_its_own(here):
    assert {"venues:read", "venues:write"} <= set(contactapi.known_permissions())
    reads = make_key(here, permissions=["venues:read"])["key"]
    add(here, "abc1")
    assert here.get("/v1/venues", key=reads).json["total"] == 1
    posted = here.post({"code": "abc2"}, "/v1/venues", key=reads)
    assert failure(posted) == (403, "forbidden", None)
    assert failure(here.get("/v1/contacts", key=reads)) == (403, "forbidden", None)
    writes = make_key(here, permissions=["venues:write"])["key"]
    receipt = here.post({"code": "abc1", "n": 1}, "/v1/venues", key=writes).json
    assert list(receipt) == ["id", "code", "n", "created_at", "updated_at"]
    public = here.key("publishable")
    assert failure(here.post({"code": "abc3"}, "/v1/venues", key=public))[0] == 403
    assert enveloped(here.get("/api/api-keys"))["keys"][1]["permissions"] == [
        "venues:read"
    ]


def test_the_command_line_knows_a_third_kind(kinds, shell, tmp_path):
    (tmp_path / "in.csv").write_text("code,city\nabc1,Ulm\nabc2,Bonn\n")
    assert shell("keys", "create", "--type", "secret")[0] == 0
    status, out, err = shell("import", "in.csv", "--kind", "venues")
    assert (status, out, err) == (0, "2 created, 0 updated, 0 failed\n", "")
    status, out, err = shell("export", "out.jsonl", "--kind", "venues")
    assert (status, out, err) == (0, "out.jsonl: 2 venues\n", "")
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["city"] for line in lines] == ["Ulm", "Bonn"]
    create = ("keys", "create", "--type", "restricted", "--permission", "venues:read")
    assert shell(*create)[0] == 0


def test_check_backups_and_copies_look_at_a_third_kind(here, shell, tmp_path):
    add(here, "abc1", city="Ulm")
    here.close()
    assert shell("check")[0] == 0
    assert shell("backup", "whole.db")[0] == 0
    assert shell("backup", "--verify", "whole.db")[0] == 0
    url = f"sqlite:///{tmp_path}"
    assert shell("copy", f"{url}/contacts.db", f"{url}/copied.db")[0] == 0
    store = contactapi.open_database(str(tmp_path / "copied.db"))
    assert store.rows("SELECT label FROM venue") == [("ABC1",)]
    store.write(lambda: store.run("UPDATE tally SET total = 7 WHERE kind = 'venue'"))
    assert list(wrong_tallies(store)) == ["default counts 7 of venue and has 1"]
    store.close()


def test_a_backup_of_before_a_third_kind_is_whole_all_the_same(
    shell, tmp_path, monkeypatch, request
):
    assert shell("keys", "create", "--type", "secret")[0] == 0
    assert shell("backup", "old.db")[0] == 0
    request.getfixturevalue("kinds")
    assert shell("backup", "--verify", "old.db")[0] == 0


@pytest.mark.parametrize("schema", ["old", "today's"])
def test_a_file_that_is_there_gets_the_table_of_a_third_kind(
    schema, shell, tmp_path, request
):
    if schema == "old":
        with closing(sqlite3.connect(tmp_path / "contacts.db")) as old:
            old.executescript(SCHEMA_1.read_text())
    else:
        assert shell("keys", "create", "--type", "secret")[0] == 0
    request.getfixturevalue("kinds")
    (tmp_path / "in.csv").write_text("code,city\nabc1,Ulm\nabc1,Bonn\n")
    status, out, _ = shell("import", "in.csv", "--kind", "venues")
    assert (status, out) == (0, "1 created, 1 updated, 0 failed\n")
    assert shell("check")[0] == 0
