"""Hosts as browsers spell them, and the domain lock (CONTRACT section 2)."""

import pytest

import contactapi
from client import PAGE, failure

# Each pair is what WHATWG URL (UTS 46, not transitional) makes of it.
HOSTS = [
    ("Example.COM.", "example.com"),
    ("bücher.example", "xn--bcher-kva.example"),
    ("BU\u0308CHER.example", "xn--bcher-kva.example"),
    ("faß.de", "xn--fa-hia.de"),
    ("FAẞ.de", "xn--fa-hia.de"),
    ("fass.de", "fass.de"),
    ("βόλος.com", "xn--nxasmm1c.com"),
    ("βόλοσ.com", "xn--nxasmq6b.com"),
    ("ΒΌΛΟΣ.com", "xn--nxasmq6b.com"),
    ("ශ්\u200dරී.com", "xn--10cl1a0b660p.com"),
    ("نامه\u200cای.com", "xn--mgba3gch31f060k.com"),
    ("ｅｘａｍｐｌｅ．com", "example.com"),
    ("例え。jp", "xn--r8jz45g.jp"),
    ("ex\u00adam\u200bple.com", "example.com"),
    ("\u212aelvin.com", "kelvin.com"),
    ("ﬁsh.com", "fish.com"),
    ("💩.la", "xn--ls8h.la"),
    ("x²y.com", "x2y.com"),
    ("a\ufe0f\U000e0100b.com", "ab.com"),
    ("a_b.-c.com", "a_b.-c.com"),
    ("[::1]", "[::1]"),
    ("[0:0:0:0:0:0:0:1]", "[::1]"),
    ("[2001:DB8:0::1]", "[2001:db8::1]"),
]


@pytest.mark.parametrize("host, spelled", HOSTS, ids=ascii)
def test_a_host_is_spelled_as_browsers_send_it(host, spelled):
    assert contactapi.ascii_host(host) == spelled
    assert contactapi.ascii_host(spelled) == spelled


@pytest.mark.parametrize(
    "host",
    [
        *("", ".", "a..b", ".a", "a..", "evil.test／.example.com", "a／b", "a？b.com"),
        *("evil.test＃.com", "a＠b.com", "a：80.com", "x⒈com.org", "a．．b", "℀.com"),
        *(
            "a b.com",
            "a\u3000b.com",
            "a\0.com",
            "a\ue000.com",
            "a\u3164b.com",
            "a\u115f.com",
            "a︒b.com",
            "\u0301a.com",
            "\u00ad",
        ),
        *("x" * 64 + ".com", "é" * 64 + ".com", "[::1", "[:::]", "[a.b]", "<a>.com"),
    ],
    ids=ascii,
)
def test_what_is_in_no_host_has_no_spelling(host):
    with pytest.raises(ValueError):
        contactapi.ascii_host(host)


@pytest.mark.parametrize(
    "origin",
    [
        *("https://evil.test／.example.com", "https://.example.com", "https://a..com"),
        *("https://evil.test\u2100.example.com", "https://a..example.com", "https://."),
        *("https://evil.test？.example.com", "https://evil.test＃x.example.com"),
        *("https://x..example.com", "https://a.example.com..", "null", ""),
    ],
    ids=ascii,
)
def test_an_origin_with_an_empty_label_or_none_at_all_matches_no_rule(origin):
    rules = ("example.com", "*.example.com", "*.com", "localhost")
    assert not contactapi.origin_allowed(rules, origin)


@pytest.mark.parametrize(
    "rule, stored",
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("*.BÜCHER.example:08080", "*.xn--bcher-kva.example:8080"),
        ("example.com.", "example.com"),
        ("[0:0:0:0:0:0:0:1]:65535", "[::1]:65535"),
        ("chrome-extension://abcdef", "abcdef"),
        ("https://example.com:1/x?y#z", "example.com:1"),
        (" * ", "*"),
    ],
)
def test_a_rule_is_stored_in_the_one_spelling(rule, stored):
    assert contactapi.clean_domain(rule) == stored


@pytest.mark.parametrize(
    "rule, instead",
    [
        ("null", "give the site's domain, such as example.com, or * for any page"),
        ("NULL", "or * for any page"),
        ("example.com:65536", "1 to 65535: give example.com:8080"),
        ("example.com:0", "1 to 65535"),
        ("example.com:808080", "1 to 65535"),
        (".example.com", "*.example.com for all that is below it"),
        ("example..com", "empty label"),
        ("example.com..", "empty label"),
        ("*.", "empty label"),
        ("*..example.com", "empty label"),
        ("*.127.0.0.1", "127.0.0.1"),
        ("*.[::1]", "give example.com"),
        ("127.1", "127.0.0.1"),
        ("1.2.3.4.5", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("256.1.1.1", "127.0.0.1"),
        ("[::1]x", "give example.com"),
        ("xn--bcher-kv.example", "give example.com"),
        ("xn--a.example", "give example.com"),
        ("xn--.example", "give example.com"),
        (".".join(["x" * 60] * 5), "give example.com"),
        ("file:///C:/page.html", "give example.com"),
        ("x" * 400, "give example.com"),
    ],
)
def test_a_rule_that_can_never_match_says_what_to_give_instead(rule, instead):
    with pytest.raises(ValueError) as caught:
        contactapi.clean_domain(rule)
    assert instead in str(caught.value)
    assert len(str(caught.value)) < 250


def test_a_refused_domain_is_400_with_that_sentence(api):
    answer = api.post(
        {"type": "publishable", "domains": ["example.com:65536"]}, path="/api/api-keys"
    )
    error = answer.json["error"]
    assert (answer.status_int, error["param"]) == (400, "domains")
    assert "give example.com:8080" in error["message"]


def ask(api, key, origin):
    headers = {} if origin is None else {"Origin": origin}
    return api.post({"email": "a@x.org"}, key=key, headers=headers)


def test_the_403_for_null_names_the_causes_and_last_the_star(api):
    key = api.key("publishable")
    answer = ask(api, key, "null")
    assert failure(answer)[:2] == (403, "forbidden")
    message = answer.json["error"]["message"]
    causes = ("null", "file", "sandboxed frame", "https", "http server", "no-referrer")
    hints = ("same-origin", "strict-origin-when-cross-origin", "--domain '*'")
    places = [message.index(word) for word in (*causes, *hints)]
    assert places == sorted(places)
    assert ask(api, api.key("publishable", domains=["*"]), "null").status_int == 201


@pytest.mark.parametrize(
    "url, origin, status",
    [
        ("https://forms.example.org", "https://forms.example.org", 201),
        ("https://forms.example.org/base", "https://FORMS.example.org:443", 201),
        ("https://forms.example.org", "http://forms.example.org", 403),
        ("https://forms.example.org", "https://forms.example.org:8443", 403),
        ("https://forms.example.org:8443", "https://forms.example.org:8443", 201),
        ("https://bücher.example", "https://xn--bcher-kva.example", 201),
        ("https://forms.example.org", "https://a.forms.example.org", 403),
        (None, "https://forms.example.org", 403),
    ],
)
def test_the_servers_own_origin_is_always_among_a_keys_domains(
    make, url, origin, status
):
    api = make(**({"CONTACTAPI_PUBLIC_URL": url} if url else {}))
    key = api.key("publishable")
    assert ask(api, key, origin).status_int == status
    assert ask(api, key, PAGE["Origin"]).status_int == 201
    assert ask(api, key, None).status_int == 403
