"""What becomes of a submission: its states, what is sent twice, how long it stays, what
goes with it (CONTRACT section 8)."""

import itertools
import json
import re
import sqlite3
from contextlib import closing

import pytest

import contactapi
from client import (
    DAY,
    PAGE,
    at,
    exported,
    failure,
    feed,
    history,
    keep_house,
)
from contactapi import Post, Verdict
from extras.event_log import EventLog
from extras.upkeep import problems

EVERY = "/v1/submissions"
VISITOR = "198.51.100.7"


@pytest.fixture
def public(free):
    return free.key("publishable")


def setting(client, **settings):
    """The token of a publishable key with these settings."""
    return client.key("publishable", **settings)


def receive(client, key, fields, email="ada@example.com", **post):
    """A post as a form makes one."""
    post.setdefault("visitor", VISITOR)
    cleaned = email and contactapi.clean_email(email)
    caller = client.services.keys.find(key)
    submissions = client.services.submissions
    work = submissions.receive(caller, Post(fields, cleaned, **post))
    return client.services.store.write(work)


def shown(client, row):
    return client.get(f"{EVERY}/sub_{row.uid}").json


def inbox(client, query="?page_size=100"):
    return client.get(f"{EVERY}{query}").json["data"]


def mark(client, row, state):
    answer = client.ask("PATCH", f"{EVERY}/sub_{row.uid}", {"state": state})
    assert answer.status_int == 200, answer.text
    return answer.json


def contact(client, email="ada@example.com"):
    found = client.get(f"/v1/contacts?email={email}").json["data"]
    return found[0] if found else None


def types(client):
    return [e["type"] for e in feed(client)["data"]]


def sound(client):
    wrong = [found for _, found in problems(client.services.store) if found]
    assert wrong == []


# -- arrival


def test_one_without_an_email_is_kept_and_makes_no_contact(free, public):
    row = receive(free, public, {"message": "hi"}, email=None)
    one = shown(free, row)
    assert (one["state"], one["contact"], one["email"]) == ("accepted", None, None)
    assert one["fields"] == {"message": "hi"} and types(free) == ["submission.accepted"]
    assert free.get("/v1/contacts").json["total"] == 0


def test_fields_of_ours_stay_in_the_submission_and_out_of_the_contact(free, public):
    fields = {"email": "ada@example.com", "id": 1, "created_at": "x", "updated_at": [2]}
    row = receive(free, public, {**fields, "n": 0})
    assert shown(free, row)["fields"] == {**fields, "n": 0}
    stored = contact(free)
    assert stored["n"] == 0 and stored["id"].startswith("con_")
    assert stored["created_at"] == "2026-07-04T10:00:00Z"


@pytest.mark.parametrize(
    "name", ["_replyto", "replyto", "Email", "E-mail", "your-email"]
)
def test_what_stands_in_for_the_email_is_not_in_the_contact_twice(free, public, name):
    fields = {name: " ada@example.com", "Email ": "x", "email": ""}
    row = receive(free, public, fields)
    assert shown(free, row)["fields"] == fields
    stored = contact(free)
    assert (stored["email"], stored["Email "]) == ("ada@example.com", "x")
    assert name not in stored


def test_a_filled_honeypot_is_spam_and_nothing_else(free, public):
    row = receive(free, public, {"a": 1}, honeypot=True)
    one = shown(free, row)
    assert (one["state"], one["reason"]) == ("spam", "honeypot")
    assert (one["contact"], one["email"]) == (None, "ada@example.com")
    assert types(free) == [] and contact(free) is None


def test_a_person_accepts_what_a_honeypot_took_for_spam(free, public):
    row = receive(free, public, {"a": 1}, honeypot=True)
    free.turn(60)
    one = mark(free, row, "accepted")
    assert (one["state"], one["reason"]) == ("accepted", None)
    assert one["contact"] == contact(free)["id"] and contact(free)["a"] == 1
    assert one["updated_at"] == "2026-07-04T10:01:00Z"
    assert types(free) == ["contact.created", "submission.accepted"]
    told = feed(free)["data"]
    assert {e["key"] for e in told} == {free.ref(free.secret)}
    assert told[1]["changed"] == ["state", "reason", "contact"]
    assert history(free, one["contact"])[0] == told[1]


@pytest.mark.parametrize("existing, plan", [("update", "max"), ("keep", "pro")])
def test_a_later_acceptance_goes_by_the_keys_rule(free, existing, plan):
    key = setting(free, existing=existing)
    free.add("ada@example.com", plan="pro")
    free.turn(60)
    row = receive(free, key, {"plan": "max", "new": 1}, honeypot=True)
    free.turn(60)
    mark(free, row, "accepted")
    assert (contact(free)["plan"], contact(free)["new"]) == (plan, 1)


def test_a_later_acceptance_only_adds_to_a_contact_that_changed_since(free, public):
    (ref,) = free.add("ada@example.com", plan="pro")
    free.turn(60)
    row = receive(free, public, {"plan": "max", "new": 1}, honeypot=True)
    free.turn(60)
    free.patch(ref, {"other": 2})
    free.turn(60)
    mark(free, row, "accepted")
    stored = contact(free)
    assert (stored["plan"], stored["new"], stored["other"]) == ("pro", 1, 2)


def test_a_revoked_keys_submission_is_accepted_by_the_rule_that_it_had(free):
    key = setting(free, existing="keep")
    free.add("ada@example.com", plan="pro")
    row = receive(free, key, {"plan": "max", "n": 1}, honeypot=True)
    free.revoke(key)
    mark(free, row, "accepted")
    assert (contact(free)["plan"], contact(free)["n"]) == ("pro", 1)


def test_an_acceptance_that_a_contact_has_no_room_for_keeps_both_as_they_are(
    free, public
):
    (ref,) = free.add("ada@example.com", notes="n" * 40_000)
    before = free.get(f"/v1/contacts/{ref}").json
    row = receive(free, public, {"more": "m" * 9_000}, honeypot=True)
    one = mark(free, row, "accepted")
    assert (one["state"], one["contact"]) == ("accepted", ref)
    assert free.get(f"/v1/contacts/{ref}").json == before


# -- sent twice


def post(client, key, address=VISITOR, **fields):
    headers = PAGE
    body = {"email": "ada@example.com", **fields}
    return client.post(body, key=key, headers=headers, REMOTE_ADDR=address)


def test_the_same_within_60_seconds_is_the_first_again(free, public):
    first = post(free, public, n=1)
    events = types(free)
    free.turn(60)
    again = post(free, public, n=1)
    assert again.body == first.body and again.status_int == 201
    assert len(inbox(free)) == 1 and types(free) == events
    free.turn(1)
    later = post(free, public, n=1)
    assert later.json["created_at"] == "2026-07-04T10:01:01Z"
    assert len(inbox(free)) == 2


def test_what_differs_in_anything_is_not_the_same(free, public):
    other = free.key("publishable")
    for key, address, fields in [
        (public, VISITOR, {"n": 1}),
        (public, VISITOR, {"n": "1"}),
        (public, VISITOR, {"n": 1.0}),
        (public, VISITOR, {"n": 1, "m": None}),
        (public, "198.51.100.8", {"n": 1}),
        (other, VISITOR, {"n": 1}),
    ]:
        assert post(free, key, address, **fields).status_int == 201
    assert len(inbox(free)) == 6


def test_the_order_of_the_fields_and_the_rest_of_an_ipv6_network_do_not_count(
    free, public
):
    post(free, public, "2001:db8::1", a=1, b=2)
    post(free, public, "2001:db8::2", b=2, a=1)
    post(free, public, "2001:db8:0:1::2", b=2, a=1)
    assert len(inbox(free)) == 2


def test_it_is_the_same_in_another_process_and_after_a_restart(free, public, make):
    first = post(free, public, n=1)
    other = make(like=free, CONTACTAPI_RATE_LIMIT="off")
    assert post(other, public, n=1).body == first.body
    free.close()
    other.close()
    again = make(like=free, CONTACTAPI_RATE_LIMIT="off")
    assert post(again, public, n=1).body == first.body
    assert len(inbox(again)) == 1


@pytest.mark.parametrize(
    "first", [{"honeypot": True}, {"verdict": Verdict("spam", "score")}]
)
def test_one_that_a_honeypot_or_a_score_marked_is_never_the_same(free, first):
    key = setting(free, captcha="service")
    verdicts = iter([first.pop("verdict", Verdict()), Verdict(), Verdict()])
    free.services.submissions.checks["service"] = lambda *_: next(verdicts)
    receive(free, key, {"n": 1}, **first)
    good = receive(free, key, {"n": 1})
    spam = receive(free, key, {"n": 1}, honeypot=True)
    again = receive(free, key, {"n": 1})
    assert (good.state, spam.state) == ("accepted", "spam")
    assert again.uid == good.uid and len(inbox(free)) == 3


def test_a_held_one_is_the_same_too(free):
    key = setting(free, confirm=True)
    rows = [receive(free, key, {"n": 1}) for _ in range(2)]
    assert rows[0] == rows[1]._replace(words=rows[0].words) and rows[0].state == "held"


def test_after_it_was_erased_the_same_is_new(free, public):
    row = receive(free, public, {"n": 1})
    free.ask("DELETE", f"{EVERY}/sub_{row.uid}")
    again = receive(free, public, {"n": 1})
    assert again.uid != row.uid and len(inbox(free)) == 1


def test_nothing_made_of_an_address_stays_once_it_has_done_its_duty(free, public):
    store = free.services.store
    receive(free, public, {"n": 1})
    free.turn(30)
    receive(free, public, {"n": 2})
    free.turn(31)
    assert len(store.rows("SELECT * FROM sent")) == 2
    keep_house(free).tick()
    assert store.rows("SELECT number FROM sent") == [(2,)]
    free.turn(60)
    keep_house(free).tick()
    assert store.rows("SELECT * FROM sent") == []
    with closing(sqlite3.connect(store.path)) as file:
        assert VISITOR not in "".join(file.iterdump())


# -- captcha and confirmation, by what extras bring


def test_a_captcha_that_nothing_here_can_ask_for_is_503_and_lets_nothing_through(free):
    key = setting(free, captcha="service")
    assert failure(post(free, key)) == (503, "unavailable", None)
    assert inbox(free) == [] and contact(free) is None


def test_a_check_is_asked_after_honeypot_and_sent_twice_and_spends_in_the_transaction(
    free,
):
    key, asked, spent = setting(free, captcha="altcha"), [], []
    store = free.services.store

    def check(caller, sent):
        assert caller.ref == free.ref(key) and not store.writes
        asked.append(sent.tokens)
        return Verdict(spend=lambda: spent.append(store.writes))

    free.services.submissions.checks["altcha"] = check
    body = {"email": "ada@example.com", "altcha": "token", "cap-token": "kept"}
    first = free.post(body, key=key, headers=PAGE)
    assert asked == [{"altcha": "token"}] and spent == [True]
    assert inbox(free)[0]["fields"] == {"email": body["email"], "cap-token": "kept"}
    assert "altcha" not in first.json and contact(free)["cap-token"] == "kept"
    again = free.post({**body, "altcha": "another"}, key=key, headers=PAGE)
    assert again.body == first.body and len(asked) == 1
    receive(free, key, {"n": 1}, honeypot=True)
    assert len(asked) == 1


def test_a_refused_captcha_keeps_nothing_unless_the_same_came_through_meanwhile(free):
    key = setting(free, captcha="service")
    submissions = free.services.submissions

    def refuse(caller, sent):
        raise contactapi.Forbidden("no")

    def meanwhile(caller, sent):
        submissions.checks["service"] = lambda *_: Verdict()
        first.append(receive(free, key, sent.fields))
        submissions.checks["service"] = refuse
        raise contactapi.Forbidden("the token was used")

    first = []
    submissions.checks["service"] = refuse
    with pytest.raises(contactapi.Forbidden):
        receive(free, key, {"n": 1})
    assert inbox(free) == []
    submissions.checks["service"] = meanwhile
    assert receive(free, key, {"n": 1}).uid == first[0].uid


def test_one_let_in_because_of_a_first_that_is_gone_is_not_let_in_unchecked(free):
    key = setting(free, captcha="service")
    submissions, store = free.services.submissions, free.services.store
    submissions.checks["service"] = lambda *_: Verdict()
    row = receive(free, key, {"n": 1})
    caller = free.services.keys.find(key)
    sent = Post({"n": 1}, contactapi.clean_email("ada@example.com"), visitor=VISITOR)
    work = submissions.receive(caller, sent)
    free.ask("DELETE", f"{EVERY}/sub_{row.uid}")
    with pytest.raises(contactapi.Unavailable):
        store.write(work)
    assert inbox(free) == []


def test_what_a_service_did_not_answer_for_is_held_and_told_to_who_asks(free):
    key, told = setting(free, captcha="service"), []
    submissions = free.services.submissions
    unknown = Verdict("held", "captcha_unavailable")
    submissions.checks["service"] = lambda *_: unknown
    submissions.askers["captcha_unavailable"] = lambda *one: told.append(one)
    answer = post(free, key, n=1)
    (one,) = inbox(free)
    assert (one["state"], one["reason"]) == ("held", "captcha_unavailable")
    assert [(row.uid, who) for row, who in told] == [(one["id"][4:], VISITOR)]
    assert contact(free) is None and types(free) == []
    accepted = free.ask("PATCH", f"{EVERY}/{one['id']}", {"state": "accepted"}).json
    assert accepted["contact"] == contact(free)["id"] != answer.json["id"]


def test_confirmation_holds_asks_once_and_only_the_person_sets_its_time(free):
    key, asked = setting(free, confirm=True), []
    submissions, store = free.services.submissions, free.services.store
    submissions.askers["unconfirmed"] = lambda *one: asked.append((store.writes, *one))
    row = receive(free, key, {"n": 1})
    assert asked == [(True, row, VISITOR)]
    assert shown(free, row)["reason"] == "unconfirmed" and contact(free) is None
    free.turn(3600)
    person = contactapi.operator("confirmation", free.workspace)
    now = contactapi.micros(free.clock())
    accept = store.write
    got = accept(lambda: submissions.accept(person, row, confirmed_at=now))
    one = shown(free, got)
    assert (one["state"], one["confirmed_at"]) == ("accepted", "2026-07-04T11:00:00Z")
    assert one["contact"] == contact(free)["id"]
    told = feed(free)["data"]
    assert [e["key"] for e in told] == ["confirmation"] * 2
    free.turn(60)
    accept(lambda: submissions.accept(person, submissions.get(1, row.uid), now + 1))
    assert shown(free, row) == one and len(feed(free)["data"]) == 2


def test_a_person_may_accept_what_is_unconfirmed_but_does_not_confirm_it(free):
    row = receive(free, setting(free, confirm=True), {"n": 1})
    one = mark(free, row, "accepted")
    assert (one["state"], one["confirmed_at"]) == ("accepted", None)
    assert contact(free)["n"] == 1


@pytest.mark.parametrize("first", ["honeypot", "captcha_unavailable"])
def test_where_a_key_asks_to_confirm_a_persons_acceptance_sends_the_question(
    free, first
):
    key, asked = setting(free, confirm=True, captcha="service"), []
    submissions = free.services.submissions
    submissions.checks["service"] = lambda *_: Verdict("held", "captcha_unavailable")
    submissions.askers["unconfirmed"] = lambda *one: asked.append(one)
    row = receive(free, key, {"n": 1}, honeypot=first == "honeypot")
    assert row.reason == first and asked == []
    one = mark(free, row, "accepted")
    assert (one["state"], one["reason"]) == ("held", "unconfirmed")
    assert [(asking.uid, who) for asking, who in asked] == [(row.uid, "")]
    assert contact(free) is None and types(free) == ["submission.updated"]


@pytest.mark.parametrize("settings", [{"confirm": True}, {"captcha": "service"}])
def test_where_a_contact_may_not_be_there_every_answer_has_an_id_of_the_address(
    free, settings
):
    free.services.submissions.checks["service"] = lambda *_: Verdict()
    key = setting(free, **settings)
    (known,) = free.add("known@example.com")
    told = {}
    for email in ("known@example.com", "new@example.com"):
        for n in range(2):
            body = {"email": email, "n": n}
            answer = free.post(body, key=key, headers=PAGE).json
            told.setdefault(email, set()).add(answer["id"])
    assert all(len(ids) == 1 for ids in told.values())
    (first,), (second,) = told.values()
    stored = {one["id"] for one in free.get("/v1/contacts").json["data"]}
    assert first != second and not {first, second} & stored
    for ref in (first, second):
        assert contactapi.CONTACTS.uid(ref) and ref[4 + 10] in "89"
        assert free.get(f"/v1/contacts/{ref}").status_int == 404
    other = setting(free, **settings)
    body = {"email": "KNOWN@example.com"}
    assert free.post(body, key=other, headers=PAGE).json["id"] == first


# -- the log's listeners


def test_listeners_are_told_inside_the_transaction_of_each_event_and_its_id(
    free, public
):
    events, told = EventLog(free.services.submissions), []

    def listener(drafts):
        for number, draft in drafts:
            assert free.services.store.writes
            told.append((number, draft.type, draft.submission_id))

    free.services.events.listeners.append(listener)
    row = receive(free, public, {"n": 1})
    free.add("b@x.org", "c@x.org")
    stored = free.services.store.rows(
        "SELECT id, type, submission_id FROM event WHERE type NOT LIKE 'key.%' "
        "ORDER BY id"
    )
    assert told == stored and len(told) == 4
    assert json.loads(events.one(told[1][0]).data) == shown(free, row)
    free.ask("DELETE", f"{EVERY}/sub_{row.uid}")
    assert events.one(told[1][0]) is None


def test_a_listener_that_fails_undoes_the_post(free, public):
    def listener(drafts):
        raise RuntimeError("no")

    free.services.events.listeners.append(listener)
    with pytest.raises(RuntimeError):
        receive(free, public, {"n": 1})
    free.services.events.listeners.clear()
    assert inbox(free) == [] and contact(free) is None
    sound(free)


# -- figures


def test_totals_are_counted_as_they_come_and_go_and_check_agrees(free):
    keys = [free.key("publishable") for _ in range(2)]
    numbers = itertools.count()
    for key, state, times in [
        (keys[0], "accepted", 3),
        (keys[0], "spam", 2),
        (keys[1], "accepted", 4),
    ]:
        for _ in range(times):
            receive(free, key, {"n": next(numbers)}, honeypot=state == "spam")
    first, second = (free.ref(key) for key in keys)

    def total(query):
        return free.get(f"{EVERY}?page_size=1&{query}").json["total"]

    def totals():
        queries = ["", "state=spam", f"key={first}", f"key={second}&state=spam"]
        return [total(query) for query in queries]

    assert totals() == [9, 2, 5, 0]
    row = free.services.submissions.page(1, (), 1, 1).rows[0]
    mark(free, row, "spam")
    assert totals() == [9, 3, 5, 1]
    mark(free, row, "accepted")
    free.ask("DELETE", f"{EVERY}/sub_{row.uid}")
    assert totals() == [8, 2, 5, 0]
    sound(free)
    sql = "UPDATE tally SET total = 7 WHERE kind = ?"
    kind = (f"submission accepted {first}",)
    free.services.store.write(lambda: free.services.store.run(sql, kind))
    assert dict(problems(free.services.store))["counters"] == (
        f"default counts 7 of submission accepted {first} and has 3"
    )


@pytest.mark.parametrize(
    "query",
    [
        *("", "state=accepted", "key={key}", "key={key}&state=spam", "email=a@x.org"),
        *("contact={contact}", "created_after=2026-07-01", "page=100"),
        "state=spam&created_before=2027-01-01",
    ],
)
def test_no_list_reads_more_than_it_shows_nor_sorts(free, public, query):
    (ref,) = free.add("a@x.org")
    query = query.format(key=free.ref(public), contact=ref)
    plans = plans_of(free, lambda: free.get(f"{EVERY}?{query}"))
    assert plans
    for sql, plan in plans:
        scans = [one for one in plan if one.startswith("SCAN")]
        if "IN (SELECT" not in sql:  # those that were found and are shown
            scans += [one for one in plan if "TEMP B-TREE" in one]
        assert scans == [], (sql, plan)


def test_neither_retention_nor_erasure_reads_more_than_it_deletes(free, public):
    row = receive(free, public, {"n": 1})
    ref = shown(free, row)["contact"]
    submissions = free.services.submissions
    for step in (
        submissions.expire,
        lambda: free.ask("DELETE", f"{EVERY}?email=a@x.org"),
        lambda: free.ask("DELETE", f"{EVERY}/sub_{row.uid}"),
        lambda: free.get(f"/v1/contacts/{ref}/export"),
        lambda: free.ask("DELETE", f"/v1/contacts/{ref}"),
    ):
        for sql, plan in plans_of(free, step):
            scans = [one for one in plan if re.match(r"SCAN (?!\(|CONSTANT)", one)]
            assert scans == [], (sql, plan)


def plans_of(client, step):
    """(SQL on the table, how SQLite goes about it) of what a step asks for."""
    store, asked = client.services.store, []
    for database in (store.reading, store.writing):
        database.connection().set_trace_callback(asked.append)
    step()
    for database in (store.reading, store.writing):
        database.connection().set_trace_callback(None)
    mine = [sql for sql in asked if "submission" in sql and "tally" not in sql]
    mine = [sql for sql in mine if sql.startswith(("SELECT", "DELETE"))]
    with closing(sqlite3.connect(store.path)) as file:
        return [
            (sql, [row[3] for row in file.execute(f"EXPLAIN QUERY PLAN {sql}")])
            for sql in mine
        ]


# -- how long they stay


def sent_on(client, day, key, **options):
    """One that came on this day."""
    client.clock.now = at(f"{day}T12:00:00")
    return receive(client, key, {"day": day, "n": str(options)}, **options)


def states(client):
    return sorted((one["state"], one["fields"]["day"]) for one in inbox(client))


def test_each_goes_when_its_time_has_come(free, public):
    short = setting(free, keep_days=3)
    for_ever, asks = setting(free, keep_days=0), setting(free, confirm=True)
    sent_on(free, "2026-01-01", public)
    sent_on(free, "2026-01-01", for_ever)
    sent_on(free, "2026-01-01", short)
    sent_on(free, "2026-01-01", for_ever, honeypot=True)
    sent_on(free, "2026-01-01", asks)
    sent_on(free, "2026-01-02", setting(free, confirm=True, keep_days=3))
    sent_on(free, "2026-01-02", short, honeypot=True)
    left = []
    for day in range(1, 400):
        free.clock.now = at("2026-01-01T12:00:00") + day * DAY
        if day in (3, 4, 5, 7, 8, 30, 31, 365, 366):
            keep_house(free).tick()
            left.append((day, len(inbox(free)), free.get("/v1/stats").json))
            sound(free)
    counts = [(day, count) for day, count, _ in left]
    assert counts == [
        *((3, 7), (4, 6), (5, 4), (7, 4), (8, 3)),
        *((30, 3), (31, 2), (365, 2), (366, 1)),
    ]
    stats = {day: list(s["submissions"].values()) for day, _, s in left}
    assert stats[3] == [3, 2, 2] and stats[366] == [1, 0, 0]
    assert inbox(free)[0]["key"] == free.ref(for_ever)
    gone = [e for e in feed(free)["data"] if e["type"] == "submission.deleted"]
    assert [(e["key"], list(e["data"])) for e in gone] == [("retention", ["id"])] * 2


def test_what_was_marked_as_spam_late_stays_30_days_from_then(free, public):
    row = sent_on(free, "2026-01-01", public)
    free.clock.now = at("2026-03-01T12:00:00")
    mark(free, row, "spam")
    for day, count in (("2026-03-31T11:59:59", 1), ("2026-03-31T12:00:01", 0)):
        free.clock.now = at(day)
        keep_house(free).tick()
        assert len(inbox(free)) == count


def test_a_confirmed_one_stays_as_long_as_its_contact(free):
    key = setting(free, confirm=True, keep_days=1)
    row = sent_on(free, "2026-01-01", key)
    submissions, now = free.services.submissions, contactapi.micros(free.clock())
    person = contactapi.operator("confirmation", free.workspace)
    free.services.store.write(lambda: submissions.accept(person, row, now))
    free.clock.now = at("2030-01-01T12:00:00")
    keep_house(free).tick()
    (one,) = inbox(free)
    free.ask("DELETE", f"/v1/contacts/{one['contact']}")
    assert inbox(free) == []


def test_a_revoked_keys_rule_goes_on_and_a_key_of_which_nothing_is_left_has_365_days(
    free,
):
    key = setting(free, keep_days=2)
    sent_on(free, "2026-01-01", key)
    sent_on(free, "2026-01-01", setting(free, keep_days=0))
    free.revoke(key)
    store = free.services.store
    sql = "UPDATE submission SET key = 'key_gone' WHERE id = 2"
    store.write(lambda: store.run(sql))
    free.clock.now = at("2026-01-04T12:00:00")
    free.services.submissions.expire()
    assert [one["key"] for one in inbox(free)] == ["key_gone"]
    free.clock.now = at("2027-01-02T12:00:00")
    free.services.submissions.expire()
    assert inbox(free) == []


def test_retention_takes_more_than_a_batch_at_once(free, public):
    for n in range(contactapi.Submissions.SOME + 5):
        receive(free, public, {"n": n}, honeypot=True)
    free.turn(31 * DAY)
    assert free.services.submissions.expire() == contactapi.Submissions.SOME + 5
    assert inbox(free) == [] and free.services.submissions.expire() == 0
    sound(free)


def test_an_accepted_submission_is_a_touch_though_the_contact_stays_as_it_is(free):
    key = free.key("publishable")
    full = {"notes": "n" * 40_000}
    free.add("full@x.org", "spammed@x.org", "gone@x.org", **full)
    free.turn(20 * DAY)
    body = {"more": "m" * 9_000}
    receive(free, key, body, "full@x.org")
    receive(free, key, body, "spammed@x.org", honeypot=True)
    free.turn(20 * DAY)
    housekeeper = keep_house(free, CONTACTAPI_RETENTION_DAYS="30")
    housekeeper.tick()
    assert free.emails() == ["full@x.org"]
    free.turn(20 * DAY)
    housekeeper.tick()
    assert free.emails() == []


# -- what goes with a contact


def test_with_a_contact_go_those_that_name_it_and_those_of_its_address(free, public):
    held = setting(free, confirm=True)
    receive(free, public, {"n": 1})
    receive(free, public, {"n": 2}, honeypot=True)
    receive(free, held, {"n": 3}, "ADA@example.com")
    (ref,) = [contact(free)["id"]]
    free.patch(ref, {"email": "new@example.com"})
    receive(free, public, {"n": 4}, "new@example.com", honeypot=True)
    receive(free, public, {"n": 5}, "eva@example.com")
    exported = free.get(f"/v1/contacts/{ref}/export").json["submissions"]
    assert [one["fields"]["n"] for one in exported] == [1, 4]
    free.turn(60)
    free.ask("DELETE", f"/v1/contacts/{ref}")
    assert sorted(one["fields"]["n"] for one in inbox(free)) == [2, 3, 5]
    told = feed(free)["data"]
    assert [e["type"] for e in told] == [
        "contact.created",
        "submission.accepted",
        "contact.deleted",
    ]
    assert ref not in json.dumps(told[:2])
    sound(free)
    (again,) = free.add("ada@example.com")
    free.ask("DELETE", f"/v1/contacts/{again}")
    assert [one["fields"]["n"] for one in inbox(free)] == [5]
    sound(free)


def test_another_workspaces_submissions_stay(free, public):
    other = free.key("publishable", workspace="other")
    receive(free, public, {"n": 1})
    receive(free, other, {"n": 2}, honeypot=True)
    free.ask("DELETE", f"/v1/contacts/{contact(free)['id']}")
    secret = free.key("secret", workspace="other")
    (left,) = free.get(EVERY, key=secret).json["data"]
    assert left["fields"] == {"n": 2}


def test_erased_history_leaves_the_submissions(free, public):
    receive(free, public, {"n": 1})
    (one,) = inbox(free)
    free.ask("DELETE", f"/v1/contacts/{one['contact']}/history")
    assert inbox(free) == [one] and history(free, one["contact"]) == []


@pytest.mark.parametrize("way", ["contact", "one", "email", "retention"])
def test_after_an_erasure_and_a_clean_stop_no_file_holds_a_byte_of_it(
    free, public, tmp_path, way
):
    markers = [b"zelda-one", b"qmessageq", b"qsubjectq", b"qreplyq", b"qnameq"]
    fields = {"message": "qmessageq", "long": "qmessageq" * 900}
    ids = {}
    for n in range(30):
        more = {"subject": "qsubjectq", "reply_to": "qreplyq@x.org"}
        row = receive(
            free,
            public,
            {**fields, "n": n},
            "zelda-one@x.org",
            from_name="qnameq",
            honeypot=n % 2 == 1,
            **more,
        )
        ids[row.uid] = row
        free.turn(61)
    ref = contact(free, "zelda-one@x.org")["id"]
    if way == "one":
        for uid in ids:
            assert free.ask("DELETE", f"{EVERY}/sub_{uid}").status_int == 200
    elif way == "email":
        assert free.ask("DELETE", f"{EVERY}?email=zelda-one@x.org").json == {
            "deleted": 30
        }
    elif way == "retention":
        free.turn(400 * DAY)
        free.services.events.expire(contactapi.micros(free.clock()))
        assert free.services.submissions.expire() == 30
    assert free.ask("DELETE", f"/v1/contacts/{ref}").status_int == 200
    assert inbox(free) == []
    free.services.close(rewrites=True)
    free.closed = True
    for file in tmp_path.iterdir():
        if file.name.startswith("contacts.db"):
            held = file.read_bytes()
            assert [m for m in markers if m in held] == [], file.name


# -- the command line


def test_they_are_exported_and_copied_by_the_command_line(free, public, shell, make):
    receive(free, public, {"n": 1})
    receive(free, public, {"n": 2}, honeypot=True)
    rows = exported(free, f"{EVERY}.jsonl")
    status, out, _ = shell("export", "out.jsonl", "--kind", "submissions")
    assert (status, out) == (0, "out.jsonl: 2 submissions\n")
    with open("out.jsonl") as file:
        assert [json.loads(line) for line in file] == rows
    assert shell("export", "out.csv", "--kind", "submissions")[0] == 0
    with open("out.csv") as file:
        assert file.readline().startswith("id,state,reason,key,contact,email,subject")
    assert shell("import", "out.jsonl", "--kind", "submissions")[0] == 2
    assert shell("copy", "sqlite:///contacts.db", "sqlite:///copy.db")[0] == 0
    again = make("copy.db", like=free)
    assert exported(again, f"{EVERY}.jsonl") == rows
    sound(again)


def test_a_contact_with_many_is_deleted_by_parts_in_the_long_lane(
    served, tmp_path, monkeypatch
):
    monkeypatch.setattr(contactapi, "MANY", 20)
    monkeypatch.setattr(contactapi.Submissions, "SOME", 10)
    client = served()
    key, posts = client.key("publishable"), 30
    for n in range(posts):
        receive(client, key, {"n": n})
        receive(client, key, {"n": n}, "spam@x.org", honeypot=True)
    spammed, busy = client.add("spam@x.org", "busy@x.org")
    for n in range(posts):
        client.patch(busy, {"n": n})
    store, sizes, lanes = client.services.store, [], []
    write = store.write

    def watched(work):
        before = store.changes()
        result = write(work)
        sizes.append(store.changes() - before)
        return result

    go_to = contactapi.go_to
    monkeypatch.setattr(store, "write", watched)
    monkeypatch.setattr(
        contactapi, "go_to", lambda lane: (lanes.append(lane), go_to(lane))
    )
    for ref in (contact(client)["id"], spammed, busy):
        sizes.clear()
        lanes.clear()
        assert client.ask("DELETE", f"/v1/contacts/{ref}").json["deleted"]
        assert "long" in lanes and len(sizes) > 3 and max(sizes) < 70, sizes
    assert client.get("/v1/contacts").json["data"] == inbox(client) == []
    assert {e["type"] for e in feed(client)["data"]} == {"contact.deleted"}
    sound(client)
    (few,) = client.add("few@x.org")
    sizes.clear()
    client.ask("DELETE", f"/v1/contacts/{few}")
    assert len(sizes) <= 1
