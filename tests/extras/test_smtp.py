"""Mail as it leaves the house: what stands in it, and how it is said to a server."""

import random
import socket
import unicodedata
from email import message_from_bytes, policy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contactapi import Config, Mistake
from extras.letters import Letter
from extras.senders import NotTaken, Refused
from extras.smtp import MailServer, compose, header_text
from postbox import Postbox, Script, break_off, certificate, trickle

AT = 1_783_159_200_000_000  # 2026-07-04T10:00:00Z
LETTER = Letter("owner@example.com", "Hello", "7.1", AT, "Somebody wrote.")
SMUGGLED = [
    "x\r\nBcc: eve@evil.test",
    "x\nBcc: eve@evil.test\n\nbody",
    "x\rBcc: eve@evil.test",
    "x\u2028Bcc: eve@evil.test",
    "x\x85Bcc: eve@evil.test\x0b\x0c\x1c",
    "=?utf-8?q?x=0D=0ABcc:eve@evil.test?=",
    "=?utf-8?b?eA0KQmNjOiBldmVAZXZpbC50ZXN0?=",
    "=?utf-8?q?=3D=3Futf-8=3Fq=3Fx=3D0D=3D0ABcc:eve@evil.test=3F=3D?=",
    "=?utf-8?q?x=0D=0ABcc:?= =?iso-8859-1?q?eve@evil.test?=",
    "=?nonsense?q?x=0D=0A?=",
    "=?utf-8?b?!!!?=",
    "=?unicode_escape?q?=5Cud800=5Cr=5Cn?=",
    "=\r?utf-8?q?x=0D=0ABcc:eve@evil.test?=",
]


def server_at(port, scheme="smtp", login="", host="127.0.0.1", sender="c@example.org"):
    url = f"{scheme}://{login}{host}:{port}"
    settings = {"CONTACTAPI_SMTP_URL": url, "CONTACTAPI_MAIL_FROM": sender}
    return MailServer(Config.from_env(settings))


def sent(letter, sender="c@example.org", **options):
    """(what the server said, the mail that it got)."""
    with Postbox(**options) as box:
        reply = server_at(box.port, sender=sender).send(letter)
        (mail,) = box.mails
    return reply, mail


def plain(mail):
    return part(mail, "plain")


def part(mail, kind):
    return mail.get_body((kind,)).get_content().replace("\r\n", "\n")


def test_a_letter_arrives_as_it_was_meant_and_the_server_is_quoted():
    rows = (("name", "Ada"), ("message", "Hello\nyou"), ("likes", ["tea", "cake"]))
    letter = LETTER._replace(rows=(*rows, ("n", {"a": [1]})), closing="Bye.")
    reply, mail = sent(letter, sender="Contact form <contact@example.org>")
    assert reply == ("250 2.0.0 Ok: queued as 1F2E3D", 250)
    assert (mail.sender, mail.recipient) == ("contact@example.org", "owner@example.com")
    assert mail["From"] == "Contact form <contact@example.org>"
    assert (mail["To"], mail["Subject"]) == ("owner@example.com", "Hello")
    assert mail["Date"] == "Sat, 04 Jul 2026 10:00:00 +0000"
    assert mail["Message-ID"] == "<7.1@example.org>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Reply-To"] is None
    assert plain(mail) == (
        "Somebody wrote.\n\nname\n    Ada\n\nmessage\n    Hello\n    you\n\n"
        'likes\n    tea\n    cake\n\nn\n    {"a":[1]}\n\nBye.\n'
    )
    html = part(mail, "html")
    assert "Hello\nyou" in html and "cake" in html


@pytest.mark.parametrize("text", SMUGGLED)
@pytest.mark.parametrize("name", ["subject", "from_name", "opening", "closing"])
def test_no_text_becomes_a_header(name, text):
    _, mail = sent(LETTER._replace(**{name: text, "reply_to": "ada@example.com"}))
    expected = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"]
    expected += ["Reply-To", "MIME-Version", "Content-Type"]
    received = [n for n in mail if not n.startswith("X-")]  # aiosmtpd's own
    assert received == expected
    for header in ("Subject", "From"):
        kinds = {unicodedata.category(c) for c in mail[header]}
        assert not kinds & {"Cc", "Cs", "Zl", "Zp"}
    assert mail["From"].addresses[0].addr_spec == "c@example.org"
    assert len(mail["From"].addresses) == 1


@pytest.mark.parametrize("text", SMUGGLED)
def test_no_field_becomes_a_header_or_another_field(text):
    _, mail = sent(LETTER._replace(rows=((text, text), ("last", "one"))))
    assert "Bcc" not in mail and len(mail.get_payload()) == 2
    names = [line for line in plain(mail).split("\n") if line and line[0] != " "]
    assert len(names) == 3 and names[0] == "Somebody wrote." and names[2] == "last"


def test_encoded_control_characters_become_spaces_too():
    shown = header_text("=?utf-8?q?x=0D=0ABcc:eve@evil.test?=")
    assert shown == "x  Bcc:eve@evil.test"
    assert header_text("a\tb\x00c\x7f") == "a b c"
    assert header_text("=?utf-8?q?Gr=C3=BC=C3=9Fe?=") == "Grüße"
    deep = "x\r\n"
    for _ in range(9):
        deep = "=?utf-8?q?" + "".join(f"={b:02X}" for b in deep.encode()) + "?="
    assert "=?" not in header_text(deep)


def test_a_subject_is_cut_at_200_characters():
    for char in ("x", "é", "猫", "😀"):
        _, mail = sent(LETTER._replace(subject=char * 300))
        assert mail["Subject"] == char * 200


def test_text_of_any_script_arrives_everywhere():
    text = "Grüße, ｆｕｌｌ 猫 עברית 😀 e\u0301"
    letter = LETTER._replace(
        subject=text, from_name=text, opening=text, rows=((text, text),), closing=text
    )
    _, mail = sent(letter)
    assert mail["Subject"] == text
    assert mail["From"].addresses[0].display_name == text.replace(",", "")
    assert plain(mail).count(text) == 4
    assert part(mail, "html").count(text) == 4
    assert mail.raw.isascii()


def test_a_name_of_a_sender_cannot_pass_for_an_address():
    _, mail = sent(LETTER._replace(from_name='Bank <pay@bank.example>, "x"'))
    (address,) = mail["From"].addresses
    assert address.addr_spec == "c@example.org"
    assert "@" not in address.display_name and "<" not in address.display_name


def test_markup_arrives_as_text():
    evil = '<script>x</script><a href="https://evil.test">&amp;</a>{0}{rows}%s'
    letter = LETTER._replace(opening=evil, rows=((evil, evil),), closing=evil)
    _, mail = sent(letter._replace(link=('https://a.example/?"><b>', "<i>")))
    html = part(mail, "html")
    assert "<script" not in html and 'evil.test">' not in html and "<i>" not in html
    assert html.count("&lt;script&gt;x&lt;/script&gt;") == 4
    assert plain(mail).count(evil) == 4


def test_control_characters_in_a_body_are_shown_as_such():
    _, mail = sent(LETTER._replace(rows=(("a\x00b", "c\x1b[31md\r\ne\rf\x9b"),)))
    assert plain(mail).split("\n")[2:7] == [
        "a\ufffdb",
        "    c\ufffd[31md",
        "    e",
        "    f\ufffd",
        "",
    ]


def test_what_is_too_long_for_a_mail_is_cut_and_says_so():
    rows = (("a", "¤" * 150_000), ("b", "¶" * 150_000), ("c", "z"))
    _, mail = sent(LETTER._replace(rows=rows))
    text = plain(mail)
    assert (text.count("¤"), text.count("¶")) == (150_000, 50_000)
    assert "the inbox has the whole" in text and len(text) < 201_000


def test_a_line_of_any_length_and_a_dot_alone_come_through():
    rows = (("a", "x" * 5000), ("b", ".\n.\r\n.."), ("c", "猫" * 3000))
    _, mail = sent(LETTER._replace(rows=rows))
    assert max(len(line) for line in mail.raw.split(b"\r\n")) <= 998
    assert "x" * 5000 in plain(mail) and "猫" * 3000 in plain(mail)
    assert "b\n    .\n    .\n    ..\n" in plain(mail)


WORDS = st.lists(
    st.sampled_from(
        ("=?utf-8?q?", "=?utf-8?b?", "?=", "=0D=0A", "DQo=", " ", "\r\n", "é", "x" * 80)
        + ("=?utf-7?q?+2AA-?=", "=?punycode?b?AAAA?=", "\u2028", "<a@b.example>", ",")
    )
).map("".join)


@settings(max_examples=300, deadline=None)
@given(*[st.text(max_size=300) | WORDS] * 4, st.booleans())
def test_whatever_was_sent_there_is_a_mail_with_our_headers(s, name, k, v, utf8):
    letter = LETTER._replace(subject=s, from_name=name, rows=((k, v),), closing=v)
    letter = letter._replace(reply_to="évä@example.com" if utf8 else "")
    raw = compose(letter, ("Bob", "c@example.org"), utf8).as_bytes()
    mail = message_from_bytes(raw, policy=policy.default)
    names = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"]
    names += ["Reply-To"] * utf8 + ["MIME-Version", "Content-Type"]
    assert sorted(mail) == sorted(names) and len(mail.get_payload()) == 2
    assert [one.addr_spec for one in mail["From"].addresses] == ["c@example.org"]
    shown = mail["Subject"] + mail["From"].addresses[0].display_name
    shown = shown.encode(errors="surrogateescape").decode()  # as UTF-8 is parsed
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cs", "Zl", "Zp"}


# -- addresses that are not ASCII


def test_a_reply_address_that_is_not_ascii_stands_in_the_header_of_a_server_for_it():
    for reply_to in ("évä@example.com", "eva@bücher.example"):
        letter = LETTER._replace(reply_to=reply_to)
        _, mail = sent(letter, enable_SMTPUTF8=True)
        assert mail["Reply-To"] == reply_to and "SMTPUTF8" in mail.options
        assert f"\nYour answer goes to {reply_to}.\n" in plain(mail)


def test_without_smtputf8_it_is_left_out_and_named_in_the_body():
    for reply_to in ("évä@example.com", "eva@bücher.example"):
        _, mail = sent(LETTER._replace(reply_to=reply_to))
        assert mail["Reply-To"] is None and mail.raw.isascii()
        assert f"\nDo not answer, but write to {reply_to}.\n" in plain(mail)
        assert reply_to in part(mail, "html")


def test_what_needs_no_smtputf8_does_not_ask_for_it():
    letter = LETTER._replace(subject="Grüße", reply_to="ada@example.com")
    _, mail = sent(letter, enable_SMTPUTF8=True)
    assert mail.options == [f"size={len(mail.raw)}"] or "SMTPUTF8" not in mail.options
    assert (mail["Subject"], mail["Reply-To"]) == ("Grüße", "ada@example.com")


def test_a_recipient_whose_domain_alone_is_not_ascii_is_reached_by_punycode():
    _, mail = sent(LETTER._replace(recipient="eva@bücher.example"))
    assert mail.recipient == mail["To"] == "eva@xn--bcher-kva.example"


def test_a_recipient_whose_name_is_not_ascii_needs_smtputf8():
    letter = LETTER._replace(recipient="évä@bücher.example")
    _, mail = sent(letter, enable_SMTPUTF8=True)
    assert mail.recipient == "évä@bücher.example" == mail["To"]
    with Postbox() as box, pytest.raises(Refused, match="lacks SMTPUTF8"):
        server_at(box.port).send(letter)


# -- a server that does not take it


def test_a_recipient_refused_for_good_is_refused_and_for_now_is_not_taken():
    with Postbox() as box:
        box.answers["owner@example.com"] = "550 5.1.1 No such user here"
        with pytest.raises(Refused) as refused:
            server_at(box.port).send(LETTER)
        assert refused.value.reply == ("550 5.1.1 No such user here", 550)
        box.answers["owner@example.com"] = "451 4.7.1 Greylisted, come back"
        with pytest.raises(NotTaken) as put_off:
            server_at(box.port).send(LETTER)
        assert put_off.value.reply == ("451 4.7.1 Greylisted, come back", 451)
        assert box.mails == []


def test_a_message_refused_for_good_is_refused_and_for_now_is_not_taken():
    with Postbox() as box:
        box.answers["DATA"] = "554 5.7.1 Spam"
        with pytest.raises(Refused, match="554 5.7.1 Spam"):
            server_at(box.port).send(LETTER)
        box.answers["DATA"] = "452 4.3.1 Out of disk"
        with pytest.raises(NotTaken, match="452 4.3.1 Out of disk"):
            server_at(box.port).send(LETTER)


@pytest.mark.parametrize("place", ["greeting", "MAIL"])
def test_what_a_server_refuses_before_the_recipient_is_for_the_operator_to_mend(place):
    refused = pytest.raises(NotTaken, match="550 not you")
    with Script(place, b"550 not you\r\n") as server, refused:
        server_at(server.port).send(LETTER)


def test_a_server_that_knows_no_ehlo_is_greeted_as_of_old():
    with Script("EHLO", b"502 what?\r\n") as server:
        assert server_at(server.port).send(LETTER).status == 250


STAGES = ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "end"]


@pytest.mark.parametrize("place", STAGES)
def test_a_server_that_hangs_is_left(place, monkeypatch):
    monkeypatch.setattr(MailServer, "STEP", 0.2)
    with Script(place, None) as server:
        with pytest.raises(NotTaken, match="took too long"):
            server_at(server.port).send(LETTER)
        assert server.taken == (place == "end")


@pytest.mark.parametrize(
    "place,offer", [("STARTTLS", "STARTTLS"), ("AUTH", "AUTH PLAIN")]
)
def test_a_server_that_hangs_before_the_mail_is_left(place, offer, monkeypatch):
    monkeypatch.setattr(MailServer, "STEP", 0.2)
    script = Script(place, None, offers=[offer])
    with script as server, pytest.raises(NotTaken, match="took too long"):
        server_at(server.port, login="me:secret@").send(LETTER)


def test_starttls_that_is_offered_and_refused_sends_nothing_in_the_clear():
    script = Script("STARTTLS", b"454 not now\r\n", offers=["STARTTLS", "AUTH PLAIN"])
    with script as server, pytest.raises(NotTaken, match="454 not now"):
        server_at(server.port, login="me:secret@").send(LETTER)
    assert server.taken == 0


@pytest.mark.parametrize("place", STAGES)
def test_a_server_that_goes_on_talking_is_left(place, monkeypatch):
    monkeypatch.setattr(MailServer, "WHOLE", 0.5)
    with Script(place, trickle) as server, pytest.raises(NotTaken):
        server_at(server.port).send(LETTER)


@pytest.mark.parametrize("place", STAGES)
def test_a_server_that_breaks_off_did_not_take_it(place):
    with Script(place, break_off) as server, pytest.raises(NotTaken):
        server_at(server.port).send(LETTER)


def test_a_server_that_took_it_and_then_hangs_has_taken_it():
    with Script("QUIT", b"") as server:
        assert server_at(server.port).send(LETTER).status == 250


def test_a_server_that_is_not_there_and_one_that_speaks_nonsense():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(NotTaken, match="cannot be used"):
            server_at(nobody.getsockname()[1]).send(LETTER)
    for nonsense in (b"HTTP/1.1 200 OK\r\n\r\n", b"\xff" * 5000 + b"\r\n", b"99\r\n"):
        with Script("greeting", nonsense) as server, pytest.raises(NotTaken):
            server_at(server.port).send(LETTER)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_a_server_says_is_taken_not_taken_or_refused(seed):
    chance = random.Random(seed)
    said = chance.randbytes(chance.randrange(60)) + b"\r\n"
    said = chance.choice([b"250", b"354", b"5", b"421 ", b"250-"]) + said
    place = chance.choice(STAGES)

    def say(connection):
        connection.sendall(said)
        break_off(connection)

    with Script(place, say) as server:
        try:
            assert server_at(server.port).send(LETTER).status < 300
        except (NotTaken, Refused):
            pass


# -- TLS and passwords


@pytest.fixture
def named(monkeypatch):
    """mail.example.com leads to this machine and is not loopback by its name."""
    real = socket.getaddrinfo

    def resolve(host, *args, **options):
        near = host in ("mail.example.com", "other.example.com")
        return real("127.0.0.1" if near else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.fixture
def trusted(tmp_path, monkeypatch):
    """A server's TLS context for mail.example.com that the system's store knows."""
    context, cert = certificate(tmp_path, "mail.example.com")
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    return context


LOGIN = "me%40example.com:p%3Aass/w@rd@"
PAIR = ("me@example.com", "p:ass/w@rd")


def test_a_password_goes_through_starttls(named, trusted):
    with Postbox(tls=trusted, user=PAIR) as box:
        server_at(box.port, login=LOGIN, host="mail.example.com").send(LETTER)
        assert (len(box.mails), box.logins) == (1, [(PAIR, True)])


def test_a_password_goes_through_smtps(named, trusted):
    options = {"ssl_context": trusted, "auth_require_tls": False}
    with Postbox(user=PAIR, **options) as box:
        server_at(box.port, "smtps", LOGIN, "mail.example.com").send(LETTER)
        assert (len(box.mails), [pair for pair, _ in box.logins]) == (1, [PAIR])


def test_a_password_does_not_go_in_the_clear_but_on_loopback(named):
    with Postbox(user=PAIR, auth_require_tls=False) as box:
        with pytest.raises(NotTaken, match="not sent in the clear"):
            server_at(box.port, login=LOGIN, host="mail.example.com").send(LETTER)
        assert box.logins == []
        for host in ("127.0.0.1", "localhost"):
            server_at(box.port, login=LOGIN, host=host).send(LETTER)
        assert [pair for pair, _ in box.logins] == [PAIR, PAIR]


@pytest.mark.parametrize("place", ["EHLO", "end"])
def test_a_server_that_goes_on_talking_behind_tls_is_left(place, tmp_path, monkeypatch):
    monkeypatch.setattr(MailServer, "WHOLE", 0.5)
    context, _ = certificate(tmp_path, "mail.example.com")
    server = Script(place, trickle, context)
    with server, pytest.raises(NotTaken, match="broke off|cannot be used"):
        server_at(server.port, "smtps").send(LETTER)


def test_a_wrong_password_is_for_the_operator_to_mend(named, trusted):
    wrong = Postbox(tls=trusted, user=("me@example.com", "another"))
    with wrong as box, pytest.raises(NotTaken, match="535"):
        server_at(box.port, login=LOGIN, host="mail.example.com").send(LETTER)


def test_a_password_for_a_server_without_login_is_for_the_operator_to_mend():
    with Postbox() as box, pytest.raises(NotTaken, match="AUTH"):
        server_at(box.port, login=LOGIN).send(LETTER)


def test_starttls_is_used_where_it_is_offered_without_a_password_too(named, trusted):
    with Postbox(tls=trusted, require_starttls=True) as box:
        server_at(box.port, host="mail.example.com").send(LETTER)
        assert len(box.mails) == 1


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_certificate_that_does_not_fit_is_not_accepted(scheme, named, trusted):
    kind = "ssl_context" if scheme == "smtps" else "tls"
    with Postbox(**{kind: trusted}) as box:
        with pytest.raises(NotTaken, match="certificate is not accepted.*mismatch"):
            server_at(box.port, scheme, host="other.example.com").send(LETTER)
        assert box.mails == []


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_certificate_of_nobody_is_accepted_on_loopback_alone(scheme, named, tmp_path):
    context, _ = certificate(tmp_path, "mail.example.com")
    kind = "ssl_context" if scheme == "smtps" else "tls"
    with Postbox(**{kind: context}) as box:
        with pytest.raises(NotTaken, match="certificate is not accepted"):
            server_at(box.port, scheme, host="mail.example.com").send(LETTER)
        server_at(box.port, scheme).send(LETTER)
        assert len(box.mails) == 1


# -- settings

GOOD = {
    "smtp://localhost": ("localhost", 25, False, None),
    "smtp://user:pass@smtp.example.com": ("smtp.example.com", 587, False, "user"),
    "smtp://user:p@ss@smtp.example.com:2525": ("smtp.example.com", 2525, False, "user"),
    "smtps://me@example.com:x/y?z#@smtp.example.com/": (
        "smtp.example.com",
        465,
        True,
        "me@example.com",
    ),
    "smtp://[::1]:1025": ("::1", 1025, False, None),
}


@pytest.mark.parametrize("url", GOOD)
def test_a_url_names_the_server(url):
    settings = {"CONTACTAPI_SMTP_URL": url, "CONTACTAPI_MAIL_FROM": "a@example.org"}
    server = MailServer(Config.from_env(settings))
    user = server.login and server.login[0]
    assert (server.host, server.port, server.secure, user) == GOOD[url]


@pytest.mark.parametrize(
    "settings",
    [
        {"CONTACTAPI_SMTP_URL": "http://localhost"},
        {"CONTACTAPI_SMTP_URL": "smtp://user@host"},
        {"CONTACTAPI_SMTP_URL": "smtp://ho st"},
        {"CONTACTAPI_SMTP_URL": "smtp://user:secret@host:port"},
        {"CONTACTAPI_SMTP_URL": "smtp://user:sécret@host"},
        {"CONTACTAPI_SMTP_URL": "smtp://"},
        {"CONTACTAPI_MAIL_FROM": "nobody"},
        {"CONTACTAPI_MAIL_FROM": "Me <me@example.org"},
        {"CONTACTAPI_MAIL_FROM": "Me <me@example.org>\nBcc: x@example.org"},
        {"CONTACTAPI_SMTP_URL": ""},
        {"CONTACTAPI_MAIL_FROM": ""},
        {"CONTACTAPI_MAILS_PER_DAY": "0"},
    ],
)
def test_settings_that_cannot_be_are_one_line_without_the_value(settings):
    both = {
        "CONTACTAPI_SMTP_URL": "smtp://localhost",
        "CONTACTAPI_MAIL_FROM": "a@example.org",
    }
    with pytest.raises(Mistake) as mistake:
        Config.from_env({**both, **settings})
    (name,) = settings
    assert name in str(mistake.value) and "cret" not in str(mistake.value)
