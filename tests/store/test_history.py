"""History, events, a mirror, stats."""

import random
import re
import time

import pytest

import contactapi
from client import (
    DAY,
    ENV_KEY,
    PAGE,
    UNKNOWN,
    at,
    counts,
    exported,
    failure,
    feed,
    history,
    jsonl,
    keep_house,
    once,
    upload,
)
from doubles import Mirror

EVENT = ["id", "type", "created_at", "key", "record", "data", "changed"]


def test_an_event_tells_what_the_contract_lists(api):
    (ref,) = api.add("ada@example.com", plan="pro")
    api.turn(60)
    shown = api.get(f"/v1/contacts/{ref}").json
    (event,) = feed(api)["data"]
    assert list(event) == EVENT
    assert re.fullmatch(r"evt_[0-9a-hjkmnp-tv-z]{26}", event.pop("id"))
    assert event == {
        "type": "contact.created",
        "created_at": "2026-07-04T10:00:00Z",
        "key": api.ref(api.secret),
        "record": ref,
        "data": shown,
        "changed": ["email", "plan"],
    }


def test_each_verb_is_told_with_the_names_that_changed(free):
    api = free
    (ref,) = api.add("a@x.org", plan="pro", n=1)
    api.post({"email": "a@x.org", "plan": "max", "n": 1, "new": None})
    api.patch(ref, {"email": "A@x.org", "n": 2})
    api.merge(ref, {"new": None, "plan": None, "deep": {"a": 1}})
    upload(api, jsonl({"email": "A@x.org", "n": 3}))
    (event, *others) = feed(api)["data"]
    assert event["type"] == "contact.created"
    assert [e["type"] for e in others] == ["contact.updated"] * 4
    assert [set(e["changed"]) for e in others] == [
        {"plan", "new"},
        {"email", "n"},
        {"new", "plan", "deep"},
        {"n"},
    ]
    assert others[-1]["data"] == api.get(f"/v1/contacts/{ref}").json
    assert [e["data"].get("n") for e in others] == [1, 2, 2, 3]
    assert {e["record"] for e in others} == {ref}


def test_a_company_and_a_call_are_told_of_too(free):
    (contact,) = free.add("a@x.org")
    company = free.post({"name": "Acme", "n": 1}, path="/v1/companies").json
    free.ask("PATCH", f"/v1/companies/{company['id']}", {"n": 2})
    call = {"contact_id": contact, "phone_number": "+442012345678"}
    call = free.post(call, path="/api/calls/create").json["data"]
    free.ask("PATCH", f"/api/calls/{call['id']}", {"status": "ringing"})
    free.ask("DELETE", f"/v1/companies/{company['id']}")
    told = [(e["type"], e["record"]) for e in feed(free)["data"]]
    assert told == [
        ("contact.created", contact),
        ("call.created", call["id"]),
        ("call.updated", call["id"]),
        ("company.deleted", company["id"]),
    ]
    created, updated = feed(free)["data"][1:3]
    assert created["data"] == call
    assert (updated["data"]["status"], updated["changed"]) == ("ringing", ["status"])


def test_a_patch_that_changes_nothing_makes_no_event(free):
    (ref,) = free.add("a@x.org", plan="pro", n=1)
    free.turn(60)
    for body in ({}, {"plan": "pro"}, {"email": "a@x.org", "n": 1}, {"id": "x"}):
        assert free.patch(ref, body).status_int == 200
    assert free.merge(ref, {"absent": None, "n": 1}).status_int == 200
    for body in ({"email": "no"}, {"email": "a@x.org", "big": "x" * 65530}):
        assert free.patch(ref, body).status_int in (400, 413)
    assert free.get(f"/v1/contacts/{ref}").json["updated_at"] == "2026-07-04T10:00:00Z"
    assert len(feed(free)["data"]) == 1


@pytest.mark.parametrize("existing, plan", [("update", "max"), ("keep", "pro")])
def test_a_visitors_post_is_told_of_as_the_contact_and_as_what_was_sent(
    free, existing, plan
):
    (ref,) = free.add("a@x.org", plan="pro")
    key = free.key("publishable", existing=existing)
    sent = {"email": "A@X.org", "plan": "max", "note": None}
    for body in (sent, {**sent, "note": 1}, {"email": "a@x.org"}):
        assert free.post(body, key=key, headers=PAGE).status_int == 201
    told = feed(free)["data"][1:]
    kinds = ["contact.updated", "submission.accepted"] * 3
    assert [e["type"] for e in told] == kinds
    fields = [e["data"]["fields"] for e in told[1::2]]
    assert fields == [sent, {**sent, "note": 1}, {"email": "a@x.org"}]
    assert {e["key"] for e in told} == {free.ref(key)}
    contacts = [e["data"] for e in told[::2]]
    assert {(c["id"], c["email"], c["plan"]) for c in contacts} == {
        (ref, "a@x.org", plan)
    }
    added = [["plan", "note"], ["note"]] if existing == "update" else [["note"], []]
    assert [e["changed"] for e in told[::2]] == [*added, []]
    assert history(free, ref)[:6] == told[::-1]
    free.post({"email": "new@x.org", "plan": "max"}, key=key, headers=PAGE)
    made, accepted = feed(free)["data"][-2:]
    assert (made["type"], made["data"]["plan"]) == ("contact.created", "max")
    assert accepted["data"]["contact"] == made["record"] != ref
    assert accepted["changed"] == ["state", "contact"]


def test_an_event_names_the_key_or_env_cli_or_retention(make, shell, tmp_path):
    api = make(CONTACTAPI_SECRET_KEY=ENV_KEY)
    writer, public = api.key("restricted", "contacts:write"), api.key("publishable")
    api.post({"email": "a@x.org"}, key=ENV_KEY)
    api.post({"email": "b@x.org"}, key=writer)
    api.post({"email": "c@x.org"}, key=public, headers=PAGE)
    (tmp_path / "in.jsonl").write_text(jsonl({"email": "d@x.org"}))
    shell("import", "in.jsonl")
    keys = [e["key"] for e in feed(api)["data"] if e["type"] == "contact.created"]
    assert keys == ["env", api.ref(writer), api.ref(public), "cli"]
    housekeeper = keep_house(api, CONTACTAPI_RETENTION_DAYS="1")
    api.clock.now = time.time() + 2 * DAY  # the command went by the clock on the wall
    housekeeper.tick()
    told = feed(api)["data"]
    assert [(e["type"], e["key"]) for e in told] == [
        ("contact.deleted", "retention")
    ] * 4


def test_a_deletion_leaves_a_tombstone_and_nothing_else(free):
    gone, stays = free.add("gone@x.org", "stays@x.org", plan="pro")
    free.patch(gone, {"plan": "max"})
    free.turn(60)
    free.ask("DELETE", f"/v1/contacts/{gone}")
    first, last = feed(free)["data"]
    assert first["record"] == stays
    del last["id"]
    assert last == {
        "type": "contact.deleted",
        "created_at": "2026-07-04T10:01:00Z",
        "key": free.ref(free.secret),
        "record": gone,
        "data": {"id": gone},
        "changed": [],
    }


def test_events_come_in_the_order_of_their_commits_in_pages(free):
    after = f"&after={feed(free)['next_after']}"
    refs = free.add(*(f"u{n}@x.org" for n in range(7)))
    seen, pages = [], []
    while True:
        page = feed(free, f"?limit=3{after}")
        seen += [e["record"] for e in page["data"]]
        pages.append((len(page["data"]), page["has_more"]))
        after = f"&after={page['next_after']}"
        if not page["has_more"]:
            break
    assert seen == refs and pages == [(3, True), (3, True), (1, False)]
    last = page["next_after"]
    assert last == feed(free)["data"][-1]["id"]
    page = feed(free, f"?after={last}")
    assert page == {"data": [], "next_after": last, "has_more": False}
    (new,) = free.add("new@x.org")
    assert [e["record"] for e in feed(free, f"?after={last}")["data"]] == [new]


def test_exactly_a_full_page_has_no_more(free):
    after = feed(free)["next_after"]
    free.add("a@x.org", "b@x.org")
    assert feed(free, f"?limit=2&after={after}")["has_more"] is False
    assert feed(free, f"?limit=1&after={after}")["has_more"] is True


def test_without_a_limit_a_page_has_100_events_and_1000_at_most(free):
    after = feed(free)["next_after"]
    upload(free, jsonl(*({"email": f"u{n}@x.org"} for n in range(1005))))
    assert len(feed(free, f"?after={after}")["data"]) == 100
    assert len(feed(free, f"?limit=1000&after={after}")["data"]) == 1000


@pytest.mark.parametrize("path", ["events", "contacts/{}/history"])
def test_a_limit_from_1_to_1000_is_taken(free, path):
    (ref,) = free.add("a@x.org")
    path = f"/v1/{path.format(ref)}"
    for bad in ("0", "-1", "1001", "1.5", "x", "", "1e2", "%D9%A3"):
        answer = free.get(f"{path}?limit={bad}")
        assert failure(answer) == (400, "invalid_request", "limit"), bad
    for good in ("1", "1000"):
        assert free.get(f"{path}?limit={good}").status_int == 200


BAD_POSITIONS = [
    *("", "x", "0", "evt_", "evt_x", UNKNOWN),
    *("evt_" + "0" * 25, "evt_" + "u" * 26, "evt_" + "z" * 26),
]


@pytest.mark.parametrize("path", ["events", "contacts/{}/history"])
def test_what_is_no_position_is_an_invalid_cursor(free, path):
    (ref,) = free.add("a@x.org")
    for bad in BAD_POSITIONS:
        answer = free.get(f"/v1/{path.format(ref)}?after={bad}")
        assert failure(answer) == (400, "invalid_cursor", "after"), bad


def test_after_takes_any_position_erased_or_not(free):
    one, two, three = free.add("a@x.org", "b@x.org", "c@x.org")
    places = [e["id"] for e in feed(free)["data"]]
    free.ask("DELETE", f"/v1/contacts/{two}")
    free.ask("DELETE", f"/v1/contacts/{three}")
    types = ["contact.deleted", "contact.deleted"]
    for place in (*places, "evt_" + "0" * 26, places[0].upper()):
        told = [e["type"] for e in feed(free, f"?after={place}")["data"]]
        assert told[-2:] == types
    beyond = feed(free, "?after=evt_7" + "z" * 25)
    assert (beyond["data"], beyond["has_more"]) == ([], False)
    assert feed(free)["data"][0]["record"] == one


def test_a_position_is_never_given_twice(free, make):
    refs = free.add("a@x.org", "b@x.org")
    last = feed(free)["next_after"]
    free.ask("DELETE", f"/v1/contacts/{refs[1]}/history")
    free.ask("DELETE", f"/v1/contacts/{refs[0]}/history")
    free.close()
    again = make(like=free, CONTACTAPI_RATE_LIMIT="off")
    again.add("c@x.org")
    told = [e["data"]["email"] for e in feed(again, f"?after={last}")["data"]]
    assert told == ["b@x.org", "a@x.org", "c@x.org"]


@pytest.mark.parametrize("path", ["/v1/events", "/v1/stats"])
def test_events_and_stats_need_a_secret_key(free, path):
    everything = free.key("restricted", *contactapi.known_permissions())
    assert free.get(path).status_int == 200
    assert failure(free.get(path, key=everything))[:2] == (403, "forbidden")
    public = free.get(path, key=free.key("publishable"), headers=PAGE)
    assert failure(public)[:2] == (403, "forbidden")
    assert failure(free.get(path, key=None))[:2] == (401, "unauthorized")


def test_workspaces_see_nothing_of_each_others_events(free):
    (ref,) = free.add("a@x.org", plan="pro")
    other = free.key("secret", workspace="other")
    assert feed(free, key=other)["data"] == []
    free.post({"email": "b@x.org"}, key=other)
    (event,) = feed(free, key=other)["data"]
    assert event["data"]["email"] == "b@x.org"
    assert [e["record"] for e in feed(free)["data"]] == [ref]
    for path in ("history", "export"):
        answer = free.get(f"/v1/contacts/{ref}/{path}", key=other)
        assert failure(answer)[:2] == (404, "not_found")
    answer = free.ask("DELETE", f"/v1/contacts/{ref}/history", key=other)
    assert answer.status_int == 404 and len(history(free, ref)) == 1


# -- one record's history


def test_a_history_is_newest_first_and_has_one_record_alone(free):
    ref, other = free.add("a@x.org", "b@x.org", n=0)
    for n in (1, 2):
        free.patch(ref, {"n": n})
        free.patch(other, {"n": n})
    told = history(free, ref)
    assert [(e["type"], e["data"]["n"]) for e in told] == [
        ("contact.updated", 2),
        ("contact.updated", 1),
        ("contact.created", 0),
    ]
    assert {e["record"] for e in told} == {ref} and list(told[0]) == EVENT


def test_a_history_goes_on_after_an_event(free):
    (ref,) = free.add("a@x.org", n=0)
    for n in range(1, 6):
        free.patch(ref, {"n": n})
    seen, query = [], "?limit=4"
    for count, more in ((4, True), (2, False)):
        page = free.get(f"/v1/contacts/{ref}/history{query}").json
        assert (len(page["data"]), page["has_more"]) == (count, more)
        seen += [e["data"]["n"] for e in page["data"]]
        query = f"?limit=4&after={page['next_after']}"
    assert seen == [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("ref", [UNKNOWN, "con_x", "nonsense", "cmp_" + "0" * 26])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_the_history_of_no_record_is_404(free, method, ref):
    answer = free.ask(method, f"/v1/contacts/{ref}/history")
    assert failure(answer)[:2] == (404, "not_found")


def test_a_history_needs_the_permission_to_read_and_its_erasure_to_write(free):
    (ref,) = free.add("a@x.org")
    path = f"/v1/contacts/{ref}/history"
    reader = free.key("restricted", "contacts:read")
    writer = free.key("restricted", "contacts:write")
    assert free.get(path, key=reader).status_int == 200
    assert free.get(path, key=writer).status_int == 403
    assert free.ask("DELETE", path, key=reader).status_int == 403
    assert len(history(free, ref)) == 1
    assert free.ask("DELETE", path, key=writer).status_int == 200
    assert history(free, ref) == []


def test_a_history_is_erased_and_the_record_stays(free):
    ref, other = free.add("a@x.org", "b@x.org", plan="pro")
    free.patch(ref, {"plan": "max"})
    before = free.get(f"/v1/contacts/{ref}").json
    assert free.ask("DELETE", f"/v1/contacts/{ref}/history").status_int == 200
    assert history(free, ref) == [] and len(history(free, other)) == 1
    assert free.get(f"/v1/contacts/{ref}").json == before
    # A mirror that had not read so far is told what the record is, not what it was.
    told = [(e["record"], e["data"]["plan"]) for e in feed(free)["data"]]
    assert told == [(other, "pro"), (ref, "max")]
    free.patch(ref, {"plan": "new"})
    assert [e["data"]["plan"] for e in history(free, ref)] == ["new"]


def test_a_companys_history_is_shown_erased_and_deleted_with_it(free):
    company = free.post({"name": "Acme", "n": 1}, path="/v1/companies").json
    path = f"/v1/companies/{company['id']}"
    free.ask("PATCH", path, {"n": 2})
    reader = free.key("restricted", "companies:read")
    told = history(free, company["id"], kind="companies", key=reader)
    assert [(e["type"], e["data"]["n"]) for e in told] == [
        ("company.updated", 2),
        ("company.created", 1),
    ]
    assert free.ask("DELETE", f"{path}/history").status_int == 200
    assert history(free, company["id"], kind="companies") == []
    free.ask("PATCH", path, {"n": 3})
    free.ask("DELETE", path)
    assert [e["type"] for e in feed(free)["data"]] == ["company.deleted"]


def test_a_deletion_takes_calls_history_and_idempotent_answers_along(free):
    gone, stays = free.add("gone@x.org", "stays@x.org")
    for ref in (gone, stays):
        made = once(free, ref, f"for {ref}")
        assert made.status_int == 201
        free.ask("PATCH", f"/api/calls/{made.json['data']['id']}", {"duration": 5})
    free.ask("DELETE", f"/v1/contacts/{gone}")
    told = [(e["type"], e["data"].get("contact_id")) for e in feed(free)["data"]]
    assert told == [
        ("contact.created", None),
        ("call.created", stays),
        ("call.updated", stays),
        ("contact.deleted", None),
    ]
    assert feed(free)["data"][-1]["data"] == {"id": gone}
    assert free.get("/api/calls/list").json["data"]["total"] == 1
    assert "Idempotency-Replayed" in once(free, stays, f"for {stays}").headers
    assert once(free, stays, f"for {gone}").status_int == 201


def test_a_person_may_have_all_that_is_held_on_them(free):
    (ref,) = free.add("a@x.org", plan="pro")
    free.add("b@x.org")
    public = free.key("publishable")
    free.post({"email": "a@x.org", "note": "hi"}, key=public, headers=PAGE)
    call = {"contact_id": ref, "phone_number": "+442012345678"}
    call = free.post(call, path="/api/calls/create").json["data"]
    answer = free.get(f"/v1/contacts/{ref}/export")
    parts = ["contact", "calls", "submissions", "history"]
    assert answer.status_int == 200 and list(answer.json) == parts
    assert answer.json["contact"] == free.get(f"/v1/contacts/{ref}").json
    assert answer.json["calls"] == [call]
    assert answer.json["history"] == history(free, ref)
    (sent,) = answer.json["submissions"]
    assert sent["fields"] == {"email": "a@x.org", "note": "hi"}
    assert answer.json["history"][0]["data"] == sent
    assert "b@x.org" not in answer.text


def test_a_subjects_export_is_whole_however_long_the_history(free):
    (ref,) = free.add("a@x.org", n=0)
    changes = ({"email": "a@x.org", "n": n} for n in range(1, 1100))
    assert counts(upload(free, jsonl(*changes))) == (0, 1099, 0, [])
    shown = free.get(f"/v1/contacts/{ref}/export").json["history"]
    assert [e["data"]["n"] for e in shown] == list(range(1099, -1, -1))


@pytest.mark.parametrize(
    "permissions, status",
    [
        (("contacts:read", "calls:read", "submissions:read"), 200),
        (("contacts:read", "calls:read"), 403),
        (("contacts:read", "submissions:read"), 403),
        (("calls:read", "submissions:read"), 403),
        (("contacts:write", "calls:write", "submissions:write"), 403),
    ],
)
def test_a_subjects_export_needs_all_three_permissions(free, permissions, status):
    (ref,) = free.add("a@x.org")
    key = free.key("restricted", *permissions)
    assert free.get(f"/v1/contacts/{ref}/export", key=key).status_int == status


@pytest.mark.parametrize("ref", [UNKNOWN, "con_x"])
def test_a_subjects_export_of_nobody_is_404(free, ref):
    answer = free.get(f"/v1/contacts/{ref}/export")
    assert failure(answer)[:2] == (404, "not_found")


# -- a mirror


def test_a_mirror_built_from_events_equals_the_source(free):
    chance, public = random.Random(5), free.key("publishable")
    mirror = Mirror(lambda path: free.get(path).json)
    emails = [f"u{n}@x.org" for n in range(12)]
    refs = set()

    def post(**options):
        body = {"email": chance.choice(emails), chance.choice("abc"): chance.random()}
        refs.add(free.post(body, **options).json["id"])

    def change(method):
        if refs:
            ref = chance.choice(sorted(refs))
            body = {chance.choice("abc"): chance.choice([None, 1, "x", {"a": [1]}])}
            body |= {"email": chance.choice(emails)} if chance.random() < 0.2 else {}
            method(ref, body)

    def delete():
        if refs:
            ref = chance.choice(sorted(refs))
            refs.discard(ref)
            assert free.ask("DELETE", f"/v1/contacts/{ref}").status_int == 200

    def bring_in():
        rows = [{"email": e, "a": chance.random()} for e in chance.sample(emails, 4)]
        assert counts(upload(free, jsonl(*rows)))[2] == 0
        refs.update(c["id"] for c in exported(free))

    steps = [
        post,
        lambda: post(key=public, headers=PAGE),
        lambda: change(free.patch),
        lambda: change(free.merge),
        delete,
        bring_in,
        lambda: mirror.catch_up(7),
    ]
    for _ in range(400):
        free.turn(chance.choice([0, 0, 1, 100]))
        chance.choices(steps, weights=[4, 2, 5, 3, 3, 1, 3])[0]()
    mirror.catch_up(7)
    shown = free.get("/v1/contacts?page_size=100").json["data"]
    assert mirror.copy == {contact["id"]: contact for contact in shown}
    assert len(mirror.copy) > 3


# -- stats


def test_stats_count_the_sign_ups_of_30_days(free):
    stats = free.get("/v1/stats").json
    assert (stats["contacts"], stats["companies"], stats["calls"]) == (0, 0, 0)
    dates = [day["date"] for day in stats["daily"]]
    assert len(dates) == 30 and dates == sorted(dates)
    assert (dates[0], dates[-1]) == ("2026-06-05", "2026-07-04")
    (ref,) = free.add("a@x.org")
    free.post({"name": "Acme"}, path="/v1/companies")
    call = {"contact_id": ref, "phone_number": "+442012345678"}
    free.post(call, path="/api/calls/create")
    lines = ("2026-06-05", "2026-06-04T23:59:59.999999Z", "2026-07-03T23:59:59.999999Z")
    upload(
        free,
        jsonl(
            *({"email": f"u{n}@x.org", "created_at": t} for n, t in enumerate(lines))
        ),
    )
    stats = free.get("/v1/stats").json
    assert (stats["contacts"], stats["companies"], stats["calls"]) == (4, 1, 1)
    made = {day["date"]: day["contacts"] for day in stats["daily"] if day["contacts"]}
    assert made == {"2026-06-05": 1, "2026-07-03": 1, "2026-07-04": 1}
    assert {tuple(day) for day in stats["daily"]} == {("date", "contacts")}


def test_stats_turn_with_the_clock_and_forget_who_is_deleted(free):
    (ref,) = free.add("a@x.org")
    free.turn(at("2026-07-05T00:00:00") - at("2026-07-04T10:00:00") - 0.000001)
    free.add("b@x.org")
    assert free.get("/v1/stats").json["daily"][-1] == {
        "date": "2026-07-04",
        "contacts": 2,
    }
    free.turn(0.000002)
    assert free.get("/v1/stats").json["daily"][-2:] == [
        {"date": "2026-07-04", "contacts": 2},
        {"date": "2026-07-05", "contacts": 0},
    ]
    free.ask("DELETE", f"/v1/contacts/{ref}")
    stats = free.get("/v1/stats").json
    assert (stats["contacts"], stats["daily"][-2]["contacts"]) == (1, 1)
    free.turn(29 * DAY)
    assert sum(day["contacts"] for day in free.get("/v1/stats").json["daily"]) == 0


def test_stats_show_one_workspace(free):
    free.add("a@x.org")
    other = free.key("secret", workspace="other")
    stats = free.get("/v1/stats", key=other).json
    assert stats["contacts"] == 0
    assert sum(day["contacts"] for day in stats["daily"]) == 0


def test_a_long_history_is_erased_by_parts(free, monkeypatch):
    monkeypatch.setattr(contactapi, "MANY", 10)
    (ref,) = free.add("a@x.org", n=0)
    for n in range(1, 34):
        free.patch(ref, {"n": n})
    store, sizes = free.services.store, []
    run = store.run

    def counted(sql, params=()):
        done = run(sql, params)
        if sql.startswith("DELETE"):
            sizes.append(done.rowcount)
        return done

    monkeypatch.setattr(store, "run", counted)
    answer = free.ask("DELETE", f"/v1/contacts/{ref}/history")
    assert answer.json == {"id": ref, "erased": 34}
    assert sizes == [10, 10, 10, 4, 0, 0]
    assert history(free, ref) == []
    (restated,) = feed(free)["data"]
    assert restated["data"] == free.get(f"/v1/contacts/{ref}").json
