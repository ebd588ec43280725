"""The bodies of forms: urlencoded, multipart and JSON, as browsers and others send
them, and as nobody should."""

import pytest

from client import PAGE
from forms import URLENCODED, answered, inbox, multipart, refused, submitted
from forms import post_form as post

BAD = (400, "invalid_request", None)
NO_FORM = (415, "unsupported_media_type", None)
LARGE = (413, "payload_too_large", None)
MULTIPART = "multipart/form-data; boundary=AaB03x"


@pytest.fixture
def form(free):
    free.form = free.key("publishable")
    return free


def send(form, body, media=MULTIPART, **options):
    return post(form, body, media=media, **options)


# -- which are taken


@pytest.mark.parametrize(
    "media, body",
    [
        (URLENCODED, b"a=1"),
        (URLENCODED.upper() + "; charset=UTF-8", b"a=1"),
        (MULTIPART, multipart(('name="a"', "1"))),
        ("application/json", b'{"a":"1"}'),
        ("application/json; charset=utf-8", b'\xef\xbb\xbf{"a":"1"}'),
        ("application/problem+json", b'{"a":"1"}'),
        (None, b'{"a":"1"}'),
    ],
)
def test_a_form_comes_in_each_of_its_types(form, media, body):
    answered(send(form, body, headers={**PAGE, "Content-Type": media}))
    assert submitted(form)["fields"] == {"a": "1"}


@pytest.mark.parametrize("media", ["text/plain", "text/csv", "multipart/mixed", "x"])
def test_what_is_no_form_is_415(form, media):
    assert refused(send(form, b"a=1", media)) == NO_FORM


def test_a_compressed_form_is_415(form):
    headers = {**PAGE, "Content-Encoding": "gzip"}
    assert refused(post(form, {"a": "1"}, headers=headers)) == NO_FORM


# -- urlencoded


@pytest.mark.parametrize(
    "body, fields",
    [
        (b"a=1+2%2B3", {"a": "1 2+3"}),
        ("a=ü".encode(), {"a": "ü"}),
        (b"a=%C3%BC&%F0%9F%98%80=x", {"a": "ü", "😀": "x"}),
        (b"a=%0D%0A%00", {"a": "\r\n\0"}),
        (b"a=1&&b&=c&d=", {"a": "1", "b": "", "": "c", "d": ""}),
        (b"a=b=c;d", {"a": "b=c;d"}),
        (b"a=%zz%", {"a": "%zz%"}),
        (b"", {}),
    ],
)
def test_what_a_urlencoded_form_says(form, body, fields):
    answered(send(form, body, URLENCODED))
    assert submitted(form)["fields"] == fields


@pytest.mark.parametrize("body", [b"a=%ff", b"a=\xff", b"%ff=1", b"a=%ED%A0%80"])
def test_a_form_that_is_not_utf8_is_400(form, body):
    assert refused(send(form, body, URLENCODED)) == BAD


# -- multipart


@pytest.mark.parametrize(
    "boundary, header",
    [
        ("----WebKitFormBoundaryxGeJ7YaKzVXhDHyI", None),
        ("---------------------------9051914041544843365972754266", None),
        ("----formdata-undici-012345678901", None),
        ("gc0p4Jq0M:2Yt08j34c0p", '"gc0p4Jq0M:2Yt08j34c0p"'),
        ("a b'()+_,-./:=?", '"a b\'()+_,-./:=?"'),
        ("x" * 70, None),
        ("-", "-; charset=utf-8"),
    ],
    ids=str,
)
def test_a_boundary_is_any_that_is_allowed(form, boundary, header):
    body = multipart(('name="a"', "--x"), ('name="b"', ""), boundary=boundary)
    media = f"Multipart/Form-Data;  Boundary={header or boundary}"
    answered(send(form, body, media))
    assert submitted(form)["fields"] == {"a": "--x", "b": ""}


@pytest.mark.parametrize(
    "header",
    [
        *("", "; boundary", "; boundary=", '; boundary=""', "; xboundary=AaB03x"),
        *("; boundary=" + "x" * 71, '; boundary="a\\"b"', "; boundary=ü"),
        "; boundary=;",
        *("; boundary=AaB03x\x0b", '; boundary="AaB03x', "; boundary=aab03x"),
    ],
    ids=ascii,
)
def test_a_boundary_that_is_none_is_400(form, header):
    body = multipart(('name="a"', "1"))
    assert refused(send(form, body, f"multipart/form-data{header}")) == BAD


@pytest.mark.parametrize(
    "options, name",
    [
        ('name="a%22b%0D%0Ac"', 'a"b\r\nc'),
        ("name=plain", "plain"),
        ('name="ü"', "ü"),
        ('name="a;b"', "a;b"),
        ('name=""', ""),
    ],
)
def test_a_name_is_spelled_as_browsers_do(form, options, name):
    answered(send(form, multipart((options, "x"))))
    assert submitted(form)["fields"] == {name: "x"}


def test_a_parts_own_type_does_not_matter(form):
    part = 'name="a"\r\nContent-Type: text/plain; charset=utf-16\r\nX-Y: z'
    answered(send(form, multipart((part, "ü"))))
    assert submitted(form)["fields"] == {"a": "ü"}


def test_a_file_that_nobody_chose_is_passed_over(form):
    part = 'name="f"; filename=""\r\nContent-Type: application/octet-stream'
    answered(send(form, multipart(('name="a"', "1"), (part, ""), ('name="b"', "2"))))
    assert submitted(form)["fields"] == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    "options, content",
    [
        ('name="f"; filename="a.txt"', "hello"),
        ('name="f"; filename="a.txt"', ""),
        ('name="f"; filename=""', "hello"),
        ("name=f; filename=a.txt", "hello"),
    ],
)
def test_any_other_file_is_415(form, options, content):
    body = multipart(('name="a"', "1"), (options, content))
    assert refused(send(form, body)) == NO_FORM
    assert inbox(form) == []


PART = multipart(('name="a"', "1"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        PART[:-4],
        PART[:-20],
        PART.replace(b"\r\n", b"\n"),
        PART.replace(b"form-data", b"attachment"),
        PART.replace(b"; name", b"; title"),
        PART.replace(b"Content-Disposition", b"Content-Type"),
        PART.replace(b'"1"', b"1").replace(b": form", b" form"),
        PART.replace(b'"a"', b'"a"\r\nContent-Length: abc'),
        PART.replace(b'"a"', b'"a"\r\nContent-Length: 9'),
        PART.replace(b'"a"', b'"a"\r\n folded'),
        PART.replace(b'"a"', b'"a"' + b"\r\nX: y" * 9),
        PART.replace(b'"a"', b'"a"; x="' + b"y" * 5000 + b'"'),
        PART.replace(b"\r\n1", b"\r\n\xff"),
        PART.replace(b'"a"', b'"\xff"'),
        b"--AaB03x\r\n" + PART,
        b"--AaB03x-x\r\n" + PART[10:],
    ],
    ids=ascii,
)
def test_a_multipart_body_that_is_none_is_400(form, body):
    assert refused(send(form, body)) == BAD
    assert inbox(form) == []


def test_what_stands_before_and_behind_the_parts_is_passed_over(form):
    answered(send(form, b"preamble\r\n" + PART + b"\r\nepilogue"))
    assert submitted(form)["fields"] == {"a": "1"}


# -- bounds


@pytest.mark.parametrize("kind", ["urlencoded", "multipart", "json"])
def test_names_and_values_take_a_quarter_of_a_body(form, kind):
    def body(value):
        if kind == "json":
            return post(form, {"name": value}, media="json")
        if kind == "urlencoded":
            return post(form, {"name": value})
        return send(form, multipart(('name="name"', value)))

    for value in ("x" * 16_380, "ü" * 8190):
        answered(body(value))
        assert submitted(form)["fields"] == {"name": value}
        assert refused(body(value + "x")) == LARGE
    assert len(inbox(form)) == 2


def test_a_body_may_have_the_whole_though_it_says_little(form):
    """Percent-encoded, an umlaut takes six bytes."""
    answered(post(form, {"a": "ü" * 8190}))
    assert submitted(form)["fields"] == {"a": "ü" * 8190}
    padded = b'{"a":"1"' + b" " * (65_536 - 9) + b"}"
    answered(send(form, padded, "application/json"))
    assert refused(send(form, padded + b" ", "application/json")) == LARGE


@pytest.mark.parametrize("kind", ["urlencoded", "multipart", "json"])
def test_a_form_has_at_most_a_hundred_fields_of_a_hundred_characters(form, kind):
    def body(names):
        fields = dict.fromkeys(names, "x")
        if kind == "multipart":
            parts = [(f'name="{name}"', value) for name, value in fields.items()]
            return send(form, multipart(*parts))
        return post(form, fields, media="json" if kind == "json" else URLENCODED)

    names = [f"{n:0100}" for n in range(100)]
    answered(body(names))
    assert list(submitted(form)["fields"]) == names
    assert refused(body([*names, "one more"])) == BAD
    assert refused(body(["x" * 101])) == BAD


@pytest.mark.parametrize("kind", ["urlencoded", "multipart"])
def test_six_thousand_fields_are_refused(make, kind):
    form = make(CONTACTAPI_RATE_LIMIT="off", CONTACTAPI_MAX_BODY="1048576")
    form.form = form.key("publishable")
    pairs = [(f"f{n}", "x") for n in range(6000)]
    if kind == "urlencoded":
        answer = post(form, pairs)
    else:
        answer = send(form, multipart(*((f'name="{n}"', v) for n, v in pairs)))
    assert refused(answer) == BAD
    assert inbox(form) == []


def test_one_name_may_have_many_values(form):
    values = [str(n) for n in range(900)]
    answered(post(form, [("a", value) for value in values]))
    assert submitted(form)["fields"] == {"a": values}
    assert refused(post(form, [("a", "")] * 1001)) == BAD


@pytest.mark.parametrize(
    "body",
    [b"[]", b'"x"', b"{", b"", b'{"a":NaN}', b'{"a":1e999}', b'{"a":"\\ud800"}'],
)
def test_json_that_is_no_object_is_400(form, body):
    assert refused(send(form, body, "application/json")) == BAD
    assert inbox(form) == []
