"""What is deleted when: by time, and for good."""

import contextlib
import sqlite3
import stat
import time

import pytest

import contactapi
from client import (
    DAY,
    PAGE,
    at,
    exported,
    failure,
    feed,
    files_of,
    history,
    jsonl,
    keep_house,
    upload,
)
from extras.upkeep import verify


@pytest.fixture
def utc(monkeypatch):
    """Nights are local."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_contacts_that_nobody_touched_are_deleted(free):
    old, patched, posted, submitted = free.add(*(f"{n}@x.org" for n in "abcd"))
    free.post({"name": "Acme"}, path="/v1/companies")
    other = free.key("secret", workspace="other")
    free.post({"email": "e@x.org"}, key=other)
    housekeeper = keep_house(free, CONTACTAPI_RETENTION_DAYS="30")
    free.turn(10 * DAY)
    free.patch(patched, {"n": 1})
    free.post({"email": "c@x.org"})
    public = free.key("publishable")
    free.post({"email": "d@x.org"}, key=public, headers=PAGE)
    free.turn(20 * DAY)
    housekeeper.tick()
    assert len(free.emails()) == 4
    free.turn(DAY)
    housekeeper.tick()
    assert sorted(free.emails()) == ["b@x.org", "c@x.org", "d@x.org"]
    assert free.get("/v1/contacts", key=other).json["total"] == 0
    assert free.get("/v1/companies").json["total"] == 1
    newest = feed(free)["data"][-1]
    assert shows_all(newest, type="contact.deleted", record=old, key="retention")
    assert old not in {e["record"] for e in feed(free)["data"][:-1]}
    assert not {posted, submitted} & {newest["record"]}
    assert free.get("/v1/stats").json["contacts"] == 3


def shows_all(document, **expected):
    return {name: document[name] for name in expected} == expected


def test_without_retention_nobody_is_deleted(free):
    free.add("a@x.org")
    housekeeper = keep_house(free)
    free.turn(5000 * DAY)
    housekeeper.tick()
    assert free.emails() == ["a@x.org"]


def test_retention_takes_more_than_a_batch_at_once(free):
    upload(free, jsonl(*({"email": f"u{n}@x.org"} for n in range(450))))
    housekeeper = keep_house(free, CONTACTAPI_RETENTION_DAYS="1")
    free.turn(2 * DAY)
    free.add("new@x.org")
    housekeeper.tick()
    assert free.emails() == ["new@x.org"]
    assert free.get("/v1/contacts").json["total"] == 1


def test_events_expire_after_365_days_or_as_it_is_set(free):
    (ref,) = free.add("a@x.org")
    free.turn(10 * DAY)
    free.patch(ref, {"n": 1})
    first, second = feed(free)["data"]
    free.turn(355 * DAY + 1)
    keep_house(free).tick()
    assert feed(free)["data"] == [second]
    assert history(free, ref) == [second]
    assert free.emails() == ["a@x.org"]
    keep_house(free, CONTACTAPI_HISTORY_DAYS="355").tick()
    assert feed(free)["data"] == []
    answer = free.get(f"/v1/events?after={first['id']}")
    assert failure(answer) == (400, "invalid_cursor", "after")
    assert "read everything again" in answer.json["error"]["message"]
    assert feed(free, f"?after={second['id']}")["data"] == []


def test_a_position_before_what_expiry_kept_is_an_invalid_cursor(free):
    a, b, c = free.add("a@x.org", "b@x.org", "c@x.org")
    places = [e["id"] for e in feed(free)["data"]]
    free.turn(366 * DAY)
    (d,) = free.add("d@x.org")
    keep_house(free).tick()
    for place in ("evt_" + "0" * 26, *places[:2]):
        answer = free.get(f"/v1/events?after={place}")
        assert failure(answer) == (400, "invalid_cursor", "after")
    assert [e["record"] for e in feed(free, f"?after={places[2]}")["data"]] == [d]
    assert [e["record"] for e in feed(free)["data"]] == [d]


def test_a_mirror_of_a_quiet_workspace_goes_on_after_everything_expired(free):
    free.add("a@x.org")
    free.turn(366 * DAY)
    keep_house(free).tick()
    start = feed(free)["next_after"]
    (ref,) = free.add("b@x.org")
    assert [e["record"] for e in feed(free, f"?after={start}")["data"]] == [ref]


def test_what_expires_in_one_workspace_is_nothing_to_another(free):
    other = free.key("secret", workspace="other")
    free.post({"email": "a@x.org"}, key=other)
    place = feed(free, key=other)["next_after"]
    free.add("b@x.org")
    free.turn(366 * DAY)
    keep_house(free).tick()
    assert feed(free, f"?after={place}", key=other)["data"] == []


def test_idempotent_answers_are_forgotten_after_24_hours(free):
    (ref,) = free.add("a@x.org")
    body = {"contact_id": ref, "phone_number": "+442012345678"}
    free.post(body, path="/api/calls/create", headers={"Idempotency-Key": "k"})
    housekeeper = keep_house(free)
    free.turn(DAY + 3600)
    housekeeper.tick()
    assert free.services.store.row("SELECT count(*) FROM answer") == (0,)


def nights(api, housekeeper, count):
    """The clock goes on by the hour for so many days, and the housekeeper ticks."""
    for _ in range(24 * count):
        api.turn(3600)
        housekeeper.tick()


def test_every_night_makes_a_backup_and_seven_are_kept(utc, make, tmp_path):
    api = make(CONTACTAPI_RATE_LIMIT="off")
    folder = tmp_path / "backups"
    folder.mkdir()
    others = ["notes.txt", "contactapi-2020-01-01.db.gz", "x-contactapi-2020-01-01.db"]
    for name in others:
        (folder / name).write_text("mine")
    housekeeper = keep_house(api, CONTACTAPI_BACKUP_DIR=str(folder))
    for night in range(1, 10):
        api.add(f"u{night}@x.org")
        nights(api, housekeeper, 1)
    made = sorted(p.name for p in folder.iterdir() if p.name not in others)
    assert made == [f"contactapi-2026-07-{day:02}.db" for day in range(7, 14)]
    for number, name in enumerate(made, 3):
        path = folder / name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        verify(str(path))
        with contextlib.closing(sqlite3.connect(path)) as other:
            found = other.execute("SELECT count(*) FROM contact").fetchone()
        assert found == (number,)
    assert all((folder / name).read_text() == "mine" for name in others)


@pytest.mark.parametrize("hour", [0, 1, 2])
def test_a_server_that_is_started_in_the_night_makes_that_nights_backup(
    utc, make, tmp_path, hour
):
    api = make()
    api.turn(at(f"2026-07-05T{hour:02}:30:00") - at("2026-07-04T10:00:00"))
    (tmp_path / "backups").mkdir()
    housekeeper = keep_house(api, CONTACTAPI_BACKUP_DIR=str(tmp_path / "backups"))
    for _ in range(6):
        housekeeper.tick()
        api.turn(3600)
    made = [path.name for path in (tmp_path / "backups").iterdir()]
    assert made == ["contactapi-2026-07-05.db"]


def test_a_server_that_is_started_by_day_makes_no_backup_before_the_night(
    utc, make, tmp_path
):
    api = make()
    (tmp_path / "backups").mkdir()
    housekeeper = keep_house(api, CONTACTAPI_BACKUP_DIR=str(tmp_path / "backups"))
    for _ in range(13):
        housekeeper.tick()
        api.turn(3600)
    assert list((tmp_path / "backups").iterdir()) == []


def test_two_processes_that_share_a_backup_folder_do_not_fail(utc, make, tmp_path):
    one = make()
    two = make(like=one)
    (tmp_path / "backups").mkdir()
    both = [
        keep_house(a, CONTACTAPI_BACKUP_DIR=f"{tmp_path}/backups") for a in (one, two)
    ]
    one.turn(DAY)
    for housekeeper in both:
        housekeeper.tick()
    assert len(list((tmp_path / "backups").iterdir())) == 1


# -- erasure

OTHERS = [f"other{n}@keeps.example" for n in range(300)]


def a_crowd_and_a_person(api, company=False):
    """Enough neighbours for pages to split; the person's id, and every trace."""
    kind, name = ("companies", "name") if company else ("contacts", "email")
    half = len(OTHERS) // 2
    rows = [{name: label, "note": label * 20, "n": i} for i, label in enumerate(OTHERS)]
    upload(api, jsonl(*rows[:half]), f"/v1/{kind}.jsonl")
    sent = {name: "zelda-one@gone.example", "city": "qoldcityq", "tag": "qfieldq " * 40}
    made = api.post(sent, path=f"/v1/{kind}").json
    upload(api, jsonl(*rows[half:]), f"/v1/{kind}.jsonl")
    path = f"/v1/{kind}/{made['id']}"
    for n in range(30):
        api.ask("PATCH", path, {"city": f"qcity{n}q", "pad": "qpadq" * (n * 20)})
        api.post({name: OTHERS[n], "again": "x" * 200}, path=f"/v1/{kind}")
    api.ask("PATCH", path, {name: "zelda-two@gone.example"})
    marks = ["zelda-one", "zelda-two", "gone.example", "qoldcityq", "qfieldq"]
    return made["id"], marks + ["qpadq"] + [f"qcity{n}q" for n in range(30)]


def traces(marks, folder):
    found = files_of(folder).lower()
    return [mark for mark in marks if mark.encode() in found]


def all_others_are_in(folder):
    found = files_of(folder).lower()
    return all(label.encode() in found for label in OTHERS)


def test_after_a_deletion_and_a_clean_stop_no_file_holds_a_byte_of_the_person(
    free, tmp_path
):
    ref, marks = a_crowd_and_a_person(free)
    public = free.key("publishable", existing="keep")
    sent = {"email": "zelda-two@gone.example", "city": "qsubmittedq"}
    free.post(sent, key=public, headers=PAGE)
    call = {"contact_id": ref, "phone_number": "+442079460123", "from_number": "+4999"}
    made = free.post(
        call, path="/api/calls/create", headers={"Idempotency-Key": "qidempotentq"}
    )
    free.ask("PATCH", f"/api/calls/{made.json['data']['id']}", {"status": "completed"})
    marks += [
        "qsubmittedq",
        "442079460123",
        "qidempotentq",
        made.json["data"]["id"][5:],
    ]
    assert traces(marks, tmp_path) == marks
    assert free.ask("DELETE", f"/v1/contacts/{ref}").status_int == 200
    free.close()
    assert traces(marks, tmp_path) == [] and all_others_are_in(tmp_path)


def test_after_a_companys_deletion_and_a_clean_stop_no_file_holds_a_byte_of_it(
    free, tmp_path
):
    ref, marks = a_crowd_and_a_person(free, company=True)
    assert traces(marks, tmp_path) == marks
    free.ask("DELETE", f"/v1/companies/{ref}")
    free.close()
    assert traces(marks, tmp_path) == [] and all_others_are_in(tmp_path)


def test_after_its_history_is_erased_no_file_holds_a_past_value(free, tmp_path):
    ref, marks = a_crowd_and_a_person(free)
    free.patch(ref, {"pad": None, "city": "Ulm", "tag": None})
    free.ask("DELETE", f"/v1/contacts/{ref}/history")
    free.close()
    kept = ["zelda-two", "gone.example"]
    assert traces(marks, tmp_path) == kept and all_others_are_in(tmp_path)


def test_after_expiry_and_a_clean_stop_no_file_holds_a_past_value(free, tmp_path):
    ref, marks = a_crowd_and_a_person(free)
    free.patch(ref, {"pad": None, "city": "Ulm", "tag": None})
    housekeeper = keep_house(free, CONTACTAPI_HISTORY_DAYS="5")
    free.turn(6 * DAY)
    housekeeper.tick()
    free.close()
    assert traces(marks, tmp_path) == ["zelda-two", "gone.example"]
    assert all_others_are_in(tmp_path)


def test_after_retention_and_a_clean_stop_no_file_holds_a_byte_of_the_person(
    free, tmp_path
):
    _, marks = a_crowd_and_a_person(free)
    housekeeper = keep_house(free, CONTACTAPI_RETENTION_DAYS="5")
    free.turn(6 * DAY)
    upload(free, jsonl(*({"email": label, "seen": "yes"} for label in OTHERS)))
    housekeeper.tick()
    free.close()
    assert traces(marks, tmp_path) == [] and all_others_are_in(tmp_path)


def test_the_night_erases_without_a_stop(utc, free, tmp_path):
    ref, marks = a_crowd_and_a_person(free)
    housekeeper = keep_house(free)
    free.ask("DELETE", f"/v1/contacts/{ref}")
    assert traces(marks, tmp_path)  # or this test would prove nothing
    nights(free, housekeeper, 1)
    assert traces(marks, tmp_path) == [] and all_others_are_in(tmp_path)
    assert len(exported(free)) == len(OTHERS)


def test_the_night_leaves_a_large_file_alone_and_compact_erases_in_it(
    utc, free, tmp_path, monkeypatch, shell
):
    monkeypatch.setattr(contactapi.Store, "SMALL", 1)
    ref, marks = a_crowd_and_a_person(free)
    rewritten = []
    original = contactapi.Store.rewrite
    monkeypatch.setattr(
        contactapi.Store,
        "rewrite",
        lambda store: (rewritten.append(1), original(store))[1],
    )
    housekeeper = keep_house(free)
    free.ask("DELETE", f"/v1/contacts/{ref}")
    nights(free, housekeeper, 1)
    assert rewritten == []
    assert shell("check", "--compact")[0] == 0
    assert rewritten == [1] and traces(marks, tmp_path) == []
    assert all_others_are_in(tmp_path) and len(exported(free)) == len(OTHERS)


def test_a_backup_has_no_byte_of_those_who_were_deleted_before(free, tmp_path, shell):
    ref, marks = a_crowd_and_a_person(free)
    free.ask("DELETE", f"/v1/contacts/{ref}")
    assert shell("backup", "b.db")[0] == 0
    found = (tmp_path / "b.db").read_bytes().lower()
    assert [mark for mark in marks if mark.encode() in found] == []
    assert all(label.encode() in found for label in OTHERS)
