"""Calls (document 001)."""

import tracemalloc

import pytest

from client import (
    ENDS,
    NOBODY,
    SECOND_FREE,
    at,
    call_events,
    called,
    create_call,
    enveloped,
    feed,
    hyphenated,
    list_calls,
    move,
    read,
    refusal,
    show_call,
)

STATUSES = ["initiating", "queued", "ringing", "in-progress", *ENDS]


@pytest.mark.parametrize(
    "phone",
    ["+12", "+1234567890", "+442012345678", "+123456789012345", "+999999999999999"],
)
def test_a_phone_number_is_e164(api, phone):
    assert called(api, phone=phone)["phone_number"] == phone


@pytest.mark.parametrize(
    "phone",
    [
        *("+1", "+1234567890123456", "+0123456789", "1234567890", "+", "", "+12a45"),
        *("+1 234 567", " +1234567890", "+1234567890\n", "+1-234-567", "00441234567"),
        *(
            "+１２３４５",
            "++1234567",
            "tel:+1234567",
            1234567890,
            None,
            True,
            ["+12345"],
        ),
        {},
    ],
    ids=ascii,
)
def test_another_phone_number_is_400_invalid_phone(api, phone):
    (contact,) = api.add("a@x.org")
    answer = create_call(api, contact, phone)
    assert refusal(answer) == (400, "invalid_phone", "phone_number")
    assert list_calls(api)["total"] == 0


@pytest.mark.parametrize("number", ["+12", "+0987654321", "+123456789012345"])
def test_a_from_number_is_plus_and_2_to_15_digits(api, number):
    assert called(api, from_number=number)["from_number"] == number


@pytest.mark.parametrize(
    "number", ["+1", "+1234567890123456", "1234567", "x", "", 0, False, [], 5], ids=repr
)
def test_another_from_number_is_400(api, number):
    (contact,) = api.add("a@x.org")
    answer = create_call(api, contact, from_number=number)
    assert refusal(answer) == (400, "invalid_phone", "from_number")


@pytest.mark.parametrize("sent", [{}, {"from_number": None}], ids=str)
def test_without_twilio_a_call_needs_no_from_number(api, sent):
    assert called(api, **sent)["from_number"] is None


@pytest.mark.parametrize(
    "body, param",
    [
        ({}, "contact_id"),
        ({"phone_number": "+1234567890"}, "contact_id"),
        ({"phone_number": "+1234567890", "contact_id": None}, "contact_id"),
        ({"phone_number": "+1234567890", "contact_id": 123}, "contact_id"),
        ({"contact_id": "con_00000000000000000000000000"}, "phone_number"),
    ],
    ids=str,
)
def test_a_call_without_contact_or_number_is_400(api, body, param):
    answer = api.post(body, "/api/calls/create")
    assert refusal(answer)[0] == 400
    assert refusal(answer)[2] == param


@pytest.mark.parametrize(
    "ref", ["contact_123", "con_" + "0" * 26, NOBODY, "", "con_", "x" * 1000]
)
def test_a_call_to_an_unknown_contact_is_404(api, ref):
    assert refusal(create_call(api, ref))[:2] == (404, "not_found")


def test_a_call_to_a_contact_of_another_workspace_is_404(api):
    (contact,) = api.add("a@x.org")
    other = api.key("secret", workspace="other")
    assert refusal(create_call(api, contact, key=other))[:2] == (404, "not_found")


def test_a_call_to_a_company_is_404(api):
    ref = api.post({"name": "Acme"}, "/v1/companies").json["id"]
    assert refusal(create_call(api, ref))[0] == 404
    assert refusal(create_call(api, hyphenated(ref)))[0] == 404


def test_a_contact_of_the_read_api_is_called_by_its_uuid(api):
    (ref,) = api.add("a@x.org")
    (record,) = read(api, "contacts")["data"]
    assert called(api, record["id"])["contact_id"] == ref
    assert called(api, ref.upper())["contact_id"] == ref
    assert list_calls(api, f"?contact_id={record['id']}")["total"] == 2


def test_a_call_is_shown_by_both_spellings_of_its_id_in_any_case(api):
    call = called(api)
    for ref in (call["id"], call["id"].upper(), hyphenated(call["id"])):
        assert enveloped(api.get(f"/api/calls/{ref}")) == call
        assert enveloped(api.get(f"/api/calls/{ref}/")) == call
    assert api.ask("HEAD", f"/api/calls/{call['id']}").status_int == 200


@pytest.mark.parametrize("method, body", [("GET", None), ("PATCH", {"status": "busy"})])
@pytest.mark.parametrize("ref", ["call_123", "x", NOBODY, "call_" + "0" * 26, "lists"])
def test_an_unknown_or_malformed_call_is_404(api, method, body, ref):
    answer = api.ask(method, f"/api/calls/{ref}", body)
    assert refusal(answer) == (404, "not_found", None)


def test_a_call_of_another_workspace_is_404(api):
    call = called(api)
    other = api.key("secret", workspace="other")
    assert refusal(api.get(f"/api/calls/{call['id']}", key=other))[0] == 404
    assert refusal(move(api, call, key=other, status="busy"))[0] == 404
    assert list_calls(api, key=other) == {"calls": [], "total": 0, "next_cursor": None}
    assert show_call(api, call) == call


@pytest.mark.parametrize("new", STATUSES)
@pytest.mark.parametrize("old", STATUSES)
def test_a_status_goes_forward_only_and_an_end_is_final(free, old, new):
    call = called(free)
    if old != "initiating":
        enveloped(move(free, call, status=old))
    before = show_call(free, call)
    told = len(call_events(free))
    free.turn(5)
    answer = move(free, call, status=new)
    stage = {name: min(n, 4) for n, name in enumerate(STATUSES)}
    if old in ENDS and new != old:
        assert refusal(answer) == (409, "conflict", "status")
        assert show_call(free, call) == before
    elif stage[new] > stage[old]:
        after = {**before, "status": new, "updated_at": "2026-07-04T10:00:05Z"}
        assert enveloped(answer) == show_call(free, call) == after
        told += 1
    else:
        assert enveloped(answer) == show_call(free, call) == before
    assert len(call_events(free)) == told


@pytest.mark.parametrize(
    "change, param",
    [
        ({"status": "done"}, "status"),
        ({"status": "Completed"}, "status"),
        ({"status": None}, "status"),
        ({"status": 4}, "status"),
        ({"status": []}, "status"),
        ({"status": {}}, "status"),
        ({"duration": -1}, "duration"),
        ({"duration": 1.5}, "duration"),
        ({"duration": "120"}, "duration"),
        ({"duration": True}, "duration"),
        ({"duration": None}, "duration"),
        ({"duration": 10**30}, "duration"),
        ({"status": "completed", "duration": "x"}, "duration"),
    ],
    ids=str,
)
def test_a_bad_patch_of_a_call_is_400_and_changes_nothing(api, change, param):
    call = called(api)
    assert refusal(move(api, call, **change)) == (400, "invalid_request", param)
    assert show_call(api, call) == call


def test_an_empty_patch_of_a_call_is_200_and_changes_nothing(api):
    call = called(api)
    api.turn(60)
    assert enveloped(move(api, call)) == call
    assert enveloped(move(api, call, phone_number="+49", contact_id="x")) == call
    assert len(call_events(api)) == 1


def test_the_operators_own_dialler_reports_back_with_patch(api):
    call = called(api)
    for status in ("queued", "ringing", "in-progress"):
        assert enveloped(move(api, call, status=status))["status"] == status
    done = enveloped(move(api, call, status="completed", duration=120))
    assert (done["status"], done["duration"]) == ("completed", 120)
    assert enveloped(move(api, call, duration=121))["duration"] == 121


def test_calls_are_told_of_as_events(api):
    call = called(api)
    api.turn(5)
    done = enveloped(move(api, call, status="completed", duration=7))
    created, updated = call_events(api)
    assert created[:3] == ("call.created", api.ref(api.secret), call)
    assert updated[:3] == ("call.updated", api.ref(api.secret), done)
    assert set(updated[3]) >= {"status", "duration"}
    records = [e["record"] for e in feed(api)["data"]]
    assert records == [call["contact_id"], call["id"], call["id"]]


def test_a_key_that_may_write_but_not_read_calls_gets_its_own_words_back(api):
    (contact,) = api.add("a@x.org")
    token = api.key("restricted", "calls:write")
    made = enveloped(create_call(api, contact, key=token), 201)
    sent = {"contact_id": contact, "phone_number": "+1234567890"}
    assert {name: made[name] for name in sent} == sent
    assert made["status"] == "initiating"
    enveloped(move(api, made, status="in-progress", duration=5))
    api.turn(60)
    data = enveloped(move(api, made, key=token, status="ringing"))
    now = "2026-07-04T10:01:00Z"
    stamps = {"created_at": now, "updated_at": now}
    assert data == {"id": made["id"], "status": "ringing", **stamps}
    assert refusal(api.get(f"/api/calls/{made['id']}", key=token))[0] == 403


# -- lists


def test_calls_are_listed_newest_first_50_unless_asked_otherwise(free):
    (contact,) = free.add("a@x.org")
    ids = [called(free, contact)["id"] for _ in range(60)][::-1]
    data = list_calls(free)
    assert [call["id"] for call in data["calls"]] == ids[:50]
    assert data["total"] == 60
    for query, count in (("?limit=1", 1), ("?limit=60", 60), ("?limit=5000", 60)):
        data = list_calls(free, query)
        assert [call["id"] for call in data["calls"]] == ids[:count]
        assert data["total"] == 60


@pytest.mark.parametrize("limit", ["0", "5001", "-1", "x", "", "1.5"])
def test_another_limit_of_calls_is_400(api, limit):
    answer = api.get(f"/api/calls/list?limit={limit}")
    assert refusal(answer) == (400, "invalid_request", "limit")


def test_calls_are_filtered_by_status_and_contact(free):
    refs = free.add("a@x.org", "b@x.org")
    calls = [called(free, ref) for ref in refs for _ in range(3)]
    for call in calls[1:5]:
        enveloped(move(free, call, status="busy"))

    def found(query):
        data = list_calls(free, query)
        assert data["total"] == len(data["calls"])
        return sorted(calls.index(found[0]) for found in by_id(data["calls"], calls))

    assert found("?status=busy") == [1, 2, 3, 4]
    assert found("?status=initiating") == [0, 5]
    assert found("?status=completed") == []
    assert found(f"?contact_id={refs[0]}") == [0, 1, 2]
    assert found(f"?contact_id={refs[1]}&status=busy") == [3, 4]
    assert found("?contact_id=con_00000000000000000000000000") == []


def by_id(found, calls):
    return [[call for call in calls if call["id"] == one["id"]] for one in found]


@pytest.mark.parametrize("status", ["done", "", "Completed"])
def test_an_unknown_status_is_400(api, status):
    answer = api.get(f"/api/calls/list?status={status}")
    assert refusal(answer) == (400, "invalid_request", "status")


def test_a_malformed_contact_id_is_400(api):
    answer = api.get("/api/calls/list?contact_id=contact_123")
    assert refusal(answer) == (400, "invalid_id", "contact_id")


def test_calls_are_filtered_by_a_date_range(free):
    (contact,) = free.add("a@x.org")
    for day in (1, 2, 3):
        free.clock.now = at(f"2026-07-0{day}T12:00:00")
        called(free, contact)

    def found(query):
        data = list_calls(free, query)
        assert data["total"] == len(data["calls"])
        return [call["created_at"][9] for call in data["calls"]]

    assert found("?date_from=2026-07-02") == ["3", "2"]
    assert found("?date_from=2026-07-02T12:00:00Z") == ["3", "2"]
    assert found("?date_from=2026-07-02T12:00:01Z") == ["3"]
    assert found("?date_to=2026-07-02T11:59:59Z") == ["1"]
    assert found("?date_to=2026-07-02T12:00:00Z") == ["2", "1"]
    assert found("?date_to=2026-07-02") == ["2", "1"]
    assert found("?date_from=2026-07-02&date_to=2026-07-02") == ["2"]
    assert found("?date_from=2026-07-04") == []


@pytest.mark.parametrize("name", ["date_from", "date_to"])
def test_a_bad_date_is_400(api, name):
    answer = api.get(f"/api/calls/list?{name}=yesterday")
    assert refusal(answer) == (400, "invalid_request", name)


def test_a_bad_cursor_of_calls_is_400_invalid_cursor(api):
    answer = api.get("/api/calls/list?cursor=x")
    assert refusal(answer)[:2] == (400, "invalid_cursor")


def test_a_walk_of_calls_neither_repeats_nor_skips(free):
    keep, *drop = free.add(*(f"c{n}@x.org" for n in range(12)))
    for contact in [keep, *drop] * 10:
        called(free, contact)
    wanted = list_calls(free, f"?contact_id={keep}&limit=5000")["calls"]
    walked, query = [], "?limit=7"
    while query:
        data = list_calls(free, query)
        walked += [call["id"] for call in data["calls"]]
        assert data["total"] >= len(data["calls"])
        called(free, keep)
        if drop:
            free.ask("DELETE", f"/v1/contacts/{drop.pop()}")
        cursor = data["next_cursor"]
        assert cursor is None or SECOND_FREE.fullmatch(cursor)
        query = cursor and f"?limit=7&cursor={cursor}"
    assert len(walked) == len(set(walked))
    assert {call["id"] for call in wanted} <= set(walked)


def test_total_is_all_that_match_wherever_the_cursor_stands(free):
    (contact,) = free.add("a@x.org")
    for _ in range(5):
        called(free, contact)
    data = list_calls(free, "?limit=2")
    again = list_calls(free, f"?limit=2&cursor={data['next_cursor']}&status=initiating")
    assert (data["total"], again["total"]) == (5, 5)
    last = list_calls(free, f"?limit=2&cursor={again['next_cursor']}")
    assert (len(last["calls"]), last["next_cursor"]) == (1, None)


def fill_with_calls(client, number):
    """Many calls of one contact, put where they are kept."""
    call = called(client)
    store = client.services.store
    names = [row[1] for row in store.rows("PRAGMA table_info(call)")]
    newest = store.row("SELECT * FROM call ORDER BY id DESC LIMIT 1")
    row = dict(zip(names, newest))
    marks = ",".join("?" * len(names))

    def work():
        for n in range(1, number):
            uid = f"0{n:025}"
            place = {
                "id": row["id"] + n,
                "uid": uid,
                "created_at": row["created_at"] + n,
            }
            store.run(
                f"INSERT INTO call VALUES ({marks})", tuple((row | place).values())
            )

    store.write(work)
    return call


def test_a_list_of_calls_takes_no_more_memory_in_a_larger_table(free):
    def peak():
        free.get("/api/calls/list?limit=50")
        tracemalloc.start()
        try:
            data = list_calls(free, "?limit=50")
            return len(data["calls"]), tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    (contact,) = free.add("a@x.org")
    for _ in range(50):
        called(free, contact)
    count, small = peak()
    fill_with_calls(free, 20_000)
    assert peak()[0] == count == 50
    assert peak()[1] < small * 1.5 + 20_000
    assert list_calls(free)["total"] == 20_050


def test_five_thousand_calls_are_one_page(free):
    fill_with_calls(free, 5003)
    data = list_calls(free, "?limit=5000")
    assert len({call["id"] for call in data["calls"]}) == 5000
    rest = list_calls(free, f"?limit=5000&cursor={data['next_cursor']}")
    assert (len(rest["calls"]), rest["total"]) == (3, 5003)


# -- with their contact


def test_deleting_a_contact_deletes_its_calls_and_what_was_told_of_them(api, shell):
    gone, kept = api.add("a@x.org", "b@x.org")
    call, other = called(api, gone), called(api, kept)
    move(api, call, status="completed")
    api.ask("DELETE", f"/v1/contacts/{gone}")
    assert refusal(api.get(f"/api/calls/{call['id']}"))[0] == 404
    assert refusal(move(api, call, status="busy"))[0] == 404
    assert [c["id"] for c in list_calls(api)["calls"]] == [other["id"]]
    assert list_calls(api)["total"] == 1
    text = api.get("/v1/events").text
    assert call["id"] not in text and other["id"] in text
    status, lines, _ = shell("check")
    assert (status, "orphans: ok" in lines) == (0, True)


def test_the_subject_export_has_the_calls_of_that_contact(api):
    ref, other = api.add("a@x.org", "b@x.org")
    calls = [called(api, ref), called(api, ref)]
    called(api, other)
    body = api.get(f"/v1/contacts/{ref}/export").json
    assert list(body) == ["contact", "calls", "submissions", "history"]
    assert body["contact"]["id"] == ref
    assert sorted(c["id"] for c in body["calls"]) == sorted(c["id"] for c in calls)
    assert [call for call in body["calls"] if call["id"] == calls[0]["id"]] == calls[:1]
    assert [event["type"] for event in body["history"]] == ["contact.created"]


def test_stats_count_the_calls_of_the_workspace(api):
    called(api)
    other = api.key("secret", workspace="other")
    assert api.get("/v1/stats").json["calls"] == 1
    assert api.get("/v1/stats", key=other).json["calls"] == 0
