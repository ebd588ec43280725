"""Mail as it leaves the house: a letter made into a message (RFC 5322), and one said to
an SMTP server (RFC 5321). Imported when the first one is sent."""

import contextlib
import re
import smtplib
import socket
import ssl
import threading
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from email import policy
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage
from html import escape
from typing import Any
from urllib.parse import unquote

from contactapi import Config, ascii_host, ip_of
from extras.letters import Letter, spelled
from extras.senders import NotTaken, Refused, Reply

# -- the message

MOST = 200_000  # characters of what visitors wrote, in one mail
SHORT = policy.SMTP.clone(cte_type="7bit")  # bodies that any server lets through
NO_HEADER = ("Cc", "Cs", "Zl", "Zp")  # what ends a line for somebody


def header_text(text: str, most: int = 200) -> str:
    """A text as it may stand in a header: encoded words (RFC 2047) are decoded, however
    often, for the library would do so after us; what is no text becomes a space."""
    for _ in range(3):
        text = without_words(text[:1000])
    text = text.replace("=?", "= ?")
    bare = (" " if unicodedata.category(c) in NO_HEADER else c for c in text)
    return "".join(bare)[:most].strip()


def without_words(text: str) -> str:
    try:
        return str(make_header(decode_header(text)))
    except (HeaderParseError, LookupError, ValueError):
        return text


def address_of(text: str, name: str = "") -> Address:
    """Its domain in punycode, where the local part is ASCII: then any server takes
    it."""
    local, _, host = text.rpartition("@")
    host = ascii_host(host) if local.isascii() else host
    return Address(name, local, host)


def name_in_header(text: str) -> str:
    """The name before an address, without what reads as an address of its own."""
    return one_line(re.sub(r'[@<>"\\,;:()\[\]]', " ", header_text(text, 100)))


def compose(letter: Letter, mail_from: tuple, utf8: bool) -> EmailMessage:
    """The message; `mail_from` is (name, address), `utf8` whether headers may be UTF-8
    (RFC 6531)."""
    name, sender = mail_from
    reachable = letter.reply_to.isascii() or utf8
    if letter.reply_to:
        said = "Your answer goes to" if reachable else "Do not answer, but write to"
        closing = f"{letter.closing}\n{said} {letter.reply_to}."
        letter = letter._replace(closing=closing)
    message = EmailMessage(SHORT.clone(utf8=utf8))
    message["From"] = address_of(sender, name_in_header(letter.from_name) or name)
    message["To"] = address_of(letter.recipient)
    message["Subject"] = header_text(letter.subject)
    message["Date"] = datetime.fromtimestamp(letter.at // 1_000_000, UTC)
    host = ascii_host(sender.rpartition("@")[2])
    message["Message-ID"] = f"<{letter.number}@{host}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday answers
    if letter.reply_to and reachable:
        local, _, host = letter.reply_to.rpartition("@")
        message["Reply-To"] = Address("", local, host)
    message.set_content(plain_part(letter))
    message.add_alternative(html_part(letter), subtype="html")
    return message


def plain_part(letter: Letter) -> str:
    """Every line of a value is indented: none can pass for a field's name."""
    parts = [letter.opening]
    for name, text in shown(letter.rows):
        lines = "\n".join(f"    {line}" for line in text.splitlines() or [""])
        parts.append(f"{one_line(name)}\n{lines}")
    if letter.link:
        parts.append(letter.link[0])
    return "\n\n".join([*parts, letter.closing]).strip() + "\n"


ROW = (
    '<tr><td style="padding:12px 0;border-top:1px solid #8884;vertical-align:top">'
    '<div style="font-size:13px;opacity:.7">{}</div>'
    '<div dir="auto" style="white-space:pre-wrap;overflow-wrap:anywhere">{}</div>'
    "</td></tr>"
)
BUTTON = (
    '<p style="margin:24px 0"><a href="{}" style="display:inline-block;padding:12px '
    "20px;border-radius:8px;background:#1f5fbf;color:#fff;text-decoration:none;"
    'font-weight:600">{}</a></p>'
)
PAGE = (
    '<!doctype html><html><head><meta charset="utf-8"><meta name="viewport" '
    'content="width=device-width"><meta name="color-scheme" content="light dark">'
    '</head><body style="margin:0;padding:16px"><div style="max-width:560px;margin:'
    "0 auto;font:16px/1.5 system-ui,-apple-system,'Segoe UI',sans-serif\">"
    '<p style="white-space:pre-wrap;overflow-wrap:anywhere">{opening}</p>'
    '<table role="presentation" width="100%" style="border-collapse:collapse;'
    'table-layout:fixed">{rows}</table>{link}<p style="font-size:13px;opacity:.7;'
    'white-space:pre-wrap;overflow-wrap:anywhere">{closing}</p></div></body></html>\n'
)


def html_part(letter: Letter) -> str:
    rows = [ROW.format(escape(name), escape(t)) for name, t in shown(letter.rows)]
    return PAGE.format(
        opening=escape(letter.opening),
        rows="".join(rows),
        link=BUTTON.format(*map(escape, letter.link)) if letter.link else "",
        closing=escape(letter.closing),
    )


def shown(rows: tuple) -> Any:
    """(name, text) of each row, MOST characters in all."""
    left = MOST
    for name, value in rows:
        text = visible(spelled(value))
        if len(text) > left:
            text = text[: max(left, 0)] + " … (cut: the inbox has the whole)"
        left -= len(text)
        yield visible(name), text


def visible(text: str) -> str:
    """Without what no mail program shows and some obey."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return re.sub("[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\ufffd", text)


def one_line(text: str) -> str:
    return " ".join(text.split())


# -- the server


class MailServer:
    """The SMTP server that CONTACTAPI_SMTP_URL names. Certificates are checked by the
    system's store, but on loopback; a password goes through TLS or nowhere else."""

    STEP, WHOLE = 15, 45  # seconds for each answer, and for all of a delivery

    def __init__(self, config: Config):
        scheme, user, password, host, port = config.smtp_url
        self.secure, self.host = scheme == "smtps", host.strip("[]")
        self.port = int(port or (465 if self.secure else 587 if user else 25))
        self.login = user and (unquote(user), unquote(password))
        self.mail_from = name_and_address(config.mail_from)

    def send(self, letter: Letter) -> Reply:
        """What the server said when it took it; else NotTaken, or Refused where it
        refused the recipient or the message for good."""
        try:
            with self.connection() as smtp:
                taken(*smtp.connect(self.host, self.port), for_good=False)
                self.begin(smtp)
                return self.say(smtp, letter)
        except smtplib.SMTPResponseException as err:
            raise NotTaken(reply_of(err.smtp_code, err.smtp_error)) from None
        except (OSError, OverflowError) as err:  # smtplib's and ssl's are OSErrors
            raise NotTaken(Reply(self.why(err))) from None

    @contextlib.contextmanager
    def connection(self) -> Iterator[smtplib.SMTP]:
        """Not connected yet. It ends after WHOLE, whatever goes on there."""
        local = ascii_host(self.mail_from[1].rpartition("@")[2])
        options = {"local_hostname": local, "timeout": self.STEP}
        if self.secure:
            smtp = smtplib.SMTP_SSL(**options, context=self.context())
        else:
            smtp = smtplib.SMTP(**options)
        smtp._host = self.host  # whose certificate it must be: `connect` leaves it out
        alarm = threading.Timer(self.WHOLE, cut, [smtp])
        alarm.daemon = True
        alarm.start()
        try:
            yield smtp
        finally:
            alarm.cancel()
            smtp.close()

    def begin(self, smtp: smtplib.SMTP) -> None:
        """Until mail may be said."""
        smtp.ehlo_or_helo_if_needed()
        if not self.secure:
            self.protect(smtp)
        if self.login:
            smtp.login(*self.login)

    def protect(self, smtp: smtplib.SMTP) -> None:
        if smtp.has_extn("starttls"):
            smtp.starttls(context=self.context())
            smtp.ehlo()
        elif self.login and not self.is_near():
            raise NotTaken(Reply("no STARTTLS: the password is not sent in the clear"))

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self.is_near():
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context

    def is_near(self) -> bool:
        """On loopback."""
        ip = ip_of(self.host)
        return ip.is_loopback if ip else self.host.lower() == "localhost"

    def say(self, smtp: smtplib.SMTP, letter: Letter) -> Reply:
        """MAIL, RCPT and DATA (RFC 5321, section 3.3)."""
        sender = address_of(self.mail_from[1]).addr_spec
        recipient = address_of(letter.recipient).addr_spec
        plain = (sender + recipient).isascii()
        utf8 = smtp.has_extn("smtputf8") and not (plain and letter.reply_to.isascii())
        if not (plain or utf8):
            text = "the mail server lacks SMTPUTF8, which this address needs"
            raise Refused(Reply(text))
        message = compose(letter, self.mail_from, utf8).as_bytes()
        options = ["SMTPUTF8", "BODY=8BITMIME"] if utf8 else []
        taken(*smtp.mail(sender, options), for_good=False)
        try:
            taken(*smtp.rcpt(recipient))
        except NotTaken as err:  # this address is not taken now; others may be
            raise NotTaken(err.reply, blameless=True) from None
        reply = taken(*smtp.data(message))
        with contextlib.suppress(OSError):
            smtp.sock.settimeout(2)
            smtp.quit()
        return reply

    def why(self, err: Exception) -> str:
        if isinstance(err, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {err.verify_message}"
        if "timed out" in str(err):  # smtplib makes one of a TimeoutError's
            return "the mail server took too long"
        if isinstance(err, smtplib.SMTPServerDisconnected):
            return "the mail server broke off"
        return f"the mail server cannot be used: {getattr(err, 'strerror', 0) or err}"


def cut(smtp: smtplib.SMTP) -> None:
    """Whatever waits for its server ends."""
    with contextlib.suppress(OSError):
        if smtp.sock:
            socket.socket.shutdown(smtp.sock, socket.SHUT_RDWR)


def taken(code: int, words: bytes, for_good: bool = True) -> Reply:
    """The answer of success; NotTaken for 4xx, Refused for 5xx `for_good`."""
    reply = reply_of(code, words)
    if 200 <= code < 300:
        return reply
    raise Refused(reply) if code >= 500 and for_good else NotTaken(reply)


def reply_of(code: int, words: Any) -> Reply:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
    return Reply(f"{code} {one_line(text)}", code)


def name_and_address(text: str) -> tuple:
    """Of CONTACTAPI_MAIL_FROM: `Name <address>` or an address alone."""
    name, bracket, address = text.rpartition("<")
    return header_text(name.strip().strip('"')), address.rstrip(">").strip()
