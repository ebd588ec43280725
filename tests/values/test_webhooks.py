"""What webhooks say and to whom: signatures, chat shapes, addresses."""

import ipaddress
import json
import re

import pytest

from extras.chat_shapes import chat_message, topic_of
from extras.endpoints import signature, signed
from extras.event_log import EventRow
from extras.outgoing import Said, is_evidently_private, is_public

# -- Standard Webhooks 1.0

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
REF, MOMENT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_signature_is_that_of_the_documents_vector():
    assert signature(SECRET, REF, MOMENT, BODY) == SIGNATURE
    headers = signed([SECRET, SECRET], REF, MOMENT, BODY)
    assert headers == {
        "webhook-id": REF,
        "webhook-timestamp": "1614265330",
        "webhook-signature": f"{SIGNATURE} {SIGNATURE}",
    }


# -- which addresses are anybody's


@pytest.mark.parametrize(
    "address",
    [
        *("8.8.8.8", "93.184.216.34", "198.41.0.4", "1.1.1.1", "172.32.0.1"),
        *("2606:4700:4700::1111", "2a00:1450:4001:81b::200e", "64:ff9b::808:808"),
        *("::ffff:8.8.8.8", "2002:808:808::1"),
    ],
)
def test_a_public_address_may_be_reached(address):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.9.9.9"),
        *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1"),
        *("192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.51.100.1"),
        *("203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1"),
        *("255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1"),
        *("::ffff:10.0.0.1", "::ffff:0:7f00:1", "64:ff9b::7f00:1", "64:ff9b::a00:1"),
        *("64:ff9b:1::808:808", "100::1", "2001::1", "2001:0:4136:e378:8000::1"),
        *("2001:10::1", "2001:db8::1", "2002:7f00:1::", "2002:a00:1::1"),
        *("3fff::1", "5f00::1", "fc00::1", "fd12:3456::1", "fe80::1", "fec0::1"),
        *("ff02::1", "4000::1"),
    ],
)
def test_an_address_that_is_not_public_is_none_in_any_spelling(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "db.localhost", "127.0.0.1", "127.1", "2130706433", "0"),
        *("0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001", "10.1"),
        *("::1", "::ffff:127.0.0.1", "fd00::1", "169.254.169.254"),
    ],
)
def test_what_needs_no_look_up_is_told_at_once(host):
    assert is_evidently_private(host)


@pytest.mark.parametrize("host", ["example.com", "8.8.8.8", "134744072", "localhost.x"])
def test_a_name_is_looked_up_later(host):
    assert not is_evidently_private(host)


# -- Retry-After


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("120", 120),
        ("0", 0),
        ("Sun, 05 Jul 2026 10:00:00 GMT", 3600),
        ("Sunday, 05-Jul-26 10:00:00 GMT", 3600),
        ("Sun, 05 Jul 2026 08:00:00 GMT", 1),
        *((text, None) for text in ("", "soon", "-5", "1.5", "9" * 40, "Sun, 99 Jul")),
    ],
)
def test_retry_after_is_read_in_both_its_forms(text, seconds):
    assert Said(429, "", text).pause(1783242000.0) == seconds


# -- chats


def accepted(fields, **more):
    data = {
        "id": "sub_01h455vb4pex5vsknk084sn02q",
        "email": None,
        "subject": None,
        "page": "https://example.com",
        "fields": fields,
        **more,
    }
    return event("submission.accepted", data)


def event(kind, data):
    text = json.dumps(data, ensure_ascii=False)
    return EventRow(1, kind, 0, "env", data["id"], text, "[]")


def said(shape, row):
    sent = json.loads(chat_message(shape, row))
    return sent.get("content") or sent.get("text") or sent["message"]


HOSTILE = "@everyone <!channel> <@U1> [x](http://evil.test) https://evil.test *b* `c` &"


@pytest.mark.parametrize("shape", ["slack", "text", "discord", "ntfy"])
def test_nobody_is_mentioned_and_nothing_is_linked(shape):
    sent = chat_message(shape, accepted({"a": HOSTILE, HOSTILE: "b"}, subject=HOSTILE))
    for text in json.loads(sent).values():
        if isinstance(text, str):
            assert not re.search("@[^\u200b]|[^\u200b]://", text), text
    assert "everyone" in sent and "evil.test" in sent


def test_slack_has_its_three_characters_escaped():
    text = said("slack", accepted({"a": HOSTILE}))
    assert "<" not in text and ">" not in text
    assert "&lt;!channel&gt; &lt;@\u200bU1&gt;" in text and text.count("& ") == 0
    assert set(json.loads(chat_message("slack", accepted({})))) == {"text"}


def test_text_is_unescaped_and_breaks_what_a_chat_reads_in_angle_brackets():
    text = said("text", accepted({"a": "<users/all> a < b & c"}))
    assert "a: <\u200busers/all> a <\u200b b & c" in text


def test_discord_has_mentions_off_embeds_suppressed_and_markdown_escaped():
    sent = json.loads(
        chat_message("discord", accepted({"a": "*b* [x](y) # > `c` \\ <t:1>"}))
    )
    assert sent["allowed_mentions"] == {"parse": []} and sent["flags"] == 4
    escaped = r"a: \*b\* \[x\]\(y\) \# \> \`c\` \\ \<t:1\>"
    assert escaped in sent["content"]


def test_a_message_says_what_was_sent_by_whom_and_from_where():
    row = accepted({"name": "Ada", "tags": ["a", 1]}, email="a@x.org", subject="Hi")
    assert said("text", row).replace("\u200b", "") == (
        'New message: Hi\nname: Ada\ntags: ["a",1]\nemail: a@x.org\n'
        "from https://example.com, sub_01h455vb4pex5vsknk084sn02q"
    )


def test_another_event_is_its_type_and_its_record():
    text = said("text", event("contact.deleted", {"id": "con_1"}))
    assert text == "contact.deleted\nid: con_1"


@pytest.mark.parametrize("char", ["a", "é", "@", "<", "&", "*", "€", "😀", "://"])
@pytest.mark.parametrize("shape", ["slack", "text", "discord", "ntfy"])
def test_a_long_message_is_cut_at_4000_bytes_and_no_spelling_in_two(shape, char):
    sent = json.loads(
        chat_message(shape, accepted({"a": char * 9000}, subject="s" * 300))
    )
    texts = [sent[n] for n in ("title", "text", "content", "message") if n in sent]
    size = sum(len(text.encode()) for text in texts)
    units = sum(len(text.encode("utf-16-le")) // 2 for text in texts)
    assert size <= 4000 and texts[-1].endswith("…")
    assert units <= 2000 if shape == "discord" else size > 3900
    if shape == "discord":
        assert units > 1990 or size > 3900
    tail = texts[-1].removesuffix("…")
    assert "�" not in tail and not (shape == "discord" and tail.endswith("\\"))
    assert shape != "slack" or re.fullmatch("([^&]|&(amp|lt|gt);)*", tail)


@pytest.mark.parametrize("shape", ["slack", "text", "ntfy"])
@pytest.mark.parametrize("length", range(3900, 4001))
def test_a_message_that_fits_is_whole(shape, length):
    row = event("contact.deleted", {"id": "x" * length})
    text = said(shape, row)
    whole = len(f"contact.deleted{'' if shape == 'ntfy' else chr(10)}id: ") + length
    assert text.endswith("x") == (whole <= 4000)
    assert len(text.encode()) == min(whole, 4000) - (15 if shape == "ntfy" else 0)


def test_ntfys_topic_is_the_urls_last_segment():
    assert topic_of("https://ntfy.sh/mine") == ("https://ntfy.sh/", "mine")
    assert topic_of("http://h/a/b?auth=x/y") == ("http://h/a/?auth=x/y", "b")
    assert topic_of("https://ntfy.sh/")[1] == ""
