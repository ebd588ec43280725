"""The files of pages/, as they are served (CONTRACT sections 3 and 11)."""

import pytest

import extras.pages
from client import PAGE, failure

KEPT = "public, max-age=3600"
HTML = '<a href="{{url}}/x?a=1&amp;b">{{url}}</a>'
FILES = {
    "dashboard.html": HTML,
    "docs.html": "<title>docs</title>",
    "openapi.json": '{"url":"{{url}}"}',
    "llms.txt": "curl {{url}}/v1",
    "captcha.js": "'{{url}}'",
    "dashboard.css": "a{}",
    "dashboard/list.js": "export {}",
    "icon.svg": "<svg/>",
}


@pytest.fixture
def pages(tmp_path, monkeypatch):
    """A folder of pages in the place of ours."""
    folder = tmp_path / "site" / "pages"
    (folder / "dashboard").mkdir(parents=True)
    for name, text in FILES.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(extras.pages, "FOLDER", str(folder))
    return folder


def ask(api, path, method="GET", **headers):
    return api.ask(method, path, key=None, headers=headers)


@pytest.mark.parametrize(
    "path, media, body",
    [
        ("/", "text/html", HTML.replace("{{url}}", "http://localhost:80")),
        ("/docs", "text/html", FILES["docs.html"]),
        ("/openapi.json", "application/json", '{"url":"http://localhost:80"}'),
        ("/llms.txt", "text/plain", "curl http://localhost:80/v1"),
        ("/captcha.js", "text/javascript", FILES["captcha.js"]),
        ("/pages/dashboard.html", "text/html", None),
        ("/pages/dashboard.css", "text/css", "a{}"),
        ("/pages/dashboard/list.js", "text/javascript", "export {}"),
    ],
)
def test_a_page_is_served_with_the_servers_own_url(api, pages, path, media, body):
    answer = ask(api, path)
    assert answer.status_int == 200
    assert answer.headers["Content-Type"] == f"{media}; charset=utf-8"
    assert answer.headers.getall("Cache-Control") == [KEPT]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.text == (body or ask(api, "/").text)


def test_the_url_is_escaped_as_the_files_type_needs(make, pages):
    api = make(CONTACTAPI_PUBLIC_URL="https://x.example/\"'<b>&\\")
    inside = "https://x.example/&quot;&#x27;&lt;b&gt;&amp;\\"
    assert ask(api, "/").text == HTML.replace("{{url}}", inside)
    assert ask(api, "/openapi.json").json == {"url": "https://x.example/\"'<b>&\\"}


def test_a_host_that_is_none_is_not_believed(api, pages):
    answer = ask(api, "/llms.txt", Host='evil"><script>')
    assert answer.text == "curl http://localhost:80/v1"


def test_every_html_page_has_a_strict_policy(api, pages):
    for path in ("/", "/docs", "/pages/dashboard.html"):
        policy = ask(api, path).headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and "*" not in policy and "http" not in policy


def test_only_the_widget_may_be_embedded_by_other_sites(api, pages):
    name = "Cross-Origin-Resource-Policy"
    assert ask(api, "/captcha.js").headers[name] == "cross-origin"
    assert ask(api, "/pages/captcha.js").headers[name] == "cross-origin"
    assert name not in ask(api, "/pages/dashboard.css").headers


def test_who_has_a_page_is_told_that_it_is_the_same(api, pages):
    first = ask(api, "/docs")
    tag = first.headers["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}'):
        answer = ask(api, "/docs", **{"If-None-Match": known})
        assert (answer.status_int, answer.body) == (304, b"")
        assert answer.headers["ETag"] == tag
        assert answer.headers.getall("Cache-Control") == [KEPT]
    (pages / "docs.html").write_text("changed")
    answer = ask(api, "/docs", **{"If-None-Match": tag})
    assert (answer.status_int, answer.text) == (200, "changed")


def test_the_tag_is_another_where_the_url_is(make, pages):
    tags = {
        ask(make(CONTACTAPI_PUBLIC_URL=f"https://{name}.example"), "/").headers["ETag"]
        for name in "ab"
    }
    assert len(tags) == 2


def test_head_has_the_headers_of_get(api, pages):
    got, asked = ask(api, "/docs"), ask(api, "/docs", "HEAD")
    assert (asked.status_int, asked.body) == (200, b"")
    for name in ("Content-Length", "Content-Type", "ETag", "Cache-Control"):
        assert asked.headers[name] == got.headers[name]
    assert ask(api, "/docs", "POST").headers["Allow"] == "GET, HEAD, OPTIONS"


def test_a_kept_page_says_that_it_varies_by_origin(api, pages):
    """Else one that a plain <script> fetched would fail a module's."""
    plain, module = ask(api, "/captcha.js"), ask(api, "/captcha.js", **PAGE)
    assert plain.headers.getall("Vary") == module.headers.getall("Vary") == ["Origin"]
    assert module.headers["Access-Control-Allow-Origin"] == PAGE["Origin"]


def test_a_page_that_is_not_there_says_so(api, pages):
    (pages / "dashboard.html").unlink()
    for path, name in (("/", "dashboard.html"), ("/pages/none.css", "none.css")):
        answer = ask(api, path)
        assert failure(answer) == (404, "not_found", None)
        said = f"pages/{name} is not there: put it beside contactapi.py"
        assert answer.json["error"]["message"] == said
        assert answer.headers.getall("Cache-Control") == ["no-store"]


@pytest.mark.parametrize(
    "path",
    [
        *("/pages", "/pages/", "/pages/.", "/pages/..", "/pages/.env.txt"),
        *("/pages/../secret.txt", "/pages/%2e%2e/secret.txt", "/pages/..%2fsecret.txt"),
        *("/pages/..%5csecret.txt", "/pages//etc/passwd.txt", "/pages/secret.txt%00"),
        *(
            "/pages/deep/er/page.html",
            "/pages/dashboard",
            "/pages/dashboard/",
            "/pages/page.py",
            "/pages/page.html~",
            "/../x.txt",
        ),
    ],
)
def test_nothing_but_the_pages_can_be_had(api, pages, path):
    (pages.parent / "secret.txt").write_text("secret")
    (pages / ".env.txt").write_text("secret")
    (pages / "page.py").write_text("secret")
    (pages / "page.html~").write_text("secret")
    (pages / "deep" / "er").mkdir(parents=True)
    (pages / "deep" / "er" / "page.html").write_text("secret")
    answer = ask(api, path)
    assert failure(answer) == (404, "not_found", None)
    assert answer.json["error"]["message"] == "there is no such path"


def test_pages_need_no_key_and_have_no_window(make, pages):
    api = make(CONTACTAPI_RATE_LIMIT="2/60")
    for _ in range(5):
        answer = ask(api, "/captcha.js")
        assert answer.status_int == 200 and "RateLimit" not in answer.headers
    assert [ask(api, "/v1/contacts").status_int for _ in range(3)] == [401, 401, 429]
    assert ask(api, "/").status_int == 200
