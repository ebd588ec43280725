"""Mail: who is told of what was accepted, how often, and when."""

import pytest

import contactapi
from client import PAGE, keep_house
from postbox import (
    OWNER,
    Postbox,
    accept,
    form_key,
    recipients,
    submit,
    text_of,
)
from processes import free_port

# -- one submission


def test_what_was_accepted_is_told_to_each_of_notify(mails):
    key = form_key(mails, (OWNER, "second@example.com"))
    sent = submit(mails, key, {"email": "ada@example.com", "message": "Hi\nyou"})
    told = mails.drain()
    assert recipients(told) == [OWNER, "second@example.com"]
    mail = told[0]
    assert mail["From"] == "Forms <forms@example.org>"
    assert mail["Reply-To"] == "ada@example.com"
    assert mail["Subject"] == "New submission from example.com"
    assert text_of(mail) == (
        "This was sent at https://example.com.\n\nemail\n    ada@example.com\n\n"
        "message\n    Hi\n    you\n\nhttps://contacts.example.org/\n\n"
        f"Submission {sent['submission']}, 2026-07-04 10:00 UTC.\n"
        "Your answer goes to ada@example.com.\n"
    )
    assert mails.drain() == []


def test_a_key_without_notify_and_a_server_without_mail_tell_nobody(mails, make):
    submit(mails, mails.key("publishable"))
    assert mails.drain() == []
    bare = make("bare.db", CONTACTAPI_RATE_LIMIT="off")
    submit(bare, form_key(bare))
    assert bare.services.store.row("SELECT count(*) FROM delivery") == (0,)


def test_a_contact_posted_with_a_publishable_key_is_told_too(mails):
    key = form_key(mails)
    body = {"email": "ada@example.com", "subject": "About tea"}
    assert mails.post(body, key=key, headers=PAGE).status_int == 201
    (mail,) = mails.drain()
    assert mail["Subject"] == "About tea"


@pytest.mark.parametrize(
    "fields,subject",
    [
        ({"subject": "Seen"}, "Seen"),
        ({"subject": "Seen", "_subject": "Hidden"}, "Hidden"),
        ({"_subject": "=?utf-8?q?x=0D=0ABcc:a@b.example?="}, "x  Bcc:a@b.example"),
        ({"_subject": "x\r\nBcc: a@b.example"}, "x  Bcc: a@b.example"),
        ({"_subject": "x" * 300}, "x" * 200),
        ({"_subject": "Grüße"}, "Grüße"),
    ],
)
def test_the_subject_is_the_forms(fields, subject, mails):
    submit(mails, form_key(mails), {"email": "ada@example.com", **fields})
    (mail,) = mails.drain()
    assert mail["Subject"] == subject and "Bcc" not in mail


@pytest.mark.parametrize(
    "fields,reply_to",
    [
        ({"email": "ada@example.com"}, "ada@example.com"),
        ({"_replyto": "eva@example.com"}, "eva@example.com"),
        (
            {"email": "ada@example.com", "_replyto": "eva@example.com"},
            "eva@example.com",
        ),
        ({"email": "ada@example.com", "_replyto": "no address"}, "ada@example.com"),
        ({"message": "anonymous"}, None),
    ],
)
def test_an_answer_goes_to_replyto_or_the_email(fields, reply_to, mails):
    submit(mails, form_key(mails), fields)
    (mail,) = mails.drain()
    assert mail["Reply-To"] == reply_to
    assert mail["From"].addresses[0].addr_spec == "forms@example.org"


def test_from_name_is_the_name_alone(mails):
    fields = {"message": "x", "from_name": "Ada <ada@evil.test>\r\nBcc: x@evil.test"}
    submit(mails, form_key(mails), fields)
    (mail,) = mails.drain()
    (sender,) = mail["From"].addresses
    assert sender.addr_spec == "forms@example.org" and "Bcc" not in mail
    assert sender.display_name == "Ada ada evil.test Bcc x evil.test"


def test_control_fields_other_than_these_send_nothing_anywhere(mails):
    fields = {"message": "x", "_cc": "x@evil.test", "ccemail": "y@evil.test"}
    submit(mails, form_key(mails), {**fields, "_bcc": "z@evil.test"})
    (mail,) = mails.drain()
    assert mail.recipient == OWNER and "evil.test" not in mail.raw.decode()


@pytest.mark.parametrize("name", ["email", "_replyto", "name\r\nBcc: x@evil.test", "a"])
def test_no_field_of_a_form_becomes_a_header(name, mails):
    value = "x@example.com\r\nBcc: x@evil.test\r\n\r\nbody"
    body = {"message": "x", name: value}
    answer = mails.ask("POST", f"/f/{form_key(mails)}", body, key=None, headers=PAGE)
    assert answer.status_int == (400 if name == "email" else 200)
    for mail in mails.drain():
        assert "Bcc" not in mail and mail["Reply-To"] is None


def test_what_is_spam_or_held_is_not_told_and_is_when_it_is_accepted(mails):
    key = form_key(mails)
    submit(mails, key, {"email": "bot@example.com", "_gotcha": "x"})
    assert mails.drain() == []
    (spam,) = mails.get("/v1/submissions?state=spam").json["data"]
    accept(mails, spam["id"])
    (mail,) = mails.drain()
    assert mail["Reply-To"] == "bot@example.com"
    accept(mails, spam["id"], "spam")
    accept(mails, spam["id"])
    assert mails.drain() == []


def test_what_is_marked_as_spam_before_the_mail_goes_is_not_told(mails):
    sent = submit(mails, form_key(mails))
    accept(mails, sent["submission"], "spam")
    assert mails.drain() == []


def test_who_is_taken_out_of_notify_hears_nothing_more(mails):
    key = form_key(mails, (OWNER, "second@example.com"))
    submit(mails, key)
    path = f"/api/api-keys/{mails.ref(key)}"
    assert mails.ask("PATCH", path, {"notify": [OWNER]}).status_int == 200
    assert recipients(mails.drain()) == [OWNER]


def test_what_is_erased_before_the_mail_goes_is_not_told(mails):
    submit(mails, form_key(mails))
    (contact,) = mails.get("/v1/contacts").json["data"]
    mails.ask("DELETE", f"/v1/contacts/{contact['id']}")
    assert mails.drain() == []
    assert mails.services.store.row("SELECT count(*) FROM delivery") == (0,)


def test_a_revoked_keys_submissions_are_still_told(mails):
    key = form_key(mails)
    submit(mails, key)
    mails.revoke(key)
    assert recipients(mails.drain()) == [OWNER]


# -- trying again


def test_a_mail_that_is_sent_again_is_known_as_the_same(mails, monkeypatch):
    """The server took it, and we were killed before that was on the disk."""
    submit(mails, form_key(mails))
    outbox = mails.services.outbox
    outbox._try(outbox.claim())
    (first,) = mails.box.take()
    mails.turn(3600)
    (second,) = mails.drain()
    assert first["Message-ID"] == second["Message-ID"]
    assert (first["Date"], first.get_content_type()) == (
        second["Date"],
        second.get_content_type(),
    )


def test_a_recipient_refused_for_good_costs_its_own_mail_alone(mails, caplog):
    submit(mails, form_key(mails, ("gone@example.com", OWNER)))
    mails.box.answers["gone@example.com"] = "550 5.1.1 <gone@example.com> unknown"
    assert recipients(mails.drain()) == [OWNER]
    states = mails.services.store.rows(
        "SELECT target, state, tries, last_status, last_answer FROM delivery"
    )
    assert ("gone@example.com", "failed", 1, 550) in [row[:4] for row in states]
    mails.turn(100_000)
    assert mails.drain() == []
    assert "a mail failed (550)" in caplog.text and "gone@" not in caplog.text


def test_a_recipient_refused_for_now_is_tried_by_the_schedule(mails):
    submit(mails, form_key(mails, ("grey@example.com", OWNER)))
    mails.box.answers["grey@example.com"] = "450 4.2.0 Greylisted"
    assert recipients(mails.drain()) == [OWNER]
    for _ in range(20):
        mails.turn(86_400 * 2)
        mails.drain()
    ((state, tries, status),) = mails.services.store.rows(
        "SELECT state, tries, last_status FROM delivery WHERE target = ?",
        ("grey@example.com",),
    )
    assert (state, tries, status) == ("failed", 12, 450)


def test_recipients_refused_for_now_hold_up_nobody_else(mails):
    grey = [f"grey{n}@example.com" for n in range(8)]
    mails.box.answers.update(dict.fromkeys(grey, "450 4.2.0 Greylisted"))
    submit(mails, form_key(mails, grey))
    mails.drain()
    submit(mails, form_key(mails))
    assert recipients(mails.drain()) == [OWNER]


def test_a_mail_is_listed_by_its_host_and_sent_again_by_hand(mails):
    submit(mails, form_key(mails))
    mails.box.answers[OWNER] = "550 5.1.1 No such user"
    assert mails.drain() == []
    (shown,) = mails.get("/v1/deliveries").json["data"]
    assert (shown["host"], shown["state"]) == ("example.com", "failed")
    assert shown["last_answer"] == "550 5.1.1 No such user"
    assert OWNER not in mails.get("/v1/deliveries").text
    mails.box.answers.clear()
    retried = mails.ask("POST", f"/v1/deliveries/{shown['id']}/retry")
    assert retried.status_int == 200
    assert recipients(mails.drain()) == [OWNER]


# -- how many


def test_more_than_30_an_hour_come_in_one_summary_when_the_hour_ends(mails):
    key = form_key(mails, (OWNER, "second@example.com"))
    for number in range(100):
        submit(mails, key, {"message": "x", "subject": f"No. {number}\nx"})
        mails.turn(10)
    told = mails.drain()
    assert recipients(told) == sorted([OWNER, "second@example.com"] * 30)
    mails.turn(3600 - 1001)
    assert mails.drain() == []
    mails.turn(1)
    summaries = mails.drain()
    assert recipients(summaries) == [OWNER, "second@example.com"]
    text = text_of(summaries[0])
    assert summaries[0]["Subject"] == "70 more submissions from example.com"
    assert "No. 30 x" in text and "No. 79 x" in text and "The first 50" in text
    assert "No. 29 x" not in text and "No. 80 x" not in text
    submit(mails, key, {"message": "y"})
    assert len(mails.drain()) == 2
    mails.turn(7200)
    assert mails.drain() == []


def test_a_summary_sent_by_hand_waits_for_the_end_of_its_hour(mails):
    key = form_key(mails)
    for number in range(40):
        submit(mails, key, {"n": str(number)})
    assert len(mails.drain()) == 30
    (summary,) = mails.get("/v1/deliveries?page_size=1").json["data"]
    answer = mails.ask("POST", f"/v1/deliveries/{summary['id']}/retry")
    assert (answer.status_int, answer.json) == (200, summary)
    assert mails.drain() == []
    submit(mails, key, {"n": "more"})
    mails.turn(3600)
    (told,) = mails.drain()
    assert told["Subject"] == "11 more submissions from example.com"


def test_each_key_has_an_hour_of_its_own(mails):
    first, second = form_key(mails), form_key(mails)
    for number in range(31):
        submit(mails, first, {"n": str(number)})
    submit(mails, second)
    assert len(mails.drain()) == 31


def test_a_summary_tells_nothing_of_who_was_erased_or_is_spam(mails):
    key = form_key(mails)
    for number in range(33):
        body = {"email": f"n{number}@example.com", "subject": f"No. {number}!"}
        last = submit(mails, key, body)
    mails.drain()
    accept(mails, last["submission"], "spam")
    (contact,) = mails.get("/v1/contacts?email=n30@example.com").json["data"]
    mails.ask("DELETE", f"/v1/contacts/{contact['id']}")
    mails.turn(3600)
    (summary,) = mails.drain()
    assert summary["Subject"].startswith("1 more")
    assert "No. 31!" in text_of(summary) and "No. 30!" not in text_of(summary)


def test_a_summary_of_nothing_is_not_sent(mails):
    key = form_key(mails)
    for number in range(31):
        sent = submit(mails, key, {"n": str(number)})
    assert len(mails.drain()) == 30
    mails.ask("DELETE", f"/v1/submissions/{sent['submission']}")
    mails.turn(3600)
    assert mails.drain() == []


def test_what_is_above_the_days_mails_waits_and_the_log_says_so_once(mailing, caplog):
    mails = mailing(CONTACTAPI_MAILS_PER_DAY="5")
    submit(mails, form_key(mails, [f"n{n}@example.com" for n in range(8)]))
    assert len(mails.drain()) == 5
    mails.turn(86_400 - 1)
    assert mails.drain() == []
    assert caplog.text.count("CONTACTAPI_MAILS_PER_DAY have gone") == 1
    mails.turn(1)
    assert recipients(mails.drain()) == [f"n{n}@example.com" for n in (5, 6, 7)]
    tries = mails.services.store.rows("SELECT DISTINCT tries FROM delivery")
    assert tries == [(1,)]


def test_the_days_mails_are_counted_over_processes_and_restarts(mailing):
    mails = mailing(CONTACTAPI_MAILS_PER_DAY="5")
    submit(mails, form_key(mails, [f"n{n}@example.com" for n in range(4)]))
    assert len(mails.drain()) == 4
    other = mailing(like=mails, CONTACTAPI_MAILS_PER_DAY="5")
    submit(other, form_key(other, [f"n{n}@example.com" for n in range(4)]))
    assert len(other.drain()) == 1 and mails.drain() == []


def test_marks_are_forgotten_when_they_count_no_more(mails):
    submit(mails, form_key(mails))
    mails.drain()
    tidy = keep_house(mails).tidy
    mails.turn(3600)
    tidy()
    names = mails.services.store.rows("SELECT name FROM mark")
    assert names == [("mail",)]
    mails.turn(86_400)
    tidy()
    assert mails.services.store.rows("SELECT name FROM mark") == []


# -- what waits because of a captcha


def doubtful(client):
    """A key whose captcha's service never answers."""
    verdict = contactapi.Verdict("held", "captcha_unavailable")
    client.services.submissions.checks["service"] = lambda caller, post: verdict
    return form_key(client, captcha="service")


def test_what_waits_because_of_a_captcha_is_told_once_a_day(mails):
    key = doubtful(mails)
    tidy = keep_house(mails).tidy
    for number in range(3):
        submit(mails, key, {"n": str(number)})
    (mail,) = mails.drain()
    assert mail.recipient == OWNER
    assert mail["Subject"] == "3 submissions from example.com: accept or reject"
    submit(mails, key, {"n": "4"})
    assert mails.drain() == []
    mails.turn(86_400)
    tidy()
    (mail,) = mails.drain()
    assert mail["Subject"].startswith("4 submissions")
    for held in mails.get("/v1/submissions?state=held").json["data"]:
        accept(mails, held["id"])
    mails.drain()
    mails.turn(86_400)
    tidy()
    assert mails.drain() == []


# -- what is told of it


def test_the_log_holds_no_address(mails, caplog):
    caplog.set_level("INFO", logger="contactapi")
    submit(mails, form_key(mails))
    mails.box.answers["DATA"] = "554 5.7.1 no ada@example.com"
    mails.drain()
    ours = [r.getMessage() for r in caplog.records if r.name == "contactapi"]
    assert len(ours) > 1 and "@" not in "".join(ours)


def test_a_mail_waits_while_the_server_cannot_be_reached(mailing):
    port = free_port()
    mails = mailing(CONTACTAPI_SMTP_URL=f"smtp://127.0.0.1:{port}")
    submit(mails, form_key(mails))
    mails.drain()
    ((answer,),) = mails.services.store.rows("SELECT last_answer FROM delivery")
    assert answer.startswith("the mail server cannot be used")
    with Postbox(port) as box:
        mails.turn(10)
        mails.drain()
        assert recipients(box.mails) == [OWNER]
