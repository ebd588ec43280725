"""Every route with every kind of key, made from the routes."""

import pytest

import contactapi
from client import PAGE, filled_in

OPEN = {"/healthz", "/", "/docs", "/openapi.json", "/llms.txt", "/f", "/f/<key>"}
SIGNED = "/api/calls/<ref>/twilio"  # Twilio's own signature stands for a key
KINDS_OF_KEY = ["secret", "publishable", *contactapi.PERMISSIONS]
VERBS = [
    ("GET", "/v1/{0}", "{0}:read"),
    ("POST", "/v1/{0}", "{0}:write"),
    ("GET", "/v1/{0}/<ref>", "{0}:read"),
    ("PATCH", "/v1/{0}/<ref>", "{0}:write"),
    ("DELETE", "/v1/{0}/<ref>", "{0}:write"),
]


def guarded_routes(app):
    """(method, rule, needs, public) of each route that takes a key."""
    rows = [(r.method, r.rule, r.config) for r in app.routes]
    return [
        (method, rule, config["needs"], config.get("public", False))
        for method, rule, config in rows
        if config.get("needs") is not None
    ]


def test_every_route_names_its_permissions_or_is_open_to_all(api):
    rows = [(r.method, r.rule, r.config.get("needs")) for r in api.app.routes]
    unguarded = {rule for _, rule, needs in rows if needs is None}
    assert unguarded <= {*OPEN, SIGNED}
    known = {*contactapi.PERMISSIONS, "everything"}
    unknown = [row for row in rows if row[2] is not None and not known >= set(row[2])]
    assert unknown == []


def test_whatever_changes_something_needs_more_than_reading(api):
    only_reading = [
        (method, rule)
        for method, rule, needs, _ in guarded_routes(api.app)
        if method not in ("GET", "HEAD") and rule != "/mcp"
        if all(name.endswith(":read") for name in needs)
    ]
    assert only_reading == []


def test_a_publishable_key_is_let_in_at_one_route_only(api):
    public = [row[:2] for row in guarded_routes(api.app) if row[3]]
    assert public == [("POST", "/v1/contacts")]


@pytest.mark.parametrize("kind", ["contacts", "companies"])
def test_the_five_verbs_need_the_permissions_of_the_contract(api, kind):
    needs = {row[:2]: row[2] for row in guarded_routes(api.app)}
    for method, rule, permission in VERBS:
        assert set(needs[method, rule.format(kind)]) == {permission.format(kind)}


@pytest.mark.parametrize("key", KINDS_OF_KEY)
def test_a_key_passes_exactly_the_routes_that_its_permissions_name(free, key):
    kind = key if key in ("secret", "publishable") else "restricted"
    token = free.key(kind, *([key] if kind == "restricted" else []))
    for method, rule, needs, _ in guarded_routes(free.app):
        body = None if method == "GET" else {}
        answer = free.ask(method, filled_in(rule), body, key=token, headers=PAGE)
        may = {
            "secret": True,
            "publishable": (method, rule) == ("POST", "/v1/contacts"),
            "restricted": set(needs) == {key},
        }[kind]
        where = f"{method} {rule}: {answer.status}"
        assert answer.status_int not in (401, 405, 429), where
        assert (answer.status_int != 403) is may, where


@pytest.mark.parametrize("key", [None, "ck_secret_unknown"])
def test_without_a_key_every_route_that_needs_one_is_401(free, key):
    for method, rule, _, _ in guarded_routes(free.app):
        body = None if method == "GET" else {}
        answer = free.ask(method, filled_in(rule), body, key=key)
        assert answer.status_int == 401, f"{method} {rule}"
