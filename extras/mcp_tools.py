"""The tools of the MCP server (extras/mcp.py), as data."""

from collections.abc import Callable
from typing import NamedTuple, Optional

from contactapi import InvalidRequest


class Tool(NamedTuple):
    """A request of the API: the arguments that stand in braces go into the path, of a
    GET all others into the query, of the others `body` makes the JSON of them."""

    name: str
    method: str
    path: str
    about: str
    arguments: dict  # JSON Schema properties
    required: tuple = ()
    body: Callable = dict
    trusted: bool = False  # whether no visitor can have written any of it
    hints: dict = {"readOnlyHint": True}

    @property
    def is_list(self) -> bool:
        return self.name.startswith(("list_", "search_"))

    def shown(self) -> dict:
        schema = {
            "type": "object",
            "properties": self.arguments,
            "required": list(self.required),
            "additionalProperties": False,
        }
        hints = {"openWorldHint": False, **self.hints}
        described = {"name": self.name, "description": self.about}
        return {**described, "inputSchema": schema, "annotations": hints}


def text(about: str = "") -> dict:
    return {"type": "string", "description": about} if about else {"type": "string"}


def whole(most: Optional[int] = None) -> dict:
    schema = {"type": "integer", "minimum": 1}
    return {**schema, "maximum": most} if most else schema


PAGES = {"page": whole(), "page_size": whole(100)}
STATE = {"type": "string", "enum": ["accepted", "held", "spam"]}
FIELDS = {"type": "object", "description": "any JSON fields, kept as sent"}
WRITES = {"readOnlyHint": False, "destructiveHint": False}
DESTROYS = {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": True}


def record_of(arguments: dict) -> dict:
    fields = arguments.pop("fields", {})
    if not isinstance(fields, dict):
        raise InvalidRequest("fields must be an object", "fields")
    return {**fields, **arguments}


TOOLS = (
    Tool(
        "list_submissions",
        *("GET", "/v1/submissions", "What visitors sent through forms, newest first."),
        {**PAGES, "state": STATE, "email": text(), "q": text("words to find")},
    ),
    Tool(
        "get_submission",
        *("GET", "/v1/submissions/{id}", "One submission.", {"id": text("sub_…")}),
        ("id",),
    ),
    Tool(
        "update_submission",
        *("PATCH", "/v1/submissions/{id}"),
        "Accept a submission (its contact is made, it is announced), or mark it spam.",
        {"id": text("sub_…"), "state": {**STATE, "enum": ["accepted", "spam"]}},
        ("id", "state"),
        hints=WRITES,
    ),
    Tool("list_contacts", "GET", "/v1/contacts", "All contacts, newest first.", PAGES),
    Tool(
        "get_contact",
        *("GET", "/v1/contacts/{id}", "One contact.", {"id": text("con_…")}, ("id",)),
    ),
    Tool(
        "create_contact",
        *("POST", "/v1/contacts"),
        "Add a contact. One with this email is updated: what is given is written over.",
        {"email": text(), "fields": FIELDS},
        ("email",),
        record_of,
        hints={**DESTROYS, "destructiveHint": False},
    ),
    Tool(
        "update_contact",
        *("PATCH", "/v1/contacts/{id}", "Change the given fields of a contact."),
        {"id": text("con_…"), "email": text(), "fields": FIELDS},
        ("id",),
        record_of,
        hints=DESTROYS,
    ),
    Tool(
        "delete_contact",
        *("DELETE", "/v1/contacts/{id}"),
        "Erase a contact with its calls, submissions and history, for ever.",
        {"id": text("con_…")},
        ("id",),
        trusted=True,
        hints=DESTROYS,
    ),
    Tool(
        "search_contacts",
        *("GET", "/v1/contacts"),
        "Contacts in whose email or text fields each of up to 5 words occurs.",
        {"query": text("at most 100 characters"), **PAGES},
        ("query",),
    ),
    Tool(
        "list_companies",
        *("GET", "/v1/companies", "All companies, newest first.", PAGES),
        trusted=True,
    ),
    Tool(
        "list_calls",
        *("GET", "/api/calls/list", "Outbound calls, newest first."),
        {"limit": whole(5000), "status": text(), "contact_id": text("con_…")},
        trusted=True,
    ),
)
BY_NAME = {tool.name: tool for tool in TOOLS}
