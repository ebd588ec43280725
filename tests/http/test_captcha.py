"""Captchas (CONTRACT section 8): a challenge solved in the browser, and services that
are asked."""

import base64
import hmac
import json
from urllib.parse import urlencode

import pytest

import contactapi
from client import ADA, PAGE, failure
from doubles import SITEVERIFY, SiteverifyDouble, captcha_token, solve
from extras import captcha

FAILED = (403, "captcha_failed", None)


def challenge(api, key):
    answer = api.get(f"/f/{key}/challenge", key=None)
    assert answer.status_int == 200, answer.text
    return answer.json


def said(answer):
    """(status, code) of a failure below /f."""
    return answer.status_int, answer.json["error"]["code"]


def opened(token):
    return json.loads(base64.b64decode(token))


def post(api, key, value=None, field="altcha", **fields):
    """The answer to a post of Ada's with this token."""
    body = {**ADA, **fields} | ({} if value is None else {field: value})
    return api.post(body, key=key, headers=PAGE)


@pytest.fixture
def key(api):
    return api.key("publishable", captcha="altcha")


# -- the challenge


def test_a_challenge_is_what_altchas_widget_reads(api, key):
    made = challenge(api, key)
    assert list(made) == ["parameters", "signature"]
    asked = made["parameters"]
    assert asked["algorithm"] == "PBKDF2/SHA-256"
    assert (asked["keyLength"], asked["keyPrefix"]) == (32, "00")
    assert asked["expiresAt"] == api.clock.now + 600
    assert len(bytes.fromhex(asked["nonce"])) == len(bytes.fromhex(asked["salt"])) == 16
    assert len(bytes.fromhex(made["signature"])) == 32
    again = challenge(api, key)
    assert again["parameters"]["nonce"] != asked["nonce"]
    assert again["signature"] != made["signature"]


def test_a_challenge_can_be_read_by_every_page_and_is_kept_nowhere(api, key):
    before = api.services.store.changes()
    answer = api.get(f"/f/{key}/challenge", key=None, headers=PAGE)
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE["Origin"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert api.services.store.changes() == before
    head = api.ask("HEAD", f"/f/{key}/challenge", key=None)
    assert (head.status_int, head.body) == (200, b"")


@pytest.mark.parametrize("kind", ["secret", "restricted", "revoked", "unknown", "long"])
def test_only_a_publishable_key_has_challenges(api, kind):
    token = {"unknown": "ck_pub_" + "0" * 32, "long": "k" * 5000}.get(kind)
    if kind == "revoked":
        token = api.key("publishable")
        api.revoke(token)
    given = ["contacts:read"] if kind == "restricted" else []
    token = token or api.key(kind, *given)
    answer = api.get(f"/f/{token}/challenge")
    assert said(answer) == (401, "unauthorized")


def test_challenges_have_a_window_of_their_own_for_each_address(make):
    api = make(CONTACTAPI_RATE_LIMIT="3/60")
    key = api.key("publishable", captcha="altcha")
    tokens = [solve(challenge(api, key)) for _ in range(3)]
    answer = api.get(f"/f/{key}/challenge", key=None)
    assert said(answer) == (429, "rate_limit")
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    other = api.get(f"/f/{key}/challenge", key=None, REMOTE_ADDR="203.0.113.2")
    assert other.status_int == 200
    posts = [post(api, key, t, n=n).status_int for n, t in enumerate(tokens)]
    assert posts == [201, 201, 201]
    assert api.get("/v1/contacts", key=None).status_int == 401


# -- solved in the browser


def test_a_solved_challenge_lets_a_post_in_and_is_not_stored(api, key):
    answer = post(api, key, solve(challenge(api, key)))
    assert answer.status_int == 201
    assert "altcha" not in answer.json
    (stored,) = api.get("/v1/contacts").json["data"]
    assert stored["name"] == "Ada" and "altcha" not in stored


def send(api, key, path="/f/{}", **fields):
    """The answer to a plain form."""
    headers = {**PAGE, "Content-Type": "application/x-www-form-urlencoded"}
    body = urlencode(fields).encode()
    return api.ask("POST", path.format(key), body, key=None, headers=headers)


def test_a_form_needs_one_as_well_and_keeps_it_to_itself(api, key):
    assert said(send(api, key, email="ada@example.com")) == (403, "captcha_failed")
    solved = solve(challenge(api, key))
    bad = send(api, key, email="none", altcha=solved)
    assert said(bad) == (400, "invalid_email")
    assert send(api, key, email="ada@example.com", altcha=solved).status_int == 200
    (row,) = api.get("/v1/submissions").json["data"]
    assert (row["state"], row["fields"]) == ("accepted", {"email": "ada@example.com"})


def test_a_honeypot_is_looked_at_before_a_captcha(api, key):
    answer = send(api, key, email="ada@example.com", _gotcha="x")
    assert answer.status_int == 200 and answer.json["success"] is True
    assert states(api) == [("spam", "honeypot")]


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", "x", "!!!!", 5, True, [], {}, ["x"], {"a": 1}, "e30=", "bnVsbA=="),
        *("é", "A" * 3000, base64.b64encode(b"[" * 2000).decode()),
        base64.b64encode(b'{"challenge":[],"solution":7}').decode(),
    ],
)
def test_what_is_no_solution_is_refused(api, key, value):
    assert failure(post(api, key, value)) == FAILED
    assert api.get("/v1/contacts").json["total"] == 0


CHANGES = {
    "algorithm": "SHA-256",
    "cost": 1,
    "expiresAt": 2**31,
    "keyLength": 16,
    "keyPrefix": "0",
    "nonce": "00" * 16,
    "salt": "00" * 16,
}


@pytest.mark.parametrize("name", ["nonce", "salt", "expiresAt"])
def test_a_challenge_of_somebody_elses_is_refused_before_anything_is_derived(
    api, key, name, monkeypatch
):
    made = challenge(api, key)
    said = opened(solve(made))
    said["challenge"]["parameters"][name] = CHANGES[name]
    forged = captcha_token(said["challenge"], said["solution"])
    derived = []
    monkeypatch.setattr(captcha.hashlib, "pbkdf2_hmac", lambda *_: derived.append(1))
    assert failure(post(api, key, forged)) == FAILED
    unsigned = captcha_token({**made, "signature": "00" * 32}, said["solution"])
    assert failure(post(api, key, unsigned)) == FAILED
    assert derived == []


@pytest.mark.parametrize("name", ["algorithm", "cost", "keyLength", "keyPrefix"])
def test_what_a_token_says_of_how_to_derive_is_not_obeyed(api, key, name):
    """An easier challenge than ours has another solution."""
    made = challenge(api, key)
    said = opened(solve(made))
    easier = {**made, "parameters": {**made["parameters"], name: CHANGES[name]}}
    wrong = {**said["solution"], "counter": said["solution"]["counter"] + 1}
    assert failure(post(api, key, captcha_token(easier, wrong))) == FAILED


@pytest.mark.parametrize(
    "change",
    [
        {"counter": 2**32},
        {"counter": -1},
        {"counter": 0.5},
        {"counter": True},
        {"counter": "7"},
        {"counter": None},
        {"derivedKey": "00" * 32},
        {"derivedKey": ""},
        {"derivedKey": None},
    ],
)
def test_a_wrong_solution_is_refused_and_the_right_one_still_good(api, key, change):
    right = solve(challenge(api, key))
    said = opened(right)
    wrong = captcha_token(said["challenge"], {**said["solution"], **change})
    assert failure(post(api, key, wrong)) == FAILED
    assert post(api, key, right).status_int == 201


def test_a_challenge_is_for_one_key(api, key):
    other = api.key("publishable", captcha="altcha")
    solved = solve(challenge(api, other))
    assert failure(post(api, key, solved)) == FAILED
    assert post(api, other, solved).status_int == 201


def test_a_challenge_is_good_for_ten_minutes(api, key):
    early, late = solve(challenge(api, key)), solve(challenge(api, key))
    api.turn(599)
    assert post(api, key, early).status_int == 201
    api.turn(1)
    assert failure(post(api, key, late, name="Late")) == FAILED


def test_a_challenge_is_good_once_over_processes_and_restarts(make, api, key):
    solved = solve(challenge(api, key))
    second = make(like=api)
    assert post(second, key, solved).status_int == 201
    assert failure(post(api, key, solved, name="Again")) == FAILED
    second.close()
    assert failure(post(make(like=api), key, solved, name="Again")) == FAILED


def test_what_is_kept_of_used_challenges_goes_when_they_have_expired(api, key):
    for n in range(3):
        assert post(api, key, solve(challenge(api, key)), n=n).status_int == 201
    api.turn(3600)
    assert post(api, key, solve(challenge(api, key)), n=3).status_int == 201
    assert api.services.store.row("SELECT count(*) FROM spent") == (1,)


def test_an_error_leaves_a_challenge_good(api, key):
    solved = solve(challenge(api, key))
    answer = post(api, key, solved, email="no address")
    assert failure(answer) == (400, "invalid_email", "email")
    answer = api.post({**ADA, "altcha": solved}, key=key, headers={"Origin": "null"})
    assert answer.status_int == 403 and answer.json["error"]["code"] == "forbidden"
    assert post(api, key, solved).status_int == 201


def test_what_is_sent_twice_has_the_firsts_answer_though_its_token_is_used(api, key):
    solved = solve(challenge(api, key))
    first, second = post(api, key, solved), post(api, key, solved)
    assert (first.status_int, second.status_int) == (201, 201)
    assert second.json["id"] == first.json["id"]
    assert api.get("/v1/submissions").json["total"] == 1


def test_a_key_without_captcha_asks_for_none_and_a_secret_key_neither(api, key):
    assert post(api, api.key("publishable")).status_int == 201
    assert api.post(ADA).status_int == 201


def test_a_signature_is_of_the_sorted_parameters_under_a_secret_for_each_key(api, key):
    """As altcha's libraries sign: HMAC-SHA-256 of the sorted JSON without spaces."""
    made = challenge(api, key)
    text = json.dumps(made["parameters"], sort_keys=True, separators=(",", ":"))
    secret = api.services.store.secret(b"altcha")
    own = hmac.digest(secret, api.ref(key).encode(), "sha256")
    assert hmac.digest(own, text.encode(), "sha256").hex() == made["signature"]


# -- by a service


@pytest.fixture
def serviced(make):
    """An app that asks a double, a key for it, and the double."""
    doubles = []

    def start(kind="turnstile", domains=("example.com",), **settings):
        doubles.append(SiteverifyDouble(kind))
        client = make(**{**doubles[-1].settings, **settings})
        key = client.key("publishable", captcha="service", domains=domains)
        return client, key, doubles[-1]

    yield start
    for double in doubles:
        double.close()


def states(api):
    """(state, reason) of each submission, newest first."""
    rows = api.get("/v1/submissions").json["data"]
    return [(row["state"], row["reason"]) for row in rows]


HELD = [("held", "captcha_unavailable")]


@pytest.mark.parametrize("kind", SITEVERIFY)
def test_a_service_is_asked_once_and_its_refusal_is_one(serviced, kind):
    api, key, double = serviced(kind)
    answer = post(api, key, double.GOOD, double.field)
    assert answer.status_int == 201 and double.field not in answer.json
    assert states(api) == [("accepted", None)]
    refused = post(api, key, "bad.token", double.field, name="Bob")
    assert failure(refused) == FAILED
    assert double.asked == [double.GOOD, "bad.token"]
    assert api.get("/v1/submissions").json["total"] == 1


def test_a_forms_visitor_is_asked_for_a_services_captcha_too(serviced):
    api, key, double = serviced()
    sent = {"email": "ada@example.com", double.field: double.GOOD}
    assert send(api, key, **sent).status_int == 200
    refused = send(api, key, **{**sent, double.field: "bad.token", "name": "Bob"})
    assert said(refused) == (403, "captcha_failed")
    assert states(api) == [("accepted", None)]


def test_no_address_of_a_visitor_is_passed_on(serviced):
    api, key, double = serviced()
    post(api, key, double.GOOD, double.field)
    ((_, headers, form),) = double.requests
    assert [name for name, _ in form] == ["secret", "response"]
    assert "203.0.113.1" not in str(headers)


@pytest.mark.parametrize("value", [None, "", 5, ["a"], {"a": 1}, "x" * 8193])
def test_a_service_is_not_asked_without_a_token(serviced, value):
    api, key, double = serviced()
    assert failure(post(api, key, value, double.field)) == FAILED
    assert double.requests == []


@pytest.mark.parametrize(
    "domains, hostname, good",
    [
        (("example.com",), "example.com", True),
        (("example.com:8080",), "example.com", True),
        (("example.com", "*.shop.test"), "eu.shop.test", True),
        (("example.com", "bücher.example"), "xn--bcher-kva.example", True),
        (("example.com", "localhost"), "127.0.0.1", True),
        (("*",), "anything.test", True),
        (("example.com",), "", True),
        (("example.com",), None, True),
        (("example.com",), "evil.test", False),
        (("example.com",), "evilexample.com", False),
        (("example.com",), "example.com@evil.test", False),
        (("example.com",), ["example.com"], False),
        (("example.com", "*.shop.test"), "shop.test", False),
    ],
)
def test_a_captcha_solved_on_another_site_is_refused(serviced, domains, hostname, good):
    api, key, double = serviced(domains=(*domains, "example.com"))
    double.says(hostname=hostname)
    answer = post(api, key, double.GOOD, double.field)
    assert (answer.status_int == 201) is good
    if not good:
        assert failure(answer) == FAILED


@pytest.mark.parametrize(
    "score, expected",
    [
        (0.0, [("spam", "score")]),
        (0.49, [("spam", "score")]),
        (0.5, [("accepted", None)]),
        (1, [("accepted", None)]),
        (None, [("accepted", None)]),
    ],
)
def test_a_low_score_is_spam_with_the_answer_of_a_success(serviced, score, expected):
    api, key, double = serviced("recaptcha v3")
    double.says(score=score)
    answer = post(api, key, double.GOOD, double.field)
    assert answer.status_int == 201
    assert states(api) == expected
    assert api.get("/v1/contacts").json["total"] == (expected[0][0] == "accepted")


OK = json.dumps({"success": True}).encode()


@pytest.mark.parametrize(
    "answer",
    [
        (500, b"{}", {}),
        (503, json.dumps({"success": False}).encode(), {}),
        (302, OK, {"Location": "http://127.0.0.1:9/"}),
        (429, b"", {}),
        (200, b"", {}),
        (200, b"<html>", {}),
        (200, b"[]", {}),
        (200, b'{"success": "true"}', {}),
        (200, b'{"success": 1}', {}),
        (200, b"[" * 60_000, {}),
        (200, b'{"success": true, "pad": "' + b"x" * 10_000_000 + b'"}', {}),
        (200, b'{"success": false, "error-codes": ["invalid-input-secret"]}', {}),
        (200, b'{"success": false, "error-codes": ["internal-error"]}', {}),
        lambda _: None,
    ],
)
def test_an_answer_that_says_nothing_holds_the_post(serviced, answer):
    api, key, double = serviced()
    double.answers.append(answer)
    sent = post(api, key, double.GOOD, double.field)
    assert sent.status_int == 201
    assert states(api) == HELD
    assert api.get("/v1/contacts").json["total"] == 0


def test_a_service_that_is_down_holds_the_post(make):
    api = make(
        CONTACTAPI_CAPTCHA_URL="http://127.0.0.1:9/", CONTACTAPI_CAPTCHA_SECRET="x"
    )
    key = api.key("publishable", captcha="service")
    assert post(api, key, "a.token", "cap-token").status_int == 201
    assert states(api) == HELD


def test_a_wrong_secret_loses_no_visitors_post(serviced):
    api, key, double = serviced(CONTACTAPI_CAPTCHA_SECRET="another")
    assert post(api, key, double.GOOD, double.field).status_int == 201
    assert states(api) == HELD


def test_one_that_says_the_risk_is_not_taken_for_one_that_says_the_trust(make):
    """docs.hcaptcha.com: 0.0 is no risk, 1.0 a confirmed threat."""
    url = {"CONTACTAPI_CAPTCHA_SECRET": "x"}
    for address, low in (
        ("https://api.hcaptcha.com/siteverify", [False, False, True]),
        ("https://www.google.com/recaptcha/api/siteverify", [True, False, False]),
    ):
        app = make(CONTACTAPI_CAPTCHA_URL=address, **url).app
        service = captcha.Service(app, app.services.calls.config)
        assert [service.is_low(score) for score in (0.1, 0.5, 0.9)] == low


def test_without_the_secret_a_key_that_asks_for_a_service_lets_nobody_in(api):
    key = api.key("publishable", captcha="service")
    answer = post(api, key, "a.token", "cap-token")
    assert failure(answer) == (503, "unavailable", None)
    assert api.get("/v1/submissions").json["total"] == 0


@pytest.mark.parametrize("left_out", ["URL", "SECRET"])
def test_a_services_address_and_secret_come_together(make, left_out):
    settings = {
        "CONTACTAPI_CAPTCHA_URL": "https://x.test/",
        "CONTACTAPI_CAPTCHA_SECRET": "x",
    }
    del settings[f"CONTACTAPI_CAPTCHA_{left_out}"]
    with pytest.raises(contactapi.Mistake, match=f"CONTACTAPI_CAPTCHA_{left_out}"):
        make(**settings)


def test_it_is_set_up_once_though_settings_and_paths_ask_for_it(make):
    settings = {"CONTACTAPI_CAPTCHA_URL": "https://x.test/"}
    app = make(**settings, CONTACTAPI_CAPTCHA_SECRET="x").app
    rules = [route.rule for route in app.routes]
    assert rules.count("/f/<key>/challenge") == 1
