"""The read API (document 000)."""

import re
from urllib.parse import urlencode

import pytest

from client import ACME, JANE, NOBODY, SECOND_FREE, hyphenated, import_all, read

SECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def read_failure(answer):
    """(status, code) of an answer of the read API that is no success."""
    assert set(answer.json) == {"error"}, answer.text
    assert set(answer.json["error"]) <= {"code", "message", "param"}, answer.text
    return answer.status_int, answer.json["error"]["code"]


def pages(client, path, **query):
    """The records of each page, to the last."""
    while True:
        body = read(client, f"{path}?{urlencode(query)}")
        assert body["has_more"] == (body["next_cursor"] is not None)
        yield body["data"]
        if not body["has_more"]:
            return
        assert body["next_cursor"] != query.get("cursor"), "the walk stands still"
        query["cursor"] = body["next_cursor"]


@pytest.mark.parametrize("kind, document", [("contacts", JANE), ("companies", ACME)])
def test_a_single_read_record_is_the_record_itself(api, kind, document):
    import_all(api, kind, [document])
    (listed,) = read(api, kind)["data"]
    assert read(api, f"{kind}/{listed['id']}") == listed
    assert read(api, f"{kind}/{listed['id'].upper()}") == listed


@pytest.mark.parametrize(
    "kind, key, fields",
    [("contacts", "email", JANE), ("companies", "name", ACME)],
)
def test_a_field_that_a_read_record_does_not_have_is_null(api, kind, key, fields):
    sent = {key: "a@b.example", "unasked": 1, "id": "x", "key": "y"}
    assert api.post(sent, f"/v1/{kind}").status_int == 201
    (record,) = read(api, kind)["data"]
    stamps = {n: record[n] for n in ("created_at", "updated_at") if n in fields}
    assert set(stamps.values()) == {"2026-07-04T10:00:00Z"}
    expected = dict.fromkeys(fields) | {key: "a@b.example"} | stamps
    assert record == {"id": record["id"], **expected}


@pytest.mark.parametrize(
    "sent, full_name",
    [
        ({"full_name": "Jane Doe", "name": "J", "first_name": "X"}, "Jane Doe"),
        ({"name": "Jane D.", "first_name": "X", "last_name": "Y"}, "Jane D."),
        ({"full_name": None, "name": "Jane D."}, "Jane D."),
        ({"first_name": "Jane", "last_name": "Doe"}, "Jane Doe"),
        ({"name": None, "first_name": "Jane", "last_name": "Doe"}, "Jane Doe"),
        ({"first_name": "Jane"}, "Jane"),
        ({"last_name": "Doe"}, "Doe"),
        ({"first_name": 5, "last_name": None}, None),
        ({}, None),
    ],
    ids=str,
)
def test_full_name_falls_back_to_name_then_to_first_and_last(api, sent, full_name):
    api.post({"email": "jane@acme.com", **sent})
    (record,) = read(api, "contacts")["data"]
    assert record["full_name"] == full_name
    assert read(api, f"contacts/{record['id']}")["full_name"] == full_name


def test_the_read_api_shows_what_the_native_api_stored_under_the_same_uuid(api):
    (ref,) = api.add("ada@example.com", job_title="Countess")
    record = read(api, f"contacts/{hyphenated(ref)}")
    assert (record["id"], record["job_title"]) == (hyphenated(ref), "Countess")
    assert api.get(f"/v1/contacts/{record['id']}").json["id"] == ref
    api.patch(ref, {"job_title": "Programmer"})
    assert read(api, f"contacts/{record['id']}")["job_title"] == "Programmer"


@pytest.mark.parametrize("kind", ["contacts", "companies"])
@pytest.mark.parametrize(
    "ref",
    [
        "123",
        "uuid",
        "con_01h455vb4pex5vsknk084sn02q",
        NOBODY.replace("-", ""),
        NOBODY[:-1],
        NOBODY + "0",
        NOBODY.replace("8000", "800g"),
        "{" + NOBODY + "}",
        "urn:uuid:" + NOBODY,
        "%EF%BC%90" + NOBODY[1:],
        NOBODY + "%0A",
    ],
)
def test_a_malformed_uuid_is_400_invalid_id(api, kind, ref):
    assert read_failure(api.get(f"/api/v1/{kind}/{ref}")) == (400, "invalid_id")


@pytest.mark.parametrize("kind, key", [("contacts", "email"), ("companies", "name")])
def test_a_record_outside_the_workspace_or_deleted_is_404_not_found(api, kind, key):
    ref = api.post({key: "a@b.example"}, f"/v1/{kind}").json["id"]
    path = f"/api/v1/{kind}/{hyphenated(ref)}"
    other = api.key("secret", workspace="other")
    assert api.get(path).status_int == 200
    assert read_failure(api.get(path, key=other)) == (404, "not_found")
    assert read(api, kind, key=other)["data"] == []
    assert read_failure(api.get(f"/api/v1/{kind}/{NOBODY}")) == (404, "not_found")
    api.ask("DELETE", f"/v1/{kind}/{ref}")
    assert read_failure(api.get(path)) == (404, "not_found")
    assert read(api, kind)["data"] == []


def test_the_uuid_of_another_kind_is_404_not_found(api):
    ref = api.post({"name": "Acme"}, "/v1/companies").json["id"]
    answer = api.get(f"/api/v1/contacts/{hyphenated(ref)}")
    assert read_failure(answer) == (404, "not_found")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["", f"/{NOBODY}", "/"])
@pytest.mark.parametrize("kind", ["contacts", "companies"])
@pytest.mark.parametrize("token", [..., None])
def test_the_read_api_is_read_only(api, method, path, kind, token):
    answer = api.ask(method, f"/api/v1/{kind}{path}", {"a": 1}, key=token)
    assert read_failure(answer) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


def test_the_read_api_answers_head_and_a_trailing_slash(api):
    (ref,) = api.add("ada@example.com")
    for path in ("/api/v1/contacts", f"/api/v1/contacts/{hyphenated(ref)}"):
        head = api.ask("HEAD", path)
        assert (head.status_int, head.body) == (200, b"")
        assert api.get(path + "/").json == api.get(path).json


def test_the_read_api_has_401_unauthorized_for_a_missing_invalid_revoked_key(api):
    revoked = api.key("secret")
    api.revoke(revoked)
    answers = [
        api.get("/api/v1/contacts", key=k) for k in (None, "cdx_live_x", revoked)
    ]
    assert {read_failure(answer) for answer in answers} == {(401, "unauthorized")}
    assert len({answer.body for answer in answers}) == 1
    assert {a.headers["WWW-Authenticate"] for a in answers} == {"Bearer"}


def test_the_read_api_has_429_rate_limit_with_retry_after(api):
    for _ in range(100):
        assert api.get("/api/v1/contacts").status_int == 200
    answer = api.get("/api/v1/contacts")
    assert read_failure(answer) == (429, "rate_limit")
    assert answer.headers["Retry-After"] == "60"
    api.turn(60)
    assert api.get("/api/v1/contacts").status_int == 200


def test_the_read_api_has_500_internal_error(api, monkeypatch):
    monkeypatch.setattr(api.services.contacts, "newest", lambda *_: 1 / 0)
    answer = api.get("/api/v1/contacts")
    assert read_failure(answer) == (500, "internal_error")
    assert "ZeroDivision" not in answer.text and "zero" not in answer.text


def test_a_page_of_the_read_api_has_50_records_and_at_most_100(free):
    import_all(free, "contacts", [{"email": f"c{n}@x.org"} for n in range(120)])
    assert len(read(free, "contacts")["data"]) == 50
    assert len(read(free, "contacts?limit=100")["data"]) == 100
    assert len(read(free, "contacts?limit=1")["data"]) == 1


@pytest.mark.parametrize("kind", ["contacts", "companies"])
@pytest.mark.parametrize("limit", ["0", "101", "-1", "x", "", "1.5", "9" * 30, "1e1"])
def test_another_limit_of_the_read_api_is_400(api, kind, limit):
    answer = api.get(f"/api/v1/{kind}?limit={limit}")
    assert read_failure(answer) == (400, "invalid_request")
    assert answer.json["error"]["param"] == "limit"


def test_the_newest_comes_first_and_the_last_page_says_so(free):
    for n in range(5):
        free.turn(1)
        free.add(f"c{n}@x.org")
    walked = list(pages(free, "contacts", limit=2))
    shown = [[record["email"][1] for record in page] for page in walked]
    assert shown == [["4", "3"], ["2", "1"], ["0"]]
    exact = list(pages(free, "contacts", limit=5))
    assert [len(page) for page in exact] == [5]


def test_a_cursor_is_the_last_records_time_with_six_digits(free):
    free.add(*(f"c{n}@x.org" for n in range(3)))
    body = read(free, "contacts?limit=2")
    assert body["next_cursor"] == "2026-07-04T10:00:00.000001Z"
    assert SECOND_FREE.fullmatch(body["next_cursor"])
    assert all(SECONDS.fullmatch(record["created_at"]) for record in body["data"])
    rest = read(free, f"contacts?cursor={body['next_cursor']}")
    assert [record["email"] for record in rest["data"]] == ["c0@x.org"]


@pytest.mark.parametrize(
    "cursor, seen",
    [
        ("2026-04-10T14:32:11.000001Z", 2),
        ("2026-04-10T14:32:11.000000Z", 1),
        ("2026-04-10T14:32:11Z", 1),
        ("2026-04-10T14:32:11.0Z", 1),
        ("2026-04-10T14:32:11.5Z", 2),
        ("2026-04-10T14:32:11", 1),
        ("2026-04-10T16:32:11%2B02:00", 1),
        ("2026-04-11", 2),
        ("2026-04-10", 0),
        ("9999-12-31", 2),
        ("1970-01-01", 0),
    ],
)
def test_a_cursor_may_have_fewer_digits_or_be_a_date(api, cursor, seen):
    older = {"email": "older@acme.com", "created_at": "2026-04-10T14:32:10Z"}
    import_all(api, "contacts", [older, JANE])
    assert len(read(api, f"contacts?cursor={cursor}")["data"]) == seen


@pytest.mark.parametrize("kind", ["contacts", "companies"])
@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "1",
        "2026-04-31",
        "2026-04-10T25:00:00Z",
        "null",
        "2026-04-10T14:32:11Zx",
    ],
)
def test_any_other_cursor_is_400_invalid_cursor(api, kind, cursor):
    answer = api.get(f"/api/v1/{kind}?cursor={cursor}")
    assert read_failure(answer) == (400, "invalid_cursor")


@pytest.mark.parametrize("kind, key", [("contacts", "email"), ("companies", "name")])
def test_a_walk_neither_repeats_nor_skips_though_others_come_and_go(free, kind, key):
    second = "2026-07-01T00:00:00Z"
    import_all(
        free, kind, [{key: f"c{n}@x.org", "created_at": second} for n in range(3000)]
    )
    kept = {f"c{n}@x.org" for n in range(3000)}
    ids = {r[key]: r["id"] for page in pages(free, kind, limit=100) for r in page}
    assert set(ids) == kept
    walked = []
    for number, page in enumerate(pages(free, kind, limit=100)):
        walked += [record[key] for record in page]
        unseen = sorted(kept - set(walked))[:1]
        for gone in (walked[-1], walked[number], *unseen):
            if gone in kept:
                kept.discard(gone)
                free.ask("DELETE", f"/v1/{kind}/{ids[gone]}")
        free.turn(1)
        free.post({key: f"new{number}@x.org"}, f"/v1/{kind}")
        late = {key: f"late{number}@x.org", "created_at": second}
        import_all(free, kind, [late])
    assert len(walked) == len(set(walked))
    assert kept <= set(walked)
    assert len(kept) < 2950


def test_a_page_costs_the_same_at_every_depth(free):
    second = "2026-07-01T00:00:00Z"
    documents = [{"email": f"c{n}@x.org", "created_at": second} for n in range(3000)]
    import_all(free, "contacts", documents)
    connection, steps = free.services.store.reading.connection(), []

    def cost(path):
        steps.clear()
        connection.set_progress_handler(lambda: steps.append(1) and 0, 10)
        body = read(free, path)
        connection.set_progress_handler(None, 0)
        assert len(body["data"]) == 20
        return len(steps)

    first = cost("contacts?limit=20")
    for place in ("002000", "001000", "000020"):
        deep = cost(f"contacts?limit=20&cursor=2026-07-01T00:00:00.{place}Z")
        assert deep <= first * 1.2 + 5


CONTACTS_TO_FIND = [
    {
        "email": "a@x.org",
        "company_name": "Acme Ltd",
        "country_code": "GB",
        "follow_up_status": "none",
        "source_event": "Web Summit Lisbon 2026",
    },
    {
        "email": "B@x.org",
        "company_name": "Acme",
        "country_code": "DE",
        "follow_up_status": "meeting_scheduled",
        "source_event": "Fair",
    },
    {"email": "c@x.org", "company_name": "acme ltd", "country_code": "gb"},
    {"email": "d@x.org"},
]
COMPANIES_TO_FIND = [
    {"name": "Acme Ltd", "country_code": "GB", "enrichment_status": "enriched"},
    {"name": "ACME GmbH", "country_code": "DE", "enrichment_status": "pending"},
    {"name": "Größe 100%_x", "country_code": "DE"},
]


@pytest.mark.parametrize(
    "kind, query, found",
    [
        ("contacts", {"email": "a@x.org"}, "a"),
        ("contacts", {"email": " A@X.ORG "}, "a"),
        ("contacts", {"email": "b@x.org"}, "b"),
        ("contacts", {"email": "a@x.or"}, ""),
        ("contacts", {"company_name": "Acme Ltd"}, "a"),
        ("contacts", {"company_name": "Acme"}, "b"),
        ("contacts", {"company_name": "Acm"}, ""),
        ("contacts", {"country_code": "GB"}, "a"),
        ("contacts", {"country_code": "gb"}, "c"),
        ("contacts", {"follow_up_status": "meeting_scheduled"}, "b"),
        ("contacts", {"source_event": "Web Summit Lisbon 2026"}, "a"),
        ("contacts", {"source_event": "Web Summit"}, ""),
        ("contacts", {"company_name": "Acme", "country_code": "DE"}, "b"),
        ("contacts", {"company_name": "Acme", "country_code": "GB"}, ""),
        ("contacts", {"email": "b@x.org", "country_code": "DE"}, "b"),
        ("contacts", {}, "dcba"),
        ("companies", {"name": "acme"}, "AA"),
        ("companies", {"name": "ACME L"}, "A"),
        ("companies", {"name": "cme g"}, "A"),
        ("companies", {"name": "grösse"}, "G"),
        ("companies", {"name": "GRÖSSE"}, "G"),
        ("companies", {"name": "100%_X"}, "G"),
        ("companies", {"name": "%"}, "G"),
        ("companies", {"name": "_"}, "G"),
        ("companies", {"name": "nobody"}, ""),
        ("companies", {"country_code": "DE"}, "GA"),
        ("companies", {"country_code": "D"}, ""),
        ("companies", {"enrichment_status": "enriched"}, "A"),
        ("companies", {"enrichment_status": "pending", "name": "acme"}, "A"),
        ("companies", {"enrichment_status": "pending", "name": "ltd"}, ""),
    ],
    ids=str,
)
def test_a_read_list_is_narrowed_by_its_parameters(free, kind, query, found):
    key = {"contacts": "email", "companies": "name"}[kind]
    for document in {"contacts": CONTACTS_TO_FIND, "companies": COMPANIES_TO_FIND}[
        kind
    ]:
        free.post(document, f"/v1/{kind}")
    shown = [r[key][0] for page in pages(free, kind, limit=1, **query) for r in page]
    wanted = found if kind == "companies" else found.replace("b", "B")
    assert "".join(shown) == wanted


def test_updated_since_gives_what_was_written_from_then_on(free):
    refs = free.add("a@x.org", "b@x.org")
    company = free.post({"name": "Acme"}, "/v1/companies").json["id"]
    free.turn(3600)
    free.patch(refs[0], {"plan": "pro"})
    free.turn(3600)
    free.ask("PATCH", f"/v1/companies/{company}", {"plan": "pro"})

    def found(kind, since):
        data = read(free, f"{kind}?updated_since={since}")["data"]
        return [record.get("email") or record["name"] for record in data]

    assert found("contacts", "2026-07-04T10:00:00Z") == ["b@x.org", "a@x.org"]
    assert found("contacts", "2026-07-04T10:59:59Z") == ["a@x.org"]
    assert found("contacts", "2026-07-04T11:00:00Z") == ["a@x.org"]
    assert found("contacts", "2026-07-04T11:00:01Z") == []
    assert found("contacts", "2026-07-04") == ["b@x.org", "a@x.org"]
    assert found("companies", "2026-07-04T12:00:00Z") == ["Acme"]
    assert found("companies", "2026-07-05") == []


@pytest.mark.parametrize("kind", ["contacts", "companies"])
def test_a_bad_updated_since_is_400(api, kind):
    answer = api.get(f"/api/v1/{kind}?updated_since=yesterday")
    assert read_failure(answer) == (400, "invalid_request")
    assert answer.json["error"]["param"] == "updated_since"


def test_an_email_that_is_none_is_400(api):
    assert api.get("/api/v1/contacts?email=x").status_int == 400
