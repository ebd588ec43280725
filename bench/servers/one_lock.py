"""The baseline of the slow-disk test: one lock, and one commit for each request.

    python one_lock.py PORT DATABASE

Bottle, Waitress and SQLite as contactapi has them (WAL, `synchronous=FULL`), but POST
takes a lock, writes, and commits before it lets the next one in. It checks no key and
does less than contactapi in every other way, so that only the commits tell.
"""

import json
import logging
import sqlite3
import sys
import threading
import uuid

from bottle import Bottle, request, response
from ceiling import JSON, WAITRESS
from waitress import serve

SCHEMA = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS contact (id TEXT UNIQUE, email TEXT UNIQUE, fields TEXT);
"""
UPSERT = """
    INSERT INTO contact VALUES (?, ?, ?)
    ON CONFLICT (email) DO UPDATE SET fields = excluded.fields
"""

app = Bottle()
lock = threading.Lock()


@app.get("/healthz")
def health():
    return {"status": "ok"}


@app.post("/v1/contacts")
def post():
    contact = json.loads(request.body.read())
    contact_id = uuid.uuid4().hex
    with lock:
        database.execute(UPSERT, (contact_id, contact["email"], json.dumps(contact)))
        database.commit()
    response.status = 201
    response.content_type = JSON
    return json.dumps({"id": contact_id, **contact})


if __name__ == "__main__":
    database = sqlite3.connect(sys.argv[2], check_same_thread=False)
    database.executescript(SCHEMA)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    serve(app, host="127.0.0.1", port=int(sys.argv[1]), **WAITRESS)
