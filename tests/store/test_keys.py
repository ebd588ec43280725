"""Keys as they are kept."""

import contextlib
import sqlite3

import pytest

import contactapi
from client import ADA, CLI, ENV_KEY, PAGE, failure, files_of


def caller_of(api, kind, *permissions):
    return api.services.keys.find(api.key(kind, *permissions))


@pytest.mark.parametrize(
    "by, wanted, allowed",
    [
        (("secret",), ("secret",), True),
        (("secret",), ("publishable",), True),
        (("secret",), ("restricted", "keys:write"), True),
        (("restricted", "keys:write"), ("secret",), False),
        (("restricted", "keys:write"), ("publishable",), False),
        (("restricted", "keys:write"), ("restricted", "contacts:read"), False),
        (("restricted", "keys:write"), ("restricted", "keys:write"), True),
        (("restricted", "keys:write"), ("restricted", "keys:read"), False),
        (("restricted", "keys:write", "contacts:write"), ("publishable",), True),
        (("restricted", *contactapi.known_permissions()), ("secret",), False),
        (
            ("restricted", "contacts:read", "contacts:write"),
            ("restricted", "contacts:read", "calls:read"),
            False,
        ),
    ],
)
def test_a_key_makes_changes_and_revokes_only_what_it_could_have_made(
    api, by, wanted, allowed
):
    keys, (kind, *permissions) = api.services.keys, wanted
    domains = ("example.com",) if kind == "publishable" else ()
    by, there = caller_of(api, *by), caller_of(api, kind, *permissions)
    acts = [
        lambda: keys.create(by, kind, "n", tuple(permissions), domains),
        lambda: keys.update(by, there.ref, {"name": "renamed"}),
        lambda: keys.revoke(by, there.ref),
    ]
    for act in acts:
        if allowed:
            act()
        else:
            with pytest.raises(contactapi.Forbidden):
                act()
    names = [key.name for key in keys.list()]
    assert len(names) == 3 and ("n" in names) is allowed and "renamed" not in names


@pytest.mark.parametrize(
    "kind, permissions, options, param",
    [
        ("imaginary", (), {}, "type"),
        ("publishable", (), {"domains": ()}, "domains"),
        ("secret", (), {"domains": ("example.com",)}, "domains"),
        ("restricted", ("contacts:read",), {"domains": ("a.com",)}, "domains"),
        ("restricted", (), {}, "permissions"),
        ("restricted", ("contacts:reed",), {}, "permissions"),
        ("restricted", ("everything",), {}, "permissions"),
        ("restricted", ("contacts:submit",), {}, "permissions"),
        ("secret", ("contacts:read",), {}, "permissions"),
        ("publishable", ("contacts:read",), {}, "permissions"),
        ("publishable", (), {"existing": "overwrite"}, "existing"),
        ("secret", (), {"name": 5}, "name"),
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(api, kind, permissions, options, param):
    with pytest.raises(contactapi.InvalidRequest) as caught:
        api.key(kind, *permissions, **options)
    assert caught.value.param == param
    assert len(api.services.keys.list()) == 1


def test_a_key_shows_the_ends_of_its_token_and_keeps_its_hash_only(api, tmp_path):
    tokens = [
        api.secret,
        api.key("publishable"),
        api.key("restricted", "contacts:read", name="reader"),
    ]
    for token in tokens:
        api.get("/v1/contacts", key=token, headers=PAGE)
    shown = [key.hint for key in api.services.keys.list()]
    assert [hint[-4:] for hint in shown] == [token[-4:] for token in tokens]
    while_open = files_of(tmp_path)
    api.close()
    for content in (while_open, files_of(tmp_path)):
        for token in tokens:
            assert token.encode() not in content
            assert token.rpartition("_")[2].encode() not in content
            assert contactapi.token_hash(token).encode() in content


def test_a_revoked_key_is_refused_at_once(api):
    token = api.key("restricted", "contacts:read")
    assert api.get("/v1/contacts", key=token).status_int == 200
    api.revoke(token)
    assert failure(api.get("/v1/contacts", key=token))[:2] == (401, "unauthorized")


def test_a_key_that_is_revoked_while_it_is_looked_up_is_not_remembered(
    api, monkeypatch
):
    keys, token = api.services.keys, api.key("restricted", "contacts:read")
    ref = api.ref(token)
    keys.forget()
    with monkeypatch.context() as patch:
        row = keys.store.row

        def row_and_revoke(*question):
            patch.undo()
            found = row(*question)
            keys.revoke(CLI, ref)
            return found

        patch.setattr(keys.store, "row", row_and_revoke)
        assert keys.find(token).ref == ref
    assert keys.find(token) is None


def test_a_revoked_key_is_refused_in_another_process_within_5_seconds(make):
    one = make()
    two = make(like=one)
    token = one.key("restricted", "contacts:read")
    assert two.get("/v1/contacts", key=token).status_int == 200
    one.revoke(token)
    one.turn(5)
    assert two.get("/v1/contacts", key=token).status_int == 401


def test_a_clock_that_is_set_back_does_not_keep_a_revoked_key_alive(make):
    one = make()
    two = make(like=one)
    token = one.key("restricted", "contacts:read")
    assert two.get("/v1/contacts", key=token).status_int == 200
    one.revoke(token)
    one.ticker.now += 5
    one.clock.now -= 3600
    assert two.get("/v1/contacts", key=token).status_int == 401


def test_a_new_key_works_at_once_in_another_process(make):
    one = make()
    two = make(like=one)
    assert two.get("/v1/contacts", key="ck_live_unknown").status_int == 401
    for kind in ("secret", "restricted"):
        token = one.key(kind, *(["contacts:read"] if kind == "restricted" else []))
        assert two.get("/v1/contacts", key=token).status_int == 200


def test_changed_domains_hold_at_once_here_and_within_5_seconds_elsewhere(make):
    one = make()
    two = make(like=one)
    token = one.key("publishable", domains=("example.org",))
    assert two.post(ADA, key=token, headers=PAGE).status_int == 403
    one.services.keys.update(CLI, one.ref(token), {"domains": ["example.com"]})
    assert one.post(ADA, key=token, headers=PAGE).status_int == 201
    one.turn(5)
    assert two.post(ADA, key=token, headers=PAGE).status_int == 201


def test_the_last_use_is_seen_at_once_and_written_later(api, tmp_path):
    def on_disk():
        with contextlib.closing(sqlite3.connect(tmp_path / "contacts.db")) as other:
            return other.execute("SELECT last_used_at FROM key").fetchall()

    assert [key.last_used_at for key in api.services.keys.list()] == [None]
    api.turn(7)
    used = round(api.clock.now * 1_000_000)
    assert api.get("/v1/contacts").status_int == 200
    assert [key.last_used_at for key in api.services.keys.list()] == [used]
    assert on_disk() == [(None,)]
    api.services.keys.save_last_used()
    assert on_disk() == [(used,)]
    api.turn(7)
    api.get("/v1/contacts")
    api.close()
    assert on_disk() == [(used + 7_000_000,)]


def test_the_last_use_is_on_the_disk_within_60_seconds():
    assert contactapi.Housekeeper.SECONDS < 60


def test_a_request_that_reads_writes_nothing(api, tmp_path):
    api.add("ada@example.com")
    with contextlib.closing(sqlite3.connect(tmp_path / "contacts.db")) as other:
        before = other.execute("PRAGMA data_version").fetchone()
        for _ in range(20):
            assert api.get("/v1/contacts").status_int == 200
        assert other.execute("PRAGMA data_version").fetchone() == before


def test_the_environments_key_is_valid_while_it_is_set(make):
    with_key = make(CONTACTAPI_SECRET_KEY=ENV_KEY)
    without = make(like=with_key)
    assert with_key.post(ADA, key=ENV_KEY).status_int == 201
    assert with_key.get("/v1/contacts", key=ENV_KEY).json["total"] == 1
    assert without.get("/v1/contacts", key=ENV_KEY).status_int == 401


@pytest.mark.parametrize(
    "arguments",
    [["update", CLI, "env", {}], ["revoke", CLI, "env"], ["revoke", CLI, "env", True]],
)
def test_the_environments_key_cannot_be_changed(make, arguments):
    api = make(CONTACTAPI_SECRET_KEY=ENV_KEY)
    with pytest.raises(contactapi.Conflict):
        getattr(api.services.keys, arguments[0])(*arguments[1:])
    assert api.get("/v1/contacts", key=ENV_KEY).status_int == 200


def test_the_environments_key_is_nowhere_in_the_database(make, tmp_path):
    api = make(CONTACTAPI_SECRET_KEY=ENV_KEY)
    api.post(ADA, key=ENV_KEY)
    api.close()
    assert ENV_KEY.encode() not in files_of(tmp_path)
