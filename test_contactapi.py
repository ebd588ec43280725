"""contactapi at unit level, by CONTRACT.md; what needs a real process is in tests/."""

import ast
import base64
import contextlib
import csv
import hashlib
import hmac
import http.server
import io
import itertools
import json
import logging
import os
import pty
import random
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import stat
import struct
import subprocess
import symtable
import sys
import threading
import time
import tracemalloc
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import pytest
import webtest

import contactapi
from contactapi import Config, Mistake

SOURCE = Path(contactapi.__file__)
PAGE = {"Origin": "https://example.com"}
ADA = {"email": "ada@example.com", "name": "Ada", "plan": "pro"}
UNKNOWN = "con_00000000000000000000000000"


def at(text):
    """Seconds since 1970 of 2026-07-04T10:00:00"""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


class Clock:
    """A clock that stands until it is turned."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


class Client:
    """An app, its turned clocks, and a secret key with which it is asked."""

    def __init__(self, app, clock, ticker):
        self.app, self.clock, self.ticker = app, clock, ticker
        self.services = app.services
        self.workspace = self.services.workspaces.find("default")
        self.closed = False
        self.secret = self.key("secret")

    def key(self, kind, *permissions, workspace="default", **options):
        """The token of a new key; a publishable one may be used on example.com."""
        if kind == "publishable":
            options.setdefault("domains", ("example.com",))
        number = self.services.workspaces.ensure(workspace)
        create = self.services.keys.create
        return create(number, kind, permissions=permissions, **options)[1]

    def ref(self, token):
        return self.services.keys.find(token).ref

    def turn(self, seconds):
        self.clock.now += seconds
        self.ticker.now += seconds

    def ask(self, method, path, body=None, key=..., headers=None, lint=True, **environ):
        """`key`: a token, None for no key; `body`: bytes are sent as they are."""
        headers = dict(headers or {})
        if body is not None and "Content-Type" not in headers:
            headers["Content-Type"] = "application/json"
        token = self.secret if key is ... else key
        if token is not None:
            headers.setdefault("Authorization", f"Bearer {token}")
        raw = body
        if not isinstance(body, bytes):
            raw = json.dumps(body, ensure_ascii=False).encode()
        request = webtest.TestRequest.blank(
            path, method=method, environ={"REMOTE_ADDR": "203.0.113.1", **environ}
        )
        if body is not None:
            request.body = raw
        for name, value in headers.items():
            if value is None:
                request.headers.pop(name, None)
                request.environ.pop(name.upper().replace("-", "_"), None)
            else:
                request.headers[name] = value
        web = webtest.TestApp(self.app, lint=lint)
        return web.do_request(request, status="*", expect_errors=True)

    def get(self, path, **options):
        return self.ask("GET", path, **options)

    def post(self, body, path="/v1/contacts", **options):
        return self.ask("POST", path, body, **options)

    def patch(self, ref, body, **options):
        return self.ask("PATCH", f"/v1/contacts/{ref}", body, **options)

    def merge(self, ref, body):
        headers = {"Content-Type": "application/merge-patch+json"}
        return self.patch(ref, body, headers=headers)

    def add(self, *emails, **fields):
        """The ids of new contacts."""
        posted = [self.post({"email": email, **fields}) for email in emails]
        assert {answer.status_int for answer in posted} == {201}
        return [answer.json["id"] for answer in posted]

    def emails(self, query=""):
        answer = self.get(f"/v1/contacts{query}")
        assert answer.status_int == 200, answer.text
        return [contact["email"] for contact in answer.json["data"]]

    def close(self):
        if not self.closed:
            self.closed = True
            self.services.close()


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory):
    """A new database's bytes: copying it is seven times as fast as making one."""
    path = tmp_path_factory.mktemp("fresh") / "contacts.db"
    contactapi.open_database(str(path)).close()
    return path.read_bytes()


@pytest.fixture
def make(tmp_path, fresh_database):
    """Makes apps on one database file, or on another one of tmp_path."""
    made = []

    def make_client(file="contacts.db", like=None, **settings):
        clock = like.clock if like else Clock(at("2026-07-04T10:00:00"))
        ticker = like.ticker if like else Clock(1000.0)
        path = tmp_path / file
        if path.parent.is_dir() and not path.exists():
            path.touch(0o600)
            path.write_bytes(fresh_database)
        environ = {"DATABASE_URL": f"sqlite:///{path}", **settings}
        app = contactapi.make_app(Config.from_env(environ), clock, ticker)
        made.append(Client(app, clock, ticker))
        return made[-1]

    yield make_client
    for client in made:
        client.close()


@pytest.fixture
def api(make):
    return make()


@pytest.fixture
def free(make):
    """An app without limits."""
    return make(CONTACTAPI_RATE_LIMIT="off")


def failure(answer):
    """(status, code, param) of an answer that is no success, its shape looked at."""
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert set(answer.json) == {"error"}, answer.text
    error = answer.json["error"]
    assert set(error) <= {"code", "message", "param"}, answer.text
    assert isinstance(error["message"], str) and error["message"]
    return answer.status_int, error["code"], error.get("param")


def shows(answer, expected):
    """Whether each of these fields is in the answer."""
    return {name: answer.json.get(name) for name in expected} == expected


def rest(answer):
    """How many requests are left, as RateLimit says."""
    return int(re.fullmatch(r'"key";r=(\d+);t=\d+', answer.headers["RateLimit"])[1])


def hyphenated(ref):
    """The UUID of an id, read without contactapi's help."""
    number = 0
    for char in ref.partition("_")[2]:
        number = number * 32 + "0123456789abcdefghjkmnpqrstvwxyz".index(char)
    return str(uuid.UUID(int=number))


###############################################################################
# Imports, constants ##########################################################
###############################################################################


def banners(text):
    """(line, name) of each section; the first has no banner."""
    edge, middle = "#" * 79, r"# (.+?) #+"
    lines = text.splitlines()
    found = [(1, "Imports, constants")]
    for number, line in enumerate(lines):
        if line == edge and lines[number + 2 : number + 3] == [edge]:
            match = re.fullmatch(middle, lines[number + 1])
            assert match and len(lines[number + 1]) == 79, lines[number + 1]
            found.append((number + 1, match[1]))
    return found


def contents(text):
    """The sections as the module's docstring names them."""
    docstring = ast.get_docstring(ast.parse(text), clean=False)
    listed = docstring.partition("A section uses only sections above it:\n\n")[2]
    block = listed.partition("\n\n")[0].splitlines()
    return [re.match(r" {4}(\S.*?)(?: {2,}|$)", line)[1] for line in block]


def names_used(text):
    """(name, line) for each use of a module-level name, function bodies included."""

    def in_table(table):
        for symbol in table.get_symbols():
            if symbol.is_global() and symbol.is_referenced():
                yield symbol.get_name(), table.get_lineno()
        for child in table.get_children():
            yield from in_table(child)

    for table in symtable.symtable(text, "contactapi.py", "exec").get_children():
        yield from in_table(table)
    for statement in ast.parse(text).body:
        for node in outside_bodies(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                yield node.id, statement.lineno


def outside_bodies(node):
    """What runs when the module is imported."""
    yield node
    inner = list(ast.iter_child_nodes(node))
    if isinstance(node, (ast.FunctionDef, ast.Lambda)):
        inner = [n for n in inner if n is not node.args]
        body = node.body if isinstance(node.body, list) else [node.body]
        inner = [n for n in inner if n not in body]
        inner += node.args.defaults + [d for d in node.args.kw_defaults if d]
    for child in inner:
        yield from outside_bodies(child)


def names_defined(text):
    """The line on which each module-level name is first bound, imports left out."""
    lines = {}
    for statement in ast.parse(text).body:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            continue
        names = [getattr(statement, "name", None)]
        if isinstance(statement, (ast.Assign, ast.AnnAssign)):
            names = [n.id for n in ast.walk(statement) if isinstance(n, ast.Name)]
            targets = getattr(statement, "targets", None) or [statement.target]
            walked = itertools.chain.from_iterable(map(ast.walk, targets))
            names = [n.id for n in walked if isinstance(n, ast.Name)]
        for name in filter(None, names):
            lines.setdefault(name, statement.lineno)
    return lines


def section_of(text):
    found = banners(text)
    return lambda line: max(i for i, (start, _) in enumerate(found) if start <= line)


def test_the_sections_stand_in_the_order_of_the_docstrings_contents():
    text = SOURCE.read_text()
    assert [name for _, name in banners(text)] == contents(text)


def test_a_section_uses_only_sections_above_it():
    text = SOURCE.read_text()
    section, defined = section_of(text), names_defined(text)
    below = {
        f"line {line} uses {name} of line {defined[name]}"
        for name, line in names_used(text)
        if name in defined and section(defined[name]) > section(line)
    }
    assert below == set()


def test_the_test_of_the_sections_sees_a_use_inside_a_function_body():
    banner = "#" * 79 + "\n# {0} {1}\n" + "#" * 79 + "\n"
    first, second = (banner.format(n, "#" * (76 - len(n))) for n in ("One", "Two"))
    text = f"{first}def a():\n    return [b() for _ in (1,)]\n{second}def b(): pass\n"
    section, defined = section_of(text), names_defined(text)
    used = [(name, line) for name, line in names_used(text) if name in defined]
    assert [section(defined[n]) > section(line) for n, line in used] == [True]


def test_peewee_appears_only_in_storage_and_services():
    text = SOURCE.read_text()
    section, names = section_of(text), [name for _, name in banners(text)]
    rooms = {names[section(line)] for n, line in names_used(text) if n == "peewee"}
    assert rooms <= {"Storage", "Services"}


def test_bottles_request_and_response_appear_only_from_http_core_on():
    text = SOURCE.read_text()
    section, names = section_of(text), [name for _, name in banners(text)]
    first = names.index("HTTP core")
    early = {
        f"{name} near line {line}"
        for name, line in names_used(text)
        if name in ("request", "response") and section(line) < first
    }
    assert early == set()


def test_importing_the_module_opens_reads_and_starts_nothing(tmp_path):
    script = """
import logging, sys, threading
sys.path.insert(0, sys.argv[1])
import argparse, bottle, peewee, waitress.server, waitress.task, resource, ipaddress
seen = []
watched = ("socket.", "sqlite3.", "subprocess.", "os.putenv", "os.mkdir", "signal.")
sys.addaudithook(lambda name, args: name.startswith(watched) and seen.append(name))
import contactapi
print(seen, threading.active_count(), logging.getLogger().handlers)
"""
    ran = subprocess.run(
        [sys.executable, "-B", "-c", script, str(SOURCE.parent)],
        cwd=tmp_path,
        env={"CONTACTAPI_NONSENSE": "1", "PORT": "nonsense"},
        capture_output=True,
        text=True,
    )
    assert (ran.stdout, ran.stderr) == ("[] 1 []\n", "")
    assert list(tmp_path.iterdir()) == []


###############################################################################
# Configuration ###############################################################
###############################################################################


def test_without_any_variable_the_defaults_of_the_contract_hold():
    config = Config.from_env({})
    assert (config.port, config.host) == (8080, "127.0.0.1")
    assert config.database == os.path.abspath("contacts.db")
    assert config.secret_key is None
    assert config.rate_limit == (100, 60)
    assert (config.max_body, config.threads) == (65536, 8)
    assert (config.trusted_proxy, config.proxy_hops) == (None, 1)
    assert config.log_format == "text"


def test_an_empty_variable_is_one_that_is_not_set():
    names = [name for name, _, _ in Config.table()]
    assert Config.from_env(dict.fromkeys(names, "")) == Config.from_env({})


@pytest.mark.parametrize(
    "variable, text, name, value",
    [
        ("PORT", "0", "port", 0),
        ("PORT", "65535", "port", 65535),
        ("CONTACTAPI_HOST", "::", "host", "::"),
        ("DATABASE_URL", "sqlite:////var/lib/c.db", "database", "/var/lib/c.db"),
        ("CONTACTAPI_SECRET_KEY", "ck_secret_" + "k" * 24, "secret_key", ...),
        ("CONTACTAPI_RATE_LIMIT", "5/1", "rate_limit", (5, 1)),
        ("CONTACTAPI_RATE_LIMIT", "off", "rate_limit", None),
        ("CONTACTAPI_MAX_BODY", "1048576", "max_body", 1048576),
        ("CONTACTAPI_THREADS", "16", "threads", 16),
        ("CONTACTAPI_PROXY_HOPS", "2", "proxy_hops", 2),
        ("CONTACTAPI_LOG", "json", "log_format", "json"),
    ],
)
def test_each_variable_is_read(variable, text, name, value):
    config = Config.from_env({variable: text, "PATH": "/bin", "HOME": "/root"})
    assert getattr(config, name) == (text if value is ... else value)


@pytest.mark.parametrize(
    "variable, value",
    [
        ("PORT", "eighty"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "٨٠"),
        ("PORT", "8080 "),
        ("DATABASE_URL", "contacts.db"),
        ("DATABASE_URL", "mysql://user:hunter2@host/name"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("CONTACTAPI_SECRET_KEY", "ck_secret_" + "k" * 23),
        ("CONTACTAPI_SECRET_KEY", "ck_pub_" + "k" * 40),
        ("CONTACTAPI_SECRET_KEY", "hunter2"),
        ("CONTACTAPI_RATE_LIMIT", "100"),
        ("CONTACTAPI_RATE_LIMIT", "0/60"),
        ("CONTACTAPI_RATE_LIMIT", "100/0"),
        ("CONTACTAPI_RATE_LIMIT", "-1/60"),
        ("CONTACTAPI_RATE_LIMIT", "none"),
        ("CONTACTAPI_MAX_BODY", "64k"),
        ("CONTACTAPI_MAX_BODY", "0"),
        ("CONTACTAPI_THREADS", "0"),
        ("CONTACTAPI_THREADS", "many"),
        ("CONTACTAPI_TRUSTED_PROXY", "proxy.internal"),
        ("CONTACTAPI_TRUSTED_PROXY", "10.0.0.300"),
        ("CONTACTAPI_PROXY_HOPS", "0"),
        ("CONTACTAPI_LOG", "yaml"),
    ],
)
def test_a_value_that_cannot_be_read_is_named_but_not_shown(variable, value):
    with pytest.raises(Mistake) as caught:
        Config.from_env({variable: value})
    message = str(caught.value)
    assert re.search(rf"\b{variable}\b", message) and "\n" not in message
    assert not re.search(rf"(?<![\w/]){re.escape(value)}(?![\w/])", message)
    assert caught.value.status == 1


@pytest.mark.parametrize(
    "name, nearest",
    [
        ("CONTACTAPI_SECRETKEY", "CONTACTAPI_SECRET_KEY"),
        ("CONTACTAPI_RATELIMIT", "CONTACTAPI_RATE_LIMIT"),
        ("CONTACTAPI_MAXBODY", "CONTACTAPI_MAX_BODY"),
        ("CONTACTAPI_THREAD", "CONTACTAPI_THREADS"),
        ("CONTACTAPI_TRUST_PROXY", "CONTACTAPI_TRUSTED_PROXY"),
        ("CONTACTAPI_LOGS", "CONTACTAPI_LOG"),
    ],
)
def test_an_unknown_variable_names_the_nearest_known_one(name, nearest):
    with pytest.raises(Mistake) as caught:
        Config.from_env({name: "hunter2"})
    message = str(caught.value)
    assert re.search(rf"\b{name}\b", message) and re.search(rf"\b{nearest}\b", message)
    assert "hunter2" not in message and "\n" not in message


@pytest.mark.parametrize(
    "name",
    [
        "CONTACTAPI_PORT",
        "CONTACTAPI_PORT_8080_TCP_ADDR",
        "CONTACTAPI_SERVICE_HOST",
        "CONTACTAPI_SERVICE_PORT_HTTP",
        "MYCONTACTAPI_PORT",
        "contactapi_nonsense",
    ],
)
def test_what_container_platforms_inject_is_let_be(name):
    assert Config.from_env({name: "tcp://10.0.0.1:8080"}) == Config.from_env({})


def test_every_setting_has_a_row_in_the_table_of_help():
    rows = {name: (default, about) for name, default, about in Config.table()}
    assert rows["PORT"][0] == "8080"
    assert rows["CONTACTAPI_RATE_LIMIT"][0] == "100/60"
    assert rows["CONTACTAPI_SECRET_KEY"][0] == "none"
    assert all(about for _, about in rows.values())


###############################################################################
# Errors ######################################################################
###############################################################################


@pytest.mark.parametrize(
    "error, status, code",
    [
        (contactapi.InvalidRequest(), 400, "invalid_request"),
        (contactapi.InvalidEmail("no", "email"), 400, "invalid_email"),
        (contactapi.Unauthorized(), 401, "unauthorized"),
        (contactapi.Forbidden("no"), 403, "forbidden"),
        (contactapi.NotFound(), 404, "not_found"),
        (contactapi.MethodNotAllowed(), 405, "method_not_allowed"),
        (contactapi.Conflict("no"), 409, "conflict"),
        (contactapi.PayloadTooLarge(), 413, "payload_too_large"),
        (contactapi.UnsupportedMediaType(), 415, "unsupported_media_type"),
        (contactapi.RateLimited(7), 429, "rate_limit"),
        (contactapi.InternalError(), 500, "internal_error"),
        (contactapi.Unavailable(), 503, "unavailable"),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
def test_an_error_knows_its_status_and_its_code(error, status, code):
    assert (error.status, error.body()["code"]) == (status, code)
    assert error.body()["message"]


def test_an_error_names_its_param_only_when_one_is_at_fault():
    assert contactapi.InvalidEmail("email is required", "email").body() == {
        "code": "invalid_email",
        "message": "email is required",
        "param": "email",
    }
    assert "param" not in contactapi.Conflict("no").body()


def test_a_refusal_carries_the_headers_that_belong_to_it():
    assert contactapi.RateLimited(7).headers == {"Retry-After": "7"}
    assert contactapi.Unauthorized().headers == {"WWW-Authenticate": "Bearer"}


###############################################################################
# Values ######################################################################
###############################################################################

# -- emails and names


LONGEST_DOMAIN = ".".join(["d" * 63, "d" * 63, "d" * 57, "org"])


@pytest.mark.parametrize(
    "given, label, key",
    [
        ("ada@example.com", "ada@example.com", "ada@example.com"),
        ("  Ada@Example.COM\n", "Ada@Example.COM", "ada@example.com"),
        ("a@b.c", "a@b.c", "a@b.c"),
        ("o'brien+tag/x=y@x.org", "o'brien+tag/x=y@x.org", "o'brien+tag/x=y@x.org"),
        ("a.b..c.@x.org", "a.b..c.@x.org", "a.b..c.@x.org"),
        ("jürgen@münchen.de", "jürgen@münchen.de", "jürgen@münchen.de"),
        ("ju\u0308rgen@x.de", "ju\u0308rgen@x.de", "j\u00fcrgen@x.de"),
        ("用户@例え.jp", "用户@例え.jp", "用户@例え.jp"),
        ("a" * 64 + "@x.org", "a" * 64 + "@x.org", "a" * 64 + "@x.org"),
        ("é" * 32 + "@x.org", "é" * 32 + "@x.org", "é" * 32 + "@x.org"),
        (f"a@{LONGEST_DOMAIN}", f"a@{LONGEST_DOMAIN}", f"a@{LONGEST_DOMAIN}"),
        ("a@xn--mnchen-3ya.de", "a@xn--mnchen-3ya.de", "a@xn--mnchen-3ya.de"),
    ],
)
def test_an_email_is_kept_as_written_and_compared_in_nfc_with_a_to_z_folded(
    given, label, key
):
    assert contactapi.clean_email(given) == (label, key)


@pytest.mark.parametrize(
    "one, other",
    [
        ("\u0130@x.org", "i@x.org"),
        ("\u0131@x.org", "i@x.org"),
        ("\u0130@x.org", "i\u0307@x.org"),
        ("\u017f@x.org", "s@x.org"),
        ("ß@x.org", "ss@x.org"),
        ("É@x.org", "é@x.org"),
        ("ｋ@x.org", "k@x.org"),
        ("ﬁ@x.org", "fi@x.org"),
        ("а@x.org", "a@x.org"),
        ("a@Éx.org", "a@éx.org"),
    ],
    ids=ascii,
)
def test_look_alikes_stay_two_addresses(one, other):
    assert contactapi.clean_email(one)[1] != contactapi.clean_email(other)[1]


def test_the_kelvin_sign_is_a_k_because_nfc_itself_makes_it_one():
    """Section 1: `compared after NFC with only A-Z folded to a-z`; NFC comes first."""
    assert contactapi.clean_email("\u212a@x.org")[1] == "k@x.org"


@pytest.mark.parametrize(
    "given, label, key",
    [
        (" Acme ", "Acme", "acme"),
        ("STRASSE", "STRASSE", "strasse"),
        ("Straße", "Straße", "strasse"),
        ("x" * 200, "x" * 200, "x" * 200),
        ("ΑΒΓ", "ΑΒΓ", "αβγ"),
        ("  " + "é" * 200 + "  ", "é" * 200, "é" * 200),
    ],
)
def test_a_companys_name_is_compared_without_case(given, label, key):
    assert contactapi.clean_name(given) == (label, key)


# -- documents


@pytest.mark.parametrize(
    "target, patch, result",
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
    ids=str,
)
def test_merge_patch_gives_the_examples_of_rfc_7396(api, target, patch, result):
    assert contactapi.merge_patch(target, patch) == result
    (ref,) = api.add("ada@example.com", v=target)
    answer = api.merge(ref, {"v": patch})
    assert answer.status_int == 200
    assert answer.json.get("v", "absent") == ("absent" if patch is None else result)


@pytest.mark.parametrize(
    "old, new, changed",
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": True}, ["a"]),
        ({"a": 1}, {"a": 1.0}, ["a"]),
        ({"a": 1.0}, {"a": 1}, ["a"]),
        ({"a": True}, {"a": 1}, ["a"]),
        ({"a": "1"}, {"a": 1}, ["a"]),
        ({"a": "null"}, {"a": None}, ["a"]),
        ({"a": 1.0, "b": [1, {"c": 2}]}, {"a": 1.00, "b": [1, {"c": 2}]}, []),
        ({"a": 0}, {"a": False}, ["a"]),
        ({"a": 0.0}, {"a": -0.0}, ["a"]),
        ({"a": [1]}, {"a": [True]}, ["a"]),
        ({"a": {"b": 1}}, {"a": {"b": 1.0}}, ["a"]),
        ({"a": None}, {}, ["a"]),
        ({}, {"a": None}, ["a"]),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}, ["b", "c"]),
    ],
    ids=str,
)
def test_fields_differ_when_their_json_does(old, new, changed):
    assert contactapi.changed_names(old, new) == changed


# -- ids and times


def test_an_id_is_typeids_spelling_of_a_uuid():
    ref = "con_01h455vb4pex5vsknk084sn02q"
    text = "01890a5d-ac96-774b-bcce-b302099a8057"
    assert hyphenated(ref) == text
    uid = contactapi.parse_id("con", ref)
    assert contactapi.parse_id("con", text) == uid == ref[4:]
    assert contactapi.parse_id("con", text.upper()) == uid
    assert contactapi.parse_id("con", ref.upper()) == uid


def test_an_id_is_a_random_uuid_of_version_4():
    made = [uuid.UUID(hyphenated(f"con_{contactapi.new_uid()}")) for _ in range(50)]
    assert {(one.version, one.variant) for one in made} == {(4, uuid.RFC_4122)}
    assert len(set(made)) == 50


@pytest.mark.parametrize(
    "text",
    [
        "",
        "con_",
        "con_a1b2",
        "con_" + "0" * 25,
        "con_" + "0" * 27,
        "con_8" + "0" * 25,
        "con_" + "0" * 25 + "u",
        "con_" + "0" * 25 + "i",
        "cmp_" + "0" * 26,
        "_" + "0" * 26,
        "0" * 26,
        "con_" + "٠" * 26,
        "con_" + "0" * 25 + "\u212a",
        "con_" + "0" * 26 + "\n",
        "con_" + "0" * 26 + "\0",
        "01890a5dac96774bbcceb302099a8057",
        "{01890a5d-ac96-774b-bcce-b302099a8057}",
        "urn:uuid:01890a5d-ac96-774b-bcce-b302099a8057",
        "01890a5d-ac96-774b-bcce-b302099a805g",
        "01890a5d-ac96-774b-bcce-b302099a80570",
        "01890a5d-ac96-774b-bcceb-302099a8057",
        "con_01890a5d-ac96-774b-bcce-b302099a8057",
    ],
    ids=ascii,
)
def test_anything_else_is_no_id(text):
    assert contactapi.parse_id("con", text) is None


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("2026-07-04", at("2026-07-04T00:00:00")),
        ("2026-07-04T10:00:00Z", at("2026-07-04T10:00:00")),
        ("2026-07-04t10:00:00z", at("2026-07-04T10:00:00")),
        ("2026-07-04T10:00:00", at("2026-07-04T10:00:00")),
        ("2026-07-04T10:00Z", at("2026-07-04T10:00:00")),
        ("2026-07-04T12:00:00+02:00", at("2026-07-04T10:00:00")),
        ("2026-07-04T12:00:00 02:00", at("2026-07-04T10:00:00")),
        ("2026-07-04T04:30:00-0530", at("2026-07-04T10:00:00")),
        ("2026-07-04T10:00:00.5Z", at("2026-07-04T10:00:00") + 0.5),
        ("2026-07-04T10:00:00.000001Z", at("2026-07-04T10:00:00") + 0.000001),
        ("2026-07-04T10:00:00.123456789Z", at("2026-07-04T10:00:00") + 0.123456),
        ("1969-12-31T23:59:59.5Z", -0.5),
        ("2024-02-29", at("2024-02-29T00:00:00")),
    ],
)
def test_a_time_is_iso_8601(text, seconds):
    assert contactapi.parse_time(text) == round(seconds * 1_000_000)


def test_a_time_is_shown_in_whole_seconds_with_a_z():
    assert contactapi.iso(round(at("2026-07-04T10:00:00") * 1_000_000) + 999_999) == (
        "2026-07-04T10:00:00Z"
    )


# -- keys and domains


@pytest.mark.parametrize(
    "kind, prefix",
    [("secret", "ck_secret_"), ("publishable", "ck_pub_"), ("restricted", "ck_live_")],
)
def test_a_token_has_its_prefix_and_at_least_128_random_bits(kind, prefix):
    tokens = [contactapi.new_token(kind) for _ in range(200)]
    assert all(token.startswith(prefix) for token in tokens)
    random_parts = [token[len(prefix) :] for token in tokens]
    alphabet = len(set("".join(random_parts)))
    assert alphabet >= 32 and {len(part) for part in random_parts} == {32}
    assert len(set(tokens)) == 200


DOMAINS = [
    ("example.com", "https://example.com", True),
    ("example.com", "http://example.com", True),
    ("example.com", "https://example.com:8443", True),
    ("example.com", "HTTPS://EXAMPLE.Com", True),
    ("example.com", "https://example.com.", True),
    ("example.com", "capacitor://example.com", True),
    ("example.com", "https://www.example.com", False),
    ("example.com", "https://example.org", False),
    ("example.com", "https://example.com.evil.test", False),
    ("example.com", "https://evilexample.com", False),
    ("example.com", "https://example.com@evil.test", False),
    ("example.com", "https://example.com:443@evil.test", False),
    ("example.com", "https://evil.test/https://example.com", False),
    ("example.com", "https://evil.test?https://example.com", False),
    ("example.com", "https://evil.test#example.com", False),
    ("example.com", "https://example.com\\.evil.test", False),
    ("example.com", "https://example.com%2eevil.test", False),
    ("example.com", "example.com", False),
    ("example.com", "//example.com", False),
    ("example.com", "null", False),
    ("example.com", "", False),
    ("example.com", None, False),
    ("example.com:8080", "https://example.com:8080", True),
    ("example.com:8080", "http://example.com:8080", True),
    ("example.com:8080", "https://example.com", False),
    ("example.com:8080", "https://example.com:80800", False),
    ("example.com:443", "https://example.com", True),
    ("example.com:443", "http://example.com", False),
    ("example.com:443", "http://example.com:443", True),
    ("example.com:80", "http://example.com", True),
    ("example.com:80", "https://example.com", False),
    ("*.example.com", "https://a.example.com", True),
    ("*.example.com", "https://a.b.example.com:99", True),
    ("*.example.com", "https://A.EXAMPLE.COM.", True),
    ("*.example.com", "https://example.com", False),
    ("*.example.com", "https://aexample.com", False),
    ("*.example.com", "https://a.example.com.evil.test", False),
    ("*.example.com:8080", "https://a.example.com:8080", True),
    ("*.example.com:8080", "https://a.example.com", False),
    ("localhost", "http://localhost", True),
    ("localhost", "http://LOCALHOST:3000", True),
    ("localhost", "http://127.0.0.1:5000", True),
    ("localhost", "http://127.0.0.1", True),
    ("localhost", "http://[::1]:5000", True),
    ("localhost", "http://[::1]", True),
    ("localhost", "http://127.0.0.2", False),
    ("localhost", "http://[::2]", False),
    ("localhost", "http://localhost.evil.test", False),
    ("localhost:3000", "http://localhost:3000", True),
    ("localhost:3000", "http://localhost:4000", False),
    ("127.0.0.1", "http://127.0.0.1:5000", True),
    ("[::1]", "http://[::1]:5000", True),
    ("[2001:db8::1]:8080", "http://[2001:DB8::1]:8080", True),
    ("[2001:db8::1]:8080", "http://[2001:db8::1]", False),
    ("*", "https://anything.test", True),
    ("*", "null", True),
    ("*", "", True),
    ("*", None, True),
    ("https://example.com/path?x=1#y", "https://example.com:8443", True),
    ("http://example.com:8080/", "https://example.com:8080", True),
    ("http://example.com:8080/", "https://example.com", False),
    ("http://localhost:3000", "http://localhost:3000", True),
    ("  EXAMPLE.com.  ", "https://example.com", True),
    ("münchen.de", "https://xn--mnchen-3ya.de", True),
    ("MÜNCHEN.DE", "https://xn--mnchen-3ya.de", True),
    ("mu\u0308nchen.de", "https://xn--mnchen-3ya.de", True),
    ("xn--mnchen-3ya.de", "https://XN--MNCHEN-3YA.de", True),
    ("münchen.de", "https://munchen.de", False),
    ("*.bücher.example", "https://shop.xn--bcher-kva.example", True),
    ("例え.jp", "https://xn--r8jz45g.jp", True),
    ("straße.de", "https://xn--strae-oqa.de", True),
    ("straße.de", "https://strasse.de", False),
]


@pytest.mark.parametrize("rule, origin, allowed", DOMAINS, ids=ascii)
def test_a_domain_lock_opens_for_its_own_pages_only(rule, origin, allowed):
    rules = (contactapi.clean_domain(rule),)
    assert contactapi.origin_allowed(rules, origin) is allowed


def test_a_unicode_origin_is_its_punycode():
    rules = ("xn--mnchen-3ya.de",)
    assert contactapi.origin_allowed(rules, "https://münchen.de") is True
    assert contactapi.origin_allowed(rules, "https://MU\u0308NCHEN.de:99") is True


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ".",
        "exa mple.com",
        "example..com",
        "example.com:port",
        "example.com:",
        "example.com:8080:9090",
        "*.",
        "**",
        "*example.com",
        "a.*.com",
        "*.*.com",
        "example.com@evil.test",
        "user:pw@example.com",
        "https://",
        "https://user@example.com/",
        "example.com, example.org",
        "2001:db8::1",
        "x" * 64 + ".com",
        "example.com\0",
        "<script>",
    ],
    ids=ascii,
)
def test_what_is_no_domain_makes_no_key(api, text):
    with pytest.raises(contactapi.InvalidRequest) as caught:
        api.key("publishable", domains=("example.com", text))
    assert caught.value.param == "domains"
    assert len(api.services.keys.list()) == 1


# -- search


@pytest.mark.parametrize(
    "text, words",
    [
        ("", []),
        ("   ", []),
        ("Ada", ["ada"]),
        ("  Ada\tLove\u3000lace ", ["ada", "love", "lace"]),
        ("STRAßE", ["strasse"]),
        ("e\u0301", ["é"]),
        ("% _ a%", ["%", "_", "a%"]),
        ("x" * 100, ["x" * 100]),
        ("a b c d e", list("abcde")),
    ],
    ids=ascii,
)
def test_a_search_is_split_into_folded_words(text, words):
    assert contactapi.search_words(text) == words


###############################################################################
# Storage #####################################################################
###############################################################################


def files_of(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def in_job(api, sql):
    """What the writer's connection answers."""
    return api.services.store.write(lambda: api.services.store.row(sql))


def test_the_database_is_in_wal_mode_and_synchronous_full(api):
    assert api.services.store.row("PRAGMA journal_mode") == ("wal",)
    assert in_job(api, "PRAGMA journal_mode") == ("wal",)
    assert in_job(api, "PRAGMA synchronous") == (2,)


def test_what_is_deleted_is_overwritten_and_foreign_keys_hold(api):
    assert in_job(api, "PRAGMA secure_delete") == (1,)
    assert in_job(api, "PRAGMA foreign_keys") == (1,)
    assert api.services.store.row("PRAGMA foreign_keys") == (1,)


def test_every_file_of_the_database_has_mode_0600(make, tmp_path):
    before = os.umask(0)
    try:
        api = make()
        api.add("ada@example.com")
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert set(modes) >= {"contacts.db", "contacts.db-wal"}
    assert set(modes.values()) == {0o600}


def test_what_was_stored_is_there_after_a_restart(make):
    first = make()
    (ref,) = first.add("ada@example.com", plan="pro")
    first.close()
    second = make(like=first)
    answer = second.get(f"/v1/contacts/{ref}", key=first.secret)
    assert shows(answer, {"id": ref, "email": "ada@example.com", "plan": "pro"})


def test_the_schema_version_is_recorded(api):
    version = api.services.store.row("PRAGMA user_version")
    assert version == (len(contactapi.MIGRATIONS),)


def test_a_newer_schema_is_refused_and_left_alone(make, tmp_path):
    make().close()
    newer = len(contactapi.MIGRATIONS) + 1
    with contextlib.closing(sqlite3.connect(tmp_path / "contacts.db")) as other:
        other.execute(f"PRAGMA user_version = {newer}")
    with pytest.raises(Mistake, match=r"contacts\.db") as caught:
        make()
    assert "\n" not in str(caught.value)
    with contextlib.closing(sqlite3.connect(tmp_path / "contacts.db")) as other:
        assert other.execute("PRAGMA user_version").fetchone() == (newer,)


def test_a_database_of_something_else_is_refused_and_left_alone(make, tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "contacts.db")) as other:
        other.execute("CREATE TABLE theirs (id)")
    before = (tmp_path / "contacts.db").read_bytes()
    with pytest.raises(Mistake, match=r"contacts\.db"):
        make()
    assert (tmp_path / "contacts.db").read_bytes() == before


def test_a_database_of_something_else_with_our_version_is_refused(make, tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "contacts.db")) as other:
        other.execute("CREATE TABLE theirs (id)")
        other.execute(f"PRAGMA user_version = {len(contactapi.MIGRATIONS)}")
    with pytest.raises(Mistake, match=r"contacts\.db"):
        make()


def test_a_file_that_is_no_database_is_refused(make, tmp_path):
    (tmp_path / "contacts.db").write_bytes(b"no database at all, but long enough" * 99)
    with pytest.raises(Mistake, match=r"contacts\.db"):
        make()


def test_a_folder_that_is_not_there_is_refused(make, tmp_path):
    with pytest.raises(Mistake, match=r"nowhere/contacts\.db"):
        make(file="nowhere/contacts.db")
    assert not (tmp_path / "nowhere").exists()


@contextlib.contextmanager
def a_busy_writer(store):
    """Within, the writer thread stands inside an open write transaction."""
    inside, leave = threading.Event(), threading.Event()

    def work():
        inside.set()
        assert leave.wait(20)

    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(store.write, work)
        assert inside.wait(20)
        try:
            yield
        finally:
            leave.set()
        held.result()


@pytest.fixture
def noted(api):
    """A store with a table of its own, into which the jobs below write."""
    store = api.services.store
    store.write(lambda: store.run("CREATE TABLE jotting (name TEXT)"))
    return store


def notes(store):
    return [name for (name,) in store.rows("SELECT name FROM jotting ORDER BY rowid")]


def waiting_jobs(store, pool, works):
    """These jobs, all queued behind a busy writer, in this order."""
    with a_busy_writer(store):
        futures = []
        for number, work in enumerate(works, 1):
            futures.append(pool.submit(store.write, work))
            deadline = time.monotonic() + 20
            while store.queue.qsize() < number and time.monotonic() < deadline:
                time.sleep(0.001)
    return futures


def inserted(store, name):
    def work():
        store.run("INSERT INTO jotting VALUES (?)", (name,))
        return name

    return work


def failing(store, name):
    def work():
        inserted(store, name)()
        raise LookupError(name)

    return work


def test_what_has_queued_up_is_committed_together(noted):
    said, names = [], [f"w{n}" for n in range(20)]

    def listen():
        noted.db.connection().set_trace_callback(said.append)

    noted.write(listen)
    with ThreadPoolExecutor(20) as pool:
        futures = waiting_jobs(noted, pool, [inserted(noted, name) for name in names])
        assert [future.result() for future in futures] == names
    commits = said.count("COMMIT")
    assert 2 <= commits <= 3  # listen's own may be heard, the busy one's, the twenty's
    assert notes(noted) == names


def test_a_jobs_exception_undoes_that_job_alone(noted):
    store = noted
    with ThreadPoolExecutor(3) as pool:
        works = [inserted(store, "a"), failing(store, "b"), inserted(store, "c")]
        first, second, third = waiting_jobs(store, pool, works)
        assert (first.result(), third.result()) == ("a", "c")
        with pytest.raises(LookupError, match="b"):
            second.result()
    assert notes(store) == ["a", "c"]


def test_a_job_that_fails_halfway_and_alone_leaves_nothing_behind(noted):
    with pytest.raises(LookupError, match="a"):
        noted.write(failing(noted, "a"))
    noted.write(inserted(noted, "b"))
    assert notes(noted) == ["b"]


def hiding_a_failure(store, work):
    """Does this work, then one that fails halfway and one that fails at once, and goes
    on as if they had not."""

    def both(*args):
        result = work(*args)
        for wrong in (failing(store, "hidden"), [].pop):
            with contextlib.suppress(LookupError):
                store.write(wrong)
        return result

    return both


@pytest.mark.parametrize("others", [0, 2])
def test_what_was_undone_is_not_said_to_be_done(noted, others):
    with ThreadPoolExecutor(3) as pool:
        works = [hiding_a_failure(noted, inserted(noted, "a"))]
        works += [inserted(noted, f"n{n}") for n in range(others)]
        first, *rest = waiting_jobs(noted, pool, works)
        with pytest.raises(contactapi.InternalError):
            first.result()
        assert [future.result() for future in rest] == [f"n{n}" for n in range(others)]
    assert notes(noted) == [f"n{n}" for n in range(others)]


def test_a_job_that_fails_before_it_writes_undoes_nothing(noted):
    said = []

    def refused():
        noted.db.connection().set_trace_callback(said.append)
        raise LookupError

    with ThreadPoolExecutor(3) as pool:
        works = [inserted(noted, "a"), refused, inserted(noted, "b")]
        first, second, third = waiting_jobs(noted, pool, works)
        assert (first.result(), third.result()) == ("a", "b")
        with pytest.raises(LookupError):
            second.result()
    assert "ROLLBACK" not in said
    assert notes(noted) == ["a", "b"]


def test_a_refused_request_does_not_undo_those_committed_with_it(make):
    api = make(CONTACTAPI_MAX_BODY="1024")
    store = api.services.store
    api.add("big@example.com", a="x" * 600)
    with ThreadPoolExecutor(3) as pool:
        with a_busy_writer(store):
            bodies = [
                {"email": "one@example.com"},
                {"email": "big@example.com", "b": "x" * 600},
                {"email": "two@example.com"},
            ]
            futures = [pool.submit(api.post, body) for body in bodies]
            deadline = time.monotonic() + 20
            while store.queue.qsize() < 3 and time.monotonic() < deadline:
                time.sleep(0.001)
        assert [f.result().status_int for f in futures] == [201, 413, 201]
    assert set(api.emails()) == {
        "big@example.com",
        "one@example.com",
        "two@example.com",
    }


def test_an_answered_write_is_seen_by_other_processes(api, tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "contacts.db")) as other:
        api.add("ada@example.com")
        assert other.execute("SELECT label FROM contact").fetchall() == [
            ("ada@example.com",)
        ]


def test_sixteen_threads_and_one_email_make_one_contact(free):
    with ThreadPoolExecutor(16) as pool:
        bodies = [{"email": "ada@example.com", f"field{n}": n} for n in range(16)]
        answers = list(pool.map(free.post, bodies))
    assert {answer.status_int for answer in answers} == {201}
    assert len({answer.json["id"] for answer in answers}) == 1
    listed = free.get("/v1/contacts").json
    assert (listed["total"], len(listed["data"])) == (1, 1)
    assert {f"field{n}": n for n in range(16)}.items() <= listed["data"][0].items()


def test_two_processes_on_one_file_never_see_it_locked(make):
    one = make(CONTACTAPI_RATE_LIMIT="off")
    two = make(like=one, CONTACTAPI_RATE_LIMIT="off")

    def post(n):
        return (one, two)[n % 2].post({"email": f"a{n // 4}@x.org", f"f{n % 4}": n})

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(post, range(160)))
    assert {answer.status_int for answer in answers} == {201}
    listed = two.get("/v1/contacts?page_size=100").json
    assert listed["total"] == 40
    assert {len(contact) for contact in listed["data"]} == {4 + 4}


def test_reads_do_not_wait_for_an_open_write(api):
    (ref,) = api.add("ada@example.com")
    began = time.monotonic()
    with a_busy_writer(api.services.store):
        assert api.emails() == ["ada@example.com"]
        assert api.get(f"/v1/contacts/{ref}").status_int == 200
        assert api.get("/healthz", key=None).json == {"status": "ok"}
    assert time.monotonic() - began < 5


def test_reads_do_not_wait_for_the_write_of_another_process(api, tmp_path):
    api.add("ada@example.com")
    path = tmp_path / "contacts.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM contact")
        assert api.emails() == ["ada@example.com"]
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(api.post, {"email": "bob@example.com"})
            time.sleep(0.05)
            assert not late.done()
            other.execute("ROLLBACK")
            assert late.result().status_int == 201


def test_on_a_full_disk_writes_are_503_reads_go_on_and_nothing_is_lost(api):
    (ref,) = api.add("ada@example.com")
    store = api.services.store

    def fill():
        (pages,) = store.row("PRAGMA page_count")
        store.row(f"PRAGMA max_page_count = {pages}")

    store.write(fill)
    large = {"email": "bob@example.com", "note": "x" * 60_000}
    assert failure(api.post(large)) == (503, "unavailable", None)
    assert api.emails() == ["ada@example.com"]
    assert api.get(f"/v1/contacts/{ref}").status_int == 200
    # the limit was the lost connection's own: the disk has room again
    assert api.post(large).status_int == 201
    assert api.get("/v1/contacts").json["total"] == 2


def test_a_closed_store_is_503_and_not_a_hanging_request(api):
    api.close()
    assert failure(api.post(ADA)) == (503, "unavailable", None)
    assert failure(api.get("/healthz", key=None)) == (503, "unavailable", None)


###############################################################################
# Services ####################################################################
###############################################################################

# -- keys


def caller_of(api, kind, *permissions):
    return api.services.keys.find(api.key(kind, *permissions))


@pytest.mark.parametrize(
    "by, wanted, allowed",
    [
        (("secret",), ("secret",), True),
        (("secret",), ("publishable",), True),
        (("secret",), ("restricted", "keys:write"), True),
        (("restricted", "keys:write"), ("secret",), False),
        (("restricted", "keys:write"), ("publishable",), False),
        (("restricted", "keys:write"), ("restricted", "contacts:read"), False),
        (("restricted", "keys:write"), ("restricted", "keys:write"), True),
        (("restricted", "keys:write"), ("restricted", "keys:read"), False),
        (("restricted", "keys:write", "contacts:write"), ("publishable",), True),
        (("restricted", *contactapi.PERMISSIONS), ("secret",), False),
        (
            ("restricted", "contacts:read", "contacts:write"),
            ("restricted", "contacts:read", "calls:read"),
            False,
        ),
    ],
)
def test_a_key_makes_changes_and_revokes_only_what_it_could_have_made(
    api, by, wanted, allowed
):
    keys, (kind, *permissions) = api.services.keys, wanted
    domains = ("example.com",) if kind == "publishable" else ()
    by, there = caller_of(api, *by), caller_of(api, kind, *permissions)
    acts = [
        lambda: keys.create(
            api.workspace, kind, "n", tuple(permissions), domains, by=by
        ),
        lambda: keys.update(there.ref, {"name": "renamed"}, by=by),
        lambda: keys.revoke(there.ref, by=by),
    ]
    for act in acts:
        if allowed:
            act()
        else:
            with pytest.raises(contactapi.Forbidden):
                act()
    names = [key.name for key in keys.list()]
    assert len(names) == 3 and ("n" in names) is allowed and "renamed" not in names


@pytest.mark.parametrize(
    "kind, permissions, options, param",
    [
        ("imaginary", (), {}, "type"),
        ("publishable", (), {"domains": ()}, "domains"),
        ("secret", (), {"domains": ("example.com",)}, "domains"),
        ("restricted", ("contacts:read",), {"domains": ("a.com",)}, "domains"),
        ("restricted", (), {}, "permissions"),
        ("restricted", ("contacts:reed",), {}, "permissions"),
        ("restricted", ("everything",), {}, "permissions"),
        ("restricted", ("contacts:submit",), {}, "permissions"),
        ("secret", ("contacts:read",), {}, "permissions"),
        ("publishable", ("contacts:read",), {}, "permissions"),
        ("publishable", (), {"existing": "overwrite"}, "existing"),
        ("secret", (), {"name": 5}, "name"),
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(api, kind, permissions, options, param):
    with pytest.raises(contactapi.InvalidRequest) as caught:
        api.key(kind, *permissions, **options)
    assert caught.value.param == param
    assert len(api.services.keys.list()) == 1


def test_a_key_shows_the_ends_of_its_token_and_keeps_its_hash_only(api, tmp_path):
    tokens = [
        api.secret,
        api.key("publishable"),
        api.key("restricted", "contacts:read", name="reader"),
    ]
    for token in tokens:
        api.get("/v1/contacts", key=token, headers=PAGE)
    shown = [key.hint for key in api.services.keys.list()]
    assert [hint[-4:] for hint in shown] == [token[-4:] for token in tokens]
    while_open = files_of(tmp_path)
    api.close()
    for content in (while_open, files_of(tmp_path)):
        for token in tokens:
            assert token.encode() not in content
            assert token.rpartition("_")[2].encode() not in content
            assert contactapi.token_hash(token).encode() in content


def test_a_revoked_key_is_refused_at_once(api):
    token = api.key("restricted", "contacts:read")
    assert api.get("/v1/contacts", key=token).status_int == 200
    api.services.keys.revoke(api.ref(token))
    assert failure(api.get("/v1/contacts", key=token))[:2] == (401, "unauthorized")


def test_a_revoked_key_is_refused_in_another_process_within_5_seconds(make):
    one = make()
    two = make(like=one)
    token = one.key("restricted", "contacts:read")
    assert two.get("/v1/contacts", key=token).status_int == 200
    one.services.keys.revoke(one.ref(token))
    one.turn(5)
    assert two.get("/v1/contacts", key=token).status_int == 401


def test_a_clock_that_is_set_back_does_not_keep_a_revoked_key_alive(make):
    one = make()
    two = make(like=one)
    token = one.key("restricted", "contacts:read")
    assert two.get("/v1/contacts", key=token).status_int == 200
    one.services.keys.revoke(one.ref(token))
    one.ticker.now += 5
    one.clock.now -= 3600
    assert two.get("/v1/contacts", key=token).status_int == 401


def test_a_new_key_works_at_once_in_another_process(make):
    one = make()
    two = make(like=one)
    assert two.get("/v1/contacts", key="ck_live_unknown").status_int == 401
    for kind in ("secret", "restricted"):
        token = one.key(kind, *(["contacts:read"] if kind == "restricted" else []))
        assert two.get("/v1/contacts", key=token).status_int == 200


def test_changed_domains_hold_at_once_here_and_within_5_seconds_elsewhere(make):
    one = make()
    two = make(like=one)
    token = one.key("publishable", domains=("example.org",))
    assert two.post(ADA, key=token, headers=PAGE).status_int == 403
    one.services.keys.update(one.ref(token), {"domains": ["example.com"]})
    assert one.post(ADA, key=token, headers=PAGE).status_int == 201
    one.turn(5)
    assert two.post(ADA, key=token, headers=PAGE).status_int == 201


def test_the_last_use_is_seen_at_once_and_written_later(api, tmp_path):
    def on_disk():
        with contextlib.closing(sqlite3.connect(tmp_path / "contacts.db")) as other:
            return other.execute("SELECT last_used_at FROM key").fetchall()

    assert [key.last_used_at for key in api.services.keys.list()] == [None]
    api.turn(7)
    used = round(api.clock.now * 1_000_000)
    assert api.get("/v1/contacts").status_int == 200
    assert [key.last_used_at for key in api.services.keys.list()] == [used]
    assert on_disk() == [(None,)]
    api.services.keys.save_last_used()
    assert on_disk() == [(used,)]
    api.turn(7)
    api.get("/v1/contacts")
    api.close()
    assert on_disk() == [(used + 7_000_000,)]


def test_the_last_use_is_on_the_disk_within_60_seconds():
    assert contactapi.Housekeeper.SECONDS < 60


def test_a_request_that_reads_writes_nothing(api, tmp_path):
    api.add("ada@example.com")
    with contextlib.closing(sqlite3.connect(tmp_path / "contacts.db")) as other:
        before = other.execute("PRAGMA data_version").fetchone()
        for _ in range(20):
            assert api.get("/v1/contacts").status_int == 200
        assert other.execute("PRAGMA data_version").fetchone() == before


ENV_KEY = "ck_secret_" + "operators-own-choice-0123"


def test_the_environments_key_is_valid_while_it_is_set(make):
    with_key = make(CONTACTAPI_SECRET_KEY=ENV_KEY)
    without = make(like=with_key)
    assert with_key.post(ADA, key=ENV_KEY).status_int == 201
    assert with_key.get("/v1/contacts", key=ENV_KEY).json["total"] == 1
    assert without.get("/v1/contacts", key=ENV_KEY).status_int == 401


@pytest.mark.parametrize("arguments", [["update", "env", {}], ["revoke", "env"]])
def test_the_environments_key_cannot_be_changed(make, arguments):
    api = make(CONTACTAPI_SECRET_KEY=ENV_KEY)
    with pytest.raises(contactapi.Conflict):
        getattr(api.services.keys, arguments[0])(*arguments[1:])
    assert api.get("/v1/contacts", key=ENV_KEY).status_int == 200


def test_the_environments_key_is_nowhere_in_the_database(make, tmp_path):
    api = make(CONTACTAPI_SECRET_KEY=ENV_KEY)
    api.post(ADA, key=ENV_KEY)
    api.close()
    assert ENV_KEY.encode() not in files_of(tmp_path)


# -- records


def test_fifty_contacts_of_one_instant_keep_their_order(free):
    emails = [f"a{n}@x.org" for n in range(50)]
    free.add(*emails)
    times = free.services.store.rows("SELECT created_at FROM contact ORDER BY id")
    now = round(free.clock.now * 1_000_000)
    assert times == [(now + n,) for n in range(50)]
    for _ in range(2):
        assert free.emails("?page_size=100") == emails[::-1]
    pages = [free.emails(f"?page={n}&page_size=7") for n in range(1, 9)]
    assert sum(pages, []) == emails[::-1]


def test_a_second_that_is_used_up_goes_on_in_the_next(free):
    start = round(free.clock.now * 1_000_000)
    free.clock.now += 0.999999
    free.add("a@x.org", "b@x.org", "c@x.org")
    free.clock.now = start / 1_000_000 + 1
    free.add("d@x.org")
    times = free.services.store.rows("SELECT created_at FROM contact ORDER BY id")
    assert [moment - start for (moment,) in times] == [
        999_999,
        1_000_000,
        1_000_001,
        1_000_002,
    ]


def test_contacts_and_companies_do_not_take_each_others_places(api):
    api.add("ada@example.com")
    api.post({"name": "Acme"}, "/v1/companies")
    now = round(api.clock.now * 1_000_000)
    for table in ("contact", "company"):
        row = api.services.store.row(f"SELECT created_at FROM {table}")
        assert row == (now,)


def events(api):
    return api.services.store.rows(
        "SELECT type, changed, submitted IS NOT NULL FROM event ORDER BY id"
    )


def test_every_change_is_in_the_event_log_and_nothing_else(api):
    (ref,) = api.add("ada@example.com", plan="pro")
    api.patch(ref, {})
    api.patch(ref, {"plan": "pro"})
    api.patch(ref, {"plan": "max"})
    api.patch(ref, {"email": "broken"})
    api.post({"email": "Ada@example.com", "city": "Ulm"}, key=api.key("publishable"))
    api.post({"email": "Ada@example.com", "city": "Ulm"}, headers=PAGE)
    public = api.key("publishable")
    api.post({"email": "ADA@example.com", "city": "Bonn"}, key=public, headers=PAGE)
    assert events(api) == [
        ("contact.created", '["email","plan"]', 0),
        ("contact.updated", '["plan"]', 0),
        ("contact.updated", '["email","city"]', 0),
        ("contact.updated", '["city"]', 1),
    ]
    assert api.ask("DELETE", f"/v1/contacts/{ref}").status_int == 200
    assert events(api) == [("contact.deleted", "[]", 0)]


###############################################################################
# Limiter #####################################################################
###############################################################################


def test_a_window_takes_exactly_its_limit_in_any_60_seconds():
    ticker = Clock(1000.0)
    window = contactapi.SlidingWindow(3, 60, ticker)
    assert [window.take("a") for _ in range(2)] == [(True, 2, 60), (True, 1, 60)]
    ticker.now = 1030.0
    assert window.take("a") == (True, 0, 30)
    assert window.take("a") == (False, 0, 30)
    ticker.now = 1059.999
    assert window.take("a") == (False, 0, 1)
    ticker.now = 1060.0
    assert [window.take("a").allowed for _ in range(3)] == [True, True, False]
    assert window.take("b").allowed is True


def test_a_window_agrees_with_a_plain_list_of_times():
    random.seed(7)
    ticker = Clock(5000.0)
    window, accepted = contactapi.SlidingWindow(5, 10, ticker), []
    for _ in range(3000):
        ticker.now += random.choice([0, 0.25, 0.5, 1, 2.5, 10])
        accepted = [moment for moment in accepted if moment + 10 > ticker.now]
        standing = window.take("a")
        assert standing.allowed is (len(accepted) < 5)
        if standing.allowed:
            accepted.append(ticker.now)
        assert standing.remaining == 5 - len(accepted)


def test_retry_after_is_honest_and_as_short_as_whole_seconds_allow():
    random.seed(11)
    ticker = Clock(123456.789)
    window = contactapi.SlidingWindow(4, 60, ticker)
    refused = 0
    for _ in range(3000):
        ticker.now += random.random() * 20
        standing = window.take("a")
        if not standing.allowed:
            refused += 1
            began = ticker.now
            ticker.now = began + standing.seconds - 1.001
            assert standing.seconds == 1 or not window.look("a").allowed
            ticker.now = began + standing.seconds
            assert window.take("a").allowed
    assert refused > 100


def test_a_refused_request_does_not_count():
    ticker = Clock(1000.0)
    window = contactapi.SlidingWindow(2, 60, ticker)
    for second in range(60):
        ticker.now = 1000.0 + second
        window.take("a")
    ticker.now = 1061.0
    assert [window.take("a").allowed for _ in range(3)] == [True, True, False]


def test_above_1000_the_window_may_count_in_hundredths_but_never_too_many():
    random.seed(13)
    ticker, accepted = Clock(10_000.0), []
    window = contactapi.SlidingWindow(2000, 60, ticker)
    for _ in range(20_000):
        ticker.now += random.random() * 0.04
        standing = window.take("a")
        if standing.allowed:
            accepted.append(ticker.now)
    for first, last in zip(accepted, accepted[2000:]):
        assert last - first >= 60
    assert len(accepted) > 2000
    assert len(window.windows["a"].times) <= 102
    ticker.now += standing.seconds
    assert window.take("a").allowed


def test_a_window_of_a_hundred_thousand_addresses_stays_small():
    tracemalloc.start()
    try:
        ticker = Clock(1000.0)
        window = contactapi.SlidingWindow(100, 60, ticker)
        for number in range(100_000):
            ticker.now += 0.0001
            window.take(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(window.windows) <= 20_000
    assert used < 15_000_000


def test_past_its_room_a_window_forgets_those_idle_longest():
    ticker = Clock(1000.0)
    window = contactapi.SlidingWindow(1, 60, ticker, room=3)
    for who in "abc":
        ticker.now += 1
        window.take(who)
    ticker.now += 1
    assert window.take("a").allowed is False
    window.take("d")
    assert set(window.windows) == {"c", "a", "d"}


def test_a_window_that_has_emptied_is_forgotten():
    ticker = Clock(1000.0)
    window = contactapi.SlidingWindow(1, 60, ticker)
    for number in range(50):
        window.take(str(number))
    ticker.now += 61
    window.take("a")
    assert set(window.windows) == {"a"}


def test_sixteen_threads_are_let_through_exactly_as_often_as_the_limit_says():
    window = contactapi.SlidingWindow(100, 60, Clock(1000.0))
    with ThreadPoolExecutor(16) as pool:
        standings = list(pool.map(window.take, ["a"] * 400))
    assert sum(standing.allowed for standing in standings) == 100


###############################################################################
# HTTP core ###################################################################
###############################################################################

# -- keys as they come in


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer {}"},
        {"Authorization": "bearer {}"},
        {"Authorization": "BEARER {}"},
        {"Authorization": "Bearer  {} "},
        {"X-Api-Key": "{}"},
        {"x-api-key": " {} "},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["contacts", "companies"])
def test_a_key_comes_as_bearer_or_as_x_api_key(api, headers, kind):
    filled = {name: value.format(api.secret) for name, value in headers.items()}
    answer = api.get(f"/v1/{kind}", key=None, headers=filled)
    assert (answer.status_int, answer.json["data"]) == (200, [])


BAD_KEYS = [
    {},
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer "},
    {"Authorization": "Bearer x"},
    {"Authorization": "{}"},
    {"Authorization": "Basic {}"},
    {"Authorization": "Token {}"},
    {"Authorization": "Bearer{}"},
    {"Authorization": "Bearer {}x"},
    {"Authorization": "Bearer {} {}"},
    {"Authorization": "Bearer {}, Bearer {}"},
    {"Authorization": 'Bearer "{}"'},
    {"Authorization": "Bearer ck_secret_"},
    {"Authorization": "Bearer ck_secret_" + "0" * 32},
    {"Authorization": "Bearer " + "k" * 8192},
    {"Authorization": "Bearer ck_secret_\xff\xfe\x80"},
    {"Authorization": "Bearer ck_secret_" + "\xc3\xa9" * 4096},
    {"Authorization": "Bearer ' OR 1=1 --"},
    {"Authorization": "Bearer {} ", "CUT": "1"},
    {"X-Api-Key": ""},
    {"X-Api-Key": "Bearer {}"},
    {"X-Api-Key": "k" * 8192},
    {"X-Api-Key": "\xff" * 100},
]


@pytest.mark.parametrize("headers", BAD_KEYS, ids=lambda h: ascii(h)[:60])
def test_without_a_valid_key_every_answer_is_the_same_401(api, headers):
    token = api.secret[:-1] if headers.get("CUT") else api.secret
    filled = {
        name: value.replace("{}", token)
        for name, value in headers.items()
        if name != "CUT"
    }
    answer = api.get("/v1/contacts", key=None, headers=filled)
    assert failure(answer) == (401, "unauthorized", None)
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.body == api.get("/v1/contacts", key=None).body


@pytest.mark.parametrize("kind", ["secret", "publishable", "restricted"])
def test_a_revoked_key_gets_the_same_401(api, kind):
    token = api.key(kind, *(["contacts:read"] if kind == "restricted" else []))
    api.services.keys.revoke(api.ref(token))
    answer = api.post(ADA, key=token, headers=PAGE)
    assert failure(answer) == (401, "unauthorized", None)
    assert answer.body == api.get("/v1/contacts", key=None).body


def test_nothing_is_visible_across_workspaces(api):
    (ref,) = api.add("ada@example.com")
    other = api.key("secret", workspace="other")
    path = f"/v1/contacts/{ref}"
    assert failure(api.get(path, key=other)) == (404, "not_found", None)
    assert api.ask("PATCH", path, {"a": 1}, key=other).status_int == 404
    assert api.ask("DELETE", path, key=other).status_int == 404
    assert api.get("/v1/contacts", key=other).json["total"] == 0
    assert api.get("/v1/contacts?email=ada@example.com", key=other).json["data"] == []
    theirs = api.post(ADA, key=other)
    assert theirs.status_int == 201 and theirs.json["id"] != ref
    assert "name" not in api.get(path).json
    assert api.get("/v1/contacts").json["total"] == 1


# -- the permission table, made from the routes

OPEN = {"/healthz", "/", "/docs", "/openapi.json", "/llms.txt", "/f", "/f/<key>"}
SIGNED = "/api/calls/<ref>/twilio"  # Twilio's own signature stands for a key
KINDS_OF_KEY = ["secret", "publishable", *contactapi.PERMISSIONS]
VERBS = [
    ("GET", "/v1/{0}", "{0}:read"),
    ("POST", "/v1/{0}", "{0}:write"),
    ("GET", "/v1/{0}/<ref>", "{0}:read"),
    ("PATCH", "/v1/{0}/<ref>", "{0}:write"),
    ("DELETE", "/v1/{0}/<ref>", "{0}:write"),
]


def filled_in(rule):
    return re.sub(r"<[^>]+>", UNKNOWN, rule)


def guarded_routes(app):
    """(method, rule, needs, public) of each route that takes a key."""
    rows = [(r.method, r.rule, r.config) for r in app.routes]
    return [
        (method, rule, config["needs"], config.get("public", False))
        for method, rule, config in rows
        if config.get("needs") is not None
    ]


def test_every_route_names_its_permissions_or_is_open_to_all(api):
    rows = [(r.method, r.rule, r.config.get("needs")) for r in api.app.routes]
    unguarded = {rule for _, rule, needs in rows if needs is None}
    assert unguarded <= {*OPEN, SIGNED}
    known = {*contactapi.PERMISSIONS, "everything"}
    unknown = [row for row in rows if row[2] is not None and not known >= set(row[2])]
    assert unknown == []


def test_whatever_changes_something_needs_more_than_reading(api):
    only_reading = [
        (method, rule)
        for method, rule, needs, _ in guarded_routes(api.app)
        if method not in ("GET", "HEAD") and rule != "/mcp"
        if all(name.endswith(":read") for name in needs)
    ]
    assert only_reading == []


def test_a_publishable_key_is_let_in_at_one_route_only(api):
    public = [row[:2] for row in guarded_routes(api.app) if row[3]]
    assert public == [("POST", "/v1/contacts")]


@pytest.mark.parametrize("kind", ["contacts", "companies"])
def test_the_five_verbs_need_the_permissions_of_the_contract(api, kind):
    needs = {row[:2]: row[2] for row in guarded_routes(api.app)}
    for method, rule, permission in VERBS:
        assert set(needs[method, rule.format(kind)]) == {permission.format(kind)}


@pytest.mark.parametrize("key", KINDS_OF_KEY)
def test_a_key_passes_exactly_the_routes_that_its_permissions_name(free, key):
    kind = key if key in ("secret", "publishable") else "restricted"
    token = free.key(kind, *([key] if kind == "restricted" else []))
    for method, rule, needs, _ in guarded_routes(free.app):
        body = None if method == "GET" else {}
        answer = free.ask(method, filled_in(rule), body, key=token, headers=PAGE)
        may = {
            "secret": True,
            "publishable": (method, rule) == ("POST", "/v1/contacts"),
            "restricted": set(needs) == {key},
        }[kind]
        where = f"{method} {rule}: {answer.status}"
        assert answer.status_int not in (401, 405, 429), where
        assert (answer.status_int != 403) is may, where


@pytest.mark.parametrize("key", [None, "ck_secret_unknown"])
def test_without_a_key_every_route_that_needs_one_is_401(free, key):
    for method, rule, _, _ in guarded_routes(free.app):
        body = None if method == "GET" else {}
        answer = free.ask(method, filled_in(rule), body, key=key)
        assert answer.status_int == 401, f"{method} {rule}"


# -- origins


@pytest.mark.parametrize(
    "domains, headers, status",
    [
        ("example.com", {"Origin": "https://example.com"}, 201),
        ("example.com", {"Origin": "https://evil.test"}, 403),
        ("example.com", {"Origin": "null"}, 403),
        ("example.com", {}, 403),
        ("example.com", {"Referer": "https://example.com/page?x=1"}, 201),
        ("example.com", {"Referer": "https://evil.test/?https://example.com"}, 403),
        ("example.com", {"Origin": "null", "Referer": "https://example.com/"}, 403),
        (
            "example.com",
            {"Origin": "https://evil.test", "Referer": "https://example.com/"},
            403,
        ),
        (
            "example.com",
            {"Origin": "https://example.com", "Referer": "https://evil.test/"},
            201,
        ),
        ("example.com example.org", {"Origin": "https://example.org"}, 201),
        ("münchen.de", {"Origin": "https://xn--mnchen-3ya.de"}, 201),
        ("münchen.de", {"Origin": "https://münchen.de".encode().decode("l1")}, 201),
        ("localhost", {"Origin": "http://127.0.0.1:5500"}, 201),
        ("localhost", {"Origin": "http://[::1]:5500"}, 201),
        ("*", {"Origin": "null"}, 201),
        ("*", {}, 201),
    ],
    ids=str,
)
def test_a_publishable_key_works_on_its_domains_only(api, domains, headers, status):
    token = api.key("publishable", domains=tuple(domains.split()))
    assert api.post(ADA, key=token, headers=headers).status_int == status
    assert api.get("/v1/contacts").json["total"] == (1 if status == 201 else 0)


@pytest.mark.parametrize("origin", ["https://evil.test", "null"])
def test_a_refused_origin_is_named_with_how_to_allow_it(api, origin):
    token = api.key("publishable")
    answer = api.post(ADA, key=token, headers={"Origin": origin})
    assert failure(answer) == (403, "forbidden", None)
    message = answer.json["error"]["message"]
    assert origin in message and "--domain" in message and token not in message


def test_other_keys_are_not_bound_to_an_origin(api):
    answer = api.post(ADA, headers={"Origin": "https://anywhere.test"})
    assert answer.status_int == 201


# -- CORS


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


def test_every_route_answers_a_preflight_without_a_key(api):
    rules = {route.rule for route in api.app.routes}
    assert {"/v1/contacts", "/v1/contacts/<ref>", "/healthz"} <= rules
    for rule in rules:
        methods = {r.method for r in api.app.routes if r.rule == rule} - {"OPTIONS"}
        asked = {
            "Origin": "https://page.test",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        }
        answer = api.ask("OPTIONS", filled_in(rule), key=None, headers=asked)
        assert (answer.status_int, answer.body) == (204, b""), rule
        allowed = answer.headers["Access-Control-Allow-Origin"]
        assert allowed in ("https://page.test", "*")
        named = set(answer.headers["Access-Control-Allow-Methods"].split(", "))
        assert methods <= named, rule
        assert answer.headers["Access-Control-Allow-Headers"] == (
            "Authorization, Content-Type, X-Api-Key, Idempotency-Key"
        )
        assert answer.headers["Access-Control-Max-Age"] == "86400"
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert "RateLimit" not in answer.headers


def test_a_preflight_without_an_origin_is_open_to_any(api):
    answer = api.ask("OPTIONS", "/v1/contacts", key=None)
    assert answer.status_int == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_a_preflight_on_no_path_is_404_that_a_page_can_read(api):
    answer = api.ask("OPTIONS", "/v1/nothing", key=None, headers=PAGE)
    assert failure(answer) == (404, "not_found", None)
    assert answer.headers["Access-Control-Allow-Origin"] == "https://example.com"


# -- precedence

BIG, GARBAGE = b"x" * 65537, b"{"
ONE, NONE = "/v1/contacts/{one}", f"/v1/contacts/{UNKNOWN}"
POST = ("POST", "/v1/contacts")
TAKEN = {"email": "taken@example.com"}
PRECEDENCE = [
    (413, "404 path", "POST", "/v1/nothing", BIG, {}),
    (413, "405", "PUT", "/v1/contacts", BIG, {}),
    (413, "401", *POST, BIG, {"key": "none"}),
    (413, "429", *POST, BIG, {"key": "spent"}),
    (413, "403", *POST, BIG, {"key": "reader"}),
    (413, "403 origin", *POST, BIG, {"key": "public"}),
    (413, "415", *POST, BIG, {"type": "text/plain"}),
    (413, "400", "POST", "/v1/contacts?page=x", BIG, {}),
    (413, "404 record", "PATCH", NONE, BIG, {}),
    (413, "409", "PATCH", ONE, {**TAKEN, "b": "x" * 40_000}, {}),
    (404, "401", "POST", "/v1/nothing", ADA, {"key": "none"}),
    (404, "429", "POST", "/v1/nothing", ADA, {"key": "spent"}),
    (404, "429 stranger", "POST", "/v1/nothing", ADA, {"key": "crowd"}),
    (404, "403", "POST", "/v1/nothing", ADA, {"key": "public"}),
    (404, "415", "POST", "/v1/nothing", b"x", {"type": "text/plain"}),
    (404, "400", "POST", "/v1/nothing", GARBAGE, {}),
    (405, "401", "PUT", "/v1/contacts", ADA, {"key": "none"}),
    (405, "429", "PUT", "/v1/contacts", ADA, {"key": "spent"}),
    (405, "429 stranger", "PUT", "/v1/contacts", ADA, {"key": "crowd"}),
    (405, "403", "PUT", "/v1/contacts", ADA, {"key": "public"}),
    (405, "415", "PUT", "/v1/contacts", b"x", {"type": "text/plain"}),
    (405, "400", "PUT", "/v1/contacts", GARBAGE, {}),
    (405, "404 record", "PUT", NONE, ADA, {}),
    (401, "415", *POST, b"x", {"key": "none", "type": "text/plain"}),
    (401, "400", *POST, GARBAGE, {"key": "none"}),
    (401, "404 record", "PATCH", NONE, ADA, {"key": "none"}),
    (429, "401", *POST, ADA, {"key": "crowd"}),
    (429, "403", *POST, ADA, {"key": "spent"}),
    (429, "403 origin", *POST, ADA, {"key": "spent public"}),
    (429, "415", *POST, b"x", {"key": "spent", "type": "text/plain"}),
    (429, "400", "GET", "/v1/contacts?page=x", None, {"key": "spent"}),
    (429, "404 record", "GET", NONE, None, {"key": "spent"}),
    (403, "415", *POST, b"x", {"key": "reader", "type": "text/plain"}),
    (403, "400", *POST, GARBAGE, {"key": "reader"}),
    (403, "404 record", "PATCH", NONE, ADA, {"key": "reader"}),
    (403, "409", "PATCH", ONE, TAKEN, {"key": "reader"}),
    (403, "415 origin", *POST, b"x", {"key": "public", "type": "text/plain"}),
    (403, "400 origin", *POST, GARBAGE, {"key": "public"}),
    (415, "400", *POST, GARBAGE, {"type": "text/plain"}),
    (
        *(415, "400 size", *POST, b"x" * 20_000),
        {"key": "public", "type": "text/plain", "origin": "https://example.com"},
    ),
    (415, "404 record", "PATCH", NONE, b"x", {"type": "text/plain"}),
    (
        *(415, "409", "PATCH", ONE, json.dumps(TAKEN).encode()),
        {"type": "text/plain"},
    ),
    (400, "404 record", "PATCH", NONE, GARBAGE, {}),
    (400, "404 record, email", "PATCH", NONE, {"email": "broken"}, {}),
    (400, "409", "PATCH", ONE, b'{"email":"taken@example.com","a":1e400}', {}),
    (404, "409", "PATCH", NONE, TAKEN, {}),
]


@pytest.mark.parametrize(
    "status, over, method, path, body, how",
    PRECEDENCE,
    ids=[f"{row[0]} before {row[1]}" for row in PRECEDENCE],
)
def test_the_first_fault_in_the_contracts_order_is_answered(
    make, status, over, method, path, body, how
):
    api = make(CONTACTAPI_RATE_LIMIT="3/60")
    ref, _ = api.add("ada@example.com", "taken@example.com", a="x" * 40_000)
    api.turn(61)
    reader, public = api.key("restricted", "contacts:read"), api.key("publishable")
    keys = {"reader": reader, "public": public, "none": None, "crowd": None}
    if how.get("key") == "crowd":
        for _ in range(3):
            assert api.get("/v1/contacts", key=None).status_int == 401
    if how.get("key") == "spent":
        keys["spent"] = reader
        for _ in range(3):
            assert api.get("/v1/contacts", key=reader).status_int == 200
    if how.get("key") == "spent public":
        keys["spent public"] = public
        for _ in range(3):
            assert api.post(ADA, key=public, headers=PAGE).status_int == 201
    headers = {"Origin": how["origin"]} if "origin" in how else {}
    if "type" in how:
        headers["Content-Type"] = how["type"]
    key = keys[how["key"]] if "key" in how else api.secret
    path = path.replace("{one}", ref)
    answer = api.ask(method, path, body, key=key, headers=headers)
    assert failure(answer)[0] == status


# -- limits


def test_an_answer_to_a_valid_key_shows_its_window(api):
    answer = api.get("/v1/contacts")
    assert answer.headers["RateLimit-Policy"] == '"key";q=100;w=60'
    assert answer.headers["RateLimit"] == '"key";r=99;t=60'
    api.turn(20)
    assert api.post(ADA).headers["RateLimit"] == '"key";r=98;t=40'


def test_the_hundred_and_first_request_of_a_minute_is_429(api):
    for left in range(99, -1, -1):
        assert rest(api.get("/v1/contacts")) == left
    api.turn(13.5)
    answer = api.get("/v1/contacts")
    assert failure(answer) == (429, "rate_limit", None)
    assert answer.headers["Retry-After"] == "47"
    assert answer.headers["RateLimit"] == '"key";r=0;t=47'
    other = api.key("restricted", "contacts:read")
    assert api.get("/v1/contacts", key=other).status_int == 200
    api.turn(46.499)
    assert api.get("/v1/contacts").status_int == 429
    api.turn(0.001)
    assert api.get("/v1/contacts").status_int == 200


@pytest.mark.parametrize(
    "status, method, path, body, how",
    [
        (200, "GET", "/v1/contacts", None, {}),
        (201, *POST, ADA, {}),
        (400, *POST, GARBAGE, {}),
        (403, "DELETE", NONE, None, {"key": "reader"}),
        (404, "GET", NONE, None, {}),
        (409, "PATCH", ONE, TAKEN, {}),
        (415, *POST, b"x", {"type": "text/plain"}),
    ],
)
def test_a_request_with_a_valid_key_counts(api, status, method, path, body, how):
    assert counted(api, status, method, path, body, how) == 1


@pytest.mark.parametrize(
    "status, method, path, body, how",
    [
        (404, "GET", "/v1/nothing", None, {}),
        (405, "PUT", "/v1/contacts", ADA, {}),
        (413, *POST, BIG, {}),
        (200, "GET", "/healthz", None, {}),
        (204, "OPTIONS", "/v1/contacts", None, {}),
    ],
)
def test_these_do_not_count_for_a_valid_key(api, status, method, path, body, how):
    assert counted(api, status, method, path, body, how) == 0


def counted(api, status, method, path, body, how):
    ref, _ = api.add("ada@example.com", "taken@example.com")
    key = api.key("restricted", "contacts:read") if how.get("key") else api.secret
    before = rest(api.get("/v1/contacts", key=key))
    headers = {"Content-Type": how["type"]} if "type" in how else {}
    path = path.replace("{one}", ref)
    answer = api.ask(method, path, body, key=key, headers=headers)
    assert answer.status_int == status
    if status not in (200, 204) or path != "/healthz":
        shown = answer.headers.get("RateLimit")
        assert shown or status == 204
    return before - 1 - rest(api.get("/v1/contacts", key=key))


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/v1/contacts", 401),
        ("GET", "/v1/nothing", 404),
        ("PUT", "/v1/contacts", 405),
    ],
)
def test_a_request_without_a_valid_key_counts_for_its_address(
    make, method, path, status
):
    api = make(CONTACTAPI_RATE_LIMIT="3/60")
    for _ in range(3):
        answer = api.ask(method, path, key=None, REMOTE_ADDR="198.51.100.7")
        assert answer.status_int == status
    answer = api.get("/v1/contacts", key="unknown", REMOTE_ADDR="198.51.100.7")
    assert failure(answer) == (429, "rate_limit", None)
    assert answer.headers["Retry-After"] == "60"
    api.turn(60)
    answer = api.get("/v1/contacts", key=None, REMOTE_ADDR="198.51.100.7")
    assert answer.status_int == 401


def test_preflights_and_healthz_count_for_nobody(make):
    api = make(CONTACTAPI_RATE_LIMIT="1/60")
    for _ in range(5):
        assert api.ask("OPTIONS", "/v1/contacts", key=None).status_int == 204
        assert api.get("/healthz", key=None).status_int == 200
        assert api.get("/healthz/", key=None).status_int == 200
        assert api.ask("PUT", "/healthz", key=None).status_int == 405
    assert api.get("/v1/contacts", key=None).status_int == 401
    assert api.get("/v1/contacts", key=None).status_int == 429
    assert api.get("/healthz", key=None).status_int == 200


def test_a_valid_key_is_never_refused_for_its_address(make):
    api = make(CONTACTAPI_RATE_LIMIT="2/60")
    public = api.key("publishable")
    for _ in range(3):
        api.get("/v1/contacts", key=None)
    assert api.get("/v1/contacts", key=None).status_int == 429
    assert api.get("/v1/contacts").status_int == 200
    assert api.post(ADA, key=public, headers=PAGE).status_int == 201


def test_a_publishable_key_is_counted_for_each_client_and_ten_times_in_all(make):
    api = make(CONTACTAPI_RATE_LIMIT="3/60")
    public = api.key("publishable")

    def post(number):
        address = f"198.51.100.{number}"
        return api.post(ADA, key=public, headers=PAGE, REMOTE_ADDR=address)

    for number in range(10):
        answers = [post(number) for _ in range(4)]
        assert [a.status_int for a in answers] == [201, 201, 201, 429]
        assert answers[0].headers["RateLimit"] == '"key";r=2;t=60'
        assert answers[0].headers["RateLimit-Policy"] == '"key";q=3;w=60'
        assert answers[3].headers["Retry-After"] == "60"
    refused = post(99)
    assert failure(refused) == (429, "rate_limit", None)
    assert (rest(refused), refused.headers["Retry-After"]) == (3, "60")
    api.turn(60)
    assert [post(99).status_int for _ in range(4)] == [201, 201, 201, 429]


def test_two_publishable_keys_do_not_share_a_clients_window(make):
    api = make(CONTACTAPI_RATE_LIMIT="1/60")
    for token in (api.key("publishable"), api.key("publishable")):
        answers = [api.post(ADA, key=token, headers=PAGE) for _ in range(2)]
        assert [a.status_int for a in answers] == [201, 429]


@pytest.mark.parametrize(
    "one, other, same",
    [
        ("198.51.100.7", "198.51.100.7", True),
        ("198.51.100.7", "198.51.100.8", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:198.51.100.7", "198.51.100.7", True),
        ("::ffff:198.51.100.7", "::ffff:198.51.100.8", False),
        ("fe80::1%eth0", "fe80::2", True),
    ],
)
def test_an_ipv6_client_is_its_64(make, one, other, same):
    api = make(CONTACTAPI_RATE_LIMIT="1/60")
    assert api.get("/v1/contacts", key=None, REMOTE_ADDR=one).status_int == 401
    answer = api.get("/v1/contacts", key=None, REMOTE_ADDR=other)
    assert answer.status_int == (429 if same else 401)


@pytest.mark.parametrize(
    "settings, socket, forwarded, client",
    [
        ({}, "10.0.0.1", "1.1.1.1", "10.0.0.1"),
        ({"PROXY": "10.0.0.1"}, "10.0.0.1", "1.1.1.1", "1.1.1.1"),
        ({"PROXY": "10.0.0.1"}, "10.0.0.1", "9.9.9.9, 1.1.1.1", "1.1.1.1"),
        ({"PROXY": "10.0.0.1"}, "10.0.0.2", "1.1.1.1", "10.0.0.2"),
        ({"PROXY": "10.0.0.1"}, "10.0.0.1", "", "10.0.0.1"),
        ({"PROXY": "10.0.0.1"}, "10.0.0.1", "nonsense", "10.0.0.1"),
        ({"PROXY": "10.0.0.1"}, "10.0.0.1", "1.1.1.1:5000", "1.1.1.1"),
        ({"PROXY": "10.0.0.1"}, "10.0.0.1", "[2001:db8::7]:50", "2001:db8::/64"),
        ({"PROXY": "10.0.0.1"}, "10.0.0.1", "2001:db8::7", "2001:db8::/64"),
        ({"PROXY": "10.0.0.1,10.0.0.2"}, "10.0.0.2", "1.1.1.1", "1.1.1.1"),
        ({"PROXY": "127.0.0.1"}, "::ffff:127.0.0.1", "1.1.1.1", "1.1.1.1"),
        ({"PROXY": "*"}, "198.51.100.7", "1.1.1.1", "1.1.1.1"),
        ({"PROXY": "*"}, "2001:db8::1", "1.1.1.1", "1.1.1.1"),
        ({"PROXY": "*", "HOPS": "2"}, "10.0.0.1", "9.9.9.9, 1.1.1.1, 2.2", "1.1.1.1"),
        ({"PROXY": "*", "HOPS": "2"}, "10.0.0.1", "1.1.1.1, 2.2.2.2", "1.1.1.1"),
        ({"PROXY": "*", "HOPS": "1"}, "10.0.0.1", "1.1.1.1, 2.2.2.2", "2.2.2.2"),
    ],
    ids=str,
)
def test_the_client_is_the_sockets_or_what_the_trusted_proxy_wrote(
    settings, socket, forwarded, client
):
    names = {"PROXY": "CONTACTAPI_TRUSTED_PROXY", "HOPS": "CONTACTAPI_PROXY_HOPS"}
    config = Config.from_env({names[name]: text for name, text in settings.items()})
    environ = {"REMOTE_ADDR": socket, "HTTP_X_FORWARDED_FOR": forwarded}
    assert contactapi.client_address(environ, config) == client


def test_a_visitor_cannot_forge_a_fresh_window(make):
    api = make(CONTACTAPI_RATE_LIMIT="1/60", CONTACTAPI_TRUSTED_PROXY="10.0.0.1")

    def status(forwarded):
        headers = {"X-Forwarded-For": forwarded}
        answer = api.get(
            "/v1/contacts", key=None, headers=headers, REMOTE_ADDR="10.0.0.1"
        )
        return answer.status_int

    assert status("9.9.9.1, 1.1.1.1") == 401
    assert status("9.9.9.2, 1.1.1.1") == 429
    assert status("9.9.9.1, 2.2.2.2") == 401


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.1.2.3", "172.16.0.9", "192.168.1.1", "fd00::1"]
)
def test_a_forwarded_header_from_nearby_warns_once(api, caplog, address):
    headers = {"X-Forwarded-For": "1.1.1.1"}
    for _ in range(3):
        api.get("/v1/contacts", key=None, headers=headers, REMOTE_ADDR=address)
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "CONTACTAPI_TRUSTED_PROXY" in warnings[0].getMessage()


def test_a_forwarded_header_with_a_secret_key_warns_too(api, caplog):
    headers = {"X-Forwarded-For": "1.1.1.1"}
    api.get("/v1/contacts", headers=headers, REMOTE_ADDR="127.0.0.1")
    assert "CONTACTAPI_TRUSTED_PROXY" in caplog.text


@pytest.mark.parametrize(
    "settings, address",
    [
        ({}, "198.51.100.7"),
        ({"CONTACTAPI_TRUSTED_PROXY": "10.0.0.1"}, "10.0.0.1"),
        ({"CONTACTAPI_TRUSTED_PROXY": "*"}, "127.0.0.1"),
    ],
)
def test_a_forwarded_header_from_elsewhere_or_a_trusted_proxy_does_not_warn(
    make, caplog, settings, address
):
    api = make(**settings)
    headers = {"X-Forwarded-For": "1.1.1.1"}
    api.get("/v1/contacts", key=None, headers=headers, REMOTE_ADDR=address)
    assert [r for r in caplog.records if r.levelno == logging.WARNING] == []


def test_off_means_no_limit_at_all(free):
    for _ in range(150):
        assert free.get("/v1/contacts", key=None).status_int == 401
        answer = free.get("/v1/contacts")
        assert answer.status_int == 200
    assert "RateLimit" not in answer.headers


def test_many_addresses_do_not_fill_the_memory(api):
    for number in range(21_000):
        address = f"10.0.{number >> 8}.{number & 255}"
        api.app.gate.count_stranger({"REMOTE_ADDR": address})
    assert len(api.app.gate.by_address.windows) == 20_000


# -- failures of the inside


def test_a_500_shows_nothing_of_the_inside_and_the_log_has_its_id(
    api, monkeypatch, caplog
):
    def explode(*arguments):
        raise RuntimeError(f"SELECT secret FROM /root/contacts.db {api.secret}")

    monkeypatch.setattr(api.services.contacts, "get", explode)
    answer = api.get(f"/v1/contacts/{UNKNOWN}", headers=PAGE)
    assert failure(answer) == (500, "internal_error", None)
    for word in ("SELECT", "root", "RuntimeError", "explode", "Traceback", "ck_"):
        assert word not in answer.text
    assert answer.headers["RateLimit"] == '"key";r=99;t=60'
    assert answer.headers["Access-Control-Allow-Origin"] == "https://example.com"
    logged = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert len(logged) == 1 and answer.headers["X-Request-Id"] in logged[0]
    assert "RuntimeError" in logged[0] and "explode" in logged[0]
    assert api.secret not in caplog.text


def test_a_failing_write_is_the_same_500_and_the_next_one_works(api, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(contactapi, "searchable", lambda *arguments: 1 / 0)
        assert failure(api.post(ADA)) == (500, "internal_error", None)
    assert api.get("/v1/contacts").json["total"] == 0
    assert api.post(ADA).status_int == 201


@pytest.mark.parametrize(
    "owner, name",
    [
        ("keys", "find"),
        ("app", "refusal"),
        ("gate", "admit"),
        ("contacts", "page"),
    ],
)
def test_wherever_it_fails_the_500_has_the_one_shape(
    api, monkeypatch, caplog, owner, name
):
    def explode(*arguments):
        raise ZeroDivisionError("inside")

    owners = {"app": api.app, "gate": api.app.gate}
    owner = owners.get(owner) or getattr(api.services, owner)
    monkeypatch.setattr(owner, name, explode)
    answer = api.get("/v1/contacts", headers=PAGE)
    assert failure(answer) == (500, "internal_error", None)
    assert "inside" not in answer.text
    assert answer.headers["X-Request-Id"] in caplog.text
    assert answer.headers["Access-Control-Allow-Origin"] == "https://example.com"


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("inside"), None], ids=["bug", "db"]
)
@pytest.mark.parametrize(
    "method, path, statuses",
    [
        ("GET", "/v1/nothing", (404, 500, 503)),
        ("PUT", "/v1/contacts", (405, 500, 503)),
        ("GET", "/v1/contacts", (500, 503)),
    ],
)
def test_when_no_key_can_be_looked_up_the_answer_has_the_one_shape(
    api, monkeypatch, error, method, path, statuses
):
    def fail(*arguments):
        raise error or contactapi.Unavailable()

    monkeypatch.setattr(api.services.keys, "find", fail)
    answer = api.ask(method, path, headers=PAGE)
    assert failure(answer)[0] in statuses
    assert answer.headers["X-Request-Id"]


def test_healthz_is_503_when_the_database_does_not_answer(api, monkeypatch):
    def fail(*arguments):
        raise contactapi.Unavailable()

    monkeypatch.setattr(api.services.store, "row", fail)
    answer = api.get("/healthz", key=None)
    assert failure(answer) == (503, "unavailable", None)


@pytest.mark.parametrize(
    "refusal, status, code",
    [
        (400, 400, "invalid_request"),
        (413, 413, "payload_too_large"),
        (431, 400, "invalid_request"),
        (501, 400, "invalid_request"),
        (500, 500, "internal_error"),
    ],
)
def test_what_the_server_could_not_read_is_worded_like_everything_else(
    api, refusal, status, code
):
    environ = {"contactapi.refusal": refusal}
    answer = api.get("/v1/contacts", headers=PAGE, lint=False, **environ)
    assert failure(answer) == (status, code, None)
    assert answer.headers["Access-Control-Allow-Origin"] == "https://example.com"


# -- bodies, methods, paths


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


@pytest.mark.parametrize(
    "path, allow",
    [
        ("/v1/contacts", "GET, HEAD, OPTIONS, POST"),
        (f"/v1/contacts/{UNKNOWN}", "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("/v1/companies", "GET, HEAD, OPTIONS, POST"),
        (f"/v1/companies/{UNKNOWN}", "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("/healthz", "GET, HEAD, OPTIONS"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "TRACE", "PROPFIND", "NONSENSE"])
def test_a_wrong_method_is_405_with_allow(api, path, allow, method):
    answer = api.ask(method, path, lint=False)
    assert failure(answer) == (405, "method_not_allowed", None)
    assert answer.headers["Allow"] == allow


def test_head_is_get_without_a_body(api):
    (ref,) = api.add("ada@example.com", plan="pro")
    for path in ("/v1/contacts", f"/v1/contacts/{ref}", "/healthz", "/v1/companies"):
        head, get = api.ask("HEAD", path), api.get(path)
        assert (head.status_int, head.body) == (200, b"")
        for name in ("Content-Type", "Content-Length"):
            assert head.headers[name] == get.headers[name]
    missing = api.ask("HEAD", f"/v1/contacts/{UNKNOWN}")
    assert (missing.status_int, missing.body) == (404, b"")


def test_a_trailing_slash_is_the_same_path(api):
    answer = api.post(ADA, "/v1/contacts/")
    assert answer.status_int == 201
    assert api.get(f"/v1/contacts/{answer.json['id']}/").json == answer.json
    assert api.get("/v1/contacts/?page=1").json["total"] == 1
    assert api.get("/healthz/", key=None).status_int == 200


def test_healthz_needs_no_key(api):
    answer = api.get("/healthz", key=None)
    assert (answer.status_int, answer.json) == (200, {"status": "ok"})


# -- the log


def test_a_request_is_one_line_without_what_is_personal(api, caplog):
    caplog.set_level(logging.INFO, "contactapi")
    (ref,) = api.add("ada@example.com")
    caplog.clear()
    answer = api.get(f"/v1/contacts/{ref}?email=ada@example.com&q=hunter2")
    (line,) = [record.getMessage() for record in caplog.records]
    assert "GET" in line and "200" in line and answer.headers["X-Request-Id"] in line
    assert "ada@" not in line and "hunter2" not in line and "ck_" not in line


@pytest.mark.parametrize(
    "path",
    [
        "/v1/contacts/ada@example.com",
        "/f/ck_pub_0123456789abcdef0123456789abcdef",
        "/v1/contacts/%0Afaked%20line",
        "/v1/contacts/%1b%5b31m",
    ],
)
def test_a_path_in_the_log_has_no_key_no_address_and_no_control(api, caplog, path):
    caplog.set_level(logging.INFO, "contactapi")
    api.get(path)
    form = contactapi.TextFormatter()
    lines = [form.format(record) for record in caplog.records]
    for line in lines:
        assert "ada@" not in line and "0123456789abcdef" not in line
        assert line.isprintable()


def test_json_lines_are_objects_with_tracebacks_inside(api, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "contactapi")
    monkeypatch.setattr(api.services.contacts, "get", lambda *arguments: 1 / 0)
    api.get(f"/v1/contacts/{UNKNOWN}")
    lines = [contactapi.JsonFormatter().format(record) for record in caplog.records]
    assert all("\n" not in line for line in lines)
    levels = [json.loads(line)["level"] for line in lines]
    assert sorted(levels) == ["error", "info"]


def test_a_key_in_any_log_line_is_cut_out(api):
    record = logging.LogRecord("x", 20, "f", 1, f"key {api.secret}\x1b[0m", (), None)
    for form in (contactapi.TextFormatter(), contactapi.JsonFormatter()):
        line = form.format(record)
        assert api.secret.rpartition("_")[2] not in line and "\x1b" not in line


###############################################################################
# Routes ######################################################################
###############################################################################

# -- document 002, word for word


def test_the_documents_create_list_fetch_update_and_delete(api):
    created = api.ask(
        "POST",
        "/v1/contacts",
        b'{ "email": "ada@example.com", "name": "Ada", "plan": "pro" }',
        headers={"Content-Type": "application/json"},
    )
    assert created.status == "201 Created"
    ref = created.json["id"]
    assert re.fullmatch(r"con_[0-9a-hjkmnp-tv-z]{26}", ref)
    ada = {
        "id": ref,
        "email": "ada@example.com",
        "name": "Ada",
        "plan": "pro",
        "created_at": "2026-07-04T10:00:00Z",
        "updated_at": "2026-07-04T10:00:00Z",
    }
    assert shows(created, ada)

    listed = api.get("/v1/contacts?page=1&page_size=20")
    assert listed.status == "200 OK"
    assert shows(listed, {"page": 1, "page_size": 20, "total": 1, "total_pages": 1})
    assert ada.items() <= listed.json["data"][0].items()

    fetched = api.get(f"/v1/contacts/{ref}")
    assert fetched.status == "200 OK" and shows(fetched, ada)

    api.turn(5400)
    updated = api.ask("PATCH", f"/v1/contacts/{ref}", b'{ "plan": "enterprise" }')
    assert updated.status == "200 OK"
    assert shows(
        updated,
        {
            "id": ref,
            "email": "ada@example.com",
            "name": "Ada",
            "plan": "enterprise",
            "updated_at": "2026-07-04T11:30:00Z",
        },
    )

    deleted = api.ask("DELETE", f"/v1/contacts/{ref}")
    assert deleted.status == "200 OK"
    assert shows(deleted, {"id": ref, "deleted": True})
    assert api.get(f"/v1/contacts/{ref}").status == "404 Not Found"


def test_the_documents_list_of_137_contacts_has_7_pages(free):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(free.post, [{"email": f"a{n}@x.org"} for n in range(136)]))
    free.turn(1)
    free.post(ADA)
    answer = free.get("/v1/contacts?page=1&page_size=20")
    assert shows(answer, {"page": 1, "page_size": 20, "total": 137, "total_pages": 7})
    assert [len(answer.json["data"]), answer.json["data"][0]["name"]] == [20, "Ada"]
    last = free.get("/v1/contacts?page=7&page_size=20")
    assert len(last.json["data"]) == 17


def test_the_documents_error_says_that_email_is_required(api):
    answer = api.post({"name": "Ada"})
    assert answer.status == "400 Bad Request"
    assert answer.json["error"]["message"] == "email is required"
    assert failure(answer) == (400, "invalid_email", "email")


def test_the_documents_401_403_and_404(api):
    public = api.key("publishable")
    assert api.get("/v1/contacts", key=None).status == "401 Unauthorized"
    assert api.get("/v1/contacts", key="YOUR_KEY").status == "401 Unauthorized"
    answer = api.get("/v1/contacts", key=public, headers=PAGE)
    assert answer.status == "403 Forbidden"
    assert api.get("/v1/contacts/con_a1b2").status == "404 Not Found"


def test_the_documents_publishable_key_creates_contacts_from_its_domain(api):
    public = api.key("publishable")
    answer = api.post(ADA, key=public, headers=PAGE)
    assert answer.status == "201 Created"
    assert shows(answer, {**ADA, "created_at": "2026-07-04T10:00:00Z"})


# -- bad inputs

TEXT, FORM = "text/plain", "application/x-www-form-urlencoded"
BAD = (400, "invalid_request", None)
BAD_EMAIL = (400, "invalid_email", "email")
BAD_NAME = (400, "invalid_request", "name")
MISSING = (404, "not_found", None)
TOO_LARGE = (413, "payload_too_large", None)
BAD_TYPE = (415, "unsupported_media_type", None)


def with_a(value):
    """A body whose field `a` is this JSON text."""
    return b'{"email":"ada@example.com","name":"Acme","a":' + value + b"}"


BAD_BODIES = {
    "empty": b"",
    "space": b" \n",
    "open brace": b"{",
    "text": b"nonsense",
    "single quotes": b"{'email': 'a@x.org'}",
    "trailing comma": b'{"email":"a@x.org",}',
    "something after": b'{"email":"a@x.org"} x',
    "two objects": b'{"email":"a@x.org"}{"email":"a@x.org"}',
    "comment": b'{"email":"a@x.org"} // x',
    "null": b"null",
    "true": b"true",
    "number": b"5",
    "string": b'"ada@example.com"',
    "array": b"[]",
    "array of objects": b'[{"email":"a@x.org"}]',
    "form": b"email=a%40x.org",
    "not UTF-8": b"\xff\xfe\xfd",
    "latin-1": with_a('"é"'.encode("latin-1")),
    "cut UTF-8": with_a(b'"\xe2\x82"'),
    "overlong UTF-8": with_a(b'"\xc0\x80"'),
    "UTF-8 surrogate": with_a(b'"\xed\xa0\x80"'),
    "beyond Unicode": with_a(b'"\xf4\x90\x80\x80"'),
    "BOM": b"\xef\xbb\xbf" + with_a(b"1"),
    "UTF-16": with_a(b"1").decode().encode("utf-16"),
    "UTF-16 without BOM": with_a(b"1").decode().encode("utf-16-le"),
    "UTF-32": with_a(b"1").decode().encode("utf-32"),
    "1e400": with_a(b"1e400"),
    "-1e400": with_a(b"-1e400"),
    "1e400 deep": with_a(b'[{"b":[1e400]}]'),
    "1e99999999": with_a(b"1e99999999"),
    "5,000 digits e0": with_a(b"9" * 5000 + b"e0"),
    "NaN": with_a(b"NaN"),
    "Infinity": with_a(b"Infinity"),
    "-Infinity": with_a(b"-Infinity"),
    "NaN deep": with_a(b'{"b":[NaN]}'),
    "4,301 digits": with_a(b"1" * 4301),
    "-4,301 digits": with_a(b"-" + b"1" * 4301),
    "60,000 digits": with_a(b"1" * 60_000),
    "leading zero": with_a(b"01"),
    "plus": with_a(b"+1"),
    "bare point": with_a(b".5"),
    "point at the end": with_a(b"1."),
    "hex": with_a(b"0x10"),
    "undefined": with_a(b"undefined"),
    "True": with_a(b"True"),
    "high surrogate": with_a(rb'"\ud800"'),
    "low surrogate": with_a(rb'"\udc00"'),
    "two high surrogates": with_a(rb'"\ud800\ud800"'),
    "wrong order": with_a(rb'"\ude00\ud83d"'),
    "surrogate in an array": with_a(rb'[["\ud800"]]'),
    "surrogate as a name": b'{"email":"ada@example.com","name":"x","\\ud800":1}',
    "surrogate as an inner name": with_a(rb'{"\udfff":1}'),
    "surrogate in the email": b'{"email":"\\ud800@x.org","name":"\\ud800"}',
    "bad escape": with_a(rb'"\x41"'),
    "cut escape": with_a(rb'"\u12"'),
    "raw line end in a string": with_a(b'"a\nb"'),
    "raw NUL": with_a(b'"\0"'),
    "NUL after": with_a(b"1") + b"\0",
    "65 deep": with_a(b"[" * 64 + b"]" * 64),
    "65 deep in objects": with_a(b'{"a":' * 64 + b"1" + b"}" * 64),
    "5,000 deep": with_a(b"[" * 5000 + b"]" * 5000),
    "5,000 deep in objects": with_a(b'{"a":' * 5000 + b"1" + b"}" * 5000),
    "60,000 open": b"[" * 60_000,
    "10,000 open objects": b'{"a":' * 10_000,
}
BAD_EMAILS = {
    "null": None,
    "empty": "",
    "space": "   ",
    "number": 5,
    "zero": 0,
    "true": True,
    "false": False,
    "array": [],
    "array of one": ["ada@example.com"],
    "object": {"address": "ada@example.com"},
    "no @": "ada.example.com",
    "no domain": "ada@",
    "no local part": "@example.com",
    "only @": "@",
    "one label": "ada@example",
    "two @": "ada@b@example.com",
    "two addresses": "ada@example.com,bob@example.com",
    "space in it": "a da@example.com",
    "space in the domain": "ada@exam ple.com",
    "tab": "ada\t@example.com",
    "line end": "ada@example.com\nBcc: bob@example.com",
    "NUL": "ada\0@example.com",
    "escape": "ada\x1b@example.com",
    "delete": "ada\x7f@example.com",
    "C1 control": "ada\x80@example.com",
    "next line": "ada\x85@example.com",
    "no-break space": "ada\xa0b@example.com",
    "line separator": "ada\u2028b@example.com",
    "ideographic space": "ada\u3000b@example.com",
    "space in the domain (Unicode)": "ada@exam\u2003ple.com",
    "first label empty": "ada@.example.com",
    "middle label empty": "ada@example..com",
    "last label empty": "ada@example.com.",
    "only dots": "ada@..",
    "display name": "Ada <ada@example.com>",
    "65 octets before the @": "a" * 65 + "@example.com",
    "66 octets in 33 letters": "é" * 33 + "@example.com",
    "255 octets": f"aa@{LONGEST_DOMAIN}" + "g" * (252 - len(LONGEST_DOMAIN)),
    "255 octets in fewer letters": "a@" + ".".join(["é" * 31] * 4) + ".example",
}
BAD_NAMES = {
    "null": None,
    "empty": "",
    "space": " \t ",
    "number": 5,
    "false": False,
    "array": ["Acme"],
    "object": {},
    "201 characters": "x" * 201,
    "201 letters": "é" * 201,
}
BAD_TYPES = [
    *(TEXT, FORM, "multipart/form-data; boundary=x", "text/json", "text/csv"),
    *("application/jsonx", "application/xml", "application/octet-stream", "*/*"),
    *("application/x-ndjson", "application/jsonl", "json", "nonsense", "a/json/b"),
]
BAD_IDS = [
    *("con_a1b2", "%00", "con_%00", UNKNOWN + "%00", "%ff", "%F0%9F%98%80", "%20"),
    *("con_", "con_" + "0" * 25, "con_" + "0" * 27, "con_8" + "0" * 25),
    *("con_" + "0" * 25 + "u", "con_" + "0" * 25 + "%E2%84%AA", "nonsense", "null"),
    *("cmp_" + "0" * 26, "key_" + "0" * 26, "0" * 26, "1", "-1", "con_" + "9" * 8000),
    *("01890a5dac96774bbcceb302099a8057", "01890a5d-ac96-774b-bcce-b302099a805g"),
    *("%7B01890a5d-ac96-774b-bcce-b302099a8057%7D", "..", "'%20OR%201=1", "%0d%0a"),
    *("00000000-0000-0000-0000-000000000000", UNKNOWN, "%2500", "*", "con_*", "_"),
]
BAD_PATHS = [
    *("/v1", "/v2/contacts", "/v1/contact", "/V1/contacts", "/v1/contacts/x/y"),
    *("/v1/contacts%00", "/%00", "/%ff", "/v1/contactsx", "/v1/%63ontacts%20"),
    *("/..", "/v1/../v1/contacts", "/contacts", "/" + "a" * 8000, "/%E2%80%AE"),
]
BAD_NUMBERS = [
    *("0", "-1", "", "x", "1.0", "1e1", "%2B1", "+1", "1+", "0x1", "%D9%A1", "1,2"),
    *("%EF%BC%91", "%C2%B2", "%00", "null", "true", "9" * 5000, "%zz", "%", "--1"),
]
BAD_TIMES = [
    *("yesterday", "", "2026-13-01", "2026-02-30", "2026-00-10", "2026-07-04T25:00Z"),
    *("2026-07-04T10:61Z", "1783159200", "2026-7-4", "04.07.2026", "2026-07-04T"),
    *("2026-07-04T10:00:00%2B99:00", "2026-07-04T10:00:00ZZ", "0000-01-01", "%00"),
    *("%D9%A2%D9%A0%D9%A2%D9%A6-07-04", "2026-07-04T10:00:00.Z", "10:00:00"),
    *("2026-07-04T10:00:00X", "2026-07-04T10:00:00%2B0", "-2026-07-04"),
]
BAD_QUERIES = [
    ("q=%ff", BAD),
    ("q=%ED%A0%80", BAD),
    ("%ff=1", BAD),
    ("filter[plan]=%ff", BAD),
    ("email=%c3", BAD),
    ("page=1&page_size=101&q=%ff", BAD),
    ("q=" + "x" * 101, (400, "invalid_request", "q")),
    ("q=" + "%C3%A9" * 101, (400, "invalid_request", "q")),
    ("q=a+b+c+d+e+f", (400, "invalid_request", "q")),
    ("q=a%09b%0Ac%E3%80%80d+e+f", (400, "invalid_request", "q")),
    ("page_size=101", (400, "invalid_request", "page_size")),
    ("page_size=1000000000000000000000", (400, "invalid_request", "page_size")),
]


def bad_inputs():
    """(name, method, path, body, Content-Type, (status, code, param))"""
    for name, body in BAD_BODIES.items():
        for kind in ("contacts", "companies"):
            yield f"POST {kind}: {name}", "POST", f"/v1/{kind}", body, None, BAD
            path = f"/v1/{kind}/{{{kind}}}"
            yield f"PATCH {kind}: {name}", "PATCH", path, body, None, BAD
        merge = "application/merge-patch+json"
        path = "/v1/contacts/{contacts}"
        yield f"merge contact: {name}", "PATCH", path, body, merge, BAD
    for key, values, expected in (
        ("email", BAD_EMAILS, BAD_EMAIL),
        ("name", BAD_NAMES, BAD_NAME),
    ):
        kind = "contacts" if key == "email" else "companies"
        one = f"/v1/{kind}/{{{kind}}}"
        yield f"no {key}", "POST", f"/v1/{kind}", b'{"a":1}', None, expected
        yield f"no {key} at all", "POST", f"/v1/{kind}", b"{}", None, expected
        for name, value in values.items():
            body = json.dumps({key: value, "plan": "stolen"}).encode()
            yield f"POST {key}: {name}", "POST", f"/v1/{kind}", body, None, expected
            yield f"PATCH {key}: {name}", "PATCH", one, body, None, expected
        merge = "application/merge-patch+json"
        body = json.dumps({key: None}).encode()
        yield f"merge {key} away", "PATCH", one, body, merge, expected
    large = with_a(b"1" * 100_000)
    for method, path in (
        ("POST", "/v1/contacts"),
        ("PATCH", "/v1/contacts/{contacts}"),
        ("POST", "/v1/companies"),
        ("PATCH", "/v1/companies/{companies}"),
        ("POST", "/nowhere"),
    ):
        yield f"{method} {path}: 100,000 digits", method, path, large, None, TOO_LARGE
    grows = with_a(b"[" + b"1e15," * 12_000 + b"1]")
    yield "fields that grow", "POST", "/v1/contacts", grows, None, TOO_LARGE
    for media in BAD_TYPES:
        body = b'{"email":"new@example.com","name":"New"}'
        for kind in ("contacts", "companies"):
            yield f"POST {kind}: {media}", "POST", f"/v1/{kind}", body, media, BAD_TYPE
        path = "/v1/contacts/{contacts}"
        yield f"PATCH: {media}", "PATCH", path, body, media, BAD_TYPE
    for ref in BAD_IDS:
        for method in ("GET", "PATCH", "DELETE"):
            body, path = (
                b'{"a":1}' if method == "PATCH" else None,
                f"/v1/contacts/{ref}",
            )
            yield f"{method} id {ref[:40]}", method, path, body, None, MISSING
        yield (
            f"GET company {ref[:40]}",
            "GET",
            f"/v1/companies/{ref}",
            None,
            None,
            (MISSING),
        )
    for suffix in ("%ff", "%00", "x", "%20", "%C0"):
        path = f"/v1/contacts/{{contacts}}{suffix}"
        yield f"GET id then {suffix}", "GET", path, None, None, MISSING
        yield f"DELETE id then {suffix}", "DELETE", path, None, None, MISSING
    path = "/v1/companies/{contacts}"
    yield "a contact's id as a company's", "GET", path, None, None, MISSING
    for path in BAD_PATHS:
        yield f"GET {path[:40]}", "GET", path, None, None, MISSING
    for kind in ("contacts", "companies"):
        for param, texts in (
            ("page", BAD_NUMBERS),
            ("page_size", BAD_NUMBERS),
            ("created_after", BAD_TIMES),
            ("created_before", BAD_TIMES[:3]),
            ("updated_after", BAD_TIMES[:3]),
            ("updated_before", BAD_TIMES[:3]),
        ):
            for text in texts:
                path = f"/v1/{kind}?{param}={text}"
                expected = (400, "invalid_request", param)
                yield f"{kind}?{param}={text[:30]}", "GET", path, None, None, expected
        for query, expected in BAD_QUERIES:
            path = f"/v1/{kind}?{query}"
            yield f"{kind}?{query[:40]}", "GET", path, None, None, expected
    for text in ("nonsense", "", "a@b", "a%00@x.org", "a@x.org,b@x.org"):
        path = f"/v1/contacts?email={text}"
        yield f"?email={text}", "GET", path, None, None, BAD_EMAIL


BAD_INPUTS = list(bad_inputs())


def test_there_are_at_least_a_hundred_bad_inputs():
    assert len({row[0] for row in BAD_INPUTS}) == len(BAD_INPUTS) >= 100


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One app for all the bad inputs, which change nothing in it."""
    path = tmp_path_factory.mktemp("shared") / "contacts.db"
    environ = {"DATABASE_URL": f"sqlite:///{path}", "CONTACTAPI_RATE_LIMIT": "off"}
    clock = Clock(at("2026-07-04T10:00:00"))
    app = contactapi.make_app(Config.from_env(environ), clock, Clock(1000.0))
    client = Client(app, clock, app.gate.by_key.clock)
    client.contact = client.post(ADA).json
    client.company = client.post({"name": "Acme"}, "/v1/companies").json
    client.clock.now += 60
    yield client
    client.close()


@pytest.mark.parametrize(
    "method, path, body, media, expected",
    [row[1:] for row in BAD_INPUTS],
    ids=[ascii(row[0]) for row in BAD_INPUTS],
)
def test_a_bad_input_is_refused_by_name_and_changes_nothing(
    shared, method, path, body, media, expected
):
    path = path.replace("{contacts}", shared.contact["id"])
    path = path.replace("{companies}", shared.company["id"])
    headers = {"Content-Type": media} if media else {}
    lists = ("/v1/contacts", "/v1/companies")
    before = [shared.get(path).body for path in lists]
    answer = shared.ask(method, path, body, headers=headers)
    assert failure(answer) == expected, answer.text
    assert [shared.get(path).body for path in lists] == before


@pytest.mark.parametrize(
    "media",
    [
        None,
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "Application/JSON",
        " application/json ",
        "application/vnd.api+json",
        "application/ld+json; profile=x",
    ],
)
def test_these_types_are_json_and_so_is_none_at_all(api, media):
    environ = {} if media is None else {"CONTENT_TYPE": media}
    body = json.dumps(ADA).encode()
    environ.update({"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))})
    answer = api.ask("POST", "/v1/contacts", lint=False, **environ)
    assert answer.status_int == 201


# -- good inputs

GOOD_VALUES = {
    "zero": b"0",
    "minus": b"-17",
    "beyond 2**53": b"9007199254740993",
    "beyond 2**64": b"18446744073709551617",
    "4,300 digits": b"9" * 4300,
    "-4,300 digits": b"-" + b"9" * 4300,
    "1.0 is not 1": b"1.0",
    "minus zero": b"-0.0",
    "1.5e300": b"1.5e+300",
    "the largest double": b"1.7976931348623157e+308",
    "the smallest double": b"5e-324",
    "0.1": b"0.1",
    "17 digits": b"0.30000000000000004",
    "1e22": b"1e+22",
    "true": b"true",
    "false": b"false",
    "null": b"null",
    "empty text": b'""',
    "empty array": b"[]",
    "empty object": b"{}",
    "key order": b'{"z":1,"a":2,"m":{"y":1,"b":2}}',
    "number-like names": b'{"10":1,"9":2,"-1":3}',
    "NUL": rb'"a\u0000b"',
    "only NUL": rb'"\u0000"',
    "controls": rb'"\u0001\b\t\n\f\r\u001f"',
    "delete": b'"\x7f"',
    "quotes and backslashes": rb'"\"\\\"\\"',
    "slashes and tags": b'"</script><!--"',
    "emoji": '"😀👩‍👩‍👧‍👦🇩🇪"'.encode(),
    "right to left": '"\u202eعربى עברית"'.encode(),
    "NFD": '"e\u0301"'.encode(),
    "separators": '"\u2028\u2029"'.encode(),
    "noncharacters": '"\uffff\ufdd0\U0010ffff"'.encode(),
    "BOM inside": '"\ufeffx"'.encode(),
    "space around": b'"  x  "',
    "formula": b'"=1+1"',
    "NUL deep": rb'[{"a":["\u0000"]}]',
    "64 deep": b"[" * 63 + b"]" * 63,
    "64 deep in objects": b'{"a":' * 63 + b"1" + b"}" * 63,
    "wide": b"[" + b"[]," * 9_000 + b"[]]",
    "SQL": b'"\'; DROP TABLE contact; --"',
}


@pytest.mark.parametrize("value", GOOD_VALUES.values(), ids=GOOD_VALUES)
def test_what_is_sent_comes_back_exactly(free, value):
    created = free.post(with_a(value))
    assert created.status_int == 201, created.text
    ref = created.json["id"]
    parts = b'"a":' + value + b',"created_at"'
    assert parts in created.body
    assert parts in free.get(f"/v1/contacts/{ref}").body
    assert parts in free.get("/v1/contacts").body
    other = free.post({"email": "bob@example.com"}).json["id"]
    assert parts in free.patch(other, b'{"a":' + value + b"}").body
    free.post({"email": "bob@example.com", "b": 1})
    stored = free.get(f"/v1/contacts/{other}").body
    assert b'"a":' + value + b',"b":1,' in stored


def test_other_spellings_of_json_keep_their_meaning(api):
    sent = rb'{"email":"ada@example.com","a":"\u00e9\ud83d\ude00\/","b":1E5,"\u0063":1}'
    stored = api.post(sent).json
    assert (stored["a"], stored["b"], stored["c"]) == ("é😀/", 100000.0, 1)


FIELD_NAMES = [
    *("", "a.b", "$", '"', "\\", '\\"', "\0", "a\0b", "\n", " ", "é", "e\u0301", "😀"),
    *("a]b", "[", "'", "plan[0]", "$.plan", "__proto__", "Email", "email ", "NAME"),
    *("data", "error", "page", "filter", "uid", "fields", "words", "x" * 1000),
]


@pytest.mark.parametrize("name", FIELD_NAMES, ids=lambda name: ascii(name)[:20])
def test_a_field_may_have_any_name_and_filters_by_it(free, name):
    values = ["x", 5, True, None, 0.1, "a\0b", "ü", 2**70, 0.30000000000000004]
    for number, value in enumerate(values):
        answer = free.post({"email": f"a{number}@x.org", name: value})
        assert answer.status_int == 201 and answer.json[name] == value
    for number, value in enumerate(values):
        text = value if isinstance(value, str) else json.dumps(value)
        query = query_of({f"filter[{name}]": text})
        assert free.emails(f"?{query}") == [f"a{number}@x.org"], ascii(value)
    assert free.emails(f"?{query_of({f'filter[{name}]': 'other'})}") == []


def query_of(pairs):
    """The pairs as a query string, every octet escaped."""
    return "&".join(
        "=".join("".join(f"%{octet:02x}" for octet in t.encode()) for t in pair)
        for pair in pairs.items()
    )


def test_fields_keep_their_order(api):
    names = [f"{letter}{n}" for n in range(5) for letter in "zam"]
    created = api.post({"email": "ada@example.com", **dict.fromkeys(names, 1)})
    shown = ["id", "email", *names, "created_at", "updated_at"]
    assert list(created.json) == shown
    api.post({"new": 1, "email": "ada@example.com", "a0": 2})
    again = api.get(f"/v1/contacts/{created.json['id']}").json
    assert list(again) == [*shown[:-2], "new", *shown[-2:]]


def test_an_object_that_was_fetched_may_be_sent_back(api):
    (ref,) = api.add("ada@example.com", plan="pro", tags=["x", {"y": None}])
    api.turn(60)
    fetched = api.get(f"/v1/contacts/{ref}").json
    patched = api.patch(ref, fetched)
    assert (patched.status_int, patched.json) == (200, fetched)
    posted = api.post({**fetched, "created_at": "1999-01-01T00:00:00Z"})
    assert posted.status_int == 201
    assert posted.json == {**fetched, "updated_at": "2026-07-04T10:01:00Z"}
    assert api.get("/v1/contacts").json["total"] == 1


@pytest.mark.parametrize("name", ["id", "created_at", "updated_at"])
@pytest.mark.parametrize("value", ["con_x", None, 5, {"a": 1}], ids=str)
def test_what_is_ours_in_a_body_is_ignored(api, name, value):
    created = api.post({"email": "ada@example.com", name: value})
    assert created.status_int == 201
    assert list(created.json) == ["id", "email", "created_at", "updated_at"]
    assert created.json["created_at"] == "2026-07-04T10:00:00Z"
    assert api.patch(created.json["id"], {name: value}).json == created.json
    assert api.merge(created.json["id"], {name: value}).json == created.json


@pytest.mark.parametrize(
    "spelling",
    [
        lambda ref: ref,
        str.upper,
        lambda ref: "Con_" + ref[4:],
        hyphenated,
        lambda ref: hyphenated(ref).upper(),
    ],
    ids=["typeid", "upper", "mixed", "uuid", "UUID"],
)
def test_an_id_is_taken_in_both_spellings_and_any_case(api, spelling):
    (ref,) = api.add("ada@example.com")
    text = spelling(ref)
    assert api.get(f"/v1/contacts/{text}").json["id"] == ref
    assert api.patch(text, {"a": 1}).json["id"] == ref
    assert api.ask("DELETE", f"/v1/contacts/{text}").json == {
        "id": ref,
        "deleted": True,
    }


# -- create and update in one


def test_a_known_email_is_updated_and_the_other_fields_stay(api):
    first = api.post({**ADA, "tags": {"a": 1, "b": 2}, "old": None})
    api.turn(60)
    again = api.post({"email": "ada@example.com", "plan": None, "tags": {"c": 3}})
    assert again.status == "201 Created"
    assert again.json == {
        **first.json,
        "plan": None,
        "tags": {"c": 3},
        "updated_at": "2026-07-04T10:01:00Z",
    }
    assert api.get("/v1/contacts").json["total"] == 1


def test_updated_at_moves_on_every_post(api):
    (ref,) = api.add("ada@example.com", plan="pro")
    api.turn(60)
    api.add("ada@example.com", plan="pro")
    contact = api.get(f"/v1/contacts/{ref}").json
    assert contact["created_at"] == "2026-07-04T10:00:00Z"
    assert contact["updated_at"] == "2026-07-04T10:01:00Z"


@pytest.mark.parametrize(
    "first, second",
    [
        ("ada@example.com", "  ADA@Example.COM "),
        ("J\u00fcrgen@x.de", "ju\u0308rgen@x.de"),
        ("ju\u0308rgen@mu\u0308nchen.de", "J\u00fcrgen@m\u00fcnchen.de"),
    ],
    ids=ascii,
)
def test_one_address_in_two_spellings_is_one_contact_as_last_written(
    api, first, second
):
    (ref,) = api.add(first)
    again = api.post({"email": second})
    assert (again.json["id"], again.json["email"]) == (ref, second.strip())
    assert api.emails() == [second.strip()]
    assert api.emails("?" + query_of({"email": first})) == [second.strip()]


@pytest.mark.parametrize(
    "first, second",
    [("i@x.org", "\u0130@x.org"), ("s@x.org", "\u017f@x.org"), ("É@x.org", "é@x.org")],
    ids=ascii,
)
def test_a_look_alike_does_not_take_an_address_over(api, first, second):
    assert len(set(api.add(first, second))) == 2
    assert api.emails("?" + query_of({"email": second})) == [second]


def test_fields_that_would_grow_too_large_are_413_and_change_nothing(make):
    api = make(CONTACTAPI_MAX_BODY="1024")
    (ref,) = api.add("ada@example.com", a="x" * 600)
    before = api.get(f"/v1/contacts/{ref}").json
    api.turn(60)
    more = {"email": "Ada@Example.com", "b": "x" * 600}
    assert failure(api.post(more)) == TOO_LARGE
    assert failure(api.patch(ref, more)) == TOO_LARGE
    assert failure(api.merge(ref, more)) == TOO_LARGE
    assert api.get(f"/v1/contacts/{ref}").json == before
    company = api.post({"name": "Acme", "a": "x" * 600}, "/v1/companies")
    more = {"name": "Acme", "b": "x" * 600}
    assert failure(api.post(more, "/v1/companies")) == TOO_LARGE
    path = f"/v1/companies/{company.json['id']}"
    assert api.get(path).json == company.json


def test_fields_may_take_exactly_the_limit_in_octets(make):
    api = make(CONTACTAPI_MAX_BODY="1024")
    (ref,) = api.add("ada@example.com", a="é" * 300)
    used = len('{"a":"","b":""}') + 600
    body = {"email": "ada@example.com", "b": "x" * (1024 - used)}
    assert api.post(body).status_int == 201
    assert failure(api.patch(ref, {"b": body["b"] + "x"})) == TOO_LARGE
    assert api.patch(ref, {"b": None}).status_int == 200


# -- PATCH and DELETE


def test_patch_is_shallow(api):
    (ref,) = api.add("ada@example.com", tags={"a": 1, "b": 2}, plan="pro")
    api.turn(60)
    answer = api.patch(ref, {"tags": {"c": 3}, "new": None})
    assert answer.status_int == 200
    assert answer.json == {
        "id": ref,
        "email": "ada@example.com",
        "tags": {"c": 3},
        "plan": "pro",
        "new": None,
        "created_at": "2026-07-04T10:00:00Z",
        "updated_at": "2026-07-04T10:01:00Z",
    }


def test_a_merge_patch_removes_what_is_null(api):
    (ref,) = api.add("ada@example.com", tags={"a": 1, "b": 2}, plan="pro")
    api.turn(60)
    answer = api.merge(ref, {"tags": {"a": None, "c": 3}, "plan": None, "none": None})
    assert answer.json == {
        "id": ref,
        "email": "ada@example.com",
        "tags": {"b": 2, "c": 3},
        "created_at": "2026-07-04T10:00:00Z",
        "updated_at": "2026-07-04T10:01:00Z",
    }


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"n": 1},
        {"plan": "pro"},
        {"email": "ada@example.com"},
        {"nested": {"a": []}},
    ],
    ids=str,
)
@pytest.mark.parametrize("how", ["patch", "merge"])
def test_a_patch_that_changes_nothing_leaves_updated_at(api, how, body):
    fields = {"n": 1, "plan": "pro", "nested": {"a": []}}
    (ref,) = api.add("ada@example.com", **fields)
    before = api.get(f"/v1/contacts/{ref}")
    api.turn(60)
    answer = getattr(api, how)(ref, body)
    assert (answer.status_int, answer.body) == (200, before.body)
    assert api.get(f"/v1/contacts/{ref}").body == before.body


@pytest.mark.parametrize(
    "old, new",
    [
        (b"1", b"true"),
        (b"1", b"1.0"),
        (b"0", b"false"),
        (b"0.0", b"-0.0"),
        (b"[1]", b"[true]"),
        (b'{"a":1}', b'{"a":1.0}'),
        (b'"1"', b"1"),
        (b"null", b'""'),
        (b'"e\xcc\x81"', b'"\xc3\xa9"'),
    ],
)
def test_another_json_value_is_a_change_though_python_calls_it_equal(api, old, new):
    ref = api.post(with_a(old)).json["id"]
    api.turn(60)
    answer = api.patch(ref, b'{"a":' + new + b"}")
    assert b'"a":' + new + b"," in answer.body
    assert answer.json["updated_at"] == "2026-07-04T10:01:00Z"


def test_a_patch_may_change_the_email(api):
    (ref,) = api.add("ada@example.com", plan="pro")
    answer = api.patch(ref, {"email": " Ada@Example.ORG "})
    assert (answer.json["email"], answer.json["plan"]) == ("Ada@Example.ORG", "pro")
    assert api.emails("?email=ada@example.org") == ["Ada@Example.ORG"]
    assert api.emails("?email=ada@example.com") == []
    assert api.add("ada@example.com") != [ref]


def test_a_patch_may_change_the_spelling_of_its_own_email(api):
    (ref,) = api.add("ada@example.com")
    api.turn(60)
    answer = api.patch(ref, {"email": "ADA@example.com"})
    assert answer.json["email"] == "ADA@example.com"
    assert answer.json["updated_at"] == "2026-07-04T10:01:00Z"


@pytest.mark.parametrize("email", ["bob@example.com", "BOB@Example.com "])
def test_a_patch_that_would_take_anothers_email_is_409(api, email):
    ada, bob = api.add("ada@example.com", "bob@example.com")
    answer = api.patch(ada, {"email": email, "plan": "pro"})
    assert failure(answer) == (409, "conflict", "email")
    assert "plan" not in api.get(f"/v1/contacts/{ada}").json
    assert api.emails() == ["bob@example.com", "ada@example.com"]
    assert api.ask("DELETE", f"/v1/contacts/{bob}").status_int == 200
    assert api.patch(ada, {"email": email}).status_int == 200


def test_what_is_deleted_is_gone_and_its_email_is_free(api):
    (ref,) = api.add("ada@example.com", plan="pro")
    assert api.ask("DELETE", f"/v1/contacts/{ref}").json == {"id": ref, "deleted": True}
    for method, body in (("GET", None), ("PATCH", {"a": 1}), ("DELETE", None)):
        answer = api.ask(method, f"/v1/contacts/{ref}", body)
        assert failure(answer) == MISSING
    assert api.get("/v1/contacts").json["total"] == 0
    again = api.post({"email": "ada@example.com"})
    assert again.json["id"] != ref and "plan" not in again.json


# -- companies


def test_companies_have_the_same_five_verbs_by_name(api):
    created = api.post({"name": " Acme GmbH ", "email": "any", "n": 1}, "/v1/companies")
    assert created.status == "201 Created"
    ref = created.json["id"]
    assert re.fullmatch(r"cmp_[0-9a-hjkmnp-tv-z]{26}", ref)
    assert created.json == {
        "id": ref,
        "name": "Acme GmbH",
        "email": "any",
        "n": 1,
        "created_at": "2026-07-04T10:00:00Z",
        "updated_at": "2026-07-04T10:00:00Z",
    }
    api.turn(60)
    again = api.post({"name": "ACME gmbh", "n": 2}, "/v1/companies").json
    assert (again["id"], again["name"], again["n"]) == (ref, "ACME gmbh", 2)
    assert again["email"] == "any" and again["updated_at"] == "2026-07-04T10:01:00Z"
    path = f"/v1/companies/{hyphenated(ref)}"
    assert api.get(path).json == again
    assert api.ask("PATCH", path, {"n": 3}).json["n"] == 3
    listed = api.get("/v1/companies?filter[n]=3&q=acme&name=acme%20GMBH").json
    assert [company["id"] for company in listed["data"]] == [ref]
    other = api.post({"name": "Other"}, "/v1/companies").json["id"]
    answer = api.ask("PATCH", f"/v1/companies/{other}", {"name": "acme GmbH"})
    assert failure(answer) == (409, "conflict", "name")
    assert api.ask("DELETE", path).json == {"id": ref, "deleted": True}
    assert failure(api.get(path)) == MISSING


def test_contacts_and_companies_are_two_things(api):
    (ref,) = api.add("ada@example.com")
    company = api.post({"name": "Acme"}, "/v1/companies").json["id"]
    assert api.get("/v1/contacts").json["total"] == 1
    assert api.get("/v1/companies").json["total"] == 1
    assert failure(api.get(f"/v1/contacts/{company}")) == MISSING
    assert failure(api.get(f"/v1/companies/{hyphenated(ref)}")) == MISSING


# -- what a key that may not read is told


def test_a_key_that_may_not_read_gets_its_own_words_back(api):
    (ref,) = api.add("Ada@Example.com", plan="pro", secret="stored")
    writer = api.key("restricted", "contacts:write")
    api.turn(60)
    sent = {"email": "ada@example.com ", "city": "Ulm", "created_at": "x"}
    times = {
        "created_at": "2026-07-04T10:01:00Z",
        "updated_at": "2026-07-04T10:01:00Z",
    }
    posted = api.post(sent, key=writer)
    expected = {"id": ref, "email": "ada@example.com", "city": "Ulm", **times}
    assert (posted.status_int, posted.json) == (201, expected)
    patched = api.patch(ref, {"city": "Bonn", "id": "x"}, key=writer)
    assert (patched.status_int, patched.json) == (
        200,
        {"id": ref, "city": "Bonn", **times},
    )
    nothing = api.patch(ref, {}, key=writer)
    assert (nothing.status_int, nothing.json) == (200, {"id": ref, **times})
    assert shows(api.get(f"/v1/contacts/{ref}"), {"secret": "stored", "city": "Bonn"})
    assert api.get(f"/v1/contacts/{ref}", key=writer).status_int == 403
    assert api.ask("DELETE", f"/v1/contacts/{ref}", key=writer).json == {
        "id": ref,
        "deleted": True,
    }


def test_a_key_that_may_read_and_write_gets_the_whole_contact(api):
    api.add("ada@example.com", plan="pro")
    both = api.key("restricted", "contacts:read", "contacts:write")
    answer = api.post({"email": "ada@example.com"}, key=both)
    assert answer.json["plan"] == "pro"


def test_a_company_written_without_reading_is_a_receipt_too(api):
    stored = api.post({"name": "Acme", "secret": "stored"}, "/v1/companies").json
    writer = api.key("restricted", "companies:write", "contacts:read")
    answer = api.post({"name": "ACME", "n": 1}, "/v1/companies", key=writer)
    assert list(answer.json) == ["id", "name", "n", "created_at", "updated_at"]
    assert (answer.json["id"], answer.json["name"]) == (stored["id"], "ACME")


# -- what a publishable key is told


@pytest.mark.parametrize("existing", ["update", "keep"])
@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"city": "Ulm"},
        {"plan": "free"},
        {"plan": None, "created_at": "x", "id": "y"},
        {"name": "A", "tags": {"a": [1, None]}},
    ],
    ids=str,
)
def test_a_publishable_key_learns_nothing_about_known_emails(api, existing, sent):
    (ref,) = api.add("Known@example.com", plan="pro", secret="stored", city="Bonn")
    token = api.key("publishable", existing=existing)
    api.turn(3600)
    known = api.post({"email": "known@example.com", **sent}, key=token, headers=PAGE)
    new = api.post({"email": "fresh@example.com", **sent}, key=token, headers=PAGE)
    assert known.status == new.status == "201 Created"
    mine = {name: sent[name] for name in sent if name not in ("id", "created_at")}
    times = {
        "created_at": "2026-07-04T11:00:00Z",
        "updated_at": "2026-07-04T11:00:00Z",
    }
    assert known.json == {"id": ref, "email": "known@example.com", **mine, **times}
    id_of_new = new.json["id"]
    assert new.json == {"id": id_of_new, "email": "fresh@example.com", **mine, **times}
    assert list(known.json) == list(new.json)
    assert len(known.body) == len(new.body)
    kept = [sorted(set(a.headers) - {"X-Request-Id"}) for a in (known, new)]
    assert kept[0] == kept[1]


def test_a_publishable_key_updates_fields_but_never_the_stored_spelling(api):
    (ref,) = api.add("Ada@Example.com", plan="pro", city="Ulm")
    public = api.key("publishable")
    api.turn(60)
    sent = {"email": "ADA@EXAMPLE.COM", "plan": "free", "new": 1}
    answer = api.post(sent, key=public, headers=PAGE)
    assert answer.json["email"] == "ADA@EXAMPLE.COM"
    assert api.get(f"/v1/contacts/{ref}").json == {
        "id": ref,
        "email": "Ada@Example.com",
        "plan": "free",
        "city": "Ulm",
        "new": 1,
        "created_at": "2026-07-04T10:00:00Z",
        "updated_at": "2026-07-04T10:01:00Z",
    }


def test_a_key_that_keeps_adds_fields_and_overwrites_none(api):
    (ref,) = api.add("ada@example.com", plan="pro", none=None)
    public = api.key("publishable", existing="keep")
    sent = {"email": "ada@example.com", "plan": "free", "none": 1, "new": 1}
    answer = api.post(sent, key=public, headers=PAGE)
    assert answer.json["plan"] == "free"
    stored = api.get(f"/v1/contacts/{ref}").json
    assert (stored["plan"], stored["none"], stored["new"]) == ("pro", None, 1)


@pytest.mark.parametrize("existing", ["update", "keep"])
def test_a_submission_that_would_grow_a_record_too_large_stands_in_the_log(
    make, existing
):
    api = make(CONTACTAPI_MAX_BODY="2048")
    (ref,) = api.add("ada@example.com", a="x" * 1900)
    before = api.get(f"/v1/contacts/{ref}").body
    public = api.key("publishable", existing=existing)
    api.turn(60)
    sent = {"email": "ada@example.com", "b": "y" * 400}
    answer = api.post(sent, key=public, headers=PAGE)
    assert answer.status_int == 201
    assert shows(answer, {**sent, "updated_at": "2026-07-04T10:01:00Z"})
    assert list(answer.json) == ["id", "email", "b", "created_at", "updated_at"]
    assert api.get(f"/v1/contacts/{ref}").body == before
    sql = "SELECT submitted FROM event ORDER BY id DESC LIMIT 1"
    assert json.loads(api.services.store.row(sql)[0]) == sent


def test_a_publishable_keys_requests_are_small(api):
    public = api.key("publishable")

    def status(fields, **options):
        body = {"email": "ada@example.com", **fields}
        answer = api.post(body, key=public, headers=PAGE, **options)
        assert answer.status_int == 201 or failure(answer)[:2] == BAD[:2]
        return answer.status_int

    assert status({"a": "x" * (16384 - len('{"email": "ada@example.com", "a": ""}'))})
    assert status({"a": "x" * (16384 - 37)}) == 201
    assert status({"a": "x" * (16384 - 36)}) == 400
    assert status({f"f{n}": n for n in range(99)}) == 201
    assert status({f"f{n}": n for n in range(101)}) == 400
    assert status({"n" * 100: 1}) == 201
    assert status({"n" * 101: 1}) == 400
    assert api.post({**ADA, "n" * 101: 1}).status_int == 201


def test_a_publishable_keys_request_is_small_without_a_content_length_too(api):
    body = json.dumps({"email": "ada@example.com", "a": "x" * 20_000}).encode()
    answer = api.ask(
        *("POST", "/v1/contacts"),
        key=api.key("publishable"),
        headers=PAGE,
        lint=False,
        **{"wsgi.input": io.BytesIO(body), "CONTENT_TYPE": "application/json"},
    )
    assert failure(answer) == BAD


# -- lists


def test_a_list_is_newest_first_with_20_a_page(free):
    for number in range(25):
        free.add(f"a{number}@x.org")
        free.turn(1)
    emails = [f"a{number}@x.org" for number in reversed(range(25))]
    first = free.get("/v1/contacts").json
    assert [contact["email"] for contact in first["data"]] == emails[:20]
    assert {**first, "data": None} == {
        "data": None,
        "page": 1,
        "page_size": 20,
        "total": 25,
        "total_pages": 2,
    }
    assert free.emails("?page=2") == emails[20:]
    assert free.emails("?page=0003&page_size=10") == emails[20:]


@pytest.mark.parametrize("page", ["3", "1000000", "9" * 30, "9" * 4000])
@pytest.mark.parametrize("more", ["", "&q=x", "&created_after=2000-01-01"])
def test_a_page_past_the_end_is_empty(api, page, more):
    api.add("a@x.org", "b@x.org")
    answer = api.get(f"/v1/contacts?page={page}&page_size=1{more}")
    assert answer.status_int == 200
    assert shows(answer, {"data": [], "total": 2, "total_pages": 2, "page": int(page)})


def test_an_empty_list_has_no_pages(api):
    assert api.get("/v1/contacts").json == {
        "data": [],
        "page": 1,
        "page_size": 20,
        "total": 0,
        "total_pages": 0,
    }


@pytest.mark.parametrize("query", ["", "created_after=2000-01-01", "q=x.org"])
def test_pages_agree_with_a_plain_sort_from_both_ends(free, query):
    random.seed(17)
    start, made = free.clock.now, []
    for number in range(61):
        free.clock.now = start + random.choice([0, 0, 1, 5, -100]) + random.random()
        free.add(f"a{number}@x.org")
    for ref in random.sample(free.emails("?page_size=100"), 10):
        (contact,) = free.get(f"/v1/contacts?email={ref}").json["data"]
        free.ask("DELETE", f"/v1/contacts/{contact['id']}")
    rows = free.services.store.rows("SELECT label, created_at FROM contact")
    made = [label for label, _ in sorted(rows, key=lambda row: -row[1])]
    assert len(made) == 51
    for size in (1, 2, 7, 17, 25, 26, 50, 51, 52, 100):
        for page in range(1, 51 // size + 3):
            if size == 1 and page % 5:
                continue
            shown = free.emails(f"?page={page}&page_size={size}&{query}")
            assert shown == made[(page - 1) * size : page * size], (page, size)


def test_totals_follow_every_write(api):
    def total():
        return api.get("/v1/contacts").json["total"]

    a, b, _ = api.add("a@x.org", "b@x.org", "c@x.org")
    assert total() == 3
    api.add("a@x.org")
    assert failure(api.post({"email": "broken"})) == BAD_EMAIL
    assert total() == 3
    api.ask("DELETE", f"/v1/contacts/{a}")
    api.ask("DELETE", f"/v1/contacts/{a}")
    assert total() == 2
    api.patch(b, {"email": "d@x.org"})
    assert total() == 2


PEOPLE = {
    "ada@example.com": {"name": "Ada Lovelace", "plan": "pro", "age": 36},
    "bob@straße.de": {"name": "Bob", "city": "MÜNCHEN", "note": "100% sure_thing"},
    "cyd@example.com": {"name": "ΣΊΣΥΦΟΣ", "city": "Straße 5", "tags": ["hidden"]},
    "dan@example.com": {"name": "İpek", "city": "New\nYork", "plan": "PRO"},
    "eve@example.com": {"name": "E\u0301va", "nested": {"a": "hidden"}, "hidden": 1},
}


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Five people, to be looked for and not to be changed."""
    path = tmp_path_factory.mktemp("people") / "contacts.db"
    environ = {"DATABASE_URL": f"sqlite:///{path}", "CONTACTAPI_RATE_LIMIT": "off"}
    clock = Clock(at("2026-07-04T10:00:00"))
    app = contactapi.make_app(Config.from_env(environ), clock)
    client = Client(app, clock, None)
    for email, fields in PEOPLE.items():
        client.add(email, **fields)
        client.clock.now += 1
    yield client
    client.close()


def found(client, **pairs):
    """The first letters of those found, oldest first."""
    query = query_of(pairs)
    return "".join(sorted(email[0] for email in client.emails(f"?{query}")))


@pytest.mark.parametrize(
    "q, letters",
    [
        ("ada", "a"),
        ("ADA", "a"),
        ("love ada", "a"),
        ("ada bob", ""),
        ("example lovelace pro", "a"),
        ("adaexample", ""),
        ("lovelacepro", ""),
        ("com", "acde"),
        ("@example.", "acde"),
        ("pro", "ad"),
        ("münchen", "b"),
        ("MÜNCHEN", "b"),
        ("mu\u0308nchen", "b"),
        ("munchen", ""),
        ("STRASSE", "bc"),
        ("straße", "bc"),
        ("σίσυφος", "c"),
        ("ΣΊΣΥΦΟσ", "c"),
        ("i\u0307pek", "d"),
        ("éva", "e"),
        ("E\u0301VA", "e"),
        ("%", "b"),
        ("100%", "b"),
        ("_", "b"),
        ("sure_thing", "b"),
        ("sure%thing", ""),
        ("a_a", ""),
        ("*", ""),
        ("new york", "d"),
        ("newyork", ""),
        ("hidden", ""),
        ("36", ""),
        ("5", "c"),
        ("name", ""),
        ("", "abcde"),
        ("   ", "abcde"),
        ("\0", ""),
        ("'", ""),
        ('"', ""),
        ("a b c d e", "b"),
        ("a b c d x", ""),
        ("e e e e e", "abcde"),
        ("x" * 100, ""),
    ],
    ids=ascii,
)
def test_each_word_of_q_occurs_in_the_email_or_in_some_text_field(people, q, letters):
    assert found(people, q=q) == letters


def test_q_looks_at_what_is_stored_now(api):
    (ref,) = api.add("ada@example.com", city="Ulm", gone="hunter2")
    api.patch(ref, {"city": "Bonn", "email": "eve@example.org"})
    api.merge(ref, {"gone": None})
    for word, total in (
        ("bonn", 1),
        ("eve", 1),
        ("ulm", 0),
        ("ada", 0),
        ("hunter2", 0),
    ):
        assert api.get(f"/v1/contacts?q={word}").json["total"] == total


def test_q_finds_a_text_with_a_nul_inside(api):
    api.add("ada@example.com", note="left\0right")
    assert api.emails("?q=right") == ["ada@example.com"]
    assert api.emails("?q=left%00right") == ["ada@example.com"]


FILTERED = {
    "a": {"n": 5, "plan": "pro"},
    "b": {"n": "5", "plan": "pro"},
    "c": {"n": 5.0, "plan": "Pro"},
    "d": {"n": True},
    "e": {"n": "true"},
    "f": {"n": False},
    "g": {"n": None},
    "h": {"n": "null"},
    "i": {},
    "j": {"n": [5]},
    "k": {"n": {"n": 5}},
    "l": {"n": 5.5},
    "m": {"n": "five 5"},
    "n": {"n": 10**30},
    "o": {"n": ""},
    "p": {"n": "é"},
    "q": {"n": "[5]"},
    "r": {"n": "a\0b"},
    "s": {"n": -3},
}


@pytest.fixture(scope="module")
def filtered(tmp_path_factory):
    path = tmp_path_factory.mktemp("filtered") / "contacts.db"
    environ = {"DATABASE_URL": f"sqlite:///{path}", "CONTACTAPI_RATE_LIMIT": "off"}
    client = Client(contactapi.make_app(Config.from_env(environ)), None, None)
    for letter, fields in FILTERED.items():
        client.add(f"{letter}@x.org", **fields)
    yield client
    client.close()


@pytest.mark.parametrize(
    "text, letters",
    [
        ("5", "abc"),
        ("5.0", "ac"),
        ("5e0", "ac"),
        ("5.5", "l"),
        ("-3", "s"),
        ("true", "de"),
        ("false", "f"),
        ("True", ""),
        ("1", ""),
        ("null", "gh"),
        ("", "o"),
        ("é", "p"),
        ("[5]", "q"),
        ('{"n":5}', ""),
        ("1" + "0" * 30, "n"),
        ("1e400", ""),
        ("NaN", ""),
        ("a\0b", "r"),
        ("a", ""),
        ("%", ""),
        ("9" * 5000, ""),
        ("[" * 5000, ""),
    ],
    ids=lambda text: ascii(text)[:20],
)
def test_a_filter_is_equality_on_a_field(filtered, text, letters):
    query = query_of({"filter[n]": text})
    shown = "".join(sorted(email[0] for email in filtered.emails(f"?{query}")))
    assert shown == letters


@pytest.mark.parametrize(
    "query, letters",
    [
        ("filter[plan]=pro", "ab"),
        ("filter[plan]=Pro", "c"),
        ("filter[plan]=pro&filter[n]=5", "ab"),
        ("filter[plan]=pro&filter[n]=7", ""),
        ("filter[n]=5&filter[n]=5", "abc"),
        ("filter[n]=5&filter[n]=true", ""),
        ("filter%5Bplan%5D=pro", "ab"),
        ("filter[plan]=pro&q=a@x.org", "a"),
        ("filter[plan]=pro&email=b@x.org", "b"),
        ("filter[plan]=pro&email=c@x.org", ""),
        ("filter[email]=a@x.org", "a"),
        ("filter[email]=A@X.org", "a"),
        ("filter[email]=a@x.org&filter[email]=b@x.org", ""),
        ("filter[email]=a@x.org&email=b@x.org", ""),
        ("filter[none]=x", ""),
        ("filter[plan]=pro&created_before=2000-01-01", ""),
        ("filter[plan]=pro&created_after=2000-01-01", "ab"),
    ],
)
def test_filters_narrow_each_other(filtered, query, letters):
    answer = filtered.get(f"/v1/contacts?{query}").json
    assert sorted(c["email"][0] for c in answer["data"]) == list(letters)
    assert answer["total"] == len(letters)


@pytest.mark.parametrize(
    "query, letters",
    [
        ("created_after=2026-07-04T10:00:01Z", "cde"),
        ("created_after=2026-07-04T10:00:00.999999Z", "bcde"),
        ("created_before=2026-07-04T10:00:01Z", "a"),
        ("created_before=2026-07-04T10:00:01.000001Z", "ab"),
        (
            "created_after=2026-07-04T10:00:00Z&created_before=2026-07-04T10:00:03Z",
            "bc",
        ),
        ("created_after=2026-07-04", "abcde"),
        ("created_before=2026-07-04", ""),
        ("created_after=2026-07-05", ""),
        ("created_before=2026-07-05", "abcde"),
        ("created_after=2026-07-04T12:00:01%2B02:00", "cde"),
        ("created_after=2026-07-04T12:00:01+02:00", "cde"),
        ("updated_after=2026-07-04T10:00:03Z", "e"),
        ("updated_before=2026-07-04T10:00:02Z", "ab"),
        ("updated_before=9999-12-31T23:59:59Z", "abcde"),
        ("updated_after=0001-01-01", "abcde"),
        ("created_after=2026-07-04T10:00:01Z&q=example", "cde"),
    ],
)
def test_times_are_strictly_after_and_strictly_before(people, query, letters):
    answer = people.get(f"/v1/contacts?{query}").json
    assert sorted(c["email"][0] for c in answer["data"]) == list(letters)
    assert (answer["total"], "total_capped" in answer) == (len(letters), False)


def test_updated_times_follow_the_last_write(api):
    ada, bob = api.add("ada@example.com", "bob@example.com")
    api.turn(60)
    api.patch(ada, {"n": 1})
    query = "?updated_after=2026-07-04T10:00:30Z"
    assert api.emails(query) == ["ada@example.com"]
    assert api.emails(query.replace("updated", "created")) == []


@pytest.mark.parametrize(
    "text", ["ada@example.com", " ADA@Example.com ", "aDA@exaMPLE.COM"]
)
def test_email_is_an_exact_search(people, text):
    answer = people.get("/v1/contacts?" + query_of({"email": text})).json
    assert [contact["name"] for contact in answer["data"]] == ["Ada Lovelace"]
    assert (answer["total"], answer["total_pages"]) == (1, 1)
    assert people.emails("?email=da@example.com") == []


@pytest.mark.parametrize("query", ["q=x.org", "filter[plan]=pro"])
def test_a_total_that_no_index_serves_is_capped_and_says_so(api, monkeypatch, query):
    monkeypatch.setattr(contactapi.Records, "CAP", 5)
    names = [f"{letter}@x.org" for letter in "abcdefg"]
    api.add(*names[:5], plan="pro")
    answer = api.get(f"/v1/contacts?page_size=2&{query}").json
    assert (answer["total"], answer["total_pages"]) == (5, 3)
    assert "total_capped" not in answer
    api.add(*names[5:], plan="pro")
    pages = [api.get(f"/v1/contacts?page_size=2&page={n}&{query}") for n in range(1, 6)]
    assert {page.json["total"] for page in pages} == {5}
    assert {page.json["total_capped"] for page in pages} == {True}
    rows = [contact["email"] for page in pages for contact in page.json["data"]]
    assert rows == names[::-1]


def test_a_total_that_an_index_serves_is_exact(api, monkeypatch):
    monkeypatch.setattr(contactapi.Records, "CAP", 5)
    api.add(*[f"{letter}@x.org" for letter in "abcdefg"])
    for query in ("", "?created_after=2000-01-01", "?updated_after=2000-01-01"):
        answer = api.get(f"/v1/contacts{query}").json
        assert (answer["total"], "total_capped" in answer) == (7, False)


def test_the_cap_of_the_contract_is_10_000():
    assert contactapi.Records.CAP == 10_000


###############################################################################
# Command line ################################################################
###############################################################################


@pytest.fixture
def shell(tmp_path, monkeypatch, capfd):
    """Runs a command in tmp_path: (status, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("CONTACTAPI_") or name in ("PORT", "DATABASE_URL"):
            monkeypatch.delenv(name)
    for owner in (sys, threading):
        monkeypatch.setattr(owner, "excepthook", owner.excepthook)
    for name in ("logThreads", "logProcesses", "logMultiprocessing", "_srcfile"):
        monkeypatch.setattr(logging, name, getattr(logging, name))
    handlers = {number: signal.getsignal(number) for number in (15, 2)}
    root = logging.getLogger()
    level, listening = root.level, root.handlers[:]

    def run(*argv):
        capfd.readouterr()
        try:
            status = contactapi.main([str(word) for word in argv])
        except SystemExit as stop:
            status = stop.code
        for handler in root.handlers:
            handler.flush()
        return status or 0, *capfd.readouterr()

    yield run
    logging.captureWarnings(False)
    logging.getLogger("waitress.queue").disabled = False
    root.setLevel(level)
    root.handlers[:] = listening
    for number, handler in handlers.items():
        signal.signal(number, handler)


def one_line(text):
    return text.endswith("\n") and text.count("\n") == 1 and "Traceback" not in text


def test_version_is_printed(shell, tmp_path):
    assert shell("--version") == (0, f"contactapi {contactapi.VERSION}\n", "")
    assert list(tmp_path.iterdir()) == []


def test_help_names_every_command_and_every_setting(shell):
    status, out, _ = shell("--help")
    assert status == 0 and "serve" in out and "keys" in out
    for name, default, about in Config.table():
        assert name in out and default in out and about in out


def test_keys_create_prints_the_token_alone_and_it_works(shell, make):
    status, token, err = shell("keys", "create", "--type", "secret", "--name", "mine")
    assert (status, err) == (0, "") and re.fullmatch(r"ck_secret_\S{26,}\n", token)
    api = make()
    assert api.get("/v1/contacts", key=token.strip()).status_int == 200
    assert {key.name for key in api.services.keys.list()} == {"mine", ""}


def test_keys_create_makes_publishable_and_restricted_keys(shell, make):
    _, public, _ = shell(
        *("keys", "create", "--type", "publishable", "--existing", "keep"),
        *("--domain", "https://example.com/page", "--domain", "*.example.org:8080"),
    )
    _, reader, _ = shell(
        *("keys", "create", "--type", "restricted", "--workspace", "shop"),
        *("--permission", "contacts:read", "--permission", "companies:read"),
    )
    status, out, err = shell("keys", "list", "--json")
    assert (status, err) == (0, "")
    first, second = json.loads(out)
    assert first["type"] == "publishable" and first["existing"] == "keep"
    assert first["domains"] == ["example.com", "*.example.org:8080"]
    assert (first["workspace"], first["permissions"]) == ("default", [])
    assert second["permissions"] == ["contacts:read", "companies:read"]
    assert (second["workspace"], second["domains"]) == ("shop", [])
    assert second["last_used_at"] is None and second["id"].startswith("key_")
    api = make()
    assert api.post(ADA, key=public.strip(), headers=PAGE).status_int == 201
    assert api.get("/v1/contacts", key=reader.strip()).json["total"] == 0
    assert api.get("/v1/companies", key=reader.strip()).status_int == 200
    assert api.post(ADA, key=reader.strip()).status_int == 403


def test_keys_list_shows_no_token(shell):
    tokens = [
        shell("keys", "create", "--type", "secret", "--name", name)[1].strip()
        for name in ("one", "two")
    ]
    for argv in (("keys", "list"), ("keys", "list", "--json")):
        status, out, _ = shell(*argv)
        assert status == 0 and "one" in out and "two" in out
        for token in tokens:
            assert token not in out and token.rpartition("_")[2] not in out
            assert token[-4:] in out
    assert len(shell("keys", "list")[1].splitlines()) == 2


def test_keys_revoke_ends_a_key_by_the_id_that_list_shows(shell, make):
    token = shell("keys", "create", "--type", "secret")[1].strip()
    ref = shell("keys", "list")[1].split()[0]
    assert ref == json.loads(shell("keys", "list", "--json")[1])[0]["id"]
    status, _, err = shell("keys", "revoke", ref)
    assert (status, err) == (0, "")
    assert json.loads(shell("keys", "list", "--json")[1]) == []
    assert make().get("/v1/contacts", key=token).status_int == 401
    status, out, err = shell("keys", "revoke", ref)
    assert (status, out, one_line(err)) == (1, "", True)


def test_keys_update_changes_what_is_named_and_nothing_else(shell):
    shell("keys", "create", "--type", "publishable", "--domain", "a.com", "--name", "n")
    before = json.loads(shell("keys", "list", "--json")[1])[0]
    assert shell("keys", "update", before["id"], "--domain", "b.com")[0] == 0
    assert json.loads(shell("keys", "list", "--json")[1])[0] == {
        **before,
        "domains": ["b.com"],
    }
    options = ("--name", "new", "--existing", "keep")
    assert shell("keys", "update", before["id"], *options)[0] == 0
    assert json.loads(shell("keys", "list", "--json")[1])[0] == {
        **before,
        "domains": ["b.com"],
        "name": "new",
        "existing": "keep",
    }


def test_the_environments_key_is_listed_as_env_and_stays(shell, monkeypatch):
    monkeypatch.setenv("CONTACTAPI_SECRET_KEY", ENV_KEY)
    status, out, _ = shell("keys", "list")
    assert status == 0 and out.split()[0] == "env" and ENV_KEY not in out
    assert [row["id"] for row in json.loads(shell("keys", "list", "--json")[1])] == [
        "env"
    ]
    for argv in (("revoke", "env"), ("update", "env", "--name", "x")):
        status, out, err = shell("keys", *argv)
        assert (status, out, one_line(err)) == (1, "", True)


@pytest.mark.parametrize(
    "argv",
    [
        "keys create --type publishable",
        "keys create --type restricted",
        "keys create --type restricted --permission contacts:reed",
        "keys create --type restricted --permission everything",
        "keys create --type secret --permission contacts:read",
        "keys create --type secret --domain example.com",
        "keys create --type publishable --domain exa_$mple",
        "keys create --type imaginary",
        "keys create --type secret --workspace ../x",
        "keys create --type publishable --domain a.com --existing overwrite",
        "keys create",
        "keys",
        "keys revoke",
        "keys update",
        "keys nonsense",
        "serve --port eighty",
        "serve --colour red",
        "swerve",
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(shell, argv):
    status, out, err = shell(*argv.split())
    assert (status, out) == (2, "")
    assert one_line(err), err


@pytest.mark.parametrize("ref", ["key_00000000000000000000000000", "nonsense", "con_x"])
@pytest.mark.parametrize("argv", [("revoke",), ("update", "--name", "x")])
def test_an_unknown_key_is_one_line_and_exit_1(shell, argv, ref):
    status, out, err = shell("keys", argv[0], ref, *argv[1:])
    assert (status, out, one_line(err)) == (1, "", True)


@pytest.mark.parametrize(
    "name, value",
    [
        ("CONTACTAPI_RATE_LIMIT", "hunter2"),
        ("CONTACTAPI_SECRETKEY", "hunter2"),
        ("DATABASE_URL", "mysql://hunter2"),
        ("PORT", "hunter2"),
    ],
)
def test_a_wrong_variable_is_one_line_and_exit_1(shell, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    status, out, err = shell("keys", "list")
    assert (status, out, one_line(err)) == (1, "", True)
    assert name in err and "hunter2" not in err


@pytest.mark.parametrize("content", [b"no database at all" * 99, None])
def test_a_database_that_cannot_be_used_is_one_line_and_exit_1(
    shell, tmp_path, content
):
    if content is None:
        (tmp_path / "contacts.db").mkdir()
    else:
        (tmp_path / "contacts.db").write_bytes(content)
    status, out, err = shell("keys", "list")
    assert (status, out, one_line(err)) == (1, "", True)
    assert "contacts.db" in err


def test_serve_binds_the_port_before_it_makes_anything(shell, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, out, err = shell("serve", "--port", port)
    assert (status, out, one_line(err)) == (1, "", True)
    assert str(port) in err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("argv", [[], ["serve"]])
def test_the_start_line_names_the_address_and_the_databases_absolute_path(
    shell, tmp_path, monkeypatch, caplog, argv
):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(contactapi.Server, "run", lambda server: server.close())
    status, out, err = shell(*argv, "--port", 0, "--database", "sqlite:///own.db")
    assert (status, out) == (0, "")
    line = next(text for text in (caplog.text + err).splitlines() if "listens" in text)
    assert re.search(r"http://127\.0\.0\.1:[1-9]\d+\b", line)
    assert str(tmp_path / "own.db") in line
    assert [path.name for path in tmp_path.iterdir()] == ["own.db"]


class Screen(io.StringIO):
    def isatty(self):
        return True


def first_start(api, monkeypatch, screen, **settings):
    monkeypatch.setattr(sys, "stdout", screen)
    config = Config.from_env(settings)
    contactapi.offer_keys(config, api.services, "http://127.0.0.1:8080")
    return screen.getvalue()


def test_the_first_start_at_a_terminal_shows_two_keys_once(make, monkeypatch):
    api = make()
    api.services.keys.revoke(api.ref(api.secret))
    shown = first_start(api, monkeypatch, Screen())
    (secret,) = set(re.findall(r"ck_secret_\w+", shown))
    (public,) = re.findall(r"ck_pub_\w+", shown)
    local = {"Origin": "http://localhost:5500"}
    assert api.post(ADA, key=public, headers=local).status_int == 201
    assert api.post(ADA, key=public, headers=PAGE).status_int == 403
    assert api.get("/v1/contacts", key=secret).json["total"] == 1
    assert first_start(api, monkeypatch, Screen()) == ""


def test_the_curl_line_of_the_first_start_works_as_pasted(make, monkeypatch):
    api = make()
    api.services.keys.revoke(api.ref(api.secret))
    shown = first_start(api, monkeypatch, Screen())
    line = shown[shown.index("curl ") :].replace("\\\n", "")
    words = shlex.split(line)
    url = next(word for word in words if word.startswith("http"))
    pairs = [words[n + 1] for n, word in enumerate(words) if word == "-H"]
    body = words[words.index("-d") + 1].encode()
    path = url.removeprefix("http://127.0.0.1:8080")
    headers = dict(pair.split(": ", 1) for pair in pairs)
    answer = api.ask("POST", path, body, key=None, headers=headers)
    assert answer.status_int == 201


def test_without_a_terminal_no_key_is_made_and_one_line_says_how(
    make, monkeypatch, caplog
):
    api = make()
    api.services.keys.revoke(api.ref(api.secret))
    assert first_start(api, monkeypatch, io.StringIO()) == ""
    (record,) = caplog.records
    assert "keys create" in record.getMessage() and "\n" not in record.getMessage()
    assert api.services.keys.list() == []


def test_with_the_environments_key_none_is_made(make, monkeypatch, caplog):
    api = make(CONTACTAPI_SECRET_KEY=ENV_KEY)
    api.services.keys.revoke(api.ref(api.secret))
    settings = {"CONTACTAPI_SECRET_KEY": ENV_KEY}
    assert first_start(api, monkeypatch, Screen(), **settings) == ""
    assert api.services.keys.list() == [] and caplog.records == []


###############################################################################
# Files: imports and exports ##################################################
###############################################################################

MEDIA = {"csv": "text/csv", "jsonl": "application/jsonl"}
FILES = [f"/v1/{kind}.{form}" for kind in ("contacts", "companies") for form in MEDIA]


def jsonl(*documents):
    return "".join(json.dumps(document) + "\n" for document in documents)


def upload(api, content, path="/v1/contacts.jsonl", media=None, **options):
    """The answer to an import."""
    raw = content.encode() if isinstance(content, str) else content
    headers = {"Content-Type": media or MEDIA[path.rstrip("/").rpartition(".")[2]]}
    return api.ask("POST", path, raw, headers=headers, **options)


def counts(answer):
    """(created, updated, failed, lines with an error) of an import's report."""
    assert answer.status_int == 200, answer.text
    report = answer.json
    assert list(report) == ["created", "updated", "failed", "errors"]
    for error in report["errors"]:
        assert set(error) == {"line", "message"} and error["message"]
    lines = [error["line"] for error in report["errors"]]
    return report["created"], report["updated"], report["failed"], lines


def exported(api, path="/v1/contacts.jsonl", **options):
    """The documents of a JSONL export."""
    answer = api.get(path, **options)
    assert answer.status_int == 200, answer.text
    lines = answer.body.decode().split("\n")
    assert lines.pop() == ""
    return [json.loads(line) for line in lines]


def cells(api, path="/v1/contacts.csv", **options):
    """The rows of a CSV export, read as a spreadsheet does."""
    answer = api.get(path, **options)
    assert answer.status_int == 200, answer.text
    return list(csv.reader(io.StringIO(answer.body.decode(), newline="")))


def fields_of(document):
    ours = ("id", "email", "created_at", "updated_at")
    return {name: value for name, value in document.items() if name not in ours}


def log_size(api):
    return api.services.store.row("SELECT count(*) FROM event")[0]


@pytest.mark.parametrize("kind, key", [("contacts", "email"), ("companies", "name")])
def test_jsonl_is_taken_in_and_the_report_counts(free, kind, key):
    path = f"/v1/{kind}.jsonl"
    lines = jsonl({key: "a@x.org", "n": 1}, {key: "b@x.org"}, {key: "A@X.org", "n": 2})
    assert counts(upload(free, lines, path)) == (2, 1, 0, [])
    assert counts(upload(free, lines, path)) == (0, 3, 0, [])
    shown = free.get(f"/v1/{kind}").json["data"]
    assert [(one[key], one.get("n")) for one in shown] == [
        ("b@x.org", None),
        ("A@X.org", 2),
    ]


@pytest.mark.parametrize("kind, key", [("contacts", "email"), ("companies", "name")])
def test_csv_is_taken_in_and_the_report_counts(free, kind, key):
    path = f"/v1/{kind}.csv"
    lines = f"{key},plan,note\r\na@x.org,pro,\r\nb@x.org,5,x\r\nA@x.org,max,y\r\n"
    assert counts(upload(free, lines, path)) == (2, 1, 0, [])
    shown = free.get(f"/v1/{kind}").json["data"]
    assert [(one[key], one["plan"], one["note"]) for one in shown] == [
        ("b@x.org", "5", "x"),
        ("A@x.org", "max", "y"),
    ]


@pytest.mark.parametrize("kind, key", [("contacts", "email"), ("companies", "name")])
@pytest.mark.parametrize("form", MEDIA)
def test_the_command_line_takes_in_the_same(shell, make, tmp_path, kind, key, form):
    content = {
        "csv": f"{key},plan\na@x.org,pro\n,none\nb@x.org,pro\na@x.org,max\n",
        "jsonl": jsonl(
            {key: "a@x.org", "plan": "pro"},
            {"plan": "none"},
            {key: "b@x.org", "plan": "pro"},
            {key: "a@x.org", "plan": "max"},
        ),
    }[form]
    (tmp_path / f"in.{form}").write_text(content)
    status, out, err = shell("import", f"in.{form}", "--kind", kind)
    assert (status, out) == (1, "2 created, 1 updated, 1 failed\n")
    bad = {"csv": 3, "jsonl": 2}[form]
    assert re.search(rf"^line {bad}: {key} is required$", err, re.MULTILINE), err
    assert "Traceback" not in err
    shown = make().get(f"/v1/{kind}").json["data"]
    assert [(one[key], one["plan"]) for one in shown] == [
        ("b@x.org", "pro"),
        ("a@x.org", "max"),
    ]


def test_an_import_without_a_failure_says_so_and_exits_0(shell, tmp_path):
    (tmp_path / "in.jsonl").write_text(jsonl({"email": "a@x.org"}))
    assert shell("import", "in.jsonl") == (0, "1 created, 0 updated, 0 failed\n", "")
    assert shell("import", "in.jsonl") == (0, "0 created, 1 updated, 0 failed\n", "")


def test_the_command_line_takes_files_to_the_workspace_it_names(shell, make, tmp_path):
    shell("keys", "create", "--type", "secret", "--workspace", "shop")
    (tmp_path / "in.jsonl").write_text(jsonl({"email": "a@x.org"}))
    assert shell("import", "in.jsonl", "--workspace", "shop")[0] == 0
    assert shell("export", "out.jsonl", "--workspace", "shop")[0] == 0
    assert shell("export", "none.jsonl")[0] == 0
    assert json.loads((tmp_path / "out.jsonl").read_text())["email"] == "a@x.org"
    assert (tmp_path / "none.jsonl").read_text() == ""
    api = make()
    assert api.emails() == []
    key = api.key("secret", workspace="shop")
    assert api.get("/v1/contacts", key=key).json["total"] == 1


DEEP = b"[" * 64 + b"]" * 64
BAD_LINES = {
    "not UTF-8": b'{"email":"x@x.org","a":"\xff"}',
    "Latin-1": '{"email":"x@x.org","a":"Grün"}'.encode("latin-1"),
    "not JSON": b'{"email":"x@x.org"',
    "two objects": b'{"email":"x@x.org"} {"email":"y@x.org"}',
    "an array": b'[{"email":"x@x.org"}]',
    "a text": b'"x@x.org"',
    "null": b"null",
    "no email": b'{"name":"Ada"}',
    "null email": b'{"email":null}',
    "email in another case": b'{"Email":"x@x.org"}',
    "no valid email": b'{"email":"x at x.org"}',
    "email of a number": b'{"email":5}',
    "created in the future": b'{"email":"x@x.org","created_at":"2026-07-04T10:00:01Z"}',
    "updated in the future": b'{"email":"x@x.org","updated_at":"2999-01-01"}',
    "created some time": b'{"email":"x@x.org","created_at":"yesterday"}',
    "created at a number": b'{"email":"x@x.org","created_at":1783159200}',
    "created before all": b'{"email":"x@x.org","created_at":"0001-01-01T00:00+14:00"}',
    "updated before all": b'{"email":"x@x.org","updated_at":"0001-01-01T00:00+14:00"}',
    "NaN": b'{"email":"x@x.org","a":NaN}',
    "no double": b'{"email":"x@x.org","a":1e400}',
    "4301 digits": b'{"email":"x@x.org","a":' + b"9" * 4301 + b"}",
    "half a surrogate": b'{"email":"x@x.org","a":"\\ud800"}',
    "too deep": b'{"email":"x@x.org","a":' + DEEP + b"}",
    "far too deep": b'{"email":"x@x.org","a":' + b"[" * 100_000 + b"}",
    "fields over the limit": b'{"email":"x@x.org","a":"' + b"x" * 65536 + b'"}',
    "a line over the limit": b'{"email":"x@x.org","a":"' + b"x" * 300_000 + b'"}',
    "a line of 3 MB": b"x" * 3_000_000,
}


@pytest.mark.parametrize("bad", BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_of_jsonl_stops_nothing_and_is_named(free, bad):
    lines = b'{"email":"a@x.org"}\n' + bad + b'\n{"email":"b@x.org"}'
    assert counts(upload(free, lines)) == (2, 0, 1, [2])
    assert free.emails() == ["b@x.org", "a@x.org"]
    assert free.get("/v1/stats").json["contacts"] == 2
    assert log_size(free) == 2


BAD_ROWS = {
    "not UTF-8": b"x@x.org,\xff,,",
    "Latin-1": "x@x.org,Grün,,".encode("latin-1"),
    "no email": b",Ada,,",
    "no cells but some": b",,,",
    "no valid email": b"x at x.org,Ada,,",
    "too many cells": b"x@x.org,Ada,,,extra",
    "too many empty cells": b"x@x.org,Ada,,,,,,",
    "created in the future": b"x@x.org,Ada,2026-07-04T10:00:01Z,",
    "updated in the future": b"x@x.org,Ada,,2999-01-01",
    "created some time": b"x@x.org,Ada,4.7.2026,",
    "created before all": b"x@x.org,Ada,0001-01-01T00:00+14:00,",
    "fields over the limit": b"x@x.org," + b"x" * 65536 + b",,",
    "a cell over csv's own limit": b"x@x.org," + b"x" * 140_000 + b",,",
    "a line over the limit": b"x@x.org," + b"x" * 300_000 + b",,",
    "a line of 3 MB": b"x@x.org," + b"x" * 3_000_000 + b",,",
}


@pytest.mark.parametrize("bad", BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_line_of_csv_stops_nothing_and_is_named(free, bad):
    rows = [b"email,name,created_at,updated_at", b"a@x.org,A,,", bad, b"b@x.org,B,,"]
    content = b"\r\n".join(rows) + b"\r\n"
    assert counts(upload(free, content, "/v1/contacts.csv")) == (2, 0, 1, [3])
    assert free.emails() == ["b@x.org", "a@x.org"]
    assert log_size(free) == 2
    key = free.key("secret", workspace="other")
    answer = upload(free, b"\n".join(rows), "/v1/contacts.csv", key=key)
    assert counts(answer) == (2, 0, 1, [3])


@pytest.mark.parametrize("form", MEDIA)
def test_a_bad_line_of_a_company_is_named_too(free, form):
    path, long = f"/v1/companies.{form}", "x" * 201
    content = {
        "jsonl": jsonl({"name": "A"}, {"name": long}, {"name": " "}, {"name": "B"}),
        "csv": f"name\nA\n{long}\n  \nB\n",
    }[form]
    first = {"jsonl": 2, "csv": 3}[form]
    assert counts(upload(free, content, path)) == (2, 0, 2, [first, first + 1])


def test_bad_lines_are_named_by_their_number_in_later_batches_too(free):
    bad = (1, 500, 501, 502, 1000, 1001, 1203)
    lines = [
        "nonsense\n" if n in bad else jsonl({"email": f"u{n}@x.org"})
        for n in range(1, 1204)
    ]
    assert counts(upload(free, "".join(lines))) == (1196, 0, 7, list(bad))


def test_empty_lines_are_passed_over_and_count_as_lines(free):
    content = '\n{"email":"a@x.org"}\r\n  \r\nnonsense\n\n'
    assert counts(upload(free, content)) == (1, 0, 1, [4])
    content = "email\n\na@x.org\r\n\r\nnonsense\n\n"
    assert counts(upload(free, content, "/v1/contacts.csv")) == (0, 1, 1, [5])


def test_lines_after_a_quoted_line_end_are_named_by_their_place_in_the_file(free):
    content = 'email,note\na@x.org,"two\nlines"\nnonsense,x\n'
    answer = upload(free, content, "/v1/contacts.csv")
    assert counts(answer) == (1, 0, 1, [4])


def test_a_report_shows_its_first_100_errors_and_counts_all(free):
    answer = upload(free, "nonsense\n" * 150 + jsonl({"email": "a@x.org"}))
    assert counts(answer) == (1, 0, 150, list(range(1, 101)))


def test_the_message_of_a_bad_line_says_what_is_wrong(free):
    content = jsonl({}, {"email": "no"}, {"email": "a@x.org", "created_at": "2999"})
    answer = upload(free, content + jsonl({"email": "a@x.org", "x": "x" * 65536}))
    one, two, three, four = [error["message"] for error in answer.json["errors"]]
    assert one == "email is required"
    assert two == "email must be a valid address"
    assert "created_at" in three and "65536" in four


@pytest.mark.parametrize("path", FILES)
def test_an_empty_file_takes_in_nothing(free, path):
    answer = upload(free, b"", path)
    if path.endswith("jsonl"):
        assert counts(answer) == (0, 0, 0, [])
    else:
        assert failure(answer) == (400, "invalid_request", None)


@pytest.mark.parametrize(
    "head",
    [
        b"name,plan",
        b"e-mail",
        b"\xff\xfee\0m\0a\0i\0l\0",
        b"[]",
        b"\0",
        b'"email',
        b"email,name\ra@x.org,Ada",
        "email;Größe".encode("latin-1"),
        "email,Größe".encode("latin-1"),
    ],
    ids=ascii,
)
def test_a_csv_whose_first_line_cannot_be_used_is_400_and_stores_nothing(free, head):
    row = b"\na@x.org;5\n" if b";" in head else b"\na@x.org,5\n"
    answer = upload(free, head + row, "/v1/contacts.csv")
    assert failure(answer) == (400, "invalid_request", None)
    assert free.emails() == []


def test_a_columns_name_that_is_far_too_long_stores_nothing(free):
    head = b"email," + b"x" * 140_000
    answer = upload(free, head + b"\na@x.org,5\n", "/v1/contacts.csv")
    assert answer.status_int == 400 or counts(answer) == (0, 0, 1, [2])
    assert free.emails() == []


@pytest.mark.parametrize("form", MEDIA)
def test_a_new_record_keeps_the_times_of_its_line(free, form):
    created, updated = "2020-01-02T03:04:05.678901Z", "2021-12-31T23:59:59.000001Z"
    content = {
        "jsonl": jsonl(
            {"email": "new@x.org", "created_at": "2026-07-04T12:00:00+02:00"},
            {"email": "a@x.org", "created_at": created, "updated_at": updated},
            {"email": "b@x.org", "created_at": "2019-05-06"},
        ),
        "csv": "created_at,email,updated_at\n"
        "2026-07-04T12:00:00+02:00,new@x.org,\n"
        f"{created},a@x.org,{updated}\n2019-05-06,b@x.org,\n",
    }[form]
    assert counts(upload(free, content, f"/v1/contacts.{form}")) == (3, 0, 0, [])
    shown = [(c["email"], c["created_at"], c["updated_at"]) for c in exported(free)]
    assert shown == [
        ("b@x.org", "2019-05-06T00:00:00.000000Z", "2019-05-06T00:00:00.000000Z"),
        ("a@x.org", created, updated),
        ("new@x.org", "2026-07-04T10:00:00.000000Z", "2026-07-04T10:00:00.000000Z"),
    ]
    assert free.emails() == ["new@x.org", "a@x.org", "b@x.org"]
    one = free.get("/v1/contacts?email=a@x.org").json["data"][0]
    assert one["created_at"] == "2020-01-02T03:04:05Z"


@pytest.mark.parametrize(
    "moment", ["1970-01-01T00:00:00Z", "1969-12-31T23:59:59.5Z", "0001-01-01", "1066"]
)
@pytest.mark.parametrize("name", ["created_at", "updated_at"])
def test_a_time_of_long_ago_is_a_time(free, moment, name):
    shown = {
        "1970-01-01T00:00:00Z": "1970-01-01T00:00:00.000000Z",
        "1969-12-31T23:59:59.5Z": "1969-12-31T23:59:59.500000Z",
        "0001-01-01": "0001-01-01T00:00:00.000000Z",
    }
    answer = upload(free, jsonl({"email": "a@x.org", name: moment}))
    if moment not in shown:
        assert counts(answer) == (0, 0, 1, [1])
    else:
        assert counts(answer) == (1, 0, 0, [])
        assert exported(free)[0][name] == shown[moment]


def test_a_known_record_keeps_its_own_created_at_and_is_updated_now(free):
    free.add("a@x.org", plan="pro")
    free.turn(60)
    times = {"created_at": "2020-01-01", "updated_at": "2020-01-01"}
    upload(free, jsonl({"email": "a@x.org", "plan": "max", **times}))
    (one,) = free.get("/v1/contacts").json["data"]
    assert (one["plan"], one["created_at"], one["updated_at"]) == (
        "max",
        "2026-07-04T10:00:00Z",
        "2026-07-04T10:01:00Z",
    )


def test_an_import_writes_over_the_fields_sent_and_the_others_stay(free):
    free.add("a@x.org", plan="pro", city="Ulm", tags=["x"])
    upload(free, jsonl({"email": "a@x.org", "plan": None, "new": 1}))
    upload(free, "email,city,tags\na@x.org,,\n", "/v1/contacts.csv")
    (one,) = exported(free)
    assert fields_of(one) == {"plan": None, "city": "Ulm", "tags": ["x"], "new": 1}


@pytest.mark.parametrize("form", MEDIA)
def test_a_line_that_changes_nothing_counts_as_updated_and_makes_no_event(free, form):
    free.add("a@x.org", plan="pro", city="Ulm")
    before, size = free.get("/v1/contacts").json, log_size(free)
    free.turn(60)
    line = {"email": "a@x.org", "plan": "pro", "created_at": "2020-01-01T00:00:00Z"}
    content = {"jsonl": jsonl(line), "csv": "email,plan,city\na@x.org,pro,\n"}[form]
    answer = upload(free, content, f"/v1/contacts.{form}")
    assert counts(answer) == (0, 1, 0, [])
    assert free.get("/v1/contacts").json == before
    assert log_size(free) == size


def test_a_line_that_changes_a_type_alone_changes_the_record(free):
    free.add("a@x.org", n=1)
    assert counts(upload(free, jsonl({"email": "a@x.org", "n": True})))[1] == 1
    assert counts(upload(free, jsonl({"email": "a@x.org", "n": 1.0})))[1] == 1
    assert exported(free)[0]["n"] == 1.0 and isinstance(exported(free)[0]["n"], float)
    assert log_size(free) == 3


@pytest.mark.parametrize("form", MEDIA)
def test_the_id_of_a_line_is_ignored(free, form):
    (ref,) = free.add("a@x.org", plan="pro")
    content = {
        "jsonl": jsonl({"id": ref, "email": "b@x.org", "plan": "max"}),
        "csv": f"id,email,plan\n{ref},b@x.org,max\n",
    }[form]
    assert counts(upload(free, content, f"/v1/contacts.{form}")) == (1, 0, 0, [])
    one, other = exported(free)
    assert (one["id"], one["plan"]) == (ref, "pro")
    assert other["id"] != ref and (other["email"], other["plan"]) == ("b@x.org", "max")


@contextlib.contextmanager
def sql_of_the_writer(store):
    """A list that fills with each statement of the writer's connection."""
    said = []

    def listen(callback):
        store.write(lambda: store.db.connection().set_trace_callback(callback))

    listen(said.append)
    yield said
    listen(None)


def test_many_lines_of_one_second_get_a_place_each_by_one_look_up(free):
    def lines(start, stop):
        when = "2020-01-01T00:00:00Z"
        many = (
            {"email": f"u{n}@x.org", "created_at": when} for n in range(start, stop)
        )
        return jsonl(*many)

    counted = []
    for start, stop in ((0, 1000), (1000, 3000)):
        with sql_of_the_writer(free.services.store) as said:
            answer = upload(free, lines(start, stop))
        assert counts(answer) == (stop - start, 0, 0, [])
        counted.append(len(said) / (stop - start))
    assert max(counted) < 8 and abs(counted[0] - counted[1]) < 0.5
    shown = [(c["email"], c["created_at"]) for c in exported(free)]
    assert shown == [
        (f"u{n}@x.org", f"2020-01-01T00:00:00.{n:06}Z") for n in range(3000)
    ]


def test_the_look_up_of_a_place_uses_the_index(free):
    lines = [{"email": f"u{n}@x.org", "created_at": "2020-01-01"} for n in range(5)]
    upload(free, jsonl(*lines[:2]))
    with sql_of_the_writer(free.services.store) as said:
        upload(free, jsonl(*lines[2:]))
    asked = [
        sql for sql in said if re.match("SELECT.*created_at (>=|IN|=) ?[0-9(]", sql)
    ]
    assert asked
    for sql in asked:
        for *_, plan in free.services.store.rows(f"EXPLAIN QUERY PLAN {sql}"):
            assert "SEARCH" in plan and "created_at" in plan, (sql, plan)


@pytest.mark.parametrize(
    "kind, permissions, import_status, export_status",
    [
        ("secret", (), 200, 200),
        ("restricted", ("contacts:read", "contacts:write"), 200, 200),
        ("restricted", ("contacts:read",), 403, 200),
        ("restricted", ("contacts:write",), 403, 403),
        ("restricted", ("companies:read", "companies:write"), 403, 403),
        ("restricted", ("contacts:write", "companies:read"), 403, 403),
        ("publishable", (), 403, 403),
        (None, (), 401, 401),
    ],
)
def test_imports_need_both_permissions_and_exports_the_reading_one(
    free, kind, permissions, import_status, export_status
):
    key = free.key(kind, *permissions) if kind else None
    contents = {"csv": "email\na@x.org\n", "jsonl": '{"email":"a@x.org"}\n'}
    for form, content in contents.items():
        path = f"/v1/contacts.{form}"
        assert upload(free, content, path, key=key).status_int == import_status
        assert free.get(path, key=key).status_int == export_status
    assert free.emails() == ["a@x.org"] * (import_status == 200)


@pytest.mark.parametrize("form", MEDIA)
def test_a_companys_files_need_the_permissions_of_companies(free, form):
    path = f"/v1/companies.{form}"
    content = {"csv": "name\nAcme\n", "jsonl": '{"name":"Acme"}\n'}[form]
    key = free.key("restricted", "companies:read", "companies:write")
    assert upload(free, content, path, key=key).status_int == 200
    other = free.key("restricted", "contacts:read", "contacts:write")
    assert upload(free, content, path, key=other).status_int == 403
    assert free.get(path, key=other).status_int == 403


@pytest.mark.parametrize("path", FILES)
def test_a_large_body_is_taken_with_a_key_that_may_import(free, path):
    key = free.key(
        *("restricted", "contacts:read", "contacts:write"),
        *("companies:read", "companies:write"),
    )
    name = "email" if "contacts" in path else "name"
    rows = [{name: f"u{n}@x.org", "note": "x" * 1000} for n in range(100)]
    content = jsonl(*rows)
    if path.endswith("csv"):
        content = f"{name},note\n" + "".join(f"{r[name]},{r['note']}\n" for r in rows)
    assert len(content) > 65536
    assert counts(upload(free, content, path, key=key)) == (100, 0, 0, [])
    assert counts(upload(free, content, path + "/", key=key)) == (0, 100, 0, [])


TOO_LARGE_FILE = (413, "payload_too_large", None)


@pytest.mark.parametrize(
    "kind, permissions",
    [
        ("restricted", ("contacts:read",)),
        ("restricted", ("contacts:write",)),
        ("restricted", ("companies:read", "companies:write")),
        ("publishable", ()),
        (None, ()),
        ("unknown", ()),
    ],
)
def test_a_large_body_without_such_a_key_is_413(free, kind, permissions):
    key = {None: None, "unknown": "ck_secret_unknown"}.get(kind, ...)
    if key is ...:
        key = free.key(kind, *permissions)
    for form in MEDIA:
        answer = upload(free, b"x" * 65537, f"/v1/contacts.{form}", key=key)
        assert failure(answer) == TOO_LARGE_FILE
        small = upload(free, b"x" * 65536, f"/v1/contacts.{form}", key=key)
        assert small.status_int in (401, 403)


def test_the_large_limit_holds_for_imports_alone(free):
    for method, path in (
        ("POST", "/v1/contacts"),
        ("POST", "/v1/companies"),
        ("PATCH", f"/v1/contacts/{UNKNOWN}"),
        ("POST", "/v1/contacts.xml"),
    ):
        answer = free.ask(method, path, b"x" * 65537)
        assert failure(answer) == TOO_LARGE_FILE, path


@pytest.mark.parametrize("length, status", [(2**26, 200), (2**26 + 1, 413)])
def test_an_import_is_at_most_64_mib(free, length, status):
    headers = {"Content-Type": "application/jsonl", "Content-Length": str(length)}
    content = b'{"email":"a@x.org"}\n'
    answer = free.ask("POST", "/v1/contacts.jsonl", content, headers=headers)
    assert answer.status_int == status


@pytest.mark.parametrize(
    "path, media, status",
    [
        ("/v1/contacts.csv", "text/csv", 200),
        ("/v1/contacts.csv", "Text/CSV; charset=UTF-8; header=present", 200),
        ("/v1/contacts.csv", "application/jsonl", 415),
        ("/v1/contacts.csv", "application/json", 415),
        ("/v1/contacts.csv", "text/plain", 415),
        ("/v1/contacts.csv", "application/x-www-form-urlencoded", 415),
        ("/v1/contacts.csv", "multipart/form-data; boundary=x", 415),
        ("/v1/companies.csv", "application/json", 415),
        ("/v1/contacts.jsonl", "application/jsonl", 200),
        ("/v1/contacts.jsonl", "application/x-ndjson; charset=utf-8", 200),
        ("/v1/contacts.jsonl", "text/csv", 415),
        ("/v1/contacts.jsonl", "application/json", 415),
        ("/v1/companies.jsonl", "text/csv", 415),
    ],
)
def test_an_import_takes_its_own_media_types(free, path, media, status):
    content = "email\na@x.org\n" if path.endswith("csv") else '{"email":"a@x.org"}\n'
    answer = upload(free, content, path, media)
    assert answer.status_int == status
    if status == 415:
        assert failure(answer)[1] == "unsupported_media_type"
        assert free.emails() == []


@pytest.mark.parametrize("path", FILES)
def test_an_export_names_its_media_type_and_is_kept_by_no_cache(free, path):
    for method in ("GET", "HEAD"):
        answer = free.ask(method, path)
        media = answer.headers["Content-Type"].partition(";")[0]
        assert (answer.status_int, media) == (200, MEDIA[path.rpartition(".")[2]])
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_other_methods_of_a_file_are_405(free):
    for method in ("PUT", "PATCH", "DELETE"):
        answer = free.ask(method, "/v1/contacts.csv")
        assert failure(answer)[:2] == (405, "method_not_allowed")
        assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"


# -- at most two at once


def opened(api, path):
    """A started answer whose body nobody has read yet: (status, the body)."""
    request = webtest.TestRequest.blank(path, environ={"REMOTE_ADDR": "203.0.113.1"})
    request.headers["Authorization"] = f"Bearer {api.secret}"
    status, _, body = request.call_application(api.app)
    return int(status[:3]), body


def busy(answer):
    assert failure(answer)[:2] == (429, "rate_limit")
    assert int(answer.headers["Retry-After"]) >= 1
    return True


@pytest.mark.parametrize("path", FILES)
def test_a_third_export_at_once_is_429(free, path):
    free.add("a@x.org")
    free.post({"name": "Acme"}, path="/v1/companies")
    held = [opened(free, "/v1/contacts.csv"), opened(free, "/v1/companies.jsonl")]
    assert [status for status, _ in held] == [200, 200]
    assert busy(free.get(path))
    assert upload(free, jsonl({"email": "b@x.org"})).status_int == 200
    held[0][1].close()
    assert free.get(path).status_int == 200
    held[1][1].close()


@pytest.mark.parametrize("kind", ["contacts", "companies"])
@pytest.mark.parametrize("form", MEDIA)
def test_an_export_that_ends_in_any_way_leaves_its_place(free, kind, form):
    free.add("a@x.org")
    free.post({"name": "Acme"}, path="/v1/companies")
    path = f"/v1/{kind}.{form}"
    for _ in range(3):
        assert free.ask("HEAD", path).status_int == 200
        assert free.get(f"{path}?created_after=nonsense").status_int == 400
        status, body = opened(free, path)
        body.close()
        assert status == 200
    assert free.get(path).status_int == 200


def test_an_export_that_fails_before_its_first_byte_leaves_its_place(free):
    many = {f"f{n}": "x" for n in range(501)}
    free.add("a@x.org", **many)
    for _ in range(3):
        assert free.get("/v1/contacts.csv").status_int == 400
    assert free.get("/v1/contacts.jsonl").status_int == 200


class Slow(io.RawIOBase):
    """A body that comes when it is let go."""

    def __init__(self, content):
        self.content, self.asked, self.go = io.BytesIO(content), [], threading.Event()

    def readline(self, size=-1):
        self.asked.append(size)
        assert self.go.wait(20)
        return self.content.readline(size)


def test_a_third_import_at_once_is_429(free):
    def send(path, body, statuses):
        environ = {"REMOTE_ADDR": "203.0.113.1", "REQUEST_METHOD": "POST"}
        request = webtest.TestRequest.blank(path, environ=environ)
        request.headers["Authorization"] = f"Bearer {free.secret}"
        request.headers["Content-Type"] = MEDIA[path.rpartition(".")[2]]
        request.environ["wsgi.input"] = body
        statuses.append(request.call_application(free.app)[0])

    statuses = []
    bodies = [Slow(b'{"email":"a@x.org"}\n'), Slow(b"name\nAcme\n")]
    threads = [
        threading.Thread(target=send, args=(path, body, statuses))
        for path, body in zip(("/v1/contacts.jsonl", "/v1/companies.csv"), bodies)
    ]
    for thread, body in zip(threads, bodies):
        thread.start()
        deadline = time.monotonic() + 20
        while not body.asked and time.monotonic() < deadline:
            time.sleep(0.001)
    assert busy(upload(free, jsonl({"email": "b@x.org"})))
    assert busy(upload(free, "name\nB\n", "/v1/companies.csv"))
    assert free.get("/v1/contacts.csv").status_int == 200
    assert free.post(ADA).status_int == 201
    for thread, body in zip(threads, bodies):
        body.go.set()
        thread.join()
    assert [status[:3] for status in statuses] == ["200", "200"]
    for _ in range(3):
        assert upload(free, b"nonsense", "/v1/contacts.csv").status_int == 400
    assert upload(free, jsonl({"email": "b@x.org"})).status_int == 200


def test_an_import_reads_no_line_further_than_it_may_be_long(make):
    api = make(CONTACTAPI_MAX_BODY="1024")
    body = Slow(b"x" * 100_000)
    body.go.set()
    lines = list(contactapi.bounded_lines(body, 4096))
    assert lines == [b"\xff\n"] and max(body.asked) <= 4097
    assert counts(upload(api, b"x" * 100_000)) == (0, 0, 1, [1])


def test_an_export_holds_no_snapshot_while_its_reader_is_slow(free):
    upload(free, jsonl(*({"email": f"u{n}@x.org"} for n in range(2500))))
    status, body = opened(free, "/v1/contacts.jsonl")
    chunks = iter(body)
    first = next(chunks).decode()
    free.add("new@x.org")
    free.services.store.truncate_wal()  # Unavailable if a reader stood in its way
    rest = first + b"".join(chunks).decode()
    body.close()
    emails = [json.loads(line)["email"] for line in rest.split("\n")[:-1]]
    assert (status, emails[:2500]) == (200, [f"u{n}@x.org" for n in range(2500)])
    assert first.count("\n") < 2500 and emails[2500:] in ([], ["new@x.org"])


# -- CSV and spreadsheets


def test_a_csv_is_rfc_4180_with_sorted_columns_and_six_digits(free):
    assert free.get("/v1/contacts.csv").body == b"id,email,created_at,updated_at\r\n"
    ref, *_ = free.add("a@x.org", z='say "hi"', b="x,y", n={"k": [1, "é"]}, t=True)
    free.turn(0.25)
    free.add("b@x.org", b="two\nlines", z=None, a=1.5)
    (other,) = (c["id"] for c in exported(free, "/v1/contacts.jsonl?email=b@x.org"))
    one, two = "2026-07-04T10:00:00.000000Z", "2026-07-04T10:00:00.250000Z"
    assert free.get("/v1/contacts.csv").body.decode() == (
        "id,email,created_at,updated_at,a,b,n,t,z\r\n"
        f'{ref},a@x.org,{one},{one},,"x,y",'
        '"{""k"":[1,""é""]}",true,"say ""hi"""\r\n'
        f'{other},b@x.org,{two},{two},1.5,"two\nlines",,,\r\n'
    )


def test_jsonl_is_the_record_as_v1_shows_it_with_six_digits(free):
    (ref,) = free.add("a@x.org", z=1, a=[None, {"b": 2.50}], n=None)
    free.turn(1.000042)
    free.patch(ref, {"z": 10**30})
    assert free.get("/v1/contacts.jsonl").body.decode() == (
        f'{{"id":"{ref}","email":"a@x.org","z":{10**30},"a":[null,{{"b":2.5}}],'
        '"n":null,"created_at":"2026-07-04T10:00:00.000000Z",'
        '"updated_at":"2026-07-04T10:00:01.000042Z"}\n'
    )


@pytest.mark.parametrize("form", MEDIA)
def test_an_export_is_oldest_first(free, form):
    free.add("c@x.org", "a@x.org", "b@x.org")
    upload(free, jsonl({"email": "old@x.org", "created_at": "1999-01-01"}))
    wanted = ["old@x.org", "c@x.org", "a@x.org", "b@x.org"]
    if form == "jsonl":
        assert [c["email"] for c in exported(free)] == wanted
    else:
        assert [row[1] for row in cells(free)[1:]] == wanted


@pytest.mark.parametrize("count", [999, 1000, 1001, 2000, 2001])
def test_an_export_has_every_record_once_at_the_edges_of_its_batches(free, count):
    upload(free, jsonl(*({"email": f"u{n}@x.org"} for n in range(count))))
    assert [c["email"] for c in exported(free)] == [f"u{n}@x.org" for n in range(count)]
    assert len(cells(free)) == count + 1


RISKY = ["=", "+", "-", "@", "\t", "\r", "\n", "{", "["]
RISKY_TEXTS = [
    quotes + text
    for quotes in ("", "'", "''", "'''")
    for text in (*RISKY, *(f"{char}1+1" for char in RISKY), "")
]
PLAIN_TEXTS = [
    *("a", "'a", "''a", "5", "05", "true", "null", " ", " =1", "a=1", "'a=", "é", "()"),
    *('"', "\"=1'", "a'", "' =1", "\u00a0=1", "\0", "\0=1", "\u2028", "\x0b=", "🙂"),
]


def test_a_text_that_a_spreadsheet_would_run_gets_one_quote_more(free):
    for number, text in enumerate(RISKY_TEXTS):
        free.services.contacts.put(
            free.services.keys.find(free.secret),
            {"email": f"u{number}@x.org", "v": text},
        )
    assert [row[4] for row in cells(free)] == ["v", *("'" + t for t in RISKY_TEXTS)]
    raw = cells(free, "/v1/contacts.csv?raw=1")
    assert [row[4] for row in raw] == ["v", *RISKY_TEXTS]


def test_any_other_text_is_left_as_it_is(free):
    for number, text in enumerate(PLAIN_TEXTS):
        free.add(f"u{number}@x.org", v=text)
    assert [row[4] for row in cells(free)] == ["v", *PLAIN_TEXTS]


@pytest.mark.parametrize("text", [*RISKY_TEXTS, *PLAIN_TEXTS], ids=ascii)
def test_the_import_takes_that_quote_off_again(text):
    cell = contactapi.csv_cell(text)
    assert contactapi.csv_value(cell) == text
    assert contactapi.csv_cell(contactapi.csv_value(cell)) == cell


def test_every_text_comes_back_exactly_from_another_workspace(free):
    texts = [*RISKY_TEXTS, *PLAIN_TEXTS]
    upload(
        free,
        jsonl(*({"email": f"u{n}@x.org", "v": t} for n, t in enumerate(texts))),
    )
    free.turn(1)  # each has a microsecond of its own, after the one of the clock
    key = free.key("secret", workspace="copy")
    file = free.get("/v1/contacts.csv").body
    assert counts(upload(free, file, "/v1/contacts.csv", key=key))[0] == len(texts)
    assert [c.get("v") for c in exported(free, key=key)] == texts


@pytest.mark.parametrize("raw", ["raw=0", "raw=", "raw=true", "RAW=1"])
def test_nothing_but_raw_1_leaves_the_quotes_out(free, raw):
    free.add("a@x.org", v="=1")
    assert cells(free, f"/v1/contacts.csv?{raw}")[1][4] == "'=1"


@pytest.mark.parametrize(
    "email",
    ["=1@x.org", "+tag@x.org", "-a@x.org", "'=1@x.org", "''-@x.org", "{x}@x.org"],
)
def test_an_email_or_a_name_is_no_formula_either(free, email):
    free.add(email)
    free.post({"name": email}, path="/v1/companies")
    for kind in ("contacts", "companies"):
        assert cells(free, f"/v1/{kind}.csv")[1][1] == "'" + email
        key = free.key("secret", workspace="copy")
        file = free.get(f"/v1/{kind}.csv").body
        assert counts(upload(free, file, f"/v1/{kind}.csv", key=key))[0] == 1
        name = {"contacts": "email", "companies": "name"}[kind]
        assert exported(free, f"/v1/{kind}.jsonl", key=key)[0][name] == email


def test_a_fields_name_is_no_formula_either(free):
    names = ["=1", "'+x", "", "'", "{a}", "-"]
    free.add("a@x.org", **dict.fromkeys(names, "x"))
    assert cells(free)[0][4:] == ["'" + name for name in sorted(names)]
    assert cells(free, "/v1/contacts.csv?raw=1")[0][4:] == sorted(names)
    key = free.key("secret", workspace="copy")
    upload(free, free.get("/v1/contacts.csv").body, "/v1/contacts.csv", key=key)
    assert fields_of(exported(free, key=key)[0]) == dict.fromkeys(names, "x")


def nested(levels):
    return [nested(levels - 1)] if levels > 1 else []


CELLS = [
    ('{"a": [1, null, 2.0]}', {"a": [1, None, 2.0]}),
    ("[]", []),
    ("[1, 2] ", [1, 2]),
    ("[1", "[1"),
    ("{x}", "{x}"),
    ("[NaN]", "[NaN]"),
    ("[1e400]", "[1e400]"),
    ("[" * 100 + "]" * 100, "[" * 100 + "]" * 100),
    ('["\\ud800"]', '["\\ud800"]'),
    ("[1] [2]", "[1] [2]"),
    ('[],"a":[]', '[],"a":[]'),
    ('[]],"":[[]', '[]],"":[[]'),
    ("[" * 63 + "]" * 63, nested(63)),
    ("[" * 64 + "]" * 64, "[" * 64 + "]" * 64),
    ("'[1]", "[1]"),
    ("''[1]", "'[1]"),
    ("'", ""),
    ("''", "'"),
    ("'a", "'a"),
    ("5", "5"),
    ("5.0", "5.0"),
    ("true", "true"),
    ("null", "null"),
    (" ", " "),
    ("=1", "=1"),
    (" [1]", " [1]"),
    ("\u00a0x\u00a0", "\u00a0x\u00a0"),
]


def test_a_cell_is_text_unless_it_is_json_in_brackets(free):
    file = io.StringIO()
    rows = [[f"u{n}@x.org", cell] for n, (cell, _) in enumerate(CELLS)]
    csv.writer(file).writerows([["email", "v"], *rows])
    answer = upload(free, file.getvalue(), "/v1/contacts.csv")
    assert counts(answer) == (len(CELLS), 0, 0, [])
    shown = [json.dumps(one.get("v")) for one in exported(free)]
    assert shown == [json.dumps(value) for _, value in CELLS]


def test_an_empty_cell_is_an_absent_field_and_a_short_row_lacks_its_last(free):
    content = 'email,a,b\na@x.org,,x\nb@x.org,"",y\nc@x.org,x\nd@x.org\n'
    assert counts(upload(free, content, "/v1/contacts.csv")) == (4, 0, 0, [])
    assert [fields_of(c) for c in exported(free)] == [
        {"b": "x"},
        {"b": "y"},
        {"a": "x"},
        {},
    ]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffemail,name,note\r\na@x.org,Ada,x\r\n",
        '\ufeff"email",name,note\r\na@x.org,Ada,x\r\n',
        "email;name;note\r\na@x.org;Ada;x\r\n",
        "\ufeffEmail;name;note\r\na@x.org;Ada;x\r\n",
        "name;note;EMAIL\na@x.org;Ada;x\n".replace("a@x.org;Ada;x", "Ada;x;a@x.org"),
        "name;E-Mail, work;eMail;note\nAda;;a@x.org;x\n",
        '"email","name","note"\r\n"a@x.org","Ada","x"\r\n',
        "email,name,note\na@x.org,Ada,x",
        "email,name,note,\na@x.org,Ada,x,\n",
        "email;name;note;ID;Created_At\na@x.org;Ada;x;1;\n",
        " Email ,name,note\n a@x.org ,Ada,x\n",
    ],
    ids=ascii,
)
def test_files_are_taken_as_spreadsheets_save_them(free, content):
    assert counts(upload(free, content, "/v1/contacts.csv")) == (1, 0, 0, [])
    (one,) = exported(free)
    assert one["email"] == "a@x.org"
    assert fields_of(one) == {"name": "Ada", "note": "x"}


@pytest.mark.parametrize(
    "content",
    [
        '"Full\nname",email\r\nAda,a@x.org\r\n',
        '\ufeff"Full\nname";Email\r\nAda;a@x.org\r\n',
        'email,"Full\nname"\r\na@x.org,Ada\r\n',
    ],
    ids=ascii,
)
def test_a_columns_name_may_hold_a_line_end(free, content):
    assert counts(upload(free, content, "/v1/contacts.csv")) == (1, 0, 0, [])
    assert fields_of(exported(free)[0]) == {"Full\nname": "Ada"}


def test_header_names_of_ours_are_taken_in_any_case(free):
    content = "ID;EMAIL;CREATED_AT;Updated_at\nx;a@x.org;2020-01-01;2021-01-01\n"
    assert counts(upload(free, content, "/v1/contacts.csv")) == (1, 0, 0, [])
    (one,) = exported(free)
    assert set(one) == {"id", "email", "created_at", "updated_at"}
    assert one["created_at"] == "2020-01-01T00:00:00.000000Z"
    assert one["updated_at"] == "2021-01-01T00:00:00.000000Z"
    content = "NAME\nAcme\n"
    assert counts(upload(free, content, "/v1/companies.csv")) == (1, 0, 0, [])


def test_a_quoted_cell_may_hold_line_ends_separators_and_quotes(free):
    content = 'email;note;last\r\na@x.org;"a;b\r\nc\n""d"" , e";x\r\nb@x.org;f;\r\n'
    assert counts(upload(free, content, "/v1/contacts.csv")) == (2, 0, 0, [])
    one, other = exported(free)
    assert (one["note"], one["last"]) == ('a;b\r\nc\n"d" , e', "x")
    assert other["note"] == "f"


def test_a_jsonl_file_may_begin_with_a_bom(free):
    content = "\ufeff" + jsonl({"email": "a@x.org"}) + "\ufeff{}\n"
    assert counts(upload(free, content)) == (1, 0, 1, [2])


def test_500_field_names_fit_a_csv_and_501_are_400(free):
    free.add("a@x.org", **{f"f{n:03}": "x" for n in range(300)})
    free.add("b@x.org", **{f"f{n:03}": "x" for n in range(200, 500)})
    assert len(cells(free)[0]) == 504
    free.add("c@x.org", plan="pro", one="x")
    answer = free.get("/v1/contacts.csv")
    assert failure(answer) == (400, "invalid_request", None)
    assert "JSONL" in answer.json["error"]["message"]
    assert len(exported(free)) == 3
    assert len(cells(free, "/v1/contacts.csv?filter[plan]=pro")[0]) == 6


@pytest.mark.parametrize(
    "query, emails",
    [
        ("", ["a", "b", "c"]),
        ("email=B@x.org", ["b"]),
        ("filter[plan]=pro", ["a", "c"]),
        ("filter[plan]=pro&filter[n]=5", ["c"]),
        ("q=ULM", ["a", "b"]),
        ("q=ulm+b@x", ["b"]),
        ("created_after=2026-07-04T10:00:00Z", ["b", "c"]),
        ("created_before=2026-07-04T10:02:00Z", ["a", "b"]),
        ("updated_after=2026-07-04T10:02:00Z&filter[plan]=pro", ["a"]),
        ("filter[plan]=none", []),
        ("page=2&page_size=1", ["a", "b", "c"]),
    ],
)
def test_an_export_has_everything_that_matches_its_filters(free, query, emails):
    (ref,) = free.add("a@x.org", plan="pro", city="Ulm")
    free.turn(60)
    free.add("b@x.org", plan="free", city="ulm")
    free.turn(60)
    free.add("c@x.org", plan="pro", n=5)
    free.turn(60)
    free.patch(ref, {"n": 6})
    wanted = [f"{name}@x.org" for name in emails]
    shown = exported(free, f"/v1/contacts.jsonl?{query}")
    assert [c["email"] for c in shown] == wanted
    rows = cells(free, f"/v1/contacts.csv?{query}")
    assert [row[1] for row in rows[1:]] == wanted


BAD_FILTERS = [
    "created_after=soon",
    "email=no",
    f"q={'x' * 101}",
    "q=a+b+c+d+e+f",
    "q=%ff",
]


@pytest.mark.parametrize("form", MEDIA)
def test_a_bad_filter_of_an_export_is_400(free, form):
    for query in BAD_FILTERS:
        assert failure(free.get(f"/v1/contacts.{form}?{query}"))[0] == 400, query


@pytest.mark.parametrize("form", MEDIA)
def test_an_export_shows_its_own_workspace_alone(free, form):
    free.add("a@x.org")
    other = free.key("secret", workspace="other")
    upload(free, jsonl({"email": "b@x.org"}), key=other)
    body = free.get(f"/v1/contacts.{form}").body
    assert b"a@x.org" in body and b"b@x.org" not in body


def test_a_text_longer_than_csvs_own_limit_survives_where_it_may_be_stored(make):
    api = make(CONTACTAPI_MAX_BODY="1048576", CONTACTAPI_RATE_LIMIT="off")
    text = "=" + "x,\n" * 100_000
    api.add("a@x.org", v=text)
    key = api.key("secret", workspace="copy")
    file = api.get("/v1/contacts.csv").body
    answer = upload(api, file, "/v1/contacts.csv", key=key)
    assert counts(answer) == (1, 0, 0, [])
    assert exported(api, key=key)[0]["v"] == text


# -- any set survives

WEIRD_NAMES = [
    *("", "\n", " ", "\t", ",", ";", '"', "''", "'", "'=x", "=x", "{", "[1]", "a\r\nb"),
    *("Email", "EMAIL", " email", "email ", "ID", "Id", "Created_At", "UPDATED_AT"),
    *(
        "\0",
        "\x7f",
        "\u2028",
        "\ufeff",
        "🙂",
        "e\u0301",
        "é",
        "null",
        "name",
        "x" * 300,
    ),
]
EDGES = [
    *("", "'", "''", "''=x", "'=x", "=x", "+1", "-1", "@a", "[1]", "{", "[", '{"a":1}'),
    *(
        "\0",
        "\t",
        "\n",
        "\r",
        "\r\n",
        "a\0b",
        "\x1b[31m",
        "\x7f",
        "\x85",
        "\u2028",
        '"',
    ),
    *(
        "🙂",
        "👩‍👩‍👧",
        "\U0010ffff",
        "\ue000",
        "\uffff",
        "\ufeff",
        "e\u0301",
        "ß",
        "true",
    ),
    *(" ", " a ", "null", "5", "NaN", ";", ",", "a,b;c", "\\", "\\u0000", "'a", "%s"),
]


def some_text(chance):
    if chance.random() < 0.6:
        return chance.choice(EDGES)
    parts = chance.choices([*EDGES, "a", "b", "'", "="], k=chance.randrange(6))
    return "".join(parts) + chr(chance.randrange(0xD7FF)) * chance.randrange(2)


def some_number(chance):
    integers = (0, -1, 2**53 + 1, 2**63, -(10**40), 10**4299, -(10**4299) + 1)
    floats = (0.0, -0.0, 0.1, 5e-324, 1.7976931348623157e308, 1e16, 1.0, 2.0**70)
    double = struct.unpack("d", chance.randbytes(8))[0]
    whole = chance.randrange(-(10**20), 10**20)
    double = double if double - double == 0 else 1.5  # no infinity, no NaN
    return chance.choice([*integers, *floats, double, whole])


def some_value(chance, depth=0):
    pick = chance.random()
    if pick < 0.4 or (depth > 4 and pick < 0.7):
        return some_text(chance)
    if pick < 0.6:
        return some_number(chance)
    if pick < 0.7 or depth > 4:
        return chance.choice([None, True, False])
    inner = [some_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    if pick < 0.85:
        return inner
    return {some_text(chance): value for value in inner}


def some_documents(chance, value):
    """Up to five contacts with weird fields."""
    places = chance.sample(range(10**6), chance.randrange(1, 6))
    for number, place in enumerate(sorted(places)):
        names = chance.sample(WEIRD_NAMES, chance.randrange(8))
        yield {
            "email": chance.choice(["=", "'=", "", "ü", "{"]) + f"a{number}@X.org",
            **{name: value(chance) for name in names},
            "created_at": f"2020-01-01T00:00:00.{place:06}Z",
            "updated_at": f"2021-01-01T00:00:00.{number:06}Z",
        }


def test_any_set_of_contacts_survives_jsonl_exactly(free):
    chance = random.Random(20260704)
    for number in range(120):
        sent = list(some_documents(chance, some_value))
        first = free.key("secret", workspace=f"first{number}")
        second = free.key("secret", workspace=f"second{number}")
        whole = (len(sent), 0, 0, [])
        assert counts(upload(free, jsonl(*sent), key=first)) == whole
        file = free.get("/v1/contacts.jsonl", key=first).body
        assert counts(upload(free, file, key=second)) == whole
        shown = exported(free, key=second)
        for document in shown:
            del document["id"]
        # As text, for to Python 1 == 1.0 == True and 0.0 == -0.0; in order, too.
        assert json.dumps(shown) == json.dumps(sent)


def test_any_set_of_text_fields_survives_csv_exactly(free):
    chance = random.Random(20260704)
    for number in range(120):
        sent = list(some_documents(chance, some_text))
        first = free.key("secret", workspace=f"first{number}")
        second = free.key("secret", workspace=f"second{number}")
        upload(free, jsonl(*sent), key=first)
        file = free.get("/v1/contacts.csv", key=first).body
        answer = upload(free, file, "/v1/contacts.csv", key=second)
        assert counts(answer) == (len(sent), 0, 0, [])
        shown = exported(free, key=second)
        for document in shown:
            del document["id"]
        assert shown == sent


# -- the commands


@pytest.mark.parametrize("kind", ["contacts", "companies"])
@pytest.mark.parametrize("form", MEDIA)
def test_the_command_line_exports_what_http_exports(shell, make, tmp_path, kind, form):
    api = make()
    api.add("a@x.org", v="=1", n=[1])
    api.post({"name": "Acme", "v": "'"}, path="/v1/companies")
    status, out, err = shell("export", f"out.{form}", "--kind", kind)
    assert (status, err) == (0, "") and f"out.{form}" in out and out.count("\n") == 1
    file = (tmp_path / f"out.{form}").read_bytes()
    assert file == api.get(f"/v1/{kind}.{form}").body and len(file) > 80


def test_files_that_commands_make_have_mode_0600(shell, make, tmp_path):
    make().add("a@x.org")
    before = os.umask(0)
    try:
        for argv in ("export o.csv", "export o.jsonl", "backup o.db"):
            assert shell(*argv.split())[0] == 0
    finally:
        os.umask(before)
    for name in ("o.csv", "o.jsonl", "o.db"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    left = {path.name for path in tmp_path.iterdir()}
    assert left - {"contacts.db", "contacts.db-wal", "contacts.db-shm"} == {
        "o.csv",
        "o.jsonl",
        "o.db",
    }


@pytest.mark.parametrize("argv", ["export o.csv", "export o.jsonl", "backup o.db"])
@pytest.mark.parametrize("there", ["file", "empty", "folder", "dangling link"])
def test_export_and_backup_refuse_what_exists(shell, tmp_path, argv, there):
    command, name = argv.split()
    path = tmp_path / name
    if there == "folder":
        path.mkdir()
    elif there == "dangling link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_text("mine" if there == "file" else "")
    status, out, err = shell(command, name)
    assert (status, out, one_line(err)) == (1, "", True)
    assert name in err
    if there in ("file", "empty"):
        assert path.read_text() == ("mine" if there == "file" else "")
    assert not (tmp_path / "elsewhere").exists()
    assert not [p for p in tmp_path.iterdir() if "part" in p.name]


@pytest.mark.parametrize(
    "argv, status",
    [
        ("import in.jsonl --workspace nowhere", 1),
        ("export o.csv --workspace nowhere", 1),
        ("import missing.csv", 1),
        ("import folder.csv", 1),
        ("import headless.csv", 1),
        ("import empty.csv", 1),
        ("export nowhere/o.csv", 1),
        ("backup nowhere/o.db", 1),
        ("import in.xml", 2),
        ("export o.xml", 2),
        ("export o", 2),
        ("import in.jsonl --kind calls", 2),
        ("import", 2),
        ("export", 2),
        ("backup", 2),
        ("copy sqlite:///contacts.db", 2),
        ("copy contacts.db other.db", 2),
        ("check --fast", 2),
    ],
)
def test_a_mistake_in_a_command_is_one_line(shell, tmp_path, argv, status):
    (tmp_path / "in.jsonl").write_text(jsonl({"email": "a@x.org"}))
    (tmp_path / "in.xml").write_text("<x/>")
    (tmp_path / "headless.csv").write_text("a,b\n1,2\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "folder.csv").mkdir()
    result, out, err = shell(*argv.split())
    assert (result, out) == (status, "")
    assert one_line(err), err
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith("o.")]


def test_an_export_that_fails_leaves_no_file(shell, make, tmp_path):
    make().add("a@x.org", **{f"f{n}": "x" for n in range(501)})
    before = {path.name for path in tmp_path.iterdir()}
    status, out, err = shell("export", "o.csv")
    assert (status, out, one_line(err)) == (1, "", True)
    assert "JSONL" in err
    assert not [p for p in tmp_path.iterdir() if p.name not in before]


@contextlib.contextmanager
def a_terminal(monkeypatch, name):
    """A terminal in the place of sys.stdout or sys.stderr; gives what it shows."""
    master, slave = pty.openpty()
    shown = []

    def read():
        with contextlib.suppress(OSError):
            while data := os.read(master, 65536):
                shown.append(data.decode())

    reader = threading.Thread(target=read)
    with monkeypatch.context() as patch, os.fdopen(slave, "w") as file:
        patch.setattr(sys, name, file)
        reader.start()
        yield shown
        file.flush()
    reader.join(10)
    os.close(master)


@pytest.mark.parametrize("argv", ["import in.jsonl", "import in.csv", "export o.jsonl"])
def test_long_work_shows_a_progress_bar_on_a_terminal_alone(
    shell, make, tmp_path, monkeypatch, argv
):
    many = [{"email": f"u{n}@x.org"} for n in range(1200)]
    (tmp_path / "in.jsonl").write_text(jsonl(*many))
    (tmp_path / "in.csv").write_text("email\n" + "\n".join(c["email"] for c in many))
    if argv.startswith("export"):
        shell("import", "in.jsonl")
    with a_terminal(monkeypatch, "stderr") as shown:
        status, out, err = shell(*argv.split())
    assert (status, err) == (0, "") and "[" not in out and "\r" not in out
    text = "".join(shown)
    assert re.search(r"\[[# ]{10,}\] +\d+%", text), text
    assert text.rpartition("\r")[2].strip("\033[K") == ""  # the bar is wiped away
    (tmp_path / "o.jsonl").unlink(missing_ok=True)
    status, out, err = shell(*argv.split())
    assert (status, err) == (0, "") and "#" not in out


def test_a_failed_import_says_so_beside_its_bar(shell, tmp_path, monkeypatch):
    (tmp_path / "in.jsonl").write_text("nonsense\n")
    with a_terminal(monkeypatch, "stderr") as shown:
        status, out, _ = shell("import", "in.jsonl")
    assert (status, out) == (1, "0 created, 0 updated, 1 failed\n")
    last = "".join(shown).replace("\r\n", "\n").rpartition("\r")[2].splitlines()
    assert any(
        line.endswith("line 1: the line is not JSON: Expecting value") for line in last
    ), last


###############################################################################
# History, events, erasure ####################################################
###############################################################################


def feed(api, query="", **options):
    """The answer of GET /v1/events."""
    answer = api.get(f"/v1/events{query}", **options)
    assert answer.status_int == 200, answer.text
    assert list(answer.json) == ["data", "next_after", "has_more"]
    return answer.json


def history(api, ref, query="", kind="contacts", **options):
    answer = api.get(f"/v1/{kind}/{ref}/history{query}", **options)
    assert answer.status_int == 200, answer.text
    assert list(answer.json) == ["data", "next_after", "has_more"]
    return answer.json["data"]


EVENT = ["id", "type", "created_at", "key", "record", "data", "changed", "submitted"]


def test_an_event_tells_what_the_contract_lists(api):
    (ref,) = api.add("ada@example.com", plan="pro")
    api.turn(60)
    shown = api.get(f"/v1/contacts/{ref}").json
    (event,) = feed(api)["data"]
    assert list(event) == EVENT
    assert re.fullmatch(r"evt_[0-9a-hjkmnp-tv-z]{26}", event.pop("id"))
    assert event == {
        "type": "contact.created",
        "created_at": "2026-07-04T10:00:00Z",
        "key": api.ref(api.secret),
        "record": ref,
        "data": shown,
        "changed": ["email", "plan"],
        "submitted": None,
    }


def test_each_verb_is_told_with_the_names_that_changed(free):
    api = free
    (ref,) = api.add("a@x.org", plan="pro", n=1)
    api.post({"email": "a@x.org", "plan": "max", "n": 1, "new": None})
    api.patch(ref, {"email": "A@x.org", "n": 2})
    api.merge(ref, {"new": None, "plan": None, "deep": {"a": 1}})
    upload(api, jsonl({"email": "A@x.org", "n": 3}))
    (event, *others) = feed(api)["data"]
    assert event["type"] == "contact.created"
    assert [e["type"] for e in others] == ["contact.updated"] * 4
    assert [set(e["changed"]) for e in others] == [
        {"plan", "new"},
        {"email", "n"},
        {"new", "plan", "deep"},
        {"n"},
    ]
    assert others[-1]["data"] == api.get(f"/v1/contacts/{ref}").json
    assert [e["data"].get("n") for e in others] == [1, 2, 2, 3]
    assert {e["submitted"] for e in others} == {None}
    assert {e["record"] for e in others} == {ref}


def test_a_company_and_a_call_are_told_of_too(free):
    (contact,) = free.add("a@x.org")
    company = free.post({"name": "Acme", "n": 1}, path="/v1/companies").json
    free.ask("PATCH", f"/v1/companies/{company['id']}", {"n": 2})
    call = {"contact_id": contact, "phone_number": "+442012345678"}
    call = free.post(call, path="/api/calls/create").json["data"]
    free.ask("PATCH", f"/api/calls/{call['id']}", {"status": "ringing"})
    free.ask("DELETE", f"/v1/companies/{company['id']}")
    told = [(e["type"], e["record"]) for e in feed(free)["data"]]
    assert told == [
        ("contact.created", contact),
        ("call.created", call["id"]),
        ("call.updated", call["id"]),
        ("company.deleted", company["id"]),
    ]
    created, updated = feed(free)["data"][1:3]
    assert created["data"] == call
    assert (updated["data"]["status"], updated["changed"]) == ("ringing", ["status"])


def test_a_patch_that_changes_nothing_makes_no_event(free):
    (ref,) = free.add("a@x.org", plan="pro", n=1)
    free.turn(60)
    for body in ({}, {"plan": "pro"}, {"email": "a@x.org", "n": 1}, {"id": "x"}):
        assert free.patch(ref, body).status_int == 200
    assert free.merge(ref, {"absent": None, "n": 1}).status_int == 200
    for body in ({"email": "no"}, {"email": "a@x.org", "big": "x" * 65530}):
        assert free.patch(ref, body).status_int in (400, 413)
    assert free.get(f"/v1/contacts/{ref}").json["updated_at"] == "2026-07-04T10:00:00Z"
    assert len(feed(free)["data"]) == 1


@pytest.mark.parametrize("existing, plan", [("update", "max"), ("keep", "pro")])
def test_a_submission_always_makes_an_event_with_what_was_sent(free, existing, plan):
    (ref,) = free.add("a@x.org", plan="pro")
    key = free.key("publishable", existing=existing)
    sent = {"email": "A@X.org", "plan": "max", "note": None}
    for body in (sent, sent, {"email": "a@x.org"}):
        assert free.post(body, key=key, headers=PAGE).status_int == 201
    told = feed(free)["data"][1:]
    assert [e["submitted"] for e in told] == [sent, sent, {"email": "a@x.org"}]
    assert {e["type"] for e in told} == {"contact.updated"}
    assert {e["key"] for e in told} == {free.ref(key)}
    assert {e["data"]["plan"] for e in told} == {plan}
    assert {e["data"]["email"] for e in told} == {"a@x.org"}
    assert [e["changed"] for e in told][1:] == [[], []]
    free.post({"email": "new@x.org", "plan": "max"}, key=key, headers=PAGE)
    newest = feed(free)["data"][-1]
    assert newest["type"] == "contact.created" and newest["submitted"]["plan"] == "max"
    assert ref in {e["record"] for e in told}


def test_an_event_names_the_key_or_env_cli_or_retention(make, shell, tmp_path):
    api = make(CONTACTAPI_SECRET_KEY=ENV_KEY)
    writer, public = api.key("restricted", "contacts:write"), api.key("publishable")
    api.post({"email": "a@x.org"}, key=ENV_KEY)
    api.post({"email": "b@x.org"}, key=writer)
    api.post({"email": "c@x.org"}, key=public, headers=PAGE)
    (tmp_path / "in.jsonl").write_text(jsonl({"email": "d@x.org"}))
    shell("import", "in.jsonl")
    keys = [e["key"] for e in feed(api)["data"]]
    assert keys == ["env", api.ref(writer), api.ref(public), "cli"]
    housekeeper = keep_house(api, CONTACTAPI_RETENTION_DAYS="1")
    api.clock.now = time.time() + 2 * DAY  # the command went by the clock on the wall
    housekeeper.tick()
    told = feed(api)["data"]
    assert [(e["type"], e["key"]) for e in told] == [
        ("contact.deleted", "retention")
    ] * 4


def test_a_deletion_leaves_a_tombstone_and_nothing_else(free):
    gone, stays = free.add("gone@x.org", "stays@x.org", plan="pro")
    free.patch(gone, {"plan": "max"})
    free.turn(60)
    free.ask("DELETE", f"/v1/contacts/{gone}")
    first, last = feed(free)["data"]
    assert first["record"] == stays
    del last["id"]
    assert last == {
        "type": "contact.deleted",
        "created_at": "2026-07-04T10:01:00Z",
        "key": free.ref(free.secret),
        "record": gone,
        "data": {"id": gone},
        "changed": [],
        "submitted": None,
    }


def test_events_come_in_the_order_of_their_commits_in_pages(free):
    refs = free.add(*(f"u{n}@x.org" for n in range(7)))
    seen, after, pages = [], "", []
    while True:
        page = feed(free, f"?limit=3{after}")
        seen += [e["record"] for e in page["data"]]
        pages.append((len(page["data"]), page["has_more"]))
        after = f"&after={page['next_after']}"
        if not page["has_more"]:
            break
    assert seen == refs and pages == [(3, True), (3, True), (1, False)]
    last = page["next_after"]
    assert last == feed(free)["data"][-1]["id"]
    page = feed(free, f"?after={last}")
    assert page == {"data": [], "next_after": last, "has_more": False}
    (new,) = free.add("new@x.org")
    assert [e["record"] for e in feed(free, f"?after={last}")["data"]] == [new]


def test_exactly_a_full_page_has_no_more(free):
    free.add("a@x.org", "b@x.org")
    assert feed(free, "?limit=2")["has_more"] is False
    assert feed(free, "?limit=1")["has_more"] is True


def test_without_a_limit_a_page_has_100_events_and_1000_at_most(free):
    upload(free, jsonl(*({"email": f"u{n}@x.org"} for n in range(1005))))
    assert len(feed(free)["data"]) == 100
    assert len(feed(free, "?limit=1000")["data"]) == 1000


@pytest.mark.parametrize("path", ["events", "contacts/{}/history"])
def test_a_limit_from_1_to_1000_is_taken(free, path):
    (ref,) = free.add("a@x.org")
    path = f"/v1/{path.format(ref)}"
    for bad in ("0", "-1", "1001", "1.5", "x", "", "1e2", "%D9%A3"):
        answer = free.get(f"{path}?limit={bad}")
        assert failure(answer) == (400, "invalid_request", "limit"), bad
    for good in ("1", "1000"):
        assert free.get(f"{path}?limit={good}").status_int == 200


BAD_POSITIONS = [
    *("", "x", "0", "evt_", "evt_x", UNKNOWN),
    *("evt_" + "0" * 25, "evt_" + "u" * 26, "evt_" + "z" * 26),
]


@pytest.mark.parametrize("path", ["events", "contacts/{}/history"])
def test_what_is_no_position_is_an_invalid_cursor(free, path):
    (ref,) = free.add("a@x.org")
    for bad in BAD_POSITIONS:
        answer = free.get(f"/v1/{path.format(ref)}?after={bad}")
        assert failure(answer) == (400, "invalid_cursor", "after"), bad


def test_after_takes_any_position_erased_or_not(free):
    one, two, three = free.add("a@x.org", "b@x.org", "c@x.org")
    places = [e["id"] for e in feed(free)["data"]]
    free.ask("DELETE", f"/v1/contacts/{two}")
    free.ask("DELETE", f"/v1/contacts/{three}")
    types = ["contact.deleted", "contact.deleted"]
    for place in (*places, "evt_" + "0" * 26, places[0].upper()):
        told = [e["type"] for e in feed(free, f"?after={place}")["data"]]
        assert told[-2:] == types
    beyond = feed(free, "?after=evt_7" + "z" * 25)
    assert (beyond["data"], beyond["has_more"]) == ([], False)
    assert feed(free)["data"][0]["record"] == one


def test_a_position_is_never_given_twice(free, make):
    refs = free.add("a@x.org", "b@x.org")
    last = feed(free)["next_after"]
    free.ask("DELETE", f"/v1/contacts/{refs[1]}/history")
    free.ask("DELETE", f"/v1/contacts/{refs[0]}/history")
    free.close()
    again = make(like=free, CONTACTAPI_RATE_LIMIT="off")
    again.add("c@x.org")
    told = [e["data"]["email"] for e in feed(again, f"?after={last}")["data"]]
    assert told == ["b@x.org", "a@x.org", "c@x.org"]


@pytest.mark.parametrize("path", ["/v1/events", "/v1/stats"])
def test_events_and_stats_need_a_secret_key(free, path):
    everything = free.key("restricted", *contactapi.PERMISSIONS)
    assert free.get(path).status_int == 200
    assert failure(free.get(path, key=everything))[:2] == (403, "forbidden")
    public = free.get(path, key=free.key("publishable"), headers=PAGE)
    assert failure(public)[:2] == (403, "forbidden")
    assert failure(free.get(path, key=None))[:2] == (401, "unauthorized")


def test_workspaces_see_nothing_of_each_others_events(free):
    (ref,) = free.add("a@x.org", plan="pro")
    other = free.key("secret", workspace="other")
    assert feed(free, key=other)["data"] == []
    free.post({"email": "b@x.org"}, key=other)
    (event,) = feed(free, key=other)["data"]
    assert event["data"]["email"] == "b@x.org"
    assert [e["record"] for e in feed(free)["data"]] == [ref]
    for path in ("history", "export"):
        answer = free.get(f"/v1/contacts/{ref}/{path}", key=other)
        assert failure(answer)[:2] == (404, "not_found")
    answer = free.ask("DELETE", f"/v1/contacts/{ref}/history", key=other)
    assert answer.status_int == 404 and len(history(free, ref)) == 1


# -- one record's history


def test_a_history_is_newest_first_and_has_one_record_alone(free):
    ref, other = free.add("a@x.org", "b@x.org", n=0)
    for n in (1, 2):
        free.patch(ref, {"n": n})
        free.patch(other, {"n": n})
    told = history(free, ref)
    assert [(e["type"], e["data"]["n"]) for e in told] == [
        ("contact.updated", 2),
        ("contact.updated", 1),
        ("contact.created", 0),
    ]
    assert {e["record"] for e in told} == {ref} and list(told[0]) == EVENT


def test_a_history_goes_on_after_an_event(free):
    (ref,) = free.add("a@x.org", n=0)
    for n in range(1, 6):
        free.patch(ref, {"n": n})
    seen, query = [], "?limit=4"
    for count, more in ((4, True), (2, False)):
        page = free.get(f"/v1/contacts/{ref}/history{query}").json
        assert (len(page["data"]), page["has_more"]) == (count, more)
        seen += [e["data"]["n"] for e in page["data"]]
        query = f"?limit=4&after={page['next_after']}"
    assert seen == [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("ref", [UNKNOWN, "con_x", "nonsense", "cmp_" + "0" * 26])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_the_history_of_no_record_is_404(free, method, ref):
    answer = free.ask(method, f"/v1/contacts/{ref}/history")
    assert failure(answer)[:2] == (404, "not_found")


def test_a_history_needs_the_permission_to_read_and_its_erasure_to_write(free):
    (ref,) = free.add("a@x.org")
    path = f"/v1/contacts/{ref}/history"
    reader = free.key("restricted", "contacts:read")
    writer = free.key("restricted", "contacts:write")
    assert free.get(path, key=reader).status_int == 200
    assert free.get(path, key=writer).status_int == 403
    assert free.ask("DELETE", path, key=reader).status_int == 403
    assert len(history(free, ref)) == 1
    assert free.ask("DELETE", path, key=writer).status_int == 200
    assert history(free, ref) == []


def test_a_history_is_erased_and_the_record_stays(free):
    ref, other = free.add("a@x.org", "b@x.org", plan="pro")
    free.patch(ref, {"plan": "max"})
    before = free.get(f"/v1/contacts/{ref}").json
    assert free.ask("DELETE", f"/v1/contacts/{ref}/history").status_int == 200
    assert history(free, ref) == [] and len(history(free, other)) == 1
    assert free.get(f"/v1/contacts/{ref}").json == before
    # A mirror that had not read so far is told what the record is, not what it was.
    told = [(e["record"], e["data"]["plan"]) for e in feed(free)["data"]]
    assert told == [(other, "pro"), (ref, "max")]
    free.patch(ref, {"plan": "new"})
    assert [e["data"]["plan"] for e in history(free, ref)] == ["new"]


def test_a_companys_history_is_shown_erased_and_deleted_with_it(free):
    company = free.post({"name": "Acme", "n": 1}, path="/v1/companies").json
    path = f"/v1/companies/{company['id']}"
    free.ask("PATCH", path, {"n": 2})
    reader = free.key("restricted", "companies:read")
    told = history(free, company["id"], kind="companies", key=reader)
    assert [(e["type"], e["data"]["n"]) for e in told] == [
        ("company.updated", 2),
        ("company.created", 1),
    ]
    assert free.ask("DELETE", f"{path}/history").status_int == 200
    assert history(free, company["id"], kind="companies") == []
    free.ask("PATCH", path, {"n": 3})
    free.ask("DELETE", path)
    assert [e["type"] for e in feed(free)["data"]] == ["company.deleted"]


def test_a_deletion_takes_calls_history_and_idempotent_answers_along(free):
    gone, stays = free.add("gone@x.org", "stays@x.org")
    for ref in (gone, stays):
        body = {"contact_id": ref, "phone_number": "+442012345678"}
        headers = {"Idempotency-Key": f'"for {ref}"'}
        made = free.post(body, path="/api/calls/create", headers=headers)
        assert made.status_int == 201
        free.ask("PATCH", f"/api/calls/{made.json['data']['id']}", {"duration": 5})
    free.ask("DELETE", f"/v1/contacts/{gone}")
    store = free.services.store
    assert store.row("SELECT count(*) FROM call") == (1,)
    assert store.row("SELECT count(*) FROM answer") == (1,)
    told = [(e["type"], e["data"].get("contact_id")) for e in feed(free)["data"]]
    assert told == [
        ("contact.created", None),
        ("call.created", stays),
        ("call.updated", stays),
        ("contact.deleted", None),
    ]
    assert feed(free)["data"][-1]["data"] == {"id": gone}
    assert free.get("/api/calls/list").json["data"]["total"] == 1


def test_a_person_may_have_all_that_is_held_on_them(free):
    (ref,) = free.add("a@x.org", plan="pro")
    free.add("b@x.org")
    public = free.key("publishable")
    free.post({"email": "a@x.org", "note": "hi"}, key=public, headers=PAGE)
    call = {"contact_id": ref, "phone_number": "+442012345678"}
    call = free.post(call, path="/api/calls/create").json["data"]
    answer = free.get(f"/v1/contacts/{ref}/export")
    assert answer.status_int == 200 and list(answer.json) == [
        "contact",
        "calls",
        "history",
    ]
    assert answer.json["contact"] == free.get(f"/v1/contacts/{ref}").json
    assert answer.json["calls"] == [call]
    assert answer.json["history"] == history(free, ref)
    assert answer.json["history"][0]["submitted"] == {"email": "a@x.org", "note": "hi"}
    assert "b@x.org" not in answer.text


def test_a_subjects_export_is_whole_however_long_the_history(free):
    (ref,) = free.add("a@x.org", n=0)
    for n in range(1, 1100):
        free.services.contacts.patch(
            free.services.keys.find(free.secret), ref[4:], {"n": n}
        )
    shown = free.get(f"/v1/contacts/{ref}/export").json["history"]
    assert [e["data"]["n"] for e in shown] == list(range(1099, -1, -1))


@pytest.mark.parametrize(
    "permissions, status",
    [
        (("contacts:read", "calls:read"), 200),
        (("contacts:read",), 403),
        (("calls:read",), 403),
        (("contacts:write", "calls:write"), 403),
    ],
)
def test_a_subjects_export_needs_both_permissions(free, permissions, status):
    (ref,) = free.add("a@x.org")
    key = free.key("restricted", *permissions)
    assert free.get(f"/v1/contacts/{ref}/export", key=key).status_int == status


@pytest.mark.parametrize("ref", [UNKNOWN, "con_x"])
def test_a_subjects_export_of_nobody_is_404(free, ref):
    answer = free.get(f"/v1/contacts/{ref}/export")
    assert failure(answer)[:2] == (404, "not_found")


# -- a mirror


class Mirror:
    """What a client knows that has only ever read /v1/events."""

    def __init__(self, api):
        self.api, self.after, self.records = api, "", {}

    def follow(self):
        more = True
        while more:
            page = feed(self.api, f"?limit=7{self.after}")
            for event in page["data"]:
                if event["type"].endswith(".deleted"):
                    self.records.pop(event["record"], None)
                else:
                    self.records[event["record"]] = event["data"]
            self.after, more = f"&after={page['next_after']}", page["has_more"]


def test_a_mirror_built_from_events_equals_the_source(free):
    chance, mirror, public = random.Random(5), Mirror(free), free.key("publishable")
    emails = [f"u{n}@x.org" for n in range(12)]
    refs = set()

    def post(**options):
        body = {"email": chance.choice(emails), chance.choice("abc"): chance.random()}
        refs.add(free.post(body, **options).json["id"])

    def change(method):
        if refs:
            ref = chance.choice(sorted(refs))
            body = {chance.choice("abc"): chance.choice([None, 1, "x", {"a": [1]}])}
            body |= {"email": chance.choice(emails)} if chance.random() < 0.2 else {}
            method(ref, body)

    def delete():
        if refs:
            ref = chance.choice(sorted(refs))
            refs.discard(ref)
            assert free.ask("DELETE", f"/v1/contacts/{ref}").status_int == 200

    def bring_in():
        rows = [{"email": e, "a": chance.random()} for e in chance.sample(emails, 4)]
        assert counts(upload(free, jsonl(*rows)))[2] == 0
        refs.update(c["id"] for c in exported(free))

    steps = [
        post,
        lambda: post(key=public, headers=PAGE),
        lambda: change(free.patch),
        lambda: change(free.merge),
        delete,
        bring_in,
        mirror.follow,
    ]
    for _ in range(400):
        free.turn(chance.choice([0, 0, 1, 100]))
        chance.choices(steps, weights=[4, 2, 5, 3, 3, 1, 3])[0]()
    mirror.follow()
    shown = free.get("/v1/contacts?page_size=100").json["data"]
    assert mirror.records == {contact["id"]: contact for contact in shown}
    assert len(mirror.records) > 3


# -- stats


def test_stats_count_the_sign_ups_of_30_days(free):
    stats = free.get("/v1/stats").json
    assert (stats["contacts"], stats["companies"], stats["calls"]) == (0, 0, 0)
    dates = [day["date"] for day in stats["daily"]]
    assert len(dates) == 30 and dates == sorted(dates)
    assert (dates[0], dates[-1]) == ("2026-06-05", "2026-07-04")
    (ref,) = free.add("a@x.org")
    free.post({"name": "Acme"}, path="/v1/companies")
    call = {"contact_id": ref, "phone_number": "+442012345678"}
    free.post(call, path="/api/calls/create")
    lines = ("2026-06-05", "2026-06-04T23:59:59.999999Z", "2026-07-03T23:59:59.999999Z")
    upload(
        free,
        jsonl(
            *({"email": f"u{n}@x.org", "created_at": t} for n, t in enumerate(lines))
        ),
    )
    stats = free.get("/v1/stats").json
    assert (stats["contacts"], stats["companies"], stats["calls"]) == (4, 1, 1)
    made = {day["date"]: day["contacts"] for day in stats["daily"] if day["contacts"]}
    assert made == {"2026-06-05": 1, "2026-07-03": 1, "2026-07-04": 1}
    assert {tuple(day) for day in stats["daily"]} == {("date", "contacts")}


def test_stats_turn_with_the_clock_and_forget_who_is_deleted(free):
    (ref,) = free.add("a@x.org")
    free.turn(at("2026-07-05T00:00:00") - at("2026-07-04T10:00:00") - 0.000001)
    free.add("b@x.org")
    assert free.get("/v1/stats").json["daily"][-1] == {
        "date": "2026-07-04",
        "contacts": 2,
    }
    free.turn(0.000002)
    assert free.get("/v1/stats").json["daily"][-2:] == [
        {"date": "2026-07-04", "contacts": 2},
        {"date": "2026-07-05", "contacts": 0},
    ]
    free.ask("DELETE", f"/v1/contacts/{ref}")
    stats = free.get("/v1/stats").json
    assert (stats["contacts"], stats["daily"][-2]["contacts"]) == (1, 1)
    free.turn(29 * DAY)
    assert sum(day["contacts"] for day in free.get("/v1/stats").json["daily"]) == 0


def test_stats_show_one_workspace(free):
    free.add("a@x.org")
    other = free.key("secret", workspace="other")
    stats = free.get("/v1/stats", key=other).json
    assert stats["contacts"] == 0
    assert sum(day["contacts"] for day in stats["daily"]) == 0


###############################################################################
# Housekeeping ################################################################
###############################################################################

DAY = 86_400


def keep_house(api, **settings):
    """The housekeeper of an app's database, by its turned clock."""
    path = {"DATABASE_URL": f"sqlite:///{api.services.store.path}"}
    config = Config.from_env({**path, **settings})
    return contactapi.Housekeeper(config, api.services, api.clock)


@pytest.fixture
def utc(monkeypatch):
    """Nights are local."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_contacts_that_nobody_touched_are_deleted(free):
    old, patched, posted, submitted = free.add(*(f"{n}@x.org" for n in "abcd"))
    free.post({"name": "Acme"}, path="/v1/companies")
    other = free.key("secret", workspace="other")
    free.post({"email": "e@x.org"}, key=other)
    housekeeper = keep_house(free, CONTACTAPI_RETENTION_DAYS="30")
    free.turn(10 * DAY)
    free.patch(patched, {"n": 1})
    free.post({"email": "c@x.org"})
    public = free.key("publishable")
    free.post({"email": "d@x.org"}, key=public, headers=PAGE)
    free.turn(20 * DAY)
    housekeeper.tick()
    assert len(free.emails()) == 4
    free.turn(DAY)
    housekeeper.tick()
    assert sorted(free.emails()) == ["b@x.org", "c@x.org", "d@x.org"]
    assert free.get("/v1/contacts", key=other).json["total"] == 0
    assert free.get("/v1/companies").json["total"] == 1
    newest = feed(free)["data"][-1]
    assert shows_all(newest, type="contact.deleted", record=old, key="retention")
    assert old not in {e["record"] for e in feed(free)["data"][:-1]}
    assert not {posted, submitted} & {newest["record"]}
    assert free.get("/v1/stats").json["contacts"] == 3


def shows_all(document, **expected):
    return {name: document[name] for name in expected} == expected


def test_without_retention_nobody_is_deleted(free):
    free.add("a@x.org")
    housekeeper = keep_house(free)
    free.turn(5000 * DAY)
    housekeeper.tick()
    assert free.emails() == ["a@x.org"]


def test_retention_takes_more_than_a_batch_at_once(free):
    upload(free, jsonl(*({"email": f"u{n}@x.org"} for n in range(450))))
    housekeeper = keep_house(free, CONTACTAPI_RETENTION_DAYS="1")
    free.turn(2 * DAY)
    free.add("new@x.org")
    housekeeper.tick()
    assert free.emails() == ["new@x.org"]
    assert free.get("/v1/contacts").json["total"] == 1


def test_events_expire_after_365_days_or_as_it_is_set(free):
    (ref,) = free.add("a@x.org")
    free.turn(10 * DAY)
    free.patch(ref, {"n": 1})
    first, second = feed(free)["data"]
    free.turn(355 * DAY + 1)
    keep_house(free).tick()
    assert feed(free)["data"] == [second]
    assert history(free, ref) == [second]
    assert free.emails() == ["a@x.org"]
    keep_house(free, CONTACTAPI_HISTORY_DAYS="355").tick()
    assert feed(free)["data"] == []
    answer = free.get(f"/v1/events?after={first['id']}")
    assert failure(answer) == (400, "invalid_cursor", "after")
    assert "read everything again" in answer.json["error"]["message"]
    assert feed(free, f"?after={second['id']}")["data"] == []


def test_a_position_before_what_expiry_kept_is_an_invalid_cursor(free):
    a, b, c = free.add("a@x.org", "b@x.org", "c@x.org")
    places = [e["id"] for e in feed(free)["data"]]
    free.turn(366 * DAY)
    (d,) = free.add("d@x.org")
    keep_house(free).tick()
    for place in ("evt_" + "0" * 26, *places[:2]):
        answer = free.get(f"/v1/events?after={place}")
        assert failure(answer) == (400, "invalid_cursor", "after")
    assert [e["record"] for e in feed(free, f"?after={places[2]}")["data"]] == [d]
    assert [e["record"] for e in feed(free)["data"]] == [d]


def test_a_mirror_of_a_quiet_workspace_goes_on_after_everything_expired(free):
    free.add("a@x.org")
    free.turn(366 * DAY)
    keep_house(free).tick()
    start = feed(free)["next_after"]
    (ref,) = free.add("b@x.org")
    assert [e["record"] for e in feed(free, f"?after={start}")["data"]] == [ref]


def test_what_expires_in_one_workspace_is_nothing_to_another(free):
    other = free.key("secret", workspace="other")
    free.post({"email": "a@x.org"}, key=other)
    place = feed(free, key=other)["next_after"]
    free.add("b@x.org")
    free.turn(366 * DAY)
    keep_house(free).tick()
    assert feed(free, f"?after={place}", key=other)["data"] == []


def test_idempotent_answers_are_forgotten_after_24_hours(free):
    (ref,) = free.add("a@x.org")
    body = {"contact_id": ref, "phone_number": "+442012345678"}
    free.post(body, path="/api/calls/create", headers={"Idempotency-Key": "k"})
    housekeeper = keep_house(free)
    free.turn(DAY + 3600)
    housekeeper.tick()
    assert free.services.store.row("SELECT count(*) FROM answer") == (0,)


def nights(api, housekeeper, count):
    """The clock goes on by the hour for so many days, and the housekeeper ticks."""
    for _ in range(24 * count):
        api.turn(3600)
        housekeeper.tick()


def test_every_night_makes_a_backup_and_seven_are_kept(utc, make, tmp_path):
    api = make(CONTACTAPI_RATE_LIMIT="off")
    folder = tmp_path / "backups"
    folder.mkdir()
    others = ["notes.txt", "contactapi-2020-01-01.db.gz", "x-contactapi-2020-01-01.db"]
    for name in others:
        (folder / name).write_text("mine")
    housekeeper = keep_house(api, CONTACTAPI_BACKUP_DIR=str(folder))
    for night in range(1, 10):
        api.add(f"u{night}@x.org")
        nights(api, housekeeper, 1)
    made = sorted(p.name for p in folder.iterdir() if p.name not in others)
    assert made == [f"contactapi-2026-07-{day:02}.db" for day in range(7, 14)]
    for number, name in enumerate(made, 3):
        path = folder / name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        contactapi.verify(str(path))
        with contextlib.closing(sqlite3.connect(path)) as other:
            found = other.execute("SELECT count(*) FROM contact").fetchone()
        assert found == (number,)
    assert all((folder / name).read_text() == "mine" for name in others)


@pytest.mark.parametrize("hour", [0, 1, 2])
def test_a_server_that_is_started_in_the_night_makes_that_nights_backup(
    utc, make, tmp_path, hour
):
    api = make()
    api.turn(at(f"2026-07-05T{hour:02}:30:00") - at("2026-07-04T10:00:00"))
    (tmp_path / "backups").mkdir()
    housekeeper = keep_house(api, CONTACTAPI_BACKUP_DIR=str(tmp_path / "backups"))
    for _ in range(6):
        housekeeper.tick()
        api.turn(3600)
    made = [path.name for path in (tmp_path / "backups").iterdir()]
    assert made == ["contactapi-2026-07-05.db"]


def test_a_server_that_is_started_by_day_makes_no_backup_before_the_night(
    utc, make, tmp_path
):
    api = make()
    (tmp_path / "backups").mkdir()
    housekeeper = keep_house(api, CONTACTAPI_BACKUP_DIR=str(tmp_path / "backups"))
    for _ in range(13):
        housekeeper.tick()
        api.turn(3600)
    assert list((tmp_path / "backups").iterdir()) == []


def test_two_processes_that_share_a_backup_folder_do_not_fail(utc, make, tmp_path):
    one = make()
    two = make(like=one)
    (tmp_path / "backups").mkdir()
    both = [
        keep_house(a, CONTACTAPI_BACKUP_DIR=f"{tmp_path}/backups") for a in (one, two)
    ]
    one.turn(DAY)
    for housekeeper in both:
        housekeeper.tick()
    assert len(list((tmp_path / "backups").iterdir())) == 1


# -- erasure

OTHERS = [f"other{n}@keeps.example" for n in range(300)]


def a_crowd_and_a_person(api, company=False):
    """Enough neighbours for pages to split; the person's id, and every trace."""
    kind, name = ("companies", "name") if company else ("contacts", "email")
    half = len(OTHERS) // 2
    rows = [{name: label, "note": label * 20, "n": i} for i, label in enumerate(OTHERS)]
    upload(api, jsonl(*rows[:half]), f"/v1/{kind}.jsonl")
    sent = {name: "zelda-one@gone.example", "city": "qoldcityq", "tag": "qfieldq " * 40}
    made = api.post(sent, path=f"/v1/{kind}").json
    upload(api, jsonl(*rows[half:]), f"/v1/{kind}.jsonl")
    path = f"/v1/{kind}/{made['id']}"
    for n in range(30):
        api.ask("PATCH", path, {"city": f"qcity{n}q", "pad": "qpadq" * (n * 20)})
        api.post({name: OTHERS[n], "again": "x" * 200}, path=f"/v1/{kind}")
    api.ask("PATCH", path, {name: "zelda-two@gone.example"})
    marks = ["zelda-one", "zelda-two", "gone.example", "qoldcityq", "qfieldq"]
    return made["id"], marks + ["qpadq"] + [f"qcity{n}q" for n in range(30)]


def traces(marks, folder):
    found = files_of(folder).lower()
    return [mark for mark in marks if mark.encode() in found]


def all_others_are_in(folder):
    found = files_of(folder).lower()
    return all(label.encode() in found for label in OTHERS)


def test_after_a_deletion_and_a_clean_stop_no_file_holds_a_byte_of_the_person(
    free, tmp_path
):
    ref, marks = a_crowd_and_a_person(free)
    public = free.key("publishable", existing="keep")
    sent = {"email": "zelda-two@gone.example", "city": "qsubmittedq"}
    free.post(sent, key=public, headers=PAGE)
    call = {"contact_id": ref, "phone_number": "+442079460123", "from_number": "+4999"}
    made = free.post(
        call, path="/api/calls/create", headers={"Idempotency-Key": "qidempotentq"}
    )
    free.ask("PATCH", f"/api/calls/{made.json['data']['id']}", {"status": "completed"})
    marks += [
        "qsubmittedq",
        "442079460123",
        "qidempotentq",
        made.json["data"]["id"][5:],
    ]
    assert traces(marks, tmp_path) == marks
    assert free.ask("DELETE", f"/v1/contacts/{ref}").status_int == 200
    free.close()
    assert traces(marks, tmp_path) == [] and all_others_are_in(tmp_path)


def test_after_a_companys_deletion_and_a_clean_stop_no_file_holds_a_byte_of_it(
    free, tmp_path
):
    ref, marks = a_crowd_and_a_person(free, company=True)
    assert traces(marks, tmp_path) == marks
    free.ask("DELETE", f"/v1/companies/{ref}")
    free.close()
    assert traces(marks, tmp_path) == [] and all_others_are_in(tmp_path)


def test_after_its_history_is_erased_no_file_holds_a_past_value(free, tmp_path):
    ref, marks = a_crowd_and_a_person(free)
    free.patch(ref, {"pad": None, "city": "Ulm", "tag": None})
    free.ask("DELETE", f"/v1/contacts/{ref}/history")
    free.close()
    kept = ["zelda-two", "gone.example"]
    assert traces(marks, tmp_path) == kept and all_others_are_in(tmp_path)


def test_after_expiry_and_a_clean_stop_no_file_holds_a_past_value(free, tmp_path):
    ref, marks = a_crowd_and_a_person(free)
    free.patch(ref, {"pad": None, "city": "Ulm", "tag": None})
    housekeeper = keep_house(free, CONTACTAPI_HISTORY_DAYS="5")
    free.turn(6 * DAY)
    housekeeper.tick()
    free.close()
    assert traces(marks, tmp_path) == ["zelda-two", "gone.example"]
    assert all_others_are_in(tmp_path)


def test_after_retention_and_a_clean_stop_no_file_holds_a_byte_of_the_person(
    free, tmp_path
):
    _, marks = a_crowd_and_a_person(free)
    housekeeper = keep_house(free, CONTACTAPI_RETENTION_DAYS="5")
    free.turn(6 * DAY)
    upload(free, jsonl(*({"email": label, "seen": "yes"} for label in OTHERS)))
    housekeeper.tick()
    free.close()
    assert traces(marks, tmp_path) == [] and all_others_are_in(tmp_path)


def test_the_night_erases_without_a_stop(utc, free, tmp_path):
    ref, marks = a_crowd_and_a_person(free)
    housekeeper = keep_house(free)
    free.ask("DELETE", f"/v1/contacts/{ref}")
    assert traces(marks, tmp_path)  # or this test would prove nothing
    nights(free, housekeeper, 1)
    assert traces(marks, tmp_path) == [] and all_others_are_in(tmp_path)
    assert len(exported(free)) == len(OTHERS)


def test_the_night_leaves_a_large_file_alone_and_compact_erases_in_it(
    utc, free, tmp_path, monkeypatch, shell
):
    monkeypatch.setattr(contactapi.Store, "SMALL", 1)
    ref, marks = a_crowd_and_a_person(free)
    rewritten = []
    original = contactapi.Store.rewrite
    monkeypatch.setattr(
        contactapi.Store,
        "rewrite",
        lambda store: (rewritten.append(1), original(store))[1],
    )
    housekeeper = keep_house(free)
    free.ask("DELETE", f"/v1/contacts/{ref}")
    nights(free, housekeeper, 1)
    assert rewritten == []
    assert shell("check", "--compact")[0] == 0
    assert rewritten == [1] and traces(marks, tmp_path) == []
    assert all_others_are_in(tmp_path) and len(exported(free)) == len(OTHERS)


def test_a_backup_has_no_byte_of_those_who_were_deleted_before(free, tmp_path, shell):
    ref, marks = a_crowd_and_a_person(free)
    free.ask("DELETE", f"/v1/contacts/{ref}")
    assert shell("backup", "b.db")[0] == 0
    found = (tmp_path / "b.db").read_bytes().lower()
    assert [mark for mark in marks if mark.encode() in found] == []
    assert all(label.encode() in found for label in OTHERS)


###############################################################################
# Backup, check, copy #########################################################
###############################################################################


def some_data(api):
    """A bit of everything."""
    ref, gone = api.add("a@x.org", "gone@x.org", v=["\0", 10**40])
    api.patch(ref, {"n": 1.0})
    api.ask("DELETE", f"/v1/contacts/{gone}")
    api.post({"name": "Acme"}, path="/v1/companies")
    call = {"contact_id": ref, "phone_number": "+442012345678"}
    headers = {"Idempotency-Key": "k"}
    api.post(call, path="/api/calls/create", headers=headers)
    other = api.key("secret", workspace="other")
    api.post({"email": "b@x.org"}, key=other)
    return other


def all_that_is_in(api, other):
    """What two keys can see."""
    paths = ("contacts.jsonl", "companies.jsonl", "events", "stats")
    shown = [
        api.get(f"/v1/{p}", key=k).text for p in paths for k in (api.secret, other)
    ]
    keys = api.get("/api/api-keys").json["data"]["keys"]
    for key in keys:
        del key["last_used_at"]
    return [*shown, api.get("/api/calls/list").text, keys]


def reopened(make, source, file):
    """An app on another file that knows the first one's secret key."""
    again = make(file=file, like=source, CONTACTAPI_RATE_LIMIT="off")
    again.services.keys.revoke(again.ref(again.secret))
    again.secret = source.secret
    return again


def test_a_backup_holds_everything_and_opens(free, make, shell, tmp_path):
    other = some_data(free)
    before = all_that_is_in(free, other)
    status, out, err = shell("backup", "b.db")
    assert (status, err) == (0, "") and "b.db" in out and out.count("\n") == 1
    free.add("later@x.org")
    status, out, err = shell("backup", "--verify", "b.db")
    assert (status, err) == (0, "") and out.count("\n") == 1
    assert all_that_is_in(reopened(make, free, "b.db"), other) == before


def test_verify_changes_nothing_and_leaves_nothing_behind(free, shell, tmp_path):
    some_data(free)
    shell("backup", "b.db")
    before = (tmp_path / "b.db").read_bytes(), sorted(tmp_path.glob("b.db*"))
    assert shell("backup", "--verify", "b.db")[0] == 0
    assert ((tmp_path / "b.db").read_bytes(), sorted(tmp_path.glob("b.db*"))) == before


def test_a_backup_needs_no_wal_beside_it(free, shell, tmp_path):
    some_data(free)
    shell("backup", "b.db")
    shutil.copy(tmp_path / "b.db", tmp_path / "alone.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "alone.db")) as other:
        assert other.execute("SELECT count(*) FROM contact").fetchone() == (2,)


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-4096])


def overwritten(path):
    whole = bytearray(path.read_bytes())
    for start in range(8192, len(whole), 8192):
        whole[start : start + 64] = b"\xaa" * 64
    path.write_bytes(whole)


def miscounted(path):
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE tally SET total = total + 1")


def orphaned(path):
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE answer SET call_id = 99")


def from_the_future(path):
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        other.execute("PRAGMA user_version = 999")


@pytest.mark.parametrize(
    "damage",
    [
        cut_off,
        overwritten,
        miscounted,
        orphaned,
        from_the_future,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"no database " * 1000),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: (
            path.unlink(),
            sqlite3.connect(path)
            .executescript("CREATE TABLE theirs (id)")
            .connection.close(),
        ),
    ],
)
def test_verify_refuses_what_is_no_whole_backup(free, shell, tmp_path, damage):
    some_data(free)
    shell("backup", "b.db")
    damage(tmp_path / "b.db")
    status, out, err = shell("backup", "--verify", "b.db")
    assert (status, out, one_line(err)) == (1, "", True), err
    assert "b.db" in err


def test_check_says_ok_in_a_line_for_each_thing(free, shell):
    some_data(free)
    status, out, err = shell("check")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) >= 4 and all(line.endswith(": ok") for line in lines)
    for what in ("integrity", "orphans", "counters", "configuration"):
        assert f"{what}: ok" in lines


@pytest.mark.parametrize(
    "damage, what", [(miscounted, "counters"), (orphaned, "orphans")]
)
def test_check_names_what_is_wrong_and_exits_1(free, shell, tmp_path, damage, what):
    some_data(free)
    free.close()
    damage(tmp_path / "contacts.db")
    status, out, err = shell("check")
    assert (status, one_line(err)) == (1, True)
    wrong = [line for line in out.splitlines() if not line.endswith(": ok")]
    assert wrong and wrong[0].startswith(f"{what}: ")


def test_check_refuses_a_configuration_that_cannot_be_read(shell, monkeypatch):
    monkeypatch.setenv("CONTACTAPI_MAX_BODY", "hunter2")
    status, out, err = shell("check")
    assert (status, out, one_line(err)) == (1, "", True)
    assert "CONTACTAPI_MAX_BODY" in err and "hunter2" not in err


def test_check_compact_shrinks_beside_a_running_server(free, shell, tmp_path):
    refs = [
        c["id"]
        for c in (
            upload(
                free,
                jsonl(*({"email": f"u{n}@x.org", "x": "x" * 5000} for n in range(300))),
            ),
            exported(free),
        )[1]
    ]
    for ref in refs[:290]:
        free.ask("DELETE", f"/v1/contacts/{ref}")
    free.services.store.truncate_wal()
    before = (tmp_path / "contacts.db").stat().st_size
    status, out, err = shell("check", "--compact")
    assert (status, err) == (0, "") and str(before) in out
    assert (tmp_path / "contacts.db").stat().st_size < before / 2
    assert len(exported(free)) == 10
    free.add("after@x.org")
    assert len(exported(free)) == 11


def test_copy_brings_everything_into_an_empty_database(free, make, shell, tmp_path):
    other = some_data(free)
    before = all_that_is_in(free, other)
    status, out, err = shell("copy", "sqlite:///contacts.db", "sqlite:///copy.db")
    assert (status, err) == (0, "") and "copy.db" in out
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    again = reopened(make, free, "copy.db")
    assert all_that_is_in(again, other) == before
    body = {"contact_id": exported(free)[0]["id"], "phone_number": "+442012345678"}
    headers = {"Idempotency-Key": "k"}
    answer = again.post(body, path="/api/calls/create", headers=headers)
    assert answer.headers.get("Idempotency-Replayed") == "true"
    assert shell("check", "--help")[0] == 0 and list(again.services.store.problems())


def test_a_mirror_goes_on_at_a_copy(free, make, shell):
    (ref,) = free.add("a@x.org")
    for n in range(5):
        free.patch(ref, {"n": n})
    after = feed(free)["next_after"]
    free.ask("DELETE", f"/v1/contacts/{ref}/history")
    assert shell("copy", "sqlite:///contacts.db", "sqlite:///copy.db")[0] == 0
    again = reopened(make, free, "copy.db")
    again.add("b@x.org")
    told = feed(again, f"?after={after}")["data"]
    assert [e["data"]["email"] for e in told] == ["a@x.org", "b@x.org"]


def test_a_mirror_goes_on_at_a_restored_backup(free, make, shell):
    (ref,) = free.add("a@x.org")
    for n in range(5):
        free.patch(ref, {"n": n})
    after = feed(free)["next_after"]
    free.ask("DELETE", f"/v1/contacts/{ref}/history")
    assert shell("backup", "b.db")[0] == 0
    again = reopened(make, free, "b.db")
    again.add("b@x.org")
    told = feed(again, f"?after={after}")["data"]
    assert [e["data"]["email"] for e in told] == ["a@x.org", "b@x.org"]


@pytest.mark.parametrize(
    "source, target",
    [
        ("contacts.db", "contacts.db"),
        ("contacts.db", "full.db"),
        ("contacts.db", "text.txt"),
        ("missing.db", "new.db"),
        ("text.txt", "new.db"),
        ("contacts.db", "nowhere/new.db"),
    ],
)
def test_copy_refuses_what_it_cannot_do(free, shell, tmp_path, source, target):
    some_data(free)
    shell("backup", "full.db")
    (tmp_path / "text.txt").write_text("mine" * 1000)
    before = {p: p.read_bytes() for p in tmp_path.iterdir() if "contacts" not in p.name}
    shown = free.get("/v1/contacts.jsonl").body
    status, out, err = shell("copy", f"sqlite:///{source}", f"sqlite:///{target}")
    assert (status, out, one_line(err)) == (1, "", True)
    after = {p: p.read_bytes() for p in tmp_path.iterdir() if "contacts" not in p.name}
    assert after == before and free.get("/v1/contacts.jsonl").body == shown


###############################################################################
# The log #####################################################################
###############################################################################

MARKS = ["qbodyq", "qmailq", "qqueryq", "qheaderq", "qfieldq", "qerrorq", "qphoneq"]


@pytest.fixture(params=["text", "json"])
def written(request):
    """The lines that a server would write, in both ways."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    forms = {"text": contactapi.TextFormatter, "json": contactapi.JsonFormatter}
    handler.setFormatter(forms[request.param]())
    root, level = logging.getLogger(), contactapi.log.level
    root.addHandler(handler)
    contactapi.log.setLevel(logging.INFO)
    yield request.param, stream
    root.removeHandler(handler)
    contactapi.log.setLevel(level)


def drive(api, monkeypatch, public):
    """Everything that can be asked, with marks in all that is personal."""
    person = {"email": "qmailq@x.org", "name": "qbodyq\x1b[31m", "qfieldq": "x"}
    headers = {"X-Other": "qheaderq", "User-Agent": "qheaderq", "Referer": "qheaderq"}
    query = "?email=qmailq@x.org&q=qqueryq&filter[qfieldq]=qqueryq"
    ref = api.post(person, headers=headers).json["id"]
    api.post(person, key=public, headers={**PAGE, **headers})
    api.post(person, key=public, headers={"Origin": "https://qheaderq.test"})
    for path in ("contacts", "contacts.csv", "contacts.jsonl", "events", "stats"):
        api.get(f"/v1/{path}{query}", headers=headers)
    for bad in (b"qbodyq", b'{"email":"qbodyq"}', b'{"qbodyq":NaN}', b"\xffqbodyq"):
        api.post(bad)
        upload(api, bad)
        upload(api, bad, "/v1/contacts.csv")
        upload(api, b"email,qbodyq\n" + bad, "/v1/contacts.csv")
    for path in (
        f"/v1/contacts/qmailq@x.org{query}",
        f"/f/{public}",
        "/qmailq%40x.org",
        f"/v1/{api.secret}",
        f"/v1/contacts/{api.secret}%0aforged%1b[0m",
        f"/v1/contacts/{ref}%0d%0aERROR%20forged",
        f"/v1/x%c3%bc/{public}",
    ):
        for method in ("GET", "POST", "DELETE", "PUT"):
            api.ask(method, path, None if method == "GET" else person, headers=headers)
    for key in ("ck_secret_qheaderq", "qheaderq", api.secret[:-1]):
        api.get("/v1/contacts", key=key)
    api.post(b"qbodyq" * 20_000)
    api.post({"name": "qbodyq"}, path="/v1/companies")
    call = {"contact_id": ref, "phone_number": "qphoneq"}
    api.post(call, path="/api/calls/create", headers={"Idempotency-Key": "qheaderq"})
    call["phone_number"] = "+442079460123"
    api.post(call, path="/api/calls/create", headers={"Idempotency-Key": "qheaderq"})
    api.post({"name": "qbodyq"}, path="/api/api-keys")
    api.patch(ref, {"name": "qbodyq" * 20_000})
    api.patch(ref, {"email": "qmailq"})
    for owner, name in ((api.services.contacts, "put"), (api.services.contacts, "get")):
        with monkeypatch.context() as patch:
            patch.setattr(type(owner), name, fail)
            assert (
                api.post(person).status_int + api.get(f"/v1/contacts/{ref}").status_int
            )
    api.services.store.write(lambda: fill(api.services.store))
    assert api.post({**person, "large": "qbodyq" * 10_000}).status_int == 503
    api.ask("DELETE", f"/v1/contacts/{ref}")


def fail(*arguments):
    mark = MARKS[5]  # not spelled here, for a traceback shows this line
    raise ValueError(f"{mark} \x1b[31m\x9b {arguments}")


def fill(store):
    """No page more for the writer's connection."""
    (pages,) = store.row("PRAGMA page_count")
    store.row(f"PRAGMA max_page_count = {pages}")


def test_no_line_of_the_log_holds_what_is_personal(free, written, monkeypatch):
    form, stream = written
    public = free.key("publishable")
    drive(free, monkeypatch, public)
    text = stream.getvalue()
    lines = text.split("\n")[:-1]
    assert len(lines) > 60
    tokens = [free.secret, public]
    for mark in [*MARKS, "ck_secret_", "ck_pub_", "442079460123", "forged", *tokens]:
        assert mark not in text, mark
    for token in tokens:
        assert token.rpartition("_")[2] not in text
    assert [c for c in text if not c.isprintable() and c != "\n"] == []
    assert "?" not in text.replace("?1", "")
    assert "Traceback" in text or "in fail" in text  # the 500s are there
    if form == "json":
        parsed = [json.loads(line) for line in lines]
        assert {"time", "level", "message"} <= set.intersection(*map(set, parsed))
        shown = "\n".join(str(v) for one in parsed for v in one.values())
        assert [c for c in shown if not c.isprintable() and c != "\n"] == []
        assert {one["level"] for one in parsed} >= {"info", "error"}
    else:
        stamp = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ [A-Z]+ \S")
        begun = [line for line in lines if stamp.match(line)]
        others = [line for line in lines if not stamp.match(line)]
        assert len(begun) > 60
        assert all(line.startswith("  ") for line in others)  # of a traceback


def test_a_failed_import_logs_nothing_of_its_lines(shell, written, tmp_path):
    _, stream = written
    (tmp_path / "in.jsonl").write_text('qbodyq\n{"email":"qmailq"}\n')
    shell("import", "in.jsonl")
    assert "qbodyq" not in stream.getvalue() and "qmailq" not in stream.getvalue()


@pytest.mark.parametrize(
    "said",
    [
        "Authorization: Bearer {}",
        "'{}'",
        "{}\x1b[31m\x9b\x7f\0\r",
        "x{}x",
        "first line\nsecond {}",
        "https://x.org/f/{}?q=1",
        "\u2028{}\u202e",
    ],
    ids=ascii,
)
def test_a_line_has_no_key_and_no_control_whoever_writes_it(written, said):
    form, stream = written
    token = contactapi.new_token("secret")
    other = logging.getLogger("another.library")
    other.error(said.format(token))
    other.error("%s", said.format(token))
    try:
        raise ValueError(said.format(token))
    except ValueError:
        other.exception("it failed")
        contactapi.log.exception("it failed")
    text = stream.getvalue()
    assert "it failed" in text and "ValueError" in text
    assert token not in text and token.rpartition("_")[2] not in text
    assert [c for c in text if not c.isprintable() and c != "\n"] == []
    if form == "json":
        lines = [json.loads(line) for line in text.split("\n")[:-1]]
        assert len(lines) == 4
        shown = "\n".join(str(v) for one in lines for v in one.values())
        assert token not in shown
        assert [c for c in shown if not c.isprintable() and c != "\n"] == []


def test_a_json_line_is_one_line_whatever_is_said(written):
    form, stream = written
    contactapi.log.warning("a\nb\r\nc %s", "\ud800\udfff \ud800")
    text = stream.getvalue()
    text.encode()
    if form == "json":
        (line,) = text.split("\n")[:-1]
        said = json.loads(line)
        assert said["level"] == "warning" and said["message"].startswith("a")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", said["time"])


def test_what_goes_wrong_in_a_thread_is_in_the_log_under_its_name(free, written):
    _, stream = written
    housekeeper = keep_house(free)
    housekeeper.SECONDS = 0.001
    housekeeper.tick = lambda: fail(MARKS[0])
    housekeeper.start()
    deadline = time.monotonic() + 10
    while "in fail" not in stream.getvalue() and time.monotonic() < deadline:
        time.sleep(0.001)
    housekeeper.stop()
    text = stream.getvalue()
    assert "housekeeping" in text and "in fail" in text
    assert "qerrorq" not in text and "qbodyq" not in text


###############################################################################
# Routes: the read API (document 000) #########################################
###############################################################################


SECOND_FREE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
SECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
UUID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
)
NOBODY = "00000000-0000-4000-8000-000000000000"

JANE = {
    "full_name": "Jane Doe",
    "job_title": "Head of Sales",
    "company_name": "Acme Ltd",
    "email": "jane@acme.com",
    "phone": "+44 20 1234 5678",
    "country": "United Kingdom",
    "country_code": "GB",
    "linkedin_url": "https://linkedin.com/in/...",
    "follow_up_status": "meeting_scheduled",
    "source_event": "Web Summit Lisbon 2026",
    "created_at": "2026-04-10T14:32:11Z",
    "updated_at": "2026-04-12T09:18:55Z",
}
ACME = {
    "name": "Acme Ltd",
    "industry": "Manufacturing",
    "website": "https://acme.com",
    "phone": "+44 20 1234 5678",
    "formatted_address": "1 Main St, London, UK",
    "country_code": "GB",
    "google_rating": 4.5,
    "enrichment_status": "enriched",
    "created_at": "2026-04-08T10:14:32Z",
}


def import_all(client, kind, documents):
    """Takes in documents, their times among them."""
    lines = "".join(json.dumps(document) + "\n" for document in documents)
    headers = {"Content-Type": "application/jsonl"}
    path = f"/v1/{kind}.jsonl"
    answer = client.ask("POST", path, lines.encode(), headers=headers)
    assert answer.json["failed"] == 0, answer.text


def read(client, path, **options):
    """The body of a list or a record of the read API."""
    answer = client.get(f"/api/v1/{path}", **options)
    assert answer.status_int == 200, answer.text
    return answer.json


def read_failure(answer):
    """(status, code) of an answer of the read API that is no success."""
    assert set(answer.json) == {"error"}, answer.text
    assert set(answer.json["error"]) <= {"code", "message", "param"}, answer.text
    return answer.status_int, answer.json["error"]["code"]


def pages(client, path, **query):
    """The records of each page, to the last."""
    while True:
        body = read(client, f"{path}?{urlencode(query)}")
        assert body["has_more"] == (body["next_cursor"] is not None)
        yield body["data"]
        if not body["has_more"]:
            return
        assert body["next_cursor"] != query.get("cursor"), "the walk stands still"
        query["cursor"] = body["next_cursor"]


def test_the_read_documents_contact_is_shown_word_for_word(api):
    older = {"email": "older@acme.com", "created_at": "2026-04-10T14:32:10Z"}
    import_all(api, "contacts", [older, JANE])
    body = read(api, "contacts?limit=1")
    (record,) = body["data"]
    assert UUID.fullmatch(record["id"])
    assert list(record.items()) == [("id", record["id"]), *JANE.items()]
    assert list(body) == ["data", "next_cursor", "has_more"]
    assert body["next_cursor"] == "2026-04-10T14:32:11.000000Z"
    assert body["has_more"] is True


def test_the_read_documents_company_is_shown_word_for_word(api):
    import_all(api, "companies", [ACME])
    body = read(api, "companies")
    (record,) = body["data"]
    assert UUID.fullmatch(record["id"])
    assert list(record.items()) == [("id", record["id"]), *ACME.items()]
    assert (body["next_cursor"], body["has_more"]) == (None, False)


def test_the_read_documents_own_cursor_of_whole_seconds_is_taken(api):
    older = {"email": "older@acme.com", "created_at": "2026-04-10T14:32:10Z"}
    import_all(api, "contacts", [older, JANE])
    body = read(api, "contacts?cursor=2026-04-10T14:32:11Z")
    assert [record["email"] for record in body["data"]] == ["older@acme.com"]
    assert (body["next_cursor"], body["has_more"]) == (None, False)


@pytest.mark.parametrize("kind, document", [("contacts", JANE), ("companies", ACME)])
def test_a_single_read_record_is_the_record_itself(api, kind, document):
    import_all(api, kind, [document])
    (listed,) = read(api, kind)["data"]
    assert read(api, f"{kind}/{listed['id']}") == listed
    assert read(api, f"{kind}/{listed['id'].upper()}") == listed


@pytest.mark.parametrize(
    "kind, key, fields",
    [("contacts", "email", JANE), ("companies", "name", ACME)],
)
def test_a_field_that_a_read_record_does_not_have_is_null(api, kind, key, fields):
    sent = {key: "a@b.example", "unasked": 1, "id": "x", "key": "y"}
    assert api.post(sent, f"/v1/{kind}").status_int == 201
    (record,) = read(api, kind)["data"]
    stamps = {n: record[n] for n in ("created_at", "updated_at") if n in fields}
    assert set(stamps.values()) == {"2026-07-04T10:00:00Z"}
    expected = dict.fromkeys(fields) | {key: "a@b.example"} | stamps
    assert record == {"id": record["id"], **expected}


@pytest.mark.parametrize(
    "sent, full_name",
    [
        ({"full_name": "Jane Doe", "name": "J", "first_name": "X"}, "Jane Doe"),
        ({"name": "Jane D.", "first_name": "X", "last_name": "Y"}, "Jane D."),
        ({"full_name": None, "name": "Jane D."}, "Jane D."),
        ({"first_name": "Jane", "last_name": "Doe"}, "Jane Doe"),
        ({"name": None, "first_name": "Jane", "last_name": "Doe"}, "Jane Doe"),
        ({"first_name": "Jane"}, "Jane"),
        ({"last_name": "Doe"}, "Doe"),
        ({"first_name": 5, "last_name": None}, None),
        ({}, None),
    ],
    ids=str,
)
def test_full_name_falls_back_to_name_then_to_first_and_last(api, sent, full_name):
    api.post({"email": "jane@acme.com", **sent})
    (record,) = read(api, "contacts")["data"]
    assert record["full_name"] == full_name
    assert read(api, f"contacts/{record['id']}")["full_name"] == full_name


def test_the_read_api_shows_what_the_native_api_stored_under_the_same_uuid(api):
    (ref,) = api.add("ada@example.com", job_title="Countess")
    record = read(api, f"contacts/{hyphenated(ref)}")
    assert (record["id"], record["job_title"]) == (hyphenated(ref), "Countess")
    assert api.get(f"/v1/contacts/{record['id']}").json["id"] == ref
    api.patch(ref, {"job_title": "Programmer"})
    assert read(api, f"contacts/{record['id']}")["job_title"] == "Programmer"


@pytest.mark.parametrize("kind", ["contacts", "companies"])
@pytest.mark.parametrize(
    "ref",
    [
        "123",
        "uuid",
        "con_01h455vb4pex5vsknk084sn02q",
        NOBODY.replace("-", ""),
        NOBODY[:-1],
        NOBODY + "0",
        NOBODY.replace("8000", "800g"),
        "{" + NOBODY + "}",
        "urn:uuid:" + NOBODY,
        "%EF%BC%90" + NOBODY[1:],
        NOBODY + "%0A",
    ],
)
def test_a_malformed_uuid_is_400_invalid_id(api, kind, ref):
    assert read_failure(api.get(f"/api/v1/{kind}/{ref}")) == (400, "invalid_id")


@pytest.mark.parametrize("kind, key", [("contacts", "email"), ("companies", "name")])
def test_a_record_outside_the_workspace_or_deleted_is_404_not_found(api, kind, key):
    ref = api.post({key: "a@b.example"}, f"/v1/{kind}").json["id"]
    path = f"/api/v1/{kind}/{hyphenated(ref)}"
    other = api.key("secret", workspace="other")
    assert api.get(path).status_int == 200
    assert read_failure(api.get(path, key=other)) == (404, "not_found")
    assert read(api, kind, key=other)["data"] == []
    assert read_failure(api.get(f"/api/v1/{kind}/{NOBODY}")) == (404, "not_found")
    api.ask("DELETE", f"/v1/{kind}/{ref}")
    assert read_failure(api.get(path)) == (404, "not_found")
    assert read(api, kind)["data"] == []


def test_the_uuid_of_another_kind_is_404_not_found(api):
    ref = api.post({"name": "Acme"}, "/v1/companies").json["id"]
    answer = api.get(f"/api/v1/contacts/{hyphenated(ref)}")
    assert read_failure(answer) == (404, "not_found")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["", f"/{NOBODY}", "/"])
@pytest.mark.parametrize("kind", ["contacts", "companies"])
@pytest.mark.parametrize("token", [..., None])
def test_the_read_api_is_read_only(api, method, path, kind, token):
    answer = api.ask(method, f"/api/v1/{kind}{path}", {"a": 1}, key=token)
    assert read_failure(answer) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


def test_the_read_api_answers_head_and_a_trailing_slash(api):
    (ref,) = api.add("ada@example.com")
    for path in ("/api/v1/contacts", f"/api/v1/contacts/{hyphenated(ref)}"):
        head = api.ask("HEAD", path)
        assert (head.status_int, head.body) == (200, b"")
        assert api.get(path + "/").json == api.get(path).json


def test_the_read_api_has_401_unauthorized_for_a_missing_invalid_revoked_key(api):
    revoked = api.key("secret")
    api.services.keys.revoke(api.ref(revoked))
    answers = [
        api.get("/api/v1/contacts", key=k) for k in (None, "cdx_live_x", revoked)
    ]
    assert {read_failure(answer) for answer in answers} == {(401, "unauthorized")}
    assert len({answer.body for answer in answers}) == 1
    assert {a.headers["WWW-Authenticate"] for a in answers} == {"Bearer"}


def test_the_read_api_has_429_rate_limit_with_retry_after(api):
    for _ in range(100):
        assert api.get("/api/v1/contacts").status_int == 200
    answer = api.get("/api/v1/contacts")
    assert read_failure(answer) == (429, "rate_limit")
    assert answer.headers["Retry-After"] == "60"
    api.turn(60)
    assert api.get("/api/v1/contacts").status_int == 200


def test_the_read_api_has_500_internal_error(api, monkeypatch):
    monkeypatch.setattr(api.services.contacts, "older", lambda *_: 1 / 0)
    answer = api.get("/api/v1/contacts")
    assert read_failure(answer) == (500, "internal_error")
    assert "ZeroDivision" not in answer.text and "zero" not in answer.text


def test_a_page_of_the_read_api_has_50_records_and_at_most_100(free):
    import_all(free, "contacts", [{"email": f"c{n}@x.org"} for n in range(120)])
    assert len(read(free, "contacts")["data"]) == 50
    assert len(read(free, "contacts?limit=100")["data"]) == 100
    assert len(read(free, "contacts?limit=1")["data"]) == 1


@pytest.mark.parametrize("kind", ["contacts", "companies"])
@pytest.mark.parametrize("limit", ["0", "101", "-1", "x", "", "1.5", "9" * 30, "1e1"])
def test_another_limit_of_the_read_api_is_400(api, kind, limit):
    answer = api.get(f"/api/v1/{kind}?limit={limit}")
    assert read_failure(answer) == (400, "invalid_request")
    assert answer.json["error"]["param"] == "limit"


def test_the_newest_comes_first_and_the_last_page_says_so(free):
    for n in range(5):
        free.turn(1)
        free.add(f"c{n}@x.org")
    walked = list(pages(free, "contacts", limit=2))
    shown = [[record["email"][1] for record in page] for page in walked]
    assert shown == [["4", "3"], ["2", "1"], ["0"]]
    exact = list(pages(free, "contacts", limit=5))
    assert [len(page) for page in exact] == [5]


def test_a_cursor_is_the_last_records_time_with_six_digits(free):
    free.add(*(f"c{n}@x.org" for n in range(3)))
    body = read(free, "contacts?limit=2")
    assert body["next_cursor"] == "2026-07-04T10:00:00.000001Z"
    assert SECOND_FREE.fullmatch(body["next_cursor"])
    assert all(SECONDS.fullmatch(record["created_at"]) for record in body["data"])
    rest = read(free, f"contacts?cursor={body['next_cursor']}")
    assert [record["email"] for record in rest["data"]] == ["c0@x.org"]


@pytest.mark.parametrize(
    "cursor, seen",
    [
        ("2026-04-10T14:32:11.000001Z", 2),
        ("2026-04-10T14:32:11.000000Z", 1),
        ("2026-04-10T14:32:11Z", 1),
        ("2026-04-10T14:32:11.0Z", 1),
        ("2026-04-10T14:32:11.5Z", 2),
        ("2026-04-10T14:32:11", 1),
        ("2026-04-10T16:32:11%2B02:00", 1),
        ("2026-04-11", 2),
        ("2026-04-10", 0),
        ("9999-12-31", 2),
        ("1970-01-01", 0),
    ],
)
def test_a_cursor_may_have_fewer_digits_or_be_a_date(api, cursor, seen):
    older = {"email": "older@acme.com", "created_at": "2026-04-10T14:32:10Z"}
    import_all(api, "contacts", [older, JANE])
    assert len(read(api, f"contacts?cursor={cursor}")["data"]) == seen


@pytest.mark.parametrize("kind", ["contacts", "companies"])
@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "1",
        "2026-04-31",
        "2026-04-10T25:00:00Z",
        "null",
        "2026-04-10T14:32:11Zx",
    ],
)
def test_any_other_cursor_is_400_invalid_cursor(api, kind, cursor):
    answer = api.get(f"/api/v1/{kind}?cursor={cursor}")
    assert read_failure(answer) == (400, "invalid_cursor")


@pytest.mark.parametrize("kind, key", [("contacts", "email"), ("companies", "name")])
def test_a_walk_neither_repeats_nor_skips_though_others_come_and_go(free, kind, key):
    second = "2026-07-01T00:00:00Z"
    import_all(
        free, kind, [{key: f"c{n}@x.org", "created_at": second} for n in range(3000)]
    )
    kept = {f"c{n}@x.org" for n in range(3000)}
    ids = {r[key]: r["id"] for page in pages(free, kind, limit=100) for r in page}
    assert set(ids) == kept
    walked = []
    for number, page in enumerate(pages(free, kind, limit=100)):
        walked += [record[key] for record in page]
        unseen = sorted(kept - set(walked))[:1]
        for gone in (walked[-1], walked[number], *unseen):
            if gone in kept:
                kept.discard(gone)
                free.ask("DELETE", f"/v1/{kind}/{ids[gone]}")
        free.turn(1)
        free.post({key: f"new{number}@x.org"}, f"/v1/{kind}")
        late = {key: f"late{number}@x.org", "created_at": second}
        import_all(free, kind, [late])
    assert len(walked) == len(set(walked))
    assert kept <= set(walked)
    assert len(kept) < 2950


def test_a_page_costs_the_same_at_every_depth(free):
    second = "2026-07-01T00:00:00Z"
    documents = [{"email": f"c{n}@x.org", "created_at": second} for n in range(3000)]
    import_all(free, "contacts", documents)
    connection, steps = free.services.store.db.connection(), []

    def cost(path):
        steps.clear()
        connection.set_progress_handler(lambda: steps.append(1) and 0, 10)
        body = read(free, path)
        connection.set_progress_handler(None, 0)
        assert len(body["data"]) == 20
        return len(steps)

    first = cost("contacts?limit=20")
    for place in ("002000", "001000", "000020"):
        deep = cost(f"contacts?limit=20&cursor=2026-07-01T00:00:00.{place}Z")
        assert deep <= first * 1.2 + 5


CONTACTS_TO_FIND = [
    {
        "email": "a@x.org",
        "company_name": "Acme Ltd",
        "country_code": "GB",
        "follow_up_status": "none",
        "source_event": "Web Summit Lisbon 2026",
    },
    {
        "email": "B@x.org",
        "company_name": "Acme",
        "country_code": "DE",
        "follow_up_status": "meeting_scheduled",
        "source_event": "Fair",
    },
    {"email": "c@x.org", "company_name": "acme ltd", "country_code": "gb"},
    {"email": "d@x.org"},
]
COMPANIES_TO_FIND = [
    {"name": "Acme Ltd", "country_code": "GB", "enrichment_status": "enriched"},
    {"name": "ACME GmbH", "country_code": "DE", "enrichment_status": "pending"},
    {"name": "Größe 100%_x", "country_code": "DE"},
]


@pytest.mark.parametrize(
    "kind, query, found",
    [
        ("contacts", {"email": "a@x.org"}, "a"),
        ("contacts", {"email": " A@X.ORG "}, "a"),
        ("contacts", {"email": "b@x.org"}, "b"),
        ("contacts", {"email": "a@x.or"}, ""),
        ("contacts", {"company_name": "Acme Ltd"}, "a"),
        ("contacts", {"company_name": "Acme"}, "b"),
        ("contacts", {"company_name": "Acm"}, ""),
        ("contacts", {"country_code": "GB"}, "a"),
        ("contacts", {"country_code": "gb"}, "c"),
        ("contacts", {"follow_up_status": "meeting_scheduled"}, "b"),
        ("contacts", {"source_event": "Web Summit Lisbon 2026"}, "a"),
        ("contacts", {"source_event": "Web Summit"}, ""),
        ("contacts", {"company_name": "Acme", "country_code": "DE"}, "b"),
        ("contacts", {"company_name": "Acme", "country_code": "GB"}, ""),
        ("contacts", {"email": "b@x.org", "country_code": "DE"}, "b"),
        ("contacts", {}, "dcba"),
        ("companies", {"name": "acme"}, "AA"),
        ("companies", {"name": "ACME L"}, "A"),
        ("companies", {"name": "cme g"}, "A"),
        ("companies", {"name": "grösse"}, "G"),
        ("companies", {"name": "GRÖSSE"}, "G"),
        ("companies", {"name": "100%_X"}, "G"),
        ("companies", {"name": "%"}, "G"),
        ("companies", {"name": "_"}, "G"),
        ("companies", {"name": "nobody"}, ""),
        ("companies", {"country_code": "DE"}, "GA"),
        ("companies", {"country_code": "D"}, ""),
        ("companies", {"enrichment_status": "enriched"}, "A"),
        ("companies", {"enrichment_status": "pending", "name": "acme"}, "A"),
        ("companies", {"enrichment_status": "pending", "name": "ltd"}, ""),
    ],
    ids=str,
)
def test_a_read_list_is_narrowed_by_its_parameters(free, kind, query, found):
    key = {"contacts": "email", "companies": "name"}[kind]
    for document in {"contacts": CONTACTS_TO_FIND, "companies": COMPANIES_TO_FIND}[
        kind
    ]:
        free.post(document, f"/v1/{kind}")
    shown = [r[key][0] for page in pages(free, kind, limit=1, **query) for r in page]
    wanted = found if kind == "companies" else found.replace("b", "B")
    assert "".join(shown) == wanted


def test_updated_since_gives_what_was_written_from_then_on(free):
    refs = free.add("a@x.org", "b@x.org")
    company = free.post({"name": "Acme"}, "/v1/companies").json["id"]
    free.turn(3600)
    free.patch(refs[0], {"plan": "pro"})
    free.turn(3600)
    free.ask("PATCH", f"/v1/companies/{company}", {"plan": "pro"})

    def found(kind, since):
        data = read(free, f"{kind}?updated_since={since}")["data"]
        return [record.get("email") or record["name"] for record in data]

    assert found("contacts", "2026-07-04T10:00:00Z") == ["b@x.org", "a@x.org"]
    assert found("contacts", "2026-07-04T10:59:59Z") == ["a@x.org"]
    assert found("contacts", "2026-07-04T11:00:00Z") == ["a@x.org"]
    assert found("contacts", "2026-07-04T11:00:01Z") == []
    assert found("contacts", "2026-07-04") == ["b@x.org", "a@x.org"]
    assert found("companies", "2026-07-04T12:00:00Z") == ["Acme"]
    assert found("companies", "2026-07-05") == []


@pytest.mark.parametrize("kind", ["contacts", "companies"])
def test_a_bad_updated_since_is_400(api, kind):
    answer = api.get(f"/api/v1/{kind}?updated_since=yesterday")
    assert read_failure(answer) == (400, "invalid_request")
    assert answer.json["error"]["param"] == "updated_since"


def test_an_email_that_is_none_is_400(api):
    assert api.get("/api/v1/contacts?email=x").status_int == 400


###############################################################################
# Routes: permissions #########################################################
###############################################################################


# What the contract has each endpoint need: a new route must be written here.
NEEDS = {
    ("GET", "/healthz"): None,
    ("POST", "/api/calls/<ref>/twilio"): None,
    ("GET", "/v1/contacts/<ref>/export"): "contacts:read calls:read",
    ("GET", "/v1/events"): "everything",
    ("GET", "/v1/stats"): "everything",
    ("GET", "/api/api-keys"): "keys:read",
    ("POST", "/api/api-keys"): "keys:write",
    ("PATCH", "/api/api-keys/<ref>"): "keys:write",
    ("DELETE", "/api/api-keys/<ref>"): "keys:write",
    ("POST", "/api/calls/create"): "calls:write",
    ("GET", "/api/calls/list"): "calls:read",
    ("GET", "/api/calls/<ref>"): "calls:read",
    ("PATCH", "/api/calls/<ref>"): "calls:write",
}
for _kind in ("contacts", "companies"):
    _read, _write = f"{_kind}:read", f"{_kind}:write"
    NEEDS |= {
        ("GET", f"/v1/{_kind}"): _read,
        ("POST", f"/v1/{_kind}"): _write,
        ("GET", f"/v1/{_kind}/<ref>"): _read,
        ("PATCH", f"/v1/{_kind}/<ref>"): _write,
        ("DELETE", f"/v1/{_kind}/<ref>"): _write,
        ("GET", f"/v1/{_kind}/<ref>/history"): _read,
        ("DELETE", f"/v1/{_kind}/<ref>/history"): _write,
        ("GET", f"/v1/{_kind}.jsonl"): _read,
        ("GET", f"/v1/{_kind}.csv"): _read,
        ("POST", f"/v1/{_kind}.jsonl"): f"{_read} {_write}",
        ("POST", f"/v1/{_kind}.csv"): f"{_read} {_write}",
        ("GET", f"/api/v1/{_kind}"): _read,
        ("GET", f"/api/v1/{_kind}/<ref>"): _read,
    }
FOR_PAGES = {("POST", "/v1/contacts")}  # what a publishable key may

SINGLES = [(name,) for name in contactapi.PERMISSIONS]
ALL_BUT_ONE = [
    tuple(n for n in contactapi.PERMISSIONS if n != left_out)
    for left_out in contactapi.PERMISSIONS
]


def plain(rule):
    """A rule without the pattern of its wildcard."""
    return re.sub(r"<(\w+):.*>", r"<\1>", rule)


def filled(rule):
    """A path that this rule matches and that names no record."""
    kinds = {"companies": "cmp", "api-keys": "key", "calls": "call"}
    prefix = next((p for name, p in kinds.items() if name in rule), "con")
    ref = f"{prefix}_00000000000000000000000000"
    return re.sub("<ref>", NOBODY if "/api/v1/" in rule else ref, plain(rule))


def test_no_route_is_missing_in_the_table_of_permissions(make):
    routes = make(**TWILIO).app.routes
    found = {(route.method, plain(route.rule)): route for route in routes}
    assert set(found) == set(NEEDS)
    for name, route in found.items():
        needs = route.config.get("needs")
        assert (needs and " ".join(needs)) == NEEDS[name], name
        assert bool(route.config.get("public")) == (name in FOR_PAGES), name


@pytest.mark.parametrize(
    "kind, permissions",
    [
        ("none", ()),
        ("unknown", ()),
        ("secret", ()),
        ("publishable", ()),
        *(("restricted", permissions) for permissions in SINGLES + ALL_BUT_ONE),
        ("restricted", contactapi.PERMISSIONS),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_a_key_may_exactly_what_its_permissions_name(make, kind, permissions):
    client = make(CONTACTAPI_RATE_LIMIT="off", **TWILIO)
    token = {"none": None, "unknown": "ck_live_" + "0" * 32}.get(kind)
    if kind not in ("none", "unknown"):
        token = client.key(kind, *permissions)
    for route in client.app.routes:
        name = (route.method, plain(route.rule))
        if NEEDS[name] is None:
            continue
        needs = set(NEEDS[name].split())
        answer = client.ask(
            *(route.method, filled(route.rule), None if name[0] == "GET" else {}),
            key=token,
            headers={"Origin": "https://example.com"},
        )
        may = kind == "secret" or needs <= set(permissions)
        may = may or (kind == "publishable" and name in FOR_PAGES)
        if kind in ("none", "unknown"):
            assert answer.status_int == 401, name
        elif may:
            assert answer.status_int in (200, 201, 400, 404, 415), name
        else:
            assert answer.status_int == 403, name


def test_a_route_without_a_key_is_one_of_these(make):
    client = make(**TWILIO)
    assert client.get("/healthz", key=None).status_int == 200
    path = "/api/calls/call_00000000000000000000000000/twilio"
    assert signed(client, path, {"CallSid": SID}).status_int == 200


def test_every_route_of_the_three_apis_answers_preflights(make):
    client = make(**TWILIO)
    for route in client.app.routes:
        headers = {"Origin": "https://example.com"}
        answer = client.ask("OPTIONS", filled(route.rule), key=None, headers=headers)
        assert answer.status_int == 204, route.rule
        allowed = answer.headers["Access-Control-Allow-Methods"].split(", ")
        assert route.method in allowed, route.rule


def test_one_limiter_counts_the_three_apis_together(api):
    paths = ["/v1/contacts", "/api/v1/contacts", "/api/calls/list", "/api/api-keys"]
    rests = [api.get(path).headers["RateLimit"] for path in paths]
    assert rests == [f'"key";r={n};t=60' for n in (99, 98, 97, 96)]


###############################################################################
# Routes: keys over HTTP (document 001) #######################################
###############################################################################


def enveloped(answer, status=200):
    """The data of a success in document 001's envelope."""
    assert answer.status_int == status, answer.text
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert list(answer.json) == ["success", "data", "error"], answer.text
    assert answer.json["success"] is True and answer.json["error"] is None
    return answer.json["data"]


def refusal(answer):
    """(status, code, param) of a failure in document 001's envelope."""
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert list(answer.json) == ["success", "data", "error"], answer.text
    assert answer.json["success"] is False and answer.json["data"] is None
    error = answer.json["error"]
    assert set(error) <= {"code", "message", "param"} and error["message"]
    return answer.status_int, error["code"], error.get("param")


def in_document_001(client, method, path, body=None, key=...):
    """As its examples ask: with x-api-key and, where there is a body, its type."""
    headers = {"x-api-key": client.secret if key is ... else key}
    return client.ask(method, path, body, key=None, headers=headers)


def make_key(client, **document):
    """The data of a new key."""
    return enveloped(client.post(document, "/api/api-keys"), 201)


MY_KEY = {"name": "My API Key", "permissions": ["calls:read", "calls:write"]}
KEY_FIELDS = {
    *("id", "name", "type", "permissions", "domains", "hint"),
    *("created_at", "last_used_at"),
}


def test_the_documents_key_is_created_word_for_word(api):
    answer = in_document_001(api, "POST", "/api/api-keys", MY_KEY)
    data = enveloped(answer, 201)
    assert re.fullmatch("key_[0-9a-z]{26}", data["id"])
    assert data["name"] == "My API Key"
    assert re.fullmatch("ck_live_[0-9a-z]{26,}", data["key"])
    assert data["created_at"] == "2026-07-04T10:00:00Z"
    assert data["permissions"] == ["calls:read", "calls:write"]
    assert enveloped(api.get("/api/calls/list", key=data["key"]))["total"] == 0
    assert api.get("/v1/contacts", key=data["key"]).status_int == 403


def test_the_documents_list_of_keys_word_for_word(api):
    made = make_key(api, **MY_KEY)
    api.turn(3600)
    api.get("/api/calls/list", key=made["key"])
    keys = enveloped(in_document_001(api, "GET", "/api/api-keys"))["keys"]
    (mine,) = [key for key in keys if key["id"] == made["id"]]
    assert mine["name"] == "My API Key"
    assert mine["created_at"] == "2026-07-04T10:00:00Z"
    assert mine["last_used_at"] == "2026-07-04T11:00:00Z"
    assert set(mine) >= KEY_FIELDS
    assert made["key"] not in json.dumps(keys) and "key" not in mine


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


@pytest.mark.parametrize("permission", contactapi.PERMISSIONS)
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
        {"permissions": list(contactapi.PERMISSIONS)},
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


###############################################################################
# Routes: calls (document 001) ################################################
###############################################################################


CALL_FIELDS = [
    *("id", "status", "contact_id", "phone_number", "from_number", "duration"),
    *("reason", "created_at", "updated_at"),
]
ENDS = ["completed", "busy", "failed", "no-answer", "canceled"]
STATUSES = ["initiating", "queued", "ringing", "in-progress", *ENDS]


def create_call(client, contact, phone="+1234567890", **options):
    headers = options.pop("headers", None)
    key = options.pop("key", ...)
    body = {"contact_id": contact, "phone_number": phone, **options}
    return client.post(body, "/api/calls/create", key=key, headers=headers)


def called(client, contact=None, **options):
    """The data of a new call, to a new contact unless told whom."""
    contact = contact or client.add(f"c{client.clock()}@x.org")[0]
    return enveloped(create_call(client, contact, **options), 201)


def show_call(client, call, **options):
    return enveloped(client.get(f"/api/calls/{call['id']}", **options))


def move(client, call, key=..., **change):
    return client.ask("PATCH", f"/api/calls/{call['id']}", change, key=key)


def list_calls(client, query="", key=...):
    return enveloped(client.get(f"/api/calls/list{query}", key=key))


def call_events(client):
    """(type, key, data, changed) of what happened to calls, in order."""
    events = client.get("/v1/events?limit=1000").json["data"]
    return [
        (event["type"], event["key"], event["data"], event["changed"])
        for event in events
        if event["type"].startswith("call.")
    ]


def test_the_documents_call_is_created_word_for_word(api):
    (contact,) = api.add("ada@example.com")
    body = {
        "contact_id": contact,
        "phone_number": "+1234567890",
        "from_number": "+0987654321",
    }
    answer = in_document_001(api, "POST", "/api/calls/create", body)
    data = enveloped(answer, 201)
    assert re.fullmatch("call_[0-9a-z]{26}", data["id"])
    assert list(data) == CALL_FIELDS
    assert data == {
        "id": data["id"],
        "status": "initiating",
        "contact_id": contact,
        "phone_number": "+1234567890",
        "from_number": "+0987654321",
        "duration": None,
        "reason": None,
        "created_at": "2026-07-04T10:00:00Z",
        "updated_at": "2026-07-04T10:00:00Z",
    }


def test_the_documents_list_of_calls_word_for_word(api):
    call = called(api)
    called(api, api.add("b@x.org")[0])
    enveloped(move(api, call, status="completed", duration=120))
    path = "/api/calls/list?limit=50&status=completed"
    data = enveloped(in_document_001(api, "GET", path))
    (shown,) = data["calls"]
    expected = {
        "id": call["id"],
        "status": "completed",
        "contact_id": call["contact_id"],
        "phone_number": "+1234567890",
        "duration": 120,
        "created_at": "2026-07-04T10:00:00Z",
    }
    assert {name: shown[name] for name in expected} == expected
    assert data["total"] == 1


@pytest.mark.parametrize(
    "phone",
    ["+12", "+1234567890", "+442012345678", "+123456789012345", "+999999999999999"],
)
def test_a_phone_number_is_e164(api, phone):
    assert called(api, phone=phone)["phone_number"] == phone


@pytest.mark.parametrize(
    "phone",
    [
        *("+1", "+1234567890123456", "+0123456789", "1234567890", "+", "", "+12a45"),
        *("+1 234 567", " +1234567890", "+1234567890\n", "+1-234-567", "00441234567"),
        *(
            "+１２３４５",
            "++1234567",
            "tel:+1234567",
            1234567890,
            None,
            True,
            ["+12345"],
        ),
        {},
    ],
    ids=ascii,
)
def test_another_phone_number_is_400_invalid_phone(api, phone):
    (contact,) = api.add("a@x.org")
    answer = create_call(api, contact, phone)
    assert refusal(answer) == (400, "invalid_phone", "phone_number")
    assert list_calls(api)["total"] == 0


@pytest.mark.parametrize("number", ["+12", "+0987654321", "+123456789012345"])
def test_a_from_number_is_plus_and_2_to_15_digits(api, number):
    assert called(api, from_number=number)["from_number"] == number


@pytest.mark.parametrize(
    "number", ["+1", "+1234567890123456", "1234567", "x", "", 0, False, [], 5], ids=repr
)
def test_another_from_number_is_400(api, number):
    (contact,) = api.add("a@x.org")
    answer = create_call(api, contact, from_number=number)
    assert refusal(answer) == (400, "invalid_phone", "from_number")


@pytest.mark.parametrize("sent", [{}, {"from_number": None}], ids=str)
def test_without_twilio_a_call_needs_no_from_number(api, sent):
    assert called(api, **sent)["from_number"] is None


@pytest.mark.parametrize(
    "body, param",
    [
        ({}, "contact_id"),
        ({"phone_number": "+1234567890"}, "contact_id"),
        ({"phone_number": "+1234567890", "contact_id": None}, "contact_id"),
        ({"phone_number": "+1234567890", "contact_id": 123}, "contact_id"),
        ({"contact_id": "con_00000000000000000000000000"}, "phone_number"),
    ],
    ids=str,
)
def test_a_call_without_contact_or_number_is_400(api, body, param):
    answer = api.post(body, "/api/calls/create")
    assert refusal(answer)[0] == 400
    assert refusal(answer)[2] == param


@pytest.mark.parametrize(
    "ref", ["contact_123", "con_" + "0" * 26, NOBODY, "", "con_", "x" * 1000]
)
def test_a_call_to_an_unknown_contact_is_404(api, ref):
    assert refusal(create_call(api, ref))[:2] == (404, "not_found")


def test_a_call_to_a_contact_of_another_workspace_is_404(api):
    (contact,) = api.add("a@x.org")
    other = api.key("secret", workspace="other")
    assert refusal(create_call(api, contact, key=other))[:2] == (404, "not_found")


def test_a_call_to_a_company_is_404(api):
    ref = api.post({"name": "Acme"}, "/v1/companies").json["id"]
    assert refusal(create_call(api, ref))[0] == 404
    assert refusal(create_call(api, hyphenated(ref)))[0] == 404


def test_a_contact_of_the_read_api_is_called_by_its_uuid(api):
    (ref,) = api.add("a@x.org")
    (record,) = read(api, "contacts")["data"]
    assert called(api, record["id"])["contact_id"] == ref
    assert called(api, ref.upper())["contact_id"] == ref
    assert list_calls(api, f"?contact_id={record['id']}")["total"] == 2


def test_a_call_is_shown_by_both_spellings_of_its_id_in_any_case(api):
    call = called(api)
    for ref in (call["id"], call["id"].upper(), hyphenated(call["id"])):
        assert enveloped(api.get(f"/api/calls/{ref}")) == call
        assert enveloped(api.get(f"/api/calls/{ref}/")) == call
    assert api.ask("HEAD", f"/api/calls/{call['id']}").status_int == 200


@pytest.mark.parametrize("method, body", [("GET", None), ("PATCH", {"status": "busy"})])
@pytest.mark.parametrize("ref", ["call_123", "x", NOBODY, "call_" + "0" * 26, "lists"])
def test_an_unknown_or_malformed_call_is_404(api, method, body, ref):
    answer = api.ask(method, f"/api/calls/{ref}", body)
    assert refusal(answer) == (404, "not_found", None)


def test_a_call_of_another_workspace_is_404(api):
    call = called(api)
    other = api.key("secret", workspace="other")
    assert refusal(api.get(f"/api/calls/{call['id']}", key=other))[0] == 404
    assert refusal(move(api, call, key=other, status="busy"))[0] == 404
    assert list_calls(api, key=other) == {"calls": [], "total": 0, "next_cursor": None}
    assert show_call(api, call) == call


@pytest.mark.parametrize("new", STATUSES)
@pytest.mark.parametrize("old", STATUSES)
def test_a_status_goes_forward_only_and_an_end_is_final(free, old, new):
    call = called(free)
    if old != "initiating":
        enveloped(move(free, call, status=old))
    before = show_call(free, call)
    told = len(call_events(free))
    free.turn(5)
    answer = move(free, call, status=new)
    stage = {name: min(n, 4) for n, name in enumerate(STATUSES)}
    if old in ENDS and new != old:
        assert refusal(answer) == (409, "conflict", "status")
        assert show_call(free, call) == before
    elif stage[new] > stage[old]:
        after = {**before, "status": new, "updated_at": "2026-07-04T10:00:05Z"}
        assert enveloped(answer) == show_call(free, call) == after
        told += 1
    else:
        assert enveloped(answer) == show_call(free, call) == before
    assert len(call_events(free)) == told


@pytest.mark.parametrize(
    "change, param",
    [
        ({"status": "done"}, "status"),
        ({"status": "Completed"}, "status"),
        ({"status": None}, "status"),
        ({"status": 4}, "status"),
        ({"status": []}, "status"),
        ({"status": {}}, "status"),
        ({"duration": -1}, "duration"),
        ({"duration": 1.5}, "duration"),
        ({"duration": "120"}, "duration"),
        ({"duration": True}, "duration"),
        ({"duration": None}, "duration"),
        ({"duration": 10**30}, "duration"),
        ({"status": "completed", "duration": "x"}, "duration"),
    ],
    ids=str,
)
def test_a_bad_patch_of_a_call_is_400_and_changes_nothing(api, change, param):
    call = called(api)
    assert refusal(move(api, call, **change)) == (400, "invalid_request", param)
    assert show_call(api, call) == call


def test_an_empty_patch_of_a_call_is_200_and_changes_nothing(api):
    call = called(api)
    api.turn(60)
    assert enveloped(move(api, call)) == call
    assert enveloped(move(api, call, phone_number="+49", contact_id="x")) == call
    assert len(call_events(api)) == 1


def test_the_operators_own_dialler_reports_back_with_patch(api):
    call = called(api)
    for status in ("queued", "ringing", "in-progress"):
        assert enveloped(move(api, call, status=status))["status"] == status
    done = enveloped(move(api, call, status="completed", duration=120))
    assert (done["status"], done["duration"]) == ("completed", 120)
    assert enveloped(move(api, call, duration=121))["duration"] == 121


def test_calls_are_told_of_as_events(api):
    call = called(api)
    api.turn(5)
    done = enveloped(move(api, call, status="completed", duration=7))
    created, updated = call_events(api)
    assert created[:3] == ("call.created", api.ref(api.secret), call)
    assert updated[:3] == ("call.updated", api.ref(api.secret), done)
    assert set(updated[3]) >= {"status", "duration"}
    records = [e["record"] for e in api.get("/v1/events").json["data"]]
    assert records == [call["contact_id"], call["id"], call["id"]]


def test_a_key_that_may_write_but_not_read_calls_gets_its_own_words_back(api):
    (contact,) = api.add("a@x.org")
    token = api.key("restricted", "calls:write")
    made = enveloped(create_call(api, contact, key=token), 201)
    sent = {"contact_id": contact, "phone_number": "+1234567890"}
    assert {name: made[name] for name in sent} == sent
    assert made["status"] == "initiating"
    enveloped(move(api, made, status="in-progress", duration=5))
    api.turn(60)
    data = enveloped(move(api, made, key=token, status="ringing"))
    now = "2026-07-04T10:01:00Z"
    stamps = {"created_at": now, "updated_at": now}
    assert data == {"id": made["id"], "status": "ringing", **stamps}
    assert refusal(api.get(f"/api/calls/{made['id']}", key=token))[0] == 403


# -- lists


def test_calls_are_listed_newest_first_50_unless_asked_otherwise(free):
    (contact,) = free.add("a@x.org")
    ids = [called(free, contact)["id"] for _ in range(60)][::-1]
    data = list_calls(free)
    assert [call["id"] for call in data["calls"]] == ids[:50]
    assert data["total"] == 60
    for query, count in (("?limit=1", 1), ("?limit=60", 60), ("?limit=5000", 60)):
        data = list_calls(free, query)
        assert [call["id"] for call in data["calls"]] == ids[:count]
        assert data["total"] == 60


@pytest.mark.parametrize("limit", ["0", "5001", "-1", "x", "", "1.5"])
def test_another_limit_of_calls_is_400(api, limit):
    answer = api.get(f"/api/calls/list?limit={limit}")
    assert refusal(answer) == (400, "invalid_request", "limit")


def test_calls_are_filtered_by_status_and_contact(free):
    refs = free.add("a@x.org", "b@x.org")
    calls = [called(free, ref) for ref in refs for _ in range(3)]
    for call in calls[1:5]:
        enveloped(move(free, call, status="busy"))

    def found(query):
        data = list_calls(free, query)
        assert data["total"] == len(data["calls"])
        return sorted(calls.index(found[0]) for found in by_id(data["calls"], calls))

    assert found("?status=busy") == [1, 2, 3, 4]
    assert found("?status=initiating") == [0, 5]
    assert found("?status=completed") == []
    assert found(f"?contact_id={refs[0]}") == [0, 1, 2]
    assert found(f"?contact_id={refs[1]}&status=busy") == [3, 4]
    assert found("?contact_id=con_00000000000000000000000000") == []


def by_id(found, calls):
    return [[call for call in calls if call["id"] == one["id"]] for one in found]


@pytest.mark.parametrize("status", ["done", "", "Completed"])
def test_an_unknown_status_is_400(api, status):
    answer = api.get(f"/api/calls/list?status={status}")
    assert refusal(answer) == (400, "invalid_request", "status")


def test_a_malformed_contact_id_is_400(api):
    answer = api.get("/api/calls/list?contact_id=contact_123")
    assert refusal(answer) == (400, "invalid_id", "contact_id")


def test_calls_are_filtered_by_a_date_range(free):
    (contact,) = free.add("a@x.org")
    for day in (1, 2, 3):
        free.clock.now = at(f"2026-07-0{day}T12:00:00")
        called(free, contact)

    def found(query):
        data = list_calls(free, query)
        assert data["total"] == len(data["calls"])
        return [call["created_at"][9] for call in data["calls"]]

    assert found("?date_from=2026-07-02") == ["3", "2"]
    assert found("?date_from=2026-07-02T12:00:00Z") == ["3", "2"]
    assert found("?date_from=2026-07-02T12:00:01Z") == ["3"]
    assert found("?date_to=2026-07-02T11:59:59Z") == ["1"]
    assert found("?date_to=2026-07-02T12:00:00Z") == ["2", "1"]
    assert found("?date_to=2026-07-02") == ["2", "1"]
    assert found("?date_from=2026-07-02&date_to=2026-07-02") == ["2"]
    assert found("?date_from=2026-07-04") == []


@pytest.mark.parametrize("name", ["date_from", "date_to"])
def test_a_bad_date_is_400(api, name):
    answer = api.get(f"/api/calls/list?{name}=yesterday")
    assert refusal(answer) == (400, "invalid_request", name)


def test_a_bad_cursor_of_calls_is_400_invalid_cursor(api):
    answer = api.get("/api/calls/list?cursor=x")
    assert refusal(answer)[:2] == (400, "invalid_cursor")


def test_a_walk_of_calls_neither_repeats_nor_skips(free):
    keep, *drop = free.add(*(f"c{n}@x.org" for n in range(12)))
    for contact in [keep, *drop] * 10:
        called(free, contact)
    wanted = list_calls(free, f"?contact_id={keep}&limit=5000")["calls"]
    walked, query = [], "?limit=7"
    while query:
        data = list_calls(free, query)
        walked += [call["id"] for call in data["calls"]]
        assert data["total"] >= len(data["calls"])
        called(free, keep)
        if drop:
            free.ask("DELETE", f"/v1/contacts/{drop.pop()}")
        cursor = data["next_cursor"]
        assert cursor is None or SECOND_FREE.fullmatch(cursor)
        query = cursor and f"?limit=7&cursor={cursor}"
    assert len(walked) == len(set(walked))
    assert {call["id"] for call in wanted} <= set(walked)


def test_total_is_all_that_match_wherever_the_cursor_stands(free):
    (contact,) = free.add("a@x.org")
    for _ in range(5):
        called(free, contact)
    data = list_calls(free, "?limit=2")
    again = list_calls(free, f"?limit=2&cursor={data['next_cursor']}&status=initiating")
    assert (data["total"], again["total"]) == (5, 5)
    last = list_calls(free, f"?limit=2&cursor={again['next_cursor']}")
    assert (len(last["calls"]), last["next_cursor"]) == (1, None)


def fill_with_calls(client, number):
    """Many calls of one contact, put where they are kept."""
    call = called(client)
    store = client.services.store
    names = [row[1] for row in store.rows("PRAGMA table_info(call)")]
    newest = store.row("SELECT * FROM call ORDER BY id DESC LIMIT 1")
    row = dict(zip(names, newest))
    marks = ",".join("?" * len(names))

    def work():
        for n in range(1, number):
            uid = f"0{n:025}"
            place = {
                "id": row["id"] + n,
                "uid": uid,
                "created_at": row["created_at"] + n,
            }
            store.run(
                f"INSERT INTO call VALUES ({marks})", tuple((row | place).values())
            )

    store.write(work)
    return call


def test_a_list_of_calls_takes_no_more_memory_in_a_larger_table(free):
    def peak():
        free.get("/api/calls/list?limit=50")
        tracemalloc.start()
        try:
            data = list_calls(free, "?limit=50")
            return len(data["calls"]), tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    (contact,) = free.add("a@x.org")
    for _ in range(50):
        called(free, contact)
    count, small = peak()
    fill_with_calls(free, 20_000)
    assert peak()[0] == count == 50
    assert peak()[1] < small * 1.5 + 20_000
    assert list_calls(free)["total"] == 20_050


def test_five_thousand_calls_are_one_page(free):
    fill_with_calls(free, 5003)
    data = list_calls(free, "?limit=5000")
    assert len({call["id"] for call in data["calls"]}) == 5000
    rest = list_calls(free, f"?limit=5000&cursor={data['next_cursor']}")
    assert (len(rest["calls"]), rest["total"]) == (3, 5003)


# -- Idempotency-Key


def once(client, contact, name="abc", phone="+1234567890", **options):
    headers = {"Idempotency-Key": name}
    return create_call(client, contact, phone, headers=headers, **options)


def test_the_same_key_and_body_give_the_first_201_again(api):
    (contact,) = api.add("a@x.org")
    first = once(api, contact)
    assert "Idempotency-Replayed" not in first.headers
    enveloped(move(api, first.json["data"], status="completed"))
    api.turn(60)
    again = once(api, contact)
    assert again.status_int == 201
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.body == first.body
    assert list_calls(api)["total"] == 1
    assert [event[0] for event in call_events(api)] == ["call.created", "call.updated"]


def test_without_an_idempotency_key_each_post_is_a_call(api):
    (contact,) = api.add("a@x.org")
    assert called(api, contact)["id"] != called(api, contact)["id"]
    assert list_calls(api)["total"] == 2


def test_bodies_are_compared_as_parsed_json(api):
    (contact,) = api.add("a@x.org")
    headers = {"Idempotency-Key": "abc"}
    bodies = [
        '{"contact_id": "%s", "phone_number": "+1234567890", "note": "é"}',
        '{"note":"\\u00e9","phone_number":"+12345678\\u0039\\u0030","contact_id":"%s"}\n',
    ]
    answers = [
        api.post((body % contact).encode(), "/api/calls/create", headers=headers)
        for body in bodies
    ]
    assert answers[0].body == answers[1].body
    assert answers[1].headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(
    "change",
    [
        {"phone_number": "+1234567891"},
        {"from_number": "+0987654321"},
        {"from_number": None},
        {"note": 1},
    ],
    ids=str,
)
def test_another_body_is_422_and_calls_nobody(api, change):
    (contact,) = api.add("a@x.org")
    first = once(api, contact)
    body = {"contact_id": contact, "phone_number": "+1234567890", **change}
    headers = {"Idempotency-Key": "abc"}
    answer = api.post(body, "/api/calls/create", headers=headers)
    assert refusal(answer) == (422, "idempotency_mismatch", None)
    assert list_calls(api)["total"] == 1
    assert once(api, contact).body == first.body


@pytest.mark.parametrize(
    "name, same",
    [
        ('"abc"', "abc"),
        ("a", "a"),
        ("x" * 255, '"' + "x" * 255 + '"'),
        (
            "8e03978e-40d5-43dd-bc93-6894a57f9324",
            '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
        ),
        (r'"a\"b\\c"', r'a"b\c'),
        ("two words", '"two words"'),
    ],
)
def test_an_idempotency_key_is_quoted_or_bare(api, name, same):
    (contact,) = api.add("a@x.org")
    first = once(api, contact, name)
    assert first.status_int == 201
    assert once(api, contact, same).body == first.body


@pytest.mark.parametrize("name", ['""', "x" * 256, '"' + "x" * 256 + '"', "\x80"])
def test_another_idempotency_key_is_400(api, name):
    (contact,) = api.add("a@x.org")
    assert refusal(once(api, contact, name))[:2] == (400, "invalid_request")
    assert list_calls(api)["total"] == 0


def test_idempotency_keys_differ_in_case(api):
    (contact,) = api.add("a@x.org")
    assert once(api, contact, "abc").body != once(api, contact, "ABC").body


def test_an_idempotency_key_holds_for_24_hours(api):
    (contact,) = api.add("a@x.org")
    first = once(api, contact)
    api.turn(24 * 3600 - 1)
    assert once(api, contact).body == first.body
    api.turn(2)
    second = once(api, contact)
    assert "Idempotency-Replayed" not in second.headers
    assert second.json["data"]["id"] != first.json["data"]["id"]
    assert once(api, contact).body == second.body
    assert once(api, contact, phone="+49301234").status_int == 422
    assert list_calls(api)["total"] == 2


def test_old_idempotency_keys_are_forgotten_by_the_housekeeper(api):
    (contact,) = api.add("a@x.org")
    once(api, contact)
    config = api.services.calls.config
    housekeeper = contactapi.Housekeeper(config, api.services, api.clock)
    housekeeper.tidy()
    assert api.services.store.row("SELECT count(*) FROM answer") == (1,)
    api.turn(24 * 3600 + 1)
    housekeeper.tidy()
    assert api.services.store.row("SELECT count(*) FROM answer") == (0,)


def test_an_idempotency_key_belongs_to_one_api_key_and_workspace(api):
    (contact,) = api.add("a@x.org")
    other_key = api.key("secret")
    other = api.key("secret", workspace="other")
    theirs = api.post({"email": "a@x.org"}, key=other).json["id"]
    answers = [
        once(api, contact),
        once(api, contact, key=other_key),
        once(api, theirs, key=other),
    ]
    assert [answer.status_int for answer in answers] == [201, 201, 201]
    assert len({answer.json["data"]["id"] for answer in answers}) == 3
    assert all("Idempotency-Replayed" not in answer.headers for answer in answers)


def test_an_error_frees_the_idempotency_key(api):
    (contact,) = api.add("a@x.org")
    assert once(api, contact, phone="x").status_int == 400
    assert once(api, "con_00000000000000000000000000").status_int == 404
    assert once(api, contact, key=api.key("restricted", "calls:read")).status_int == 403
    answer = once(api, contact)
    assert answer.status_int == 201
    assert "Idempotency-Replayed" not in answer.headers


def test_an_idempotency_key_is_erased_with_the_contact(api):
    (contact,) = api.add("a@x.org")
    once(api, contact)
    api.ask("DELETE", f"/v1/contacts/{contact}")
    assert api.services.store.row("SELECT count(*) FROM answer") == (0,)
    (other,) = api.add("b@x.org")
    answer = once(api, other)
    assert answer.status_int == 201
    assert "Idempotency-Replayed" not in answer.headers


def test_an_idempotency_key_survives_a_restart(make):
    first = make()
    (contact,) = first.add("a@x.org")
    answer = once(first, contact)
    first.close()
    second = make(like=first)
    again = once(second, contact, key=first.secret)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.body == answer.body
    mismatch = once(second, contact, phone="+4930123", key=first.secret)
    assert mismatch.status_int == 422


def test_two_processes_make_one_call_of_one_idempotency_key(make):
    first = make()
    second = make(like=first)
    (contact,) = first.add("a@x.org")
    answers = [once(client, contact, key=first.secret) for client in (first, second)]
    assert answers[0].body == answers[1].body
    assert list_calls(first)["total"] == 1


def test_other_endpoints_ignore_an_idempotency_key(api):
    headers = {"Idempotency-Key": "x" * 300}
    for plan in ("a", "b"):
        answer = api.post({"email": "a@x.org", "plan": plan}, headers=headers)
        assert (answer.status_int, answer.json["plan"]) == (201, plan)
    assert api.post(MY_KEY, "/api/api-keys", headers=headers).status_int == 201


def until(question):
    deadline = time.monotonic() + 20
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_while_the_first_request_runs_a_second_is_409(free):
    (contact,) = free.add("a@x.org")
    store, entered, release = free.services.store, threading.Event(), threading.Event()

    def blocks():
        entered.set()
        release.wait(20)

    other_key = free.key("secret")
    with ThreadPoolExecutor(3) as pool:
        blocker = pool.submit(store.write, blocks)
        entered.wait(20)
        first = pool.submit(once, free, contact)
        theirs = pool.submit(once, free, contact, key=other_key)
        until(lambda: store.queue.qsize() == 2)
        same, other = once(free, contact), once(free, contact, phone="+4930123")
        release.set()
        blocker.result()
        made = first.result()
    assert theirs.result().status_int == 201
    assert refusal(same) == refusal(other) == (409, "conflict", None)
    assert made.status_int == 201
    assert once(free, contact).body == made.body
    assert list_calls(free)["total"] == 2


def test_many_posts_at_once_with_one_idempotency_key_make_one_call(free):
    (contact,) = free.add("a@x.org")
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: once(free, contact), range(64)))
    assert {answer.status_int for answer in answers} <= {201, 409}
    assert len({a.body for a in answers if a.status_int == 201}) == 1
    assert list_calls(free)["total"] == 1


@pytest.mark.parametrize(
    "body, headers, status",
    [
        # "Where several apply, the first of: … 415, 400, 404 …, 409 or 422"
        (b"a=b", {"Content-Type": "text/plain", "Idempotency-Key": '""'}, 415),
        (b'{"contact_id": 5}', {"Idempotency-Key": "abc"}, 400),
        (b"{", {"Idempotency-Key": "abc"}, 400),
        (
            b'{"contact_id": "con_00000000000000000000000000", "phone_number": "+123"}',
            {"Idempotency-Key": "abc"},
            404,
        ),
    ],
    ids=str,
)
def test_of_several_refusals_of_a_call_the_first_in_the_contracts_order_is_given(
    api, body, headers, status
):
    (contact,) = api.add("a@x.org")
    assert once(api, contact).status_int == 201
    answer = api.post(body, "/api/calls/create", headers=headers)
    assert refusal(answer)[0] == status


# -- with their contact


def test_deleting_a_contact_deletes_its_calls_and_what_was_told_of_them(api):
    gone, kept = api.add("a@x.org", "b@x.org")
    call, other = called(api, gone), called(api, kept)
    move(api, call, status="completed")
    api.ask("DELETE", f"/v1/contacts/{gone}")
    assert refusal(api.get(f"/api/calls/{call['id']}"))[0] == 404
    assert refusal(move(api, call, status="busy"))[0] == 404
    assert [c["id"] for c in list_calls(api)["calls"]] == [other["id"]]
    assert list_calls(api)["total"] == 1
    text = api.get("/v1/events").text
    assert call["id"] not in text and other["id"] in text
    assert api.services.store.row("SELECT count(*) FROM call") == (1,)
    problems = dict(api.services.store.problems())
    assert set(problems.values()) == {""}


def test_the_subject_export_has_the_calls_of_that_contact(api):
    ref, other = api.add("a@x.org", "b@x.org")
    calls = [called(api, ref), called(api, ref)]
    called(api, other)
    body = api.get(f"/v1/contacts/{ref}/export").json
    assert list(body) == ["contact", "calls", "history"]
    assert body["contact"]["id"] == ref
    assert sorted(c["id"] for c in body["calls"]) == sorted(c["id"] for c in calls)
    assert [call for call in body["calls"] if call["id"] == calls[0]["id"]] == calls[:1]
    assert [event["type"] for event in body["history"]] == ["contact.created"]


def test_stats_count_the_calls_of_the_workspace(api):
    called(api)
    other = api.key("secret", workspace="other")
    assert api.get("/v1/stats").json["calls"] == 1
    assert api.get("/v1/stats", key=other).json["calls"] == 0


###############################################################################
# Outside: Twilio #############################################################
###############################################################################


ACCOUNT = "AC" + "0123456789abcdef" * 2
SID = "CA" + "0" * 32
TWILIO_TOKEN = "12345"
VOICE = "https://example.com/voice?a=1&b=2"
PUBLIC = "https://contacts.example.com"
TWILIO = {
    "TWILIO_ACCOUNT_SID": ACCOUNT,
    "TWILIO_AUTH_TOKEN": TWILIO_TOKEN,
    "TWILIO_VOICE_URL": VOICE,
    "CONTACTAPI_PUBLIC_URL": PUBLIC,
    "CONTACTAPI_CALL_PREFIXES": "*",
    "TWILIO_FROM_NUMBER": "+15550001111",
    "TWILIO_API_BASE": "http://127.0.0.1:9",
}


class Double:
    """Twilio on 127.0.0.1: takes each request with the next of `answers`, which is
    (status, body, headers) or a function that takes the handler; else with a 201."""

    def __init__(self):
        self.requests, self.answers, self.release = [], [], threading.Event()
        double = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                double.take(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,)).start()

    def take(self, handler):
        raw = handler.rfile.read(int(handler.headers["Content-Length"]))
        form = parse_qsl(raw.decode(), keep_blank_values=True, strict_parsing=True)
        self.requests.append((handler.path, dict(handler.headers), form))
        answer = self.answers.pop(0) if self.answers else self.taken(handler.path)
        if callable(answer):
            answer = answer(handler)
        if answer is None:
            handler.close_connection = True
            return
        status, body, headers = answer
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    def taken(self, path):
        placed = path.endswith("/Calls.json")
        sid = f"CA{len(self.requests):032x}" if placed else path[-39:-5]
        body = {"sid": sid, "status": "queued", "account_sid": ACCOUNT}
        return (201 if placed else 200), json.dumps(body).encode(), {}

    def close(self):
        self.release.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def twilio():
    double = Double()
    yield double
    double.close()


@pytest.fixture
def dialling(make, twilio):
    """Makes apps that call through the double; `client.dial()` does what is due."""

    def make_client(**settings):
        # A setting of None is left out.
        wanted = {"CONTACTAPI_RATE_LIMIT": "off", **TWILIO}
        wanted |= {"TWILIO_API_BASE": twilio.url, **settings}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        client = make(**wanted)
        calls = client.services.calls
        dialler = contactapi.Dialler(calls, contactapi.Twilio(calls.config))

        def dial():
            for _ in range(100):
                if not dialler.step():
                    return
            raise AssertionError("the dialler does not come to rest")

        client.dial = dial
        return client

    return make_client


def sign(url, form):
    """X-Twilio-Signature, made without contactapi's help."""
    text = url + "".join(name + value for name, value in sorted(form.items()))
    digest = hmac.new(TWILIO_TOKEN.encode(), text.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def signed(client, path, form, signature=None, public=PUBLIC, **environ):
    """The answer to a status callback."""
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Twilio-Signature": signature or sign(public + path, form),
    }
    body = urlencode(form).encode()
    return client.ask("POST", path, body, key=None, headers=headers, **environ)


def call_back(client, call, status, number, sid=None, **more):
    """Reports a status as Twilio does; asserts that it is taken."""
    sid = sid or f"CA{1:032x}"
    form = {
        "CallSid": sid,
        "AccountSid": ACCOUNT,
        "CallStatus": status,
        "SequenceNumber": str(number),
        "To": "+1234567890",
        "CallbackSource": "call-progress-events",
        **more,
    }
    answer = signed(client, f"/api/calls/{call['id']}/twilio", form)
    assert answer.status_int == 200, answer.text
    return answer


def status_of(client, call):
    shown = show_call(client, call)
    return shown["status"], shown["reason"]


def test_a_call_is_placed_by_one_form_post_with_basic_auth(dialling, twilio):
    client = dialling()
    call = called(client, from_number="+15552223333")
    assert twilio.requests == []
    client.dial()
    ((path, headers, form),) = twilio.requests
    assert path == f"/2010-04-01/Accounts/{ACCOUNT}/Calls.json"
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    scheme, _, credentials = headers["Authorization"].partition(" ")
    assert scheme == "Basic"
    assert base64.b64decode(credentials).decode() == f"{ACCOUNT}:{TWILIO_TOKEN}"
    events = ("initiated", "ringing", "answered", "completed")
    assert sorted(form) == sorted(
        [
            ("To", "+1234567890"),
            ("From", "+15552223333"),
            ("Url", VOICE),
            ("StatusCallback", f"{PUBLIC}/api/calls/{call['id']}/twilio"),
            ("StatusCallbackMethod", "POST"),
            *(("StatusCallbackEvent", event) for event in events),
        ]
    )
    assert status_of(client, call) == ("queued", None)
    client.turn(3600)
    client.dial()
    assert len(twilio.requests) == 1


def test_the_from_number_of_the_environment_is_the_default(dialling, twilio):
    client = dialling()
    assert called(client)["from_number"] == "+15550001111"
    client.dial()
    assert ("From", "+15550001111") in twilio.requests[0][2]


def test_a_path_in_the_api_base_is_kept(dialling, twilio):
    client = dialling(TWILIO_API_BASE=f"{twilio.url}/edge")
    called(client)
    client.dial()
    assert twilio.requests[0][0] == f"/edge/2010-04-01/Accounts/{ACCOUNT}/Calls.json"


def test_calls_are_placed_oldest_first_each_once(dialling, twilio):
    client = dialling()
    (contact,) = client.add("a@x.org")
    for n in range(5):
        client.turn(1)
        called(client, contact, phone=f"+123456789{n}")
    client.dial()
    numbers = [dict(form)["To"] for _, _, form in twilio.requests]
    assert numbers == [f"+123456789{n}" for n in range(5)]


def test_without_twilio_a_call_is_recorded_and_announced_only(api, twilio):
    call = called(api)
    config = api.services.calls.config
    assert not config.dials
    assert api.services.calls.due() is None
    assert [event[0] for event in call_events(api)] == ["call.created"]
    assert show_call(api, call)["status"] == "initiating"
    path = f"/api/calls/{call['id']}/twilio"
    assert refusal(signed(api, path, {"CallSid": SID}))[:2] == (404, "not_found")


def test_a_write_only_key_does_not_learn_the_environments_from_number(dialling):
    client = dialling()
    (contact,) = client.add("a@x.org")
    token = client.key("restricted", "calls:write")
    data = enveloped(create_call(client, contact, key=token), 201)
    assert "+15550001111" not in data.values()


# -- who may be called


@pytest.mark.parametrize(
    "prefixes, phone, status",
    [
        ("+44,+49", "+442012345678", 201),
        ("+44,+49", "+4930123456", 201),
        ("+44, +49", "+4930123456", 201),
        ("+44,+49", "+4512345678", 403),
        ("+44,+49", "+1442012345", 403),
        ("+44,+49", "+4", 400),
        ("+4420", "+442112345678", 403),
        ("*", "+99912345678", 201),
    ],
)
def test_a_number_outside_the_prefixes_is_403(dialling, prefixes, phone, status):
    client = dialling(CONTACTAPI_CALL_PREFIXES=prefixes)
    (contact,) = client.add("a@x.org")
    answer = create_call(client, contact, phone)
    assert answer.status_int == status
    if status == 403:
        assert refusal(answer)[:2] == (403, "forbidden")
        assert list_calls(client)["total"] == 0


def test_a_call_beyond_the_day_is_429_in_all_workspaces_together(dialling, twilio):
    client = dialling(CONTACTAPI_CALLS_PER_DAY="2")
    (contact,) = client.add("a@x.org")
    other = client.key("secret", workspace="other")
    theirs = client.post({"email": "a@x.org"}, key=other).json["id"]
    called(client, contact)
    client.turn(3600)
    called(client, theirs, key=other)
    for ref, token in ((contact, ...), (theirs, other)):
        answer = create_call(client, ref, key=token)
        assert refusal(answer)[:2] == (429, "rate_limit")
        assert answer.headers["Retry-After"] == str(23 * 3600)
    client.turn(23 * 3600 - 1)
    assert create_call(client, contact).status_int == 429
    client.turn(1)
    assert create_call(client, contact).status_int == 201
    assert create_call(client, contact).status_int == 429


def test_no_calls_a_day_is_none_at_all(dialling):
    client = dialling(CONTACTAPI_CALLS_PER_DAY="0")
    (contact,) = client.add("a@x.org")
    assert create_call(client, contact).status_int == 429


def test_deleting_contacts_does_not_make_room_for_more_calls_a_day(dialling, twilio):
    client = dialling(CONTACTAPI_CALLS_PER_DAY="1")
    first, second = client.add("a@x.org", "b@x.org")
    called(client, first)
    client.dial()
    assert len(twilio.requests) == 1
    client.ask("DELETE", f"/v1/contacts/{first}")
    assert refusal(create_call(client, second))[:2] == (429, "rate_limit")


def test_a_replay_is_not_a_call_of_the_day(dialling):
    client = dialling(CONTACTAPI_CALLS_PER_DAY="1")
    (contact,) = client.add("a@x.org")
    first = once(client, contact)
    assert once(client, contact).body == first.body
    assert once(client, contact, "other").status_int == 429


def test_the_calls_that_twilio_did_not_place_do_not_count(make, twilio):
    before = make(CONTACTAPI_RATE_LIMIT="off")
    (contact,) = before.add("a@x.org")
    called(before, contact)
    before.close()
    settings = {**TWILIO, "CONTACTAPI_CALLS_PER_DAY": "1"}
    client = make(like=before, **settings)
    assert create_call(client, contact, key=before.secret).status_int == 201
    assert create_call(client, contact, key=before.secret).status_int == 429


@pytest.mark.parametrize("sent", [{}, {"from_number": None}], ids=str)
def test_with_twilio_no_from_number_at_all_is_400(dialling, sent):
    client = dialling(TWILIO_FROM_NUMBER=None)
    (contact,) = client.add("a@x.org")
    answer = create_call(client, contact, **sent)
    assert refusal(answer) == (400, "invalid_phone", "from_number")
    assert create_call(client, contact, from_number="+12").status_int == 201


@pytest.mark.parametrize(
    "spent, body, status",
    [
        # "Where several apply, the first of: … 429, 403, 415, 400, 404 for the record"
        (True, {"phone_number": "+3312345"}, 429),
        (True, {"contact_id": "con_00000000000000000000000000"}, 429),
        (False, {"phone_number": "+3312345", "contact_id": None}, 403),
        (False, {"phone_number": "+3312345", "from_number": "x"}, 403),
        (False, {"phone_number": "+3312345", "contact_id": "con_x"}, 403),
    ],
    ids=str,
)
def test_of_several_refusals_to_dial_the_first_in_the_contracts_order_is_given(
    dialling, spent, body, status
):
    most = "1" if spent else "100"
    client = dialling(CONTACTAPI_CALLS_PER_DAY=most, CONTACTAPI_CALL_PREFIXES="+44")
    (contact,) = client.add("a@x.org")
    good = {"contact_id": contact, "phone_number": "+442012345678"}
    if spent:
        enveloped(client.post(good, "/api/calls/create"), 201)
    answer = client.post({**good, **body}, "/api/calls/create")
    assert refusal(answer)[0] == status


# -- handing over


def refused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize(
    "answer",
    [
        (429, b"", {}),
        (429, b'{"code": 20429}', {}),
        (503, b"", {}),
        (503, b'{"code": 20503}', {}),
        (500, b"", {}),
        (502, b"", {}),
        (504, b"", {}),
    ],
    ids=str,
)
def test_what_twilio_did_not_take_is_tried_again(dialling, twilio, answer):
    client = dialling()
    call = called(client)
    twilio.answers = [answer, answer]
    client.dial()
    assert len(twilio.requests) == 1
    assert status_of(client, call) == ("initiating", None)
    for _ in range(20):
        client.turn(1)
        client.dial()
    assert len(twilio.requests) == 3
    assert status_of(client, call) == ("queued", None)


def test_a_refused_connection_is_tried_again(dialling, twilio):
    client = dialling(TWILIO_API_BASE=refused_port())
    call = called(client)
    client.dial()
    assert status_of(client, call) == ("initiating", None)
    client.close()
    again = dialling(TWILIO_API_BASE=twilio.url)
    again.clock.now = client.clock.now + 60
    again.dial()
    assert len(twilio.requests) == 1
    assert status_of(again, call) == ("queued", None)


def test_twilios_retry_after_is_honoured(dialling, twilio):
    client = dialling()
    call = called(client)
    twilio.answers = [(429, b"", {"Retry-After": "40"})]
    client.dial()
    client.turn(39)
    client.dial()
    assert len(twilio.requests) == 1
    client.turn(2)
    client.dial()
    assert len(twilio.requests) == 2
    assert status_of(client, call) == ("queued", None)


def test_one_call_that_waits_does_not_hold_up_the_others(dialling, twilio):
    client = dialling()
    (contact,) = client.add("a@x.org")
    first, second = called(client, contact), called(client, contact)
    client.turn(1)
    twilio.answers = [(503, b"", {"Retry-After": "300"})]
    client.dial()
    assert status_of(client, first) == ("initiating", None)
    assert status_of(client, second) == ("queued", None)


def cut_off(handler):
    """Takes the request and hangs up without a word."""
    handler.connection.shutdown(socket.SHUT_RDWR)


def half_an_answer(handler):
    handler.wfile.write(b"HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n{")
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "answer, words",
    [
        ((400, b'{"code": 21211, "message": "Invalid To"}', {}), "400 21211"),
        ((401, b'{"code": 20003}', {}), "401 20003"),
        ((404, b"<html>", {}), "404"),
        ((500, b'{"code": 20500}', {}), "500"),
        ((502, b"<html>Bad Gateway</html>", {}), "502"),
        ((302, b"", {"Location": "http://127.0.0.1:9/"}), "302"),
        ((201, b"{}", {}), ""),
        ((201, b"not JSON", {}), ""),
        ((200, b'{"sid": 5}', {}), ""),
        (cut_off, ""),
        (half_an_answer, ""),
    ],
    ids=str,
)
def test_any_other_answer_ends_the_call_as_failed_with_a_reason(
    dialling, twilio, answer, words
):
    client = dialling()
    call = called(client)
    twilio.answers = [answer]
    client.dial()
    status, reason = status_of(client, call)
    assert status == "failed"
    assert reason and words in reason
    client.turn(3600)
    client.dial()
    assert len(twilio.requests) == 1
    assert call_events(client)[-1][:2] == ("call.updated", "twilio")


def test_no_answer_in_time_ends_the_call_as_failed(dialling, twilio, monkeypatch):
    monkeypatch.setattr(contactapi.Twilio, "TIMEOUT", 0.3)
    client = dialling()
    call = called(client)
    twilio.answers = [lambda handler: twilio.release.wait(20) and None]
    client.dial()
    status, reason = status_of(client, call)
    assert status == "failed" and reason
    client.turn(60)
    client.dial()
    assert len(twilio.requests) == 1


def test_the_auth_token_is_in_no_answer_and_no_log(dialling, twilio, caplog):
    caplog.set_level("INFO")
    client = dialling(TWILIO_AUTH_TOKEN="token-not-to-be-seen")
    call = called(client)
    twilio.answers = [(400, b'{"message": "token-not-to-be-seen"}', {})]
    client.dial()
    assert "token-not-to-be-seen" not in client.get(f"/api/calls/{call['id']}").text
    assert "token-not-to-be-seen" not in caplog.text
    assert "+1234567890" not in caplog.text


@pytest.mark.parametrize("seconds, placed", [(599, True), (601, False), (86400, False)])
def test_a_call_not_handed_over_within_10_minutes_expires(
    dialling, twilio, seconds, placed
):
    client = dialling()
    call = called(client)
    client.turn(seconds)
    client.dial()
    assert len(twilio.requests) == placed
    expected = ("queued", None) if placed else ("failed", "expired")
    assert status_of(client, call) == expected


def test_a_call_that_twilio_keeps_refusing_expires_too(dialling, twilio):
    client = dialling()
    call = called(client)
    twilio.answers = [(503, b"", {})] * 200
    for _ in range(605):
        client.turn(1)
        client.dial()
    assert status_of(client, call) == ("failed", "expired")
    tries = len(twilio.requests)
    assert 5 < tries < 30
    client.turn(3600)
    client.dial()
    assert len(twilio.requests) == tries


@pytest.mark.parametrize("pause", ["3600", "9" * 30])
def test_a_call_expires_however_long_twilio_says_to_wait(dialling, twilio, pause):
    client = dialling()
    call = called(client)
    twilio.answers = [(503, b"", {"Retry-After": pause})]
    client.dial()
    client.turn(601)
    client.dial()
    assert status_of(client, call) == ("failed", "expired")
    assert len(twilio.requests) == 1


def test_a_contact_deleted_before_the_dialling_is_never_called(dialling, twilio):
    client = dialling()
    (contact,) = client.add("a@x.org")
    called(client, contact)
    client.ask("DELETE", f"/v1/contacts/{contact}")
    client.dial()
    assert twilio.requests == []


def test_a_contact_deleted_between_two_tries_is_never_called(dialling, twilio):
    client = dialling()
    (contact,) = client.add("a@x.org")
    called(client, contact)
    twilio.answers = [(503, b"", {})]
    client.dial()
    client.ask("DELETE", f"/v1/contacts/{contact}")
    client.turn(60)
    client.dial()
    assert len(twilio.requests) == 1


def test_a_contact_deleted_while_it_is_dialled_leaves_nothing_behind(dialling, twilio):
    client = dialling()
    (contact,) = client.add("a@x.org")
    call = called(client, contact)

    def deletes(handler):
        client.ask("DELETE", f"/v1/contacts/{contact}")
        return twilio.taken(handler.path)

    twilio.answers = [deletes]
    client.dial()
    assert list_calls(client)["total"] == 0
    assert call["id"] not in client.get("/v1/events").text


def test_an_interrupted_dialling_is_failed_and_not_placed_again(dialling, twilio):
    client = dialling()
    call = called(client)
    assert client.services.calls.due().uid == call["id"].removeprefix("call_")
    client.close()
    again = dialling()
    again.clock.now = client.clock.now
    again.dial()
    assert twilio.requests == []
    again.turn(60)
    again.dial()
    status, reason = status_of(again, call)
    assert status == "failed" and reason
    assert twilio.requests == []


def test_two_diallers_place_each_call_once(dialling, twilio):
    first, second = dialling(), dialling()
    (contact,) = first.add("a@x.org")
    for n in range(10):
        called(first, contact, phone=f"+12345678{n:02}")
    first.turn(1)
    second.turn(1)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda client: client.dial(), (first, second)))
    numbers = [dict(form)["To"] for _, _, form in twilio.requests]
    assert sorted(numbers) == [f"+12345678{n:02}" for n in range(10)]


# -- canceled by PATCH


def test_canceled_before_hand_over_a_call_is_never_dialled(dialling, twilio):
    client = dialling()
    call = called(client)
    assert enveloped(move(client, call, status="canceled"))["status"] == "canceled"
    client.dial()
    client.turn(60)
    client.dial()
    assert twilio.requests == []
    assert status_of(client, call) == ("canceled", None)


@pytest.mark.parametrize("status", ["ringing", "in-progress", *ENDS])
def test_a_call_that_went_on_without_us_is_never_dialled(dialling, twilio, status):
    client = dialling()
    call = called(client)
    enveloped(move(client, call, status=status))
    client.dial()
    assert twilio.requests == []
    assert status_of(client, call) == (status, None)


def test_a_call_that_is_queued_by_patch_is_still_dialled(dialling, twilio):
    client = dialling()
    call = called(client)
    enveloped(move(client, call, status="queued"))
    client.dial()
    assert len(twilio.requests) == 1


def test_canceled_after_hand_over_twilio_is_asked_to_end_the_call(dialling, twilio):
    client = dialling()
    call = called(client)
    client.dial()
    assert enveloped(move(client, call, status="canceled"))["status"] == "canceled"
    client.dial()
    path, headers, form = twilio.requests[1]
    assert path == f"/2010-04-01/Accounts/{ACCOUNT}/Calls/CA{1:032x}.json"
    assert headers["Authorization"].startswith("Basic ")
    assert form == [("Status", "completed")]
    client.turn(3600)
    client.dial()
    assert len(twilio.requests) == 2
    assert status_of(client, call) == ("canceled", None)


def test_twilio_is_asked_again_to_end_a_call_if_it_did_not_listen(dialling, twilio):
    client = dialling()
    call = called(client)
    client.dial()
    move(client, call, status="canceled")
    twilio.answers = [(503, b"", {})]
    client.dial()
    client.turn(60)
    client.dial()
    assert [path[-39:-5] for path, _, _ in twilio.requests[1:]] == [f"CA{1:032x}"] * 2


def test_canceled_while_it_is_dialled_a_call_is_ended(dialling, twilio):
    client = dialling()
    call = called(client)

    def canceled_meanwhile(handler):
        enveloped(move(client, call, status="canceled"))
        return twilio.taken(handler.path)

    twilio.answers = [canceled_meanwhile]
    client.dial()
    assert twilio.requests[1][2] == [("Status", "completed")]
    assert status_of(client, call) == ("canceled", None)


def test_canceled_while_twilio_refuses_a_call_is_not_tried_again(dialling, twilio):
    client = dialling()
    call = called(client)

    def canceled_meanwhile(handler):
        enveloped(move(client, call, status="canceled"))
        return 503, b"", {}

    twilio.answers = [canceled_meanwhile]
    client.dial()
    client.turn(60)
    client.dial()
    assert len(twilio.requests) == 1


# -- status callbacks


VECTOR_URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
VECTOR_URL_PORT = "https://mycompany.com:443/myapp.php?foo=1&bar=2"
VECTOR = [
    ("CallSid", "CA1234567890ABCDE"),
    ("Caller", "+14158675309"),
    ("Digits", "1234"),
    ("From", "+14158675309"),
    ("To", "+18005551212"),
]
VECTOR_SIGNATURE = "RSOYDt4T1cUTdK1PDd93/VVr8B8="
VECTOR_SIGNATURE_PORT = "kvajT1Ptam85bY51eRf/AJRuM3w="


@pytest.mark.parametrize(
    "url, signature",
    [(VECTOR_URL, VECTOR_SIGNATURE), (VECTOR_URL_PORT, VECTOR_SIGNATURE_PORT)],
)
@pytest.mark.parametrize("order", [1, -1])
def test_a_signature_is_twilios_published_example(url, signature, order):
    form = VECTOR[::order]
    assert contactapi.twilio_signature("12345", url, form) == signature
    assert sign(url, dict(VECTOR)) == signature


@pytest.mark.parametrize("url", [VECTOR_URL, VECTOR_URL_PORT])
@pytest.mark.parametrize("signature", [VECTOR_SIGNATURE, VECTOR_SIGNATURE_PORT])
def test_a_signature_is_taken_with_and_without_the_port(url, signature):
    assert contactapi.is_twilios("12345", url, VECTOR, signature)
    assert not contactapi.is_twilios("12346", url, VECTOR, signature)
    assert not contactapi.is_twilios("12345", url + "&x=1", VECTOR, signature)
    assert not contactapi.is_twilios("12345", url, VECTOR[:-1], signature)
    assert not contactapi.is_twilios("12345", url, VECTOR, signature.lower())


@pytest.mark.parametrize("signature", ["", "x", "é", "=" * 28, VECTOR_SIGNATURE + "\n"])
def test_what_is_no_signature_is_refused(signature):
    assert not contactapi.is_twilios("12345", VECTOR_URL, VECTOR, signature)


@pytest.mark.parametrize(
    "public, spelled",
    [
        ("https://c.example.com", "https://c.example.com"),
        ("https://c.example.com", "https://c.example.com:443"),
        ("https://c.example.com:443", "https://c.example.com"),
        ("https://c.example.com:8443", "https://c.example.com:8443"),
        ("https://c.example.com:8443", "https://c.example.com"),
        ("http://c.example.com", "http://c.example.com:80"),
        ("http://[2001:db8::1]:8080", "http://[2001:db8::1]:8080"),
        ("https://c.example.com/base", "https://c.example.com/base"),
        ("https://c.example.com/base", "https://c.example.com:443/base"),
        ("https://c.example.com/", "https://c.example.com"),
    ],
)
def test_a_callback_is_checked_over_the_public_url(dialling, twilio, public, spelled):
    client = dialling(CONTACTAPI_PUBLIC_URL=public)
    call = called(client)
    client.dial()
    target = dict(twilio.requests[0][2])["StatusCallback"]
    path = f"/api/calls/{call['id']}/twilio"
    assert target == public.rstrip("/") + path
    form = {"CallSid": f"CA{1:032x}", "CallStatus": "ringing", "SequenceNumber": "1"}
    headers = {"Host": "internal:8080", "X-Forwarded-Host": "evil.example"}
    answer = signed(client, path, form, public=spelled, HTTP_HOST=headers["Host"])
    assert answer.status_int == 200
    assert status_of(client, call) == ("ringing", None)


def test_a_callback_with_a_query_is_signed_over_it(dialling):
    client = dialling()
    call = called(client)
    client.dial()
    form = {"CallSid": f"CA{1:032x}", "CallStatus": "ringing", "SequenceNumber": "1"}
    path = f"/api/calls/{call['id']}/twilio?foo=1&bar=%C3%A9"
    assert signed(client, path, form).status_int == 200
    assert (
        signed(client, path.partition("?")[0] + "?foo=2", form, "x").status_int == 403
    )


def test_callbacks_in_order_move_the_status_and_the_duration(dialling):
    client = dialling()
    call = called(client)
    client.dial()
    seen = []
    for number, status in enumerate(("initiated", "ringing", "in-progress")):
        call_back(client, call, status, number)
        seen.append(show_call(client, call)["status"])
    call_back(client, call, "completed", 3, CallDuration="42")
    done = show_call(client, call)
    assert seen == ["queued", "ringing", "in-progress"]
    assert (done["status"], done["duration"]) == ("completed", 42)
    told = [(kind, key) for kind, key, _, _ in call_events(client)]
    assert told[0][0] == "call.created"
    assert set(told[1:]) == {("call.updated", "twilio")}
    assert [event[2]["status"] for event in call_events(client)] == [
        *("initiating", "queued", "ringing", "in-progress", "completed"),
    ]


@pytest.mark.parametrize(
    "end", ["busy", "failed", "no-answer", "canceled", "completed"]
)
def test_every_end_that_twilio_knows_is_taken(dialling, end):
    client = dialling()
    call = called(client)
    client.dial()
    call_back(client, call, end, 1)
    assert show_call(client, call)["status"] == end


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_callbacks_in_any_order_and_doubled_end_the_same(dialling, order):
    client = dialling()
    call = called(client)
    client.dial()
    steps = [
        ("initiated", {}),
        ("ringing", {}),
        ("in-progress", {}),
        ("completed", {"CallDuration": "42"}),
    ]
    for number in [n for n in order for _ in (1, 2)]:
        status, more = steps[number]
        call_back(client, call, status, number, **more)
    done = show_call(client, call)
    assert (done["status"], done["duration"]) == ("completed", 42)
    updates = [event[2]["status"] for event in call_events(client)]
    assert len(updates) == len(set(updates))


def test_a_doubled_callback_changes_nothing(dialling):
    client = dialling()
    call = called(client)
    client.dial()
    call_back(client, call, "completed", 3, CallDuration="42")
    before, told = show_call(client, call), len(call_events(client))
    client.turn(60)
    call_back(client, call, "completed", 3, CallDuration="42")
    call_back(client, call, "busy", 2)
    call_back(client, call, "ringing", 9)
    assert show_call(client, call) == before
    assert len(call_events(client)) == told


def test_a_callback_that_others_overtook_changes_nothing(dialling):
    client = dialling()
    call = called(client)
    client.dial()
    call_back(client, call, "ringing", 5)
    before, told = show_call(client, call), len(call_events(client))
    client.turn(60)
    call_back(client, call, "in-progress", 4, CallDuration="9")
    call_back(client, call, "ringing", 5, CallDuration="9")
    assert show_call(client, call) == before
    assert len(call_events(client)) == told


def test_a_late_callback_for_a_call_that_has_ended_changes_nothing(dialling):
    client = dialling()
    call = called(client)
    client.dial()
    enveloped(move(client, call, status="canceled"))
    before, told = show_call(client, call), len(call_events(client))
    client.turn(60)
    call_back(client, call, "completed", 7, CallDuration="5")
    assert show_call(client, call) == before
    assert len(call_events(client)) == told


def test_a_callback_of_a_foreign_sid_changes_nothing(dialling):
    client = dialling()
    call = called(client)
    client.dial()
    before = show_call(client, call)
    call_back(client, call, "completed", 3, sid="CA" + "f" * 32, CallDuration="42")
    assert show_call(client, call) == before
    call_back(client, call, "ringing", 1)
    assert show_call(client, call)["status"] == "ringing"


def test_a_callback_that_comes_before_twilios_answer_is_taken(dialling, twilio):
    client = dialling()
    call = called(client)

    def calls_back_first(handler):
        call_back(client, call, "ringing", 1)
        return twilio.taken(handler.path)

    twilio.answers = [calls_back_first]
    client.dial()
    assert status_of(client, call) == ("ringing", None)
    call_back(client, call, "completed", 3, CallDuration="1")
    assert show_call(client, call)["status"] == "completed"
    assert len(twilio.requests) == 1


def test_a_callback_for_a_call_deleted_meanwhile_is_200(dialling):
    client = dialling()
    (contact,) = client.add("a@x.org")
    call = called(client, contact)
    client.dial()
    client.ask("DELETE", f"/v1/contacts/{contact}")
    enveloped(call_back(client, call, "completed", 3))
    for ref in ("call_00000000000000000000000000", "x"):
        enveloped(call_back(client, {"id": ref}, "completed", 3))
    assert list_calls(client)["total"] == 0


@pytest.mark.parametrize(
    "more",
    [
        {"CallStatus": "paused"},
        {"CallStatus": ""},
        {"SequenceNumber": "x"},
        {"CallDuration": "x", "SequenceNumber": "1"},
        {"CallDuration": "9" * 50, "SequenceNumber": "1"},
        {"SequenceNumber": "9" * 30},
        {"SequenceNumber": "²"},
        {"Übrig": "é\0"},
    ],
    ids=ascii,
)
def test_a_signed_callback_that_says_odd_things_is_200(dialling, more):
    client = dialling()
    call = called(client)
    client.dial()
    form = {"CallSid": f"CA{1:032x}", "CallStatus": "ringing", **more}
    answer = signed(client, f"/api/calls/{call['id']}/twilio", form)
    assert answer.status_int == 200, answer.text


@pytest.mark.parametrize("signature", ["x", "RSOYDt4T1cUTdK1PDd93/VVr8B8=", "é"])
def test_a_wrong_signature_is_403_and_changes_nothing(dialling, signature):
    client = dialling()
    call = called(client)
    client.dial()
    before = show_call(client, call)
    form = {"CallSid": f"CA{1:032x}", "CallStatus": "ringing", "SequenceNumber": "1"}
    answer = signed(client, f"/api/calls/{call['id']}/twilio", form, signature)
    assert refusal(answer) == (403, "forbidden", None)
    assert show_call(client, call) == before
    unsigned = client.post(
        urlencode(form).encode(),
        f"/api/calls/{call['id']}/twilio",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert refusal(unsigned)[0] == 403


def test_a_signature_is_good_for_one_call_only(dialling):
    client = dialling()
    (contact,) = client.add("a@x.org")
    first, second = called(client, contact), called(client, contact)
    client.dial()
    form = {"CallSid": f"CA{2:032x}", "CallStatus": "ringing", "SequenceNumber": "1"}
    signature = sign(f"{PUBLIC}/api/calls/{first['id']}/twilio", form)
    path = f"/api/calls/{second['id']}/twilio"
    assert signed(client, path, form, signature).status_int == 403


def test_wrong_signatures_count_for_their_address_and_right_ones_do_not(dialling):
    client = dialling(CONTACTAPI_RATE_LIMIT="100/60")
    call = called(client)
    client.dial()
    path = f"/api/calls/{call['id']}/twilio"
    for number in range(150):
        call_back(client, call, "ringing", number)
    answers = [signed(client, path, {"a": "b"}, "x") for _ in range(101)]
    assert {refusal(answer)[:2] for answer in answers[:100]} == {(403, "forbidden")}
    assert refusal(answers[100])[:2] == (429, "rate_limit")
    assert answers[100].headers["Retry-After"] == "60"
    assert client.get("/v1/contacts", key=None).status_int == 429
    elsewhere = signed(client, path, {"a": "b"}, "x", REMOTE_ADDR="203.0.113.2")
    assert elsewhere.status_int == 403
    call_back(client, call, "completed", 999)
    assert show_call(client, call)["status"] == "completed"


# -- configuration


THREE = ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_VOICE_URL")
WITH = ("CONTACTAPI_PUBLIC_URL", "CONTACTAPI_CALL_PREFIXES")
HALVES = [
    *(set(some) for n in (1, 2) for some in itertools.combinations(THREE, n)),
    set(THREE),
    {*THREE, WITH[0]},
    {*THREE, WITH[1]},
]


@pytest.mark.parametrize("given", HALVES, ids=lambda names: " ".join(sorted(names)))
def test_half_of_twilio_stops_the_start_with_one_line(given, monkeypatch, capsys):
    for name in (*THREE, *WITH):
        monkeypatch.delenv(name, raising=False)
    for name in given:
        monkeypatch.setenv(name, TWILIO[name])
    assert contactapi.main(["serve"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("contactapi: ") and err.count("\n") == 1
    for name in THREE:
        assert (name in err) == (name not in given), name
    if set(THREE) <= given:
        assert all((name in err) == (name not in given) for name in WITH)
    assert ACCOUNT not in err and TWILIO_TOKEN not in err.replace(ACCOUNT, "")


@pytest.mark.parametrize(
    "given",
    [
        (),
        ("TWILIO_FROM_NUMBER",),
        ("CONTACTAPI_PUBLIC_URL",),
        WITH,
        ("TWILIO_API_BASE",),
        (*THREE, *WITH),
    ],
    ids=" ".join,
)
def test_all_of_twilio_or_nothing_of_it_starts(given):
    config = Config.from_env({name: TWILIO[name] for name in given})
    assert config.dials == (len(given) == 5)


@pytest.mark.parametrize(
    "name, value",
    [
        ("CONTACTAPI_CALL_PREFIXES", "44"),
        ("CONTACTAPI_CALL_PREFIXES", "+44,*"),
        ("CONTACTAPI_CALL_PREFIXES", "+44,"),
        ("CONTACTAPI_CALLS_PER_DAY", "-1"),
        ("CONTACTAPI_CALLS_PER_DAY", "many"),
        ("CONTACTAPI_PUBLIC_URL", "contacts.example.com"),
        ("TWILIO_VOICE_URL", "ftp://example.com"),
        ("TWILIO_FROM_NUMBER", "5550001111"),
        ("TWILIO_API_BASE", "api.twilio.com"),
        ("TWILIO_ACCOUNT_SID", "AC/../x"),
    ],
)
def test_a_twilio_setting_that_cannot_be_read_names_the_variable(name, value):
    with pytest.raises(Mistake, match=name) as caught:
        Config.from_env({**TWILIO, name: value})
    assert value not in str(caught.value).replace("+44,+49 or *", "")


def test_long_work_by_something_else_shows_how_its_file_grows(tmp_path, monkeypatch):
    class Screen(io.StringIO):
        def isatty(self):
            return True

    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    path = tmp_path / "growing"
    path.write_bytes(b"x" * 50)
    with contactapi.Progress(100).watch(str(path)):
        deadline = time.monotonic() + 10
        while " 50%" not in screen.getvalue() and time.monotonic() < deadline:
            time.sleep(0.05)
    assert " 50%" in screen.getvalue() and screen.getvalue().endswith("\r\033[K")


def test_an_origin_of_ten_thousand_letters_takes_no_time(api, monkeypatch):
    spelled = []
    encode = contactapi.ascii_host
    monkeypatch.setattr(
        contactapi, "ascii_host", lambda host: spelled.append(len(host)) or encode(host)
    )
    key = api.key("publishable", domains=["example.com"])
    letters = "".join(map(chr, range(0x4E00, 0x4E00 + 9000)))
    origin = f"http://{letters}".encode().decode("latin-1")
    assert failure(api.post(ADA, key=key, headers={"Origin": origin}))[0] == 403
    assert max(spelled, default=0) <= 253
    assert contactapi.ascii_host("é" * 64) == "é" * 64


def test_a_csv_head_whose_quote_never_ends_is_given_up_after_some_lines():
    taken = []

    def lines():
        yield b'email,"\n'
        for number in range(10_000):
            taken.append(number)
            yield b"x" * 1000 + b"\n"

    with pytest.raises(contactapi.InvalidRequest):
        list(contactapi.read_csv(lines(), "email"))
    assert len(taken) < contactapi.LONGEST_HEAD / 1000 < 10_000


def test_lines_of_one_second_before_1970_keep_their_second_in_several_imports(free):
    for name in ("a", "b", "c"):
        line = {"email": f"{name}@x.org", "created_at": "1950-01-01T00:00:00Z"}
        assert counts(upload(free, jsonl(line))) == (1, 0, 0, [])
    times = [document["created_at"] for document in exported(free)]
    assert times == [f"1950-01-01T00:00:00.00000{n}Z" for n in range(3)]


def test_a_task_that_came_before_any_thread_is_taken_by_the_first():
    turns, taken = contactapi.Turns(), []
    turns.put("task")
    thread = threading.Thread(target=lambda: taken.append(turns.take()), daemon=True)
    thread.start()
    thread.join(10)
    assert taken == ["task"]


###############################################################################
# Requests that share a commit ################################################
###############################################################################


@pytest.fixture
def served(make):
    """Serves an app on a port; its client gains `address`."""
    started = []

    def serve(**settings):
        client = make(CONTACTAPI_RATE_LIMIT="off", **settings)
        server = contactapi.Server(client.app, contactapi.listen("127.0.0.1", 0), 2)
        client.server, client.address = server, server.socket.getsockname()
        started.append((server, threading.Thread(target=server.run)))
        started[-1][1].start()
        return client

    yield serve
    for server, thread in started:
        server.stop()
        thread.join(20)


def begun(client, method, body, key, path=""):
    """A connection on which this request is on its way."""
    raw = b"" if body is None else json.dumps(body).encode()
    lines = [
        f"{method} /v1/contacts{path} HTTP/1.1",
        *("Host: x", "Connection: close", f"Content-Length: {len(raw)}"),
        f"Authorization: Bearer {key}",
    ]
    sock = socket.create_connection(client.address, timeout=20)
    sock.sendall("\r\n".join([*lines, "", ""]).encode() + raw)
    return sock


def queued(client, *requests):
    """Connections with a POST each, (body, key), that wait for the writer."""
    sockets, store = [], client.services.store
    for number, request in enumerate(requests, 1):
        sockets.append(begun(client, "POST", *request))
        until(lambda number=number: store.queue.qsize() == number)
    return sockets


def hang_up(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def received(sock):
    """(status, body, X-Request-Id), read until the server closes."""
    with sock, sock.makefile("rb") as file:
        head, _, body = file.read().partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), json.loads(body), headers["X-Request-Id"]


def secretly(client, *emails):
    return [({"email": email}, client.secret) for email in emails]


def test_requests_that_write_share_one_commit(served):
    client, said = served(), []
    store = client.services.store
    with a_busy_writer(store):
        emails = [f"c{n}@x.org" for n in range(12)]
        sockets = queued(client, *secretly(client, *emails))
        for connection in store.db.opened:
            connection.set_trace_callback(said.append)
    answers = [received(sock) for sock in sockets]
    assert [status for status, _, _ in answers] == [201] * 12
    assert [body["email"] for _, body, _ in answers] == emails
    assert said.count("COMMIT") == 1
    assert sorted(client.emails()) == sorted(emails)


def test_when_the_commit_fails_no_write_is_confirmed(served, monkeypatch, caplog):
    client = served()
    caplog.set_level(logging.INFO)
    store = client.services.store
    run = store.run

    def on_a_full_disk(sql, params=()):
        if sql == "COMMIT":
            cause = sqlite3.OperationalError("database or disk is full")
            raise contactapi.Unavailable() from cause
        return run(sql, params)

    requests = secretly(client, "a@x.org", "b@x.org")
    stranger = ({"email": "c@x.org"}, "ck_secret_of_nobody")
    with pytest.raises(contactapi.Unavailable), a_busy_writer(store):
        sockets = queued(client, *requests, stranger)
        monkeypatch.setattr(store, "run", on_a_full_disk)
    answers = [received(sock) for sock in sockets]
    assert [status for status, _, _ in answers] == [503, 503, 401]
    assert {answers[n][1]["error"]["code"] for n in (0, 1)} == {"unavailable"}
    lines = [record.getMessage() for record in caplog.records]
    for status, _, ref in answers:  # one line each, of what came of it
        (line,) = [line for line in lines if line.endswith(ref)]
        assert f" {status} " in line
    assert lines.count("nothing could be written: database or disk is full") == 1
    monkeypatch.setattr(store, "run", run)
    assert client.emails() == []
    assert client.add("a@x.org")


def test_a_request_that_fails_halfway_is_undone_alone(served, monkeypatch):
    client = served()
    store, contacts = client.services.store, client.services.contacts
    add = contacts.events.add

    def fail_once(*drafts):
        if any("bad@x.org" in draft.data for draft in drafts):
            raise LookupError
        add(*drafts)

    monkeypatch.setattr(contacts.events, "add", fail_once)
    with a_busy_writer(store):
        emails = ("one@x.org", "bad@x.org", "two@x.org")
        sockets = queued(client, *secretly(client, *emails))
    assert [received(sock)[0] for sock in sockets] == [201, 500, 201]
    assert client.emails() == ["two@x.org", "one@x.org"]
    assert client.get("/v1/contacts").json["total"] == 2
    assert [event["type"] for event in client.get("/v1/events").json["data"]] == [
        "contact.created"
    ] * 2


def test_a_request_that_was_undone_is_not_confirmed(served, monkeypatch):
    client = served()
    store, contacts = client.services.store, client.services.contacts
    store.write(lambda: store.run("CREATE TABLE jotting (name TEXT)"))
    monkeypatch.setattr(contacts, "put", hiding_a_failure(store, contacts.put))
    status, body, _ = received(
        begun(client, "POST", {"email": "a@x.org"}, client.secret)
    )
    assert (status, body["error"]["code"]) == (500, "internal_error")
    assert client.emails() == []


def test_a_failure_is_logged_under_the_id_of_its_answer(served, monkeypatch, caplog):
    client = served()
    events = client.services.contacts.events
    monkeypatch.setattr(events, "add", lambda *drafts: [].pop())
    status, _, ref = received(
        begun(client, "POST", {"email": "a@x.org"}, client.secret)
    )
    assert status == 500
    assert f"{ref}: IndexError" in caplog.text


def test_a_request_that_is_refused_does_not_undo_the_others(served):
    client, said = served(), []
    store = client.services.store
    with a_busy_writer(store):
        sockets = queued(client, *secretly(client, "a@x.org"))
        for number, path in enumerate(("/con_" + "0" * 26, ""), 2):
            method = "PATCH" if path else "POST"
            sockets.append(
                begun(client, method, {"email": "b@x.org"}, client.secret, path)
            )
            until(lambda number=number: store.queue.qsize() == number)
        for connection in store.db.opened:
            connection.set_trace_callback(said.append)
    assert [received(sock)[0] for sock in sockets] == [201, 404, 201]
    assert (said.count("COMMIT"), said.count("ROLLBACK")) == (1, 0)


def test_who_is_gone_when_all_is_done_again_is_not_said_to_be_stored(
    served, monkeypatch, caplog
):
    client = served()
    caplog.set_level(logging.INFO)
    store, contacts = client.services.store, client.services.contacts
    add, sockets = contacts.events.add, []

    def fail_once(*drafts):
        if any("bad@x.org" in draft.data for draft in drafts):
            monkeypatch.setattr(contacts.events, "add", add)
            channels = client.server.active_channels.values()
            gone = sockets[0].getsockname()
            next(each for each in channels if each.addr == gone).handle_close()
            raise LookupError
        add(*drafts)

    monkeypatch.setattr(contacts.events, "add", fail_once)
    with a_busy_writer(store):
        sockets += queued(client, *secretly(client, "gone@x.org", "bad@x.org"))
    assert received(sockets[1])[0] == 201
    assert client.emails() == ["bad@x.org"]
    assert caplog.text.count("POST /v1/contacts 201") == 1


def test_a_broken_transaction_confirms_nothing_that_was_in_it(served, monkeypatch):
    client = served()
    store, contacts = client.services.store, client.services.contacts

    def lose_it(self, number):
        store.run("ROLLBACK")  # as SQLite itself does when the disk is full
        raise contactapi.Unavailable() from sqlite3.OperationalError("disk I/O error")

    requests = secretly(client, "a@x.org", "b@x.org", "c@x.org")
    count, calls = contacts._count, []

    def second_loses_it(*args):
        calls.append(args)
        return lose_it(*args) if len(calls) == 2 else count(*args)

    monkeypatch.setattr(contacts, "_count", second_loses_it)
    with pytest.raises(contactapi.Unavailable), a_busy_writer(store):
        sockets = queued(client, *requests)
    assert [received(sock)[0] for sock in sockets] == [503] * 3
    assert client.emails() == []
    assert client.add("a@x.org")


def test_who_does_not_wait_for_the_answer_is_stored_and_logged(served, caplog):
    client = served()
    caplog.set_level(logging.INFO)
    with a_busy_writer(client.services.store):
        (sock,) = queued(client, *secretly(client, "gone@x.org"))
        hang_up(sock)
    until(lambda: client.emails() == ["gone@x.org"])
    until(lambda: "POST /v1/contacts 201" in caplog.text)


def test_reads_are_answered_while_another_process_holds_the_database(served, tmp_path):
    client = served()
    client.services.store.patience = 1
    (ref,) = client.add("a@x.org")
    with contextlib.closing(sqlite3.connect(tmp_path / "contacts.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        bodies = [{"email": f"c{number}@x.org"} for number in range(20)]
        writes = [begun(client, "POST", body, client.secret) for body in bodies]
        reads = [begun(client, "GET", None, client.secret, f"/{ref}") for _ in "abcd"]
        assert {received(sock)[0] for sock in reads} == {200}
        assert {received(sock)[0] for sock in writes} == {503}
        other.rollback()
    assert received(begun(client, "POST", bodies[0], client.secret))[0] == 201


@pytest.mark.parametrize(
    ("method", "path", "grouped"),
    [
        ("POST", "/v1/contacts", True),
        ("PATCH", "/v1/contacts/con_x", True),
        ("DELETE", "/v1/companies/cmp_x/history", True),
        ("POST", "/v1/contacts.jsonl", False),  # may take long
        ("POST", "/v1/companies.csv/", False),
        ("GET", "/v1/contacts", False),
        ("OPTIONS", "/v1/contacts", False),
        ("POST", "/api/calls/create", False),  # tells a second of the same key so
    ],
)
def test_only_short_writes_run_in_the_writers_transaction(api, method, path, grouped):
    assert api.app.is_grouped(method, path) is grouped


###############################################################################
# JSON by SQLite ##############################################################
###############################################################################


TIMES_OF_NOTE = (
    "0001-01-01T00:00:00Z",
    "1969-12-31T23:59:59.999999Z",
    "1970-01-01T00:00:00.000001Z",
    "2024-02-29T23:59:59.5Z",
    "2026-07-04T09:59:59.000042Z",
)
FIELDS_OF_NOTE = (
    {},
    {"a": None},
    {'"': '\\"\n\x00\x7f', "é\u2028": "👩\u200d👧"},
    {"n": 1e22, "big": 10**40, "deep": {"a": [{}, [], "x"]}},
    {"}": "{", "": ""},
)


@pytest.mark.parametrize("fields", FIELDS_OF_NOTE)
def test_sqlite_makes_of_many_what_python_makes_of_one(free, fields):
    lines = [
        {"email": f"Ä'{n}\\{n}@x.org", **fields, "created_at": time, "updated_at": time}
        for n, time in enumerate(TIMES_OF_NOTE)
    ]
    lines = [{**line, "email": line["email"].replace("\\", "!")} for line in lines]
    assert counts(upload(free, jsonl(*lines))) == (len(lines), 0, 0, [])
    listed = free.get("/v1/contacts").json["data"]
    assert [one["email"] for one in reversed(listed)] == [e["email"] for e in lines]
    for shown in listed:
        assert free.get(f"/v1/contacts/{shown['id']}").json == shown
    raw = free.get("/v1/contacts").body
    for shown in listed:
        assert free.get(f"/v1/contacts/{shown['id']}").body in raw
    exact = [document["created_at"] for document in exported(free)]
    assert [contactapi.parse_time(t) for t in exact] == [
        contactapi.parse_time(t) for t in TIMES_OF_NOTE
    ]


def test_names_of_companies_are_quoted_by_sqlite_as_by_python(free):
    names = ['"Quote" & \\Back\\slash', "Ünïcode 株式会社", "</script>\u2028."]
    for name in names:
        assert free.post({"name": name}, "/v1/companies").status_int == 201
    raw = free.get("/v1/companies").body
    for shown in json.loads(raw)["data"]:
        assert shown["name"] in names
        assert free.get(f"/v1/companies/{shown['id']}").body in raw


def test_every_page_of_many_is_there_once_and_in_order(free):
    lines = [{"email": f"c{n}@x.org"} for n in range(2345)]
    assert counts(upload(free, jsonl(*lines))) == (2345, 0, 0, [])
    walked = []
    for page in range(1, 26):
        answer = free.get(f"/v1/contacts?page={page}&page_size=100").json
        assert (answer["total"], answer["total_pages"]) == (2345, 24)
        walked += [one["email"] for one in answer["data"]]
    assert walked == [line["email"] for line in reversed(lines)]
    assert [one["email"] for one in exported(free)] == walked[::-1]


@pytest.mark.parametrize("cap", [1, 3, 10_000])
def test_what_was_changed_since_is_the_same_by_either_index(free, monkeypatch, cap):
    """Above the cap the records are gone through in their order instead."""
    monkeypatch.setattr(contactapi.Records, "CAP", cap)
    ids = free.add(*(f"c{n}@x.org" for n in range(6)))
    free.turn(60)
    for ref in (ids[4], ids[1], ids[0], ids[5]):
        free.patch(ref, {"seen": ref})
    changed = [ids[5], ids[4], ids[1], ids[0]]
    query = "updated_after=2026-07-04T10:00:30Z"
    answer = free.get(f"/v1/contacts?{query}&page_size=3").json
    assert [one["id"] for one in answer["data"]] == changed[:3]
    assert answer["total"] == 4
    answer = free.get(f"/v1/contacts?{query}&page_size=3&page=2").json
    assert [one["id"] for one in answer["data"]] == changed[3:]
    read = free.get("/api/v1/contacts?updated_since=2026-07-04T10:00:30Z").json["data"]
    assert [one["id"] for one in read] == [hyphenated(ref) for ref in changed]
    lines = free.get(f"/v1/contacts.jsonl?{query}").text.splitlines()
    assert [json.loads(line)["id"] for line in lines] == changed[::-1]


def test_no_page_shows_another_workspace_though_the_count_be_wrong(free):
    keys = {name: free.key("secret", workspace=name) for name in ("a", "b", "c")}
    for name, key in keys.items():
        for number in range(5):
            free.post({"email": f"{name}{number}@x.org"}, key=key)
    store = free.services.store
    store.write(lambda: store.run("UPDATE tally SET total = 12"))
    for page in range(1, 13):
        for size in (1, 2, 5, 9):
            path = f"/v1/contacts?page={page}&page_size={size}"
            for name, key in keys.items():
                shown = free.get(path, key=key).json["data"]
                assert {one["email"][0] for one in shown} <= {name}


def test_uids_of_one_call_lie_together_and_are_no_less_random():
    first, second = contactapi.new_uids(500), contactapi.new_uids(500)
    assert len({*first, *second}) == 1000
    assert len({uid[:6] for uid in first}) == 1  # 30 bits
    assert first[0][:6] != second[0][:6]
    assert len({uid[7:14] for uid in first}) == 500
    numbers = {uuid.UUID(contactapi.uuid_of(uid)) for uid in first}
    assert {(n.version, n.variant) for n in numbers} == {(4, uuid.RFC_4122)}


def test_every_bit_of_a_uid_is_random_but_those_that_name_its_version():
    numbers = [contactapi.from_base32(contactapi.new_uid()) for _ in range(1000)]
    ones, zeros = 0, 0
    for number in numbers:
        ones, zeros = ones | number, zeros | ~number
    version = 0xF << 76 | 3 << 62
    assert ones == (2**128 - 1) & ~version | 4 << 76 | 2 << 62
    assert zeros & (2**128 - 1) == 2**128 - 1 & ~(4 << 76 | 2 << 62)


def test_without_glibc_no_memory_is_given_back(monkeypatch):
    monkeypatch.setattr(contactapi.ctypes, "CDLL", lambda name: object())
    contactapi.give_memory_back()


###############################################################################
# README ######################################################################
###############################################################################


README = SOURCE.with_name("README.md").read_text(encoding="utf-8")


def between(mark):
    """The rows of a table of the README, without its head."""
    table = README.split(f"<!-- {mark} -->\n")[1].split(f"\n<!-- /{mark} -->")[0]
    return table.splitlines()[2:]


def test_the_readme_lists_every_endpoint_and_what_it_needs(api):
    rows = []
    for route in api.app.routes:
        needs = route.config.get("needs")
        if needs is None:
            continue
        path = re.sub(r"<ref(:re:.*\+)?>", ":id", route.rule)
        named = ", ".join(f"`{name}`" for name in needs)
        shown = "a secret key" if needs == (contactapi.EVERYTHING,) else named
        shown += ", or a publishable key" if route.config.get("public") else ""
        rows.append(f"| `{route.method} {path}` | {shown} |")
    assert between("routes") == rows


def test_the_readme_and_the_help_list_every_setting(capsys):
    rows = []
    for variable, default, about in Config.table():
        shown = "none" if default == "none" else f"`{default}`"
        rows.append(f"| `{variable}` | {shown} | {about} |")
    assert between("settings") == rows
    with pytest.raises(SystemExit):
        contactapi.main(["--help"])
    text = capsys.readouterr().out
    assert all(f"  {variable} " in text for variable, _, _ in Config.table())


def test_the_readme_names_every_command_and_every_code():
    for command in ("serve", "keys create", "keys update", "keys list", "keys revoke"):
        assert f"python contactapi.py {command}" in README.replace("[serve]", "serve")
    for command in ("import", "export", "backup", "copy", "check", "--version"):
        assert f"python contactapi.py {command}" in README
    used = {
        error.code
        for error in vars(contactapi).values()
        if isinstance(error, type) and issubclass(error, contactapi.ApiError)
    }
    assert all(f"`{code}`" in README for code in used)
