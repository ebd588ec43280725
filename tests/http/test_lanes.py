"""What takes long runs beside the short, in shares, and not for ever; what a
publishable key is answered leaves on a grid."""

import threading
import time

import pytest

import contactapi
from client import ADA
from processes import Wire, request_bytes, until

ENDLESS = (
    "WITH RECURSIVE number (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM number) "
    "SELECT count(*) FROM number"
)


@pytest.fixture
def lanes(free):
    """A server with a long lane of seven threads, and a route that takes for ever: its
    client gains `send(path, key)` and `running`, what the lane has in hand."""
    app = free.app

    @app.get("/v1/for-ever", needs=("contacts:read",), lane="long")
    def for_ever(caller):
        return str(app.store.row(ENDLESS))

    server = contactapi.Server(app, contactapi.listen("127.0.0.1", 0), 8)
    port, wires = server.socket.getsockname()[1], []
    thread = threading.Thread(target=server.run)
    thread.start()

    def send(path, key):
        wires.append(Wire(port))
        wires[-1].send(request_bytes("GET", path, key=key))
        return wires[-1]

    free.send, free.running = send, server.task_dispatcher.lanes["long"].running
    free.port = port
    yield free
    for wire in wires:
        wire.close()
    server.stop()
    thread.join(20)


def test_a_body_that_nobody_asked_for_keeps_no_export_from_its_lane(lanes):
    body = b"x" * 20_000
    for path in ("/v1/submissions.csv", "/v1/submissions.jsonl", "/v1/contacts.csv"):
        with Wire(lanes.port) as wire:
            wire.send(request_bytes("GET", path, body, lanes.secret))
            assert wire.read().status == 200


def for_ever(lanes, key, count):
    return [lanes.send("/v1/for-ever", key) for _ in range(count)]


def is_answered(lanes, key):
    """Whether a page that needs the long lane comes, while others are at work."""
    wire = lanes.send("/v1/contacts?q=nobody", key)
    wire.socket.settimeout(1)
    try:
        return wire.read().status == 200
    except TimeoutError:
        return False
    finally:
        wire.close()


def test_a_key_has_two_threads_of_the_long_lane(lanes):
    one, two = lanes.key("secret"), lanes.key("secret")
    for_ever(lanes, one, 5)
    assert until(lambda: len(lanes.running) == 2)
    assert not is_answered(lanes, one)
    assert is_answered(lanes, two)


def test_a_workspace_has_half_of_the_long_lane(lanes):
    one, two, three = (lanes.key("secret") for _ in range(3))
    other = lanes.key("secret", workspace="other")
    for_ever(lanes, one, 2)
    for_ever(lanes, two, 2)
    assert until(lambda: len(lanes.running) == 3)
    assert not is_answered(lanes, three)
    assert is_answered(lanes, other)


def test_what_takes_long_ends_with_its_client(lanes):
    key = lanes.key("secret")
    wires = for_ever(lanes, key, 2)
    assert until(lambda: len(lanes.running) == 2)
    for wire in wires:
        wire.close()
    assert until(lambda: is_answered(lanes, key))


def test_what_takes_longer_than_30_s_is_503(lanes, monkeypatch):
    assert contactapi.Lane.LONGEST == 30
    monkeypatch.setattr(contactapi.Lane, "LONGEST", 0.1)
    (wire,) = for_ever(lanes, lanes.key("secret"), 1)
    answer = wire.read()
    assert (answer.status, answer.json["error"]["code"]) == (503, "unavailable")
    assert "narrow it down" in answer.json["error"]["message"]


PAGE = ["Origin: https://example.com"]
POSTS = {
    "new": (ADA, PAGE, 201),
    "no email": ({}, PAGE, 400),
    "another page": (ADA, ["Origin: https://evil.test"], 403),
    "no JSON": (b"{", [*PAGE, "Content-Type: application/json"], 400),
    "no media type of ours": (b"a", [*PAGE, "Content-Type: text/plain"], 415),
}


FORM_POSTS = {
    "a form": (ADA, PAGE, 200),
    "a form's error": ({"email": "x"}, PAGE, 400),
    "a form of another page": (ADA, ["Origin: https://evil.test"], 403),
    "a robot's form": ({**ADA, "_gotcha": "x"}, PAGE, 200),
}
ALL_POSTS = [("/v1/contacts", *post) for post in POSTS.values()]
ALL_POSTS += [("/f/{}", *post) for post in FORM_POSTS.values()]


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"), ALL_POSTS, ids=[*POSTS, *FORM_POSTS]
)
def test_a_publishable_keys_answer_leaves_on_the_grid(
    served, monkeypatch, path, body, headers, status
):
    """At a whole number of steps after its last byte was read, errors too."""
    assert contactapi.GRID == 0.025
    client, left = served(), []
    service = contactapi.Channel.service

    def note(channel):
        left.append((time.monotonic() - channel.request.read_at) / contactapi.GRID)
        service(channel)

    monkeypatch.setattr(contactapi, "GRID", 0.2)
    monkeypatch.setattr(contactapi.Channel, "service", note)
    key = client.key("publishable", domains=["example.com"])
    with Wire(client.address[1]) as wire:
        wire.send(request_bytes("POST", path.format(key), body, key, headers))
        assert wire.read().status == status
    assert left[0] >= 1 and left[0] % 1 < 0.5


@pytest.mark.parametrize("letter", ["x", "ж", "🙂"])
def test_a_large_page_comes_whole_and_its_connection_goes_on(served, letter):
    client = served()
    note = letter * (40_000 // len(letter.encode()))
    refs = client.add(*(f"c{n}@x.org" for n in range(30)), note=note)
    path, key = "/v1/contacts?page_size=100", client.secret
    with Wire(client.address[1]) as wire:
        wire.send(request_bytes("GET", path, key=key))
        answer = wire.read()
        assert len(answer.body) > contactapi.PIECE
        assert {contact["note"] for contact in answer.json["data"]} == {note}
        wire.send(request_bytes("HEAD", path, key=key))
        head = wire.read(head=True).headers
        assert head["content-length"] == str(len(answer.body))
        wire.send(request_bytes("GET", f"/v1/contacts/{refs[0]}", key=key))
        assert wire.read().json["id"] == refs[0]


def test_a_form_whose_captcha_takes_long_goes_on_in_the_long_lane(served):
    """And is read, counted and kept once."""
    client, asked = served(CONTACTAPI_RATE_LIMIT="10/60"), []

    def check(caller, post):
        asked.append((threading.current_thread().name, post.tokens))
        contactapi.go_to("long")
        return contactapi.Verdict()

    client.services.submissions.checks["service"] = check
    key = client.key("publishable", domains=["example.com"], captcha="service")
    form = b"message=Hello&cf-turnstile-response=token"
    headers = [*PAGE, "Content-Type: application/x-www-form-urlencoded"]
    with Wire(client.address[1]) as wire:
        wire.send(request_bytes("POST", f"/f/{key}", form, None, headers))
        answer = wire.read()
    assert (answer.status, answer.headers["ratelimit"]) == (200, '"key";r=9;t=60')
    threads, tokens = zip(*asked)
    assert tokens == ({"cf-turnstile-response": "token"},) * 2
    assert threads[1].startswith("long-")
    (row,) = client.get("/v1/submissions").json["data"]
    assert row["fields"] == {"message": "Hello"}
