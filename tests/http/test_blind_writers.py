"""A key that may write but not read a kind learns nothing of what is stored."""

import pytest

from client import TOO_LARGE, failure, history

KINDS = [("contacts", "email", "ada@example.com"), ("companies", "name", "Acme")]


@pytest.mark.parametrize("kind, key, known", KINDS)
def test_a_post_that_a_known_record_has_no_room_for_is_answered_as_for_a_new_one(
    free, kind, key, known
):
    path, writer = f"/v1/{kind}", free.key("restricted", f"{kind}:write")
    ref = free.post({key: known, "stored": "s" * 40_000}, path).json["id"]
    before = free.get(f"{path}/{ref}").json
    free.turn(60)
    sent = {"note": "n" * 40_000, "city": None}
    old = free.post({key: known, **sent}, path, key=writer)
    new = free.post({key: f"x{known}", **sent}, path, key=writer)
    assert old.status_int == new.status_int == 201
    assert list(old.json) == list(new.json)
    assert (old.json.pop("id"), old.json.pop(key)) == (ref, known)
    assert old.json | {"id": new.json["id"], key: f"x{known}"} == new.json
    assert free.get(f"{path}/{ref}").json == before
    told, *_ = history(free, ref, kind=kind)
    assert (told["submitted"], told["changed"]) == ({key: known, **sent}, [])
    assert (told["data"], told["key"]) == (before, free.ref(writer))


@pytest.mark.parametrize("kind, key, known", KINDS)
def test_a_post_that_is_too_large_by_itself_is_413_known_or_new(free, kind, key, known):
    path, writer = f"/v1/{kind}", free.key("restricted", f"{kind}:write")
    free.post({key: known}, path)
    for name in (known, f"x{known}"):
        answer = free.post({key: name, "note": "n" * 65_530}, path, key=writer)
        assert failure(answer) == TOO_LARGE


def test_who_may_read_is_told_that_a_record_has_no_room(free):
    free.add("ada@example.com", stored="s" * 40_000)
    both = free.key("restricted", "contacts:read", "contacts:write")
    body = {"email": "ada@example.com", "note": "n" * 40_000}
    for key in (free.secret, both):
        assert failure(free.post(body, key=key)) == TOO_LARGE
