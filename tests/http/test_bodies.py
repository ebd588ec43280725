"""Bodies as clients send them: compressed, with a BOM, too large."""

import gzip
import io
import json

import pytest

import contactapi
from client import ADA, MEDIA, failure, jsonl, refusal

BOM = b"\xef\xbb\xbf"
GZIP = {"Content-Encoding": "gzip"}


def raw(document):
    return json.dumps(document).encode()


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "GZIP", "identity, gzip"])
def test_a_compressed_body_is_415_wherever_one_is_taken(api, coding):
    (ref,) = api.add("bob@example.com")
    body, headers = gzip.compress(raw(ADA)), {"Content-Encoding": coding}
    for answer in (
        api.post(body, headers=headers),
        api.ask("PATCH", f"/v1/contacts/{ref}", body, headers=headers),
        api.post(body, "/v1/companies", headers=headers),
        *(
            api.post(body, f"/v1/contacts.{form}", headers={"Content-Type": m, **GZIP})
            for form, m in MEDIA.items()
        ),
    ):
        assert failure(answer) == (415, "unsupported_media_type", None)
        assert "Content-Encoding" in answer.json["error"]["message"]
    for path in ("/api/api-keys", "/api/calls/create"):
        answer = api.post(body, path, headers=headers)
        assert refusal(answer) == (415, "unsupported_media_type", None)
    assert api.get("/v1/contacts").json["total"] == 1


@pytest.mark.parametrize("coding", ["identity", "Identity", ""])
def test_identity_is_no_encoding(api, coding):
    headers = {"Content-Encoding": coding}
    assert api.post(ADA, headers=headers).status_int == 201


def test_a_request_without_a_body_may_say_what_it_likes(api):
    assert api.get("/v1/contacts", headers=GZIP).status_int == 200


def test_an_encoding_is_refused_after_the_key_and_before_the_syntax(api):
    reader = api.key("restricted", "contacts:read")
    large = b"x" * 65537
    assert failure(api.post(large, headers=GZIP))[0] == 413
    assert failure(api.post(b"{", headers=GZIP, key=None))[0] == 401
    assert failure(api.post(b"{", headers=GZIP, key=reader))[0] == 403
    assert failure(api.post(b"{", headers=GZIP))[0] == 415


def test_a_bom_before_json_is_passed_over(api):
    assert api.post(BOM + raw(ADA)).status_int == 201
    (ref,) = api.add("ada@example.com")
    assert api.patch(ref, BOM + b'{"plan":"free"}').json["plan"] == "free"
    created = api.post(
        BOM + raw({"name": "x", "permissions": ["calls:read"]}), "/api/api-keys"
    )
    assert created.status_int == 201


@pytest.mark.parametrize("body", [BOM, BOM + BOM + b"{}", b"{}" + BOM, b"\xff\xfe{\0"])
def test_a_bom_anywhere_else_is_400(api, body):
    assert failure(api.post(body))[0] == 400


def test_where_any_body_may_have_64_mib_any_path_takes_it(make):
    api = make(CONTACTAPI_MAX_BODY=str(2**26))
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/v1/contacts"}
    assert api.app.expect(environ, 2**26) == 2**26


def test_a_413_names_the_limit(make):
    api = make(CONTACTAPI_MAX_BODY="2048")
    for path in ("/v1/contacts", "/nothing", "/healthz"):
        for key in (api.secret, None):
            answer = api.post(b"x" * 2049, path, key=key)
            assert failure(answer) == (413, "payload_too_large", None)
            assert "2048 bytes" in answer.json["error"]["message"]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize("kind", ["contacts", "companies"])
def test_on_an_import_path_a_413_names_the_key_that_is_missing(api, kind, form):
    reader = api.key("restricted", f"{kind}:read")
    for key in (None, "ck_secret_of_nobody", reader):
        headers = {"Content-Type": MEDIA[form]}
        path = f"/v1/{kind}.{form}/"
        answer = api.post(b"x" * 65537, path, key=key, headers=headers)
        assert failure(answer) == (413, "payload_too_large", None)
        message = answer.json["error"]["message"]
        assert "65536 bytes" in message and "valid key" in message
        assert f"{kind}:read and {kind}:write" in message


def test_with_the_key_a_large_import_is_taken_and_a_larger_one_names_64_mib(api):
    body = jsonl(*[{"email": f"a{n}@x.org", "pad": "x" * 1000} for n in range(100)])
    headers = {"Content-Type": MEDIA["jsonl"]}
    path = "/v1/contacts.jsonl"
    assert api.post(body.encode(), path, headers=headers).json["created"] == 100
    environ = {"CONTENT_LENGTH": str(2**26 + 1)}
    answer = api.ask("POST", path, headers=headers, lint=False, **environ)
    assert failure(answer) == (413, "payload_too_large", None)
    assert "67108864 bytes" in answer.json["error"]["message"]


@pytest.mark.parametrize("path", ["/%ff", "/nothing", "/v1/contacts"])
def test_a_body_that_is_too_large_comes_before_the_path(api, path):
    answer = api.ask("PUT", path, b"x" * 65537, key=None, lint=False)
    assert failure(answer)[0] == 413


def test_what_could_not_be_read_says_why(api):
    refused = contactapi.InvalidRequest("a header field is odd")
    environ = {"contactapi.refusal": refused}
    answer = api.get("/v1/contacts", lint=False, **environ)
    assert failure(answer) == (400, "invalid_request", None)
    assert answer.json["error"]["message"] == "a header field is odd"
    answer = api.get("/api/calls/list", lint=False, **environ)
    assert refusal(answer)[0] == 400


@pytest.mark.parametrize("size, status", [(65536, 400), (65537, 413)])
def test_a_body_of_exactly_the_limit_is_read(api, size, status):
    assert api.post(b"x" * size).status_int == status


class Endless(io.RawIOBase):
    """A body that never ends, and how much of it was read."""

    count = 0

    def readable(self):
        return True

    def readinto(self, buffer):
        self.count += len(buffer)
        buffer[:] = b"x" * len(buffer)
        return len(buffer)


@pytest.mark.parametrize("length", [None, "10000000"])
def test_a_body_over_the_limit_is_refused_before_it_is_read_whole(api, length):
    body = Endless()
    environ = {"wsgi.input": body, "CONTENT_TYPE": "application/json"}
    if length:
        environ["CONTENT_LENGTH"] = length
    answer = api.ask("POST", "/v1/contacts", lint=False, **environ)
    assert failure(answer) == (413, "payload_too_large", None)
    assert body.count <= (0 if length else 65536 * 2)


@pytest.mark.parametrize("text", ["²", "9" * 5000, "-1", "1 1", "0x10"])
def test_a_content_length_that_is_no_number_is_no_500(api, text):
    environ = {"CONTENT_LENGTH": text, "CONTENT_TYPE": "application/json"}
    answer = api.ask("POST", "/v1/contacts", lint=False, **environ)
    assert failure(answer)[0] in (400, 413)
