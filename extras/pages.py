"""What people and machines read: the files of pages/ and of its folders, with this
server's own URL filled in (CONTRACT section 11)."""

import functools
import hashlib
import os
from html import escape

from bottle import request, response

import contactapi
from contactapi import (
    JSON,
    PAGE_POLICY,
    Api,
    Config,
    NotFound,
    Services,
    header,
    own_url,
    quote,
)

FOLDER = os.path.join(os.path.dirname(os.path.abspath(contactapi.__file__)), "pages")
PAGE_PATHS = {
    "/": "dashboard.html",
    "/docs": "docs.html",
    "/openapi.json": "openapi.json",
    "/llms.txt": "llms.txt",
    "/captcha.js": "captcha.js",
}
PAGE_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "json": JSON,
    "txt": "text/plain; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
}
# How a file says the server's own URL: {{url}}, filled in as its type needs it.
FILLED_IN = {"html": escape, "json": lambda url: quote(url)[1:-1], "txt": str}


def setup(app: Api, services: Services, config: Config) -> None:
    """Without a key or a window: a form whose script cannot be had helps nobody, and a
    browser keeps it for an hour."""

    def page(name: str) -> bytes:
        environ, form = request.environ, name.rpartition(".")[2]
        body = read_page(name)
        if form in FILLED_IN:
            url = FILLED_IN[form](own_url(environ, config))
            body = body.replace(b"{{url}}", url.encode())
        environ["contactapi.kept"] = "public, max-age=3600"
        response.content_type = PAGE_TYPES[form]
        response.set_header("Content-Security-Policy", PAGE_POLICY)
        if name == "captcha.js":
            response.set_header("Cross-Origin-Resource-Policy", "cross-origin")
        return unless_known(body)

    for path, name in PAGE_PATHS.items():
        app.get(path, callback=functools.partial(page, name))
    forms = "|".join(PAGE_TYPES)
    app.get(rf"/pages/<name:re:([\w-]+/)?[\w-]+\.({forms})>", callback=page)


def read_page(name: str) -> bytes:
    """Each time, so that an edit shows at once; a small file takes 20 µs."""
    try:
        with open(os.path.join(FOLDER, name), "rb") as file:
            return file.read()
    except OSError:
        missing = f"pages/{name} is not there: put it beside contactapi.py"
        raise NotFound(missing) from None


def unless_known(body: bytes) -> bytes:
    """304 to who has it already; a proxy that compresses calls its tag weak."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    response.set_header("ETag", tag)
    if tag not in header(request.environ, "IF_NONE_MATCH"):
        return body
    response.status = 304
    return b""
