"""The obvious version with FastAPI, SQLAlchemy's ORM and SQLite.

    python fastapi_version.py seed DATABASE COUNT     prints the ids
    python fastapi_version.py serve DATABASE PORT

Written as the tutorials of both have it: plain `def` endpoints, a session for each
request, pydantic where the body has a shape. WAL is switched on (the default journal
locks readers out), `synchronous` stays FULL.
"""

import hashlib
import sys
import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException, Query
from sample import TOKEN_HASH, contact
from sqlalchemy import JSON, DateTime, String, create_engine, event, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

# As many connections as FastAPI has threads: with the default of 15, at 64 connections
# every thread comes to wait for one that only another thread could give back.
engine = create_engine(f"sqlite:///{sys.argv[2]}", pool_size=40)
app = FastAPI()


@event.listens_for(engine, "connect")
def set_pragmas(connection, record):
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


class Base(DeclarativeBase):
    pass


class Key(Base):
    __tablename__ = "keys"
    hash: Mapped[str] = mapped_column(String(64), primary_key=True)


class Contact(Base):
    __tablename__ = "contacts"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    fields: Mapped[dict] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(DateTime, index=True)
    updated_at: Mapped[datetime] = mapped_column(DateTime)

    def shown(self) -> dict:
        return {
            "id": self.id,
            "email": self.email,
            **self.fields,
            "created_at": self.created_at.isoformat(timespec="seconds") + "Z",
            "updated_at": self.updated_at.isoformat(timespec="seconds") + "Z",
        }


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def session():
    with Session(engine) as current:
        yield current


Database = Annotated[Session, Depends(session)]


def caller(db: Database, authorization: Annotated[str, Header()] = "") -> Key:
    token = authorization.removeprefix("Bearer ")
    key = db.get(Key, hashlib.sha256(token.encode()).hexdigest())
    if key is None:
        raise HTTPException(401, "unknown key")
    return key


def found(db: Session, contact_id: str) -> Contact:
    contact = db.get(Contact, contact_id)
    if contact is None:
        raise HTTPException(404, "no such contact")
    return contact


@app.get("/healthz")
def health():
    return {"status": "ok"}


@app.get("/v1/contacts", dependencies=[Depends(caller)])
def get_list(
    db: Database,
    page: Annotated[int, Query(ge=1)] = 1,
    page_size: Annotated[int, Query(ge=1, le=100)] = 20,
):
    total = db.scalar(select(func.count()).select_from(Contact))
    newest = select(Contact).order_by(Contact.created_at.desc())
    rows = db.scalars(newest.offset((page - 1) * page_size).limit(page_size))
    return {
        "data": [row.shown() for row in rows],
        "page": page,
        "page_size": page_size,
        "total": total,
        "total_pages": -(-total // page_size),
    }


@app.get("/v1/contacts/{contact_id}", dependencies=[Depends(caller)])
def get_one(contact_id: str, db: Database):
    return found(db, contact_id).shown()


@app.post("/v1/contacts", status_code=201, dependencies=[Depends(caller)])
def upsert(body: dict, db: Database):
    email = body.pop("email", None)
    if not isinstance(email, str) or "@" not in email:
        raise HTTPException(400, "email must be a valid address")
    contact = db.scalar(select(Contact).where(Contact.email == email))
    if contact is None:
        contact = Contact(id=uuid.uuid4().hex, email=email, fields={}, created_at=now())
        db.add(contact)
    contact.fields = {**contact.fields, **body}
    contact.updated_at = now()
    db.commit()
    return contact.shown()


@app.patch("/v1/contacts/{contact_id}", dependencies=[Depends(caller)])
def patch(contact_id: str, body: dict, db: Database):
    contact = found(db, contact_id)
    contact.email = body.pop("email", contact.email)
    contact.fields = {**contact.fields, **body}
    contact.updated_at = now()
    db.commit()
    return contact.shown()


def seed(count: int) -> None:
    """Fill an empty database and print the ids, one a line."""
    Base.metadata.create_all(engine)
    start = now() - timedelta(days=1)
    with Session(engine) as db:
        db.add(Key(hash=TOKEN_HASH))
        for number in range(count):
            fields = contact(number)
            time = start + timedelta(milliseconds=number)
            row = Contact(
                id=uuid.uuid4().hex,
                email=fields.pop("email"),
                fields=fields,
                created_at=time,
                updated_at=time,
            )
            db.add(row)
            print(row.id)
        db.commit()


if __name__ == "__main__":
    if sys.argv[1] == "seed":
        seed(int(sys.argv[3]))
    else:
        uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[3]))
