"""Double opt-in as a person meets it: the form, the mail, the page behind its link."""

import re

import pytest

from browsers import form_key
from postbox import Postbox, text_of
from processes import Server, until

LONG = (
    "A long word: "
    + "Donaudampfschifffahrtsgesellschaft" * 6
    + "\n\n"
    + "And so on. " * 80
)


@pytest.fixture
def box():
    with Postbox() as box:
        yield box


@pytest.fixture
def mailing(tmp_path, box):
    """A server that sends mail to the box, under a name of its own."""
    server = Server(
        tmp_path / "data",
        CONTACTAPI_SMTP_URL=f"smtp://127.0.0.1:{box.port}",
        CONTACTAPI_MAIL_FROM="Example shop <shop@example.org>",
    )
    server.env["CONTACTAPI_PUBLIC_URL"] = f"http://contacts.localhost:{server.port}"
    yield server.start()
    server.kill()


def sign_up(browser, site, server, key, **fields):
    """Fills in a plain form on somebody's site."""
    inputs = "".join(f'<textarea name="{name}"></textarea>' for name in fields)
    action = f"http://contacts.localhost:{server.port}/f/{key}"
    site.pages["/"] = f'<form method="post" action="{action}">{inputs}<button>Go'
    browser.open(site.url())
    for name, text in fields.items():
        browser.run("document.forms[0][arguments[0]].value = arguments[1]", name, text)
    browser.click("button")


def link_in(box):
    mail = until(lambda: box.mails)[0]
    return mail, re.search(r"http://contacts\.localhost\S+", text_of(mail))[0]


def states(server):
    rows = server.ask("GET", "/v1/submissions").json["data"]
    return [(row["state"], bool(row["confirmed_at"])) for row in rows]


def test_a_person_signs_up_reads_the_mail_and_confirms(browser, site, mailing, box):
    site.pages["/welcome"] = "<title>Welcome</title>Welcome!"
    settings = {"confirm": True, "redirect": site.url("/welcome", "other.localhost")}
    key = form_key(mailing, "shop.localhost", **settings)
    fields = {"email": "eva@example.com", "name": "Eva", "message": LONG}
    sign_up(browser, site, mailing, key, **fields)
    mail, link = link_in(box)
    site.pages["/mail"] = text_of(mail, "html")
    browser.open(site.url("/mail"))
    browser.shoot("mail-confirm")
    assert not browser.is_wider_than_the_screen()
    assert browser.find("a").get_attribute("href") == link
    browser.click("a")
    browser.find("form")
    browser.shoot("confirmation")
    for width in (1280, 390):
        browser.look_like(width)
        assert not browser.is_wider_than_the_screen()
    assert "Eva" in browser.text("dl") and states(mailing) == [("held", False)]
    browser.click("button[value=yes]")
    until(lambda: browser.driver.title == "Welcome")
    assert browser.url == site.url("/welcome", "other.localhost")
    assert states(mailing) == [("accepted", True)]
    assert browser.run("return document.referrer") == ""
    assert [line for line in browser.console() if "favicon" not in line] == []


def test_a_person_without_javascript_refuses(browser, site, mailing, box):
    key = form_key(mailing, "shop.localhost", confirm=True)
    browser.javascript(False)
    sign_up_by_hand(site, mailing, key, browser)
    _, link = link_in(box)
    browser.open(link)
    browser.click("button[value=no]")
    assert until(lambda: browser.driver.title == "As you wish")
    assert "any more" in browser.text("main")
    browser.shoot("confirmation-refused")
    assert states(mailing) == [("held", False)]
    browser.open(link)
    browser.click("button[value=yes]")
    assert until(lambda: browser.driver.title == "Thank you")
    assert "confirmed" in browser.text("main")
    browser.shoot("confirmation-done")
    browser.open(link[:-1])
    assert "once more" in browser.text("main")
    browser.shoot("confirmation-gone")


def sign_up_by_hand(site, server, key, browser):
    action = f"http://contacts.localhost:{server.port}/f/{key}"
    site.pages["/"] = (
        f'<form method="post" action="{action}"><input name="email"><button>Go'
    )
    browser.open(site.url())
    browser.type("input", "eva@example.com")
    browser.click("button")
    browser.find("main")


def test_a_notification_reads_well_on_a_phone(browser, site, mailing, box):
    settings = {"notify": ["owner@example.com"]}
    key = form_key(mailing, "shop.localhost", **settings)
    fields = {
        "email": "eva@example.com",
        "name": "Eva Österreicher",
        "subject": "An order of 20 chairs",
        "message": LONG,
        "<b>odd</b> & name": "<script>alert(1)</script>",
    }
    sign_up(browser, site, mailing, key, **fields)
    mail = until(lambda: box.mails)[0]
    site.pages["/mail"] = text_of(mail, "html")
    browser.open(site.url("/mail"))
    browser.shoot("mail-notification")
    browser.look_like(390)
    assert not browser.is_wider_than_the_screen()
    assert "<script>alert(1)</script>" in browser.text()
