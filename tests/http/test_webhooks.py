"""Webhooks: the endpoints of a workspace, what they are sent, what became of it."""

import base64
import hashlib
import hmac
import json
import re
import socket
import time

import pytest

import contactapi
from client import DAY, call_events, called, failure, keep_house
from extras import outgoing
from extras.endpoints import BY_ITSELF, TYPES, Webhooks

URL = "https://hooks.example.com/in?token=s3cret"
NO_ONE = "whk_00000000000000000000000000"


def add(client, url=URL, key=..., **more):
    """A webhook made over HTTP."""
    answer = client.post({"url": url, **more}, "/v1/webhooks", key=key)
    assert answer.status_int == 201, answer.text
    return answer.json


def add_local(client, url, **more):
    """One made on the command line, which may have any address."""
    cli = contactapi.operator("cli", client.workspace)
    work = Webhooks(client.services).create(cli, {"url": url, **more})
    return client.services.store.write(work)


def patch(client, ref, body, **options):
    return client.ask("PATCH", f"/v1/webhooks/{ref}", body, **options)


def show(client, ref):
    return client.get(f"/v1/webhooks/{ref}").json


def send(client):
    """Sends what is due, at most 200 things."""
    for _ in range(200):
        if not client.services.outbox.step():
            return
    raise AssertionError("the outbox does not come to rest")


def deliveries(client, query=""):
    return client.get(f"/v1/deliveries{query}").json["data"]


def told(client, kind):
    """(key, data, changed) of the events of this type."""
    events = client.get("/v1/events?limit=1000").json["data"]
    return [(e["key"], e["data"], e["changed"]) for e in events if e["type"] == kind]


# -- records


def test_a_webhook_is_made_with_a_secret_that_is_shown_once(api):
    made = add(api)
    assert re.fullmatch("whk_[0-7][0-9a-hjkmnp-tv-z]{25}", made["id"])
    assert re.fullmatch("whsec_[A-Za-z0-9+/]{32}", made.pop("secret"))
    assert made == {
        "id": made["id"],
        "url": URL,
        "host": "hooks.example.com",
        "events": list(BY_ITSELF),
        "shape": "standard",
        "enabled": True,
        "reason": None,
        "created_by": api.ref(api.secret),
        "created_at": "2026-07-04T10:00:00Z",
        "updated_at": "2026-07-04T10:00:00Z",
    }
    assert show(api, made["id"]) == made
    assert api.get("/v1/webhooks").json == {
        "data": [made],
        **{"page": 1, "page_size": 20, "total": 1, "total_pages": 1},
    }


def test_webhooks_are_listed_newest_first_and_paged(api):
    refs = [add(api)["id"] for _ in range(5)]
    page = api.get("/v1/webhooks?page=2&page_size=2").json
    assert [hook["id"] for hook in page["data"]] == [refs[2], refs[1]]
    assert (page["total"], page["total_pages"]) == (5, 3)
    assert api.get("/v1/webhooks?page=9").json["data"] == []
    assert failure(api.get("/v1/webhooks?page_size=101"))[2] == "page_size"


def test_by_itself_a_chat_gets_accepted_submissions_a_program_all_of_records(api):
    assert add(api, shape="slack")["events"] == ["submission.accepted"]
    assert "key.created" not in BY_ITSELF and "webhook.deleted" not in BY_ITSELF
    named = ["key.revoked", "contact.created", "key.revoked"]
    assert add(api, events=named)["events"] == ["contact.created", "key.revoked"]


@pytest.mark.parametrize(
    "body, param",
    [
        ({}, "url"),
        ({"url": 5}, "url"),
        ({"url": "ftp://example.com/"}, "url"),
        ({"url": "example.com"}, "url"),
        ({"url": "https://user:pw@example.com/"}, "url"),
        ({"url": "https://user@example.com/"}, "url"),
        ({"url": "https://example.com\\@127.0.0.1/"}, "url"),
        ({"url": "https://exa mple.com/"}, "url"),
        ({"url": "https://example.com/\r\nX: y"}, "url"),
        ({"url": "https://example.com:0/"}, "url"),
        ({"url": "https://example.com:65536/"}, "url"),
        ({"url": "https://example.com/" + "x" * 2000}, "url"),
        ({"url": "https://ntfy.sh/", "shape": "ntfy"}, "url"),
        ({"url": URL, "shape": "teams"}, "shape"),
        ({"url": URL, "shape": ["slack"]}, "shape"),
        ({"url": URL, "events": []}, "events"),
        ({"url": URL, "events": "contact.created"}, "events"),
        ({"url": URL, "events": ["contact.burnt"]}, "events"),
        ({"url": URL, "events": [["contact.created"]]}, "events"),
    ],
)
def test_what_is_no_webhook_is_400(api, body, param):
    answer = api.post(body, "/v1/webhooks")
    assert failure(answer) == (400, "invalid_request", param)
    assert api.get("/v1/webhooks").json["total"] == 0


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST", "localhost.", "db.localhost", "127.0.0.1"),
        *("127.1", "2130706433", "0x7f.1", "0177.0.0.1", "[::1]", "[::]", "0"),
        *("[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[64:ff9b::7f00:1]"),
        *("[2002:7f00:1::]", "10.0.0.1", "169.254.169.254", "192.168.1.1:8080"),
        *("[fd00::1]", "[fe80::1]", "100.64.0.1", "１２７.0.0.1", "127。0。0。1"),
    ],
)
def test_over_http_only_a_public_address_is_taken_in_any_spelling(api, host):
    answer = api.post({"url": f"http://{host}/"}, "/v1/webhooks")
    assert failure(answer) == (400, "invalid_request", "url")
    ref = add(api)["id"]
    answer = patch(api, ref, {"url": f"http://{host}/"})
    assert failure(answer) == (400, "invalid_request", "url")
    assert show(api, ref)["url"] == URL


def test_a_workspace_has_at_most_100_webhooks(free, monkeypatch):
    monkeypatch.setattr(Webhooks, "MOST", 3)
    refs = [add(free)["id"] for _ in range(3)]
    assert failure(free.post({"url": URL}, "/v1/webhooks"))[:2] == (409, "conflict")
    free.ask("DELETE", f"/v1/webhooks/{refs[0]}")
    add(free)


def test_what_is_sent_of_url_events_and_enabled_is_changed(api):
    ref = add(api)["id"]
    api.turn(5)
    body = {"url": "http://example.org/", "events": ["call.created"], "enabled": False}
    changed = patch(api, ref, {**body, "id": "x", "created_at": "y"}).json
    assert changed == show(api, ref)
    assert {name: changed[name] for name in body} == body
    assert changed["reason"] == f"disabled by {api.ref(api.secret)}"
    assert changed["updated_at"] == "2026-07-04T10:00:05Z"
    assert patch(api, ref, {"enabled": True}).json["reason"] is None


def test_a_patch_that_changes_nothing_leaves_no_trace(api):
    made = add(api)
    made.pop("secret")
    api.turn(5)
    assert patch(api, made["id"], made).json == made
    assert patch(api, made["id"], {}).json == made
    assert told(api, "webhook.updated") == []


@pytest.mark.parametrize(
    "body, param",
    [
        ({"enabled": 1}, "enabled"),
        ({"rotate": "yes"}, "rotate"),
        ({"events": []}, "events"),
        ({"events": None}, "events"),
        ({"url": None}, "url"),
    ],
)
def test_a_patch_that_cannot_be_is_400(api, body, param):
    ref = add(api)["id"]
    assert failure(patch(api, ref, body)) == (400, "invalid_request", param)


def test_a_deleted_webhook_is_gone_with_all_that_was_for_it(api):
    ref, other = add(api)["id"], add(api)["id"]
    api.add("a@x.org")
    assert len(deliveries(api)) == 2
    answer = api.ask("DELETE", f"/v1/webhooks/{ref}")
    assert answer.json == {"id": ref, "deleted": True}
    assert [row["webhook"] for row in deliveries(api)] == [other]
    assert failure(api.get(f"/v1/webhooks/{ref}"))[:2] == (404, "not_found")
    names = api.services.store.rows("SELECT name FROM endpoint")
    assert names == [(other,)]


@pytest.mark.parametrize("ref", [NO_ONE, "whk_x", "con_" + NO_ONE[4:], "%00"])
def test_one_that_is_not_there_is_404(api, ref):
    add(api)
    one = f"/v1/webhooks/{ref}"
    asked = [("GET", one), ("PATCH", one), ("DELETE", one), ("POST", f"{one}/test")]
    for method, path in asked:
        answer = api.ask(method, path, {} if method in ("PATCH", "POST") else None)
        assert failure(answer)[:2] == (404, "not_found"), path


def test_those_of_another_workspace_are_not_there(api):
    ref, other = add(api)["id"], api.key("secret", workspace="other")
    api.add("a@x.org")
    (delivery,) = deliveries(api)
    assert api.get("/v1/webhooks", key=other).json["total"] == 0
    assert api.get("/v1/deliveries", key=other).json["total"] == 0
    for method, path in [
        ("GET", f"/v1/webhooks/{ref}"),
        ("DELETE", f"/v1/webhooks/{ref}"),
        ("POST", f"/v1/deliveries/{delivery['id']}/retry"),
    ]:
        assert api.ask(method, path, key=other).status_int == 404
    api.post({"email": "b@x.org"}, key=other)
    assert len(deliveries(api)) == 1


def test_the_log_tells_of_webhooks_without_url_or_secret(api):
    made = add(api)
    patch(api, made["id"], {"rotate": True, "url": "https://else.example.com/other"})
    api.ask("DELETE", f"/v1/webhooks/{made['id']}")
    by = api.ref(api.secret)
    ((key, data, changed),) = told(api, "webhook.created")
    assert (key, changed) == (by, ["url", "events", "shape"])
    assert data == {k: v for k, v in made.items() if k not in ("url", "secret")}
    ((key, data, changed),) = told(api, "webhook.updated")
    assert (data["host"], changed) == ("else.example.com", ["url", "secret"])
    assert told(api, "webhook.deleted") == [(by, {"id": made["id"]}, [])]
    text = api.get("/v1/events").text
    assert "whsec" not in text and "s3cret" not in text and "/other" not in text


def test_a_revoked_keys_webhooks_end_with_its_children(api):
    parent = api.key("secret")
    child = api.post(
        {"name": "child", "type": "secret"}, "/api/api-keys", key=parent
    ).json["data"]
    stays, of_parent = add(api)["id"], add(api, key=parent)["id"]
    of_child = add(api, key=child["key"])["id"]
    answer = api.ask("DELETE", f"/api/api-keys/{api.ref(parent)}?children=true")
    gone = [child["id"], of_parent, of_child]
    assert sorted(answer.json["data"]["children"]) == sorted(gone)
    assert [h["id"] for h in api.get("/v1/webhooks").json["data"]] == [stays]
    assert len(told(api, "webhook.deleted")) == 2


def test_a_revoked_keys_webhooks_stay_until_its_children_end(api):
    parent = api.key("secret")
    child = api.post(
        {"name": "child", "type": "secret"}, "/api/api-keys", key=parent
    ).json["data"]
    refs = [add(api, key=key)["id"] for key in (parent, child["key"])]
    parent_ref = api.ref(parent)
    for key in (child["id"], parent_ref):
        api.ask("DELETE", f"/api/api-keys/{key}")
    assert [show(api, ref)["id"] for ref in refs] == refs
    answer = api.ask("DELETE", f"/api/api-keys/{parent_ref}?children=true")
    assert sorted(answer.json["data"]["children"]) == sorted(refs)
    assert api.get("/v1/webhooks").json["data"] == []


@pytest.mark.parametrize("restarted", [True, False])
def test_a_key_that_is_revoked_where_webhooks_are_not_ends_its_own_when_they_are(
    make, monkeypatch, restarted
):
    api = make()
    parent = api.key("secret")
    child = api.post(
        {"name": "child", "type": "secret"}, "/api/api-keys", key=parent
    ).json["data"]
    stays = add(api)["id"]
    gone = [add(api, key=key)["id"] for key in (parent, child["key"])]
    others = [extra for extra in contactapi.EXTRAS if extra.module != "webhooks"]
    with monkeypatch.context() as without:
        without.setattr(contactapi, "EXTRAS", others)
        lacking = make(like=api)
        path = f"/api/api-keys/{api.ref(parent)}?children=true"
        answer = lacking.ask("DELETE", path)
        assert answer.json["data"]["children"] == [child["id"]]
    if restarted:
        api = make(like=api)
    else:
        keep_house(api).tidy()
    assert [h["id"] for h in api.get("/v1/webhooks").json["data"]] == [stays]
    deleted = told(api, "webhook.deleted")
    assert sorted(data["id"] for _, data, _ in deleted) == sorted(gone)
    assert {by for by, _, _ in deleted} == {lacking.ref(lacking.secret)}


# -- what is sent


def test_an_event_is_posted_signed_as_standard_webhooks_has_it(api, receiver):
    hook = add_local(api, f"{receiver.url}/in?a=b")
    (ref,) = api.add("ada@example.com")
    send(api)
    ((path, headers, body),) = receiver.requests
    (event,) = [
        e for e in api.get("/v1/events").json["data"] if e["type"] == "contact.created"
    ]
    assert path == "/in?a=b"
    assert json.loads(body) == {
        "type": "contact.created",
        "timestamp": "2026-07-04T10:00:00Z",
        "workspace": "default",
        "data": event["data"],
    }
    assert headers["Content-Type"] == "application/json"
    assert headers["Host"] == receiver.url.removeprefix("http://")
    assert headers["webhook-id"] == event["id"]
    assert headers["webhook-timestamp"] == str(int(api.clock()))
    assert verified(hook.secret, headers, body) == [True]
    assert event["data"]["id"] == ref


def verified(secret, headers, body):
    """Whether each signature is this secret's."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.digest(key, text, hashlib.sha256)).decode()
    return [s == f"v1,{wanted}" for s in headers["webhook-signature"].split(" ")]


def test_after_a_rotation_both_secrets_sign_for_a_day_and_a_third_drops_the_first(
    api, receiver
):
    ref, first = (hook := add_local(api, receiver.url)).ref, hook.secret
    second = patch(api, ref, {"rotate": True}).json["secret"]
    assert second != first and "secret" not in show(api, ref)

    def signatures(*secrets):
        api.add(f"c{api.clock()}@x.org")
        send(api)
        _, headers, body = receiver.requests[-1]
        return [verified(secret, headers, body) for secret in secrets]

    assert signatures(second, first) == [[True, False], [False, True]]
    api.turn(DAY - 1)
    assert signatures(second, first) == [[True, False], [False, True]]
    third = patch(api, ref, {"rotate": True}).json["secret"]
    assert signatures(third, second, first)[2] == [False, False]
    api.turn(DAY)
    assert signatures(third) == [[True]]


def test_each_endpoint_gets_what_it_wants(api, receiver):
    add_local(api, f"{receiver.url}/all")
    add_local(api, f"{receiver.url}/deleted", events=["contact.deleted"])
    disabled = add_local(api, f"{receiver.url}/disabled")
    patch(api, disabled.ref, {"enabled": False})
    (ref,) = api.add("a@x.org")
    send(api)
    api.patch(ref, {"n": 1})
    called(api, ref)
    send(api)
    api.ask("DELETE", f"/v1/contacts/{ref}")
    send(api)
    sent = [(path, json.loads(body)["type"]) for path, _, body in receiver.requests]
    assert sorted(sent) == [
        ("/all", "call.created"),
        ("/all", "contact.created"),
        ("/all", "contact.deleted"),
        ("/all", "contact.updated"),
        ("/deleted", "contact.deleted"),
    ]


def test_every_type_of_event_can_be_wanted(api):
    """None is forgotten here when another part learns to tell of something new."""
    add(api, events=list(TYPES))
    (ref,) = api.add("a@x.org")
    company = api.post({"name": "Acme"}, "/v1/companies").json["id"]
    move = api.ask("PATCH", f"/v1/companies/{company}", {"n": 1})
    assert move.status_int == 200 and call_events(api) == []
    api.revoke(api.key("secret"))
    api.ask("DELETE", f"/v1/contacts/{ref}")
    types = {event["type"] for event in api.get("/v1/events").json["data"]}
    assert types <= set(TYPES)


def test_an_import_is_announced_event_for_event(free, receiver):
    add_local(free, receiver.url)
    lines = "".join(json.dumps({"email": f"c{n}@x.org"}) + "\n" for n in range(50))
    headers = {"Content-Type": "application/jsonl"}
    path = "/v1/contacts.jsonl"
    free.ask("POST", path, lines.encode(), headers=headers)
    send(free)
    emails = [one["data"]["email"] for one in receiver.told]
    assert emails == [f"c{n}@x.org" for n in range(50)]


def test_what_a_transaction_that_fails_told_goes_nowhere(api):
    add(api)
    (ref,) = api.add("a@x.org")
    api.post({"email": "b@x.org"})
    assert api.patch(ref, {"email": "b@x.org"}).status_int == 409
    assert len(deliveries(api)) == 2


def test_a_chat_gets_its_own_shape(api, receiver):
    add_local(api, f"{receiver.url}/a/topic", shape="ntfy", events=["contact.created"])
    add_local(api, f"{receiver.url}/hook", shape="slack", events=["contact.created"])
    api.post({"email": "a@x.org", "note": "<!channel> & @here"})
    send(api)
    bodies = {path: json.loads(body) for path, _, body in receiver.requests}
    ntfy, slack = bodies["/a/"], bodies["/hook"]
    assert (ntfy["topic"], ntfy["title"]) == ("topic", "contact.created")
    assert "note: <!channel> & @\u200bhere" in ntfy["message"]
    assert "note: &lt;!channel&gt; &amp; @\u200bhere" in slack["text"]
    assert not any("webhook-id" in headers for _, headers, _ in receiver.requests)


def test_what_was_erased_with_its_contact_is_not_sent_but_that_it_is_gone(
    api, receiver
):
    add_local(api, receiver.url)
    (ref,) = api.add("ada@example.com")
    api.patch(ref, {"n": 1})
    called(api, ref)
    api.ask("DELETE", f"/v1/contacts/{ref}")
    send(api)
    assert [(one["type"], one["data"]) for one in receiver.told] == [
        ("contact.deleted", {"id": ref})
    ]
    assert len(deliveries(api)) == 1


def test_a_large_record_comes_whole(make, receiver):
    api = make(CONTACTAPI_MAX_BODY=str(2**22))
    add_local(api, receiver.url)
    api.post({"email": "a@x.org", "bio": "é" * 10**6})
    send(api)
    assert receiver.told[0]["data"]["bio"] == "é" * 10**6


# -- what the receiver says


def met_with(api, receiver, *answers):
    receiver.answers = list(answers)
    hook = add_local(api, receiver.url)
    api.add("a@x.org")
    send(api)
    (row,) = deliveries(api)
    return hook, row


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_means_that_it_arrived(api, receiver, status):
    body = b"" if status == 204 else b"thank you"
    _, row = met_with(api, receiver, (status, body, {}))
    assert (row["state"], row["tries"], row["last_status"]) == ("delivered", 1, status)
    assert row["next_try_at"] is None


@pytest.mark.parametrize("status", [199, 300, 301, 307, 400, 401, 404, 429, 500, 503])
def test_anything_else_is_tried_again_by_the_schedule(api, receiver, status):
    receiver.answers = [(status, b"no", {"Location": f"{receiver.url}/else"})] * 99
    api.services.outbox.chance = lambda: 0.5
    add_local(api, receiver.url)
    api.add("a@x.org")
    moments = []
    for pause in (0, 1, 5, 30, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400):
        api.turn(pause)
        before = len(receiver.requests)
        send(api)
        moments.append(len(receiver.requests) - before)
        if status != 404 and len(moments) == 3:
            return
    assert moments == [1] * 12
    assert {path for path, _, _ in receiver.requests} == {"/"}
    refs = {headers["webhook-id"] for _, headers, _ in receiver.requests}
    stamps = {headers["webhook-timestamp"] for _, headers, _ in receiver.requests}
    assert len(refs) == 1 and len(stamps) == 12
    (row,) = deliveries(api)
    assert (row["state"], row["tries"], row["last_status"]) == ("failed", 12, 404)


@pytest.mark.parametrize(
    "said, seconds",
    [("120", 120), ("Sat, 04 Jul 2026 10:02:00 GMT", 120), ("999999", DAY)],
)
def test_retry_after_is_heeded_up_to_a_day(api, receiver, said, seconds):
    _, row = met_with(api, receiver, (429, b"slow down", {"Retry-After": said}))
    at = contactapi.iso(contactapi.micros(api.clock() + seconds))
    assert (row["state"], row["next_try_at"]) == ("waiting", at)
    api.turn(seconds - 1)
    send(api)
    assert len(receiver.requests) == 1
    api.turn(1)
    send(api)
    assert deliveries(api)[0]["state"] == "delivered"


def test_410_disables_the_endpoint_and_what_waits_stays(api, receiver, caplog):
    hook = add_local(api, receiver.url)
    refs = api.add("a@x.org", "b@x.org")
    receiver.answers = [(410, b"gone", {})]
    send(api)
    shown = show(api, hook.ref)
    assert shown["enabled"] is False and "410" in shown["reason"]
    assert f"{hook.ref} (127.0.0.1) is disabled" in caplog.text
    ((key, data, changed),) = told(api, "webhook.updated")
    assert (key, data["enabled"], changed) == ("delivery", False, ["enabled", "reason"])
    states = [(row["state"], row["next_try_at"]) for row in deliveries(api)]
    assert states == [("waiting", None), ("failed", None)]
    api.patch(refs[0], {"n": 1})
    api.turn(3 * DAY)
    send(api)
    assert len(receiver.requests) == 1 and len(deliveries(api)) == 2
    patch(api, hook.ref, {"enabled": True})
    send(api)
    assert [row["state"] for row in deliveries(api)] == ["delivered", "failed"]


def test_five_days_of_nothing_but_failures_disable_the_endpoint(api, receiver):
    hook, _ = met_with(api, receiver, *[(500, b"", {})] * 999)
    for _ in range(5 * 24 - 1):
        api.turn(3600)
        send(api)
    assert show(api, hook.ref)["enabled"] is True
    api.add("late@x.org")
    api.turn(3601)
    send(api)
    shown = show(api, hook.ref)
    assert (shown["enabled"], shown["reason"]) == (
        False,
        "nothing was taken for five days",
    )


def test_what_waits_goes_at_once_to_a_new_url(api, receiver):
    hook, row = met_with(api, receiver, (503, b"", {"Retry-After": "86400"}))
    cli = contactapi.operator("cli")
    change = Webhooks(api.services).update(
        cli, hook.ref, {"url": f"{receiver.url}/new"}
    )
    api.services.store.write(change)
    send(api)
    assert [path for path, _, _ in receiver.requests] == ["/", "/new"]
    assert deliveries(api)[0]["state"] == "delivered"


def test_what_had_failed_goes_at_once_when_its_endpoint_is_enabled(api, receiver):
    hook, row = met_with(api, receiver, (503, b"", {"Retry-After": "86400"}))
    patch(api, hook.ref, {"enabled": False})
    send(api)
    assert len(receiver.requests) == 1
    patch(api, hook.ref, {"enabled": True})
    send(api)
    assert deliveries(api)[0]["state"] == "delivered"


def test_a_success_ends_the_five_days(api, receiver):
    hook, _ = met_with(api, receiver, (500, b"", {}))
    api.turn(4 * DAY)
    send(api)
    receiver.answers = [(500, b"", {})] * 9
    api.turn(2 * DAY)
    api.add("b@x.org")
    send(api)
    assert show(api, hook.ref)["enabled"] is True


def answers_with(handler, data):
    """Says these bytes and closes."""
    handler.wfile.write(data)
    handler.wfile.flush()


BROKEN = {
    "nothing": b"",
    "half a status line": b"HTTP/1.1 2",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "no HTTP": b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
    "a line without end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
    "headers without number": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_an_answer_that_cannot_be_read_is_none(api, receiver, data):
    _, row = met_with(api, receiver, lambda handler: answers_with(handler, data))
    assert (row["state"], row["last_status"]) == ("waiting", None)
    assert row["last_answer"].startswith("it cannot be reached")


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n\xff\xfe",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10_000_000,
    ],
)
def test_a_body_that_breaks_off_or_is_large_has_said_its_status(api, receiver, data):
    _, row = met_with(api, receiver, lambda handler: answers_with(handler, data))
    assert (row["state"], row["last_status"]) == ("delivered", 200)


def trickle(handler):
    """A byte now and then, for ever."""
    with contactapi.contextlib.suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while True:
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.02)


def hang(handler):
    handler.rfile.read(1)


@pytest.mark.parametrize("habit", [trickle, hang])
def test_one_that_trickles_or_hangs_is_left_in_time(api, receiver, habit, monkeypatch):
    monkeypatch.setattr(outgoing, "SECONDS", 0.3)
    _, row = met_with(api, receiver, habit)
    assert (row["state"], row["last_status"]) == ("waiting", None)
    assert row["last_answer"] == "no answer within 0.3 seconds"


def test_one_that_takes_connections_and_reads_nothing_is_left_in_time(
    make, monkeypatch
):
    monkeypatch.setattr(outgoing, "SECONDS", 0.3)
    api = make(CONTACTAPI_MAX_BODY=str(2**26))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        add_local(api, f"http://127.0.0.1:{listener.getsockname()[1]}/")
        api.post({"email": "a@x.org", "bio": "x" * (2**26 - 1000)})
        send(api)
    assert deliveries(api)[0]["last_answer"] == "no answer within 0.3 seconds"


def test_one_that_is_not_there_waits(api):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    add_local(api, url)
    api.add("a@x.org")
    send(api)
    (row,) = deliveries(api)
    assert row["last_answer"] == "it cannot be reached: Connection refused"


def test_plain_http_where_tls_is_spoken_waits(api, receiver):
    add_local(api, receiver.url.replace("http", "https"))
    api.add("a@x.org")
    send(api)
    (row,) = deliveries(api)
    assert row["state"] == "waiting" and "cannot be reached" in row["last_answer"]


# -- which address it goes to


def resolving(monkeypatch, *answers):
    """Names lead to these addresses, one after the other; how often it was asked."""
    asked, look_up = [], socket.getaddrinfo

    def getaddrinfo(host, port, *args, **options):
        if options.get("flags"):
            return look_up(host, port, *args, **options)
        asked.append(host)
        found = answers[min(len(asked), len(answers)) - 1]
        kind = (socket.SOCK_STREAM, 6, "")
        return [
            (socket.AF_INET6 if ":" in ip else socket.AF_INET, *kind, (ip, port))
            for ip in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def listening(receiver):
    return int(receiver.url.rpartition(":")[2])


@pytest.mark.parametrize("ip", ["127.0.0.1", "10.0.0.7", "::1", "::ffff:127.0.0.1"])
def test_a_name_that_leads_to_no_public_address_is_not_connected_to(
    api, receiver, monkeypatch, ip
):
    asked = resolving(monkeypatch, [ip])
    add(api, f"http://rebound.example.com:{listening(receiver)}/")
    api.add("a@x.org")
    send(api)
    assert asked == ["rebound.example.com"] and receiver.requests == []
    assert deliveries(api)[0]["last_answer"] == "its address is not public"


def test_the_address_that_was_looked_at_is_the_one_that_is_connected_to(
    api, receiver, monkeypatch
):
    """The name's owner answers with a public address first, then with ours."""
    asked = resolving(monkeypatch, ["203.0.113.9"], ["127.0.0.1"])
    reached, connect = [], socket.socket.connect

    def noted(sock, address):
        reached.append(address)
        connect(sock, ("127.0.0.1", 9))

    monkeypatch.setattr(socket.socket, "connect", noted)
    monkeypatch.setattr(outgoing, "is_public", lambda ip: str(ip) == "203.0.113.9")
    add(api, f"http://rebound.example.com:{listening(receiver)}/")
    api.add("a@x.org")
    send(api)
    assert asked == ["rebound.example.com"] and receiver.requests == []
    assert reached == [("203.0.113.9", listening(receiver))]


def test_of_several_addresses_those_that_are_not_public_are_passed_by(
    api, receiver, monkeypatch
):
    resolving(monkeypatch, ["10.0.0.1", "127.0.0.1"])
    monkeypatch.setattr(outgoing, "is_public", lambda ip: str(ip) == "127.0.0.1")
    add(api, f"http://both.example.com:{listening(receiver)}/x")
    api.add("a@x.org")
    send(api)
    assert [path for path, _, _ in receiver.requests] == ["/x"]
    _, headers, _ = receiver.requests[0]
    assert headers["Host"] == f"both.example.com:{listening(receiver)}"


def test_an_address_that_says_nothing_leaves_time_for_the_next(
    api, receiver, monkeypatch
):
    resolving(monkeypatch, ["203.0.113.9", "127.0.0.1"])
    monkeypatch.setattr(outgoing, "is_public", lambda ip: True)
    monkeypatch.setattr(outgoing, "SECONDS", 2)
    connect = socket.socket.connect

    def silent(sock, address):
        if address[0] == "203.0.113.9":
            time.sleep(sock.gettimeout())
            raise TimeoutError
        connect(sock, address)

    monkeypatch.setattr(socket.socket, "connect", silent)
    add(api, f"http://both.example.com:{listening(receiver)}/x")
    api.add("a@x.org")
    send(api)
    assert [path for path, _, _ in receiver.requests] == ["/x"]
    assert deliveries(api)[0]["state"] == "delivered"


def test_a_redirect_to_an_address_of_ours_is_not_followed(api, receiver):
    _, row = met_with(api, receiver, (302, b"", {"Location": f"{receiver.url}/else"}))
    assert [path for path, _, _ in receiver.requests] == ["/"]
    assert (row["state"], row["last_status"]) == ("waiting", 302)


def test_a_url_that_is_changed_over_http_must_be_public_though_the_first_was_not(
    api, receiver, monkeypatch
):
    hook = add_local(api, receiver.url)
    patch(api, hook.ref, {"events": ["contact.created"]})
    api.add("a@x.org")
    send(api)
    assert len(receiver.requests) == 1
    answer = patch(api, hook.ref, {"url": f"{receiver.url}/other"})
    assert failure(answer) == (400, "invalid_request", "url")
    resolving(monkeypatch, ["127.0.0.1"])
    url = f"http://inside.example.com:{listening(receiver)}/"
    assert patch(api, hook.ref, {"url": url}).status_int == 200
    api.add("b@x.org")
    send(api)
    assert len(receiver.requests) == 1


def test_what_an_address_that_is_not_public_answered_is_shown_as_its_status(
    api, receiver
):
    hook, row = met_with(api, receiver, (200, b"the secrets of the house", {}))
    assert (row["last_status"], row["last_answer"]) == (200, None)
    answer = api.post({}, f"/v1/webhooks/{hook.ref}/test")
    assert answer.json == {"status": 200, "answer": None}


def test_what_a_public_one_answered_is_shown_as_it_begins(api, receiver, monkeypatch):
    monkeypatch.setattr(outgoing, "is_public", lambda ip: True)
    hook, row = met_with(api, receiver, (200, b"\xc3\xa9" * 300, {}))
    assert row["last_answer"] == "é" * 200
    receiver.answers = [(403, b"who are you?", {})]
    answer = api.post({}, f"/v1/webhooks/{hook.ref}/test")
    assert answer.json == {"status": 403, "answer": "who are you?"}


# -- a test


def test_a_test_is_sent_at_once_and_stands_in_no_list(api, receiver):
    hook = add_local(api, f"{receiver.url}/in")
    api.post({}, f"/v1/webhooks/{hook.ref}/test")
    ((path, headers, body),) = receiver.requests
    assert json.loads(body) == {
        "type": "test",
        "timestamp": "2026-07-04T10:00:00Z",
        "workspace": "default",
        "data": {"webhook": hook.ref},
    }
    assert verified(hook.secret, headers, body) == [True]
    assert deliveries(api) == []


def test_a_test_that_nobody_answers_says_so(api, monkeypatch):
    resolving(monkeypatch, ["127.0.0.1"])
    ref = add(api)["id"]
    answer = api.post({}, f"/v1/webhooks/{ref}/test")
    assert (answer.status_int, answer.json) == (200, {"status": None, "answer": None})


# -- deliveries


def test_deliveries_are_listed_newest_first_and_paged(api):
    hook = add(api)
    api.add("a@x.org", "b@x.org", "c@x.org")
    page = api.get("/v1/deliveries?page_size=2").json
    events = [e["id"] for e in api.get("/v1/events").json["data"]][-3:]
    assert [row["event"] for row in page["data"]] == events[:0:-1]
    assert {k: v for k, v in page.items() if k != "data"} == {
        **{"page": 1, "page_size": 2, "total": 3, "total_pages": 2}
    }
    row = page["data"][0]
    assert row == {
        "id": row["id"],
        "event": events[-1],
        "webhook": hook["id"],
        "host": "hooks.example.com",
        "state": "waiting",
        "tries": 0,
        "next_try_at": "2026-07-04T10:00:00Z",
        "last_status": None,
        "last_answer": None,
    }
    assert deliveries(api, "?page=2&page_size=2")[0]["event"] == events[0]
    assert deliveries(api, f"?page={10**30}") == []


def test_calls_are_no_deliveries_and_cannot_be_sent_again(make, twilio):
    api = make(**twilio.settings)
    called(api)
    assert api.get("/v1/deliveries").json["total"] == 0
    for number in (1, 2):
        path = f"/v1/deliveries/dlv_{contactapi.base32(number)}/retry"
        assert api.post({}, path).status_int == 404
    assert twilio.requests == []


def retry(api, row):
    return api.post({}, f"/v1/deliveries/{row['id']}/retry")


@pytest.mark.parametrize("status", [200, 500])
def test_one_is_sent_again_be_it_delivered_or_not_and_its_tries_go_on(
    api, receiver, status
):
    _, row = met_with(api, receiver, (status, b"", {}))
    again = retry(api, row).json
    assert (again["id"], again["state"], again["tries"]) == (row["id"], "waiting", 1)
    send(api)
    (row,) = deliveries(api)
    assert (row["state"], row["tries"], row["last_status"]) == ("delivered", 2, 200)
    refs = [headers["webhook-id"] for _, headers, _ in receiver.requests]
    assert refs == [row["event"]] * 2


def test_one_that_has_failed_for_good_gets_one_more_try(api, receiver):
    api.services.outbox.senders["webhook"].RETRIES = (1,)
    met_with(api, receiver, *[(500, b"", {})] * 3)
    api.turn(2)
    send(api)
    (row,) = deliveries(api)
    assert (row["state"], row["tries"]) == ("failed", 2)
    retry(api, row)
    send(api)
    api.turn(DAY)
    send(api)
    (row,) = deliveries(api)
    assert (row["state"], row["tries"], len(receiver.requests)) == ("failed", 3, 3)


def test_one_of_a_disabled_webhook_is_409(api):
    ref = add(api)["id"]
    api.add("a@x.org")
    patch(api, ref, {"enabled": False})
    answer = retry(api, deliveries(api)[0])
    assert failure(answer)[:2] == (409, "conflict")


@pytest.mark.parametrize("ref", ["dlv_0", "x", NO_ONE, "dlv_" + "z" * 26, "%00"])
def test_one_that_is_not_there_cannot_be_sent_again(api, ref):
    assert api.post({}, f"/v1/deliveries/{ref}/retry").status_int == 404


def test_deliveries_are_kept_for_30_days(api, receiver):
    add_local(api, receiver.url)
    api.add("a@x.org")
    send(api)
    api.turn(30 * DAY)
    keep_house(api).tidy()
    assert len(deliveries(api)) == 1
    api.turn(1)
    keep_house(api).tidy()
    assert deliveries(api) == []


def test_nothing_of_a_url_but_its_host_is_told_but_to_who_lists_webhooks(
    api, receiver, caplog
):
    add_local(api, f"{receiver.url}/s3cret")
    receiver.answers = [(500, b"", {})] * 3 + [(410, b"", {})]
    api.add("a@x.org", "b@x.org", "c@x.org", "d@x.org")
    send(api)
    assert "s3cret" in api.get("/v1/webhooks").text
    assert "s3cret" not in api.get("/v1/deliveries").text
    assert "s3cret" not in api.get("/v1/events").text
    assert "s3cret" not in caplog.text and "disabled" in caplog.text


# -- beside each other


def test_a_webhook_that_is_deleted_while_it_is_sent_to_harms_nothing(api, receiver):
    hook = add_local(api, receiver.url)

    def deleted(handler):
        work = Webhooks(api.services).delete(contactapi.operator("cli"), hook.ref)
        api.services.store.write(work)
        return 500, b"", {}

    receiver.answers = [deleted]
    api.add("a@x.org")
    send(api)
    assert deliveries(api) == [] and api.get("/v1/webhooks").json["total"] == 0


def test_without_webhooks_an_event_costs_one_look_more(free):
    """Counted in steps of SQLite's machine."""
    steps, store = [], free.services.store

    def work_of_a_post(email):
        connection = store.writing.connection()
        steps.clear()
        connection.set_progress_handler(lambda: steps.append(1) and 0, 1)
        free.post({"email": email})
        connection.set_progress_handler(None, 0)
        return len(steps)

    free.add("a@x.org")
    with_hook = work_of_a_post("b@x.org")
    free.services.events.listeners.clear()
    assert with_hook <= 1.3 * work_of_a_post("c@x.org")


# -- submissions


def submit(client, key, **fields):
    """The submission's id, which a form's post was answered with."""
    headers = {"Origin": "https://example.com", "Accept": "application/json"}
    answer = client.ask("POST", f"/f/{key}", fields, key=None, headers=headers)
    assert answer.status_int == 200, answer.text
    return answer.json["submission"]


def test_an_accepted_submission_is_told_as_it_is_shown(free, receiver):
    add_local(free, f"{receiver.url}/all", events=["submission.accepted"])
    add_local(free, f"{receiver.url}/slack", shape="slack")
    form = free.key("publishable")
    ref = submit(free, form, email="ada@example.com", subject="Hi", message="<b> @all")
    send(free)
    told = {path: json.loads(body) for path, _, body in receiver.requests}
    assert told["/all"]["data"] == free.get(f"/v1/submissions/{ref}").json
    assert told["/slack"]["text"] == (
        "New message: Hi\nemail: ada@\u200bexample.com\nsubject: Hi\n"
        f"message: &lt;b&gt; @\u200ball\nfrom https\u200b://example.com, {ref}"
    )


def test_spam_is_told_nobody(free, receiver):
    add_local(free, receiver.url)
    submit(free, free.key("publishable"), message="x", _gotcha="filled")
    send(free)
    assert receiver.requests == []


def test_what_was_sent_of_a_submission_goes_with_it(free, receiver):
    add_local(free, receiver.url)
    form = free.key("publishable")
    receiver.answers = [(500, b"", {})]
    ref = submit(free, form, message="first")
    send(free)
    submit(free, form, message="second")
    send(free)
    assert len(deliveries(free)) == 2
    assert free.ask("DELETE", f"/v1/submissions/{ref}").status_int == 200
    send(free)
    kinds = [one["type"] for one in receiver.told]
    assert kinds == ["submission.accepted", "submission.accepted", "submission.deleted"]
    assert receiver.told[-1]["data"] == {"id": ref}
    rows = [row["state"] for row in deliveries(free)]
    assert rows == ["delivered", "delivered"]


def test_with_its_contact_go_a_persons_submissions_and_what_waits_of_them(
    free, receiver
):
    add_local(free, receiver.url)
    submit(free, free.key("publishable"), email="ada@example.com", message="x")
    (contact,) = free.get("/v1/contacts").json["data"]
    free.ask("DELETE", f"/v1/contacts/{contact['id']}")
    send(free)
    assert [one["type"] for one in receiver.told] == ["contact.deleted"]
