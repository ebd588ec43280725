"""A real browser: Debian's Chromium, one for the run, with our server as a process and
sites on other origins.

    def test_x(browser, server, site):
        key = form_key(server, "shop.localhost")
        site.pages["/"] = f'<form method="post" action="{server.url}/f/{key}">…'
        browser.open(site.url("/", "shop.localhost"))

`NAME.localhost` is what browsers call a secure context (Web Crypto is there), while
`NAME.test` is none, as http:// is elsewhere. Both lead to 127.0.0.1, and no other name
leads anywhere.
"""

import base64
import contextlib
import http.server
import json
import os
import threading
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from processes import until

PACKAGES = Path(__file__).with_name("browser") / "node_modules"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--disable-sync"),
    *("--disable-component-update", "--disable-dev-shm-usage"),
    "--host-resolver-rules=MAP *.test 127.0.0.1, MAP *.localhost 127.0.0.1, "
    "MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
)
WIDTHS, SCHEMES = (1280, 390), ("light", "dark")
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
}


class Browser:
    """A tab of its own. `driver` is Selenium's, for what is not here."""

    def __init__(self, driver, folder):
        self.driver, self.folder = driver, folder
        driver.switch_to.new_window("tab")
        self.look_like(1280)
        self.console(), self.requests()

    def open(self, url):
        self.driver.get(url)

    @property
    def url(self):
        return self.driver.current_url

    def all(self, css):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def find(self, css):
        """The element, waited for."""
        found = until(lambda: self.all(css))
        assert found, f"no {css} on {self.url}: {self.driver.page_source[:2000]}"
        return found[0]

    def text(self, css="body"):
        return self.find(css).text

    def click(self, css):
        self.find(css).click()

    def type(self, css, text):
        """Puts the text in the place of what is in the field."""
        field = self.find(css)
        field.clear()
        field.send_keys(text)

    def run(self, script, *arguments):
        """The result of an async function's body in the page."""
        return self.driver.execute_script(
            f"return (async () => {{{script}}})()", *arguments
        )

    def command(self, name, **parameters):
        """One of the DevTools protocol's."""
        return self.driver.execute_cdp_cmd(name, parameters)

    def console(self):
        """What the console has said since it was last asked, refusals of a
        Content-Security-Policy and failed requests included."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self):
        """The URLs that have been asked for since it was last asked, of any site."""
        entries = self.driver.get_log("performance")
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def javascript(self, on):
        """As the reader has set it, from the next page on."""
        self.command("Emulation.setScriptExecutionDisabled", value=not on)

    def look_like(self, width, scheme="light"):
        """A screen of this width (390 is a phone's), in this colour scheme."""
        phone = width < 600
        size = {"width": width, "height": 844 if phone else 800}
        self.command(
            "Emulation.setDeviceMetricsOverride",
            **size,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.command("Emulation.setEmulatedMedia", features=[feature])

    def shoot(self, name):
        """The whole page at both widths in both schemes, as NAME-390-dark.png in the
        folder that SCREENSHOTS names, else a temporary one; their paths."""
        made = []
        for width in WIDTHS:
            for scheme in SCHEMES:
                self.look_like(width, scheme)
                shot = self.command(
                    "Page.captureScreenshot", captureBeyondViewport=True
                )
                made.append(self.folder / f"{name}-{width}-{scheme}.png")
                made[-1].write_bytes(base64.b64decode(shot["data"]))
        self.look_like(1280)
        return made

    def is_wider_than_the_screen(self):
        """Whether the page must be pushed sideways to be read."""
        root = "document.documentElement"
        return self.run(f"return {root}.scrollWidth > {root}.clientWidth")

    def close(self):
        self.javascript(True)
        self.driver.close()
        self.driver.switch_to.window(self.driver.window_handles[0])


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    profile = tmp_path_factory.mktemp("profile")
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability(
        "goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"}
    )
    driver = Chrome(options, Service("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def shots(tmp_path_factory):
    """Where screenshots go."""
    folder = os.environ.get("SCREENSHOTS")
    folder = Path(folder) if folder else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def browser(chromium, shots):
    browser = Browser(chromium, shots)
    yield browser
    browser.close()


@pytest.fixture
def server(serve):
    """A server of ours in a process of its own; `serve` takes settings."""
    return serve()


def form_key(server, *domains, **settings):
    """The token of a new publishable key."""
    body = {"type": "publishable", "domains": domains, **settings}
    answer = server.ask("POST", "/api/api-keys", body)
    assert answer.status == 201, answer.body
    return answer.json["data"]["key"]


class Site(http.server.ThreadingHTTPServer):
    """A site of somebody else's. `pages` are its files by path, HTML unless the path's
    ending says otherwise; `headers` go with each of them; below /npm/ are the packages
    of package.json. `posted` holds (path, fields) of each form that was sent there."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), SiteHandler)
        self.pages, self.headers, self.posted = {}, {}, []
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self.thread.start()

    def url(self, path="/", name="shop.localhost"):
        return f"http://{name}:{self.server_port}{path}"

    def find(self, path):
        if path.startswith("/npm/"):
            with contextlib.suppress(OSError):
                return (PACKAGES / path.removeprefix("/npm/")).read_bytes()
        page = self.pages.get(path)
        return page.encode() if isinstance(page, str) else page

    def close(self):
        self.shutdown()
        self.thread.join()
        self.server_close()


class SiteHandler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0]
        body = self.server.find(path)
        self.send_response(404 if body is None else 200)
        media = TYPES.get(Path(path).suffix, TYPES[".html"])
        fixed = {"Content-Type": media, "Content-Length": str(len(body or b""))}
        for name, value in {**fixed, **self.server.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body or b"")

    def do_POST(self):
        raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.posted.append((self.path, dict(parse_qsl(raw))))
        self.do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def site():
    site = Site()
    yield site
    site.close()
