"""Stored addresses are brought to the comparison of today (schema 1 to 2)."""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import contactapi
from contactapi import Config
from extras import upkeep

SCHEMA_1 = Path(__file__).with_name("schema-1.sql")
# Label and natural key as contactapi 1.0.0 wrote them.
STORED = [
    ("Zoë@MÜNCHEN.example", "Zoë@mÜnchen.example"),
    ("\u200bada@ü.example", "\u200bada@ü.example"),
    ("a,b@ü.example", "a,b@ü.example"),
    ("kim@x⒈y.example", "kim@x⒈y.example"),
    ("bo@Éx.example", "bo@Éx.example"),
    ("bo@éx.example", "bo@éx.example"),
    ("\ufeffplain@x.example", "\ufeffplain@x.example"),
    ("Plain@x.example", "plain@x.example"),
]


TALLY = "UPDATE tally SET total = total + 1 WHERE workspace_id = 1 AND kind = 'contact'"


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "contacts.db"
    with closing(sqlite3.connect(path)) as file:
        file.executescript(SCHEMA_1.read_text())
        for number, (label, key) in enumerate(STORED, 100):
            values = (number, f"{number:026}", label, key, number, number)
            file.execute(
                "INSERT INTO contact (id, uid, workspace_id, label, natural_key, "
                "created_at, updated_at, words, fields) "
                "VALUES (?, ?, 1, ?, ?, ?, ?, '', '{}')",
                values,
            )
            file.execute(TALLY)
        file.commit()
    return path


@pytest.fixture
def services(old, caplog):
    with caplog.at_level(logging.WARNING, "contactapi"):
        config = Config.from_env({"DATABASE_URL": f"sqlite:///{old}"})
        services = contactapi.open_services(config)
    yield services
    services.close()


def keys(services):
    sql = "SELECT label, natural_key FROM contact WHERE id >= 100 ORDER BY id"
    return services.store.rows(sql)


def test_natural_keys_become_those_of_today_and_labels_stay(services):
    assert keys(services) == [
        ("Zoë@MÜNCHEN.example", "Zoë@xn--mnchen-3ya.example".replace("Z", "z")),
        ("\u200bada@ü.example", "ada@xn--tda.example"),
        ("a,b@ü.example", "a,b@xn--tda.example"),
        ("kim@x⒈y.example", "kim@x⒈y.example"),
        ("bo@Éx.example", "bo@xn--x-9fa.example"),
        ("bo@éx.example", "bo@éx.example"),
        ("\ufeffplain@x.example", "\ufeffplain@x.example"),
        ("Plain@x.example", "plain@x.example"),
    ]


def test_two_that_become_one_are_kept_apart_and_named_without_an_address(
    services, caplog, old, shell
):
    pairs = [(105, 104), (106, 107)]
    said = [record.getMessage() for record in caplog.get_records("setup")]
    for one, other in pairs:
        line = upkeep.TWINS % (f"{one:026}", f"{other:026}")
        assert line in said and f"twins: {line}" in shell("check")[1]
    assert len(said) == len(pairs) + 1  # the frozen file has one of its own
    assert not any("@" in line or "example" in line for line in said)
    assert shell("check")[0] == 0


def test_the_one_that_gave_way_is_found_by_its_id_alone_until_they_are_one(services):
    workspace = services.workspaces.find("default")
    caller = contactapi.Caller("cli", workspace, "secret", contactapi.GRANTS["secret"])
    uid = f"{105:026}"
    records = services.contacts
    assert records.get(workspace, uid).label == "bo@éx.example"
    row = run(records, records.upsert(caller, {"email": "bo@éx.example", "n": 1}))
    assert row.uid == f"{104:026}"
    run(records, records.delete(caller, row.uid))
    assert [pair for pair in upkeep.twins(services.store) if row.uid in pair] == []
    assert records.get(workspace, uid).label == "bo@éx.example"


def run(records, work):
    """What a service gives: the row, or the work that is to be done for it."""
    return records.store.write(work) if callable(work) else work


def test_addresses_of_ascii_are_not_looked_at(services):
    labels = [row[3] for row in upkeep.addresses_with_more(services.store)]
    assert labels and not any(label.isascii() for label in labels)
