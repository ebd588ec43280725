"""The client that asks an app, its fixtures, and what more than one suite looks at."""

import contextlib
import json
import logging
import os
import re
import signal
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Optional

import pytest
import webtest

import contactapi
from contactapi import Config
from extras.worker import Worker

SOURCE = Path(contactapi.__file__)
PAGE = {"Origin": "https://example.com"}
ADA = {"email": "ada@example.com", "name": "Ada", "plan": "pro"}
UNKNOWN = "con_00000000000000000000000000"
NOBODY = "00000000-0000-4000-8000-000000000000"
ENV_KEY = "ck_secret_" + "operators-own-choice-0123"
LONGEST_DOMAIN = ".".join(["d" * 63, "d" * 63, "d" * 57, "org"])
DAY = 86_400
CLI = contactapi.operator("cli")


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
        by = contactapi.operator("cli", self.services.workspaces.ensure(workspace))
        create = self.services.keys.create
        return create(by, kind, permissions=permissions, **options)[1]

    def ref(self, token):
        return self.services.keys.find(token).ref

    def revoke(self, token):
        """As the command line does."""
        self.services.keys.revoke(CLI, self.ref(token))

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


@pytest.fixture
def served(make):
    """Serves an app on a port; its client gains `address`."""
    started = []

    def serve(**settings):
        client = make(**{"CONTACTAPI_RATE_LIMIT": "off", **settings})
        server = contactapi.Server(client.app, contactapi.listen("127.0.0.1", 0), 2)
        client.server, client.address = server, server.socket.getsockname()
        started.append((server, threading.Thread(target=server.run)))
        started[-1][1].start()
        return client

    yield serve
    for server, thread in started:
        server.stop()
        thread.join(20)


# -- the command line


@pytest.fixture
def shell(tmp_path, monkeypatch, capfd):
    """Runs a command in tmp_path: (status, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("CONTACTAPI_") or name in ("PORT", "DATABASE_URL"):
            monkeypatch.delenv(name)
    for owner in (sys, threading):
        monkeypatch.setattr(owner, "excepthook", owner.excepthook)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
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


# -- what an answer says

BAD = (400, "invalid_request", None)
BAD_EMAIL = (400, "invalid_email", "email")
MISSING = (404, "not_found", None)
TOO_LARGE = (413, "payload_too_large", None)


def failure(answer):
    """(status, code, param) of an answer that is no success, its shape looked at."""
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert set(answer.json) == {"error"}, answer.text
    error = answer.json["error"]
    assert set(error) <= {"code", "message", "param"}, answer.text
    assert isinstance(error["message"], str) and error["message"]
    return answer.status_int, error["code"], error.get("param")


def every_error():
    """The class of each answer that is no success, those of extras among them."""
    classes = [contactapi.ApiError]
    for extra in contactapi.EXTRAS:
        extra.load()
    for one in classes:
        classes.extend(one.__subclasses__())
    return classes


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


def query_of(pairs):
    """The pairs as a query string, every octet escaped."""
    return "&".join(
        "=".join("".join(f"%{octet:02x}" for octet in t.encode()) for t in pair)
        for pair in pairs.items()
    )


def with_a(value):
    """A body whose field `a` is this JSON text."""
    return b'{"email":"ada@example.com","name":"Acme","a":' + value + b"}"


# -- the routes

SINGLES = [(name,) for name in contactapi.known_permissions()]


class Endpoint(NamedTuple):
    method: str
    path: str
    needs: Optional[str]  # permissions, None where no key is asked for
    public: bool  # whether a publishable key may, from its domains


def endpoints(app):
    """All of an app's, sorted. Of plain values: bottle.Route's own description never
    ends for some closures, so a test that fails must not have pytest print one."""
    found = []
    for route in app.routes:
        path = re.sub(r"<(\w+):.*>", r"<\1>", route.rule)
        needs, public = route.config.get("needs"), route.config.get("public")
        found.append(
            Endpoint(route.method, path, needs and " ".join(needs), bool(public))
        )
    return sorted(found)


def filled(path):
    """A path that is meant by this one and that names no record."""
    kinds = {kind.plural: kind.prefix for kind in contactapi.KINDS}
    kinds |= {"api-keys": "key", "calls": "call"}
    prefix = next((p for name, p in kinds.items() if name in path), "con")
    ref = f"{prefix}_00000000000000000000000000"
    return path.replace("<ref>", NOBODY if "/api/v1/" in path else ref)


# -- imports and exports

MEDIA = {"csv": "text/csv", "jsonl": "application/jsonl"}


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
    assert list(report) == ["created", "updated", "failed", "errors", "warnings"]
    for error in report["errors"] + report["warnings"]:
        assert set(error) == {"line", "message"} and error["message"]
    lines = [error["line"] for error in report["errors"]]
    return report["created"], report["updated"], report["failed"], lines


def warned(answer):
    """The lines of an import's report that have a warning."""
    return [warning["line"] for warning in answer.json["warnings"]]


def exported(api, path="/v1/contacts.jsonl", **options):
    """The documents of a JSONL export."""
    answer = api.get(path, **options)
    assert answer.status_int == 200, answer.text
    lines = answer.body.decode().split("\n")
    assert lines.pop() == ""
    return [json.loads(line) for line in lines]


def fields_of(document):
    ours = ("id", "email", "created_at", "updated_at")
    return {name: value for name, value in document.items() if name not in ours}


def import_all(client, kind, documents):
    """Takes in documents, their times among them."""
    answer = upload(client, jsonl(*documents), f"/v1/{kind}.jsonl")
    assert answer.json["failed"] == 0, answer.text


# -- history and housekeeping


def feed(api, query="", **options):
    """The answer of GET /v1/events, without what it tells of keys."""
    answer = api.get(f"/v1/events{query}", **options)
    assert answer.status_int == 200, answer.text
    page = answer.json
    assert list(page) == ["data", "next_after", "has_more"]
    page["data"] = [e for e in page["data"] if not e["type"].startswith("key.")]
    return page


def history(api, ref, query="", kind="contacts", **options):
    answer = api.get(f"/v1/{kind}/{ref}/history{query}", **options)
    assert answer.status_int == 200, answer.text
    assert list(answer.json) == ["data", "next_after", "has_more"]
    return answer.json["data"]


def keep_house(api, **settings):
    """The housekeeper of an app's database, by its turned clock."""
    path = {"DATABASE_URL": f"sqlite:///{api.services.store.path}"}
    config = Config.from_env({**path, **settings})
    for extra in contactapi.load_extras(config):
        extra.setup(api.app, api.services, config)
    return contactapi.Housekeeper(config, api.services, api.clock)


# -- the read API (document 000)

SECOND_FREE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
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


def read(client, path, **options):
    """The body of a list or a record of the read API."""
    answer = client.get(f"/api/v1/{path}", **options)
    assert answer.status_int == 200, answer.text
    return answer.json


# -- keys and calls (document 001)

MY_KEY = {"name": "My API Key", "permissions": ["calls:read", "calls:write"]}
KEY_FIELDS = {
    *("id", "name", "type", "permissions", "domains", "hint"),
    *("created_by", "created_at", "last_used_at"),
}
ENDS = ["completed", "busy", "failed", "no-answer", "canceled"]


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


def make_key(client, by=..., **document):
    """The data of a new key; `by`: the token that asks for it."""
    return enveloped(client.post(document, "/api/api-keys", key=by), 201)


def create_call(client, contact, phone="+1234567890", **options):
    headers = options.pop("headers", None)
    key = options.pop("key", ...)
    body = {"contact_id": contact, "phone_number": phone, **options}
    return client.post(body, "/api/calls/create", key=key, headers=headers)


def once(client, contact, name="abc", phone="+1234567890", **options):
    headers = {"Idempotency-Key": name}
    return create_call(client, contact, phone, headers=headers, **options)


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


# -- the database


def files_of(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


@contextlib.contextmanager
def running_worker(outbox, worker=None):
    """Within, what is due is sent as a server does it."""
    worker = worker or Worker(outbox)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


@contextlib.contextmanager
def a_busy_writer(store):
    """Within, a thread stands inside an open write transaction."""
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


# -- how much work it is

SMALL, LARGE = 2_000, 32_000  # sixteen times as much: a square would take 256 × as long


def seconds(work):
    """What the processor needs for it, at best of seven times, or of three where that
    is long: other load does not count."""
    taken = []
    while len(taken) < 3 or (len(taken) < 7 and sum(taken) < 0.1):
        began = time.thread_time()
        work()
        taken.append(time.thread_time() - began)
    return min(taken)


def growth(work, make):
    """How many times as long the large input takes as the small one."""
    small, large, times = make(SMALL), make(LARGE), LARGE // SMALL
    several = seconds(lambda: [work(small) for _ in range(times)])
    return seconds(lambda: work(large)) * times / several
