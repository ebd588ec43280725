"""What a wire format costs: a class, and its place among WIRES."""

import json

import pytest

import contactapi
from client import NOBODY, hyphenated
from contactapi import COMPANIES, CONTACTS, ReadShape, Wire, dump, parse_uuid, uuid_of

# -- what it costs


class BriefWire(Wire):
    """A list is an array of pairs, and so is a failure."""

    paths = ("/brief/",)
    shapes = {CONTACTS: ReadShape(("email",), ("plan",), True)}
    uid = staticmethod(parse_uuid)

    @staticmethod
    def error(err):
        return dump(["error", err.code])

    @staticmethod
    def one(kind, row):
        return dump([uuid_of(row.uid), row.label])

    @classmethod
    def list(cls, kind, rows, limit):
        return f"[{','.join(cls.one(kind, row) for row in rows[:limit])}]"


@pytest.fixture
def here(make, monkeypatch):
    monkeypatch.setattr(contactapi, "WIRES", (*contactapi.WIRES, BriefWire))
    return make(CONTACTAPI_RATE_LIMIT="off")


# -- what one gets for it


def test_a_fourth_wire_lists_and_shows_in_its_own_words(here):
    first, second, third = here.add("ada@x.org", "eve@x.org", "max@y.org", plan="pro")
    told = [[hyphenated(third), "max@y.org"], [hyphenated(second), "eve@x.org"]]
    assert here.get("/brief/contacts?limit=2").json == told
    assert here.get("/brief/contacts?email=y.org").json == told[:1]
    assert here.get("/brief/contacts?plan=max").json == []
    one = here.get(f"/brief/contacts/{hyphenated(first)}")
    assert one.json == [hyphenated(first), "ada@x.org"]
    listed = here.get("/api/v1/contacts").json["data"]
    assert [record["id"] for record in listed[:2]] == [ref for ref, _ in told]


@pytest.mark.parametrize(
    "path, key, status, code",
    [
        ("/brief/contacts", None, 401, "unauthorized"),
        ("/brief/contacts/7", ..., 400, "invalid_id"),
        (f"/brief/contacts/{NOBODY}", ..., 404, "not_found"),
        ("/brief/companies", ..., 404, "not_found"),
        ("/brief/contacts?limit=0", ..., 400, "invalid_request"),
    ],
)
def test_a_fourth_wire_says_in_its_own_words_what_failed(here, path, key, status, code):
    answer = here.get(path, key=key)
    assert (answer.status_int, json.loads(answer.body)) == (status, ["error", code])


def test_a_fourth_wire_asks_for_the_permission_of_the_kind(here):
    reads = here.key("restricted", COMPANIES.read)
    assert here.get("/brief/contacts", key=reads).json == ["error", "forbidden"]
    assert here.ask("POST", "/brief/contacts", {}).status_int == 405


def test_the_other_wires_spell_their_failures_as_before(here):
    for path, fields in (("/brie", ["error"]), ("/api/calls/7", ["success"])):
        assert list(here.get(path).json)[:1] == fields
    assert contactapi.wire_of("/briefly") is contactapi.NativeWire
    assert contactapi.wire_of("/brief") is BriefWire
    assert contactapi.wire_of("/api/calls/list") is contactapi.EnvelopeWire
