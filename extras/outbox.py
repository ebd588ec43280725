"""The outbox: a durable queue of what is to be sent, in the tables `delivery` and
`endpoint`. Extras put senders into it; a server runs its worker, which ends at once if
there are none."""

import random
import threading
from collections.abc import Callable
from typing import Optional

import peewee
from playhouse.sqlite_ext import AutoIncrementField

from contactapi import (
    Call,
    Event,
    Services,
    Store,
    Submission,
    Workspace,
    micros,
    part_of,
)
from extras.senders import (
    DELIVERED,
    FAILED,
    SENDING,
    WAITING,
    DeliveryRow,
    NotNow,
    NotTaken,
    Refused,
    Reply,
)
from extras.worker import Worker


class Delivery(peewee.Model):
    """One thing to be sent, once or until it was taken: of a call, or of an event or a
    submission (their rows' numbers; an event may expire before what tells of it). What
    is sent is made of that when it is sent. `due_at` is when it is to be looked at
    next: to be sent, or, while it is being sent, as interrupted."""

    id = AutoIncrementField()
    workspace = part_of(Workspace, index=False)
    sender = peewee.TextField()
    target = peewee.TextField()
    endpoint = peewee.TextField()
    call = part_of(Call, null=True)
    event = part_of(Event, null=True)
    submission = part_of(Submission, null=True)
    state = peewee.TextField()
    tries = peewee.IntegerField()
    due_at = peewee.BigIntegerField(null=True)
    last_status = peewee.IntegerField(null=True)
    last_answer = peewee.TextField(null=True)
    created_at = peewee.BigIntegerField(index=True)

    class Meta:
        indexes = ((("endpoint", "due_at"), False), (("workspace", "call"), False))


class Endpoint(peewee.Model):
    """Where deliveries go one at a time. `due_at` is since when, or from when, there is
    something to do: not before `lapses_at`, which ends what is being sent (or did, and
    then others come first), nor before `free_at`, after failures."""

    name = peewee.TextField(primary_key=True)
    sender = peewee.TextField()
    due_at = peewee.BigIntegerField(null=True)
    lapses_at = peewee.BigIntegerField()
    free_at = peewee.BigIntegerField()
    failures = peewee.IntegerField()  # tries in vain since one was not

    class Meta:
        indexes = ((("sender", "due_at"), False),)


MODELS = (Delivery, Endpoint)


def listen(services: Services) -> None:
    outbox = Outbox(services.store, services.calls.clock)
    services.outbox = outbox
    services.hourly.append(outbox.expire)
    services.workers.append(Worker(outbox))


class Outbox:
    """What is to be sent, kept in the transaction of what causes it: by a crash nothing
    is lost. Each thing is claimed by one thread of one process, one at a time for an
    endpoint, and what comes of a claim that has lapsed meanwhile is passed over. A look
    asks the endpoints when they are due: it costs the same however much waits."""

    KEPT = 30 * 86_400  # seconds
    FEW = 5  # tries in vain after which an endpoint is tried by the schedule
    NEVER = 2**62
    SELECT = (
        "SELECT id, workspace_id, sender, target, endpoint, call_id, event_id, "
        "submission_id, state, tries, due_at, created_at FROM delivery "
    )
    IS_DUE = (
        "UPDATE endpoint SET due_at = (SELECT max(delivery.due_at, lapses_at, free_at) "
        "FROM delivery WHERE endpoint = name AND delivery.due_at IS NOT NULL "
        "ORDER BY delivery.due_at LIMIT 1)"
    )

    def __init__(self, store: Store, clock: Callable, chance: Callable = random.random):
        self.store, self.clock, self.chance = store, clock, chance
        self.senders = {}
        self.wake = threading.Event()  # set when a commit has brought something

    def add(
        self,
        workspace: int,
        sender: str,
        target: str,
        endpoint: Optional[str] = None,
        *,
        call: Optional[int] = None,
        event: Optional[int] = None,
        submission: Optional[int] = None,
        due_at: Optional[int] = None,
    ) -> None:
        """Inside a transaction; due at once unless told when. The target is its own
        endpoint where none is named. It goes with what it is of."""
        now = self._now()
        endpoint, due_at = endpoint or target, due_at or now
        self.store.run(
            "INSERT INTO delivery (workspace_id, sender, target, endpoint, call_id, "
            "event_id, submission_id, state, tries, due_at, created_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)",
            (
                *(workspace, sender, target, endpoint, call, event, submission),
                *(WAITING, due_at, now),
            ),
        )
        self.store.run(
            "INSERT INTO endpoint (name, sender, due_at, lapses_at, free_at, failures) "
            "VALUES (?1, ?2, ?3, 0, 0, 0) ON CONFLICT (name) DO UPDATE SET "
            "sender = ?2, "
            "due_at = max(lapses_at, free_at, min(coalesce(due_at, ?3), ?3))",
            (endpoint, sender, due_at),
        )
        self.store.after.add(self.wake.set)

    def begin(self) -> None:
        """At a server's start all that waits is due, unless its endpoint is held."""
        sql = "SELECT name FROM endpoint WHERE due_at IS NOT NULL AND free_at < ?"

        def work() -> None:
            for (endpoint,) in self.store.rows(sql, (self.NEVER,)):
                self.release(endpoint)

        self.store.write(work)

    def step(self) -> bool:
        """Sends one that is due, if there is any."""
        claimed = self.claim()
        if claimed:
            self.send(claimed)
        return claimed is not None

    def claim(self) -> Optional[DeliveryRow]:
        """The next that is due, with this try begun."""
        if self._due_endpoint() is None:  # a look that waits for no writer
            return None
        return self.store.write(self._claim)

    def send(
        self, delivery: DeliveryRow, more: Callable = lambda: False
    ) -> Optional[DeliveryRow]:
        """Sends what was claimed. If there are to be `more`, the next of its endpoint,
        claimed in the transaction that notes what came of this."""
        note = self._try(delivery)

        def work() -> Optional[DeliveryRow]:
            note()
            return self._claim(delivery.endpoint) if more() else None

        return self.store.write(work)

    def _due_endpoint(self, only: Optional[str] = None) -> Optional[str]:
        """The one that has waited longest of all that a sender is here for."""
        sql = "SELECT due_at, name FROM endpoint WHERE sender = ?1 AND due_at <= ?2 "
        sql += "AND name = ?3" if only else "ORDER BY due_at LIMIT 1"
        params = (self._now(), only) if only else (self._now(),)
        rows = (self.store.row(sql, (sender, *params)) for sender in self.senders)
        return min(filter(None, rows), default=(0, None))[1]

    # inside a transaction

    def _claim(self, only: Optional[str] = None) -> Optional[DeliveryRow]:
        """None where another process was faster, too. What must not be sent any more
        is passed by, some at a time."""
        for _ in range(100):
            endpoint = self._due_endpoint(only)
            delivery = endpoint and self._first(endpoint)
            if endpoint is None:
                return None
            if delivery is None:  # it was erased
                self.store.run(f"{self.IS_DUE} WHERE name = ?", (endpoint,))
            elif delivery.sender not in self.senders:
                self._set_aside(delivery)
            elif why := self._why_not(delivery):
                self._fail(delivery, Reply(why))
            else:
                return self._begin(delivery)
        return None

    def _first(self, endpoint: str) -> Optional[DeliveryRow]:
        where = "WHERE endpoint = ? AND due_at <= ? ORDER BY due_at, id LIMIT 1"
        row = self.store.row(self.SELECT + where, (endpoint, self._now()))
        return row and DeliveryRow._make(row)

    def _set_aside(self, delivery: DeliveryRow) -> None:
        """What others than this process may send holds up nothing else."""
        later, sql = self._now() + micros(60), "UPDATE delivery SET due_at = ?"
        self.store.run(f"{sql} WHERE id = ?", (later, delivery.id))
        self.store.run(f"{self.IS_DUE} WHERE name = ?", (delivery.endpoint,))

    def _why_not(self, delivery: DeliveryRow) -> str:
        sender = self.senders[delivery.sender]
        again = sender.REPEATS and delivery.tries <= len(sender.RETRIES)
        if delivery.state == SENDING and not again:
            return "interrupted: it may have got through"
        return "expired" if self._now() >= self._last_moment(delivery) else ""

    def _begin(self, delivery: DeliveryRow) -> DeliveryRow:
        lapses_at = self._now() + micros(self.senders[delivery.sender].LEASE)
        claim = (
            "UPDATE delivery SET state = ?, tries = tries + 1, due_at = ? WHERE id = ?"
        )
        self.store.run(claim, (SENDING, lapses_at, delivery.id))
        take = "UPDATE endpoint SET lapses_at = ?1, due_at = ?1 WHERE name = ?2"
        self.store.run(take, (lapses_at, delivery.endpoint))
        tries = delivery.tries + 1
        return delivery._replace(state=SENDING, tries=tries, due_at=lapses_at)

    # what came of it

    def _try(self, delivery: DeliveryRow) -> Callable:
        """Outside of any; what is to be done inside one."""
        try:
            outcome, said = self._deliver, self.senders[delivery.sender].send(delivery)
        except NotTaken as err:
            outcome, said = self._put_off, err
        except Refused as err:
            outcome, said = self._fail, err.reply
        except NotNow as err:
            outcome, said = self._postpone, err
        return lambda: outcome(delivery, said)

    def _deliver(self, delivery: DeliveryRow, reply: Optional[Reply]) -> None:
        if reply is None:
            self._note(delivery, FAILED, Reply("not wanted any more"))
        elif self._note(delivery, DELIVERED, reply):
            self.senders[delivery.sender].delivered(delivery, reply)

    def _fail(self, delivery: DeliveryRow, reply: Reply) -> None:
        if self._note(delivery, FAILED, reply):
            self.senders[delivery.sender].failed(delivery, reply)

    def _put_off(self, delivery: DeliveryRow, err: NotTaken) -> None:
        """To when the other side said, at most a day, or the schedule; it expires while
        it waits, too."""
        sender, now, due_at = self.senders[delivery.sender], self._now(), None
        if delivery.tries <= len(sender.RETRIES):
            named = min(err.seconds or 0, 86_400)
            pause = named or self._jittered(sender.RETRIES[delivery.tries - 1])
            due_at = min(now + micros(pause), self._last_moment(delivery))
        state = WAITING if due_at else FAILED
        if self._note(delivery, state, err.reply, due_at, not err.blameless):
            sender.missed(delivery, err.reply)
            if state == FAILED:
                sender.failed(delivery, err.reply)

    def _postpone(self, delivery: DeliveryRow, err: NotNow) -> None:
        self.store.run(
            "UPDATE delivery SET state = ?, tries = tries - 1, due_at = created_at "
            "WHERE id = ? AND state = ? AND tries = ?",
            (WAITING, delivery.id, delivery.state, delivery.tries),
        )
        self._leave(delivery, self._now() + micros(err.seconds), "failures")

    def _note(
        self,
        delivery: DeliveryRow,
        state: str,
        reply: Reply,
        due_at: Optional[int] = None,
        in_vain: bool = False,
    ) -> bool:
        """False where it has been erased, or is another's since its claim lapsed."""
        noted = self.store.run(
            "UPDATE delivery SET state = ?, due_at = ?, last_status = ?, "
            "last_answer = ? WHERE id = ? AND state = ? AND tries = ?",
            (
                *(state, due_at, reply.status, reply.text[:200]),
                *(delivery.id, delivery.state, delivery.tries),
            ),
        )
        free_at = self._free_at(delivery) if in_vain else 0
        self._leave(delivery, free_at, "failures + 1" if in_vain else "0")
        return noted.rowcount > 0

    def _free_at(self, delivery: DeliveryRow) -> int:
        """When an endpoint is tried again: after a FEW failures by the schedule."""
        retries = self.senders[delivery.sender].RETRIES
        sql = "SELECT failures FROM endpoint WHERE name = ?"
        (failures,) = self.store.row(sql, (delivery.endpoint,)) or (0,)  # it is gone
        beyond = failures + 1 - self.FEW
        if beyond < 0 or not retries:
            return 0
        pause = self._jittered(retries[min(beyond, len(retries) - 1)])
        return self._now() + micros(pause)

    def _leave(self, delivery: DeliveryRow, free_at: int, failures: str) -> None:
        """The endpoint, if it is ours still, behind those that are due by now; one that
        is held stays so."""
        self.store.run(
            f"UPDATE endpoint SET lapses_at = ?, failures = {failures}, "
            "free_at = iif(free_at < ?, ?, free_at) WHERE name = ? AND lapses_at = ?",
            (
                *(self._now(), self.NEVER, free_at),
                *(delivery.endpoint, delivery.due_at),
            ),
        )
        self.store.run(f"{self.IS_DUE} WHERE name = ?", (delivery.endpoint,))

    def _jittered(self, seconds: float) -> float:
        """0.8 to 1.2 of it, that not all come back at once."""
        return seconds * (0.8 + 0.4 * self.chance())

    def _last_moment(self, delivery: DeliveryRow) -> int:
        return delivery.created_at + micros(self.senders[delivery.sender].EXPIRES)

    def _now(self) -> int:
        return micros(self.clock())

    # inside a transaction: by hand

    def again(self, delivery: int, endpoint: str) -> None:
        """Has it sent once more, before all else that waits in its endpoint; what is to
        be sent later for the first time keeps its time."""
        self.store.run(
            "UPDATE delivery SET state = ?, due_at = iif(tries = 0, due_at, 0) "
            "WHERE id = ? AND state <> ?",
            (WAITING, delivery, SENDING),
        )
        self._set_free_at(endpoint, 0)

    def hold(self, endpoint: str) -> None:
        """What waits for it stays."""
        self._set_free_at(endpoint, self.NEVER)

    def release(self, endpoint: str) -> None:
        """What waits after a try is due, oldest first."""
        self.store.run(
            "UPDATE delivery SET due_at = created_at WHERE endpoint = ? "
            "AND due_at IS NOT NULL AND state = ? AND tries > 0",
            (endpoint, WAITING),
        )
        self._set_free_at(endpoint, 0)

    def _set_free_at(self, endpoint: str, free_at: int) -> None:
        sql = "UPDATE endpoint SET failures = 0, free_at = ? WHERE name = ?"
        self.store.run(sql, (free_at, endpoint))
        self.store.run(f"{self.IS_DUE} WHERE name = ?", (endpoint,))

    # keeping

    def expire(self) -> None:
        """Deletes what has come to an end and was kept for long enough, some at a
        time."""
        before = self._now() - micros(self.KEPT)
        some = "SELECT id FROM delivery WHERE created_at < ? AND due_at IS NULL"

        def work() -> int:
            sql = f"DELETE FROM delivery WHERE id IN ({some} LIMIT 500)"
            gone = self.store.run(sql, (before,)).rowcount
            if gone:
                self.store.note_erasure()
            return gone

        self.store.write_by_parts(work)
