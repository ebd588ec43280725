"""Calls through Twilio."""

import base64
import itertools
import socket
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest

import contactapi
from client import (
    ENDS,
    call_events,
    called,
    create_call,
    enveloped,
    list_calls,
    move,
    once,
    refusal,
    show_call,
)
from contactapi import Config, Mistake
from doubles import ACCOUNT, PUBLIC, SID, TOKEN, TWILIO, VOICE, sign, signed
from extras import outgoing
from extras.twilio import DIAL, Twilio, is_twilios, signature_of


@pytest.fixture
def dialling(make, twilio):
    """Makes apps that call through the double; `client.dial()` does what is due."""

    def make_client(**settings):
        # A setting of None is left out.
        wanted = {"CONTACTAPI_RATE_LIMIT": "off", **twilio.settings, **settings}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        client = make(**wanted)

        def dial():
            for _ in range(100):
                if not client.services.outbox.step():
                    return
            raise AssertionError("the outbox does not come to rest")

        client.dial = dial
        return client

    return make_client


def call_back(client, call, status, number, sid=None, **more):
    """Reports a status as Twilio does; asserts that it is taken."""
    sid = sid or f"CA{1:032x}"
    form = {
        "CallSid": sid,
        "AccountSid": ACCOUNT,
        "CallStatus": status,
        "SequenceNumber": str(number),
        "To": "+1234567890",
        "CallbackSource": "call-progress-events",
        **more,
    }
    answer = signed(client, f"/api/calls/{call['id']}/twilio", form)
    assert answer.status_int == 200, answer.text
    return answer


def status_of(client, call):
    shown = show_call(client, call)
    return shown["status"], shown["reason"]


def test_a_call_is_placed_by_one_form_post_with_basic_auth(dialling, twilio):
    client = dialling()
    call = called(client, from_number="+15552223333")
    assert twilio.requests == []
    client.dial()
    ((path, headers, form),) = twilio.requests
    assert path == f"/2010-04-01/Accounts/{ACCOUNT}/Calls.json"
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    scheme, _, credentials = headers["Authorization"].partition(" ")
    assert scheme == "Basic"
    assert base64.b64decode(credentials).decode() == f"{ACCOUNT}:{TOKEN}"
    events = ("initiated", "ringing", "answered", "completed")
    assert sorted(form) == sorted(
        [
            ("To", "+1234567890"),
            ("From", "+15552223333"),
            ("Url", VOICE),
            ("StatusCallback", f"{PUBLIC}/api/calls/{call['id']}/twilio"),
            ("StatusCallbackMethod", "POST"),
            *(("StatusCallbackEvent", event) for event in events),
        ]
    )
    assert status_of(client, call) == ("queued", None)
    client.turn(3600)
    client.dial()
    assert len(twilio.requests) == 1


def test_the_from_number_of_the_environment_is_the_default(dialling, twilio):
    client = dialling()
    assert called(client)["from_number"] == "+15550001111"
    client.dial()
    assert ("From", "+15550001111") in twilio.requests[0][2]


def test_a_path_in_the_api_base_is_kept(dialling, twilio):
    client = dialling(TWILIO_API_BASE=f"{twilio.url}/edge")
    twilio.answers = [twilio.taken]
    called(client)
    client.dial()
    assert twilio.requests[0][0] == f"/edge/2010-04-01/Accounts/{ACCOUNT}/Calls.json"


def test_calls_are_placed_oldest_first_each_once(dialling, twilio):
    client = dialling()
    (contact,) = client.add("a@x.org")
    for n in range(5):
        client.turn(1)
        called(client, contact, phone=f"+123456789{n}")
    client.dial()
    numbers = [dict(form)["To"] for _, _, form in twilio.requests]
    assert numbers == [f"+123456789{n}" for n in range(5)]


def test_without_twilio_a_call_is_recorded_and_announced_only(api, twilio):
    call = called(api)
    assert DIAL not in api.services.outbox.senders
    assert api.services.outbox.claim() is None
    assert [event[0] for event in call_events(api)] == ["call.created"]
    assert show_call(api, call)["status"] == "initiating"
    path = f"/api/calls/{call['id']}/twilio"
    assert refusal(signed(api, path, {"CallSid": SID}))[:2] == (404, "not_found")


def test_a_write_only_key_does_not_learn_the_environments_from_number(dialling):
    client = dialling()
    (contact,) = client.add("a@x.org")
    token = client.key("restricted", "calls:write")
    data = enveloped(create_call(client, contact, key=token), 201)
    assert "+15550001111" not in data.values()


# -- who may be called


@pytest.mark.parametrize(
    "prefixes, phone, status",
    [
        ("+44,+49", "+442012345678", 201),
        ("+44,+49", "+4930123456", 201),
        ("+44, +49", "+4930123456", 201),
        ("+44,+49", "+4512345678", 403),
        ("+44,+49", "+1442012345", 403),
        ("+44,+49", "+4", 400),
        ("+4420", "+442112345678", 403),
        ("*", "+99912345678", 201),
    ],
)
def test_a_number_outside_the_prefixes_is_403(dialling, prefixes, phone, status):
    client = dialling(CONTACTAPI_CALL_PREFIXES=prefixes)
    (contact,) = client.add("a@x.org")
    answer = create_call(client, contact, phone)
    assert answer.status_int == status
    if status == 403:
        assert refusal(answer)[:2] == (403, "forbidden")
        assert list_calls(client)["total"] == 0


def test_a_call_beyond_the_day_is_429_in_all_workspaces_together(dialling, twilio):
    client = dialling(CONTACTAPI_CALLS_PER_DAY="2")
    (contact,) = client.add("a@x.org")
    other = client.key("secret", workspace="other")
    theirs = client.post({"email": "a@x.org"}, key=other).json["id"]
    called(client, contact)
    client.turn(3600)
    called(client, theirs, key=other)
    for ref, token in ((contact, ...), (theirs, other)):
        answer = create_call(client, ref, key=token)
        assert refusal(answer)[:2] == (429, "rate_limit")
        assert answer.headers["Retry-After"] == str(23 * 3600)
    client.turn(23 * 3600 - 1)
    assert create_call(client, contact).status_int == 429
    client.turn(1)
    assert create_call(client, contact).status_int == 201
    assert create_call(client, contact).status_int == 429


def test_no_calls_a_day_is_none_at_all(dialling):
    client = dialling(CONTACTAPI_CALLS_PER_DAY="0")
    (contact,) = client.add("a@x.org")
    assert create_call(client, contact).status_int == 429


def test_deleting_contacts_does_not_make_room_for_more_calls_a_day(dialling, twilio):
    client = dialling(CONTACTAPI_CALLS_PER_DAY="1")
    first, second = client.add("a@x.org", "b@x.org")
    called(client, first)
    client.dial()
    assert len(twilio.requests) == 1
    client.ask("DELETE", f"/v1/contacts/{first}")
    assert refusal(create_call(client, second))[:2] == (429, "rate_limit")


def test_a_replay_is_not_a_call_of_the_day(dialling):
    client = dialling(CONTACTAPI_CALLS_PER_DAY="1")
    (contact,) = client.add("a@x.org")
    first = once(client, contact)
    assert once(client, contact).body == first.body
    assert once(client, contact, "other").status_int == 429


def test_the_calls_that_twilio_did_not_place_do_not_count(make, twilio):
    before = make(CONTACTAPI_RATE_LIMIT="off")
    (contact,) = before.add("a@x.org")
    called(before, contact)
    before.close()
    settings = {**TWILIO, "CONTACTAPI_CALLS_PER_DAY": "1"}
    client = make(like=before, **settings)
    assert create_call(client, contact, key=before.secret).status_int == 201
    assert create_call(client, contact, key=before.secret).status_int == 429


@pytest.mark.parametrize("sent", [{}, {"from_number": None}], ids=str)
def test_with_twilio_no_from_number_at_all_is_400(dialling, sent):
    client = dialling(TWILIO_FROM_NUMBER=None)
    (contact,) = client.add("a@x.org")
    answer = create_call(client, contact, **sent)
    assert refusal(answer) == (400, "invalid_phone", "from_number")
    assert create_call(client, contact, from_number="+12").status_int == 201


@pytest.mark.parametrize(
    "spent, body, status",
    [
        # "Where several apply, the first of: … 429, 403, 415, 400, 404 for the record"
        (True, {"phone_number": "+3312345"}, 429),
        (True, {"contact_id": "con_00000000000000000000000000"}, 429),
        (False, {"phone_number": "+3312345", "contact_id": None}, 403),
        (False, {"phone_number": "+3312345", "from_number": "x"}, 403),
        (False, {"phone_number": "+3312345", "contact_id": "con_x"}, 403),
    ],
    ids=str,
)
def test_of_several_refusals_to_dial_the_first_in_the_contracts_order_is_given(
    dialling, spent, body, status
):
    most = "1" if spent else "100"
    client = dialling(CONTACTAPI_CALLS_PER_DAY=most, CONTACTAPI_CALL_PREFIXES="+44")
    (contact,) = client.add("a@x.org")
    good = {"contact_id": contact, "phone_number": "+442012345678"}
    if spent:
        enveloped(client.post(good, "/api/calls/create"), 201)
    answer = client.post({**good, **body}, "/api/calls/create")
    assert refusal(answer)[0] == status


# -- handing over


def refused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize(
    "answer",
    [
        (429, b"", {}),
        (429, b'{"code": 20429}', {}),
        (503, b"", {}),
        (503, b'{"code": 20503}', {}),
        (500, b"", {}),
        (502, b"", {}),
        (504, b"", {}),
    ],
    ids=str,
)
def test_what_twilio_did_not_take_is_tried_again(dialling, twilio, answer):
    client = dialling()
    call = called(client)
    twilio.answers = [answer, answer]
    client.dial()
    assert len(twilio.requests) == 1
    assert status_of(client, call) == ("initiating", None)
    for _ in range(20):
        client.turn(1)
        client.dial()
    assert len(twilio.requests) == 3
    assert status_of(client, call) == ("queued", None)


def test_a_refused_connection_is_tried_again(dialling, twilio):
    client = dialling(TWILIO_API_BASE=refused_port())
    call = called(client)
    client.dial()
    assert status_of(client, call) == ("initiating", None)
    client.close()
    again = dialling(TWILIO_API_BASE=twilio.url)
    again.clock.now = client.clock.now + 60
    again.dial()
    assert len(twilio.requests) == 1
    assert status_of(again, call) == ("queued", None)


def test_twilios_retry_after_is_honoured(dialling, twilio):
    client = dialling()
    call = called(client)
    twilio.answers = [(429, b"", {"Retry-After": "40"})]
    client.dial()
    client.turn(39)
    client.dial()
    assert len(twilio.requests) == 1
    client.turn(2)
    client.dial()
    assert len(twilio.requests) == 2
    assert status_of(client, call) == ("queued", None)


def test_one_call_that_waits_does_not_hold_up_the_others(dialling, twilio):
    client = dialling()
    (contact,) = client.add("a@x.org")
    first, second = called(client, contact), called(client, contact)
    client.turn(1)
    twilio.answers = [(503, b"", {"Retry-After": "300"})]
    client.dial()
    assert status_of(client, first) == ("initiating", None)
    assert status_of(client, second) == ("queued", None)


def cut_off(handler):
    """Takes the request and hangs up without a word."""
    handler.connection.shutdown(socket.SHUT_RDWR)


def half_an_answer(handler):
    handler.wfile.write(b"HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n{")
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "answer, words",
    [
        ((400, b'{"code": 21211, "message": "Invalid To"}', {}), "400 21211"),
        ((401, b'{"code": 20003}', {}), "401 20003"),
        ((404, b"<html>", {}), "404"),
        ((500, b'{"code": 20500}', {}), "500"),
        ((502, b"<html>Bad Gateway</html>", {}), "502"),
        ((302, b"", {"Location": "http://127.0.0.1:9/"}), "302"),
        ((201, b"{}", {}), ""),
        ((201, b"not JSON", {}), ""),
        ((200, b'{"sid": 5}', {}), ""),
        (cut_off, ""),
        (half_an_answer, ""),
    ],
    ids=lambda answer: getattr(answer, "__name__", str(answer)),
)
def test_any_other_answer_ends_the_call_as_failed_with_a_reason(
    dialling, twilio, answer, words
):
    client = dialling()
    call = called(client)
    twilio.answers = [answer]
    client.dial()
    status, reason = status_of(client, call)
    assert status == "failed"
    assert reason and words in reason
    client.turn(3600)
    client.dial()
    assert len(twilio.requests) == 1
    assert call_events(client)[-1][:2] == ("call.updated", "twilio")


def test_no_answer_in_time_ends_the_call_as_failed(dialling, twilio, monkeypatch):
    monkeypatch.setattr(outgoing, "SECONDS", 0.3)
    client = dialling()
    call = called(client)
    twilio.silent = True
    client.dial()
    status, reason = status_of(client, call)
    assert status == "failed" and reason
    client.turn(60)
    client.dial()
    assert len(twilio.requests) == 1


def test_the_auth_token_is_in_no_answer_and_no_log(dialling, twilio, caplog):
    caplog.set_level("INFO")
    client = dialling(TWILIO_AUTH_TOKEN="token-not-to-be-seen")
    call = called(client)
    twilio.answers = [(400, b'{"message": "token-not-to-be-seen"}', {})]
    client.dial()
    assert "token-not-to-be-seen" not in client.get(f"/api/calls/{call['id']}").text
    assert "token-not-to-be-seen" not in caplog.text
    assert "+1234567890" not in caplog.text


@pytest.mark.parametrize("seconds, placed", [(599, True), (601, False), (86400, False)])
def test_a_call_not_handed_over_within_10_minutes_expires(
    dialling, twilio, seconds, placed
):
    client = dialling()
    call = called(client)
    client.turn(seconds)
    client.dial()
    assert len(twilio.requests) == placed
    expected = ("queued", None) if placed else ("failed", "expired")
    assert status_of(client, call) == expected


def test_a_call_that_twilio_keeps_refusing_expires_too(dialling, twilio):
    client = dialling()
    call = called(client)
    twilio.answers = [(503, b"", {})] * 200
    for _ in range(605):
        client.turn(1)
        client.dial()
    assert status_of(client, call) == ("failed", "expired")
    tries = len(twilio.requests)
    assert 5 < tries < 30
    client.turn(3600)
    client.dial()
    assert len(twilio.requests) == tries


@pytest.mark.parametrize("pause", ["3600", "9" * 30])
def test_a_call_expires_however_long_twilio_says_to_wait(dialling, twilio, pause):
    client = dialling()
    call = called(client)
    twilio.answers = [(503, b"", {"Retry-After": pause})]
    client.dial()
    client.turn(601)
    client.dial()
    assert status_of(client, call) == ("failed", "expired")
    assert len(twilio.requests) == 1


def test_a_contact_deleted_before_the_dialling_is_never_called(dialling, twilio):
    client = dialling()
    (contact,) = client.add("a@x.org")
    called(client, contact)
    client.ask("DELETE", f"/v1/contacts/{contact}")
    client.dial()
    assert twilio.requests == []


def test_a_contact_deleted_between_two_tries_is_never_called(dialling, twilio):
    client = dialling()
    (contact,) = client.add("a@x.org")
    called(client, contact)
    twilio.answers = [(503, b"", {})]
    client.dial()
    client.ask("DELETE", f"/v1/contacts/{contact}")
    client.turn(60)
    client.dial()
    assert len(twilio.requests) == 1


def test_a_contact_deleted_while_it_is_dialled_leaves_nothing_behind(dialling, twilio):
    client = dialling()
    (contact,) = client.add("a@x.org")
    call = called(client, contact)

    def deletes(handler):
        client.ask("DELETE", f"/v1/contacts/{contact}")
        return twilio.taken(handler)

    twilio.answers = [deletes]
    client.dial()
    assert list_calls(client)["total"] == 0
    assert call["id"] not in client.get("/v1/events").text


def dies(*_):
    raise SystemExit


def test_an_interrupted_dialling_is_failed_and_not_placed_again(
    dialling, twilio, monkeypatch
):
    client = dialling()
    call = called(client)
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Twilio, "place", dies)
        client.dial()
    client.close()
    again = dialling()
    again.clock.now = client.clock.now
    again.dial()
    assert twilio.requests == []
    again.turn(60)
    again.dial()
    status, reason = status_of(again, call)
    assert status == "failed" and reason
    assert twilio.requests == []


def test_a_call_that_called_back_before_the_crash_goes_on(
    dialling, twilio, monkeypatch
):
    client = dialling()
    call = called(client)
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Twilio, "read", dies)
        client.dial()
    call_back(client, call, "ringing", 1)
    client.turn(60)
    client.dial()
    assert status_of(client, call) == ("ringing", None)
    assert len(twilio.requests) == 1
    call_back(client, call, "completed", 3)
    assert status_of(client, call) == ("completed", None)


def test_two_diallers_place_each_call_once(dialling, twilio):
    first, second = dialling(), dialling()
    (contact,) = first.add("a@x.org")
    for n in range(10):
        called(first, contact, phone=f"+12345678{n:02}")
    first.turn(1)
    second.turn(1)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda client: client.dial(), (first, second)))
    numbers = [dict(form)["To"] for _, _, form in twilio.requests]
    assert sorted(numbers) == [f"+12345678{n:02}" for n in range(10)]


# -- canceled by PATCH


def test_canceled_before_hand_over_a_call_is_never_dialled(dialling, twilio):
    client = dialling()
    call = called(client)
    assert enveloped(move(client, call, status="canceled"))["status"] == "canceled"
    client.dial()
    client.turn(60)
    client.dial()
    assert twilio.requests == []
    assert status_of(client, call) == ("canceled", None)


@pytest.mark.parametrize("status", ["ringing", "in-progress", *ENDS])
def test_a_call_that_went_on_without_us_is_never_dialled(dialling, twilio, status):
    client = dialling()
    call = called(client)
    enveloped(move(client, call, status=status))
    client.dial()
    assert twilio.requests == []
    assert status_of(client, call) == (status, None)


def test_a_call_that_is_queued_by_patch_is_still_dialled(dialling, twilio):
    client = dialling()
    call = called(client)
    enveloped(move(client, call, status="queued"))
    client.dial()
    assert len(twilio.requests) == 1


def test_canceled_after_hand_over_twilio_is_asked_to_end_the_call(dialling, twilio):
    client = dialling()
    call = called(client)
    client.dial()
    assert enveloped(move(client, call, status="canceled"))["status"] == "canceled"
    client.dial()
    path, headers, form = twilio.requests[1]
    assert path == f"/2010-04-01/Accounts/{ACCOUNT}/Calls/CA{1:032x}.json"
    assert headers["Authorization"].startswith("Basic ")
    assert form == [("Status", "completed")]
    client.turn(3600)
    client.dial()
    assert len(twilio.requests) == 2
    assert status_of(client, call) == ("canceled", None)


def test_twilio_is_asked_again_to_end_a_call_if_it_did_not_listen(dialling, twilio):
    client = dialling()
    call = called(client)
    client.dial()
    move(client, call, status="canceled")
    twilio.answers = [(503, b"", {})]
    client.dial()
    client.turn(60)
    client.dial()
    assert [path[-39:-5] for path, _, _ in twilio.requests[1:]] == [f"CA{1:032x}"] * 2


def test_canceled_while_it_is_dialled_a_call_is_ended(dialling, twilio):
    client = dialling()
    call = called(client)

    def canceled_meanwhile(handler):
        enveloped(move(client, call, status="canceled"))
        return twilio.taken(handler)

    twilio.answers = [canceled_meanwhile]
    client.dial()
    assert twilio.requests[1][2] == [("Status", "completed")]
    assert status_of(client, call) == ("canceled", None)


def test_canceled_while_twilio_refuses_a_call_is_not_tried_again(dialling, twilio):
    client = dialling()
    call = called(client)

    def canceled_meanwhile(handler):
        enveloped(move(client, call, status="canceled"))
        return 503, b"", {}

    twilio.answers = [canceled_meanwhile]
    client.dial()
    client.turn(60)
    client.dial()
    assert len(twilio.requests) == 1


# -- status callbacks

VECTOR_URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
VECTOR_URL_PORT = "https://mycompany.com:443/myapp.php?foo=1&bar=2"
VECTOR = [
    ("CallSid", "CA1234567890ABCDE"),
    ("Caller", "+14158675309"),
    ("Digits", "1234"),
    ("From", "+14158675309"),
    ("To", "+18005551212"),
]
VECTOR_SIGNATURE = "RSOYDt4T1cUTdK1PDd93/VVr8B8="
VECTOR_SIGNATURE_PORT = "kvajT1Ptam85bY51eRf/AJRuM3w="


@pytest.mark.parametrize(
    "url, signature",
    [(VECTOR_URL, VECTOR_SIGNATURE), (VECTOR_URL_PORT, VECTOR_SIGNATURE_PORT)],
)
@pytest.mark.parametrize("order", [1, -1])
def test_a_signature_is_twilios_published_example(url, signature, order):
    form = VECTOR[::order]
    assert signature_of("12345", url, form) == signature
    assert sign(url, VECTOR) == signature


@pytest.mark.parametrize("url", [VECTOR_URL, VECTOR_URL_PORT])
@pytest.mark.parametrize("signature", [VECTOR_SIGNATURE, VECTOR_SIGNATURE_PORT])
def test_a_signature_is_taken_with_and_without_the_port(url, signature):
    assert is_twilios("12345", url, VECTOR, signature)
    assert not is_twilios("12346", url, VECTOR, signature)
    assert not is_twilios("12345", url + "&x=1", VECTOR, signature)
    assert not is_twilios("12345", url, VECTOR[:-1], signature)
    assert not is_twilios("12345", url, VECTOR, signature.lower())


@pytest.mark.parametrize("signature", ["", "x", "é", "=" * 28, VECTOR_SIGNATURE + "\n"])
def test_what_is_no_signature_is_refused(signature):
    assert not is_twilios("12345", VECTOR_URL, VECTOR, signature)


@pytest.mark.parametrize(
    "public, spelled",
    [
        ("https://c.example.com", "https://c.example.com"),
        ("https://c.example.com", "https://c.example.com:443"),
        ("https://c.example.com:443", "https://c.example.com"),
        ("https://c.example.com:8443", "https://c.example.com:8443"),
        ("https://c.example.com:8443", "https://c.example.com"),
        ("http://c.example.com", "http://c.example.com:80"),
        ("http://[2001:db8::1]:8080", "http://[2001:db8::1]:8080"),
        ("https://c.example.com/base", "https://c.example.com/base"),
        ("https://c.example.com/base", "https://c.example.com:443/base"),
        ("https://c.example.com/", "https://c.example.com"),
    ],
)
def test_a_callback_is_checked_over_the_public_url(dialling, twilio, public, spelled):
    client = dialling(CONTACTAPI_PUBLIC_URL=public)
    call = called(client)
    client.dial()
    target = dict(twilio.requests[0][2])["StatusCallback"]
    path = f"/api/calls/{call['id']}/twilio"
    assert target == public.rstrip("/") + path
    form = {"CallSid": f"CA{1:032x}", "CallStatus": "ringing", "SequenceNumber": "1"}
    headers = {"Host": "internal:8080", "X-Forwarded-Host": "evil.example"}
    answer = signed(client, path, form, public=spelled, HTTP_HOST=headers["Host"])
    assert answer.status_int == 200
    assert status_of(client, call) == ("ringing", None)


def test_a_callback_with_a_query_is_signed_over_it(dialling):
    client = dialling()
    call = called(client)
    client.dial()
    form = {"CallSid": f"CA{1:032x}", "CallStatus": "ringing", "SequenceNumber": "1"}
    path = f"/api/calls/{call['id']}/twilio?foo=1&bar=%C3%A9"
    assert signed(client, path, form).status_int == 200
    assert (
        signed(client, path.partition("?")[0] + "?foo=2", form, "x").status_int == 403
    )


def test_callbacks_in_order_move_the_status_and_the_duration(dialling):
    client = dialling()
    call = called(client)
    client.dial()
    seen = []
    for number, status in enumerate(("initiated", "ringing", "in-progress")):
        call_back(client, call, status, number)
        seen.append(show_call(client, call)["status"])
    call_back(client, call, "completed", 3, CallDuration="42")
    done = show_call(client, call)
    assert seen == ["queued", "ringing", "in-progress"]
    assert (done["status"], done["duration"]) == ("completed", 42)
    told = [(kind, key) for kind, key, _, _ in call_events(client)]
    assert told[0][0] == "call.created"
    assert set(told[1:]) == {("call.updated", "twilio")}
    assert [event[2]["status"] for event in call_events(client)] == [
        *("initiating", "queued", "ringing", "in-progress", "completed"),
    ]


@pytest.mark.parametrize(
    "end", ["busy", "failed", "no-answer", "canceled", "completed"]
)
def test_every_end_that_twilio_knows_is_taken(dialling, end):
    client = dialling()
    call = called(client)
    client.dial()
    call_back(client, call, end, 1)
    assert show_call(client, call)["status"] == end


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_callbacks_in_any_order_and_doubled_end_the_same(dialling, order):
    client = dialling()
    call = called(client)
    client.dial()
    steps = [
        ("initiated", {}),
        ("ringing", {}),
        ("in-progress", {}),
        ("completed", {"CallDuration": "42"}),
    ]
    for number in [n for n in order for _ in (1, 2)]:
        status, more = steps[number]
        call_back(client, call, status, number, **more)
    done = show_call(client, call)
    assert (done["status"], done["duration"]) == ("completed", 42)
    updates = [event[2]["status"] for event in call_events(client)]
    assert len(updates) == len(set(updates))


def test_a_doubled_callback_changes_nothing(dialling):
    client = dialling()
    call = called(client)
    client.dial()
    call_back(client, call, "completed", 3, CallDuration="42")
    before, told = show_call(client, call), len(call_events(client))
    client.turn(60)
    call_back(client, call, "completed", 3, CallDuration="42")
    call_back(client, call, "busy", 2)
    call_back(client, call, "ringing", 9)
    assert show_call(client, call) == before
    assert len(call_events(client)) == told


def test_a_callback_that_others_overtook_changes_nothing(dialling):
    client = dialling()
    call = called(client)
    client.dial()
    call_back(client, call, "ringing", 5)
    before, told = show_call(client, call), len(call_events(client))
    client.turn(60)
    call_back(client, call, "in-progress", 4, CallDuration="9")
    call_back(client, call, "ringing", 5, CallDuration="9")
    assert show_call(client, call) == before
    assert len(call_events(client)) == told


def test_a_late_callback_for_a_call_that_has_ended_changes_nothing(dialling):
    client = dialling()
    call = called(client)
    client.dial()
    enveloped(move(client, call, status="canceled"))
    before, told = show_call(client, call), len(call_events(client))
    client.turn(60)
    call_back(client, call, "completed", 7, CallDuration="5")
    assert show_call(client, call) == before
    assert len(call_events(client)) == told


def test_a_callback_of_a_foreign_sid_changes_nothing(dialling):
    client = dialling()
    call = called(client)
    client.dial()
    before = show_call(client, call)
    call_back(client, call, "completed", 3, sid="CA" + "f" * 32, CallDuration="42")
    assert show_call(client, call) == before
    call_back(client, call, "ringing", 1)
    assert show_call(client, call)["status"] == "ringing"


def test_a_callback_that_comes_before_twilios_answer_is_taken(dialling, twilio):
    client = dialling()
    call = called(client)

    def calls_back_first(handler):
        call_back(client, call, "ringing", 1)
        return twilio.taken(handler)

    twilio.answers = [calls_back_first]
    client.dial()
    assert status_of(client, call) == ("ringing", None)
    call_back(client, call, "completed", 3, CallDuration="1")
    assert show_call(client, call)["status"] == "completed"
    assert len(twilio.requests) == 1


def test_a_callback_for_a_call_deleted_meanwhile_is_200(dialling):
    client = dialling()
    (contact,) = client.add("a@x.org")
    call = called(client, contact)
    client.dial()
    client.ask("DELETE", f"/v1/contacts/{contact}")
    enveloped(call_back(client, call, "completed", 3))
    for ref in ("call_00000000000000000000000000", "x"):
        enveloped(call_back(client, {"id": ref}, "completed", 3))
    assert list_calls(client)["total"] == 0


@pytest.mark.parametrize(
    "more",
    [
        {"CallStatus": "paused"},
        {"CallStatus": ""},
        {"SequenceNumber": "x"},
        {"CallDuration": "x", "SequenceNumber": "1"},
        {"CallDuration": "9" * 50, "SequenceNumber": "1"},
        {"SequenceNumber": "9" * 30},
        {"SequenceNumber": "²"},
        {"Übrig": "é\0"},
    ],
    ids=ascii,
)
def test_a_signed_callback_that_says_odd_things_is_200(dialling, more):
    client = dialling()
    call = called(client)
    client.dial()
    form = {"CallSid": f"CA{1:032x}", "CallStatus": "ringing", **more}
    answer = signed(client, f"/api/calls/{call['id']}/twilio", form)
    assert answer.status_int == 200, answer.text


@pytest.mark.parametrize("signature", ["x", "RSOYDt4T1cUTdK1PDd93/VVr8B8=", "é"])
def test_a_wrong_signature_is_403_and_changes_nothing(dialling, signature):
    client = dialling()
    call = called(client)
    client.dial()
    before = show_call(client, call)
    form = {"CallSid": f"CA{1:032x}", "CallStatus": "ringing", "SequenceNumber": "1"}
    answer = signed(client, f"/api/calls/{call['id']}/twilio", form, signature)
    assert refusal(answer) == (403, "forbidden", None)
    assert show_call(client, call) == before
    unsigned = client.post(
        urlencode(form).encode(),
        f"/api/calls/{call['id']}/twilio",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert refusal(unsigned)[0] == 403


@pytest.mark.parametrize(
    "body, headers",
    [
        (b"CallSid=%ff", {}),
        (b"\xff", {}),
        (b"a=1&" * 1001, {}),
        (b"a=1", {"Content-Encoding": "gzip"}),
        (b"{", {"Content-Type": "application/json"}),
    ],
)
def test_what_cannot_be_read_and_nobody_signed_is_403(dialling, body, headers):
    client = dialling()
    path = f"/api/calls/{called(client)['id']}/twilio"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = client.post(body, path, headers={**form, **headers})
    assert refusal(answer) == (403, "forbidden", None)


def test_a_signature_is_good_for_one_call_only(dialling):
    client = dialling()
    (contact,) = client.add("a@x.org")
    first, second = called(client, contact), called(client, contact)
    client.dial()
    form = {"CallSid": f"CA{2:032x}", "CallStatus": "ringing", "SequenceNumber": "1"}
    signature = sign(f"{PUBLIC}/api/calls/{first['id']}/twilio", form.items())
    path = f"/api/calls/{second['id']}/twilio"
    assert signed(client, path, form, signature).status_int == 403


def test_wrong_signatures_count_for_their_address_and_right_ones_do_not(dialling):
    client = dialling(CONTACTAPI_RATE_LIMIT="100/60")
    call = called(client)
    client.dial()
    path = f"/api/calls/{call['id']}/twilio"
    for number in range(150):
        call_back(client, call, "ringing", number)
    answers = [signed(client, path, {"a": "b"}, "x") for _ in range(101)]
    assert {refusal(answer)[:2] for answer in answers[:100]} == {(403, "forbidden")}
    assert refusal(answers[100])[:2] == (429, "rate_limit")
    assert answers[100].headers["Retry-After"] == "60"
    assert client.get("/v1/contacts", key=None).status_int == 429
    elsewhere = signed(client, path, {"a": "b"}, "x", REMOTE_ADDR="203.0.113.2")
    assert elsewhere.status_int == 403
    call_back(client, call, "completed", 999)
    assert show_call(client, call)["status"] == "completed"


# -- configuration

THREE = ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_VOICE_URL")
WITH = ("CONTACTAPI_PUBLIC_URL", "CONTACTAPI_CALL_PREFIXES")
HALVES = [
    *(set(some) for n in (1, 2) for some in itertools.combinations(THREE, n)),
    set(THREE),
    {*THREE, WITH[0]},
    {*THREE, WITH[1]},
]


@pytest.mark.parametrize("given", HALVES, ids=lambda names: " ".join(sorted(names)))
def test_half_of_twilio_stops_the_start_with_one_line(given, monkeypatch, shell):
    for name in (*THREE, *WITH):
        monkeypatch.delenv(name, raising=False)
    for name in given:
        monkeypatch.setenv(name, TWILIO[name])
    status, out, err = shell("serve")
    assert (
        (status, out) == (1, "")
        and err.startswith("contactapi: ")
        and err.count("\n") == 1
    )
    for name in THREE:
        assert (name in err) == (name not in given), name
    if set(THREE) <= given:
        assert all((name in err) == (name not in given) for name in WITH)
    assert ACCOUNT not in err and TOKEN not in err.replace(ACCOUNT, "")


@pytest.mark.parametrize(
    "given",
    [
        (),
        ("TWILIO_FROM_NUMBER",),
        ("CONTACTAPI_PUBLIC_URL",),
        WITH,
        ("TWILIO_API_BASE",),
        (*THREE, *WITH),
    ],
    ids=" ".join,
)
def test_all_of_twilio_or_nothing_of_it_starts(given):
    config = Config.from_env({name: TWILIO[name] for name in given})
    assert len(contactapi.load_extras(config)) == (len(given) == 5)


@pytest.mark.parametrize(
    "name, value",
    [
        ("CONTACTAPI_CALL_PREFIXES", "44"),
        ("CONTACTAPI_CALL_PREFIXES", "+44,*"),
        ("CONTACTAPI_CALL_PREFIXES", "+44,"),
        ("CONTACTAPI_CALLS_PER_DAY", "-1"),
        ("CONTACTAPI_CALLS_PER_DAY", "many"),
        ("CONTACTAPI_PUBLIC_URL", "contacts.example.com"),
        ("TWILIO_VOICE_URL", "ftp://example.com"),
        ("TWILIO_FROM_NUMBER", "5550001111"),
        ("TWILIO_API_BASE", "api.twilio.com"),
        ("TWILIO_ACCOUNT_SID", "AC/../x"),
    ],
)
def test_a_twilio_setting_that_cannot_be_read_names_the_variable(name, value):
    with pytest.raises(Mistake, match=name) as caught:
        Config.from_env({**TWILIO, name: value})
    assert value not in str(caught.value).replace("+44,+49 or *", "")
