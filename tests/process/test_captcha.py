"""Captchas and the others: one solution sent at once, a service that hangs."""

import time

import pytest

from doubles import SiteverifyDouble, solve
from processes import make_key, together, until

PAGE = {"Origin": "https://example.com"}


@pytest.fixture
def service():
    with SiteverifyDouble() as double:
        yield double


def form(server):
    """A key whose posts need a captcha of the service."""
    options = ("--type", "publishable", "--domain", "example.com")
    return make_key(server.env, *options, "--captcha", "service")


def post(server, key, number=0):
    body = {"email": f"v{number}@example.com", "cf-turnstile-response": "good.token"}
    return server.ask("POST", "/v1/contacts", body, PAGE, key)


def test_what_was_read_of_a_form_is_read_again_where_the_service_is_asked(
    serve, service
):
    server = serve(**service.settings)
    key = form(server)
    media = {**PAGE, "Content-Type": "application/x-www-form-urlencoded"}
    body = b"name=Ada&email=ada%40example.com&cf-turnstile-response=good.token"
    sent = server.ask("POST", f"/f/{key}", body, media, None)
    assert (sent.status, service.asked) == (200, ["good.token"])
    (row,) = server.ask("GET", "/v1/submissions").json["data"]
    assert row["fields"] == {"name": "Ada", "email": "ada@example.com"}
    server.stop()


def reasons(server):
    rows = server.ask("GET", "/v1/submissions?page_size=100").json["data"]
    return [row["reason"] for row in rows]


def test_of_many_who_send_one_solution_at_once_one_comes_in(serve):
    server = serve()
    options = ("--type", "publishable", "--domain", "example.com")
    key = make_key(server.env, *options, "--captcha", "altcha")
    second = serve(server.folder)
    token = solve(server.ask("GET", f"/f/{key}/challenge", key=None).json)
    answers = []

    def send(process, number):
        body = {"email": f"v{number}@example.com", "altcha": token}
        answers.append(process.ask("POST", "/v1/contacts", body, PAGE, key).status)

    both = (server, second) * 5
    together(*(lambda p=p, n=n: send(p, n) for n, p in enumerate(both)))
    assert sorted(answers) == [201] + [403] * 9
    assert reasons(server) == [None]
    server.stop()
    second.stop()


def test_visitors_of_a_form_whose_service_hangs_wait_together_and_are_held(
    serve, service
):
    """Those who wait for a thread do not wait for the service once more: 12 of them,
    two at a time and 5 s each, would take half a minute."""
    service.silent = True
    server = serve(**service.settings)
    key, began = form(server), time.monotonic()
    answers = []
    visitors = [
        lambda n=n: answers.append(post(server, key, n).status) for n in range(12)
    ]
    together(*visitors)
    waited = time.monotonic() - began
    assert answers == [201] * 12
    assert reasons(server) == ["captcha_unavailable"] * 12
    assert len(service.requests) <= 3  # half of seven threads
    assert waited < 2.5 * 5
    server.stop()


def test_nobody_else_waits_for_a_service_that_hangs(serve, service):
    service.silent = True
    server = serve(**service.settings)
    key, answers = form(server), []
    other = make_key(server.env, "--type", "publishable", "--domain", "example.com")

    def plain():
        assert until(lambda: service.requests)
        for n in range(50):
            body = {"email": f"o{n}@example.com"}
            assert server.ask("POST", "/v1/contacts", body, PAGE, other).status == 201
            assert server.ask("GET", "/v1/contacts?q=nobody").status == 200
        answers.append("plain")

    def visitor():
        answers.append(post(server, key).status)

    together(plain, visitor)
    assert answers == ["plain", 201]
    server.stop()


def test_an_answer_that_trickles_is_cut_off_and_frees_its_thread(serve, service):
    ended = []

    def trickle(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "60000")
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b" ")
                time.sleep(0.05)
        except OSError:
            ended.append(True)

    server = serve(CONTACTAPI_THREADS="1", **service.settings)  # one may ask at a time
    key = form(server)
    service.answers.append(trickle)
    assert post(server, key, 1).status == 201
    assert reasons(server) == ["captcha_unavailable"]
    assert until(lambda: ended)
    assert post(server, key, 2).status == 201
    assert reasons(server) == [None, "captcha_unavailable"]
    server.stop()


def test_a_server_stops_cleanly_while_a_service_hangs(serve, service):
    service.silent = True
    server = serve(**service.settings)
    key, statuses = form(server), []

    def stop():
        assert until(lambda: service.requests)
        server.stop()

    together(stop, lambda: statuses.append(post(server, key).status))
    assert statuses == [201]
