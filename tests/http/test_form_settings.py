"""What a publishable key says of its forms, and who may say it."""

import pytest

import contactapi
from client import enveloped, make_key, refusal
from contactapi import FormSettings

KEYS = "/api/api-keys"
DEFAULTS = {
    "notify": [],
    "redirect": None,
    "captcha": "none",
    "confirm": False,
    "keep_days": 365,
}
OTHERS = {
    "notify": ["ada@example.com", "bob@example.org"],
    "redirect": "https://example.com/thanks?from=form",
    "captcha": "altcha",
    "confirm": True,
    "keep_days": 0,
}
FORM = {"name": "form", "type": "publishable", "domains": ["example.com"]}
MAY_MAKE = ("keys:write", "keys:read", "contacts:write")
MAY_TURN = (*MAY_MAKE, "submissions:read", "submissions:write")


def listed(api, key_id):
    keys = enveloped(api.get(KEYS))["keys"]
    return next(key for key in keys if key["id"] == key_id)


def settings_of(document):
    return {name: document[name] for name in DEFAULTS}


def change(api, key_id, key=..., **sent):
    return api.ask("PATCH", f"{KEYS}/{key_id}", sent, key=key)


def test_a_form_has_settings_from_the_start(api):
    made = make_key(api, **FORM)
    assert settings_of(made) == settings_of(listed(api, made["id"])) == DEFAULTS


def test_a_form_is_made_with_settings_and_shows_them(api):
    made = make_key(api, **FORM, **OTHERS)
    assert settings_of(made) == settings_of(listed(api, made["id"])) == OTHERS


@pytest.mark.parametrize("name", DEFAULTS)
def test_one_setting_is_changed_and_the_others_stay(api, name):
    made = make_key(api, **FORM)
    sent = {name: OTHERS[name]}
    changed = enveloped(change(api, made["id"], **sent))
    assert settings_of(changed) == {**DEFAULTS, **sent}
    back = enveloped(change(api, made["id"], **{name: DEFAULTS[name]}))
    assert settings_of(back) == DEFAULTS
    events = api.get("/v1/events").json["data"]
    assert [e["changed"] for e in events if e["type"] == "key.updated"] == [[name]] * 2


def test_a_setting_that_stays_as_it_is_makes_no_event(api):
    made = make_key(api, **FORM, **OTHERS)
    assert settings_of(enveloped(change(api, made["id"], **OTHERS))) == OTHERS
    events = api.get("/v1/events").json["data"]
    assert [e["type"] for e in events if e["record"] == made["id"]] == ["key.created"]


@pytest.mark.parametrize("kind", ["secret", "restricted"])
def test_other_keys_have_no_settings_and_are_given_none(api, kind):
    permissions = ["contacts:read"] if kind == "restricted" else []
    made = make_key(api, name="x", type=kind, permissions=permissions)
    assert not DEFAULTS.keys() & listed(api, made["id"]).keys()
    answer = change(api, made["id"], keep_days=30)
    assert refusal(answer) == (400, "invalid_request", "keep_days")
    wanted = {"type": kind, "permissions": permissions, "captcha": "altcha"}
    assert refusal(api.post(wanted, KEYS)) == (400, "invalid_request", "captcha")


@pytest.mark.parametrize(
    "name, value",
    [
        *(("notify", value) for value in ("ada@example.com", [5], ["no address"])),
        *(("notify", value) for value in (None, [f"a{n}@x.org" for n in range(11)])),
        *(("redirect", value) for value in (5, "/thanks", "example.com", [])),
        *(("captcha", value) for value in ("", None, "turnstile", [])),
        *(("confirm", value) for value in ("on", 1, None)),
        *(("keep_days", value) for value in (-1, 36501, 1.5, True, "30", None)),
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_is_400_and_named(api, name, value):
    made = make_key(api, **FORM, **OTHERS)
    for answer in (
        change(api, made["id"], **{name: value}),
        api.post({**FORM, name: value}, KEYS),
    ):
        assert refusal(answer) == (400, "invalid_request", name)
    assert settings_of(listed(api, made["id"])) == OTHERS


@pytest.mark.parametrize(
    "sent, kept",
    [
        ("https://example.com", "https://example.com"),
        ("HTTP://Example.com:8080/a?b=c#d", "http://example.com:8080/a?b=c#d"),
        ("https://bücher.example/schön", "https://xn--bcher-kva.example/sch%C3%B6n"),
        ("https://example.com/a%20b", "https://example.com/a%20b"),
        ("", None),
    ],
)
def test_a_redirect_is_kept_as_it_is_sent_to_browsers(api, sent, kept):
    assert make_key(api, **FORM, redirect=sent)["redirect"] == kept


def test_an_address_to_notify_is_trimmed_and_stands_there_once(api):
    made = make_key(api, **FORM, notify=[" ada@example.com ", "ada@example.com", ""])
    assert made["notify"] == ["ada@example.com"]


def test_the_caller_of_a_form_has_its_settings(api):
    token = make_key(api, **FORM, **OTHERS)["key"]
    notify = ("ada@example.com", "bob@example.org")
    expected = FormSettings(notify, OTHERS["redirect"], "altcha", True, 0)
    assert api.services.keys.find(token).settings == expected


def test_events_of_a_key_have_its_settings_but_no_url(api):
    made = make_key(api, **FORM, **OTHERS)
    change(api, made["id"], redirect="https://example.com/secret-page")
    events = [e for e in api.get("/v1/events").json["data"] if e["type"][:4] == "key."]
    created, updated = (e for e in events if e["record"] == made["id"])
    for event in (created, updated):
        assert event["data"]["captcha"] == "altcha"
        assert "redirect" not in event["data"] and "https" not in str(event)
    assert (updated["type"], updated["changed"]) == ("key.updated", ["redirect"])


# -- who may change which (contract, section 2)


@pytest.mark.parametrize("name", ["redirect", "captcha", "confirm", "keep_days"])
def test_to_change_where_a_form_leads_needs_to_read_and_write_submissions(api, name):
    made = make_key(api, **FORM)
    for missing in ("submissions:read", "submissions:write"):
        short = api.key("restricted", *(p for p in MAY_TURN if p != missing))
        answer = change(api, made["id"], short, **{name: OTHERS[name]})
        assert refusal(answer) == (403, "forbidden", None)
        assert missing in answer.json["error"]["message"]
    assert settings_of(listed(api, made["id"])) == DEFAULTS
    allowed = api.key("restricted", *MAY_TURN)
    answer = change(api, made["id"], allowed, **{name: OTHERS[name]})
    assert enveloped(answer)[name] == OTHERS[name]


def test_to_change_its_domains_needs_them_too(api):
    made = make_key(api, **FORM)
    domains = {"domains": ["evil.test"]}
    answer = change(api, made["id"], api.key("restricted", *MAY_MAKE), **domains)
    assert refusal(answer) == (403, "forbidden", None)
    answer = change(api, made["id"], api.key("restricted", *MAY_TURN), **domains)
    assert enveloped(answer)["domains"] == ["evil.test"]


def test_who_is_notified_is_said_by_a_secret_key_alone(api):
    made, token = make_key(api, **FORM), api.key("restricted", *MAY_TURN)
    for answer in (
        change(api, made["id"], token, notify=["spy@evil.test"]),
        api.post({**FORM, "notify": ["spy@evil.test"]}, KEYS, key=token),
    ):
        assert refusal(answer) == (403, "forbidden", None)
    change(api, made["id"], notify=["ada@example.com"])
    answer = change(api, made["id"], token, notify=[])
    assert refusal(answer) == (403, "forbidden", None)
    assert listed(api, made["id"])["notify"] == ["ada@example.com"]


def test_what_stays_as_it_is_needs_no_more_than_before(api):
    made = make_key(api, **FORM, **OTHERS)
    token = api.key("restricted", *MAY_MAKE)
    sent = {**listed(api, made["id"]), "name": "renamed"}
    assert enveloped(change(api, made["id"], token, **sent))["name"] == "renamed"
    assert settings_of(listed(api, made["id"])) == OTHERS


def test_a_key_for_a_page_is_made_by_who_may_write_contacts(api):
    token = api.key("restricted", *MAY_MAKE)
    made = make_key(api, by=token, **FORM, redirect="https://example.com/thanks")
    assert made["redirect"] == "https://example.com/thanks"


# -- the command line


def test_settings_are_given_and_changed_on_the_command_line(shell, make):
    options = ("--notify", "ada@example.com", "--notify", "bob@example.org")
    options += ("--redirect", "https://example.com/t", "--captcha", "altcha")
    options += ("--confirm", "on", "--keep-days", "30", "--domain", "example.com")
    shell("keys", "create", "--type", "publishable", *options)
    services = make().services
    key = next(key for key in services.keys.list() if key.type == "publishable")
    notify = ("ada@example.com", "bob@example.org")
    url = "https://example.com/t"
    assert key.settings == FormSettings(notify, url, "altcha", True, 30)
    changes = ("--notify", "", "--redirect", "", "--confirm", "off")
    assert shell("keys", "update", key.ref, *changes)[0] == 0
    key = next(key for key in services.keys.list() if key.type == "publishable")
    assert key.settings == FormSettings((), None, "altcha", False, 30)


@pytest.mark.parametrize(
    "option, value",
    [
        ("--notify", "nobody"),
        ("--redirect", "/thanks"),
        ("--captcha", "turnstile"),
        ("--confirm", "maybe"),
        ("--keep-days", "-1"),
        ("--keep-days", "soon"),
    ],
)
def test_a_setting_that_cannot_be_is_a_mistake_of_usage(shell, option, value):
    create = ("keys", "create", "--type", "publishable", "--domain", "example.com")
    status, out, err = shell(*create, f"{option}={value}")
    assert (status, out) == (2, "") and err.count("\n") == 1


# -- URLs that a browser is led to


@pytest.mark.parametrize(
    "url",
    [
        *("", "example.com", "/thanks", "//evil.test", "https:evil.test", "https:/a"),
        *("ftp://example.com", "javascript:alert(1)", "data:text/html,x"),
        *("https://user@example.com", "https://example.com@evil.test", "https://"),
        *("https://example.com\\@evil.test", "https://example.com/\\evil"),
        *("https://exam\tple.com", "https://example.com/\r\nX: y", "https://a..b"),
        *("https://example.com/%0d%0aX", "https://example.com/%5cevil"),
        *("https://example.com/%250a", "https://example.com%2f@evil.test"),
        *("https://example.com%40evil.test", "https://example.com:80%40evil.test"),
        *("https://example.com／@evil.test", "https://example.com/" + "a" * 2000),
    ],
    ids=ascii,
)
def test_what_is_no_plain_url_leads_nowhere(url):
    assert contactapi.web_url(url) is None
