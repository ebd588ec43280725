"""The log, and what never stands in it."""

import io
import json
import logging
import re

import pytest

import contactapi
from client import PAGE, UNKNOWN, keep_house, upload
from processes import until


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
    for owner, name in (
        (api.services.contacts, "upsert"),
        (api.services.contacts, "get"),
    ):
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
    assert until(lambda: "in fail" in stream.getvalue())
    housekeeper.stop()
    text = stream.getvalue()
    assert "housekeeping" in text and "in fail" in text
    assert "qerrorq" not in text and "qbodyq" not in text
