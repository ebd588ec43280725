"""Inputs, bad and good."""

import io
import json

import pytest

import contactapi
from client import (
    ADA,
    BAD,
    BAD_EMAIL,
    LONGEST_DOMAIN,
    MISSING,
    TOO_LARGE,
    UNKNOWN,
    Client,
    Clock,
    at,
    failure,
    hyphenated,
    query_of,
    with_a,
)
from contactapi import Config

# -- bad inputs

TEXT, FORM = "text/plain", "application/x-www-form-urlencoded"
BAD_NAME = (400, "invalid_request", "name")
BAD_TYPE = (415, "unsupported_media_type", None)
BAD_BODIES = {
    "empty": b"",
    "space": b" \n",
    "open brace": b"{",
    "text": b"nonsense",
    "single quotes": b"{'email': 'a@x.org'}",
    "trailing comma": b'{"email":"a@x.org",}',
    "something after": b'{"email":"a@x.org"} x',
    "two objects": b'{"email":"a@x.org"}{"email":"a@x.org"}',
    "comment": b'{"email":"a@x.org"} // x',
    "null": b"null",
    "true": b"true",
    "number": b"5",
    "string": b'"ada@example.com"',
    "array": b"[]",
    "array of objects": b'[{"email":"a@x.org"}]',
    "form": b"email=a%40x.org",
    "not UTF-8": b"\xff\xfe\xfd",
    "latin-1": with_a('"é"'.encode("latin-1")),
    "cut UTF-8": with_a(b'"\xe2\x82"'),
    "overlong UTF-8": with_a(b'"\xc0\x80"'),
    "UTF-8 surrogate": with_a(b'"\xed\xa0\x80"'),
    "beyond Unicode": with_a(b'"\xf4\x90\x80\x80"'),
    "BOM twice": b"\xef\xbb\xbf" * 2 + with_a(b"1"),
    "UTF-16": with_a(b"1").decode().encode("utf-16"),
    "UTF-16 without BOM": with_a(b"1").decode().encode("utf-16-le"),
    "UTF-32": with_a(b"1").decode().encode("utf-32"),
    "1e400": with_a(b"1e400"),
    "-1e400": with_a(b"-1e400"),
    "1e400 deep": with_a(b'[{"b":[1e400]}]'),
    "1e99999999": with_a(b"1e99999999"),
    "5,000 digits e0": with_a(b"9" * 5000 + b"e0"),
    "NaN": with_a(b"NaN"),
    "Infinity": with_a(b"Infinity"),
    "-Infinity": with_a(b"-Infinity"),
    "NaN deep": with_a(b'{"b":[NaN]}'),
    "4,301 digits": with_a(b"1" * 4301),
    "-4,301 digits": with_a(b"-" + b"1" * 4301),
    "60,000 digits": with_a(b"1" * 60_000),
    "leading zero": with_a(b"01"),
    "plus": with_a(b"+1"),
    "bare point": with_a(b".5"),
    "point at the end": with_a(b"1."),
    "hex": with_a(b"0x10"),
    "undefined": with_a(b"undefined"),
    "True": with_a(b"True"),
    "high surrogate": with_a(rb'"\ud800"'),
    "low surrogate": with_a(rb'"\udc00"'),
    "two high surrogates": with_a(rb'"\ud800\ud800"'),
    "wrong order": with_a(rb'"\ude00\ud83d"'),
    "surrogate in an array": with_a(rb'[["\ud800"]]'),
    "surrogate as a name": b'{"email":"ada@example.com","name":"x","\\ud800":1}',
    "surrogate as an inner name": with_a(rb'{"\udfff":1}'),
    "surrogate in the email": b'{"email":"\\ud800@x.org","name":"\\ud800"}',
    "bad escape": with_a(rb'"\x41"'),
    "cut escape": with_a(rb'"\u12"'),
    "raw line end in a string": with_a(b'"a\nb"'),
    "raw NUL": with_a(b'"\0"'),
    "NUL after": with_a(b"1") + b"\0",
    "65 deep": with_a(b"[" * 64 + b"]" * 64),
    "65 deep in objects": with_a(b'{"a":' * 64 + b"1" + b"}" * 64),
    "5,000 deep": with_a(b"[" * 5000 + b"]" * 5000),
    "5,000 deep in objects": with_a(b'{"a":' * 5000 + b"1" + b"}" * 5000),
    "60,000 open": b"[" * 60_000,
    "10,000 open objects": b'{"a":' * 10_000,
}
BAD_EMAILS = {
    "null": None,
    "empty": "",
    "space": "   ",
    "number": 5,
    "zero": 0,
    "true": True,
    "false": False,
    "array": [],
    "array of one": ["ada@example.com"],
    "object": {"address": "ada@example.com"},
    "no @": "ada.example.com",
    "no domain": "ada@",
    "no local part": "@example.com",
    "only @": "@",
    "one label": "ada@example",
    "two @": "ada@b@example.com",
    "two addresses": "ada@example.com,bob@example.com",
    "space in it": "a da@example.com",
    "space in the domain": "ada@exam ple.com",
    "tab": "ada\t@example.com",
    "line end": "ada@example.com\nBcc: bob@example.com",
    "NUL": "ada\0@example.com",
    "escape": "ada\x1b@example.com",
    "delete": "ada\x7f@example.com",
    "C1 control": "ada\x80@example.com",
    "next line": "ada\x85@example.com",
    "no-break space": "ada\xa0b@example.com",
    "line separator": "ada\u2028b@example.com",
    "ideographic space": "ada\u3000b@example.com",
    "space in the domain (Unicode)": "ada@exam\u2003ple.com",
    "first label empty": "ada@.example.com",
    "middle label empty": "ada@example..com",
    "last label empty": "ada@example.com.",
    "only dots": "ada@..",
    "display name": "Ada <ada@example.com>",
    "65 octets before the @": "a" * 65 + "@example.com",
    "66 octets in 33 letters": "é" * 33 + "@example.com",
    "255 octets": f"aa@{LONGEST_DOMAIN}" + "g" * (252 - len(LONGEST_DOMAIN)),
    "255 octets in fewer letters": "a@" + ".".join(["é" * 31] * 4) + ".example",
}
BAD_NAMES = {
    "null": None,
    "empty": "",
    "space": " \t ",
    "number": 5,
    "false": False,
    "array": ["Acme"],
    "object": {},
    "201 characters": "x" * 201,
    "201 letters": "é" * 201,
}
BAD_TYPES = [
    *(TEXT, FORM, "multipart/form-data; boundary=x", "text/json", "text/csv"),
    *("application/jsonx", "application/xml", "application/octet-stream", "*/*"),
    *("application/x-ndjson", "application/jsonl", "json", "nonsense", "a/json/b"),
]
BAD_IDS = [
    *("con_a1b2", "%00", "con_%00", UNKNOWN + "%00", "%ff", "%F0%9F%98%80", "%20"),
    *("con_", "con_" + "0" * 25, "con_" + "0" * 27, "con_8" + "0" * 25),
    *("con_" + "0" * 25 + "u", "con_" + "0" * 25 + "%E2%84%AA", "nonsense", "null"),
    *("cmp_" + "0" * 26, "key_" + "0" * 26, "0" * 26, "1", "-1", "con_" + "9" * 8000),
    *("01890a5dac96774bbcceb302099a8057", "01890a5d-ac96-774b-bcce-b302099a805g"),
    *("%7B01890a5d-ac96-774b-bcce-b302099a8057%7D", "..", "'%20OR%201=1", "%0d%0a"),
    *("00000000-0000-0000-0000-000000000000", UNKNOWN, "%2500", "*", "con_*", "_"),
]
BAD_PATHS = [
    *("/v1", "/v2/contacts", "/v1/contact", "/V1/contacts", "/v1/contacts/x/y"),
    *("/v1/contacts%00", "/%00", "/%ff", "/v1/contactsx", "/v1/%63ontacts%20"),
    *("/..", "/v1/../v1/contacts", "/contacts", "/" + "a" * 8000, "/%E2%80%AE"),
]
BAD_NUMBERS = [
    *("0", "-1", "", "x", "1.0", "1e1", "%2B1", "+1", "1+", "0x1", "%D9%A1", "1,2"),
    *("%EF%BC%91", "%C2%B2", "%00", "null", "true", "9" * 5000, "%zz", "%", "--1"),
]
BAD_TIMES = [
    *("yesterday", "", "2026-13-01", "2026-02-30", "2026-00-10", "2026-07-04T25:00Z"),
    *("2026-07-04T10:61Z", "1783159200", "2026-7-4", "04.07.2026", "2026-07-04T"),
    *("2026-07-04T10:00:00%2B99:00", "2026-07-04T10:00:00ZZ", "0000-01-01", "%00"),
    *("%D9%A2%D9%A0%D9%A2%D9%A6-07-04", "2026-07-04T10:00:00.Z", "10:00:00"),
    *("2026-07-04T10:00:00X", "2026-07-04T10:00:00%2B0", "-2026-07-04"),
]
BAD_QUERIES = [
    ("q=%ff", BAD),
    ("q=%ED%A0%80", BAD),
    ("%ff=1", BAD),
    ("filter[plan]=%ff", BAD),
    ("email=%c3", BAD),
    ("page=1&page_size=101&q=%ff", BAD),
    ("q=" + "x" * 101, (400, "invalid_request", "q")),
    ("q=" + "%C3%A9" * 101, (400, "invalid_request", "q")),
    ("q=a+b+c+d+e+f", (400, "invalid_request", "q")),
    ("q=a%09b%0Ac%E3%80%80d+e+f", (400, "invalid_request", "q")),
    ("page_size=101", (400, "invalid_request", "page_size")),
    ("page_size=1000000000000000000000", (400, "invalid_request", "page_size")),
]


def bad_inputs():
    """(name, method, path, body, Content-Type, (status, code, param))"""
    for name, body in BAD_BODIES.items():
        for kind in ("contacts", "companies"):
            yield f"POST {kind}: {name}", "POST", f"/v1/{kind}", body, None, BAD
            path = f"/v1/{kind}/{{{kind}}}"
            yield f"PATCH {kind}: {name}", "PATCH", path, body, None, BAD
        merge = "application/merge-patch+json"
        path = "/v1/contacts/{contacts}"
        yield f"merge contact: {name}", "PATCH", path, body, merge, BAD
    for key, values, expected in (
        ("email", BAD_EMAILS, BAD_EMAIL),
        ("name", BAD_NAMES, BAD_NAME),
    ):
        kind = "contacts" if key == "email" else "companies"
        one = f"/v1/{kind}/{{{kind}}}"
        yield f"no {key}", "POST", f"/v1/{kind}", b'{"a":1}', None, expected
        yield f"no {key} at all", "POST", f"/v1/{kind}", b"{}", None, expected
        for name, value in values.items():
            body = json.dumps({key: value, "plan": "stolen"}).encode()
            yield f"POST {key}: {name}", "POST", f"/v1/{kind}", body, None, expected
            yield f"PATCH {key}: {name}", "PATCH", one, body, None, expected
        merge = "application/merge-patch+json"
        body = json.dumps({key: None}).encode()
        yield f"merge {key} away", "PATCH", one, body, merge, expected
    large = with_a(b"1" * 100_000)
    for method, path in (
        ("POST", "/v1/contacts"),
        ("PATCH", "/v1/contacts/{contacts}"),
        ("POST", "/v1/companies"),
        ("PATCH", "/v1/companies/{companies}"),
        ("POST", "/nowhere"),
    ):
        yield f"{method} {path}: 100,000 digits", method, path, large, None, TOO_LARGE
    grows = with_a(b"[" + b"1e15," * 12_000 + b"1]")
    yield "fields that grow", "POST", "/v1/contacts", grows, None, TOO_LARGE
    for media in BAD_TYPES:
        body = b'{"email":"new@example.com","name":"New"}'
        for kind in ("contacts", "companies"):
            yield f"POST {kind}: {media}", "POST", f"/v1/{kind}", body, media, BAD_TYPE
        path = "/v1/contacts/{contacts}"
        yield f"PATCH: {media}", "PATCH", path, body, media, BAD_TYPE
    for ref in BAD_IDS:
        for method in ("GET", "PATCH", "DELETE"):
            body, path = (
                b'{"a":1}' if method == "PATCH" else None,
                f"/v1/contacts/{ref}",
            )
            yield f"{method} id {ref[:40]}", method, path, body, None, MISSING
        yield (
            f"GET company {ref[:40]}",
            "GET",
            f"/v1/companies/{ref}",
            None,
            None,
            (MISSING),
        )
    for suffix in ("%ff", "%00", "x", "%20", "%C0"):
        path = f"/v1/contacts/{{contacts}}{suffix}"
        yield f"GET id then {suffix}", "GET", path, None, None, MISSING
        yield f"DELETE id then {suffix}", "DELETE", path, None, None, MISSING
    path = "/v1/companies/{contacts}"
    yield "a contact's id as a company's", "GET", path, None, None, MISSING
    for path in BAD_PATHS:
        yield f"GET {path[:40]}", "GET", path, None, None, MISSING
    for kind in ("contacts", "companies"):
        for param, texts in (
            ("page", BAD_NUMBERS),
            ("page_size", BAD_NUMBERS),
            ("created_after", BAD_TIMES),
            ("created_before", BAD_TIMES[:3]),
            ("updated_after", BAD_TIMES[:3]),
            ("updated_before", BAD_TIMES[:3]),
        ):
            for text in texts:
                path = f"/v1/{kind}?{param}={text}"
                expected = (400, "invalid_request", param)
                yield f"{kind}?{param}={text[:30]}", "GET", path, None, None, expected
        for query, expected in BAD_QUERIES:
            path = f"/v1/{kind}?{query}"
            yield f"{kind}?{query[:40]}", "GET", path, None, None, expected
    for text in ("nonsense", "", "a@b", "a%00@x.org", "a@x.org,b@x.org"):
        path = f"/v1/contacts?email={text}"
        yield f"?email={text}", "GET", path, None, None, BAD_EMAIL


BAD_INPUTS = list(bad_inputs())


def test_there_are_at_least_a_hundred_bad_inputs():
    assert len({row[0] for row in BAD_INPUTS}) == len(BAD_INPUTS) >= 100


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One app for all the bad inputs, which change nothing in it."""
    path = tmp_path_factory.mktemp("shared") / "contacts.db"
    environ = {"DATABASE_URL": f"sqlite:///{path}", "CONTACTAPI_RATE_LIMIT": "off"}
    clock = Clock(at("2026-07-04T10:00:00"))
    app = contactapi.make_app(Config.from_env(environ), clock, Clock(1000.0))
    client = Client(app, clock, app.gate.by_key.clock)
    client.contact = client.post(ADA).json
    client.company = client.post({"name": "Acme"}, "/v1/companies").json
    client.clock.now += 60
    yield client
    client.close()


@pytest.mark.parametrize(
    "method, path, body, media, expected",
    [row[1:] for row in BAD_INPUTS],
    ids=[ascii(row[0]) for row in BAD_INPUTS],
)
def test_a_bad_input_is_refused_by_name_and_changes_nothing(
    shared, method, path, body, media, expected
):
    path = path.replace("{contacts}", shared.contact["id"])
    path = path.replace("{companies}", shared.company["id"])
    headers = {"Content-Type": media} if media else {}
    lists = ("/v1/contacts", "/v1/companies")
    before = [shared.get(path).body for path in lists]
    answer = shared.ask(method, path, body, headers=headers)
    assert failure(answer) == expected, answer.text
    assert [shared.get(path).body for path in lists] == before


@pytest.mark.parametrize(
    "media",
    [
        None,
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "Application/JSON",
        " application/json ",
        "application/vnd.api+json",
        "application/ld+json; profile=x",
    ],
)
def test_these_types_are_json_and_so_is_none_at_all(api, media):
    environ = {} if media is None else {"CONTENT_TYPE": media}
    body = json.dumps(ADA).encode()
    environ.update({"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))})
    answer = api.ask("POST", "/v1/contacts", lint=False, **environ)
    assert answer.status_int == 201


# -- good inputs

GOOD_VALUES = {
    "zero": b"0",
    "minus": b"-17",
    "beyond 2**53": b"9007199254740993",
    "beyond 2**64": b"18446744073709551617",
    "4,300 digits": b"9" * 4300,
    "-4,300 digits": b"-" + b"9" * 4300,
    "1.0 is not 1": b"1.0",
    "minus zero": b"-0.0",
    "1.5e300": b"1.5e+300",
    "the largest double": b"1.7976931348623157e+308",
    "the smallest double": b"5e-324",
    "0.1": b"0.1",
    "17 digits": b"0.30000000000000004",
    "1e22": b"1e+22",
    "true": b"true",
    "false": b"false",
    "null": b"null",
    "empty text": b'""',
    "empty array": b"[]",
    "empty object": b"{}",
    "key order": b'{"z":1,"a":2,"m":{"y":1,"b":2}}',
    "number-like names": b'{"10":1,"9":2,"-1":3}',
    "NUL": rb'"a\u0000b"',
    "only NUL": rb'"\u0000"',
    "controls": rb'"\u0001\b\t\n\f\r\u001f"',
    "delete": b'"\x7f"',
    "quotes and backslashes": rb'"\"\\\"\\"',
    "slashes and tags": b'"</script><!--"',
    "emoji": '"😀👩‍👩‍👧‍👦🇩🇪"'.encode(),
    "right to left": '"\u202eعربى עברית"'.encode(),
    "NFD": '"e\u0301"'.encode(),
    "separators": '"\u2028\u2029"'.encode(),
    "noncharacters": '"\uffff\ufdd0\U0010ffff"'.encode(),
    "BOM inside": '"\ufeffx"'.encode(),
    "space around": b'"  x  "',
    "formula": b'"=1+1"',
    "NUL deep": rb'[{"a":["\u0000"]}]',
    "64 deep": b"[" * 63 + b"]" * 63,
    "64 deep in objects": b'{"a":' * 63 + b"1" + b"}" * 63,
    "wide": b"[" + b"[]," * 9_000 + b"[]]",
    "SQL": b'"\'; DROP TABLE contact; --"',
}


@pytest.mark.parametrize("value", GOOD_VALUES.values(), ids=GOOD_VALUES)
def test_what_is_sent_comes_back_exactly(free, value):
    created = free.post(with_a(value))
    assert created.status_int == 201, created.text
    ref = created.json["id"]
    parts = b'"a":' + value + b',"created_at"'
    assert parts in created.body
    assert parts in free.get(f"/v1/contacts/{ref}").body
    assert parts in free.get("/v1/contacts").body
    other = free.post({"email": "bob@example.com"}).json["id"]
    assert parts in free.patch(other, b'{"a":' + value + b"}").body
    free.post({"email": "bob@example.com", "b": 1})
    stored = free.get(f"/v1/contacts/{other}").body
    assert b'"a":' + value + b',"b":1,' in stored


def test_other_spellings_of_json_keep_their_meaning(api):
    sent = rb'{"email":"ada@example.com","a":"\u00e9\ud83d\ude00\/","b":1E5,"\u0063":1}'
    stored = api.post(sent).json
    assert (stored["a"], stored["b"], stored["c"]) == ("é😀/", 100000.0, 1)


FIELD_NAMES = [
    *("", "a.b", "$", '"', "\\", '\\"', "\0", "a\0b", "\n", " ", "é", "e\u0301", "😀"),
    *("a]b", "[", "'", "plan[0]", "$.plan", "__proto__", "Email", "email ", "NAME"),
    *("data", "error", "page", "filter", "uid", "fields", "words", "x" * 1000),
]


@pytest.mark.parametrize("name", FIELD_NAMES, ids=lambda name: ascii(name)[:20])
def test_a_field_may_have_any_name_and_filters_by_it(free, name):
    values = ["x", 5, True, None, 0.1, "a\0b", "ü", 2**70, 0.30000000000000004]
    for number, value in enumerate(values):
        answer = free.post({"email": f"a{number}@x.org", name: value})
        assert answer.status_int == 201 and answer.json[name] == value
    for number, value in enumerate(values):
        text = value if isinstance(value, str) else json.dumps(value)
        query = query_of({f"filter[{name}]": text})
        assert free.emails(f"?{query}") == [f"a{number}@x.org"], ascii(value)
    assert free.emails(f"?{query_of({f'filter[{name}]': 'other'})}") == []


def test_fields_keep_their_order(api):
    names = [f"{letter}{n}" for n in range(5) for letter in "zam"]
    created = api.post({"email": "ada@example.com", **dict.fromkeys(names, 1)})
    shown = ["id", "email", *names, "created_at", "updated_at"]
    assert list(created.json) == shown
    api.post({"new": 1, "email": "ada@example.com", "a0": 2})
    again = api.get(f"/v1/contacts/{created.json['id']}").json
    assert list(again) == [*shown[:-2], "new", *shown[-2:]]


def test_an_object_that_was_fetched_may_be_sent_back(api):
    (ref,) = api.add("ada@example.com", plan="pro", tags=["x", {"y": None}])
    api.turn(60)
    fetched = api.get(f"/v1/contacts/{ref}").json
    patched = api.patch(ref, fetched)
    assert (patched.status_int, patched.json) == (200, fetched)
    posted = api.post({**fetched, "created_at": "1999-01-01T00:00:00Z"})
    assert posted.status_int == 201
    assert posted.json == {**fetched, "updated_at": "2026-07-04T10:01:00Z"}
    assert api.get("/v1/contacts").json["total"] == 1


@pytest.mark.parametrize("name", ["id", "created_at", "updated_at"])
@pytest.mark.parametrize("value", ["con_x", None, 5, {"a": 1}], ids=str)
def test_what_is_ours_in_a_body_is_ignored(api, name, value):
    created = api.post({"email": "ada@example.com", name: value})
    assert created.status_int == 201
    assert list(created.json) == ["id", "email", "created_at", "updated_at"]
    assert created.json["created_at"] == "2026-07-04T10:00:00Z"
    assert api.patch(created.json["id"], {name: value}).json == created.json
    assert api.merge(created.json["id"], {name: value}).json == created.json


@pytest.mark.parametrize(
    "spelling",
    [
        lambda ref: ref,
        str.upper,
        lambda ref: "Con_" + ref[4:],
        hyphenated,
        lambda ref: hyphenated(ref).upper(),
    ],
    ids=["typeid", "upper", "mixed", "uuid", "UUID"],
)
def test_an_id_is_taken_in_both_spellings_and_any_case(api, spelling):
    (ref,) = api.add("ada@example.com")
    text = spelling(ref)
    assert api.get(f"/v1/contacts/{text}").json["id"] == ref
    assert api.patch(text, {"a": 1}).json["id"] == ref
    assert api.ask("DELETE", f"/v1/contacts/{text}").json == {
        "id": ref,
        "deleted": True,
    }
