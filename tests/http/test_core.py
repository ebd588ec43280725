"""Failures of the inside; methods and paths."""

import logging

import pytest

import contactapi
from client import ADA, PAGE, UNKNOWN, failure

# -- failures of the inside


def test_a_500_shows_nothing_of_the_inside_and_the_log_has_its_id(
    api, monkeypatch, caplog
):
    def explode(*arguments):
        raise RuntimeError(f"SELECT secret FROM /root/contacts.db {api.secret}")

    monkeypatch.setattr(api.services.contacts, "get", explode)
    answer = api.get(f"/v1/contacts/{UNKNOWN}", headers=PAGE)
    assert failure(answer) == (500, "internal_error", None)
    for word in ("SELECT", "root", "RuntimeError", "explode", "Traceback", "ck_"):
        assert word not in answer.text
    assert answer.headers["RateLimit"] == '"key";r=99;t=60'
    assert answer.headers["Access-Control-Allow-Origin"] == "https://example.com"
    logged = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert len(logged) == 1 and answer.headers["X-Request-Id"] in logged[0]
    assert "RuntimeError" in logged[0] and "explode" in logged[0]
    assert api.secret not in caplog.text


def test_a_failing_write_is_the_same_500_and_the_next_one_works(api, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(contactapi, "searchable", lambda *arguments: 1 / 0)
        assert failure(api.post(ADA)) == (500, "internal_error", None)
    assert api.get("/v1/contacts").json["total"] == 0
    assert api.post(ADA).status_int == 201


@pytest.mark.parametrize(
    "owner, name",
    [
        ("keys", "find"),
        ("app", "refuse"),
        ("gate", "admit"),
        ("contacts", "page"),
    ],
)
def test_wherever_it_fails_the_500_has_the_one_shape(
    api, monkeypatch, caplog, owner, name
):
    def explode(*arguments):
        raise ZeroDivisionError("inside")

    owners = {"app": api.app, "gate": api.app.gate}
    owner = owners.get(owner) or getattr(api.services, owner)
    monkeypatch.setattr(owner, name, explode)
    answer = api.get("/v1/contacts", headers=PAGE)
    assert failure(answer) == (500, "internal_error", None)
    assert "inside" not in answer.text
    assert answer.headers["X-Request-Id"] in caplog.text
    assert answer.headers["Access-Control-Allow-Origin"] == "https://example.com"


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("inside"), None], ids=["bug", "db"]
)
@pytest.mark.parametrize(
    "method, path, statuses",
    [
        ("GET", "/v1/nothing", (404, 500, 503)),
        ("PUT", "/v1/contacts", (405, 500, 503)),
        ("GET", "/v1/contacts", (500, 503)),
    ],
)
def test_when_no_key_can_be_looked_up_the_answer_has_the_one_shape(
    api, monkeypatch, error, method, path, statuses
):
    def fail(*arguments):
        raise error or contactapi.Unavailable()

    monkeypatch.setattr(api.services.keys, "find", fail)
    answer = api.ask(method, path, headers=PAGE)
    assert failure(answer)[0] in statuses
    assert answer.headers["X-Request-Id"]


def test_healthz_is_503_when_the_database_does_not_answer(api, monkeypatch):
    def fail(*arguments):
        raise contactapi.Unavailable()

    monkeypatch.setattr(api.services.store, "row", fail)
    answer = api.get("/healthz", key=None)
    assert failure(answer) == (503, "unavailable", None)


@pytest.mark.parametrize(
    "refusal, status, code",
    [
        (contactapi.InvalidRequest, 400, "invalid_request"),
        (contactapi.PayloadTooLarge, 413, "payload_too_large"),
        (contactapi.Unavailable, 503, "unavailable"),
        (contactapi.ApiError, 500, "internal_error"),
    ],
)
def test_what_the_server_could_not_read_is_worded_like_everything_else(
    api, refusal, status, code
):
    environ = {"contactapi.refusal": refusal()}
    answer = api.get("/v1/contacts", headers=PAGE, lint=False, **environ)
    assert failure(answer) == (status, code, None)
    assert answer.headers["Access-Control-Allow-Origin"] == "https://example.com"


# -- methods and paths


@pytest.mark.parametrize(
    "path, allow",
    [
        ("/v1/contacts", "GET, HEAD, OPTIONS, POST"),
        (f"/v1/contacts/{UNKNOWN}", "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("/v1/companies", "GET, HEAD, OPTIONS, POST"),
        (f"/v1/companies/{UNKNOWN}", "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("/healthz", "GET, HEAD, OPTIONS"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "TRACE", "PROPFIND", "NONSENSE"])
def test_a_wrong_method_is_405_with_allow(api, path, allow, method):
    answer = api.ask(method, path, lint=False)
    assert failure(answer) == (405, "method_not_allowed", None)
    assert answer.headers["Allow"] == allow


def test_head_is_get_without_a_body(api):
    (ref,) = api.add("ada@example.com", plan="pro")
    for path in ("/v1/contacts", f"/v1/contacts/{ref}", "/healthz", "/v1/companies"):
        head, get = api.ask("HEAD", path), api.get(path)
        assert (head.status_int, head.body) == (200, b"")
        for name in ("Content-Type", "Content-Length"):
            assert head.headers[name] == get.headers[name]
    missing = api.ask("HEAD", f"/v1/contacts/{UNKNOWN}")
    assert (missing.status_int, missing.body) == (404, b"")


def test_a_trailing_slash_is_the_same_path(api):
    answer = api.post(ADA, "/v1/contacts/")
    assert answer.status_int == 201
    assert api.get(f"/v1/contacts/{answer.json['id']}/").json == answer.json
    assert api.get("/v1/contacts/?page=1").json["total"] == 1
    assert api.get("/healthz/", key=None).status_int == 200


def test_healthz_needs_no_key(api):
    answer = api.get("/healthz", key=None)
    assert (answer.status_int, answer.json) == (200, {"status": "ok"})
