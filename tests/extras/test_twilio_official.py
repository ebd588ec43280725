"""contactapi and Twilio's own client library (`pip install twilio`, a need of this test
only) agree: on every signature, and on how a call is asked for.
"""

import json
import random
from inspect import signature
from types import SimpleNamespace
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
from twilio.http import HttpClient
from twilio.http.response import Response
from twilio.request_validator import RequestValidator
from twilio.rest import Client
from twilio.rest.api.v2010.account.call import CallContext, CallList

import contactapi
from doubles import (
    ACCOUNT,
    CREATE_CALL,
    TOKEN,
    TWILIO,
    UPDATE_CALL,
    VOICE,
    problems_of,
    sign,
)
from extras.twilio import Twilio, is_twilios, signature_of

LETTERS = "abcXYZ019 +&=%?#/:_-.~é日本😀ßÅ\u0301\n\0\u200f'\""
SCHEMES = {"https": 443, "http": 80}


class Pairs(list):
    """(name, value) pairs, some names repeated, as Twilio's library reads them."""

    def __iter__(self):
        return iter([name for name, _ in super().__iter__()])

    def getlist(self, name):
        return [v for n, v in super().__iter__() if n == name]


def text(chance, most=12):
    return "".join(chance.choices(LETTERS, k=chance.randrange(most)))


def a_url(chance):
    """Without user information and without IPv6, which Twilio's library cuts apart."""
    scheme = chance.choice(list(SCHEMES))
    host = chance.choice(["example.com", "a-b.example.org", "127.0.0.1"])
    port = chance.choice(["", "", ":8443", f":{SCHEMES[scheme]}"])
    path = "".join(f"/{quote(text(chance))}" for _ in range(chance.randrange(4)))
    query = urlencode(
        [(text(chance), text(chance)) for _ in range(chance.randrange(3))]
    )
    return f"{scheme}://{host}{port}{path or '/'}{'?' + query if query else ''}"


def some_pairs(chance):
    names = [text(chance) or "To" for _ in range(chance.randrange(8))]
    names += chance.sample(names, k=len(names) // 2)  # repeated, now and then doubled
    values = ["same", *(text(chance) for _ in names)]
    return [(name, chance.choice(values)) for name in names]


def with_other_port(url):
    """The URL with its port written out, or left out."""
    parts = urlsplit(url)
    if parts.port:
        return url.replace(f":{parts.port}", "", 1)
    return url.replace(parts.netloc, f"{parts.netloc}:{SCHEMES[parts.scheme]}", 1)


@pytest.mark.parametrize("seed", range(20))
def test_both_libraries_make_and_take_the_same_signatures(seed):
    chance = random.Random(seed)
    for _ in range(50):
        url, pairs, token = a_url(chance), some_pairs(chance), text(chance) or "x"
        official = RequestValidator(token)
        theirs = official.compute_signature(url, Pairs(pairs))
        ours = signature_of(token, url, pairs)
        assert ours == theirs == sign(url, pairs, token), (url, pairs)
        assert is_twilios(token, url, pairs, theirs)
        assert official.validate(url, Pairs(pairs), ours)
        other = with_other_port(url)
        moved = official.compute_signature(other, Pairs(pairs))
        verdict = official.validate(url, Pairs(pairs), moved)
        assert is_twilios(token, url, pairs, moved) == verdict, url


@pytest.mark.parametrize("seed", range(10))
def test_both_libraries_refuse_the_same_signatures(seed):
    chance = random.Random(1000 + seed)
    for _ in range(50):
        url, pairs = a_url(chance), some_pairs(chance)
        official = RequestValidator(TOKEN)
        good = official.compute_signature(url, Pairs(pairs))
        for wrong, form, where in (
            ("=" + good[:-1], pairs, url),
            (good, [*pairs, ("x-more", "1")], url),
            (good, pairs, url + "x"),
            ("", pairs, url),
        ):
            ours = is_twilios(TOKEN, where, form, wrong)
            assert ours == official.validate(where, Pairs(form), wrong)
            assert not ours


def test_a_form_is_read_as_the_official_validator_reads_it():
    pairs = [
        ("To", "+1 2"),
        ("Unicode", "é日本😀"),
        ("a", "2"),
        ("a", "1"),
        ("empty", ""),
    ]
    url = "https://contacts.example.com/api/calls/x/twilio"
    read = parse_qsl(urlencode(pairs), keep_blank_values=True)
    theirs = RequestValidator(TOKEN).compute_signature(url, Pairs(pairs))
    assert is_twilios(TOKEN, url, read, theirs)


class Recorder(HttpClient):
    """Takes what the official client would send."""

    def __init__(self):
        self.seen = []

    def request(
        self, method, uri, params=None, data=None, headers=None, auth=None, **_
    ):
        body = urlencode(dict(data), doseq=True)
        self.seen.append((method, urlsplit(uri).path, sorted(parse_qsl(body)), auth))
        return Response(201, json.dumps({"sid": "CA" + "0" * 32}))


CALLBACK = f"https://contacts.example.com/api/calls/call_{'0' * 26}/twilio"
ROW = SimpleNamespace(
    uid="0" * 26,
    phone_number="+12025550100",
    from_number="+15550001111",
    sid="CA" + "0" * 32,
)


def our_client(url):
    settings = TWILIO | {"TWILIO_API_BASE": url}
    return Twilio(contactapi.Config.from_env(settings))


def test_the_official_client_would_place_the_same_call(twilio):
    ours = our_client(twilio.url)
    assert ours.place(ROW) == (f"CA{1:032x}", 201)
    recorder = Recorder()
    Client(ACCOUNT, TOKEN, http_client=recorder).calls.create(
        to="+12025550100",
        from_="+15550001111",
        url=VOICE,
        status_callback=CALLBACK,
        status_callback_method="POST",
        status_callback_event=["initiated", "ringing", "answered", "completed"],
    )
    ((path, _, form),) = twilio.requests
    assert recorder.seen == [("POST", path, sorted(form), (ACCOUNT, TOKEN))]
    assert twilio.problems == []


def test_the_official_client_would_end_the_same_call(twilio):
    our_client(twilio.url).end(ROW)
    recorder = Recorder()
    client = Client(ACCOUNT, TOKEN, http_client=recorder)
    client.calls(ROW.sid).update(status="completed")
    ((path, _, form),) = twilio.requests
    assert recorder.seen == [("POST", path, sorted(form), (ACCOUNT, TOKEN))]
    assert (twilio.ended, twilio.problems) == ([ROW.sid], [])


GOOD = [
    ("To", "+12025550100"),
    ("From", "+15550001111"),
    ("Url", "https://example.com/voice"),
]


@pytest.mark.parametrize(
    "form, words",
    [
        (GOOD, None),
        (GOOD[1:], "To is missing"),
        (GOOD[:2], "one of Url"),
        ([*GOOD, ("Twiml", "<Response/>")], "one of Url"),
        ([*GOOD, ("To", "+1202")], "To is repeated"),
        ([*GOOD, ("to", "+1202")], "to is no parameter"),
        ([*GOOD, ("StatusCallbackEvent", "ended")], "StatusCallbackEvent is no event"),
        ([*GOOD, ("StatusCallback", "/relative")], "StatusCallback is no uri"),
        ([*GOOD, ("StatusCallbackMethod", "PUT")], "is no http-method"),
    ],
    ids=str,
)
def test_the_double_refuses_what_twilios_description_does_not_have(form, words):
    contact = our_client("http://127.0.0.1:9")
    headers = {
        "Authorization": contact.basic,
        "Content-Type": "application/x-www-form-urlencoded",
    }
    path = f"/2010-04-01/Accounts/{ACCOUNT}/Calls.json"
    found = problems_of("POST", path, headers, form)
    assert (not found) if words is None else any(words in one for one in found)
    assert problems_of("POST", path, {}, form)
    assert problems_of("POST", path.replace("AC", "XX"), headers, form)


@pytest.mark.parametrize(
    "method, table",
    [(CallList.create, CREATE_CALL), (CallContext.update, UPDATE_CALL)],
    ids=["CreateCall", "UpdateCall"],
)
def test_the_tables_parameters_are_those_of_the_official_client(method, table):
    """The library is made from the same description, and may know later additions."""
    names = [name for name in signature(method).parameters if name != "self"]
    spelled = {"".join(map(str.capitalize, name.split("_"))) for name in names}
    assert set(table) <= spelled
