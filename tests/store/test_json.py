"""The JSON of one record and of many."""

import json

import pytest

import contactapi
from client import counts, exported, hyphenated, jsonl, upload

TIMES_OF_NOTE = (
    "0001-01-01T00:00:00Z",
    "1969-12-31T23:59:59.999999Z",
    "1970-01-01T00:00:00.000001Z",
    "2024-02-29T23:59:59.5Z",
    "2026-07-04T09:59:59.000042Z",
)
FIELDS_OF_NOTE = (
    {},
    {"a": None},
    {'"': '\\"\n\x00\x7f', "é\u2028": "👩\u200d👧"},
    {"n": 1e22, "big": 10**40, "deep": {"a": [{}, [], "x"]}},
    {"}": "{", "": ""},
)


@pytest.mark.parametrize("fields", FIELDS_OF_NOTE)
def test_a_record_among_many_is_spelled_as_alone(free, fields):
    lines = [
        {"email": f"Ä'{n}\\{n}@x.org", **fields, "created_at": time, "updated_at": time}
        for n, time in enumerate(TIMES_OF_NOTE)
    ]
    lines = [{**line, "email": line["email"].replace("\\", "!")} for line in lines]
    assert counts(upload(free, jsonl(*lines))) == (len(lines), 0, 0, [])
    listed = free.get("/v1/contacts").json["data"]
    assert [one["email"] for one in reversed(listed)] == [e["email"] for e in lines]
    for shown in listed:
        assert free.get(f"/v1/contacts/{shown['id']}").json == shown
    raw = free.get("/v1/contacts").body
    for shown in listed:
        assert free.get(f"/v1/contacts/{shown['id']}").body in raw
    exact = [document["created_at"] for document in exported(free)]
    assert [contactapi.parse_time(t) for t in exact] == [
        contactapi.parse_time(t) for t in TIMES_OF_NOTE
    ]


def test_names_of_companies_are_quoted_among_many_as_alone(free):
    names = ['"Quote" & \\Back\\slash', "Ünïcode 株式会社", "</script>\u2028."]
    for name in names:
        assert free.post({"name": name}, "/v1/companies").status_int == 201
    raw = free.get("/v1/companies").body
    for shown in json.loads(raw)["data"]:
        assert shown["name"] in names
        assert free.get(f"/v1/companies/{shown['id']}").body in raw


def test_every_page_of_many_is_there_once_and_in_order(free):
    lines = [{"email": f"c{n}@x.org"} for n in range(2345)]
    assert counts(upload(free, jsonl(*lines))) == (2345, 0, 0, [])
    walked = []
    for page in range(1, 26):
        answer = free.get(f"/v1/contacts?page={page}&page_size=100").json
        assert (answer["total"], answer["total_pages"]) == (2345, 24)
        walked += [one["email"] for one in answer["data"]]
    assert walked == [line["email"] for line in reversed(lines)]
    assert [one["email"] for one in exported(free)] == walked[::-1]


@pytest.mark.parametrize("cap", [1, 3, 10_000])
def test_what_was_changed_since_is_the_same_by_either_index(free, monkeypatch, cap):
    """Above the cap the records are gone through in their order instead."""
    monkeypatch.setattr(contactapi.Records, "CAP", cap)
    ids = free.add(*(f"c{n}@x.org" for n in range(6)))
    free.turn(60)
    for ref in (ids[4], ids[1], ids[0], ids[5]):
        free.patch(ref, {"seen": ref})
    changed = [ids[5], ids[4], ids[1], ids[0]]
    query = "updated_after=2026-07-04T10:00:30Z"
    answer = free.get(f"/v1/contacts?{query}&page_size=3").json
    assert [one["id"] for one in answer["data"]] == changed[:3]
    assert answer["total"] == 4
    answer = free.get(f"/v1/contacts?{query}&page_size=3&page=2").json
    assert [one["id"] for one in answer["data"]] == changed[3:]
    read = free.get("/api/v1/contacts?updated_since=2026-07-04T10:00:30Z").json["data"]
    assert [one["id"] for one in read] == [hyphenated(ref) for ref in changed]
    lines = free.get(f"/v1/contacts.jsonl?{query}").text.splitlines()
    assert [json.loads(line)["id"] for line in lines] == changed[::-1]


def test_no_page_shows_another_workspace_though_the_count_be_wrong(free):
    keys = {name: free.key("secret", workspace=name) for name in ("a", "b", "c")}
    for name, key in keys.items():
        for number in range(5):
            free.post({"email": f"{name}{number}@x.org"}, key=key)
    store = free.services.store
    store.write(lambda: store.run("UPDATE tally SET total = 12"))
    for page in range(1, 13):
        for size in (1, 2, 5, 9):
            path = f"/v1/contacts?page={page}&page_size={size}"
            for name, key in keys.items():
                shown = free.get(path, key=key).json["data"]
                assert {one["email"][0] for one in shown} <= {name}


def test_without_glibc_no_memory_is_given_back(monkeypatch):
    monkeypatch.setattr(contactapi.ctypes, "CDLL", lambda name: object())
    contactapi.give_memory_back()
