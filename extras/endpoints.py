"""The endpoints of webhooks (CONTRACT section 9): the rules for them, and how events
are sent, signed as Standard Webhooks 1.0 has it or spelled for a chat. A part of
extras/webhooks.py."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from itertools import groupby
from typing import Any, Optional
from urllib.parse import urlsplit

import peewee

from contactapi import (
    DAY,
    KINDS,
    Caller,
    Conflict,
    InvalidRequest,
    NativeWire,
    NotFound,
    Services,
    TextsField,
    Workspace,
    dump,
    iso,
    load,
    log,
    micros,
    new_uid,
    operator,
    parse_id,
    part_of,
    web_url,
)
from extras.chat_shapes import SHAPES, chat_message, topic_of
from extras.event_log import EventLog, EventRow, event_id
from extras.outgoing import Said, Unanswered, host_of, is_evidently_private, post
from extras.senders import DeliveryRow, NotTaken, Refused, Reply, Sender

SENDER = "webhook"


class Webhook(peewee.Model):
    """An endpoint that events are sent to (CONTRACT section 9). `anywhere`: it may have
    an address that is not public. `failing_since`: the first try in vain after the last
    that was not."""

    uid = peewee.TextField(unique=True)
    workspace = part_of(Workspace, index=False)
    url = peewee.TextField()
    anywhere = peewee.BooleanField()
    events = TextsField()
    shape = peewee.TextField()
    secret = peewee.TextField()
    old_secret = peewee.TextField(null=True)
    rotated_at = peewee.BigIntegerField(null=True)
    enabled = peewee.BooleanField()
    reason = peewee.TextField(null=True)
    failing_since = peewee.BigIntegerField(null=True)
    created_at = peewee.BigIntegerField()
    created_by = peewee.TextField(index=True)
    updated_at = peewee.BigIntegerField()

    class Meta:
        indexes = ((("workspace", "created_at"), False),)

    @property
    def ref(self) -> str:
        return f"whk_{self.uid}"


# -- what can be wanted


VERBS = ("created", "updated", "deleted")
BY_ITSELF = (  # what an endpoint gets that names nothing
    *(f"{kind.name}.{verb}" for kind in KINDS for verb in VERBS),
    *("call.created", "call.updated"),
    *("submission.accepted", "submission.updated", "submission.deleted"),
)
TYPES = (
    *BY_ITSELF,
    *("key.created", "key.updated", "key.revoked"),
    *(f"webhook.{verb}" for verb in VERBS),
)
SHAPE_NAMES = ("standard", *SHAPES)


def clean_url(url: Any, shape: str, anywhere: bool) -> str:
    good = web_url(url) if isinstance(url, str) and len(url) <= 2000 else None
    try:
        port = urlsplit(good or "").port
    except ValueError:
        port = 0
    if good is None or port == 0:
        raise InvalidRequest("url must be an http or https URL", "url")
    if not anywhere and is_evidently_private(host_of(good)):
        message = "url must have a public address; contactapi.py webhooks takes any"
        raise InvalidRequest(message, "url")
    if shape == "ntfy" and not topic_of(good)[1]:
        raise InvalidRequest("the URL of an ntfy endpoint ends with its topic", "url")
    return good


def clean_events(events: Any, shape: str) -> list:
    if events is None:
        return list(BY_ITSELF) if shape == "standard" else ["submission.accepted"]
    known = isinstance(events, list) and events and all(e in TYPES for e in events)
    if not known:
        raise InvalidRequest(f"events are one or more of {', '.join(TYPES)}", "events")
    return [name for name in TYPES if name in events]


def new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


# -- what is told of one


SHOWN = ("url", "events", "enabled", "reason", "secret")  # as changed, in events


def told_of(hook: Webhook) -> dict:
    """In events: nothing of its URL but the host, nothing of its secrets."""
    return {
        "id": hook.ref,
        "host": host_of(hook.url),
        "events": hook.events,
        "shape": hook.shape,
        "enabled": hook.enabled,
        "reason": hook.reason,
        "created_by": hook.created_by,
        "created_at": iso(hook.created_at),
        "updated_at": iso(hook.updated_at),
    }


# -- the endpoints of a workspace


class Webhooks(Sender):
    """Made, changed, deleted; told of events, and sent them."""

    MOST = 100  # in a workspace

    def __init__(self, services: Services):
        self.services, self.store = services, services.store
        self.outbox, self.events = services.outbox, EventLog(services.submissions)

    def create(self, caller: Caller, sent: dict) -> Callable:
        """A work that returns the new Webhook, as the others do. Made on the command
        line it may have any address."""
        shape, anywhere = sent.get("shape", "standard"), caller.ref == "cli"
        if shape not in SHAPE_NAMES:
            raise InvalidRequest(f"shape is one of {', '.join(SHAPE_NAMES)}", "shape")
        url = clean_url(sent.get("url"), shape, anywhere)
        events = clean_events(sent.get("events"), shape)

        def work() -> Webhook:
            of_workspace = Webhook.workspace == caller.workspace
            now, there = self._now(), self._where(of_workspace)
            if len(there) >= self.MOST:
                message = f"a workspace has at most {self.MOST} webhooks: delete some"
                raise Conflict(message)
            last = max((hook.created_at for hook in there), default=0)
            hook = Webhook(
                **{"uid": new_uid(), "workspace": caller.workspace, "url": url},
                **{"anywhere": anywhere, "events": events, "shape": shape},
                **{"secret": new_secret(), "enabled": True, "updated_at": now},
                **{"created_at": max(now, last + 1), "created_by": caller.ref},
            )
            self.store.fetch(Webhook.insert(hook.__data__))
            self._tell("created", caller, hook, ["url", "events", "shape"])
            return hook

        return work

    def update(self, caller: Caller, ref: str, sent: dict) -> Callable:
        """Changes what is sent of `url`, `events` and `enabled`; `rotate` makes a new
        secret, beside which the old one signs for a day."""
        for name in ("enabled", "rotate"):
            if not isinstance(sent.get(name, True), bool):
                raise InvalidRequest(f"{name} is true or false", name)

        def work() -> Webhook:
            hook = self.get(caller, ref)
            changes = self._changes(caller, hook, sent)
            changed = [n for n, value in changes.items() if value != getattr(hook, n)]
            if changed:
                changes["updated_at"] = self._now()
                self._change(hook, changes)
                self._tell("updated", caller, hook, [n for n in changed if n in SHOWN])
            return hook

        return work

    def _changes(self, caller: Caller, hook: Webhook, sent: dict) -> dict:
        changes = {}
        if sent.get("url", hook.url) != hook.url:
            anywhere = caller.ref == "cli"
            changes["url"] = clean_url(sent["url"], hook.shape, anywhere)
            changes |= {"anywhere": anywhere, "failing_since": None}
        if "events" in sent:
            changes["events"] = clean_events(sent["events"] or [], hook.shape)
        if sent.get("enabled", hook.enabled) != hook.enabled:
            reason = None if sent["enabled"] else f"disabled by {caller.ref}"
            changes |= {"enabled": sent["enabled"], "reason": reason}
            changes["failing_since"] = None
        if sent.get("rotate"):
            changes |= {"secret": new_secret(), "old_secret": hook.secret}
            changes["rotated_at"] = self._now()
        return changes

    def _change(self, hook: Webhook, changes: dict) -> None:
        self.store.fetch(Webhook.update(changes).where(Webhook.id == hook.id))
        for name, value in changes.items():
            setattr(hook, name, value)
        if changes.keys() & {"enabled", "url"}:
            turn = self.outbox.release if hook.enabled else self.outbox.hold
            turn(hook.ref)

    def delete(self, caller: Caller, ref: str) -> Callable:
        def work() -> list:
            return self._end(caller, [self.get(caller, ref)])

        return work

    def end_made(self, caller: Caller, uid: str) -> list:
        """Inside a transaction: the refs of those that a key made, or what goes back to
        it, be that revoked long since."""
        sql = "SELECT id FROM webhook JOIN family ON created_by = 'key_' || family.uid"
        rows = self.store.rows(self.services.keys.FAMILY + sql, (uid,))
        return self._end(caller, self._where(Webhook.id.in_([row[0] for row in rows])))

    def _end(self, caller: Caller, hooks: list) -> list:
        """Deletes those, with all that was sent to them or waits; their refs."""
        for hook in hooks:
            self.store.run("DELETE FROM webhook WHERE id = ?", (hook.id,))
            self.store.run("DELETE FROM delivery WHERE endpoint = ?", (hook.ref,))
            self.store.run("DELETE FROM endpoint WHERE name = ?", (hook.ref,))
            gone = NativeWire.gone(hook.ref)
            self.services.keys.tell("deleted", caller, hook, [], gone)
        return [hook.ref for hook in hooks]

    def get(self, caller: Caller, ref: str) -> Webhook:
        hook = self.find(ref)
        if hook is None or caller.workspace not in (None, hook.workspace_id):
            raise NotFound("there is no such webhook")
        return hook

    def find(self, ref: str) -> Optional[Webhook]:
        found = self._where(Webhook.uid == parse_id("whk", ref))
        return found[0] if found else None

    def list(self, workspace: Optional[int] = None) -> list:
        """Of a workspace, or all; newest first."""
        return self._where(workspace is None or Webhook.workspace == workspace)

    def _where(self, which: Any) -> list:
        query = Webhook.select(Webhook, Workspace).join(Workspace).where(which)
        return self.store.fetch(query.order_by(Webhook.created_at.desc()))

    def _tell(self, verb: str, caller: Caller, hook: Webhook, changed: list) -> None:
        data = dump(told_of(hook))
        self.services.keys.tell(verb, caller, hook, changed, data)

    def _now(self) -> int:
        return micros(self.outbox.clock())

    # what happens is sent to those who want it

    def announce(self, told: list) -> None:
        """Inside the transaction of the events, pairs of (id, Draft)."""
        for workspace, pairs in groupby(told, key=lambda pair: pair[1].workspace_id):
            sql = "SELECT uid, events FROM webhook WHERE workspace_id = ? AND enabled"
            hooks = self.store.rows(sql, (workspace,))
            wanted = [(f"whk_{uid}", load(events)) for uid, events in hooks]
            for number, draft in pairs if wanted else ():
                for ref, events in wanted:
                    if draft.type in events:
                        self.outbox.add(workspace, SENDER, ref, event=number)

    def post(self, hook: Webhook, event: EventRow, ref: str) -> Said:
        """What the endpoint said to it; `ref` is the event's id."""
        url, headers = hook.url, {}
        if hook.shape == "standard":
            body = message(hook, event).encode()
            moment = int(self.outbox.clock())
            headers = signed(valid_secrets(hook, moment), ref, moment, body)
        else:
            body = chat_message(hook.shape, event)
            if hook.shape == "ntfy":
                url, name = topic_of(url)
                body = dump({"topic": name, **load(body)})
            body = body.encode()
        return post(url, body, headers, hook.anywhere)

    def test(self, hook: Webhook) -> Said:
        at, data = self._now(), dump({"webhook": hook.ref})
        event = EventRow(0, "test", at, "", hook.ref, data, "[]")
        return self.post(hook, event, f"test_{new_uid()}")

    # what the outbox asks and tells: a delivery's target is an endpoint's id

    def send(self, delivery: DeliveryRow) -> Optional[Reply]:
        hook, event = self.find(delivery.target), self.events.one(delivery.event)
        if hook is None or event is None:
            return None
        try:
            said = self.post(hook, event, event_id(event.id))
        except Unanswered as err:
            raise NotTaken(Reply(str(err))) from None
        reply = Reply(said.text, said.status)
        if said.status == 410:
            raise Refused(reply)
        if not 200 <= said.status < 300:
            raise NotTaken(reply, said.pause(self.outbox.clock()))
        return reply

    def delivered(self, delivery: DeliveryRow, reply: Reply) -> None:
        sql = "UPDATE webhook SET failing_since = NULL WHERE uid = ? "
        uid = parse_id("whk", delivery.target)
        self.store.run(sql + "AND failing_since IS NOT NULL", (uid,))

    def missed(self, delivery: DeliveryRow, reply: Reply) -> None:
        hook, now = self.get(ANYBODY, delivery.target), self._now()
        if hook.failing_since is None:
            self._change(hook, {"failing_since": now})
        elif now - hook.failing_since >= 5 * DAY:
            self._disable(hook, "nothing was taken for five days")

    def failed(self, delivery: DeliveryRow, reply: Reply) -> None:
        if reply.status == 410:
            hook = self.get(ANYBODY, delivery.target)
            self._disable(hook, "it answered 410, which means never again")

    def _disable(self, hook: Webhook, reason: str) -> None:
        if hook.enabled:
            log.warning("%s (%s) is disabled: %s", hook.ref, host_of(hook.url), reason)
            at = {"updated_at": self._now()}
            self._change(hook, {"enabled": False, "reason": reason, **at})
            self._tell("updated", ANYBODY, hook, ["enabled", "reason"])


ANYBODY = operator("delivery")


# -- Standard Webhooks 1.0


def message(hook: Webhook, event: EventRow) -> str:
    name = dump(hook.workspace.name)
    return (
        f'{{"type":"{event.type}","timestamp":"{iso(event.created_at)}",'
        f'"workspace":{name},"data":{event.data}}}'
    )


def valid_secrets(hook: Webhook, moment: int) -> list:
    """The newest first."""
    until = (hook.rotated_at or 0) + DAY
    old = hook.old_secret and moment * 1_000_000 < until
    return [hook.secret, hook.old_secret] if old else [hook.secret]


def signed(keys: list, ref: str, moment: int, body: bytes) -> dict:
    signatures = [signature(key, ref, moment, body) for key in keys]
    return {
        "webhook-id": ref,
        "webhook-timestamp": str(moment),
        "webhook-signature": " ".join(signatures),
    }


def signature(secret: str, ref: str, moment: int, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{ref}.{moment}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
