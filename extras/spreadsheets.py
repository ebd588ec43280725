"""Contacts and companies as CSV (CONTRACT section 4): taken in as people have it,
written so that a spreadsheet runs nothing and an import brings it back."""

import argparse
import functools
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Optional

from bottle import request

from contactapi import (
    LONGEST_LINE,
    OURS,
    SUBMISSIONS,
    Api,
    Config,
    InvalidRequest,
    Kind,
    Line,
    Listed,
    Records,
    Services,
    UnsupportedMediaType,
    add_export,
    add_import,
    iso6,
    load,
    parse_object,
    read_query,
    submission_text,
    yes_or_no,
)
from extras.csv_rows import (
    MORE,
    TOO_LONG_TEXT,
    UNREADABLE,
    CsvRow,
    Rows,
    charset,
    csv_columns,
    csv_head,
    csv_text,
    csv_value,
    in_columns,
    text_lines,
    unquote,
)


def setup(app: Api, services: Services, config: Config) -> None:
    for records in services.records.values():
        add_csv_export(app, records)
        add_csv_import(app, records)
    add_csv_export(app, services.submissions)


def add_csv_export(app: Api, listed: Listed) -> None:
    def write(workspace: int, filters: tuple) -> Iterator[str]:
        query = dict(read_query())
        raw, bom = (yes_or_no(query, name) for name in ("raw", "bom"))
        rows = functools.partial(listed.oldest_first, workspace, filters)
        return csv_file(listed.kind, rows, raw, bom)

    add_export(app, listed, "csv", "text/csv; charset=utf-8", write)


def add_csv_import(app: Api, records: Records) -> None:
    def read(*file: Any) -> Iterator[Line]:
        column = dict(read_query()).get("column")
        return read_csv(*file, sent_charset(request.environ), column)

    add_import(app, records, "csv", ("text/csv",), read)


CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s\";]*)", re.IGNORECASE)


def sent_charset(environ: dict) -> str:
    """The text encoding that the Content-Type names, UTF-8 where it names none."""
    named = CHARSET.search(environ.get("CONTENT_TYPE", ""))
    known = charset(named[1]) if named else "utf-8"
    if known is None:
        raise UnsupportedMediaType(f"charset {named[1][:40]} is not known: send UTF-8")
    return known


def read_file(file: Any, records: Records, args: argparse.Namespace) -> Iterator[Line]:
    what = file, records.kind.key, records.longest_line
    return read_csv(*what, charset(args.encoding or "utf-8"), args.column)


def write_file(
    listed: Listed, workspace: int, args: argparse.Namespace
) -> Iterator[str]:
    rows = functools.partial(listed.oldest_first, workspace)
    return csv_file(listed.kind, rows, args.raw, args.bom)


# -- written


MOST_HELD = 2**21  # characters of an export that are held, to be read only once


def csv_file(
    kind: Kind, read: Callable, raw: bool = False, bom: bool = False
) -> Iterator[str]:
    """RFC 4180, a column for every field name met. `read()` gives the rows in batches,
    from the first on: a large export is read twice, and what is first met then is in
    the column `{more}`."""
    ours, batches = our_columns(kind), read()
    held, whole = hold(batches)
    fields = (stored_fields(kind, rows) for rows in itertools.chain(held, batches))
    columns = csv_columns(itertools.chain.from_iterable(fields), ours)
    if not whole:
        columns, held = columns._replace(more=True), []
    yield "\ufeff" * bom + csv_head(ours, columns, raw)
    for rows in held if whole else read():
        yield csv_text(in_columns(csv_documents(kind, rows), ours, columns), raw)


def hold(batches: Iterator[list]) -> tuple:
    """(batches, as many as may be held; whether these are all)."""
    held, size = [], 0
    for rows in batches:
        held.append(rows)
        size += sum(len(row.fields) for row in rows)
        if size > MOST_HELD:
            return held, False
    return held, True


def our_columns(kind: Kind) -> list:
    return OF_SUBMISSIONS if kind is SUBMISSIONS else ["id", kind.key, *OURS[1:]]


OF_SUBMISSIONS = [
    *("id", "state", "reason", "key", "contact", "email", "subject", "page"),
    *("created_at", "updated_at", "confirmed_at"),
]


def stored_fields(kind: Kind, rows: list) -> list:
    """Those of each row by their columns' names, parsed all at once."""
    documents = load(f"[{','.join([row.fields for row in rows])}]")
    if kind is SUBMISSIONS:
        return [{f"fields.{name}": d[name] for name in d} for d in documents]
    return documents


def csv_documents(kind: Kind, rows: list) -> Iterator[dict]:
    for row, document in zip(rows, stored_fields(kind, rows)):
        if kind is SUBMISSIONS:
            document.update(load(submission_text(row, iso6)))
            del document["fields"]
        else:
            document["id"], document[kind.key] = kind.ref(row.uid), row.label
            document["created_at"] = made = iso6(row.created_at)
            same = row.updated_at == row.created_at
            document["updated_at"] = made if same else iso6(row.updated_at)
        yield document


# -- read


# How others name the column of the address, case, spaces, - and _ left out: Google,
# Outlook, Mailchimp, LinkedIn, Typeform …
KEY_COLUMNS = {
    "email": (
        *("emailaddress", "email1value", "primaryemail", "youremail"),
        *("emailadresse", "mail"),
    )
}
AN_ADDRESS = re.compile(r"[^\s@]@[^\s@.]+\.[^\s@]")
MOST_NOTES = 20  # lines that may stand before the header
MOST_STRAY = 1000  # lines with a stray quote, after which it is no CSV


def read_csv(
    stream: Any,
    key: str,
    longest: int = LONGEST_LINE,
    encoding: str = "utf-8",
    column: Optional[str] = None,
) -> Iterator[Line]:
    """One document a row, of files as people have them (CONTRACT section 4). `column`
    names the key's. InvalidRequest where no column, or more than one, is the key's."""
    head = Head(text_lines(stream, encoding, longest), longest)
    rows, names = head.find(key, column)
    stray = 0
    for row in rows:
        stray += row.cells is None
        if stray == MOST_STRAY:
            message = f"this is no CSV: {stray} stray quotes; nothing more is read"
            yield Line(row.number, 0, None, message, last=True)
            return
        if row.error:
            yield Line(row.number, 0, None, row.error)
        elif any(row.cells):
            yield csv_line(row, names)


def csv_line(row: CsvRow, names: list) -> Line:
    if any(row.cells[len(names) :]):
        message = "the line has more cells than there are columns"
        return Line(row.number, 0, None, message)
    cells = zip(names, row.cells)  # a short row lacks its last fields
    document = {
        name: csv_value(cell) if cell[0] in "'{[" else cell
        for name, cell in cells
        if cell
    }
    if None in document:
        try:
            more = parse_object(row.cells[names.index(None)].encode())
        except InvalidRequest:
            return Line(row.number, 0, None, f"{MORE} must hold a JSON object")
        del document[None]
        document = {**more, **document}
    return Line(row.number, row.size, document)


class Head:
    """The beginning of a CSV file, in which the header is looked for: lines that say
    something of the file, notes of people, and the line that names the columns."""

    def __init__(self, lines: Iterator[str], longest: int):
        self.lines, self.longest = lines, longest
        self.read = []  # lines, so far
        self.tried = 0  # characters of rows that might have been the header
        self.separators = ",;\t"

    def find(self, key: str, column: Optional[str]) -> tuple:
        """(the rows behind the header, the names of the columns)."""
        notes = []
        for place, line in enumerate(self._lines_from(0)):
            if self._says_how(place, line) or not line.strip():
                continue
            trials = [self._trial(place, one, key, column) for one in self.separators]
            best = min(trials, key=lambda trial: trial.fit)
            if best.places:
                names = best.names(key)  # InvalidRequest
                behind = place + best.lines
                rest = itertools.chain(self.read[behind:], self.lines)
                return Rows(rest, best.separator, self.longest, behind), names
            notes.append(max((trial.cells for trial in trials), key=len))
            if len(notes) > MOST_NOTES or self.tried > 4 * self.longest:
                break
        found = max(notes, key=len, default=[])
        raise InvalidRequest(no_key_column(found, key, column))

    def _lines_from(self, first: int) -> Iterator[str]:
        """The lines from there on, be they read already or not."""
        for place in itertools.count(first):
            if place == len(self.read):
                line = next(self.lines, "")
                if not line:
                    return
                self.read.append(line)
            yield self.read[place]

    def _says_how(self, place: int, line: str) -> bool:
        """Excel's `sep=;`, PowerShell's `#TYPE …`."""
        declared = re.fullmatch(r"sep=([^\s\"]|\t)\s*", line, re.IGNORECASE)
        if place == 0 and declared:
            self.separators = declared[1]
        return place == 0 and bool(declared or line.startswith("#TYPE"))

    def _trial(
        self, place: int, separator: str, key: str, column: Optional[str]
    ) -> "Trial":
        """The row that begins there, taken for the header."""
        rows = Rows(self._lines_from(place), separator, self.longest)
        rows.trim = str.strip
        row = next(iter(rows))
        self.tried += rows.size
        names = [unquote(cell) for cell in row.cells or ()]
        fit, places = key_columns(names, key, column)
        ended = self.read[place + rows.number - 1].endswith(("\r", "\n"))
        return Trial(
            fit, places, row.cells or [], separator, rows.number, ended, row.error
        )


class Trial(NamedTuple):
    """A line taken for the header, split at one separator."""

    fit: tuple  # the smallest is the best
    places: list  # of the columns that name the key
    cells: list
    separator: str
    lines: int  # how many it takes
    ended: bool  # whether it has a line end
    error: str

    def names(self, key: str) -> list:
        """The names of the columns, each once; None is the column of what has none.
        InvalidRequest for a header that cannot be one."""
        if self.error:
            raise InvalidRequest(f"the names of the columns: {self.error}")
        if len(self.places) > 1:
            spelled = shown_names([self.cells[place] for place in self.places])
            message = f"several columns may be the {key}: {spelled}; {NAME_ONE}"
            raise InvalidRequest(message)
        exported = self.ended and self.cells[:4] == ["id", key, *OURS[1:]]
        if not exported and any(map(AN_ADDRESS.search, self.cells)):
            raise InvalidRequest(f"an address stands in the header: {LOST_LINE_ENDS}")
        numbered = enumerate(self.cells, 1)
        names = [unquote(cell) if cell else f"column_{n}" for n, cell in numbered]
        names = [None if cell == MORE else n for n, cell in zip(names, self.cells)]
        names[self.places[0]] = key
        return distinct(with_ours(names), self.places[0])


NAME_ONE = "name the right one with ?column=, on the command line with --column"
LOST_LINE_ENDS = (
    "a first line must name the columns, and curl keeps line ends with --data-binary"
)


def no_key_column(found: list, key: str, column: Optional[str]) -> str:
    message = f"no column is named {column or key}"
    if TOO_LONG_TEXT[:-1] in found:
        return f"{message}, and a line is too long: {LOST_LINE_ENDS}"
    if any(map(AN_ADDRESS.search, found)):
        return f"{message}, and an address stands in its place: {LOST_LINE_ENDS}"
    return f"{message}; found: {shown_names(found) or 'none'}; {NAME_ONE}"


def shown_names(names: list) -> str:
    shown = [n[:40].replace(UNREADABLE, "?") for n in names[:20] if n.strip()]
    return ", ".join(shown + ["…"] * (len(names) > 20))


def key_columns(names: list, key: str, column: Optional[str]) -> tuple:
    """(how well it fits: the smallest is the best, the places of the columns that name
    the key)."""
    plain = list(map(squeezed, names))
    wanted = column or key
    others = () if column else KEY_COLUMNS.get(key, ())
    found = (
        [place for place, name in enumerate(names) if name == wanted][:1],
        [place for place, name in enumerate(plain) if name == squeezed(wanted)],
        [place for place, name in enumerate(plain) if name in others],
    )
    for rank, places in enumerate(found):
        if places:
            return (len(places) > 1, rank), places
    return (2,), []


def squeezed(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()


def with_ours(names: list) -> list:
    """With our own names as we spell them, where they stand in another case."""
    folded = [name and name.strip().lower() for name in names]
    for ours in OURS:
        if ours not in names and ours in folded:
            names[folded.index(ours)] = ours
    return names


def distinct(names: list, first: int) -> list:
    """Each name once: of two columns of one name the second is name_2. The name at
    `first` comes first."""
    taken, seen, spare = set(names), {names[first]}, {}
    for place, name in enumerate(names):
        if place != first and name in seen:
            numbered = spare.setdefault(name, numbered_names(name))
            names[place] = next(new for new in numbered if new not in taken)
        seen.add(name)
    return names


def numbered_names(name: str) -> Iterator[str]:
    return (f"{name}_{number}" for number in itertools.count(2))
