"""Keys over HTTP (document 001)."""

import pytest

import contactapi
from client import (
    KEY_FIELDS,
    MY_KEY,
    NOBODY,
    SINGLES,
    enveloped,
    hyphenated,
    in_document_001,
    make_key,
    refusal,
)


def test_a_key_is_shown_once_and_never_used_is_null(api):
    made = make_key(api, **MY_KEY)
    answer = api.get("/api/api-keys")
    assert made["key"] not in answer.text
    (mine,) = [k for k in enveloped(answer)["keys"] if k["id"] == made["id"]]
    assert mine["last_used_at"] is None
    assert (mine["type"], mine["domains"]) == ("restricted", [])
    start, end = mine["hint"].split("…")
    assert made["key"].startswith(start) and made["key"].endswith(end)


def test_a_bearer_key_of_this_api_works_on_the_three_apis(api):
    names = ["contacts:read", "calls:read", "keys:read"]
    token = make_key(api, name="one", permissions=names)["key"]
    for path in (
        "/v1/contacts",
        "/api/v1/contacts",
        "/api/calls/list",
        "/api/api-keys",
    ):
        assert api.get(path, key=token).status_int == 200
        assert in_document_001(api, "GET", path, key=token).status_int == 200


def test_a_publishable_key_is_made_over_http(api):
    domains = ["example.com", "https://Shop.example.org/x"]
    made = make_key(
        api, name="form", type="publishable", domains=domains, existing="keep"
    )
    assert made["key"].startswith("ck_pub_")
    assert made["domains"] == ["example.com", "shop.example.org"]
    assert (made["type"], made["existing"]) == ("publishable", "keep")
    headers = {"Origin": "https://shop.example.org"}
    answer = api.post({"email": "a@x.org"}, key=made["key"], headers=headers)
    assert answer.status_int == 201


def test_a_secret_key_is_made_over_http(api):
    made = make_key(api, name="second", type="secret")
    assert made["key"].startswith("ck_secret_")
    assert api.get("/v1/events", key=made["key"]).status_int == 200


@pytest.mark.parametrize(
    "document, param",
    [
        ({"permissions": ["calls:read", "calls:delete"]}, "permissions"),
        ({"permissions": ["*"]}, "permissions"),
        ({"permissions": ["Calls:read"]}, "permissions"),
        ({"permissions": []}, "permissions"),
        ({}, "permissions"),
        ({"permissions": None}, "permissions"),
        ({"permissions": "calls:read"}, "permissions"),
        ({"permissions": [5]}, "permissions"),
        ({"permissions": [["calls:read"]]}, "permissions"),
        ({"permissions": {"calls:read": 1}}, "permissions"),
        ({"permissions": ["calls:read"], "name": 5}, "name"),
        ({"permissions": ["calls:read"], "name": None}, "name"),
        ({"permissions": ["calls:read"], "name": "a\nb"}, "name"),
        ({"permissions": ["calls:read"], "name": "a" * 201}, "name"),
        ({"permissions": ["calls:read"], "type": "admin"}, "type"),
        ({"permissions": ["calls:read"], "type": None}, "type"),
        ({"permissions": ["calls:read"], "type": ["secret"]}, "type"),
        ({"permissions": ["calls:read"], "type": {}}, "type"),
        ({"permissions": ["calls:read"], "domains": ["x.org"]}, "domains"),
        ({"type": "secret", "permissions": ["calls:read"]}, "permissions"),
        ({"type": "publishable"}, "domains"),
        ({"type": "publishable", "domains": []}, "domains"),
        ({"type": "publishable", "domains": "x.org"}, "domains"),
        ({"type": "publishable", "domains": ["a b"]}, "domains"),
        ({"type": "publishable", "domains": [None]}, "domains"),
        ({"type": "publishable", "domains": ["x.org"], "existing": "x"}, "existing"),
        ({"type": "publishable", "domains": ["x.org"], "existing": []}, "existing"),
    ],
    ids=str,
)
def test_a_key_that_cannot_be_is_400(api, document, param):
    before = enveloped(api.get("/api/api-keys"))["keys"]
    answer = api.post({"name": "My API Key", **document}, "/api/api-keys")
    assert refusal(answer) == (400, "invalid_request", param)
    after = enveloped(api.get("/api/api-keys"))["keys"]
    assert [key["id"] for key in after] == [key["id"] for key in before]


@pytest.mark.parametrize("permission", contactapi.known_permissions())
def test_every_permission_can_be_given(api, permission):
    assert make_key(api, name="", permissions=[permission])["permissions"] == [
        permission
    ]


def test_a_key_is_patched(api):
    made = make_key(api, name="form", type="publishable", domains=["example.com"])
    path = f"/api/api-keys/{made['id']}"
    headers = {"Origin": "https://other.org"}
    assert (
        api.post({"email": "a@x.org"}, key=made["key"], headers=headers).status_int
        == 403
    )
    change = {"name": "new", "domains": ["other.org"], "existing": "keep"}
    data = enveloped(api.ask("PATCH", path, change))
    assert {name: data[name] for name in change} == change
    assert "key" not in data and data["id"] == made["id"]
    assert (
        api.post({"email": "a@x.org"}, key=made["key"], headers=headers).status_int
        == 201
    )
    assert enveloped(api.ask("PATCH", path, {}))["name"] == "new"


@pytest.mark.parametrize(
    "change, param",
    [
        ({"name": 5}, "name"),
        ({"name": None}, "name"),
        ({"domains": []}, "domains"),
        ({"domains": ["a b"]}, "domains"),
        ({"existing": "x"}, "existing"),
    ],
    ids=str,
)
def test_a_bad_patch_of_a_key_is_400_and_changes_nothing(api, change, param):
    made = make_key(api, name="form", type="publishable", domains=["example.com"])
    answer = api.ask("PATCH", f"/api/api-keys/{made['id']}", change)
    assert refusal(answer) == (400, "invalid_request", param)
    (kept,) = [
        k for k in enveloped(api.get("/api/api-keys"))["keys"] if k["id"] == made["id"]
    ]
    assert (kept["name"], kept["domains"]) == ("form", ["example.com"])


def test_a_patch_does_not_change_what_a_key_may(api):
    made = make_key(api, **MY_KEY)
    change = {"permissions": ["keys:write"], "type": "secret", "name": "n"}
    api.ask("PATCH", f"/api/api-keys/{made['id']}", change)
    assert (
        api.post({"type": "secret"}, "/api/api-keys", key=made["key"]).status_int == 403
    )
    assert api.get("/v1/contacts", key=made["key"]).status_int == 403


def test_a_revoked_key_is_refused_on_the_next_request(api):
    made = make_key(api, **MY_KEY)
    path = f"/api/api-keys/{made['id']}"
    assert api.get("/api/calls/list", key=made["key"]).status_int == 200
    assert enveloped(api.ask("DELETE", path))["id"] == made["id"]
    answer = api.get("/api/calls/list", key=made["key"])
    assert refusal(answer) == (401, "unauthorized", None)
    assert refusal(api.ask("DELETE", path)) == (404, "not_found", None)
    assert made["id"] not in api.get("/api/api-keys").text


@pytest.mark.parametrize("method, body", [("PATCH", {"name": "x"}), ("DELETE", None)])
@pytest.mark.parametrize("ref", ["key_123", "con_" + "0" * 26, NOBODY, "x"])
def test_an_unknown_key_is_404(api, method, body, ref):
    answer = api.ask(method, f"/api/api-keys/{ref}", body)
    assert refusal(answer) == (404, "not_found", None)


def test_a_key_is_found_by_both_spellings_of_its_id_in_any_case(api):
    made = make_key(api, **MY_KEY)
    for ref in (
        made["id"].upper(),
        hyphenated(made["id"]),
        hyphenated(made["id"]).upper(),
    ):
        answer = api.ask("PATCH", f"/api/api-keys/{ref}", {"name": ref})
        assert enveloped(answer)["id"] == made["id"]


def test_keys_of_another_workspace_are_not_there(api):
    theirs = api.key("secret", workspace="other")
    ours = make_key(api, **MY_KEY)
    path = f"/api/api-keys/{ours['id']}"
    assert refusal(api.ask("PATCH", path, {"name": "x"}, key=theirs))[0] == 404
    assert refusal(api.ask("DELETE", path, key=theirs))[0] == 404
    keys = enveloped(api.get("/api/api-keys", key=theirs))["keys"]
    assert [key["id"] for key in keys] == [api.ref(theirs)]
    assert api.get("/api/calls/list", key=ours["key"]).status_int == 200


@pytest.mark.parametrize(
    "permissions",
    [("keys:write",), ("keys:write", "contacts:write"), ("keys:write", "calls:read")],
    ids=" ".join,
)
@pytest.mark.parametrize(
    "wanted",
    [
        {"type": "secret"},
        {"type": "publishable", "domains": ["example.com"]},
        *({"permissions": list(permissions)} for permissions in SINGLES),
        {"permissions": ["keys:write", "calls:read"]},
        {"permissions": contactapi.known_permissions()},
    ],
    ids=str,
)
def test_no_key_mints_or_changes_or_revokes_more_than_it_has(free, permissions, wanted):
    token = free.key("restricted", *permissions)
    has = {"publishable": {"contacts:write"}, "secret": {"everything"}}
    needed = has.get(wanted.get("type")) or set(wanted.get("permissions"))
    may = needed <= set(permissions)

    minted = free.post({"name": "x", **wanted}, "/api/api-keys", key=token)
    assert minted.status_int == (201 if may else 403), minted.text
    made = make_key(free, name="x", **wanted)
    path = f"/api/api-keys/{made['id']}"
    changed = free.ask("PATCH", path, {"name": "taken"}, key=token)
    assert changed.status_int == (200 if may else 403), changed.text
    if may:
        assert free.ask("DELETE", path, key=token).status_int == 200
    else:
        answers = (minted, changed, free.ask("DELETE", path, key=token))
        assert {refusal(a) for a in answers} == {(403, "forbidden", None)}
        listed = enveloped(free.get("/api/api-keys"))["keys"]
        assert ("x", made["id"]) in [(key["name"], key["id"]) for key in listed]


def test_a_key_that_may_write_but_not_read_keys_gets_its_own_words_back(api):
    token = api.key("restricted", "keys:write", "contacts:write")
    sent = {"name": "form", "type": "publishable", "domains": ["example.com"]}
    made = enveloped(api.post(sent, "/api/api-keys", key=token), 201)
    assert set(made) >= {"id", "name", "key", "created_at"}
    answer = api.ask("PATCH", f"/api/api-keys/{made['id']}", {"name": "n"}, key=token)
    assert enveloped(answer)["name"] == "n"
    assert set(enveloped(answer)) <= {"id", "name", "created_at", "updated_at"}


OPERATORS_KEY = "ck_secret_of-the-operators-own-choice"


@pytest.mark.parametrize("method, body", [("PATCH", {"name": "x"}), ("DELETE", None)])
def test_the_environments_key_is_listed_as_env_and_is_409(make, method, body):
    client = make(CONTACTAPI_SECRET_KEY=OPERATORS_KEY)
    answer = client.ask(method, "/api/api-keys/env", body)
    assert refusal(answer) == (409, "conflict", None)
    listed = client.get("/api/api-keys", key=OPERATORS_KEY)
    assert "env" in [key["id"] for key in enveloped(listed)["keys"]]
    (env,) = [key for key in enveloped(listed)["keys"] if key["id"] == "env"]
    assert set(env) >= KEY_FIELDS and env["type"] == "secret"
    assert OPERATORS_KEY not in listed.text


@pytest.mark.parametrize("method, body", [("PATCH", {"name": "x"}), ("DELETE", None)])
def test_the_environments_key_is_not_there_for_another_workspace(make, method, body):
    client = make(CONTACTAPI_SECRET_KEY=OPERATORS_KEY)
    other = client.key("secret", workspace="other")
    keys = enveloped(client.get("/api/api-keys", key=other))["keys"]
    assert "env" not in [key["id"] for key in keys]
    answer = client.ask(method, "/api/api-keys/env", body, key=other)
    assert refusal(answer) == (404, "not_found", None)


@pytest.mark.parametrize("method, body", [("PATCH", {"name": "x"}), ("DELETE", None)])
def test_without_the_environments_key_env_is_404(api, method, body):
    assert "env" not in [k["id"] for k in enveloped(api.get("/api/api-keys"))["keys"]]
    assert refusal(api.ask(method, "/api/api-keys/env", body))[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        "/api/api-keys/a/b",
        "/api/api-keys/a/b/c",
        "/api/calls",
        "/api/calls/a/b",
        "/api/calls/a/b/c",
        "/api/calls/create/x",
    ],
)
@pytest.mark.parametrize("token", [..., None])
def test_an_unknown_path_of_document_001_is_404_in_the_envelope(api, path, token):
    answer = api.get(path, key=token)
    assert refusal(answer) == (404, "not_found", None)


@pytest.mark.parametrize(
    "path", ["/api", "/api/keys", "/api/api-keysx", "/api/callsx", "/api/v1/calls/list"]
)
def test_a_path_of_no_document_is_404_in_the_common_shape(api, path):
    answer = api.get(path)
    assert (answer.status_int, set(answer.json)) == (404, {"error"})


@pytest.mark.parametrize(
    "method, path, allow",
    [
        ("PUT", "/api/api-keys", "GET, HEAD, OPTIONS, POST"),
        ("DELETE", "/api/api-keys", "GET, HEAD, OPTIONS, POST"),
        ("GET", "/api/api-keys/x", "DELETE, OPTIONS, PATCH"),
        ("GET", "/api/calls/create", "OPTIONS, POST"),
        ("PATCH", "/api/calls/create", "OPTIONS, POST"),
        ("DELETE", "/api/calls/create", "OPTIONS, POST"),
        ("POST", "/api/calls/list", "GET, HEAD, OPTIONS"),
        ("PATCH", "/api/calls/list", "GET, HEAD, OPTIONS"),
        ("POST", "/api/calls/x", "GET, HEAD, OPTIONS, PATCH"),
        ("DELETE", "/api/calls/x", "GET, HEAD, OPTIONS, PATCH"),
    ],
)
def test_a_wrong_method_of_document_001_is_405_in_the_envelope(
    api, method, path, allow
):
    answer = api.ask(method, path, None if method == "GET" else {}, key=None)
    assert refusal(answer) == (405, "method_not_allowed", None)
    assert answer.headers["Allow"] == allow


@pytest.mark.parametrize("path", ["/api/api-keys", "/api/calls/create"])
def test_every_error_of_document_001_is_in_the_envelope(api, monkeypatch, path):
    def post(body, **options):
        return refusal(api.post(body, path, **options))[:2]

    assert post(b"{") == (400, "invalid_request")
    assert post(b"[]") == (400, "invalid_request")
    assert post(b'{"a": NaN}') == (400, "invalid_request")
    assert post({}, key=None) == (401, "unauthorized")
    assert post({}, key=api.key("restricted", "contacts:read")) == (403, "forbidden")
    assert post(b"x" * 65537) == (413, "payload_too_large")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert post(b"a=b", headers=form) == (415, "unsupported_media_type")
    with monkeypatch.context() as patch:
        patch.setattr(api.app.services.keys, "create", lambda *_, **__: 1 / 0)
        patch.setattr(api.app.services.calls, "create", lambda *_, **__: 1 / 0)
        assert post({}) == (500, "internal_error")
    limited = api.key("restricted", "contacts:read")
    answers = [api.post({}, path, key=limited) for _ in range(101)]
    assert refusal(answers[-1])[:2] == (429, "rate_limit")
    assert answers[-1].headers["Retry-After"] == "60"


def test_a_database_that_cannot_be_written_is_503_in_the_envelope(api, monkeypatch):
    def fails(work):
        raise contactapi.Unavailable()

    (ref,) = api.add("a@x.org")
    monkeypatch.setattr(api.services.store, "write", fails)
    call = {"contact_id": ref, "phone_number": "+1234567890"}
    answers = [api.post(call, "/api/calls/create"), api.post(MY_KEY, "/api/api-keys")]
    assert {refusal(answer) for answer in answers} == {(503, "unavailable", None)}


@pytest.mark.parametrize(
    "permissions, method, ref, body, status",
    [
        # "Where several apply, the first of: … 403, 415, 400, 404 for the record, 409"
        (("keys:write",), "PATCH", "key_" + "0" * 26, {"name": 5}, 400),
        (("keys:write",), "PATCH", "key_" + "0" * 26, {"domains": ["a b"]}, 400),
        (("keys:write",), "PATCH", "key_" + "0" * 26, {"captcha": "x"}, 400),
        (("keys:write",), "PATCH", "secret", {"name": 5}, 403),
        (("keys:write",), "POST", "", {"type": "secret", "name": 5}, 403),
        (("keys:write",), "DELETE", "env", None, 403),
        (("keys:write",), "PATCH", "env", {"name": "x"}, 403),
    ],
)
def test_of_several_refusals_of_a_key_the_first_in_the_contracts_order_is_given(
    make, permissions, method, ref, body, status
):
    client = make(CONTACTAPI_SECRET_KEY=OPERATORS_KEY)
    ref = client.ref(client.secret) if ref == "secret" else ref
    token = client.key("restricted", *permissions)
    path = f"/api/api-keys/{ref}".rstrip("/")
    assert client.ask(method, path, body, key=token).status_int == status
