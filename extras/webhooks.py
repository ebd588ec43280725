"""Webhooks (CONTRACT section 9): what is asked of them, over HTTP and on the command
line, and what was sent."""

import argparse
import contextlib
import functools

from contactapi import (
    EVERYTHING,
    Api,
    Caller,
    Config,
    Mistake,
    Page,
    Services,
    Unavailable,
    Write,
    add_command,
    dump,
    given,
    operator,
    page_text,
    read_json,
    read_page,
    without_secrets,
)
from extras.deliveries import add_deliveries
from extras.endpoints import SENDER, SHAPE_NAMES, TYPES, Webhook, Webhooks, told_of
from extras.outgoing import Unanswered

MODELS = (Webhook,)


def listen(services: Services) -> None:
    """What a command does is told as well."""
    hooks = Webhooks(services)
    services.events.listeners.append(hooks.announce)
    services.keys.end_made = hooks.end_made
    end_left(hooks)


def end_left(hooks: Webhooks) -> None:
    """Ends what was made by keys that were revoked with it where this extra was not."""
    left, store = hooks.services.keys.LEFT, hooks.store
    sql = "SELECT name, value FROM note WHERE instr(name, ?) = 1"

    def work() -> None:
        for name, by in store.rows(sql, (left,)):
            hooks.end_made(operator(by), name.removeprefix(left))
            store.run("DELETE FROM note WHERE name = ?", (name,))

    if store.row(sql, (left,)):
        with contextlib.suppress(Unavailable):  # an hour later, then
            store.write(work)


def setup(app: Api, services: Services, config: Config) -> None:
    hooks = Webhooks(services)
    services.outbox.senders[SENDER] = hooks
    services.hourly.append(functools.partial(end_left, hooks))
    add_webhooks(app, hooks)
    add_deliveries(app, services)


# -- what is shown


def document(hook: Webhook, secret: bool = False) -> dict:
    shown = {"id": hook.ref, "url": hook.url, **told_of(hook)}
    return {**shown, "secret": hook.secret} if secret else shown


# -- routes


def add_webhooks(app: Api, hooks: Webhooks) -> None:
    base, one = "/v1/webhooks", "/v1/webhooks/<ref>"
    needs = (EVERYTHING,)

    @app.get(base, needs=needs)
    def list_webhooks(caller: Caller) -> str:
        number, size = read_page()
        there = hooks.list(caller.workspace)
        some = there[(number - 1) * size : number * size]
        texts = [dump(document(hook)) for hook in some]
        return page_text(texts, Page(some, len(there)), number, size)

    @app.post(base, needs=needs)
    def create_webhook(caller: Caller) -> Write:
        work = hooks.create(caller, read_json())
        return Write(work, lambda hook: dump(document(hook, secret=True)), 201)

    @app.get(one, needs=needs)
    def get_webhook(caller: Caller, ref: str) -> str:
        return dump(document(hooks.get(caller, ref)))

    @app.patch(one, needs=needs)
    def update_webhook(caller: Caller, ref: str) -> Write:
        sent = read_json()
        rotated = sent.get("rotate") is True
        work = hooks.update(caller, ref, sent)
        return Write(work, lambda hook: dump(document(hook, rotated)))

    @app.delete(one, needs=needs)
    def delete_webhook(caller: Caller, ref: str) -> Write:
        work = hooks.delete(caller, ref)
        return Write(work, lambda refs: dump({"id": refs[0], "deleted": True}))

    @app.post(f"{one}/test", needs=needs, lane="long")
    def test_webhook(caller: Caller, ref: str) -> str:
        try:
            said = hooks.test(hooks.get(caller, ref))
        except Unanswered:
            return dump({"status": None, "answer": None})
        return dump({"status": said.status, "answer": said.text[:200] or None})


# -- commands


def create(services: Services, args: argparse.Namespace) -> None:
    caller = operator("cli", services.workspaces.find(args.workspace))
    sent = {"url": args.url, "events": args.events, "shape": args.shape}
    hook = services.store.write(Webhooks(services).create(caller, sent))
    print(f"{hook.ref} {hook.secret}")


def update(services: Services, args: argparse.Namespace) -> None:
    sent = given(args, "url", "events", "enabled", "rotate")
    work = Webhooks(services).update(operator("cli"), args.webhook_id, sent)
    hook = services.store.write(work)
    print(f"{hook.ref} {hook.secret}" if args.rotate else hook.ref)


def list_all(services: Services, args: argparse.Namespace) -> None:
    """By host: a URL may hold a secret."""
    for hook in Webhooks(services).list():
        shown = told_of(hook)
        state = "enabled" if hook.enabled else hook.reason
        events = ",".join(hook.events)
        row = (hook.ref, hook.workspace.name, hook.shape, shown["host"], events, state)
        print("  ".join(row))


def delete(services: Services, args: argparse.Namespace) -> None:
    work = Webhooks(services).delete(operator("cli"), args.webhook_id)
    print(f"deleted {services.store.write(work)[0]}")


def test(services: Services, args: argparse.Namespace) -> None:
    hooks = Webhooks(services)
    try:
        said = hooks.test(hooks.get(operator("cli"), args.webhook_id))
    except Unanswered as err:
        raise Mistake(str(err)) from None
    print(f"{said.status} {without_secrets(said.text[:200])}".rstrip())
    if not 200 <= said.status < 300:
        raise Mistake("only an answer of 2xx means that it arrived")


def add_commands(group: argparse.ArgumentParser) -> None:
    actions = group.add_subparsers(metavar="ACTION", required=True)
    about = "make an endpoint and print its id and its secret"
    make = add_command(actions, "create", create, about)
    make.add_argument("--url", required=True, help="http or https, any address")
    about = "for a program (standard), or for a chat"
    make.add_argument("--shape", choices=SHAPE_NAMES, default="standard", help=about)
    make.add_argument("--workspace", default="default")
    change = add_command(actions, "update", update, "change one, or its secret")
    change.add_argument("--url", help="http or https, any address")
    turn = change.add_mutually_exclusive_group()
    for name, value in (("--enable", True), ("--disable", False)):
        turn.add_argument(name, dest="enabled", action="store_const", const=value)
    about = "make a new secret; the old one signs beside it for 24 hours"
    change.add_argument("--rotate", action="store_true", help=about)
    add_command(actions, "list", list_all, "show them, by their hosts")
    tries = add_command(actions, "test", test, "send a test event to one")
    drop = add_command(actions, "delete", delete, "delete one and what waits for it")
    for action in (make, change):
        about = f"what it is sent (again for more): {', '.join(TYPES)}"
        action.add_argument(
            "--event", dest="events", action="append", metavar="TYPE", help=about
        )
    for action in (change, tries, drop):
        action.add_argument("webhook_id", metavar="WEBHOOK_ID")


COMMANDS = {"webhooks": add_commands}
