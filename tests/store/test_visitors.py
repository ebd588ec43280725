"""What a visitor's post does: the same work for every email, a bounded share of a
record, and events that repeat nothing which did not change."""

import ipaddress
import json
import unicodedata

import pytest

import contactapi
from client import PAGE, UNKNOWN, history
from extras.event_log import EventLog
from extras.history import feed
from extras.upkeep import problems

HALF = 65536 // 2


class Visitor:
    """Posts with a publishable key, each time as somebody else, so that nothing counts
    as sent twice; `whole` is what /v1 shows after each post."""

    def __init__(self, client, **options):
        self.client, self.sent, self.whole = client, 0, []
        self.addresses = ipaddress.ip_network("198.51.0.0/16").hosts()
        self.key = client.key("publishable", **options)

    def post(self, email, **fields):
        body = json.dumps({"email": email, **fields}, ensure_ascii=False).encode()
        self.sent += len(body)
        who = {"REMOTE_ADDR": str(next(self.addresses))}
        answer = self.client.post(body, key=self.key, headers=PAGE, **who)
        assert answer.status_int == 201, answer.text
        shown = self.client.get(f"/v1/contacts/{answer.json['id']}")
        self.whole.append(shown.text)
        return answer.json


@pytest.fixture
def visitor(free):
    return Visitor(free)


def fields_of(client, email):
    (shown,) = client.get(f"/v1/contacts?email={email}").json["data"]
    ours = ("id", "email", "created_at", "updated_at")
    return {name: shown[name] for name in shown if name not in ours}


def events(client):
    """Of contacts and calls: (how they are stored: number, base, data; the numbers
    counting from 1), (their data on the wire)."""
    sql = "SELECT id, base, data FROM event WHERE type LIKE 'c%' ORDER BY id"
    stored = client.services.store.rows(sql)
    count = {row[0]: number for number, row in enumerate(stored, 1)}
    rows = [(count[number], count.get(base), data) for number, base, data in stored]
    log = EventLog(client.services.submissions)
    told, after, more = [], None, True
    while more:
        page = feed(log, client.workspace, after, 1000)
        told, after, more = told + page.rows, page.last, page.more
    return rows, [row.data for row in told if row.type.startswith("c")]


# -- the same work


class Work:
    """Counts what is done: statements, and calls of what grows with a text."""

    def __init__(self, monkeypatch, store):
        self.done = []
        for name in ("run", "run_many", "row", "rows"):
            monkeypatch.setattr(store, name, self.counted(getattr(store, name)))
        for name in ("dump", "fold", "searchable", "dump_texts", "parse_object"):
            function = getattr(contactapi, name)
            monkeypatch.setattr(contactapi, name, self.named(name, function))
        monkeypatch.setattr(json, "loads", self.named("loads", json.loads))
        normalize = self.named("normalize", unicodedata.normalize)
        monkeypatch.setattr(unicodedata, "normalize", normalize)

    def counted(self, method):
        def call(sql, params=()):
            self.done.append(sql)
            return method(sql, params)

        return call

    def named(self, name, function):
        def call(*arguments):
            self.done.append(name)
            return function(*arguments)

        return call

    def of(self, step):
        self.done.clear()
        step()
        return list(self.done)


SMALL = {"name": "Ada", "plan": "pro"}
SHAPES = {
    "small": (SMALL, SMALL),
    "large body": ({"text": "é" * 8000}, SMALL),
    "large record": (SMALL, {"notes": "n" * 30_000}),
    "record that is the owner's whole": (SMALL, {"notes": "n" * 65_000}),
    "many fields": (
        {f"field {n}": n for n in range(90)},
        {f"field {n}": {"n": n} for n in range(180)},
    ),
    "nested": ({"a": [1, {"b": None}], "c": None}, {"a": [1, {"b": 0}], "c": {}}),
    "nothing new": (SMALL, SMALL),
    "no field": ({}, SMALL),
}


@pytest.mark.parametrize("existing", ["update", "keep"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_known_email_is_the_same_work_as_a_new_one(
    free, monkeypatch, shape, existing
):
    sent, stored = SHAPES[shape]
    key = free.key("publishable", existing=existing)
    free.add("known@example.com", **stored)

    def post(email):
        answer = free.post({"email": email, **sent}, key=key, headers=PAGE)
        assert answer.status_int == 201

    work = Work(monkeypatch, free.services.store)

    def work_of_post(email):
        free.turn(61)  # or it would be the same sent twice
        post("warm@example.com")  # the key is looked up once
        free.turn(1)
        return work.of(lambda: post(email))

    new = work_of_post("fresh@example.com")
    assert len(new) > 15
    for _ in range(2):  # an event that rests, and one after it
        assert work_of_post("known@example.com") == new


def test_the_answer_shows_what_was_sent_and_the_time_of_this_write(free, visitor):
    free.add("ada@example.com", plan="pro", secret="s")
    free.turn(86_400)
    for email in ("Ada@example.com", "eva@example.com"):
        answer = visitor.post(email, plan="max")
        ref = answer.pop("id")
        assert answer == {
            "email": email,
            "plan": "max",
            "created_at": "2026-07-05T10:00:00Z",
            "updated_at": "2026-07-05T10:00:00Z",
        }
        assert len(ref) == len(UNKNOWN)
    assert fields_of(free, "ada@example.com") == {"plan": "max", "secret": "s"}


# -- a visitor's share


def test_a_visitor_fills_half_of_a_records_bytes(free, visitor):
    room = HALF - len('{"a":"","b":"","c":""}')
    visitor.post("ada@example.com", a="x" * 15_000)
    visitor.post("ada@example.com", b="x" * 15_000)
    visitor.post("ada@example.com", c="x" * (room - 30_000))
    before = visitor.whole[-1]
    free.turn(5)
    answer = visitor.post("ada@example.com", c="x" * (room - 30_000 + 1))
    assert answer["updated_at"] == "2026-07-04T10:00:05Z"
    assert visitor.whole[-1] == before
    assert free.patch(answer["id"], {"mine": "y" * (HALF - 20)}).status_int == 200


def test_bytes_are_counted_not_characters(visitor):
    visitor.post("ada@example.com", a="é" * 7000, b="é")
    visitor.post("ada@example.com", b="é" * 7000)
    before = visitor.whole[-1]
    visitor.post("ada@example.com", c="é" * 7000)
    assert visitor.whole[-1] == before


def test_a_visitor_fills_200_of_a_records_names(free, visitor):
    for first in (0, 90, 180):
        visitor.post(
            "ada@example.com", **{f"f{n}": 1 for n in range(first, first + 90)}
        )
    assert len(fields_of(free, "ada@example.com")) == 180
    visitor.post("ada@example.com", **{f"f{n}": 1 for n in range(180, 200)})
    assert len(fields_of(free, "ada@example.com")) == 200
    visitor.post("ada@example.com", **{"f0": 2, "f200": 1})
    assert fields_of(free, "ada@example.com")["f0"] == 1
    visitor.post("ada@example.com", f0=2)
    assert fields_of(free, "ada@example.com")["f0"] == 2


def test_what_the_owner_filled_beyond_a_visitor_may_write_over_but_not_enlarge(
    free, visitor
):
    names = {f"f{n}": "" for n in range(300)}
    free.add("ada@example.com", plan="pro", notes="n" * 50_000, **names)
    before = fields_of(free, "ada@example.com")
    visitor.post("ada@example.com", extra="x")
    visitor.post("ada@example.com", plan="prof")
    assert fields_of(free, "ada@example.com") == before
    visitor.post("ada@example.com", plan="max")
    assert fields_of(free, "ada@example.com") == {**before, "plan": "max"}


def test_what_was_not_written_is_kept_in_the_history(free, visitor):
    (ref,) = free.add("ada@example.com", notes="n" * 60_000)
    visitor.post("ada@example.com", extra="x" * 300)
    accepted, updated = free.get(f"/v1/contacts/{ref}/history").json["data"][:2]
    sent = {"email": "ada@example.com", "extra": "x" * 300}
    assert accepted["data"]["fields"] == sent
    assert updated["changed"] == [] and "extra" not in updated["data"]


def test_a_new_record_takes_no_more_than_a_visitors_share_either(free, visitor):
    """1e15 is stored as 1000000000000000.0: four times what was sent."""
    body = b'{"email":"ada@example.com","a":[%s1]}' % (b"1e15," * 3000)
    answer = free.post(body, key=visitor.key, headers=PAGE)
    assert answer.status_int == 201 and len(answer.json["a"]) == 3001
    assert fields_of(free, "ada@example.com") == {}
    created, accepted = free.get("/v1/events").json["data"][-2:]
    assert created["changed"] == ["email"]
    assert len(accepted["data"]["fields"]["a"]) == 3001


# -- events that rest on a whole one


GROWN = {f"f{n}": "x" * 140 for n in range(90)}


def test_an_event_of_a_visitor_repeats_nothing_that_did_not_change(free, visitor):
    free.add("ada@example.com", **GROWN)
    visitor.post("ada@example.com", f7="y")
    visitor.post("ada@example.com", z=[1])
    rows, _ = events(free)
    assert [base for _, base, _ in rows] == [None, 1, 1]
    at = '"updated_at":"2026-07-04T10:00:00Z"'
    assert rows[1][2] == f'{{"f7":"y",{at}}}'
    assert rows[2][2] == f'{{"f7":"y",{at},"z":[1]}}'


ODD = [
    {"a": 1.0, "b": 10**40, "c": "\0é😀\u2028", "d": {"x": [1e300, -0.0, None]}},
    {"a": 1, "e": True, "": "", "€": 0.1},
    {},
    {"a": 1.0, "d": {"y": 1}, "id": "mine", "created_at": "never", "b": None},
    {"e": 1, "f": "x" * 3000},
    {"f": "x"},
    {"a": 1.0, "g": {"updated_at": 1}},
]


@pytest.mark.parametrize("existing", ["update", "keep"])
def test_the_wire_shows_an_event_that_rests_as_the_record_was_to_the_byte(
    free, existing
):
    visitor = Visitor(free, existing=existing)
    visitor.post("Ada@example.com", **ODD[0])
    (ref,) = free.add("Eva@example.com", **GROWN, last=1.50)
    for fields in ODD:
        free.turn(7)
        visitor.post("ada@example.com", **fields)
        visitor.post("eva@example.com", **fields)
        free.patch(ref, {"mine": fields})
        visitor.whole.append(free.get(f"/v1/contacts/{ref}").text)
    rows, told = events(free)
    assert sum(base is not None for _, base, _ in rows) >= 8
    assert told[:1] + told[2:] == visitor.whole
    events_of = free.get(f"/v1/contacts/{ref}/history?limit=1000").json["data"]
    assert [e["data"] for e in reversed(events_of) if e["record"] == ref] == [
        json.loads(text) for text in told if ref in text
    ]
    exported = free.get(f"/v1/contacts/{ref}/export").json["history"]
    assert exported == events_of


def test_what_another_key_writes_is_whole(free, visitor):
    free.add("ada@example.com", **GROWN)
    visitor.post("ada@example.com", f1="y")
    free.post({"email": "ada@example.com", "f1": "z"})
    visitor.post("ada@example.com", f1="y")
    rows, _ = events(free)
    assert [base for _, base, _ in rows] == [None, 1, None, 3]


def test_no_alternation_of_large_and_small_posts_amplifies(free, visitor):
    (ref,) = free.add("ada@example.com")
    before = stored(free)
    for number in range(40):
        visitor.post("ada@example.com", **{"ab"[number % 2]: "x" * 12_000, "n": number})
        visitor.post("ada@example.com", n=-number)
    assert stored(free) - before < 5 * visitor.sent
    rows, told = events(free)
    assert told[1:] == visitor.whole
    assert any(base for _, base, _ in rows)


def test_a_small_post_after_many_others_is_whole_again(free, visitor):
    free.add("ada@example.com", **GROWN)
    for number in range(60):
        visitor.post("ada@example.com", **{f"f{number}": "y" * 20})
    rows, told = events(free)
    whole = [number for number, base, _ in rows if base is None]
    assert 3 <= len(whole) <= 10
    assert told[1:] == visitor.whole


def stored(client):
    """Bytes of the log's texts."""
    sql = "SELECT sum(length(data) + length(changed)) FROM event"
    return client.services.store.row(sql)[0] or 0


@pytest.mark.parametrize("shape", ["one field", "field by field", "kept as it is"])
def test_small_posts_to_a_grown_record_grow_the_file_by_little(free, visitor, shape):
    """By 10 to 35 times the bodies' bytes; whole events would be 1,400 times."""
    free.add("ada@example.com", **GROWN, notes="n" * 40_000)
    store, posts = free.services.store, 200

    def pages():
        return store.row("PRAGMA page_count")[0] * store.row("PRAGMA page_size")[0]

    before = pages()
    for number in range(posts):
        name = {"one field": "f1", "field by field": f"f{number % 90}"}.get(
            shape, "new"
        )
        visitor.post("ada@example.com", **{name: "y"})
    grown = pages() - before
    assert grown < 50 * visitor.sent
    assert events(free)[1][1:] == visitor.whole


# -- when the event on which others rest goes


def test_when_a_whole_event_expires_the_first_that_stays_becomes_whole(free, visitor):
    (ref,) = free.add("ada@example.com", **GROWN)
    other = Visitor(free)
    other.post("eva@example.com", **GROWN)
    for number in range(8):
        free.turn(86_400)
        visitor.post("ada@example.com", **{f"f{number}": "y", f"g{number}": number})
        visitor.post("ada@example.com", f0=f"y{number}")
        other.post("eva@example.com", f1=number)
    _, told = events(free)
    for days in range(8):
        before = contactapi.micros(free.clock() - (8 - days) * 86_400 + 1)
        free.services.events.expire(before)
        rows, left = events(free)
        assert left == told[-len(left) :] and len(left) == 3 * (8 - days)
        check(free, rows)
    newest = [e for e in history(free, ref) if e["record"] == ref][0]
    assert newest["data"]["f0"] == "y7"


def check(client, rows):
    """Each event rests on a whole one that is there."""
    wrong = [found for _, found in problems(client.services.store) if found]
    assert wrong == []
    whole = {number for number, base, _ in rows if base is None}
    assert {base for _, base, _ in rows if base is not None} <= whole


def test_a_visitor_after_erased_history_rests_on_what_was_told_anew(free, visitor):
    (ref,) = free.add("ada@example.com", **GROWN)
    visitor.post("ada@example.com", f1="y")
    assert free.ask("DELETE", f"/v1/contacts/{ref}/history").json["erased"] == 3
    visitor.post("ada@example.com", f2="y")
    visitor.post("ada@example.com", f3="y")
    rows, told = events(free)
    assert [base for _, base, _ in rows] == [None, 1, 1]
    assert told[1:] == visitor.whole[1:]
    shown = [e["data"] for e in history(free, ref) if e["record"] == ref]
    assert shown == list(map(json.loads, told[:0:-1]))
    check(free, rows)


def test_calls_of_a_contact_lie_between_its_events(free, visitor):
    (ref,) = free.add("ada@example.com", **GROWN)
    visitor.post("ada@example.com", f1="y")
    call = {"contact_id": ref, "phone_number": "+442071838750"}
    assert free.post(call, "/api/calls/create").status_int == 201
    visitor.post("ada@example.com", f2="y")
    rows, told = events(free)
    assert [base for _, base, _ in rows] == [None, 1, None, 1]
    assert [told[1], told[3]] == visitor.whole
    check(free, rows)


def test_a_copy_tells_the_same(free, visitor, shell, make):
    free.add("ada@example.com", **GROWN)
    visitor.post("ada@example.com", f1="y")
    assert shell("copy", "sqlite:///contacts.db", "sqlite:///copy.db")[0] == 0
    again = make("copy.db", like=free)
    assert events(again) == events(free)


def test_check_names_an_event_whose_base_is_gone(free, visitor, shell):
    free.add("ada@example.com", **GROWN)
    visitor.post("ada@example.com", f1="y")
    store = free.services.store
    (number, base) = store.row("SELECT id, base FROM event WHERE base IS NOT NULL")
    store.write(lambda: store.run("DELETE FROM event WHERE base IS NULL"))
    free.close()
    status, out, err = shell("check")
    assert status == 1
    assert f"event {number} rests on {base}, which is not there" in out + err
