"""Imports and exports of whole files."""

import contextlib
import io
import json
import re
import threading

import pytest
import webtest

import contactapi
from client import (
    ADA,
    MEDIA,
    UNKNOWN,
    counts,
    exported,
    failure,
    fields_of,
    jsonl,
    upload,
)
from extras import spreadsheets
from processes import until

FILES = [f"/v1/{kind}.{form}" for kind in ("contacts", "companies") for form in MEDIA]


def log_size(api):
    sql = "SELECT count(*) FROM event WHERE type NOT LIKE 'key.%'"
    return api.services.store.row(sql)[0]


@pytest.mark.parametrize("kind, key", [("contacts", "email"), ("companies", "name")])
def test_jsonl_is_taken_in_and_the_report_counts(free, kind, key):
    path = f"/v1/{kind}.jsonl"
    lines = jsonl({key: "a@x.org", "n": 1}, {key: "b@x.org"}, {key: "A@X.org", "n": 2})
    assert counts(upload(free, lines, path)) == (2, 1, 0, [])
    assert counts(upload(free, lines, path)) == (0, 3, 0, [])
    shown = free.get(f"/v1/{kind}").json["data"]
    assert [(one[key], one.get("n")) for one in shown] == [
        ("b@x.org", None),
        ("A@X.org", 2),
    ]


@pytest.mark.parametrize("kind, key", [("contacts", "email"), ("companies", "name")])
def test_csv_is_taken_in_and_the_report_counts(free, kind, key):
    path = f"/v1/{kind}.csv"
    lines = f"{key},plan,note\r\na@x.org,pro,\r\nb@x.org,5,x\r\nA@x.org,max,y\r\n"
    assert counts(upload(free, lines, path)) == (2, 1, 0, [])
    shown = free.get(f"/v1/{kind}").json["data"]
    assert [(one[key], one["plan"], one["note"]) for one in shown] == [
        ("b@x.org", "5", "x"),
        ("A@x.org", "max", "y"),
    ]


@pytest.mark.parametrize("kind, key", [("contacts", "email"), ("companies", "name")])
@pytest.mark.parametrize("form", MEDIA)
def test_the_command_line_takes_in_the_same(shell, make, tmp_path, kind, key, form):
    content = {
        "csv": f"{key},plan\na@x.org,pro\n,none\nb@x.org,pro\na@x.org,max\n",
        "jsonl": jsonl(
            {key: "a@x.org", "plan": "pro"},
            {"plan": "none"},
            {key: "b@x.org", "plan": "pro"},
            {key: "a@x.org", "plan": "max"},
        ),
    }[form]
    (tmp_path / f"in.{form}").write_text(content)
    status, out, err = shell("import", f"in.{form}", "--kind", kind)
    assert (status, out) == (1, "2 created, 1 updated, 1 failed\n")
    bad = {"csv": 3, "jsonl": 2}[form]
    assert re.search(rf"^line {bad}: {key} is required$", err, re.MULTILINE), err
    assert "Traceback" not in err
    shown = make().get(f"/v1/{kind}").json["data"]
    assert [(one[key], one["plan"]) for one in shown] == [
        ("b@x.org", "pro"),
        ("a@x.org", "max"),
    ]


def test_an_import_without_a_failure_says_so_and_exits_0(shell, tmp_path):
    (tmp_path / "in.jsonl").write_text(jsonl({"email": "a@x.org"}))
    assert shell("import", "in.jsonl") == (0, "1 created, 0 updated, 0 failed\n", "")
    assert shell("import", "in.jsonl") == (0, "0 created, 1 updated, 0 failed\n", "")


def test_the_command_line_takes_files_to_the_workspace_it_names(shell, make, tmp_path):
    shell("keys", "create", "--type", "secret", "--workspace", "shop")
    (tmp_path / "in.jsonl").write_text(jsonl({"email": "a@x.org"}))
    assert shell("import", "in.jsonl", "--workspace", "shop")[0] == 0
    assert shell("export", "out.jsonl", "--workspace", "shop")[0] == 0
    assert shell("export", "none.jsonl")[0] == 0
    assert json.loads((tmp_path / "out.jsonl").read_text())["email"] == "a@x.org"
    assert (tmp_path / "none.jsonl").read_text() == ""
    api = make()
    assert api.emails() == []
    key = api.key("secret", workspace="shop")
    assert api.get("/v1/contacts", key=key).json["total"] == 1


DEEP = b"[" * 64 + b"]" * 64
BAD_LINES = {
    "not UTF-8": b'{"email":"x@x.org","a":"\xff"}',
    "Latin-1": '{"email":"x@x.org","a":"Grün"}'.encode("latin-1"),
    "not JSON": b'{"email":"x@x.org"',
    "two objects": b'{"email":"x@x.org"} {"email":"y@x.org"}',
    "an array": b'[{"email":"x@x.org"}]',
    "a text": b'"x@x.org"',
    "null": b"null",
    "no email": b'{"name":"Ada"}',
    "null email": b'{"email":null}',
    "email in another case": b'{"Email":"x@x.org"}',
    "no valid email": b'{"email":"x at x.org"}',
    "email of a number": b'{"email":5}',
    "NaN": b'{"email":"x@x.org","a":NaN}',
    "no double": b'{"email":"x@x.org","a":1e400}',
    "4301 digits": b'{"email":"x@x.org","a":' + b"9" * 4301 + b"}",
    "half a surrogate": b'{"email":"x@x.org","a":"\\ud800"}',
    "too deep": b'{"email":"x@x.org","a":' + DEEP + b"}",
    "far too deep": b'{"email":"x@x.org","a":' + b"[" * 100_000 + b"}",
    "fields over the limit": b'{"email":"x@x.org","a":"' + b"x" * 65536 + b'"}',
    "a line over the limit": b'{"email":"x@x.org","a":"' + b"x" * 300_000 + b'"}',
    "a line of 3 MB": b"x" * 3_000_000,
}


@pytest.mark.parametrize("bad", BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_of_jsonl_stops_nothing_and_is_named(free, bad):
    lines = b'{"email":"a@x.org"}\n' + bad + b'\n{"email":"b@x.org"}'
    assert counts(upload(free, lines)) == (2, 0, 1, [2])
    assert free.emails() == ["b@x.org", "a@x.org"]
    assert free.get("/v1/stats").json["contacts"] == 2
    assert log_size(free) == 2


BAD_ROWS = {
    "not UTF-8": b"x@x.org,\xff,,",
    "Latin-1": "x@x.org,Grün,,".encode("latin-1"),
    "no email": b",Ada,,",
    "no valid email": b"x at x.org,Ada,,",
    "too many cells": b"x@x.org,Ada,,,extra",
    "fields over the limit": b"x@x.org," + b"x" * 65536 + b",,",
    "a cell over csv's own limit": b"x@x.org," + b"x" * 140_000 + b",,",
    "a line over the limit": b"x@x.org," + b"x" * 300_000 + b",,",
    "a line of 3 MB": b"x@x.org," + b"x" * 3_000_000 + b",,",
}


@pytest.mark.parametrize("bad", BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_line_of_csv_stops_nothing_and_is_named(free, bad):
    rows = [b"email,name,created_at,updated_at", b"a@x.org,A,,", bad, b"b@x.org,B,,"]
    content = b"\r\n".join(rows) + b"\r\n"
    assert counts(upload(free, content, "/v1/contacts.csv")) == (2, 0, 1, [3])
    assert free.emails() == ["b@x.org", "a@x.org"]
    assert log_size(free) == 2
    key = free.key("secret", workspace="other")
    answer = upload(free, b"\n".join(rows), "/v1/contacts.csv", key=key)
    assert counts(answer) == (2, 0, 1, [3])


@pytest.mark.parametrize("form", MEDIA)
def test_a_bad_line_of_a_company_is_named_too(free, form):
    path, long = f"/v1/companies.{form}", "x" * 201
    content = {
        "jsonl": jsonl({"name": "A"}, {"name": long}, {"name": " "}, {"name": "B"}),
        "csv": f"name,a\nA,\n{long},\n  ,x\nB,\n",
    }[form]
    first = {"jsonl": 2, "csv": 3}[form]
    assert counts(upload(free, content, path)) == (2, 0, 2, [first, first + 1])


def test_bad_lines_are_named_by_their_number_in_later_batches_too(free):
    bad = (1, 500, 501, 502, 1000, 1001, 1203)
    lines = [
        "nonsense\n" if n in bad else jsonl({"email": f"u{n}@x.org"})
        for n in range(1, 1204)
    ]
    assert counts(upload(free, "".join(lines))) == (1196, 0, 7, list(bad))


def test_empty_lines_are_passed_over_and_count_as_lines(free):
    content = '\n{"email":"a@x.org"}\r\n  \r\nnonsense\n\n'
    assert counts(upload(free, content)) == (1, 0, 1, [4])
    content = "email\n\na@x.org\r\n\r\nnonsense\n\n"
    assert counts(upload(free, content, "/v1/contacts.csv")) == (0, 1, 1, [5])


def test_lines_after_a_quoted_line_end_are_named_by_their_place_in_the_file(free):
    content = 'email,note\na@x.org,"two\nlines"\nnonsense,x\n'
    answer = upload(free, content, "/v1/contacts.csv")
    assert counts(answer) == (1, 0, 1, [4])


def test_a_report_shows_its_first_100_errors_and_counts_all(free):
    answer = upload(free, "nonsense\n" * 150 + jsonl({"email": "a@x.org"}))
    assert counts(answer) == (1, 0, 150, list(range(1, 101)))


def test_the_message_of_a_bad_line_says_what_is_wrong(free):
    content = jsonl({}, {"email": "no"}, {"email": "a@x.org", "x": "x" * 65536})
    answer = upload(free, content)
    one, two, three = [error["message"] for error in answer.json["errors"]]
    assert one == "email is required"
    assert two == "email must be a valid address"
    assert "65536" in three


@pytest.mark.parametrize("path", FILES)
def test_an_empty_file_takes_in_nothing(free, path):
    answer = upload(free, b"", path)
    if path.endswith("jsonl"):
        assert counts(answer) == (0, 0, 0, [])
    else:
        assert failure(answer) == (400, "invalid_request", None)


@pytest.mark.parametrize(
    "head",
    [
        b"name,plan",
        b"\xff\xfee\0m\0a\0i\0l\0",
        b"[]",
        b"\0",
        b'"email',
        "email;Größe".encode("latin-1"),
        "email,Größe".encode("latin-1"),
    ],
    ids=ascii,
)
def test_a_csv_whose_first_line_cannot_be_used_is_400_and_stores_nothing(free, head):
    row = b"\na@x.org;5\n" if b";" in head else b"\na@x.org,5\n"
    answer = upload(free, head + row, "/v1/contacts.csv")
    assert failure(answer) == (400, "invalid_request", None)
    assert free.emails() == []


def test_a_columns_name_that_is_far_too_long_stores_nothing(free):
    head = b"email," + b"x" * 140_000
    answer = upload(free, head + b"\na@x.org,5\n", "/v1/contacts.csv")
    assert answer.status_int == 400 or counts(answer) == (0, 0, 1, [2])
    assert free.emails() == []


@pytest.mark.parametrize("form", MEDIA)
def test_a_new_record_keeps_the_times_of_its_line(free, form):
    created, updated = "2020-01-02T03:04:05.678901Z", "2021-12-31T23:59:59.000001Z"
    content = {
        "jsonl": jsonl(
            {"email": "new@x.org", "created_at": "2026-07-04T12:00:00+02:00"},
            {"email": "a@x.org", "created_at": created, "updated_at": updated},
            {"email": "b@x.org", "created_at": "2019-05-06"},
        ),
        "csv": "created_at,email,updated_at\n"
        "2026-07-04T12:00:00+02:00,new@x.org,\n"
        f"{created},a@x.org,{updated}\n2019-05-06,b@x.org,\n",
    }[form]
    assert counts(upload(free, content, f"/v1/contacts.{form}")) == (3, 0, 0, [])
    shown = [(c["email"], c["created_at"], c["updated_at"]) for c in exported(free)]
    assert shown == [
        ("b@x.org", "2019-05-06T00:00:00.000000Z", "2019-05-06T00:00:00.000000Z"),
        ("a@x.org", created, updated),
        ("new@x.org", "2026-07-04T10:00:00.000000Z", "2026-07-04T10:00:00.000000Z"),
    ]
    assert free.emails() == ["new@x.org", "a@x.org", "b@x.org"]
    one = free.get("/v1/contacts?email=a@x.org").json["data"][0]
    assert one["created_at"] == "2020-01-02T03:04:05Z"


@pytest.mark.parametrize(
    "moment", ["1970-01-01T00:00:00Z", "1969-12-31T23:59:59.5Z", "0001-01-01"]
)
@pytest.mark.parametrize("name", ["created_at", "updated_at"])
def test_a_time_of_long_ago_is_a_time(free, moment, name):
    shown = {
        "1970-01-01T00:00:00Z": "1970-01-01T00:00:00.000000Z",
        "1969-12-31T23:59:59.5Z": "1969-12-31T23:59:59.500000Z",
        "0001-01-01": "0001-01-01T00:00:00.000000Z",
    }
    answer = upload(free, jsonl({"email": "a@x.org", name: moment}))
    assert counts(answer) == (1, 0, 0, [])
    assert exported(free)[0][name] == shown[moment]


def test_a_known_record_keeps_its_own_created_at_and_is_updated_now(free):
    free.add("a@x.org", plan="pro")
    free.turn(60)
    times = {"created_at": "2020-01-01", "updated_at": "2020-01-01"}
    upload(free, jsonl({"email": "a@x.org", "plan": "max", **times}))
    (one,) = free.get("/v1/contacts").json["data"]
    assert (one["plan"], one["created_at"], one["updated_at"]) == (
        "max",
        "2026-07-04T10:00:00Z",
        "2026-07-04T10:01:00Z",
    )


def test_an_import_writes_over_the_fields_sent_and_the_others_stay(free):
    free.add("a@x.org", plan="pro", city="Ulm", tags=["x"])
    upload(free, jsonl({"email": "a@x.org", "plan": None, "new": 1}))
    upload(free, "email,city,tags\na@x.org,,\n", "/v1/contacts.csv")
    (one,) = exported(free)
    assert fields_of(one) == {"plan": None, "city": "Ulm", "tags": ["x"], "new": 1}


@pytest.mark.parametrize("form", MEDIA)
def test_a_line_that_changes_nothing_counts_as_updated_and_makes_no_event(free, form):
    free.add("a@x.org", plan="pro", city="Ulm")
    before, size = free.get("/v1/contacts").json, log_size(free)
    free.turn(60)
    line = {"email": "a@x.org", "plan": "pro", "created_at": "2020-01-01T00:00:00Z"}
    content = {"jsonl": jsonl(line), "csv": "email,plan,city\na@x.org,pro,\n"}[form]
    answer = upload(free, content, f"/v1/contacts.{form}")
    assert counts(answer) == (0, 1, 0, [])
    assert free.get("/v1/contacts").json == before
    assert log_size(free) == size


def test_a_line_that_changes_a_type_alone_changes_the_record(free):
    free.add("a@x.org", n=1)
    assert counts(upload(free, jsonl({"email": "a@x.org", "n": True})))[1] == 1
    assert counts(upload(free, jsonl({"email": "a@x.org", "n": 1.0})))[1] == 1
    assert exported(free)[0]["n"] == 1.0 and isinstance(exported(free)[0]["n"], float)
    assert log_size(free) == 3


@pytest.mark.parametrize("form", MEDIA)
def test_the_id_of_a_line_is_ignored(free, form):
    (ref,) = free.add("a@x.org", plan="pro")
    content = {
        "jsonl": jsonl({"id": ref, "email": "b@x.org", "plan": "max"}),
        "csv": f"id,email,plan\n{ref},b@x.org,max\n",
    }[form]
    assert counts(upload(free, content, f"/v1/contacts.{form}")) == (1, 0, 0, [])
    one, other = exported(free)
    assert (one["id"], one["plan"]) == (ref, "pro")
    assert other["id"] != ref and (other["email"], other["plan"]) == ("b@x.org", "max")


@contextlib.contextmanager
def sql_of_the_writer(store):
    """A list that fills with each statement of the writer's connection."""
    said = []

    def listen(callback):
        store.write(lambda: store.writing.connection().set_trace_callback(callback))

    listen(said.append)
    yield said
    listen(None)


def test_many_lines_of_one_second_get_a_place_each_by_one_look_up(free):
    def lines(start, stop):
        when = "2020-01-01T00:00:00Z"
        many = (
            {"email": f"u{n}@x.org", "created_at": when} for n in range(start, stop)
        )
        return jsonl(*many)

    counted = []
    for start, stop in ((0, 1000), (1000, 3000)):
        with sql_of_the_writer(free.services.store) as said:
            answer = upload(free, lines(start, stop))
        assert counts(answer) == (stop - start, 0, 0, [])
        counted.append(len(said) / (stop - start))
    assert max(counted) < 8 and abs(counted[0] - counted[1]) < 0.5
    shown = [(c["email"], c["created_at"]) for c in exported(free)]
    assert shown == [
        (f"u{n}@x.org", f"2020-01-01T00:00:00.{n:06}Z") for n in range(3000)
    ]


def test_the_look_up_of_a_place_uses_the_index(free):
    lines = [{"email": f"u{n}@x.org", "created_at": "2020-01-01"} for n in range(5)]
    upload(free, jsonl(*lines[:2]))
    with sql_of_the_writer(free.services.store) as said:
        upload(free, jsonl(*lines[2:]))
    asked = [
        sql for sql in said if re.match("SELECT.*created_at (>=|IN|=) ?[0-9(]", sql)
    ]
    assert asked
    for sql in asked:
        plans = free.services.store.rows(f"EXPLAIN QUERY PLAN {sql}")
        plans = [plan for *_, plan in plans]
        assert "created_at" in plans[-1] and not any("SCAN" in p for p in plans), plans


@pytest.mark.parametrize(
    "kind, permissions, import_status, export_status",
    [
        ("secret", (), 200, 200),
        ("restricted", ("contacts:read", "contacts:write"), 200, 200),
        ("restricted", ("contacts:read",), 403, 200),
        ("restricted", ("contacts:write",), 403, 403),
        ("restricted", ("companies:read", "companies:write"), 403, 403),
        ("restricted", ("contacts:write", "companies:read"), 403, 403),
        ("publishable", (), 403, 403),
        (None, (), 401, 401),
    ],
)
def test_imports_need_both_permissions_and_exports_the_reading_one(
    free, kind, permissions, import_status, export_status
):
    key = free.key(kind, *permissions) if kind else None
    contents = {"csv": "email\na@x.org\n", "jsonl": '{"email":"a@x.org"}\n'}
    for form, content in contents.items():
        path = f"/v1/contacts.{form}"
        assert upload(free, content, path, key=key).status_int == import_status
        assert free.get(path, key=key).status_int == export_status
    assert free.emails() == ["a@x.org"] * (import_status == 200)


@pytest.mark.parametrize("form", MEDIA)
def test_a_companys_files_need_the_permissions_of_companies(free, form):
    path = f"/v1/companies.{form}"
    content = {"csv": "name\nAcme\n", "jsonl": '{"name":"Acme"}\n'}[form]
    key = free.key("restricted", "companies:read", "companies:write")
    assert upload(free, content, path, key=key).status_int == 200
    other = free.key("restricted", "contacts:read", "contacts:write")
    assert upload(free, content, path, key=other).status_int == 403
    assert free.get(path, key=other).status_int == 403


@pytest.mark.parametrize("path", FILES)
def test_a_large_body_is_taken_with_a_key_that_may_import(free, path):
    key = free.key(
        *("restricted", "contacts:read", "contacts:write"),
        *("companies:read", "companies:write"),
    )
    name = "email" if "contacts" in path else "name"
    rows = [{name: f"u{n}@x.org", "note": "x" * 1000} for n in range(100)]
    content = jsonl(*rows)
    if path.endswith("csv"):
        content = f"{name},note\n" + "".join(f"{r[name]},{r['note']}\n" for r in rows)
    assert len(content) > 65536
    assert counts(upload(free, content, path, key=key)) == (100, 0, 0, [])
    assert counts(upload(free, content, path + "/", key=key)) == (0, 100, 0, [])


TOO_LARGE_FILE = (413, "payload_too_large", None)


@pytest.mark.parametrize(
    "kind, permissions",
    [
        ("restricted", ("contacts:read",)),
        ("restricted", ("contacts:write",)),
        ("restricted", ("companies:read", "companies:write")),
        ("publishable", ()),
        (None, ()),
        ("unknown", ()),
    ],
)
def test_a_large_body_without_such_a_key_is_413(free, kind, permissions):
    key = {None: None, "unknown": "ck_secret_unknown"}.get(kind, ...)
    if key is ...:
        key = free.key(kind, *permissions)
    for form in MEDIA:
        answer = upload(free, b"x" * 65537, f"/v1/contacts.{form}", key=key)
        assert failure(answer) == TOO_LARGE_FILE
        most = 16384 if kind == "publishable" else 65536
        small = upload(free, b"x" * most, f"/v1/contacts.{form}", key=key)
        assert small.status_int in (401, 403)


def test_the_large_limit_holds_for_imports_alone(free):
    for method, path in (
        ("POST", "/v1/contacts"),
        ("POST", "/v1/companies"),
        ("PATCH", f"/v1/contacts/{UNKNOWN}"),
        ("POST", "/v1/contacts.xml"),
    ):
        answer = free.ask(method, path, b"x" * 65537)
        assert failure(answer) == TOO_LARGE_FILE, path


@pytest.mark.parametrize("length, status", [(2**26, 200), (2**26 + 1, 413)])
def test_an_import_is_at_most_64_mib(free, length, status):
    headers = {"Content-Type": "application/jsonl", "Content-Length": str(length)}
    content = b'{"email":"a@x.org"}\n'
    answer = free.ask("POST", "/v1/contacts.jsonl", content, headers=headers)
    assert answer.status_int == status


@pytest.mark.parametrize(
    "path, media, status",
    [
        ("/v1/contacts.csv", "text/csv", 200),
        ("/v1/contacts.csv", "Text/CSV; charset=UTF-8; header=present", 200),
        ("/v1/contacts.csv", "application/jsonl", 415),
        ("/v1/contacts.csv", "application/json", 415),
        ("/v1/contacts.csv", "text/plain", 415),
        ("/v1/contacts.csv", "application/x-www-form-urlencoded", 415),
        ("/v1/contacts.csv", "multipart/form-data; boundary=x", 415),
        ("/v1/companies.csv", "application/json", 415),
        ("/v1/contacts.jsonl", "application/jsonl", 200),
        ("/v1/contacts.jsonl", "application/x-ndjson; charset=utf-8", 200),
        ("/v1/contacts.jsonl", "text/csv", 415),
        ("/v1/contacts.jsonl", "application/json", 415),
        ("/v1/companies.jsonl", "text/csv", 415),
    ],
)
def test_an_import_takes_its_own_media_types(free, path, media, status):
    content = "email\na@x.org\n" if path.endswith("csv") else '{"email":"a@x.org"}\n'
    answer = upload(free, content, path, media)
    assert answer.status_int == status
    if status == 415:
        assert failure(answer)[1] == "unsupported_media_type"
        assert free.emails() == []


@pytest.mark.parametrize("path", FILES)
def test_an_export_names_its_media_type_and_is_kept_by_no_cache(free, path):
    for method in ("GET", "HEAD"):
        answer = free.ask(method, path)
        media = answer.headers["Content-Type"].partition(";")[0]
        assert (answer.status_int, media) == (200, MEDIA[path.rpartition(".")[2]])
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_other_methods_of_a_file_are_405(free):
    for method in ("PUT", "PATCH", "DELETE"):
        answer = free.ask(method, "/v1/contacts.csv")
        assert failure(answer)[:2] == (405, "method_not_allowed")
        assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"


# -- at most two at once


def opened(api, path):
    """A started answer whose body nobody has read yet: (status, the body)."""
    request = webtest.TestRequest.blank(path, environ={"REMOTE_ADDR": "203.0.113.1"})
    request.headers["Authorization"] = f"Bearer {api.secret}"
    status, _, body = request.call_application(api.app)
    return int(status[:3]), body


def busy(answer):
    assert failure(answer)[:2] == (429, "rate_limit")
    assert int(answer.headers["Retry-After"]) >= 1
    return True


@pytest.mark.parametrize("path", FILES)
def test_a_third_export_at_once_is_429(free, path):
    free.add("a@x.org")
    free.post({"name": "Acme"}, path="/v1/companies")
    held = [opened(free, "/v1/contacts.csv"), opened(free, "/v1/companies.jsonl")]
    assert [status for status, _ in held] == [200, 200]
    assert busy(free.get(path))
    assert upload(free, jsonl({"email": "b@x.org"})).status_int == 200
    held[0][1].close()
    assert free.get(path).status_int == 200
    held[1][1].close()


def test_a_request_for_which_there_is_no_place_does_not_count(api):
    api.add("a@x.org")
    held = [opened(api, "/v1/contacts.csv"), opened(api, "/v1/contacts.jsonl")]
    for path in ("/v1/contacts.csv", "/v1/companies.jsonl"):
        answer = api.get(path)
        assert busy(answer) and "r=97;" in answer.headers["RateLimit"]
    for _, body in held:
        body.close()
    assert "r=96;" in api.get("/v1/contacts").headers["RateLimit"]


@pytest.mark.parametrize("kind", ["contacts", "companies"])
@pytest.mark.parametrize("form", MEDIA)
def test_an_export_that_ends_in_any_way_leaves_its_place(free, kind, form):
    free.add("a@x.org")
    free.post({"name": "Acme"}, path="/v1/companies")
    path = f"/v1/{kind}.{form}"
    for _ in range(3):
        assert free.ask("HEAD", path).status_int == 200
        assert free.get(f"{path}?created_after=nonsense").status_int == 400
        status, body = opened(free, path)
        body.close()
        assert status == 200
    assert free.get(path).status_int == 200


def test_an_export_that_fails_before_its_first_byte_leaves_its_place(free, monkeypatch):
    def refuse(*_):
        raise contactapi.InvalidRequest("no")

    with monkeypatch.context() as patched:
        patched.setattr(spreadsheets, "csv_columns", refuse)
        for _ in range(3):
            assert free.get("/v1/contacts.csv").status_int == 400
    assert free.get("/v1/contacts.csv").status_int == 200


class Slow(io.RawIOBase):
    """A body that comes when it is let go."""

    def __init__(self, content):
        self.content, self.asked, self.go = io.BytesIO(content), [], threading.Event()

    def readline(self, size=-1):
        self.asked.append(size)
        assert self.go.wait(20)
        return self.content.readline(size)

    def readinto(self, buffer):
        self.asked.append(len(buffer))
        assert self.go.wait(20)
        return self.content.readinto(buffer)


def test_a_third_import_at_once_is_429(free):
    def send(path, body, statuses):
        environ = {"REMOTE_ADDR": "203.0.113.1", "REQUEST_METHOD": "POST"}
        request = webtest.TestRequest.blank(path, environ=environ)
        request.headers["Authorization"] = f"Bearer {free.secret}"
        request.headers["Content-Type"] = MEDIA[path.rpartition(".")[2]]
        request.environ["wsgi.input"] = body
        statuses.append(request.call_application(free.app)[0])

    statuses = []
    bodies = [Slow(b'{"email":"a@x.org"}\n'), Slow(b"name\nAcme\n")]
    threads = [
        threading.Thread(target=send, args=(path, body, statuses))
        for path, body in zip(("/v1/contacts.jsonl", "/v1/companies.csv"), bodies)
    ]
    for thread, body in zip(threads, bodies):
        thread.start()
        assert until(lambda body=body: body.asked)
    assert busy(upload(free, jsonl({"email": "b@x.org"})))
    assert busy(upload(free, "name\nB\n", "/v1/companies.csv"))
    assert free.get("/v1/contacts.csv").status_int == 200
    assert free.post(ADA).status_int == 201
    for thread, body in zip(threads, bodies):
        body.go.set()
        thread.join()
    assert [status[:3] for status in statuses] == ["200", "200"]
    for _ in range(3):
        assert upload(free, b"nonsense", "/v1/contacts.csv").status_int == 400
    assert upload(free, jsonl({"email": "b@x.org"})).status_int == 200


def test_an_import_reads_no_line_further_than_it_may_be_long(make):
    api = make(CONTACTAPI_MAX_BODY="1024")
    body = Slow(b"x" * 100_000)
    body.go.set()
    lines = list(contactapi.bounded_lines(body, 4096))
    assert lines == [b"\xff\n"] and max(body.asked) <= 4097
    assert counts(upload(api, b"x" * 100_000)) == (0, 0, 1, [1])


def test_an_export_holds_no_snapshot_while_its_reader_is_slow(free):
    upload(free, jsonl(*({"email": f"u{n}@x.org"} for n in range(2500))))
    status, body = opened(free, "/v1/contacts.jsonl")
    chunks = iter(body)
    first = next(chunks).decode()
    free.add("new@x.org")
    free.services.store.truncate_wal()  # Unavailable if a reader stood in its way
    rest = first + b"".join(chunks).decode()
    body.close()
    emails = [json.loads(line)["email"] for line in rest.split("\n")[:-1]]
    assert (status, emails[:2500]) == (200, [f"u{n}@x.org" for n in range(2500)])
    assert first.count("\n") < 2500 and emails[2500:] in ([], ["new@x.org"])


def test_lines_of_one_second_before_1970_keep_their_second_in_several_imports(free):
    for name in ("a", "b", "c"):
        line = {"email": f"{name}@x.org", "created_at": "1950-01-01T00:00:00Z"}
        assert counts(upload(free, jsonl(line))) == (1, 0, 0, [])
    times = [document["created_at"] for document in exported(free)]
    assert times == [f"1950-01-01T00:00:00.00000{n}Z" for n in range(3)]
