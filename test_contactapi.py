"""contactapi as a specification to read: the three documents word for word, lists, keys
and what each may do, forms, errors, limits.

Everything else stands in tests/, by what a rule is about: values/ (what comes in),
http/ (what is answered), store/ (what is kept), process/ (a real server). The client
that asks here is tests/client.py.
"""

import io
import json
import logging
import random
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

import contactapi
from client import (
    ACME,
    ADA,
    BAD,
    BAD_EMAIL,
    JANE,
    KEY_FIELDS,
    MISSING,
    MY_KEY,
    PAGE,
    SINGLES,
    TOO_LARGE,
    UNKNOWN,
    Client,
    Clock,
    at,
    called,
    endpoints,
    enveloped,
    exported,
    failure,
    filled,
    history,
    hyphenated,
    import_all,
    in_document_001,
    make_key,
    move,
    query_of,
    read,
    rest,
    shows,
    with_a,
)
from contactapi import Config
from doubles import SID, TWILIO, signed
from extras.pages import PAGE_PATHS
from forms import (
    BROWSER,
    answered,
    contacts,
    inbox,
    page_of,
    post_form,
    refused,
    submitted,
)

###############################################################################
# Contacts (document 002) #####################################################
###############################################################################


# -- word for word


def test_the_documents_create_list_fetch_update_and_delete(api):
    created = api.ask(
        "POST",
        "/v1/contacts",
        b'{ "email": "ada@example.com", "name": "Ada", "plan": "pro" }',
        headers={"Content-Type": "application/json"},
    )
    assert created.status == "201 Created"
    ref = created.json["id"]
    assert re.fullmatch(r"con_[0-9a-hjkmnp-tv-z]{26}", ref)
    ada = {
        "id": ref,
        "email": "ada@example.com",
        "name": "Ada",
        "plan": "pro",
        "created_at": "2026-07-04T10:00:00Z",
        "updated_at": "2026-07-04T10:00:00Z",
    }
    assert shows(created, ada)

    listed = api.get("/v1/contacts?page=1&page_size=20")
    assert listed.status == "200 OK"
    assert shows(listed, {"page": 1, "page_size": 20, "total": 1, "total_pages": 1})
    assert ada.items() <= listed.json["data"][0].items()

    fetched = api.get(f"/v1/contacts/{ref}")
    assert fetched.status == "200 OK" and shows(fetched, ada)

    api.turn(5400)
    updated = api.ask("PATCH", f"/v1/contacts/{ref}", b'{ "plan": "enterprise" }')
    assert updated.status == "200 OK"
    assert shows(
        updated,
        {
            "id": ref,
            "email": "ada@example.com",
            "name": "Ada",
            "plan": "enterprise",
            "updated_at": "2026-07-04T11:30:00Z",
        },
    )

    deleted = api.ask("DELETE", f"/v1/contacts/{ref}")
    assert deleted.status == "200 OK"
    assert shows(deleted, {"id": ref, "deleted": True})
    assert api.get(f"/v1/contacts/{ref}").status == "404 Not Found"


def test_the_documents_list_of_137_contacts_has_7_pages(free):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(free.post, [{"email": f"a{n}@x.org"} for n in range(136)]))
    free.turn(1)
    free.post(ADA)
    answer = free.get("/v1/contacts?page=1&page_size=20")
    assert shows(answer, {"page": 1, "page_size": 20, "total": 137, "total_pages": 7})
    assert [len(answer.json["data"]), answer.json["data"][0]["name"]] == [20, "Ada"]
    last = free.get("/v1/contacts?page=7&page_size=20")
    assert len(last.json["data"]) == 17


def test_the_documents_error_says_that_email_is_required(api):
    answer = api.post({"name": "Ada"})
    assert answer.status == "400 Bad Request"
    assert answer.json["error"]["message"] == "email is required"
    assert failure(answer) == (400, "invalid_email", "email")


def test_the_documents_401_403_and_404(api):
    public = api.key("publishable")
    assert api.get("/v1/contacts", key=None).status == "401 Unauthorized"
    assert api.get("/v1/contacts", key="YOUR_KEY").status == "401 Unauthorized"
    answer = api.get("/v1/contacts", key=public, headers=PAGE)
    assert answer.status == "403 Forbidden"
    assert api.get("/v1/contacts/con_a1b2").status == "404 Not Found"


def test_the_documents_publishable_key_creates_contacts_from_its_domain(api):
    public = api.key("publishable")
    answer = api.post(ADA, key=public, headers=PAGE)
    assert answer.status == "201 Created"
    assert shows(answer, {**ADA, "created_at": "2026-07-04T10:00:00Z"})


# -- create and update in one


def test_a_known_email_is_updated_and_the_other_fields_stay(api):
    first = api.post({**ADA, "tags": {"a": 1, "b": 2}, "old": None})
    api.turn(60)
    again = api.post({"email": "ada@example.com", "plan": None, "tags": {"c": 3}})
    assert again.status == "201 Created"
    assert again.json == {
        **first.json,
        "plan": None,
        "tags": {"c": 3},
        "updated_at": "2026-07-04T10:01:00Z",
    }
    assert api.get("/v1/contacts").json["total"] == 1


def test_updated_at_moves_on_every_post(api):
    (ref,) = api.add("ada@example.com", plan="pro")
    api.turn(60)
    api.add("ada@example.com", plan="pro")
    contact = api.get(f"/v1/contacts/{ref}").json
    assert contact["created_at"] == "2026-07-04T10:00:00Z"
    assert contact["updated_at"] == "2026-07-04T10:01:00Z"


@pytest.mark.parametrize(
    "first, second",
    [
        ("ada@example.com", "  ADA@Example.COM "),
        ("J\u00fcrgen@x.de", "ju\u0308rgen@x.de"),
        ("ju\u0308rgen@mu\u0308nchen.de", "J\u00fcrgen@m\u00fcnchen.de"),
    ],
    ids=ascii,
)
def test_one_address_in_two_spellings_is_one_contact_as_last_written(
    api, first, second
):
    (ref,) = api.add(first)
    again = api.post({"email": second})
    assert (again.json["id"], again.json["email"]) == (ref, second.strip())
    assert api.emails() == [second.strip()]
    assert api.emails("?" + query_of({"email": first})) == [second.strip()]


@pytest.mark.parametrize(
    "first, second",
    [("i@x.org", "\u0130@x.org"), ("s@x.org", "\u017f@x.org"), ("É@x.org", "é@x.org")],
    ids=ascii,
)
def test_a_look_alike_does_not_take_an_address_over(api, first, second):
    assert len(set(api.add(first, second))) == 2
    assert api.emails("?" + query_of({"email": second})) == [second]


def test_fields_that_would_grow_too_large_are_413_and_change_nothing(make):
    api = make(CONTACTAPI_MAX_BODY="1024")
    (ref,) = api.add("ada@example.com", a="x" * 600)
    before = api.get(f"/v1/contacts/{ref}").json
    api.turn(60)
    more = {"email": "Ada@Example.com", "b": "x" * 600}
    assert failure(api.post(more)) == TOO_LARGE
    assert failure(api.patch(ref, more)) == TOO_LARGE
    assert failure(api.merge(ref, more)) == TOO_LARGE
    assert api.get(f"/v1/contacts/{ref}").json == before
    company = api.post({"name": "Acme", "a": "x" * 600}, "/v1/companies")
    more = {"name": "Acme", "b": "x" * 600}
    assert failure(api.post(more, "/v1/companies")) == TOO_LARGE
    path = f"/v1/companies/{company.json['id']}"
    assert api.get(path).json == company.json


def test_fields_may_take_exactly_the_limit_in_octets(make):
    api = make(CONTACTAPI_MAX_BODY="1024")
    (ref,) = api.add("ada@example.com", a="é" * 300)
    used = len('{"a":"","b":""}') + 600
    body = {"email": "ada@example.com", "b": "x" * (1024 - used)}
    assert api.post(body).status_int == 201
    assert failure(api.patch(ref, {"b": body["b"] + "x"})) == TOO_LARGE
    assert api.patch(ref, {"b": None}).status_int == 200


# -- PATCH and DELETE


def test_patch_is_shallow(api):
    (ref,) = api.add("ada@example.com", tags={"a": 1, "b": 2}, plan="pro")
    api.turn(60)
    answer = api.patch(ref, {"tags": {"c": 3}, "new": None})
    assert answer.status_int == 200
    assert answer.json == {
        "id": ref,
        "email": "ada@example.com",
        "tags": {"c": 3},
        "plan": "pro",
        "new": None,
        "created_at": "2026-07-04T10:00:00Z",
        "updated_at": "2026-07-04T10:01:00Z",
    }


def test_a_merge_patch_removes_what_is_null(api):
    (ref,) = api.add("ada@example.com", tags={"a": 1, "b": 2}, plan="pro")
    api.turn(60)
    answer = api.merge(ref, {"tags": {"a": None, "c": 3}, "plan": None, "none": None})
    assert answer.json == {
        "id": ref,
        "email": "ada@example.com",
        "tags": {"b": 2, "c": 3},
        "created_at": "2026-07-04T10:00:00Z",
        "updated_at": "2026-07-04T10:01:00Z",
    }


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"n": 1},
        {"plan": "pro"},
        {"email": "ada@example.com"},
        {"nested": {"a": []}},
    ],
    ids=str,
)
@pytest.mark.parametrize("how", ["patch", "merge"])
def test_a_patch_that_changes_nothing_leaves_updated_at(api, how, body):
    fields = {"n": 1, "plan": "pro", "nested": {"a": []}}
    (ref,) = api.add("ada@example.com", **fields)
    before = api.get(f"/v1/contacts/{ref}")
    api.turn(60)
    answer = getattr(api, how)(ref, body)
    assert (answer.status_int, answer.body) == (200, before.body)
    assert api.get(f"/v1/contacts/{ref}").body == before.body


@pytest.mark.parametrize(
    "old, new",
    [
        (b"1", b"true"),
        (b"1", b"1.0"),
        (b"0", b"false"),
        (b"0.0", b"-0.0"),
        (b"[1]", b"[true]"),
        (b'{"a":1}', b'{"a":1.0}'),
        (b'"1"', b"1"),
        (b"null", b'""'),
        (b'"e\xcc\x81"', b'"\xc3\xa9"'),
    ],
)
def test_another_json_value_is_a_change_though_python_calls_it_equal(api, old, new):
    ref = api.post(with_a(old)).json["id"]
    api.turn(60)
    answer = api.patch(ref, b'{"a":' + new + b"}")
    assert b'"a":' + new + b"," in answer.body
    assert answer.json["updated_at"] == "2026-07-04T10:01:00Z"


def test_a_patch_may_change_the_email(api):
    (ref,) = api.add("ada@example.com", plan="pro")
    answer = api.patch(ref, {"email": " Ada@Example.ORG "})
    assert (answer.json["email"], answer.json["plan"]) == ("Ada@Example.ORG", "pro")
    assert api.emails("?email=ada@example.org") == ["Ada@Example.ORG"]
    assert api.emails("?email=ada@example.com") == []
    assert api.add("ada@example.com") != [ref]


def test_a_patch_may_change_the_spelling_of_its_own_email(api):
    (ref,) = api.add("ada@example.com")
    api.turn(60)
    answer = api.patch(ref, {"email": "ADA@example.com"})
    assert answer.json["email"] == "ADA@example.com"
    assert answer.json["updated_at"] == "2026-07-04T10:01:00Z"


@pytest.mark.parametrize("email", ["bob@example.com", "BOB@Example.com "])
def test_a_patch_that_would_take_anothers_email_is_409(api, email):
    ada, bob = api.add("ada@example.com", "bob@example.com")
    answer = api.patch(ada, {"email": email, "plan": "pro"})
    assert failure(answer) == (409, "conflict", "email")
    assert "plan" not in api.get(f"/v1/contacts/{ada}").json
    assert api.emails() == ["bob@example.com", "ada@example.com"]
    assert api.ask("DELETE", f"/v1/contacts/{bob}").status_int == 200
    assert api.patch(ada, {"email": email}).status_int == 200


def test_what_is_deleted_is_gone_and_its_email_is_free(api):
    (ref,) = api.add("ada@example.com", plan="pro")
    assert api.ask("DELETE", f"/v1/contacts/{ref}").json == {"id": ref, "deleted": True}
    for method, body in (("GET", None), ("PATCH", {"a": 1}), ("DELETE", None)):
        answer = api.ask(method, f"/v1/contacts/{ref}", body)
        assert failure(answer) == MISSING
    assert api.get("/v1/contacts").json["total"] == 0
    again = api.post({"email": "ada@example.com"})
    assert again.json["id"] != ref and "plan" not in again.json


# -- companies


def test_companies_have_the_same_five_verbs_by_name(api):
    created = api.post({"name": " Acme GmbH ", "email": "any", "n": 1}, "/v1/companies")
    assert created.status == "201 Created"
    ref = created.json["id"]
    assert re.fullmatch(r"cmp_[0-9a-hjkmnp-tv-z]{26}", ref)
    assert created.json == {
        "id": ref,
        "name": "Acme GmbH",
        "email": "any",
        "n": 1,
        "created_at": "2026-07-04T10:00:00Z",
        "updated_at": "2026-07-04T10:00:00Z",
    }
    api.turn(60)
    again = api.post({"name": "ACME gmbh", "n": 2}, "/v1/companies").json
    assert (again["id"], again["name"], again["n"]) == (ref, "ACME gmbh", 2)
    assert again["email"] == "any" and again["updated_at"] == "2026-07-04T10:01:00Z"
    path = f"/v1/companies/{hyphenated(ref)}"
    assert api.get(path).json == again
    assert api.ask("PATCH", path, {"n": 3}).json["n"] == 3
    listed = api.get("/v1/companies?filter[n]=3&q=acme&name=acme%20GMBH").json
    assert [company["id"] for company in listed["data"]] == [ref]
    other = api.post({"name": "Other"}, "/v1/companies").json["id"]
    answer = api.ask("PATCH", f"/v1/companies/{other}", {"name": "acme GmbH"})
    assert failure(answer) == (409, "conflict", "name")
    assert api.ask("DELETE", path).json == {"id": ref, "deleted": True}
    assert failure(api.get(path)) == MISSING


def test_contacts_and_companies_are_two_things(api):
    (ref,) = api.add("ada@example.com")
    company = api.post({"name": "Acme"}, "/v1/companies").json["id"]
    assert api.get("/v1/contacts").json["total"] == 1
    assert api.get("/v1/companies").json["total"] == 1
    assert failure(api.get(f"/v1/contacts/{company}")) == MISSING
    assert failure(api.get(f"/v1/companies/{hyphenated(ref)}")) == MISSING


# -- lists


def test_a_list_is_newest_first_with_20_a_page(free):
    for number in range(25):
        free.add(f"a{number}@x.org")
        free.turn(1)
    emails = [f"a{number}@x.org" for number in reversed(range(25))]
    first = free.get("/v1/contacts").json
    assert [contact["email"] for contact in first["data"]] == emails[:20]
    assert {**first, "data": None} == {
        "data": None,
        "page": 1,
        "page_size": 20,
        "total": 25,
        "total_pages": 2,
    }
    assert free.emails("?page=2") == emails[20:]
    assert free.emails("?page=0003&page_size=10") == emails[20:]


@pytest.mark.parametrize("page", ["3", "1000000", "9" * 30, "9" * 4000])
@pytest.mark.parametrize("more", ["", "&q=x", "&created_after=2000-01-01"])
def test_a_page_past_the_end_is_empty(api, page, more):
    api.add("a@x.org", "b@x.org")
    answer = api.get(f"/v1/contacts?page={page}&page_size=1{more}")
    assert answer.status_int == 200
    assert shows(answer, {"data": [], "total": 2, "total_pages": 2, "page": int(page)})


def test_an_empty_list_has_no_pages(api):
    assert api.get("/v1/contacts").json == {
        "data": [],
        "page": 1,
        "page_size": 20,
        "total": 0,
        "total_pages": 0,
    }


@pytest.mark.parametrize("query", ["", "created_after=2000-01-01", "q=x.org"])
def test_pages_agree_with_a_plain_sort_from_both_ends(free, query):
    random.seed(17)
    start, made = free.clock.now, []
    for number in range(61):
        free.clock.now = start + random.choice([0, 0, 1, 5, -100]) + random.random()
        free.add(f"a{number}@x.org")
    for ref in random.sample(free.emails("?page_size=100"), 10):
        (contact,) = free.get(f"/v1/contacts?email={ref}").json["data"]
        free.ask("DELETE", f"/v1/contacts/{contact['id']}")
    times = {one["created_at"]: one["email"] for one in exported(free)}
    made = [times[moment] for moment in sorted(times, reverse=True)]
    assert len(made) == 51
    for size in (1, 2, 7, 17, 25, 26, 50, 51, 52, 100):
        for page in range(1, 51 // size + 3):
            if size == 1 and page % 5:
                continue
            shown = free.emails(f"?page={page}&page_size={size}&{query}")
            assert shown == made[(page - 1) * size : page * size], (page, size)


def test_totals_follow_every_write(api):
    def total():
        return api.get("/v1/contacts").json["total"]

    a, b, _ = api.add("a@x.org", "b@x.org", "c@x.org")
    assert total() == 3
    api.add("a@x.org")
    assert failure(api.post({"email": "broken"})) == BAD_EMAIL
    assert total() == 3
    api.ask("DELETE", f"/v1/contacts/{a}")
    api.ask("DELETE", f"/v1/contacts/{a}")
    assert total() == 2
    api.patch(b, {"email": "d@x.org"})
    assert total() == 2


PEOPLE = {
    "ada@example.com": {"name": "Ada Lovelace", "plan": "pro", "age": 36},
    "bob@straße.de": {"name": "Bob", "city": "MÜNCHEN", "note": "100% sure_thing"},
    "cyd@example.com": {"name": "ΣΊΣΥΦΟΣ", "city": "Straße 5", "tags": ["hidden"]},
    "dan@example.com": {"name": "İpek", "city": "New\nYork", "plan": "PRO"},
    "eve@example.com": {"name": "E\u0301va", "nested": {"a": "hidden"}, "hidden": 1},
}


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Five people, to be looked for and not to be changed."""
    path = tmp_path_factory.mktemp("people") / "contacts.db"
    environ = {"DATABASE_URL": f"sqlite:///{path}", "CONTACTAPI_RATE_LIMIT": "off"}
    clock = Clock(at("2026-07-04T10:00:00"))
    app = contactapi.make_app(Config.from_env(environ), clock)
    client = Client(app, clock, None)
    for email, fields in PEOPLE.items():
        client.add(email, **fields)
        client.clock.now += 1
    yield client
    client.close()


def found(client, **pairs):
    """The first letters of those found, oldest first."""
    query = query_of(pairs)
    return "".join(sorted(email[0] for email in client.emails(f"?{query}")))


@pytest.mark.parametrize(
    "q, letters",
    [
        ("ada", "a"),
        ("ADA", "a"),
        ("love ada", "a"),
        ("ada bob", ""),
        ("example lovelace pro", "a"),
        ("adaexample", ""),
        ("lovelacepro", ""),
        ("com", "acde"),
        ("@example.", "acde"),
        ("pro", "ad"),
        ("münchen", "b"),
        ("MÜNCHEN", "b"),
        ("mu\u0308nchen", "b"),
        ("munchen", ""),
        ("STRASSE", "bc"),
        ("straße", "bc"),
        ("σίσυφος", "c"),
        ("ΣΊΣΥΦΟσ", "c"),
        ("i\u0307pek", "d"),
        ("éva", "e"),
        ("E\u0301VA", "e"),
        ("%", "b"),
        ("100%", "b"),
        ("_", "b"),
        ("sure_thing", "b"),
        ("sure%thing", ""),
        ("a_a", ""),
        ("*", ""),
        ("new york", "d"),
        ("newyork", ""),
        ("hidden", ""),
        ("36", ""),
        ("5", "c"),
        ("name", ""),
        ("", "abcde"),
        ("   ", "abcde"),
        ("\0", ""),
        ("'", ""),
        ('"', ""),
        ("a b c d e", "b"),
        ("a b c d x", ""),
        ("e e e e e", "abcde"),
        ("x" * 100, ""),
    ],
    ids=ascii,
)
def test_each_word_of_q_occurs_in_the_email_or_in_some_text_field(people, q, letters):
    assert found(people, q=q) == letters


def test_q_looks_at_what_is_stored_now(api):
    (ref,) = api.add("ada@example.com", city="Ulm", gone="hunter2")
    api.patch(ref, {"city": "Bonn", "email": "eve@example.org"})
    api.merge(ref, {"gone": None})
    for word, total in (
        ("bonn", 1),
        ("eve", 1),
        ("ulm", 0),
        ("ada", 0),
        ("hunter2", 0),
    ):
        assert api.get(f"/v1/contacts?q={word}").json["total"] == total


def test_q_finds_a_text_with_a_nul_inside(api):
    api.add("ada@example.com", note="left\0right")
    assert api.emails("?q=right") == ["ada@example.com"]
    assert api.emails("?q=left%00right") == ["ada@example.com"]


FILTERED = {
    "a": {"n": 5, "plan": "pro"},
    "b": {"n": "5", "plan": "pro"},
    "c": {"n": 5.0, "plan": "Pro"},
    "d": {"n": True},
    "e": {"n": "true"},
    "f": {"n": False},
    "g": {"n": None},
    "h": {"n": "null"},
    "i": {},
    "j": {"n": [5]},
    "k": {"n": {"n": 5}},
    "l": {"n": 5.5},
    "m": {"n": "five 5"},
    "n": {"n": 10**30},
    "o": {"n": ""},
    "p": {"n": "é"},
    "q": {"n": "[5]"},
    "r": {"n": "a\0b"},
    "s": {"n": -3},
}


@pytest.fixture(scope="module")
def filtered(tmp_path_factory):
    path = tmp_path_factory.mktemp("filtered") / "contacts.db"
    environ = {"DATABASE_URL": f"sqlite:///{path}", "CONTACTAPI_RATE_LIMIT": "off"}
    client = Client(contactapi.make_app(Config.from_env(environ)), None, None)
    for letter, fields in FILTERED.items():
        client.add(f"{letter}@x.org", **fields)
    yield client
    client.close()


@pytest.mark.parametrize(
    "text, letters",
    [
        ("5", "abc"),
        ("5.0", "ac"),
        ("5e0", "ac"),
        ("5.5", "l"),
        ("-3", "s"),
        ("true", "de"),
        ("false", "f"),
        ("True", ""),
        ("1", ""),
        ("null", "gh"),
        ("", "o"),
        ("é", "p"),
        ("[5]", "q"),
        ('{"n":5}', ""),
        ("1" + "0" * 30, "n"),
        ("1e400", ""),
        ("NaN", ""),
        ("a\0b", "r"),
        ("a", ""),
        ("%", ""),
        ("9" * 5000, ""),
        ("[" * 5000, ""),
    ],
    ids=lambda text: ascii(text)[:20],
)
def test_a_filter_is_equality_on_a_field(filtered, text, letters):
    query = query_of({"filter[n]": text})
    shown = "".join(sorted(email[0] for email in filtered.emails(f"?{query}")))
    assert shown == letters


@pytest.mark.parametrize(
    "query, letters",
    [
        ("filter[plan]=pro", "ab"),
        ("filter[plan]=Pro", "c"),
        ("filter[plan]=pro&filter[n]=5", "ab"),
        ("filter[plan]=pro&filter[n]=7", ""),
        ("filter[n]=5&filter[n]=5", "abc"),
        ("filter[n]=5&filter[n]=true", ""),
        ("filter%5Bplan%5D=pro", "ab"),
        ("filter[plan]=pro&q=a@x.org", "a"),
        ("filter[plan]=pro&email=b@x.org", "b"),
        ("filter[plan]=pro&email=c@x.org", ""),
        ("filter[email]=a@x.org", "a"),
        ("filter[email]=A@X.org", "a"),
        ("filter[email]=a@x.org&filter[email]=b@x.org", ""),
        ("filter[email]=a@x.org&email=b@x.org", ""),
        ("filter[none]=x", ""),
        ("filter[plan]=pro&created_before=2000-01-01", ""),
        ("filter[plan]=pro&created_after=2000-01-01", "ab"),
    ],
)
def test_filters_narrow_each_other(filtered, query, letters):
    answer = filtered.get(f"/v1/contacts?{query}").json
    assert sorted(c["email"][0] for c in answer["data"]) == list(letters)
    assert answer["total"] == len(letters)


@pytest.mark.parametrize(
    "query, letters",
    [
        ("created_after=2026-07-04T10:00:01Z", "cde"),
        ("created_after=2026-07-04T10:00:00.999999Z", "bcde"),
        ("created_before=2026-07-04T10:00:01Z", "a"),
        ("created_before=2026-07-04T10:00:01.000001Z", "ab"),
        (
            "created_after=2026-07-04T10:00:00Z&created_before=2026-07-04T10:00:03Z",
            "bc",
        ),
        ("created_after=2026-07-04", "abcde"),
        ("created_before=2026-07-04", ""),
        ("created_after=2026-07-05", ""),
        ("created_before=2026-07-05", "abcde"),
        ("created_after=2026-07-04T12:00:01%2B02:00", "cde"),
        ("created_after=2026-07-04T12:00:01+02:00", "cde"),
        ("updated_after=2026-07-04T10:00:03Z", "e"),
        ("updated_before=2026-07-04T10:00:02Z", "ab"),
        ("updated_before=9999-12-31T23:59:59Z", "abcde"),
        ("updated_after=0001-01-01", "abcde"),
        ("created_after=2026-07-04T10:00:01Z&q=example", "cde"),
    ],
)
def test_times_are_strictly_after_and_strictly_before(people, query, letters):
    answer = people.get(f"/v1/contacts?{query}").json
    assert sorted(c["email"][0] for c in answer["data"]) == list(letters)
    assert (answer["total"], "total_capped" in answer) == (len(letters), False)


def test_updated_times_follow_the_last_write(api):
    ada, bob = api.add("ada@example.com", "bob@example.com")
    api.turn(60)
    api.patch(ada, {"n": 1})
    query = "?updated_after=2026-07-04T10:00:30Z"
    assert api.emails(query) == ["ada@example.com"]
    assert api.emails(query.replace("updated", "created")) == []


@pytest.mark.parametrize(
    "text", ["ada@example.com", " ADA@Example.com ", "aDA@exaMPLE.COM"]
)
def test_email_is_an_exact_search(people, text):
    answer = people.get("/v1/contacts?" + query_of({"email": text})).json
    assert [contact["name"] for contact in answer["data"]] == ["Ada Lovelace"]
    assert (answer["total"], answer["total_pages"]) == (1, 1)
    assert people.emails("?email=da@example.com") == []


@pytest.mark.parametrize("query", ["q=x.org", "filter[plan]=pro"])
def test_a_total_that_no_index_serves_is_capped_and_says_so(api, monkeypatch, query):
    monkeypatch.setattr(contactapi.Records, "CAP", 5)
    names = [f"{letter}@x.org" for letter in "abcdefg"]
    api.add(*names[:5], plan="pro")
    answer = api.get(f"/v1/contacts?page_size=2&{query}").json
    assert (answer["total"], answer["total_pages"]) == (5, 3)
    assert "total_capped" not in answer
    api.add(*names[5:], plan="pro")
    pages = [api.get(f"/v1/contacts?page_size=2&page={n}&{query}") for n in range(1, 6)]
    assert {page.json["total"] for page in pages} == {5}
    assert {page.json["total_capped"] for page in pages} == {True}
    rows = [contact["email"] for page in pages for contact in page.json["data"]]
    assert rows == names[::-1]


def test_a_total_that_an_index_serves_is_exact(api, monkeypatch):
    monkeypatch.setattr(contactapi.Records, "CAP", 5)
    api.add(*[f"{letter}@x.org" for letter in "abcdefg"])
    for query in ("", "?created_after=2000-01-01", "?updated_after=2000-01-01"):
        answer = api.get(f"/v1/contacts{query}").json
        assert (answer["total"], "total_capped" in answer) == (7, False)


def test_the_cap_of_the_contract_is_10_000():
    assert contactapi.Records.CAP == 10_000


###############################################################################
# The read API (document 000) #################################################
###############################################################################


UUID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
)


def test_the_read_documents_contact_is_shown_word_for_word(api):
    older = {"email": "older@acme.com", "created_at": "2026-04-10T14:32:10Z"}
    import_all(api, "contacts", [older, JANE])
    body = read(api, "contacts?limit=1")
    (record,) = body["data"]
    assert UUID.fullmatch(record["id"])
    assert list(record.items()) == [("id", record["id"]), *JANE.items()]
    assert list(body) == ["data", "next_cursor", "has_more"]
    assert body["next_cursor"] == "2026-04-10T14:32:11.000000Z"
    assert body["has_more"] is True


def test_the_read_documents_company_is_shown_word_for_word(api):
    import_all(api, "companies", [ACME])
    body = read(api, "companies")
    (record,) = body["data"]
    assert UUID.fullmatch(record["id"])
    assert list(record.items()) == [("id", record["id"]), *ACME.items()]
    assert (body["next_cursor"], body["has_more"]) == (None, False)


def test_the_read_documents_own_cursor_of_whole_seconds_is_taken(api):
    older = {"email": "older@acme.com", "created_at": "2026-04-10T14:32:10Z"}
    import_all(api, "contacts", [older, JANE])
    body = read(api, "contacts?cursor=2026-04-10T14:32:11Z")
    assert [record["email"] for record in body["data"]] == ["older@acme.com"]
    assert (body["next_cursor"], body["has_more"]) == (None, False)


###############################################################################
# Keys and calls (document 001) ###############################################
###############################################################################


def test_the_documents_key_is_created_word_for_word(api):
    answer = in_document_001(api, "POST", "/api/api-keys", MY_KEY)
    data = enveloped(answer, 201)
    assert re.fullmatch("key_[0-9a-z]{26}", data["id"])
    assert data["name"] == "My API Key"
    assert re.fullmatch("ck_live_[0-9a-z]{26,}", data["key"])
    assert data["created_at"] == "2026-07-04T10:00:00Z"
    assert data["permissions"] == ["calls:read", "calls:write"]
    assert enveloped(api.get("/api/calls/list", key=data["key"]))["total"] == 0
    assert api.get("/v1/contacts", key=data["key"]).status_int == 403


def test_the_documents_list_of_keys_word_for_word(api):
    made = make_key(api, **MY_KEY)
    api.turn(3600)
    api.get("/api/calls/list", key=made["key"])
    keys = enveloped(in_document_001(api, "GET", "/api/api-keys"))["keys"]
    (mine,) = [key for key in keys if key["id"] == made["id"]]
    assert mine["name"] == "My API Key"
    assert mine["created_at"] == "2026-07-04T10:00:00Z"
    assert mine["last_used_at"] == "2026-07-04T11:00:00Z"
    assert set(mine) >= KEY_FIELDS
    assert made["key"] not in json.dumps(keys) and "key" not in mine


CALL_FIELDS = [
    *("id", "status", "contact_id", "phone_number", "from_number", "duration"),
    *("reason", "created_at", "updated_at"),
]


def test_the_documents_call_is_created_word_for_word(api):
    (contact,) = api.add("ada@example.com")
    body = {
        "contact_id": contact,
        "phone_number": "+1234567890",
        "from_number": "+0987654321",
    }
    answer = in_document_001(api, "POST", "/api/calls/create", body)
    data = enveloped(answer, 201)
    assert re.fullmatch("call_[0-9a-z]{26}", data["id"])
    assert list(data) == CALL_FIELDS
    assert data == {
        "id": data["id"],
        "status": "initiating",
        "contact_id": contact,
        "phone_number": "+1234567890",
        "from_number": "+0987654321",
        "duration": None,
        "reason": None,
        "created_at": "2026-07-04T10:00:00Z",
        "updated_at": "2026-07-04T10:00:00Z",
    }


def test_the_documents_list_of_calls_word_for_word(api):
    call = called(api)
    called(api, api.add("b@x.org")[0])
    enveloped(move(api, call, status="completed", duration=120))
    path = "/api/calls/list?limit=50&status=completed"
    data = enveloped(in_document_001(api, "GET", path))
    (shown,) = data["calls"]
    expected = {
        "id": call["id"],
        "status": "completed",
        "contact_id": call["contact_id"],
        "phone_number": "+1234567890",
        "duration": 120,
        "created_at": "2026-07-04T10:00:00Z",
    }
    assert {name: shown[name] for name in expected} == expected
    assert data["total"] == 1


###############################################################################
# Keys ########################################################################
###############################################################################


# -- as they come in


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer {}"},
        {"Authorization": "bearer {}"},
        {"Authorization": "BEARER {}"},
        {"Authorization": "Bearer  {} "},
        {"X-Api-Key": "{}"},
        {"x-api-key": " {} "},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["contacts", "companies"])
def test_a_key_comes_as_bearer_or_as_x_api_key(api, headers, kind):
    filled = {name: value.format(api.secret) for name, value in headers.items()}
    answer = api.get(f"/v1/{kind}", key=None, headers=filled)
    assert (answer.status_int, answer.json["data"]) == (200, [])


BAD_KEYS = [
    {},
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer "},
    {"Authorization": "Bearer x"},
    {"Authorization": "{}"},
    {"Authorization": "Basic {}"},
    {"Authorization": "Token {}"},
    {"Authorization": "Bearer{}"},
    {"Authorization": "Bearer {}x"},
    {"Authorization": "Bearer {} {}"},
    {"Authorization": "Bearer {}, Bearer {}"},
    {"Authorization": 'Bearer "{}"'},
    {"Authorization": "Bearer ck_secret_"},
    {"Authorization": "Bearer ck_secret_" + "0" * 32},
    {"Authorization": "Bearer " + "k" * 8192},
    {"Authorization": "Bearer ck_secret_\xff\xfe\x80"},
    {"Authorization": "Bearer ck_secret_" + "\xc3\xa9" * 4096},
    {"Authorization": "Bearer ' OR 1=1 --"},
    {"Authorization": "Bearer {} ", "CUT": "1"},
    {"X-Api-Key": ""},
    {"X-Api-Key": "Bearer {}"},
    {"X-Api-Key": "k" * 8192},
    {"X-Api-Key": "\xff" * 100},
]


@pytest.mark.parametrize("headers", BAD_KEYS, ids=lambda h: ascii(h)[:60])
def test_without_a_valid_key_every_answer_is_the_same_401(api, headers):
    token = api.secret[:-1] if headers.get("CUT") else api.secret
    filled = {
        name: value.replace("{}", token)
        for name, value in headers.items()
        if name != "CUT"
    }
    answer = api.get("/v1/contacts", key=None, headers=filled)
    assert failure(answer) == (401, "unauthorized", None)
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.body == api.get("/v1/contacts", key=None).body


@pytest.mark.parametrize("kind", ["secret", "publishable", "restricted"])
def test_a_revoked_key_gets_the_same_401(api, kind):
    token = api.key(kind, *(["contacts:read"] if kind == "restricted" else []))
    api.revoke(token)
    answer = api.post(ADA, key=token, headers=PAGE)
    assert failure(answer) == (401, "unauthorized", None)
    assert answer.body == api.get("/v1/contacts", key=None).body


def test_nothing_is_visible_across_workspaces(api):
    (ref,) = api.add("ada@example.com")
    other = api.key("secret", workspace="other")
    path = f"/v1/contacts/{ref}"
    assert failure(api.get(path, key=other)) == (404, "not_found", None)
    assert api.ask("PATCH", path, {"a": 1}, key=other).status_int == 404
    assert api.ask("DELETE", path, key=other).status_int == 404
    assert api.get("/v1/contacts", key=other).json["total"] == 0
    assert api.get("/v1/contacts?email=ada@example.com", key=other).json["data"] == []
    theirs = api.post(ADA, key=other)
    assert theirs.status_int == 201 and theirs.json["id"] != ref
    assert "name" not in api.get(path).json
    assert api.get("/v1/contacts").json["total"] == 1


# -- what each may do


# What the contract has each endpoint need: a new route must be written here.
NEEDS = {
    ("GET", "/healthz"): None,
    **{("GET", path): None for path in PAGE_PATHS},
    ("GET", "/pages/<name>"): None,
    ("POST", "/f"): None,
    ("POST", "/f/<key>"): None,
    ("GET", "/f/thanks"): None,
    ("GET", "/f/<key>/challenge"): None,
    ("POST", "/api/calls/<ref>/twilio"): None,
    ("GET", "/v1/contacts/<ref>/export"): "contacts:read calls:read submissions:read",
    ("GET", "/v1/submissions"): "submissions:read",
    ("DELETE", "/v1/submissions"): "submissions:write",
    ("GET", "/v1/submissions/<ref>"): "submissions:read",
    ("PATCH", "/v1/submissions/<ref>"): "submissions:write",
    ("DELETE", "/v1/submissions/<ref>"): "submissions:write",
    ("GET", "/v1/submissions.jsonl"): "submissions:read",
    ("GET", "/v1/submissions.csv"): "submissions:read",
    ("POST", "/mcp"): contactapi.SIGNED,
    ("GET", "/v1/events"): "everything",
    ("GET", "/v1/webhooks"): "everything",
    ("POST", "/v1/webhooks"): "everything",
    ("GET", "/v1/webhooks/<ref>"): "everything",
    ("PATCH", "/v1/webhooks/<ref>"): "everything",
    ("DELETE", "/v1/webhooks/<ref>"): "everything",
    ("POST", "/v1/webhooks/<ref>/test"): "everything",
    ("GET", "/v1/deliveries"): "everything",
    ("POST", "/v1/deliveries/<ref>/retry"): "everything",
    ("GET", "/v1/stats"): "everything",
    ("GET", "/api/api-keys"): "keys:read",
    ("POST", "/api/api-keys"): "keys:write",
    ("PATCH", "/api/api-keys/<ref>"): "keys:write",
    ("DELETE", "/api/api-keys/<ref>"): "keys:write",
    ("POST", "/api/calls/create"): "calls:write",
    ("GET", "/api/calls/list"): "calls:read",
    ("GET", "/api/calls/<ref>"): "calls:read",
    ("PATCH", "/api/calls/<ref>"): "calls:write",
}
for _kind in ("contacts", "companies"):
    _read, _write = f"{_kind}:read", f"{_kind}:write"
    NEEDS |= {
        ("GET", f"/v1/{_kind}"): _read,
        ("POST", f"/v1/{_kind}"): _write,
        ("GET", f"/v1/{_kind}/<ref>"): _read,
        ("PATCH", f"/v1/{_kind}/<ref>"): _write,
        ("DELETE", f"/v1/{_kind}/<ref>"): _write,
        ("GET", f"/v1/{_kind}/<ref>/history"): _read,
        ("DELETE", f"/v1/{_kind}/<ref>/history"): _write,
        ("GET", f"/v1/{_kind}.jsonl"): _read,
        ("GET", f"/v1/{_kind}.csv"): _read,
        ("POST", f"/v1/{_kind}.jsonl"): f"{_read} {_write}",
        ("POST", f"/v1/{_kind}.csv"): f"{_read} {_write}",
        ("GET", f"/api/v1/{_kind}"): _read,
        ("GET", f"/api/v1/{_kind}/<ref>"): _read,
    }
FOR_PAGES = {("POST", "/v1/contacts")}  # what a publishable key may

ALL_BUT_ONE = [
    tuple(n for n in contactapi.known_permissions() if n != left_out)
    for left_out in contactapi.known_permissions()
]


def test_no_route_is_missing_in_the_table_of_permissions(make):
    found = endpoints(make(**TWILIO).app)
    assert {(one.method, one.path): one.needs for one in found} == NEEDS
    assert {(one.method, one.path) for one in found if one.public} == FOR_PAGES


def test_whatever_changes_something_needs_more_than_reading():
    changing = [needs for (method, _), needs in NEEDS.items() if method != "GET"]
    assert [n for n in changing if n and all(":read" in one for one in n.split())] == []


@pytest.mark.parametrize(
    "kind, permissions",
    [
        ("none", ()),
        ("unknown", ()),
        ("secret", ()),
        ("publishable", ()),
        *(("restricted", permissions) for permissions in SINGLES + ALL_BUT_ONE),
        ("restricted", contactapi.known_permissions()),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_a_key_may_exactly_what_its_permissions_name(make, kind, permissions):
    client = make(CONTACTAPI_RATE_LIMIT="off", **TWILIO)
    token = {"none": None, "unknown": "ck_live_" + "0" * 32}.get(kind)
    if kind not in ("none", "unknown"):
        token = client.key(kind, *permissions)
    for (method, path), needs in NEEDS.items():
        if needs is None:
            continue
        may = kind == "secret" or set(needs.split()) <= set(permissions)
        may = may or (kind == "restricted" and needs == contactapi.SIGNED)
        may = may or (kind == "publishable" and (method, path) in FOR_PAGES)
        expected = {200, 201, 400, 404, 415} if may else {403}
        if kind in ("none", "unknown"):
            expected = {401}
        body = None if method == "GET" else {}
        headers = {} if path == "/mcp" else PAGE  # which takes no pages' requests
        answer = client.ask(method, filled(path), body, key=token, headers=headers)
        assert answer.status_int in expected, f"{method} {path}: {answer.status}"


def test_a_route_without_a_key_is_one_of_these(make):
    client = make(**TWILIO)
    assert client.get("/healthz", key=None).status_int == 200
    path = "/api/calls/call_00000000000000000000000000/twilio"
    assert signed(client, path, {"CallSid": SID}).status_int == 200


# -- origins


@pytest.mark.parametrize(
    "domains, headers, status",
    [
        ("example.com", {"Origin": "https://example.com"}, 201),
        ("example.com", {"Origin": "https://evil.test"}, 403),
        ("example.com", {"Origin": "null"}, 403),
        ("example.com", {}, 403),
        ("example.com", {"Referer": "https://example.com/page?x=1"}, 201),
        ("example.com", {"Referer": "https://evil.test/?https://example.com"}, 403),
        ("example.com", {"Origin": "null", "Referer": "https://example.com/"}, 403),
        (
            "example.com",
            {"Origin": "https://evil.test", "Referer": "https://example.com/"},
            403,
        ),
        (
            "example.com",
            {"Origin": "https://example.com", "Referer": "https://evil.test/"},
            201,
        ),
        ("example.com example.org", {"Origin": "https://example.org"}, 201),
        ("münchen.de", {"Origin": "https://xn--mnchen-3ya.de"}, 201),
        ("münchen.de", {"Origin": "https://münchen.de".encode().decode("l1")}, 201),
        ("localhost", {"Origin": "http://127.0.0.1:5500"}, 201),
        ("localhost", {"Origin": "http://[::1]:5500"}, 201),
        ("*", {"Origin": "null"}, 201),
        ("*", {}, 201),
    ],
    ids=str,
)
def test_a_publishable_key_works_on_its_domains_only(api, domains, headers, status):
    token = api.key("publishable", domains=tuple(domains.split()))
    assert api.post(ADA, key=token, headers=headers).status_int == status
    assert api.get("/v1/contacts").json["total"] == (1 if status == 201 else 0)


@pytest.mark.parametrize("origin", ["https://evil.test", "null", ""])
def test_a_refused_origin_is_named_with_how_to_allow_it(api, origin):
    token = api.key("publishable")
    answer = api.post(ADA, key=token, headers={"Origin": origin} if origin else {})
    assert failure(answer) == (403, "forbidden", None)
    message = answer.json["error"]["message"]
    assert origin in message and "--domain" in message and token not in message


def test_other_keys_are_not_bound_to_an_origin(api):
    answer = api.post(ADA, headers={"Origin": "https://anywhere.test"})
    assert answer.status_int == 201


# -- what a key that may not read is told


def test_a_key_that_may_not_read_gets_its_own_words_back(api):
    (ref,) = api.add("Ada@Example.com", plan="pro", secret="stored")
    writer = api.key("restricted", "contacts:write")
    api.turn(60)
    sent = {"email": "ada@example.com ", "city": "Ulm", "created_at": "x"}
    times = {
        "created_at": "2026-07-04T10:01:00Z",
        "updated_at": "2026-07-04T10:01:00Z",
    }
    posted = api.post(sent, key=writer)
    expected = {"id": ref, "email": "ada@example.com", "city": "Ulm", **times}
    assert (posted.status_int, posted.json) == (201, expected)
    patched = api.patch(ref, {"city": "Bonn", "id": "x"}, key=writer)
    assert (patched.status_int, patched.json) == (
        200,
        {"id": ref, "city": "Bonn", **times},
    )
    nothing = api.patch(ref, {}, key=writer)
    assert (nothing.status_int, nothing.json) == (200, {"id": ref, **times})
    assert shows(api.get(f"/v1/contacts/{ref}"), {"secret": "stored", "city": "Bonn"})
    assert api.get(f"/v1/contacts/{ref}", key=writer).status_int == 403
    assert api.ask("DELETE", f"/v1/contacts/{ref}", key=writer).json == {
        "id": ref,
        "deleted": True,
    }


def test_a_key_that_may_read_and_write_gets_the_whole_contact(api):
    api.add("ada@example.com", plan="pro")
    both = api.key("restricted", "contacts:read", "contacts:write")
    answer = api.post({"email": "ada@example.com"}, key=both)
    assert answer.json["plan"] == "pro"


def test_a_company_written_without_reading_is_a_receipt_too(api):
    stored = api.post({"name": "Acme", "secret": "stored"}, "/v1/companies").json
    writer = api.key("restricted", "companies:write", "contacts:read")
    answer = api.post({"name": "ACME", "n": 1}, "/v1/companies", key=writer)
    assert list(answer.json) == ["id", "name", "n", "created_at", "updated_at"]
    assert (answer.json["id"], answer.json["name"]) == (stored["id"], "ACME")


# -- what a publishable key is told


@pytest.mark.parametrize("existing", ["update", "keep"])
@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"city": "Ulm"},
        {"plan": "free"},
        {"plan": None, "created_at": "x", "id": "y"},
        {"name": "A", "tags": {"a": [1, None]}},
    ],
    ids=str,
)
def test_a_publishable_key_learns_nothing_about_known_emails(api, existing, sent):
    (ref,) = api.add("Known@example.com", plan="pro", secret="stored", city="Bonn")
    token = api.key("publishable", existing=existing)
    api.turn(3600)
    known = api.post({"email": "known@example.com", **sent}, key=token, headers=PAGE)
    new = api.post({"email": "fresh@example.com", **sent}, key=token, headers=PAGE)
    assert known.status == new.status == "201 Created"
    mine = {name: sent[name] for name in sent if name not in ("id", "created_at")}
    times = {
        "created_at": "2026-07-04T11:00:00Z",
        "updated_at": "2026-07-04T11:00:00Z",
    }
    assert known.json == {"id": ref, "email": "known@example.com", **mine, **times}
    id_of_new = new.json["id"]
    assert new.json == {"id": id_of_new, "email": "fresh@example.com", **mine, **times}
    assert list(known.json) == list(new.json)
    assert len(known.body) == len(new.body)
    kept = [sorted(set(a.headers) - {"X-Request-Id"}) for a in (known, new)]
    assert kept[0] == kept[1]


def test_a_publishable_key_updates_fields_but_never_the_stored_spelling(api):
    (ref,) = api.add("Ada@Example.com", plan="pro", city="Ulm")
    public = api.key("publishable")
    api.turn(60)
    sent = {"email": "ADA@EXAMPLE.COM", "plan": "free", "new": 1}
    answer = api.post(sent, key=public, headers=PAGE)
    assert answer.json["email"] == "ADA@EXAMPLE.COM"
    assert api.get(f"/v1/contacts/{ref}").json == {
        "id": ref,
        "email": "Ada@Example.com",
        "plan": "free",
        "city": "Ulm",
        "new": 1,
        "created_at": "2026-07-04T10:00:00Z",
        "updated_at": "2026-07-04T10:01:00Z",
    }


def test_a_key_that_keeps_adds_fields_and_overwrites_none(api):
    (ref,) = api.add("ada@example.com", plan="pro", none=None)
    public = api.key("publishable", existing="keep")
    sent = {"email": "ada@example.com", "plan": "free", "none": 1, "new": 1}
    answer = api.post(sent, key=public, headers=PAGE)
    assert answer.json["plan"] == "free"
    stored = api.get(f"/v1/contacts/{ref}").json
    assert (stored["plan"], stored["none"], stored["new"]) == ("pro", None, 1)


@pytest.mark.parametrize("existing", ["update", "keep"])
def test_a_submission_that_would_grow_a_record_too_large_is_kept_beside_it(
    make, existing
):
    api = make(CONTACTAPI_MAX_BODY="2048")
    (ref,) = api.add("ada@example.com", a="x" * 1900)
    before = api.get(f"/v1/contacts/{ref}").body
    public = api.key("publishable", existing=existing)
    api.turn(60)
    sent = {"email": "ada@example.com", "b": "y" * 400}
    answer = api.post(sent, key=public, headers=PAGE)
    assert answer.status_int == 201
    assert shows(answer, {**sent, "updated_at": "2026-07-04T10:01:00Z"})
    assert list(answer.json) == ["id", "email", "b", "created_at", "updated_at"]
    assert api.get(f"/v1/contacts/{ref}").body == before
    assert history(api, ref)[0]["data"]["fields"] == sent
    (kept,) = api.get("/v1/submissions").json["data"]
    assert (kept["state"], kept["contact"], kept["fields"]) == ("accepted", ref, sent)


def test_a_submission_is_kept_as_it_was_sent_whatever_becomes_of_it(api):
    (ref,) = api.add("ada@example.com", plan="pro")
    public, sent = api.key("publishable"), {"plan": "max", "email": "ada@Example.com"}
    api.post(sent, key=public, headers=PAGE)
    api.post({**sent, "plan": "free"}, key=public, headers=PAGE)
    newest, first = api.get("/v1/submissions").json["data"]
    assert first == {
        "id": first["id"],
        "state": "accepted",
        "reason": None,
        "key": api.ref(public),
        "contact": ref,
        "email": "ada@Example.com",
        "subject": None,
        "page": PAGE["Origin"],
        "fields": sent,
        "created_at": "2026-07-04T10:00:00Z",
        "updated_at": "2026-07-04T10:00:00Z",
        "confirmed_at": None,
    }
    path = f"/v1/submissions/{newest['id']}"
    spam = api.ask("PATCH", path, {"state": "spam"}).json
    assert (spam["state"], spam["reason"]) == ("spam", "marked")
    assert api.get(f"/v1/contacts/{ref}").json["plan"] == "free"
    assert api.ask("DELETE", path).json == {"id": newest["id"], "deleted": True}
    assert api.ask("DELETE", f"/v1/contacts/{ref}").status_int == 200
    assert api.get("/v1/submissions").json["total"] == 0


def test_the_same_from_the_same_visitor_within_60_seconds_is_one_submission(api):
    public = api.key("publishable")
    first = api.post(ADA, key=public, headers=PAGE)
    api.turn(60)
    assert api.post(ADA, key=public, headers=PAGE).body == first.body
    api.turn(1)
    assert api.post(ADA, key=public, headers=PAGE).body != first.body
    assert api.get("/v1/submissions").json["total"] == 2


def test_a_publishable_keys_requests_are_small(api):
    public = api.key("publishable")

    def status(fields, **options):
        body = {"email": "ada@example.com", **fields}
        answer = api.post(body, key=public, headers=PAGE, **options)
        assert answer.status_int == 201 or failure(answer) in (BAD, TOO_LARGE)
        return answer.status_int

    assert status({"a": "x" * (16384 - len('{"email": "ada@example.com", "a": ""}'))})
    assert status({"a": "x" * (16384 - 37)}) == 201
    assert status({"a": "x" * (16384 - 36)}) == 413
    assert status({f"f{n}": n for n in range(99)}) == 201
    assert status({f"f{n}": n for n in range(101)}) == 400
    assert status({"n" * 100: 1}) == 201
    assert status({"n" * 101: 1}) == 400
    assert api.post({**ADA, "n" * 101: 1}).status_int == 201


def test_a_publishable_keys_request_is_small_without_a_content_length_too(api):
    body = json.dumps({"email": "ada@example.com", "a": "x" * 20_000}).encode()
    answer = api.ask(
        *("POST", "/v1/contacts"),
        key=api.key("publishable"),
        headers=PAGE,
        lint=False,
        **{"wsgi.input": io.BytesIO(body), "CONTENT_TYPE": "application/json"},
    )
    assert failure(answer) == TOO_LARGE


###############################################################################
# Forms (ours) ################################################################
###############################################################################


@pytest.fixture
def form(free):
    """A client, and the token of a form's key, which may be used on example.com."""
    free.form = free.key("publishable")
    return free


# -- what becomes of it


def test_a_form_makes_a_submission_and_a_contact(form):
    answer = post_form(form, {"email": "ada@example.com", "message": "Hello"})
    row = submitted(form)
    assert answered(answer)["submission"] == row["id"]
    assert row["fields"] == {"email": "ada@example.com", "message": "Hello"}
    assert (row["state"], row["email"]) == ("accepted", "ada@example.com")
    assert (row["page"], row["key"]) == ("https://example.com", form.ref(form.form))
    assert contacts(form) == [{"email": "ada@example.com", "message": "Hello"}]


def test_the_key_may_come_in_the_field_access_key(form):
    fields = {"email": "ada@example.com", "access_key": form.form}
    answered(post_form(form, fields, path="/f"))
    assert submitted(form)["fields"] == {"email": "ada@example.com"}


def test_the_keys_field_is_left_out_where_the_address_names_a_key(form):
    answered(post_form(form, {"message": "x", "access_key": "nonsense"}))
    assert submitted(form)["fields"] == {"message": "x"}


def test_without_an_email_there_is_a_submission_and_no_contact(form):
    for fields in ({"message": "x"}, {"email": "", "m": "y"}, {"email": " \u200b"}):
        answered(post_form(form, fields))
        assert submitted(form)["email"] is None
        assert submitted(form)["fields"] == fields
    assert contacts(form) == []


@pytest.mark.parametrize(
    "sent",
    [
        {"email": "ada"},
        [("email", "ada@example.com"), ("email", "bob@example.com")],
        [("email", ""), ("email", "bob@example.com")],
    ],
)
def test_an_email_that_is_none_or_that_comes_twice_is_400(form, sent):
    answer = post_form(form, sent)
    assert refused(answer) == (400, "invalid_email", "email")
    message = answer.json["error"]["message"]
    error = {"code": "TYPE_EMAIL", "field": "email", "message": message}
    assert answer.json["errors"] == [error]
    assert inbox(form) == []


@pytest.mark.parametrize(
    "name", ["_replyto", "replyto", "Email", "E-mail", "your-email"]
)
def test_without_an_email_another_field_stands_in(form, name):
    sent = {name: " Ada@example.com ", "message": "Hello"}
    answered(post_form(form, sent))
    assert submitted(form)["email"] == "Ada@example.com"
    assert submitted(form)["fields"] == sent
    assert contacts(form) == [{"email": "Ada@example.com", "message": "Hello"}]


@pytest.mark.parametrize(
    "name", ["_replyto", "replyto", "Email", "E-mail", "your-email"]
)
def test_a_stand_in_that_is_no_address_is_a_plain_field(form, name):
    answered(post_form(form, {name: "call me", "message": "Hello"}))
    assert submitted(form)["email"] is None
    assert submitted(form)["fields"] == {name: "call me", "message": "Hello"}


def test_the_first_stand_in_that_is_an_address_is_taken(form):
    sent = {"your-email": "c@x.org", "Email": "b@x.org", "replyto": "none"}
    answered(post_form(form, sent))
    assert submitted(form)["email"] == "b@x.org"
    expected = {"email": "b@x.org", "your-email": "c@x.org", "replyto": "none"}
    assert contacts(form) == [expected]


def test_an_email_leaves_no_stand_in(form):
    sent = {"email": "a@x.org", "Email": "b@x.org", "_replyto": "c@x.org"}
    answered(post_form(form, sent))
    assert submitted(form)["email"] == "a@x.org"
    assert submitted(form)["fields"] == {"email": "a@x.org", "Email": "b@x.org"}


def test_id_and_times_stay_in_the_submission_alone(form):
    sent = {"id": "con_x", "created_at": "1", "updated_at": "2", "email": "a@x.org"}
    answered(post_form(form, sent))
    assert submitted(form)["fields"] == sent
    assert contacts(form) == [{"email": "a@x.org"}]


def test_control_fields_are_not_stored(form):
    control = {
        **dict.fromkeys(("_next", "redirect"), "https://example.com/t"),
        **dict.fromkeys(("_gotcha", "botcheck", "_honey", "bot-field"), ""),
        **{"_subject": "s", "_replyto": "r@x.org", "from_name": "f"},
        **{"_cc": "spy@evil.test", "ccemail": "spy@evil.test", "webhook": "http://x"},
        **{"_template": "box", "_anything": "x", "_": "x", "_charset_": "utf-8"},
        **dict.fromkeys(("altcha", "cap-token", "frc-captcha-response"), "t"),
        **dict.fromkeys(("cf-turnstile-response", "h-captcha-response"), "t"),
        **dict.fromkeys(("g-recaptcha-response", "recaptcha_response"), "t"),
    }
    answered(post_form(form, {**control, "email": "a@x.org", "form-name": "contact"}))
    expected = {"email": "a@x.org", "form-name": "contact"}
    assert submitted(form)["fields"] == expected
    assert contacts(form) == [expected]


@pytest.mark.parametrize(
    "sent, subject, kept",
    [
        ({"_subject": "Hi", "subject": "Lo"}, "Hi", {"subject": "Lo"}),
        ({"subject": "Lo"}, "Lo", {"subject": "Lo"}),
        ({"_subject": " ", "subject": "Lo"}, "Lo", {"subject": "Lo"}),
        ({"m": "x"}, None, {"m": "x"}),
    ],
)
def test_the_subject_is_the_control_field_before_the_visible_one(
    form, sent, subject, kept
):
    answered(post_form(form, sent))
    assert submitted(form)["subject"] == subject
    assert submitted(form)["fields"] == kept


def test_fields_keep_their_order_and_a_repeated_name_becomes_an_array(form):
    answered(post_form(form, [("b", "1"), ("a", "2"), ("b", "3"), ("c", "")]))
    row = submitted(form)["fields"]
    assert list(row.items()) == [("b", ["1", "3"]), ("a", "2"), ("c", "")]


def test_a_form_gives_strings_and_json_keeps_its_types(form):
    answered(post_form(form, {"n": "5", "yes": "true", "o": '{"a":1}'}))
    assert submitted(form)["fields"] == {"n": "5", "yes": "true", "o": '{"a":1}'}
    document = {"n": 5, "yes": True, "o": {"a": [1.5, None]}, "email": None}
    answered(post_form(form, document, media="json"))
    assert submitted(form)["fields"] == document


def test_post_contacts_has_no_control_fields(form):
    sent = {"email": "a@x.org", "_subject": "s", "_gotcha": "x", "redirect": "r"}
    assert form.post(sent, key=form.form, headers=PAGE).status_int == 201
    assert submitted(form)["fields"] == sent
    assert submitted(form)["state"] == "accepted"


# -- what is answered


def test_a_success_is_json_unless_a_browser_itself_asks(form):
    for accept in (None, "*/*", "application/json", "application/xhtml+xml"):
        headers = {**PAGE, "Accept": accept} if accept else PAGE
        answer = post_form(form, {"m": accept or "x"}, headers=headers)
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        assert list(answer.json) == ["success", "ok", "message", "next", "submission"]
        assert answer.json["success"] is answer.json["ok"] is True
        assert re.fullmatch("sub_[0-9a-z]{26}", answer.json["submission"])


def test_a_browser_gets_a_page_of_thanks_with_a_way_back(form):
    page = page_of(post_form(form, {"m": "x"}, headers={**PAGE, **BROWSER}))
    assert "Thank you" in page and '<a href="https://example.com/">' in page


def test_a_form_that_is_sent_twice_is_kept_once(form):
    first, second = (post_form(form, {"m": "x"}, headers=h) for h in (PAGE, PAGE))
    assert first.json == second.json
    page = post_form(form, {"m": "x", "_next": "/t"}, headers={**PAGE, **BROWSER})
    assert (page.status_int, page.headers["Location"]) == (303, "https://example.com/t")
    assert len(inbox(form)) == 1


###############################################################################
# Errors ######################################################################
###############################################################################


@pytest.mark.parametrize(
    "error, status, code",
    [
        (contactapi.InvalidRequest(), 400, "invalid_request"),
        (contactapi.InvalidEmail("no", "email"), 400, "invalid_email"),
        (contactapi.Unauthorized(), 401, "unauthorized"),
        (contactapi.Forbidden("no"), 403, "forbidden"),
        (contactapi.NotFound(), 404, "not_found"),
        (contactapi.MethodNotAllowed(), 405, "method_not_allowed"),
        (contactapi.Conflict("no"), 409, "conflict"),
        (contactapi.PayloadTooLarge(), 413, "payload_too_large"),
        (contactapi.UnsupportedMediaType(), 415, "unsupported_media_type"),
        (contactapi.RateLimited(7), 429, "rate_limit"),
        (contactapi.ApiError(), 500, "internal_error"),
        (contactapi.Unavailable(), 503, "unavailable"),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
def test_an_error_knows_its_status_and_its_code(error, status, code):
    assert (error.status, error.body()["code"]) == (status, code)
    assert error.body()["message"]


def test_an_error_names_its_param_only_when_one_is_at_fault():
    assert contactapi.InvalidEmail("email is required", "email").body() == {
        "code": "invalid_email",
        "message": "email is required",
        "param": "email",
    }
    assert "param" not in contactapi.Conflict("no").body()


def test_a_refusal_carries_the_headers_that_belong_to_it():
    assert contactapi.RateLimited(7).headers == {"Retry-After": "7"}
    assert contactapi.Unauthorized().headers == {"WWW-Authenticate": "Bearer"}


# -- which comes first


BIG, GARBAGE = b"x" * 65537, b"{"
ONE, NONE = "/v1/contacts/{one}", f"/v1/contacts/{UNKNOWN}"
POST = ("POST", "/v1/contacts")
TAKEN = {"email": "taken@example.com"}
PRECEDENCE = [
    (413, "404 path", "POST", "/v1/nothing", BIG, {}),
    (413, "405", "PUT", "/v1/contacts", BIG, {}),
    (413, "401", *POST, BIG, {"key": "none"}),
    (413, "429", *POST, BIG, {"key": "spent"}),
    (413, "403", *POST, BIG, {"key": "reader"}),
    (413, "403 origin", *POST, BIG, {"key": "public"}),
    (413, "415", *POST, BIG, {"type": "text/plain"}),
    (413, "400", "POST", "/v1/contacts?page=x", BIG, {}),
    (413, "404 record", "PATCH", NONE, BIG, {}),
    (413, "409", "PATCH", ONE, {**TAKEN, "b": "x" * 40_000}, {}),
    (404, "401", "POST", "/v1/nothing", ADA, {"key": "none"}),
    (404, "429", "POST", "/v1/nothing", ADA, {"key": "spent"}),
    (404, "429 stranger", "POST", "/v1/nothing", ADA, {"key": "crowd"}),
    (404, "403", "POST", "/v1/nothing", ADA, {"key": "public"}),
    (404, "415", "POST", "/v1/nothing", b"x", {"type": "text/plain"}),
    (404, "400", "POST", "/v1/nothing", GARBAGE, {}),
    (405, "401", "PUT", "/v1/contacts", ADA, {"key": "none"}),
    (405, "429", "PUT", "/v1/contacts", ADA, {"key": "spent"}),
    (405, "429 stranger", "PUT", "/v1/contacts", ADA, {"key": "crowd"}),
    (405, "403", "PUT", "/v1/contacts", ADA, {"key": "public"}),
    (405, "415", "PUT", "/v1/contacts", b"x", {"type": "text/plain"}),
    (405, "400", "PUT", "/v1/contacts", GARBAGE, {}),
    (405, "404 record", "PUT", NONE, ADA, {}),
    (401, "415", *POST, b"x", {"key": "none", "type": "text/plain"}),
    (401, "400", *POST, GARBAGE, {"key": "none"}),
    (401, "404 record", "PATCH", NONE, ADA, {"key": "none"}),
    (429, "401", *POST, ADA, {"key": "crowd"}),
    (429, "403", *POST, ADA, {"key": "spent"}),
    (429, "403 origin", *POST, ADA, {"key": "spent public"}),
    (429, "415", *POST, b"x", {"key": "spent", "type": "text/plain"}),
    (429, "400", "GET", "/v1/contacts?page=x", None, {"key": "spent"}),
    (429, "404 record", "GET", NONE, None, {"key": "spent"}),
    (403, "415", *POST, b"x", {"key": "reader", "type": "text/plain"}),
    (403, "400", *POST, GARBAGE, {"key": "reader"}),
    (403, "404 record", "PATCH", NONE, ADA, {"key": "reader"}),
    (403, "409", "PATCH", ONE, TAKEN, {"key": "reader"}),
    (403, "415 origin", *POST, b"x", {"key": "public", "type": "text/plain"}),
    (403, "400 origin", *POST, GARBAGE, {"key": "public"}),
    (415, "400", *POST, GARBAGE, {"type": "text/plain"}),
    (
        *(413, "415 small", *POST, b"x" * 20_000),
        {"key": "public", "type": "text/plain", "origin": "https://example.com"},
    ),
    (415, "404 record", "PATCH", NONE, b"x", {"type": "text/plain"}),
    (
        *(415, "409", "PATCH", ONE, json.dumps(TAKEN).encode()),
        {"type": "text/plain"},
    ),
    (400, "404 record", "PATCH", NONE, GARBAGE, {}),
    (400, "404 record, email", "PATCH", NONE, {"email": "broken"}, {}),
    (400, "409", "PATCH", ONE, b'{"email":"taken@example.com","a":1e400}', {}),
    (404, "409", "PATCH", NONE, TAKEN, {}),
]


@pytest.mark.parametrize(
    "status, over, method, path, body, how",
    PRECEDENCE,
    ids=[f"{row[0]} before {row[1]}" for row in PRECEDENCE],
)
def test_the_first_fault_in_the_contracts_order_is_answered(
    make, status, over, method, path, body, how
):
    api = make(CONTACTAPI_RATE_LIMIT="3/60")
    ref, _ = api.add("ada@example.com", "taken@example.com", a="x" * 40_000)
    api.turn(61)
    reader, public = api.key("restricted", "contacts:read"), api.key("publishable")
    keys = {"reader": reader, "public": public, "none": None, "crowd": None}
    if how.get("key") == "crowd":
        for _ in range(3):
            assert api.get("/v1/contacts", key=None).status_int == 401
    if how.get("key") == "spent":
        keys["spent"] = reader
        for _ in range(3):
            assert api.get("/v1/contacts", key=reader).status_int == 200
    if how.get("key") == "spent public":
        keys["spent public"] = public
        for _ in range(3):
            assert api.post(ADA, key=public, headers=PAGE).status_int == 201
    headers = {"Origin": how["origin"]} if "origin" in how else {}
    if "type" in how:
        headers["Content-Type"] = how["type"]
    key = keys[how["key"]] if "key" in how else api.secret
    path = path.replace("{one}", ref)
    answer = api.ask(method, path, body, key=key, headers=headers)
    assert failure(answer)[0] == status


###############################################################################
# Limits ######################################################################
###############################################################################


def test_an_answer_to_a_valid_key_shows_its_window(api):
    answer = api.get("/v1/contacts")
    assert answer.headers["RateLimit-Policy"] == '"key";q=100;w=60'
    assert answer.headers["RateLimit"] == '"key";r=99;t=60'
    api.turn(20)
    assert api.post(ADA).headers["RateLimit"] == '"key";r=98;t=40'


def test_the_hundred_and_first_request_of_a_minute_is_429(api):
    for left in range(99, -1, -1):
        assert rest(api.get("/v1/contacts")) == left
    api.turn(13.5)
    answer = api.get("/v1/contacts")
    assert failure(answer) == (429, "rate_limit", None)
    assert answer.headers["Retry-After"] == "47"
    assert answer.headers["RateLimit"] == '"key";r=0;t=47'
    other = api.key("restricted", "contacts:read")
    assert api.get("/v1/contacts", key=other).status_int == 200
    api.turn(46.499)
    assert api.get("/v1/contacts").status_int == 429
    api.turn(0.001)
    assert api.get("/v1/contacts").status_int == 200


@pytest.mark.parametrize(
    "status, method, path, body, how",
    [
        (200, "GET", "/v1/contacts", None, {}),
        (201, *POST, ADA, {}),
        (400, *POST, GARBAGE, {}),
        (403, "DELETE", NONE, None, {"key": "reader"}),
        (404, "GET", NONE, None, {}),
        (409, "PATCH", ONE, TAKEN, {}),
        (415, *POST, b"x", {"type": "text/plain"}),
    ],
)
def test_a_request_with_a_valid_key_counts(api, status, method, path, body, how):
    assert counted(api, status, method, path, body, how) == 1


@pytest.mark.parametrize(
    "status, method, path, body, how",
    [
        (404, "GET", "/v1/nothing", None, {}),
        (405, "PUT", "/v1/contacts", ADA, {}),
        (413, *POST, BIG, {}),
        (200, "GET", "/healthz", None, {}),
        (204, "OPTIONS", "/v1/contacts", None, {}),
    ],
)
def test_these_do_not_count_for_a_valid_key(api, status, method, path, body, how):
    assert counted(api, status, method, path, body, how) == 0


def counted(api, status, method, path, body, how):
    ref, _ = api.add("ada@example.com", "taken@example.com")
    key = api.key("restricted", "contacts:read") if how.get("key") else api.secret
    before = rest(api.get("/v1/contacts", key=key))
    headers = {"Content-Type": how["type"]} if "type" in how else {}
    path = path.replace("{one}", ref)
    answer = api.ask(method, path, body, key=key, headers=headers)
    assert answer.status_int == status
    if status not in (200, 204) or path != "/healthz":
        shown = answer.headers.get("RateLimit")
        assert shown or status == 204
    return before - 1 - rest(api.get("/v1/contacts", key=key))


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/v1/contacts", 401),
        ("GET", "/v1/nothing", 404),
        ("PUT", "/v1/contacts", 405),
    ],
)
def test_a_request_without_a_valid_key_counts_for_its_address(
    make, method, path, status
):
    api = make(CONTACTAPI_RATE_LIMIT="3/60")
    for _ in range(3):
        answer = api.ask(method, path, key=None, REMOTE_ADDR="198.51.100.7")
        assert answer.status_int == status
    answer = api.get("/v1/contacts", key="unknown", REMOTE_ADDR="198.51.100.7")
    assert failure(answer) == (429, "rate_limit", None)
    assert answer.headers["Retry-After"] == "60"
    api.turn(60)
    answer = api.get("/v1/contacts", key=None, REMOTE_ADDR="198.51.100.7")
    assert answer.status_int == 401


def test_preflights_and_healthz_count_for_nobody(make):
    api = make(CONTACTAPI_RATE_LIMIT="1/60")
    for _ in range(5):
        assert api.ask("OPTIONS", "/v1/contacts", key=None).status_int == 204
        assert api.get("/healthz", key=None).status_int == 200
        assert api.get("/healthz/", key=None).status_int == 200
        assert api.ask("PUT", "/healthz", key=None).status_int == 405
    assert api.get("/v1/contacts", key=None).status_int == 401
    assert api.get("/v1/contacts", key=None).status_int == 429
    assert api.get("/healthz", key=None).status_int == 200


def test_a_valid_key_is_never_refused_for_its_address(make):
    api = make(CONTACTAPI_RATE_LIMIT="2/60")
    public = api.key("publishable")
    for _ in range(3):
        api.get("/v1/contacts", key=None)
    assert api.get("/v1/contacts", key=None).status_int == 429
    assert api.get("/v1/contacts").status_int == 200
    assert api.post(ADA, key=public, headers=PAGE).status_int == 201


def test_a_publishable_key_is_counted_for_each_client_and_ten_times_in_all(make):
    api = make(CONTACTAPI_RATE_LIMIT="3/60")
    public = api.key("publishable")

    def post(number):
        address = f"198.51.100.{number}"
        return api.post(ADA, key=public, headers=PAGE, REMOTE_ADDR=address)

    for number in range(10):
        answers = [post(number) for _ in range(4)]
        assert [a.status_int for a in answers] == [201, 201, 201, 429]
        assert answers[0].headers["RateLimit"] == '"key";r=2;t=60'
        assert answers[0].headers["RateLimit-Policy"] == '"key";q=3;w=60'
        assert answers[3].headers["Retry-After"] == "60"
    refused = post(99)
    assert failure(refused) == (429, "rate_limit", None)
    assert (rest(refused), refused.headers["Retry-After"]) == (3, "60")
    api.turn(60)
    assert [post(99).status_int for _ in range(4)] == [201, 201, 201, 429]


def test_two_publishable_keys_do_not_share_a_clients_window(make):
    api = make(CONTACTAPI_RATE_LIMIT="1/60")
    for token in (api.key("publishable"), api.key("publishable")):
        answers = [api.post(ADA, key=token, headers=PAGE) for _ in range(2)]
        assert [a.status_int for a in answers] == [201, 429]


@pytest.mark.parametrize(
    "one, other, same",
    [
        ("198.51.100.7", "198.51.100.7", True),
        ("198.51.100.7", "198.51.100.8", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:198.51.100.7", "198.51.100.7", True),
        ("::ffff:198.51.100.7", "::ffff:198.51.100.8", False),
        ("fe80::1%eth0", "fe80::2", True),
    ],
)
def test_an_ipv6_client_is_its_64(make, one, other, same):
    api = make(CONTACTAPI_RATE_LIMIT="1/60")
    assert api.get("/v1/contacts", key=None, REMOTE_ADDR=one).status_int == 401
    answer = api.get("/v1/contacts", key=None, REMOTE_ADDR=other)
    assert answer.status_int == (429 if same else 401)


@pytest.mark.parametrize(
    "settings, socket, forwarded, client",
    [
        ({}, "10.0.0.1", "1.1.1.1", "10.0.0.1"),
        ({"PROXY": "10.0.0.1"}, "10.0.0.1", "1.1.1.1", "1.1.1.1"),
        ({"PROXY": "10.0.0.1"}, "10.0.0.1", "9.9.9.9, 1.1.1.1", "1.1.1.1"),
        ({"PROXY": "10.0.0.1"}, "10.0.0.2", "1.1.1.1", "10.0.0.2"),
        ({"PROXY": "10.0.0.1"}, "10.0.0.1", "", "10.0.0.1"),
        ({"PROXY": "10.0.0.1"}, "10.0.0.1", "nonsense", "10.0.0.1"),
        ({"PROXY": "10.0.0.1"}, "10.0.0.1", "1.1.1.1:5000", "1.1.1.1"),
        ({"PROXY": "10.0.0.1"}, "10.0.0.1", "[2001:db8::7]:50", "2001:db8::/64"),
        ({"PROXY": "10.0.0.1"}, "10.0.0.1", "2001:db8::7", "2001:db8::/64"),
        ({"PROXY": "10.0.0.1,10.0.0.2"}, "10.0.0.2", "1.1.1.1", "1.1.1.1"),
        ({"PROXY": "127.0.0.1"}, "::ffff:127.0.0.1", "1.1.1.1", "1.1.1.1"),
        ({"PROXY": "*"}, "198.51.100.7", "1.1.1.1", "1.1.1.1"),
        ({"PROXY": "*"}, "2001:db8::1", "1.1.1.1", "1.1.1.1"),
        ({"PROXY": "*", "HOPS": "2"}, "10.0.0.1", "9.9.9.9, 1.1.1.1, 2.2", "1.1.1.1"),
        ({"PROXY": "*", "HOPS": "2"}, "10.0.0.1", "1.1.1.1, 2.2.2.2", "1.1.1.1"),
        ({"PROXY": "*", "HOPS": "1"}, "10.0.0.1", "1.1.1.1, 2.2.2.2", "2.2.2.2"),
    ],
    ids=str,
)
def test_the_client_is_the_sockets_or_what_the_trusted_proxy_wrote(
    settings, socket, forwarded, client
):
    names = {"PROXY": "CONTACTAPI_TRUSTED_PROXY", "HOPS": "CONTACTAPI_PROXY_HOPS"}
    config = Config.from_env({names[name]: text for name, text in settings.items()})
    environ = {"REMOTE_ADDR": socket, "HTTP_X_FORWARDED_FOR": forwarded}
    assert contactapi.client_address(environ, config) == client


def test_a_visitor_cannot_forge_a_fresh_window(make):
    api = make(CONTACTAPI_RATE_LIMIT="1/60", CONTACTAPI_TRUSTED_PROXY="10.0.0.1")

    def status(forwarded):
        headers = {"X-Forwarded-For": forwarded}
        answer = api.get(
            "/v1/contacts", key=None, headers=headers, REMOTE_ADDR="10.0.0.1"
        )
        return answer.status_int

    assert status("9.9.9.1, 1.1.1.1") == 401
    assert status("9.9.9.2, 1.1.1.1") == 429
    assert status("9.9.9.1, 2.2.2.2") == 401


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.1.2.3", "172.16.0.9", "192.168.1.1", "fd00::1"]
)
def test_a_forwarded_header_from_nearby_warns_once(api, caplog, address):
    headers = {"X-Forwarded-For": "1.1.1.1"}
    for _ in range(3):
        api.get("/v1/contacts", key=None, headers=headers, REMOTE_ADDR=address)
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "CONTACTAPI_TRUSTED_PROXY" in warnings[0].getMessage()


def test_a_forwarded_header_with_a_secret_key_warns_too(api, caplog):
    headers = {"X-Forwarded-For": "1.1.1.1"}
    api.get("/v1/contacts", headers=headers, REMOTE_ADDR="127.0.0.1")
    assert "CONTACTAPI_TRUSTED_PROXY" in caplog.text


@pytest.mark.parametrize(
    "settings, address",
    [
        ({}, "198.51.100.7"),
        ({"CONTACTAPI_TRUSTED_PROXY": "10.0.0.1"}, "10.0.0.1"),
        ({"CONTACTAPI_TRUSTED_PROXY": "*"}, "127.0.0.1"),
    ],
)
def test_a_forwarded_header_from_elsewhere_or_a_trusted_proxy_does_not_warn(
    make, caplog, settings, address
):
    api = make(**settings)
    headers = {"X-Forwarded-For": "1.1.1.1"}
    api.get("/v1/contacts", key=None, headers=headers, REMOTE_ADDR=address)
    assert [r for r in caplog.records if r.levelno == logging.WARNING] == []


def test_off_means_no_limit_at_all(free):
    for _ in range(150):
        assert free.get("/v1/contacts", key=None).status_int == 401
        answer = free.get("/v1/contacts")
        assert answer.status_int == 200
    assert "RateLimit" not in answer.headers


def test_many_addresses_do_not_fill_the_memory(api):
    for number in range(21_000):
        address = f"10.0.{number >> 8}.{number & 255}"
        api.app.gate.count_stranger({"REMOTE_ADDR": address})
    assert len(api.app.gate.by_address.windows) == 20_000


def test_one_limiter_counts_the_three_apis_together(api):
    paths = ["/v1/contacts", "/api/v1/contacts", "/api/calls/list", "/api/api-keys"]
    rests = [api.get(path).headers["RateLimit"] for path in paths]
    assert rests == [f'"key";r={n};t=60' for n in (99, 98, 97, 96)]
