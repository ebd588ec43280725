"""Forms as a browser sends them, without JavaScript and with it, from pages on an
allowed origin and on others."""

import html
import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest

from browsers import form_key
from processes import Server, Terminal, make_key, until, wait_until_ready

README = Path(__file__).resolve().parents[2] / "README.md"
FORM = """<!doctype html><meta name="viewport" content="width=device-width">
<form method="post" action="{action}" {more}>
  <input name="email" id="email"> <textarea name="message" id="message"></textarea>
  <input name="_gotcha" id="trap"> {fields} <button>Send</button>
</form>"""
FETCH = """
    const body = new URLSearchParams(arguments[1])
    return fetch(arguments[0], {method: "POST", body})
        .then(async answer => [answer.status, await answer.json()])"""


def form(site, action, fields="", more="", path="/contact"):
    site.pages[path] = FORM.format(action=action, fields=fields, more=more)


def fill(browser, url, email="ada@example.com", message="Hello\nthere"):
    """Opens a page with a form and sends it."""
    browser.open(url)
    browser.type("#email", email)
    browser.type("#message", message)
    browser.click("button")


def inbox(server):
    """(state, fields) of the submissions, newest first."""
    answer = server.ask("GET", "/v1/submissions")
    assert answer.status == 200
    return [(row["state"], row["fields"]) for row in answer.json["data"]]


@pytest.mark.parametrize("more", ["", 'enctype="multipart/form-data"'])
def test_a_form_without_javascript_is_kept_and_thanked_for(browser, server, site, more):
    key = form_key(server, "shop.localhost")
    file = '<input type="file" name="attachment">'
    form(site, f"{server.url}/f/{key}", file if more else "", more)
    browser.javascript(False)
    fill(browser, site.url("/contact"))
    assert browser.text("h1") == "Thank you"
    assert browser.url == f"{server.url}/f/{key}"
    sent = {"email": "ada@example.com", "message": "Hello\r\nthere"}
    assert inbox(server) == [("accepted", sent)]
    assert browser.find("a").get_attribute("href") == site.url("/")
    assert not any("Content Security Policy" in line for line in browser.console())


def test_a_form_on_a_foreign_page_is_refused_and_shown_the_way_back(
    browser, server, site
):
    key = form_key(server, "shop.localhost")
    form(site, f"{server.url}/f/{key}")
    browser.javascript(False)
    fill(browser, site.url("/contact", "evil.localhost"))
    assert browser.text("h1") == "Not sent"
    assert site.url("", "evil.localhost") in browser.text("p")
    links = [link.get_attribute("href") for link in browser.all("a")]
    assert links == ["https://shop.localhost/"]
    assert inbox(server) == []


def test_a_script_of_an_allowed_page_is_answered(browser, server, site):
    key = form_key(server, "shop.localhost")
    site.pages["/"] = ""
    browser.open(site.url())
    fields = {"email": "ada@example.com", "message": "Hi"}
    status, said = browser.run(FETCH, f"{server.url}/f/{key}", fields)
    assert (status, said["success"]) == (200, True)
    assert said["next"] == f"{server.url}/f/thanks"
    assert inbox(server) == [("accepted", fields)]
    browser.open(said["next"])
    assert browser.text("h1") == "Thank you"


def test_a_script_of_a_foreign_page_reads_its_403(browser, server, site):
    key = form_key(server, "shop.localhost")
    site.pages["/"] = ""
    browser.open(site.url("/", "evil.localhost"))
    status, said = browser.run(FETCH, f"{server.url}/f/{key}", {"message": "Hi"})
    assert (status, said["error"]["code"]) == (403, "forbidden")
    assert site.url("", "evil.localhost") in said["message"]
    assert inbox(server) == []


def test_who_fills_the_honeypot_sees_what_everybody_sees(browser, server, site):
    key = form_key(server, "shop.localhost")
    form(site, f"{server.url}/f/{key}")
    fill(browser, site.url("/contact"))
    assert until(lambda: browser.text("h1") == "Thank you")
    seen = browser.driver.page_source
    browser.open(site.url("/contact"))
    browser.type("#trap", "http://spam.example")
    browser.click("button")
    assert until(lambda: browser.text("h1") == "Thank you")
    assert browser.driver.page_source == seen
    assert [state for state, _ in inbox(server)] == ["spam", "accepted"]


def test_a_page_without_a_referrer_is_told_what_to_change(browser, server, site):
    """A plain form then has the origin null; fetch() keeps its own."""
    key = form_key(server, "shop.localhost")
    site.headers["Referrer-Policy"] = "no-referrer"
    form(site, f"{server.url}/f/{key}")
    fill(browser, site.url("/contact"))
    assert browser.text("h1") == "Not sent"
    assert "strict-origin-when-cross-origin" in browser.text("p")
    site.headers.clear()
    site.headers["Referrer-Policy"] = "strict-origin-when-cross-origin"
    fill(browser, site.url("/contact"))
    assert browser.text("h1") == "Thank you"
    site.headers["Referrer-Policy"] = "no-referrer"
    browser.open(site.url("/contact"))
    status, _ = browser.run(FETCH, f"{server.url}/f/{key}", {"message": "script"})
    assert status == 200


SENDS_ITSELF = """
<form method=post action="{action}"><input name=message value=Hi></form>
<script>document.forms[0].submit()</script>"""
FRAMES = {
    "a sandboxed frame": (
        "shop",
        '<iframe sandbox="allow-scripts allow-forms" {page}>',
    ),
    "a frame of a foreign page": ("evil", "<iframe {page}>"),
    "a sandboxed frame of a foreign page": (
        "evil",
        '<iframe sandbox="allow-scripts allow-forms" {page}>',
    ),
    "a data URL": ("shop", "<iframe src='data:text/html,{escaped}'>"),
    "a blob": (
        "evil",
        "<iframe></iframe><script>document.querySelector('iframe').src ="
        "URL.createObjectURL(new Blob([{quoted}], {{type: 'text/html'}}))</script>",
    ),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_no_frame_gets_a_form_past_its_domains(browser, server, site, kind):
    key = form_key(server, "shop.localhost")
    page = SENDS_ITSELF.format(action=f"{server.url}/f/{key}")
    name, frame = FRAMES[kind]
    site.pages["/"] = frame.format(
        page=f'srcdoc="{html.escape(page)}"',
        escaped=quote(page),
        quoted=json.dumps(page).replace("</", "<\\/"),
    )
    browser.open(site.url("/", f"{name}.localhost"))
    assert until(lambda: "POST /f/… 403" in server.output.decode())
    assert inbox(server) == []


def test_a_file_gets_no_form_past_its_domains(browser, server, tmp_path):
    key = form_key(server, "shop.localhost")
    page = tmp_path / "page.html"
    page.write_text(SENDS_ITSELF.format(action=f"{server.url}/f/{key}"))
    browser.open(page.as_uri())
    assert browser.text("h1") == "Not sent"
    assert "a file" in browser.text("p")
    assert inbox(server) == []


def test_a_form_leads_to_the_page_that_it_names(browser, server, site):
    key = form_key(server, "shop.localhost")
    form(
        site, f"{server.url}/f/{key}", '<input type="hidden" name="_next" value="/ok">'
    )
    site.pages["/ok"] = "<h1>Sent!</h1>"
    fill(browser, site.url("/contact"))
    assert (browser.text("h1"), browser.url) == ("Sent!", site.url("/ok"))


@pytest.mark.parametrize(
    "there",
    ["//evil.localhost:{0}/ok", "/\\evil.localhost:{0}/ok", "/\t/evil.localhost:{0}/ok",
     "http:evil.localhost:{0}/ok", "http://shop.localhost@evil.localhost:{0}/ok",
     "/%2f/evil.localhost:{0}/ok", "http://evil.localhost:{0}/ok"],
)  # fmt: skip
def test_a_form_leads_to_no_other_site(browser, server, site, there):
    key = form_key(server, "shop.localhost")
    there = there.format(site.server_port)
    form(site, f"{server.url}/f/{key}", f"<input name='_next' value='{there}'>")
    site.pages["/ok"] = "<h1>Fallen for it</h1>"
    fill(browser, site.url("/contact"))
    assert browser.text("h1") == "Thank you"
    assert len(inbox(server)) == 1
    asked = [url for url in browser.requests() if "evil." in url]
    assert asked == []


def test_the_pages_of_forms_are_read_on_a_phone_and_at_night(browser, server, site):
    key = form_key(server, "shop.localhost")
    form(site, f"{server.url}/f/{key}")
    fill(browser, site.url("/contact"))
    browser.shoot("form-thanks")
    fill(browser, site.url("/contact"), email="nobody")
    assert "Email must be a valid address" in browser.text("p")
    browser.shoot("form-refused")
    fill(browser, site.url("/contact", "evil.localhost"))
    browser.shoot("form-foreign")
    browser.open(f"{server.url}/f/{key}")
    assert "action=" in browser.text("p")
    browser.shoot("form-address")
    browser.look_like(390, "dark")
    fill(browser, site.url("/contact", "evil.localhost"))
    assert not browser.is_wider_than_the_screen()
    colour = browser.run("return getComputedStyle(document.body).color")
    assert colour == "rgb(255, 255, 255)"


# -- as the README and the first start say


def test_the_readmes_form_works_from_a_page_on_another_origin(
    browser, tmp_path, site, serve
):
    recipe = README.read_text().split("## A contact form in five minutes")[1]
    server = serve(folder=tmp_path)
    command = re.search(r"python contactapi\.py (keys create .*)", recipe)[1]
    key = make_key(server.env, *command.split()[2:])
    page = re.search(r"```html\n(.*?)```", recipe, re.DOTALL)[1]
    page = page.replace("http://127.0.0.1:8080", server.url).replace("ck_pub_…", key)
    site.pages["/"] = page
    browser.open(site.url("/", "localhost"))
    browser.type("[name=email]", "ada@example.com")
    browser.type("[name=message]", "Hello")
    browser.click("button")
    assert browser.text("h1") == "Thank you"
    sent = {"email": "ada@example.com", "message": "Hello"}
    assert inbox(server) == [("accepted", sent)]


def test_the_first_starts_form_works_as_pasted(browser, tmp_path, site):
    server = Server(tmp_path / "data", CONTACTAPI_SECRET_KEY=None)
    with Terminal(server.command, server.env) as terminal:
        wait_until_ready(server.port, terminal.process, lambda: terminal.shown)
        assert until(lambda: "</form>" in terminal.shown), terminal.shown
        site.pages["/"] = re.search("<form.*</form>", terminal.shown, re.DOTALL)[0]
        browser.open(site.url("/", "localhost"))
        browser.type("[name=email]", "ada@example.com")
        browser.type("[name=message]", "Hello")
        browser.click("button")
        assert browser.text("h1") == "Thank you"
        secret = re.search(r"ck_secret_\w+", terminal.shown)[0]
        page = server.ask("GET", "/v1/submissions", key=secret).json
        assert page["data"][0]["fields"]["message"] == "Hello"
        terminal.press_ctrl_c()


# -- the HTML that other services show in their documentation, its address changed

OTHERS = {
    "web3forms": """
        <form action="{url}/f" method="POST">
        <input type="hidden" name="access_key" value="{key}">
        <input type="hidden" name="subject" value="New Submission from Web3Forms">
        <input type="hidden" name="from_name" value="My Website">
        <input type="hidden" name="redirect" value="{site}/ok">
        <input type="checkbox" name="botcheck" class="hidden" style="display: none;">
        <input type="text" name="name" required>
        <input type="email" name="email" required>
        <textarea name="message" required></textarea>
        <button type="submit">Submit Form</button></form>""",
    "netlify": """
        <form name="contact" method="POST" action="{url}/f/{key}">
        <input type="hidden" name="form-name" value="contact">
        <input type="hidden" name="_next" value="/ok">
        <p style="display: none"><label>Don’t fill this out if you’re human:
        <input name="bot-field"></label></p>
        <p><label>Your Name: <input type="text" name="name"></label></p>
        <p><label>Your Email: <input type="email" name="email"></label></p>
        <p><label>Your Role: <select name="role[]" multiple>
        <option value="leader" selected>Leader</option>
        <option value="follower" selected>Follower</option></select></label></p>
        <p><label>Message: <textarea name="message"></textarea></label></p>
        <p><button type="submit">Send</button></p></form>""",
    "formsubmit": """
        <form action="{url}/f/{key}" method="POST">
        <input type="hidden" name="_subject" value="New submission!">
        <input type="hidden" name="_next" value="{site}/ok">
        <input type="hidden" name="_captcha" value="false">
        <input type="hidden" name="_template" value="table">
        <input type="hidden" name="_cc" value="another@email.com,yetanother@email.com">
        <input type="text" name="_honey" style="display:none">
        <input type="text" name="name" required>
        <input type="email" name="email" required>
        <textarea name="message"></textarea>
        <button type="submit">Send</button></form>""",
    "formspree": """
        <form action="{url}/f/{key}" method="POST">
        <input type="hidden" name="_next" value="{site}/ok">
        <input type="hidden" name="_subject" value="Contact">
        <input type="text" name="_gotcha" style="display:none">
        <label>Your email: <input type="email" name="email"></label>
        <label>Your name: <input type="text" name="name"></label>
        <label>Your message: <textarea name="message"></textarea></label>
        <button type="submit">Send</button></form>""",
}
MORE = {
    "web3forms": {"subject": "New Submission from Web3Forms"},
    "netlify": {"form-name": "contact", "role[]": ["leader", "follower"]},
}


@pytest.mark.parametrize("service", OTHERS)
def test_a_form_written_for_another_service_works(browser, server, site, service):
    key = form_key(server, "shop.localhost")
    page = OTHERS[service].format(url=server.url, key=key, site=site.url(""))
    site.pages |= {"/": page, "/ok": "<h1>Sent!</h1>"}
    browser.open(site.url())
    sent = {"name": "Ada", "email": "ada@example.com", "message": "Hello"}
    for name, text in sent.items():
        browser.type(f"[name={name}]", text)
    browser.click("button")
    assert (browser.text("h1"), browser.url) == ("Sent!", site.url("/ok"))
    assert inbox(server) == [("accepted", {**sent, **MORE.get(service, {})})]
    contacts = json.loads(server.ask("GET", "/v1/contacts").body)["data"]
    assert [contact["email"] for contact in contacts] == ["ada@example.com"]
