"""Backups, checks, copies."""

import contextlib
import shutil
import sqlite3
import stat

import pytest

import contactapi
from client import exported, feed, jsonl, one_line, upload
from extras.upkeep import problems

KINDS = ("contacts", "companies")


def some_data(api):
    """A bit of everything."""
    ref, gone = api.add("a@x.org", "gone@x.org", v=["\0", 10**40])
    api.patch(ref, {"n": 1.0})
    api.ask("DELETE", f"/v1/contacts/{gone}")
    api.post({"name": "Acme"}, path="/v1/companies")
    call = {"contact_id": ref, "phone_number": "+442012345678"}
    headers = {"Idempotency-Key": "k"}
    api.post(call, path="/api/calls/create", headers=headers)
    other = api.key("secret", workspace="other")
    api.post({"email": "b@x.org"}, key=other)
    return other


def all_that_is_in(api, other):
    """What two keys can see."""
    shown = []
    for secret in (api.secret, other):
        shown += [api.get(f"/v1/{kind}.jsonl", key=secret).text for kind in KINDS]
        shown += [feed(api, key=secret)["data"], api.get("/v1/stats", key=secret).json]
        del shown[-1]["last_event"]  # a reopened file has another key
    keys = api.get("/api/api-keys").json["data"]["keys"]
    for key in keys:
        del key["last_used_at"]
    return [*shown, api.get("/api/calls/list").text, keys]


def reopened(make, source, file):
    """An app on another file that knows the first one's secret key."""
    again = make(file=file, like=source, CONTACTAPI_RATE_LIMIT="off")
    again.revoke(again.secret)
    again.secret = source.secret
    return again


def test_a_backup_holds_everything_and_opens(free, make, shell, tmp_path):
    other = some_data(free)
    before = all_that_is_in(free, other)
    status, out, err = shell("backup", "b.db")
    assert (status, err) == (0, "") and "b.db" in out and out.count("\n") == 1
    free.add("later@x.org")
    status, out, err = shell("backup", "--verify", "b.db")
    assert (status, err) == (0, "") and out.count("\n") == 1
    assert all_that_is_in(reopened(make, free, "b.db"), other) == before


def test_verify_changes_nothing_and_leaves_nothing_behind(free, shell, tmp_path):
    some_data(free)
    shell("backup", "b.db")
    before = (tmp_path / "b.db").read_bytes(), sorted(tmp_path.glob("b.db*"))
    assert shell("backup", "--verify", "b.db")[0] == 0
    assert ((tmp_path / "b.db").read_bytes(), sorted(tmp_path.glob("b.db*"))) == before


def test_a_backup_needs_no_wal_beside_it(free, shell, tmp_path):
    some_data(free)
    shell("backup", "b.db")
    shutil.copy(tmp_path / "b.db", tmp_path / "alone.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "alone.db")) as other:
        assert other.execute("SELECT count(*) FROM contact").fetchone() == (2,)


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-4096])


def overwritten(path):
    whole = bytearray(path.read_bytes())
    for start in range(8192, len(whole), 8192):
        whole[start : start + 64] = b"\xaa" * 64
    path.write_bytes(whole)


def miscounted(path):
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE tally SET total = total + 1")


def orphaned(path):
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE answer SET call_id = 99")


def from_the_future(path):
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        other.execute("PRAGMA user_version = 999")


@pytest.mark.parametrize(
    "damage",
    [
        cut_off,
        overwritten,
        miscounted,
        orphaned,
        from_the_future,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"no database " * 1000),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: (
            path.unlink(),
            sqlite3.connect(path)
            .executescript("CREATE TABLE theirs (id)")
            .connection.close(),
        ),
    ],
)
def test_verify_refuses_what_is_no_whole_backup(free, shell, tmp_path, damage):
    some_data(free)
    shell("backup", "b.db")
    damage(tmp_path / "b.db")
    status, out, err = shell("backup", "--verify", "b.db")
    assert (status, out, one_line(err)) == (1, "", True), err
    assert "b.db" in err


def test_check_says_ok_in_a_line_for_each_thing(free, shell):
    some_data(free)
    status, out, err = shell("check")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) >= 4 and all(line.endswith(": ok") for line in lines)
    for what in ("integrity", "orphans", "counters", "configuration"):
        assert f"{what}: ok" in lines


@pytest.mark.parametrize(
    "damage, what", [(miscounted, "counters"), (orphaned, "orphans")]
)
def test_check_names_what_is_wrong_and_exits_1(free, shell, tmp_path, damage, what):
    some_data(free)
    free.close()
    damage(tmp_path / "contacts.db")
    status, out, err = shell("check")
    assert (status, one_line(err)) == (1, True)
    wrong = [line for line in out.splitlines() if not line.endswith(": ok")]
    assert wrong and wrong[0].startswith(f"{what}: ")


def test_check_refuses_a_configuration_that_cannot_be_read(shell, monkeypatch):
    monkeypatch.setenv("CONTACTAPI_MAX_BODY", "hunter2")
    status, out, err = shell("check")
    assert (status, out, one_line(err)) == (1, "", True)
    assert "CONTACTAPI_MAX_BODY" in err and "hunter2" not in err


def test_check_compact_shrinks_beside_a_running_server(free, shell, tmp_path):
    refs = [
        c["id"]
        for c in (
            upload(
                free,
                jsonl(*({"email": f"u{n}@x.org", "x": "x" * 5000} for n in range(300))),
            ),
            exported(free),
        )[1]
    ]
    for ref in refs[:290]:
        free.ask("DELETE", f"/v1/contacts/{ref}")
    free.services.store.truncate_wal()
    before = (tmp_path / "contacts.db").stat().st_size
    status, out, err = shell("check", "--compact")
    assert (status, err) == (0, "") and str(before) in out
    assert (tmp_path / "contacts.db").stat().st_size < before / 2
    assert len(exported(free)) == 10
    free.add("after@x.org")
    assert len(exported(free)) == 11


def test_copy_brings_everything_into_an_empty_database(free, make, shell, tmp_path):
    other = some_data(free)
    before = all_that_is_in(free, other)
    status, out, err = shell("copy", "sqlite:///contacts.db", "sqlite:///copy.db")
    assert (status, err) == (0, "") and "copy.db" in out
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    again = reopened(make, free, "copy.db")
    assert all_that_is_in(again, other) == before
    body = {"contact_id": exported(free)[0]["id"], "phone_number": "+442012345678"}
    headers = {"Idempotency-Key": "k"}
    answer = again.post(body, path="/api/calls/create", headers=headers)
    assert answer.headers.get("Idempotency-Replayed") == "true"
    assert shell("check", "--help")[0] == 0 and list(problems(again.services.store))


@pytest.mark.parametrize(
    "argv", [("copy", "sqlite:///contacts.db", "sqlite:///o.db"), ("backup", "o.db")]
)
def test_what_an_extra_has_comes_along_where_it_is_not(
    free, shell, tmp_path, monkeypatch, argv
):
    free.post({"url": "https://example.com/in"}, "/v1/webhooks")
    free.add("a@x.org")
    others = [extra for extra in contactapi.EXTRAS if not extra.listens]
    monkeypatch.setattr(contactapi, "EXTRAS", others)
    if argv[0] == "copy":
        (tmp_path / "o.db").touch()
    assert shell(*argv)[0] == 0
    for table in ("webhook", "delivery", "endpoint"):
        rows = [
            asked(tmp_path / file, f"SELECT * FROM {table}")
            for file in ("contacts.db", "o.db")
        ]
        assert rows[0] == rows[1] and len(rows[0]) == 1, table


def asked(path, sql):
    with contextlib.closing(sqlite3.connect(path)) as file:
        return file.execute(sql).fetchall()


@pytest.mark.parametrize(
    "argv",
    [("copy", "sqlite:///contacts.db", "sqlite:///o.db"), ("backup", "o.db")],
    ids=lambda argv: argv[0],
)
def test_a_mirror_goes_on_at_a_copy_and_at_a_restored_backup(free, make, shell, argv):
    (ref,) = free.add("a@x.org")
    for n in range(5):
        free.patch(ref, {"n": n})
    after = feed(free)["next_after"]
    free.ask("DELETE", f"/v1/contacts/{ref}/history")
    assert shell(*argv)[0] == 0
    again = reopened(make, free, "o.db")
    again.add("b@x.org")
    told = feed(again, f"?after={after}")["data"]
    assert [e["data"]["email"] for e in told] == ["a@x.org", "b@x.org"]


@pytest.mark.parametrize(
    "source, target",
    [
        ("contacts.db", "contacts.db"),
        ("contacts.db", "full.db"),
        ("contacts.db", "text.txt"),
        ("missing.db", "new.db"),
        ("text.txt", "new.db"),
        ("contacts.db", "nowhere/new.db"),
    ],
)
def test_copy_refuses_what_it_cannot_do(free, shell, tmp_path, source, target):
    some_data(free)
    shell("backup", "full.db")
    (tmp_path / "text.txt").write_text("mine" * 1000)
    before = {p: p.read_bytes() for p in tmp_path.iterdir() if "contacts" not in p.name}
    shown = free.get("/v1/contacts.jsonl").body
    status, out, err = shell("copy", f"sqlite:///{source}", f"sqlite:///{target}")
    assert (status, out, one_line(err)) == (1, "", True)
    after = {p: p.read_bytes() for p in tmp_path.iterdir() if "contacts" not in p.name}
    assert after == before and free.get("/v1/contacts.jsonl").body == shown
