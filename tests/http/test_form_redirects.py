"""Where a form leads after a success: never to a site that its key does not name, and
never at the cost of what was sent."""

import logging

import pytest

from client import PAGE
from forms import BROWSER, answered, inbox, page_of
from forms import post_form as post

FROM = {**PAGE, **BROWSER}
HIDDEN = "s3cret-part"


@pytest.fixture
def form(free):
    free.form = free.key("publishable", domains=("example.com", "*.example.org:8443"))
    return free


def led(form, fields, headers=FROM):
    """Where a browser is led; None for the page of thanks."""
    answer = post(form, {"message": "Hello", **fields}, headers=headers)
    assert len(inbox(form)) == 1
    if answer.status_int == 303:
        assert answer.text == ""
        return answer.headers["Location"]
    assert "Thank you" in page_of(answer)
    return None


@pytest.mark.parametrize("name", ["_next", "redirect"])
@pytest.mark.parametrize(
    "url, location",
    [
        ("https://example.com/thanks", None),
        ("http://example.com:8080/a/b?c=d&e=https://x.org#f", None),
        ("https://shop.example.org:8443/", None),
        ("https://example.com", None),
        ("https://example.com?thanks", None),
        ("HTTPS://Example.COM./x", "https://example.com/x"),
        ("https://example.com/danke schön", "https://example.com/danke%20sch%C3%B6n"),
        ("/thanks", "https://example.com/thanks"),
        ("/", "https://example.com/"),
        ("/a?b=c#d", "https://example.com/a?b=c#d"),
        ("/ü/%C3%BC", "https://example.com/%C3%BC/%C3%BC"),
        (" /thanks ", "https://example.com/thanks"),
    ],
)
def test_a_form_leads_to_its_own_sites(form, name, url, location):
    assert led(form, {name: url}) == (location or url)


TRICKS = [
    *("//evil.test", "///evil.test", "////evil.test", "/\\evil.test", "\\\\evil.test"),
    *("\\evil.test", "/\t/evil.test", "/\n/evil.test", "\t//evil.test"),
    *("/\0/evil.test", "https:evil.test", "https:/evil.test", "https:///evil.test"),
    *("https:\\\\evil.test", "https://good.test@evil.test"),
    *("https://example.com@evil.test", "https://example.com:80@evil.test"),
    *("https://example.com\\@evil.test", "https://evil.test\\.example.com"),
    *("https://evil.test#example.com", "https://evil.test?https://example.com"),
    *("https://evil.test/example.com", "https://example.com.evil.test"),
    *("https://evilexample.com", "https://evil.test", "https://ev\nil.test"),
    *("https://example.com\r\nSet-Cookie: a=b", "https://example.com/\r\nX: y"),
    *("https://example.com/thanks\n", "/thanks\r", "\t/thanks", "/thanks\x85"),
    *("https://exam\tple.com", "https://example.com/\x7f", "https://example.com/\x85"),
    *("https://example。com@evil.test", "https://example.com／@evil.test"),
    *("javascript:alert(1)", "javascript://example.com/%0aalert(1)"),
    *("data:text/html,x", "ftp://example.com/", "file:///etc/passwd"),
    *("thanks", "", "?x", "#x", "./x", "https://", "/" + "x" * 2000),
    *("https://[::1]", "https://example..com", "https:// example.com"),
    *("https://example.com:8080:80/", "https://example.com:99999999999/"),
]
ENCODED = [
    *("%2f%2fevil.test", "/%2fevil.test", "/%2F%2Fevil.test", "/%5cevil.test"),
    *("%5c%5cevil.test", "/%09/evil.test", "/%0a/evil.test", "/%00", "/%252fevil.test"),
    *("https%3Aevil.test", "https%3A%2F%2Fevil.test", "https:%2f%2fevil.test"),
    *("https://good.test%40evil.test", "https://example.com%40evil.test"),
    *("https://example.com%2f@evil.test", "https://example.com%5c@evil.test"),
    *("https://example.com:80%40evil.test", "https://example.com%00.evil.test"),
    *("https://example.com/%0d%0aSet-Cookie:%20a=b", "https://example.com/%250d%250a"),
    *("https://example.com%0d%0aX:%20y", "https://example.com/%5cevil.test"),
    *("https://ex%61mple.com", "https://example%2ecom@evil.test", "/%25252fevil.test"),
]


@pytest.mark.parametrize("name", ["_next", "redirect"])
@pytest.mark.parametrize("url", TRICKS + ENCODED, ids=ascii)
def test_no_other_address_is_ever_followed(form, name, url):
    assert led(form, {name: url}) is None


@pytest.mark.parametrize("url", TRICKS + ENCODED, ids=ascii)
def test_no_other_address_is_given_to_a_script(form, url):
    answer = post(form, {"message": "Hello", "_next": url})
    assert answered(answer)["next"] == "http://localhost:80/f/thanks"


def test_the_keys_own_redirect_comes_instead(free):
    there = "https://elsewhere.example/thanks"
    free.form = free.key("publishable", redirect=there)
    assert led(free, {}) == there
    answer = post(free, {"message": "Hello", "_next": "//evil.test"}, headers=FROM)
    assert answer.headers["Location"] == there
    answer = post(free, {"message": "Hello", "_next": "/mine"}, headers=FROM)
    assert answer.headers["Location"] == "https://example.com/mine"
    assert answered(post(free, {"message": "Hello"}))["next"] == there


def test_what_one_field_may_not_say_another_may(form):
    fields = {"_next": "https://evil.test", "redirect": "/thanks"}
    assert led(form, fields) == "https://example.com/thanks"
    fields = {"message": "Hello", "_next": "/one", "redirect": "/two"}
    answer = post(form, fields, headers=FROM)
    assert answer.headers["Location"] == "https://example.com/one"


@pytest.mark.parametrize(
    "url", ["/thanks", "https://example.com/t", "https://evil.test"]
)
@pytest.mark.parametrize("origin", ["https://evil.test", "https://example.com", "null"])
def test_a_key_for_any_domain_leads_where_its_owner_says_alone(free, url, origin):
    free.form = free.key("publishable", domains=("*", "example.com"))
    headers = {"Origin": origin, **BROWSER}
    assert led(free, {"_next": url}, headers) is None
    free.form = free.key("publishable", domains=("*",), redirect="https://a.example/")
    answer = post(free, {"_next": url}, headers=headers)
    assert answer.headers["Location"] == "https://a.example/"


def test_a_path_leads_to_the_page_that_sent_the_form(form):
    headers = {"Origin": "https://a.example.org:8443", **BROWSER}
    assert led(form, {"_next": "/t"}, headers) == "https://a.example.org:8443/t"


def test_a_path_needs_a_page_of_the_web(free):
    free.form = free.key("publishable", domains=("localhost",))
    headers = {"Origin": "capacitor://localhost", **BROWSER}
    assert led(free, {"_next": "/thanks"}, headers) is None


@pytest.mark.parametrize("value", [5, None, True, ["/thanks"], {"url": "/thanks"}])
def test_what_is_no_text_leads_nowhere(form, value):
    answer = post(form, {"_next": value}, media="json")
    assert answered(answer)["next"] == "http://localhost:80/f/thanks"


def test_the_log_says_why_and_nothing_of_the_address(form, caplog):
    caplog.set_level(logging.INFO)
    url = f"https://evil.test/{HIDDEN}?mail=ada@example.com"
    assert led(form, {"_next": url}) is None
    lines = [line for line in caplog.messages if "not followed" in line]
    assert len(lines) == 1 and "_next" in lines[0] and form.ref(form.form) in lines[0]
    told = "\n".join(caplog.messages)
    assert not any(part in told for part in (HIDDEN, "evil", "ada@", form.form))


def test_a_reading_client_follows_no_redirect_but_is_told_of_it(form):
    answer = post(form, {"message": "Hello", "_next": "/thanks"})
    assert answered(answer)["next"] == "https://example.com/thanks"
