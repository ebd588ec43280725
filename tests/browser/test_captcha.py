"""Our captcha's widget, and ALTCHA's own with our challenges, on other sites' pages."""

import re

import pytest
from selenium.webdriver.common.keys import Keys

from browsers import PACKAGES, SCHEMES, form_key
from processes import SCRIPT, until

WIDGET = SCRIPT.with_name("pages") / "captcha.js"
STYLE = """:root { color-scheme: light dark; font-family: sans-serif }
body { margin: 2rem auto; max-width: 30rem; padding: 0 1rem }
input:not([type=checkbox]) { display: block; width: 100%; font: inherit; padding: .5rem;
  box-sizing: border-box; margin-block: .25rem 1rem }
button { font: inherit; padding: .5rem 1rem }"""
HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Sign up</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<link rel="stylesheet" href="/style.css">"""
OURS = (
    '<contactapi-captcha challenge="{url}/f/{key}/challenge">'
    "This form needs JavaScript.</contactapi-captcha>"
)
TEXTS = dict(re.findall(r'^    (\w+): "(.+)",$', WIDGET.read_text(), re.M))


class Page:
    """A form of a shop's that is sent to the shop; `posts` are the fields that came."""

    def __init__(self, browser, server, site):
        self.browser, self.server, self.site = browser, server, site
        self.key = form_key(server, "shop.localhost", captcha="altcha")
        self.script = f'<script src="{server.url}/captcha.js" defer></script>'
        site.pages |= {"/style.css": STYLE, "/sent": "<p id=sent>sent</p>"}

    def open(
        self, widget=OURS, name="shop.localhost", head="", key=None, action="/sent"
    ):
        where = {"url": self.server.url, "key": key or self.key}
        self.site.pages["/"] = (
            f"{HEAD}{head or self.script}<h1>Sign up</h1>"
            f'<form method="post" action="{action}">'
            '<label>Email<input name="email" value="ada@example.com"></label>'
            f"{widget.format(**where)}"
            '<button name="by" value="button">Send</button></form>'
        )
        self.browser.open(self.site.url("/", name))

    @property
    def posts(self):
        return [fields for _, fields in self.site.posted]

    def says(self, state):
        """Whether a screen reader has been told this, sooner or later."""
        script = """return document.querySelector("contactapi-captcha").shadowRoot
            .querySelector("[role=status]").textContent"""
        return until(lambda: self.browser.run(script) == TEXTS.get(state, state))

    def token(self):
        """What is in the field, once that is something."""
        return until(lambda: self.browser.run("return document.forms[0].altcha?.value"))

    def takes(self, token, name="Ada"):
        """Whether the server lets a post in with it."""
        body = {"email": "ada@example.com", "name": name, "altcha": token}
        headers = {"Origin": "https://shop.localhost"}
        path = "/v1/contacts"
        return self.server.ask("POST", path, body, headers, self.key).status == 201


@pytest.fixture
def page(browser, server, site):
    return Page(browser, server, site)


# -- our own


def test_the_widget_is_small_and_has_nothing_of_others():
    text = WIDGET.read_text()
    assert len(text.encode()) < 6000
    assert "import" not in text.replace("importKey", "") and "http://" not in text


def test_the_widget_solves_a_challenge_and_says_so(page):
    page.open()
    assert page.says("done")
    assert page.takes(page.token())
    assert page.browser.console() == []


def test_a_form_that_is_sent_at_once_waits_for_the_solution_and_keeps_its_button(page):
    page.open()
    page.browser.click("button")
    assert page.browser.text("#sent") == "sent"
    (sent,) = page.posts
    assert (sent["email"], sent["by"]) == ("ada@example.com", "button")
    assert page.takes(sent["altcha"])


def test_the_enter_key_sends_it_too(page):
    page.open()
    page.browser.find("input").send_keys(Keys.ENTER)
    assert page.browser.text("#sent") == "sent"
    assert page.takes(page.posts[0]["altcha"])


def harder(change):
    """A script that makes each challenge harder."""
    return f"""<script>const fetched = fetch;
        fetch = async url => {{
            const made = await (await fetched(url)).json(), asked = made.parameters;
            {change};
            return Response.json(made);
        }}</script>"""


def test_who_presses_twice_while_it_works_sends_once(page):
    page.open(head=harder("asked.keyPrefix = '000'") + page.script)
    page.browser.run("""
        const button = document.forms[0].querySelector("button")
        for (let n = 0; n < 3; n++) button.click()""")
    assert page.says("working")
    assert page.browser.text("#sent") == "sent"
    assert len(page.posts) == 1


def test_the_page_stays_alive_while_it_works(page):
    """Its own work gets its turn as often as there are derivations, four at once."""
    page.open(head=harder("asked.cost *= 20") + page.script)
    turns = page.browser.run("""
        let turns = 0
        while (!document.forms[0].altcha?.value) {
            turns++
            await new Promise(next => setTimeout(next))
        }
        return turns""")
    counter = page.browser.run("""
        return JSON.parse(atob(document.forms[0].altcha.value)).solution.counter""")
    assert turns >= counter // 4


def test_a_script_that_sends_it_has_a_new_token_each_time(page):
    page.open()
    page.token()
    page.browser.run("""
        window.tokens = []
        document.forms[0].addEventListener("submit", event => {
            event.preventDefault()
            tokens.push(new FormData(event.target).get("altcha"))
        })""")
    for count in (1, 2, 3):
        page.browser.click("button")
        sent = lambda: page.browser.run("return tokens")  # noqa: E731
        assert until(lambda: len(sent()) == count), count  # noqa: B023
    tokens = sent()
    assert len(set(tokens)) == 3
    assert all(page.takes(token, str(n)) for n, token in enumerate(tokens))


def test_a_script_that_sends_without_a_submit_event_renews_it_itself(page):
    page.open()
    first = page.token()
    page.browser.run('await document.querySelector("contactapi-captcha").renew()')
    assert page.token() != first
    assert page.takes(page.token())


def test_a_page_that_a_script_copied_has_one_field(page):
    """As Turbo and htmx keep a page's history."""
    page.open()
    first = page.token()
    page.browser.run("document.body.innerHTML = document.body.innerHTML")
    assert until(lambda: page.token() not in ("", first))
    assert len(page.browser.all("[name=altcha]")) == 1


def test_a_real_form_is_taken_and_one_without_a_solution_is_told_why(page):
    where = f"{page.server.url}/f/{page.key}"
    page.open(action=where)
    page.browser.click("button")
    assert until(lambda: page.browser.url == where)
    assert "Thank you" in page.browser.text()
    page.open("", action=where)
    page.browser.type("input", "bob@example.com")
    page.browser.click("button")
    assert until(lambda: page.browser.url == where)
    assert "captcha" in page.browser.text() and "JavaScript" in page.browser.text()
    rows = page.server.ask("GET", "/v1/submissions").json["data"]
    assert [row["fields"] for row in rows] == [
        {"email": "ada@example.com", "by": "button"}
    ]


FAST = """<script>
const slow = setTimeout; setTimeout = (what, when) => slow(what, when / 1000);
const began = performance.now(), now = performance.now.bind(performance);
performance.now = () => began + (now() - began) * 1000;
</script>"""


def test_it_fetches_anew_before_a_challenge_expires(page):
    """On a page where a minute takes 60 ms."""
    page.open(head=FAST + page.script)
    first = page.token()
    assert until(lambda: page.token() != first)
    assert page.says("done") and page.takes(page.token())


def test_who_comes_back_to_a_page_that_was_sent_has_a_new_token(page):
    page.open()
    sent = page.token()
    page.browser.click("button")
    page.browser.find("#sent")
    page.browser.driver.back()
    assert until(lambda: page.token() not in (None, "", sent))
    assert page.says("done")


def test_it_works_under_a_strict_policy(page):
    page.site.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src {page.server.url}; style-src 'self'; "
        f"connect-src {page.server.url}; form-action 'self'; img-src data:"
    )
    page.open()
    assert page.takes(page.token())
    assert page.browser.console() == []
    display = page.browser.run("""
        const {shadowRoot} = document.querySelector("contactapi-captcha")
        return getComputedStyle(shadowRoot.firstChild).display""")
    assert display == "flex"


def test_on_an_insecure_page_it_says_so_and_the_server_decides(page):
    page.open(name="shop.test")
    assert page.says("insecure")
    page.browser.click("button")
    assert page.browser.text("#sent") == "sent"
    assert "altcha" not in page.posts[0]


def test_without_javascript_the_page_says_so(page):
    page.browser.javascript(False)
    page.open()
    assert "This form needs JavaScript." in page.browser.text()
    page.browser.javascript(True)
    page.open()
    assert page.says("done")
    shown = 'return document.querySelector("contactapi-captcha").innerText'
    assert "JavaScript" not in page.browser.run(shown)


def test_a_challenge_that_cannot_be_had_is_said_and_asked_for_again(page):
    page.open(key="ck_pub_none")
    assert page.says("failed")
    page.browser.run(
        """document.querySelector("contactapi-captcha")
        .setAttribute("challenge", arguments[0])""",
        f"{page.server.url}/f/{page.key}/challenge",
    )
    page.browser.click("button")
    assert page.browser.text("#sent") == "sent"
    assert page.takes(page.posts[0]["altcha"])


def test_what_it_says_can_be_put_in_other_words(page):
    page.open(OURS.replace("challenge=", 'done="Geprüft" challenge='))
    assert page.says("Geprüft")


def test_it_is_readable_at_both_widths_in_both_schemes(page):
    """Look at them: SCREENSHOTS=folder pytest tests/browser -k readable."""
    endless = harder("asked.keyPrefix = '0'.repeat(64)")
    states = {
        "done": page.open,
        "working": lambda: page.open(head=endless + page.script),
        "failed": lambda: page.open(key="ck_pub_none"),
        "insecure": lambda: page.open(name="shop.test"),
    }
    for state, show in states.items():
        show()
        assert page.says(state)
        shots = page.browser.shoot(f"captcha-{state}")
        assert len({shot.read_bytes() for shot in shots}) == 4
        for scheme in SCHEMES:
            page.browser.look_like(390, scheme)
            assert not page.browser.is_wider_than_the_screen()
            assert page.browser.run(AXE) == []
        page.browser.look_like(1280)


AXE = (
    (PACKAGES / "axe-core" / "axe.min.js").read_text()
    + """
    const {violations} = await axe.run("form")
    return violations.map(found => found.help)"""
)


# -- ALTCHA's

ALTCHAS = '<altcha-widget challenge="{url}/f/{key}/challenge"></altcha-widget>'


def test_altchas_own_widget_solves_our_challenge(page):
    page.open(
        ALTCHAS,
        head='<script type="module" src="/npm/altcha/dist/main/altcha.js"></script>',
    )
    page.browser.find("altcha-widget input[type=checkbox]").send_keys(Keys.SPACE)
    assert page.takes(page.token())
    page.browser.shoot("altcha-widget")
    assert page.browser.console() == []


def test_altchas_library_solves_our_challenge(page):
    page.open("")
    token = page.browser.run(
        """
        const {solveChallenge} = await import("/npm/altcha-lib/dist/esm/v2/index.js")
        const {deriveKey} =
            await import("/npm/altcha-lib/dist/esm/v2/algorithms/web/pbkdf2.js")
        const challenge = await (await fetch(arguments[0])).json()
        const solution = await solveChallenge({challenge, deriveKey})
        return btoa(JSON.stringify({challenge, solution}))
        """,
        f"{page.server.url}/f/{page.key}/challenge",
    )
    assert page.takes(token)
