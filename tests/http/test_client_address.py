"""Whose window a request counts in, as the proxies of this world name the client."""

import logging

import pytest

import contactapi
from client import one_line
from contactapi import Config, Mistake

PROXY = "10.0.0.1"
BEHIND = {"CONTACTAPI_TRUSTED_PROXY": PROXY}


def config(**settings):
    return Config.from_env({f"CONTACTAPI_{n}": text for n, text in settings.items()})


def client(settings, headers, socket=PROXY):
    environ = {f"HTTP_{n.upper().replace('-', '_')}": v for n, v in headers.items()}
    environ["REMOTE_ADDR"] = socket
    return contactapi.client_address(environ, config(**settings))


FLY = {"TRUSTED_PROXY": "*", "CLIENT_IP_HEADER": "Fly-Client-IP"}
RAILWAY = {"TRUSTED_PROXY": "*", "CLIENT_IP_HEADER": "X-Real-IP"}
RENDER = {"TRUSTED_PROXY": "*", "CLIENT_IP_HEADER": "CF-Connecting-IP"}
CLOUDFLARE = {"TRUSTED_PROXY": "127.0.0.1", "CLIENT_IP_HEADER": "CF-Connecting-IP"}
HEROKU = {"TRUSTED_PROXY": "*"}
FORGED = {"X-Forwarded-For": "9.9.9.9", "X-Real-IP": "9.9.9.9"}


@pytest.mark.parametrize(
    "settings, headers, socket, address",
    [
        (
            FLY,
            {
                "Fly-Client-IP": "198.51.100.7",
                "X-Forwarded-For": "198.51.100.7, 6.6.6.6",
            },
            PROXY,
            "198.51.100.7",
        ),
        (RAILWAY, {"X-Real-IP": "198.51.100.7"}, "100.64.0.3", "198.51.100.7"),
        (
            RENDER,
            {"CF-Connecting-IP": "198.51.100.7", "X-Forwarded-For": "a, 104.22.17.40"},
            "10.21.157.68",
            "198.51.100.7",
        ),
        (
            CLOUDFLARE,
            {"CF-Connecting-IP": "2001:db8:1:2::7", **FORGED},
            "127.0.0.1",
            "2001:db8:1:2::/64",
        ),
        (HEROKU, {"X-Forwarded-For": "9.9.9.9, 198.51.100.7"}, PROXY, "198.51.100.7"),
    ],
    ids=["Fly", "Railway", "Render", "Cloudflare", "Heroku"],
)
def test_behind_this_platform_the_client_is_known(settings, headers, socket, address):
    assert client(settings, headers, socket) == address


@pytest.mark.parametrize(
    "value",
    [None, "", "198.51.100.7, 198.51.100.8", "::1, ::2", "unknown", "198.51.100", "-"]
    + ["198.51.100.7;1", "1" * 30_000, "\xff", "2001:db8::7::", "[2001:db8::7"],
)
def test_a_header_that_is_absent_doubled_or_no_address_is_not_believed(value):
    headers = {**FORGED, "CF-Connecting-IP": value}
    if value is None:
        del headers["CF-Connecting-IP"]
    assert client(CLOUDFLARE, headers, "127.0.0.1") == "127.0.0.1"


def test_the_header_is_believed_from_the_trusted_proxy_only():
    headers = {"CF-Connecting-IP": "198.51.100.7", **FORGED}
    assert client(CLOUDFLARE, headers, "203.0.113.9") == "203.0.113.9"
    assert client({}, headers, "127.0.0.1") == "127.0.0.1"


def test_what_is_no_address_leaves_the_socket_s_64():
    forwarded = {"X-Forwarded-For": "nonsense"}
    assert client(HEROKU, forwarded, "2001:db8:1:2::7") == "2001:db8:1:2::/64"


def test_a_client_ip_header_without_a_trusted_proxy_stops_the_start(shell, monkeypatch):
    monkeypatch.setenv("CONTACTAPI_CLIENT_IP_HEADER", "X-Real-IP")
    status, out, err = shell("keys", "list")
    assert (status, out) == (1, "") and one_line(err)
    assert "CONTACTAPI_CLIENT_IP_HEADER" in err and "CONTACTAPI_TRUSTED_PROXY" in err


@pytest.mark.parametrize(
    "name", ["X Real IP", "X_Real_IP", "X-Real-IP:", "ü", "a" * 101]
)
def test_a_name_that_is_no_headers_stops_the_start(name):
    with pytest.raises(Mistake, match="CONTACTAPI_CLIENT_IP_HEADER") as mistake:
        config(TRUSTED_PROXY="*", CLIENT_IP_HEADER=name)
    assert name not in str(mistake.value)


@pytest.mark.parametrize("name", ["Fly-Client-IP", "fly-client-ip", "FLY-CLIENT-IP"])
def test_a_headers_name_is_read_in_any_case(name):
    settings = {"TRUSTED_PROXY": "*", "CLIENT_IP_HEADER": name}
    assert client(settings, {"Fly-Client-IP": "198.51.100.7"}) == "198.51.100.7"


def test_each_visitor_behind_the_proxy_has_a_window_of_its_own(make):
    api = make(
        CONTACTAPI_RATE_LIMIT="1/60", CONTACTAPI_CLIENT_IP_HEADER="X-Real-IP", **BEHIND
    )

    def status(address, socket=PROXY):
        headers = {"X-Real-IP": address}
        answer = api.get("/v1/contacts", key=None, headers=headers, REMOTE_ADDR=socket)
        return answer.status_int

    assert [status("1.1.1.1"), status("1.1.1.1"), status("1.1.1.2")] == [401, 429, 401]
    assert [status("1.1.1.3", "203.0.113.5") for _ in range(2)] == [401, 429]
    assert status("1.1.1.4", "203.0.113.5") == 429


# -- what is said of it


def warnings(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def visit(api, address, **environ):
    headers = {"X-Forwarded-For": address}
    api.get("/v1/contacts", key=None, headers=headers, REMOTE_ADDR=PROXY, **environ)


def test_one_line_says_that_all_visitors_have_one_address(make, caplog, monkeypatch):
    monkeypatch.setattr(contactapi, "ENOUGH", 20)
    api = make(**BEHIND)
    for _ in range(19):
        visit(api, "198.51.100.7")
    assert warnings(caplog) == []
    for _ in range(30):
        visit(api, "198.51.100.7")
    (line,) = warnings(caplog)
    assert "CONTACTAPI_PROXY_HOPS" in line and "CONTACTAPI_CLIENT_IP_HEADER" in line
    assert "198.51.100" not in line


def test_it_is_decided_after_1000_requests():
    assert contactapi.ENOUGH == 1000


def test_with_a_second_address_or_without_a_proxy_nothing_is_said(
    make, caplog, monkeypatch
):
    monkeypatch.setattr(contactapi, "ENOUGH", 20)
    api, direct = make(**BEHIND), make(file="other.db")
    for number in range(50):
        visit(api, f"198.51.100.{int(number == 10)}")
        direct.get("/v1/contacts", key=None)
    assert warnings(caplog) == []


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Proto"]
)
def test_any_forwarded_header_from_near_by_warns_once(api, caplog, header):
    for _ in range(3):
        api.get("/healthz", headers={header: "x"}, REMOTE_ADDR="127.0.0.1")
    (line,) = warnings(caplog)
    assert "CONTACTAPI_TRUSTED_PROXY" in line


# -- our own URL


@pytest.mark.parametrize(
    "settings, environ, url",
    [
        ({}, {}, "http://127.0.0.1:8080"),
        ({}, {"HTTP_HOST": "example.com"}, "http://example.com"),
        ({}, {"HTTP_HOST": "[::1]:8080"}, "http://[::1]:8080"),
        ({}, {"HTTP_X_FORWARDED_PROTO": "https"}, "http://127.0.0.1:8080"),
        ({"TRUSTED_PROXY": PROXY}, {"HTTP_HOST": "a.org"}, "http://a.org"),
        (
            {"TRUSTED_PROXY": PROXY},
            {"HTTP_HOST": "a.org", "HTTP_X_FORWARDED_PROTO": "https"},
            "https://a.org",
        ),
        (
            {"TRUSTED_PROXY": PROXY},
            {"HTTP_HOST": "a.org", "HTTP_X_FORWARDED_PROTO": "https, http"},
            "http://a.org",
        ),
        (
            {"TRUSTED_PROXY": PROXY},
            {"HTTP_HOST": "a.org", "HTTP_X_FORWARDED_PROTO": "javascript"},
            "http://a.org",
        ),
        (
            {"TRUSTED_PROXY": "10.0.0.2"},
            {"HTTP_HOST": "a.org", "HTTP_X_FORWARDED_PROTO": "https"},
            "http://a.org",
        ),
        (
            {"PUBLIC_URL": "https://contacts.example.com/"},
            {"HTTP_HOST": "evil.test", "HTTP_X_FORWARDED_PROTO": "http"},
            "https://contacts.example.com",
        ),
    ],
)
def test_our_own_url_is_the_settings_or_as_the_trusted_proxy_says(
    settings, environ, url
):
    named = {"SERVER_NAME": "127.0.0.1", "SERVER_PORT": "8080", "REMOTE_ADDR": PROXY}
    assert contactapi.own_url({**named, **environ}, config(**settings)) == url


@pytest.mark.parametrize(
    "host", ["a b", "a/b", "a@b", "<b>", 'a"b', "a:b", "a:123456", "\xfc", "a" * 300]
)
def test_a_host_that_is_none_is_not_shown(host):
    environ = {"SERVER_NAME": "127.0.0.1", "SERVER_PORT": "80", "REMOTE_ADDR": PROXY}
    url = contactapi.own_url({**environ, "HTTP_HOST": host}, config())
    assert url == "http://127.0.0.1:80"
