"""`filter[name]=text` in SQL, against the same question asked in Python."""

import json
import re

import pytest

import contactapi
from contactapi import CONTACTS, Config, Filter

NAMES = [
    *("plan", "a.b", "a[0]", "[0]", "$", "$.a", "#", "'", "a b", "é", "🙂", "\x7f"),
    *('"', '""', 'a"b', '"a', 'a"', "\\", "\\\\", 'a\\"', '\\"', "\\n", "\\u0000"),
    *(
        "\0",
        "\n",
        "\r\n",
        "\t",
        "\x1f",
        "",
        " ",
        ",",
        ":",
        '":',
        '":"',
        ',"',
        '"x":1,"',
    ),
    *("\u2028", "plan\\", 'x","plan', "u0022", "%", "null"),
]
VALUES = [
    *("5", 5, 5.0, 0, True, False, None, "", "true", "null", "pro", '"', "\\"),
    *(10**30, 10**30 + 1, 2**63, 0.1, "é", '{"plan":5}', [5], {"plan": 5}, {"": "5"}),
]
ASKED = [
    "5",
    "5.0",
    "0",
    "true",
    "null",
    "",
    "pro",
    '"',
    str(10**30),
    "0.1",
    "é",
    "[5]",
]


@pytest.fixture
def services(tmp_path):
    path = f"sqlite:///{tmp_path / 'contacts.db'}"
    services = contactapi.open_services(Config.from_env({"DATABASE_URL": path}))
    yield services
    services.close()


def documents():
    """Each name with each value, beside others, nested ones and texts like it."""
    for place, name in enumerate(NAMES):
        for number, value in enumerate(VALUES):
            beside = NAMES[(place + number) % len(NAMES)]
            fields = {beside: "beside", name: value}
            inner = {"inner": {name: "5"}, "text": json.dumps({name: "5"})}
            yield {**fields, **inner} if number % 2 else {**inner, **fields}
    yield from ({"text": f'{{"{name}":"5",'} for name in NAMES)


def is_meant(value, text):
    """What section 4 says: `5` finds 5 and "5", `true` finds true and "true"."""
    if isinstance(value, str):
        return value == text
    try:
        wanted = json.loads(text)
    except ValueError:
        return False
    if isinstance(wanted, (list, dict, str)) or isinstance(value, (list, dict)):
        return False
    kinds = {type(value), type(wanted)}
    return value == wanted and (len(kinds) == 1 or kinds == {int, float})


def test_a_filter_finds_what_python_finds_whatever_the_name(services):
    caller = contactapi.Caller("cli", 1, "secret", contactapi.GRANTS["secret"])
    sent = {f"u{n}@x.org": fields for n, fields in enumerate(documents())}
    lines = [
        contactapi.Line(n, 1, {"email": email, **fields})
        for n, (email, fields) in enumerate(sent.items())
    ]
    (report,) = services.contacts.import_lines(caller, iter(lines))
    assert report.created == len(sent)
    for name in NAMES:
        for text in ASKED:
            filters = (Filter("fields", "is", (name, text)),)
            batches = services.contacts.oldest_first(1, filters)
            emails = [row.label for rows in batches for row in rows]
            meant = [
                email
                for email, fields in sent.items()
                if name in fields and is_meant(fields[name], text)
            ]
            assert emails == meant, (name, text)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_no_filter_calls_python(services, name):
    sql, params = services.store.field_equals(name, contactapi.json_spellings("5"))
    assert sql.count("?") == len(params)
    assert set(re.findall(r"(\w+)\(", sql)) <= {"replace", "IN"}


def test_equal_filters_of_a_request_count_once():
    pairs = [("filter[plan]", "pro"), ("created_after", "2020-01-01")] * 50
    plan, after = contactapi.read_filters(CONTACTS, pairs)
    assert plan == ("fields", "is", ("plan", "pro")) and after[:2] == (
        "created_at",
        ">",
    )
    many = [("filter[plan]", str(n)) for n in range(11)]
    assert len(contactapi.read_filters(CONTACTS, many[:10] * 2)) == 10
    with pytest.raises(contactapi.InvalidRequest):
        contactapi.read_filters(CONTACTS, many)
