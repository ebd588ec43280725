"""deploy/nginx.conf and deploy/Caddyfile, run by Debian's nginx and Caddy.

Each file is used as it stands but for its name, its ports and its certificate. Needs
`nginx`, `caddy` and `openssl` on the PATH.
"""

import contextlib
import http.client
import json
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from processes import (
    PATIENCE,
    SECRET,
    Held,
    Server,
    free_port,
    make_key,
    running,
    until,
)

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
NAME = "contacts.example.com"
NGINX = """
user root; daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies; proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    include {folder}/site.conf;
}}
"""
CADDY = "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"


# ---------------------------------------------------------------------------
# The proxies
# ---------------------------------------------------------------------------


def certificate(folder):
    """(certificate, key), self-signed, for NAME."""
    files = folder / "site.pem", folder / "site.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    command += ["-out", files[0], "-keyout", files[1]]
    subprocess.run(command, check=True, capture_output=True)
    return files


def replaced(text, **changes):
    """The text with each of the changes made; each must have something to change."""
    for old, new in changes.values():
        assert old in text, old
        text = text.replace(old, new)
    return text


def nginx(folder, port, behind):
    """The command that serves deploy/nginx.conf on `port` for a server on `behind`."""
    public, private = certificate(folder)
    site = replaced(
        (DEPLOY / "nginx.conf").read_text(),
        port=("listen 443 ", f"listen 127.0.0.1:{port} "),
        behind=("127.0.0.1:8080", f"127.0.0.1:{behind}"),
        public=(f"/etc/ssl/{NAME}.pem", str(public)),
        private=(f"/etc/ssl/{NAME}.key", str(private)),
    )
    (folder / "site.conf").write_text(site)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder))
    return ["nginx", "-p", folder, "-e", folder / "error.log", "-c", "nginx.conf"]


def caddy(folder, port, behind):
    """The command that serves deploy/Caddyfile on `port` for a server on `behind`."""
    public, private = certificate(folder)
    own = f"https://{NAME}:{port} {{\n\tbind 127.0.0.1\n\ttls {public} {private}"
    site = replaced(
        (DEPLOY / "Caddyfile").read_text(),
        name=(f"{NAME} {{", own),
        behind=("127.0.0.1:8080", f"127.0.0.1:{behind}"),
    )
    (folder / "Caddyfile").write_text(CADDY + site)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", folder / "Caddyfile"]


@contextlib.contextmanager
def proxied(proxy, folder, behind):
    """The proxy's port while it runs, its home in `folder`."""
    folder.mkdir()
    port, log = free_port(), folder / "output.log"
    home = {"HOME": str(folder), "PATH": "/usr/sbin:/usr/bin:/bin"}
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [str(part) for part in proxy(folder, port, behind)],
            env=home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        assert until(lambda: process.poll() is not None or is_open(port))
        assert process.poll() is None, log.read_text()
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE)


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# ---------------------------------------------------------------------------
# Who speaks to them
# ---------------------------------------------------------------------------


class Https(http.client.HTTPSConnection):
    """A client of NAME on 127.0.0.1, from an address of its own."""

    def __init__(self, port, source="127.0.0.1"):
        super().__init__(NAME, port, timeout=PATIENCE, source_address=(source, 0))
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self.opened = 0

    def connect(self):
        plain = socket.create_connection(
            ("127.0.0.1", self.port), self.timeout, self.source_address
        )
        self.sock = self._context.wrap_socket(plain, server_hostname=NAME)
        self.opened += 1

    def ask(self, method, path, body=None, key=SECRET, **headers):
        """(status, headers, body) of one request; JSON where the body is no bytes."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        headers = {name.replace("_", "-"): text for name, text in headers.items()}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self.request(method, path, body, headers)
        answer = self.getresponse()
        return answer.status, answer.headers, answer.read()


@pytest.fixture(params=[nginx, caddy], ids=["nginx", "caddy"])
def proxy(request):
    return request.param


@contextlib.contextmanager
def both(proxy, folder, kind=Server, **settings):
    """(a started server that trusts the proxy, the proxy's port)."""
    server = kind(folder / "data", CONTACTAPI_TRUSTED_PROXY="127.0.0.1", **settings)
    try:
        server.start()
        with proxied(proxy, folder / "proxy", server.port) as port:
            yield server, port
    finally:
        server.kill()


# ---------------------------------------------------------------------------
# What holds through them
# ---------------------------------------------------------------------------


def test_the_clients_own_address_reaches_the_limiter(proxy, tmp_path):
    with both(proxy, tmp_path, CONTACTAPI_RATE_LIMIT="3/3600") as (_, port):
        for source in ("127.0.0.2", "127.0.0.3"):
            with contextlib.closing(Https(port, source)) as client:
                seen = [
                    client.ask("GET", "/v1/contacts", key="", X_Forwarded_For=forged)[0]
                    for forged in ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")
                ]
            assert seen == [401, 401, 401, 429]


def test_http_2_is_spoken(proxy, tmp_path):
    with both(proxy, tmp_path) as (_, port), contextlib.closing(Https(port)) as client:
        client._context.set_alpn_protocols(["h2"])
        client.connect()
        assert client.sock.selected_alpn_protocol() == "h2"


def test_a_body_beyond_the_servers_limit_is_its_own_413_which_a_page_can_read(
    proxy, tmp_path
):
    with both(proxy, tmp_path) as (server, port), contextlib.closing(Https(port)) as it:
        text = {"email": "eva@example.com", "text": "x" * 65_000}
        assert it.ask("POST", "/v1/contacts", text)[0] == 201
        origin = "https://example.com"
        for size in (65_600, 300_000):
            text["text"] = "x" * size
            status, headers, body = it.ask("POST", "/v1/contacts", text, Origin=origin)
            assert status == 413
            assert headers["Access-Control-Allow-Origin"] == origin
            assert json.loads(body)["error"]["code"] == "payload_too_large"
            assert it.ask("GET", "/healthz", key="")[0] == 200
        assert len(server.walk()) == 1


@pytest.mark.parametrize("path", ["/v1/contacts", "/v1/contacts.csv"])
def test_nginx_refuses_a_body_of_66_mib_before_it_is_sent(tmp_path, path):
    with both(nginx, tmp_path) as (_, port), contextlib.closing(Https(port)) as client:
        client.putrequest("POST", path)
        client.putheader("Authorization", f"Bearer {SECRET}")
        client.putheader("Content-Type", "text/csv")
        client.putheader("Content-Length", str(66 * 2**20))
        client.endheaders()
        assert client.getresponse().status == 413


def test_an_import_and_an_export_of_megabytes_pass(proxy, tmp_path):
    lines = [f"c{number}@example.com,{'x' * 500}\n" for number in range(10_000)]
    body = "".join(["email,name\n", *lines]).encode()
    with both(proxy, tmp_path) as (_, port), contextlib.closing(Https(port)) as client:
        answer = client.ask("POST", "/v1/contacts.csv", body, Content_Type="text/csv")
        status, _, counts = answer
        assert status == 200
        assert json.loads(counts)["created"] == 10_000
        status, _, exported = client.ask("GET", "/v1/contacts.jsonl")
        assert (status, exported.count(b"\n")) == (200, 10_000)


def test_the_domain_lock_sees_the_pages_origin(proxy, tmp_path):
    with both(proxy, tmp_path) as (server, port):
        page = make_key(server.env, "--type", "publishable", "--domain", "example.com")
        with contextlib.closing(Https(port)) as client:
            for origin, status in (("https://example.com", 201), ("null", 403)):
                body = {"email": "eva@b.example"}
                answer = client.ask("POST", "/v1/contacts", body, page, Origin=origin)
                assert answer[0] == status


# ---------------------------------------------------------------------------
# Restarts
# ---------------------------------------------------------------------------


class Poster:
    """Posts a new contact every few milliseconds on a connection that it keeps."""

    def __init__(self, port, number):
        self.client, self.number = Https(port), number
        self.statuses, self.taken = Counter(), []

    def __call__(self, stopped):
        with contextlib.closing(self.client):
            count = 0
            while not stopped.is_set():
                count += 1
                email = f"c{self.number}.{count}@example.com"
                status, _, _ = self.client.ask("POST", "/v1/contacts", {"email": email})
                self.statuses[status] += 1
                if status == 201:
                    self.taken.append(email)
                time.sleep(0.002)


def restart(server, posters, times=3):
    """Restarts it so often, each time after every poster has been answered again."""
    for _ in range(times):
        seen = [len(poster.taken) for poster in posters]
        assert until(
            lambda seen=seen: all(
                len(p.taken) > n + 20 for p, n in zip(posters, seen, strict=True)
            )
        )
        server.stop()
        time.sleep(0.3)
        server.start()


def test_steady_posts_wait_while_a_server_whose_port_is_held_restarts(proxy, tmp_path):
    with both(proxy, tmp_path, Held) as (server, port):
        posters = [Poster(port, number) for number in range(4)]
        with running(*posters):
            restart(server, posters)
        assert [set(poster.statuses) for poster in posters] == [{201}] * 4
        stored = {contact["email"] for contact in server.walk()}
    assert stored == {email for poster in posters for email in poster.taken}


def test_nothing_acknowledged_is_lost_and_no_connection_reset_without_it(
    proxy, tmp_path
):
    with both(proxy, tmp_path) as (server, port):
        posters = [Poster(port, number) for number in range(4)]
        with running(*posters):
            restart(server, posters)
        assert {status for p in posters for status in p.statuses} <= {201, 502}
        assert [poster.client.opened for poster in posters] == [1] * 4
        stored = {contact["email"] for contact in server.walk()}
    assert {email for poster in posters for email in poster.taken} <= stored


def test_reads_wait_in_caddy_while_the_server_restarts(tmp_path):
    with both(caddy, tmp_path) as (server, port), contextlib.closing(Https(port)) as it:
        server.stop()
        starting = threading.Thread(target=lambda: (time.sleep(1), server.start()))
        starting.start()
        try:
            assert it.ask("GET", "/v1/contacts")[0] == 200
        finally:
            starting.join()


def test_nginx_keeps_a_clients_connection_after_a_502(tmp_path):
    with both(nginx, tmp_path) as (server, port), contextlib.closing(Https(port)) as it:
        server.stop()
        for _ in range(5):
            text = {"email": "eva@example.com", "text": "x" * 60_000}
            assert it.ask("POST", "/v1/contacts", text)[0] == 502
        server.start()
        assert it.ask("POST", "/v1/contacts", text)[0] == 201
        assert it.opened == 1
