"""Mail (CONTRACT sections 8 and 9): who is named in a key's `notify` hears of what was
accepted, and once a day of what waits because of a captcha; whom an address belongs to
is asked (extras/confirm.py). Letters are said to the server by extras/smtp.py."""

import argparse
import functools
import importlib.util
import re
import secrets
import time
from typing import Optional

import peewee

from contactapi import (
    ACCEPTED,
    DAY,
    HELD,
    SUBMISSIONS,
    Api,
    Config,
    Mistake,
    Services,
    Setting,
    Submission,
    SubmissionRow,
    a_number,
    is_email,
    iso,
    micros,
    option,
    part_of,
    text_like,
)
from extras.confirm import add_confirmation
from extras.letters import (
    HOUR,
    Letter,
    Mail,
    Mark,
    Office,
    recipient_of,
    rows_of,
    shown_site,
)
from extras.senders import DeliveryRow, NotTaken, Refused

if not importlib.util.find_spec("extras.smtp"):  # imported when something is sent
    raise ModuleNotFoundError(name="extras.smtp")

NOTIFY, SUMMARY, REMIND = "notify", "summary", "remind"
MOST_AN_HOUR, SUBJECTS = 30, 50


def a_mail_server(text: str) -> tuple:
    """(scheme, user, password, host, port); a password may stand there as it is."""
    match = re.fullmatch(
        r"(smtps?)://(?:([!-9;-~]+):([!-~]+)@)?"
        r"(\[[0-9a-fA-F:.]+\]|[^\s/?#@:\[\]]+)(?::([0-9]{1,5}))?/?",
        text,
    )
    if not match:
        raise ValueError("smtp://user:password@host:587 or smtps://…")
    return match.groups()


a_sender = text_like(
    r"[^\s<>@]+@[^\s<>@]+|[^<>\0-\x1f]*<[^\s<>@]+@[^\s<>@]+>",
    "an address, or `Name <address>`",
)
# fmt: off
SETTINGS = {
    "CONTACTAPI_SMTP_URL": Setting(a_mail_server, None,
        "the server that sends mail: `smtp://user:password@host:587`, or `smtps://…`"),
    "CONTACTAPI_MAIL_FROM": Setting(a_sender, None,
        "whom mail comes from: an address, or `Name <address>`"),
    "CONTACTAPI_MAILS_PER_DAY": Setting(a_number(1), "1000",
        "all mail of the server"),
}
# fmt: on


class Overflow(peewee.Model):
    """A submission of which the mail at the end of its key's hour tells."""

    submission = part_of(Submission, primary_key=True)
    key = peewee.TextField()
    ends = peewee.BigIntegerField()

    class Meta:
        indexes = ((("key", "ends"), False),)


MODELS = (Mark, Overflow)


def setup(app: Api, services: Services, config: Config) -> None:
    office = Office(app, services, config)
    senders = {NOTIFY: Notification, SUMMARY: Summary, REMIND: Reminder}
    for name, sender in senders.items():
        office.outbox.senders[name] = sender(office)
    services.events.listeners.append(functools.partial(hear, office))
    services.submissions.askers[DOUBTED] = functools.partial(remind_of, office)
    services.hourly.append(functools.partial(tidy, office))
    if config.public_url:
        add_confirmation(office)


def tidy(office: Office) -> None:
    """Every hour: what counts no more is forgotten."""
    office.marks.forget()
    old = "DELETE FROM overflow WHERE ends < ?"
    before = office.marks.now() - 30 * DAY
    office.store.write(lambda: office.store.run(old, (before,)))
    office.store.write(lambda: remind_of_all(office))


# -- what was accepted


def hear(office: Office, told: list) -> None:
    """Inside the transaction of these events."""
    for number, draft in told:
        if draft.type == f"{SUBMISSIONS.name}.accepted":
            announce(office, number, office.row(draft.submission_id))


def announce(office: Office, number: int, row: SubmissionRow) -> None:
    """To each of `notify`, MOST_AN_HOUR in an hour, which begins with the first; what
    comes above goes into a summary when it ends."""
    notify, marks = office.rule(row).settings.notify, office.marks
    if not notify:
        return
    name = f"notified {row.key}"
    ends = marks.full_until(name, 1) or marks.now() + HOUR
    if marks.full_until(name, MOST_AN_HOUR):
        return put_into_summary(office, row, notify, ends)
    marks.put(name, ends)
    for address in notify:
        office.add(row.workspace_id, NOTIFY, address, event=number, submission=row.id)


def put_into_summary(
    office: Office, row: SubmissionRow, notify: tuple, ends: int
) -> None:
    said = "SELECT 1 FROM overflow WHERE key = ? AND ends = ?"
    first = not office.store.row(said, (row.key, ends))
    sql = "INSERT INTO overflow (submission_id, key, ends) VALUES (?, ?, ?)"
    office.store.run(sql, (row.id, row.key, ends))
    for address in notify if first else ():
        target = f"{row.key} {ends} {address}"
        office.add(row.workspace_id, SUMMARY, target, due_at=ends)


class Notification(Mail):
    """Of one submission."""

    def letter(self, delivery: DeliveryRow) -> Optional[dict]:
        row = self.office.row(delivery.submission)
        rule = row and self.office.rule(row)
        wanted = row and recipient_of(delivery) in rule.settings.notify
        if not wanted or row.state != ACCEPTED:
            return None
        site = shown_site(self.office, rule)
        return {
            "subject": row.subject or f"New submission from {site}",
            "opening": f"This was sent at {row.page or site}.",
            "rows": rows_of(row),
            "closing": closing_of(row),
            "from_name": row.from_name or "",
            "reply_to": row.reply_to or row.label or "",
            "link": inbox(self.office),
        }


def closing_of(row: SubmissionRow) -> str:
    lines = [f"Submission {SUBMISSIONS.ref(row.uid)}, {moment(row.created_at)}."]
    if row.confirmed_at:
        lines.append(f"The address was confirmed, {moment(row.confirmed_at)}.")
    return "\n".join(lines)


def moment(at: int) -> str:
    """2026-07-04 10:00 UTC"""
    return f"{iso(at)[:16].replace('T', ' ')} UTC"


def inbox(office: Office) -> Optional[tuple]:
    url = office.config.public_url
    return url and (f"{url}/", "Open the inbox")


class Summary(Mail):
    """Of what an hour had above MOST_AN_HOUR."""

    OF_HOUR = (
        "FROM overflow JOIN submission ON id = submission_id "
        f"WHERE overflow.key = ? AND ends = ? AND state = '{ACCEPTED}'"
    )

    def letter(self, delivery: DeliveryRow) -> Optional[dict]:
        key, ends, address = delivery.target.split(" ")
        rule = self.office.services.keys.rule(delivery.workspace, key)
        store, what = self.office.store, (key, int(ends))
        (total,) = store.row(f"SELECT count(*) {self.OF_HOUR}", what)
        if not total or address not in rule.settings.notify:
            return None
        some = f"SELECT substr(subject, 1, 200) {self.OF_HOUR} ORDER BY id LIMIT ?"
        subjects = [
            " ".join((subject or "(no subject)").split())
            for (subject,) in store.rows(some, (*what, SUBJECTS))
        ]
        site = shown_site(self.office, rule)
        return {
            "at": int(ends),
            "subject": f"{total} more submissions from {site}",
            "opening": f"In the hour until {moment(int(ends))} more was sent than "
            f"{MOST_AN_HOUR} mails tell. Beside those there were {total}.",
            "rows": ((f"The first {len(subjects)}", subjects),),
            "link": inbox(self.office),
        }


# -- what waits because of a captcha

DOUBTED = "captcha_unavailable"  # the reason for which it is held


def remind_of(office: Office, row: SubmissionRow, visitor: str) -> None:
    """Inside the transaction that holds it."""
    remind(office, row.workspace_id, row.key)


def remind_of_all(office: Office) -> None:
    """Inside a transaction. Keys that hold something are known by their tallies."""
    held = f"{SUBMISSIONS.name} {HELD} "
    sql = "SELECT workspace_id, kind FROM tally WHERE kind GLOB ? AND total > 0"
    for workspace, kind in office.store.rows(sql, (f"{held}*",)):
        key = kind.removeprefix(held)
        if doubted(office, workspace, key):
            remind(office, workspace, key)


def remind(office: Office, workspace: int, key: str) -> None:
    """Each of `notify`, once a day."""
    name, marks = f"reminded {key}", office.marks
    notify = office.services.keys.rule(workspace, key).settings.notify
    if notify and not marks.full_until(name, 1):
        marks.put(name, marks.now() + DAY)
        for address in notify:
            office.add(workspace, REMIND, f"{key} {address}")


def doubted(office: Office, workspace: int, key: str) -> int:
    sql = (
        "SELECT count(*) FROM submission "
        f"WHERE workspace_id = ? AND state = '{HELD}' AND reason = ? AND key = ?"
    )
    return office.store.row(sql, (workspace, DOUBTED, key))[0]


class Reminder(Mail):
    def letter(self, delivery: DeliveryRow) -> Optional[dict]:
        key, address = delivery.target.split(" ")
        rule = self.office.services.keys.rule(delivery.workspace, key)
        waiting = doubted(self.office, delivery.workspace, key)
        if not waiting or address not in rule.settings.notify:
            return None
        number = f"{waiting} submission{'s' if waiting > 1 else ''}"
        site = shown_site(self.office, rule)
        return {
            "subject": f"{number} from {site}: accept or reject",
            "opening": f"The captcha service did not answer: {number} from {site} may "
            "be of people or of programs. Nothing is done with what waits until you "
            "accept it.",
            "link": inbox(self.office),
        }


# -- the command


def mail_arguments(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=run_mail)
    command.add_argument("address", metavar="ADDRESS", type=option(an_address))


def an_address(text: str) -> None:
    if not is_email(text):
        raise ValueError("an email address")


def run_mail(config: Config, args: argparse.Namespace) -> None:
    """Prints the server's words."""
    from extras.smtp import MailServer

    if not config.smtp_url:
        message = "to send mail, set CONTACTAPI_SMTP_URL and CONTACTAPI_MAIL_FROM"
        raise Mistake(message)
    number, at = secrets.token_hex(8), micros(time.time())
    opening = "This is a test. Mail from contactapi arrives here."
    letter = Letter(args.address, "A test of contactapi", number, at, opening)
    try:
        print(MailServer(config).send(letter).text)
    except (NotTaken, Refused) as err:
        raise Mistake(f"the mail was not taken: {err.reply.text}") from None


COMMANDS = {"mail": mail_arguments}
