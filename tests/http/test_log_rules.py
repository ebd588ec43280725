"""What a line of the log may hold, rule by rule (CONTRACT section 10)."""

import json
import logging
import random
import socket

import pytest

import contactapi
from client import ADA, PAGE, failure, one_line

UUID = "9b2f7a30-4420-4123-8567-012345678901"
CON = "con_01h455vb4pex5vsknk084sn02q"


@pytest.fixture
def lines(caplog):
    """Shows what a server would have written: `text` or `json`."""
    caplog.set_level(logging.INFO)

    def shown(form="text"):
        forms = {"text": contactapi.TextFormatter, "json": contactapi.JsonFormatter}
        return [forms[form]().format(record) for record in caplog.records]

    return shown


@pytest.mark.parametrize(
    "path, shown",
    [
        ("/", "/"),
        ("/healthz", "/healthz"),
        ("/v1/contacts", "/v1/contacts"),
        ("/v1/contacts.jsonl", "/v1/contacts.jsonl"),
        (f"/v1/contacts/{CON}/history", f"/v1/contacts/{CON}/history"),
        (f"/api/v1/companies/{UUID}", f"/api/v1/companies/{UUID}"),
        ("/api/api-keys/env", "/api/api-keys/env"),
        ("/f/ck_pub_0123456789abcdefghjkmnpqrstvwxyz", "/f/…"),
        ("/f/ck_pub_0123456789abcdefghjkmnpqrstvwxyz/challenge", "/f/…/challenge"),
        ("/f/word", "/f/…"),
        ("/f/", "/f/…"),
        ("/c/abcdefghij", "/c/…"),
        ("/c/abc/def", "/c/…/def"),
        ("/v1/contacts/+442079460123", "/v1/contacts/…"),
        ("/v1/contacts/2079460123", "/v1/contacts/…"),
        ("/v1/contacts/0207-946", "/v1/contacts/…"),
        ("/v1/contacts/020 7946", "/v1/contacts/…"),
        ("/v1/contacts/ada@example.com", "/v1/contacts/…"),
        ("/v1/contacts/4w6q8nofthesetests", "/v1/contacts/…"),
        ("/v1/contacts/abcdefghijkl", "/v1/contacts/…"),
        ("/v1/contacts/abcdefghijk", "/v1/contacts/abcdefghijk"),
        ("/a/b/c/d/e/f/g", "/a/b/c/d/e/…"),
        ("/x?q=y", "/…"),
        ("/v1/\ud800/\x1b[31m\n", "/v1/…/…"),
        ("*", "/"),
    ],
)
def test_a_path_is_shown_but_for_what_may_be_a_key_a_number_or_a_person(path, shown):
    assert contactapi.loggable_path(path) == shown


def test_of_a_path_less_than_200_characters_are_shown():
    chance = random.Random(3)
    parts = [UUID, CON, "contacts", "x" * 11, "", "ü", "y" * 40_000, "/" * 999]
    for _ in range(2000):
        path = "/" + "/".join(chance.choices(parts, k=chance.randrange(9)))
        assert len(contactapi.loggable_path(path)) < 200


def test_no_12_characters_of_a_key_are_shown_however_it_is_cut():
    for kind in ("secret", "publishable", "restricted"):
        token = contactapi.new_token(kind)
        for start in range(len(token)):
            for end in (start + 12, start + 20, len(token)):
                path = contactapi.loggable_path(f"/v1/contacts/{token[start:end]}")
                assert len(path) < len("/v1/contacts/") + 12


def test_a_key_of_the_operators_choice_is_cut_out_whatever_is_in_it(lines):
    key = "ck_secret_abc/defg'hij\"klmnopqrstuvwxyz!?&="
    contactapi.log.warning("refused: %s here", key)
    (line,) = lines()
    assert line.endswith(" WARNING refused: ck_… here")


def test_a_method_is_shown_if_it_is_a_word(api, lines):
    for method in ("PROPFIND", "A" * 21, "G3T", "+442079460123"):
        api.ask(method, "/v1/contacts", lint=False)
    shown = [line.split()[2] for line in lines()]
    assert shown == ["PROPFIND", "…", "…", "…"]


def test_a_phone_number_is_cut_out_whoever_says_it(lines):
    logging.getLogger("another").error("calling +442079460123 at 12:00+02:00")
    (line,) = lines()
    assert line.endswith("calling +… at 12:00+02:00")


@pytest.mark.parametrize("form", ["text", "json"])
def test_waitress_names_no_path_as_it_was_sent(lines, form):
    said = "hunter2"  # a trace shows the line that raises
    try:
        raise ValueError(said)
    except ValueError:
        path = f"/v1/contacts/2079460123?q={said}"
        logging.getLogger("waitress").exception(f"Exception while serving {path}")
    (line,) = lines(form)
    assert "Exception while serving /v1/contacts/…" in line
    assert said not in line and "207946" not in line
    assert "ValueError" in line and "test_log_rules.py" in line


def test_no_text_begins_a_line_of_its_own(lines):
    contactapi.log.warning("a\n2026-07-04T10:00:00Z INFO forged\n  framed\r\x1b[0m")
    (line,) = lines()
    first, *others = line.split("\n")
    assert first.endswith(" WARNING a")
    assert others == ["  2026-07-04T10:00:00Z INFO forged", "  framed\\r\\x1b[0m"]
    assert all("\n" not in line for line in lines("json"))


@pytest.mark.parametrize(
    "argv, variable",
    [
        (["serve", "--port", "none"], "PORT"),
        (["keys", "create", "--type", "nothing"], "PORT"),
        (["nonsense"], "PORT"),
        (["keys", "list"], "CONTACTAPI_MAX_BODY"),
        (["keys", "list"], "CONTACTAPI_UNKNOWN"),
        (["import", "absent.csv"], "PORT"),
    ],
)
def test_with_json_a_mistake_is_an_object_before_anything_has_started(
    shell, monkeypatch, argv, variable
):
    monkeypatch.setenv("CONTACTAPI_LOG", "json")
    monkeypatch.setenv(variable, "none" if variable != "PORT" else "8080")
    status, out, err = shell(*argv)
    assert status in (1, 2) and out == "" and one_line(err)
    assert set(json.loads(err)) == {"time", "level", "message"}


def test_what_fails_while_python_tidies_up_is_a_line_too(shell, capfd, monkeypatch):
    monkeypatch.setenv("CONTACTAPI_LOG", "json")
    shell("keys", "list")

    def chunks(said):
        try:
            yield
        finally:
            raise ValueError(said)

    stream = chunks("hunter2")
    next(stream)
    del stream
    (line,) = capfd.readouterr().err.splitlines()
    said = json.loads(line)["message"]
    assert said.startswith("cleanup: ValueError") and "hunter2" not in said


def test_a_requests_id_is_random_and_tells_no_traffic(api):
    ids = [api.get("/healthz").headers["X-Request-Id"] for _ in range(100)]
    assert len(set(ids)) == 100
    assert {len(one) for one in ids} == {16}
    for place in range(16):  # a counter, or a prefix, would stand somewhere
        assert len({one[place] for one in ids}) > 8
    gaps = {abs(int(b, 16) - int(a, 16)) for a, b in zip(ids, ids[1:])}
    assert min(gaps) > 2**32


def test_a_connection_that_fails_is_closed_without_a_word_of_what_it_sent(
    served, lines, monkeypatch
):
    client = served()

    def fail(parser, data):
        raise RuntimeError(data)

    monkeypatch.setattr(contactapi.Parser, "received", fail)
    with socket.create_connection(client.address, timeout=20) as sock:
        sock.sendall(b"GET /hunter2 HTTP/1.1")
        assert sock.recv(100) == b""
    (line,) = [line for line in lines() if "ERROR" in line]
    assert "connection: RuntimeError" in line and "in fail" in line
    assert "hunter2" not in line and "127.0.0.1" not in line


# -- what could become a page of Bottle's


@pytest.mark.parametrize("path", ["/v1/contacts", "/nothing", "/v1/contacts/x"])
@pytest.mark.parametrize("method", ["OPTIONS", "GET", "PUT"])
def test_an_origin_that_is_not_utf_8_is_an_origin(api, method, path):
    environ = {"HTTP_ORIGIN": "https://\xff\xfe", "HTTP_REFERER": "\xff"}
    environ["HTTP_ACCESS_CONTROL_REQUEST_METHOD"] = "GET"
    answer = api.ask(method, path, lint=False, **environ)
    assert answer.status_int in (200, 204, 404, 405)
    if method == "OPTIONS":
        assert (answer.status_int, answer.body) == (204, b"")
    assert answer.headers["X-Request-Id"]


@pytest.mark.parametrize("name", ["preflight", "is_preflight"])
def test_whatever_fails_while_an_error_is_worded_the_shape_stays(
    api, monkeypatch, caplog, name
):
    monkeypatch.setattr(contactapi, name, lambda *arguments: 1 / 0)
    answer = api.ask("OPTIONS", "/v1/contacts", key=None, headers=PAGE)
    assert failure(answer) == (500, "internal_error", None)
    assert answer.headers["Access-Control-Allow-Origin"] == "https://example.com"
    assert answer.headers["X-Request-Id"] in caplog.text


def test_headers_of_any_bytes_are_no_500(api):
    chance = random.Random(11)
    names = ["ORIGIN", "REFERER", "AUTHORIZATION", "X_API_KEY", "CONTENT_TYPE"]
    names += ["X_FORWARDED_FOR", "FORWARDED", "IDEMPOTENCY_KEY", "COOKIE", "ACCEPT"]
    names += ["ACCESS_CONTROL_REQUEST_METHOD", "ACCESS_CONTROL_REQUEST_HEADERS"]
    names += ["HOST", "X_HTTP_METHOD_OVERRIDE", "CONTENT_ENCODING", "RANGE", "EXPECT"]
    public = api.key("publishable")
    for _ in range(400):
        environ = {
            "CONTENT_TYPE" if name == "CONTENT_TYPE" else f"HTTP_{name}": "".join(
                chance.choices([*map(chr, range(32, 256)), "\t", ",", ";", "="], k=20)
            )
            for name in chance.sample(names, 5)
        }
        key = chance.choice([None, api.secret, public])
        method = chance.choice(["GET", "POST", "OPTIONS", "PUT"])
        path = chance.choice(["/v1/contacts", "/api/calls/create", "/no", "/healthz"])
        body = ADA if method == "POST" else None
        answer = api.ask(method, path, body, key=key, lint=False, **environ)
        assert answer.status_int < 500, environ
        assert "html" not in answer.headers.get("Content-Type", "")
