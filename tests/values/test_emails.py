"""Emails: what is one, and which two are one (CONTRACT section 1)."""

import random
from urllib.parse import urlencode

import pytest

import contactapi

INVISIBLE = ["\ufeff", "\u200b", "\u00ad", "\u2060", "\u200e", "\u202a", "\U000e0020"]


@pytest.mark.parametrize("char", INVISIBLE, ids=ascii)
def test_invisible_characters_around_an_address_are_trimmed_and_none_is_inside(char):
    for text in (
        f"{char}a@x.org",
        f"a@x.org{char}",
        f" {char} \t{char}a@x.org\n{char} ",
    ):
        assert contactapi.clean_email(text) == ("a@x.org", "a@x.org")
    for text in (
        f"a{char}b@x.org",
        f"a{char}@x.org",
        f"a@{char}x.org",
        f"a@x{char}.org",
    ):
        with pytest.raises(contactapi.InvalidEmail):
            contactapi.clean_email(text)


@pytest.mark.parametrize(
    "one, other",
    [
        ("eva@bücher.example", "eva@xn--bcher-kva.example"),
        ("Eva@BÜCHER.example", "eva@xn--bcher-kva.example"),
        ("eva@bu\u0308cher.example", "eva@bücher.example"),
        ("eva@XN--BCHER-KVA.EXAMPLE", "eva@bücher.example"),
        ("a@Éx.org", "a@éx.org"),
        ("a@ｘ.org", "a@x.org"),
        ("a@\u212a.org", "a@k.org"),
        ("a@ΒΌΛΟΣ.com", "a@βόλοσ.com"),
        ("a@faẞ.de", "a@faß.de"),
        ("ju\u0308rgen@x.de", "J\u00fcrgen@X.de"),
        ("क\u093c@x.org", "क\u093c@X.ORG"),
    ],
    ids=ascii,
)
def test_two_spellings_are_one_address(one, other):
    assert contactapi.clean_email(one)[1] == contactapi.clean_email(other)[1]


@pytest.mark.parametrize(
    "one, other",
    [
        ("a@faß.de", "a@fass.de"),
        ("a@βόλος.com", "a@βόλοσ.com"),
        ("a@münchen.de", "a@munchen.de"),
        ("É@x.org", "é@x.org"),
        ("ß@x.org", "ss@x.org"),
        ("ｋ@x.org", "k@x.org"),
        ("а@x.org", "a@x.org"),
    ],
    ids=ascii,
)
def test_two_addresses_stay_two(one, other):
    assert contactapi.clean_email(one)[1] != contactapi.clean_email(other)[1]


@pytest.mark.parametrize(
    "text",
    [
        *("a!#$%&'*+/=?^_`{|}~-@x.org", ".a.@x.org", "a..b@x.org", "用户@x.org"),
        *("उपयोगकर्ता@x.org", "٣@x.org", "e\u0301@x.org", "a@x-y.z_1.org", "a@1.2"),
        *("a" * 64 + "@x.org", "é" * 32 + "@x.org", "a@x²y.org", "a@xn--x.org"),
    ],
    ids=ascii,
)
def test_this_is_an_address(text):
    assert contactapi.clean_email(text)[0] == text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "a,b@x.org",
            "a;b@x.org",
            "a:b@x.org",
            '"a"@x.org',
            "<a@x.org>",
            "a(b)@x.org",
        ),
        *("a[b]@x.org", "a\\b@x.org", "mailto:a@x.org", "Ada <a@x.org>", "a@x.org,"),
        *("a\u00a0b@x.org", "a b@x.org", "a\tb@x.org", "a\0b@x.org", "a\x85@x.org"),
        *(
            "🙂@x.org",
            "²@x.org",
            "a‐b@x.org",
            "a“b@x.org",
            "a@x⒈com.org",
            "a@\u0301x.org",
        ),
        *("a@x／y.org", "a@x。org", "a@x..org", "a@.x.org", "a@x.org.", "a@-x.org"),
        *(
            "a@@x.org",
            "a@x@y.org",
            "@x.org",
            "a@",
            "a@x",
            "",
            "\u200b",
            "é" * 33 + "@x.org",
        ),
        *(
            "a@" + "é" * 64 + ".org",
            "a@" + "x." * 130 + "org",
            "a@[127.0.0.1]",
            "a@x!.org",
        ),
    ],
    ids=ascii,
)
def test_this_is_none(text):
    with pytest.raises(contactapi.InvalidEmail):
        contactapi.clean_email(text)


def test_the_key_of_an_address_is_an_address_with_that_key():
    chance = random.Random(1)
    letters = "aZéÉßẞςΣσİıſＡｘ例\u0301\u0308-_1²ﬁ"
    found = 0
    for _ in range(6_000):
        local, first, last = (
            "".join(chance.choices(letters, k=chance.randrange(1, 6))) for _ in range(3)
        )
        try:
            label, key = contactapi.clean_email(f"{local}@{first}.{last}")
        except contactapi.InvalidEmail:
            continue
        found += 1
        assert contactapi.clean_email(key)[1] == contactapi.clean_email(label)[1] == key
        assert key.partition("@")[2].isascii()
    assert found > 600


# -- over HTTP


def test_a_contact_is_found_by_any_spelling_and_shown_as_written_last(api):
    first = api.post({"email": "\ufeffeva@bücher.example"}).json
    assert first["email"] == "eva@bücher.example"
    second = api.post({"email": "EVA@xn--bcher-kva.example", "n": 1}).json
    assert (second["id"], second["email"]) == (first["id"], "EVA@xn--bcher-kva.example")
    for text in (
        "eva@bücher.example",
        "eva@BU\u0308CHER.example",
        " eva@xn--bcher-kva.example",
    ):
        query = urlencode({"email": text})
        for path in ("/v1/contacts", "/api/v1/contacts"):
            assert len(api.get(f"{path}?{query}").json["data"]) == 1, text


@pytest.mark.parametrize("path", ["/v1/contacts", "/api/v1/contacts"])
@pytest.mark.parametrize(
    "query",
    [
        *(
            "email=ada+lists@x.org",
            "email=ada%20lists@x.org",
            "email=ada%2Blists@x.org",
        ),
        *("email=+ada+lists@x.org+", "email=%EF%BB%BFada+lists@x.org"),
    ],
)
def test_a_space_inside_email_is_the_plus_that_was_not_escaped(api, path, query):
    api.add("ada+lists@x.org", "ada@x.org")
    (one,) = api.get(f"{path}?{query}").json["data"]
    assert one["email"] == "ada+lists@x.org"


def test_a_filter_of_the_email_takes_the_plus_too_and_a_companys_name_its_space(api):
    api.add("ada+lists@x.org")
    query = "filter%5Bemail%5D=ada+lists@x.org"
    assert len(api.get(f"/v1/contacts?{query}").json["data"]) == 1
    api.post({"name": "Acme Ltd"}, path="/v1/companies")
    assert len(api.get("/v1/companies?name=acme+ltd").json["data"]) == 1


def test_a_body_may_begin_with_a_bom(api):
    headers = {"Content-Type": "application/json"}
    for boms, status in ((1, 201), (2, 400)):
        body = b"\xef\xbb\xbf" * boms + b'{"email":"a@x.org"}'
        answer = api.ask("POST", "/v1/contacts", body, headers=headers)
        assert answer.status_int == status
