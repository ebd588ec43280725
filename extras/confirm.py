"""Double opt-in (CONTRACT section 8): what is held is confirmed by whom its address
belongs to, on a page behind a link that was mailed there."""

import functools
import hmac
import re
from html import escape
from typing import NamedTuple, Optional

from bottle import request, response

from contactapi import (
    ACCEPTED,
    BASE32_UID,
    DAY,
    HELD,
    JSON_MEDIA,
    UNCONFIRMED,
    Api,
    ApiError,
    Caller,
    InvalidRequest,
    RateLimited,
    SubmissionRow,
    Write,
    go_to,
    header,
    link_back,
    operator,
    page_of,
    read_form,
    wants_page,
)
from extras.letters import HOUR, Mail, Office, rows_of, shown_site, spelled
from extras.senders import DeliveryRow

CONFIRM = "confirm"
TOKEN = re.compile(f"({BASE32_UID.pattern})-([0-9a-f]{{1,12}})-([0-9a-f]{{32}})")
WEEK = 7 * DAY  # for so long a link is good, and shows its success
FOR_EVER = 2**62


class Gone(ApiError):
    status, code = 410, "gone"
    message = "send the form once more: this link is older than 7 days, or not whole"


def add_confirmation(office: Office) -> None:
    opt_in = OptIn(office)
    office.outbox.senders[CONFIRM] = opt_in
    office.submissions.askers[UNCONFIRMED] = opt_in.ask
    add_page(office.app, opt_in)


class Link(NamedTuple):
    row: SubmissionRow  # the one for which it was sent
    late: bool


class OptIn(Mail):
    """Who is asked, by which link, and what becomes of the answer."""

    def __init__(self, office: Office):
        super().__init__(office)
        self.marks, self.store = office.marks, office.store
        self.secret = self.store.secret(b"confirmation")

    def sign(self, *texts: str) -> str:
        made = hmac.digest(self.secret, "\0".join(texts).encode(), "sha256")
        return made[:16].hex()

    # asking

    def ask(self, row: SubmissionRow, visitor: str) -> None:
        """Inside the transaction that holds it: one mail more, if none of the limits
        says no. No address stands there in clear."""
        address = self.sign("address", row.natural_key)
        limits = [
            (f"asked this hour {address}", 1, HOUR),
            (f"asked this day {address}", 5, DAY),
            (f"asked for {row.key}", 200, DAY),
        ]
        if visitor:
            limits.append((f"asked by {self.sign('visitor', visitor)}", 5, HOUR))
        if any(self.marks.full_until(name, most) for name, most, _ in limits):
            return
        for name, _, time in limits:
            self.marks.put(name, self.marks.now() + time)
        self.office.add(row.workspace_id, CONFIRM, row.label, submission=row.id)

    def refuses(self, row: SubmissionRow) -> bool:
        """Whether its address is not to be written to, by whatever key."""
        return self.marks.full_until(self.refusal(row), 1) is not None

    def refusal(self, row: SubmissionRow) -> str:
        return f"refuses {self.sign('address', row.natural_key)}"

    def letter(self, delivery: DeliveryRow) -> Optional[dict]:
        """The mail with the link. Of what a visitor wrote it has the address alone."""
        row = self.office.row(delivery.submission)
        waits = row and (row.state, row.reason) == (HELD, UNCONFIRMED)
        if not waits or self.refuses(row):
            return None
        site = shown_site(self.office, self.office.rule(row))
        url = f"{self.office.config.public_url}/c/{self.token(row)}"
        return {
            "subject": f"Please confirm your address for {site}",
            "opening": f"Somebody, probably you, gave the address {row.label} at "
            f"{site}. Look at what was sent, and confirm it, within 7 days:",
            "link": (url, "Look and confirm"),
            "closing": "If it was not you, there is nothing to do: without your word "
            "nothing happens with it. Behind the same link you can ask never to be "
            "written to again.",
        }

    # the link

    def token(self, row: SubmissionRow) -> str:
        """Names the submission; the HMAC is over its key, its address and the expiry,
        in seconds: a week after it came to wait for a confirmation."""
        expiry = f"{(row.updated_at + WEEK) // 1_000_000:x}"
        mac = self.sign("link", row.key, row.natural_key, expiry)
        return f"{row.uid}-{expiry}-{mac}"

    def open(self, token: str) -> Optional[Link]:
        """None where it never was one, or its submission is gone."""
        match = TOKEN.fullmatch(token)
        row = self.find(match[1]) if match else None
        if row is None or row.natural_key is None:
            return None
        mac = self.sign("link", row.key, row.natural_key, match[2])
        if not hmac.compare_digest(mac, match[3]):
            return None
        return Link(row, int(match[2], 16) * 1_000_000 <= self.marks.now())

    def find(self, uid: str) -> Optional[SubmissionRow]:
        where, params = self.store.has_uid("submission", uid)
        return self.office.submissions.find(where, *params)

    def newest(self, link: Link) -> Optional[SubmissionRow]:
        """Of those of its address with its key that are held, or were confirmed not
        long ago; the latter alone for a late one."""
        row, since = link.row, self.marks.now() - WEEK
        held = f"state = '{HELD}' AND reason = '{UNCONFIRMED}' AND updated_at > ?"
        return self.office.submissions.find(
            "workspace_id = ? AND natural_key = ? AND key = ? AND (confirmed_at > ? "
            f"OR (? AND {held})) ORDER BY created_at DESC LIMIT 1",
            *(row.workspace_id, row.natural_key, row.key, since, not link.late, since),
        )

    def signed(self, row: SubmissionRow) -> str:
        """The submission that a page shows, for the button to say which that was."""
        return f"{row.uid}-{self.sign('shown', row.key, row.natural_key, row.uid)}"

    def shown(self, link: Link, text: str) -> Optional[str]:
        """Its uid; None where no page of this link's address has shown it."""
        uid = text.partition("-")[0]
        good = self.signed(link.row._replace(uid=uid))
        return uid if hmac.compare_digest(good.encode(), text.encode()) else None

    # the answer, inside a transaction

    def answer(
        self, link: Optional[Link], uid: Optional[str], said: Optional[str]
    ) -> Optional[SubmissionRow]:
        """What it was given for; None where it comes too late, or to nothing."""
        if uid is None:
            return None
        if said == "yes":
            return self.confirm(uid, link.late)
        return None if link.late else self.refuse(link.row)

    def confirm(self, uid: str, late: bool) -> Optional[SubmissionRow]:
        """The row as it is then; None where it can be confirmed no more."""
        row, now = self.find(uid), self.marks.now()
        if row is None:
            return None
        if row.confirmed_at is not None:
            return row if now < row.confirmed_at + WEEK else None
        waits = row.state == ACCEPTED or (row.state, row.reason) == (HELD, UNCONFIRMED)
        if late or not waits or now >= row.updated_at + WEEK:
            return None
        caller = operator("confirmation", row.workspace_id)
        return self.office.submissions.accept(caller, row, now)

    def refuse(self, row: SubmissionRow) -> SubmissionRow:
        if not self.refuses(row):
            self.marks.put(self.refusal(row), FOR_EVER)
        return row


# -- the page

FORM = (
    '<dl>{shown}</dl><form method="post">'
    '<input type="hidden" name="shown" value="{signed}">'
    '<button name="answer" value="yes">Yes, confirm</button>'
    '<button name="answer" value="no">Never write to me again</button></form>'
)
STYLE = (
    "dl{margin:2rem 0;border-top:1px solid #8884}"
    "dt{opacity:.7;font-size:.875rem;padding-top:.75rem}"
    "dd{margin:0;padding-bottom:.75rem;white-space:pre-wrap;"
    "border-bottom:1px solid #8884}"
    "form{display:flex;flex-wrap:wrap;gap:.75rem;margin:2rem 0}"
    "button{font:inherit;padding:.7rem 1.25rem;border-radius:.5rem;cursor:pointer;"
    "border:1px solid #8888;background:transparent;color:inherit}"
    "button[value=yes]{background:#1f5fbf;border-color:#1f5fbf;color:#fff;"
    "font-weight:600}"
    "button:focus-visible{outline:3px solid #6ea0e8;outline-offset:2px}"
    "@media(max-width:30rem){body{margin:2rem auto}button{width:100%}}"
)


def add_page(app: Api, opt_in: OptIn) -> None:
    @app.get("/c/<token>")
    def show(token: str) -> str:
        """Changes nothing: programs that look at mail follow links. An address may have
        much that is not of this key: it is looked through beside the short requests."""
        begin(app)
        link = opt_in.open(token)
        if link is None:
            return gone()
        rule = request.environ["contactapi.caller"] = opt_in.office.rule(link.row)
        go_to("long")
        row = opt_in.newest(link)
        if row is None:
            return gone()
        if row.confirmed_at is not None:
            return confirmed(rule)
        return question(opt_in, row, rule)

    @app.post("/c/<token>")
    def answer(token: str) -> Write:
        begin(app)
        link, sent = opt_in.open(token), read_form()
        uid = opt_in.shown(link, str(sent.get("shown"))) if link else None
        said = sent.get("answer")
        if uid and said not in ("yes", "no"):
            raise InvalidRequest("answer is yes or no", "answer")
        work = functools.partial(opt_in.answer, link, uid, said)
        return Write(work, functools.partial(answered, opt_in, said))


def begin(app: Api) -> None:
    """Counts as a request without a key, though it be called again in another lane."""
    if "contactapi.counted" in request.environ:
        return
    standing = app.gate.count_stranger(request.environ)
    if standing and not standing.allowed:
        raise RateLimited(standing.seconds)


def question(opt_in: OptIn, row: SubmissionRow, rule: Caller) -> str:
    """What was sent, as text, and two buttons."""
    rows = rows_of(row)
    shown = "".join(
        f"<dt>{escape(n)}<dd dir=auto>{escape(spelled(v))}" for n, v in rows
    )
    form = FORM.format(shown=shown, signed=opt_in.signed(row))
    site = shown_site(opt_in.office, rule)
    text = (
        f"This was sent at {site} with the address {row.label}. If it was you, confirm "
        "it. If not, close this page: nothing happens."
    )
    made = page("Was it you?", text, form, STYLE)
    if rule.settings.redirect:  # Chrome holds what a form leads to against it, too
        policy = response.get_header("Content-Security-Policy")
        policy = policy.replace("form-action 'self'; ", "")
        response.set_header("Content-Security-Policy", policy)
    return made


def answered(opt_in: OptIn, said: str, row: Optional[SubmissionRow]) -> str:
    """A page, or on to where the key says."""
    if row is None:
        return gone()
    if said == "no":
        return page("As you wish", "No such mail goes to your address any more.")
    rule = opt_in.office.rule(row)
    if not rule.settings.redirect:
        return confirmed(rule)
    response.set_header("Referrer-Policy", "no-referrer")
    response.status = 303
    response.set_header("Location", rule.settings.redirect)
    return ""


def confirmed(rule: Caller) -> str:
    return page("Thank you", "Your address is confirmed.", link_back(rule))


def gone() -> str:
    err = Gone()
    if JSON_MEDIA.search(header(request.environ, "ACCEPT")) and not wants_page():
        raise err
    response.status = err.status
    return page("This link has ended", f"{err.message}.")


def page(title: str, *others: str) -> str:
    """As `page_of`."""
    response.set_header("Referrer-Policy", "no-referrer")
    return page_of(title, *others)
