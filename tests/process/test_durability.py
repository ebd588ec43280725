"""What is kept, what is erased, and what comes back: with real processes.

Erasure, backups, restores, checks, imports that are killed, and a mirror that follows
the events. Everything is seen from outside, as in test_process.py.
"""

import contextlib
import csv
import json
import random
import re
import shutil
import signal
import sqlite3
import sys
import time
from itertools import count

import pytest

from client import one_line
from doubles import Mirror
from processes import (
    SCRIPT,
    Client,
    Cut,
    Server,
    Terminal,
    environment,
    modes_in,
    request_bytes,
    run,
    running,
    together,
    traces_of,
    until,
)


def post(server, body, path="/v1/contacts"):
    answer = server.ask("POST", path, body)
    assert answer.status == 201, answer
    return answer.json


def by_email(contacts):
    return {contact["email"]: contact for contact in contacts}


def busy_writer(server, name, promised):
    """For `running`: makes and updates 100 contacts, over and over, and notes in
    `promised` what was acknowledged last."""

    def writes(stopped):
        with Client(server.port) as client:
            for n in count():
                email = f"{name}-{n % 100}@busy.example"
                body = {"email": email, "n": n, "pad": "x" * 1000}
                answer = client.ask("POST", "/v1/contacts", body)
                assert answer.status == 201, answer
                promised[email] = n
                if stopped.is_set():
                    return

    return writes


# ---------------------------------------------------------------------------
# Erasure
# ---------------------------------------------------------------------------

PERSON = {
    "email": "Zanzibar.Quexley@Vexillum.Example",
    "name": "Zanzibar Quexley",
    "city": "Ytterbyholm",
    "notes": ["Wyvernwood", {"deep": "Oxyrhynchus"}],
    "Kwashnak": "a field's name is personal too",
}
CHANGES = [
    {"city": "Brobdingfjord"},
    {"name": "Zanzibar Umlautson", "notes": None},
    {"plan": "Quicksilver-9"},
]
MARKERS = [
    "zanzibar", "quexley", "vexillum", "ytterbyholm", "wyvernwood", "oxyrhynchus",
    "kwashnak", "brobdingfjord", "umlautson", "quicksilver-9", "79460018273",
]  # fmt: skip


def a_crowd(server, names, path="/v1/contacts"):
    """Makes and changes a record for each name, so that pages split and rows move."""
    dice = random.Random(8)
    with Client(server.port) as client:
        for name in names:
            body = {"email": f"{name}@crowd.example", "name": name, "pad": "p" * 50}
            answer = client.ask("POST", path, body)
            assert answer.status == 201, answer
            if dice.random() < 0.3:
                longer = {"pad": "q" * dice.randrange(400)}
                url = f"{path}/{answer.json['id']}"
                assert client.ask("PATCH", url, longer).status == 200


def a_person_amid_a_crowd(server):
    """A contact with a past and calls, and 600 others before, between and after."""
    numbers = count()

    def others(how_many):
        a_crowd(server, [f"other{next(numbers)}" for _ in range(how_many)])

    others(200)
    person = post(server, PERSON)
    others(150)
    for change in CHANGES:
        assert server.ask("PATCH", f"/v1/contacts/{person['id']}", change).status == 200
        others(50)
    for n in range(3):
        body = {"contact_id": person["id"], "phone_number": "+79460018273"}
        key = {"Idempotency-Key": f"Idem-Zanzibar-{n}"}
        assert server.ask("POST", "/api/calls/create", body, key).status == 201
    post(server, {"email": PERSON["email"].upper(), "seen": 1})
    others(100)
    return person


def forget(server, person):
    answer = server.ask("DELETE", f"/v1/contacts/{person['id']}")
    assert (answer.status, answer.json) == (200, {"id": person["id"], "deleted": True})


def all_others_are_there(server):
    contacts = by_email(server.walk())
    assert sorted(contacts) == sorted(f"other{n}@crowd.example" for n in range(600))
    assert all(f"{c['name']}@crowd.example" == email for email, c in contacts.items())


def test_after_a_delete_and_a_clean_stop_no_byte_of_the_person_is_left(serve):
    server = serve()
    person = a_person_amid_a_crowd(server)
    assert traces_of(MARKERS, server.folder)  # or the search below proves nothing
    forget(server, person)
    server.stop()
    assert traces_of(MARKERS, server.folder) == []
    assert traces_of(
        [person["id"].removeprefix("con_")], server.folder
    )  # the tombstone
    server.start()
    all_others_are_there(server)
    assert server.integrity() == "ok"


def test_a_person_deleted_before_a_crash_is_gone_after_the_next_clean_stop(serve):
    server = serve()
    forget(server, a_person_amid_a_crowd(server))
    server.kill()
    server.start()
    all_others_are_there(server)
    server.stop()
    assert traces_of(MARKERS, server.folder) == []


def test_check_compact_erases_beside_a_running_server(serve):
    server = serve()
    forget(server, a_person_amid_a_crowd(server))
    ran = run(server.env, "check", "--compact")
    assert (ran.returncode, ran.stderr) == (0, ""), ran
    assert traces_of(MARKERS, server.folder) == []
    all_others_are_there(server)
    post(server, {"email": "after@crowd.example"})
    server.kill()
    assert traces_of(MARKERS, server.folder) == []
    server.start()
    assert len(server.walk()) == 601


def test_check_compact_loses_no_write_of_a_running_server(serve):
    server = serve()
    a_crowd(server, [f"other{n}" for n in range(300)])
    promised = {}
    with running(*[busy_writer(server, f"w{n}", promised) for n in range(4)]):
        assert until(lambda: len(promised) >= 40)
        for _ in range(3):
            ran = run(server.env, "check", "--compact")
            assert (ran.returncode, ran.stderr) == (0, ""), ran
    stored = by_email(server.walk())
    assert {email: stored[email]["n"] for email in promised} == promised
    assert len(stored) == 300 + len(promised)
    assert server.integrity() == "ok"


def people_who_leave_copies(server):
    """Makes and deletes 400 people amid 300 others, in random order, and returns the
    names of the 400. SQLite's `secure_delete` alone misses about one in a hundred: a
    page that was split keeps a copy of what moved."""
    dice = random.Random(4)
    names = [f"Quexley{n:03}" for n in range(400)] + [f"other{n}" for n in range(300)]
    dice.shuffle(names)
    ids = {}
    with Client(server.port) as client:
        for name in names:
            email = f"{dice.randrange(10**6)}{name}@crowd.example"
            body = {"email": email, "name": name, "pad": "p" * dice.randrange(400)}
            ids[name] = client.ask("POST", "/v1/contacts", body).json["id"]
            if dice.random() < 0.5:
                longer = {"pad": "q" * dice.randrange(1200)}
                url = f"/v1/contacts/{ids[dice.choice(list(ids))]}"
                assert client.ask("PATCH", url, longer).status == 200
        people = [name for name in names if name.startswith("Quexley")]
        for name in people:
            assert client.ask("DELETE", f"/v1/contacts/{ids[name]}").status == 200
    return people


def names_stored(server):
    return sorted(contact["name"] for contact in server.walk())


OTHERS = sorted(f"other{n}" for n in range(300))


def test_a_clean_stop_erases_what_split_pages_left_behind(serve):
    server = serve()
    people = people_who_leave_copies(server)
    server.stop()
    assert traces_of(people, server.folder) == []
    server.start()
    assert names_stored(server) == OTHERS


def test_check_compact_erases_what_split_pages_left_behind(serve):
    server = serve()
    people = people_who_leave_copies(server)
    ran = run(server.env, "check", "--compact")
    assert (ran.returncode, ran.stderr) == (0, ""), ran
    assert traces_of(people, server.folder) == []
    assert names_stored(server) == OTHERS


def test_a_rewrite_that_fails_is_made_up_for_at_the_next_clean_stop(serve):
    server = serve()
    people = people_who_leave_copies(server)
    with contextlib.closing(sqlite3.connect(server.database)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    # A little can be written, but not the whole database again.
    server.limit_file_size(300_000)
    server.stop()
    server.start()
    server.stop()
    assert traces_of(people, server.folder) == []
    server.start()
    assert names_stored(server) == OTHERS


def test_a_rewrite_that_is_killed_is_made_up_for_at_the_next_clean_stop(serve):
    server = serve()
    people = people_who_leave_copies(server)
    for moment in (0.0, 0.005, 0.01, 0.02, 0.03, 0.05):
        server.signal(signal.SIGTERM)
        time.sleep(moment)
        server.kill()
        server.start()
    server.stop()
    assert traces_of(people, server.folder) == []
    server.start()
    assert names_stored(server) == OTHERS


def test_the_subject_export_holds_all_that_a_delete_erases(serve):
    server = serve()
    person = a_person_amid_a_crowd(server)
    url = f"/v1/contacts/{person['id']}"
    export = server.ask("GET", f"{url}/export").json
    assert export["contact"] == server.ask("GET", url).json
    assert [call["phone_number"] for call in export["calls"]] == ["+79460018273"] * 3
    shown = json.dumps(export).lower()
    assert [text for text in MARKERS if text not in shown] == []
    forget(server, person)
    for gone in (url, f"{url}/export", f"{url}/history"):
        assert server.ask("GET", gone).status == 404
    assert server.ask("GET", "/api/calls/list").json["data"]["total"] == 0


def test_commands_beside_a_busy_server_do_their_work_and_say_nothing(serve, tmp_path):
    server = serve()
    gone = [post(server, {"email": f"gone{n}@x.org"}) for n in range(8)]
    promised = {}
    with running(*[busy_writer(server, f"w{n}", promised) for n in range(8)]):
        assert until(lambda: len(promised) >= 100)
        for n, person in enumerate(gone):
            forget(server, person)
            for arguments in (
                ["keys", "create", "--type", "secret"],
                ["keys", "list"],
                ["export", tmp_path / f"{n}.jsonl"],
                ["backup", tmp_path / f"{n}.db"],
            ):
                ran = run(server.env, *arguments)
                assert (ran.returncode, ran.stderr) == (0, ""), ran
    assert "locked" not in server.output.decode()


def test_erasing_a_history_erases_past_values_and_keeps_the_contact(serve):
    server = serve()
    person = a_person_amid_a_crowd(server)
    url = f"/v1/contacts/{person['id']}"
    before = server.ask("GET", url).json
    assert server.ask("DELETE", f"{url}/history").status == 200
    assert server.ask("GET", f"{url}/history").json["data"] == []
    server.stop()
    past = ["ytterbyholm", "wyvernwood", "oxyrhynchus"]
    assert traces_of(past, server.folder) == []
    server.start()
    assert server.ask("GET", url).json == before


def test_a_deleted_company_is_erased_too(serve):
    server = serve()
    company = {"name": "Zanzibar Zeppelins", "motto": "Quicksilver-9"}
    made = post(server, company, "/v1/companies")
    for n in range(100):
        post(server, {"name": f"Company {n}"}, "/v1/companies")
    change = {"city": "Ytterbyholm"}
    url = f"/v1/companies/{made['id']}"
    assert server.ask("PATCH", url, change).status == 200
    assert server.ask("DELETE", url).json == {"id": made["id"], "deleted": True}
    server.stop()
    assert traces_of(["zanzibar", "quicksilver-9", "ytterbyholm"], server.folder) == []
    server.start()
    names = {company["name"] for company in server.walk("/v1/companies")}
    assert names == {f"Company {n}" for n in range(100)}


# ---------------------------------------------------------------------------
# Backup, restore, check
# ---------------------------------------------------------------------------


def test_a_backup_beside_8_writers_holds_all_that_was_acknowledged(serve, tmp_path):
    server = serve()
    promised, copy = {}, tmp_path / "copy.db"
    with running(*[busy_writer(server, f"w{n}", promised) for n in range(8)]):
        assert until(lambda: len(promised) >= 400)
        before = dict(promised)
        ran = run(server.env, "backup", copy)
        assert (ran.returncode, ran.stderr) == (0, ""), ran
    assert modes_in(tmp_path)["copy.db"] == "0o600"
    verified = run(server.env, "backup", "--verify", copy)
    assert (verified.returncode, verified.stderr) == (0, ""), verified
    with contextlib.closing(sqlite3.connect(copy)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"

    restored = Server(tmp_path / "restored")
    shutil.copy(copy, restored.database)
    try:
        stored = by_email(restored.start().walk())
    finally:
        restored.kill()
    assert set(before) <= set(stored)
    assert all(stored[email]["n"] >= n for email, n in before.items())


def test_a_backup_of_a_stopped_server_is_whole(serve, tmp_path):
    server = serve()
    post(server, {"email": "a@x.org"})
    server.stop()
    copy = tmp_path / "copy.db"
    assert run(server.env, "backup", copy).returncode == 0
    assert run(server.env, "backup", "--verify", copy).returncode == 0
    server.start()
    assert server.ask("GET", "/v1/contacts").json["total"] == 1


@pytest.mark.parametrize(
    "how", ["garbage", "cut short", "not there", "another database"]
)
def test_verify_refuses_what_is_no_backup(serve, tmp_path, how):
    server = serve()
    a_crowd(server, [f"other{n}" for n in range(100)])
    copy = tmp_path / "copy.db"
    assert run(server.env, "backup", copy).returncode == 0
    if how == "garbage":
        copy.write_bytes(random.Random(1).randbytes(20_000))
    elif how == "cut short":
        copy.write_bytes(copy.read_bytes()[:-30_000])
    elif how == "not there":
        copy.unlink()
    else:
        copy.unlink()
        with contextlib.closing(sqlite3.connect(copy)) as db:
            db.execute("CREATE TABLE other (thing)")
            db.commit()
    verified = run(server.env, "backup", "--verify", copy)
    assert (verified.returncode, one_line(verified.stderr)) == (1, True), verified
    assert copy.exists() == (how != "not there")


@pytest.mark.parametrize("command", ["backup", "export"])
@pytest.mark.parametrize("name", ["there.db", "there.csv", "there.jsonl"])
def test_a_file_that_exists_is_never_overwritten(serve, tmp_path, command, name):
    if command == "export" and name.endswith(".db"):
        name = "there.CSV"
    server = serve()
    (tmp_path / name).write_text("precious")
    ran = run(server.env, command, tmp_path / name)
    assert (ran.returncode, one_line(ran.stderr)) == (1, True), ran
    assert name in ran.stderr
    assert (tmp_path / name).read_text() == "precious"


def test_the_restore_recipe_brings_the_backups_state_back(serve, tmp_path):
    server = serve()
    post(server, {"email": "before@x.org", "n": 1})
    assert run(server.env, "backup", tmp_path / "copy.db").returncode == 0
    post(server, {"email": "before@x.org", "n": 2})
    post(server, {"email": "after@x.org"})
    server.stop()
    shutil.copy(tmp_path / "copy.db", server.database)
    server.start()
    contacts = by_email(server.walk())
    assert {email: contact.get("n") for email, contact in contacts.items()} == {
        "before@x.org": 1
    }
    post(server, {"email": "later@x.org"})
    assert server.integrity() == "ok"


def test_check_finds_a_healthy_database_healthy(serve):
    server = serve()
    a_crowd(server, [f"other{n}" for n in range(100)])
    for _ in range(2):  # beside a running server, and after its stop
        ran = run(server.env, "check")
        assert (ran.returncode, ran.stderr) == (0, ""), ran
        assert ran.stdout.count("\n") >= 1
        if server.process.poll() is None:
            server.stop()


def test_check_finds_a_damaged_database_damaged(serve):
    server = serve()
    a_crowd(server, [f"other{n}" for n in range(400)])
    server.stop()
    data = bytearray(server.database.read_bytes())
    for page in range(4, len(data) // 4096):
        data[page * 4096 + 2000 : page * 4096 + 3000] = random.Random(page).randbytes(
            1000
        )
        data[page * 4096 : page * 4096 + 8] = b"\x0d" + b"\xff" * 7
    server.database.write_bytes(data)
    ran = run(server.env, "check")
    assert ran.returncode == 1, ran
    assert "Traceback" not in ran.stdout + ran.stderr
    assert one_line(ran.stderr), ran.stderr


def test_check_finds_a_count_that_is_wrong(serve):
    server = serve()
    a_crowd(server, [f"other{n}" for n in range(20)])
    server.stop()
    with contextlib.closing(sqlite3.connect(server.database)) as db:
        [table] = [
            name
            for (name,) in db.execute(
                "SELECT name FROM sqlite_master WHERE type='table'"
            )
            if name.lower() in ("contact", "contacts")
        ]
        db.execute(
            f"DELETE FROM {table} WHERE rowid = (SELECT max(rowid) FROM {table})"
        )
        db.commit()
    ran = run(server.env, "check")
    assert (ran.returncode, "Traceback" in ran.stdout + ran.stderr) == (1, False), ran


# ---------------------------------------------------------------------------
# Imports and exports
# ---------------------------------------------------------------------------

MANY = 100_000


@pytest.fixture(scope="module")
def many_lines(tmp_path_factory):
    """A JSONL file of 100,000 contacts, some of which share a second."""
    path = tmp_path_factory.mktemp("lines") / "many.jsonl"
    with path.open("w") as file:
        for n in range(MANY):
            at = f"2024-01-{n // 5000 + 1:02}T10:00:00Z"
            line = {"email": f"line{n}@many.example", "n": n, "created_at": at}
            file.write(json.dumps(line) + "\n")
    return path


def import_command(path):
    return [sys.executable, str(SCRIPT), "import", str(path)]


def lines_shown(terminal):
    """The numbers of lines that a progress bar has shown."""
    return [int(digits) for digits in re.findall(r"(\d+) lines", terminal.shown)]


def test_a_killed_import_keeps_what_it_reported_and_can_run_again(
    tmp_path, serve, many_lines
):
    env = environment(tmp_path / "data")
    (tmp_path / "data").mkdir()
    with Terminal(import_command(many_lines), env) as terminal:
        assert until(lambda: lines_shown(terminal)), terminal.shown
        terminal.process.send_signal(signal.SIGKILL)
        assert terminal.exit_status() == -signal.SIGKILL
    reported = max(lines_shown(terminal))

    server = serve(tmp_path / "data")
    total = server.ask("GET", "/v1/contacts").json["total"]
    assert reported <= total < MANY
    assert server.integrity() == "ok"
    again = run(server.env, "import", many_lines, timeout=300)
    assert (again.returncode, again.stderr) == (0, ""), again
    lines = server.ask("GET", "/v1/contacts.jsonl").body.splitlines()
    assert sorted(json.loads(line)["n"] for line in lines) == list(range(MANY))
    newest = server.ask("GET", "/v1/contacts").json["data"][0]
    assert newest["created_at"] == "2024-01-20T10:00:00Z"
    checked = run(server.env, "check", timeout=300)
    assert checked.returncode == 0, checked


def test_an_import_beside_a_running_server_refuses_none_of_its_writes(
    serve, many_lines
):
    server = serve()
    statuses = []

    def write(name):
        def writes(stopped):
            with Client(server.port) as client:
                for n in count():
                    body = {"email": f"{name}-{n}@live.example", "n": n}
                    answer = client.ask("POST", "/v1/contacts", body)
                    statuses.append(answer.status)
                    if stopped.is_set():
                        return

        return writes

    with running(write("w0"), write("w1")):
        assert until(lambda: len(statuses) > 20)
        before = len(statuses)
        ran = run(server.env, "import", many_lines, timeout=300)
        during = len(statuses) - before
    assert (ran.returncode, ran.stderr) == (0, ""), ran
    assert set(statuses) == {201}
    assert during > 20
    total = server.ask("GET", "/v1/contacts").json["total"]
    assert total == MANY + len(statuses)
    mail = "line99999@many.example"
    assert (
        server.ask("GET", f"/v1/contacts?email={mail}").json["data"][0]["n"] == 99_999
    )
    assert server.integrity() == "ok"


def test_contacts_survive_an_export_and_an_import_exactly(serve, tmp_path):
    source, target = serve(), serve()
    texts = ["=1+1", "'=x", "''=x", "-1", "@x", "[1]", "{}", "'", " x ", "", "a\r\nb"]
    values = [*texts, "Zoë 💩", "\u0000", None, True, 1.5, 10**40, [1, {}], {"a": "b"}]
    for n, value in enumerate(values):
        post(source, {"email": f"v{n}@values.example", "value": value, "é": "ü"})
    out = run(source.env, "export", tmp_path / "all.jsonl")
    assert (out.returncode, out.stderr) == (0, ""), out
    back = run(target.env, "import", tmp_path / "all.jsonl")
    assert (back.returncode, back.stderr) == (0, ""), back

    def comparable(server):
        return [{**contact, "id": None} for contact in server.walk()]

    assert comparable(target) == comparable(source)
    assert modes_in(tmp_path)["all.jsonl"] == "0o600"


def test_texts_survive_csv_and_a_spreadsheets_way_of_saving(serve, tmp_path):
    source, target, third = serve(), serve(), serve()
    texts = [
        "=1+1", "'=x", "''=x", "+1", "-1", "@x", "\tx", "\rx", "[1]", "{}", "'", "''",
        " x ", "a\r\nb", 'say "hi"', "a,b;c", "Zoë 💩", "null", "true", "007",
    ]  # fmt: skip
    for n, text in enumerate(texts):
        post(source, {"email": f"t{n}@texts.example", "text": text})
    assert run(source.env, "export", tmp_path / "all.csv").returncode == 0
    assert run(target.env, "import", tmp_path / "all.csv").returncode == 0
    got = by_email(target.walk())
    assert [got[f"t{n}@texts.example"]["text"] for n in range(len(texts))] == texts

    with (tmp_path / "all.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["id", "email", "created_at", "updated_at", "text"]
    assert not [row for row in rows if row[4][:1] in tuple("=+-@\t\r")]
    rows[0][1] = "Email"
    with (tmp_path / "saved.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=";").writerows(rows)
    assert run(third.env, "import", tmp_path / "saved.csv").returncode == 0
    got = by_email(third.walk())
    # What a spreadsheet leaves without quotes loses its space at the beginning.
    texts[texts.index(" x ")] = "x "
    assert [got[f"t{n}@texts.example"]["text"] for n in range(len(texts))] == texts


def test_bad_lines_of_an_import_are_named_and_stop_nothing(serve, tmp_path):
    server = serve()
    lines = [
        b'{"email": "one@lines.example"}',
        b"not json",
        b'{"name": "no email"}',
        b'{"email": "\xff\xfe@lines.example"}',
        b'{"email": "future@lines.example", "created_at": "2999-01-01T00:00:00Z"}',
        b'{"email": "two@lines.example"}',
    ]
    (tmp_path / "some.jsonl").write_bytes(b"\n".join(lines))
    headers = {"Content-Type": "application/jsonl"}
    answer = server.ask("POST", "/v1/contacts.jsonl", b"\n".join(lines), headers)
    assert answer.status == 200, answer
    tally = answer.json
    assert (tally["created"], tally["updated"], tally["failed"]) == (3, 0, 3)
    assert [error["line"] for error in tally["errors"]] == [2, 3, 4]
    assert [warning["line"] for warning in tally["warnings"]] == [5]
    ran = run(server.env, "import", tmp_path / "some.jsonl")
    assert "Traceback" not in ran.stdout + ran.stderr
    names = {f"{name}@lines.example" for name in ("one", "future", "two")}
    assert set(by_email(server.walk())) == names
    events = server.ask("GET", "/v1/events").json["data"]
    assert [event["type"] for event in events] == ["contact.created"] * 3


def test_a_stop_cuts_an_export_off_without_its_closing_chunk(serve, many_lines):
    server = serve()
    assert run(server.env, "import", many_lines, timeout=300).returncode == 0
    with server.wire(receive_buffer=16_384) as wire:
        wire.send(request_bytes("GET", "/v1/contacts.jsonl"))
        assert wire.stream.peek(1)[:1] == b"H"
        server.signal(signal.SIGTERM)
        cut = False
        try:
            answer = wire.read()
        except (Cut, ConnectionResetError):
            cut = True
        assert cut or len(answer.body.splitlines()) == MANY
    assert server.exit_status() == 0


def test_a_stop_ends_an_import_after_the_batch_in_hand(serve, many_lines):
    server = serve()
    data = many_lines.read_bytes()
    head = request_bytes(
        "POST",
        "/v1/contacts.jsonl",
        headers=["Content-Type: application/jsonl", f"Content-Length: {len(data)}"],
    )

    def some_are_stored():
        return server.ask("GET", "/v1/contacts").json["total"] > 0

    with server.wire() as wire:
        wire.send(head + data)
        assert until(some_are_stored)
        server.signal(signal.SIGTERM)
        answer = wire.read()
        assert server.exit_status() == 0
    server.start()
    assert answer.status == 503, answer
    assert 0 < server.ask("GET", "/v1/contacts").json["total"] < MANY
    assert server.integrity() == "ok"
    assert run(server.env, "check", timeout=300).returncode == 0


# ---------------------------------------------------------------------------
# Events
# ---------------------------------------------------------------------------


def test_a_mirror_that_follows_the_events_ends_equal_to_the_source(serve):
    server = serve()
    mirror = Mirror(lambda path: server.ask("GET", path).json)

    def write(name):
        dice, ids = random.Random(name), {}

        def put(client, n):
            email = f"{name}-{dice.randrange(30)}@mirror.example"
            answer = client.ask("POST", "/v1/contacts", {"email": email, "n": n})
            assert answer.status == 201, answer
            ids[email] = answer.json["id"]

        def change(client, n):
            url = f"/v1/contacts/{ids[dice.choice(sorted(ids))]}"
            assert client.ask("PATCH", url, {"m": n}).status == 200

        def delete(client, n):
            url = f"/v1/contacts/{ids.pop(dice.choice(sorted(ids)))}"
            assert client.ask("DELETE", url).status == 200

        def writes():
            with Client(server.port) as client:
                for n in range(250):
                    actions = [put, put, change, change, delete] if ids else [put]
                    dice.choice(actions)(client, n)

        return writes

    def follow(stopped):
        while not stopped.is_set():
            mirror.follow(random.choice([1, 7, 100, 1000]))

    with running(follow):
        together(*[write(f"w{n}") for n in range(8)])
    mirror.catch_up(1000)
    assert len(set(mirror.seen)) == len(mirror.seen) > 1000
    source = {contact["id"]: contact for contact in server.walk()}
    assert len(source) > 50
    assert mirror.copy == source


def test_a_mirror_goes_on_where_it_was_after_a_crash(serve):
    server = serve()
    mirror = Mirror(lambda path: server.ask("GET", path).json)
    for n in range(20):
        post(server, {"email": f"m{n}@mirror.example"})
    mirror.catch_up(3)
    gone = server.ask("GET", "/v1/contacts?email=m19@mirror.example").json["data"][0]
    forget(server, gone)  # the position that the mirror holds is erased
    server.kill()
    server.start()
    post(server, {"email": "m3@mirror.example", "n": 3})
    mirror.catch_up(3)
    assert mirror.copy == {contact["id"]: contact for contact in server.walk()}
