"""What visitors sent, as /v1/submissions shows it (CONTRACT section 8)."""

import csv
import io

import pytest

import contactapi
from client import (
    BAD_EMAIL,
    MISSING,
    PAGE,
    UNKNOWN,
    exported,
    failure,
    feed,
    hyphenated,
    jsonl,
)

FIELDS = [
    *("id", "state", "reason", "key", "contact", "email", "subject", "page"),
    *("fields", "created_at", "updated_at", "confirmed_at"),
]
NOBODY = "sub_00000000000000000000000000"
EVERY = "/v1/submissions"


@pytest.fixture
def public(free):
    return free.key("publishable")


def send(client, key, email="ada@example.com", **fields):
    """The submission of a post, as it is shown."""
    answer = client.post({"email": email, **fields}, key=key, headers=PAGE)
    assert answer.status_int == 201, answer.text
    return client.get(f"{EVERY}?page_size=1").json["data"][0]


def listed(client, query=""):
    answer = client.get(f"{EVERY}{query}")
    assert answer.status_int == 200, answer.text
    return answer.json


def marked(client, one, state, **options):
    return client.ask("PATCH", f"{EVERY}/{one['id']}", {"state": state}, **options)


def test_a_submission_is_what_was_sent_and_from_where(free, public):
    sent = {"email": " Ada@Example.com ", "subject": "Hi", "n": 1.0, "id": "mine"}
    answer = free.post(sent, key=public, headers=PAGE)
    (one,) = listed(free)["data"]
    assert list(one) == FIELDS
    contact = answer.json["id"]
    assert (one["key"], one["contact"]) == (free.ref(public), contact)
    assert (one["state"], one["reason"], one["confirmed_at"]) == (
        "accepted",
        None,
        None,
    )
    assert (one["email"], one["subject"]) == ("Ada@Example.com", "Hi")
    assert one["page"] == "https://example.com"
    assert one["fields"] == sent and list(one["fields"]) == list(sent)
    assert one["created_at"] == one["updated_at"] == "2026-07-04T10:00:00Z"
    shown = free.get(f"/v1/contacts/{contact}").json
    assert {
        n: shown[n] for n in shown if n not in ("id", "created_at", "updated_at")
    } == {
        "email": "Ada@Example.com",
        "subject": "Hi",
        "n": 1.0,
    }


@pytest.mark.parametrize(
    "headers, page",
    [
        ({"Origin": "https://Example.com:8443"}, "https://Example.com:8443"),
        ({"Referer": "https://example.com/a/b?c=d#e"}, "https://example.com"),
        ({"Origin": "https://a.test", "Referer": "https://b.test/"}, "https://a.test"),
        ({"Origin": "null"}, None),
        ({}, None),
    ],
)
def test_the_page_is_the_origin_that_sent_it_and_no_more(free, headers, page):
    key = free.key("publishable", domains=("*",))
    assert free.post({"email": "a@x.org"}, key=key, headers=headers).status_int == 201
    assert listed(free)["data"][0]["page"] == page


def test_a_secret_keys_post_is_no_submission(free):
    free.add("ada@example.com")
    assert listed(free)["data"] == []


def test_the_list_is_newest_first_in_pages_with_its_total(free, public):
    sent = [send(free, public, f"u{n}@x.org") for n in range(5)]
    newest = [one["id"] for one in reversed(sent)]
    page = listed(free, "?page=2&page_size=2")
    assert [one["id"] for one in page["data"]] == newest[2:4]
    rest = {name: page[name] for name in page if name != "data"}
    assert rest == {"page": 2, "page_size": 2, "total": 5, "total_pages": 3}
    assert listed(free, "?page=9")["data"] == []


def test_a_list_is_narrowed_by_each_of_its_filters(free, public):
    other = free.key("publishable")
    ada = send(free, public, note="Straße")
    free.turn(86_400)
    eva = send(free, other, "eva+x@example.com", note="blue")
    marked(free, eva, "spam")

    def found(query):
        page = listed(free, f"?{query}")
        assert page["total"] == len(page["data"])
        return [one["id"] for one in page["data"]]

    both = [eva["id"], ada["id"]]
    assert found("") == both
    for query, expected in {
        "state=accepted": [ada["id"]],
        "state=spam": [eva["id"]],
        "state=held": [],
        f"key={free.ref(public)}": [ada["id"]],
        f"key={free.ref(public)}&state=spam": [],
        f"key={free.ref(other)}&state=spam": [eva["id"]],
        f"key={free.ref(public).upper()}": [ada["id"]],
        f"key={hyphenated(free.ref(public))}": [ada["id"]],
        f"key=key_{NOBODY[4:]}": [],
        f"contact={hyphenated(ada['contact'])}": [ada["id"]],
        f"contact={ada['contact']}": [ada["id"]],
        f"contact={ada['contact'].upper()}&state=accepted": [ada["id"]],
        f"contact={UNKNOWN}": [],
        "email=ADA@EXAMPLE.COM": [ada["id"]],
        "email=ada@EXAMPLE.com": [ada["id"]],
        "email=eva+x@example.com": [eva["id"]],
        "email=ada@example.com&state=spam": [],
        "q=STRASSE": [ada["id"]],
        "q=example.com": both,
        "q=blue&state=accepted": [],
        "created_after=2026-07-05": [eva["id"]],
        "created_before=2026-07-05": [ada["id"]],
        "created_before=2026-07-05&state=accepted": [ada["id"]],
        "created_before=2026-07-05&state=spam": [],
    }.items():
        assert found(query) == expected, query


@pytest.mark.parametrize(
    "query, expected",
    [
        ("state=done", (400, "invalid_request", "state")),
        ("contact=nobody", (400, "invalid_id", "contact")),
        ("key=con_00000000000000000000000000", (400, "invalid_id", "key")),
        ("email=none", BAD_EMAIL),
        ("q=1+2+3+4+5+6", (400, "invalid_request", "q")),
        ("page=0", (400, "invalid_request", "page")),
        ("page_size=101", (400, "invalid_request", "page_size")),
        ("created_after=soon", (400, "invalid_request", "created_after")),
    ],
)
def test_a_filter_that_cannot_be_read_is_400(free, query, expected):
    for path in (EVERY, f"{EVERY}.jsonl", f"{EVERY}.csv"):
        if "page" not in query or path == EVERY:
            assert failure(free.get(f"{path}?{query}")) == expected


def other_end(ref):
    return ref[:-1] + ("1" if ref.endswith("0") else "0")


def test_one_is_found_by_its_id_in_either_spelling_and_is_404_elsewhere(free, public):
    one = send(free, public)
    assert free.get(f"{EVERY}/{one['id']}").json == one
    assert free.get(f"{EVERY}/{one['id'].upper()}").json == one
    other = free.key("secret", workspace="other")
    for method in ("GET", "PATCH", "DELETE"):
        body = {"state": "spam"} if method == "PATCH" else None
        for ref in (NOBODY, "sub_x", one["contact"], other_end(one["id"])):
            assert failure(free.ask(method, f"{EVERY}/{ref}", body)) == MISSING
        answer = free.ask(method, f"{EVERY}/{one['id']}", body, key=other)
        assert failure(answer) == MISSING
    assert listed(free)["data"] == [one]


def test_marking_as_spam_leaves_the_contact_alone_and_is_told(free, public):
    one = send(free, public, plan="pro")
    contact = free.get(f"/v1/contacts/{one['contact']}").json
    free.turn(60)
    answer = marked(free, one, "spam")
    assert answer.json == {
        **one,
        "state": "spam",
        "reason": "marked",
        "updated_at": "2026-07-04T10:01:00Z",
    }
    assert free.get(f"/v1/contacts/{one['contact']}").json == contact
    told = feed(free)["data"][-1]
    assert (told["type"], told["changed"]) == (
        "submission.updated",
        ["state", "reason"],
    )
    assert (told["record"], told["data"]) == (one["id"], answer.json)
    count = len(feed(free)["data"])
    assert marked(free, one, "spam").json == answer.json
    assert len(feed(free)["data"]) == count


def test_what_was_accepted_once_does_nothing_to_the_contact_again(free, public):
    one = send(free, public, plan="pro")
    free.patch(one["contact"], {"plan": "mine"})
    marked(free, one, "spam")
    back = marked(free, one, "accepted").json
    assert (back["state"], back["reason"]) == ("accepted", None)
    assert free.get(f"/v1/contacts/{one['contact']}").json["plan"] == "mine"
    types = [e["type"] for e in feed(free)["data"]]
    assert types.count("submission.accepted") == 1
    assert types[-2:] == ["submission.updated"] * 2


@pytest.mark.parametrize(
    "body", [{}, {"state": "held"}, {"state": None}, {"state": ["spam"]}, {"state": 1}]
)
def test_no_other_state_can_be_given(free, public, body):
    one = send(free, public)
    answer = free.ask("PATCH", f"{EVERY}/{one['id']}", body)
    assert failure(answer) == (400, "invalid_request", "state")
    assert failure(free.ask("PATCH", f"{EVERY}/{NOBODY}", body))[0] == 400
    assert listed(free)["data"] == [one]


def test_a_key_that_may_write_but_not_read_is_told_what_it_sent(free, public):
    one = send(free, public)
    writer = free.key("restricted", "submissions:write")
    answer = marked(free, one, "spam", key=writer)
    now = "2026-07-04T10:00:00Z"
    times = {"created_at": now, "updated_at": now}
    assert answer.json == {"id": one["id"], "state": "spam", **times}


def test_a_deletion_erases_it_and_its_events_and_leaves_a_tombstone(free, public):
    one, kept = send(free, public, n=1), send(free, public, n=2)
    marked(free, one, "spam")
    answer = free.ask("DELETE", f"{EVERY}/{one['id']}")
    assert answer.json == {"id": one["id"], "deleted": True}
    assert failure(free.get(f"{EVERY}/{one['id']}")) == MISSING
    told = [e for e in feed(free)["data"] if e["record"] == one["id"]]
    assert [(e["type"], e["data"]) for e in told] == [
        ("submission.deleted", {"id": one["id"]})
    ]
    assert listed(free)["total"] == 1 and listed(free)["data"] == [kept]
    assert free.get(f"/v1/contacts/{one['contact']}").status_int == 200


def test_those_of_an_address_are_deleted_together_in_any_state(free, public):
    first, second = (send(free, public, n=n) for n in (1, 2))
    other = send(free, public, "eva@example.com")
    marked(free, second, "spam")
    assert failure(free.ask("DELETE", EVERY)) == (400, "invalid_request", "email")
    assert failure(free.ask("DELETE", f"{EVERY}?email=none")) == BAD_EMAIL
    answer = free.ask("DELETE", f"{EVERY}?email=ada@EXAMPLE.com")
    assert answer.json == {"deleted": 2}
    assert listed(free)["data"] == [other]
    gone = [e for e in feed(free)["data"] if e["type"] == "submission.deleted"]
    assert {e["record"] for e in gone} == {first["id"], second["id"]}
    assert free.get(f"/v1/contacts/{first['contact']}").status_int == 200
    assert free.ask("DELETE", f"{EVERY}?email=ada@example.com").json == {"deleted": 0}


def test_history_has_submissions_for_a_key_that_may_read_them_alone(free, public):
    one = send(free, public)
    path = f"/v1/contacts/{one['contact']}/history"
    contacts = free.key("restricted", "contacts:read")
    both = free.key("restricted", "contacts:read", "submissions:read")
    assert [e["type"] for e in free.get(path, key=contacts).json["data"]] == [
        "contact.created"
    ]
    accepted, created = free.get(path, key=both).json["data"]
    assert (accepted["type"], accepted["data"]) == ("submission.accepted", one)
    assert created["type"] == "contact.created"


def test_stats_count_them_by_their_state(free, public):
    first, *_ = (send(free, public, n=n) for n in range(3))
    marked(free, first, "spam")
    stats = free.get("/v1/stats").json
    names = ["contacts", "companies", "calls", "submissions", "daily", "last_event"]
    assert list(stats) == names
    assert stats["submissions"] == {"accepted": 2, "held": 0, "spam": 1}


def test_jsonl_has_all_that_match_oldest_first_with_exact_times(free, public):
    sent = [send(free, public, f"u{n}@x.org", n=n) for n in range(3)]
    marked(free, sent[1], "spam")
    rows = exported(free, f"{EVERY}.jsonl")
    assert [row["id"] for row in rows] == [one["id"] for one in sent]
    assert rows[0] == {
        **sent[0],
        "created_at": "2026-07-04T10:00:00.000000Z",
        "updated_at": "2026-07-04T10:00:00.000000Z",
    }
    spam = exported(free, f"{EVERY}.jsonl?state=spam")
    assert [row["id"] for row in spam] == [sent[1]["id"]]


def test_csv_has_each_field_in_a_column_of_its_own(free, public):
    one = send(free, public, note="=1+1", email="ada@example.com", state="mine", n=[1])
    answer = free.get(f"{EVERY}.csv")
    head, row = csv.reader(io.StringIO(answer.text))
    ours = [name for name in FIELDS if name != "fields"]
    sent = ["fields.email", "fields.n", "fields.note", "fields.state"]
    assert head == ours + sent
    shown = dict(zip(head, row))
    assert shown["id"] == one["id"] and shown["contact"] == one["contact"]
    assert (shown["state"], shown["reason"]) == ("accepted", "")
    assert [shown[name] for name in sent] == [
        "ada@example.com",
        "[1]",
        "'=1+1",
        "mine",
    ]
    assert shown["created_at"] == "2026-07-04T10:00:00.000000Z"
    raw = list(csv.reader(io.StringIO(free.get(f"{EVERY}.csv?raw=1").text)))[1]
    assert raw[head.index("fields.note")] == "=1+1"


def test_they_are_not_imported(free):
    for form, media in (("jsonl", "application/jsonl"), ("csv", "text/csv")):
        headers = {"Content-Type": media}
        body = jsonl({"email": "a@x.org"}).encode()
        answer = free.ask("POST", f"{EVERY}.{form}", body, headers=headers)
        assert failure(answer) == (405, "method_not_allowed", None)


def test_a_total_that_no_tally_and_no_index_tells_is_counted_up_to_a_cap(
    free, public, monkeypatch
):
    monkeypatch.setattr(contactapi.Submissions, "CAP", 3)
    for n in range(5):
        send(free, public, n=n)
    for query in ("q=ada", "email=ada@example.com&state=accepted"):
        page = listed(free, f"?page_size=2&page=2&{query}")
        assert (page["total"], page["total_capped"], len(page["data"])) == (3, True, 2)
    for query in (
        "",
        "state=accepted",
        "email=ada@example.com",
        "created_after=2020-01-01",
    ):
        page = listed(free, f"?page_size=2&{query}")
        assert page["total"] == 5 and "total_capped" not in page


def test_what_looks_like_a_forms_control_fields_is_stored_as_sent_by_v1(free, public):
    odd = {
        "_gotcha": "filled",
        "_next": "https://evil.test",
        "_subject": "no",
        "access_key": "ck_pub_other",
        "state": "spam",
        "reason": "marked",
        "accepted_at": 1,
        "altcha": "kept where the key asks for none",
    }
    one = send(free, public, **odd)
    assert (one["state"], one["subject"]) == ("accepted", None)
    assert one["fields"] == {"email": "ada@example.com", **odd}
    stored = free.get(f"/v1/contacts/{one['contact']}").json
    assert {name: stored[name] for name in odd} == odd
