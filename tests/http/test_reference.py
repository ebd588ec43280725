"""pages/openapi.json and llms.txt have what the server serves, and nothing else
(CONTRACT section 11)."""

import json
import re
from pathlib import Path

import pytest

import contactapi
from client import NOBODY, endpoints, every_error
from doubles import TWILIO

PAGES = Path(contactapi.__file__).parent / "pages"
SPEC = json.loads((PAGES / "openapi.json").read_text())
LLMS = (PAGES / "llms.txt").read_text()
METHODS = ("get", "post", "patch", "delete")
MAIL = {
    "CONTACTAPI_SMTP_URL": "smtp://127.0.0.1:9",
    "CONTACTAPI_MAIL_FROM": "forms@example.com",
}
ROLES = {
    contactapi.EVERYTHING: "secret",
    contactapi.SIGNED: "any",
}


def resolved(value):
    while isinstance(value, dict) and "$ref" in value:
        steps = value["$ref"].removeprefix("#/").split("/")
        value = SPEC
        for step in steps:
            value = value[step]
    return value


def operations():
    """(method, path, what the document says) of each."""
    return [
        (method.upper(), path, {**item[method], "shared": item.get("parameters", [])})
        for path, item in SPEC["paths"].items()
        for method in METHODS
        if method in item
    ]


def named(operations):
    return [f"{method} {path}" for method, path, _ in operations]


def parameters(operation):
    return [resolved(p) for p in operation["shared"] + operation.get("parameters", [])]


def test_it_is_openapi_3_1_with_both_ways_to_send_a_key():
    assert SPEC["openapi"].startswith("3.1.")
    assert SPEC["info"]["version"] == contactapi.VERSION
    schemes = SPEC["components"]["securitySchemes"]
    assert schemes["bearer"]["scheme"] == "bearer"
    assert (schemes["header"]["in"], schemes["header"]["name"]) == (
        "header",
        "x-api-key",
    )


def test_every_route_is_described_with_what_it_needs_and_no_other(make):
    def plain(path):
        return re.sub(r"<\w+>|\{\w+\}", "{}", path)

    served = {
        (one.method, plain(one.path)): (one.needs, one.public)
        for one in endpoints(make(**TWILIO, **MAIL).app)
    }
    described = {(m, plain(path)): operation for m, path, operation in operations()}
    # Whatever stands here is to be described in pages/openapi.json, or no longer.
    assert sorted(described.keys() ^ served.keys()) == []
    for route, (needs, public) in served.items():
        roles = needs.split() if needs and " " not in needs else needs
        if needs in ROLES:
            roles = [ROLES[needs]]
        elif needs:
            roles = needs.split()
        ways = [list(way.values())[0] for way in described[route].get("security", [])]
        expected = [roles, roles] if needs else []
        assert ways == expected + [["publishable"]] * 2 * public, route


def test_its_error_codes_are_those_that_there_are():
    codes = {one.code for one in every_error()}
    error = SPEC["components"]["schemas"]["Error"]["properties"]["error"]
    assert set(error["properties"]["code"]["enum"]) == codes


def test_the_permissions_of_openapi_json_are_those_that_there_are():
    named = SPEC["components"]["schemas"]["Permission"]["enum"]
    assert sorted(named) == sorted(contactapi.known_permissions())


def test_every_reference_in_it_leads_somewhere():
    for ref in set(re.findall(r'"\$ref": "(#[^"]+)"', json.dumps(SPEC))):
        assert resolved({"$ref": ref}) is not None, ref


def test_every_operation_has_a_name_of_its_own_and_says_what_it_answers():
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names)
    for _, path, operation in operations():
        assert operation["summary"] and operation["tags"], path
        assert any(status[0] in "23" for status in operation["responses"]), path


# -- every example in it is sent


def ready(make):
    """A server that holds what the examples speak of, and the ids to put in."""
    api = make(CONTACTAPI_RATE_LIMIT="off")
    (contact,) = api.add("ada@example.com")
    company = api.post({"name": "Acme Ltd"}, "/v1/companies").json["id"]
    ask = {"contact_id": contact, "phone_number": "+442012345678"}
    call = api.post(ask, "/api/calls/create").json["data"]["id"]
    keys = "/api/api-keys"
    made = api.post({"name": "x", "permissions": ["calls:read"]}, keys).json["data"]
    form = api.key("publishable")
    headers = {"Origin": "https://example.com"}
    api.post({"email": "ada@example.com"}, key=form, headers=headers)
    submission = api.get("/v1/submissions").json["data"][0]["id"]
    webhook = api.post({"url": "https://example.org/in"}, "/v1/webhooks").json["id"]
    places = {
        "/v1/contacts/{id}": contact,
        "/v1/companies/{id}": company,
        "/v1/submissions/{id}": submission,
        "/v1/webhooks/{id}": webhook,
        "/api/api-keys/{id}": made["id"],
        "/api/calls/{id}": call,
    }
    return api, places, {"contact_id": contact, "access_key": form}


def bodies():
    for method, path, operation in operations():
        for media, content in (
            resolved(operation.get("requestBody", {})).get("content", {}).items()
        ):
            if "example" in content:
                yield pytest.param(
                    *(method, path, operation, media, content["example"]),
                    id=f"{method} {path} {media}",
                )


@pytest.mark.parametrize("method, path, operation, media, example", list(bodies()))
def test_every_example_of_a_body_is_taken(
    make, method, path, operation, media, example
):
    api, places, ids = ready(make)
    place = next((p for p in places if path.startswith(p)), None)
    url = path.replace("{id}", places[place]) if place else path
    url = url.replace("{key}", ids["access_key"])
    if isinstance(example, dict):
        example = {n: ids.get(n, value) for n, value in example.items()}
    raw = encoded(media, example)
    content_type = media
    if media == "multipart/form-data":
        content_type = "multipart/form-data; boundary=b"
    headers = {"Content-Type": content_type, "Origin": "https://example.com"}
    if path == "/mcp":
        del headers["Origin"]
    answer = api.ask(method, url, raw, headers=headers)
    good = [status for status in operation["responses"] if status[0] in "23"]
    assert str(answer.status_int) in good, answer.text


def encoded(media, example):
    if isinstance(example, str):
        return example.encode()
    if media == "application/x-www-form-urlencoded":
        from urllib.parse import urlencode

        return urlencode(example).encode()
    if media == "multipart/form-data":
        head = 'Content-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
        parts = [f"--b\r\n{head.format(n, value)}" for n, value in example.items()]
        return ("".join(parts) + "--b--\r\n").encode()
    return json.dumps(example).encode()


@pytest.mark.parametrize(
    "one",
    [one for one in operations() if one[0] == "GET"],
    ids=named(one for one in operations() if one[0] == "GET"),
)
def test_every_reading_answers_with_a_status_that_is_named(make, one):
    method, path, operation = one
    api, places, _ = ready(make)
    place = next((p for p in places if path.startswith(p)), None)
    url = path.replace("{id}", places[place]) if place else path
    url = url.replace("{id}", NOBODY).replace("{key}", "ck_pub_x")
    url = url.replace("{token}", "x").replace("{name}", "docs.css")
    answer = api.ask(method, url)
    assert str(answer.status_int) in operation["responses"], answer.text


# -- llms.txt


def sections():
    """What stands below each heading of an endpoint."""
    parts = re.split(r"^### (\w+ /\S*)\n", LLMS, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def test_llms_txt_has_the_same_endpoints():
    assert sorted(sections()) == sorted(named(operations()))


@pytest.mark.parametrize("one", operations(), ids=named(operations()))
def test_llms_txt_says_what_each_takes_gives_and_refuses(one):
    method, path, operation = one
    text = sections()[f"{method} {path}"]
    assert operation["summary"] in text
    taken = parameters(operation)
    content = resolved(operation.get("requestBody", {})).get("content", {})
    for media in content:
        assert f"`{media}`" in text
    schema = resolved(next(iter(content.values()), {}).get("schema", {}))
    fields = list(schema.get("properties", {}))
    listed = re.findall(r"^- `([^`]+)` \(", text, re.MULTILINE)
    assert listed == [p["name"] for p in taken] + fields
    for status in operation["responses"]:
        if status not in ("500", "503"):
            assert status in text, status
    for way in operation.get("security", []):
        for role in way.get("bearer", []):
            shown = {"secret": "a secret key", "publishable": "a publishable key"}
            assert shown.get(role, role) in text or role == "any"


def test_llms_txt_has_an_example_in_each_language():
    for language in ("curl ", "await fetch(", "urlopen("):
        assert language in LLMS
    assert "{{url}}" in LLMS and "127.0.0.1" not in LLMS
