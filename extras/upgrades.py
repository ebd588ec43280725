"""Brings a database of an older schema to today's: frozen steps, taken in the
transaction of `bring_up_to_date`. A new file has its tables from the models instead, as
any file has those of extras that it lacks; tests/store/test_migrations.py holds that
both are the same."""

import contextlib
import itertools
import json
import os
from typing import NamedTuple

from contactapi import Store, log, make_uid_secret, searchable
from extras.upkeep import TWINS, addresses_with_more, backup, email_key_or


class Step(NamedTuple):
    """From one schema to the next. Files out there have taken it: a released step is
    never edited, and names no model, which will be another by then."""

    # SQL, a statement ending in `;` and a line's end; or f(store), which uses `run`.
    parts: tuple
    rewrites: bool = False  # whether stored rows change: a copy is made before


# A revoked key stays without its hash, which SQLite can only allow in a new table.
KEYS_THAT_STAY = """
CREATE TABLE "new_key" ("id" INTEGER NOT NULL PRIMARY KEY, "uid" TEXT NOT NULL,
    "workspace_id" INTEGER NOT NULL, "name" TEXT NOT NULL, "type" TEXT NOT NULL,
    "hash" TEXT, "hint" TEXT NOT NULL, "permissions" TEXT NOT NULL,
    "domains" TEXT NOT NULL, "existing" TEXT NOT NULL, "created_at" INTEGER NOT NULL,
    "created_by" TEXT, "last_used_at" INTEGER, "revoked_at" INTEGER,
    "settings" TEXT NOT NULL,
    FOREIGN KEY ("workspace_id") REFERENCES "workspace" ("id") ON DELETE CASCADE);
INSERT INTO "new_key" SELECT "id", "uid", "workspace_id", "name", "type", "hash",
    "hint", "permissions", "domains", "existing", "created_at", NULL, "last_used_at",
    NULL, '{}' FROM "key";
DROP TABLE "key";
ALTER TABLE "new_key" RENAME TO "key";
CREATE UNIQUE INDEX "key_uid" ON "key" ("uid");
CREATE UNIQUE INDEX "key_hash" ON "key" ("hash");
CREATE INDEX "key_created_by" ON "key" ("created_by");
CREATE INDEX "key_workspace_id_revoked_at" ON "key" ("workspace_id", "revoked_at");
"""

# Uids hold the numbers of their rows from here on; those of before are looked up.
UIDS_WITHOUT_INDEX = """
CREATE TABLE "old_uid" ("uid" TEXT NOT NULL PRIMARY KEY, "number" INTEGER NOT NULL)
    WITHOUT ROWID;
INSERT INTO "old_uid" SELECT "uid", "id" FROM "contact"
    UNION ALL SELECT "uid", "id" FROM "company" ORDER BY 1;
DROP INDEX "contact_uid";
DROP INDEX "company_uid";
"""

EVENTS_THAT_REST = """
ALTER TABLE "event" ADD COLUMN "base" INTEGER;
"""

# It was a word behind the owner's name.
EVENTS_RESTATED = """
ALTER TABLE "event" ADD COLUMN "restated" INTEGER NOT NULL DEFAULT 0;
UPDATE "event" SET "restated" = 1, "owner" = replace("owner", ' restated', '')
    WHERE "owner" LIKE '% restated';
"""

SUBMISSIONS = """
CREATE TABLE "submission" ("id" INTEGER NOT NULL PRIMARY KEY, "uid" TEXT NOT NULL,
    "workspace_id" INTEGER NOT NULL, "contact_id" INTEGER, "key" TEXT NOT NULL,
    "label" TEXT, "natural_key" TEXT, "subject" TEXT, "reply_to" TEXT,
    "from_name" TEXT, "page" TEXT,
    "state" TEXT NOT NULL, "reason" TEXT, "created_at" INTEGER NOT NULL,
    "updated_at" INTEGER NOT NULL, "confirmed_at" INTEGER, "accepted_at" INTEGER,
    "words" TEXT NOT NULL, "fields" TEXT NOT NULL,
    FOREIGN KEY ("workspace_id") REFERENCES "workspace" ("id") ON DELETE CASCADE,
    FOREIGN KEY ("contact_id") REFERENCES "contact" ("id") ON DELETE CASCADE);
CREATE UNIQUE INDEX "submission_workspace_id_created_at"
    ON "submission" ("workspace_id", "created_at");
CREATE INDEX "submission_workspace_id_state_created_at_reason"
    ON "submission" ("workspace_id", "state", "created_at", "reason");
CREATE INDEX "submission_workspace_id_key_created_at_confirmed_at"
    ON "submission" ("workspace_id", "key", "created_at", "confirmed_at");
CREATE INDEX "submission_workspace_id_natural_key_created_at"
    ON "submission" ("workspace_id", "natural_key", "created_at");
CREATE INDEX "submission_contact_id_created_at"
    ON "submission" ("contact_id", "created_at");
CREATE TABLE "sent" ("hash" BLOB NOT NULL PRIMARY KEY, "number" INTEGER NOT NULL,
    "at" INTEGER NOT NULL) WITHOUT ROWID;
"""

# They have what visitors sent, which stood in events.
EVENTS_OF_SUBMISSIONS = """
ALTER TABLE "event" DROP COLUMN "submitted";
ALTER TABLE "event" ADD COLUMN "submission_id" INTEGER
    REFERENCES "submission" ("id") ON DELETE CASCADE;
CREATE INDEX "event_submission_id" ON "event" ("submission_id")
    WHERE "submission_id" IS NOT NULL;
"""

# What the dialler was to do with a call becomes a delivery; 20 s after it began, a
# dialling counts as interrupted.
DELIVERIES = """
CREATE TABLE "delivery" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    "workspace_id" INTEGER NOT NULL, "sender" TEXT NOT NULL, "target" TEXT NOT NULL,
    "endpoint" TEXT NOT NULL, "call_id" INTEGER, "event_id" INTEGER,
    "submission_id" INTEGER,
    "state" TEXT NOT NULL, "tries" INTEGER NOT NULL,
    "due_at" INTEGER, "last_status" INTEGER, "last_answer" TEXT,
    "created_at" INTEGER NOT NULL,
    FOREIGN KEY ("workspace_id") REFERENCES "workspace" ("id") ON DELETE CASCADE,
    FOREIGN KEY ("call_id") REFERENCES "call" ("id") ON DELETE CASCADE,
    FOREIGN KEY ("event_id") REFERENCES "event" ("id") ON DELETE CASCADE,
    FOREIGN KEY ("submission_id") REFERENCES "submission" ("id") ON DELETE CASCADE);
CREATE INDEX "delivery_call_id" ON "delivery" ("call_id");
CREATE INDEX "delivery_event_id" ON "delivery" ("event_id");
CREATE INDEX "delivery_submission_id" ON "delivery" ("submission_id");
CREATE INDEX "delivery_created_at" ON "delivery" ("created_at");
CREATE INDEX "delivery_endpoint_due_at" ON "delivery" ("endpoint", "due_at");
CREATE INDEX "delivery_workspace_id_call_id" ON "delivery" ("workspace_id", "call_id");
CREATE TABLE "endpoint" ("name" TEXT NOT NULL PRIMARY KEY, "sender" TEXT NOT NULL,
    "due_at" INTEGER, "lapses_at" INTEGER NOT NULL, "free_at" INTEGER NOT NULL,
    "failures" INTEGER NOT NULL);
CREATE INDEX "endpoint_sender_due_at" ON "endpoint" ("sender", "due_at");
INSERT INTO "delivery" ("workspace_id", "sender", "target", "endpoint", "call_id",
    "state", "tries", "due_at", "created_at") SELECT "workspace_id",
    iif("dial" = 'hangup', 'hangup', 'call'), "phone_number", 'dialler', "id",
    iif("dial" = 'dial', 'sending', 'waiting'), "dial" = 'dial',
    "due_at" + iif("dial" = 'dial', 20000000, 0),
    iif("dial" = 'hangup', "updated_at", "created_at")
    FROM "call" WHERE "dial" IS NOT NULL ORDER BY "due_at";
INSERT INTO "endpoint" SELECT 'dialler', 'call', min("due_at"), 0, 0, 0 FROM "delivery"
    HAVING count(*);
DROP INDEX "call_dial";
ALTER TABLE "call" DROP COLUMN "dial";
ALTER TABLE "call" DROP COLUMN "due_at";
"""


def move_what_was_submitted(store: Store) -> None:
    """To accepted submissions of that time. The log is told nothing: its end would be
    earlier than its middle."""
    sql = (
        "SELECT event.id, event.workspace_id, event.key, submitted, event.created_at, "
        "contact.id, natural_key FROM event JOIN contact ON contact.id = subject "
        "WHERE owner = 'contact' AND submitted IS NOT NULL AND event.id > ? "
        "ORDER BY event.id LIMIT 1000"
    )
    last, numbers = 0, itertools.count(1)
    while rows := store.rows(sql, (last,)):
        for _, *row in rows:
            keep_submission(store, next(numbers), *row)
        last = rows[-1][0]
    store.run(
        "INSERT INTO tally (workspace_id, kind, total) SELECT workspace_id, "
        "'submission accepted ' || key, count(*) FROM submission GROUP BY 1, 2"
    )


def keep_submission(
    store: Store,
    number: int,
    workspace: int,
    key: str,
    text: str,
    at: int,
    contact: int,
    natural_key: str,
) -> None:
    fields, (uid,) = json.loads(text), store.uids.make(number, 1)
    label, subject = fields["email"], fields.get("subject")
    taken = "SELECT 1 FROM submission WHERE workspace_id = ? AND created_at = ?"
    while store.row(taken, (workspace, at)):
        at += 1
    store.run(
        "INSERT INTO submission (id, uid, workspace_id, contact_id, key, label, "
        "natural_key, subject, state, created_at, updated_at, accepted_at, words, "
        "fields) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'accepted', ?, ?, ?, ?, ?)",
        (
            *(number, uid, workspace, contact, key, label),
            email_key_or(label, natural_key),
            subject if isinstance(subject, str) else None,
            *(at, at, at, searchable(label, fields), text),
        ),
    )


def compare_emails_anew(store: Store) -> None:
    """Brings stored natural keys to the comparison of today. (A later one will need a
    step of its own, which may do the same once more.) Two contacts that become one are
    kept apart: the later one keeps its key, by which nobody can ask any more."""
    for row in addresses_with_more(store):
        number, uid, workspace, label, old = row
        key = email_key_or(label, old)
        if key == old:
            continue
        taken = "SELECT uid FROM contact WHERE workspace_id = ? AND natural_key = ?"
        other = store.row(taken, (workspace, key))
        if other:
            log.warning(TWINS, uid, other[0])
        else:
            change = "UPDATE contact SET natural_key = ? WHERE id = ?"
            store.run(change, (key, number))


# Not released yet: a part may still be added.
SCHEMA_2 = (
    KEYS_THAT_STAY,
    UIDS_WITHOUT_INDEX,
    make_uid_secret,
    EVENTS_THAT_REST,
    EVENTS_RESTATED,
    compare_emails_anew,
    SUBMISSIONS,
    move_what_was_submitted,
    EVENTS_OF_SUBMISSIONS,
    DELIVERIES,
)
# By the schema from which each leads to the next.
STEPS = {1: Step(SCHEMA_2, rewrites=True)}


def take_steps(store: Store, version: int, schema: int) -> None:
    """Inside the transaction that records the new schema."""
    steps = [STEPS[number] for number in range(version, schema)]
    log.info("%s: from schema %d to %d", store.path, version, schema)
    if any(step.rewrites for step in steps):
        copy_before(store, version)
    for part in (part for step in steps for part in step.parts):
        if callable(part):
            part(store)
        else:
            for statement in part.split(";\n"):
                store.run(statement)


def copy_before(store: Store, version: int) -> None:
    """Keeps the file beside itself as it is. Our transaction has changed nothing yet
    and lets another connection read."""
    path = f"{store.path}.schema-{version}.backup"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # an earlier try's
    with contextlib.closing(Store(store.path)) as reader:
        backup(reader, path)
    log.info("as it was it is kept in %s: delete that when all is well", path)
