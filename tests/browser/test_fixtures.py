"""That the browser sees what a person would: names, schemes, widths, no JavaScript."""

from struct import unpack

import pytest

from browsers import form_key

PAGE = """<!doctype html><meta name="viewport" content="width=device-width">
<title>none</title><p id="now">no script</p>
<style>p { color: black } @media (prefers-color-scheme: dark) { p { color: white } }
</style><script>now.textContent = isSecureContext; document.title = origin</script>"""


@pytest.mark.parametrize(
    "name, secure", [("shop.localhost", "true"), ("shop.test", "false")]
)
def test_a_site_has_the_origin_that_its_name_says(browser, site, name, secure):
    site.pages["/"] = PAGE
    browser.open(site.url("/", name))
    assert browser.text("#now") == secure
    assert browser.driver.title == site.url("", name)
    assert {site.url("/", name)} <= set(browser.requests())


def test_no_other_name_leads_anywhere(browser, site):
    site.pages["/"] = '<script src="http://example.com/x.js"></script>'
    browser.open(site.url())
    assert any("ERR_NAME_NOT_RESOLVED" in line for line in browser.console())


def test_without_javascript_no_script_runs(browser, site):
    site.pages["/"] = PAGE
    browser.javascript(False)
    browser.open(site.url())
    assert browser.text("#now") == "no script"
    browser.javascript(True)
    browser.open(site.url())
    assert browser.text("#now") == "true"


def test_a_screenshot_is_taken_at_each_width_in_each_scheme(browser, site):
    site.pages["/"] = PAGE
    browser.open(site.url())
    paths = browser.shoot("fixtures")
    names = [f"fixtures-{w}-{s}.png" for w in (1280, 390) for s in ("light", "dark")]
    assert [path.name for path in paths] == names
    widths = [unpack(">I", path.read_bytes()[16:20])[0] for path in paths]
    assert widths == [1280, 1280, 780, 780]
    assert len({path.read_bytes() for path in paths}) == 4


def test_a_page_of_another_origin_reads_our_answers(browser, server, site):
    key = form_key(server, "shop.localhost")
    site.pages["/"] = ""
    post = """
        const headers = {"x-api-key": arguments[1], "content-type": "application/json"}
        const body = JSON.stringify({email: "ada@example.com"})
        return fetch(arguments[0] + "/v1/contacts", {method: "POST", headers, body})
            .then(answer => answer.status)"""
    for name, status in (("shop.localhost", 201), ("evil.localhost", 403)):
        browser.open(site.url("/", name))
        assert browser.run(post, server.url, key) == status
