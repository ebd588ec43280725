"""Sending forms, and what is asked of their answers."""

import base64
import hashlib
import json
from urllib.parse import urlencode

from client import PAGE

URLENCODED = "application/x-www-form-urlencoded"
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def post_form(api, fields, path=None, headers=None, media=URLENCODED, **environ):
    """The answer to a form of the client's key `form`: fields, pairs or a body."""
    if media == "json":
        media, body = "application/json", json.dumps(fields).encode()
    else:
        body = fields if isinstance(fields, bytes) else urlencode(fields).encode()
    headers = {"Content-Type": media, **(PAGE if headers is None else headers)}
    path = f"/f/{api.form}" if path is None else path
    return api.ask("POST", path, body, key=None, headers=headers, **environ)


def multipart(*parts, boundary="AaB03x"):
    """A body of parts, each (its header's options, its content)."""
    lines = []
    for options, content in parts:
        content = content if isinstance(content, bytes) else content.encode()
        head = f"--{boundary}\r\nContent-Disposition: form-data; {options}\r\n\r\n"
        lines.append(head.encode() + content + b"\r\n")
    return b"".join(lines) + f"--{boundary}--\r\n".encode()


def answered(answer):
    """The document of a success."""
    assert answer.status_int == 200, answer.text
    assert answer.json["success"] is True and "errors" not in answer.json
    return answer.json


def refused(answer):
    """(status, code, param) of a failure, its shape looked at."""
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    shown = answer.json
    assert list(shown) == ["success", "ok", "message", "error", "errors"], answer.text
    assert shown["success"] is shown["ok"] is False
    error, (other,) = shown["error"], shown["errors"]
    assert shown["message"] == error["message"] == other["message"] != ""
    assert (list(other), other["field"]) == (["code", "field", "message"], param(error))
    return answer.status_int, error["code"], param(error)


def param(error):
    return error.get("param")


def page_of(answer, status=200):
    """The HTML of an answer that is a page."""
    assert answer.status_int == status, answer.text
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.text.startswith("<!doctype html>")
    return answer.text


def hash_of(style):
    """How a policy names a style that it lets in."""
    digest = hashlib.sha256(style.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def inbox(api, size=20):
    """The submissions, newest first."""
    answer = api.get(f"/v1/submissions?page_size={size}")
    assert answer.status_int == 200, answer.text
    return answer.json["data"]


def submitted(api):
    """The newest one."""
    return inbox(api)[0]


def contacts(api):
    """Their fields, newest first, without what the server adds."""
    added = ("id", "created_at", "updated_at")
    rows = api.get("/v1/contacts").json["data"]
    return [{n: v for n, v in row.items() if n not in added} for row in rows]
