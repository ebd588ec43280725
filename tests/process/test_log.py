"""The log of a running server."""

import contextlib
import gzip
import json
import re
import socket

import pytest

from client import one_line
from processes import SECRET, Server, garbage, make_key, request_bytes, run

MARK = "Xq7Zv"  # stands in every secret below, and nowhere else


def drive_with_secrets(server, secret, publishable):
    """Requests that carry what must never be logged; returns their request ids."""
    ids = []

    def ask(method, path, body=None, key=SECRET, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        ids.append(server.ask(method, path, body, headers, key).headers["x-request-id"])

    ask("GET", f"/v1/contacts?email={MARK}%40query.example")
    ask("GET", f"/v1/contacts?page=0&q={MARK}")
    ask("GET", f"/v1/contacts?{MARK}")
    ask("GET", f"/no/such/path?token={MARK}")
    ask("GET", "/v1/contacts", key=secret)
    ask("GET", "/v1/contacts", key=f"ck_secret_{MARK}invalidinvalidinvalid")
    ask("GET", "/v1/contacts", key=None, x_api_key=f"ck_live_{MARK}invalidinvalid")
    ask("GET", "/v1/contacts", key=None, Authorization=f"Basic {MARK}")
    ask("GET", "/v1/contacts", key=None, Authorization=f"Bearer {MARK}\xe9\xff")
    ask(
        "POST",
        "/v1/contacts",
        {"email": f"{MARK}@body.example", "name": f"{MARK} name"},
    )
    ask("POST", "/v1/contacts", {"email": f"{MARK} is no email"})
    ask("POST", "/v1/contacts", f'{{"email": "{MARK}'.encode())
    ask("POST", "/v1/contacts", f"email={MARK}".encode(), Content_Type="text/plain")
    ask("POST", "/v1/contacts", gzip.compress(MARK.encode()), Content_Encoding="gzip")
    ask("POST", "/v1/contacts", b"x" * 70_000 + MARK.encode())
    ask("POST", "/v1/contacts", {"email": "a@x.org"}, key=publishable)
    page = {"Origin": "https://example.com", "Referer": f"https://example.com/?{MARK}"}
    ask("POST", "/v1/contacts", {"email": "a@x.org"}, key=publishable, **page)
    ask("POST", f"/f/{publishable}", {"email": "a@x.org"}, key=None)
    ask("GET", f"/f/{publishable}", key=None)
    ask("POST", f"/f/{publishable}/", {"email": "a@x.org"}, key=None)
    ask("POST", f"//f//{publishable}", {"email": "a@x.org"}, key=None)
    ask("POST", f"/%66/{publishable}", {"email": "a@x.org"}, key=None)
    ask("POST", f"/f/ck_pub_{MARK}unknownunknown", {"email": "a@x.org"}, key=None)
    ask("GET", f"/v1/contacts/{secret}")
    ask("GET", f"/{secret}")
    ask("GET", f"/v1/contacts/ck_secret_{MARK}unknownunknown")
    ask("GET", f"/x%3Fq={MARK}")
    ask("GET", "/v1/contacts/%0aFORGED%20line%0d%0aFORGED%1b[31m%00%7f%c2%9b%e2%80%a8x")
    ask("DELETE", f"/v1/contacts/con_{MARK}")
    return [request_id for request_id in ids if request_id]


def send_malformed(server, secret):
    for data in (
        f"GET /v1/contacts?q={MARK} HTTP/1.1\r\nno colon {MARK}\r\n\r\n",
        f"GET /v1/contacts HTTP/1.1\r\nAuthorization : Bearer {secret}\r\n\r\n",
        f"g3t /v1/contacts?q={MARK} HTTP/1.1\r\n\r\n",
        f"{MARK}\r\n\r\n",
        f"GET /v1/contacts?q={MARK} {secret} HTTP/1.1\r\n\r\n",
        f"GET http://[{MARK}/?q={MARK} HTTP/1.1\r\n\r\n",
        f"GET /\x01\x1b[31m?q={MARK} HTTP/1.1\r\n\r\n",
        f"POST /v1/contacts?q={MARK} HTTP/1.1\r\nContent-Length: {MARK}\r\n\r\n{MARK}",
        f"POST /v1/contacts HTTP/1.1\r\nTransfer-Encoding: {MARK}\r\n\r\n{MARK}",
        "POST /v1/contacts HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        f"{MARK}\r\n{MARK}\r\n0\r\n\r\n",
        f"GET /v1/contacts HTTP/1.1\r\nX-Long: {secret}{'x' * 400_000}\r\n\r\n",
    ):
        with server.wire(timeout=10) as wire:
            wire.send(data.encode("latin-1"))
            wire.socket.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                wire.stream.read()
    with server.wire() as wire:  # gone before its answer
        wire.send(request_bytes("GET", f"/v1/contacts?q={MARK}"))
    with server.wire() as wire:  # gone in the middle of its body
        wire.send(
            request_bytes("POST", "/v1/contacts", {"email": f"{MARK}@x.org"})[:-3]
        )


@pytest.mark.parametrize("variant", ["json", "text"])
def test_the_log_holds_no_key_no_body_no_query_and_no_control_character(serve, variant):
    server = serve(CONTACTAPI_LOG=variant)
    secret = make_key(server.env, "--type", "secret")
    publishable = make_key(
        server.env, "--type", "publishable", "--domain", "example.com"
    )
    request_ids = drive_with_secrets(server, secret, publishable)
    send_malformed(server, secret)
    server.stop()
    log = server.output
    lines = log.decode().split("\n")

    assert lines.pop() == ""
    if variant == "json":
        assert all(type(json.loads(line)) is dict for line in lines), lines
    for marker in (MARK, SECRET, secret, publishable):
        assert marker.lower().encode() not in log.lower(), marker
        tail = marker.rpartition("_")[2]
        assert tail.encode() not in log, tail
    assert not [line for line in lines if line.lstrip().startswith("FORGED")]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", log.decode())
    assert len(set(request_ids)) == len(request_ids) > 25
    for request_id in request_ids:
        assert len([line for line in lines if request_id in line]) == 1, request_id


@pytest.mark.parametrize("what", ["a taken port", "a damaged database"])
def test_a_start_that_fails_is_one_json_line_in_the_json_log(tmp_path, what):
    server = Server(tmp_path, CONTACTAPI_LOG="json")
    with socket.socket() as taken:
        if what == "a taken port":
            taken.bind(("127.0.0.1", server.port))
            taken.listen()
        else:
            server.database.write_bytes(garbage())
        ran = run(server.env, "serve", "--port", server.port)
    assert (ran.returncode, one_line(ran.stdout + ran.stderr)) == (1, True), ran
    assert type(json.loads(ran.stdout + ran.stderr)) is dict


def test_a_form_keys_path_is_written_without_the_key(serve):
    server = serve(CONTACTAPI_LOG="json")
    publishable = make_key(
        server.env, "--type", "publishable", "--domain", "example.com"
    )
    server.ask("POST", f"/f/{publishable}", {"email": "a@x.org"}, key=None)
    server.stop()
    paths = [str(value) for line in server.output.splitlines()
             for value in json.loads(line).values()]  # fmt: skip
    assert [path for path in paths if "/f/…" in path], paths
