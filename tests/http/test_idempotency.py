"""Idempotency-Key."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from client import (
    MY_KEY,
    a_busy_writer,
    call_events,
    called,
    enveloped,
    keep_house,
    list_calls,
    move,
    once,
    refusal,
)


def test_the_same_key_and_body_give_the_first_201_again(api):
    (contact,) = api.add("a@x.org")
    first = once(api, contact)
    assert "Idempotency-Replayed" not in first.headers
    enveloped(move(api, first.json["data"], status="completed"))
    api.turn(60)
    again = once(api, contact)
    assert again.status_int == 201
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.body == first.body
    assert list_calls(api)["total"] == 1
    assert [event[0] for event in call_events(api)] == ["call.created", "call.updated"]


def test_without_an_idempotency_key_each_post_is_a_call(api):
    (contact,) = api.add("a@x.org")
    assert called(api, contact)["id"] != called(api, contact)["id"]
    assert list_calls(api)["total"] == 2


def test_bodies_are_compared_as_parsed_json(api):
    (contact,) = api.add("a@x.org")
    headers = {"Idempotency-Key": "abc"}
    bodies = [
        '{"contact_id": "%s", "phone_number": "+1234567890", "note": "é"}',
        '{"note":"\\u00e9","phone_number":"+12345678\\u0039\\u0030","contact_id":"%s"}\n',
    ]
    answers = [
        api.post((body % contact).encode(), "/api/calls/create", headers=headers)
        for body in bodies
    ]
    assert answers[0].body == answers[1].body
    assert answers[1].headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(
    "change",
    [
        {"phone_number": "+1234567891"},
        {"from_number": "+0987654321"},
        {"from_number": None},
        {"note": 1},
    ],
    ids=str,
)
def test_another_body_is_422_and_calls_nobody(api, change):
    (contact,) = api.add("a@x.org")
    first = once(api, contact)
    body = {"contact_id": contact, "phone_number": "+1234567890", **change}
    headers = {"Idempotency-Key": "abc"}
    answer = api.post(body, "/api/calls/create", headers=headers)
    assert refusal(answer) == (422, "idempotency_mismatch", None)
    assert list_calls(api)["total"] == 1
    assert once(api, contact).body == first.body


@pytest.mark.parametrize(
    "name, same",
    [
        ('"abc"', "abc"),
        ("a", "a"),
        ("x" * 255, '"' + "x" * 255 + '"'),
        (
            "8e03978e-40d5-43dd-bc93-6894a57f9324",
            '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
        ),
        (r'"a\"b\\c"', r'a"b\c'),
        ("two words", '"two words"'),
    ],
)
def test_an_idempotency_key_is_quoted_or_bare(api, name, same):
    (contact,) = api.add("a@x.org")
    first = once(api, contact, name)
    assert first.status_int == 201
    assert once(api, contact, same).body == first.body


@pytest.mark.parametrize("name", ['""', "x" * 256, '"' + "x" * 256 + '"', "\x80"])
def test_another_idempotency_key_is_400(api, name):
    (contact,) = api.add("a@x.org")
    assert refusal(once(api, contact, name))[:2] == (400, "invalid_request")
    assert list_calls(api)["total"] == 0


def test_idempotency_keys_differ_in_case(api):
    (contact,) = api.add("a@x.org")
    assert once(api, contact, "abc").body != once(api, contact, "ABC").body


def test_an_idempotency_key_holds_for_24_hours(api):
    (contact,) = api.add("a@x.org")
    first = once(api, contact)
    api.turn(24 * 3600 - 1)
    assert once(api, contact).body == first.body
    api.turn(2)
    second = once(api, contact)
    assert "Idempotency-Replayed" not in second.headers
    assert second.json["data"]["id"] != first.json["data"]["id"]
    assert once(api, contact).body == second.body
    assert once(api, contact, phone="+49301234").status_int == 422
    assert list_calls(api)["total"] == 2


def test_old_idempotency_keys_are_forgotten_by_the_housekeeper(api):
    (contact,) = api.add("a@x.org")
    once(api, contact)
    housekeeper = keep_house(api)
    housekeeper.tidy()
    assert api.services.store.row("SELECT count(*) FROM answer") == (1,)
    api.turn(24 * 3600 + 1)
    housekeeper.tidy()
    assert api.services.store.row("SELECT count(*) FROM answer") == (0,)


def test_an_idempotency_key_belongs_to_one_api_key_and_workspace(api):
    (contact,) = api.add("a@x.org")
    other_key = api.key("secret")
    other = api.key("secret", workspace="other")
    theirs = api.post({"email": "a@x.org"}, key=other).json["id"]
    answers = [
        once(api, contact),
        once(api, contact, key=other_key),
        once(api, theirs, key=other),
    ]
    assert [answer.status_int for answer in answers] == [201, 201, 201]
    assert len({answer.json["data"]["id"] for answer in answers}) == 3
    assert all("Idempotency-Replayed" not in answer.headers for answer in answers)


def test_an_error_frees_the_idempotency_key(api):
    (contact,) = api.add("a@x.org")
    assert once(api, contact, phone="x").status_int == 400
    assert once(api, "con_00000000000000000000000000").status_int == 404
    assert once(api, contact, key=api.key("restricted", "calls:read")).status_int == 403
    answer = once(api, contact)
    assert answer.status_int == 201
    assert "Idempotency-Replayed" not in answer.headers


def test_an_idempotency_key_is_erased_with_the_contact(api):
    (contact,) = api.add("a@x.org")
    once(api, contact)
    api.ask("DELETE", f"/v1/contacts/{contact}")
    (other,) = api.add("b@x.org")
    answer = once(api, other)
    assert answer.status_int == 201
    assert "Idempotency-Replayed" not in answer.headers


def test_an_idempotency_key_survives_a_restart(make):
    first = make()
    (contact,) = first.add("a@x.org")
    answer = once(first, contact)
    first.close()
    second = make(like=first)
    again = once(second, contact, key=first.secret)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.body == answer.body
    mismatch = once(second, contact, phone="+4930123", key=first.secret)
    assert mismatch.status_int == 422


def test_two_processes_make_one_call_of_one_idempotency_key(make):
    first = make()
    second = make(like=first)
    (contact,) = first.add("a@x.org")
    answers = [once(client, contact, key=first.secret) for client in (first, second)]
    assert answers[0].body == answers[1].body
    assert list_calls(first)["total"] == 1


def test_other_endpoints_ignore_an_idempotency_key(api):
    headers = {"Idempotency-Key": "x" * 300}
    for plan in ("a", "b"):
        answer = api.post({"email": "a@x.org", "plan": plan}, headers=headers)
        assert (answer.status_int, answer.json["plan"]) == (201, plan)
    assert api.post(MY_KEY, "/api/api-keys", headers=headers).status_int == 201


def test_one_that_comes_while_the_first_still_runs_gets_the_firsts_answer(free):
    (contact,) = free.add("a@x.org")
    other_key = free.key("secret")
    with ThreadPoolExecutor(3) as pool:
        with a_busy_writer(free.services.store):
            both = [pool.submit(once, free, contact) for _ in range(2)]
            theirs = pool.submit(once, free, contact, key=other_key)
            time.sleep(0.05)
            assert not any(answer.done() for answer in (*both, theirs))
        answers = [answer.result() for answer in both]
    assert {a.status_int for a in (*answers, theirs.result())} == {201}
    assert len({answer.body for answer in answers}) == 1
    assert sum("Idempotency-Replayed" in a.headers for a in answers) == 1
    assert list_calls(free)["total"] == 2


def test_many_posts_at_once_with_one_idempotency_key_make_one_call(free):
    (contact,) = free.add("a@x.org")
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: once(free, contact), range(64)))
    assert {answer.status_int for answer in answers} == {201}
    assert len({answer.body for answer in answers}) == 1
    replayed = [a for a in answers if "Idempotency-Replayed" in a.headers]
    assert len(replayed) == 63
    assert list_calls(free)["total"] == 1


@pytest.mark.parametrize(
    "body, headers, status",
    [
        # "Where several apply, the first of: … 415, 400, 404 …, 409 or 422"
        (b"a=b", {"Content-Type": "text/plain", "Idempotency-Key": '""'}, 415),
        (b'{"contact_id": 5}', {"Idempotency-Key": "abc"}, 400),
        (b"{", {"Idempotency-Key": "abc"}, 400),
        (
            b'{"contact_id": "con_00000000000000000000000000", "phone_number": "+123"}',
            {"Idempotency-Key": "abc"},
            404,
        ),
    ],
    ids=str,
)
def test_of_several_refusals_of_a_call_the_first_in_the_contracts_order_is_given(
    api, body, headers, status
):
    (contact,) = api.add("a@x.org")
    assert once(api, contact).status_int == 201
    answer = api.post(body, "/api/calls/create", headers=headers)
    assert refusal(answer)[0] == status
