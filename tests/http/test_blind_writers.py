"""A key that may write but not read a kind learns nothing of what is stored."""

import pytest

from client import TOO_LARGE, failure, history

KINDS = [("contacts", "email", "ada@example.com"), ("companies", "name", "Acme")]


@pytest.mark.parametrize("kind, key, known", KINDS)
def test_a_post_that_a_known_record_has_no_room_for_is_413_and_changes_nothing(
    free, kind, key, known
):
    path, writer = f"/v1/{kind}", free.key("restricted", f"{kind}:write")
    ref = free.post({key: known, "stored": "s" * 40_000}, path).json["id"]
    both = free.key("restricted", f"{kind}:read", f"{kind}:write")
    before, log = free.get(f"{path}/{ref}").json, history(free, ref, kind=kind)
    free.turn(60)
    sent = {key: known, "note": "n" * 40_000}
    for token in (writer, both, free.secret):
        assert failure(free.post(sent, path, key=token)) == TOO_LARGE
    assert free.get(f"{path}/{ref}").json == before
    assert history(free, ref, kind=kind) == log


@pytest.mark.parametrize("kind, key, known", KINDS)
def test_a_post_that_is_too_large_by_itself_is_413_known_or_new(free, kind, key, known):
    path, writer = f"/v1/{kind}", free.key("restricted", f"{kind}:write")
    free.post({key: known}, path)
    for name in (known, f"x{known}"):
        answer = free.post({key: name, "note": "n" * 65_530}, path, key=writer)
        assert failure(answer) == TOO_LARGE
