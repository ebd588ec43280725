"""What happened, to be read: the log of events, a record's history, figures, and all
that is held on a person (CONTRACT sections 5 and 9). The core writes the log."""

import functools
from array import array
from collections.abc import Callable, Iterator
from typing import NamedTuple, Optional

from contactapi import (
    CALLS,
    CONTACTS,
    DAY,
    EVERYTHING,
    STATES,
    SUBMISSIONS,
    Api,
    Caller,
    Config,
    Filter,
    InvalidCursor,
    NativeWire,
    Records,
    Row,
    Services,
    Store,
    Submissions,
    Write,
    dump,
    from_base32,
    go_to,
    iso,
    micros,
    read_query,
    streamed,
    whole_number,
)
from extras.event_log import EventLog, EventRow, event_id


def setup(app: Api, services: Services, config: Config) -> None:
    events = EventLog(services.submissions)
    for records in services.records.values():
        add_history(app, events, records)
    add_subject_export(app, events, services)
    add_events(app, events, services)


# -- routes


def add_history(app: Api, events: EventLog, records: Records) -> None:
    """What happened to one record."""
    kind = records.kind
    base = f"/v1/{kind.plural}/<ref>/history"

    @app.get(base, needs=(kind.read,), lane="long")
    def get_history(caller: Caller, ref: str) -> str:
        after, limit = read_place()
        what = caller.workspace, kind.uid(ref), after, limit
        return log_text(history(events, records, *what, caller.may(SUBMISSIONS.read)))

    @app.delete(base, needs=(kind.write,))
    def erase_history(caller: Caller, ref: str) -> Write:
        uid, before = kind.uid(ref), 0
        look = functools.partial(records.get, caller.workspace, uid)
        what = kind, caller.workspace, look()
        if records.events.has_many(*what):
            go_to("long")
            erase = functools.partial(records.events.erase_some, *what)
            before = records.store.write_by_parts(erase)

        def erased(count: int) -> str:
            return dump({"id": kind.ref(uid), "erased": before + count})

        return Write(forgetting(records, caller, uid), erased, look=look)


def add_events(app: Api, events: EventLog, services: Services) -> None:
    @app.get("/v1/events", needs=(EVERYTHING,), lane="long")
    def list_events(caller: Caller) -> str:
        return log_text(feed(events, caller.workspace, *read_place()))

    @app.get("/v1/stats", needs=(EVERYTHING,), lane="long")
    def stats(caller: Caller) -> str:
        workspace = caller.workspace
        counted = {**services.records, "calls": services.calls}
        totals = {name: one.total(workspace) for name, one in counted.items()}
        totals["submissions"] = counts(services.submissions, workspace)
        days = per_day(services.contacts, workspace, 30)
        daily = [{"date": date, "contacts": made} for date, made in days]
        last = event_id(newest(services.store, workspace))
        return dump({**totals, "daily": daily, "last_event": last})


def add_subject_export(app: Api, events: EventLog, services: Services) -> None:
    """All that is held on a person, for an access request."""
    contacts = services.contacts
    needs = ("contacts:read", "calls:read", SUBMISSIONS.read)

    @app.get("/v1/contacts/<ref>/export", needs=needs, lane="export")
    def export_subject(caller: Caller, ref: str) -> Iterator[bytes]:
        workspace = caller.workspace
        row = contacts.get(workspace, CONTACTS.uid(ref))
        called = services.calls.some("contact_id = ? ORDER BY created_at", row.id)
        sent = submissions_of(services.submissions, workspace, row)
        told = every_event(events, contacts, workspace, row.uid)
        return streamed(subject_text(row, called, sent, told))


def read_place() -> tuple:
    """(`after` as a position or None, `limit`)."""
    query = dict(read_query())
    after = query.get("after")
    position = None if after is None else parse_event_id(after)
    return position, whole_number(query, "limit", 100, 1000)


def parse_event_id(text: str) -> int:
    """The position in the log; any will do, erased or not."""
    position = from_base32(text.lower().removeprefix("evt_"))
    if position is None or not text.lower().startswith("evt_"):
        raise InvalidCursor("after must be the id of an event: evt_…", "after")
    return min(position, 2**63 - 1)


# -- what is found


def forgetting(records: Records, caller: Caller, uid: Optional[str]) -> Callable:
    """The work that forgets what a record was, and keeps what it is: how many events
    went. Who reads the log hears what it is still."""

    def work() -> int:
        row = records.get(caller.workspace, uid)
        what = records.kind, caller.workspace, row
        erased = sum(iter(lambda: records.events.erase_some(*what), 0))
        told = records.draft("updated", caller, row, [])
        records.events.add(told._replace(restated=True))
        return erased

    return work


class EventPage(NamedTuple):
    rows: list
    last: int  # the position to go on from
    more: bool


def feed(
    events: EventLog, workspace: int, after: Optional[int], limit: int
) -> EventPage:
    """Events behind a position, in the order of their commits; InvalidCursor if some
    behind it have expired."""
    sql = "SELECT expired FROM workspace WHERE id = ?"
    (expired,) = events.store.row(sql, (workspace,))
    if after is not None and after < expired:
        message = "events after this one have expired: read everything again"
        raise InvalidCursor(message, "after")
    after = expired if after is None else after
    where = "WHERE workspace_id = ? AND id > ? ORDER BY id LIMIT ?"
    return page_of_events(events, where, (workspace, after), limit, after)


def history(
    events: EventLog,
    records: Records,
    workspace: int,
    uid: Optional[str],
    before: Optional[int],
    limit: int,
    submissions: bool = False,
) -> EventPage:
    """Events of one record older than a position, newest first; `submissions`: and of
    those that made or changed it."""
    row, kind = records.get(workspace, uid), records.kind
    before = 2**63 - 1 if before is None else before
    also = " OR submission_id IS NOT NULL" * submissions
    where = (
        f"WHERE subject = ? AND owner = ? AND (record = ?{also}) AND id < ? "
        "AND NOT restated ORDER BY id DESC LIMIT ?"
    )
    params = row.id, kind.name, kind.ref(row.uid), before
    return page_of_events(events, where, params, limit, before)


MOST = 2**22  # characters of a page's records


def page_of_events(
    events: EventLog, where: str, params: tuple, limit: int, after: int
) -> EventPage:
    """`limit` events, or fewer that fill MOST characters."""
    rows, size = [], 0
    for row in events.store.run(events.SELECT + where, (*params, limit + 1)):
        if len(rows) == limit or size > MOST:
            return EventPage(rows, rows[-1].id, True)
        rows.append(events.told(row))
        size += len(rows[-1].data)
    return EventPage(rows, rows[-1].id if rows else after, False)


def every_event(
    events: EventLog, contacts: Records, workspace: int, uid: str
) -> Iterator[EventRow]:
    before, more = None, True
    while more:
        rows, before, more = history(
            events, contacts, workspace, uid, before, 100, True
        )
        yield from rows


def submissions_of(
    submissions: Submissions, workspace: int, contact: Row
) -> Iterator[list]:
    """Those that name the contact or have its address, in the order in which they
    came, some at a time."""
    rows = submissions.of_person(workspace, contact)
    numbers, most = array("q", sorted(number for number, _ in rows)), submissions.SOME
    for start in range(0, len(numbers), most):
        some = ",".join(map(str, numbers[start : start + most]))
        yield submissions.some(f"id IN ({some}) ORDER BY id")


def counts(submissions: Submissions, workspace: int) -> dict:
    """How many there are in each state."""
    wanted = {state: (Filter("state", "=", state),) for state in STATES}
    return {state: submissions.tallied(workspace, one) for state, one in wanted.items()}


def newest(store: Store, workspace: int) -> int:
    """The position of the workspace's last event, be it still kept or not."""
    sql = (
        "SELECT max(expired, (SELECT coalesce(max(id), 0) FROM event "
        "WHERE workspace_id = ?1)) FROM workspace WHERE id = ?1"
    )
    return store.row(sql, (workspace,))[0]


def per_day(records: Records, workspace: int, days: int) -> list:
    """(date, how many were made on it) for the last days, today the last."""
    today = micros(records.clock()) // DAY
    sql = (
        f"SELECT created_at / {DAY}, count(*) FROM {records.kind.table} "
        "WHERE workspace_id = ? AND created_at >= ? GROUP BY 1"
    )
    first = today - days + 1
    made = dict(records.store.rows(sql, (workspace, first * DAY)))
    return [(iso(n * DAY)[:10], made.get(n, 0)) for n in range(first, today + 1)]


# -- how it is spelled


def event_text(row: EventRow) -> str:
    return (
        f'{{"id":"{event_id(row.id)}","type":"{row.type}",'
        f'"created_at":"{iso(row.created_at)}","key":"{row.key}",'
        f'"record":"{row.record}","data":{row.data},"changed":{row.changed}}}'
    )


def log_text(page: EventPage) -> str:
    data, last = ",".join(map(event_text, page.rows)), event_id(page.last)
    more = dump(page.more)
    return f'{{"data":[{data}],"next_after":"{last}","has_more":{more}}}'


def subject_text(
    row: Row, calls: list, sent: Iterator[list], events: Iterator[EventRow]
) -> Iterator[str]:
    """All that is held on a person, in pieces."""
    told = ",".join([NativeWire.one(CALLS, call) for call in calls])
    contact = NativeWire.one(CONTACTS, row)
    yield f'{{"contact":{contact},"calls":[{told}],"submissions":['
    one = functools.partial(NativeWire.one, SUBMISSIONS)
    yield from with_commas(one(row) for rows in sent for row in rows)
    yield '],"history":['
    yield from with_commas(map(event_text, events))
    yield "]}"


def with_commas(texts: Iterator[str]) -> Iterator[str]:
    comma = ""
    for text in texts:
        yield comma + text
        comma = ","
