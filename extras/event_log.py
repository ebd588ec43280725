"""The log of events as it is read: a part of extras/history.py and of
extras/webhooks.py. The core writes it."""

from typing import NamedTuple, Optional

from contactapi import SUBMISSIONS, NativeWire, Submissions, base32, whole


class EventRow(NamedTuple):
    id: int
    type: str
    created_at: int
    key: str
    record: str
    data: str
    changed: str


def event_id(position: int) -> str:
    return f"evt_{base32(position)}"


class EventLog:
    SELECT = (
        "SELECT id, type, created_at, key, record, data, changed, submission_id, "
        "(SELECT data FROM event AS whole WHERE whole.id = event.base) FROM event "
    )

    def __init__(self, submissions: Submissions):
        self.submissions, self.store = submissions, submissions.store

    def one(self, number: int) -> Optional[EventRow]:
        """None where it has been erased."""
        row = self.store.row(self.SELECT + "WHERE id = ?", (number,))
        return row and self.told(row)

    def told(self, row: tuple) -> Optional[EventRow]:
        """With the data that it does not hold itself; None where the submission that
        has it was erased meanwhile."""
        *columns, submission, base = row
        event = EventRow(*columns)
        if submission is not None:
            sent = self.submissions.find("id = ?", submission)
            return sent and event._replace(data=NativeWire.one(SUBMISSIONS, sent))
        return event._replace(data=whole(base, event.data)) if base else event
