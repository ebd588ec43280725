"""The obvious version with Flask, gunicorn, Peewee and SQLite.

    python flask_version.py seed DATABASE COUNT       prints the ids
    BENCH_DATABASE=DATABASE gunicorn --threads 8 --bind 127.0.0.1:PORT flask_version:app

Written as Peewee's manual has it: a connection for each request, models, `atomic`.
One gunicorn worker of 8 threads, so that one process stands beside one process. WAL
is switched on, `synchronous` stays FULL, and the upsert begins IMMEDIATE: without
that, a read that becomes a write fails at once when another writer was quicker.
"""

import hashlib
import json
import os
import sys
import uuid
from datetime import UTC, datetime, timedelta

from flask import Flask, abort, jsonify, request
from peewee import CharField, DateTimeField, Model, SqliteDatabase, TextField
from sample import TOKEN_HASH, contact

PRAGMAS = {"journal_mode": "wal", "synchronous": "full"}

app = Flask(__name__)
db = SqliteDatabase(None, pragmas=PRAGMAS)
if "BENCH_DATABASE" in os.environ:
    db.init(os.environ["BENCH_DATABASE"])


class Key(Model):
    hash = CharField(primary_key=True)

    class Meta:
        database = db


class Contact(Model):
    id = CharField(primary_key=True)
    email = CharField(unique=True)
    fields = TextField()
    created_at = DateTimeField(index=True)
    updated_at = DateTimeField()

    class Meta:
        database = db

    def shown(self) -> dict:
        return {
            "id": self.id,
            "email": self.email,
            **json.loads(self.fields),
            "created_at": self.created_at.isoformat(timespec="seconds") + "Z",
            "updated_at": self.updated_at.isoformat(timespec="seconds") + "Z",
        }


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


@app.before_request
def connect_and_check_key():
    if request.path == "/healthz":
        return
    db.connect()
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if Key.get_or_none(hash=hashlib.sha256(token.encode()).hexdigest()) is None:
        abort(401)


@app.teardown_request
def disconnect(error):
    if not db.is_closed():
        db.close()


def found(contact_id: str) -> Contact:
    return Contact.get_or_none(id=contact_id) or abort(404)


@app.get("/healthz")
def health():
    return {"status": "ok"}


@app.get("/v1/contacts")
def get_list():
    page = max(1, request.args.get("page", 1, type=int))
    page_size = min(100, max(1, request.args.get("page_size", 20, type=int)))
    newest = Contact.select().order_by(Contact.created_at.desc())
    total = newest.count()
    return jsonify(
        data=[row.shown() for row in newest.paginate(page, page_size)],
        page=page,
        page_size=page_size,
        total=total,
        total_pages=-(-total // page_size),
    )


@app.get("/v1/contacts/<contact_id>")
def get_one(contact_id):
    return found(contact_id).shown()


@app.post("/v1/contacts")
def upsert():
    body = request.get_json()
    email = body.pop("email", None)
    if not isinstance(email, str) or "@" not in email:
        abort(400)
    with db.atomic("IMMEDIATE"):
        row = Contact.get_or_none(email=email)
        if row is None:
            row = Contact.create(
                id=uuid.uuid4().hex,
                email=email,
                fields=json.dumps(body),
                created_at=now(),
                updated_at=now(),
            )
        else:
            write_over(row, body)
    return row.shown(), 201


@app.patch("/v1/contacts/<contact_id>")
def patch(contact_id):
    body = request.get_json()
    with db.atomic("IMMEDIATE"):
        row = found(contact_id)
        row.email = body.pop("email", row.email)
        write_over(row, body)
    return row.shown()


def write_over(row: Contact, body: dict) -> None:
    row.fields = json.dumps({**json.loads(row.fields), **body})
    row.updated_at = now()
    row.save()


def seed(count: int) -> None:
    """Fill an empty database and print the ids, one a line."""
    db.create_tables([Key, Contact])
    start = now() - timedelta(days=1)
    with db.atomic():
        Key.create(hash=TOKEN_HASH)
        for number in range(count):
            fields = contact(number)
            time = start + timedelta(milliseconds=number)
            row = Contact.create(
                id=uuid.uuid4().hex,
                email=fields.pop("email"),
                fields=json.dumps(fields),
                created_at=time,
                updated_at=time,
            )
            print(row.id)


if __name__ == "__main__":
    db.init(sys.argv[2])
    seed(int(sys.argv[3]))
