"""CSV itself, no record in sight: cells and rows written as RFC 4180, and read from
files as people have them, in any encoding, in time and memory that grow as they do."""

import codecs
import contextlib
import csv
import io
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from encodings.aliases import aliases as CHARSET_ALIASES
from typing import Any, NamedTuple, Optional

from contactapi import MAX_DEPTH, InvalidRequest, bounded_lines, dump, parse_json

# -- cells


# A text that a spreadsheet would run as a formula, or that an import would take for
# JSON, or that begins with the quotes that we put before those.
RISKY = re.compile(r"'*[=+\-@＝＋－＠\t\r\n{\[]|'+\Z")
NEEDS_NO_QUOTES = re.compile(r'(?! )[^",\r\n]*(?<! )')
PLAIN_CELL = re.compile(r"""(?![ '=+\-@＝＋－＠\t{\[])[^",\r\n]*(?<! )""")  # neither
MORE = "{more}"  # the column of what has none; a field of this name is spelled '{more}


def csv_cell(value: Any, raw: bool = False) -> str:
    """A value in a cell; `unquote` brings every text but the empty one back (CONTRACT
    section 4)."""
    if isinstance(value, str):
        return "'" + value if RISKY.match(value) and not raw else value
    return "" if value is None else dump(value)


def csv_text(rows: Iterable[list], raw: bool = False) -> str:
    """Rows of values as RFC 4180. A text with a space at an end is quoted: a reader may
    trim others."""
    plain = PLAIN_CELL.fullmatch  # most are: asked first, for speed
    lines = (
        ",".join(
            [
                value
                if isinstance(value, str) and plain(value)
                else csv_quoted(csv_cell(value, raw))
                for value in row
            ]
        )
        for row in rows
    )
    return "".join([line + "\r\n" for line in lines])


def csv_quoted(cell: str) -> str:
    if NEEDS_NO_QUOTES.fullmatch(cell):
        return cell
    return '"' + cell.replace('"', '""') + '"'


def csv_value(cell: str) -> Any:
    """A cell's value: text, or JSON where it begins with { or [ and parses. One that
    begins with neither, nor with our quote, is itself."""
    if cell[0] in "{[":
        try:
            return parse_json(cell.encode(), MAX_DEPTH - 1)
        except InvalidRequest:
            return cell
    return unquote(cell)


def unquote(cell: str) -> str:
    """Without the quote that our export put before it."""
    return cell[1:] if cell[:1] == "'" and RISKY.match(cell) else cell


# -- columns


class Columns(NamedTuple):
    """Which columns a CSV file has beside ours."""

    names: list
    more: bool  # whether there is one for what is in none of them


def csv_columns(documents: Iterable[dict], ours: list) -> Columns:
    """The 500 most common names beside ours, sorted. The memory is bounded: of more
    than 20,000 names the rarer half is forgotten, and a long one has no column."""
    counted, more = Counter(), False
    for document in documents:
        counted.update(list(document))
        if len(counted) > 20_000:
            counted, more = Counter(dict(counted.most_common(10_000))), True
    others = counted.keys() - ours
    short = [name for name in others if len(name) <= LONGEST_COLUMN]
    names = sorted(short, key=lambda name: (-counted[name], name))[:MOST_COLUMNS]
    return Columns(sorted(names), more or len(names) < len(others))


MOST_COLUMNS, LONGEST_COLUMN = 500, 1000  # names, characters of one


def csv_head(ours: list, columns: Columns, raw: bool) -> str:
    # A name is never an empty cell, which would be a column without a name.
    named = [csv_cell(name) or "'" for name in columns.names]
    names = [*ours, *(columns.names if raw else named), *[MORE] * columns.more]
    return ",".join(map(csv_quoted, names)) + "\r\n"


def in_columns(documents: Iterable, ours: list, columns: Columns) -> Iterator:
    names = [*ours, *columns.names]
    known = frozenset(names)
    for document in documents:
        row = [document.get(name) for name in names]
        if columns.more:
            rest = document.keys() - known
            row.append({name: document[name] for name in sorted(rest)} or None)
        yield row


# -- lines


BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
CHARSETS = re.compile(
    r"utf_8|utf_16(_[bl]e)?|utf_32(_[bl]e)?|ascii|latin_1|iso8859_\d{1,2}|cp\d{2,5}|"
    r"iso2022_(jp|kr)\w{0,5}|koi8_[rtu]|mac_\w{1,12}|shift_jis(x0213|_2004)?|johab|"
    r"euc_(jp|jis_2004|jisx0213|kr)|big5(hkscs)?|gb(k|2312|18030)|hz|tis_620|kz1048"
)


def charset(name: str) -> Optional[str]:
    """Python's name of a text encoding that it reads in linear time; None for any
    other (it has some that unpack archives, and one that takes the square)."""
    name = re.sub("[^a-z0-9]+", "_", name.lower()[:40])
    name = CHARSET_ALIASES.get(name, name)
    with contextlib.suppress(LookupError):
        if CHARSETS.fullmatch(name) and codecs.lookup(name):
            return "utf-16-le" if name == "utf_16" else name
    return None


def mark_unreadable(err: UnicodeError) -> tuple:
    return UNREADABLE, err.end


UNREADABLE = "\udcff"  # no text has it
codecs.register_error("contactapi", mark_unreadable)
TOO_LONG_TEXT = UNREADABLE * 2 + "\n"


class Bytes(io.RawIOBase):
    """A stream of bytes as TextIOWrapper wants it, with what was read of it before."""

    def __init__(self, begun: bytes, stream: Any):
        self.begun, self.stream = begun, stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        data = self.begun or self.stream.read(len(buffer))
        self.begun = b""
        buffer[: len(data)] = data
        return len(data)


def text_lines(stream: Any, encoding: str, most: int) -> Iterator[str]:
    """The lines of a text, which end with LF, CRLF or CR; TOO_LONG_TEXT for one of more
    than `most` characters. A BOM decides the encoding, whatever was declared."""
    begun = stream.read(4)
    for bom, name in BOMS:
        if begun.startswith(bom):
            begun, encoding = begun[len(bom) :], name
            break
    # newline="" ends a line at all three, and leaves the ends as they are.
    text = io.TextIOWrapper(Bytes(begun, stream), encoding, "contactapi", newline="")
    return bounded_lines(text, most, ("\r", "\n"), TOO_LONG_TEXT)


# -- rows


class CsvRow(NamedTuple):
    """A row of a CSV file: the line on which it begins, its length, its cells (None
    where a quote is stray), what is wrong with it."""

    number: int
    size: int
    cells: Optional[list]
    error: str = ""


class Stray(Exception):
    """A quote that opens a cell which does not end as a quoted cell does."""


OPENS = re.compile(' *"')
IN_QUOTES = re.compile(r'([^"]*(?:""[^"]*)*)("?)')


class Rows:
    """The rows of a CSV file, in a time that grows as the file does. A stray quote is
    named by the line on which it opens, and the lines behind that are read again: each
    once, for in all but the last of them every quote had its twin beside it, and such
    a line opens no cell that it does not close."""

    def __init__(
        self, lines: Iterable[str], separator: str, longest: int, above: int = 0
    ):
        self.lines, self.separator, self.longest = iter(lines), separator, longest
        self.unquoted = re.compile(rf"[^{re.escape(separator)}\r\n]*")
        self.trim = str.lstrip
        options = {"delimiter": separator, "skipinitialspace": True, "strict": True}
        self.dialect = csv.reader((), **options).dialect
        self.again = deque()  # lines to be read once more
        self.number = above  # of the line read last
        self.row, self.size = [], 0  # the lines of a row, so far; their characters

    def __iter__(self) -> Iterator[CsvRow]:
        while line := self._next_line():
            if '"' in line:
                yield self._row(line)
            else:
                cells, error = self._plain(line), unreadable(line)
                yield CsvRow(self.number, len(line), cells, error)

    def _next_line(self) -> str:
        line = self.again.popleft() if self.again else next(self.lines, "")
        self.number += bool(line)
        return line

    def _plain(self, line: str) -> list:
        cells = line.rstrip("\r\n").split(self.separator)
        return [self.trim(cell, " ") for cell in cells] if " " in line else cells

    def _row(self, line: str) -> CsvRow:
        """A row that may have quoted cells."""
        cells = self._in_one_line(line)
        if cells:
            return CsvRow(self.number, len(line), cells, unreadable(line))
        self.row, self.size, number = [line], len(line), self.number
        try:
            cells, error = self._cells(), unreadable("".join(self.row))
            return CsvRow(number, self.size, cells, error)
        except Stray as err:
            return CsvRow(self.number, 0, None, str(err))

    def _in_one_line(self, line: str) -> Optional[list]:
        """The cells of a row that ends with its line, by Python's module: it is three
        times as fast, but cannot say where a quote opened, nor trim at both ends."""
        if self.trim is str.strip or line.count('"') % 2:
            return None
        try:
            return next(csv.reader([line], self.dialect))
        except csv.Error:
            return None

    def _cells(self) -> list:
        cells, place = [], 0
        while True:
            if opens := OPENS.match(self.row[-1], place):
                cell, place = self._quoted(opens.end())
            else:
                found = self.unquoted.match(self.row[-1], place)
                cell, place = self.trim(found[0], " "), found.end()
            cells.append(cell)
            if self.row[-1][place : place + 1] != self.separator:
                return cells
            place += 1

    def _quoted(self, place: int) -> tuple:
        """(the text that begins at this place of the row's last line, the place behind
        its closing quote in what is the last line then)."""
        opened, parts = len(self.row), []
        while True:
            found = IN_QUOTES.match(self.row[-1], place)
            parts.append(found[1])
            if found[2]:
                break
            self._add_line(opened)
            place = 0
        place = found.end()
        if self.row[-1][place : place + 1] not in ("", "\r", "\n", self.separator):
            raise self._stray(opened, "a quoted cell goes on behind its last quote")
        return "".join(parts).replace('""', '"'), place

    def _add_line(self, opened: int) -> None:
        line = self._next_line()
        if not line:
            raise self._stray(opened, "a quote opens here and never ends")
        self.row.append(line)
        self.size += len(line)
        # Kept until the quote is known to be stray, each costs 70 bytes beside its own.
        # No text that can be stored has more: a line may be four times as long as that.
        late = self.size > self.longest or len(self.row) > self.longest // 4
        if late or line == TOO_LONG_TEXT:
            raise self._stray(opened, "a quote opens here and ends too late, or never")

    def _stray(self, opened: int, message: str) -> Stray:
        """The lines behind the one that opened the cell are read again."""
        behind = self.row[opened:]
        self.again.extendleft(reversed(behind))
        self.number -= len(behind)
        return Stray(message)


def unreadable(line: str) -> str:
    """What is wrong with a line that could not be decoded, or ""."""
    if line.isascii() or UNREADABLE not in line:
        return ""
    if line == TOO_LONG_TEXT:
        return "the line is too long"
    return "the line cannot be read in the file's encoding (UTF-8 unless one is named)"
