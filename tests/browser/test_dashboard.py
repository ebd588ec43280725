"""The dashboard, used as its owner would: every action takes effect in the API."""

import http.server
import json
import re
import subprocess
import threading
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    StaleElementReferenceException,
)
from selenium.webdriver.common.keys import Keys

from browsers import PACKAGES, SCHEMES, WIDTHS, form_key
from processes import SECRET, make_key, run, until

PAGES = Path(__file__).parents[2] / "pages"
PROBE = "<img src=x onerror=window.hit=1>"
VIEWS = (
    *("overview", "inbox", "inbox?state=held", "inbox?state=spam", "contacts"),
    *("companies", "calls", "forms", "forms/new", "keys", "webhooks", "files"),
)
DIALOGS = (
    ("contacts", "Filter"),
    ("contacts", "Export"),
    ("contacts", "Add a contact"),
    ("calls", "Ask for a call"),
    ("keys", "Make a key"),
    ("keys", "Revoke"),
    ("webhooks", "Add a webhook"),
    ("forms/new", "Next"),
)
FOUND = """
    const said = (one) => one.getAttribute("aria-label") || one.innerText.trim();
    const top = [...document.querySelectorAll("dialog[open]")].at(-1);
    const there = [...document.querySelectorAll("button, a, summary, label")].filter(
      (one) => one.checkVisibility({visibilityProperty: true}) && !one.disabled
        && (!top || top.contains(one) || one.closest("#toasts")));
    return there.find((one) => said(one) === arguments[0])
      || there.find((one) => said(one).startsWith(arguments[0]));
"""


def control(browser, words):
    """The button, link or label that begins with these words, waited for."""
    found = until(lambda: browser.run(FOUND, words))
    assert found, f"no {words!r} in: {seen(browser)[:2000]}"
    return found


def press(browser, words):
    """Once it stands still: what is drawn anew, or comes in, is looked for again."""

    def pressed():
        with suppress(StaleElementReferenceException, ElementClickInterceptedException):
            control(browser, words).click()
            return True

    assert until(pressed), words


def seen(browser, css="body"):
    """The text that can be seen there, "" where there is no such place (yet)."""
    return browser.run(
        "return [...document.querySelectorAll(arguments[0])].at(-1)?.innerText || ''",
        css,
    )


def texts(browser, css):
    find = (
        "return [...document.querySelectorAll(arguments[0])].map(one => one.innerText)"
    )
    return browser.run(find, css)


def shows(browser, words, css="body"):
    assert until(lambda: words in seen(browser, css)), (words, seen(browser, css))


def is_gone(browser, css):
    assert until(lambda: not browser.all(css)), css


def sign_in(browser, server, view="overview", key=SECRET):
    browser.open(f"{server.url}/#/{view}")
    browser.type("#key", key)
    press(browser, "Sign in")
    browser.find("#main h1")


def turn_to(browser, view):
    browser.run("location.hash = arguments[0]", f"#/{view}")
    browser.find("#main h1")


def keys_of(browser, keys):
    """Typed where the page has its focus, in no field."""
    browser.run("document.activeElement.blur()")
    browser.find("body").send_keys(keys)


def labelled(browser, words):
    """The control with this label."""
    return until(
        lambda: browser.run(
            """
        const at = document.querySelector("dialog[open]") || document;
        const label = [...at.querySelectorAll("label")].find(
            (one) => one.innerText.trim().startsWith(arguments[0]));
        return label && document.getElementById(label.htmlFor);
        """,
            words,
        )
    )


def pick(browser, words, option):
    """Chooses an option, by its first words, of the control with this label."""
    choose = """
        const select = arguments[0];
        const fits = (one) => one.text.startsWith(arguments[1]);
        select.value = [...select.options].find(fits).value;
        select.dispatchEvent(new Event("change", {bubbles: true}));
    """

    def picked():
        with suppress(StaleElementReferenceException):
            browser.run(choose, labelled(browser, words), option)
            return True

    assert until(picked), words


def tick(browser, words):
    labelled(browser, words).click()


def fill(browser, words, text):
    field = labelled(browser, words)
    field.clear()
    field.send_keys(text)


def add(server, path, **fields):
    answer = server.ask("POST", path, fields)
    assert answer.status == 201, answer.body
    return answer.json.get("data", answer.json)


def read(server, path):
    answer = server.ask("GET", path)
    assert answer.status == 200, answer.body
    return answer.json.get("data", answer.json)


def send_form(server, key, site="http://shop.localhost", **fields):
    headers = {"Origin": site, "Accept": "application/json"}
    answer = server.ask("POST", f"/f/{key}", fields, headers=headers, key=None)
    assert answer.status == 200, answer.body
    return answer.json["submission"]


def states(server):
    rows = read(server, "/v1/submissions?page_size=100")
    return {row["fields"].get("name"): row["state"] for row in rows}


@pytest.fixture
def inbox(browser, server):
    """Signed in, with three accepted submissions and one in spam; newest: Cleo."""
    key = form_key(server, "shop.localhost")
    for name in ("Ada", "Bob", "Cleo"):
        email = f"{name.lower()}@example.com"
        send_form(server, key, name=name, email=email, message=f"Hello\nfrom {name}")
    send_form(server, key, name="Bot", _gotcha="x")
    sign_in(browser, server, "inbox")
    shows(browser, "Cleo", ".letters")


@contextmanager
def receiver(status=200, body=b"thank you"):
    """Somebody's endpoint on this machine; `posts` are the bodies that it got."""

    class Taker(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            length = int(self.headers["Content-Length"])
            posts.append(json.loads(self.rfile.read(length)))
            self.send_response(taker.status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    posts = []
    taker = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taker)
    taker.status, taker.posts = status, posts
    thread = threading.Thread(target=taker.serve_forever, args=(0.02,))
    thread.start()
    yield taker
    taker.shutdown()
    thread.join()
    taker.server_close()


# -- signing in


def test_a_wrong_key_says_so_and_a_form_s_key_which_one_is_needed(browser, server):
    publishable = form_key(server, "shop.localhost")
    restricted = make_key(
        server.env, "--type", "restricted", "--permission", "contacts:read"
    )
    browser.open(server.url)
    for key, words in (
        ("ck_secret_0123456789abcdefghijklmnop", "This key is not known here"),
        ("küche", "This key is not known here"),
        (publishable, "This is a form's key"),
        (restricted, "This is a restricted key"),
    ):
        browser.type("#key", key)
        press(browser, "Sign in")
        shows(browser, words, "#signin")
        assert browser.run("return document.activeElement.id") == "key"
        assert browser.run("return sessionStorage.length") == 0


def test_the_key_stays_in_the_tab_and_nowhere_else(browser, server):
    sign_in(browser, server)
    browser.driver.refresh()
    shows(browser, "Overview", "#main")
    kept = "return [document.cookie, Object.values(localStorage).join(), location.href]"
    assert SECRET not in "".join(browser.run(kept))
    assert not [url for url in browser.requests() if SECRET in url]
    assert browser.run("return Object.values(sessionStorage)") == [SECRET]
    press(browser, "Sign out")
    shows(browser, "You are signed out", "#signin")
    assert browser.run("return sessionStorage.length") == 0
    assert browser.run("return document.querySelector('#main').childElementCount") == 0


def test_a_key_revoked_meanwhile_signs_out_with_a_sentence(browser, server):
    made = add(server, "/api/api-keys", type="secret", name="mine")
    sign_in(browser, server, "contacts", made["key"])
    assert server.ask("DELETE", f"/api/api-keys/{made['id']}").status == 200
    browser.run("location.hash = '#/companies'")
    shows(browser, "This key no longer works here", "#signin")
    assert browser.run("return sessionStorage.length") == 0
    assert not browser.all("#main h1")


def test_a_server_that_is_away_is_said_and_asked_again(browser, server):
    sign_in(browser, server, "contacts")
    shows(browser, "No contacts yet")
    server.stop()
    browser.type("input[type=search]", "ada")
    shows(browser, "The server cannot be reached")
    server.start()
    add(server, "/v1/contacts", email="ada@example.com")
    press(browser, "Try again")
    shows(browser, "1 contact")


def test_a_key_that_asks_too_much_is_told_when_it_goes_on(browser, serve):
    server = serve(CONTACTAPI_RATE_LIMIT="3/60")
    sign_in(browser, server)
    shows(browser, "Too many requests in a minute. The server takes the next in ")


# -- overview


def test_an_empty_store_is_told_three_ways_to_begin(browser, server):
    allowed = ["clipboardReadWrite", "clipboardSanitizedWrite"]
    grant = {"permissions": allowed, "origin": server.url}
    browser.command("Browser.grantPermissions", **grant)
    sign_in(browser, server)
    shows(browser, "Nothing is stored yet")
    assert SECRET not in seen(browser), "the key is copied, not shown"
    press(browser, "Fill in a key for localhost")
    made = until(lambda: re.search(r"ck_pub_\w+", seen(browser, "#main")))
    assert made, seen(browser, "#main")
    (key,) = [k for k in read(server, "/api/api-keys")["keys"] if k["domains"]]
    assert (key["type"], key["domains"]) == ("publishable", ["localhost"])
    assert send_form(server, made[0], "http://localhost", email="eva@example.com")
    press(browser, "Copy")
    shows(browser, "Copied")
    line = browser.run("return navigator.clipboard.readText()")
    subprocess.run(line, shell=True, check=True, capture_output=True)
    emails = {one["email"] for one in read(server, "/v1/contacts")}
    assert emails == {"eva@example.com", "ada@example.com"}


def test_the_overview_counts_and_draws_thirty_days(browser, server):
    key = form_key(server, "shop.localhost")
    for name in ("ada", "bob", "cleo"):
        send_form(server, key, email=f"{name}@example.com")
    send_form(server, key, _gotcha="x")
    add(server, "/v1/companies", name="Acme")
    sign_in(browser, server)
    shows(browser, "3 new in 30 days")
    tiles = [one.split("\n")[:2] for one in texts(browser, ".tiles a")]
    assert tiles == [
        ["Contacts", "3"],
        ["Submissions", "3"],
        ["Companies", "1"],
        ["Calls", "0"],
    ]
    days = browser.run(
        "return [...document.querySelectorAll('.plot td')].map((td) => td.textContent)"
    )
    assert len(browser.all(".plot .bar")) == len(days) == 30
    assert days[-1] == "3" and set(days[:-1]) == {"0"}
    shows(browser, "1 in spam")


def test_the_reference_is_one_step_away(browser, server):
    sign_in(browser, server)
    press(browser, "API reference")
    assert until(lambda: browser.url == f"{server.url}/docs")
    shows(browser, "/v1/contacts")


# -- inbox


def test_a_submission_is_read_with_all_that_was_sent(browser, server, inbox):
    browser.click(".letters li:nth-child(2) a")
    shows(browser, "bob@example.com", ".reading")
    assert "Hello\nfrom Bob" in seen(browser, ".reading")
    shows(browser, "http://shop.localhost", ".reading")
    mail = browser.find(".reading a[href^='mailto:']").get_attribute("href")
    assert mail.startswith("mailto:bob@example.com?subject=Re%3A%20")
    assert "%3E%20Hello%0D%0A%3E%20from%20Bob" in mail
    press(browser, "Open the contact")
    shows(browser, "bob@example.com", "dialog h2")


def test_single_keys_read_accept_mark_and_delete_and_the_counts_move(
    browser, server, inbox
):
    def counts():
        return texts(browser, ".tabs .count")

    assert until(lambda: counts() == ["3", "0", "1"]), counts()
    keys_of(browser, "j")
    shows(browser, "bob@example.com", ".reading")
    keys_of(browser, "s")
    assert until(lambda: counts() == ["2", "0", "2"]), counts()
    assert states(server)["Bob"] == "spam"
    shows(browser, "ada@example.com", ".reading")
    keys_of(browser, "k")
    shows(browser, "cleo@example.com", ".reading")
    keys_of(browser, "#")
    assert until(lambda: counts() == ["1", "0", "2"]), counts()
    assert states(server)["Cleo"] == "accepted", "the DELETE leaves later"
    assert until(lambda: "Cleo" not in states(server))
    browser.click(".tab[data-state=spam]")
    shows(browser, "Bot", ".letters")
    keys_of(browser, "e")
    assert until(lambda: counts() == ["2", "0", "1"]), counts()
    assert states(server) == {"Ada": "accepted", "Bob": "spam", "Bot": "accepted"}


def test_what_is_held_is_accepted_by_a_person(browser, server):
    key = form_key(server, "shop.localhost", confirm=True)
    send_form(server, key, name="Eva", email="eva@example.com")
    sign_in(browser, server)
    shows(browser, "1 held submission")
    assert seen(browser, "#held") == "1"
    press(browser, "1 held submission")
    shows(browser, "not confirmed yet", ".reading")
    assert read(server, "/v1/contacts") == []
    press(browser, "Accept")
    shows(browser, "Nothing is held", ".letters")
    assert not browser.find("#held").is_displayed()
    assert states(server) == {"Eva": "accepted"}
    (contact,) = read(server, "/v1/contacts")
    assert contact["email"] == "eva@example.com"


def test_on_a_phone_one_reads_and_goes_back(browser, server, inbox):
    browser.look_like(390)
    browser.driver.refresh()
    shows(browser, "Cleo", ".letters")
    assert not browser.find(".reading").is_displayed()
    browser.click(".letters li:nth-child(3) a")
    shows(browser, "ada@example.com", ".reading")
    assert not browser.find(".letters").is_displayed()
    press(browser, "Back to the list")
    assert browser.find(".letters").is_displayed()
    press(browser, "More")
    press(browser, "Webhooks")
    shows(browser, "Deliveries", "#main")


def test_what_was_deleted_or_marked_comes_back_by_undo(browser, server, inbox):
    press(browser, "Delete")
    shows(browser, "Deleted what Cleo sent", "#toasts")
    assert "Cleo" not in seen(browser, ".letters")
    keys_of(browser, "z")
    shows(browser, "Cleo", ".letters")
    press(browser, "Spam")
    assert until(lambda: states(server)["Cleo"] == "spam")
    press(browser, "Undo")
    assert until(lambda: states(server)["Cleo"] == "accepted")
    shows(browser, "Cleo", ".letters")


def test_what_was_deleted_is_deleted_though_the_page_is_left(browser, server, inbox):
    press(browser, "Delete")
    shows(browser, "Deleted what Cleo sent", "#toasts")
    browser.open("about:blank")
    assert until(lambda: "Cleo" not in states(server))


def test_the_keys_can_be_switched_off(browser, server, inbox):
    keys_of(browser, "?")
    tick(browser, "Single keys do this")
    press(browser, "Close")
    is_gone(browser, "dialog")
    keys_of(browser, "js#")
    shows(browser, "cleo@example.com", ".reading")
    assert Counter(states(server).values()) == {"accepted": 3, "spam": 1}
    browser.run("localStorage.clear()")


def test_the_inbox_is_searched(browser, server, inbox):
    browser.type("input[type=search]", "bob")
    assert until(lambda: len(browser.all(".letters li[data-id]")) == 1)
    shows(browser, "bob@example.com", ".reading")
    browser.type("input[type=search]", "nobody at all")
    shows(browser, "Nothing found")


# -- contacts, companies


@pytest.fixture
def people(browser, server):
    """Signed in, with 23 contacts."""
    for n in range(22):
        plan = "pro" if n % 2 else "free"
        add(server, "/v1/contacts", email=f"p{n}@example.com", plan=plan, n=n)
    add(
        server,
        "/v1/contacts",
        email="ada@example.com",
        name="Ada",
        born=1815,
        member=True,
        address={"city": "London", "zip": None},
        big=12345678901234567890,
    )
    sign_in(browser, server, "contacts")
    shows(browser, "23 contacts")


def test_contacts_are_searched_filtered_and_paged(browser, server, people):
    press(browser, "Next")
    shows(browser, "Page 2 of 2")
    assert len(browser.all("tbody tr")) == 3
    browser.type("input[type=search]", "ada")
    shows(browser, "1 contact")
    assert "q=ada" in browser.url
    browser.type("input[type=search]", " ")
    shows(browser, "23 contacts")
    press(browser, "Filter")
    fill(browser, "Field", "plan")
    fill(browser, "Is exactly", "pro")
    press(browser, "Show")
    shows(browser, "11 contacts")
    shows(browser, "plan is pro", ".chips")
    browser.driver.refresh()
    shows(browser, "11 contacts")
    press(browser, "Take away")
    shows(browser, "23 contacts")


def open_ada(browser):
    browser.click("tbody tr:first-child a")
    shows(browser, "ada@example.com", "dialog h2")


def ada(server):
    (record,) = read(server, "/v1/contacts?email=ada@example.com")
    return record


def test_a_contact_is_edited_as_fields(browser, server, people):
    open_ada(browser)
    browser.type("[aria-label='Value of name']", "Ada Lovelace")
    press(browser, "Remove address")
    press(browser, "Add a field")
    browser.type("[aria-label='Name of the field']", "score")
    types = browser.all("[aria-label='Type of the new field'] option")
    next(one for one in types if one.text == "Number").click()
    browser.type("[aria-label='Value of the new field']", "1.50")
    press(browser, "Save")
    shows(browser, "Saved", "#toasts")
    changed = ada(server)
    assert changed["name"] == "Ada Lovelace" and changed["score"] == 1.5
    assert "address" not in changed and changed["born"] == 1815
    assert changed["big"] == 12345678901234567890, "what was not edited stays exact"


def test_what_was_not_edited_stays_as_it_is_to_the_last_sign(browser, server):
    odd = {
        "lines": "a\r\nb\rc",
        "small": 1e-7,
        "one": 1.0,
        "constructor": "x",
        "list": [1.0, {"__proto__": 12345678901234567890}],
        "__proto__": {"a": 1},
    }
    add(server, "/v1/contacts", email="eva@bücher.example", **odd)
    sign_in(browser, server, "contacts")
    press(browser, "eva@bücher.example")
    press(browser, "Add a field")
    browser.type("[aria-label='Name of the field']", "toString")
    browser.type("[aria-label='Value of the new field']", "new")
    press(browser, "Remove constructor")
    press(browser, "Save")
    shows(browser, "Saved", "#toasts")
    (record,) = read(server, "/v1/contacts")
    path = f"/v1/contacts/{record['id']}/history"
    changed = {name for event in read(server, path)[:2] for name in event["changed"]}
    assert changed == {"toString", "constructor"}
    del odd["constructor"]
    kept = {name: record[name] for name in ("email", *odd)}
    assert kept == {"email": "eva@bücher.example", **odd}


def test_a_field_s_type_is_changed(browser, server, people):
    open_ada(browser)
    for name, kind in (("name", "JSON"), ("born", "Text"), ("member", "Number")):
        options = browser.all(f"[aria-label='Type of {name}'] option")
        next(one for one in options if one.text == kind).click()
    press(browser, "Save")
    shows(browser, "The value of member is not JSON", "dialog")
    browser.type("[aria-label='Value of member']", "2.50")
    browser.type("[aria-label='Value of name']", '["Ada", null]')
    press(browser, "Save")
    shows(browser, "Saved", "#toasts")
    kept = {name: ada(server)[name] for name in ("name", "born", "member")}
    assert kept == {"name": ["Ada", None], "born": "1815", "member": 2.5}


def test_a_contact_is_edited_as_json(browser, server, people):
    open_ada(browser)
    press(browser, "JSON")
    area = browser.find("[aria-label='The fields as JSON']")
    shown = area.get_attribute("value")
    assert "12345678901234567890" in shown
    browser.type("[aria-label='The fields as JSON']", "{")
    press(browser, "Save")
    shows(browser, "That is not JSON", "dialog")
    text = json.dumps({"name": None, "address": {"city": "Ockham"}, "big": 1})
    browser.type("[aria-label='The fields as JSON']", text)
    press(browser, "Save")
    shows(browser, "Saved", "#toasts")
    kept = {name: ada(server)[name] for name in ("name", "address", "big")}
    assert kept == {"name": None, "address": {"city": "Ockham"}, "big": 1}
    assert "born" not in ada(server)


def test_an_address_that_is_another_s_is_said_at_the_field(browser, server, people):
    open_ada(browser)
    fill(browser, "Email", "p1@example.com")
    press(browser, "Save")
    assert until(lambda: browser.all("dialog [aria-invalid]"))
    fill(browser, "Email", "lovelace@example.com")
    press(browser, "Save")
    shows(browser, "lovelace@example.com", "dialog h2")


def test_what_somebody_typed_is_not_lost_by_escape(browser, server, people):
    open_ada(browser)
    browser.type("[aria-label='Value of name']", "Countess")
    browser.find("dialog").send_keys(Keys.ESCAPE)
    press(browser, "Cancel")
    assert until(lambda: len(browser.all("dialog")) == 1)
    field = browser.find("[aria-label='Value of name']")
    assert field.get_attribute("value") == "Countess"
    browser.find("dialog").send_keys(Keys.ESCAPE)
    press(browser, "Close it")
    is_gone(browser, "dialog")
    assert ada(server)["name"] == "Ada"


def test_a_contact_is_added(browser, server, people):
    press(browser, "Add a contact")
    press(browser, "Add the contact")
    assert until(lambda: browser.all("dialog [aria-invalid]"))
    fill(browser, "Email", "new@example.com")
    browser.type("[aria-label='Value of name']", "New")
    press(browser, "Add the contact")
    shows(browser, "24 contacts")
    (record,) = read(server, "/v1/contacts?email=new@example.com")
    assert record["name"] == "New"


def test_a_contact_is_deleted_six_seconds_later_unless_it_is_undone(
    browser, server, people
):
    def emails():
        return {one["email"] for one in read(server, "/v1/contacts?page_size=100")}

    open_ada(browser)
    press(browser, "Delete")
    shows(browser, "Deleted ada@example.com", "#toasts")
    assert until(lambda: "ada@" not in seen(browser, "tbody"))
    press(browser, "Undo")
    assert until(lambda: "ada@" in seen(browser, "tbody"))
    assert "ada@example.com" in emails()
    open_ada(browser)
    press(browser, "Delete")
    is_gone(browser, "dialog")
    assert "ada@example.com" in emails(), "the DELETE has not left"
    assert until(lambda: "ada@example.com" not in emails())
    shows(browser, "22 contacts")


def test_what_happened_to_a_contact_and_all_that_is_held_on_it(
    browser, server, people, tmp_path
):
    browser.command(
        "Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path)
    )
    path = f"/v1/contacts/{ada(server)['id']}"
    assert server.ask("PATCH", path, {"name": "Countess"}).status == 200
    open_ada(browser)
    press(browser, "Everything held")
    held = until(lambda: list(tmp_path.glob("con_*.json")))
    assert held and json.loads(held[0].read_bytes())["contact"]["name"] == "Countess"
    press(browser, "History")
    shows(browser, "Changed name", ".history")
    shows(browser, "Created", ".history")
    press(browser, "Erase this history")
    press(browser, "Erase")
    shows(browser, "Nothing is kept of what happened before", "dialog")
    assert read(server, f"{path}/history") == []


def test_a_company_is_added_and_changed(browser, server):
    sign_in(browser, server, "companies")
    press(browser, "Add a company")
    fill(browser, "Name", "Analytical Engines")
    press(browser, "Add the company")
    shows(browser, "1 company")
    browser.click("tbody a")
    press(browser, "Add a field")
    browser.type("[aria-label='Name of the field']", "country_code")
    browser.type("[aria-label='Value of the new field']", "GB")
    press(browser, "Save")
    shows(browser, "Saved", "#toasts")
    (company,) = read(server, "/v1/companies")
    assert company["name"] == "Analytical Engines" and company["country_code"] == "GB"


def test_a_call_is_asked_for_and_canceled(browser, server):
    contact = add(server, "/v1/contacts", email="ada@example.com")
    sign_in(browser, server, "calls")
    press(browser, "Ask for a call")
    fill(browser, "Contact's email", "nobody@example.com")
    fill(browser, "Number to call", "0123")
    press(browser, "Call")
    shows(browser, "No contact has this address", "dialog")
    fill(browser, "Contact's email", "ada@example.com")
    press(browser, "Call")
    assert until(lambda: browser.all("dialog [aria-invalid][type=tel]"))
    fill(browser, "Number to call", "+442012345678")
    press(browser, "Call")
    shows(browser, "initiating", "tbody")
    (call,) = read(server, "/api/calls/list")["calls"]
    assert call["contact_id"] == contact["id"]
    assert call["phone_number"] == "+442012345678"
    press(browser, "Cancel")
    shows(browser, "canceled", "tbody")
    assert read(server, f"/api/calls/{call['id']}")["status"] == "canceled"


# -- forms, keys


def test_a_form_is_made_in_a_wizard_and_tried_for_real(browser, server):
    sign_in(browser, server, "forms/new")
    press(browser, "Next")
    shows(browser, "Name at least one site")
    fill(browser, "Name", "Newsletter")
    fill(browser, "Sites", "shop.example.com\n*.example.org")
    press(browser, "Next")
    tick(browser, "Keep what is stored")
    fill(browser, "Send a mail to", "me@example.com, you@example.com")
    fill(browser, "After sending, show", "https://shop.example.com/thanks")
    press(browser, "Next")
    fill(browser, "Keep submissions for", "30")
    press(browser, "Make the form")
    shows(browser, "The form is ready")
    token = re.search(r"ck_pub_\w+", seen(browser, "#main"))[0]
    assert f'<form action="{server.url}/f/{token}" method="post">' in seen(browser)
    (key,) = read(server, "/api/api-keys")["keys"][:1]
    assert key["name"] == "Newsletter" and key["type"] == "publishable"
    assert key["domains"] == ["shop.example.com", "*.example.org"]
    assert (key["existing"], key["captcha"], key["confirm"]) == ("keep", "none", False)
    assert key["notify"] == ["me@example.com", "you@example.com"]
    assert key["redirect"] == "https://shop.example.com/thanks"
    assert key["keep_days"] == 30
    try_out(browser, server)


def try_out(browser, server):
    """This server has no public URL, so its own origin is first to be allowed."""
    press(browser, "Contact form")
    shows(browser, "<textarea", "[aria-label='HTML to paste']")
    browser.type(".preview [name=email]", "eva@example.com")
    browser.type(".preview [name=message]", "Hello")
    browser.click(".preview [type=submit]")
    press(browser, "Allow 127.0.0.1")
    press(browser, "See it in the inbox")
    shows(browser, "eva@example.com", ".reading")
    (sent,) = read(server, "/v1/submissions")
    assert sent["fields"]["message"] == "Hello" and sent["page"] == server.url


def test_our_own_public_origin_may_try_every_form(browser, serve):
    server = serve()
    server.stop()
    server.env["CONTACTAPI_PUBLIC_URL"] = server.url
    server.start()
    sign_in(browser, server, "forms/new")
    fill(browser, "Sites", "shop.example.com")
    press(browser, "Next")
    press(browser, "Next")
    tick(browser, "Built in")
    press(browser, "Make the form")
    shows(browser, "<contactapi-captcha", "[aria-label='HTML to paste']")
    browser.type(".preview [name=email]", "eva@example.com")
    assert until(lambda: browser.all(".preview [name=altcha]"))
    assert until(
        lambda: browser.run(
            "return document.querySelector('.preview [name=altcha]').value"
        )
    )
    browser.click(".preview [type=submit]")
    shows(browser, "See it in the inbox", ".preview")
    (sent,) = read(server, "/v1/submissions")
    assert (sent["state"], sent["email"]) == ("accepted", "eva@example.com")


def test_a_form_s_settings_change_and_its_html_is_there_for_who_has_the_key(
    browser, server
):
    token = form_key(server, "shop.localhost", name="Shop")
    sign_in(browser, server, "forms")
    press(browser, "Shop")
    fill(browser, "The form's key", "ck_pub_another")
    press(browser, "Show the HTML")
    shows(browser, "That is another key")
    fill(browser, "The form's key", token)
    press(browser, "Show the HTML")
    shows(browser, f"/f/{token}", "[aria-label='HTML to paste']")
    fill(browser, "Sites", "null")
    press(browser, "Save")
    assert until(lambda: browser.all("[data-param=domains] [aria-invalid]"))
    fill(browser, "Sites", "shop.localhost, shop.example.com")
    tick(browser, "Keep what is stored")
    press(browser, "Save")
    shows(browser, "Saved", "#toasts")
    (key,) = [k for k in read(server, "/api/api-keys")["keys"] if k["name"] == "Shop"]
    assert key["domains"] == ["shop.localhost", "shop.example.com"]
    assert key["existing"] == "keep"
    press(browser, "Revoke")
    press(browser, "Revoke")
    shows(browser, "No forms yet")
    assert server.ask("POST", f"/f/{token}", {}, key=None).status == 401


def test_a_key_is_made_shown_once_renamed_and_revoked(browser, server):
    sign_in(browser, server, "keys")
    press(browser, "Make a key")
    fill(browser, "Name", "CRM")
    tick(browser, "read contacts")
    press(browser, "Make the key")
    made = until(lambda: re.search(r"ck_live_\w+", seen(browser, "dialog")))
    assert made, seen(browser, "dialog")
    asked = [server.ask("GET", p, key=made[0]) for p in ("/v1/contacts", "/v1/stats")]
    assert [one.status for one in asked] == [200, 403]
    press(browser, "Done")
    is_gone(browser, "dialog")
    assert made[0] not in browser.run("return document.documentElement.outerHTML")
    press(browser, "Rename CRM")
    fill(browser, "Name", "Sales")
    press(browser, "Save")
    shows(browser, "Sales", "tbody")
    press(browser, "Revoke Sales")
    press(browser, "Revoke")
    assert until(lambda: "Sales" not in seen(browser, "tbody"))
    assert server.ask("GET", "/v1/contacts", key=made[0]).status == 401


# -- webhooks


def test_a_webhook_is_made_changed_and_deleted(browser, server):
    sign_in(browser, server, "webhooks")
    press(browser, "Add a webhook")
    fill(browser, "Address", "http://127.0.0.1/hook")
    press(browser, "Add it")
    assert until(lambda: browser.all("dialog [aria-invalid]"))
    fill(browser, "Address", "https://example.com/hook")
    tick(browser, "contact.created")
    press(browser, "Add it")
    assert until(lambda: re.search(r"whsec_\S+", seen(browser, "dialog")))
    press(browser, "Done")
    shows(browser, "https://example.com/hook", ".hook")
    (hook,) = read(server, "/v1/webhooks")
    assert (hook["events"], hook["shape"]) == (["contact.created"], "standard")
    press(browser, "Edit")
    fill(browser, "Address", "https://example.com/other")
    press(browser, "Save")
    shows(browser, "https://example.com/other", ".hook")
    press(browser, "Disable")
    shows(browser, "disabled", ".hook")
    (hook,) = read(server, "/v1/webhooks")
    assert (hook["url"], hook["enabled"]) == ("https://example.com/other", False)
    press(browser, "New secret")
    press(browser, "Make it")
    shows(browser, "whsec_", "dialog")
    press(browser, "Done")
    is_gone(browser, "dialog")
    press(browser, "Delete")
    press(browser, "Delete")
    shows(browser, "No webhooks yet")
    assert read(server, "/v1/webhooks") == []


def test_a_webhook_that_hears_of_keys_goes_on_to_when_it_is_edited(browser, server):
    asked = ("--url", "https://example.com/hook", "--event", "key.created")
    assert run(server.env, "webhooks", "create", *asked).returncode == 0
    sign_in(browser, server, "webhooks")
    press(browser, "Edit")
    tick(browser, "call.created")
    press(browser, "Save")
    shows(browser, "call.created", ".hook")
    (hook,) = read(server, "/v1/webhooks")
    assert hook["events"] == ["call.created", "key.created"]


def test_a_test_says_what_the_receiver_answered_and_a_delivery_is_sent_again(
    browser, server
):
    with receiver(500, b"<b>not today</b>") as taker:
        url = f"http://127.0.0.1:{taker.server_port}/hook"
        assert run(server.env, "webhooks", "create", "--url", url).returncode == 0
        sign_in(browser, server, "webhooks")
        press(browser, "Send a test")
        shows(browser, "The receiver answered 500", ".hook")
        assert until(lambda: [post["type"] for post in taker.posts] == ["test"])
        taker.status = 200
        add(server, "/v1/contacts", email="ada@example.com")
        assert until(lambda: len(taker.posts) == 2)
        press(browser, "Look again")
        shows(browser, "delivered", "tbody")
        press(browser, "Send again")
        assert until(lambda: len(taker.posts) == 3)
        assert taker.posts[1] == taker.posts[2]


# -- files


def choose(browser, path):
    browser.find("#file").send_keys(str(path))


def test_an_import_shows_its_first_rows_and_the_column_found(browser, server, tmp_path):
    path = tmp_path / "people.csv"
    path.write_text(
        "Name;E-Mail-Adresse\nAda;ada@example.com\nBob;bob\nCleo;cleo@example.com\n"
    )
    sign_in(browser, server, "files")
    choose(browser, path)
    shows(browser, "Found: E-Mail-Adresse")
    assert texts(browser, "thead th") == ["E-Mail-Adresse", "Name"]
    press(browser, "Import contacts")
    shows(browser, "2 new, 0 known and brought up to date, 1 not taken")
    errors = texts(browser, ".report tbody tr")
    assert len(errors) == 1 and errors[0].startswith("3\t"), errors
    found = {one["email"]: one["Name"] for one in read(server, "/v1/contacts")}
    assert found == {"ada@example.com": "Ada", "cleo@example.com": "Cleo"}


def test_an_import_takes_the_column_that_is_named_and_the_encoding(
    browser, server, tmp_path
):
    path = tmp_path / "firms.csv"
    path.write_bytes("Firma,Ort\nMüller & Söhne,Köln\n".encode("cp1252"))
    sign_in(browser, server, "files")
    choose(browser, path)
    tick(browser, "Companies")
    shows(browser, "None was found by its name")
    assert len(browser.all(".seen footer button:disabled")) == 1
    pick(browser, "Column with the name", "Firma")
    pick(browser, "Encoding", "Windows (W")
    shows(browser, "Müller & Söhne", "tbody")
    press(browser, "Import companies")
    shows(browser, "1 new")
    (company,) = read(server, "/v1/companies")
    assert (company["name"], company["Ort"]) == ("Müller & Söhne", "Köln")


def test_a_large_import_shows_how_far_it_is(browser, server, tmp_path):
    path = tmp_path / "many.jsonl"
    lines = (json.dumps({"email": f"p{n}@example.com"}) for n in range(5000))
    path.write_text("\n".join(lines))
    sign_in(browser, server, "files")
    choose(browser, path)
    shows(browser, "p4@example.com", "tbody")
    watch = """window.bars = 0; new MutationObserver(() => {
      window.bars += document.querySelectorAll("progress").length;
    }).observe(document.querySelector(".report"), {childList: true})"""
    browser.run(watch)
    press(browser, "Import contacts")
    shows(browser, "5,000 new")
    assert browser.run("return window.bars") > 0
    assert read(server, "/v1/stats")["contacts"] == 5000


def test_everything_is_exported(browser, server, tmp_path):
    browser.command(
        "Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path)
    )
    send_form(server, form_key(server, "shop.localhost"), email="ada@example.com")
    add(server, "/v1/companies", name="Acme")
    sign_in(browser, server, "files")
    for kind, words in (
        ("contacts", "ada@example.com"),
        ("companies", "Acme"),
        ("submissions", "ada@example.com"),
    ):
        for form in ("csv", "jsonl"):
            press(browser, f"Download {kind} as {form.upper()}")
            path = tmp_path / f"{kind}.{form}"
            assert until(path.exists) and words in path.read_text()
    turn_to(browser, "contacts?q=nobody")
    press(browser, "Export")
    press(browser, "Download JSONL")
    assert until(lambda: (tmp_path / "contacts.jsonl").read_text() == "")


# -- what everybody is promised


@pytest.fixture
def hostile(server):
    """A server in whose every field stands a probe."""
    key = form_key(server, "shop.localhost", name=PROBE)
    sent = {"email": "ada@example.com", "name": PROBE, "subject": PROBE, PROBE: PROBE}
    send_form(server, key, **sent, message=[PROBE, {"a": PROBE}])
    send_form(server, key, **{**sent, "email": ""}, message=PROBE)
    send_form(server, key, **sent, _gotcha=PROBE)
    add(server, "/v1/contacts", email="bob@example.com", plan=PROBE, a={PROBE: [PROBE]})
    add(server, "/v1/companies", name=PROBE, country_code=PROBE)
    add(server, "/api/api-keys", name=PROBE, permissions=["contacts:read"])
    contact = read(server, "/v1/contacts")[0]["id"]
    add(server, "/api/calls/create", contact_id=contact, phone_number="+442012345678")
    with receiver(500, PROBE.encode()) as taker:
        url = f"http://127.0.0.1:{taker.server_port}/{PROBE}".replace(" ", "%20")
        for address in ("http://127.0.0.1:1/x", url):
            made = run(server.env, "webhooks", "create", "--url", address)
            assert made.returncode == 0, made
        add(server, "/v1/contacts", email="cleo@example.com", name=PROBE)
        yield server


def test_what_visitors_sent_runs_nothing(browser, hostile):
    sign_in(browser, hostile)
    for view in VIEWS:
        turn_to(browser, view)
        settle(browser)
        for row in range(len(browser.all(".letters li[data-id]"))):
            browser.all(".letters li[data-id] a")[row].click()
            browser.find(".reading .fields")
    for view, refs in (
        ("contacts", [one["id"] for one in read(hostile, "/v1/contacts")]),
        ("companies", [one["id"] for one in read(hostile, "/v1/companies")]),
    ):
        for ref in refs:
            turn_to(browser, f"{view}?open={ref}")
            press(browser, "JSON")
            press(browser, "History")
            press(browser, "As it was then")
    turn_to(browser, "webhooks")
    press(browser, "Send a test")
    shows(browser, "The receiver answered 500")
    assert browser.run("return window.hit") is None
    assert browser.all("img") == []
    assert browser.console() == [] or not [
        line for line in browser.console() if "Content Security" in line
    ]


def test_no_view_says_a_word_in_the_console_or_asks_another_origin(browser, hostile):
    sign_in(browser, hostile)
    for view in VIEWS:
        turn_to(browser, view)
        settle(browser)
    assert browser.console() == []
    asked = {re.match(r"[a-z]+:/*[^/]*", url)[0] for url in browser.requests()}
    assert asked == {hostile.url}


def settle(browser):
    """Waits until all is there and nothing moves."""
    still = """return !document.querySelector("[aria-busy]:not(button), .bone")
      && document.getAnimations().length === 0"""
    assert until(lambda: browser.run(still)), browser.url


def problems(browser):
    """What axe-core finds, in words."""
    axe = (PACKAGES / "axe-core/axe.min.js").read_text()
    browser.run(f"if (!window.axe) {{ {axe} }}")
    found = browser.run("return axe.run().then((result) => result.violations)")
    return [
        (one["id"], [(n["html"][:200], n["failureSummary"]) for n in one["nodes"]])
        for one in found
    ]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_nothing_and_the_page_fits(browser, hostile, width, scheme):
    browser.look_like(width, scheme)
    browser.open(hostile.url)
    browser.find("#key")
    assert problems(browser) == []
    sign_in(browser, hostile)
    contact = read(hostile, "/v1/contacts")[0]["id"]
    for view in (*VIEWS, f"contacts?open={contact}"):
        turn_to(browser, view)
        settle(browser)
        assert problems(browser) == [], view
        assert not browser.is_wider_than_the_screen(), view
    for view, words in (*DIALOGS, (f"contacts?open={contact}", "Delete")):
        turn_to(browser, view)
        settle(browser)
        press(browser, words)
        settle(browser)
        assert problems(browser) == [], words
        browser.run("document.querySelector('dialog')?.close()")


def test_every_script_is_short_and_sets_values_as_text_only():
    scripts = [PAGES / "dashboard.js", *(PAGES / "dashboard").glob("*.js")]
    assert len(scripts) > 10
    unsafe = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|srcdoc"
        r"|new Function|DOMParser|createContextualFragment|setHTMLUnsafe"
    )
    for script in scripts:
        text = script.read_text()
        assert not unsafe.search(text), script
        assert text.count("\n") < 400, script
