"""What the outbox has sent, or is to send, but calls (CONTRACT section 9). A part of
extras/webhooks.py."""

from collections.abc import Callable
from typing import NamedTuple, Optional

from contactapi import (
    EVERYTHING,
    Api,
    Caller,
    Conflict,
    NotFound,
    Page,
    Services,
    Store,
    Write,
    base32,
    dump,
    from_base32,
    iso_or_none,
    page_text,
    read_page,
)
from extras.event_log import event_id
from extras.outbox import Outbox
from extras.outgoing import host_of
from extras.senders import SENDING, WAITING


class Shown(NamedTuple):
    """A delivery with what is shown of its endpoint."""

    id: int
    event: Optional[int]
    target: str
    endpoint: str
    state: str
    tries: int
    due_at: Optional[int]
    created_at: int
    last_status: Optional[int]
    last_answer: Optional[str]
    url: Optional[str]  # a webhook's
    enabled: Optional[bool]
    free_at: Optional[int]


class Deliveries:
    SELECT = (
        "SELECT delivery.id, event_id, target, endpoint, state, tries, "
        "delivery.due_at, delivery.created_at, last_status, last_answer, url, "
        "enabled, free_at "
        "FROM delivery LEFT JOIN endpoint ON endpoint.name = delivery.endpoint "
        "LEFT JOIN webhook ON delivery.sender = 'webhook' "
        "AND webhook.uid = substr(target, 5) "
        "WHERE delivery.workspace_id = ? AND call_id IS NULL "
    )

    def __init__(self, store: Store, outbox: Outbox):
        self.store, self.outbox = store, outbox

    def page(self, workspace: int, number: int, size: int) -> Page:
        """Newest first."""
        offset = min((number - 1) * size, 2**62)
        sql = (
            f"{self.SELECT} AND delivery.id IN (SELECT id FROM delivery "
            "WHERE workspace_id = ? AND call_id IS NULL ORDER BY id DESC "
            "LIMIT ? OFFSET ?) ORDER BY delivery.id DESC"
        )
        rows = self.store.rows(sql, (workspace, workspace, size, offset))
        sql = "SELECT count(*) FROM delivery WHERE workspace_id = ? AND call_id IS NULL"
        (total,) = self.store.row(sql, (workspace,))
        return Page(list(map(Shown._make, rows)), total)

    def get(self, workspace: int, number: Optional[int]) -> Shown:
        sql = f"{self.SELECT} AND delivery.id = ?"
        row = self.store.row(sql, (workspace, number))
        if row is None:
            raise NotFound("there is no such delivery")
        return Shown._make(row)

    def again(self, workspace: int, number: Optional[int]) -> Callable:
        """A work: it is sent once more, be it delivered or not."""

        def work() -> Shown:
            row = self.get(workspace, number)
            if row.enabled == 0:
                raise Conflict("this webhook is disabled: enable it first")
            self.outbox.again(row.id, row.endpoint)
            return self.get(workspace, number)

        return work


# -- what is shown


def document(row: Shown) -> dict:
    return {
        "id": f"dlv_{base32(row.id)}",
        "event": row.event and event_id(row.event),
        "webhook": row.target if row.url else None,
        "host": host_of(row.url) if row.url else row.target.rpartition("@")[2],
        "state": WAITING if row.state == SENDING else row.state,
        "tries": row.tries,
        "next_try_at": iso_or_none(next_try(row)),
        "last_status": row.last_status,
        "last_answer": row.last_answer or None,
    }


def next_try(row: Shown) -> Optional[int]:
    """None where it has ended, is being sent, or its endpoint is disabled."""
    if row.state != WAITING or row.free_at == Outbox.NEVER:
        return None
    return max(row.due_at, row.created_at, row.free_at or 0)


def number_of(ref: str) -> Optional[int]:
    start, _, digits = ref.lower().partition("_")
    number = from_base32(digits) if start == "dlv" else None
    return number if number is not None and number < 2**63 else None


# -- routes


def add_deliveries(app: Api, services: Services) -> None:
    deliveries = Deliveries(services.store, services.outbox)

    @app.get("/v1/deliveries", needs=(EVERYTHING,), lane="long")
    def list_deliveries(caller: Caller) -> str:
        number, size = read_page()
        page = deliveries.page(caller.workspace, number, size)
        texts = [dump(document(row)) for row in page.rows]
        return page_text(texts, page, number, size)

    @app.post("/v1/deliveries/<ref>/retry", needs=(EVERYTHING,))
    def retry_delivery(caller: Caller, ref: str) -> Write:
        work = deliveries.again(caller.workspace, number_of(ref))
        return Write(work, lambda row: dump(document(row)))
