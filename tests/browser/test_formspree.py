"""Formspree's own clients against our server, on allowed and on foreign pages."""

import subprocess

import pytest

from browsers import PACKAGES, form_key

CORE = """<!doctype html><title>core</title>
<script type="importmap">
  {"imports": {"@formspree/core": "/npm/@formspree/core/dist/index.mjs"}}
</script>
<script type="module">
  import * as core from "@formspree/core";
  window.core = core;
  document.title = "ready";
</script>"""
SUBMIT = """
    const [endpoint, key, fields, asForm] = arguments, {core} = window;
    const data = new FormData();
    for (const [name, value] of Object.entries(fields)) data.append(name, value);
    const sent = asForm ? data : fields;
    return core.createClient().submitForm(key, sent, {endpoint}).then(result =>
        core.isSubmissionError(result)
            ? {kind: result.kind, form: result.getFormErrors(),
               fields: result.getAllFieldErrors()}
            : {...result})"""
AJAX = """<!doctype html><title>ajax</title>
<form id="contact"><input name="email" data-fs-field><span data-fs-error="email"></span>
  <textarea name="message"></textarea><button type="submit">Send</button></form>
<div data-fs-success></div><div data-fs-error></div>
<script>
  window.formspree = function () { (formspree.q = formspree.q || []).push(arguments); };
  formspree("initForm", {formElement: "#contact", formId: "KEY", origin: "URL"});
</script>
<script src="/npm/@formspree/ajax/dist/global.js"></script>"""
REACT = """
import {useForm, ValidationError} from "@formspree/react";
import {createElement as h} from "react";
import {createRoot} from "react-dom/client";

function Contact() {
  const [state, submit] = useForm(window.formKey, {endpoint: window.endpoint});
  if (state.succeeded) return h("h1", null, "Sent! ", state.result.next);
  return h("form", {onSubmit: submit},
    h("input", {name: "email"}),
    h("p", {id: "field"},
      h(ValidationError, {field: "email", prefix: "Email:", errors: state.errors})),
    h("p", {id: "all"}, h(ValidationError, {errors: state.errors})),
    h("textarea", {name: "message"}),
    h("button", {disabled: state.submitting}, "Send"));
}
createRoot(document.querySelector("main")).render(h(Contact));
"""


def inbox(server):
    answer = server.ask("GET", "/v1/submissions")
    return [row["fields"] for row in answer.json["data"]]


# -- @formspree/core


@pytest.fixture
def core(browser, server, site):
    """submitForm with a form's key, from a page of this name."""
    key = form_key(server, "shop.localhost")
    site.pages["/"] = CORE

    def submit(fields, name="shop.localhost", as_form=True):
        browser.open(site.url("/", name))
        browser.find("head > title")
        browser.run("return import('/npm/@formspree/core/dist/index.mjs')")
        return browser.run(SUBMIT, server.url, key, fields, as_form)

    return submit


@pytest.mark.parametrize("as_form", [True, False])
def test_the_client_takes_a_success(core, server, as_form):
    sent = {"email": "ada@example.com", "message": "Hello"}
    result = core(sent, as_form=as_form)
    assert result == {"kind": "success", "next": f"{server.url}/f/thanks"}
    assert inbox(server) == [sent]


def test_the_client_takes_the_pages_own_next(core, site):
    result = core({"message": "Hello", "_next": "/thanks"})
    assert result == {"kind": "success", "next": site.url("/thanks")}


def test_the_client_knows_a_fields_error(core, server):
    result = core({"email": "nobody"})
    error = {"code": "TYPE_EMAIL", "message": "email must be a valid address"}
    assert result == {"kind": "error", "form": [], "fields": [["email", [error]]]}
    assert inbox(server) == []


def test_the_client_reads_why_its_page_is_refused(core, server):
    result = core({"message": "Hello"}, "evil.localhost")
    assert (result["kind"], result["fields"]) == ("error", [])
    assert "http://evil.localhost:" in result["form"][0]["message"]
    assert inbox(server) == []


# -- @formspree/ajax


@pytest.fixture
def ajax(browser, server, site):
    """Fills and sends the form of a page of this name."""
    key = form_key(server, "shop.localhost")
    site.pages["/"] = AJAX.replace("KEY", key).replace("URL", server.url)

    def submit(email, name="shop.localhost"):
        browser.open(site.url("/", name))
        browser.type("[name=email]", email)
        browser.type("[name=message]", "Hello")
        browser.click("button")

    return submit


def test_a_declared_form_is_thanked_for(ajax, browser, server):
    ajax("ada@example.com")
    assert browser.text("[data-fs-success][data-fs-active]") == "Thank you!"
    assert inbox(server) == [{"email": "ada@example.com", "message": "Hello"}]


def test_a_declared_forms_field_is_marked(ajax, browser, server):
    ajax("nobody")
    shown = browser.text("[data-fs-error=email][data-fs-active]")
    assert shown == "email must be a valid address"
    assert browser.find("[name=email]").get_attribute("aria-invalid") == "true"
    assert inbox(server) == []


def test_a_declared_form_on_a_foreign_page_says_why(ajax, browser, server):
    ajax("ada@example.com", "evil.localhost")
    shown = browser.text("[data-fs-error=''][data-fs-active]")
    assert "http://evil.localhost:" in shown
    assert inbox(server) == []


# -- @formspree/react


@pytest.fixture(scope="session")
def bundle():
    """The page's script as a site builds it."""
    options = "--bundle", "--define:process.env.NODE_ENV='production'", "--minify"
    ran = subprocess.run(
        [PACKAGES / ".bin" / "esbuild", *options, "--log-level=error"],
        input=REACT,
        cwd=PACKAGES.parent,
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


@pytest.fixture
def react(browser, server, site, bundle):
    key = form_key(server, "shop.localhost")
    settings = f'formKey = "{key}"; endpoint = "{server.url}"'
    site.pages |= {
        "/": f"<main></main><script>{settings}</script><script src=/app.js></script>",
        "/app.js": bundle,
    }

    def submit(email, name="shop.localhost"):
        browser.open(site.url("/", name))
        browser.type("[name=email]", email)
        browser.type("[name=message]", "Hello")
        browser.click("button")

    return submit


def test_a_react_form_succeeds(react, browser, server):
    react("ada@example.com")
    assert browser.text("h1") == f"Sent! {server.url}/f/thanks"
    assert inbox(server) == [{"email": "ada@example.com", "message": "Hello"}]


def test_a_react_form_shows_a_fields_error(react, browser, server):
    react("nobody")
    assert browser.text("#field > div") == "Email: email must be a valid address"
    assert inbox(server) == []


def test_a_react_form_on_a_foreign_page_says_why(react, browser, server):
    react("ada@example.com", "evil.localhost")
    assert "http://evil.localhost:" in browser.text("#all > div")
    assert inbox(server) == []
