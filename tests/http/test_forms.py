"""Forms: who may send what to /f, and what is answered; what becomes of it stands in
test_contactapi.py."""

import re

import pytest

from client import PAGE, rest
from forms import (
    BROWSER,
    answered,
    contacts,
    hash_of,
    inbox,
    page_of,
    refused,
    submitted,
)
from forms import post_form as post


@pytest.fixture
def form(free):
    """A client, and the token of a form's key, which may be used on example.com."""
    free.form = free.key("publishable")
    return free


# -- who may


@pytest.mark.parametrize("kind", ["unknown", "revoked", "secret", "restricted", "none"])
def test_a_key_that_is_not_publishable_is_401(form, kind):
    permissions = ["contacts:write"] if kind == "restricted" else []
    token = {"unknown": "ck_pub_" + "0" * 32, "none": ""}.get(kind)
    if kind in ("secret", "restricted"):
        token = form.key(kind, *permissions)
    if kind == "revoked":
        token = form.key("publishable")
        form.revoke(token)
    answer = post(form, {"m": "x", "access_key": token}, path="/f")
    assert refused(answer) == (401, "unauthorized", None)
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    if token:
        assert refused(post(form, {"m": "x"}, path=f"/f/{token}"))[0] == 401
    assert inbox(form) == []


@pytest.mark.parametrize("value", [5, None, ["x"], {}, "", "x" * 301])
def test_what_is_no_key_is_401(form, value):
    answer = post(form, {"access_key": value}, path="/f", media="json")
    assert refused(answer) == (401, "unauthorized", None)


def test_a_key_in_a_header_is_ignored(form):
    headers = {**PAGE, "Authorization": f"Bearer {form.form}"}
    assert refused(post(form, {"m": "x"}, path="/f", headers=headers))[0] == 401
    headers = {**PAGE, "Authorization": "Bearer nonsense"}
    answered(post(form, {"m": "x"}, headers=headers))
    # Nor does it make the body's bound smaller.
    headers = {**PAGE, "x-api-key": form.form}
    answered(post(form, {"m": "ä" * 6000}, headers=headers))


@pytest.mark.parametrize("origin", ["https://evil.test", "null", None])
def test_a_form_on_another_page_is_403_and_reads_it(form, origin):
    headers = {"Origin": origin} if origin else {}
    answer = post(form, {"m": "x"}, headers=headers)
    assert refused(answer) == (403, "forbidden", None)
    assert answer.headers.get("Access-Control-Allow-Origin") == origin
    assert inbox(form) == []


def test_without_an_origin_the_referer_decides(form):
    answered(post(form, {"m": "x"}, headers={"Referer": "https://example.com/a?b"}))
    assert submitted(form)["page"] == "https://example.com"


def test_the_servers_own_pages_may_send_each_form(make):
    api = make(CONTACTAPI_PUBLIC_URL="https://contacts.example.org")
    api.form = api.key("publishable")
    fields = {"m": "x", "_next": "https://contacts.example.org/t"}
    headers = {**BROWSER, "Origin": "https://contacts.example.org"}
    answer = post(api, fields, headers=headers)
    assert (answer.status_int, answer.headers["Location"]) == (303, fields["_next"])


# -- the order of errors: 413, 415, 400 of the syntax, 401, 429, 403, 400


def test_of_several_errors_the_first_is_told(make):
    api = make(CONTACTAPI_RATE_LIMIT="1/60")
    token, evil = api.key("publishable"), {"Origin": "https://evil.test"}
    bad = b"a=%ff"
    huge, large = b"a=" + b"x" * 70_000, b"a=" + b"x" * 17_000

    def ask(body, path, **headers):
        return refused(post(api, body, path=path, headers={**evil, **headers}))[0]

    known, unknown = f"/f/{token}", "/f/ck_pub_unknown"
    assert ask(huge, unknown, **{"Content-Type": "text/plain"}) == 413
    assert ask(large, unknown) == 413
    assert ask(bad, unknown, **{"Content-Type": "text/plain"}) == 415
    assert ask(bad, unknown, **{"Content-Encoding": "gzip"}) == 415
    assert ask(bad, unknown) == 400
    many = "&".join(f"{n}=" for n in range(101)).encode()
    assert ask(many, unknown) in (401, 429)  # a stranger's window is full, too
    assert ask(many, known) == 403
    assert ask(many, known) == 429


# -- what is answered


def test_next_is_the_page_of_thanks_at_our_own_address(form, make):
    host = {**PAGE, "Host": "forms.example.org:8080"}
    answer = post(form, {"m": "x"}, headers=host)
    assert answer.json["next"] == "http://forms.example.org:8080/f/thanks"
    api = make(CONTACTAPI_PUBLIC_URL="https://forms.example.org/api")
    api.form = form.form
    assert post(api, {"m": "y"}).json["next"] == (
        "https://forms.example.org/api/f/thanks"
    )


def test_the_page_of_thanks_stands_by_itself(free):
    for accept in ("*/*", "text/html"):
        answer = free.get("/f/thanks", key=None, headers={"Accept": accept})
        assert "Thank you" in page_of(answer)
    assert free.ask("HEAD", "/f/thanks", key=None).status_int == 200
    answer = free.post({"m": "x"}, "/f/thanks", key=None)
    assert refused(answer)[0] == 405
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


def test_an_error_is_a_page_in_its_own_status_with_a_way_back(form):
    headers = {**PAGE, **BROWSER}
    page = page_of(post(form, {"email": "x"}, headers=headers), 400)
    assert "Email must be a valid address" in page
    assert '<a href="https://example.com/">Back to example.com</a>' in page
    headers = {"Origin": "https://evil.test", **BROWSER}
    page = page_of(post(form, {"m": "x"}, headers=headers), 403)
    assert (
        '<a href="https://example.com/">' in page and 'href="https://evil' not in page
    )
    for path, status in (("/f/nonsense", 401), ("/f/a/b", 404)):
        page = page_of(post(form, {"m": "x"}, path=path, headers=headers), status)
        assert "href" not in page
    large = {"m": "x" * 20_000}
    page = page_of(post(form, large, headers=headers), 413)
    assert "16384 bytes" in page


@pytest.mark.parametrize(
    "domains, back",
    [
        (("localhost", "example.org"), "http://localhost/"),
        (("*.example.com", "shop.example.com:8443"), "https://shop.example.com:8443/"),
        (("*.example.com",), None),
        (("*",), None),
    ],
)
def test_the_way_back_leads_to_a_site_of_the_key(free, domains, back):
    free.form = free.key("publishable", domains=domains)
    headers = {"Origin": "https://evil.test", **BROWSER}
    page = post(free, {"email": "x"}, headers=headers).text
    assert re.findall('href="([^"]*)"', page) == ([back] if back else [])


def test_nothing_that_was_sent_stands_unescaped_on_a_page(free):
    free.form = free.key("publishable")
    headers = {"Origin": 'https://"><script>alert(1)</script>', **BROWSER}
    page = page_of(post(free, {"m": "x"}, headers=headers), 403)
    assert "<script" not in page and "&lt;script&gt;" in page


def test_a_page_runs_and_loads_nothing(form):
    answer = post(form, {"m": "x"}, headers={**PAGE, **BROWSER})
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert " style=" not in answer.text and "<script" not in answer.text
    style = re.search("<style>(.*)</style>", answer.text)[1]
    assert hash_of(style) in policy
    assert "color-scheme:light dark" in style and "width=device-width" in answer.text


@pytest.mark.parametrize("path", ["/f/{}", "/f"])
def test_a_forms_address_is_405_for_reading_and_says_what_it_is_for(form, path):
    path = path.format(form.form)
    answer = form.get(path, key=None)
    assert refused(answer) == (405, "method_not_allowed", None)
    assert answer.headers["Allow"] == "OPTIONS, POST"
    page = page_of(form.get(path, key=None, headers=BROWSER), 405)
    assert "action=" in page and "form" in page


def test_a_preflight_may_send_what_formsprees_client_sends(form):
    headers = {
        **PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "formspree-client, formspree-session-data",
    }
    answer = form.ask("OPTIONS", f"/f/{form.form}", key=None, headers=headers)
    assert answer.status_int == 204
    allowed = answer.headers["Access-Control-Allow-Headers"]
    assert {"formspree-client", "formspree-session-data"} <= set(allowed.split(", "))


# -- honeypots


@pytest.mark.parametrize("name", ["_gotcha", "botcheck", "_honey", "bot-field"])
@pytest.mark.parametrize("browser", [False, True])
def test_who_fills_a_honeypot_is_answered_as_everybody(form, name, browser):
    headers = {**PAGE, **(BROWSER if browser else {})}
    caught = post(form, {"email": "a@x.org", "m": "1", name: "on"}, headers=headers)
    assert (submitted(form)["state"], submitted(form)["reason"]) == ("spam", "honeypot")
    assert submitted(form)["fields"] == {"email": "a@x.org", "m": "1"}
    assert contacts(form) == []
    fine = post(form, {"email": "a@x.org", "m": "2", name: ""}, headers=headers)
    assert submitted(form)["state"] == "accepted"
    assert caught.status_int == fine.status_int
    own = ("X-Request-Id", "RateLimit")
    of_both = [
        {n: v for n, v in answer.headers.items() if n not in own}
        for answer in (caught, fine)
    ]
    assert of_both[0] == of_both[1]
    ids = re.compile("sub_[0-9a-z]{26}")
    assert ids.sub("", caught.text) == ids.sub("", fine.text)
    for answer in (caught, fine):
        assert answer.request.environ["contactapi.caller"].type == "publishable"


@pytest.mark.parametrize(
    "value, state",
    [
        *((value, "accepted") for value in (None, False, "", "false", "0", ["", ""])),
        *((value, "spam") for value in ("on", " ", "False", 1, 0, True, {}, ["", "x"])),
    ],
    ids=str,
)
def test_what_counts_as_filled(form, value, state):
    answered(post(form, {"m": "x", "_gotcha": value}, media="json"))
    assert submitted(form)["state"] == state


# -- settings


def test_where_a_person_must_confirm_an_email_is_required(form):
    form.form = form.key("publishable", confirm=True)
    answer = post(form, {"m": "x"})
    assert refused(answer) == (400, "invalid_email", "email")
    error = {"code": "REQUIRED_FIELD_EMPTY", "field": "email"}
    assert answer.json["errors"] == [{**error, "message": "email is required"}]
    said = answered(post(form, {"email": "a@x.org"}))
    assert "confirm" in said["message"]
    row = submitted(form)
    assert (row["state"], row["reason"]) == ("held", "unconfirmed")
    assert contacts(form) == []


@pytest.mark.parametrize("captcha", ["altcha", "service"])
def test_a_captcha_that_cannot_be_asked_lets_nothing_through(form, captcha):
    form.app.services.submissions.checks.clear()
    form.form = form.key("publishable", captcha=captcha)
    assert refused(post(form, {"m": "x"})) == (503, "unavailable", None)
    assert inbox(form) == []


# -- limits


def test_a_visitor_has_a_window_of_its_own(make):
    api = make(CONTACTAPI_RATE_LIMIT="2/60")
    api.form = api.key("publishable")
    one, other = {"REMOTE_ADDR": "198.51.100.1"}, {"REMOTE_ADDR": "198.51.100.2"}
    assert rest(post(api, {"m": "1"}, **one)) == 1
    assert rest(post(api, {"m": "2"}, **one)) == 0
    answer = post(api, {"m": "3"}, **one)
    assert refused(answer) == (429, "rate_limit", None)
    assert int(answer.headers["Retry-After"]) == 60
    answered(post(api, {"m": "3"}, **other))


def test_a_visitor_sends_a_mebibyte_an_hour(make):
    api = make()
    api.form = api.key("publishable")
    body = b"m=" + b"%20" * 16_000 + b"&n="
    sent = [post(api, body + b"%d" % n) for n in range(22)]
    assert {answer.status_int for answer in sent[:21]} == {200}
    assert refused(sent[21]) == (429, "rate_limit", None)
    assert len(inbox(api, 100)) == 21


def test_a_form_with_an_unknown_key_counts_for_its_address(make):
    api = make(CONTACTAPI_RATE_LIMIT="2/60")
    statuses = [post(api, {}, path="/f/nonsense").status_int for _ in range(3)]
    assert statuses == [401, 401, 429]


def test_an_answer_to_a_form_leaves_on_the_grid(form):
    for fields in ({"email": "a@x.org"}, {"email": "none"}):
        answer = post(form, fields)
        assert answer.request.environ["contactapi.caller"].type == "publishable"
    assert "contactapi.caller" not in post(form, {}, path="/f/x").request.environ
