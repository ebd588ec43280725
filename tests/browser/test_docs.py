"""The reference at /docs, read as somebody who wants to call the API would."""

import json
from pathlib import Path

import pytest

from browsers import PACKAGES, SCHEMES, WIDTHS
from processes import until

SPEC = json.loads(
    (Path(__file__).parents[2] / "pages/openapi.json").read_text(encoding="utf-8")
)


@pytest.fixture
def docs(browser, server):
    browser.open(f"{server.url}/docs")
    assert until(lambda: browser.all("article"))
    return browser


def shown(browser):
    return browser.run(
        "return [...document.querySelectorAll('article')]"
        ".filter((one) => one.checkVisibility()).map((one) => one.id)"
    )


def code(browser, ref, place="request"):
    return browser.run(
        "return document.querySelector("
        "`#${arguments[0]} pre[aria-label=${arguments[1]}]`).textContent",
        *(ref, place),
    )


def test_every_endpoint_has_a_section_with_an_anchor(docs, server):
    names = [
        item[method]["operationId"]
        for item in SPEC["paths"].values()
        for method in ("get", "post", "patch", "delete")
        if method in item
    ]
    assert sorted(shown(docs)) == sorted(names)
    docs.open(f"{server.url}/docs#create_call")
    top = "return document.getElementById('create_call').getBoundingClientRect().top"
    assert until(lambda: 0 <= (docs.run(top) or -1) < 200)


def test_a_search_leaves_what_has_the_words(docs):
    docs.type("#search", "idempotency")
    assert until(lambda: shown(docs) == ["create_call"])
    assert docs.text("#state") == "1 found"
    docs.type("#search", " nowhere at all")
    assert until(lambda: shown(docs) == [])


def test_the_examples_have_this_servers_url_and_the_readers_key(docs, server):
    assert code(docs, "list_contacts").startswith(f"curl '{server.url}/v1/contacts'")
    docs.type("#key", "ck_secret_mine")
    assert until(lambda: "Bearer ck_secret_mine" in code(docs, "list_contacts"))
    stored = "return Object.keys(sessionStorage).length + localStorage.length"
    assert docs.run(stored) == 0
    for language, word in (("JavaScript", "await fetch("), ("Python", "urlopen(")):
        docs.run(
            "[...document.querySelectorAll('#list_contacts [role=tab]')]"
            ".find((one) => one.textContent === arguments[0]).click()",
            language,
        )
        assert word in code(docs, "create_contact")
    answer = json.loads(code(docs, "create_contact", "answer"))
    assert answer["email"] == "ada@example.com"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_nothing_and_the_page_fits(docs, width, scheme):
    docs.look_like(width, scheme)
    assert not docs.is_wider_than_the_screen()
    docs.run(f"if (!window.axe) {{ {(PACKAGES / 'axe-core/axe.min.js').read_text()} }}")
    found = docs.run("return axe.run().then((result) => result.violations)")
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []


def test_nothing_is_asked_of_elsewhere_and_nothing_goes_wrong(docs, server):
    assert all(url.startswith(server.url) for url in docs.requests())
    assert docs.console() == []
    docs.shoot("docs")
