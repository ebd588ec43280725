"""What holds for any value, tried with Hypothesis: pip install hypothesis."""

import functools
import io
import itertools
import json
import re
import unicodedata
import uuid

import hypothesis
import pytest

import contactapi
from contactapi import CONTACTS, Caller, Config
from extras import csv_rows, spreadsheets
from extras.event_log import event_id
from extras.history import parse_event_id

given, st = hypothesis.given, hypothesis.strategies

quick = hypothesis.settings(
    max_examples=200,
    deadline=None,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)

# Everything that JSON in UTF-8 can say; the edges of CSV are drawn more often.
EDGES = [
    "",
    " ",
    " a ",
    "＝x",
    "{more}",
    "a@x.org",
    "sep=;",
    "'",
    "''=x",
    "'=x",
    "=x",
    "[1]",
    "{",
    "[",
    '{"a":1}',
    "\0",
    "\r\n",
    "\ufeff",
]
texts = st.sampled_from(EDGES) | st.text(max_size=20)
names = texts | st.sampled_from(["Email", "EMAIL", " email", "ID", "Created_At", ";"])
integers = st.integers() | st.sampled_from([10**4299, -(10**4300) + 1, 2**63])
floats = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | integers | floats | texts,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4)
    ),
    max_leaves=12,
)
objects = st.dictionaries(names, values, max_size=6)


def others(document):
    return {n: v for n, v in document.items() if n not in (*contactapi.OURS, "email")}


def contacts(value):
    """Some contacts, without their emails."""
    fields = st.dictionaries(names, value, max_size=6).map(others)
    return st.lists(fields, max_size=4)


# ---------------------------------------------------------------------------
# Imports and exports
# ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    path = tmp_path_factory.mktemp("properties") / "contacts.db"
    config = Config.from_env({"DATABASE_URL": f"sqlite:///{path}"})
    services = contactapi.open_services(config)
    yield services
    services.close()


numbers = itertools.count()


def take_in(services, read, content):
    """Imports bytes into a workspace of their own; its number."""
    workspace = services.workspaces.ensure(f"w{next(numbers)}")
    grants = contactapi.GRANTS["secret"]
    caller = Caller("cli", workspace, "secret", grants)
    lines = read(io.BytesIO(content), CONTACTS.key)
    reports = list(services.contacts.import_lines(caller, lines))
    assert [error for report in reports for error in report.errors] == []
    return workspace


def as_jsonl(services, workspace):
    batches = services.contacts.oldest_first(workspace)
    return "".join(contactapi.jsonl_file(CONTACTS, batches))


def as_csv(services, workspace):
    read = functools.partial(services.contacts.oldest_first, workspace)
    return "".join(spreadsheets.csv_file(CONTACTS, read))


def stored(services, workspace):
    """The documents without their ids, as text: to Python, 1 == 1.0 == True."""
    lines = as_jsonl(services, workspace).split("\n")[:-1]
    documents = [json.loads(line) for line in lines]
    return [{n: v for n, v in one.items() if n != "id"} for one in documents]


def as_sent(fields):
    return [
        {
            "email": f"u{number}@x.org",
            **one,
            "created_at": f"2020-01-01T00:00:00.{number:06}Z",
            "updated_at": f"2021-01-01T00:00:00.{number:06}Z",
        }
        for number, one in enumerate(fields)
    ]


@quick
@given(contacts(values))
def test_any_set_of_contacts_survives_jsonl_exactly(services, fields):
    sent = as_sent(fields)
    content = b"".join(json.dumps(one).encode() + b"\n" for one in sent)
    first = take_in(services, contactapi.read_jsonl, content)
    assert json.dumps(stored(services, first)) == json.dumps(sent)
    file = as_jsonl(services, first).encode()
    second = take_in(services, contactapi.read_jsonl, file)
    assert json.dumps(stored(services, second)) == json.dumps(sent)


@quick
@given(contacts(texts))
def test_any_set_of_text_fields_survives_csv_exactly(services, fields):
    sent = as_sent(fields)
    content = b"".join(json.dumps(one).encode() + b"\n" for one in sent)
    first = take_in(services, contactapi.read_jsonl, content)
    file = as_csv(services, first).encode()
    second = take_in(services, spreadsheets.read_csv, file)
    # The empty text is CSV's one exception.
    wanted = [{n: v for n, v in one.items() if v != ""} for one in sent]
    assert stored(services, second) == wanted


# ---------------------------------------------------------------------------
# Values
# ---------------------------------------------------------------------------


@quick
@given(texts)
def test_a_cell_brings_its_text_back_and_runs_no_formula(text):
    cell = csv_rows.csv_cell(text)
    assert not text or csv_rows.csv_value(cell) == text
    assert not re.match(r"[=+\-@＝＋－＠\t\r\n{\[]", cell)


locals_ = st.text(min_size=1, max_size=70)
domains = st.from_regex(r"[a-zA-Zéüß]{1,5}(\.[a-zA-ZÉ0-9]{1,4}){0,3}", fullmatch=True)
emails = st.builds(lambda one, other: f" {one}@{other}", locals_, domains)


@quick
@given(emails | texts)
def test_an_email_that_is_clean_stays_as_it_is(text):
    try:
        label, key = contactapi.clean_email(text)
    except contactapi.InvalidEmail:
        return
    assert label == contactapi.trim(text)
    assert contactapi.clean_email(label) == (label, key)
    assert contactapi.clean_email(key)[1] == key
    local, _, domain = label.partition("@")
    assert len(label.encode()) <= 254 and 1 <= len(local.encode()) <= 64
    assert "." in domain and "@" not in domain and not re.search(r"\s", label)
    assert not any(unicodedata.category(char) in ("Cc", "Cf") for char in label)
    folded = unicodedata.normalize("NFC", local)
    folded = re.sub("[A-Z]", lambda match: match[0].lower(), folded)
    assert key == f"{folded}@{contactapi.ascii_host(domain)}"


@quick
@given(texts | st.text(max_size=210))
def test_a_name_that_is_clean_stays_as_it_is(text):
    try:
        label, key = contactapi.clean_name(text)
    except contactapi.InvalidRequest:
        return
    assert label == text.strip() and contactapi.clean_name(label) == (label, key)
    assert contactapi.fold(key) == key
    assert contactapi.clean_name(label.upper())[1] == contactapi.fold(label.upper())


@quick
@given(objects)
def test_an_object_that_is_written_is_read_back_exactly(document):
    text = contactapi.dump(document)
    again = contactapi.parse_object(text.encode())
    assert again == document and json.dumps(again) == json.dumps(document)
    assert contactapi.dump(again) == text
    assert contactapi.parse_object(json.dumps(document).encode()) == document


@quick
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_anything_else_is_an_invalid_request(raw):
    try:
        assert isinstance(contactapi.parse_object(raw), dict)
    except contactapi.InvalidRequest as err:
        assert err.status == 400


@quick
@given(st.integers(0, 2**128 - 1))
def test_base32_and_uuid_are_two_spellings_of_128_bits(number):
    uid = contactapi.base32(number)
    assert re.fullmatch("[0-7][0-9a-hjkmnp-tv-z]{25}", uid)
    assert contactapi.from_base32(uid) == number
    text = contactapi.uuid_of(uid)
    assert uuid.UUID(text).int == number
    assert contactapi.parse_uuid(text) == contactapi.parse_uuid(text.upper()) == uid
    for spelled in (f"con_{uid}", f"CON_{uid.upper()}", text, text.upper()):
        assert contactapi.parse_id("con", spelled) == uid


@quick
@given(texts | st.text("con_0123456789abcdef-", max_size=36))
def test_what_is_no_id_is_none(text):
    uid = contactapi.parse_id("con", text)
    assert uid is None or text.lower() in (f"con_{uid}", contactapi.uuid_of(uid))


@quick
@given(st.integers(0, 2**63 - 1))
def test_a_position_is_read_from_its_event_id(position):
    assert parse_event_id(event_id(position)) == position
    assert (position < 1) or (event_id(position - 1) < event_id(position))


# From the year 1 to the end of 9999.
moments = st.integers(-62_135_596_800 * 10**6, 253_402_300_799 * 10**6 + 999_999)


@quick
@given(moments)
def test_a_time_that_is_written_is_read_back(moment):
    assert contactapi.parse_time(contactapi.iso6(moment)) == moment
    second = moment // 1_000_000 * 1_000_000
    assert contactapi.parse_time(contactapi.iso(moment)) == second
    assert contactapi.iso(moment) == contactapi.iso(second)
    assert contactapi.parse_time(contactapi.iso6(moment)) == moment


@quick
@given(texts | st.from_regex(contactapi.ISO_TIME, fullmatch=True))
def test_any_text_is_a_time_or_none_and_a_time_can_be_shown(text):
    moment = contactapi.parse_time(text)
    assert moment is None or contactapi.parse_time(contactapi.iso6(moment)) == moment


def merged(target, patch):
    """RFC 7396, section 2, word for word."""
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            if name in target:
                del target[name]
        else:
            target[name] = merged(target.get(name), value)
    return target


short = st.sampled_from("abc")
trees = st.recursive(
    st.none() | st.integers(0, 2) | st.lists(st.integers(0, 2), max_size=2),
    lambda inner: st.dictionaries(short, inner, max_size=3),
    max_leaves=8,
)


@quick
@given(trees, trees)
def test_merge_patch_does_what_rfc_7396_says_and_changes_nothing_in_place(
    target, patch
):
    before = json.dumps([target, patch])
    assert contactapi.merge_patch(target, patch) == merged(target, patch)
    assert json.dumps([target, patch]) == before
