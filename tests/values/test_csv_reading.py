"""CSV as people have it (CONTRACT section 4): read without a database."""

import csv
import io
import itertools
import random
import tracemalloc

import pytest

import contactapi
from client import growth
from extras import csv_rows, spreadsheets


def read(content, key="email", **options):
    """[(line, document or error)]"""
    raw = content if isinstance(content, bytes) else content.encode()
    lines = spreadsheets.read_csv(io.BytesIO(raw), key, **options)
    return [(line.number, line.document or line.error) for line in lines]


def documents(content, **options):
    return [document for _, document in read(content, **options)]


def refused(content, **options):
    with pytest.raises(contactapi.InvalidRequest) as caught:
        read(content, **options)
    return caught.value.message


ADA = {"email": "a@x.org", "n": "é"}


# -- encodings


@pytest.mark.parametrize("bom", ["utf-8", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("declared", ["utf-8", "shift_jis", "latin-1"])
def test_a_bom_decides_whatever_is_declared(bom, declared):
    raw = "\ufeffemail,n\r\na@x.org,é\r\n".encode(bom)
    assert documents(raw, encoding=csv_rows.charset(declared)) == [ADA]


@pytest.mark.parametrize(
    "name, python",
    [
        ("utf-8", "utf-8"),
        ("UTF8", "utf-8"),
        ("windows-1252", "cp1252"),
        ("ISO-8859-1", "latin-1"),
        ("latin1", "latin-1"),
        ("iso-8859-15", "iso8859-15"),
        ("Shift_JIS", "shift_jis"),
        ("windows-31j", "cp932"),
        ("EUC-KR", "euc_kr"),
        ("gb18030", "gb18030"),
        ("Big5", "big5"),
        ("KOI8-R", "koi8_r"),
        ("macintosh", "mac_roman"),
        ("utf-16", "utf-16-le"),
        ("UTF-16BE", "utf-16-be"),
        ("iso-2022-jp", "iso2022_jp"),
    ],
)
def test_a_charset_is_known_by_its_names(name, python):
    text = "email,n\na@x.org,n\n"
    assert documents(text.encode(python), encoding=csv_rows.charset(name)) == [
        {"email": "a@x.org", "n": "n"}
    ]


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "x",
            "utf-9",
            "zlib",
            "bz2",
            "base64",
            "hex",
            "rot13",
            "idna",
            "punycode",
        ),
        *("unicode_escape", "raw_unicode_escape", "undefined", "utf-7", "uu", "quopri"),
        *("cp99999", "os", "../x", "x" * 10_000, "é", "mbcs", "charmap"),
    ],
    ids=lambda name: name[:20],
)
def test_what_is_no_charset_or_no_linear_one_is_not_known(name):
    assert csv_rows.charset(name) is None


def test_a_declared_charset_is_heeded():
    raw = "email,n\na@x.org,ﾃｱ\n".encode("shift_jis")
    assert documents(raw, encoding="shift_jis") == [{"email": "a@x.org", "n": "ﾃｱ"}]


@pytest.mark.parametrize(
    "encoding, raw",
    [
        ("utf-8", b"email,n\na@x.org,\xff\nb@x.org,y\n"),
        ("ascii", b"email,n\na@x.org,\xff\nb@x.org,y\n"),
        ("shift_jis", b"email,n\na@x.org,\xff\nb@x.org,y\n"),
        ("utf-16-le", "email,n\na@x.org,\ud800\nb@x.org,y\n".encode(
            "utf-16-le", "surrogatepass")),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_decoded_is_named_and_stops_nothing(encoding, raw):
    (number, error), other = read(raw, encoding=encoding)
    assert number == 2 and "encoding" in error
    assert other == (3, {"email": "b@x.org", "n": "y"})


def test_names_that_cannot_be_decoded_are_refused():
    assert "encoding" in refused("email,Größe\na@x.org,5\n".encode("latin-1"))
    assert "?" in refused("e-mailadres,Größe\na@x.org,5\n".encode("latin-1"))


# -- lines and separators


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("last", [True, False])
def test_lines_end_with_lf_crlf_or_cr_and_cells_with_a_comma_semicolon_or_tab(
    end, separator, last
):
    rows = ["email,n", "a@x.org,é", "", 'b@x.org,"x,y"']
    text = end.join(rows).replace(",", separator) + end * last
    assert read(text) == [(2, ADA), (4, {"email": "b@x.org", "n": f"x{separator}y"})]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_line_end_inside_quotes_stays_as_it_is(end):
    text = f'email,n{end}a@x.org,"one{end}two"{end}b@x.org,x{end}'
    assert read(text) == [
        (2, {"email": "a@x.org", "n": f"one{end}two"}),
        (4, {"email": "b@x.org", "n": "x"}),
    ]


@pytest.mark.parametrize(
    "above",
    [
        "sep=,\r\n",
        "#TYPE System.Management.Automation.PSCustomObject\r\n",
        "\r\n\r\n \r\n",
        "Contacts of the fair\r\n\r\n",
        'A note with a "stray quote\r\n',
        '"another, stray\r\n',
        "a,b,c\r\n" * 20,
        "sep=,\r\n\r\nnote\r\n",
    ],
    ids=ascii,
)
def test_what_stands_before_the_header_is_passed_over(above):
    text = above + "email,n\r\na@x.org,é\r\n"
    assert read(text) == [(above.count("\n") + 2, ADA)]


def test_sep_names_the_separator():
    assert documents("sep=;\nemail;n,m\na@x.org;x,y\n") == [
        {"email": "a@x.org", "n,m": "x,y"}
    ]
    assert documents("sep=|\nemail|n\na@x.org|é\n") == [ADA]
    assert documents("SEP=\t\nemail\tn\na@x.org\té\n") == [ADA]


def test_more_than_twenty_lines_of_notes_are_no_header():
    text = "note\n" * 21 + "email\na@x.org\n"
    assert "no column is named email" in refused(text)
    assert documents("note\n" * 20 + "email\na@x.org\n") == [{"email": "a@x.org"}]


def test_the_separator_is_the_one_that_names_the_key():
    assert documents("name, first;email\nx;a@x.org\n") == [
        {"name, first": "x", "email": "a@x.org"}
    ]
    assert documents("email,;email;\na@x.org,x\n") == [
        {"email": "a@x.org", ";email;": "x"}
    ]


# -- the key's column


@pytest.mark.parametrize(
    "name",
    [
        *("email", "Email", "EMAIL", "E-Mail", "e mail", "E_MAIL", " email ", "E-mail"),
        *("Email address", "Email Address", "E-mail Address", "E-mail 1 - Value"),
        *("Primary email", "Primary Email", "Your email", "E-Mail-Adresse", "Mail"),
    ],
)
def test_the_column_of_the_address_is_known_by_these_names(name):
    assert documents(f"First Name,{name}\nAda,a@x.org\n") == [
        {"First Name": "Ada", "email": "a@x.org"}
    ]


def test_an_exact_name_comes_before_one_in_another_case_and_that_before_the_list():
    text = "Mail,E-Mail,email\nm@x.org,e@x.org,a@x.org\n"
    assert documents(text) == [
        {"Mail": "m@x.org", "E-Mail": "e@x.org", "email": "a@x.org"}
    ]
    assert documents("Mail,E-Mail\nm@x.org,e@x.org\n") == [
        {"Mail": "m@x.org", "email": "e@x.org"}
    ]


@pytest.mark.parametrize(
    "head", ["E-mail,EMail", "Email address,E-mail address", "Mail;Primary email"]
)
def test_several_columns_that_may_be_the_key_are_refused_with_the_way_to_name_one(head):
    message = refused(f"{head}\na@x.org,b@x.org\n")
    assert "?column=" in message and "--column" in message
    assert all(name in message for name in head.replace(";", ",").split(","))


def test_no_key_is_refused_with_the_columns_that_were_found():
    message = refused("Name,Phone,Contact\nAda,5,a@x.org\n")
    for word in ("email", "Name", "Phone", "Contact", "?column=", "--column"):
        assert word in message
    assert "Contact" not in refused("Mail\na@x.org\n", key="name")
    many = refused(",".join(f"{'x' * 100}{n}" for n in range(5000)) + "\n")
    assert len(many) < 1200


@pytest.mark.parametrize("column", ["Contact", "contact", "CON-TACT"])
def test_column_names_any_other(column):
    text = "email,Contact\nb@x.org,a@x.org\n"
    assert documents(text, column=column) == [
        {"email": "a@x.org", "email_2": "b@x.org"}
    ]
    assert "no column is named other" in refused(text, column="other")


def test_a_companys_column_is_its_name():
    assert documents("NAME,Mail\nAcme,x\n", key="name") == [
        {"name": "Acme", "Mail": "x"}
    ]


@pytest.mark.parametrize(
    "content",
    [
        "email,nameada@x.org,Adabob@x.org,Bob",
        "emailada@x.orgbob@x.org",
        "ada@x.org,Ada\nbob@x.org,Bob\n",
        "email,name,ada@x.org\n",
        "id,email,created_at,updated_at,plancon_1,a@x.org,2026-07-04",
        "email,n" + "a@x.org,x" * 200_000,
    ],
    ids=lambda content: content[:20],
)
def test_a_header_that_holds_an_address_speaks_of_data_binary(content):
    assert "--data-binary" in refused(content)


def test_our_own_export_may_have_a_field_that_is_named_as_an_address():
    head = "id,email,created_at,updated_at,b@x.org"
    assert documents(f"{head}\n,a@x.org,,,5\n") == [
        {"email": "a@x.org", "b@x.org": "5"}
    ]


# -- names and cells


def test_spaces_around_names_and_before_cells_are_trimmed_and_kept_in_quotes():
    text = ' name , email," kept ", x y \n Ada , a@x.org, " z ",  v \n'
    assert documents(text) == [
        {"name": "Ada ", "email": "a@x.org", " kept ": " z ", "x y": "v "}
    ]


def test_of_two_columns_with_one_name_the_second_is_numbered():
    assert documents("email,n,n,n,n_2,email\na@x.org,1,2,3,4,5\n") == [
        {
            "email": "a@x.org",
            "n": "1",
            "n_3": "2",
            "n_4": "3",
            "n_2": "4",
            "email_2": "5",
        }
    ]


def test_a_column_without_a_name_has_its_number():
    assert documents("email,,\na@x.org,,x\nb@x.org,,\n") == [
        {"email": "a@x.org", "column_3": "x"},
        {"email": "b@x.org"},
    ]
    assert documents("email,column_3,\na@x.org,y,x\n") == [
        {"email": "a@x.org", "column_3": "y", "column_3_2": "x"}
    ]


def test_empty_cells_beyond_the_header_are_ignored_and_full_ones_are_an_error():
    (_, one), (number, two) = read("email,n\na@x.org,é,,,\nb@x.org,é,,x\n")
    assert one == ADA
    assert (number, two) == (3, "the line has more cells than there are columns")


def test_rows_of_empty_cells_are_passed_over():
    text = 'email,n\n,,,\n"",""\n  ,\na@x.org,é\n,\n'
    assert read(text) == [(5, ADA)]


def test_more_is_taken_apart_and_only_so_named():
    text = 'email,{more}\na@x.org,"{""n"":5,""z"":{""y"":[null]}}"\nb@x.org,\n'
    assert documents(text) == [
        {"n": 5, "z": {"y": [None]}, "email": "a@x.org"},
        {"email": "b@x.org"},
    ]
    text = "email,'{more},MORE\na@x.org,x,y\n"
    assert documents(text) == [{"email": "a@x.org", "{more}": "x", "MORE": "y"}]
    ((number, error),) = read("email,{more}\na@x.org,5\n")
    assert number == 2 and "{more}" in error


def test_a_column_of_the_file_comes_before_more():
    text = 'email,n,{more}\na@x.org,1,"{""n"":2,""email"":""b@x.org"",""m"":3}"\n'
    assert documents(text) == [{"email": "a@x.org", "n": "1", "m": 3}]


# -- stray quotes


def test_a_stray_quote_is_named_by_its_line_and_the_lines_behind_it_are_read():
    many = "".join(f"u{n}@x.org,y\n" for n in range(5000))
    lines = read('email,n\na@x.org,"x\nb@x.org,é\n' + many)
    assert lines[0] == (2, "a quote opens here and never ends")
    assert lines[1] == (3, {"email": "b@x.org", "n": "é"})
    assert len(lines) == 5002 and lines[-1][0] == 5003


@pytest.mark.parametrize(
    "stray",
    [
        'a@x.org,"x',
        'a@x.org,"x"y',
        'a@x.org,"x" ',
        'a@x.org,"x""',
        'a@x.org,""y',
        '"a@x.org,y',
        'a@x.org,"two\nlines"y',
        'a@x.org,"fine","x',
    ],
)
@pytest.mark.parametrize("behind", ['b@x.org,"é"', "b@x.org,é", "b@x.org"])
def test_it_costs_its_own_line_alone(stray, behind):
    first, *others = read(f"email,n,m\nz@x.org,z\n{stray}\n{behind}\nc@x.org,y\n")[1:]
    number = 3 + stray.count("\n")
    rest = read(f"email,n,m\n{behind}\nc@x.org,y\n")
    if stray.count("\n"):  # what stood inside the cell is a line again
        assert first[0] == 3 and others[0][0] == 4
        others = others[1:]
    else:
        assert first[0] == number
    assert [what for _, what in others] == [what for _, what in rest]
    assert others[-1][0] == number + 2


def test_the_line_on_which_the_quote_opens_is_named_not_the_one_of_its_row():
    lines = read('email,n,m\na@x.org,"one\ntwo","x\nb@x.org,é\n')
    assert [number for number, _ in lines] == [3, 4]


def test_a_quote_inside_a_cell_is_a_character():
    assert documents('email,n\na@x.org,5" pipe\nb@x.org,x"y"\n') == [
        {"email": "a@x.org", "n": '5" pipe'},
        {"email": "b@x.org", "n": 'x"y"'},
    ]


def test_a_cell_that_is_longer_than_a_line_may_be_is_a_stray_quote():
    text = 'email,n\na@x.org,"' + "x\n" * 100 + '"\nb@x.org,é\n'
    lines = read(text, longest=150)
    assert lines[0] == (2, "a quote opens here and ends too late, or never")
    assert lines[-1] == (103, {"email": "b@x.org", "n": "é"})


def test_a_line_that_is_too_long_is_an_error_and_ends_a_quoted_cell():
    text = f'email,n\na@x.org,"x\n{"y" * 500}\nb@x.org,é\n'
    lines = read(text, longest=150)
    assert [number for number, _ in lines] == [2, 3, 4]
    assert lines[1][1] == "the line is too long"


def test_after_a_thousand_stray_quotes_it_is_no_csv():
    lines = list(
        spreadsheets.read_csv(
            io.BytesIO(b"email,n\n" + b'a@x.org,"x"y\n' * 5000), "email"
        )
    )
    assert len(lines) == 1000
    assert [line.last for line in lines] == [False] * 999 + [True]
    assert "no CSV" in lines[-1].error and lines[-1].number == 1001
    report = contactapi.Report()
    for line in lines:
        report.fail(line)
    body = vars(report)
    assert body["failed"] == 1000 and len(body["errors"]) == 100
    assert body["errors"][-1] == {"line": 1001, "message": lines[-1].error}


# -- bounds

ATTACKS = {
    "a quote that never ends": ("", 'a,"', "b,c\n", ""),
    "each line ends one cell and opens another": ("", "", 'x",y,"z\n', ""),
    "doubled quotes": ("", 'a,"', 'b,""\n', ""),
    "four quotes": ("", 'a,"', '""""\n', ""),
    "many quotes in a line": ("", 'a,"', '""' * 50 + "\n", ""),
    "one line of quoted cells": ("", "", '"a",', "\n"),
    "one line of separators": ("", "", ",", "\n"),
    "one line of spaces": ("", "", " ", "x\n"),
    "spaces and quotes": ("", "", ' "', "\n"),
    "carriage returns": ("", 'a,"', "b\r", ""),
    "a quote in each line": ("", "", '"\n', ""),
    "brackets": ("", "", "[", "\n"),
    "names": ("n,", "", "n,", "\n"),
    "notes": ('x,"\n' * 19, "", 'y,"\n', ""),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
@pytest.mark.parametrize("head", ["email,n\n", "email,", ""])
def test_the_time_grows_as_the_file_does(attack, head):
    before, begin, repeated, end = attack

    def make(size):
        times = size // len(repeated)
        return (before + head + begin + repeated * times + end).encode()

    def work(content):
        try:
            for _ in spreadsheets.read_csv(io.BytesIO(content), "email", 10**9):
                pass
        except contactapi.InvalidRequest:
            pass

    assert growth(work, make) < 64


def test_each_line_is_taken_at_most_three_times(monkeypatch):
    taken = []
    next_line = csv_rows.Rows._next_line

    def count(self):
        taken.append(1)
        return next_line(self)

    monkeypatch.setattr(csv_rows.Rows, "_next_line", count)
    for _, begin, repeated, end in ATTACKS.values():
        taken.clear()
        text = "email,n\n" + begin + repeated * 3000 + end
        lines = text.count("\n") + text.count("\r") + 1
        read(text, longest=10**9)
        assert len(taken) <= 3 * lines + 10


def test_a_quoted_cell_of_many_mebibytes_holds_no_more_than_the_longest_line():
    file = io.BytesIO(b'email,n\na@x.org,"' + (b"x" * 99 + b"\n") * 2**16)
    tracemalloc.start()
    try:
        errors = [line.error for line in spreadsheets.read_csv(file, "email", 2**16)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(errors) == 2**16 and errors[0] and peak < 32 * 2**20


# -- against Python's own


def test_what_python_writes_is_read_as_it_was():
    chance = random.Random(20261127)
    texts = ['"', ",", ";", "\n", "\r", "\r\n", "a", "é", " x", "'", "\0", "\u2028"]
    for end, separator in itertools.product(("\n", "\r\n", "\r"), ",;\t"):
        rows = [
            ["".join(chance.choices(texts, k=4)) for _ in range(4)] for _ in range(100)
        ]
        file = io.StringIO(newline="")
        options = {"quoting": csv.QUOTE_ALL, "lineterminator": end}
        csv.writer(file, delimiter=separator, **options).writerows(rows)
        file.seek(0)
        found = list(csv_rows.Rows(file, separator, 10**6))
        assert [row.cells for row in found] == rows


def test_what_we_write_python_reads_as_it_was():
    chance = random.Random(20261127)
    texts = ['"', ",", "\n", "\r", "a", "é", " ", "'", "=", "{", "\0", "\u2028", "＝"]
    values = [["".join(chance.choices(texts, k=3)) for _ in "abc"] for _ in range(3000)]
    text = csv_rows.csv_text(values, raw=True)
    assert list(csv.reader(io.StringIO(text, newline=""))) == values
    marked = csv.reader(io.StringIO(csv_rows.csv_text(values), newline=""))
    assert list(marked) == [[csv_rows.csv_cell(v) for v in row] for row in values]


@pytest.mark.parametrize(("lines", "late"), [(249, False), (250, True)])
def test_a_quoted_cell_has_no_more_lines_than_a_text_that_can_be_stored(lines, late):
    text = ['a,"' + "\n", *["\n"] * (lines - 1), '"\n']
    first, *_ = csv_rows.Rows(text, ",", longest=1000)
    assert (first.cells is None) == late
    assert ("too late" in first.error) == late
