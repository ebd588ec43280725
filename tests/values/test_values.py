"""Emails, names, documents, ids, times, domains, search."""

import uuid

import pytest

import contactapi
from client import ADA, LONGEST_DOMAIN, at, failure, hyphenated

# -- emails and names


@pytest.mark.parametrize(
    "given, label, key",
    [
        ("ada@example.com", "ada@example.com", "ada@example.com"),
        ("  Ada@Example.COM\n", "Ada@Example.COM", "ada@example.com"),
        ("a@b.c", "a@b.c", "a@b.c"),
        ("o'brien+tag/x=y@x.org", "o'brien+tag/x=y@x.org", "o'brien+tag/x=y@x.org"),
        ("a.b..c.@x.org", "a.b..c.@x.org", "a.b..c.@x.org"),
        ("jürgen@münchen.de", "jürgen@münchen.de", "jürgen@xn--mnchen-3ya.de"),
        ("ju\u0308rgen@x.de", "ju\u0308rgen@x.de", "j\u00fcrgen@x.de"),
        ("用户@例え.jp", "用户@例え.jp", "用户@xn--r8jz45g.jp"),
        ("a" * 64 + "@x.org", "a" * 64 + "@x.org", "a" * 64 + "@x.org"),
        ("é" * 32 + "@x.org", "é" * 32 + "@x.org", "é" * 32 + "@x.org"),
        (f"a@{LONGEST_DOMAIN}", f"a@{LONGEST_DOMAIN}", f"a@{LONGEST_DOMAIN}"),
        ("a@xn--mnchen-3ya.de", "a@xn--mnchen-3ya.de", "a@xn--mnchen-3ya.de"),
    ],
)
def test_an_email_is_kept_as_written_and_compared_in_nfc_with_a_to_z_folded(
    given, label, key
):
    assert contactapi.clean_email(given) == (label, key)


@pytest.mark.parametrize(
    "one, other",
    [
        ("\u0130@x.org", "i@x.org"),
        ("\u0131@x.org", "i@x.org"),
        ("\u0130@x.org", "i\u0307@x.org"),
        ("\u017f@x.org", "s@x.org"),
        ("ß@x.org", "ss@x.org"),
        ("É@x.org", "é@x.org"),
        ("ｋ@x.org", "k@x.org"),
        ("ﬁ@x.org", "fi@x.org"),
        ("а@x.org", "a@x.org"),
    ],
    ids=ascii,
)
def test_look_alikes_stay_two_addresses(one, other):
    assert contactapi.clean_email(one)[1] != contactapi.clean_email(other)[1]


def test_the_kelvin_sign_is_a_k_because_nfc_itself_makes_it_one():
    """Section 1: `compared after NFC with only A-Z folded to a-z`; NFC comes first."""
    assert contactapi.clean_email("\u212a@x.org")[1] == "k@x.org"


@pytest.mark.parametrize(
    "given, label, key",
    [
        (" Acme ", "Acme", "acme"),
        ("STRASSE", "STRASSE", "strasse"),
        ("Straße", "Straße", "strasse"),
        ("x" * 200, "x" * 200, "x" * 200),
        ("ΑΒΓ", "ΑΒΓ", "αβγ"),
        ("  " + "é" * 200 + "  ", "é" * 200, "é" * 200),
    ],
)
def test_a_companys_name_is_compared_without_case(given, label, key):
    assert contactapi.clean_name(given) == (label, key)


# -- documents


@pytest.mark.parametrize(
    "target, patch, result",
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
    ids=str,
)
def test_merge_patch_gives_the_examples_of_rfc_7396(api, target, patch, result):
    assert contactapi.merge_patch(target, patch) == result
    (ref,) = api.add("ada@example.com", v=target)
    answer = api.merge(ref, {"v": patch})
    assert answer.status_int == 200
    assert answer.json.get("v", "absent") == ("absent" if patch is None else result)


@pytest.mark.parametrize(
    "old, new, changed",
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": True}, ["a"]),
        ({"a": 1}, {"a": 1.0}, ["a"]),
        ({"a": 1.0}, {"a": 1}, ["a"]),
        ({"a": True}, {"a": 1}, ["a"]),
        ({"a": "1"}, {"a": 1}, ["a"]),
        ({"a": "null"}, {"a": None}, ["a"]),
        ({"a": 1.0, "b": [1, {"c": 2}]}, {"a": 1.00, "b": [1, {"c": 2}]}, []),
        ({"a": 0}, {"a": False}, ["a"]),
        ({"a": 0.0}, {"a": -0.0}, ["a"]),
        ({"a": [1]}, {"a": [True]}, ["a"]),
        ({"a": {"b": 1}}, {"a": {"b": 1.0}}, ["a"]),
        ({"a": None}, {}, ["a"]),
        ({}, {"a": None}, ["a"]),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}, ["b", "c"]),
    ],
    ids=str,
)
def test_fields_differ_when_their_json_does(old, new, changed):
    assert contactapi.changed_names(old, new) == changed


# -- ids and times


def test_an_id_is_typeids_spelling_of_a_uuid():
    ref = "con_01h455vb4pex5vsknk084sn02q"
    text = "01890a5d-ac96-774b-bcce-b302099a8057"
    assert hyphenated(ref) == text
    uid = contactapi.parse_id("con", ref)
    assert contactapi.parse_id("con", text) == uid == ref[4:]
    assert contactapi.parse_id("con", text.upper()) == uid
    assert contactapi.parse_id("con", ref.upper()) == uid


def test_an_id_is_a_random_uuid_of_version_4():
    made = [uuid.UUID(hyphenated(f"con_{contactapi.new_uid()}")) for _ in range(50)]
    assert {(one.version, one.variant) for one in made} == {(4, uuid.RFC_4122)}
    assert len(set(made)) == 50


@pytest.mark.parametrize(
    "text",
    [
        "",
        "con_",
        "con_a1b2",
        "con_" + "0" * 25,
        "con_" + "0" * 27,
        "con_8" + "0" * 25,
        "con_" + "0" * 25 + "u",
        "con_" + "0" * 25 + "i",
        "cmp_" + "0" * 26,
        "_" + "0" * 26,
        "0" * 26,
        "con_" + "٠" * 26,
        "con_" + "0" * 25 + "\u212a",
        "con_" + "0" * 26 + "\n",
        "con_" + "0" * 26 + "\0",
        "01890a5dac96774bbcceb302099a8057",
        "{01890a5d-ac96-774b-bcce-b302099a8057}",
        "urn:uuid:01890a5d-ac96-774b-bcce-b302099a8057",
        "01890a5d-ac96-774b-bcce-b302099a805g",
        "01890a5d-ac96-774b-bcce-b302099a80570",
        "01890a5d-ac96-774b-bcceb-302099a8057",
        "con_01890a5d-ac96-774b-bcce-b302099a8057",
    ],
    ids=ascii,
)
def test_anything_else_is_no_id(text):
    assert contactapi.parse_id("con", text) is None


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("2026-07-04", at("2026-07-04T00:00:00")),
        ("2026-07-04T10:00:00Z", at("2026-07-04T10:00:00")),
        ("2026-07-04t10:00:00z", at("2026-07-04T10:00:00")),
        ("2026-07-04T10:00:00", at("2026-07-04T10:00:00")),
        ("2026-07-04T10:00Z", at("2026-07-04T10:00:00")),
        ("2026-07-04T12:00:00+02:00", at("2026-07-04T10:00:00")),
        ("2026-07-04T12:00:00 02:00", at("2026-07-04T10:00:00")),
        ("2026-07-04T04:30:00-0530", at("2026-07-04T10:00:00")),
        ("2026-07-04T10:00:00.5Z", at("2026-07-04T10:00:00") + 0.5),
        ("2026-07-04T10:00:00.000001Z", at("2026-07-04T10:00:00") + 0.000001),
        ("2026-07-04T10:00:00.123456789Z", at("2026-07-04T10:00:00") + 0.123456),
        ("1969-12-31T23:59:59.5Z", -0.5),
        ("2024-02-29", at("2024-02-29T00:00:00")),
    ],
)
def test_a_time_is_iso_8601(text, seconds):
    assert contactapi.parse_time(text) == round(seconds * 1_000_000)


def test_a_time_is_shown_in_whole_seconds_with_a_z():
    assert contactapi.iso(round(at("2026-07-04T10:00:00") * 1_000_000) + 999_999) == (
        "2026-07-04T10:00:00Z"
    )


# -- keys and domains


@pytest.mark.parametrize(
    "kind, prefix",
    [("secret", "ck_secret_"), ("publishable", "ck_pub_"), ("restricted", "ck_live_")],
)
def test_a_token_has_its_prefix_and_at_least_128_random_bits(kind, prefix):
    tokens = [contactapi.new_token(kind) for _ in range(200)]
    assert all(token.startswith(prefix) for token in tokens)
    random_parts = [token[len(prefix) :] for token in tokens]
    alphabet = len(set("".join(random_parts)))
    assert alphabet >= 32 and {len(part) for part in random_parts} == {32}
    assert len(set(tokens)) == 200


DOMAINS = [
    ("example.com", "https://example.com", True),
    ("example.com", "http://example.com", True),
    ("example.com", "https://example.com:8443", True),
    ("example.com", "HTTPS://EXAMPLE.Com", True),
    ("example.com", "https://example.com.", True),
    ("example.com", "capacitor://example.com", True),
    ("example.com", "https://www.example.com", False),
    ("example.com", "https://example.org", False),
    ("example.com", "https://example.com.evil.test", False),
    ("example.com", "https://evilexample.com", False),
    ("example.com", "https://example.com@evil.test", False),
    ("example.com", "https://example.com:443@evil.test", False),
    ("example.com", "https://evil.test/https://example.com", False),
    ("example.com", "https://evil.test?https://example.com", False),
    ("example.com", "https://evil.test#example.com", False),
    ("example.com", "https://example.com\\.evil.test", False),
    ("example.com", "https://example.com%2eevil.test", False),
    ("example.com", "example.com", False),
    ("example.com", "//example.com", False),
    ("example.com", "null", False),
    ("example.com", "", False),
    ("example.com", None, False),
    ("example.com:8080", "https://example.com:8080", True),
    ("example.com:8080", "http://example.com:8080", True),
    ("example.com:8080", "https://example.com", False),
    ("example.com:8080", "https://example.com:80800", False),
    ("example.com:443", "https://example.com", True),
    ("example.com:443", "http://example.com", False),
    ("example.com:443", "http://example.com:443", True),
    ("example.com:80", "http://example.com", True),
    ("example.com:80", "https://example.com", False),
    ("*.example.com", "https://a.example.com", True),
    ("*.example.com", "https://a.b.example.com:99", True),
    ("*.example.com", "https://A.EXAMPLE.COM.", True),
    ("*.example.com", "https://example.com", False),
    ("*.example.com", "https://aexample.com", False),
    ("*.example.com", "https://a.example.com.evil.test", False),
    ("*.example.com:8080", "https://a.example.com:8080", True),
    ("*.example.com:8080", "https://a.example.com", False),
    ("localhost", "http://localhost", True),
    ("localhost", "http://LOCALHOST:3000", True),
    ("localhost", "http://127.0.0.1:5000", True),
    ("localhost", "http://127.0.0.1", True),
    ("localhost", "http://[::1]:5000", True),
    ("localhost", "http://[::1]", True),
    ("localhost", "http://127.0.0.2", False),
    ("localhost", "http://[::2]", False),
    ("localhost", "http://localhost.evil.test", False),
    ("localhost:3000", "http://localhost:3000", True),
    ("localhost:3000", "http://localhost:4000", False),
    ("127.0.0.1", "http://127.0.0.1:5000", True),
    ("[::1]", "http://[::1]:5000", True),
    ("[2001:db8::1]:8080", "http://[2001:DB8::1]:8080", True),
    ("[2001:db8::1]:8080", "http://[2001:db8::1]", False),
    ("*", "https://anything.test", True),
    ("*", "null", True),
    ("*", "", True),
    ("*", None, True),
    ("https://example.com/path?x=1#y", "https://example.com:8443", True),
    ("http://example.com:8080/", "https://example.com:8080", True),
    ("http://example.com:8080/", "https://example.com", False),
    ("http://localhost:3000", "http://localhost:3000", True),
    ("  EXAMPLE.com.  ", "https://example.com", True),
    ("münchen.de", "https://xn--mnchen-3ya.de", True),
    ("MÜNCHEN.DE", "https://xn--mnchen-3ya.de", True),
    ("mu\u0308nchen.de", "https://xn--mnchen-3ya.de", True),
    ("xn--mnchen-3ya.de", "https://XN--MNCHEN-3YA.de", True),
    ("münchen.de", "https://munchen.de", False),
    ("*.bücher.example", "https://shop.xn--bcher-kva.example", True),
    ("例え.jp", "https://xn--r8jz45g.jp", True),
    ("straße.de", "https://xn--strae-oqa.de", True),
    ("straße.de", "https://strasse.de", False),
]


@pytest.mark.parametrize("rule, origin, allowed", DOMAINS, ids=ascii)
def test_a_domain_lock_opens_for_its_own_pages_only(rule, origin, allowed):
    rules = (contactapi.clean_domain(rule),)
    assert contactapi.origin_allowed(rules, origin) is allowed


def test_a_unicode_origin_is_its_punycode():
    rules = ("xn--mnchen-3ya.de",)
    assert contactapi.origin_allowed(rules, "https://münchen.de") is True
    assert contactapi.origin_allowed(rules, "https://MU\u0308NCHEN.de:99") is True


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ".",
        "exa mple.com",
        "example..com",
        "example.com:port",
        "example.com:",
        "example.com:8080:9090",
        "*.",
        "**",
        "*example.com",
        "a.*.com",
        "*.*.com",
        "example.com@evil.test",
        "user:pw@example.com",
        "https://",
        "https://user@example.com/",
        "example.com, example.org",
        "2001:db8::1",
        "x" * 64 + ".com",
        "example.com\0",
        "<script>",
    ],
    ids=ascii,
)
def test_what_is_no_domain_makes_no_key(api, text):
    with pytest.raises(contactapi.InvalidRequest) as caught:
        api.key("publishable", domains=("example.com", text))
    assert caught.value.param == "domains"
    assert len(api.get("/api/api-keys").json["data"]["keys"]) == 1


# -- search


@pytest.mark.parametrize(
    "text, words",
    [
        ("", []),
        ("   ", []),
        ("Ada", ["ada"]),
        ("  Ada\tLove\u3000lace ", ["ada", "love", "lace"]),
        ("STRAßE", ["strasse"]),
        ("e\u0301", ["é"]),
        ("% _ a%", ["%", "_", "a%"]),
        ("x" * 100, ["x" * 100]),
        ("a b c d e", list("abcde")),
    ],
    ids=ascii,
)
def test_a_search_is_split_into_folded_words(text, words):
    assert contactapi.search_words(text) == words


def test_an_origin_of_ten_thousand_letters_takes_no_time(api, monkeypatch):
    spelled = []
    encode = contactapi.ascii_host
    monkeypatch.setattr(
        contactapi, "ascii_host", lambda host: spelled.append(len(host)) or encode(host)
    )
    key = api.key("publishable", domains=["example.com"])
    letters = "".join(map(chr, range(0x4E00, 0x4E00 + 9000)))
    origin = f"http://{letters}".encode().decode("latin-1")
    assert failure(api.post(ADA, key=key, headers={"Origin": origin}))[0] == 403
    assert max(spelled, default=0) <= 253
    with pytest.raises(ValueError):
        contactapi.ascii_host("é" * 64)
