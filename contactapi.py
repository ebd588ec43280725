#!/usr/bin/env python3
"""contactapi: a contact store and form backend in one file.

    python contactapi.py              serve http://127.0.0.1:8080 from ./contacts.db
    python contactapi.py --help       every command and every setting

The order of this file is its architecture. A section uses only sections above it:

    Imports, constants
    Configuration      the environment, one row per setting
    Errors             one class per answer that is not a success
    Values             emails, names, documents, ids, times, keys, forms; no I/O
    Storage            models, schema, group commit, all that is SQLite's own
    Services           the rules: keys, events, records, submissions, calls; no HTTP
    Limiter            the sliding window, slots for what takes long
    Wire formats       JSON shapes, a small page
    HTTP core          all of Bottle's quirks: errors, keys, CORS, bodies, the log line
    Routes             what each endpoint reads, which service, which shape
    Server             all of Waitress's quirks: limits, slow clients, a clean stop
    Command line       assembly, `serve`, `keys`

Peewee appears only in Storage and Services, Bottle's `request` and `response`
only from HTTP core on. Importing the module opens, reads and starts nothing. What not
everyone needs stands in extras/: the table EXTRAS says which module a setting, a path,
a command or a file asks for.
"""

import argparse
import base64
import contextlib
import ctypes
import fcntl
import functools
import hashlib
import heapq
import importlib
import io
import ipaddress
import itertools
import json
import logging
import math
import os
import queue
import random
import re
import resource
import secrets
import select
import signal
import socket
import sqlite3
import stat
import struct
import sys
import tempfile
import termios
import threading
import time
import traceback
import unicodedata
import uuid
from array import array
from collections import Counter, deque, namedtuple
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase as fnmatch
from types import SimpleNamespace
from typing import Any, NamedTuple, Optional
from urllib.parse import parse_qsl, unquote, unquote_to_bytes, urlsplit
from urllib.parse import quote as percent_encode

try:
    import multipart
    import peewee
    from bottle import Bottle, HTTPError, _closeiter, html_escape, request, response
    from playhouse.sqlite_ext import AutoIncrementField
    from waitress import wasyncore
    from waitress.channel import ClientDisconnected, HTTPChannel
    from waitress.server import TcpWSGIServer
    from waitress.utilities import build_http_date
except ModuleNotFoundError as missing:
    if __name__ != "__main__":
        raise
    line = f"{missing.name} is not installed here: run it with .venv/bin/python, or "
    line += "pip install -r requirements.txt"
    if os.environ.get("CONTACTAPI_LOG") == "json":  # as JsonFormatter would
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        sys.exit(json.dumps({"time": moment, "level": "error", "message": line}))
    sys.exit(f"contactapi: {line}")

# Run as a script this file is known as __main__ alone; an extra that imports it gets
# the one that runs, not a second one.
sys.modules.setdefault("contactapi", sys.modules[__name__])

VERSION = "1.0.0"
JSON = "application/json; charset=utf-8"

log = logging.getLogger("contactapi")


def log_failure(where: str, err: Optional[BaseException]) -> None:
    log.error("%s: %s", where, trace_of(err))


def trace_of(err: Optional[BaseException]) -> str:
    """As what it failed and where; not the message, which may quote what was sent."""
    frames = traceback.format_tb(err.__traceback__) if err else []
    return f"{type(err).__name__}\n{''.join(frames)}".rstrip()


class Mistake(Exception):
    """Something for the person at the terminal to mend: one line, an exit status."""

    def __init__(self, message: str, status: int = 1):
        super().__init__(message)
        self.status = status


###############################################################################
# Configuration ###############################################################
###############################################################################


def a_number(least: int, most: int = 10**9) -> Callable:
    """Makes the cast of a setting. A cast gives the value that a text has; ValueError,
    which says what to give instead, where it has none."""

    def cast(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text) or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(text)

    return cast


def text_like(pattern: str, shape: str) -> Callable:
    """The cast of a text of this pattern; `shape` is the pattern for people."""

    def cast(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(shape)
        return text

    return cast


a_from_number = text_like(r"\+[0-9]{2,15}", "+ and 2 to 15 digits")
a_log_format = text_like("text|json", "text or json")
a_secret_key = text_like(
    "ck_secret_[!-~]{24,200}", "ck_secret_ and at least 24 more characters"
)


def a_database(text: str) -> str:
    """The path in `sqlite:///path`; four slashes make it absolute."""
    if not re.fullmatch(r"sqlite:///[^\0?#]+", text) or text.endswith(":memory:"):
        raise ValueError("sqlite:///FILE")
    return os.path.abspath(text[len("sqlite:///") :])


def a_rate(text: str) -> Optional[tuple]:
    """(requests, seconds), or None for `off`."""
    if text == "off":
        return None
    match = re.fullmatch(r"([0-9]{1,7})/([0-9]{1,5})", text)
    if not match or not int(match[1]) or not 0 < int(match[2]) <= 86400:
        raise ValueError("requests/seconds such as 100/60, or off")
    return int(match[1]), int(match[2])


def some_proxies(text: str) -> tuple:
    """Networks whose X-Forwarded-For is believed; `*` is everyone."""
    if text == "*":
        return ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(","))
    except ValueError:
        raise ValueError("an address such as 127.0.0.1, or *") from None


def a_header(text: str) -> str:
    """A header's name as environ has it, without HTTP_."""
    if not re.fullmatch("[A-Za-z0-9-]{1,100}", text):
        raise ValueError("a header's name such as CF-Connecting-IP")
    return text.upper().replace("-", "_")


def a_url(text: str) -> str:
    try:
        good = re.fullmatch(r"https?://[^\s/?#@]+([/?][^\s#]*)?", text)
        if not good or urlsplit(text).port == 0:
            raise ValueError
    except ValueError:
        raise ValueError("an http or https URL") from None
    return text


def a_base_url(text: str) -> str:
    return a_url(text).rstrip("/")


class Setting(NamedTuple):
    """What a variable of the environment may be, and what for."""

    cast: Callable
    default: Optional[str]  # the text where none is given
    about: str


# fmt: off
SETTINGS = {
    "PORT": Setting(a_number(0, 65535), "8080", "the port to listen on"),
    "CONTACTAPI_HOST": Setting(str, "127.0.0.1", "the address to listen on"),
    "DATABASE_URL": Setting(a_database, "sqlite:///contacts.db",
        "where the data is kept"),
    "CONTACTAPI_SECRET_KEY": Setting(a_secret_key, None,
        "a secret key of your own choice for the workspace `default`, valid while set"),
    "CONTACTAPI_RATE_LIMIT": Setting(a_rate, "100/60",
        "requests/seconds per key, or `off`"),
    "CONTACTAPI_MAX_BODY": Setting(a_number(1024, 2**26), "65536",
        "bytes of a request's body, and of a record's fields"),
    "CONTACTAPI_THREADS": Setting(a_number(1, 256), "8",
        "one for what is short, the others for what may take long"),
    "CONTACTAPI_TRUSTED_PROXY": Setting(some_proxies, None,
        "the address whose X-Forwarded-* is believed; `*` on Heroku-style platforms"),
    "CONTACTAPI_PROXY_HOPS": Setting(a_number(1, 20), "1",
        "how many proxies stand before the server"),
    "CONTACTAPI_CLIENT_IP_HEADER": Setting(a_header, None,
        "where the trusted proxy names the client, if not in X-Forwarded-For"),
    "CONTACTAPI_HISTORY_DAYS": Setting(a_number(1, 36500), "365",
        "how long events are kept"),
    "CONTACTAPI_PUBLIC_URL": Setting(a_base_url, None,
        "this server's own URL as others see it"),
    "CONTACTAPI_LOG": Setting(a_log_format, "text", "`text`, or `json` lines"),
    "TWILIO_FROM_NUMBER": Setting(a_from_number, None,
        "calls come from here unless they say"),
}
# fmt: on


# -- extras: what not everyone needs


class Extra(NamedTuple):
    """A module of the folder extras/. It imports from `contactapi` what it needs, and
    its `setup(app, services, config)` adds routes to the app, senders to the outbox,
    work to hours and nights. One with settings has their rows in SETTINGS; here are
    their names, known without it. One for files has for the commands `charset(name)`,
    None for an encoding that it cannot read, `read_file(file, records, args)`, which
    gives lines, and `write_file(listed, workspace, args)`, which gives text. One with
    commands has COMMANDS: by name, what gives the parser of one its arguments and its
    `run`; one with tables has their MODELS, each after those to which it refers."""

    module: str
    purpose: str
    asked_by: tuple = ()  # settings: with any of them it is wanted, and needs them all
    needs: tuple = ()  # settings that it needs beside those
    takes: tuple = ()  # settings of its own that may be left out
    paths: tuple = ()  # what it serves: used if it is there, 404 with what to do if not
    listens: bool = False  # whether commands are to have its `listen(services)`, too
    commands: dict = {}  # name: what --help says of it; loaded when one is asked for

    @property
    def variables(self) -> list:
        """Its own settings: of the core's it may need some."""
        named = (*self.asked_by, *self.needs, *self.takes)
        return [name for name in named if name not in SETTINGS]

    def settings(self) -> dict:
        """Its rows; where it is not there any text will do, and what it is for says
        what to do."""
        try:
            return self.load().SETTINGS if self.variables else {}
        except Mistake as err:
            return dict.fromkeys(self.variables, Setting(str, None, str(err)))

    def refuse_half(self, environ: dict) -> None:
        needed = (*self.asked_by, *self.needs)
        missing = [name for name in needed if not environ.get(name)]
        if missing:
            raise Mistake(f"to {self.purpose}, set {', '.join(missing)} too")

    def load(self) -> Any:
        """The module; Mistake where it or what it needs is not there."""
        try:
            return importlib.import_module(f"extras.{self.module}")
        except ImportError as err:
            raise Mistake(f"to {self.purpose}, {self.remedy(err)}") from None

    def remedy(self, err: ImportError) -> str:
        if not isinstance(err, ModuleNotFoundError):  # it lacks a name of ours
            return f"take the extras/{self.module}.py of contactapi {VERSION}"
        folder, _, module = err.name.partition(".")
        if folder == "extras":
            return f"put extras/{module or self.module}.py beside contactapi.py"
        return f"{err.name} is needed: pip install {err.name}"


UPGRADES = Extra("upgrades", "use a database of an older version")

EXTRAS = (
    UPGRADES,
    Extra("outbox", "send to others", listens=True),
    Extra(
        "files",
        "import and export files",
        commands={
            "import": "take in FILE.csv, .jsonl or .ndjson; known ones are updated",
            "export": "write FILE.csv, .jsonl or .ndjson, not there yet",
        },
    ),
    Extra(
        "upkeep",
        "back up, copy and check databases",
        ("CONTACTAPI_BACKUP_DIR",),
        commands={
            "backup": "copy the database, running or not",
            "copy": "copy everything between two databases",
            "check": "look for damage; mend nothing",
        },
    ),
    Extra("indexes", "index fields", ("CONTACTAPI_INDEX_FIELDS",)),
    Extra("retention", "delete untouched contacts", ("CONTACTAPI_RETENTION_DAYS",)),
    Extra(
        "twilio",
        "call through Twilio",
        ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_VOICE_URL"),
        needs=("CONTACTAPI_PUBLIC_URL", "CONTACTAPI_CALL_PREFIXES"),
        takes=("CONTACTAPI_CALLS_PER_DAY", "TWILIO_API_BASE"),
    ),
    Extra(
        "captcha",
        "look at captchas",
        ("CONTACTAPI_CAPTCHA_URL", "CONTACTAPI_CAPTCHA_SECRET"),
        paths=("/f/*/challenge",),
    ),
    Extra(
        "mail",
        "send mail",
        ("CONTACTAPI_SMTP_URL", "CONTACTAPI_MAIL_FROM"),
        takes=("CONTACTAPI_MAILS_PER_DAY",),
        commands={"mail": "send a test mail, and print the server's words"},
    ),
    Extra(
        "history",
        "read what happened",
        paths=("/v1/events", "/v1/stats", "/v1/*/*/history", "/v1/*/*/export"),
    ),
    Extra("spreadsheets", "read and write CSV", paths=("/v1/*.csv",)),
    Extra(
        "pages",
        "serve pages/",
        paths=("/", "/docs", "/openapi.json", "/llms.txt", "/captcha.js"),
    ),
    Extra("mcp", "serve AI clients by the Model Context Protocol", paths=("/mcp",)),
    Extra(
        "webhooks",
        "send webhooks",
        commands={"webhooks": "make, list, change, test and delete webhooks"},
        paths=("/v1/webhooks", "/v1/webhooks/*", "/v1/deliveries", "/v1/deliveries/*"),
        listens=True,
    ),
)


# -- what is set


class Config(SimpleNamespace):
    """The value of every setting, by the variable's name in lower case, CONTACTAPI_
    left out; None for those of an extra of which none is given. `extras` are those
    that are asked for."""

    @classmethod
    def from_env(cls, environ: dict) -> "Config":
        """The only reader of the environment. Raises Mistake, naming the variable."""
        known = [*SETTINGS, *(name for extra in EXTRAS for name in extra.variables)]
        refuse_unknown(environ, known)
        config = cls(**dict.fromkeys(map(name_of, known)))
        given = [extra for extra in EXTRAS if any(map(environ.get, extra.variables))]
        for variable, (cast, default, _) in rows_of(given).items():
            text = environ.get(variable) or default
            try:
                value = None if text is None else cast(text)
            except ValueError as err:
                raise Mistake(f"{variable} cannot be read: give {err}") from None
            setattr(config, name_of(variable), value)
        if config.client_ip_header and not config.trusted_proxy:
            message = "CONTACTAPI_CLIENT_IP_HEADER could be forged by anyone: set "
            raise Mistake(message + "CONTACTAPI_TRUSTED_PROXY too, or neither")
        config.extras = [e for e in given if any(map(environ.get, e.asked_by))]
        for extra in config.extras:
            extra.refuse_half(environ)
        return config

    @classmethod
    def table(cls) -> list:
        """(variable, default, help) of every setting, for --help and the README."""
        rows = rows_of(EXTRAS).items()
        return [(name, row.default or "none", row.about) for name, row in rows]


def name_of(variable: str) -> str:
    return variable.removeprefix("CONTACTAPI_").lower()


def rows_of(extras: Iterable) -> dict:
    """The settings of the core and of these."""
    theirs = (extra.settings().items() for extra in extras)
    return dict(itertools.chain(SETTINGS.items(), *theirs))


def refuse_unknown(environ: dict, known: list) -> None:
    for name in environ:
        # Container platforms inject some for a service that is named contactapi.
        if re.match("CONTACTAPI_(?!PORT|SERVICE_)", name) and name not in known:
            import difflib  # for this mistake alone, and 250 KB

            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
            raise Mistake(f"{name} is not a setting; did you mean {nearest}?")


def load_extras(config: Config) -> list:
    """The modules that this configuration asks for."""
    return [extra.load() for extra in config.extras]


###############################################################################
# Errors ######################################################################
###############################################################################


class ApiError(Exception):
    """An answer that is no success: the class knows status and code, the caller
    the sentence, which says what to do (CONTRACT section 3). This one is a failure of
    ours, and says nothing of the inside."""

    status = 500
    code = "internal_error"
    message = "something went wrong here; the log has it under this X-Request-Id"

    def __init__(self, message: str = "", param: Optional[str] = None, **headers: str):
        super().__init__(message or self.message)
        self.message = message or self.message
        self.param = param
        self.headers = {name.replace("_", "-"): v for name, v in headers.items()}

    def body(self) -> dict:
        body = {"code": self.code, "message": self.message}
        if self.param is not None:
            body["param"] = self.param
        return body


class InvalidRequest(ApiError):
    status, code = 400, "invalid_request"
    message = "the request cannot be read"


class InvalidEmail(ApiError):
    status, code = 400, "invalid_email"


class MissingEmail(InvalidEmail):
    def __init__(self):
        super().__init__("email is required", "email")


class InvalidPhone(ApiError):
    status, code = 400, "invalid_phone"


class InvalidId(ApiError):
    status, code = 400, "invalid_id"


class InvalidCursor(ApiError):
    status, code = 400, "invalid_cursor"


class Unauthorized(ApiError):
    status, code = 401, "unauthorized"
    message = "a valid API key is required: Authorization: Bearer ck_…"

    def __init__(self):
        super().__init__(WWW_Authenticate="Bearer")


class UnknownForm(Unauthorized):
    message = "no form has this address: `keys create --type publishable` makes one"


class Forbidden(ApiError):
    status, code = 403, "forbidden"


class NotFound(ApiError):
    status, code = 404, "not_found"
    message = "there is no such path"


class MethodNotAllowed(ApiError):
    status, code = 405, "method_not_allowed"
    message = "this path does not take that method; Allow lists those it takes"


class Conflict(ApiError):
    status, code = 409, "conflict"


class PayloadTooLarge(ApiError):
    status, code = 413, "payload_too_large"
    message = "the body is larger than this path takes"


class UnsupportedMediaType(ApiError):
    status, code = 415, "unsupported_media_type"
    message = "send JSON with Content-Type: application/json"


class IdempotencyMismatch(ApiError):
    status, code = 422, "idempotency_mismatch"
    message = "this Idempotency-Key was used with another body; take a new one"


class RateLimited(ApiError):
    status, code = 429, "rate_limit"

    def __init__(self, seconds: int, what: str = "requests"):
        message = f"too many {what}; try again in {seconds} s"
        super().__init__(message, Retry_After=str(seconds))


class Unavailable(ApiError):
    status, code = 503, "unavailable"
    message = "the database cannot be reached or written; nothing is lost, try again"


###############################################################################
# Values ######################################################################
###############################################################################

# -- text and natural keys


# UTS 46: what ends a label, what is left out, and what is kept though its case folding
# is something else.
DOTS = re.compile("[.\u3002\uff0e\uff61]")
IGNORED = re.compile(
    "[\u00ad\u034f\u180b-\u180f\u200b\u2060\u2064\ufe00-\ufe0f\ufeff"
    "\U0001bca0-\U0001bca3\U000e0100-\U000e01ef]"
)
# Letters and marks that nobody sees, and what stands for a dot or for any character.
IN_NO_LABEL = "\u115f\u1160\u17b4\u17b5\u3002\ufffc\ufffd"
KEPT = re.compile("([\u00df\u03c2\u1e9e])")  # ß, final sigma, ẞ
PLAIN_LABEL = re.compile("[A-Za-z0-9_-]{1,63}")


def ascii_host(host: str) -> str:
    """A host as browsers send it: lower case, Unicode in punycode (UTS 46, not
    transitional), no dot at its end. ValueError for an empty label, and for what is in
    no host."""
    if host.startswith("[") and host.endswith("]"):
        return f"[{ipaddress.IPv6Address(host[1:-1])}]"
    labels = DOTS.split(host)
    if len(labels) > 1 and not labels[-1]:
        labels.pop()
    return ".".join(map(ascii_label, labels))


def spelled_host(text: str) -> str:
    """As browsers send it, "" for what is no host."""
    try:
        return ascii_host(text)
    except ValueError:
        return ""


def ascii_label(label: str) -> str:
    if PLAIN_LABEL.fullmatch(label):
        return label.lower()
    # No host has a longer label, and the codec's time grows with its square.
    if len(label) <= 63:
        label = even_label(label)
        if PLAIN_LABEL.fullmatch(label):
            return label
        if label and all(map(may_be_in_label, label)) and not is_mark(label[0]):
            return "xn--" + label.encode("punycode").decode()
    raise ValueError(f"{label[:80]} is part of no host")


def even_label(label: str) -> str:
    """Case, width and composition evened out. ß and the final sigma have stood for
    themselves since browsers left IDNA 2003; joiners are kept, wherever they stand."""
    parts = KEPT.split(IGNORED.sub("", label))
    parts[::2] = [
        unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", part).casefold())
        for part in parts[::2]
    ]
    return unicodedata.normalize("NFC", "".join(parts).replace("\u1e9e", "\u00df"))


def may_be_in_label(char: str) -> bool:
    if char.isascii():
        return PLAIN_LABEL.fullmatch(char) is not None
    if char in "\u200c\u200d":
        return True
    return unicodedata.category(char)[0] not in "CZ" and char not in IN_NO_LABEL


def is_mark(char: str) -> bool:
    return unicodedata.category(char)[0] == "M"


ASCII_FOLD = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


CONTROL = re.compile("[\0-\x1f\x7f-\x9f]")


def clean_email(value: Any) -> tuple:
    """(as written, as compared), without surrounding space and invisible characters."""
    if value is None:
        raise MissingEmail()
    text = trim(value) if isinstance(value, str) else ""
    if not is_email(text):
        raise InvalidEmail("email must be a valid address", "email")
    return text, email_key(text)


def email_key(text: str) -> str:
    """What an address is compared by: the local part in NFC with only A-Z folded, for
    any wider folding lets a look-alike take a stored address over (CONTRACT section
    1); the domain as browsers send it. ValueError for a domain that is none."""
    if text.isascii():
        return text.lower()
    local, _, domain = text.partition("@")
    return f"{nfc(local).translate(ASCII_FOLD)}@{ascii_host(domain)}"


def trim(text: str) -> str:
    """Without surrounding white space and invisible characters (category Cf)."""
    start, end = 0, len(text)
    while start < end and is_blank(text[start]):
        start += 1
    while start < end and is_blank(text[end - 1]):
        end -= 1
    return text[start:end]


def is_blank(char: str) -> bool:
    return char.isspace() or unicodedata.category(char) == "Cf"


PLAIN_EMAIL = re.compile(
    r"[\w!#$%&'*+/=?^`{|}~.-]{1,64}@"
    r"(?=.{1,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+"
    r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
    re.ASCII | re.IGNORECASE,
)


def is_email(text: str) -> bool:
    """One @; before it the characters of HTML's email field and letters, digits and
    marks of any script, 1-64 octets; behind it a domain of two or more labels (letters
    of any script); 254 octets at most."""
    if len(text.encode("utf-8", "replace")) > 254:
        return False
    if PLAIN_EMAIL.fullmatch(text):
        return True
    local, _, domain = text.partition("@")
    labels = domain.split(".")
    return (
        is_made_of(local, ("L", "M", "Nd"), "!#$%&'*+/=?^_`{|}~.-")
        and 1 <= len(local.encode()) <= 64
        and is_made_of(domain, ("L", "M", "N"), "-_.")
        and len(labels) >= 2
        and all(label and label == label.strip("-") for label in labels)
        and spelled_host(domain) != ""
    )


def is_made_of(text: str, categories: tuple, signs: str) -> bool:
    """Of these signs and of characters of these Unicode categories alone."""
    return all(
        char in signs or unicodedata.category(char).startswith(categories)
        for char in text
    )


def clean_name(value: Any) -> tuple:
    """(as written, as compared): 1-200 characters, case and outer space ignored."""
    if value is None:
        raise InvalidRequest("name is required", "name")
    text = value.strip() if isinstance(value, str) else ""
    if not 1 <= len(text) <= 200 or CONTROL.search(text):
        raise InvalidRequest("name must be text of 1 to 200 characters", "name")
    return text, fold(text)


def fold(text: str) -> str:
    """What a search compares: case ignored as Unicode has it."""
    if text.isascii():
        return text.lower()
    return nfc(nfc(text).casefold())


MANY_MARKS = re.compile(r"[^\w\0-\u02ff]{31}")  # every mark is one of these


def nfc(text: str) -> str:
    """NFC in a time that grows as the text does: Python's sorts a run of combining
    marks in the square of its length, so a longer one than 30 is cut first, where UAX
    #15 (stream-safe text) would put a joiner."""
    if MANY_MARKS.search(text):
        return "".join(unicodedata.normalize("NFC", part) for part in few_marks(text))
    return unicodedata.normalize("NFC", text)


def few_marks(text: str) -> Iterator[str]:
    """A text in parts of which none has more than 30 marks in a row."""
    start = run = 0
    for place, char in enumerate(text):
        run = run + 1 if is_mark(char) else 0
        if run > 30:
            yield text[start:place]
            start, run = place, 1
    yield text[start:]


E164 = re.compile(r"\+[1-9][0-9]{1,14}")
FROM_NUMBER = re.compile(r"\+[0-9]{2,15}")


def clean_phone(value: Any, param: str, pattern: re.Pattern = E164) -> str:
    """E.164: + and 2 to 15 digits, not starting with 0 (a from number may)."""
    if value is None:
        raise InvalidPhone(f"{param} is required", param)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise InvalidPhone(f"{param} must be in E.164: +442012345678", param)
    return value


# -- documents


MAX_DEPTH = 64
OURS = ("id", "created_at", "updated_at")


def refuse_constant(name: str) -> None:
    raise InvalidRequest(f"{name} is not JSON; send a number or null")


def exact_float(text: str) -> float:
    number = float(text)
    vanished = number == 0 and re.search("[1-9]", text.lower().partition("e")[0])
    if math.isinf(number) or vanished:
        raise InvalidRequest("a number does not fit an IEEE 754 double")
    return number


DECODER = json.JSONDecoder(parse_float=exact_float, parse_constant=refuse_constant)
CANONICAL = json.JSONEncoder(sort_keys=True)
STORED = json.JSONDecoder()
quote = json.encoder.encode_basestring
# A JSONEncoder makes one for each text, which takes as long as the text itself.
encoded = json.encoder.c_make_encoder(
    *(None, CANONICAL.default, quote, None, ":", ",", False, False, False)
)


def dump(value: Any) -> str:
    return "".join(encoded(value, 0))


def load(text: str) -> Any:
    """What `dump` wrote; `json.loads` takes twice as long."""
    return STORED.raw_decode(text)[0]


def dump_texts(texts: list) -> str:
    """A JSON array of texts; `dump` takes three times as long."""
    return f"[{','.join(map(quote, texts))}]"


def parse_object(raw: bytes) -> dict:
    """A JSON object, exactly; InvalidRequest for anything else."""
    value = parse_json(raw, MAX_DEPTH)
    if not isinstance(value, dict):
        raise InvalidRequest("the body must be a JSON object")
    return value


def parse_json(raw: bytes, levels: int) -> Any:
    """JSON, exactly: integers to 4,300 digits, doubles, no lone surrogate, not nested
    deeper than `levels`. InvalidRequest for anything else."""
    try:
        value = DECODER.decode(raw.decode("utf-8"))
        if b"\\u" in raw:
            dump(value).encode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest("the body is not UTF-8") from None
    except UnicodeEncodeError:
        raise InvalidRequest("a \\u escape is half of a surrogate pair") from None
    except RecursionError:
        raise InvalidRequest(f"JSON is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as err:
        # A message of json's own names a place; int()'s names its digit limit.
        where = getattr(err, "msg", "an integer has more than 4300 digits")
        raise InvalidRequest(f"the body is not JSON: {where}") from None
    # Fewer brackets than levels allowed need no look.
    if raw.count(b"{") + raw.count(b"[") > levels and deeper(value, levels):
        raise InvalidRequest(f"JSON is nested deeper than {MAX_DEPTH} levels")
    return value


def deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(deeper(item, levels - 1) for item in inner)


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396: null removes, objects merge, anything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def changed_names(old: dict, new: dict) -> list:
    """The fields that differ."""
    changed = [n for n in new if n not in old or not is_same(old[n], new[n])]
    return changed + [name for name in old if name not in new]


def names_written(stored: dict, sent: dict) -> list:
    """The fields sent that differ; the same work whether they are stored or not."""
    return [n for n in sent if not is_alike(sent[n], stored.get(n)) or n not in stored]


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are one JSON text (to Python, 1 == 1.0 == True)."""
    return one is other or is_alike(one, other)


def is_alike(one: Any, other: Any) -> bool:
    """As `is_same`; how long that takes says nothing of the other."""
    if isinstance(one, (str, int)):
        return type(one) is type(other) and one == other
    return dump(one) == dump(other)


def searchable(label: str, document: dict) -> str:
    """The folded copy that `q` looks in: the natural key and each top-level text,
    a line each (a word has no line end, so none is found across two fields)."""
    texts = [label] + [text for text in document.values() if isinstance(text, str)]
    return fold("\n".join(texts)).replace("\0", "\ufffd")


def search_words(text: str) -> list:
    short = len(text) <= 100
    words = fold(text).replace("\0", "\ufffd").split() if short else []
    if not short or len(words) > 5:
        raise InvalidRequest("q takes at most 100 characters and 5 words", "q")
    return words


def json_spellings(text: str) -> list:
    """Every JSON text that `filter[…]=text` means: 5 is 5, 5.0 and "5"."""
    spellings = {quote(text)}
    with contextlib.suppress(ValueError, RecursionError, InvalidRequest):
        value = DECODER.decode(text)
        if value is None or isinstance(value, (bool, int, float)):
            spellings.add(dump(value))
        if isinstance(value, float) and value.is_integer():
            spellings.add(dump(int(value)))
        elif type(value) is int and abs(value) <= 2**53:
            spellings.add(dump(float(value)))
    return sorted(spellings)


def one_of(choices: Any) -> Callable:
    """What takes one of these and nothing that only equals one; else ValueError."""

    def clean(value: Any) -> Any:
        if type(value) is not type(choices[0]) or value not in choices:
            raise ValueError
        return value

    return clean


def clean_values(properties: dict, sent: dict) -> dict:
    """What was sent as it is kept; InvalidRequest for a value that does not fit.
    `properties` has for each name what cleans it (ValueError for what does not fit)
    and what fits."""
    cleaned = {}
    for name, value in sent.items():
        clean, fits = properties[name]
        try:
            cleaned[name] = clean(value)
        except ValueError as err:
            raise InvalidRequest(str(err) or f"{name} is {fits}", name) from None
    return cleaned


# -- JSON Lines


class Line(NamedTuple):
    """A line of an import: its number, and a document or what is wrong with it."""

    number: int
    size: int  # in characters
    document: Optional[dict]
    error: str = ""
    last: bool = False  # whether the file was given up here


BOM = b"\xef\xbb\xbf"  # some editors put one before JSON
TOO_LONG = b"\xff\n"


def bounded_lines(
    stream: Any, most: int, ends: Any = b"\n", too_long: Any = TOO_LONG
) -> Iterator:
    """The lines of a stream, or of a text with its `ends` of lines; `too_long`, which
    nobody can read, for one that is longer than `most`."""
    while line := stream.readline(most + 1):
        if len(line) > most and not line.endswith(ends):
            while line and not line.endswith(ends):
                line = stream.readline(most + 1)
            line = too_long
        yield line


LONGEST_LINE = 2**20  # characters, or bytes of JSON, unless records may be larger


def read_jsonl(stream: Any, key: str, longest: int = LONGEST_LINE) -> Iterator[Line]:
    """One document a line; empty lines are passed over."""
    for number, line in enumerate(bounded_lines(stream, longest), 1):
        if number == 1:
            line = line.removeprefix(BOM)
        if line.strip():
            try:
                yield Line(number, len(line), parse_object(line))
            except InvalidRequest as err:
                message = err.message.replace("body", "line")
                message = "the line is too long" if line == TOO_LONG else message
                yield Line(number, 0, None, message)


def batches(lines: Iterator[Line], most: int, characters: int) -> Iterator[list]:
    """Lines in lists of `most`, or of fewer that fill `characters`."""
    batch, size = [], 0
    for line in lines:
        batch.append(line)
        size += line.size
        if len(batch) >= most or size >= characters:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


# -- ids and times


CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
PAIRS = [first + second for first in CROCKFORD for second in CROCKFORD]
TO_CROCKFORD = (CROCKFORD * 8).encode()  # any byte to the digit of its last five bits
TO_INT32 = str.maketrans(CROCKFORD, "0123456789abcdefghijklmnopqrstuv")
BASE32_UID = re.compile(f"[0-7][{CROCKFORD}]{{25}}")
UUID_TEXT = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")


def base32(number: int) -> str:
    """128 bits as 26 characters of Crockford base32 (TypeID's encoding)."""
    return "".join([PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])


def from_base32(text: str) -> Optional[int]:
    if not BASE32_UID.fullmatch(text):
        return None
    return int(text.translate(TO_INT32), 32)


def new_uid() -> str:
    """A random UUID (version 4) as base32: nothing in it says when it was made."""
    return uid_digits(os.urandom(26)).decode()


def uid_digits(noise: bytes) -> bytes:
    """The first digits of a UUID, 14 or more, each by a random byte."""
    digits = bytearray(noise)
    digits[0] &= 0b00111  # 128 bits are one digit of three and 25 of five
    digits[10] = digits[10] & 0b00001 | 0b01000  # the version: 4
    digits[13] = digits[13] & 0b10011 | 0b01000  # the variant: 10
    return digits.translate(TO_CROCKFORD)


class NumberedUids:
    """The uids of rows that are found without an index of uids: random as they are,
    each would write a page of its own there (importing a million took 1.7 times as
    long). The first 16 digits are random; the last ten are the row's number, veiled by
    50 bits that are made of those 16 under a secret. So to others every bit is random,
    and no two rows have one uid."""

    RANDOM = 16

    def __init__(self, secret: bytes):
        self.keyed = hashlib.blake2b(key=secret, digest_size=7)

    def make(self, first: int, count: int) -> list:
        """Those of the rows with the numbers from `first` on."""
        return [self._uid(number) for number in range(first, first + count)]

    def number(self, uid: str) -> int:
        """The number in one of ours; of any other uid, a number without meaning."""
        head, tail = uid[: self.RANDOM], uid[self.RANDOM :]
        return self._veil(head.encode()) ^ int(tail.translate(TO_INT32), 32)

    def _uid(self, number: int) -> str:
        head = uid_digits(os.urandom(self.RANDOM))
        veiled = self._veil(head) ^ number
        tail = [PAIRS[veiled >> shift & 1023] for shift in (40, 30, 20, 10, 0)]
        return head.decode() + "".join(tail)

    def _veil(self, head: bytes) -> int:
        made = self.keyed.copy()
        made.update(head)
        return int.from_bytes(made.digest(), "big") >> 6  # 50 of 56 bits


def uuid_of(uid: str) -> str:
    return str(uuid.UUID(int=from_base32(uid)))


def parse_uuid(text: str) -> str:
    """The uid in a hyphenated UUID, in any case; InvalidId for anything else."""
    if not UUID_TEXT.fullmatch(text.lower()):
        raise InvalidId("the id must be a hyphenated UUID")
    return base32(int(text.replace("-", ""), 16))


def parse_id(prefix: str, text: str) -> Optional[str]:
    """The uid in `con_…` or in a hyphenated UUID, in any case; None if malformed."""
    if not text.isascii():  # some letters' lower case is another's
        return None
    if UUID_TEXT.fullmatch(text.lower()):
        return base32(int(text.replace("-", ""), 16))
    start, _, uid = text.lower().partition("_")
    return uid if start == prefix and from_base32(uid) is not None else None


EPOCH, MICROSECOND = datetime(1970, 1, 1), timedelta(microseconds=1)
# Microseconds, as in all times that are kept.
SECOND, DAY = 1_000_000, 86_400_000_000
FIRST, LAST = ((end - EPOCH) // MICROSECOND for end in (datetime.min, datetime.max))
ISO_TIME = re.compile(
    r"(\d{4})(-?)(\d\d)\2(\d\d)"
    r"(?:[Tt ]([01]\d|2[0-3])(:?)(\d\d)(?:\6(\d\d(?:[.,]\d{1,9})?))?"
    r"(?: ?(?:[Zz]|UTC)|( ?[+-]| )([01]\d|2[0-3])(?::?([0-5]\d))?)?)?",
    re.ASCII,
)


def micros(seconds: float) -> int:
    return int(seconds * 1_000_000)


def iso(micros: int) -> str:
    """2026-07-04T10:00:00Z"""
    return iso_second(micros // 1_000_000)


def iso_or_none(micros: Optional[int]) -> Optional[str]:
    return None if micros is None else iso(micros)


@functools.lru_cache(maxsize=4096)
def iso_second(seconds: int) -> str:
    hour, second = divmod(seconds, 3600)
    return f"{iso_hour(hour)}{second // 60:02}:{second % 60:02}Z"


def iso6(micros: int) -> str:
    """2026-07-04T10:00:00.000042Z"""
    second, micro = divmod(micros, 1_000_000)
    hour, minute = iso_hour(second // 3600), second // 60 % 60
    # An export makes many: an f-string takes half as long again.
    return "%s%02d:%02d.%06dZ" % (hour, minute, second % 60, micro)  # noqa: UP031


@functools.lru_cache(maxsize=4096)
def iso_hour(hours: int) -> str:
    return (EPOCH + timedelta(hours=hours)).isoformat()[:14]


def parse_time(text: str) -> Optional[int]:
    """Microseconds since 1970 of an ISO 8601 time, basic or extended; a bare date is
    its midnight, no offset is UTC. None when it is no such time."""
    match = ISO_TIME.fullmatch(text)
    if not match:
        return None
    year, _, month, day, hour, _, minute, second, sign, *offset = match.groups("00")
    # A plus sign that was not escaped arrives in a query as a space.
    ahead = ("-" if "-" in sign else "+") + "".join(offset)
    basic = f"{year}{month}{day}T{hour}{minute}{second}{ahead}"
    try:
        moment = datetime.fromisoformat(basic).astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
    return (moment - EPOCH) // MICROSECOND


# -- keys


TOKEN_PREFIX = {
    "secret": "ck_secret_",
    "publishable": "ck_pub_",
    "restricted": "ck_live_",
}
EVERYTHING = "everything"  # what a secret key has beside every permission
SIGNED = "a secret or restricted key"  # what these two have, and no other


def new_token(type: str) -> str:
    """160 random bits behind the prefix of their type."""
    return TOKEN_PREFIX[type] + "".join(secrets.choice(CROCKFORD) for _ in range(32))


def token_hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def token_hint(token: str) -> str:
    prefix, _, rest = token.rpartition("_")
    return f"{prefix}_{rest[:4]}…{rest[-4:]}"


def idempotency_key(text: str) -> Optional[str]:
    """The value of an Idempotency-Key, quoted (draft-ietf-httpapi-idempotency-key-
    header) or bare; None without one."""
    if not text:
        return None
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = re.sub(r'\\(["\\])', r"\1", text[1:-1])
    if not re.fullmatch(r"[ -~]{1,255}", text):
        raise InvalidRequest("Idempotency-Key takes 1 to 255 ASCII characters")
    return text


def body_hash(document: dict) -> str:
    """Equal for bodies that are equal as parsed JSON."""
    return hashlib.sha256(CANONICAL.encode(document).encode()).hexdigest()


# -- domains and origins


ORIGIN = re.compile(
    r"([a-z][a-z0-9+.-]*)://([^\s/?#@:\[\]\\]+|\[[0-9a-f:.]+\])(?::([0-9]{1,9}))?"
    r"(?=[/?#]|\Z)",
    re.IGNORECASE,
)
DEFAULT_PORT = {"http": "80", "https": "443"}
LOOPBACK = ("127.0.0.1", "[::1]")


def clean_domain(text: str) -> str:
    """One rule of a domain lock: host, host:port, *.host, localhost or *; of a pasted
    URL its host, and its port if it names one. ValueError for what no page's origin
    could ever match; it says what to give instead."""
    shown, text = text[:80], text.strip() if len(text) <= 300 else "/"
    if text == "*":
        return text
    if text.lower() == "null":
        raise ValueError(
            "null is the origin of any page that hides its own, a file or a sandboxed "
            "frame: give the site's domain, such as example.com, or * for any page"
        )
    url = text if "://" in text else f"https://{text}"
    match = ORIGIN.match(url)
    if not match:
        raise ValueError(f"{shown} is no domain: give example.com")
    host, port = clean_rule_host(match[2], shown), match[3]
    if port and not 1 <= int(port) <= 65535:
        message = f"{shown}: a port is 1 to 65535: give example.com:8080 or example.com"
        raise ValueError(message)
    return f"{host}:{int(port)}" if port else host


def clean_rule_host(text: str, shown: str) -> str:
    star = "*." if text.startswith("*.") else ""
    if "" in text.removeprefix(star).removesuffix(".").split("."):
        raise ValueError(
            f"{shown} has an empty label: give example.com, or *.example.com for all "
            "that is below it"
        )
    host = spelled_host(text.removeprefix(star))
    if not can_be_host(host) or (star and is_address(host)):
        raise ValueError(f"{shown} is no domain: give example.com or 127.0.0.1")
    return star + host


def can_be_host(host: str) -> bool:
    """Whether a browser can be at this host, as it spells it."""
    labels = host.split(".")
    if host.startswith("[") or re.fullmatch("[0-9]+|0x[0-9a-f]*", labels[-1]):
        return is_address(host)
    fits = 0 < len(host) <= 253 and all(len(label) <= 63 for label in labels)
    return fits and all(map(is_decodable, labels))


def is_address(host: str) -> bool:
    return ip_of(host.strip("[]")) is not None


@functools.lru_cache(maxsize=1024)
def ip_of(text: str) -> Any:
    """An IP address, IPv4 though it be spelled as IPv6; None for what is none."""
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (ip.version == 6 and ip.ipv4_mapped) or ip


def is_decodable(label: str) -> bool:
    """Whether a label in punycode is one that is made of a label in Unicode."""
    if not label.startswith("xn--"):
        return True
    try:
        return ascii_label(label[4:].encode().decode("punycode")) == label
    except ValueError:
        return False


@functools.lru_cache(maxsize=64)
def origin_of(text: str) -> Optional[tuple]:
    """(host, port) of an Origin, or of the URL in a Referer; None for anything
    doubtful: `null`, user information, a host with an empty label, or with characters
    that are in no host once it is spelled as browsers do."""
    match = ORIGIN.match(text)
    if not match or len(match[2]) > 253:
        return None
    host, usual = spelled_host(match[2]), DEFAULT_PORT.get(match[1].lower(), "")
    return (host, match[3] or usual) if host else None


def rules_of_origin(url: Optional[str]) -> tuple:
    """The rule that lets this URL's own pages in, none for no URL."""
    place = origin_of(url or "")
    return (":".join(place),) if place else ()


@functools.lru_cache(maxsize=64)  # of pages and keys, which come again and again
def origin_allowed(rules: tuple, origin: Optional[str]) -> bool:
    """Whether a page at this origin may use a key that is locked to these rules."""
    if "*" in rules:
        return True
    place = origin_of(origin or "")
    return place is not None and not rules_for(*place).isdisjoint(rules)


def rules_for(host: str, port: str) -> set:
    """Each of which lets this place in."""
    labels, names = host.split("."), {host}
    names |= {f"*.{'.'.join(labels[n:])}" for n in range(1, len(labels))}
    if host in LOOPBACK:
        names.add("localhost")
    return names | {f"{name}:{port}" for name in names}


def web_url(text: str) -> Optional[str]:
    """An absolute http(s) URL, ready for a Location header. None for anything else and
    for whatever one program may read as another host than the next does."""
    match, place = ORIGIN.match(text), origin_of(text)
    if place is None or match[1].lower() not in DEFAULT_PORT or has_trick(text):
        return None
    port = f":{match[3]}" if match[3] else ""
    # In ASCII, and nothing escaped twice.
    rest = percent_encode(text[match.end() :], safe="/?#[]@!$&'()*+,;=:%~")
    return f"{match[1].lower()}://{place[0]}{port}{rest}"


def has_trick(text: str) -> bool:
    """Whether a URL is overlong, or has, escaped or not, control characters, which
    browsers leave out, or backslashes, which they take for slashes."""
    plain = unescaped(text)
    return len(text) > 2000 or "\\" in plain or bool(CONTROL.search(plain))


def unescaped(text: str) -> str:
    """However often it was percent-encoded; of a longer text the beginning."""
    text = text[:2000]
    while (plain := unquote(text)) != text:
        text = plain
    return text


# -- a publishable key's forms


class FormSettings(NamedTuple):
    """How submissions with a key are treated, beside its `domains` and `existing`
    (CONTRACT section 8)."""

    notify: tuple = ()  # addresses that are told of each acceptance
    redirect: Optional[str] = None  # where a browser goes after a success
    captcha: str = "none"
    confirm: bool = False  # double opt-in
    keep_days: int = 365  # 0: for ever

    @classmethod
    def read(cls, text: str) -> "FormSettings":
        """As kept: JSON, in which a setting that is left out is the default."""
        settings = cls(**load(text))
        return settings._replace(notify=tuple(settings.notify))


CAPTCHAS = ("none", "altcha", "service")


def clean_notify(value: Any) -> tuple:
    texts = [text for text in map(trim, value) if text] if is_texts(value) else None
    if texts is None or len(texts) > 10 or not all(map(is_email, texts)):
        raise ValueError
    return tuple(dict.fromkeys(texts))


def clean_redirect(value: Any) -> Optional[str]:
    url = web_url(value) if isinstance(value, str) else None
    if url is None and value not in (None, ""):
        raise ValueError
    return url


def is_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value)


# -- what forms send: (name, value) pairs


MOST_VALUES = 1000
BOUNDARY = re.compile(
    r';[ \t]*boundary=(?:"([ -!#-[\]-~]{1,70})"|([!#-:<-~]{1,70}))[ \t]*(?:;|$)', re.I
)


def decoded_pairs(text: str, most: int) -> list:
    """ValueError for more of them, and for what is not UTF-8."""
    return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=most)


def urlencoded_pairs(body: bytes) -> list:
    try:
        return decoded_pairs(body.decode(), MOST_VALUES)
    except ValueError:
        message = f"the form is not in UTF-8, or has more than {MOST_VALUES} values"
        raise InvalidRequest(message) from None


def multipart_pairs(body: bytes, content_type: str) -> list:
    """Of RFC 7578; UnsupportedMediaType for a file."""
    boundary = BOUNDARY.search(content_type)
    if not boundary:
        raise InvalidRequest("the Content-Type has no boundary, or one that is none")
    boundary = boundary[1] or boundary[2]
    pairs, value = [], b""
    try:
        with multipart.PushMultipartParser(
            boundary, max_segment_count=MOST_VALUES, strict=True
        ) as parser:
            for event in parser.parse(body):
                if isinstance(event, multipart.MultipartSegment):
                    part, value = event, b""
                elif event is not None:
                    value += event
                if part.filename or (value and part.filename is not None):
                    raise UnsupportedMediaType("this form takes no files: send text")
                if event is None and part.filename is None:
                    pairs.append((part.name, value.decode()))
    except ValueError:  # MultipartError is one, UnicodeDecodeError too
        message = f"the form is not in UTF-8, or has more than {MOST_VALUES} parts, or"
        raise InvalidRequest(f"{message} is no multipart/form-data") from None
    return pairs


def gathered(pairs: list) -> dict:
    """A repeated name has an array."""
    values = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return {name: some if some[1:] else some[0] for name, some in values.items()}


def bytes_of_pair(name: str, value: Any) -> int:
    text = value if isinstance(value, str) else dump(value)
    return len(name.encode()) + len(text.encode())


###############################################################################
# Storage #####################################################################
###############################################################################

# -- models: the schema, bound to no database; hot paths use fixed SQL on its tables


class Workspace(peewee.Model):
    """The tenant: every key, record and event belongs to exactly one."""

    name = peewee.TextField(unique=True)
    # The newest event that was erased because of its age.
    expired = peewee.BigIntegerField(default=0)


def part_of(model: type, **options: Any) -> peewee.ForeignKeyField:
    """A row that is deleted with another."""
    return peewee.ForeignKeyField(model, on_delete="CASCADE", **options)


class Tally(peewee.Model):
    """How many records of a kind a workspace has: lists need not count."""

    workspace = part_of(Workspace, index=False)
    kind = peewee.TextField()
    total = peewee.IntegerField()

    class Meta:
        primary_key = peewee.CompositeKey("workspace", "kind")


class Record(peewee.Model):
    """What a table of any kind has. `created_at` is a record's place in line, unique
    to the microsecond in its workspace; `words` is the folded copy that `q` looks in
    and stands before `fields`, so that a search need not read past it."""

    uid = peewee.TextField()  # in no index: it holds the row's number
    workspace = part_of(Workspace, index=False)
    natural_key = peewee.TextField()
    label = peewee.TextField()
    created_at = peewee.BigIntegerField()
    updated_at = peewee.BigIntegerField()
    words = peewee.TextField()
    fields = peewee.TextField()

    class Meta:
        indexes = (
            (("workspace", "natural_key"), True),
            (("workspace", "created_at"), True),
            (("workspace", "updated_at"), False),
        )


class Contact(Record):
    pass


class Company(Record):
    pass


class OldUid(peewee.Model):
    """The row of a record that was made before uids held it."""

    uid = peewee.TextField(primary_key=True)
    number = peewee.BigIntegerField()

    class Meta:
        table_name = "old_uid"
        without_rowid = True


class Call(peewee.Model):
    """A call to a contact, which it does not outlive. `sid` is its name at the service
    that placed it, `sequence` the number of that service's last word of it."""

    uid = peewee.TextField(unique=True)
    workspace = part_of(Workspace, index=False)
    contact = part_of(Contact)
    phone_number = peewee.TextField()
    from_number = peewee.TextField(null=True)
    status = peewee.TextField()
    duration = peewee.IntegerField(null=True)
    reason = peewee.TextField(null=True)
    created_at = peewee.BigIntegerField()
    updated_at = peewee.BigIntegerField()
    sid = peewee.TextField(null=True)
    sequence = peewee.IntegerField(default=-1)

    class Meta:
        indexes = ((("workspace", "created_at"), True),)


class Submission(peewee.Model):
    """What one visitor sent once with a publishable key (`key`, its ref), with the
    contact that it made or changed. `label` and `natural_key` are the email, `words` is
    for `q`, `accepted_at` stays though it be marked as spam later."""

    uid = peewee.TextField()  # in no index: it holds the row's number
    workspace = part_of(Workspace, index=False)
    contact = part_of(Contact, null=True, index=False)
    key = peewee.TextField()
    label = peewee.TextField(null=True)
    natural_key = peewee.TextField(null=True)
    subject = peewee.TextField(null=True)
    reply_to = peewee.TextField(null=True)
    from_name = peewee.TextField(null=True)
    page = peewee.TextField(null=True)
    state = peewee.TextField()
    reason = peewee.TextField(null=True)
    created_at = peewee.BigIntegerField()
    updated_at = peewee.BigIntegerField()
    confirmed_at = peewee.BigIntegerField(null=True)
    accepted_at = peewee.BigIntegerField(null=True)
    words = peewee.TextField()
    fields = peewee.TextField()

    class Meta:
        # What stands behind `created_at` lets retention pass over what it keeps.
        indexes = (
            (("workspace", "created_at"), True),
            (("workspace", "state", "created_at", "reason"), False),
            (("workspace", "key", "created_at", "confirmed_at"), False),
            (("workspace", "natural_key", "created_at"), False),
            (("contact", "created_at"), False),
        )


class Sent(peewee.Model):
    """By which a submission that is sent again is known, for a minute: a keyed hash of
    it and of its visitor's network; its row's number and `created_at`."""

    hash = peewee.BlobField(primary_key=True)
    number = peewee.IntegerField()
    at = peewee.BigIntegerField()

    class Meta:
        without_rowid = True


class Event(peewee.Model):
    """One line of the log: its id is its place in the order of commits. `owner` and
    `subject` (a kind's name, a row's number: numbers that only grow keep the index
    fast) name the record whose deletion erases it, a tombstone has none; `data` is
    the record as /v1 showed it. A visitor's event may rest on an earlier, whole one of
    the record, its `base` (an id): its `data` is then what differs from that one.
    `restated` is one that tells the log's readers, but no history, what a record still
    is after its history was erased: who had not read so far would never hear of it.
    One of a `submission` has no data of its own, and goes with that."""

    id = AutoIncrementField()  # never used twice, though the newest be erased
    workspace = part_of(Workspace)
    type = peewee.TextField()
    record = peewee.TextField()
    owner = peewee.TextField()
    subject = peewee.IntegerField(null=True)
    created_at = peewee.BigIntegerField()
    key = peewee.TextField()
    changed = peewee.TextField()
    data = peewee.TextField()
    base = peewee.BigIntegerField(null=True)
    restated = peewee.IntegerField(constraints=[peewee.SQL("DEFAULT 0")])
    submission = part_of(Submission, null=True, index=False)

    class Meta:
        indexes = ((("subject", "owner"), False),)


Event.add_index(Event.submission, where=Event.submission.is_null(False))


class Answer(peewee.Model):
    """The 201 that an Idempotency-Key was answered with."""

    workspace = part_of(Workspace, index=False)
    key = peewee.TextField()
    name = peewee.TextField()
    body = peewee.TextField()
    call = part_of(Call)
    text = peewee.TextField()
    created_at = peewee.BigIntegerField(index=True)

    class Meta:
        indexes = ((("workspace", "key", "name"), True),)


class TextsField(peewee.TextField):
    """A list of texts, kept as JSON."""

    def db_value(self, value: list) -> str:
        return dump(value)

    def python_value(self, value: str) -> list:
        return load(value)


class SettingsField(peewee.TextField):
    """FormSettings, kept as JSON."""

    def db_value(self, value: FormSettings) -> str:
        return dump(value._asdict())

    def python_value(self, value: str) -> FormSettings:
        return FormSettings.read(value)


class Key(peewee.Model):
    """An API key; of its token only the SHA-256 is kept, and not when it is revoked."""

    uid = peewee.TextField(unique=True)
    workspace = part_of(Workspace, index=False)
    name = peewee.TextField()
    type = peewee.TextField()
    hash = peewee.TextField(unique=True, null=True)
    hint = peewee.TextField()
    permissions = TextsField()
    domains = TextsField()
    existing = peewee.TextField()
    created_at = peewee.BigIntegerField()
    created_by = peewee.TextField(null=True, index=True)
    last_used_at = peewee.BigIntegerField(null=True)
    revoked_at = peewee.BigIntegerField(null=True)
    settings = SettingsField()

    class Meta:
        indexes = ((("workspace", "revoked_at"), False),)

    @property
    def ref(self) -> str:
        """How it is named outside; CONTACTAPI_SECRET_KEY is in no table."""
        return KEYS.ref(self.uid) if self.uid else "env"


class Note(peewee.Model):
    """What the database is to remember about itself."""

    name = peewee.TextField(primary_key=True)
    value = peewee.TextField()


def columns_of(model: type) -> tuple:
    return tuple(field.column_name for field in model._meta.sorted_fields)


def row_of(model: type, **others: Any) -> type:
    """A NamedTuple of a table's columns, with the defaults of the model, and of what is
    read beside them."""
    defaults = [field.default for field in model._meta.sorted_fields]
    names, defaults = [*columns_of(model), *others], [*defaults, *others.values()]
    return namedtuple(f"{model.__name__}Row", names, defaults=defaults)


def insertion(model: type, names: tuple) -> str:
    """SQL that stores these columns of a row."""
    marks = ", ".join("?" * len(names))
    return f"INSERT INTO {model._meta.table_name} ({', '.join(names)}) VALUES ({marks})"


# All but those of KINDS, and those that extras bring.
TABLES = (Workspace, Tally, OldUid, Call, Submission, Sent, Event, Answer, Key, Note)


# -- kinds: what differs between contacts and companies, as data


class Row(NamedTuple):
    """A record as it is stored: times in microseconds, `fields` as JSON text."""

    id: int
    uid: str
    label: str
    natural_key: str
    fields: str
    created_at: int
    updated_at: int


class Kind(NamedTuple):
    """A kind of record: its model and its cleaner are all that it has beside this."""

    name: str
    plural: str
    prefix: str
    key: Optional[str]  # the field that is the natural key, if one is
    model: type
    clean: Optional[Callable]  # of that, value -> (as written, as compared)

    @property
    def table(self) -> str:
        return self.model._meta.table_name

    def others(self, document: dict) -> dict:
        """Its fields without the key and what is ours."""
        others = dict(document)
        for name in (*OURS, self.key):
            others.pop(name, None)
        return others

    @property
    def read(self) -> str:
        """The permission."""
        return f"{self.plural}:read"

    @property
    def write(self) -> str:
        return f"{self.plural}:write"

    def ref(self, uid: str) -> str:
        """The id that is shown of the record with this uid."""
        return f"{self.prefix}_{uid}"

    def uid(self, ref: str) -> Optional[str]:
        return parse_id(self.prefix, ref)


CONTACTS = Kind("contact", "contacts", "con", "email", Contact, clean_email)
COMPANIES = Kind("company", "companies", "cmp", "name", Company, clean_name)

# A third one stands here, and nothing else: a file that is there gets its table.
KINDS = (CONTACTS, COMPANIES)

# What is not posted as it is, but listed, exported and named as they are. Those of each
# state and key are counted.
SUBMISSIONS = Kind("submission", "submissions", "sub", "email", Submission, clean_email)
TALLY_OF_SUBMISSION = "'submission ' || state || ' ' || key"

# Named and permitted as they are, too; nothing names one but its id.
CALLS = Kind("call", "calls", "call", None, Call, None)
KEYS = Kind("key", "keys", "key", None, Key, None)


# -- the database: all that is SQLite's own


class Database(peewee.SqliteDatabase):
    """Connections with these pragmas, one for each thread or (`shared`) one that they
    hand on; all can be closed at once."""

    PRAGMAS = {
        "synchronous": "FULL",
        "foreign_keys": "ON",
        "secure_delete": "ON",
        "journal_size_limit": 2**25,
    }

    def __init__(self, path: str, shared: bool = False, **pragmas: Any):
        pragmas = {**self.PRAGMAS, **pragmas}
        options = {"check_same_thread": False, "thread_safe": not shared}
        super().__init__(path, pragmas=pragmas, **options)
        self.opened = []

    def _connect(self):
        connection = super()._connect()
        self.opened.append(connection)
        return connection

    def _close(self, connection: sqlite3.Connection) -> None:
        self.opened.remove(connection)
        super()._close(connection)


APPLICATION_ID = 0x636F6E74  # "cont", in the file's header


class Store:
    """The storage contract, and SQLite's way of keeping it.

    row, rows, run, fetch   SQL or a Peewee query on this thread's own connection;
                            a read sees the last commit and never waits for a write
    write(work)             runs work() inside a write transaction and returns its
                            result once the commit is on the disk; an exception
                            undoes it. What work() reads, it reads inside, too
    Group(store)            several works that share a commit
    close()                 closes every connection

    Any of them raises Unavailable when the database cannot be reached or written, and
    whatever sqlite3 raised when it was a mistake of ours.
    """

    BUSY_SECONDS = 10  # how long a write waits for another process
    SMALL = 100_000_000  # bytes below which a stop or a night rewrites the file

    def __init__(self, path: str):
        self.path, self.indexed = path, {}  # by name of a field: the SQL of its index
        self.reading = Database(path, cache_size=-256)
        own = {"cache_size": -8192, "busy_timeout": 0, "journal_mode": "wal"}
        self.writing = Database(path, shared=True, **own)
        self.pen = threading.Lock()  # who has it may use `writing`
        self.own = threading.local()  # .database, of a thread that has had the pen
        self.patience = self.BUSY_SECONDS
        self.after = set()  # what is called once what was written is on the disk
        self.closed = False

    # reading, and writing inside a work

    @property
    def writes(self) -> bool:
        """Whether this thread is inside a work."""
        return self.database is self.writing

    @property
    def database(self) -> Database:
        return getattr(self.own, "database", self.reading)

    def run(self, sql: str, params: tuple = ()) -> sqlite3.Cursor:
        return self._ask(lambda it: it.execute(sql, params))

    def run_many(self, sql: str, rows: list) -> None:
        self._ask(lambda it: it.executemany(sql, rows))

    def row(self, sql: str, params: tuple = ()) -> Optional[tuple]:
        return self._ask(lambda it: it.execute(sql, params).fetchone())

    def rows(self, sql: str, params: tuple = ()) -> list:
        return self._ask(lambda it: it.execute(sql, params).fetchall())

    def fetch(self, query: peewee.Query) -> Any:
        """A Peewee select's models, or what any other query returns."""
        many = list if isinstance(query, peewee.Select) else lambda result: result
        return self._ask(lambda _: many(query.execute(self.database)))

    def make_tables(self, models: Iterable) -> None:
        """Inside a work: those that are not there, as the models say them."""

        def make(_: sqlite3.Connection) -> None:
            for model in models:
                peewee.SchemaManager(model, self.writing).create_all()

        self._ask(make)

    def _ask(self, question: Callable) -> Any:
        try:
            return question(self.database.connection())
        except (sqlite3.Error, peewee.PeeweeException) as err:
            raise outage(err) from err

    @functools.cached_property
    def uids(self) -> NumberedUids:
        return NumberedUids(self._secret)

    def secret(self, purpose: bytes) -> bytes:
        """One for this purpose (16 bytes at most)."""
        return hashlib.blake2b(key=self._secret, person=purpose).digest()

    @functools.cached_property
    def _secret(self) -> bytes:
        """The same in every process on this database, and in its copies."""
        (value,) = self.row("SELECT value FROM note WHERE name = 'uid secret'")
        return bytes.fromhex(value)

    def has_uid(self, table: str, uid: str) -> tuple:
        """SQL that a row of this table has this uid, and its parameters."""
        old = "(SELECT number FROM old_uid WHERE uid = ?)"
        where = f"{table}.id = coalesce({old}, ?) AND {table}.uid = ?"
        return where, (uid, self.uids.number(uid), uid)

    def changes(self) -> int:
        """How many rows the writing connection has changed so far."""
        return self.writing.connection().total_changes

    def test(self, column: str, operator: str, value: Any) -> tuple:
        """SQL of a Filter, and its parameters."""
        if operator == "is":
            name, text = value
            return self.field_equals(name, json_spellings(text))
        if operator == "has":
            return f"instr({column}, ?) > 0", [value]
        return f"{column} {operator} ?", [value]

    def field_equals(self, name: str, spellings: list) -> tuple:
        """SQL that a top-level field is one of these JSON texts, and its parameters."""
        marks = ",".join("?" * len(spellings))
        if name in self.indexed:
            return f"{self.indexed[name]} IN ({marks})", spellings
        if name and not re.search(r'["\\\0-\x1f]', name):
            return f"(fields -> ?) IN ({marks})", [f'$."{name}"', *spellings]
        # SQLite's paths escape nothing, so for the question the field gets a name that
        # nobody can have given: in JSON as `dump` writes it, a name between quotes and
        # a colon is that name, or the end of another.
        alias = secrets.token_hex(16)
        renamed = [f"{quote(name)}:", f'"{alias}":', f'$."{alias}"']
        return f"(replace(fields, ?, ?) -> ?) IN ({marks})", [*renamed, *spellings]

    def count(self, workspace: int, kind: str, change: int) -> None:
        """So many more of a kind; inside a transaction."""
        self.run(
            "INSERT INTO tally (workspace_id, kind, total) VALUES (?1, ?2, ?3) "
            "ON CONFLICT (workspace_id, kind) DO UPDATE SET total = total + ?3",
            (workspace, kind, change),
        )

    # transactions: who has the pen begins one, does works in it, and ends it

    def write(self, work: Callable) -> Any:
        assert not self.writes, "a work may not begin another"
        self.begin()
        try:
            result = self.carry_out(work)
        except BaseException as err:
            self.rollback(err)
            raise
        self.commit()
        return result

    def write_by_parts(self, work: Callable) -> int:
        """One transaction after the other, until a work did nothing more; the sum of
        what they did."""
        return sum(iter(lambda: self.write(work), 0))

    def begin(self, wait: bool = True) -> None:
        """Takes the pen and begins a transaction; Unavailable where it cannot be had
        within `patience` seconds, or at once where it is not to `wait`."""
        if self.closed:
            raise Unavailable("the server is stopping; try again")
        patience = self.patience if wait else 0
        if not self.pen.acquire(timeout=patience):
            raise Unavailable() from TimeoutError("another write takes too long")
        try:
            self.wait_for_others(lambda: self._say("BEGIN IMMEDIATE"), patience)
        except BaseException as err:
            if is_lock(err):
                self.pen.release()
            else:
                self.rollback(err)
            raise

    def carry_out(self, work: Callable) -> Any:
        """work() with the pen in this thread's hand."""
        self.own.database = self.writing
        try:
            return work()
        finally:
            self.own.database = self.reading

    def _say(self, sql: str) -> None:
        self.carry_out(lambda: self.run(sql))

    def commit(self) -> None:
        """Unavailable if nothing of it is on the disk."""
        try:
            self._say("COMMIT")
        except BaseException as err:
            self.rollback(err)
            raise
        while self.after:
            self.after.pop()()
        self.pen.release()

    def rollback(self, why: BaseException) -> None:
        """Closes the connection, which undoes what it began: the next write gets a new
        one, so that a disk with room again, or a file made writable, needs no
        restart."""
        if isinstance(why, Unavailable):
            log.error("nothing could be written: %s", why.__cause__ or why)
        self.writing.close()
        self.pen.release()

    def wait_for_others(self, step: Callable, patience: float) -> Any:
        """Another process may hold the lock: ask again each millisecond, for SQLite's
        own busy handler sleeps ever longer and would be overtaken."""
        began = time.monotonic()
        while True:
            try:
                return step()
            except Unavailable as err:
                if not is_lock(err) or time.monotonic() - began > patience:
                    raise
            time.sleep(0.001)

    # erasure: `secure_delete` alone leaves copies behind where pages were split

    def note_erasure(self) -> None:
        """Called where personal data is deleted: the file needs a rewrite."""
        self.run("INSERT OR REPLACE INTO note VALUES ('erased', hex(randomblob(8)))")

    def rewrite_if_due(self) -> None:
        """What a clean stop and every night do."""
        erased = self.row("SELECT 1 FROM note WHERE name = 'erased'")
        if erased and os.path.getsize(self.path) < self.SMALL:
            self.rewrite()

    def rewrite(self) -> None:
        """Writes the whole file anew, beside running readers and writers. Above SMALL
        a person asks for it, for it takes long."""
        self.run("PRAGMA busy_timeout = 0")
        erased = self.row("SELECT value FROM note WHERE name = 'erased'")
        self.wait_for_others(lambda: self.run("VACUUM"), self.patience)
        self.wait_for_others(self.truncate_wal, self.patience)
        if erased:  # unless there was more meanwhile, or this was cut short
            done = "DELETE FROM note WHERE name = 'erased' AND value = ?"
            self.write(lambda: self.run(done, erased))

    def truncate_wal(self) -> None:
        busy, _, _ = self.row("PRAGMA wal_checkpoint(TRUNCATE)")
        if busy:
            raise Unavailable() from TimeoutError("database is locked")

    def close(self, in_use: bool = False) -> None:
        """Lets a write that has begun end, then closes every connection; where a thread
        may be `in_use` of one still, the end of the process does that."""
        self.closed = True
        self.pen.acquire(timeout=1)
        if not in_use:
            for opened in (self.writing.opened, self.reading.opened):
                while opened:
                    opened.pop().close()

    def interrupt_all(self) -> None:
        """Ends what is running in any thread."""
        for connection in (*self.writing.opened, *self.reading.opened):
            connection.interrupt()


class Outcome(NamedTuple):
    """What a work returned, or what it raised."""

    result: Any
    error: Optional[Exception] = None

    @classmethod
    def of(cls, work: Callable, *arguments: Any) -> "Outcome":
        try:
            return cls(work(*arguments))
        except Exception as err:
            return cls(None, err)

    def get(self) -> Any:
        """The result; raises the error where there is none."""
        if self.error:
            raise self.error
        return self.result


class Group:
    """Works that share a transaction, so that one sync of the disk serves them all.
    They are done one after the other, by whichever thread has the group; none is to be
    confirmed before `commit` has returned.

    A work that raises before it changed anything disturbs no other. If one fails
    halfway, or the database does, the group is `spoiled`: nothing of it will be on the
    disk. (A savepoint for each would cost a fifth of all that can be written.)
    """

    def __init__(self, store: Store):
        self.store, self.spoiled = store, None  # by which error

    def add(self, work: Callable) -> Outcome:
        if self.spoiled:
            return Outcome(None, self.spoiled)
        before = self.store.changes()
        outcome = Outcome.of(self.store.carry_out, work)
        error, halfway = outcome.error, self.store.changes() != before
        if error and (halfway or isinstance(error, Unavailable)):
            self.spoiled = error
        return outcome

    def commit(self) -> None:
        """Unavailable if nothing of it is on the disk."""
        if self.spoiled is None:
            self.store.commit()
        else:
            self.store.rollback(self.spoiled)
            if isinstance(self.spoiled, Unavailable):
                raise self.spoiled


# What SQLite says when the disk, the file or another process stands in the way (its
# result codes, sqlite.org/rescode.html); anything else is a mistake of ours.
LOCKS = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
OUTAGES = LOCKS | {
    *(sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY),
    *(sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT),
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL),
    sqlite3.SQLITE_NOTADB,
}


def primary_code(err: Optional[BaseException]) -> int:
    """SQLite's result code without its extension."""
    err = getattr(err, "orig", err)  # of Peewee's, the one that it wraps
    return getattr(err, "sqlite_errorcode", 0) & 0xFF


def outage(err: Exception) -> Exception:
    """Unavailable for what passes or an operator mends; a mistake of ours (bad SQL, a
    constraint) stays what it is, and is that request's alone."""
    closed = "closed database" in str(err)  # at a stop, under a request's feet
    return Unavailable() if closed or primary_code(err) in OUTAGES else err


def is_lock(err: BaseException) -> bool:
    """Whether another has what is wanted, and will let go of it."""
    cause = err.__cause__
    return isinstance(cause, TimeoutError) or primary_code(cause) in LOCKS


def open_to_others(path: str) -> str:
    """What is to be said of a file that not only its owner may read, or ""."""
    mode = stat.S_IMODE(os.stat(path).st_mode)
    return f"others may read it (mode {mode:04o}): chmod 600" if mode & 0o077 else ""


def open_database(path: str) -> Store:
    """The store at this path, its schema brought up to date; Mistake if it is not
    ours, newer than we know, damaged or out of reach."""
    if sqlite3.sqlite_version_info < (3, 38, 0):
        raise Mistake(f"SQLite {sqlite3.sqlite_version} is too old; 3.38 is needed")
    store = Store(path)
    try:
        # Mode 0600; SQLite gives the files beside it the mode of this one.
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT, 0o600))
        bring_up_to_date(store)
    except OSError as err:
        raise Mistake(f"{path} cannot be opened: {err.strerror}") from None
    except Unavailable as err:
        raise Mistake(f"{path} cannot be used: {err.__cause__}") from None
    return store


# -- the schema: a new file has it from the models, an old one by extras/upgrades.py

SCHEMA = 2  # one more for each Step of extras/upgrades.py


def schema_of(store: Store) -> int:
    """0 is a new file. Mistake for a database of something else or a newer schema."""
    (version,) = store.row("PRAGMA user_version")
    (owner,) = store.row("PRAGMA application_id")
    fresh = version == 0 and not store.row("SELECT 1 FROM sqlite_master")
    if not fresh and owner != APPLICATION_ID:
        raise Mistake(f"{store.path} is a database of something else")
    if version > SCHEMA:
        raise Mistake(
            f"{store.path} has schema {version}; this contactapi {VERSION} knows "
            f"schema {SCHEMA}: use a newer one"
        )
    return version


def bring_up_to_date(store: Store) -> None:
    """Gives the file today's schema in one transaction, and the tables of kinds that it
    does not know. Mistake if the first fails: the file is then as it was."""
    version = schema_of(store)
    try:
        # Another process may have come first: look again inside the transaction.
        if version != SCHEMA:
            store.write(lambda: make_schema(store, schema_of(store)))
    except Mistake:
        raise
    except Exception as err:
        stays = f"{store.path} stays at schema {version}"
        raise Mistake(f"{stays}: {err.__cause__ or err}") from err
    make_missing(store, [kind.model for kind in KINDS])


def make_schema(store: Store, version: int) -> None:
    if version == 0:
        store.make_tables(TABLES)
        store.run("INSERT INTO workspace (name, expired) VALUES ('default', 0)")
        make_uid_secret(store)
    elif version < SCHEMA:
        UPGRADES.load().take_steps(store, version, SCHEMA)
    store.run(f"PRAGMA application_id = {APPLICATION_ID}")
    store.run(f"PRAGMA user_version = {SCHEMA}")


def make_missing(store: Store, models: Iterable) -> None:
    """The tables of these; a file that has them is only read."""
    there = {name for (name,) in store.rows("SELECT name FROM sqlite_master")}
    missing = [model for model in models if model._meta.table_name not in there]
    if missing:
        store.write(lambda: store.make_tables(missing))


def equip(extra: Extra, store: Store) -> Any:
    """Its module, with the tables that it brings; Mistake where there is no having
    them."""
    module = extra.load()
    try:
        make_missing(store, getattr(module, "MODELS", ()))
    except Unavailable as err:
        what = f"to {extra.purpose}, {store.path} needs more tables"
        raise Mistake(f"{what}: {err.__cause__}") from None
    return module


def make_uid_secret(store: Store) -> None:
    secret = secrets.token_hex(32)
    store.run("INSERT INTO note (name, value) VALUES ('uid secret', ?)", (secret,))


###############################################################################
# Services ####################################################################
###############################################################################

# -- workspaces and keys


def known_permissions() -> list:
    """What a restricted key can be given."""
    kinds = *KINDS, CALLS, KEYS, SUBMISSIONS
    return [name for kind in kinds for name in (kind.read, kind.write)]


class Caller(NamedTuple):
    """Who is asking: a key, its workspace (None: any) and what it may."""

    ref: str
    workspace: Optional[int]
    type: str
    grants: frozenset
    domains: tuple = ()
    existing: str = "update"
    settings: FormSettings = FormSettings()

    def may(self, permission: str) -> bool:
        return permission in self.grants or EVERYTHING in self.grants


def operator(ref: str, workspace: Optional[int] = None) -> Caller:
    """One who has no key and may everything: cli, first start, retention."""
    return Caller(ref, workspace, "secret", GRANTS["secret"])


class Workspaces:
    """Names of tenants, and their numbers in the database."""

    def __init__(self, store: Store):
        self.store = store

    def find(self, name: str) -> int:
        found = self.store.fetch(Workspace.select().where(Workspace.name == name))
        if not found:
            raise NotFound(f"there is no workspace {name}; `keys create` makes one")
        return found[0].id

    def ensure(self, name: str) -> int:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", name):
            raise InvalidRequest("a workspace is named by letters, digits, - _ and .")
        query = Workspace.insert(name=name).on_conflict_ignore()
        self.store.write(lambda: self.store.fetch(query))
        return self.find(name)


GRANTS = {"secret": frozenset([EVERYTHING]), "publishable": frozenset()}


class Keys:
    """API keys: made, found by their token, changed, revoked (CONTRACT section 2).

    A found key is remembered for FRESH seconds; a change made in this process is
    seen at once. What is not found is not remembered.
    """

    kind = KEYS
    FRESH, ROOM = 4.0, 10_000
    MOST = 1000  # in a workspace
    LEFT = "ended key_"  # and a uid: a note's name
    FAMILY = (  # a key and all that go back to it, revoked ones among them
        "WITH RECURSIVE family (uid) AS (VALUES (?) UNION "
        'SELECT "key".uid FROM family '
        "JOIN \"key\" ON created_by = 'key_' || family.uid) "
    )

    def __init__(
        self,
        store: Store,
        events: "Events",
        clock: Callable,
        ticker: Callable = time.monotonic,
        secret_key: Optional[str] = None,
    ):
        self.store, self.events, self.clock, self.ticker = store, events, clock, ticker
        self.cache, self.used = {}, {}
        self.end_made = self._leave  # or what an extra has for what keys make there
        self.own = {}  # by its hash, as all are found: the environment's
        if secret_key:
            default = Workspaces(store).find("default")
            self.own[token_hash(secret_key)] = operator("env", default)

    # finding

    def find(self, token: str) -> Optional[Caller]:
        """The caller whose token this is, None for what is none."""
        if not 0 < len(token) <= 300:
            return None
        digest, cache, now = token_hash(token), self.cache, self.ticker()
        caller, until = cache.get(digest, (None, 0))
        if until <= now:
            caller = self.own.get(digest) or self._caller("hash = ?", digest)
            if caller is None:
                return None
            if len(cache) >= self.ROOM:
                cache.clear()
            cache[digest] = caller, now + self.FRESH
        self.used[caller.ref] = self.clock()
        return caller

    def _caller(self, where: str, *params: Any) -> Optional[Caller]:
        row = self.store.row(
            "SELECT uid, workspace_id, type, permissions, domains, existing, settings "
            f'FROM "key" WHERE {where}',
            params,
        )
        if row is None:
            return None
        uid, workspace, type, permissions, domains, existing, settings = row
        grants = GRANTS.get(type, frozenset([SIGNED, *load(permissions)]))
        rules = tuple(load(domains)), existing, FormSettings.read(settings)
        return Caller(KEYS.ref(uid), workspace, type, grants, *rules)

    def rule(self, workspace: int, ref: str) -> Caller:
        """The key by which something came, be it revoked meanwhile; one with the usual
        settings for a key of which nothing is left."""
        uid = ref.removeprefix("key_")
        found = self._caller("uid = ? AND workspace_id = ?", uid, workspace)
        return found or Caller(ref, workspace, "publishable", frozenset())

    def forget(self) -> None:
        """The next request of this process looks every key up again."""
        self.cache = {}  # who looks one up just now puts what was true into the old one

    # making and changing

    def create(
        self,
        caller: Caller,
        type: str,
        name: str = "",
        permissions: tuple = (),
        domains: tuple = (),
        **others: Any,
    ) -> tuple:
        """(Key, token). The token is not kept and cannot be had again. `others` are
        `existing` and the form settings. Conflict in a workspace that has MOST."""
        self._refuse_more_than_own(caller, type, permissions)
        if others.get("notify"):
            self._refuse_turning(caller, {"notify"})
        given = {"name": name, "permissions": permissions, "domains": domains}
        values = clean_key(type, **given, **others)
        token = new_token(type)
        key = Key(
            uid=new_uid(),
            workspace=caller.workspace,
            hash=token_hash(token),
            hint=token_hint(token),
            created_at=self._now(),
            created_by=caller.ref,
            **values,
        )

        def work() -> None:
            self._refuse_revoked(caller)
            self._refuse_too_many(caller.workspace)
            self.store.fetch(Key.insert(key.__data__))
            shown = self.events.wire.key(key)
            self.tell("created", caller, key, list(key_values(key)), shown)

        self.store.write(work)
        return key, token

    def _refuse_more_than_own(
        self, caller: Caller, type: Any, permissions: Any
    ) -> None:
        """Forbidden to make, change or revoke a key that may more than `caller`."""
        of_type = {"secret": [EVERYTHING], "publishable": [CONTACTS.write]}
        asked = permissions if is_texts(permissions) else ()
        wanted = of_type.get(type, asked) if isinstance(type, str) else ()
        known = (*known_permissions(), EVERYTHING)
        missing = ", ".join(p for p in known if p in wanted and not caller.may(p))
        if missing:
            raise Forbidden(f"a key cannot give what it has not itself: {missing}")

    def _refuse_turning(self, caller: Caller, changed: set) -> None:
        """A form in use is led elsewhere, or its check is taken away, only by who may
        read and change what comes by it; who is told of that says a secret key."""
        if "notify" in changed and not caller.may(EVERYTHING):
            raise Forbidden("notify needs a secret key")
        needed = ("submissions:read", "submissions:write")
        missing = [permission for permission in needed if not caller.may(permission)]
        if missing and changed.intersection(GUARDED):
            raise Forbidden(f"{', '.join(GUARDED)} need {' and '.join(missing)}")

    def _refuse_revoked(self, caller: Caller) -> None:
        """A caller may be remembered for FRESH seconds after another process revoked
        it and all that it had made; what it made now would stay."""
        is_key = caller.ref.startswith("key_")
        if is_key and not self._find(caller.workspace, caller.ref):
            raise Unauthorized()

    def _refuse_too_many(self, workspace: int) -> None:
        sql = 'SELECT count(*) FROM "key" WHERE workspace_id = ? AND revoked_at IS NULL'
        if self.store.row(sql, (workspace,))[0] >= self.MOST:
            raise Conflict(f"a workspace has at most {self.MOST} keys: revoke some")

    def list(self, workspace: Optional[int] = None) -> list:
        """The keys of a workspace, or of all, oldest first and the environment's last;
        never their tokens, and none that was revoked."""
        keys = self._some(workspace, Key.revoked_at.is_null())
        for key in keys:
            last = micros(self.used.get(key.ref, 0))
            key.last_used_at = max(key.last_used_at or 0, last) or None
        env = self._find(workspace, "env")
        return keys + [env] if env else keys

    def update(self, caller: Caller, ref: str, sent: dict) -> Key:
        """Changes what is sent of `name`, `domains`, `existing` and form settings."""

        def work() -> Key:
            key = self._target(caller, ref, sent)
            stored = key_values(key)
            values = clean_key(**{**stored, **sent})
            new = key_values(Key(**values))
            changed = [name for name, value in new.items() if value != stored[name]]
            if changed:
                self.store.fetch(Key.update(values).where(Key.id == key.id))
                key = self._find(caller.workspace, ref)
                shown = self.events.wire.key(key)
                self.tell("updated", caller, key, changed, shown)
                self.store.after.add(self.forget)
            return key

        return self.store.write(work)

    def revoke(self, caller: Caller, ref: str, children: bool = False) -> list:
        """The refs of what was revoked: the key and, with `children`, all that it made
        and that those made, be it revoked itself already. A revoked key's row stays,
        so that its children are found."""

        def work() -> list:
            key = self._target(caller, ref, {}, children)
            keys = self._family(key) if children else [key]
            ended = {"hash": None, "hint": "", "revoked_at": self._now()}
            query = Key.update(ended).where(Key.id.in_([key.id for key in keys]))
            self.store.fetch(query)
            for one in keys:
                self.tell("revoked", caller, one, [], self.events.wire.gone(one.ref))
            self.store.after.add(self.forget)
            refs = [one.ref for one in keys]
            return refs + (self.end_made(caller, key.uid) if children else [])

        return self.store.write(work)

    def _family(self, key: Key) -> list:
        """Those that still work of the key and all that go back to it. What was made
        may no more than its maker: who may revoke that may revoke these."""
        rows = self.store.rows(self.FAMILY + "SELECT uid FROM family", (key.uid,))
        uids = [uid for (uid,) in rows]
        return self._some(None, Key.uid.in_(uids), Key.revoked_at.is_null())

    def _leave(self, caller: Caller, uid: str) -> list:
        """Inside the transaction that revokes a key's FAMILY: the refs of what else it
        made, which ends with it. Without that extra none: it will find the note."""
        sql = "INSERT OR REPLACE INTO note (name, value) VALUES (?, ?)"
        self.store.run(sql, (f"{self.LEFT}{uid}", caller.ref))
        return []

    def _target(
        self, caller: Caller, ref: str, sent: dict, revoked_too: bool = False
    ) -> Key:
        """The key to change; what speaks against it in the order of section 3."""
        key = self._find(caller.workspace, ref, revoked_too)
        if key is not None:
            self._refuse_more_than_own(caller, key.type, key.permissions)
            stored = key_values(key)
            changed = {n for n, v in sent.items() if dump(v) != dump(stored.get(n))}
            self._refuse_turning(caller, changed)
        clean_values(KEY_PROPERTIES, sent)
        if key is None:
            raise NotFound("there is no such key")
        if key is ENV_KEY:
            raise Conflict("this key is CONTACTAPI_SECRET_KEY: change it there")
        return key

    def _find(
        self, workspace: Optional[int], ref: str, revoked_too: bool = False
    ) -> Optional[Key]:
        if ref == "env":
            places = [caller.workspace for caller in self.own.values()]
            return ENV_KEY if places and workspace in (None, *places) else None
        which = Key.uid == KEYS.uid(ref)
        found = self._some(workspace, which, revoked_too or Key.revoked_at.is_null())
        return found[0] if found else None

    def _some(self, workspace: Optional[int], *which: Any) -> list:
        """The keys of a workspace, or of all, of which this is true, oldest first."""
        here = workspace is None or Key.workspace == workspace
        query = Key.select(Key, Workspace).join(Workspace).where(here, *which)
        return self.store.fetch(query.order_by(Key.created_at))

    def tell(
        self, verb: str, caller: Caller, one: Any, changed: list, data: str
    ) -> None:
        """Inside a transaction: what happened to a key, or to what an extra has."""
        name = one._meta.name
        what = one.workspace_id, f"{name}.{verb}", one.ref, name, None
        told = self._now(), caller.ref, dump_texts(changed), data
        self.events.add(Draft(*what, *told))

    def _now(self) -> int:
        return micros(self.clock())

    # last use

    def save_last_used(self) -> None:
        """Writes when each key was last seen: now and then, never for a request."""
        used = self.used.copy()
        rows = [(micros(at), ref.removeprefix("key_")) for ref, at in used.items()]
        sql = (
            'UPDATE "key" SET last_used_at = ?1 '
            "WHERE uid = ?2 AND coalesce(last_used_at, 0) < ?1"
        )
        if rows:
            self.store.write(lambda: self.store.run_many(sql, rows))
        for ref, at in used.items():
            if self.used.get(ref) == at:
                self.used.pop(ref, None)


def clean_key_name(text: Any) -> str:
    if not isinstance(text, str) or len(text) > 200 or CONTROL.search(text):
        raise ValueError
    return text


def clean_permissions(names: Any) -> list:
    if not is_texts(names):
        raise ValueError
    known = known_permissions()
    for name in names:
        if name not in known:
            message = f"{quote(name[:50])} is no permission: give {', '.join(known)}"
            raise ValueError(message)
    return [name for name in known if name in names]


def clean_domains(names: Any) -> list:
    if not is_texts(names) or len(names) > 100:
        raise ValueError
    return list(dict.fromkeys(map(clean_domain, names)))


KEY_PROPERTIES = {  # as `clean_values` takes them
    "type": (one_of(tuple(TOKEN_PREFIX)), "secret, publishable or restricted"),
    "name": (clean_key_name, "text of at most 200 characters"),
    "permissions": (clean_permissions, "an array of names"),
    "domains": (clean_domains, "an array of at most 100 names"),
    "existing": (one_of(("update", "keep")), "update or keep"),
    "notify": (clean_notify, "an array of at most 10 email addresses"),
    "redirect": (
        clean_redirect,
        "an absolute URL such as https://example.com/thanks, or null",
    ),
    "captcha": (one_of(CAPTCHAS), "none, altcha or service"),
    "confirm": (one_of((False, True)), "true or false"),
    "keep_days": (one_of(range(36_501)), "a number of days up to 36500; 0 is for ever"),
}
CHANGEABLE = tuple(n for n in KEY_PROPERTIES if n not in ("type", "permissions"))
# What of a publishable key decides where submissions go, and which are let in.
GUARDED = ("redirect", "domains", "captcha", "confirm", "keep_days")


def key_values(key: Key) -> dict:
    """What can be said of a key, its form settings among it."""
    names = ("name", "type", "permissions", "domains", "existing")
    settings = key.settings._asdict() if key.type == "publishable" else {}
    return {**{name: getattr(key, name) for name in names}, **settings}


def clean_key(type: Any, **given: Any) -> dict:
    """The columns of a key that may exist; anything else is InvalidRequest."""
    usual = {"name": "", "permissions": (), "domains": (), "existing": "update"}
    values = clean_values(KEY_PROPERTIES, {"type": type, **usual, **given})
    for name, owner in (("permissions", "restricted"), ("domains", "publishable")):
        if bool(values[name]) != (type == owner):
            message = f"a {owner} key has one or more {name}, no other key has any"
            raise InvalidRequest(message, name)
    settings = {n: values.pop(n) for n in FormSettings._fields if n in values}
    if settings and type != "publishable":
        name = next(iter(settings))
        raise InvalidRequest(f"only a publishable key has {name}", name)
    return {**values, "settings": FormSettings(**settings)}


# What is shown of CONTACTAPI_SECRET_KEY, which is in no table.
ENV_KEY = Key(
    workspace=Workspace(name="default"),
    hint="ck_secret_…",
    **clean_key("secret", name="CONTACTAPI_SECRET_KEY"),
)


# -- the event log


MANY = 1000  # rows that a short request does not delete

# An event to be written: its id is SQLite's. Most are whole, and nobody's submission.
Draft = namedtuple("Draft", columns_of(Event)[1:], defaults=(None, False, None))


class Events:
    """What happened, in the order of commits (CONTRACT section 9). `add` is called
    inside the transaction of the change that it tells of. The log keeps what was shown
    then: `wire` spells it. `listeners` are called inside the same transaction with
    what was added, a list of (id, Draft)."""

    INSERT = insertion(Event, Draft._fields)

    def __init__(self, store: Store, wire: Any):
        self.store, self.wire, self.listeners = store, wire, []

    def add(self, *drafts: Draft) -> None:
        self.store.run_many(self.INSERT, drafts)
        if self.listeners and drafts:
            (last,) = self.store.row("SELECT last_insert_rowid()")
            told = list(enumerate(drafts, last + 1 - len(drafts)))
            for listener in self.listeners:
                listener(told)

    def has_many(self, kind: Kind, _: int, row: Row) -> bool:
        sql = "SELECT 1 FROM event WHERE subject = ? AND owner = ? LIMIT 1 OFFSET ?"
        return bool(self.store.row(sql, (row.id, kind.name, MANY)))

    def erase_some(self, kind: Kind, _: int, row: Row) -> int:
        """Deletes what the log tells of a record, the newest, on which no other rests,
        first; how many events that was, none at the end."""
        self.store.note_erasure()
        sql = (
            "DELETE FROM event WHERE id IN (SELECT id FROM event WHERE subject = ? "
            "AND owner = ? ORDER BY id DESC LIMIT ?)"
        )
        return self.store.run(sql, (row.id, kind.name, MANY)).rowcount

    def resting(self, draft: Draft, difference: dict, most: int) -> Draft:
        """The event as what differs from the record's last whole one, if that takes at
        most `most` characters: a few bytes from a visitor do not write a large record
        again. Each has every name that those before it have, which `_let_stand` needs.
        Only for a record to which something was added or written over."""
        sql = (
            "SELECT coalesce(base, id), iif(base, data, '{}') FROM event "
            "WHERE subject = ? AND owner = ? AND record = ? ORDER BY id DESC LIMIT 1"
        )
        params = (draft.subject, draft.owner, draft.record)
        base, data = self.store.row(sql, params) or (None, "{}")
        data = dump({**load(data), **difference})
        fits = base is not None and len(data) <= most
        return draft._replace(base=base, data=data) if fits else draft

    def expire(self, before: int) -> int:
        """Deletes events older than `before`, some at a time; how many there were. The
        log is in the order of time: only its beginning is looked at."""

        def work() -> int:
            (newest,) = self.store.row(
                "SELECT max(id) FROM (SELECT id, created_at FROM event ORDER BY id "
                "LIMIT 500) WHERE created_at < ?",
                (before,),
            )
            if newest is None:
                return 0
            self.store.note_erasure()
            self._let_stand(newest)
            self.store.run(
                "UPDATE workspace SET expired = max(expired, (SELECT coalesce(max(id), "
                "0) FROM event WHERE workspace_id = workspace.id AND id <= ?))",
                (newest,),
            )
            return self.store.run("DELETE FROM event WHERE id <= ?", (newest,)).rowcount

        return self.store.write_by_parts(work)

    def _let_stand(self, newest: int) -> None:
        """Before the events up to `newest` go: of those that stay and rest on one of
        them the first becomes whole, and the others rest on it."""
        first_that_stays = (
            "SELECT id FROM event AS stays WHERE stays.subject = gone.subject AND "
            "stays.owner = gone.owner AND stays.record = gone.record AND stays.id > ?1 "
            "ORDER BY id LIMIT 1"
        )
        rows = self.store.rows(
            "SELECT event.id, whole.data, event.data, event.subject, event.owner, "
            f"whole.id FROM (SELECT DISTINCT ({first_that_stays}) AS id FROM event "
            "AS gone WHERE id <= ?1) AS first JOIN event ON event.id = first.id "
            "JOIN event AS whole ON whole.id = event.base",
            (newest,),
        )
        self.store.run_many(
            "UPDATE event SET base = nullif(?1, id), data = iif(id = ?1, ?2, data) "
            "WHERE subject = ?3 AND owner = ?4 AND base = ?5",
            [(row[0], whole(*row[1:3]), *row[3:]) for row in rows],
        )


def whole(base: str, difference: str) -> str:
    """The record that an event tells of, its times last: the one of the event on which
    it rests, with what was added or written over."""
    document = {**load(base), **load(difference)}
    for name in ("created_at", "updated_at"):
        document[name] = document.pop(name)
    return dump(document)


# -- records


class Filter(NamedTuple):
    """What holds of each row of a list: that a column is, by SQL's operator, so to a
    value; `has` it as a part; or that `fields` has a name which `is` what a text means
    (the value is both). Columns and operators are ours, never the caller's."""

    column: str
    operator: str
    value: Any


class Page(NamedTuple):
    rows: list
    total: int
    capped: bool = False


class New(NamedTuple):
    """A document that was sent, made ready to be stored."""

    label: str
    natural_key: str
    fields: dict
    text: str  # the fields as JSON
    words: str
    created_at: Optional[int] = None
    updated_at: Optional[int] = None


class Report:
    """What an import did, so far."""

    MOST = 100  # lines that are named

    def __init__(self):
        self.created = self.updated = self.failed = 0
        self.errors, self.warnings = [], []

    def fail(self, line: Line) -> None:
        self.failed += 1
        error = {"line": line.number, "message": line.error}
        if line.last:  # why the file was given up is always told
            self.errors[self.MOST - 1 :] = [error]
        elif len(self.errors) < self.MOST:
            self.errors.append(error)

    def warn(self, line: Line, message: str) -> None:
        if len(self.warnings) < self.MOST:
            self.warnings.append({"line": line.number, "message": message})


class Listed:
    """Rows of a table that stand in line by their `created_at`, each in its workspace:
    how one is found and deleted, their places, lists and files."""

    CAP, SOME = 10_000, 200  # rows that are counted, and deleted in one transaction
    COLUMNS, ROW = "", None  # what is read of a row, and what is made of it

    def __init__(self, kind: Kind, store: Store, events: Events, clock: Callable):
        self.kind, self.store, self.events, self.clock = kind, store, events, clock
        self.select = f"SELECT {self.COLUMNS} FROM {kind.table} WHERE"
        # What goes with a record: `has_many` says whether there are MANY, `erase_some`
        # how many it erased, none the last time; both take kind, workspace and row.
        self.belongings = []

    def _now(self) -> int:
        return micros(self.clock())

    def get(
        self, workspace: int, uid: Optional[str], param: Optional[str] = None
    ) -> Any:
        """NotFound, which names `param`, for what is not there and for no uid."""
        row = uid and self.find_uid(workspace, uid)
        if not row:
            raise NotFound(f"there is no such {self.kind.name}", param)
        return row

    def find_uid(self, workspace: int, uid: str) -> Optional[Any]:
        where, params = self.store.has_uid(self.kind.table, uid)
        return self.find(f"workspace_id = ? AND {where}", workspace, *params)

    def find(self, where: str, *params: Any) -> Optional[Any]:
        row = self.store.row(f"{self.select} {where}", params)
        return row and self.ROW(*row)

    def some(self, where: str, *params: Any) -> list:
        rows = self.store.rows(f"{self.select} {where}", params)
        return list(itertools.starmap(self.ROW, rows))

    def delete(self, caller: Caller, uid: Optional[str]) -> Callable:
        """Erases it and all that was known of it; its tombstone stays."""

        def work() -> None:
            self._delete(caller, self.get(caller.workspace, uid))

        return work

    def drags(self, workspace: int, row: Any) -> bool:
        """Whether so much goes with a row that its deletion is not short."""
        what = self.kind, workspace, row
        return any(one.has_many(*what) for one in self.belongings)

    def lighten(self, workspace: int, row: Any) -> None:
        """Erases what goes with a row that is to be deleted, by parts."""
        what = self.kind, workspace, row
        for one in self.belongings:
            self.store.write_by_parts(functools.partial(one.erase_some, *what))

    def delete_some(self, caller: Caller, where: str, *params: Any) -> int:
        """All of these of the caller's workspace, which is ?1, some to a transaction;
        how many it was."""
        where, params = f"workspace_id = ?1 AND {where}", (caller.workspace, *params)

        def work() -> int:
            rows = self.some(f"{where} LIMIT {self.SOME}", *params)
            for row in rows:
                self._delete(caller, row)
            return len(rows)

        return self.store.write_by_parts(work) if self.find(where, *params) else 0

    def retention(self) -> Iterator[Caller]:
        """Who deletes what has been kept long enough, for each workspace."""
        for (workspace,) in self.store.rows("SELECT id FROM workspace"):
            yield operator("retention", workspace)

    def _room(self, workspace: int, wanted: Any = (None,)) -> Iterator[tuple]:
        """(id, uid, created_at) for each new row: the place in line that it wants (None
        is now) or, where that is taken, one behind it."""
        now = self._now()
        places = [now if place is None else place for place in wanted]
        marks, table = ",".join("?" * len(places)), self.kind.table
        sql = (
            f"SELECT coalesce(max(id), 0) + 1 FROM {table} UNION ALL SELECT created_at "
            f"FROM {table} WHERE workspace_id = ? AND created_at IN ({marks})"
        )
        (number,), *taken = self.store.rows(sql, (workspace, *places))
        if taken or len(set(places)) < len(places):
            places = self._places(workspace, places, {place for (place,) in taken})
        uids = self.store.uids.make(number, len(places))
        return zip(itertools.count(number), uids, places)

    def _places(self, workspace: int, wanted: list, taken: set) -> list:
        """A free one for each: the one wanted or, where that is taken, the one behind
        all that are used in its second, or in the next that has room. What is stored is
        asked for once for each second, though 100,000 records share it."""

        @functools.cache
        def stored(second: int) -> int:
            """The last place in it, or the one before it."""
            sql = (
                f"SELECT max(created_at) FROM {self.kind.table} WHERE workspace_id = ? "
                "AND created_at >= ? AND created_at < ?"
            )
            start = second * SECOND
            (last,) = self.store.row(sql, (workspace, start, start + SECOND))
            return start - 1 if last is None else last

        def behind(second: int) -> int:
            return max(stored(second), given.get(second, FIRST)) + 1

        given, places = {}, []  # the last in each second; all of them
        for place in wanted:
            second = place // SECOND
            if place in taken:
                while (place := behind(second)) // SECOND > second:  # which is full
                    second += 1
            given[second] = max(given.get(second, place), place)
            taken.add(place)
            places.append(place)
        return places

    def oldest_first(self, workspace: int, filters: tuple = ()) -> Iterator[list]:
        """All that match, many rows at a time. Each batch is a read of its own: no
        snapshot is held, however slow the reader is."""
        where, params = self._where_in_line(workspace, filters)
        where += " AND created_at > ?"
        last, most = -(2**63), 20
        while rows := self._found(where, (*params, last), "ASC", most):
            yield rows
            last = rows[-1].created_at
            fits = 2**21 * len(rows) // sum(len(row.fields) for row in rows)
            most = max(1, min(1000, 2 * most, fits))  # 2 MiB at a time

    def page(self, workspace: int, filters: tuple, number: int, size: int) -> Page:
        """One page, newest first, and how many there are in all. Past the middle the
        index is walked from its other end."""
        offset = (number - 1) * size
        scans = filters and not self._is_indexed(filters)
        if scans and self.tallied(workspace, filters) is None:
            return self._capped_page(workspace, filters, offset, size)
        total = self.total(workspace, filters)
        where, params = self._where_in_line(workspace, filters)
        size = max(0, min(size, total - offset))
        if size and offset > total // 2:
            rows = self._found(where, params, "ASC", size, total - offset - size)[::-1]
        else:
            rows = self._found(where, params, "DESC", size, offset)
        return Page(rows, total)

    def newest(self, workspace: int, filters: tuple, limit: int) -> list:
        """Up to `limit` + 1 that match. Behind a cursor a page costs the same at every
        depth."""
        where, params = self._where_in_line(workspace, filters)
        return self._found(where, params, "DESC", limit + 1)

    def total(self, workspace: int, filters: tuple = ()) -> int:
        """How many match."""
        total = self.tallied(workspace, filters)
        if total is None:
            where, params = self._where(workspace, filters)
            sql = f"SELECT count(*) FROM {self.kind.table} WHERE {where}"
            (total,) = self.store.row(sql, params)
        return total

    def tallied(self, workspace: int, filters: tuple) -> Optional[int]:
        """The same, where that is counted as they come and go."""
        return None

    def _is_indexed(self, filters: tuple) -> bool:
        """Of several columns one index serves the first alone."""
        equal = {one.column for one in filters if one.operator == "="}
        named = {one.value[0] for one in filters if one.operator == "is"}
        part = any(one.operator == "has" for one in filters)
        return len(equal) < 2 and named <= self.store.indexed.keys() and not part

    def _found(
        self, where: str, params: tuple, order: str, size: int, offset: int = 0
    ) -> list:
        """`size` rows of a workspace, the first of `params`, in this order."""
        if offset:
            # Deferred join: the index alone finds the place, then `size` rows are read.
            line = f"created_at {order}"
            if where == "workspace_id = ?":  # 2 to 4 × as fast without an end
                where = f"workspace_id {'<=' if order == 'DESC' else '>='} ?"
                line = f"workspace_id {order}, {line}"
            where = (
                f"+workspace_id = ? AND id IN (SELECT id FROM {self.kind.table} "
                f"WHERE {where} ORDER BY {line} LIMIT ? OFFSET ?)"
            )
            params = (params[0], *params, size, min(offset, 2**62))
        return self.some(f"{where} ORDER BY created_at {order} LIMIT ?", *params, size)

    def _capped_page(
        self, workspace: int, filters: tuple, offset: int, size: int
    ) -> Page:
        """One scan finds the page and counts, up to the cap."""
        where, params = self._where(workspace, filters)
        sql = (
            f"SELECT group_concat(id) FROM (SELECT id FROM {self.kind.table} "
            f"WHERE {where} ORDER BY created_at DESC LIMIT ?)"
        )
        (text,) = self.store.row(sql, (*params, self.CAP + 1))
        ids = text.split(",") if text else []
        total, capped = min(len(ids), self.CAP), len(ids) > self.CAP
        if not capped or offset + size <= self.CAP:
            wanted = ",".join(ids[offset : offset + size])
            where, params = f"+workspace_id = ? AND id IN ({wanted})", params[:1]
            offset = 0
        return Page(self._found(where, params, "DESC", size, offset), total, capped)

    def _where_in_line(self, workspace: int, filters: tuple) -> tuple:
        """What `_where` gives, for records in the order in which they were created:
        when many were changed since, their index does not help, for it would have them
        sorted for each page."""
        where, params = self._where(workspace, filters)
        changed = [one for one in filters if one.column == "updated_at"]
        if changed:
            table = self.kind.table
            sql = f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {where} LIMIT ?)"
            if self.store.row(sql, (*params, self.CAP))[0] == self.CAP:
                others = [one for one in filters if one not in changed]
                unindexed = [one._replace(column="+updated_at") for one in changed]
                return self._where(workspace, (*others, *unindexed))
        return where, params

    def _where(self, workspace: int, filters: tuple) -> tuple:
        """SQL and parameters."""
        parts, params = ["workspace_id = ?"], [workspace]
        for one in filters:
            part, values = self.store.test(*one)
            parts.append(part)
            params += values
        return " AND ".join(parts), tuple(params)


class Records(Listed):
    """Everything that can be done with one kind of record, written once.

    upsert, patch and delete look at what was sent and return a *work*: the rest, to be
    called inside a transaction, again if that has to be undone because of another
    (`Store.write`, `Group.add`)."""

    VISITORS_NAMES = 200
    COLUMNS, ROW = ", ".join(Row._fields), Row

    def __init__(self, kind: Kind, store: Store, events: Events, clock, max_body: int):
        super().__init__(kind, store, events, clock)
        self.belongings = [events]
        self.max_body, self.longest_line = max_body, max(LONGEST_LINE, 4 * max_body)
        table = kind.table
        self.put = (
            f"{insertion(kind.model, (*Row._fields, 'workspace_id', 'words'))} "
            "ON CONFLICT (workspace_id, natural_key) DO UPDATE SET "
            "fields = excluded.fields, words = excluded.words, "
            "updated_at = excluded.updated_at"
        )
        self.update = (
            f"UPDATE {table} SET label = ?, fields = ?, words = ?, updated_at = ? "
            "WHERE id = ?"
        )

    # one record

    def upsert(self, caller: Caller, document: dict) -> Callable:
        """By natural key: the fields sent are written over the stored ones,
        the others stay. PayloadTooLarge for a record that would grow too large."""
        new = self._new(document)

        def work() -> Row:
            old = self._find(caller.workspace, new.natural_key)
            if old is None:
                return self._create(caller, [new])[0]
            return self._change(caller, old, new[:2], new.fields, always=True)

        return work

    def fill(
        self, caller: Caller, email: tuple, sent: dict, kept_from: int, most: int
    ) -> tuple:
        """Inside a transaction: (the row, the event to be told) of what a visitor sent.
        A publishable key may add to a record, never learn or lose one: the stored
        spelling stays, and so does the record if a visitor may not fill it so far, and
        what is in it if it was changed at `kept_from` or later. `most` is how many
        characters an event may take that rests on another. The work is the same for a
        record that is there as for a new one, so that its time tells neither (CONTRACT
        section 2)."""
        [(number, uid, place)] = self._room(caller.workspace)
        made = Row(number, uid, *email, "{}", place, place)
        old = self._find(caller.workspace, made.natural_key)
        row, written, words = self._filled(old or made, sent, kept_from)
        values = made._replace(fields=row.fields, updated_at=row.updated_at)
        self.store.run(self.put, (*values, caller.workspace, words))
        self.store.count(caller.workspace, self.kind.name, 0 if old else 1)
        verb, key = ("updated", []) if old else ("created", [self.kind.key])
        draft = self.draft(verb, caller, row, key + list(written))
        difference = {**written, "updated_at": iso(row.updated_at)}
        return row, self.events.resting(draft, difference, most)

    def _filled(self, row: Row, sent: dict, kept_from: int) -> tuple:
        """(the row with what a visitor may write of this, those fields, the folded
        copy). It may fill half of a record's bytes and 200 of its names; what its owner
        filled beyond it may write over, but not enlarge."""
        stored = load(row.fields)
        names = names_written(stored, sent)
        if row.updated_at >= kept_from:
            names = [name for name in names if name not in stored]
        written = {name: sent[name] for name in names}
        fields = {**stored, **written}
        text = dump(fields)
        size, share = self._size(text), max(self.max_body // 2, self._size(row.fields))
        if size > share or len(fields) > max(self.VISITORS_NAMES, len(stored)):
            return row, {}, searchable(row.label, stored)
        now = max(self._now(), row.created_at)
        words = searchable(row.label, fields)
        return row._replace(fields=text, updated_at=now), written, words

    def patch(
        self, caller: Caller, uid: Optional[str], document: dict, merge: bool = False
    ) -> Callable:
        """Writes the fields sent over the stored ones (`merge`: as RFC 7396 has it).
        A patch that changes nothing leaves no trace."""
        sent, key = self.kind.others(document), None
        if self.kind.key in document:
            key = self.kind.clean(document[self.kind.key])

        def work() -> Row:
            old = self.get(caller.workspace, uid)
            same = old.label, old.natural_key
            return self._change(caller, old, key or same, sent, merge)

        return work

    # imports and exports

    BATCH = (2000, 2**19)  # lines, characters

    def import_lines(self, caller: Caller, lines: Iterator[Line]) -> Iterator[Report]:
        """Upserts lines, a batch to a transaction; yields the report so far after each
        is on the disk."""
        report = Report()
        for batch in batches(lines, *self.BATCH):
            items = [self._read(line, report) for line in batch]
            work = functools.partial(self._import_batch, caller, items, report)
            self.store.write(work)
            yield report

    def _read(self, line: Line, report: Report) -> tuple:
        """(line, New), or (the line with what is wrong with it, None). A time that
        cannot be taken does not cost the record, which is taken as of now."""
        if line.document is None:
            return line, None
        try:
            new = self._new(line.document)
        except ApiError as err:
            return line._replace(error=err.message), None
        try:
            times = [self._time(name, line.document.get(name)) for name in OURS[1:]]
        except InvalidRequest as err:
            report.warn(line, f"{err.message}: the line is taken as of now")
            times = ()
        return line, New(*new[:5], *times)

    def _time(self, name: str, value: Any) -> Optional[int]:
        """InvalidRequest for one that cannot be read or lies in the future."""
        if value is None:
            return None
        moment = parse_time(value.strip()) if isinstance(value, str) else None
        if moment is None:
            shape = "no ISO 8601 time such as 2026-07-04T10:00:00Z"
            raise InvalidRequest(f"{name} is {shape}")
        # An export of this very moment may be some microseconds ahead.
        if moment > micros(self.clock() + 0.1):
            raise InvalidRequest(f"{name} is in the future")
        return moment

    def _import_batch(self, caller: Caller, items: list, report: Report) -> None:
        """One transaction of an import; what is new is written together."""
        fresh = {}
        for _, new in items:
            if new:
                fresh.setdefault(new.natural_key, new)
        for natural_key in self._known(caller.workspace, list(fresh)):
            del fresh[natural_key]
        self._create(caller, list(fresh.values()))
        for line, new in items:
            if new is None:
                report.fail(line)
            elif fresh.get(new.natural_key) is new:
                report.created += 1
            else:
                self._import_known(caller, line, new, report)

    def _known(self, workspace: int, keys: list) -> list:
        marks = ",".join("?" * len(keys))
        sql = (
            f"SELECT natural_key FROM {self.kind.table} WHERE workspace_id = ? "
            f"AND natural_key IN ({marks})"
        )
        return [row[0] for row in self.store.rows(sql, (workspace, *keys))]

    def _import_known(
        self, caller: Caller, line: Line, new: New, report: Report
    ) -> None:
        """A record that the line leaves as it was is not touched."""
        old = self._find(caller.workspace, new.natural_key)
        try:
            self._change(caller, old, new[:2], new.fields)
            report.updated += 1
        except PayloadTooLarge as err:
            report.fail(line._replace(error=err.message))

    def _new(self, document: dict) -> New:
        """PayloadTooLarge, or what the kind says of its key."""
        label, natural_key = self.kind.clean(document.get(self.kind.key))
        fields = self.kind.others(document)
        return New(label, natural_key, fields, *self._texts(label, fields))

    def _texts(self, label: str, fields: dict) -> tuple:
        """(the fields as JSON, the folded copy). PayloadTooLarge when they take more
        than a record may hold."""
        text = dump(fields)
        if self._size(text) > self.max_body:
            limit = f"{self.max_body} bytes"
            raise PayloadTooLarge(f"the fields of a {self.kind.name} may take {limit}")
        return text, searchable(label, fields)

    def _size(self, text: str) -> int:
        return len(text) if text.isascii() else len(text.encode())

    # inside the transaction

    def _delete(self, caller: Caller, row: Row) -> None:
        for one in self.belongings:
            while one.erase_some(self.kind, caller.workspace, row):
                pass
        self.store.run(f"DELETE FROM {self.kind.table} WHERE id = ?", (row.id,))
        self.store.run("DELETE FROM old_uid WHERE uid = ?", (row.uid,))
        self.store.count(caller.workspace, self.kind.name, -1)
        tombstone = self.draft("deleted", caller, row, [])
        data = self.events.wire.gone(self.kind.ref(row.uid))
        self.events.add(tombstone._replace(subject=None, data=data))

    def _find(self, workspace: int, natural_key: str) -> Optional[Row]:
        where = "workspace_id = ? AND natural_key = ?"
        return self.find(where, workspace, natural_key)

    def _create(self, caller: Caller, news: list) -> list:
        """The rows of records that are not there yet, once they are."""
        rows, values, told = [], [], []
        room = self._room(caller.workspace, [new.created_at for new in news])
        for (number, uid, at), new in zip(room, news):
            changed_at = at if new.updated_at is None else new.updated_at
            row = Row(number, uid, *new[:2], new.text, at, changed_at)
            names = [self.kind.key, *new.fields]
            rows.append(row)
            values.append((*row, caller.workspace, new.words))
            told.append(self.draft("created", caller, row, names))
        self.store.run_many(self.put, values)
        self.store.count(caller.workspace, self.kind.name, len(rows))
        self.events.add(*told)
        return rows

    def _change(
        self,
        caller: Caller,
        old: Row,
        key: tuple,
        sent: dict,
        merge: bool = False,
        always: bool = False,
    ) -> Row:
        """The record under this key (as written, as compared) with the fields sent over
        the stored ones (`merge`: as RFC 7396 has it), once it is that; it is written
        though nothing changes if `always`. PayloadTooLarge if it would grow too large,
        Conflict if another has the key."""
        stored, (label, natural_key) = load(old.fields), key
        fields = merge_patch(stored, sent) if merge else {**stored, **sent}
        renamed = [self.kind.key] if key != (old.label, old.natural_key) else []
        changed = renamed + changed_names(stored, fields)
        if not (changed or always):
            return old
        text, words = self._texts(label, fields)
        if natural_key != old.natural_key:
            self._rename(caller.workspace, old, natural_key)
        now = self._now()
        self.store.run(self.update, (label, text, words, now, old.id))
        row = Row(old.id, old.uid, label, natural_key, text, old.created_at, now)
        self.events.add(self.draft("updated", caller, row, changed))
        return row

    def _rename(self, workspace: int, row: Row, natural_key: str) -> None:
        """Of its own: an UPDATE that names a column writes its index, changed or
        not."""
        if self._find(workspace, natural_key):
            key = self.kind.key
            raise Conflict(f"another {self.kind.name} has this {key}", key)
        sql = f"UPDATE {self.kind.table} SET natural_key = ? WHERE id = ?"
        self.store.run(sql, (natural_key, row.id))

    def draft(self, verb: str, caller: Caller, row: Row, changed: list) -> Draft:
        """The event to be told."""
        kind, data = self.kind, self.events.wire.one(self.kind, row)
        what = f"{kind.name}.{verb}", kind.ref(row.uid), kind.name, row.id
        told = self._now(), caller.ref, dump_texts(changed), data
        return Draft(caller.workspace, *what, *told)

    # lists and figures

    def tallied(self, workspace: int, filters: tuple) -> Optional[int]:
        if filters:
            return None
        row = self.store.row(
            "SELECT total FROM tally WHERE workspace_id = ? AND kind = ?",
            (workspace, self.kind.name),
        )
        return row[0] if row else 0


# -- submissions

ACCEPTED, HELD, SPAM = STATES = ("accepted", "held", "spam")
HONEYPOT, MARKED, UNCONFIRMED = "honeypot", "marked", "unconfirmed"

# The fields in which a captcha's token comes, by the key's setting `captcha`.
CAPTCHA_FIELDS = {
    "none": (),
    "altcha": ("altcha",),
    "service": (
        *("cf-turnstile-response", "h-captcha-response", "g-recaptcha-response"),
        *("recaptcha_response", "cap-token", "frc-captcha-response"),
    ),
}
# The fields that are taken for the email where there is none of that name.
STAND_INS = ("_replyto", "replyto", "Email", "E-mail", "your-email")


class Post(NamedTuple):
    """What a visitor sent: `fields` as they came, without control fields and captcha
    tokens, and what was read of them."""

    fields: dict
    email: Optional[tuple] = None  # (label, natural key)
    subject: Optional[str] = None
    reply_to: Optional[str] = None
    from_name: Optional[str] = None
    page: Optional[str] = None  # the origin that sent it
    visitor: str = ""  # the network, which is not stored
    honeypot: bool = False  # whether one was filled
    tokens: dict = {}  # a captcha's, by the names of their fields


class Verdict(NamedTuple):
    """What a captcha, or a person, makes of what was sent and not refused. `spend` is
    called inside the transaction that stores it, and may refuse it still."""

    state: str = ACCEPTED
    reason: Optional[str] = None
    spend: Optional[Callable] = None


# With the contact's uid, and what arrives until it is stored. Its `words` are only
# written.
SubmissionRow = row_of(Submission, contact=None, post=None)
CONTACT_UID = "(SELECT uid FROM contact WHERE contact.id = contact_id)"


def contact_fields(fields: dict, label: str) -> dict:
    """What goes into the contact with this address of what a visitor sent."""
    others = CONTACTS.others(fields)
    if not is_spelling(fields.get("email"), label):
        names = [name for name in STAND_INS if is_spelling(fields.get(name), label)]
        others.pop(names[0] if names else "", None)
    return others


def is_spelling(value: Any, label: str) -> bool:
    return isinstance(value, str) and trim(value) == label


class Submissions(Listed):
    """What visitors sent, each kept whatever becomes of it (CONTRACT section 8).

    receive, patch and delete return a work, as those of Records. Extras fill `checks`,
    by the key's setting `captcha`: `check(caller, post)` gives a Verdict, outside of a
    transaction, or raises what refuses the post; and `askers`, by the reason for which
    one is held: `asker(row, visitor)` is called inside the transaction that holds it
    (`visitor` is "" where a person accepted what is to be confirmed)."""

    COLUMNS = ", ".join([*columns_of(Submission), CONTACT_UID]).replace("words", "''")
    ROW, INSERT = SubmissionRow, insertion(Submission, columns_of(Submission))
    UPDATE = (
        "UPDATE submission SET updated_at = :updated_at, state = :state, "
        "reason = :reason, confirmed_at = :confirmed_at, accepted_at = :accepted_at, "
        "contact_id = :contact_id WHERE id = :id"
    )
    IS_FIRST = (
        "INSERT INTO sent (hash, number, at) VALUES (?, ?, ?) ON CONFLICT (hash) "
        "DO UPDATE SET number = excluded.number, at = excluded.at WHERE at < ? OR NOT "
        "EXISTS (SELECT 1 FROM submission WHERE id = number AND created_at = at)"
    )
    CHANGING = ("state", "reason", "contact", "confirmed_at")  # as it is shown
    AGAIN = 60 * SECOND  # within which the same is sent twice
    DOUBTFUL = (  # what goes after how many days, whatever its key says
        (f"state = '{SPAM}'", 30),
        (f"state = '{HELD}' AND reason = '{UNCONFIRMED}'", 7),
    )

    def __init__(self, keys: Keys, contacts: Records):
        super().__init__(SUBMISSIONS, contacts.store, contacts.events, contacts.clock)
        self.keys, self.contacts = keys, contacts
        self.checks, self.askers = {}, {}
        secret = self.store.secret(b"sent twice")
        self.same = hashlib.blake2b(key=secret, digest_size=16)
        contacts.belongings.insert(0, self)

    # one submission

    def receive(self, caller: Caller, post: Post) -> Callable:
        """The row of what a publishable key's visitor sent or, where that was sent
        twice, of the first. A captcha refuses it before there is a work."""
        digest, fields = self._digest(caller, post), dump(post.fields)
        words = searchable(post.email[0] if post.email else "", post.fields)
        verdict = self._verdict(caller, post, digest)

        def work() -> SubmissionRow:
            if verdict.spend:
                if first := self._sent_before(digest):
                    return first
                verdict.spend()
            row = self._arriving(caller, post, fields, words)
            if verdict.state != SPAM and not self._is_first(row, digest):
                return self._sent_before(digest, row.created_at)
            return self._settle(caller, row, verdict)

        return work

    def accept(
        self, caller: Caller, row: SubmissionRow, confirmed_at: Optional[int] = None
    ) -> SubmissionRow:
        """Inside a transaction: the one way to be accepted, on arrival, by a person, by
        a confirmation. The contact is made or changed by the key's rule, once; one that
        has changed since the arrival is only added to."""
        changes = {"state": ACCEPTED, "reason": None}
        changes["confirmed_at"] = row.confirmed_at or confirmed_at
        told = []
        if row.accepted_at is None:
            changes["accepted_at"] = self._now()
            if row.natural_key is not None:
                contact, draft = self._into_contact(caller, row)
                changes.update(contact=contact.uid, contact_id=contact.id)
                told.append(draft)
        return self._change(caller, row, *told, **changes)

    def patch(self, caller: Caller, uid: Optional[str], document: dict) -> Callable:
        """What a person says of it: accepted, or spam."""
        state = document.get("state")
        if state not in (ACCEPTED, SPAM):
            raise InvalidRequest(f"state is {ACCEPTED} or {SPAM}", "state")
        verdict = Verdict(SPAM, MARKED) if state == SPAM else Verdict()

        def work() -> SubmissionRow:
            row = self.get(caller.workspace, uid)
            return row if row.state == state else self._settle(caller, row, verdict)

        return work

    # many

    def delete_by_email(self, caller: Caller, natural_key: str) -> int:
        """Those of an address, in any state; how many it was."""
        return self.delete_some(caller, "natural_key = ?2", natural_key)

    def expire(self) -> int:
        """Deletes what was kept long enough; how many it was. Those of a key go after
        its `keep_days`, but for what a person has confirmed; doubtful ones by when they
        became that: a person may ask late for a confirmation."""
        of_key = "created_at < ?2 AND key = ?3 AND confirmed_at IS NULL"
        total, now = 0, self._now()
        for caller in self.retention():
            for key in self._keys(caller.workspace):
                if days := self.keys.rule(caller.workspace, key).settings.keep_days:
                    what = now - days * DAY, key
                    total += self.delete_some(caller, of_key, *what)
            for which, days in self.DOUBTFUL:
                old = f"created_at < ?2 AND updated_at < ?2 AND {which}"
                total += self.delete_some(caller, old, now - days * DAY)
        return total

    def forget_sent(self) -> None:
        """The hashes that have done their duty: nothing stays of who sent what."""
        before = self._now() - self.AGAIN
        if self.store.row("SELECT 1 FROM sent WHERE at < ?", (before,)):
            sql = "DELETE FROM sent WHERE at < ?"
            self.store.write(lambda: self.store.run(sql, (before,)))

    def of_person(self, workspace: int, contact: Row, most: int = -1) -> list:
        """(id, how it is counted) of those that name a contact or have its address, at
        most so many, in no order."""
        return self.store.rows(
            f"SELECT id, {TALLY_OF_SUBMISSION} FROM submission WHERE contact_id = ? "
            "OR (workspace_id = ? AND natural_key = ?) LIMIT ?",
            (contact.id, workspace, contact.natural_key, most),
        )

    def tallied(self, workspace: int, filters: tuple) -> Optional[int]:
        wanted = {one.column: one.value for one in filters}
        if wanted.keys() - {"state", "key"}:
            return None
        kind = f"submission {wanted.get('state', '*')} {wanted.get('key', '*')}"
        sql = (
            "SELECT coalesce(sum(total), 0) FROM tally "
            "WHERE workspace_id = ? AND kind GLOB ?"
        )
        return self.store.row(sql, (workspace, kind))[0]

    def has_many(self, _: Kind, workspace: int, contact: Row) -> bool:
        return len(self.of_person(workspace, contact, MANY)) >= MANY

    def erase_some(self, _: Kind, workspace: int, contact: Row) -> int:
        """Inside a transaction. The contact's own tombstone tells of it."""
        rows = self.of_person(workspace, contact, self.SOME)
        for kind, total in Counter(kind for _, kind in rows).items():
            self.store.count(workspace, kind, -total)
        numbers = [(number,) for number, _ in rows]
        self.store.run_many("DELETE FROM submission WHERE id = ?", numbers)
        return len(rows)

    # before a transaction

    def _digest(self, caller: Caller, post: Post) -> bytes:
        """One for the same fields from the same visitor by the same key."""
        said = dump(sorted(post.fields.items()))
        made = self.same.copy()
        made.update("\0".join((caller.ref, post.visitor, said)).encode())
        return made.digest()

    def veiled_uid(self, row: SubmissionRow) -> str:
        """What its address has for an id where its contact may not be there: always the
        same, and nobody's."""
        secret = self.store.secret(b"veiled ids")
        said = f"{row.workspace_id}\0{row.natural_key}"
        made = hashlib.blake2b(said.encode(), key=secret, digest_size=26)
        return uid_digits(made.digest()).decode()

    def _verdict(self, caller: Caller, post: Post, digest: bytes) -> Verdict:
        """A token works once: what is sent again is not asked for one."""
        wanted = caller.settings.captcha
        if post.honeypot:
            return Verdict(SPAM, HONEYPOT)
        if wanted == "none":
            return Verdict()
        if wanted not in self.checks:
            raise Unavailable(f"this key asks for a captcha, {wanted}, not set up here")
        if not self._sent_before(digest):
            try:
                return self.checks[wanted](caller, post)
            except ApiError:
                if not self._sent_before(digest):  # meanwhile, with the same token
                    raise
        return Verdict(spend=refuse_to_lose)

    def _sent_before(
        self, digest: bytes, now: Optional[int] = None
    ) -> Optional[SubmissionRow]:
        since = (now or self._now()) - self.AGAIN
        sql = "SELECT number, at FROM sent WHERE hash = ? AND at >= ?"
        first = self.store.row(sql, (digest, since))
        return first and self.find("id = ? AND created_at = ?", *first)

    # inside the transaction

    def _arriving(
        self, caller: Caller, post: Post, fields: str, words: str
    ) -> SubmissionRow:
        [(number, uid, place)] = self._room(caller.workspace)
        email = post.email or (None, None)
        whose = number, uid, caller.workspace, None, caller.ref, *email
        told = post.subject, post.reply_to, post.from_name, post.page
        times = {"created_at": place, "updated_at": place}
        kept = {"words": words, "fields": fields, "post": post}
        return SubmissionRow(*whose, *told, **times, **kept)

    def _settle(
        self, caller: Caller, row: SubmissionRow, verdict: Verdict
    ) -> SubmissionRow:
        """What is to be accepted is held, once, where its key asks for the person's
        confirmation."""
        state, reason, _ = verdict
        if state == ACCEPTED:
            asked = row.accepted_at is not None or row.reason == UNCONFIRMED
            confirm = not asked and self._rule(caller, row).settings.confirm
            if row.natural_key is None or not confirm:
                return self.accept(caller, row)
            state, reason = HELD, UNCONFIRMED
        new = self._change(caller, row, state=state, reason=reason)
        if reason in self.askers:
            self.askers[reason](new, row.post.visitor if row.post else "")
        return new

    def _rule(self, caller: Caller, row: SubmissionRow) -> Caller:
        """The key by which it came; that is the caller while it arrives."""
        return caller if row.post else self.keys.rule(row.workspace_id, row.key)

    def _is_first(self, row: SubmissionRow, digest: bytes) -> bool:
        """Remembers it, unless the same is remembered and there still."""
        since = row.created_at - self.AGAIN
        noted = self.store.run(self.IS_FIRST, (digest, row.id, row.created_at, since))
        return noted.rowcount > 0

    def _into_contact(self, caller: Caller, row: SubmissionRow) -> tuple:
        """(the contact, the event to be told)."""
        kept_from = LAST if row.post else row.created_at + 1
        if self._rule(caller, row).existing == "keep":
            kept_from = FIRST
        email, most = (row.label, row.natural_key), 4 * len(row.fields) + 512
        fields = row.post.fields if row.post else load(row.fields)
        sent = contact_fields(fields, row.label)
        return self.contacts.fill(caller, email, sent, kept_from, most)

    def _change(
        self, caller: Caller, row: SubmissionRow, *told: Draft, **changes: Any
    ) -> SubmissionRow:
        """The row as it is stored after these changes. The log is told of them, and
        before of `told`; of what arrives not until it is accepted."""
        new = row._replace(post=None, **changes)
        if new == row:
            return row
        if row.post:
            self.store.run(self.INSERT, new[:-2])
        else:
            new = new._replace(updated_at=self._now())
            self.store.run(self.UPDATE, new._asdict())
            self._count(row, -1)
        self._count(new, 1)
        accepted = new.accepted_at != row.accepted_at
        if accepted or not row.post:
            verb = "accepted" if accepted else "updated"
            self.events.add(*told, self._draft(verb, caller, row, new))
        return new

    def _count(self, row: SubmissionRow, change: int) -> None:
        kind = f"{self.kind.name} {row.state} {row.key}"
        self.store.count(row.workspace_id, kind, change)

    def _draft(
        self, verb: str, caller: Caller, old: SubmissionRow, new: SubmissionRow
    ) -> Draft:
        """An acceptance stands in its contact's history."""
        told = verb == "accepted" and new.contact_id is not None
        owner = (CONTACTS.name, new.contact_id) if told else (self.kind.name, None)
        changed = [n for n in self.CHANGING if getattr(old, n) != getattr(new, n)]
        what = f"{self.kind.name}.{verb}", self.kind.ref(new.uid), *owner
        when = self._now(), caller.ref, dump_texts(changed), ""
        return Draft(new.workspace_id, *what, *when, submission_id=new.id)

    def _delete(self, caller: Caller, row: SubmissionRow) -> None:
        """Its events go with it. Retention tells of none that the log never had."""
        self.store.note_erasure()
        self.store.run("DELETE FROM submission WHERE id = ?", (row.id,))
        self._count(row, -1)
        known = row.accepted_at is not None or row.reason == MARKED
        if known or caller.ref != "retention":
            draft = self._draft("deleted", caller, row, row)
            gone = self.events.wire.gone(draft.record)
            self.events.add(draft._replace(data=gone, submission_id=None))

    def _keys(self, workspace: int) -> Iterator[str]:
        """The ref of each key that has some, found by the index alone."""
        sql = (
            "SELECT key FROM submission WHERE workspace_id = ? AND key > ? "
            "ORDER BY key LIMIT 1"
        )
        last = ("",)
        while last := self.store.row(sql, (workspace, *last)):
            yield last[0]


def refuse_to_lose() -> None:
    """For one that was sent twice and let in because of the first, which is gone."""
    raise Unavailable("the first of two is gone: send it again")


# -- calls


# How far a call has come; the last five are ends.
PROGRESS = ("initiating", "queued", "ringing", "in-progress")
ENDS = ("completed", "busy", "failed", "no-answer", "canceled")
STAGE = {name: stage for stage, name in enumerate(PROGRESS)} | dict.fromkeys(ENDS, 4)


CallRow = row_of(Call, contact="")  # the contact's uid

# What is told of a call; the rest is ours.
CALL_FIELDS = (
    *("id", "status", "contact_id", "phone_number", "from_number", "duration"),
    *("reason", "created_at", "updated_at"),
)


CALL_PROPERTIES = {  # that a PATCH changes, as `clean_values` takes them
    "status": (one_of(PROGRESS + ENDS), f"one of {', '.join(STAGE)}"),
    "duration": (one_of(range(10**9 + 1)), "a whole number of seconds"),
}


class Calls(Listed):
    """Outbound calls (CONTRACT section 6): made here, placed by the operator's own
    dialler or by an extra's, moved on by that and by PATCH."""

    COLUMNS = ", ".join([*columns_of(Call), CONTACT_UID])
    ROW, INSERT = CallRow, insertion(Call, columns_of(Call))

    def __init__(self, config: Config, contacts: Records):
        super().__init__(CALLS, contacts.store, contacts.events, contacts.clock)
        self.config, self.contacts = config, contacts
        # An extra's, which may refuse a call, by `admit(phone)` first of all and by
        # `count()` inside the transaction, and then is to `place` and `hang_up` it.
        self.dialler = None

    # making

    def create(
        self, caller: Caller, document: dict, idempotency: Optional[str]
    ) -> Callable:
        """A work that returns (the call's document as JSON text, whether it was
        replayed). One and the same Idempotency-Key makes one call
        (draft-ietf-httpapi-idempotency-key): works of one key come one after the other,
        so that a second finds what the first was answered."""
        digest = body_hash(document) if idempotency else ""
        kept = self._kept(caller, idempotency)
        if kept and kept[0] == digest:
            return lambda: (kept[1], True)
        uid, *numbers = self._wanted(document)

        def work() -> tuple:
            kept = self._kept(caller, idempotency)
            if kept and kept[0] == digest:
                return kept[1], True
            contact = self.contacts.get(caller.workspace, uid, "contact_id")
            if kept:
                raise IdempotencyMismatch()
            row = self._insert(caller, contact, *numbers)
            if not caller.may(self.kind.read):
                row = row._replace(from_number=document.get("from_number"))
            text = self.events.wire.one(self.kind, row)
            if idempotency:
                self._keep(caller, idempotency, digest, row, text)
            return text, False

        return work

    def _wanted(self, document: dict) -> tuple:
        """(contact's uid, phone number, from number) of a call that may be made."""
        if self.dialler:
            self.dialler.admit(document.get("phone_number"))
        contact, from_number = document.get("contact_id"), document.get("from_number")
        if not isinstance(contact, str):
            raise InvalidRequest("contact_id is required", "contact_id")
        phone = clean_phone(document.get("phone_number"), "phone_number")
        if from_number is None:
            from_number = self.config.twilio_from_number
        if from_number is not None or self.dialler:
            clean_phone(from_number, "from_number", FROM_NUMBER)
        return CONTACTS.uid(contact), phone, from_number

    def _insert(
        self, caller: Caller, contact: Row, phone: str, from_number: Optional[str]
    ) -> CallRow:
        if self.dialler:
            self.dialler.count()
        [(number, uid, place)] = self._room(caller.workspace)
        whose = number, uid, caller.workspace, contact.id
        called = phone, from_number, PROGRESS[0]
        times = {"created_at": place, "updated_at": place}
        row = CallRow(*whose, *called, **times, contact=contact.uid)
        self.store.run(self.INSERT, row[:-1])
        if self.dialler:
            self.dialler.place(row)
        self._tell("created", caller.ref, row, list(CALL_FIELDS))
        return row

    def _kept(self, caller: Caller, name: Optional[str]) -> Optional[tuple]:
        """(the body's hash, the answer) of an Idempotency-Key."""
        return name and self.store.row(
            "SELECT body, text FROM answer WHERE workspace_id = ? AND key = ? "
            "AND name = ? AND created_at > ?",
            (caller.workspace, caller.ref, name, self._now() - DAY),
        )

    def _keep(
        self, caller: Caller, name: str, body: str, row: CallRow, text: str
    ) -> None:
        self.store.run(
            "INSERT OR REPLACE INTO answer (workspace_id, key, name, body, call_id, "
            "text, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (caller.workspace, caller.ref, name, body, row.id, text, self._now()),
        )

    def forget(self) -> None:
        """Idempotency keys hold for 24 hours."""
        sql, before = "DELETE FROM answer WHERE created_at <= ?", self._now() - DAY
        self.store.write(lambda: self.store.run(sql, (before,)))

    def find_uid(self, workspace: int, uid: str) -> Optional[CallRow]:
        return self.find("uid = ? AND workspace_id = ?", uid, workspace)

    # moving on

    def patch(self, caller: Caller, uid: Optional[str], document: dict) -> Callable:
        """A status that is behind or the same changes nothing; a call that has ended
        takes no other."""
        told = clean_values(CALL_PROPERTIES, document)
        self.get(caller.workspace, uid)

        def work() -> CallRow:
            row = self.get(caller.workspace, uid)
            if row.status in ENDS and told.get("status", row.status) != row.status:
                raise Conflict(f"the call has ended: {row.status}", "status")
            changes = self.step(row, **told)
            if changes.get("status") == "canceled" and row.sid and self.dialler:
                self.dialler.hang_up(row)
            return self.change(row, caller.ref, changes)

        return work

    def step(self, row: CallRow, **told: Any) -> dict:
        """The changes that lead on, of what is told and not None; a call never goes
        back."""
        changes = {n: v for n, v in told.items() if v not in (None, getattr(row, n))}
        if STAGE[changes.get("status", row.status)] <= STAGE[row.status]:
            changes.pop("status", None)
        return changes

    def change(self, row: CallRow, by: str, changes: dict) -> CallRow:
        """Writes the changes; tells of those that can be seen."""
        if not changes:
            return row
        seen = [name for name in changes if name in CALL_FIELDS]
        if seen:
            changes["updated_at"] = self._now()
        names = ", ".join(f"{name} = ?" for name in changes)
        sql = f"UPDATE call SET {names} WHERE id = ?"
        self.store.run(sql, (*changes.values(), row.id))
        row = row._replace(**changes)
        if seen:
            self._tell("updated", by, row, seen)
        return row

    def _tell(self, verb: str, by: str, row: CallRow, changed: list) -> None:
        kind, contact = self.kind, (CONTACTS.name, row.contact_id)
        what = row.workspace_id, f"{kind.name}.{verb}", kind.ref(row.uid), *contact
        told = self._now(), by, dump_texts(changed), self.events.wire.one(kind, row)
        self.events.add(Draft(*what, *told))


# -- all of them


class Services:
    """Everything that stands on one open database. Extras add to `hourly` what is done
    every hour, to `nightly` functions of the date, to `workers` threads that a server
    starts and stops."""

    def __init__(self, config: Config, wire: Any, clock: Callable, ticker: Callable):
        store = self.store = open_database(config.database_url)
        events = self.events = Events(store, wire)
        self.workspaces = Workspaces(store)
        self.keys = Keys(store, events, clock, ticker, config.secret_key)
        base = store, events, clock, config.max_body
        self.records = {kind.plural: Records(kind, *base) for kind in KINDS}
        self.submissions = Submissions(self.keys, self.contacts)
        self.calls = Calls(config, self.contacts)
        self.hourly = [self.submissions.expire, self.calls.forget]
        self.nightly, self.workers = [], []

    @property
    def contacts(self) -> Records:
        return self.records[CONTACTS.plural]

    @property
    def listed(self) -> dict:
        """What can be exported, by its plural."""
        return {**self.records, SUBMISSIONS.plural: self.submissions}

    def close(self, in_use: bool = False, rewrites: bool = False) -> None:
        """`rewrites` at a server's end: no copy stays of what was erased."""
        self.store.patience = 1
        works = [self.keys.save_last_used]
        if rewrites:
            works.append(self.store.rewrite_if_due)
        for work in works:
            try:
                work()
            except Unavailable as err:
                log.warning("at the end not all was written: %s", err.__cause__)
        self.store.close(in_use)


###############################################################################
# Limiter #####################################################################
###############################################################################


class Standing(NamedTuple):
    """Whether a request may pass, how many more may, and in how many seconds the
    next place becomes free."""

    allowed: bool
    remaining: int
    seconds: int


class Window:
    """The requests of one caller: until when they count, how many until each moment,
    and how many in all."""

    __slots__ = ("ends", "counts", "used")

    def __init__(self):
        self.ends, self.counts, self.used = array("d"), array("L"), 0


class SlidingWindow:
    """At most `limit` requests (or bytes: an `amount` for each) of one caller in any
    `seconds`, exact at the edges; a refused one does not count. Above 1,000 a moment
    is a hundredth of the window, rounded up, so that memory stays bounded and no window
    holds too many. Past `room` callers the one idle longest is forgotten. `clock` must
    never go back."""

    def __init__(self, limit: int, seconds: int, clock: Callable, room: int = 20_000):
        self.limit, self.seconds, self.clock, self.room = limit, seconds, clock, room
        self.step = seconds / 100 if limit > 1000 else 0
        self.windows = {}
        self.lock = threading.Lock()

    def count(self, who: str, amount: int = 1, adds: bool = True) -> Standing:
        with self.lock:
            now = self.clock()
            window = self._window(who, now)
            allowed = window.used + amount <= self.limit
            if allowed and adds:
                self._add(window, now, amount)
            wait = self._wait(window, now, amount)
            return Standing(allowed, self.limit - window.used, wait)

    def standing(self, who: str) -> Standing:
        """The same without counting."""
        return self.count(who, adds=False)

    def give_back(self, who: str, amount: int = 1) -> None:
        """Uncounts the newest request: it was refused elsewhere."""
        with self.lock:
            window = self.windows.get(who)
            if window and window.used:
                amount = min(amount, window.counts[-1])
                window.used -= amount
                window.counts[-1] -= amount
                if not window.counts[-1]:
                    window.ends.pop()
                    window.counts.pop()

    def _window(self, who: str, now: float) -> Window:
        # Taken out and put back, the dict keeps its callers in order of last use.
        window = self.windows[who] = self.windows.pop(who, None) or Window()
        while window.ends and window.ends[0] <= now:
            window.ends.pop(0)
            window.used -= window.counts.pop(0)
        self._make_room(now)
        return window

    def _make_room(self, now: float) -> None:
        """Forgets those idle longest: all that are empty by now, and any past room."""
        while len(self.windows) > 1:
            who = next(iter(self.windows))
            ends = self.windows[who].ends
            if ends and ends[-1] > now and len(self.windows) <= self.room:
                return
            del self.windows[who]

    def _add(self, window: Window, now: float, amount: int) -> None:
        moment = math.ceil(now / self.step) * self.step if self.step else now
        end = moment + self.seconds
        if window.ends and window.ends[-1] == end:
            window.counts[-1] += amount
        else:
            window.ends.append(end)
            window.counts.append(amount)
        window.used += amount

    def _wait(self, window: Window, now: float, amount: int) -> int:
        """Seconds until so many more may pass, whole ones."""
        free, lacking = 0, window.used + amount - self.limit
        for end, count in zip(window.ends, window.counts):
            free, lacking = end - now, lacking - count
            if lacking <= 0:
                break
        return max(1, math.ceil(free))


class Slots:
    """At most so many at once for a workspace, and for all of them: one more is told
    to come back."""

    FOR_ONE, FOR_ALL = 2, 4

    def __init__(self):
        self.taken, self.lock = [], threading.Lock()

    def take(self, workspace: int) -> Callable:
        """What gives the slot back, once."""
        with self.lock:
            full = self.taken.count(workspace) >= self.FOR_ONE
            if full or len(self.taken) >= self.FOR_ALL:
                raise RateLimited(5)
            self.taken.append(workspace)
        return functools.partial(self.taken.remove, workspace)


###############################################################################
# Wire formats ################################################################
###############################################################################


class Wire:
    """How one API spells what there is: every byte of JSON that its clients see is made
    in a class like this, from rows. One with `shapes` serves those kinds below the
    first of its paths, by its `uid`, `one` and `list`, as ReadWire's."""

    paths = ()  # where its errors are spelled so; the longest that fits decides
    as_pages = False  # whether its errors are pages for who asks for such
    wrong_method = ""  # what is said of a method that a path does not take
    shapes = {}  # the kinds that it lists by cursor, each with its ReadShape

    @staticmethod
    def error(err: ApiError) -> str:
        return dump({"error": err.body()})


def page_text(texts: list, page: Page, number: int, size: int) -> str:
    """A numbered page of what these texts spell."""
    capped, texts = ',"total_capped":true' if page.capped else "", texts or [""]
    texts[0] = '{"data":[' + texts[0]
    texts[-1] += (
        f'],"page":{number},"page_size":{size},'
        f'"total":{page.total},"total_pages":{-(-page.total // size)}{capped}}}'
    )
    return ",".join(texts)  # copied once: a page may have 6 MB


class NativeWire(Wire):
    """/v1: the record itself, pages by number, errors under `error`. The event log
    keeps what it spells."""

    paths = ("/",)

    @staticmethod
    def one(kind: Kind, row: Row, time: Callable = iso) -> str:
        """A record, made of its stored text."""
        if kind is SUBMISSIONS:
            return submission_text(row, time)
        if kind is CALLS:
            return call_text(row, time)
        if kind is KEYS:
            return dump(listed_key(row))
        _, uid, label, _, extra, created, updated = row
        made = time(created)
        changed = made if updated == created else time(updated)
        return (
            f'{{"id":"{kind.prefix}_{uid}","{kind.key}":{quote(label)},'
            f"{extra[1:-1]}{',' if extra != '{}' else ''}"
            f'"created_at":"{made}","updated_at":"{changed}"}}'
        )

    @classmethod
    def page(cls, kind: Kind, page: Page, number: int, size: int) -> str:
        texts = [cls.one(kind, row) for row in page.rows]
        return page_text(texts, page, number, size)

    @staticmethod
    def receipt(ref: str, sent: dict, at: int) -> str:
        """What who may write but not read is told: its own words, and the time."""
        return dump({"id": ref, **sent, "created_at": iso(at), "updated_at": iso(at)})

    @staticmethod
    def key(key: Key) -> str:
        """As events tell it: nothing of its token, and no URL."""
        hidden = ("hint", "redirect", "last_used_at")
        shown = listed_key(key).items()
        return dump({name: value for name, value in shown if name not in hidden})

    @staticmethod
    def gone(ref: str) -> str:
        """What the log keeps of what was deleted."""
        return dump({"id": ref})

    @staticmethod
    def deleted(kind: Kind, uid: str) -> str:
        return dump({"id": kind.ref(uid), "deleted": True})

    @staticmethod
    def report(report: Report) -> str:
        return dump(vars(report))


def submission_text(row: SubmissionRow, time: Callable) -> str:
    said = row.reason, row.key, row.contact and CONTACTS.ref(row.contact), row.label
    reason, key, contact, email = map(dump, said)
    confirmed = "null" if row.confirmed_at is None else f'"{time(row.confirmed_at)}"'
    return (
        f'{{"id":"sub_{row.uid}","state":"{row.state}","reason":{reason},"key":{key},'
        f'"contact":{contact},"email":{email},"subject":{dump(row.subject)},'
        f'"page":{dump(row.page)},"fields":{row.fields},'
        f'"created_at":"{time(row.created_at)}",'
        f'"updated_at":"{time(row.updated_at)}","confirmed_at":{confirmed}}}'
    )


def call_text(row: CallRow, time: Callable) -> str:
    shown = row._asdict()
    shown["id"], shown["contact_id"] = CALLS.ref(row.uid), CONTACTS.ref(row.contact)
    shown["created_at"] = time(row.created_at)
    shown["updated_at"] = time(row.updated_at)
    return dump({name: shown[name] for name in CALL_FIELDS})


class ReadShape(NamedTuple):
    """What the read API shows of a kind, and what its lists can be narrowed by."""

    fields: tuple
    filters: tuple
    part: bool  # whether the natural key is searched by a part of it


def full_name(document: dict) -> Any:
    """`full_name`, else `name`, else `first_name` and `last_name`."""
    for name in ("full_name", "name"):
        if document.get(name) is not None:
            return document[name]
    names = [document.get("first_name"), document.get("last_name")]
    return " ".join(name for name in names if name and isinstance(name, str)) or None


READ_SHAPES = {  # document 000's
    CONTACTS: ReadShape(
        (
            *("full_name", "job_title", "company_name", "email", "phone", "country"),
            *("country_code", "linkedin_url", "follow_up_status", "source_event"),
            *("created_at", "updated_at"),
        ),
        ("company_name", "country_code", "follow_up_status", "source_event"),
        False,
    ),
    COMPANIES: ReadShape(
        (
            *("name", "industry", "website", "phone", "formatted_address"),
            *("country_code", "google_rating", "enrichment_status", "created_at"),
        ),
        ("country_code", "enrichment_status"),
        True,
    ),
}


class ReadWire(Wire):
    """/api/v1 (document 000): exactly its fields, null where there is none; UUIDs,
    cursors. Its errors are those of /v1."""

    paths = ("/api/v1/",)
    shapes = READ_SHAPES
    uid = staticmethod(parse_uuid)

    @classmethod
    def record(cls, kind: Kind, row: Row) -> dict:
        shape, stored = cls.shapes[kind], load(row.fields)
        times = {"created_at": iso(row.created_at), "updated_at": iso(row.updated_at)}
        document = {**stored, kind.key: row.label, **times}
        record = {"id": uuid_of(row.uid)}
        record |= {name: document.get(name) for name in shape.fields}
        if "full_name" in record:
            record["full_name"] = full_name(document)
        return record

    @classmethod
    def one(cls, kind: Kind, row: Row) -> str:
        return dump(cls.record(kind, row))

    @classmethod
    def list(cls, kind: Kind, rows: list, limit: int) -> str:
        """`rows` holds one more than `limit` if there are more to come."""
        shown, more = rows[:limit], len(rows) > limit
        return dump(
            {
                "data": [cls.record(kind, row) for row in shown],
                "next_cursor": iso6(shown[-1].created_at) if more else None,
                "has_more": more,
            }
        )


class EnvelopeWire(Wire):
    """/api/api-keys and /api/calls (document 001): everything in an envelope."""

    paths = ("/api/api-keys/", "/api/calls/")

    @staticmethod
    def data(text: str) -> str:
        return f'{{"success":true,"data":{text},"error":null}}'

    @staticmethod
    def error(err: ApiError) -> str:
        return dump({"success": False, "data": None, "error": err.body()})

    @classmethod
    def new_key(cls, key: Key, token: str) -> str:
        return cls.data(dump({**listed_key(key), "key": token}))

    @classmethod
    def keys(cls, keys: list) -> str:
        return cls.data(dump({"keys": list(map(listed_key, keys))}))

    @classmethod
    def revoked(cls, ref: str, children: Optional[list]) -> str:
        """`children` where they were to be revoked, too."""
        more = {} if children is None else {"children": children}
        return cls.data(dump({"id": ref, "revoked": True, **more}))

    @classmethod
    def calls(cls, rows: list, total: int, limit: int) -> str:
        texts = [call_text(row, iso) for row in rows[:limit]]
        cursor = iso6(rows[limit - 1].created_at) if len(rows) > limit else None
        more = f'"total":{total},"next_cursor":{dump(cursor)}'
        return cls.data(f'{{"calls":[{",".join(texts)}],{more}}}')


class FormWire(Wire):
    """/f: as the clients of Formspree read it, and the same as pages."""

    paths = ("/f/",)
    as_pages = True
    wrong_method = (
        'this is the address of a form, for its action: <form method="post" action="…">'
    )
    CODES = {MissingEmail: "REQUIRED_FIELD_EMPTY", InvalidEmail: "TYPE_EMAIL"}

    @classmethod
    def error(cls, err: ApiError) -> str:
        code = cls.CODES.get(type(err), err.code)
        shown = {"code": code, "field": err.param, "message": err.message}
        said = {"success": False, "ok": False, "message": err.message}
        return dump({**said, "error": err.body(), "errors": [shown]})

    @staticmethod
    def taken(ref: str, url: str, message: str) -> str:
        said = {"success": True, "ok": True, "message": message}
        return dump({**said, "next": url, "submission": ref})


class PageWire(NativeWire):
    """/c: for people, who come from a mail."""

    paths, as_pages = ("/c/",), True


TAKEN = "Your message has arrived."
TO_CONFIRM = f"{TAKEN} Please confirm it by the link in the mail that comes to you."


def listed_key(key: Key) -> dict:
    return {
        "id": key.ref,
        **key_values(key),
        "hint": key.hint,
        "created_by": key.created_by,
        "created_at": iso_or_none(key.created_at),
        "last_used_at": iso_or_none(key.last_used_at),
    }


# -- files


def jsonl_file(kind: Kind, batches: Iterator[list]) -> Iterator[str]:
    """The exact format: each record as /v1 shows it, times to the microsecond."""
    for rows in batches:
        yield "\n".join([NativeWire.one(kind, row, iso6) for row in rows]) + "\n"


# -- pages, where pages/ need not be


PAGE_STYLE = (
    ":root{color-scheme:light dark}"
    "body{margin:15vh auto;max-width:34rem;padding:0 1.5rem;overflow-wrap:anywhere;"
    "font:1.0625rem/1.6 system-ui,sans-serif}"
)
PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width,initial-scale=1">'
    "<title>{title}</title><style>{style}</style>"
    "<main><h1>{title}</h1><p>{text}</p>{more}</main></html>"
)


# -- which wire is whose


WIRES = (NativeWire, ReadWire, EnvelopeWire, FormWire, PageWire)


def wire_of(path: str) -> type:
    """Whose shape an error on this path has, be there such a path or not."""
    found = {place: wire for wire in WIRES for place in wire.paths}
    fits = [place for place in found if f"{path}/".startswith(place)]
    return found[max(fits, key=len)]


###############################################################################
# HTTP core ###################################################################
###############################################################################

# -- what came in


def header(environ: dict, name: str) -> str:
    return environ.get(f"HTTP_{name}", "")


def is_form(environ: dict) -> bool:
    return f"{environ['PATH_INFO']}/".startswith("/f/")


def sent_token(environ: dict) -> str:
    """The key in `Authorization: Bearer …` (scheme in any case) or in `x-api-key`; at a
    form's address the one that is its end."""
    if is_form(environ):
        return environ["PATH_INFO"][len("/f/") :].rstrip("/")
    scheme, _, token = header(environ, "AUTHORIZATION").partition(" ")
    bearer = scheme.lower() == "bearer"
    return (token if bearer else header(environ, "X_API_KEY")).strip()


JSON_MEDIA = re.compile(r"application/([!-.0-~]+\+)?json")


def read_media() -> str:
    """What the body is said to be, "" where nothing is said. 415 for one that is
    compressed: a small one could be any size."""
    environ = request.environ
    if header(environ, "CONTENT_ENCODING").lower() not in ("", "identity"):
        raise UnsupportedMediaType("send the body as it is, without Content-Encoding")
    return environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()


def read_json(instead: str = "") -> dict:
    """The request's JSON object; 415, which says what to send `instead`, for another
    media type, 413, 400."""
    media = read_media()
    if media and not JSON_MEDIA.fullmatch(media):
        raise UnsupportedMediaType(instead)
    return parse_object(read_body().removeprefix(BOM))


def read_part(*names: str) -> dict:
    """What the request's JSON object has of these."""
    document = read_json()
    return {name: document[name] for name in names if name in document}


def read_body() -> bytes:
    """413 above what this path and key may send. The environ has its true length."""
    environ, app = request.environ, request.app
    limit = app.body_limit(environ)
    body = environ["wsgi.input"].read(limit + 1)
    if len(body) > limit:
        raise app.too_large(environ)
    environ["CONTENT_LENGTH"] = str(len(body))
    return body


def read_form() -> dict:
    """The fields of a form that was sent: 413, 415 or 400."""
    media = read_media()
    if media == "application/x-www-form-urlencoded":
        pairs = urlencoded_pairs(read_body())
    elif media == "multipart/form-data":
        pairs = multipart_pairs(read_body(), request.environ["CONTENT_TYPE"])
    else:
        pairs = list(read_json("send a form, without files, or JSON").items())
    most = request.app.max_body // 4
    if sum(itertools.starmap(bytes_of_pair, pairs)) > most:
        raise PayloadTooLarge(f"the fields are larger than {most} bytes")
    return gathered(pairs)


def refuse_many(document: dict) -> None:
    if len(document) > 100 or any(len(name) > 100 for name in document):
        message = "a publishable key sends at most 100 fields, named by 100 characters"
        raise InvalidRequest(message)


def read_query() -> list:
    """(name, value) pairs of the query string, UTF-8; 400 when it is not."""
    text = request.environ.get("QUERY_STRING", "")
    if not text:
        return []
    try:
        return decoded_pairs(text.encode("latin-1").decode(), 100)
    except ValueError:
        raise InvalidRequest("the query string cannot be read") from None


def whole_number(query: dict, name: str, default: int, most: Optional[int]) -> int:
    text = query.get(name)
    if text is None:
        return default
    number = int(text) if re.fullmatch(r"[0-9]{1,4000}", text) else 0
    if not 1 <= number <= (most or number):
        upto = f" to {most}" if most else ""
        raise InvalidRequest(f"{name} must be a whole number from 1{upto}", name)
    return number


def read_page() -> tuple:
    """(number, size)"""
    query = dict(read_query())
    number = whole_number(query, "page", 1, None)
    return number, whole_number(query, "page_size", 20, 100)


def read_time(query: dict, name: str, column: str, operator: str) -> tuple:
    """The Filter that compares with a time, where the query names one."""
    if name not in query:
        return ()
    moment = parse_time(query[name])
    if moment is None:
        raise InvalidRequest(f"{name} must be an ISO 8601 date or time", name)
    return (Filter(column, operator, moment),)


def read_cursor(query: dict) -> tuple:
    """The Filter to what is older than all that the pages before have shown."""
    if "cursor" in query and parse_time(query["cursor"]) is None:
        raise InvalidCursor("cursor must be the next_cursor of a page", "cursor")
    return read_time(query, "cursor", "created_at", "<")


def yes_or_no(query: dict, name: str) -> bool:
    text = query.get(name, "false")
    if text not in ("true", "1", "false", "0"):
        raise InvalidRequest(f"{name} is true or false, 1 or 0", name)
    return text in ("true", "1")


TIMES = {
    f"{what}_{when}": (f"{what}_at", operator)
    for what in ("created", "updated")
    for when, operator in (("after", ">"), ("before", "<"))
}


def sought_key(kind: Kind, text: str) -> str:
    """The natural key that a query means: a space in an address is the plus that was
    not escaped."""
    if kind.clean is clean_email:
        text = trim(text).replace(" ", "+")
    return kind.clean(text)[1]


def read_filters(kind: Kind, pairs: list) -> tuple:
    """What a list's query narrows it to (CONTRACT section 4): Filters."""
    words, others = [], []
    for name, value in pairs:
        field_name = re.fullmatch(r"filter\[(.*)\]", name, re.DOTALL)
        if name == kind.key or (field_name and field_name[1] == kind.key):
            others.append(Filter("natural_key", "=", sought_key(kind, value)))
        elif name == "q":
            words = [Filter("words", "has", word) for word in search_words(value)]
        elif name in TIMES:
            others += read_time({name: value}, name, *TIMES[name])
        elif field_name:
            others.append(Filter("fields", "is", (field_name[1], value)))
    filters = tuple(dict.fromkeys(words + others))
    if sum(one.column == "fields" for one in filters) > 10:
        raise InvalidRequest("a list takes at most 10 filters", "filter")
    return filters


def sought_uid(query: dict, name: str, kind: Kind) -> str:
    uid = kind.uid(query[name])
    if uid is None:
        what = f"the id of a {kind.name}: {kind.prefix}_…"
        raise InvalidId(f"{name} must be {what}", name)
    return uid


def read_list_filters(listed: Listed, workspace: int) -> tuple:
    """What the query narrows a list of any kind to (CONTRACT sections 4 and 8)."""
    pairs = read_query()
    if listed.kind is not SUBMISSIONS:
        return read_filters(listed.kind, pairs)
    query, shared = dict(pairs), ("email", "q", "created_after", "created_before")
    filters = read_filters(SUBMISSIONS, [pair for pair in pairs if pair[0] in shared])
    filters += read_choice(query, "state", STATES)
    if "key" in query:
        ref = KEYS.ref(sought_uid(query, "key", KEYS))
        filters += (Filter("key", "=", ref),)
    return filters + read_contact(listed.contacts, workspace, query, "contact")


def read_choice(query: dict, name: str, choices: tuple) -> tuple:
    """The Filter to one of these, where the query names one."""
    if name not in query:
        return ()
    if query[name] not in choices:
        raise InvalidRequest(f"{name} is one of {', '.join(choices)}", name)
    return (Filter(name, "=", query[name]),)


def read_contact(contacts: Records, workspace: int, query: dict, name: str) -> tuple:
    """The Filter to what belongs to a contact, where the query names one."""
    if name not in query:
        return ()
    row = contacts.find_uid(workspace, sought_uid(query, name, CONTACTS))
    return (Filter("contact_id", "=", row.id if row else 0),)


def client_address(environ: dict, config: Config) -> str:
    """Who a request counts for: the socket's address or, where that is the trusted
    proxy's, the one which it names; an IPv6 address as its /64."""
    address = environ.get("REMOTE_ADDR", "")
    named = ""
    if is_trusted(environ, config):
        if config.client_ip_header:  # never another one instead
            named = header(environ, config.client_ip_header)
        else:
            named = entry_of_hop(header(environ, "X_FORWARDED_FOR"), config.proxy_hops)
    return network_of(named) or network_of(address) or address


def is_trusted(environ: dict, config: Config) -> bool:
    return is_in(environ.get("REMOTE_ADDR", ""), config.trusted_proxy or ())


def entry_of_hop(text: str, hops: int) -> str:
    """What the first of so many proxies added to a list: what stands before it, its
    client wrote."""
    entries = text.split(",")
    return entries[-min(hops, len(entries))].strip()


HOST = re.compile(r"([a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(:[0-9]{1,5})?", re.I)


def own_url(environ: dict, config: Config) -> str:
    """This server's own URL as the sender of this request sees it, without a slash at
    the end."""
    if config.public_url:
        return config.public_url
    scheme, host = "http", header(environ, "HOST")
    if is_trusted(environ, config):
        said = header(environ, "X_FORWARDED_PROTO")
        scheme = entry_of_hop(said, config.proxy_hops).lower()
    if not HOST.fullmatch(host):
        host = f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    return f"{'https' if scheme == 'https' else 'http'}://{host}"


@functools.lru_cache(maxsize=1024)
def network_of(address: str) -> Optional[str]:
    """`203.0.113.7`, or the /64 of an IPv6 address, with or without a port."""
    if address.startswith("[") or address.count(":") == 1:
        address = address.rpartition(":")[0] if address[-1:] != "]" else address
    ip = ip_of(address.strip("[]").partition("%")[0])
    if ip is None or ip.version == 4:
        return ip and str(ip)
    return str(ipaddress.ip_network((ip, 64), False))


def is_in(address: str, networks: tuple) -> bool:
    ip = ip_of(address)
    return ip is not None and any(ip in network for network in networks)


# -- who may come in


ENOUGH = 1000  # requests that count for their address
FORWARDED = frozenset(
    f"HTTP_{name}"
    for name in ("FORWARDED", "X_FORWARDED_FOR", "X_FORWARDED_PROTO", "X_REAL_IP")
)
PRIVATE = some_proxies(
    "127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,"
    "169.254.0.0/16,::1/128,fc00::/7,fe80::/10"
)


class Gate:
    """Keys, windows, permissions and origins, in the order of CONTRACT section 3."""

    def __init__(self, keys: Keys, config: Config, ticker: Callable):
        self.keys, self.config = keys, config
        self.limited = config.rate_limit is not None
        limit, seconds = config.rate_limit or (1, 1)
        self.by_key = SlidingWindow(limit, seconds, ticker)
        self.by_form = SlidingWindow(limit * 10, seconds, ticker)
        self.by_address = SlidingWindow(limit, seconds, ticker)
        self.bytes_by_visitor = SlidingWindow(2**20, 3600, ticker)
        self.bytes_by_form = SlidingWindow(2**26, 86_400, ticker)
        self.policy = f'"key";q={limit};w={seconds}'
        self.home = rules_of_origin(config.public_url)
        self.warned = bool(config.trusted_proxy)  # nothing to warn of
        self.first, self.alike = "", 0  # the first client's address, how often it came

    def admit(self, environ: dict, needs: tuple, public: bool) -> Caller:
        """The caller, once it is known, within its limit and has what this route
        needs (`public`: a publishable key from its own domains will do): else 401,
        429 or 403."""
        caller = self.keys.find(sent_token(environ))
        if caller is None:
            self.refuse_stranger(environ, Unauthorized())
        self.count(environ, caller)
        if caller.type == "publishable" and public:
            check_origin(environ, caller, self.home)
        elif not all(map(caller.may, needs)):
            needed = "a secret key" if EVERYTHING in needs else " and ".join(needs)
            raise Forbidden(f"this key may not do that; this needs {needed}")
        return caller

    def admit_form(self, environ: dict, token: Any) -> Caller:
        """Whose form was sent, with the key in its address or in a field; once, as
        `Api.admit` does."""
        if "contactapi.caller" not in environ:
            caller = self.keys.find(token) if isinstance(token, str) else None
            if caller is None or caller.type != "publishable":
                self.refuse_stranger(environ, UnknownForm())
            self.count(environ, caller)
            check_origin(environ, caller, self.home)
        return environ["contactapi.caller"]

    def refuse_stranger(self, environ: dict, why: ApiError) -> None:
        """Counts a request that no key of ours has signed; 429 once it is too many."""
        standing = self.count_stranger(environ)
        if standing and not standing.allowed:
            raise RateLimited(standing.seconds)
        raise why

    def count_stranger(self, environ: dict) -> Optional[Standing]:
        environ["contactapi.counted"] = True
        return self.limited and self.by_address.count(self.address(environ))

    def window(self, environ: dict, caller: Caller) -> tuple:
        """Where this caller's requests count, and under which name: a publishable
        key's by client."""
        if caller.type == "publishable":
            return self.by_address, f"{caller.ref} {self.address(environ)}"
        return self.by_key, caller.ref

    def count(self, environ: dict, caller: Caller) -> None:
        """Whose request this is. All clients of a publishable key together have ten
        times as much as one."""
        environ["contactapi.caller"], environ["contactapi.counted"] = caller, True
        if not self.limited:
            return
        window, who = self.window(environ, caller)
        standing = window.count(who)
        if standing.allowed and caller.type == "publishable":
            together = self.by_form.count(caller.ref)
            if not together.allowed:
                window.give_back(who)
                standing = Standing(False, standing.remaining + 1, together.seconds)
        environ["contactapi.standing"] = standing
        if not standing.allowed:
            raise RateLimited(standing.seconds)

    def uncount(self, environ: dict, caller: Caller) -> None:
        """What was let in is refused with 429 after all."""
        if self.limited:
            window, who = self.window(environ, caller)
            window.give_back(who)
            if caller.type == "publishable":
                self.by_form.give_back(caller.ref)
            environ["contactapi.standing"] = window.standing(who)

    def count_bytes(self, environ: dict, caller: Caller) -> None:
        """What a visitor sends to be kept: 1 MiB an hour, 64 MiB a day by all visitors
        of a key. RateLimited beyond; then the request does not count either."""
        if not self.limited:
            return
        _, visitor = self.window(environ, caller)
        size = int(environ["CONTENT_LENGTH"])
        standing = self.bytes_by_visitor.count(visitor, size)
        if standing.allowed:
            standing = self.bytes_by_form.count(caller.ref, size)
            if standing.allowed:
                return
            self.bytes_by_visitor.give_back(visitor, size)
        self.uncount(environ, caller)
        raise RateLimited(standing.seconds)

    def show_standing(self, environ: dict) -> None:
        """For a request that was refused before its key was asked for (404, 405, 413):
        a valid key is shown its window, without one the client's window counts."""
        caller = self.limited and self.keys.find(sent_token(environ))
        if caller:
            window, who = self.window(environ, caller)
            environ["contactapi.standing"] = window.standing(who)
        else:
            self.count_stranger(environ)

    def address(self, environ: dict) -> str:
        address = client_address(environ, self.config)
        if self.alike < ENOUGH and self.config.trusted_proxy:
            self.compare(address)
        return address

    def compare(self, address: str) -> None:
        """Says so, once, when a server behind a proxy has met one address alone."""
        self.first = self.first or address
        self.alike = self.alike + 1 if address == self.first else ENOUGH + 1
        if self.alike == ENOUGH:
            log.warning(
                "the first %d visitors have one address: if that is a proxy's, all "
                "count as one; set CONTACTAPI_PROXY_HOPS or "
                "CONTACTAPI_CLIENT_IP_HEADER (see README, Deploy)",
                ENOUGH,
            )

    def warn_of_proxy(self, environ: dict) -> None:
        """Once, of a proxy near by that is not trusted."""
        if is_in(environ.get("REMOTE_ADDR", ""), PRIVATE):
            self.warned = True
            log.warning(
                "a proxy forwards requests but CONTACTAPI_TRUSTED_PROXY is not set: "
                "all visitors count as one"
            )


NULL_ORIGIN = (
    "this key does not take requests from null, the origin of a page that is a file, "
    "or stands in a sandboxed frame, or came by https and calls an http server, or has "
    "a Referrer-Policy of no-referrer or same-origin (put there "
    "strict-origin-when-cross-origin); last, to allow any page: contactapi.py keys "
    "update {key} --domain '*'"
)


def sent_origin(environ: dict) -> str:
    """What the sender's page says that it is: its Origin, without one its Referer."""
    origin = header(environ, "ORIGIN") or header(environ, "REFERER")
    return origin.encode("latin-1").decode("utf-8", "replace")


def sending_page(environ: dict) -> Optional[str]:
    """The origin that sent this, None for one that nobody can go to."""
    origin = sent_origin(environ)
    return ORIGIN.match(origin)[0] if origin_of(origin) else None


def check_origin(environ: dict, caller: Caller, home: tuple) -> None:
    """The domain lock: Origin decides, without one Referer, without either 403. `home`
    are the rules for this server's own pages."""
    origin = sent_origin(environ)
    if origin_allowed((*caller.domains, *home), origin):
        return
    if not origin:
        raise Forbidden(
            "this key takes only requests with an Origin or a Referer; to allow any: "
            f"contactapi.py keys update {caller.ref} --domain '*'"
        )
    if origin == "null":
        raise Forbidden(NULL_ORIGIN.format(key=caller.ref))
    shown = origin[:100].encode("ascii", "replace").decode()
    raise Forbidden(
        f"this key does not take requests from {shown}; to allow it: contactapi.py "
        f"keys update {caller.ref} --domain SITE (each site, those of before too)"
    )


# -- the application

# What the environ of a request has of ours, each as `contactapi.…`: `id` and `began`
# from the start; `caller` once its key is known, `counted` once it counts for that or
# for a stranger, `standing` as RateLimit shows it; `slot`, which gives its place back;
# `lane` and `ended`, where it is and that its time is over; `refusal`, what the server
# could not read; `server`, where there is one; `kept`, what a page says of caches.


class Write(NamedTuple):
    """What a route that writes returns: a service's work, to be done in a transaction
    that it may share with others, and what makes the answer of the work's result once
    that is on the disk; and the status of a success. `look` raises what can be known
    without a transaction; it is asked where one must be waited for."""

    work: Callable
    shape: Callable
    status: int = 200
    look: Callable = lambda: None


class Elsewhere(Exception):
    """This request goes on in another lane."""

    def __init__(self, lane: str):
        self.lane = lane


def go_to(lane: str) -> None:
    """A route, or what it was asked, may take long: it leaves the short lane, and is
    called again in this one. Outside the server there are no lanes."""
    if lane != "short" and request.environ.get("contactapi.lane") == "short":
        raise Elsewhere(lane)


def leave_slot(environ: dict) -> None:
    """Asked by who has the slot, and by who closes up after him; one finds it."""
    environ.pop("contactapi.slot", lambda: None)()


PIECE = 2**19


def in_pieces(text: str) -> Iterator[bytes]:
    """A large answer: done at once, with 6 MB in hand, each step would keep the GIL
    from all others for milliseconds."""
    starts = range(0, len(text), PIECE)
    pieces = [text[start : start + PIECE].encode() for start in starts]
    response.content_length = sum(map(len, pieces))
    return iter(pieces)


def as_api_error(environ: dict, err: Exception) -> ApiError:
    """The error as its client may see it; the log has the rest."""
    where = environ["contactapi.id"]
    if isinstance(err, Unavailable):
        log.error("%s: %s", where, err.__cause__ or err)
        if "contactapi.ended" in environ:
            return Unavailable("this took longer than 30 seconds: narrow it down")
    elif not isinstance(err, ApiError):
        log_failure(where, err)
        return ApiError()
    return err


LARGE_BODY = 64 * 2**20

response.default_content_type = JSON  # of what says no other

PAGE_POLICY = (  # of every HTML page: nothing inline, nothing from elsewhere
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
EXPOSED = "Retry-After, RateLimit-Policy, RateLimit, X-Request-Id"


class Api(Bottle):
    """A Bottle whose every answer, whatever failed, has one shape and these headers."""

    def __init__(self, services: Services, config: Config, ticker: Callable):
        super().__init__()
        self.uninstall(True)  # Bottle's own JSON and templates
        self.services, self.store = services, services.store
        self.gate = Gate(services.keys, config, ticker)
        self.max_body, self.clock = config.max_body, time.perf_counter
        self.slots = {"import": Slots(), "export": Slots()}
        self.large = {}  # path of a POST -> what its key needs to send a large body
        self.absent = {}  # what an extra would serve (`/x/*`) -> where to put the extra
        self.secret, self.numbers = secrets.token_bytes(32), itertools.count()

    def __call__(self, environ: dict, start_response: Callable) -> Any:
        """As a WSGI application, without lanes."""
        status, headers, body = self.whole_answer(environ)
        self.log(environ, status, headers)
        start_response(status, headers)
        return _closeiter(body, functools.partial(leave_slot, environ))

    def log(self, environ: dict, status: str, headers: list) -> None:
        """A line: no query, no body, no key, no address of anyone."""
        seconds = self.clock() - environ["contactapi.began"]
        size = next((v for name, v in headers if name == "Content-Length"), "-")
        method = environ["REQUEST_METHOD"]
        log.info(
            f"{method if PLAIN_METHOD.fullmatch(method) else '…'} "
            f"{loggable_path(environ['PATH_INFO'])} "
            f"{status[:3]} {size} {seconds * 1000:.1f}ms {environ['contactapi.id']}"
        )

    def whole_answer(self, environ: dict) -> tuple:
        """(status, headers, body), what is to be written included."""
        made = self.answer(environ)
        if isinstance(made, Write):
            made = self.written(environ, made, Outcome.of(self.store.write, made.work))
        return made

    def answer(self, environ: dict) -> Any:
        """(status, headers, body). Where that cannot be had yet: the Write to be done
        first, for `written`, or the Elsewhere that says in which lane it goes on."""
        if "contactapi.id" not in environ:
            self.prepare(environ)
        return self.attempt(environ, functools.partial(self.call_route, environ))

    def written(self, environ: dict, write: Write, outcome: Outcome) -> tuple:
        """(status, headers, body) after what there was to write."""
        return self.attempt(environ, lambda: write.shape(outcome.get()), write.status)

    def attempt(self, environ: dict, make: Callable, status: int = 200) -> Any:
        """The answer of what `make` returns or raises, unless that is a Write or an
        Elsewhere. Stands in for Bottle's own handler: this request is the thread's."""
        request.bind(environ)
        response.bind(status=status)
        try:
            made = make()
        except Elsewhere as err:
            environ["wsgi.input"].seek(0)  # what was read of it is read again
            return err.with_traceback(None)
        except Exception as err:
            made = self.failure(err)
        return made if isinstance(made, Write) else self.whole(environ, made)

    def call_route(self, environ: dict) -> Any:
        """Keys and limits first (`needs` names the permissions; a route without it is
        open to all), then the lane, then the route."""
        self.refuse(environ)
        route, arguments = self.match(environ)
        needs, lane = route.config.get("needs"), route.config.get("lane", "short")
        if needs:
            public = route.config.get("public", False)
            arguments["caller"] = self.admit(environ, needs, public, lane)
        go_to(lane)
        return route.call(**arguments)

    def admit(self, environ: dict, needs: tuple, public: bool, lane: str) -> Caller:
        """Once for each request, though it be called again in another lane. One that
        finds no slot does not count."""
        if "contactapi.caller" in environ:
            return environ["contactapi.caller"]
        caller = self.gate.admit(environ, needs, public)
        if lane in self.slots:
            try:
                environ["contactapi.slot"] = self.slots[lane].take(caller.workspace)
            except RateLimited:
                self.gate.uncount(environ, caller)
                raise
        return caller

    def match(self, environ: dict) -> tuple:
        """What Bottle's router finds; NotFound or MethodNotAllowed."""
        path = environ["PATH_INFO"]
        try:
            return super().match(environ)
        except HTTPError as err:
            if err.status_code == 404:
                raise NotFound(self.where_to_put(path)) from None
            allowed = {*err.headers["Allow"].split(","), "OPTIONS"}
            allowed |= {"HEAD"} if "GET" in allowed else set()
            allow, said = ", ".join(sorted(allowed)), wire_of(path).wrong_method
            raise MethodNotAllowed(said, Allow=allow) from None

    def whole(self, environ: dict, made: Any) -> tuple:
        """(status, headers, body) of what was made. A stream has its slot until it
        ends."""
        if isinstance(made, str):
            leave_slot(environ)
            made = made.encode() if len(made) < PIECE else in_pieces(made)
        body = self._cast(made)
        if environ["REQUEST_METHOD"] == "HEAD" or response.status_code in (204, 304):
            body = []
        headers = response.headerlist + self.common_headers(environ)
        return response.status_line, headers, body

    def prepare(self, environ: dict) -> None:
        environ["bottle.app"], environ["contactapi.began"] = self, self.clock()
        # Random to all but us, and 8 µs sooner than the system's own randomness.
        number = b"%d" % next(self.numbers)
        ref = hashlib.blake2b(number, key=self.secret, digest_size=8)
        environ["contactapi.id"] = ref.hexdigest()
        path = environ["PATH_INFO"].strip("/")
        if not path.isascii():
            path = path.encode("latin-1").decode("utf-8", "replace")
        environ["PATH_INFO"] = f"/{path}"
        if not (self.gate.warned or FORWARDED.isdisjoint(environ)):
            self.gate.warn_of_proxy(environ)

    def common_headers(self, environ: dict) -> list:
        kept = environ.get("contactapi.kept", "no-store")  # by whom, and how long
        headers = [("X-Request-Id", environ["contactapi.id"]), ("Cache-Control", kept)]
        headers.append(("X-Content-Type-Options", "nosniff"))
        standing = environ.get("contactapi.standing")
        if standing:
            rest = f'"key";r={standing.remaining};t={standing.seconds}'
            headers.append(("RateLimit-Policy", self.gate.policy))
            headers.append(("RateLimit", rest))
        origin = environ.get("HTTP_ORIGIN")
        if origin:
            headers.append(("Access-Control-Allow-Origin", origin))
            headers.append(("Access-Control-Expose-Headers", EXPOSED))
        if origin or kept != "no-store":  # one kept without it would fail another page
            headers.append(("Vary", "Origin"))
        return headers

    def refuse(self, environ: dict) -> None:
        """Before the path is looked at: what the server did not take or could not read
        (`contactapi.refusal`), a body over its path's limit. Who was let in before, by
        its head or in another lane, is past that."""
        if "contactapi.refusal" in environ:
            raise environ["contactapi.refusal"]
        text = environ.get("CONTENT_LENGTH") or ""
        length = int(text[:18]) if text.isdecimal() else 0
        if length > self.max_body // 4 and "contactapi.caller" not in environ:
            self.expect(environ, length)

    def where_to_put(self, path: str) -> str:
        """The extra that would serve this path; "" where none would."""
        said = (text for places, text in self.absent.items() if fnmatch(path, places))
        return next(said, "")

    def too_large(self, environ: dict) -> ApiError:
        """Which limit it is, and how to have a higher one: a key, or an extra."""
        limit, path = self.body_limit(environ), environ["PATH_INFO"].rstrip("/")
        if where := self.where_to_put(path):
            return NotFound(where)
        message, needs = f"the body is larger than {limit} bytes", self.large.get(path)
        if needs and limit < LARGE_BODY:
            permissions = " and ".join(needs)
            message += f"; up to {LARGE_BODY} need a valid key with {permissions}"
        return PayloadTooLarge(message)

    def body_limit(self, environ: dict) -> int:
        """How many bytes this request's body may have: by its path and, where that
        takes large ones, by its key; a publishable key's are small everywhere."""
        if sent_token(environ).startswith("ck_pub_") and not is_form(environ):
            return self.max_body // 4
        if "contactapi.slot" in environ:
            return LARGE_BODY
        needs = self.large.get(environ["PATH_INFO"].rstrip("/"))
        if needs and environ["REQUEST_METHOD"] == "POST":
            with contextlib.suppress(Unavailable):
                caller = self.gate.keys.find(sent_token(environ))
                if caller and all(map(caller.may, needs)):
                    return LARGE_BODY
        return self.max_body

    def expect(self, environ: dict, length: int) -> int:
        """`body_limit` when the head alone has arrived: who sends a large body is let
        in, and has its slot, before a byte of it is kept. Else PayloadTooLarge."""
        limit = self.body_limit(environ)
        if length > limit:
            raise self.too_large(environ)
        if limit > self.max_body:
            needs = self.large[environ["PATH_INFO"].rstrip("/")]
            self.admit(environ, needs, False, "import")
        return limit

    # everything that is no success

    def default_error_handler(self, res: HTTPError) -> str:
        """Of a stream that fails before its first byte."""
        return self.failure(res.exception or res)

    def failure(self, err: Exception) -> str:
        """The answer to what was raised: a preflight's, or the error's own. What was
        set for another is forgotten."""
        environ = request.environ
        response.bind()
        try:
            err = as_api_error(environ, err)
            if is_preflight(environ, err):
                return preflight(environ, err)
            counted = "contactapi.counted" in environ or request.path == "/healthz"
            if err.status < 500 and not counted:
                self.gate.show_standing(environ)  # refused before its key was asked for
        except Exception as another:
            err = as_api_error(environ, another)
        return self.error_text(err)

    def error_text(self, err: ApiError) -> str:
        response.status = err.status
        response.headers.update(err.headers)
        wire = wire_of(request.path)
        if wire.as_pages and wants_page():
            title = "Not sent" if request.method == "POST" else response.status_line[4:]
            caller = request.environ.get("contactapi.caller")
            return page_of(title, err.message, link_back(caller))
        return wire.error(err)


def wants_page() -> bool:
    """Whether a browser itself asks: fetch() takes anything unless it is told."""
    return "text/html" in header(request.environ, "ACCEPT").lower()


def page_of(title: str, text: str, more: str = "", style: str = "") -> str:
    """A page of our own as the answer; `more` is HTML, `style` is for that."""
    style = PAGE_STYLE + style
    known = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = PAGE_POLICY.replace("style-src", f"style-src 'sha256-{known}'")
    response.set_header("Content-Security-Policy", policy)
    response.content_type = "text/html; charset=utf-8"
    text = text[:1].upper() + text[1:]
    shown = {"title": html_escape(title), "text": html_escape(text)}
    return PAGE.format(**shown, style=style, more=more)


def link_back(caller: Optional[Caller]) -> str:
    """HTML: to the page that sent a form, if its key is for that one; else to the first
    site that the key names; "" where there is none."""
    rules = tuple(rule for rule in caller.domains if rule != "*") if caller else ()
    url = web_url(sending_page(request.environ) or "")
    if not origin_allowed(rules, url):
        hosts = [rule for rule in rules if not rule.startswith("*")]
        if not hosts:
            return ""
        scheme = "http" if hosts[0].startswith("localhost") else "https"
        url = f"{scheme}://{hosts[0]}"
    site = html_escape(url.partition("://")[2])
    return f'<p><a href="{html_escape(url)}/">Back to {site}</a></p>'


TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
USUAL_METHODS = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
USUAL_HEADERS = ("Authorization", "Content-Type", "X-Api-Key", "Idempotency-Key")


def is_preflight(environ: dict, err: ApiError) -> bool:
    """Whether a browser asks what it may send (on any path, known or not), or anyone
    what a path takes."""
    if environ["REQUEST_METHOD"] != "OPTIONS":
        return False
    asked = "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
    return isinstance(err, MethodNotAllowed) or (asked and isinstance(err, NotFound))


def preflight(environ: dict, err: ApiError) -> str:
    """Everything may be sent, so that a page can read the 404 or 405 which follows; no
    key, no window."""
    methods = err.headers.get("Allow", USUAL_METHODS)
    asked = header(environ, "ACCESS_CONTROL_REQUEST_METHOD")
    known = methods.split(", ")
    if len(asked) <= 32 and TOKEN.fullmatch(asked) and asked not in known:
        methods += f", {asked}"
    response.status = 204
    response.headers.update(err.headers)
    response.set_header("Access-Control-Allow-Methods", methods)
    names = USUAL_HEADERS + asked_headers(environ)
    response.set_header("Access-Control-Allow-Headers", ", ".join(names))
    response.set_header("Access-Control-Max-Age", "86400")
    if not header(environ, "ORIGIN"):
        response.set_header("Access-Control-Allow-Origin", "*")
    return ""


def asked_headers(environ: dict) -> tuple:
    """The tokens of the first KiB, beside the usual ones."""
    text = header(environ, "ACCESS_CONTROL_REQUEST_HEADERS")
    if len(text) > 1024:
        text = text[:1025].rpartition(",")[0]
    names = dict.fromkeys(name.strip(" \t") for name in text.split(","))
    usual = {name.lower() for name in USUAL_HEADERS}
    return tuple(n for n in names if TOKEN.fullmatch(n) and n.lower() not in usual)


# -- the log


PLAIN_METHOD = re.compile("[A-Z]{1,20}")
# A word too short to be 12 characters of a key, or an id of ours; nothing with digits
# beside it, which could be a phone number.
PLAIN_PART = (
    rf"(?:v1|[a-z_-]{{1,11}}(?:\.[a-z]{{1,5}})?|[a-z]{{3,4}}_{BASE32_UID.pattern}"
    rf"|{UUID_TEXT.pattern})"
)
PLAIN_PATH = re.compile(rf"/(?![fc]/){PLAIN_PART}?(?:/{PLAIN_PART}){{0,4}}")
SECRETS = (  # (what a text with one has, how it is found, what is put there)
    ("ck_", re.compile(r"ck_(secret|pub|live)_[!-~]*"), "ck_…"),
    ("+", re.compile(r"\+[0-9]{7,}"), "+…"),
)


def loggable_path(path: str) -> str:
    """A path, below 200 characters, whose parts that may hold a key, a number or an
    address are cut out."""
    if PLAIN_PATH.fullmatch(path):
        return path
    _, *parts = path.split("/", 6)
    if path.startswith(("/f/", "/c/")):
        parts[1] = "…"
    shown = [p if re.fullmatch(PLAIN_PART, p) else "…" for p in parts[:5]]
    return "/" + "/".join(shown + ["…"] * (len(parts) > 5))


class TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.name == "waitress":  # it names paths as they were sent
            message = re.sub(r"/\S*", lambda path: loggable_path(path[0]), message)
        trace = trace_of(record.exc_info[1]) if record.exc_info else ""
        return self.line(record.created, record.levelname, message, trace)

    def line(self, at: float, level: str, message: str, trace: str = "") -> str:
        lines = without_secrets(f"{message}\n{trace}" if trace else message)
        # Nothing but a line of ours begins at the left.
        lines = re.sub(r"\n(?! )", "\n  ", lines) if "\n" in lines else lines
        return f"{iso(micros(at))} {level} {lines}"


class JsonFormatter(TextFormatter):
    def line(self, at: float, level: str, message: str, trace: str = "") -> str:
        line = {"time": iso(micros(at)), "level": level.lower()}
        line["message"] = without_secrets(message)
        if trace:
            line["traceback"] = without_secrets(trace)
        return dump(line)


class LogHandler(logging.StreamHandler):
    """Standard error, what comes in 0.2 s at a time; a warning goes out at once."""

    def __init__(self, form: logging.Formatter):
        # Not sys.stderr, which flushes every line.
        options = {"encoding": "utf-8", "errors": "backslashreplace"}
        super().__init__(open(2, "w", closefd=False, **options))  # noqa: SIM115
        self.setFormatter(form)
        self.flushed = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            self.stream.write(self.format(record) + "\n")
            urgent = record.levelno > logging.INFO
            if urgent or record.created > self.flushed + 0.2:
                self.flush()
                self.flushed = record.created


def flush_log() -> None:
    for handler in logging.getLogger().handlers:
        handler.flush()


def without_secrets(text: str) -> str:
    """Keys and phone numbers cut out, control characters escaped but for line ends."""
    for sign, pattern, instead in SECRETS:
        if sign in text:
            text = pattern.sub(instead, text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


###############################################################################
# Routes ######################################################################
###############################################################################


def add_health(app: Api, store: Store) -> None:
    @app.get("/healthz")
    def healthz() -> str:
        store.row("SELECT id FROM workspace LIMIT 1")
        return '{"status":"ok"}'


# A list is short up to here: records to pass by, records to show.
DEEP, LONG_PAGE = 1000, 20


def add_listed(app: Api, listed: Listed) -> None:
    """What there is of any kind: its list, one record, to be read and deleted, and all
    of them as JSON Lines."""
    kind, base = listed.kind, f"/v1/{listed.kind.plural}"

    @app.get(base, needs=(kind.read,))
    def list_records(caller: Caller) -> str:
        number, size = read_page()
        filters = read_list_filters(listed, caller.workspace)
        if filters or number * size > DEEP or size > LONG_PAGE:
            go_to("long")
        page = listed.page(caller.workspace, filters, number, size)
        return NativeWire.page(kind, page, number, size)

    @app.get(f"{base}/<ref>", needs=(kind.read,))
    def get_record(caller: Caller, ref: str) -> str:
        return NativeWire.one(kind, listed.get(caller.workspace, kind.uid(ref)))

    @app.delete(f"{base}/<ref>", needs=(kind.write,))
    def delete_record(caller: Caller, ref: str) -> Write:
        uid = kind.uid(ref)
        what = caller.workspace, listed.get(caller.workspace, uid)
        if listed.drags(*what):
            go_to("long")
            listed.lighten(*what)
        work = listed.delete(caller, uid)
        return Write(work, lambda _: NativeWire.deleted(kind, uid))

    def lines(workspace: int, filters: tuple) -> Iterator[str]:
        return jsonl_file(kind, listed.oldest_first(workspace, filters))

    add_export(app, listed, "jsonl", JSONL[0], lines)


JSONL = ("application/jsonl", "application/x-ndjson")


def add_export(
    app: Api, listed: Listed, form: str, media: str, write: Callable
) -> None:
    """What `write(workspace, filters)` yields, streamed."""
    kind = listed.kind

    @app.get(f"/v1/{kind.plural}.{form}", needs=(kind.read,), lane="export")
    def export(caller: Caller) -> Iterator[bytes]:
        filters = read_list_filters(listed, caller.workspace)
        texts = write(caller.workspace, filters)
        response.content_type = media
        return streamed(texts)


def streamed(texts: Iterator[str]) -> Iterator[bytes]:
    """The answer's body. What can be refused is refused before the first byte."""
    chunks = (text.encode() for text in texts)
    first = next(chunks, b"")
    return itertools.chain([first], chunks)


def add_native(app: Api, records: Records) -> None:
    """What else there is of /v1/contacts and /v1/companies."""
    kind, one = records.kind, f"/v1/{records.kind.plural}/<ref>"

    @app.post(f"/v1/{kind.plural}", needs=(kind.write,), public=kind is CONTACTS)
    def post_record(caller: Caller) -> Write:
        if caller.type == "publishable":
            return post_as_visitor(app, caller)
        document = read_json()
        work = records.upsert(caller, document)
        return Write(work, lambda row: shown(records, caller, row, document), 201)

    @app.patch(one, needs=(kind.write,))
    def patch_record(caller: Caller, ref: str) -> Write:
        document, uid = read_json(), kind.uid(ref)
        merge = read_media() == "application/merge-patch+json"
        work = records.patch(caller, uid, document, merge)
        look = functools.partial(records.get, caller.workspace, uid)
        return Write(work, lambda row: shown(records, caller, row, document), look=look)


def shown(service: Any, caller: Caller, row: Any, document: dict) -> str:
    """What was written, to a key that may read it; to another what it sent itself."""
    kind = service.kind
    if caller.may(kind.read):
        return NativeWire.one(kind, row)
    sent = kind.others(document)
    if kind.key in document:
        sent = {kind.key: row.label, **sent}
    return NativeWire.receipt(kind.ref(row.uid), sent, micros(service.clock()))


def post_as_visitor(app: Api, caller: Caller) -> Write:
    """A contact from a publishable key: a submission. The answer is the first's, where
    it is sent twice, and never what is stored."""
    document = read_json()
    refuse_many(document)
    names = CAPTCHA_FIELDS[caller.settings.captcha]
    tokens = {name: document.pop(name) for name in names if name in document}
    subject, email = document.get("subject"), clean_email(document.get("email"))
    subject = subject if isinstance(subject, str) else None

    def received(row: SubmissionRow) -> str:
        veiled = caller.settings.confirm or caller.settings.captcha == "service"
        uid = None if veiled else row.contact
        uid = uid or app.services.submissions.veiled_uid(row)
        sent = {"email": row.label, **CONTACTS.others(document)}
        return NativeWire.receipt(CONTACTS.ref(uid), sent, row.created_at)

    read = {"fields": document, "email": email, "subject": subject, "tokens": tokens}
    return Write(receive(app, caller, read), received, 201)


def receive(app: Api, caller: Caller, read: dict) -> Callable:
    """The work. Both ways in go on here, with what was read of a Post: who sent it,
    whether it may be kept."""
    environ = request.environ
    visitor = app.gate.address(environ)
    post = Post(**read, page=sending_page(environ), visitor=visitor)
    work = app.services.submissions.receive(caller, post)
    app.gate.count_bytes(environ, caller)
    return work


def add_submissions(app: Api, submissions: Submissions) -> None:
    """How what visitors sent is sorted and erased."""
    kind, one = submissions.kind, "/v1/submissions/<ref>"

    @app.delete("/v1/submissions", needs=(kind.write,), lane="long")
    def delete_by_email(caller: Caller) -> str:
        query = dict(read_query())
        if "email" not in query:
            raise InvalidRequest("name the person's address: ?email=", "email")
        natural_key = sought_key(kind, query["email"])
        return dump({"deleted": submissions.delete_by_email(caller, natural_key)})

    @app.patch(one, needs=(kind.write,))
    def patch_submission(caller: Caller, ref: str) -> Write:
        sent, uid = read_part("state"), kind.uid(ref)
        work = submissions.patch(caller, uid, sent)
        look = functools.partial(submissions.get, caller.workspace, uid)
        return Write(work, lambda row: shown(submissions, caller, row, sent), look=look)


def add_import(
    app: Api, records: Records, form: str, medias: tuple, read: Callable
) -> None:
    """The lines that `read(stream, key, longest)` yields, taken in as they come."""
    kind = records.kind
    path, needs = f"/v1/{kind.plural}.{form}", (kind.read, kind.write)
    app.large[path] = needs

    @app.post(path, needs=needs, lane="import")
    def post_lines(caller: Caller) -> str:
        if read_media() not in medias:
            raise UnsupportedMediaType(f"send {medias[0]}")
        lines = read(request.environ["wsgi.input"], kind.key, records.longest_line)
        server, report = request.environ.get("contactapi.server"), Report()
        for report in records.import_lines(caller, lines):
            if server and server.stopping:
                done = report.created + report.updated + report.failed
                raise Unavailable(f"the server stops after {done} lines: send it again")
        return NativeWire.report(report)


def add_read(app: Api, wire: type, records: Records) -> None:
    """What a wire shows of a kind: lists by cursor, single records by its own ids."""
    kind, shape, needs = records.kind, wire.shapes[records.kind], (records.kind.read,)
    base = f"{wire.paths[0]}{kind.plural}"

    @app.get(base, needs=needs)
    def list_by_cursor(caller: Caller) -> str:
        query = dict(read_query())
        limit = whole_number(query, "limit", 50, 100)
        cursor = read_cursor(query)
        filters = read_shape_filters(kind, shape, query)
        if filters or limit > LONG_PAGE:
            go_to("long")
        rows = records.newest(caller.workspace, filters + cursor, limit)
        return wire.list(kind, rows, limit)

    @app.get(f"{base}/<ref>", needs=needs)
    def get_one(caller: Caller, ref: str) -> str:
        return wire.one(kind, records.get(caller.workspace, wire.uid(ref)))


def read_shape_filters(kind: Kind, shape: ReadShape, query: dict) -> tuple:
    """What a read API's query narrows a list to: Filters."""
    filters, text = [], query.get(kind.key)
    if text is not None and shape.part:
        if len(text) > 200:
            message = f"{kind.key} takes at most 200 characters"
            raise InvalidRequest(message, kind.key)
        filters.append(Filter("natural_key", "has", fold(text)))
    elif text is not None:
        filters.append(Filter("natural_key", "=", sought_key(kind, text)))
    named = [(name, query[name]) for name in shape.filters if name in query]
    filters += [Filter("fields", "is", one) for one in named]
    filters += read_time(query, "updated_since", "updated_at", ">=")
    return tuple(filters)


def add_keys_api(app: Api, keys: Keys) -> None:
    """/api/api-keys."""
    kind, base, one = keys.kind, "/api/api-keys", "/api/api-keys/<ref>"

    @app.get(base, needs=(kind.read,))
    def list_keys(caller: Caller) -> str:
        return EnvelopeWire.keys(keys.list(caller.workspace))

    @app.post(base, needs=(kind.write,), lane="long")
    def create_key(caller: Caller) -> str:
        wanted = {"type": "restricted", **read_part(*KEY_PROPERTIES)}
        key, token = keys.create(caller, **wanted)
        response.status = 201
        return EnvelopeWire.new_key(key, token)

    @app.patch(one, needs=(kind.write,), lane="long")
    def update_key(caller: Caller, ref: str) -> str:
        sent = read_part(*CHANGEABLE)
        key = keys.update(caller, ref, sent)
        return EnvelopeWire.data(shown(keys, caller, key, sent))

    @app.delete(one, needs=(kind.write,), lane="long")
    def revoke_key(caller: Caller, ref: str) -> str:
        children = yes_or_no(dict(read_query()), "children")
        refs = keys.revoke(caller, ref, children)
        ref = kind.ref(kind.uid(ref))
        others = [one for one in refs if one != ref]
        return EnvelopeWire.revoked(ref, others if children else None)


def add_calls(app: Api, calls: Calls) -> None:
    """/api/calls."""
    kind, one = calls.kind, "/api/calls/<ref:re:(?!(?:create|list)$)[^/]+>"

    @app.post("/api/calls/create", needs=(kind.write,))
    def create_call(caller: Caller) -> Write:
        document = read_json()
        name = idempotency_key(header(request.environ, "IDEMPOTENCY_KEY"))

        def created(made: tuple) -> str:
            text, replayed = made
            if replayed:
                response.set_header("Idempotency-Replayed", "true")
            return EnvelopeWire.data(text)

        return Write(calls.create(caller, document, name), created, 201)

    @app.get("/api/calls/list", needs=(kind.read,), lane="long")
    def list_calls(caller: Caller) -> str:
        query = dict(read_query())
        limit = whole_number(query, "limit", 50, 5000)
        cursor = read_cursor(query)
        filters = read_call_filters(calls, caller.workspace, query)
        total = calls.total(caller.workspace, filters)
        rows = calls.newest(caller.workspace, filters + cursor, limit)
        return EnvelopeWire.calls(rows, total, limit)

    @app.get(one, needs=(kind.read,))
    def get_call(caller: Caller, ref: str) -> str:
        row = calls.get(caller.workspace, kind.uid(ref))
        return EnvelopeWire.data(NativeWire.one(kind, row))

    @app.patch(one, needs=(kind.write,))
    def patch_call(caller: Caller, ref: str) -> Write:
        sent, uid = read_part(*CALL_PROPERTIES), kind.uid(ref)

        def patched(row: CallRow) -> str:
            return EnvelopeWire.data(shown(calls, caller, row, sent))

        return Write(calls.patch(caller, uid, sent), patched)


def read_call_filters(calls: Calls, workspace: int, query: dict) -> tuple:
    """What the query narrows a list of calls to (CONTRACT section 6)."""
    filters = read_choice(query, "status", PROGRESS + ENDS)
    filters += read_contact(calls.contacts, workspace, query, "contact_id")
    if len(query.get("date_to", "")) == len("2026-07-04"):
        query["date_to"] += "T23:59:59.999999"  # a bare date is meant to its end
    filters += read_time(query, "date_from", "created_at", ">=")
    return filters + read_time(query, "date_to", "created_at", "<=")


# What a form's field may mean (CONTRACT section 8); the others are kept.
HONEYPOTS = ("_gotcha", "botcheck", "_honey", "bot-field")
TOKEN_FIELDS = tuple(name for names in CAPTCHA_FIELDS.values() for name in names)
UNKEPT = {"access_key", "from_name", "redirect", "ccemail", "webhook"}
UNKEPT |= {*HONEYPOTS, *TOKEN_FIELDS}


def add_forms(app: Api) -> None:
    """/f: what a plain HTML form sends."""

    @app.post("/f")
    @app.post("/f/<key:re:(?!thanks$)[^/]+>")
    def post_form(key: Optional[str] = None) -> Write:
        document = read_form()
        token = key or document.get("access_key")
        caller = app.gate.admit_form(request.environ, token)
        refuse_many(document)
        read = read_post(document)
        if caller.settings.confirm and read["email"] is None:
            raise MissingEmail()
        work = receive(app, caller, read)
        return Write(work, functools.partial(taken, caller, document))

    def taken(caller: Caller, document: dict, row: SubmissionRow) -> str:
        environ = request.environ
        url = where_next(document, caller, app.gate.home)
        message = TO_CONFIRM if caller.settings.confirm else TAKEN
        if not wants_page():
            thanks = f"{own_url(environ, app.gate.config)}/f/thanks"
            return FormWire.taken(SUBMISSIONS.ref(row.uid), url or thanks, message)
        if url is None:
            return page_of("Thank you", message, link_back(caller))
        response.status = 303
        response.set_header("Location", url)
        return ""

    @app.get("/f/thanks")
    def thanks() -> str:
        return page_of("Thank you", TAKEN)


def read_post(document: dict) -> dict:
    """What a visitor means by these fields, as parts of a Post; InvalidEmail."""
    reply_to = text_of(document, "_replyto")
    return {
        "email": read_email(document),
        "fields": {n: v for n, v in document.items() if is_kept(n, document)},
        "subject": text_of(document, "_subject") or text_of(document, "subject"),
        "honeypot": any(is_filled(document.get(name)) for name in HONEYPOTS),
        "tokens": {n: document[n] for n in TOKEN_FIELDS if n in document},
        "reply_to": reply_to if reply_to and is_email(reply_to) else None,
        "from_name": (text_of(document, "from_name") or "")[:100] or None,
    }


def is_kept(name: str, document: dict) -> bool:
    """`_replyto` too, where it may stand in for the email."""
    if name == "_replyto":
        return is_blank_email(document)
    return name not in UNKEPT and not name.startswith("_")


def read_email(document: dict) -> Optional[tuple]:
    """(label, natural key); InvalidEmail. One that stands in for it need be none."""
    if not is_blank_email(document):
        return clean_email(document["email"])
    others = (text_of(document, name) for name in STAND_INS)
    text = next((text for text in others if text and is_email(text)), None)
    return text and clean_email(text)


def is_blank_email(document: dict) -> bool:
    sent = document.get("email")
    return sent is None or (isinstance(sent, str) and not trim(sent))


def text_of(document: dict, name: str) -> Optional[str]:
    value = document.get(name)
    return trim(value) or None if isinstance(value, str) else None


def is_filled(value: Any) -> bool:
    """Of a field that only robots fill; a form may have it twice."""
    if isinstance(value, list):
        return any(map(is_filled, value))
    return not (value is None or value is False or value in ("", "false", "0"))


def where_next(document: dict, caller: Caller, home: tuple) -> Optional[str]:
    """Where a success leads: to where the form says, if its key's domains allow it,
    else to where the key says; None for our own page."""
    for name in ("_next", "redirect"):
        text = document.get(name)
        if text and isinstance(text, str):
            url = redirect_of(text.strip(" "), (*caller.domains, *home))
            if url:
                return url
            log.info(NOT_FOLLOWED, request.environ["contactapi.id"], name, caller.ref)
    return caller.settings.redirect


NOT_FOLLOWED = (
    "%s: %s of a form with %s was not followed: it is no URL on the key's domains and "
    "no path, or the key is for any domain"
)


def redirect_of(text: str, rules: tuple) -> Optional[str]:
    """The URL to lead a browser to, on these domains; None for any other."""
    if text.startswith("/") and not unescaped(text).startswith("//"):
        text = f"{sending_page(request.environ) or ''}{text}"
    allowed = "*" not in rules and origin_allowed(rules, text)
    return web_url(text) if allowed else None


###############################################################################
# Server ######################################################################
###############################################################################

# -- requests


MOST_FIELDS, LONGEST_HEAD = 100, 32768
# In no address: controls, spaces, and bytes that are no UTF-8, which are read as these.
NEVER = r"\0- \x7f\udc80-\udcff"
REQUEST_LINE = re.compile(
    rf"([!#$%&'*+.^_`|~0-9A-Z-]{{1,32}}) ([^{NEVER}]+) (HTTP/1\.[01])"
)
TARGET = re.compile(
    r"(?:https?://(?:\[[0-9a-f:.]+\](?::[0-9]*)?|[^/?#@\[\]]+))?"
    r"(/[^?#]*)?(?:\?([^#]*))?(?:#.*)?",
    re.IGNORECASE | re.DOTALL,
)
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)")
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t -~\x80-\xff]*)?\r\n")


class Parser:
    """Reads one request into its `environ`, each byte once: in none of the patterns
    above can a byte be taken in two ways, while Waitress's own need time that grows
    with the square of what was sent (90 s for 32 KB). What cannot be read is answered
    all the same: the environ has the refusal, and defaults enough for that."""

    completed = False  # it is whole, or refused
    empty = False  # nothing came but blank lines
    error = None  # the ApiError that refused it
    file = None  # what the body is kept in, once the head has announced one
    size, limit = 0, 0  # bytes of the body, and how many it may have
    taken = 0  # bytes that were sent for it
    expect_continue = False  # the client waits for a word before it sends them
    read_at = 0.0  # when the last byte was read
    answer = None  # what the app made of it: it may be a Write at first
    connection = None  # of the thread that has it, by which it can be ended

    def __init__(self, app: Api, environ: dict):
        self.app, self.began = app, time.time()
        self.environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/",
            "SERVER_PROTOCOL": "HTTP/1.0",
            "wsgi.input": io.BytesIO(),
            **environ,
        }
        self.data, self.at = b"", 0  # what has come last, and how far it was read
        self.head = bytearray()  # what has come of it
        self.line = bytearray()  # what has come of the line between chunks in hand
        self.reading = self.read()

    def received(self, data: bytes) -> int:
        """How many of these bytes are this request's. `completed` once it is whole,
        or refused: then all of them are, for nothing is read after a refusal."""
        if self.completed:
            return 0
        self.data, self.at = data, 0
        try:
            self.completed = next(self.reading, True)
            return self.at
        except ApiError as err:
            self.error = err
        except OSError as err:  # the disk has no room for a large body
            log.error("a body could not be kept: %s", err.strerror)
            self.error = Unavailable()
        finally:
            self.data = b""  # who sends slowly holds no more than what was read
        self.environ["contactapi.refusal"] = self.error
        self.head, self.completed = bytearray(), True
        return len(data)

    # Each of these yields whenever it needs more data: whether all is read.

    def read(self) -> Iterator[bool]:
        line, *fields = yield from self.read_head()
        self.read_request_line(line.decode(errors="surrogateescape"))
        self.read_fields(fields)
        length = self.read_framing()
        if length:
            self.limit = self.app.expect(self.environ, length)
            expected = self.environ.get("HTTP_EXPECT", "").lower() == "100-continue"
            old = self.environ["SERVER_PROTOCOL"] == "HTTP/1.0"
            self.expect_continue = expected and not old
            self.file = tempfile.SpooledTemporaryFile(2**19)  # noqa: SIM115
            yield False
            yield from self.read_chunks() if length < 0 else self.read_bytes(length)
            self.file.seek(0)
            self.environ["CONTENT_LENGTH"] = str(self.size)
            self.environ["wsgi.input"] = self.file

    def read_head(self) -> Iterator[bool]:
        """Returns its lines."""
        while True:
            known = len(self.head)
            # Blank lines before a request are passed over (RFC 9112 section 2.2).
            self.head += self.data if known else self.data.lstrip(b"\r\n")
            # The blank line at the end may have begun in what came before.
            end = self.head.find(b"\r\n\r\n", max(0, known - 3))
            size = len(self.head) if end < 0 else end + 4
            if size > LONGEST_HEAD:
                raise InvalidRequest("the header is larger than 32 KiB")
            self.at = len(self.data) - len(self.head) + size
            if end >= 0:
                lines = bytes(self.head[:end]).split(b"\r\n")
                self.head = bytearray()
                return lines
            self.empty = not self.head
            yield self.empty

    def read_chunks(self) -> Iterator[bool]:
        """A body in chunks (RFC 9112 section 7.1): of sizes, extensions and trailers
        no more is kept than the line in hand."""
        while True:
            match = CHUNK_SIZE.fullmatch((yield from self.read_line(1024)))
            if not match:
                raise InvalidRequest("the size of a chunk cannot be read")
            size = int(match[1], 16)
            if not size:
                break
            yield from self.read_bytes(size)
            if (yield from self.read_line(1024)) != b"\r\n":
                raise InvalidRequest("a chunk is longer than its size")
        # Trailers are read past: nothing here asks for one.
        longest = 32768
        while (line := (yield from self.read_line(longest))) != b"\r\n":
            longest -= len(line)
            if not FIELD.fullmatch(line.removesuffix(b"\r\n")):
                raise InvalidRequest("a trailer cannot be read")

    def read_line(self, longest: int) -> Iterator[bool]:
        """Returns it, with its end."""
        self.line = bytearray()
        while True:
            most = self.at + longest - len(self.line)
            end = self.data.find(b"\n", self.at, most) + 1 or min(most, len(self.data))
            self.line += self.data[self.at : end]
            self.take(end - self.at)
            if self.line.endswith(b"\n"):
                return bytes(self.line)
            if len(self.line) == longest:
                raise InvalidRequest("a line between the chunks is too long")
            yield False

    def read_bytes(self, count: int) -> Iterator[bool]:
        while count:
            written = self.file.write(self.data[self.at : self.at + count])
            count -= written
            self.size += written
            self.take(written)
            if count:
                yield False

    def take(self, count: int) -> None:
        """The framing of chunks has a bound of its own."""
        self.at += count
        self.taken += count
        if self.size > self.limit or self.taken > 8 * self.limit:
            raise self.app.too_large(self.environ)

    def read_request_line(self, line: str) -> None:
        match = REQUEST_LINE.fullmatch(line)
        if not match:
            raise InvalidRequest("the first line must be: METHOD /path HTTP/1.1")
        self.environ["REQUEST_METHOD"] = match[1]
        self.environ["SERVER_PROTOCOL"] = match[3]
        target = TARGET.fullmatch(match[2])
        if not target:
            raise InvalidRequest("the request's address cannot be read")
        path, query = target.groups("")
        self.environ["PATH_INFO"] = unquote_to_bytes(path or "/").decode("latin-1")
        self.environ["QUERY_STRING"] = query.encode().decode("latin-1")

    def read_fields(self, lines: list) -> None:
        environ = self.environ
        if len(lines) > MOST_FIELDS:
            raise InvalidRequest(f"there are more than {MOST_FIELDS} header fields")
        for line in lines:
            match = FIELD.fullmatch(line)
            if not match:
                raise InvalidRequest("a header field cannot be read")
            name, value = match.groups()
            # In an environ, `_` and `-` are one: that would let a client forge a
            # field which the proxy before us sets.
            if b"_" not in name:
                name = "HTTP_" + name.decode().upper().replace("-", "_")
                value = value.strip(b" \t").decode("latin-1")
                known = environ.get(name)
                environ[name] = value if known is None else f"{known}, {value}"
        environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE", "")

    def read_framing(self) -> int:
        """How long the body is (RFC 9112 section 6), -1 for one in chunks: what two
        servers could understand in two ways is refused."""
        environ = self.environ
        coding = environ.pop("HTTP_TRANSFER_ENCODING", None)
        length = environ.pop("HTTP_CONTENT_LENGTH", None)
        environ["CONTENT_LENGTH"] = length or ""
        if coding is not None:
            known = coding.lower() == "chunked" and length is None
            if known and environ["SERVER_PROTOCOL"] != "HTTP/1.0":
                return -1
            raise InvalidRequest(
                "Transfer-Encoding must be chunked, without a Content-Length, in "
                "HTTP/1.1"
            )
        if length is None:
            return 0
        if length.isascii() and length.isdigit():
            digits = length.lstrip("0")
            return int(digits or 0) if len(digits) < 19 else 10**18
        raise InvalidRequest("Content-Length must be a number")

    def close(self) -> None:
        """Called when nothing needs the request any more, answered or not."""
        self.reading.close()  # it holds this object, which holds it
        if self.file:
            with contextlib.suppress(OSError):  # the disk is full
                self.file.close()
        leave_slot(self.environ)


# -- connections


http_date = functools.lru_cache(maxsize=8)(build_http_date)


class Channel(HTTPChannel):
    """A connection. One request is read and answered, and its answer taken by the
    client, before the next is looked at; what was sent ahead waits as bytes. No thread
    but a stream's ever waits for the client, and none may hold the connection open by
    doing nothing. `service` and `write_soon` may run in a lane; all else is the main
    thread's."""

    TLS_HANDSHAKE = b"\x16"
    UNTIMED = 0.0, -math.inf

    unread = b""  # what came behind the request in hand
    lying = 0  # bytes of answers in `unsent`: a part is freed as a whole
    sent = 0  # bytes
    mark = UNTIMED  # (when, how many were taken) since which a reader is timed
    streams = False  # whether the answer in hand is a stream without a length
    lingering = None  # since when only the client is waited for to stop sending
    dropped = 0  # bytes read since then
    watched = 0  # for what the main loop polls

    def __init__(self, server: "Server", sock: socket.socket, addr: tuple, *more: Any):
        super().__init__(server, sock, addr, *more)
        self.peer = network_of(addr[0]) or addr[0]  # for whom it counts
        self.unsent = deque()
        self.watch()

    def watch(self) -> None:
        """Tells the main loop for what it is to poll: who has sent ahead waits."""
        if self.connected:
            more = 0 if self.unread else select.POLLIN
            self.server.watch(self, select.POLLOUT if self.unsent else more)

    # requests

    @property
    def in_hand(self) -> bool:
        """Whether a request is whole, and on its way to an answer."""
        return self.request is not None and self.request.completed

    def received(self, data: bytes) -> None:
        if self.lingering is not None:
            self.dropped += len(data)
        elif self.request is None and data.startswith(self.TLS_HANDSHAKE):
            self.handle_close()
        else:
            self.unread += data
            self.parse()

    def parse(self) -> None:
        """After anything has happened: bytes to the next request, or the end."""
        if self.close_when_flushed and not (self.in_hand or self.unsent):
            self.half_close()
        while self.connected and self.unread and not (self.in_hand or self.unsent):
            if self.request is None:
                environ = {**self.server.environ, "REMOTE_ADDR": self.addr[0]}
                self.request = Parser(self.server.application, environ)
            request = self.request
            self.unread = self.unread[request.received(self.unread) :]
            if request.expect_continue:
                request.expect_continue = False
                self.write_soon(b"HTTP/1.1 100 Continue\r\n\r\n")
            if request.empty:
                self.request = None
            elif request.completed:
                request.read_at = time.monotonic()
                self.server.put(self.server.task_dispatcher.serve, self)
        self.watch()

    def finish(self) -> None:
        """The request in hand has its answer: on to the next."""
        self.request.close()
        self.request = None
        self.parse()

    def half_close(self) -> None:
        """Closing while a client still sends would reset the connection, and lose it
        the answer (RFC 9112 section 9.6): what it sends is read and dropped, until it
        closes, for a while."""
        self.lingering, self.unread, self.close_when_flushed = time.time(), b"", False
        with contextlib.suppress(OSError, AttributeError):  # gone already
            self.socket.shutdown(socket.SHUT_WR)

    # answers: what a client does not take lies in memory, and the main thread sends it

    def service(self) -> None:
        """Sends the answer that was made to the request in hand."""
        environ, (status, headers, body) = self.request.environ, self.request.answer
        self.server.application.log(environ, status, headers)  # be the client gone
        try:
            self.send_answer(environ, status, headers, body)
        except Exception as err:
            self.close_when_flushed = True
            if not isinstance(err, ClientDisconnected):
                log_failure(environ["contactapi.id"], err)
        finally:
            if hasattr(body, "close"):
                body.close()

    def send_answer(self, environ: dict, status: str, headers: list, body: Any) -> None:
        length = next((int(v) for name, v in headers if name == "Content-Length"), None)
        self.streams = length is None and status[:3] not in ("204", "304")
        old = environ["SERVER_PROTOCOL"] == "HTTP/1.0"
        chunked = self.streams and not old
        last = self.streams or bool(self.request.error) or self.is_last(environ)
        if chunked:
            headers.append(("Transfer-Encoding", "chunked"))
        if last or old:
            headers.append(("Connection", "close" if last else "Keep-Alive"))
        if (length or 0) > 2**16:
            self.server.make_room(length)
        data = head_of(environ["SERVER_PROTOCOL"], status, headers)
        for part in filter(None, body):
            part = b"%x\r\n%b\r\n" % (len(part), part) if chunked else part
            self.write_soon(data + part)
            data = b""
        leave_slot(environ)  # before its client can come again
        if chunked and environ["REQUEST_METHOD"] != "HEAD":
            data += b"0\r\n\r\n"
        if data:
            self.write_soon(data)
        self.close_when_flushed = last

    def is_last(self, environ: dict) -> bool:
        """Whether the connection ends with this answer (RFC 9112 section 9.3); once we
        are stopping, what was sent ahead is answered first."""
        wish = environ.get("HTTP_CONNECTION", "").lower()
        old = environ["SERVER_PROTOCOL"] == "HTTP/1.0"
        stays = wish == "keep-alive" if old else wish != "close"
        return not stays or (self.server.stopping and not self.has_more())

    def write_soon(self, data: bytes) -> None:
        """A stream waits here for its client. ClientDisconnected if that is gone."""
        with self.outbuf_lock:
            while self.connected and self.streams and self.lying > 2**20:
                self.outbuf_lock.wait()
            if not self.connected:
                raise ClientDisconnected
            self.unsent.append(memoryview(data))
            self.lying += len(data)
            if len(self.unsent) == 1:
                self.flush()
            if self.unsent:
                self.server.put(self.watch)

    def flush(self) -> None:
        """As much as the kernel takes. Whether the client is gone `poll` tells."""
        with contextlib.suppress(OSError):
            while self.unsent:
                part = self.unsent[0]
                count = self.socket.send(part)
                self.sent, self.last_activity = self.sent + count, time.time()
                self.unsent[0] = part[count:]
                if count == len(part):
                    self.unsent.popleft()
                    self.lying -= len(part.obj)

    def handle_read(self) -> None:
        """A client may close its side once it has asked (RFC 9112, 9.6): the answer
        comes first."""
        if self.in_hand and self.peek() == b"":
            self.server.watch(self, 0)
        else:
            super().handle_read()

    def handle_write(self) -> None:
        with self.outbuf_lock:
            self.flush()
            self.outbuf_lock.notify()
        self.parse()

    def handle_error(self) -> None:
        """Waitress would log what was sent, and by whom."""
        log_failure("connection", sys.exc_info()[1])
        self.handle_close()

    def handle_close(self) -> None:
        """What the client has not taken is dropped by the kernel, too. Waitress may
        call it twice."""
        if not self.connected:
            return
        if self.unsent:
            at_once = struct.pack("ii", 1, 0)
            with contextlib.suppress(OSError):  # it is gone already
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        self.server.poller.unregister(self._fileno)
        super().handle_close()
        self.unsent.clear()
        if self.request and not self.in_hand:
            self.request.close()
            self.request = None

    # what the main thread looks at every second

    def has_more(self) -> bool:
        """Whether the client has sent something that was not read yet."""
        return bool(self.unread or self.peek())

    def peek(self) -> Optional[bytes]:
        """The next byte that the client has sent, b"" if it has closed its side."""
        try:
            return self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except (OSError, AttributeError):  # nothing yet; or gone
            return None

    def overdue(self, now: float, short: bool) -> bool:
        """A head may take 30 s to arrive, 5 s when connections are short; a body longer
        by what its bytes take at 16 KiB/s."""
        if self.lingering is not None:
            return now - self.lingering > 5 or self.dropped > 2**26
        if self.unsent:
            return self.reads_too_slowly(now)
        self.mark = self.UNTIMED
        if self.in_hand:
            return False
        if self.request is None:
            return now - self.last_activity > (5 if short else 125)
        patience = 5 if short and not self.request.file else 30
        return now - self.request.began > patience + self.request.taken / 2**14

    def reads_too_slowly(self, now: float) -> bool:
        """Less than 1 KiB/s over 30 s."""
        since, before = self.mark
        if now - since < 30:
            return False
        taken = self.sent - self.in_kernel()
        self.mark = now, taken
        return taken - before < 30 * 2**10

    def in_kernel(self) -> int:
        """Bytes that were sent and that the client's side has not acknowledged: the
        kernel holds megabytes, which a slow reader needs minutes for."""
        count = array("i", [0])
        with contextlib.suppress(OSError, AttributeError):  # gone; or not on Linux
            fcntl.ioctl(self.socket.fileno(), termios.TIOCOUTQ, count)
        return count[0]


def head_of(protocol: str, status: str, headers: list) -> bytes:
    """An answer's first bytes. No value has a line end: Bottle refuses one."""
    lines = [f"{protocol} {status}", *[f"{name}: {value}" for name, value in headers]]
    lines += ["Server: contactapi", f"Date: {http_date(int(time.time()))}"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


# -- which thread does what


class Dispatcher:
    """The main thread lets every request in, answers the short ones and does the works
    of those that write: many threads would only fight for the GIL. What a route says
    may take long goes to a lane; imports and exports have threads of their own, as many
    as there are slots."""

    def __init__(self, app: Api, server: "Server", threads: int):
        self.app, self.writer = app, Writer(app, server)
        sizes = {"import": Slots.FOR_ALL, "export": Slots.FOR_ALL}
        sizes["long"] = max(2, threads - 1)
        self.lanes = {name: Lane(name, sizes[name], app, server) for name in sizes}
        self.workers = [self.writer.worker]
        for lane in self.lanes.values():
            self.workers += lane.free

    def serve(self, channel: Channel) -> None:
        request = channel.request
        request.environ["contactapi.lane"] = "short"
        request.answer = made = self.app.answer(request.environ)
        if isinstance(made, Write):
            self.writer.add(channel)
        elif isinstance(made, Elsewhere):
            self.lanes[made.lane].put(channel)
        else:
            channel.server.release(channel)

    def shutdown(self, seconds: float) -> None:
        """Has the threads end; `is_busy` with those that have not by then."""
        for worker in self.workers:
            worker.errands.put(None)
        deadline = time.monotonic() + seconds
        for worker in filter(Worker.is_alive, self.workers):
            worker.join(max(0, deadline - time.monotonic()))

    def is_busy(self) -> bool:
        return any(worker.is_alive() for worker in self.workers)


class Worker(threading.Thread):
    """Does one errand at a time, and has the main thread go on with what came of it.
    It starts with the first."""

    def __init__(self, server: "Server", name: str):
        super().__init__(name=name, daemon=True)
        self.server = server
        self.errands = queue.SimpleQueue()  # (work, the next step), or None

    def do(self, work: Callable, next_step: Callable) -> None:
        """`next_step` gets what `work` raised, or None."""
        self.errands.put((work, next_step))
        if self.ident is None:
            self.start()

    def run(self) -> None:
        while (errand := self.errands.get()) is not None:
            work, next_step = errand
            self.server.put(next_step, Outcome.of(work).error)


class Writer:
    """The works of requests that write, done in the main thread: all that wait once
    nobody else is to be heard are one group, with one commit. It never waits itself:
    what does, for another process's lock or for the disk, its worker does, and what is
    to be written in that time is the next group."""

    LONGEST_GROUP, PATIENCE = 64, 0.005  # works; seconds that others may be heard

    def __init__(self, app: Api, server: "Server"):
        self.app, self.store, self.server = app, app.store, server
        self.worker = Worker(server, "writer")
        self.waiting = deque()  # channels with something to write
        self.away = None  # for what the worker waits: "lock", "disk"

    def add(self, channel: Channel) -> None:
        self.waiting.append(channel)
        if self.away == "lock":
            self.refuse([channel])
        elif not self.away and len(self.waiting) == 1:
            self.server.put(self.gather)

    def gather(self) -> None:
        """Waits in line again while others come to be heard, but not for ever."""
        late = self.waiting[0].request.read_at + self.PATIENCE < time.monotonic()
        if late or self.server.tasks.empty():
            self.go_on()
        else:
            self.server.put(self.gather)

    def go_on(self) -> None:
        """Does what waits, if a transaction can be had at once."""
        failure = Outcome.of(self.store.begin, False).error
        if failure and is_lock(failure):
            self.away = "lock"
            self.worker.do(self.store.begin, self.begun)
            self.refuse(list(self.waiting))
        else:
            self.begun(failure)

    def refuse(self, channels: list) -> None:
        """Another process has the lock, maybe for seconds: who asks for what is not
        there need not wait for that."""
        for channel in channels:
            failure = Outcome.of(channel.request.answer.look).error
            if failure:
                self.waiting.remove(channel)
                self.answer(channel, Outcome(None, failure))

    def begun(self, failure: Optional[Exception]) -> None:
        """There is a transaction; or none is to be had, and whoever waits for one is
        told so."""
        self.away = None
        if failure:
            while self.waiting:
                self.answer(self.waiting.popleft(), Outcome(None, failure))
            return
        group, members = Group(self.store), []
        while self.waiting and not group.spoiled and len(members) < self.LONGEST_GROUP:
            channel = self.waiting.popleft()
            members.append((channel, group.add(channel.request.answer.work)))
        self.away = "disk"
        self.worker.do(group.commit, functools.partial(self.ended, group, members))

    def ended(self, group: Group, members: list, failure: Optional[Exception]) -> None:
        """All of it is on the disk, or nothing. If that is because one work failed
        halfway, the others are done again. The disk has the next group to write while
        this one is answered."""
        self.away = None
        answered, again = [], []
        for channel, outcome in members:
            if group.spoiled and not failure and outcome.error is not group.spoiled:
                again.append(channel)
            else:
                outcome = Outcome(outcome.result, outcome.error or failure)
                answered.append((channel, outcome))
        self.waiting.extendleft(reversed(again))
        if self.waiting:
            self.go_on()
        for channel, outcome in answered:
            self.answer(channel, outcome)

    def answer(self, channel: Channel, outcome: Outcome) -> None:
        request = channel.request
        request.answer = self.app.written(request.environ, request.answer, outcome)
        self.server.release(channel)


class Lane:
    """Threads for what takes longer. Of those that wait the first goes whose workspace
    and key have not had their share."""

    LONGEST = 30  # seconds

    def __init__(self, name: str, threads: int, app: Api, server: "Server"):
        self.name, self.app = name, app
        self.for_workspace, self.for_key = max(1, threads // 2), 2
        self.free = [Worker(server, f"{name}-{number}") for number in range(threads)]
        self.waiting, self.running = [], {}  # channels; since when
        self.shares = Counter()  # of workspaces and keys in what runs

    def put(self, channel: Channel) -> None:
        if self.free and self.has_share(channel):
            self.begin(channel)
        else:
            self.waiting.append(channel)

    def has_share(self, channel: Channel) -> bool:
        workspace, key = share_of(channel)
        enough = self.shares[workspace] < self.for_workspace
        return enough and self.shares[key] < self.for_key

    def begin(self, channel: Channel) -> None:
        worker = self.free.pop()
        self.running[channel] = time.monotonic()
        self.shares += Counter(share_of(channel))
        ended = functools.partial(self.ended, channel, worker)
        worker.do(functools.partial(self.serve, channel), ended)

    def serve(self, channel: Channel) -> None:
        """The worker's part. The answer is sent from there, too: it may be large, or a
        stream."""
        request = channel.request
        request.connection = self.app.store.reading.connection()
        request.environ["contactapi.lane"] = self.name
        if channel.connected:
            request.answer = self.app.whole_answer(request.environ)
            channel.service()

    def ended(
        self, channel: Channel, worker: Worker, failure: Optional[Exception]
    ) -> None:
        if failure:
            log_failure("server", failure)
        del self.running[channel]
        self.free.append(worker)
        self.shares -= Counter(share_of(channel))
        channel.finish()
        following = next(filter(self.has_share, self.waiting), None)
        if following:
            self.waiting.remove(following)
            self.begin(following)

    def end_overdue(self, now: float) -> None:
        """Ends what runs too long, or for a client that has gone."""
        for channel, since in self.running.items():
            request = channel.request
            is_gone = not channel.connected or channel.peek() == b""
            if is_gone or now - since > self.LONGEST:
                request.environ["contactapi.ended"] = True
                if request.connection:
                    request.connection.interrupt()


def share_of(channel: Channel) -> tuple:
    """The workspace and the key that a request counts for."""
    caller = channel.request.environ["contactapi.caller"]
    return caller.workspace, caller.ref


# -- the server


GRID = 0.025  # seconds between the moments when a publishable key's answers leave


class Server(TcpWSGIServer):
    """Waitress on a bound socket, with bounds on everything and a clean stop."""

    # Bytes of answers that wait for their clients, in sum: less than half of what the
    # contract allows, for those that are being made take as much again.
    MOST_UNREAD = 28 * 2**20

    stopping = False
    watched = select.POLLIN  # as a Channel's

    def __init__(
        self, app: Api, sock: socket.socket, threads: int, proxies: tuple = ()
    ):
        self.proxies = proxies or PRIVATE
        self.tasks = queue.SimpleQueue()  # (step of the main thread, its arguments)
        self.pulled = False  # whether the main loop is awake, or will be at once
        self.held, self.numbers = [], itertools.count()  # (when, number, channel)
        self.poller = select.poll()
        super().__init__(
            app,
            _sock=sock,
            bind_socket=False,
            dispatcher=Dispatcher(app, self, threads),
            recv_bytes=65536,
            connection_limit=connection_limit(),
            cleanup_interval=1,  # second between two times of `maintenance`
            clear_untrusted_proxy_headers=False,
        )
        host = self.effective_host
        self.environ = {
            "SERVER_NAME": f"[{host}]" if ":" in host else host,
            "SERVER_PORT": str(self.effective_port),
            "SCRIPT_NAME": "",
            "wsgi.url_scheme": "http",
            "contactapi.server": self,
        }
        for source in (self, self.trigger):
            self.poller.register(source._fileno, select.POLLIN)

    # connections

    def handle_accept(self) -> None:
        """A few in each turn of the loop: of a thousand that come at once, those who
        are in already wait for a few each time."""
        excess = self.excess()
        with contextlib.suppress(OSError):  # its client may have gone already
            for _ in range(8):
                accepted = self.accept()
                if accepted is None:
                    return
                sock, address = accepted
                self.set_socket_options(sock)
                channel = Channel(self, sock, address, self.adj, self._map)
                if channel.peer in excess:
                    channel.handle_close()

    def is_short(self) -> bool:
        return len(self.active_channels) * 4 >= self.adj.connection_limit * 3

    def excess(self) -> dict:
        """How many connections an address has beyond its quarter, of those that have
        more, while connections are short."""
        if not self.is_short():
            return {}
        peers = [channel.peer for channel in list(self.active_channels.values())]
        quarter = self.adj.connection_limit // 4
        return {
            peer: count - quarter
            for peer, count in Counter(peers).items()
            if count > quarter and not is_in(peer.partition("/")[0], self.proxies)
        }

    def maintenance(self, now: float) -> None:
        """Closes what is overdue, ends what nobody waits for."""
        short, excess = self.is_short(), self.excess()
        for channel in list(self.active_channels.values()):
            if channel.overdue(now, short):
                channel.handle_close()
            elif excess.get(channel.peer, 0) > 0 and not channel.in_hand:
                excess[channel.peer] -= 1
                channel.handle_close()
        self.task_dispatcher.lanes["long"].end_overdue(time.monotonic())

    def make_room(self, size: int) -> None:
        """Closes those who have not taken anything for the longest time, if there
        would be too much that waits for its client."""
        waiting = [c for c in list(self.active_channels.values()) if c.lying]
        waiting.sort(key=lambda channel: channel.last_activity, reverse=True)
        total = size + sum(channel.lying for channel in waiting)
        while waiting and total > self.MOST_UNREAD:
            slowest = waiting.pop()
            self.put(slowest.handle_close)
            total -= slowest.lying

    # answers

    def release(self, channel: Channel) -> None:
        """The answer is there: it leaves at once or, on the grid, at the next moment
        after the request's last byte was read: how long the work took does not show."""
        caller = channel.request.environ.get("contactapi.caller")
        if not (GRID and caller and caller.type == "publishable"):
            channel.service()
            channel.finish()
            return
        read_at = channel.request.read_at
        steps = (time.monotonic() - read_at) // GRID + 1
        moment = read_at + steps * GRID
        heapq.heappush(self.held, (moment, next(self.numbers), channel))

    def send_held(self) -> None:
        """To the microsecond: of what is left of a millisecond the loop asks `poll`
        again and again, for rounded it would tell how long the work took (an AUC of
        0.61 with a large record, bench/timing.py)."""
        while self.held and self.held[0][0] <= time.monotonic():
            channel = heapq.heappop(self.held)[-1]
            channel.service()
            channel.finish()

    # the loop

    def put(self, step: Callable, *arguments: Any) -> None:
        """Has the main thread do this soon; any thread may."""
        self.tasks.put((step, arguments))
        self.pull_trigger()

    def run(self) -> None:
        """Serves until `stop`, then answers what has begun to arrive."""
        while not self.stopping:
            try:
                self.turn(1)
            except Exception as err:  # one connection must not end the server
                log_failure("server", err)
                time.sleep(0.1)
        self.drain()

    def stop(self) -> None:
        """May be called by a signal's handler."""
        self.stopping = True
        super().pull_trigger()

    def pull_trigger(self) -> None:
        """Wakes the main loop; once is enough until it looks again."""
        if not self.pulled:
            self.pulled = True
            super().pull_trigger()

    def turn(self, seconds: float) -> None:
        self.pulled = False  # first: what is put from here on wakes it
        if not self.tasks.empty():
            seconds = 0
        elif self.held:
            seconds = min(seconds, max(0, self.held[0][0] - time.monotonic()))
        heard = self.poll(seconds)
        self.pulled = True
        self.send_held()
        if not (self.work() or heard):
            flush_log()

    def work(self) -> int:
        """Does what was put by now; what comes of it waits until others were heard."""
        count = self.tasks.qsize()
        for _ in range(count):
            step, arguments = self.tasks.get()
            try:
                step(*arguments)
            except Exception as err:
                log_failure("server", err)
        return count

    def poll(self, seconds: float) -> int:
        """Stands in for wasyncore's `poll2`, which asks every connection in each turn
        what it waits for: with a thousand at rest each request would take 2 ms more."""
        self.watch(self, select.POLLIN if self.readable() else 0)
        events = self.poller.poll(int(seconds * 1000))
        for source, flags in self.first_of(events):
            wasyncore.readwrite(source, flags)
        return len(events)

    def first_of(self, events: list) -> list:
        """Who comes with something new, and some of those that are being received: a
        thousand slow senders at once hold up no short request."""
        fresh, others = [], []
        for fd, flags in events:
            source = self._map[fd]
            known = isinstance(source, Channel) and source.request is not None
            (others if known else fresh).append((source, flags))
        return fresh + random.sample(others, min(len(others), 64))

    def watch(self, source: wasyncore.dispatcher, wanted: int) -> None:
        if wanted != source.watched:  # all would be told to the kernel anew
            source.watched = wanted
            self.poller.register(source._fileno, wanted)

    def drain(self) -> None:
        """A request that is incomplete after 5 s is dropped, an answer that is not
        sent after 6 s is cut off (CONTRACT section 10)."""
        self.accept_waiting()
        began, writer = time.monotonic(), self.task_dispatcher.writer
        while self.active_channels or writer.away or not self.tasks.empty():
            seconds = time.monotonic() - began
            if seconds > 6:
                break
            self.turn(0.02)
            for channel in list(self.active_channels.values()):
                at_rest = not (channel.request or channel.unsent or channel.has_more())
                if at_rest or (channel.streams if channel.in_hand else seconds > 5):
                    channel.handle_close()
        for channel in list(self.active_channels.values()):
            channel.handle_close()
        self.task_dispatcher.shutdown(0.2)
        if self.task_dispatcher.is_busy():
            self.application.store.interrupt_all()
            self.task_dispatcher.shutdown(1)

    def accept_waiting(self) -> None:
        """Takes in the connections that have been made, then makes no more."""
        for _ in range(128):  # of eight each: the backlog is 1024
            self.handle_accept()
        self.watched = 0
        self.poller.unregister(self._fileno)
        wasyncore.dispatcher.close(self)


def connection_limit() -> int:
    """Up to 1,000, and some file descriptors left for the database."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1000 if soft < 0 else max(20, min(1000, soft - 100))


def inherited() -> Optional[socket.socket]:
    """The socket that systemd holds for us (sd_listen_fds(3)): whoever connects while
    we restart waits in it, where our own would refuse."""
    ours = os.environ.get("LISTEN_PID") == str(os.getpid())
    if ours and os.environ.get("LISTEN_FDS") == "1":
        return socket.socket(fileno=3)
    return None


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, or Mistake."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            (host, port), family=family, backlog=1024, dualstack_ipv6=both
        )
    except OSError as err:
        why = err.strerror or err
        raise Mistake(f"{host} port {port} cannot be listened on: {why}") from None


def url_of(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


###############################################################################
# Command line ################################################################
###############################################################################

# -- assembly


def open_services(
    config: Config, clock: Callable = time.time, ticker: Callable = time.monotonic
) -> Services:
    services = Services(config, NativeWire, clock, ticker)
    for extra in EXTRAS:
        with contextlib.suppress(Mistake):  # a path of its says what is missing
            if extra.listens:
                equip(extra, services.store).listen(services)
    return services


def make_app(
    config: Config, clock: Callable = time.time, ticker: Callable = time.monotonic
) -> Api:
    """The WSGI application. `clock` tells the time of day in seconds, `ticker` the
    seconds that pass; tests turn both. `app.services` is what it stands on."""
    services = open_services(config, clock, ticker)
    app = Api(services, config, ticker)
    add_health(app, services.store)
    for listed in services.listed.values():
        add_listed(app, listed)
    for records in services.records.values():
        add_native(app, records)
        add_import(app, records, "jsonl", JSONL, read_jsonl)
        for wire in WIRES:
            if records.kind in wire.shapes:
                add_read(app, wire, records)
    add_submissions(app, services.submissions)
    add_keys_api(app, services.keys)
    add_calls(app, services.calls)
    add_forms(app)
    for extra in EXTRAS:
        add_extra(app, extra, config)
    return app


def add_extra(app: Api, extra: Extra, config: Config) -> None:
    """One that is wanted, or may be asked for by its paths: where such a one cannot be
    had they say what to do."""
    wanted = extra in config.extras
    if wanted or extra.paths:
        try:
            equip(extra, app.services.store).setup(app, app.services, config)
        except Mistake as err:
            if wanted:
                raise
            app.absent.update(dict.fromkeys(extra.paths, str(err)))


class Housekeeper(threading.Thread):
    """What is done beside the requests: now and then, every hour, every night."""

    SECONDS, HOUR, NIGHT = 30, 3600, 3

    def __init__(self, config: Config, services: Services, clock: Callable = time.time):
        super().__init__(name="housekeeper", daemon=True)
        self.config, self.services, self.clock = config, services, clock
        self.done = threading.Event()
        self.tidied = 0.0
        self.last_night = self.night()

    def run(self) -> None:
        while not self.done.is_set():
            try:
                self.tick()
            except (Unavailable, Mistake) as err:
                log.error("housekeeping: %s", err.__cause__ or err)
            except Exception as err:
                log_failure("housekeeping", err)
            self.done.wait(self.SECONDS)

    def stop(self) -> None:
        self.done.set()
        self.join(timeout=3)

    def tick(self) -> None:
        give_memory_back()
        self.services.keys.save_last_used()
        self.services.submissions.forget_sent()
        if self.clock() - self.tidied >= self.HOUR:
            self.tidied = self.clock()
            self.tidy()
        if self.night() != self.last_night:
            self.last_night = self.night()
            self.services.store.rewrite_if_due()
            for work in self.services.nightly:
                work(self.last_night)

    def night(self) -> str:
        """The date of the newest night: a day begins at NIGHT o'clock."""
        moment = time.localtime(self.clock() - self.NIGHT * 3600)
        return time.strftime("%Y-%m-%d", moment)

    def tidy(self) -> None:
        """Deletes what has been kept long enough."""
        now = micros(self.clock())
        self.services.events.expire(now - self.config.history_days * DAY)
        for work in self.services.hourly:
            work()


# -- commands


def serve(config: Config, args: argparse.Namespace) -> None:
    """The port first: nothing is made for a server that cannot listen."""
    keep_memory_small()
    load_extras(config)  # nothing is made for one that lacks a module either
    sock = inherited() or listen(config.host, config.port)
    app = make_app(config)
    services = app.services
    server = Server(app, sock, config.threads, config.trusted_proxy or ())

    def stop(*_: Any) -> None:
        services.store.patience = 1  # a lock of another process must not hold us up
        server.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    give_memory_back()  # what the start took
    announce(services, url_of(sock))
    threads = [Housekeeper(config, services), *services.workers]
    for thread in threads:
        thread.start()
    server.run()
    for thread in threads:
        thread.stop()
    services.close(server.task_dispatcher.is_busy(), rewrites=True)
    log.info("stopped")


def announce(services: Services, url: str) -> None:
    """Where it listens, on what, and whatever else an operator is to know first."""
    path = services.store.path
    log.info("contactapi %s listens on %s, database %s", VERSION, url, path)
    if warning := open_to_others(path):
        log.warning("%s: %s", path, warning)
    offer_keys(services, url)


def give_memory_back() -> None:
    """What was freed; where glibc runs us."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def keep_memory_small() -> None:
    """Has glibc keep no heap for each of our threads, and give the memory of a large
    page back when that is freed (mallopt(3): M_ARENA_MAX, M_MMAP_THRESHOLD; below 4
    MiB the second would cost an export a third of its speed)."""
    with contextlib.suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(-8, 2)
        libc.mallopt(-3, 2**22)


FIRST_KEYS = """
Two keys were made. They are shown this once:

    secret key, for your backend:                    {token}
    publishable key, for pages on http://localhost:  {public}

The dashboard, which asks for the secret key: {url}/

Try it:

    curl {url}/v1/contacts -H 'Authorization: Bearer {token}' \\
      -H 'Content-Type: application/json' \\
      -d '{{"email": "ada@example.com", "name": "Ada", "plan": "pro"}}'

A form for a page on http://localhost (python3 -m http.server serves those of a folder):

    <form method="post" action="{url}/f/{public}">
      <input name="email" type="email" placeholder="Your email" required>
      <textarea name="message" placeholder="Your message"></textarea>
      <button>Send</button>
    </form>
"""


def offer_keys(services: Services, url: str) -> None:
    """The first start at a terminal makes two keys and shows them there, once."""
    if services.keys.list():
        return
    if not sys.stdout.isatty():
        hint = "DATABASE_URL=sqlite:///%s contactapi.py keys create --type secret"
        log.warning("there is no key yet: " + hint, services.store.path)
        return
    caller = operator("first start", services.workspaces.find("default"))
    _, token = services.keys.create(caller, "secret", "first secret key")
    _, public = services.keys.create(
        caller, "publishable", "first publishable key", domains=("localhost",)
    )
    print(FIRST_KEYS.format(token=token, public=public, url=url), flush=True)


def given(args: argparse.Namespace, *names: str) -> dict:
    """Those of these arguments that were given."""
    there = vars(args).items()
    return {name: value for name, value in there if name in names and value is not None}


def on_database(
    work: Callable, config: Config, args: argparse.Namespace, made: bool = True
) -> None:
    """Does `work(services, args)`: the database is opened for it and closed. `made`:
    whether one that is not there is made; else that is a Mistake."""
    if not made and not os.path.exists(config.database_url):
        raise Mistake(f"{config.database_url} is not there")
    with contextlib.closing(open_services(config)) as services:
        work(services, args)


def keys_create(services: Services, args: argparse.Namespace) -> None:
    wanted = given(args, *KEY_PROPERTIES)
    clean_key(**wanted)  # before a workspace is made for it
    caller = operator("cli", services.workspaces.ensure(args.workspace))
    _, token = services.keys.create(caller, **wanted)
    print(token)


def keys_update(services: Services, args: argparse.Namespace) -> None:
    sent = given(args, *CHANGEABLE)
    print(services.keys.update(operator("cli"), args.key_id, sent).ref)


def keys_revoke(services: Services, args: argparse.Namespace) -> None:
    for ref in services.keys.revoke(operator("cli"), args.key_id, args.children):
        print(f"revoked {ref}")


def keys_list(services: Services, args: argparse.Namespace) -> None:
    rows = [
        {**listed_key(key), "workspace": key.workspace.name}
        for key in services.keys.list()
    ]
    if args.json:
        print(dump(rows))
        return
    for row in rows:
        may = ",".join(row["permissions"] + row["domains"]) or "everything"
        shown = [row["id"], row["workspace"], row["type"], row["hint"], may]
        used = row["last_used_at"] or "never used"
        by = f"by {row['created_by'] or '?'}"
        print("  ".join([*shown, used, by, row["name"]]).rstrip())


# -- main


# What can be said to `serve` instead of in the environment.
FLAGS = {"--host": "CONTACTAPI_HOST", "--port": "PORT", "--database": "DATABASE_URL"}


class Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise Mistake(f"{message}; see --help", 2)


def option(cast: Callable) -> Callable:
    """An argparse type that lets a setting's text through if it can be read."""

    def check(text: str) -> str:
        try:
            cast(text)
        except ValueError as err:
            raise argparse.ArgumentTypeError(f"give {err}") from None
        return text

    return check


def a_switch(text: str) -> bool:
    if text not in ("on", "off"):
        raise argparse.ArgumentTypeError("give on or off")
    return text == "on"


def parser(asked: str) -> argparse.ArgumentParser:
    """`asked` is the command: of the others that extras bring, only the names."""
    top = Arguments(
        prog="contactapi.py",
        description="A contact store and form backend in one file.",
        epilog=about_settings() if asked.startswith("-") else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.set_defaults(usage=False)  # whether what cannot be is a mistake of usage: 2
    top.add_argument("--version", action="version", version=f"contactapi {VERSION}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    add_serve_command(commands)
    add_key_commands(commands)
    for extra in EXTRAS:
        for name, about in extra.commands.items():
            command = commands.add_parser(name, help=about)
            if name == asked:
                extra.load().COMMANDS[name](command)
    return top


def about_settings() -> str:
    """For --help, which loads every extra that has settings."""
    rows = Config.table()
    width = max(len(row[0]) for row in rows)
    lines = [f"  {name:{width}}  {about} ({default})" for name, default, about in rows]
    title = "environment (default, which an empty value means too):"
    return "\n".join([title, *lines])


def add_command(commands: Any, name: str, work: Callable, about: str) -> Any:
    """One that works on the database with what it is told, and nothing else."""
    command = commands.add_parser(name, help=about)
    command.set_defaults(run=functools.partial(on_database, work), usage=True)
    return command


def add_serve_command(commands: Any) -> None:
    command = commands.add_parser("serve", help="serve the API (the default command)")
    command.set_defaults(run=serve)
    for flag, name in FLAGS.items():
        cast = option(SETTINGS[name].cast)
        value = flag.strip("-").upper()
        command.add_argument(flag, dest=name, metavar=value, type=cast, help=name)


def add_key_commands(commands: Any) -> None:
    group = commands.add_parser("keys", help="make, list, change and revoke API keys")
    actions = group.add_subparsers(metavar="ACTION", required=True)
    about = "make a key and print its token, once"
    create = add_command(actions, "create", keys_create, about)
    create.add_argument("--type", required=True, choices=list(TOKEN_PREFIX))
    known = ", ".join(known_permissions())
    create.add_argument(
        "--permission", dest="permissions", action="append", default=[], help=known
    )
    create.add_argument("--workspace", default="default", help="made if not there")
    update = add_command(actions, "update", keys_update, "change a key")
    for action in (create, update):
        add_key_settings(action)
    about = "show the keys, without their tokens"
    show = add_command(actions, "list", keys_list, about)
    show.add_argument("--json", action="store_true")
    revoke = add_command(actions, "revoke", keys_revoke, "end a key")
    about = "the keys that it made too, and those that they made"
    revoke.add_argument("--children", action="store_true", help=about)
    for action in (update, revoke):
        action.add_argument("key_id", metavar="KEY_ID")


def add_key_settings(action: Any) -> None:
    action.add_argument("--name", help="what it is for")
    about = (
        "where a publishable key may be used: example.com, *.example.com, "
        "example.com:8080, localhost, * (an update replaces all of them)"
    )
    action.add_argument("--domain", dest="domains", action="append", help=about)
    about = (
        "what a publishable key does to a known contact: update its fields, or keep "
        "them and only add"
    )
    action.add_argument("--existing", choices=["update", "keep"], help=about)
    about = "who gets a mail for each submission (repeated; an update replaces all)"
    action.add_argument("--notify", metavar="EMAIL", action="append", help=about)
    about = "where a form leads after a success; '' for our own page"
    action.add_argument("--redirect", metavar="URL", help=about)
    about = "none, our own proof of work, or the service of CONTACTAPI_CAPTCHA_URL"
    action.add_argument("--captcha", choices=CAPTCHAS, help=about)
    about = "on: no contact before the person has confirmed by mail (double opt-in)"
    action.add_argument("--confirm", type=a_switch, metavar="on|off", help=about)
    about = "after so many days submissions are deleted (365; 0: never)"
    action.add_argument("--keep-days", metavar="N", type=int, help=about)


def start_logging(log_format: str) -> None:
    """To standard error; Waitress's warnings of queues and clients are left out."""
    form = JsonFormatter() if log_format == "json" else TextFormatter()
    logging.basicConfig(handlers=[LogHandler(form)], level=logging.INFO, force=True)
    # What no line shows need not be found out (Python's logging howto, Optimization).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    logging.captureWarnings(True)
    logging.getLogger("waitress").setLevel(logging.ERROR)
    logging.getLogger("waitress.queue").disabled = True
    sys.excepthook = lambda kind, err, trace: log_failure("main", err)
    sys.unraisablehook = lambda args: log_failure("cleanup", args.exc_value)
    threading.excepthook = lambda args: log_failure(args.thread.name, args.exc_value)


def complain(message: str, status: int = 1) -> int:
    """The exit status, after one line to standard error, a JSON object where every line
    is one; perhaps before there is a log."""
    if os.environ.get("CONTACTAPI_LOG") == "json":
        line = JsonFormatter().line(time.time(), "ERROR", message)
    else:
        line = f"contactapi: {without_secrets(message)}"
    with contextlib.suppress(BrokenPipeError):  # the exit status says it still
        print(line, file=sys.stderr)
    return status


def main(argv: Optional[list] = None) -> int:
    """The exit status. A reader that closes the pipe (`keys list | head`) is no error;
    what Python would still flush at its end then goes nowhere."""
    try:
        try:
            return status_of(sys.argv[1:] if argv is None else argv)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def status_of(argv: list) -> int:
    if not argv or argv[0] in FLAGS:
        argv = ["serve", *argv]
    try:
        args = parser(argv[0]).parse_args(argv)
        config = Config.from_env({**os.environ, **given(args, *FLAGS.values())})
        start_logging(config.log)
        args.run(config, args)
    except Mistake as err:
        return complain(str(err), err.status)
    except Unavailable as err:
        return complain(f"the database cannot be used: {err.__cause__}")
    except ApiError as err:
        usage = args.usage and isinstance(err, InvalidRequest)
        return complain(err.message, 2 if usage else 1)
    except KeyboardInterrupt:
        return 130
    return 0


class Start(SystemExit):
    """Ends the script's body, for CPython keeps the syntax tree of a script until then,
    15 MB of this one, and calls main() where the interpreter asks with which status
    it is to exit (_Py_HandleSystemExit in its pythonrun.c)."""

    @property
    def code(self) -> Any:
        try:
            return main()
        except SystemExit as err:  # of --help
            return err.code
        except BaseException as err:
            sys.excepthook(type(err), err, err.__traceback__)
            return 1


if __name__ == "__main__":
    raise Start
