"""Who stands at the other end: Twilio, captchas' services, a receiver of webhooks, a
client that reads events.

Twilio is on 127.0.0.1, as its published OpenAPI description has it.

The tables below say what github.com/twilio/twilio-oai, spec/json/twilio_api_v2010.json
(read at commit d50069b of 2026-04-14) says of the operations CreateCall and UpdateCall:
the parameters' names, types and formats, what is required, the answer's status. Each
request is held against them; what does not fit is in `problems` and is answered 400.
"""

import base64
import hashlib
import hmac
import http.client
import http.server
import itertools
import json
import re
import threading
from urllib.parse import parse_qsl, urlencode, urlsplit

ACCOUNT = "AC" + "0123456789abcdef" * 2
TOKEN = "12345"
SID = "CA" + "0" * 32
VOICE = "https://example.com/voice?a=1&b=2"
PUBLIC = "https://contacts.example.com"
TWILIO = {
    "TWILIO_ACCOUNT_SID": ACCOUNT,
    "TWILIO_AUTH_TOKEN": TOKEN,
    "TWILIO_VOICE_URL": VOICE,
    "CONTACTAPI_PUBLIC_URL": PUBLIC,
    "CONTACTAPI_CALL_PREFIXES": "*",
    "TWILIO_FROM_NUMBER": "+15550001111",
    "TWILIO_API_BASE": "http://127.0.0.1:9",
}

CALLS = re.compile(r"/2010-04-01/Accounts/(AC[0-9a-fA-F]{32})/Calls\.json")
CALL = re.compile(
    r"/2010-04-01/Accounts/(AC[0-9a-fA-F]{32})/Calls/(CA[0-9a-fA-F]{32})\.json"
)

FORMATS = {
    "endpoint": r"\+[0-9]{2,15}|client:.+|sip:.+",
    "uri": r"https?://[^\s/_]+(/\S*)?",  # "underscores are not permitted" in hosts
    "http-method": r"GET|POST",
    "integer": r"[0-9]+",
    "boolean": r"true|false",
    "event": r"initiated|ringing|answered|completed",
    "update-status": r"canceled|completed",
    "string": r"(?s).*",
}
COMMON = {
    "Url": "uri",
    "Method": "http-method",
    "FallbackUrl": "uri",
    "FallbackMethod": "http-method",
    "StatusCallback": "uri",
    "StatusCallbackMethod": "http-method",
    "Twiml": "string",
    "TimeLimit": "integer",
}
CREATE_CALL = COMMON | {
    "To": "endpoint",
    "From": "endpoint",
    "StatusCallbackEvent": "event",
    "SendDigits": "string",
    "Timeout": "integer",
    "Record": "boolean",
    "RecordingChannels": "string",
    "RecordingStatusCallback": "string",
    "RecordingStatusCallbackMethod": "http-method",
    "RecordingStatusCallbackEvent": "string",
    "SipAuthUsername": "string",
    "SipAuthPassword": "string",
    "MachineDetection": "string",
    "MachineDetectionTimeout": "integer",
    "MachineDetectionSpeechThreshold": "integer",
    "MachineDetectionSpeechEndThreshold": "integer",
    "MachineDetectionSilenceTimeout": "integer",
    "Trim": "string",
    "CallerId": "string",
    "AsyncAmd": "string",
    "AsyncAmdStatusCallback": "uri",
    "AsyncAmdStatusCallbackMethod": "http-method",
    "Byoc": "string",
    "CallReason": "string",
    "CallToken": "string",
    "RecordingTrack": "string",
    "ClientNotificationUrl": "uri",
    "ApplicationSid": "string",
}
UPDATE_CALL = COMMON | {"Status": "update-status"}
REQUIRED = {"To", "From"}
ONE_OF = {"Url", "Twiml", "ApplicationSid"}
ARRAYS = {"StatusCallbackEvent", "RecordingStatusCallbackEvent"}  # these may repeat


def problems_of(method, path, headers, form):
    """What does not fit Twilio's description: an empty list for a good request."""
    found = []
    create, update = CALLS.fullmatch(path), CALL.fullmatch(path)
    if method != "POST" or not (create or update):
        return [f"no such operation: {method} {path}"]
    account = (create or update)[1]
    pair = base64.b64encode(f"{account}:{TOKEN}".encode()).decode()
    if account != ACCOUNT or headers.get("Authorization") != f"Basic {pair}":
        found.append("no basic authorization of the account")
    if headers.get("Content-Type") != "application/x-www-form-urlencoded":
        found.append("not form-encoded")
    names = [name for name, _ in form]
    table = CREATE_CALL if create else UPDATE_CALL
    for name, value in form:
        if name not in table:
            found.append(f"{name} is no parameter")
        elif not re.fullmatch(FORMATS[table[name]], value):
            found.append(f"{name} is no {table[name]}: {value}")
    found += [
        f"{name} is repeated" for name in set(names) - ARRAYS if names.count(name) > 1
    ]
    if create:
        found += [f"{name} is missing" for name in REQUIRED - set(names)]
        if len(ONE_OF & set(names)) != 1:
            found.append("one of Url, Twiml, ApplicationSid is needed")
    return found


class Double:
    """An HTTP server on 127.0.0.1 that listens on `port` until closed. `requests` holds
    (path, headers, form) of each POST. The next of `answers` comes first: (status,
    body, headers), or a function that takes the handler and returns one, or None to say
    nothing more. While `silent`, it takes requests and says nothing."""

    def __init__(self, port=0):
        self.requests, self.answers = [], []
        self.silent, self.released = False, threading.Event()
        double = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                double.take(self)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_):
                """A client that was killed is no error of ours."""

        self.server = Server(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def take(self, handler):
        form = self.read(handler.rfile.read(int(handler.headers["Content-Length"])))
        self.requests.append((handler.path, dict(handler.headers), form))
        if self.silent:
            self.released.wait(60)
        answer = None if self.silent else self.next_answer(handler, form)
        if answer is None:
            handler.close_connection = True
            return
        status, body, headers = answer
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    def read(self, body):
        text = body.decode()
        return parse_qsl(text, keep_blank_values=True, strict_parsing=True)

    def next_answer(self, handler, form):
        if self.answers:
            answer = self.answers.pop(0)
            return answer(handler) if callable(answer) else answer
        return self.answer(handler, form)

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class TwilioDouble(Double):
    """`placed` holds the forms of the calls that it took, `ended` the SIDs that it was
    asked to end, `problems` what did not fit Twilio's description."""

    def __init__(self, port=0):
        self.placed, self.ended, self.problems = [], [], []
        super().__init__(port)
        self.settings = {**TWILIO, "TWILIO_API_BASE": self.url}

    def answer(self, handler, form):
        found = problems_of(handler.command, handler.path, handler.headers, form)
        if found:
            self.problems += found
            return in_json(400, {"code": 20001, "message": found[0]})
        return self.taken(handler)

    def taken(self, handler):
        """As described: 201 for CreateCall, 200 for UpdateCall."""
        said = dict(self.requests[-1][2])
        update = CALL.search(handler.path)
        if update:
            self.ended.append(update[2])
        else:
            self.placed.append(said)
        sid = update[2] if update else f"CA{len(self.placed):032x}"
        body = {
            "sid": sid,
            "account_sid": ACCOUNT,
            "api_version": "2010-04-01",
            "to": said.get("To"),
            "from": said.get("From"),
            "status": said.get("Status", "queued"),
            "direction": "outbound-api",
            "duration": None,
            "date_created": "Tue, 31 Aug 2010 20:36:28 +0000",
            "uri": f"/2010-04-01/Accounts/{ACCOUNT}/Calls/{sid}.json",
        }
        return in_json(200 if update else 201, body)


class Receiver(Double):
    """Takes webhooks: `requests` holds (path, headers, body in bytes)."""

    def read(self, body):
        return body

    def answer(self, handler, body):
        return 200, b"thank you", {}

    @property
    def told(self):
        """The events that came, as JSON."""
        return [json.loads(body) for _, _, body in self.requests]


def in_json(status, body):
    return status, json.dumps(body).encode(), {"Content-Type": "application/json"}


def sign(url, form, token=TOKEN):
    """X-Twilio-Signature of (name, value) pairs."""
    text = url + "".join(name + value for name, value in sorted(set(form)))
    digest = hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def call_back(url, port, form, signature=None):
    """Posts a status callback as Twilio would to `url`, which leads to this port;
    returns the answer's status."""
    parts = urlsplit(url)
    headers = {
        "Host": parts.netloc,
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Twilio-Signature": signature or sign(url, list(form.items())),
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", parts.path, urlencode(form), headers)
        return connection.getresponse().status
    finally:
        connection.close()


def signed(client, path, form, signature=None, public=PUBLIC, **environ):
    """The answer to a status callback."""
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Twilio-Signature": signature or sign(public + path, form.items()),
    }
    body = urlencode(form).encode()
    return client.ask("POST", path, body, key=None, headers=headers, **environ)


# What siteverify answers, as each service documents it: developers.cloudflare.com
# (Turnstile), docs.hcaptcha.com, developers.google.com/recaptcha, and Cap's
# standalone/src/siteverify.js.
_WHEN = "2026-07-04T10:00:00.000Z"
_REFUSED = (200, {"success": False, "error-codes": ["invalid-input-response"]})
SITEVERIFY = {  # (the field, what is said of a good token, what of another)
    "turnstile": (
        "cf-turnstile-response",
        {
            "success": True,
            "error-codes": [],
            "challenge_ts": _WHEN,
            "hostname": "example.com",
            "action": "login",
            "cdata": "",
        },
        _REFUSED,
    ),
    "hcaptcha": (
        "h-captcha-response",
        {"success": True, "challenge_ts": _WHEN, "hostname": "example.com"},
        _REFUSED,
    ),
    "recaptcha v2": (
        "g-recaptcha-response",
        {"success": True, "challenge_ts": _WHEN, "hostname": "example.com"},
        _REFUSED,
    ),
    "recaptcha v3": (
        "recaptcha_response",
        {
            "success": True,
            "score": 0.9,
            "action": "submit",
            "challenge_ts": _WHEN,
            "hostname": "example.com",
        },
        _REFUSED,
    ),
    "cap": (
        "cap-token",
        {"success": True},
        (404, {"success": False, "error": "Token not found"}),
    ),
}


class SiteverifyDouble(Double):
    """A captcha's service, by its name in SITEVERIFY; GOOD is the token that it takes,
    `says` changes what it says of it. `asked` holds the tokens."""

    SECRET, GOOD = "its-secret", "good.token"

    def __init__(self, kind="turnstile"):
        self.field, self.said, self.refused = SITEVERIFY[kind]
        super().__init__()
        self.settings = {
            "CONTACTAPI_CAPTCHA_URL": f"{self.url}/siteverify",
            "CONTACTAPI_CAPTCHA_SECRET": self.SECRET,
        }

    @property
    def asked(self):
        return [dict(form)["response"] for _, _, form in self.requests]

    def says(self, **fields):
        self.said = {**self.said, **fields}

    def answer(self, handler, form):
        assert handler.path == "/siteverify" and len(form) == 2
        if dict(form)["secret"] != self.SECRET:
            codes = ["invalid-input-secret"]
            return in_json(200, {"success": False, "error-codes": codes})
        good = dict(form)["response"] == self.GOOD
        return in_json(*((200, self.said) if good else self.refused))


def solve(made):
    """The token of a challenge's solution, by RFC 8018's PBKDF2 alone."""
    asked = made["parameters"]
    nonce, salt = bytes.fromhex(asked["nonce"]), bytes.fromhex(asked["salt"])
    for counter in itertools.count():
        password = nonce + counter.to_bytes(4, "big")
        key = hashlib.pbkdf2_hmac("sha256", password, salt, asked["cost"], 32).hex()
        if key.startswith(asked["keyPrefix"]):
            return captcha_token(
                made, {"counter": counter, "derivedKey": key, "time": 12.5}
            )


def captcha_token(made, solution):
    said = {"challenge": made, "solution": solution}
    return base64.b64encode(json.dumps(said).encode()).decode()


class Mirror:
    """A copy of the contacts, kept in step by nothing but GET /v1/events. `ask` takes a
    path and returns the JSON that is answered."""

    def __init__(self, ask):
        self.ask, self.copy, self.after, self.seen = ask, {}, None, []

    def follow(self, limit):
        """Takes one page of events; whether there was any."""
        after = f"&after={self.after}" if self.after else ""
        page = self.ask(f"/v1/events?limit={limit}{after}")
        for event in page["data"]:
            self.seen.append(event["id"])
            if event["type"] == "contact.deleted":
                self.copy.pop(event["record"], None)
            elif event["type"].startswith("contact."):
                self.copy[event["record"]] = event["data"]
        self.after = page["next_after"] or self.after
        return bool(page["data"]) or page["has_more"]

    def catch_up(self, limit):
        while self.follow(limit):
            pass
