"""Who made a key, what is revoked with it, and what the log tells of keys."""

import json
import sqlite3
from contextlib import closing

import pytest

import contactapi
from client import ADA, CLI, ENV_KEY, PAGE, enveloped, make_key, refusal

KEYS = "/api/api-keys"
MAKER = ["keys:write", "keys:read", "contacts:read", "contacts:write"]


def listed(api, **options):
    """The keys of the workspace by their ids."""
    return {key["id"]: key for key in enveloped(api.get(KEYS, **options))["keys"]}


def told(api, **options):
    """What the log tells of keys."""
    page = api.get("/v1/events?limit=1000", **options).json
    return [e for e in page["data"] if e["type"].startswith("key.")]


def family(api):
    """Ids and tokens of a key, the key that it made, and the one which that made."""
    first = make_key(api, name="first", permissions=MAKER)
    second = make_key(api, name="second", permissions=MAKER, by=first["key"])
    third = make_key(api, name="third", permissions=MAKER[:1], by=second["key"])
    return first, second, third


def works(api, made):
    return api.get("/api/calls/list", key=made["key"]).status_int != 401


# -- who made it


def test_a_key_lists_the_key_that_made_it(api):
    first, second, third = family(api)
    keys = listed(api)
    assert keys[first["id"]]["created_by"] == api.ref(api.secret)
    assert keys[second["id"]]["created_by"] == first["id"]
    assert keys[third["id"]]["created_by"] == second["id"]
    assert (second["created_by"], third["created_by"]) == (first["id"], second["id"])


def test_cli_and_env_stand_for_those_without_a_key(make):
    api = make(CONTACTAPI_SECRET_KEY=ENV_KEY)
    made = make_key(api, name="by env", type="secret", by=ENV_KEY)
    keys = listed(api)
    assert keys[api.ref(api.secret)]["created_by"] == "cli"
    assert keys[made["id"]]["created_by"] == "env"
    assert keys["env"]["created_by"] is None


# -- revoking


@pytest.mark.parametrize("query", ["", "?children=false"])
def test_without_children_a_key_alone_is_revoked(api, query):
    first, second, third = family(api)
    answer = api.ask("DELETE", f"{KEYS}/{first['id']}{query}")
    assert enveloped(answer) == {"id": first["id"], "revoked": True}
    assert [works(api, key) for key in (first, second, third)] == [False, True, True]


def test_with_children_all_that_goes_back_to_a_key_is_revoked(api):
    other = make_key(api, name="other", permissions=MAKER)
    first, second, third = family(api)
    answer = enveloped(api.ask("DELETE", f"{KEYS}/{first['id']}?children=true"))
    assert set(answer.pop("children")) == {second["id"], third["id"]}
    assert answer == {"id": first["id"], "revoked": True}
    assert [works(api, key) for key in (first, second, third)] == [False] * 3
    assert set(listed(api)) == {api.ref(api.secret), other["id"]}


def test_the_children_of_a_revoked_key_are_found(api):
    first, second, third = family(api)
    enveloped(api.ask("DELETE", f"{KEYS}/{second['id']}"))
    path = f"{KEYS}/{first['id']}"
    enveloped(api.ask("DELETE", path))
    assert refusal(api.ask("DELETE", path)) == (404, "not_found", None)
    answer = enveloped(api.ask("DELETE", f"{path}?children=true"))
    assert answer["children"] == [third["id"]] and not works(api, third)
    assert enveloped(api.ask("DELETE", f"{path}?children=true"))["children"] == []


def test_a_key_may_revoke_itself_and_what_it_made(api):
    first, second, third = family(api)
    path = f"{KEYS}/{first['id']}?children=true"
    assert api.ask("DELETE", path, key=first["key"]).status_int == 200
    assert [works(api, key) for key in (first, second, third)] == [False] * 3


def test_a_key_revokes_no_family_whose_head_it_could_not_have_made(api):
    first, second, third = family(api)
    path = f"{KEYS}/{second['id']}?children=true"
    answer = api.ask("DELETE", path, key=third["key"])
    assert refusal(answer) == (403, "forbidden", None)
    assert works(api, third)


@pytest.mark.parametrize("text", ["yes", "2", "", "TRUE"])
def test_children_is_true_or_false(api, text):
    first, *_ = family(api)
    answer = api.ask("DELETE", f"{KEYS}/{first['id']}?children={text}")
    assert refusal(answer) == (400, "invalid_request", "children")
    assert works(api, first)


def test_children_of_another_workspace_are_out_of_reach(api):
    theirs = api.key("secret", workspace="other")
    first, second, third = family(api)
    answer = api.ask("DELETE", f"{KEYS}/{first['id']}?children=true", key=theirs)
    assert refusal(answer) == (404, "not_found", None)
    assert all(works(api, key) for key in (first, second, third))


def test_a_family_is_refused_in_another_process_within_5_seconds(make):
    one = make()
    two = make(like=one)
    keys = family(one)
    assert all(works(two, key) for key in keys)
    one.services.keys.revoke(CLI, keys[0]["id"], children=True)
    one.turn(5)
    assert not any(works(two, key) for key in keys)


def test_a_key_that_was_revoked_elsewhere_makes_no_more_keys(make):
    one = make()
    two = make(like=one)
    first, *_ = family(one)
    assert works(two, first)
    one.services.keys.revoke(CLI, first["id"], children=True)
    assert works(two, first)  # for some seconds still
    wanted = {"name": "late", "permissions": ["keys:write"]}
    answer = two.post(wanted, KEYS, key=first["key"])
    assert refusal(answer) == (401, "unauthorized", None)
    assert "late" not in {key["name"] for key in listed(two).values()}


def test_a_revoked_key_stays_as_a_row_without_its_hash(api, tmp_path):
    first, *_ = family(api)
    enveloped(api.ask("DELETE", f"{KEYS}/{first['id']}"))
    api.close()
    with closing(sqlite3.connect(tmp_path / "contacts.db")) as file:
        sql = 'SELECT name, hash, hint, revoked_at FROM "key" WHERE uid = ?'
        row = file.execute(sql, (first["id"][4:],)).fetchone()
    assert row == ("first", None, "", round(api.clock.now * 1_000_000))
    content = (tmp_path / "contacts.db").read_bytes()
    assert contactapi.token_hash(first["key"]).encode() not in content


def test_a_revoked_key_can_be_neither_changed_nor_listed(api):
    first, *_ = family(api)
    enveloped(api.ask("DELETE", f"{KEYS}/{first['id']}"))
    answer = api.ask("PATCH", f"{KEYS}/{first['id']}", {"name": "back"})
    assert refusal(answer) == (404, "not_found", None)
    assert first["id"] not in listed(api)


# -- the log


def test_the_log_tells_of_keys_without_token_and_hint(api):
    token = api.key("restricted", *MAKER)
    after = told(api)[-1]["id"]
    wanted = {"type": "publishable", "domains": ["example.com"], "name": "page"}
    made = enveloped(api.post(wanted, KEYS, key=token), 201)
    change = {"name": "landing page", "existing": "keep", "domains": ["example.com"]}
    enveloped(api.ask("PATCH", f"{KEYS}/{made['id']}", change))
    enveloped(api.ask("DELETE", f"{KEYS}/{made['id']}"))
    answer = api.get(f"/v1/events?after={after}")
    for secret in (made["key"], made["hint"], made["key"][-8:], "hash"):
        assert secret not in answer.text
    created, updated, revoked = answer.json["data"]
    document = {
        "id": made["id"],
        "name": "page",
        "type": "publishable",
        "permissions": [],
        "domains": ["example.com"],
        "existing": "update",
        "notify": [],
        "captcha": "none",
        "confirm": False,
        "keep_days": 365,
        "created_by": api.ref(token),
        "created_at": made["created_at"],
    }
    assert {e["record"] for e in (created, updated, revoked)} == {made["id"]}
    assert (created["type"], created["key"]) == ("key.created", api.ref(token))
    assert created["data"] == document
    assert (updated["type"], updated["key"]) == ("key.updated", api.ref(api.secret))
    assert updated["data"] == {**document, "name": "landing page", "existing": "keep"}
    assert set(updated["changed"]) == {"name", "existing"}
    assert (revoked["type"], revoked["data"]) == ("key.revoked", {"id": made["id"]})


def test_each_of_a_family_that_is_revoked_is_told_of(api):
    keys = family(api)
    enveloped(api.ask("DELETE", f"{KEYS}/{keys[0]['id']}?children=true"))
    revoked = [e for e in told(api) if e["type"] == "key.revoked"]
    assert {e["record"] for e in revoked} == {key["id"] for key in keys}
    assert {e["key"] for e in revoked} == {api.ref(api.secret)}


def test_a_patch_of_a_key_that_changes_nothing_makes_no_event(api):
    first, *_ = family(api)
    before = told(api)
    for body in ({}, {"name": "first"}, {"existing": "update", "name": "first"}):
        assert api.ask("PATCH", f"{KEYS}/{first['id']}", body).status_int == 200
    assert told(api) == before


def test_what_is_refused_is_not_in_the_log(api):
    before = told(api)
    assert api.post({"permissions": ["no"]}, KEYS).status_int == 400
    assert api.ask("DELETE", f"{KEYS}/key_{'0' * 26}").status_int == 404
    assert told(api) == before


def test_a_workspace_does_not_see_what_happens_to_anothers_keys(api):
    other = api.key("secret", workspace="other")
    family(api)
    assert [e["record"] for e in told(api, key=other)] == [api.ref(other)]


# -- how many


def test_a_workspace_has_at_most_1000_keys_and_revoked_ones_do_not_count(api):
    assert contactapi.Keys.MOST == 1000
    api.services.keys.MOST = 4
    first, second, third = family(api)
    answer = api.post({"name": "x", "type": "secret"}, KEYS)
    assert refusal(answer) == (409, "conflict", None)
    with pytest.raises(contactapi.Conflict):
        api.key("restricted", "keys:read")
    api.key("secret", workspace="other")
    enveloped(api.ask("DELETE", f"{KEYS}/{third['id']}"))
    make_key(api, name="there is room again", permissions=["keys:read"])
    assert len(listed(api)) == 4


# -- words


def test_an_unknown_permission_is_named(api):
    wanted = {"name": "x", "permissions": ["contacts:read", 'contacts:"reed\n']}
    error = api.post(wanted, KEYS).json["error"]
    assert error["param"] == "permissions"
    assert error["message"].startswith('"contacts:\\"reed\\n" is no permission: give ')
    assert "contacts:read, contacts:write, " in error["message"]


def test_a_key_that_may_not_read_keys_gets_the_time_of_its_patch(api):
    first, second, _ = family(api)
    blind = api.key("restricted", "keys:write", *MAKER[2:])
    path = f"{KEYS}/{make_key(api, name='n', permissions=['keys:write'])['id']}"
    api.turn(3600)
    answer = enveloped(api.ask("PATCH", path, {"name": "m"}, key=blind))
    assert answer == {
        "id": path[len(KEYS) + 1 :],
        "name": "m",
        "created_at": "2026-07-04T11:00:00Z",
        "updated_at": "2026-07-04T11:00:00Z",
    }


# -- the command line


def test_keys_list_shows_who_made_a_key(api, shell):
    first, second, _ = family(api)
    rows = json.loads(shell("keys", "list", "--json")[1])
    assert {row["id"]: row["created_by"] for row in rows}[second["id"]] == first["id"]
    lines = shell("keys", "list")[1].splitlines()
    (line,) = [line for line in lines if line.startswith(second["id"])]
    assert f"  by {first['id']}  second" in line
    assert "  by cli" in lines[0]


def test_keys_revoke_with_children_names_each_that_it_revoked(api, shell):
    keys = family(api)
    status, out, err = shell("keys", "revoke", keys[0]["id"], "--children")
    assert (status, err) == (0, "")
    assert set(out.splitlines()) == {f"revoked {key['id']}" for key in keys}
    assert "children" in shell("keys", "revoke", "--help")[1]


def test_keys_revoke_alone_leaves_children(api, shell):
    first, second, third = family(api)
    assert shell("keys", "revoke", first["id"])[1] == f"revoked {first['id']}\n"
    assert works(api, second) and works(api, third)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--type", "restricted", "--permission", "contacts:reed"), '"contacts:reed"'),
        (("--type", "publishable"), "domains"),
    ],
)
def test_a_key_that_cannot_be_is_a_mistake_of_usage_and_makes_no_workspace(
    shell, make, arguments, said
):
    status, out, err = shell("keys", "create", *arguments, "--workspace", "new")
    assert (status, out, err.count("\n")) == (2, "", 1) and said in err
    with pytest.raises(contactapi.NotFound):
        make().services.workspaces.find("new")


def test_a_publishable_keys_own_post_stands_beside_key_events(api):
    public = api.key("publishable")
    assert api.post(ADA, key=public, headers=PAGE).status_int == 201
    types = [e["type"] for e in api.get("/v1/events").json["data"]]
    own = ["contact.created", "submission.accepted"]
    assert types == ["key.created", "key.created", *own]
