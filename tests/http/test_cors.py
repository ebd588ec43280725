"""What a page of another origin may read."""

import pytest

import contactapi
from client import ADA, UNKNOWN, failure


def answers_of_each_status(api, monkeypatch):
    """(status, what asks for it), the failures of the inside last."""
    (ref,) = api.add("ada@example.com")
    api.add("bob@example.com")
    one, text = f"/v1/contacts/{ref}", {"Content-Type": "text/plain"}
    reader = api.key("restricted", "contacts:read")
    spent = api.key("restricted", "contacts:read")
    for _ in range(100):
        api.get("/healthz", key=None)
    while api.get(one, key=spent).status_int != 429:
        pass

    def inside(error):
        def act(headers):
            def fail(*arguments):
                raise error

            with monkeypatch.context() as patch:
                patch.setattr(api.services.contacts, "get", fail)
                return api.get(one, headers=headers)

        return act

    def ask(*arguments, **options):
        return lambda headers: api.ask(
            *arguments, **{**options, "headers": {**headers, **options.get("more", {})}}
        )

    return [
        (200, ask("GET", one)),
        (200, ask("GET", "/healthz", key=None)),
        (201, ask("POST", "/v1/contacts", ADA)),
        (400, ask("POST", "/v1/contacts", b"{")),
        (400, ask("GET", "/v1/contacts?page=0")),
        (401, ask("GET", one, key=None)),
        (403, ask("POST", "/v1/contacts", ADA, key=reader)),
        (404, ask("GET", f"/v1/contacts/{UNKNOWN}")),
        (404, ask("GET", "/v1/nothing/here", key=None)),
        (405, ask("PUT", "/v1/contacts", ADA)),
        (409, ask("PATCH", one, {"email": "bob@example.com"})),
        (413, ask("POST", "/v1/contacts", b"x" * 65537)),
        (415, lambda h: api.post(b"x", headers={**h, **text})),
        (429, ask("GET", one, key=spent)),
        (500, inside(RuntimeError("inside"))),
        (503, inside(contactapi.Unavailable())),
    ]


@pytest.mark.parametrize("origin", ["https://page.test", "null"])
def test_every_status_can_be_read_by_a_page_of_another_origin(api, monkeypatch, origin):
    for status, ask in answers_of_each_status(api, monkeypatch):
        answer = ask({"Origin": origin})
        assert answer.status_int == status, answer.text
        assert answer.headers.getall("Access-Control-Allow-Origin") in ([origin], ["*"])
        assert answer.headers["Vary"] == "Origin"
        assert "Access-Control-Allow-Credentials" not in answer.headers
        exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-Id"} <= {
            *exposed
        }


def test_every_status_has_the_headers_of_the_contract(api, monkeypatch):
    ids = set()
    for status, ask in answers_of_each_status(api, monkeypatch):
        answer = ask({})
        assert answer.status_int == status, answer.text
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        assert answer.headers.getall("Cache-Control") == ["no-store"]
        assert answer.headers.getall("X-Content-Type-Options") == ["nosniff"]
        ids.add(answer.headers["X-Request-Id"])
        if status >= 400:
            failure(answer)
    assert len(ids) == 16
