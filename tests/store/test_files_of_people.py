"""Imports and exports of CSV as people have it: over HTTP and on the command line."""

import json
from functools import partial

import pytest

import contactapi
from client import MEDIA, counts, exported, failure, fields_of, jsonl, upload, warned
from extras import spreadsheets

CSV = "/v1/contacts.csv"


@pytest.mark.parametrize(
    "media, raw",
    [
        ("text/csv", "email,n\na@x.org,ﾃｱ\n".encode()),
        ("text/csv; charset=Shift_JIS", "email,n\na@x.org,ﾃｱ\n".encode("shift_jis")),
        ('Text/CSV;Charset="shift_jis"', "email,n\na@x.org,ﾃｱ\n".encode("shift_jis")),
        ("text/csv; charset=latin-1", "email,n\na@x.org,ﾃｱ\n".encode("utf-16")),
        ("text/csv; charset=utf-16", "email,n\na@x.org,ﾃｱ\n".encode("utf-16-le")),
    ],
)
def test_the_charset_of_the_content_type_is_heeded(free, media, raw):
    assert counts(upload(free, raw, CSV, media)) == (1, 0, 0, [])
    assert fields_of(exported(free)[0]) == {"n": "ﾃｱ"}


@pytest.mark.parametrize("name", ["x-unknown", "zlib", "utf-7", ""])
def test_a_charset_that_is_not_known_is_415(free, name):
    answer = upload(free, b"email\na@x.org\n", CSV, f"text/csv; charset={name}")
    assert failure(answer)[:2] == (415, "unsupported_media_type")
    assert free.emails() == []


def test_column_names_the_key(free):
    content = "Contact,Name\na@x.org,Ada\n"
    answer = upload(free, content, CSV)
    assert failure(answer)[0] == 400
    assert "Contact" in answer.json["error"]["message"]
    answer = upload(free, content, f"{CSV}?column=Contact", "text/csv")
    assert counts(answer) == (1, 0, 0, [])
    assert fields_of(exported(free)[0]) == {"Name": "Ada"}


def test_a_body_without_its_line_ends_speaks_of_data_binary(free):
    answer = upload(free, "email,nameada@x.org,Ada", CSV)
    assert failure(answer)[0] == 400
    assert "--data-binary" in answer.json["error"]["message"]


TIMES = [
    ("2024-02-15 13:01:53 UTC", "2024-02-15T13:01:53.000000Z"),
    ("2024-02-15T13:01:53+00", "2024-02-15T13:01:53.000000Z"),
    ("2024-02-15 13:01:53.123456+00", "2024-02-15T13:01:53.123456Z"),
    ("2024-02-15 13:01:53+0000", "2024-02-15T13:01:53.000000Z"),
    ("2024-02-15 13:01:53 +02:00", "2024-02-15T11:01:53.000000Z"),
    ("2024-02-15 13:01:53 -0530", "2024-02-15T18:31:53.000000Z"),
    ("20240215T130153Z", "2024-02-15T13:01:53.000000Z"),
    ("20240215T1301", "2024-02-15T13:01:00.000000Z"),
    ("20240215", "2024-02-15T00:00:00.000000Z"),
    (" 2024-02-15T13:01Z ", "2024-02-15T13:01:00.000000Z"),
]


@pytest.mark.parametrize("form", MEDIA)
@pytest.mark.parametrize("text, shown", TIMES)
def test_a_time_is_read_in_the_spellings_of_others(free, form, text, shown):
    line = {"email": "a@x.org", "created_at": text}
    content = jsonl(line) if form == "jsonl" else f"email,created_at\na@x.org,{text}\n"
    answer = upload(free, content, f"/v1/contacts.{form}")
    assert counts(answer) == (1, 0, 0, []) and answer.json["warnings"] == []
    assert exported(free)[0]["created_at"] == shown


NO_TIMES = [
    *("2026-07-04T10:00:01Z", "2999-01-01", "4.7.2026", "yesterday", "2026-7-4"),
    *(
        "0001-01-01T00:00+14:00",
        "2026-02-30",
        "2026-07-04T10",
        "1066",
    ),
    *("2026-07-04T10:00:00+24:00", "2026-07-04T10:00:00 CET"),
]


@pytest.mark.parametrize("form", MEDIA)
@pytest.mark.parametrize("name", ["created_at", "updated_at"])
@pytest.mark.parametrize("text", NO_TIMES)
def test_a_time_that_is_none_does_not_cost_the_contact(free, form, name, text):
    other = {"created_at": "updated_at", "updated_at": "created_at"}[name]
    line = {"email": "a@x.org", name: text, other: "2020-01-01"}
    csv = f"email,{name},{other}\na@x.org,{text},2020-01-01\n"
    content = jsonl(line) if form == "jsonl" else csv
    answer = upload(free, content, f"/v1/contacts.{form}")
    assert counts(answer) == (1, 0, 0, [])
    assert warned(answer) == [1 if form == "jsonl" else 2]
    assert name in answer.json["warnings"][0]["message"]
    (one,) = exported(free)
    assert one["created_at"] == one["updated_at"] == "2026-07-04T10:00:00.000000Z"


def test_a_time_that_is_no_text_is_warned_of_and_null_is_none(free):
    answer = upload(
        free,
        jsonl(
            {"email": "a@x.org", "created_at": 1783159200},
            {"email": "b@x.org", "created_at": None, "updated_at": None},
        ),
    )
    assert counts(answer) == (2, 0, 0, []) and warned(answer) == [1]


def test_a_line_that_fails_has_an_error_alone_and_a_known_one_is_warned_of_too(free):
    free.add("a@x.org")
    line = {"email": "a@x.org", "created_at": "soon", "n": 1}
    answer = upload(free, jsonl({**line, "email": "none"}, line))
    assert counts(answer) == (0, 1, 1, [1]) and warned(answer) == [2]


def test_a_report_shows_its_first_100_warnings(free):
    lines = ({"email": f"u{n}@x.org", "created_at": "soon"} for n in range(150))
    answer = upload(free, jsonl(*lines))
    assert counts(answer) == (150, 0, 0, []) and warned(answer) == list(range(1, 101))


def test_an_import_that_is_no_csv_ends_with_200_and_says_so_last(free):
    content = "email,n\n" + 'a@x.org,"x"y\n' * 1500 + "b@x.org,y\n"
    answer = upload(free, content, CSV)
    lines = [*range(2, 101), 1001]
    assert counts(answer) == (0, 0, 1000, lines)
    assert "no CSV" in answer.json["errors"][-1]["message"]
    assert free.emails() == []


@pytest.mark.parametrize("query, bom", [("bom=1", True), ("bom=0", False), ("", False)])
def test_bom_1_writes_a_bom_for_excel(free, query, bom):
    free.add("a@x.org", v="é")
    body = free.get(f"{CSV}?{query}").body
    assert body.startswith(b"\xef\xbb\xbf") is bom
    key = free.key("secret", workspace="copy")
    assert counts(upload(free, body, CSV, key=key)) == (1, 0, 0, [])
    assert fields_of(exported(free, key=key)[0]) == {"v": "é"}


def test_null_absent_and_empty_text_are_an_empty_cell_and_spaces_are_quoted(free):
    free.add("a@x.org", a=None, b="", c=" x", d="y ", e=" ", f="x y")
    head, row = free.get(CSV).body.decode().splitlines()
    assert head.endswith(",a,b,c,d,e,f")
    assert row.endswith(',,," x","y "," ",x y')


def test_a_name_first_met_in_the_second_pass_is_in_the_last_column(free, monkeypatch):
    monkeypatch.setattr(spreadsheets, "MOST_HELD", 0)
    free.add("a@x.org", a="x")
    read = partial(free.services.contacts.oldest_first, free.workspace)
    texts = spreadsheets.csv_file(contactapi.CONTACTS, read)
    head = next(texts)
    assert head == "id,email,created_at,updated_at,a,{more}\r\n"
    free.turn(1)
    free.add("b@x.org", a="y", late=[1])
    rows = "".join(texts).split("\r\n")
    assert rows[0].endswith(",x,") and rows[1].endswith(',y,"{""late"":[1]}"')
    key = free.key("secret", workspace="copy")
    content = head + "\r\n".join(rows)
    assert counts(upload(free, content, CSV, key=key)) == (2, 0, 0, [])
    assert [fields_of(c) for c in exported(free, key=key)] == [
        {"a": "x"},
        {"a": "y", "late": [1]},
    ]


def test_names_without_end_take_no_memory_without_end():
    documents = ({f"n{n}": 1, "plan": 1, "x" * 2000: 1} for n in range(100_000))
    columns = spreadsheets.csv_columns(documents, ["id"])
    assert len(columns.names) == 500 and "plan" in columns.names and columns.more
    assert max(map(len, columns.names)) <= 1000


# -- the command line


def test_the_command_line_takes_an_encoding_and_a_column(shell, make, tmp_path):
    (tmp_path / "in.csv").write_bytes("Kontakt;n\na@x.org;é\n".encode("cp1252"))
    status, out, err = shell("import", "in.csv")
    assert status == 1 and "Kontakt" in err and "--column" in err
    arguments = ("--encoding", "windows-1252", "--column", "Kontakt")
    status, out, err = shell("import", "in.csv", *arguments)
    assert (status, out, err) == (0, "1 created, 0 updated, 0 failed\n", "")
    assert fields_of(exported(make())[0]) == {"n": "é"}


def test_warnings_are_printed_and_the_status_is_0(shell, tmp_path):
    (tmp_path / "in.csv").write_text("email,created_at\na@x.org,soon\n")
    status, out, err = shell("import", "in.csv")
    assert (status, out) == (0, "1 created, 0 updated, 0 failed\n")
    assert err.startswith("line 2: created_at") and err.count("\n") == 1


def test_ndjson_is_jsonl(shell, tmp_path):
    (tmp_path / "in.NDJSON").write_text(jsonl({"email": "a@x.org", "n": 1}))
    assert shell("import", "in.NDJSON")[0] == 0
    assert shell("export", "out.ndjson")[0] == 0
    assert json.loads((tmp_path / "out.ndjson").read_text())["n"] == 1


def test_raw_and_bom_are_options_of_the_export(shell, make, tmp_path):
    make().add("a@x.org", v="=1")
    for name, options in (("p", ()), ("r", ("--raw",)), ("b", ("--raw", "--bom"))):
        assert shell("export", f"{name}.csv", *options)[0] == 0
    plain, raw, bom = ((tmp_path / f"{name}.csv").read_bytes() for name in "prb")
    assert plain.endswith(b",'=1\r\n") and raw.endswith(b",=1\r\n")
    assert bom == b"\xef\xbb\xbf" + raw


@pytest.mark.parametrize(
    "arguments",
    [
        "import in.jsonl --encoding utf-8",
        "import in.ndjson --column x",
        "export out.jsonl --raw",
        "export out.ndjson --bom",
        "import in.csv --encoding klingon",
        "import in.csv --encoding zlib",
        "import in.txt",
    ],
)
def test_what_is_for_csv_alone_is_wrong_usage_elsewhere(
    shell, make, tmp_path, arguments
):
    make()
    for name in ("in.jsonl", "in.ndjson", "in.csv", "in.txt"):
        (tmp_path / name).write_text("")
    status, out, err = shell(*arguments.split())
    assert (status, out) == (2, "") and err.count("\n") == 1


@pytest.mark.parametrize("query", ["raw=AAA", "raw=", "bom=2", "bom=yes"])
def test_an_option_of_the_csv_export_that_cannot_be_read_is_400(api, query):
    answer = api.get(f"/v1/contacts.csv?{query}")
    name = query.partition("=")[0]
    assert failure(answer) == (400, "invalid_request", name)
    assert api.get(f"/v1/contacts.csv?{name}=0").status_int == 200
