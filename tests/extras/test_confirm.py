"""Double opt-in, tried as an attacker would."""

import http.client
import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest

import contactapi
from client import PAGE, keep_house
from postbox import MAIL, accept, form_key, submit, text_of

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
DAY = 86_400
EVA = {"email": "eva@example.com", "name": "Eva"}


@pytest.fixture
def key(mails):
    return form_key(mails, (), confirm=True)


def from_address(number):
    return {"REMOTE_ADDR": f"203.0.113.{number}"}


def sign_up(client, key, body=EVA, **environ):
    """The submission's id."""
    answer = client.ask("POST", f"/f/{key}", body, key=None, headers=PAGE, **environ)
    assert answer.status_int == 200, answer.text
    return answer.json["submission"]


def links(mails):
    """The path of each mail's link."""
    found = [
        re.findall(r"https://contacts\.example\.org(/c/\S+)", text_of(m)) for m in mails
    ]
    assert all(len(paths) == 1 for paths in found)
    return [path for (path,) in found]


def link_for(client, key, body=EVA, **environ):
    sign_up(client, key, body, **environ)
    (path,) = links(client.drain())
    return path


def look(client, path, status=200):
    answer = client.get(path, key=None, headers=BROWSER)
    assert answer.status_int == status, answer.text
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    return answer


def press(client, path, page, button="yes", status=200):
    """Sends the page's form."""
    (shown,) = re.findall(r'name="shown" value="([^"]+)"', page.text)
    return send(client, path, {"shown": shown, "answer": button}, status)


def send(client, path, form, status=200):
    form_type = {"Content-Type": "application/x-www-form-urlencoded"}
    headers = {**BROWSER, **form_type, "Origin": "null"}
    body = urlencode(form).encode()
    answer = client.ask("POST", path, body, key=None, headers=headers)
    assert answer.status_int == status, answer.text
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    return answer


def states(client):
    """(state, reason, whether confirmed) of all, oldest first."""
    rows = client.get("/v1/submissions?page_size=100").json["data"]
    return [(r["state"], r["reason"], bool(r["confirmed_at"])) for r in rows][::-1]


HELD = ("held", "unconfirmed", False)
CONFIRMED = ("accepted", None, True)


# -- as it should go


def test_a_sign_up_waits_for_the_persons_own_word(mails, key):
    path = link_for(mails, key)
    assert states(mails) == [HELD] and mails.emails() == []
    page = look(mails, path)
    assert "eva@example.com" in page.text and ">Eva" in page.text
    assert states(mails) == [HELD] and mails.emails() == []
    pressed = press(mails, path, page)
    assert "confirmed" in pressed.text
    assert states(mails) == [CONFIRMED] and mails.emails() == ["eva@example.com"]
    (event,) = [
        event
        for event in mails.get("/v1/events").json["data"]
        if event["type"] == "submission.accepted"
    ]
    assert event["key"] == "confirmation" and event["data"]["confirmed_at"]


def test_the_mail_has_nothing_of_the_visitors_words_but_the_address(mails, key):
    words = {"name": "BUY NOW", "subject": "CHEAP", "message": "http://evil.test"}
    control = {"_subject": "SPAM", "from_name": "YOUR BANK", "_replyto": "x@evil.test"}
    sign_up(mails, key, {**EVA, **words, **control})
    (mail,) = mails.drain()
    assert mail.recipient == "eva@example.com" and mail["Reply-To"] is None
    assert mail["Subject"] == "Please confirm your address for example.com"
    assert mail["From"] == "Forms <forms@example.org>"
    raw = mail.raw.decode() + text_of(mail) + text_of(mail, "html")
    assert not re.search("BUY|CHEAP|evil|SPAM|BANK", raw) and "eva@example.com" in raw


def test_then_the_browser_goes_where_the_key_says(mails):
    key = form_key(mails, (), confirm=True, redirect="https://example.com/welcome")
    path = link_for(mails, key)
    page = look(mails, path)
    assert "form-action" not in page.headers["Content-Security-Policy"]
    pressed = press(mails, path, page, status=303)
    assert pressed.headers["Location"] == "https://example.com/welcome"
    assert press(mails, path, page, status=303).headers["Location"]


def test_the_owner_hears_of_it_once_it_is_confirmed(mails):
    key = form_key(mails, ("owner@example.com",), confirm=True)
    path = link_for(mails, key)
    press(mails, path, look(mails, path))
    (mail,) = mails.drain()
    assert mail.recipient == "owner@example.com"
    assert "The address was confirmed" in text_of(mail)


def test_what_a_person_accepted_by_hand_can_still_be_confirmed(mails, key):
    path = link_for(mails, key)
    (row,) = mails.get("/v1/submissions").json["data"]
    page = look(mails, path)
    accept(mails, row["id"])
    assert states(mails) == [("accepted", None, False)]
    press(mails, path, page)
    assert states(mails) == [CONFIRMED] and len(mails.emails()) == 1


def test_a_contact_posted_as_json_waits_as_well(mails, key):
    assert mails.post(EVA, key=key, headers=PAGE).status_int == 201
    assert mails.emails() == []
    (path,) = links(mails.drain())
    press(mails, path, look(mails, path))
    assert mails.emails() == ["eva@example.com"]


@pytest.mark.parametrize("why", ["honeypot", "captcha"])
def test_what_a_person_lets_through_is_asked_about_then(why, mails):
    verdict = contactapi.Verdict("held", "captcha_unavailable")
    mails.services.submissions.checks["service"] = lambda caller, post: verdict
    key = form_key(mails, (), confirm=True, captcha="service")
    sign_up(mails, key, {**EVA, "_gotcha": "x" if why == "honeypot" else ""})
    (row,) = mails.get("/v1/submissions").json["data"]
    assert mails.drain() == [] and row["state"] in ("held", "spam")
    mails.turn(8 * DAY)  # a week of its own begins when it is asked
    assert accept(mails, row["id"])["reason"] == "unconfirmed"
    assert states(mails) == [HELD]
    (path,) = links(mails.drain())
    mails.turn(7 * DAY - 1)
    assert mails.services.submissions.expire() == 0
    press(mails, path, look(mails, path))
    assert states(mails) == [CONFIRMED] and mails.emails() == ["eva@example.com"]


# -- the page


def test_what_was_sent_is_shown_as_text(mails, key):
    evil = {
        "<script>a</script>": '"><img src=x onerror=alert(1)>',
        "list": ["<b>", "c"],
        "nested": {"a": ["<i>"]},
    }
    path = link_for(mails, key, {**EVA, **evil})
    text = look(mails, path).text
    assert "<script>a" not in text and "<img" not in text
    assert "<b>" not in text and "<i>" not in text
    assert "&lt;script&gt;a&lt;/script&gt;" in text


def test_the_page_may_run_nothing_and_stand_in_no_frame(mails, key):
    path = link_for(mails, key)
    policy = look(mails, path).headers["Content-Security-Policy"]
    assert "unsafe-inline" not in policy and "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy and "form-action 'self'" in policy


# -- signing somebody else up


def test_a_program_that_looks_at_mail_confirms_nothing(mails, key):
    path = link_for(mails, key)
    for method in ("GET", "HEAD", "OPTIONS", "GET"):
        mails.ask(method, path, key=None, headers=BROWSER)
        mails.ask(method, path + "/", key=None)
        mails.ask(method, path + "?answer=yes", key=None)
    assert states(mails) == [HELD] and mails.emails() == []


def test_nothing_of_a_known_person_changes_before(mails, key):
    mails.add("eva@example.com", name="Eva", plan="pro")
    before = mails.get("/v1/contacts").json["data"]
    path = link_for(mails, key, {**EVA, "name": "Mallory", "plan": "free"})
    assert mails.get("/v1/contacts").json["data"] == before
    look(mails, path)
    assert mails.get("/v1/contacts").json["data"] == before


def test_a_link_accepts_what_was_shown_and_not_what_came_since(mails, key):
    path = link_for(mails, key)
    page = look(mails, path)
    sign_up(mails, key, {**EVA, "name": "Mallory"}, **from_address(9))
    press(mails, path, page)
    assert states(mails) == [CONFIRMED, HELD]
    (contact,) = mails.get("/v1/contacts").json["data"]
    assert contact["name"] == "Eva"


def test_what_came_last_is_shown_and_the_older_ones_stay_until_their_day(mails, key):
    path = link_for(mails, key)
    mails.turn(60)
    sign_up(mails, key, {**EVA, "name": "Eva B."})
    page = look(mails, path)
    assert "Eva B." in page.text
    press(mails, path, page)
    assert states(mails) == [HELD, CONFIRMED]
    assert "confirmed" in look(mails, path).text
    (contact,) = mails.get("/v1/contacts").json["data"]
    assert contact["name"] == "Eva B."


def test_a_button_for_another_address_or_key_is_worth_nothing(mails, key):
    path = link_for(mails, key)
    other = link_for(mails, key, {"email": "bob@example.com"}, **from_address(2))
    same_address = form_key(mails, (), confirm=True)
    mails.turn(3600)
    third = link_for(mails, same_address, {**EVA, "x": "1"}, **from_address(3))
    for page in (look(mails, other), look(mails, third)):
        press(mails, path, page, status=410)
        press(mails, path, page, "no", status=410)
    assert states(mails) == [HELD] * 3


def test_guessed_links_and_buttons_are_410_on_a_page_that_says_what_to_do(mails, key):
    path = link_for(mails, key)
    (shown,) = re.findall(r'name="shown" value="([^"]+)"', look(mails, path).text)
    uid, expiry, mac = path.removeprefix("/c/").split("-")
    late = f"{int(expiry, 16) + 999:x}"
    zero = "0" * 32
    guesses = [f"{uid}-{expiry}-{zero}", f"{uid}-{late}-{mac}", f"{uid}-{expiry}-"]
    guesses += [f"{char * 26}-{expiry}-{mac}" for char in "0iz"]
    guesses += [uid, "x", "%C3%A9", "a/b", "-", mac[::-1]]
    guesses += [f"{uid}-{expiry}-{mac}0", f"{uid.upper()}-{expiry}-{mac}", "'", "%00"]
    for guess in guesses:
        answer = mails.get(f"/c/{guess}", key=None, headers=BROWSER)
        assert answer.status_int in (404, 410), guess
        if answer.status_int == 410:
            assert "send the form once more" in answer.text.lower()
            form = {"shown": shown, "answer": "yes"}
            send(mails, f"/c/{guess}", form, status=410)
    for text in ("", uid, f"{uid}-{zero}", f"{shown}0", mac, "é"):
        send(mails, path, {"shown": text, "answer": "yes"}, status=410)
    send(mails, path, {"answer": "yes"}, status=410)
    assert states(mails) == [HELD]


def test_a_button_that_says_nothing_known_is_400(mails, key):
    path = link_for(mails, key)
    (shown,) = re.findall(r'name="shown" value="([^"]+)"', look(mails, path).text)
    headers = {**BROWSER, "Content-Type": "application/x-www-form-urlencoded"}
    for said in ("", "maybe", "YES"):
        body = urlencode({"shown": shown, "answer": said}).encode()
        answer = mails.ask("POST", path, body, key=None, headers=headers)
        assert answer.status_int == 400
    assert states(mails) == [HELD]


def test_a_program_that_asks_for_json_gets_the_code(mails):
    answer = mails.get("/c/x", key=None, headers={"Accept": "application/json"})
    assert (answer.status_int, answer.json["error"]["code"]) == (410, "gone")
    assert mails.get("/c/x", key=None).status_int == 410


def test_the_page_is_made_beside_the_short_requests_and_counted_once(served, box):
    url = f"smtp://127.0.0.1:{box.port}"
    more = {"CONTACTAPI_SMTP_URL": url, "CONTACTAPI_RATE_LIMIT": "3/60"}
    client = served(**{**MAIL, **more})
    sign_up(client, form_key(client, (), confirm=True))
    client.services.outbox.step()
    (path,) = links(box.take())
    for status in (200, 200, 200, 429):
        connection = http.client.HTTPConnection(*client.address, timeout=60)
        connection.request("GET", path, headers=BROWSER)
        answer = connection.getresponse()
        assert answer.status == status
        assert "text/html" in answer.headers["Content-Type"]
        connection.close()


def test_guessing_is_counted(mailing):
    mails = mailing(CONTACTAPI_RATE_LIMIT="5/60")
    answers = [mails.get(f"/c/{n}", key=None, headers=BROWSER) for n in range(7)]
    assert [a.status_int for a in answers] == [410] * 5 + [429] * 2
    assert {a.content_type for a in answers} == {"text/html"}


def test_a_link_is_not_logged(mails, key, caplog):
    caplog.set_level("INFO", logger="contactapi")
    path = link_for(mails, key)
    press(mails, path, look(mails, path))
    lines = [r.getMessage() for r in caplog.records if r.name == "contactapi"]
    assert any(" /c/… " in line for line in lines)
    assert path[3:20] not in "".join(lines)


# -- again, and too late


def test_a_second_press_is_the_same_success_for_seven_days(mails, key):
    path = link_for(mails, key)
    page = look(mails, path)
    first = press(mails, path, page)
    for _ in range(6):
        mails.turn(DAY)
        assert press(mails, path, page).text == first.text
        assert look(mails, path).text == first.text
    events = len(mails.get("/v1/events").json["data"])
    mails.turn(DAY)
    press(mails, path, page, status=410)
    look(mails, path, 410)
    assert len(mails.get("/v1/events").json["data"]) == events
    assert states(mails) == [CONFIRMED]


def test_a_link_ends_after_seven_days(mails, key):
    path = link_for(mails, key)
    mails.turn(7 * DAY - 1)
    page = look(mails, path)
    mails.turn(1)
    look(mails, path, 410)
    press(mails, path, page, status=410)
    press(mails, path, page, "no", status=410)
    assert states(mails) == [HELD]


def test_a_late_link_does_not_accept_what_came_since(mails, key):
    path = link_for(mails, key)
    mails.turn(6 * DAY)
    fresh = link_for(mails, key, {**EVA, "name": "Eva B."})
    page = look(mails, fresh)
    mails.turn(2 * DAY)
    look(mails, path, 410)
    press(mails, path, page, status=410)
    press(mails, fresh, page)
    assert states(mails) == [HELD, CONFIRMED]


def test_what_was_marked_as_spam_or_erased_cannot_be_confirmed(mails, key):
    path = link_for(mails, key)
    page = look(mails, path)
    (row,) = mails.get("/v1/submissions").json["data"]
    accept(mails, row["id"], "spam")
    look(mails, path, 410)
    press(mails, path, page, status=410)
    mails.ask("DELETE", f"/v1/submissions/{row['id']}")
    look(mails, path, 410)
    press(mails, path, page, status=410)
    assert mails.emails() == []


def test_ten_presses_at_once_accept_once(mails, key):
    path = link_for(mails, key)
    page = look(mails, path)
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: press(mails, path, page), range(10)))
    types = [event["type"] for event in mails.get("/v1/events").json["data"]]
    assert types.count("submission.accepted") == 1 and len(mails.emails()) == 1


def test_another_process_knows_the_link_and_the_limits(mailing, mails, key):
    path = link_for(mails, key)
    other = mailing(like=mails)
    sign_up(other, key, {**EVA, "x": "2"}, **from_address(2))
    assert other.drain() == []
    press(other, path, look(other, path))
    assert "confirmed" in look(mails, path).text


# -- list bombing


def test_an_address_gets_one_mail_an_hour_and_five_a_day(mails, key):
    sent = 0
    for hour in range(24):
        for number in range(3):
            body = {**EVA, "n": f"{hour} {number}"}
            sign_up(mails, key, body, **from_address(10 * number + hour % 10 + 1))
        sent += len(mails.drain())
        mails.turn(3600)
    assert sent == 5
    sign_up(mails, key, {**EVA, "n": "again"}, **from_address(99))
    assert len(mails.drain()) == 1
    assert states(mails).count(HELD) == 73


def test_the_spellings_of_an_address_are_one_and_so_are_all_keys(mails, key):
    other = form_key(mails, (), confirm=True)
    for number, email in enumerate(
        ["eva@example.com", "EVA@Example.COM", " eva@example.com"]
    ):
        for one in (key, other):
            sign_up(
                mails,
                one,
                {"email": email, "n": str(number)},
                **from_address(number + 1),
            )
    assert len(mails.drain()) == 1


def test_a_visitor_causes_five_mails_an_hour(mails, key):
    for number in range(10):
        sign_up(mails, key, {"email": f"n{number}@example.com"})
    assert len(mails.drain()) == 5
    mails.turn(3600)
    sign_up(mails, key, {"email": "later@example.com"})
    assert len(mails.drain()) == 1


def test_a_key_causes_200_mails_a_day(mails, key):
    for number in range(210):
        body = {"email": f"n{number}@example.com"}
        environ = {"REMOTE_ADDR": f"10.1.{number}.1"}
        sign_up(mails, key, body, **environ)
    assert len(mails.drain()) == 200
    mails.turn(DAY)
    sign_up(mails, key, {"email": "later@example.com"})
    assert len(mails.drain()) == 1


def test_no_address_of_a_visitor_is_stored_and_its_hash_for_an_hour(mails, key):
    sign_up(mails, key, EVA, REMOTE_ADDR="198.51.100.77")
    mails.drain()
    store = mails.services.store
    with open(store.path, "rb") as file, open(f"{store.path}-wal", "rb") as wal:
        assert b"198.51.100" not in file.read() + wal.read()
    count = "SELECT count(*) FROM mark WHERE name LIKE 'asked by %'"
    assert store.row(count) == (1,)
    mails.turn(3600)
    keep_house(mails).tidy()
    assert store.row(count) == (0,)


# -- who wants none


def test_who_refuses_is_never_written_to_again(mails, key):
    path = link_for(mails, key)
    page = look(mails, path)
    assert "any more" in press(mails, path, page, "no").text
    assert states(mails) == [HELD] and mails.emails() == []
    for day in range(3):
        mails.turn(DAY)
        other = form_key(mails, (), confirm=True)
        sign_up(mails, other, {"email": "EVA@example.com", "n": str(day)})
        assert mails.drain() == []
    sql = "SELECT name FROM mark WHERE name LIKE 'refuses %'"
    mails.turn(400 * DAY)
    keep_house(mails).tidy()
    ((name,),) = mails.services.store.rows(sql)
    assert "eva" not in name


def test_who_refuses_between_the_post_and_the_mail_gets_none(mails, key):
    path = link_for(mails, key)
    page = look(mails, path)
    mails.turn(3600)
    sign_up(mails, key, {**EVA, "n": "2"})
    press(mails, path, page, "no")
    assert mails.drain() == []


def test_who_pressed_the_wrong_button_can_still_confirm(mails, key):
    path = link_for(mails, key)
    page = look(mails, path)
    press(mails, path, page, "no")
    press(mails, path, page)
    assert states(mails) == [CONFIRMED]


# -- what a stranger learns


def test_known_unknown_and_refusing_addresses_are_answered_alike(mails, key):
    mails.add("known@example.com")
    path = link_for(mails, key, {"email": "refusing@example.com"})
    press(mails, path, look(mails, path), "no")
    mails.turn(3600)
    answers = []
    for who in ("known", "unknown", "refusing", "known"):
        body = {"email": f"{who}@example.com", "n": "1"}
        answer = mails.ask("POST", f"/f/{key}", body, key=None, headers=PAGE)
        shape = {n: type(v).__name__ for n, v in answer.json.items()}
        sizes = {n: len(v) for n, v in answer.headers.items() if n != "X-Request-Id"}
        answers.append((answer.status_int, shape, sizes, answer.json["message"]))
    assert all(answer == answers[0] for answer in answers)


def test_known_unknown_and_refusing_addresses_make_the_same_work(mails, key):
    """The same questions to the database, the same writes: what time it takes tells
    nothing, even before it is put on the grid."""
    mails.add("known@example.com")
    path = link_for(mails, key, {"email": "refusing@example.com"})
    press(mails, path, look(mails, path), "no")
    mails.turn(3600)
    connection, asked = mails.services.store.writing.connection(), {}
    for number, who in enumerate(("known", "unknown", "refusing")):
        said = asked[who] = []
        mails.turn(1)
        connection.set_trace_callback(said.append)
        body = {"email": f"{who}@example.com"}
        sign_up(mails, key, body, REMOTE_ADDR=f"10.{number}.0.1")
        connection.set_trace_callback(None)
    alike = [
        [re.sub(r"'[^']*'|x'\w*'|\d+", "?", sql) for sql in said]
        for said in asked.values()
    ]
    assert alike[0] == alike[1] == alike[2] and len(alike[0]) > 10


# -- without what it needs


def test_without_a_public_url_or_mail_it_is_held(mailing, make):
    mails = mailing(CONTACTAPI_PUBLIC_URL="")
    sign_up(mails, form_key(mails, (), confirm=True))
    assert states(mails) == [HELD] and mails.drain() == []
    bare = make("bare.db", CONTACTAPI_RATE_LIMIT="off")
    sign_up(bare, form_key(bare, (), confirm=True))
    assert states(bare) == [HELD]
    assert bare.get("/c/x", key=None).status_int == 404


def test_a_form_without_an_email_is_told_to_name_one(mails, key):
    answer = mails.ask("POST", f"/f/{key}", {"n": "1"}, key=None, headers=PAGE)
    assert answer.status_int == 400
    assert submit(mails, key)["submission"]
