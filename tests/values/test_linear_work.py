"""Work on what was sent grows no faster than its bytes (CONTRACT section 7)."""

import sys
import unicodedata

import pytest

import contactapi
from client import growth
from extras import csv_rows


def refused(work):
    def tried(value):
        try:
            work(value)
        except (contactapi.ApiError, ValueError):
            pass

    return tried


MARKS = {
    "two marks in the wrong order": lambda size: "e" + "\u0301\u0316" * (size // 2),
    "marks that fall": lambda size: (
        "e" + "\u0345" * (size // 2) + "\u0316" * (size // 2)
    ),
    "marks that decompose": lambda size: "e" + "\u0344\u0316" * (size // 2),
    "marks among letters": lambda size: "ab\u0301\u0316cd" * (size // 6),
    "sigmas": lambda size: "Σ" + "\u0301\u00ad" * (size // 2) + "Σ",
    "symbols": lambda size: "🙂" * size,
    "quotes": lambda size: "'" * size + "x",
    "spaces": lambda size: "a" + " " * size + "a",
    "digits": lambda size: "1" * size,
    "colons": lambda size: "http:" * (size // 5),
    "brackets": lambda size: "[" * size,
    "backslashes": lambda size: '"' + "\\" * size,
    "domains": lambda size: "a@" + "a." * (size // 2) + "-",
    "escapes": lambda size: "%25" * (size // 3),
    "escaped escapes": lambda size: "%" + "25" * (size // 2),
    "invisible": lambda size: "\u200b" * size + "@",
}
WORKS = {
    "fold": contactapi.fold,
    "nfc": contactapi.nfc,
    "searchable": lambda text: contactapi.searchable(text, {"a": text}),
    "search_words": contactapi.search_words,
    "clean_email": contactapi.clean_email,
    "clean_name": contactapi.clean_name,
    "clean_domain": contactapi.clean_domain,
    "origin_of": contactapi.origin_of,
    "json_spellings": contactapi.json_spellings,
    "parse_time": contactapi.parse_time,
    "parse_id": lambda text: contactapi.parse_id("con", text),
    "parse_json": lambda text: contactapi.parse_json(text.encode(), 64),
    "csv_cell": csv_rows.csv_cell,
    "csv_value": csv_rows.csv_value,
    "idempotency_key": contactapi.idempotency_key,
    "web_url": contactapi.web_url,
    "urlencoded_pairs": lambda text: contactapi.urlencoded_pairs(text.encode()),
    "multipart_pairs": lambda text: contactapi.multipart_pairs(
        b"--x\r\n" + text.encode() + b"\r\n--x--", "multipart/form-data; boundary=x"
    ),
    "a boundary": lambda text: contactapi.multipart_pairs(b"", f"; boundary={text}"),
}


@pytest.mark.parametrize("text", MARKS.values(), ids=MARKS)
@pytest.mark.parametrize("work", WORKS.values(), ids=WORKS)
def test_no_value_takes_longer_than_its_size(work, text):
    assert growth(refused(work), text) < 64


def test_a_run_of_marks_is_cut_into_parts_of_thirty():
    text = "e" + "\u0301\u0316" * 50
    parts = list(contactapi.few_marks(text))
    assert [len(part) for part in parts] == [31, 30, 30, 10]
    assert "".join(parts) == text
    whole = "".join(unicodedata.normalize("NFC", part) for part in parts)
    assert contactapi.nfc(text) == whole


def test_thirty_marks_are_normalised_as_ever():
    for text in ("e" + "\u0301\u0316" * 15, "🙂" * 40 + "e\u0301", "क\u093c" * 40):
        assert contactapi.nfc(text) == unicodedata.normalize("NFC", text)


def test_every_mark_may_begin_the_search_for_a_long_run():
    """What a normalisation sorts: characters of a combining class, and those that
    decompose into some."""
    for char in map(chr, range(sys.maxunicode + 1)):
        inner = unicodedata.normalize("NFD", char)
        if unicodedata.combining(inner[0]):
            assert unicodedata.category(char)[0] == "M", ascii(char)
            assert contactapi.MANY_MARKS.search(char * 31), ascii(char)


def test_lengths_are_looked_at_before_a_text_is_folded(monkeypatch):
    folded = []
    monkeypatch.setattr(contactapi, "fold", lambda text: folded.append(text) or text)
    monkeypatch.setattr(contactapi, "nfc", lambda text: folded.append(text) or text)
    for work in (contactapi.search_words, contactapi.clean_name):
        with pytest.raises(contactapi.InvalidRequest):
            work("e\u0301" * 101)
    with pytest.raises(contactapi.InvalidEmail):
        contactapi.clean_email("e\u0301" * 50 + "@example.com")
    with pytest.raises(ValueError):
        contactapi.clean_domain("é" * 301)
    assert folded == []
