"""SMTP servers for the tests: one that takes mail (aiosmtpd), and one that says what it
is told to (or nothing)."""

import contextlib
import email
import email.policy
import socket
import ssl
import subprocess
import threading
import time

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from client import PAGE
from processes import free_port

OWNER = "owner@example.com"
MAIL = {
    "CONTACTAPI_MAIL_FROM": "Forms <forms@example.org>",
    "CONTACTAPI_PUBLIC_URL": "https://contacts.example.org",
    "CONTACTAPI_RATE_LIMIT": "off",
}


class Postbox:
    """Takes mail on `port` until closed. `mails` holds what it took as EmailMessages
    (with `sender`, `recipient`, `options` and `raw`). `answers` are said instead of
    taking: by a recipient's address, or "DATA"."""

    def __init__(self, port=0, tls=None, user=None, **options):
        self.mails, self.answers, self.logins = [], {}, []
        self.port, self.user = port or free_port(), user
        if user:
            options = {"authenticator": self.authenticate, **options}
        options = {"enable_SMTPUTF8": False, "tls_context": tls, **options}
        self.controller = Controller(
            self, hostname="127.0.0.1", port=self.port, **options
        )
        self.controller.start()

    def authenticate(self, server, session, envelope, mechanism, data):
        said = (data.login.decode(), data.password.decode())
        self.logins.append((said, session.ssl is not None))
        return AuthResult(success=said == self.user, handled=False)

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if "DATA" in self.answers:
            return self.answers["DATA"]
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        mail.sender, (mail.recipient,) = envelope.mail_from, envelope.rcpt_tos
        mail.raw, mail.options = envelope.content, envelope.mail_options
        self.mails.append(mail)
        return "250 2.0.0 Ok: queued as 1F2E3D"

    def take(self):
        """The mails since the last look."""
        mails, self.mails = self.mails, []
        return mails

    def close(self):
        self.controller.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Script:
    """Speaks SMTP, and at the command `at` (or "greeting", or "end" for the end of
    DATA) says `then`; nothing for None. `taken` counts the messages whose end came."""

    def __init__(self, at, then, tls=None, offers=()):
        self.at, self.then, self.tls, self.taken = at, then, tls, 0
        self.offers = "".join(f"250-{line}\r\n" for line in offers).encode()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.done = threading.Event()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(
                    target=self.talk, args=(connection,), daemon=True
                ).start()

    def talk(self, connection):
        with contextlib.suppress(OSError), connection:
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            lines = connection.makefile("rb")
            self.say(connection, "greeting", b"220 here\r\n")
            for line in lines:
                verb = line.split()[0].decode().upper()
                self.say(connection, verb, self.usual(verb))
                if verb == "DATA":
                    for part in lines:
                        if part == b".\r\n":
                            break
                    self.taken += 1
                    self.say(connection, "end", b"250 queued\r\n")

    def usual(self, verb):
        if verb == "EHLO":
            return b"250-here\r\n" + self.offers + b"250 8BITMIME\r\n"
        return b"354 go on\r\n" if verb == "DATA" else b"250 ok\r\n"

    def say(self, connection, place, usual):
        if place != self.at:
            connection.sendall(usual)
        elif callable(self.then):
            self.then(connection)
        elif self.then is None:
            self.done.wait(60)
            raise OSError
        else:
            connection.sendall(self.then)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.done.set()
        self.listener.close()


def break_off(connection):
    connection.shutdown(socket.SHUT_RDWR)


def trickle(connection):
    """An answer that goes on for ever, a line now and then."""
    while True:
        connection.sendall(b"220-and\r\n")
        time.sleep(0.05)


def certificate(folder, host):
    """(context of a server, path of what a client must trust) for `host`."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"]
        + ["ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert]
        + ["-days", "2", "-subj", f"/CN={host}", "-addext"]
        + [f"subjectAltName=DNS:{host}"],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, cert


# -- what an app that sends mail is asked


def form_key(client, notify=(OWNER,), **settings):
    return client.key("publishable", notify=list(notify), **settings)


def submit(client, key, body=None, **headers):
    """The answer to a form's JSON."""
    body = {"email": "ada@example.com", "message": "Hello"} if body is None else body
    answer = client.ask(
        "POST", f"/f/{key}", body, key=None, headers={**PAGE, **headers}
    )
    assert answer.status_int == 200, answer.text
    return answer.json


def text_of(mail, kind="plain"):
    return mail.get_body((kind,)).get_content().replace("\r\n", "\n")


def recipients(mails):
    return sorted(mail.recipient for mail in mails)


def accept(client, submission, state="accepted"):
    path = f"/v1/submissions/{submission}"
    answer = client.ask("PATCH", path, {"state": state})
    assert answer.status_int == 200, answer.text
    return answer.json
