"""Calls through Twilio (CONTRACT section 6): the outbox's senders that place a call and
end it, and the signed callbacks by which Twilio tells how far it is."""

import base64
import contextlib
import functools
import hashlib
import hmac
import re
from typing import Any, Optional
from urllib.parse import urlencode, urlsplit

import peewee
from bottle import request

from contactapi import (
    DAY,
    DEFAULT_PORT,
    E164,
    ENDS,
    STAGE,
    Api,
    CallRow,
    Calls,
    Config,
    EnvelopeWire,
    Forbidden,
    InvalidRequest,
    RateLimited,
    Services,
    Setting,
    UnsupportedMediaType,
    Write,
    a_base_url,
    a_number,
    a_url,
    header,
    log,
    micros,
    parse_object,
    read_body,
    read_media,
    text_like,
    urlencoded_pairs,
)
from extras.outbox import Outbox
from extras.outgoing import Said, Unanswered, post
from extras.senders import DeliveryRow, NotTaken, Refused, Reply, Sender

BY = "twilio"  # who did it, in the event log
DIAL, HANGUP = "call", "hangup"  # the senders


def some_prefixes(text: str) -> tuple:
    """The beginnings of the numbers that may be called; `*` is any."""
    prefixes = tuple(part.strip() for part in text.split(","))
    if text != "*" and not all(re.fullmatch(r"\+[0-9]{1,15}", p) for p in prefixes):
        raise ValueError("+44,+49 or *")
    return ("+",) if text == "*" else prefixes


an_account = text_like(
    "[A-Za-z0-9]{2,64}", "an account SID: AC and 32 hexadecimal digits"
)
# fmt: off
SETTINGS = {
    "TWILIO_ACCOUNT_SID": Setting(an_account, None, "the account that places calls"),
    "TWILIO_AUTH_TOKEN": Setting(str, None, "its auth token"),
    "TWILIO_VOICE_URL": Setting(a_url, None, "the TwiML that a call runs"),
    "TWILIO_API_BASE": Setting(a_base_url, "https://api.twilio.com",
        "another region, or a test double"),
    "CONTACTAPI_CALL_PREFIXES": Setting(some_prefixes, None,
        "where Twilio may call: `+44,+49`, or `*`"),
    "CONTACTAPI_CALLS_PER_DAY": Setting(a_number(0), "100",
        "calls through Twilio, all workspaces together"),
}
# fmt: on


class Dialling(peewee.Model):
    """When a call was asked for that is placed here: what the day's limit counts,
    though the call be deleted."""

    at = peewee.BigIntegerField(index=True)


MODELS = (Dialling,)


def setup(app: Api, services: Services, config: Config) -> None:
    twilio, calls, outbox = Twilio(config), services.calls, services.outbox
    calls.dialler = Dialler(calls, outbox, config)
    outbox.senders[DIAL] = Placing(calls, twilio)
    outbox.senders[HANGUP] = Ending(calls, twilio)
    add_callback(app, services.calls, config)


# -- the REST API


class Uncertain(Refused):
    """Nobody knows whether Twilio took the request."""


# Somebody waits for each call: it has its own schedule, whatever failed before.
untaken = functools.partial(NotTaken, blameless=True)


class Twilio:
    """The two requests of Twilio's REST API that we make (2010-04-01, Calls). Each
    raises NotTaken where Twilio certainly did not take it, else Refused."""

    def __init__(self, config: Config):
        self.config = config
        account = f"/2010-04-01/Accounts/{config.twilio_account_sid}"
        self.calls = f"{config.twilio_api_base}{account}/Calls"
        pair = f"{config.twilio_account_sid}:{config.twilio_auth_token}".encode()
        self.basic = "Basic " + base64.b64encode(pair).decode()

    def place(self, row: CallRow) -> Reply:
        """The SID of a new call."""
        callback = f"{self.config.public_url}/api/calls/call_{row.uid}/twilio"
        events = ("initiated", "ringing", "answered", "completed")
        status, said = self.post(
            f"{self.calls}.json",
            [
                ("To", row.phone_number),
                ("From", row.from_number),
                ("Url", self.config.twilio_voice_url),
                ("StatusCallback", callback),
                ("StatusCallbackMethod", "POST"),
                *(("StatusCallbackEvent", event) for event in events),
            ],
        )
        sid = said.get("sid")
        if not isinstance(sid, str):
            text = "Twilio's answer names no call: it may have been placed"
            raise Uncertain(Reply(text, status))
        return Reply(sid, status)

    def end(self, row: CallRow) -> Reply:
        form = [("Status", "completed")]
        status, _ = self.post(f"{self.calls}/{row.sid}.json", form)
        return Reply("Twilio ends it", status)

    def post(self, url: str, form: list) -> tuple:
        """(status, JSON object) of an answer of success."""
        headers = {
            "Authorization": self.basic,
            "Content-Type": "application/x-www-form-urlencoded",
        }
        try:
            answer = post(url, urlencode(form).encode(), headers, anywhere=True)
        except Unanswered as err:
            if not err.sent:
                raise untaken(Reply("Twilio cannot be reached")) from None
            text = "no answer from Twilio: it may have been placed"
            raise Uncertain(Reply(text)) from None
        return answer.status, self.read(answer)

    def read(self, answer: Said) -> dict:
        status = answer.status
        # 503 is said before any work; so is a 5xx by something that has no words.
        if status in (429, 503) or (status >= 500 and answer.body == b""):
            pause = small_number(answer.retry_after)
            raise untaken(Reply("Twilio did not take it", status), pause)
        try:
            said = parse_object(answer.body or b"")
        except InvalidRequest:
            said = {}
        if not 200 <= status < 300:
            text = f"Twilio refused: {status} {said.get('code', '')}".strip()
            raise Refused(Reply(text, status))
        return said


# -- the senders, and what gives them work


class Dialler:
    """What calls need of us: to be let in, counted, placed and ended."""

    ENDPOINT = "dialler"

    def __init__(self, calls: Calls, outbox: Outbox, config: Config):
        self.calls, self.outbox, self.config = calls, outbox, config

    def admit(self, phone: Any) -> None:
        """RateLimited or Forbidden: a leaked key must not cost a fortune."""
        self.refuse_too_many()
        number = isinstance(phone, str) and E164.fullmatch(phone)
        if number and not phone.startswith(self.config.call_prefixes):
            raise Forbidden("CONTACTAPI_CALL_PREFIXES does not allow this number")

    def count(self) -> None:
        """Inside the transaction that makes a call, before it changes anything."""
        self.refuse_too_many()
        run, now = self.calls.store.run, micros(self.calls.clock())
        run("DELETE FROM dialling WHERE at <= ?", (now - DAY,))
        run("INSERT INTO dialling (at) VALUES (?)", (now,))

    def refuse_too_many(self) -> None:
        """All workspaces together, over any 24 hours."""
        most = self.config.calls_per_day
        since = micros(self.calls.clock()) - DAY
        rows = self.calls.store.rows(
            "SELECT at FROM dialling WHERE at > ? ORDER BY at DESC LIMIT ?",
            (since, max(most, 1)),
        )
        if most == 0 or len(rows) >= most:
            oldest = rows[-1][0] if rows else since + DAY
            raise RateLimited(max(1, -((since - oldest) // 1_000_000)), "calls")

    # inside the transaction that changes it

    def place(self, row: CallRow) -> None:
        self._put(DIAL, row)

    def hang_up(self, row: CallRow) -> None:
        """One that Twilio has; before that, being canceled is enough."""
        self._put(HANGUP, row)

    def _put(self, sender: str, row: CallRow) -> None:
        what = row.workspace_id, sender, row.phone_number, self.ENDPOINT
        self.outbox.add(*what, call=row.id)


class Placing(Sender):
    """Places a call, never twice, and only while somebody waits for it."""

    RETRIES = (1, 5, 15, 30) + (60,) * 10
    EXPIRES = 600
    REPEATS = False

    def __init__(self, calls: Calls, twilio: Twilio):
        self.calls, self.twilio = calls, twilio

    def send(self, delivery: DeliveryRow) -> Optional[Reply]:
        row = self.calls.find("id = ?", delivery.call)
        wanted = row and STAGE[row.status] <= STAGE["queued"]
        return self.twilio.place(row) if wanted else None

    def delivered(self, delivery: DeliveryRow, reply: Reply) -> None:
        """One that was canceled meanwhile is ended."""
        row = self.calls.find("id = ?", delivery.call)
        changes = self.calls.step(row, status="queued")
        row = self.calls.change(row, BY, {**changes, "sid": reply.text})
        if row.status == "canceled":
            self.calls.dialler.hang_up(row)

    def failed(self, delivery: DeliveryRow, reply: Reply) -> None:
        """Unless a callback told meanwhile that it was placed after all."""
        row = self.calls.find("id = ?", delivery.call)
        if row.sid is None and row.status not in ENDS:
            log.warning("call_%s: %s", row.uid, reply.text)
            changes = {"status": "failed", "reason": reply.text}
            self.calls.change(row, BY, changes)


class Ending(Sender):
    """Ends a call that was canceled after Twilio had taken it; asking twice does no
    harm."""

    RETRIES = (1, 5, 15, 30) + (60,) * 240  # Twilio ends any call after four hours

    def __init__(self, calls: Calls, twilio: Twilio):
        self.calls, self.twilio = calls, twilio

    def send(self, delivery: DeliveryRow) -> Optional[Reply]:
        row = self.calls.find("id = ?", delivery.call)
        try:
            return self.twilio.end(row) if row else None
        except Uncertain as err:
            raise NotTaken(err.reply) from None

    def failed(self, delivery: DeliveryRow, reply: Reply) -> None:
        log.warning("a canceled call goes on: %s", reply.text)


# -- the callbacks


def add_callback(app: Api, calls: Calls, config: Config) -> None:
    """Twilio's signature takes the place of a key."""

    @app.post("/api/calls/<ref>/twilio")
    def take_callback(ref: str) -> Write:
        environ, form = request.environ, []
        with contextlib.suppress(InvalidRequest, UnsupportedMediaType):
            if read_media() == "application/x-www-form-urlencoded":
                form = urlencoded_pairs(read_body())
        # What cannot be read has none that anybody signed: 403 comes first (section 3).
        query = environ.get("QUERY_STRING")
        url = config.public_url + environ["PATH_INFO"]
        url += f"?{query}" if query else ""
        signature = header(environ, "X_TWILIO_SIGNATURE")
        if not is_twilios(config.twilio_auth_token, url, form, signature):
            unsigned = Forbidden("X-Twilio-Signature does not fit this request")
            app.gate.refuse_stranger(environ, unsigned)
        work = report(calls, calls.kind.uid(ref), dict(form))
        return Write(work, lambda _: EnvelopeWire.data("null"))


def report(calls: Calls, uid: Optional[str], said: dict) -> Any:
    """A work: what a callback says moves the call; late, doubled, foreign ones change
    nothing."""
    sid, status = said.get("CallSid", ""), said.get("CallStatus")
    status = "queued" if status == "initiated" else status
    status = status if status in STAGE else None
    sequence = small_number(said.get("SequenceNumber", ""))
    duration = small_number(said.get("CallDuration", ""))

    def work() -> None:
        row = calls.find("uid = ?", uid)
        if row is None or row.sid not in (None, sid) or row.status in ENDS:
            return
        place = row.sequence + 1 if sequence is None else sequence
        if place > row.sequence:
            changes = calls.step(row, status=status, duration=duration)
            calls.change(row, BY, {**changes, "sid": sid, "sequence": place})

    return work


def small_number(text: str) -> Optional[int]:
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else None


def signature_of(token: str, url: str, form: list) -> str:
    """X-Twilio-Signature: HMAC-SHA1 over the URL and the sorted parameters."""
    pairs = sorted(set(form))
    text = url + "".join(name + value for name, value in pairs)
    digest = hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def is_twilios(token: str, url: str, form: list, signature: str) -> bool:
    """Twilio signs the URL with the port or without it."""
    good = [signature_of(token, spelled, form) for spelled in with_port(url)]
    # Each is compared, whichever fits: the time taken tells nothing.
    fits = [hmac.compare_digest(one.encode(), signature.encode()) for one in good]
    return any(fits)


def with_port(url: str) -> list:
    parts = urlsplit(url)
    port = parts.port or int(DEFAULT_PORT[parts.scheme])
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    rest = url[url.index("://") + 3 + len(parts.netloc) :]
    return [
        f"{parts.scheme}://{host}{rest}",
        f"{parts.scheme}://{host}:{port}{rest}",
        url,
    ]
