"""Work grows no faster than linearly with the bytes sent, in every parser behind the
server's own: Bottle's, urllib's, json's, and the patterns of ours."""

import io

import pytest

from client import seconds

BODY = b'{"email":"a@x.org"}'


def json_body(text):
    return {"REQUEST_METHOD": "POST", "wsgi.input": text.encode()}


def posted(**environ):
    """By a publishable key, whose origin is looked at."""
    return {"REQUEST_METHOD": "POST", "wsgi.input": BODY, "key": "public", **environ}


def query(text, path="/v1/contacts"):
    return {"PATH_INFO": path, "QUERY_STRING": text}


def form(text, media="application/x-www-form-urlencoded"):
    body = {"REQUEST_METHOD": "POST", "wsgi.input": text.encode()}
    return {**body, "PATH_INFO": "/f", "CONTENT_TYPE": media}


PART = '--x\r\nContent-Disposition: form-data; name="a"'
BY_PARTS = "multipart/form-data; boundary="


def parts(text):
    return form(text, BY_PARTS + "x")


REQUESTS = {
    "parts of a path": lambda n: {"PATH_INFO": "/v1/contacts/" + "a/" * (n // 2)},
    "one long part": lambda n: {"PATH_INFO": "/api/calls/" + "create" * (n // 6)},
    "slashes": lambda n: {"PATH_INFO": "/" * n},
    "escapes of a query": lambda n: query("q=" + "%41" * (n // 3)),
    "percent signs": lambda n: query("q=" + "%" * n),
    "ampersands": lambda n: query("&" * n),
    "ninety times": lambda n: query(
        "&".join(["created_after=" + "1" * (n // 90)] * 90)
    ),
    "brackets": lambda n: query("filter[" + "]" * n + "=a"),
    "a filter's number": lambda n: query("filter[a]=0." + "1" * n),
    "a filter's brackets": lambda n: query("filter[a]=" + "[" * n),
    "labels of an email": lambda n: query("email=a@" + "a." * (n // 2)),
    "spaces of an email": lambda n: query("email=" + "+" * n + "a"),
    "marks of q": lambda n: query("q=a" + "%CC%81%CC%A3" * (n // 12)),
    "digits of a page": lambda n: query("page=" + "9" * n),
    "digits of a cursor": lambda n: query("cursor=" + "9" * n, "/api/v1/contacts"),
    "an event's id": lambda n: query("after=evt_" + "0" * n, "/v1/events"),
    "spaces before a key": lambda n: {"HTTP_AUTHORIZATION": "Bearer" + " " * n + "x"},
    "a long key": lambda n: {"HTTP_AUTHORIZATION": "Bearer " + "x" * n},
    "labels of an origin": lambda n: posted(HTTP_ORIGIN="https://" + "a." * (n // 2)),
    "a scheme": lambda n: posted(HTTP_ORIGIN="a" * n),
    "ports of a referer": lambda n: posted(HTTP_REFERER="https://" + "1:" * (n // 2)),
    "plus signs of a type": lambda n: posted(CONTENT_TYPE="a/" + "+" * n + "json"),
    "cookies": lambda n: {"HTTP_COOKIE": "a=b;" * (n // 4)},
    "forwarded": lambda n: {"HTTP_X_FORWARDED_FOR": "1," * (n // 2)},
    "colons": lambda n: {"HTTP_X_FORWARDED_FOR": ":" * n},
    "a method": lambda n: {"REQUEST_METHOD": "A" * n},
    "headers to allow": lambda n: {
        "REQUEST_METHOD": "OPTIONS",
        "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "A" * n,
        "HTTP_ACCESS_CONTROL_REQUEST_HEADERS": "a," * (n // 2),
    },
    "an idempotency key": lambda n: {
        **json_body("{}"),
        "PATH_INFO": "/api/calls/create",
        "HTTP_IDEMPOTENCY_KEY": '"' + '\\"' * (n // 2) + '"',
    },
    "digits of a float": lambda n: json_body(
        '{"email":"a@x.org","a":0.' + "1" * n + "}"
    ),
    "zeros of a float": lambda n: json_body(
        '{"email":"a@x.org","a":0.' + "0" * n + "}"
    ),
    "arrays": lambda n: json_body('{"email":"a@x.org","a":' + "[" * n),
    "objects": lambda n: json_body('{"a":' * (n // 5)),
    "escapes of JSON": lambda n: json_body('{"email":"' + "\\u00e9" * (n // 6) + '"}'),
    "spaces of JSON": lambda n: json_body(" " * n + "x"),
    "one name often": lambda n: json_body(
        "{" + '"a":1,' * (n // 6) + '"email":"a@x.org"}'
    ),
    "marks": lambda n: json_body(
        '{"email":"a@x.org' + "\u0301\u0323" * (n // 4) + '"}'
    ),
    "invisible ones": lambda n: json_body(
        '{"email":"a@x.org' + "\u200b" * (n // 3) + '"}'
    ),
    "escapes of a form": lambda n: form("a=" + "%41" * (n // 3)),
    "percent signs of a form": lambda n: form("%" * n),
    "values of a form": lambda n: form("a&" * (n // 2)),
    "names of a form": lambda n: form("".join(f"&{k:05}" for k in range(n // 6))),
    "a boundary": lambda n: form("", BY_PARTS + "x" * n),
    "boundaries": lambda n: form("", BY_PARTS + "x; boundary=" * (n // 12)),
    "quotes of a boundary": lambda n: form("", BY_PARTS + '"' * n),
    "a preamble": lambda n: parts("\r\n--" * (n // 4)),
    "empty parts": lambda n: parts((PART + "\r\n\r\n\r\n") * (n // 51)),
    "lines of a part's head": lambda n: parts(PART + "\r\nX:y" * (n // 5)),
    "folded lines": lambda n: parts(PART + "\r\n x" * (n // 4)),
    "one long line": lambda n: parts(PART + "\r\nX:" + "y" * n),
    "quotes of a part's name": lambda n: parts(PART + ' ;a="\\"' * (n // 7)),
    "almost its end": lambda n: parts(PART + "\r\n\r\n" + "\r\n--" * (n // 4)),
    "line ends": lambda n: parts(PART + "\r\n\r\n" + "\r" * n),
    "ideographs": lambda n: json_body('{"email":"a@' + "\u4e00" * (n // 3) + '.org"}'),
}


def asked(api, made):
    key = api.public if made.get("key") == "public" else api.secret
    body = made.get("wsgi.input", b"")
    return {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/v1/contacts",
        "QUERY_STRING": "",
        "CONTENT_TYPE": "application/json",
        "HTTP_AUTHORIZATION": f"Bearer {key}",
        **made,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "SERVER_NAME": "x",
        "SERVER_PORT": "80",
        "REMOTE_ADDR": "203.0.113.1",
    }


def answered(api, made):
    list(api.app(asked(api, made), lambda status, headers, error=None: None))


@pytest.fixture
def behind(make):
    api = make(CONTACTAPI_RATE_LIMIT="off", CONTACTAPI_TRUSTED_PROXY="*")
    api.public = api.key("publishable")
    return api


@pytest.mark.parametrize("request_of", REQUESTS.values(), ids=REQUESTS)
def test_four_times_the_bytes_are_no_more_than_four_times_the_work(behind, request_of):
    made = map(request_of, (8_000, 32_000))
    some, more = (seconds(lambda one=one: answered(behind, one)) for one in made)
    assert more < 6 * some + 0.002
