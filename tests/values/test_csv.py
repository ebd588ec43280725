"""CSV as spreadsheets write and read it, and whatever survives it."""

import csv
import io
import json
import random
import struct

import pytest

from client import MEDIA, counts, exported, failure, fields_of, jsonl, upload
from extras import csv_rows


def cells(api, path="/v1/contacts.csv", **options):
    """The rows of a CSV export, read as a spreadsheet does."""
    answer = api.get(path, **options)
    assert answer.status_int == 200, answer.text
    return list(csv.reader(io.StringIO(answer.body.decode(), newline="")))


def test_a_csv_is_rfc_4180_with_sorted_columns_and_six_digits(free):
    assert free.get("/v1/contacts.csv").body == b"id,email,created_at,updated_at\r\n"
    ref, *_ = free.add("a@x.org", z='say "hi"', b="x,y", n={"k": [1, "é"]}, t=True)
    free.turn(0.25)
    free.add("b@x.org", b="two\nlines", z=None, a=1.5)
    (other,) = (c["id"] for c in exported(free, "/v1/contacts.jsonl?email=b@x.org"))
    one, two = "2026-07-04T10:00:00.000000Z", "2026-07-04T10:00:00.250000Z"
    assert free.get("/v1/contacts.csv").body.decode() == (
        "id,email,created_at,updated_at,a,b,n,t,z\r\n"
        f'{ref},a@x.org,{one},{one},,"x,y",'
        '"{""k"":[1,""é""]}",true,"say ""hi"""\r\n'
        f'{other},b@x.org,{two},{two},1.5,"two\nlines",,,\r\n'
    )


def test_jsonl_is_the_record_as_v1_shows_it_with_six_digits(free):
    (ref,) = free.add("a@x.org", z=1, a=[None, {"b": 2.50}], n=None)
    free.turn(1.000042)
    free.patch(ref, {"z": 10**30})
    assert free.get("/v1/contacts.jsonl").body.decode() == (
        f'{{"id":"{ref}","email":"a@x.org","z":{10**30},"a":[null,{{"b":2.5}}],'
        '"n":null,"created_at":"2026-07-04T10:00:00.000000Z",'
        '"updated_at":"2026-07-04T10:00:01.000042Z"}\n'
    )


@pytest.mark.parametrize("form", MEDIA)
def test_an_export_is_oldest_first(free, form):
    free.add("c@x.org", "a@x.org", "b@x.org")
    upload(free, jsonl({"email": "old@x.org", "created_at": "1999-01-01"}))
    wanted = ["old@x.org", "c@x.org", "a@x.org", "b@x.org"]
    if form == "jsonl":
        assert [c["email"] for c in exported(free)] == wanted
    else:
        assert [row[1] for row in cells(free)[1:]] == wanted


@pytest.mark.parametrize("count", [999, 1000, 1001, 2000, 2001])
def test_an_export_has_every_record_once_at_the_edges_of_its_batches(free, count):
    upload(free, jsonl(*({"email": f"u{n}@x.org"} for n in range(count))))
    assert [c["email"] for c in exported(free)] == [f"u{n}@x.org" for n in range(count)]
    assert len(cells(free)) == count + 1


RISKY = [*"＝＋－＠", "=", "+", "-", "@", "\t", "\r", "\n", "{", "["]
RISKY_TEXTS = [
    quotes + text
    for quotes in ("", "'", "''", "'''")
    for text in (*RISKY, *(f"{char}1+1" for char in RISKY), "")
    if quotes + text
]
PLAIN_TEXTS = [
    *("a", "'a", "''a", "5", "05", "true", "null", " ", " =1", "a=1", "'a=", "é", "()"),
    *('"', "\"=1'", "a'", "' =1", "\u00a0=1", "\0", "\0=1", "\u2028", "\x0b=", "🙂"),
]


def test_a_text_that_a_spreadsheet_would_run_gets_one_quote_more(free):
    for number, text in enumerate(RISKY_TEXTS):
        free.add(f"u{number}@x.org", v=text)
    assert [row[4] for row in cells(free)] == ["v", *("'" + t for t in RISKY_TEXTS)]
    raw = cells(free, "/v1/contacts.csv?raw=1")
    assert [row[4] for row in raw] == ["v", *RISKY_TEXTS]


def test_any_other_text_is_left_as_it_is(free):
    for number, text in enumerate(PLAIN_TEXTS):
        free.add(f"u{number}@x.org", v=text)
    assert [row[4] for row in cells(free)] == ["v", *PLAIN_TEXTS]


@pytest.mark.parametrize("text", [*RISKY_TEXTS, *PLAIN_TEXTS], ids=ascii)
def test_the_import_takes_that_quote_off_again(text):
    cell = csv_rows.csv_cell(text)
    assert csv_rows.csv_value(cell) == text
    assert csv_rows.csv_cell(csv_rows.csv_value(cell)) == cell


def test_every_text_comes_back_exactly_from_another_workspace(free):
    texts = [*RISKY_TEXTS, *PLAIN_TEXTS]
    upload(
        free,
        jsonl(*({"email": f"u{n}@x.org", "v": t} for n, t in enumerate(texts))),
    )
    free.turn(1)  # each has a microsecond of its own, after the one of the clock
    key = free.key("secret", workspace="copy")
    file = free.get("/v1/contacts.csv").body
    assert counts(upload(free, file, "/v1/contacts.csv", key=key))[0] == len(texts)
    assert [c.get("v") for c in exported(free, key=key)] == texts


@pytest.mark.parametrize(
    "raw, cell", [("raw=0", "'=1"), ("RAW=1", "'=1"), ("raw=true", "=1")]
)
def test_raw_alone_leaves_the_quotes_out(free, raw, cell):
    free.add("a@x.org", v="=1")
    assert cells(free, f"/v1/contacts.csv?{raw}")[1][4] == cell


def test_raw_without_a_value_is_refused(free):
    answer = free.get("/v1/contacts.csv?raw=")
    assert failure(answer) == (400, "invalid_request", "raw")


@pytest.mark.parametrize(
    "email",
    ["=1@x.org", "+tag@x.org", "-a@x.org", "'=1@x.org", "''-@x.org", "{x}@x.org"],
)
def test_an_email_or_a_name_is_no_formula_either(free, email):
    free.add(email)
    free.post({"name": email}, path="/v1/companies")
    for kind in ("contacts", "companies"):
        assert cells(free, f"/v1/{kind}.csv")[1][1] == "'" + email
        key = free.key("secret", workspace="copy")
        file = free.get(f"/v1/{kind}.csv").body
        assert counts(upload(free, file, f"/v1/{kind}.csv", key=key))[0] == 1
        name = {"contacts": "email", "companies": "name"}[kind]
        assert exported(free, f"/v1/{kind}.jsonl", key=key)[0][name] == email


def test_a_fields_name_is_no_formula_either(free):
    names = ["=1", "'+x", "", "'", "{a}", "-"]
    free.add("a@x.org", **dict.fromkeys(names, "x"))
    assert cells(free)[0][4:] == ["'" + name for name in sorted(names)]
    assert cells(free, "/v1/contacts.csv?raw=1")[0][4:] == sorted(names)
    key = free.key("secret", workspace="copy")
    upload(free, free.get("/v1/contacts.csv").body, "/v1/contacts.csv", key=key)
    assert fields_of(exported(free, key=key)[0]) == dict.fromkeys(names, "x")


def nested(levels):
    return [nested(levels - 1)] if levels > 1 else []


CELLS = [
    ('{"a": [1, null, 2.0]}', {"a": [1, None, 2.0]}),
    ("[]", []),
    ("[1, 2] ", [1, 2]),
    ("[1", "[1"),
    ("{x}", "{x}"),
    ("[NaN]", "[NaN]"),
    ("[1e400]", "[1e400]"),
    ("[" * 100 + "]" * 100, "[" * 100 + "]" * 100),
    ('["\\ud800"]', '["\\ud800"]'),
    ("[1] [2]", "[1] [2]"),
    ('[],"a":[]', '[],"a":[]'),
    ('[]],"":[[]', '[]],"":[[]'),
    ("[" * 63 + "]" * 63, nested(63)),
    ("[" * 64 + "]" * 64, "[" * 64 + "]" * 64),
    ("'[1]", "[1]"),
    ("''[1]", "'[1]"),
    ("'", ""),
    ("''", "'"),
    ("'a", "'a"),
    ("5", "5"),
    ("5.0", "5.0"),
    ("true", "true"),
    ("null", "null"),
    (" ", None),
    ("x ", "x "),
    (" x", "x"),
    ("=1", "=1"),
    (" [1]", [1]),
    ("\u00a0x\u00a0", "\u00a0x\u00a0"),
]


def test_a_cell_is_text_unless_it_is_json_in_brackets(free):
    file = io.StringIO()
    rows = [[f"u{n}@x.org", cell] for n, (cell, _) in enumerate(CELLS)]
    csv.writer(file).writerows([["email", "v"], *rows])
    answer = upload(free, file.getvalue(), "/v1/contacts.csv")
    assert counts(answer) == (len(CELLS), 0, 0, [])
    shown = [json.dumps(one.get("v")) for one in exported(free)]
    assert shown == [json.dumps(value) for _, value in CELLS]


def test_an_empty_cell_is_an_absent_field_and_a_short_row_lacks_its_last(free):
    content = 'email,a,b\na@x.org,,x\nb@x.org,"",y\nc@x.org,x\nd@x.org\n'
    assert counts(upload(free, content, "/v1/contacts.csv")) == (4, 0, 0, [])
    assert [fields_of(c) for c in exported(free)] == [
        {"b": "x"},
        {"b": "y"},
        {"a": "x"},
        {},
    ]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffemail,name,note\r\na@x.org,Ada,x\r\n",
        '\ufeff"email",name,note\r\na@x.org,Ada,x\r\n',
        "email;name;note\r\na@x.org;Ada;x\r\n",
        "\ufeffEmail;name;note\r\na@x.org;Ada;x\r\n",
        "name;note;EMAIL\na@x.org;Ada;x\n".replace("a@x.org;Ada;x", "Ada;x;a@x.org"),
        "name;E-Mail, work;eMail;note\nAda;;a@x.org;x\n",
        '"email","name","note"\r\n"a@x.org","Ada","x"\r\n',
        "email,name,note\na@x.org,Ada,x",
        "email,name,note,\na@x.org,Ada,x,\n",
        "email;name;note;ID;Created_At\na@x.org;Ada;x;1;\n",
        " Email ,name,note\n a@x.org ,Ada,x\n",
    ],
    ids=ascii,
)
def test_files_are_taken_as_spreadsheets_save_them(free, content):
    assert counts(upload(free, content, "/v1/contacts.csv")) == (1, 0, 0, [])
    (one,) = exported(free)
    assert one["email"] == "a@x.org"
    assert fields_of(one) == {"name": "Ada", "note": "x"}


@pytest.mark.parametrize(
    "content",
    [
        '"Full\nname",email\r\nAda,a@x.org\r\n',
        '\ufeff"Full\nname";Email\r\nAda;a@x.org\r\n',
        'email,"Full\nname"\r\na@x.org,Ada\r\n',
    ],
    ids=ascii,
)
def test_a_columns_name_may_hold_a_line_end(free, content):
    assert counts(upload(free, content, "/v1/contacts.csv")) == (1, 0, 0, [])
    assert fields_of(exported(free)[0]) == {"Full\nname": "Ada"}


def test_header_names_of_ours_are_taken_in_any_case(free):
    content = "ID;EMAIL;CREATED_AT;Updated_at\nx;a@x.org;2020-01-01;2021-01-01\n"
    assert counts(upload(free, content, "/v1/contacts.csv")) == (1, 0, 0, [])
    (one,) = exported(free)
    assert set(one) == {"id", "email", "created_at", "updated_at"}
    assert one["created_at"] == "2020-01-01T00:00:00.000000Z"
    assert one["updated_at"] == "2021-01-01T00:00:00.000000Z"
    content = "NAME\nAcme\n"
    assert counts(upload(free, content, "/v1/companies.csv")) == (1, 0, 0, [])


def test_a_quoted_cell_may_hold_line_ends_separators_and_quotes(free):
    content = 'email;note;last\r\na@x.org;"a;b\r\nc\n""d"" , e";x\r\nb@x.org;f;\r\n'
    assert counts(upload(free, content, "/v1/contacts.csv")) == (2, 0, 0, [])
    one, other = exported(free)
    assert (one["note"], one["last"]) == ('a;b\r\nc\n"d" , e', "x")
    assert other["note"] == "f"


def test_a_jsonl_file_may_begin_with_a_bom(free):
    content = "\ufeff" + jsonl({"email": "a@x.org"}) + "\ufeff{}\n"
    assert counts(upload(free, content)) == (1, 0, 1, [2])


def test_500_field_names_fit_a_csv_and_more_are_json_in_a_last_column(free):
    free.add("a@x.org", **{f"f{n:03}": "x" for n in range(300)})
    free.add("b@x.org", **{f"f{n:03}": "x" for n in range(200, 500)})
    assert len(cells(free)[0]) == 504
    free.add("c@x.org", plan="pro", f201="y", one=[1], nothing=None)
    head, *rows = cells(free)
    assert (len(head), head[-1]) == (505, "{more}")
    # The most common ones stay; of those that are as rare the first ones.
    assert "f201" in head and "f299" in head and "f499" in head and "one" not in head
    assert [row[-1] for row in rows[:1]] == [""]
    more = json.loads(rows[2][-1])
    assert more == {"nothing": None, "one": [1], "plan": "pro"}
    key = free.key("secret", workspace="copy")
    file = free.get("/v1/contacts.csv").body
    assert counts(upload(free, file, "/v1/contacts.csv", key=key)) == (3, 0, 0, [])
    assert [fields_of(c) for c in exported(free, key=key)] == [
        fields_of(c) for c in exported(free)
    ]
    assert len(cells(free, "/v1/contacts.csv?filter[plan]=pro")[0]) == 8


@pytest.mark.parametrize(
    "query, emails",
    [
        ("", ["a", "b", "c"]),
        ("email=B@x.org", ["b"]),
        ("filter[plan]=pro", ["a", "c"]),
        ("filter[plan]=pro&filter[n]=5", ["c"]),
        ("q=ULM", ["a", "b"]),
        ("q=ulm+b@x", ["b"]),
        ("created_after=2026-07-04T10:00:00Z", ["b", "c"]),
        ("created_before=2026-07-04T10:02:00Z", ["a", "b"]),
        ("updated_after=2026-07-04T10:02:00Z&filter[plan]=pro", ["a"]),
        ("filter[plan]=none", []),
        ("page=2&page_size=1", ["a", "b", "c"]),
    ],
)
def test_an_export_has_everything_that_matches_its_filters(free, query, emails):
    (ref,) = free.add("a@x.org", plan="pro", city="Ulm")
    free.turn(60)
    free.add("b@x.org", plan="free", city="ulm")
    free.turn(60)
    free.add("c@x.org", plan="pro", n=5)
    free.turn(60)
    free.patch(ref, {"n": 6})
    wanted = [f"{name}@x.org" for name in emails]
    shown = exported(free, f"/v1/contacts.jsonl?{query}")
    assert [c["email"] for c in shown] == wanted
    rows = cells(free, f"/v1/contacts.csv?{query}")
    assert [row[1] for row in rows[1:]] == wanted


BAD_FILTERS = [
    "created_after=soon",
    "email=no",
    f"q={'x' * 101}",
    "q=a+b+c+d+e+f",
    "q=%ff",
]


@pytest.mark.parametrize("form", MEDIA)
def test_a_bad_filter_of_an_export_is_400(free, form):
    for query in BAD_FILTERS:
        assert failure(free.get(f"/v1/contacts.{form}?{query}"))[0] == 400, query


@pytest.mark.parametrize("form", MEDIA)
def test_an_export_shows_its_own_workspace_alone(free, form):
    free.add("a@x.org")
    other = free.key("secret", workspace="other")
    upload(free, jsonl({"email": "b@x.org"}), key=other)
    body = free.get(f"/v1/contacts.{form}").body
    assert b"a@x.org" in body and b"b@x.org" not in body


def test_a_text_longer_than_csvs_own_limit_survives_where_it_may_be_stored(make):
    api = make(CONTACTAPI_MAX_BODY="1048576", CONTACTAPI_RATE_LIMIT="off")
    text = "=" + "x,\n" * 100_000
    api.add("a@x.org", v=text)
    key = api.key("secret", workspace="copy")
    file = api.get("/v1/contacts.csv").body
    answer = upload(api, file, "/v1/contacts.csv", key=key)
    assert counts(answer) == (1, 0, 0, [])
    assert exported(api, key=key)[0]["v"] == text


# -- any set survives

WEIRD_NAMES = [
    *("", "\n", " ", "\t", ",", ";", '"', "''", "'", "'=x", "=x", "{", "[1]", "a\r\nb"),
    *("Email", "EMAIL", " email", "email ", "ID", "Id", "Created_At", "UPDATED_AT"),
    *(
        "\0",
        "\x7f",
        "\u2028",
        "\ufeff",
        "🙂",
        "e\u0301",
        "é",
        "null",
        "name",
        "x" * 300,
    ),
]
EDGES = [
    *("", "'", "''", "''=x", "'=x", "=x", "+1", "-1", "@a", "[1]", "{", "[", '{"a":1}'),
    *(
        "\0",
        "\t",
        "\n",
        "\r",
        "\r\n",
        "a\0b",
        "\x1b[31m",
        "\x7f",
        "\x85",
        "\u2028",
        '"',
    ),
    *(
        "🙂",
        "👩‍👩‍👧",
        "\U0010ffff",
        "\ue000",
        "\uffff",
        "\ufeff",
        "e\u0301",
        "ß",
        "true",
    ),
    *(" ", " a ", "null", "5", "NaN", ";", ",", "a,b;c", "\\", "\\u0000", "'a", "%s"),
]


def some_text(chance):
    if chance.random() < 0.6:
        return chance.choice(EDGES)
    parts = chance.choices([*EDGES, "a", "b", "'", "="], k=chance.randrange(6))
    return "".join(parts) + chr(chance.randrange(0xD7FF)) * chance.randrange(2)


def some_number(chance):
    integers = (0, -1, 2**53 + 1, 2**63, -(10**40), 10**4299, -(10**4299) + 1)
    floats = (0.0, -0.0, 0.1, 5e-324, 1.7976931348623157e308, 1e16, 1.0, 2.0**70)
    double = struct.unpack("d", chance.randbytes(8))[0]
    whole = chance.randrange(-(10**20), 10**20)
    double = double if double - double == 0 else 1.5  # no infinity, no NaN
    return chance.choice([*integers, *floats, double, whole])


def some_value(chance, depth=0):
    pick = chance.random()
    if pick < 0.4 or (depth > 4 and pick < 0.7):
        return some_text(chance)
    if pick < 0.6:
        return some_number(chance)
    if pick < 0.7 or depth > 4:
        return chance.choice([None, True, False])
    inner = [some_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    if pick < 0.85:
        return inner
    return {some_text(chance): value for value in inner}


def some_documents(chance, value):
    """Up to five contacts with weird fields."""
    places = chance.sample(range(10**6), chance.randrange(1, 6))
    for number, place in enumerate(sorted(places)):
        names = chance.sample(WEIRD_NAMES, chance.randrange(8))
        yield {
            "email": chance.choice(["=", "'=", "", "ü", "{"]) + f"a{number}@X.org",
            **{name: value(chance) for name in names},
            "created_at": f"2020-01-01T00:00:00.{place:06}Z",
            "updated_at": f"2021-01-01T00:00:00.{number:06}Z",
        }


def test_any_set_of_contacts_survives_jsonl_exactly(free):
    chance = random.Random(20260704)
    for number in range(120):
        sent = list(some_documents(chance, some_value))
        first = free.key("secret", workspace=f"first{number}")
        second = free.key("secret", workspace=f"second{number}")
        whole = (len(sent), 0, 0, [])
        assert counts(upload(free, jsonl(*sent), key=first)) == whole
        file = free.get("/v1/contacts.jsonl", key=first).body
        assert counts(upload(free, file, key=second)) == whole
        shown = exported(free, key=second)
        for document in shown:
            del document["id"]
        # As text, for to Python 1 == 1.0 == True and 0.0 == -0.0; in order, too.
        assert json.dumps(shown) == json.dumps(sent)


def test_any_set_of_text_fields_survives_csv_exactly(free):
    chance = random.Random(20260704)
    for number in range(120):
        sent = list(some_documents(chance, some_text))
        first = free.key("secret", workspace=f"first{number}")
        second = free.key("secret", workspace=f"second{number}")
        upload(free, jsonl(*sent), key=first)
        file = free.get("/v1/contacts.csv", key=first).body
        answer = upload(free, file, "/v1/contacts.csv", key=second)
        assert counts(answer) == (len(sent), 0, 0, [])
        shown = exported(free, key=second)
        for document in shown:
            del document["id"]
        wanted = [{n: v for n, v in document.items() if v != ""} for document in sent]
        assert shown == wanted  # the empty text is CSV's one exception
