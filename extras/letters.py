"""What all mail has in common: a letter, the limits, the sender that makes one of what
is known when it is sent."""

import functools
from typing import Any, NamedTuple, Optional

import peewee

from contactapi import (
    DAY,
    Api,
    Caller,
    Config,
    Services,
    SubmissionRow,
    dump,
    load,
    log,
    micros,
)
from extras.outbox import Outbox
from extras.senders import DeliveryRow, NotNow, Reply, Sender

ENDPOINT = "mail"  # all goes through one server, one after the other
HOUR = DAY // 24


class Letter(NamedTuple):
    """What is to be written to whom. Of `rows` (name, value) a value may be any JSON;
    `link` is (URL, what it is for)."""

    recipient: str
    subject: str
    number: str  # of the Message-ID: the same on every try
    at: int  # microseconds
    opening: str
    rows: tuple = ()
    link: Optional[tuple] = None
    closing: str = ""
    from_name: str = ""
    reply_to: str = ""


class Mark(peewee.Model):
    """What counts until then: a mail, a hash of who caused, got or refuses one."""

    name = peewee.TextField()
    until = peewee.BigIntegerField(index=True)

    class Meta:
        indexes = ((("name", "until"), False),)


class Marks:
    """What limits count, in the database: a name, and until when it counts."""

    def __init__(self, services: Services):
        self.store, self.clock = services.store, services.submissions.clock

    def now(self) -> int:
        return micros(self.clock())

    def put(self, name: str, until: int) -> None:
        """Inside a transaction."""
        self.store.run("INSERT INTO mark (name, until) VALUES (?, ?)", (name, until))

    def full_until(self, name: str, most: int) -> Optional[int]:
        """When one more fits in, if `most` count now."""
        row = self.store.row(
            "SELECT until FROM mark WHERE name = ? AND until > ? "
            "ORDER BY until DESC LIMIT 1 OFFSET ?",
            (name, self.now(), most - 1),
        )
        return row and row[0]

    def forget(self) -> None:
        """Those that count no more."""
        sql = "DELETE FROM mark WHERE until <= ?"
        self.store.write(lambda: self.store.run(sql, (self.now(),)))


class Office:
    """What the senders of mail share."""

    def __init__(self, app: Api, services: Services, config: Config):
        self.app, self.services, self.config = app, services, config
        self.store, self.submissions = services.store, services.submissions
        self.outbox: Outbox = services.outbox
        self.marks, self.silent_until = Marks(services), 0

    @functools.cached_property
    def server(self) -> Any:
        from extras.smtp import MailServer  # with all it needs, once something is sent

        return MailServer(self.config)

    def row(self, number: Optional[int]) -> Optional[SubmissionRow]:
        return self.submissions.find("id = ?", number)

    def rule(self, row: SubmissionRow) -> Caller:
        return self.services.keys.rule(row.workspace_id, row.key)

    def add(self, workspace: int, sender: str, target: str, **what: Any) -> None:
        """Inside a transaction. A target ends with the recipient's address."""
        self.outbox.add(workspace, sender, target, ENDPOINT, **what)

    def refuse_beyond_the_day(self) -> None:
        """NotNow while CONTACTAPI_MAILS_PER_DAY have gone in 24 hours."""
        full_until = self.marks.full_until("mail", self.config.mails_per_day)
        if full_until is None:
            return
        now = self.marks.now()
        if now >= self.silent_until:
            self.silent_until = now + DAY
            log.warning("CONTACTAPI_MAILS_PER_DAY have gone: what is above waits")
        raise NotNow((full_until - now) / 1_000_000)


class Mail(Sender):
    LEASE = 60  # seconds: above MailServer.WHOLE and the look-up of its name

    def __init__(self, office: Office):
        self.office = office

    def letter(self, delivery: DeliveryRow) -> Optional[dict]:
        """What this Letter has of its own; None where it is not wanted any more."""
        raise NotImplementedError

    def send(self, delivery: DeliveryRow) -> Optional[Reply]:
        own = self.letter(delivery)
        if own is None:
            return None
        self.office.refuse_beyond_the_day()
        at = delivery.created_at
        known = {"recipient": recipient_of(delivery), "number": f"{delivery.id}.{at}"}
        return self.office.server.send(Letter(**{"at": at, **known, **own}))

    def delivered(self, delivery: DeliveryRow, reply: Reply) -> None:
        marks = self.office.marks
        marks.put("mail", marks.now() + DAY)

    def failed(self, delivery: DeliveryRow, reply: Reply) -> None:
        log.warning("a mail failed (%s): GET /v1/deliveries says why", reply.status)


def recipient_of(delivery: DeliveryRow) -> str:
    return delivery.target.rpartition(" ")[2]


def shown_site(office: Office, rule: Caller) -> str:
    """What people know a form by: the first site of its key, or else this server's."""
    sites = (name.removeprefix("*.") for name in rule.domains if name != "*")
    return next(sites, (office.config.public_url or "your form").rpartition("//")[2])


def rows_of(row: SubmissionRow) -> tuple:
    """(name, value) of what was sent, the email among it."""
    fields = load(row.fields)
    if row.label and row.label not in fields.values():
        fields = {"email": row.label, **fields}
    return tuple(fields.items())


def spelled(value: Any) -> str:
    """A text as it is, a list of texts a line each, what is nested as JSON."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    return value if isinstance(value, str) else dump(value)
