"""What a browser asks before it sends, and what the page can then read."""

from collections import defaultdict

import pytest

from client import ADA, PAGE, UNKNOWN, endpoints, failure, filled
from doubles import TWILIO

USUAL = ["Authorization", "Content-Type", "X-Api-Key", "Idempotency-Key"]
PATHS = [
    *("/v1/contacts", f"/v1/contacts/{UNKNOWN}", "/healthz", "/api/calls/create"),
    *("/", "/nothing", "/v1/nothing/here", "/api/api-keys/a/b", "/f/ck_pub_x"),
    *("/v1/contacts/", "//v1//contacts", "/%ff", "/v1/contacts/%ff", "/" + "x" * 9000),
]


def preflight(api, path, method="POST", headers=None, **environ):
    asked = {**PAGE, "Access-Control-Request-Method": method}
    if headers is not None:
        asked["Access-Control-Request-Headers"] = headers
    return api.ask("OPTIONS", path, key=None, headers=asked, lint=False, **environ)


def names(answer, header):
    return answer.headers[f"Access-Control-Allow-{header}"].split(", ")


@pytest.mark.parametrize("path", PATHS)
def test_any_path_known_or_not_answers_a_preflight(api, path):
    answer = preflight(api, path)
    assert (answer.status_int, answer.body) == (204, b"")
    assert answer.headers.getall("Access-Control-Allow-Origin") == [PAGE["Origin"]]
    assert answer.headers["Vary"] == "Origin"
    assert "POST" in names(answer, "Methods")
    assert names(answer, "Headers") == USUAL
    assert answer.headers["Access-Control-Max-Age"] == "86400"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "RateLimit" not in answer.headers


def test_every_route_names_its_methods_to_a_preflight(make):
    api, methods = make(**TWILIO), defaultdict(set)
    for one in endpoints(api.app):
        methods[one.path].add(one.method)
    assert {"/v1/contacts", "/v1/contacts/<ref>", "/healthz"} <= set(methods)
    for path, some in methods.items():
        assert some <= set(names(preflight(api, filled(path)), "Methods")), path


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "PURGE"])
def test_what_a_preflight_asked_for_may_be_sent_and_its_error_be_read(
    api, path, method
):
    assert method in names(preflight(api, path, method), "Methods")
    answer = api.ask(method, path, headers=PAGE, lint=False)
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE["Origin"]
    assert answer.headers["Vary"] == "Origin"
    assert "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]
    if answer.status_int >= 400 and not path.startswith(("/api/", "/f/")):
        failure(answer)


def test_a_known_path_names_what_it_takes(api):
    answer = preflight(api, "/v1/contacts", "PUT")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
    assert names(answer, "Methods") == ["GET", "HEAD", "OPTIONS", "POST", "PUT"]
    assert "Allow" not in preflight(api, "/nothing").headers


@pytest.mark.parametrize(
    "asked, more",
    [
        (None, []),
        ("", []),
        ("authorization,content-type", []),
        ("x-requested-with", ["x-requested-with"]),  # axios
        ("hx-current-url,hx-request", ["hx-current-url", "hx-request"]),  # htmx
        ("content-type, traceparent,\tbaggage", ["traceparent", "baggage"]),
        ("X-A, x-b, X-A", ["X-A", "x-b"]),
        ("a b, c:d, \xe9, (x), ,e", ["e"]),
        ("*", ["*"]),
    ],
)
def test_the_headers_that_are_asked_for_may_be_sent(api, asked, more):
    for path in ("/v1/contacts", "/nothing"):
        answer = preflight(api, path, headers=asked)
        assert names(answer, "Headers") == USUAL + more


def test_headers_are_named_up_to_1_kib(api):
    asked = ",".join(f"x-{number:05}" for number in range(10_000))
    named = names(preflight(api, "/nothing", headers=asked), "Headers")[4:]
    assert named == asked.split(",")[: len(named)]
    assert 1000 < len(",".join(named)) <= 1024
    assert names(preflight(api, "/", headers="x" * 1025), "Headers") == USUAL
    assert names(preflight(api, "/", headers="x" * 1024), "Headers")[4:] == ["x" * 1024]


@pytest.mark.parametrize("method", ["", "a b", "\xe9", "X" * 33, "a\tb", "PUT, GET"])
def test_a_method_that_is_none_is_not_repeated(api, method):
    answer = preflight(api, "/v1/contacts", method)
    assert names(answer, "Methods") == ["GET", "HEAD", "OPTIONS", "POST"]


def test_without_an_origin_a_preflight_is_open_to_any(api):
    for path in ("/v1/contacts", "/nothing"):
        environ = {"HTTP_ACCESS_CONTROL_REQUEST_METHOD": "GET"}
        answer = api.ask("OPTIONS", path, key=None, **environ)
        assert answer.headers.getall("Access-Control-Allow-Origin") == ["*"]


def test_preflights_count_for_nobody_on_any_path(make):
    api = make(CONTACTAPI_RATE_LIMIT="1/60")
    for _ in range(5):
        assert preflight(api, "/nothing").status_int == 204
    assert api.get("/nothing", key=None).status_int == 404
    assert api.get("/v1/contacts", key=None).status_int == 429


def test_a_preflight_of_one_page_is_no_leave_for_another(api):
    answer = api.post(ADA, key=api.key("publishable"), headers={"Origin": "null"})
    assert failure(answer)[0] == 403
    assert answer.headers["Access-Control-Allow-Origin"] == "null"


def test_options_that_are_no_preflight_ask_for_a_path_that_is_there(api):
    answer = api.ask("OPTIONS", "/v1/contacts", key=None)
    assert answer.status_int == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    answer = api.ask("OPTIONS", "/v1/nothing", key=None, headers=PAGE)
    assert failure(answer) == (404, "not_found", None)
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE["Origin"]
