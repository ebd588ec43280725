"""Records as they are kept."""

from client import PAGE, counts, exported, jsonl, upload


def places(api, kind="contacts"):
    """Each record's place in line, oldest first."""
    return sorted(one["created_at"] for one in exported(api, f"/v1/{kind}.jsonl"))


def test_fifty_contacts_of_one_instant_keep_their_order(free):
    emails = [f"a{n}@x.org" for n in range(50)]
    free.add(*emails)
    assert places(free) == [f"2026-07-04T10:00:00.{n:06}Z" for n in range(50)]
    for _ in range(2):
        assert free.emails("?page_size=100") == emails[::-1]
    pages = [free.emails(f"?page={n}&page_size=7") for n in range(1, 9)]
    assert sum(pages, []) == emails[::-1]


def test_a_second_that_is_used_up_goes_on_in_the_next(free):
    start = free.clock.now
    free.clock.now = start + 0.999999
    free.add("a@x.org", "b@x.org", "c@x.org")
    free.clock.now = start + 1
    free.add("d@x.org")
    assert places(free) == [
        "2026-07-04T10:00:00.999999Z",
        "2026-07-04T10:00:01.000000Z",
        "2026-07-04T10:00:01.000001Z",
        "2026-07-04T10:00:01.000002Z",
    ]


def test_contacts_and_companies_do_not_take_each_others_places(api):
    api.add("ada@example.com")
    api.post({"name": "Acme"}, "/v1/companies")
    for kind in ("contacts", "companies"):
        assert places(api, kind) == ["2026-07-04T10:00:00.000000Z"]


def events(api):
    return api.services.store.rows(
        "SELECT type, changed, submission_id FROM event "
        "WHERE type NOT LIKE 'key.%' ORDER BY id"
    )


def test_every_change_is_in_the_event_log_and_nothing_else(api):
    (ref,) = api.add("ada@example.com", plan="pro")
    api.patch(ref, {})
    api.patch(ref, {"plan": "pro"})
    api.patch(ref, {"plan": "max"})
    api.patch(ref, {"email": "broken"})
    api.post({"email": "Ada@example.com", "city": "Ulm"}, key=api.key("publishable"))
    api.post({"email": "Ada@example.com", "city": "Ulm"}, headers=PAGE)
    public = api.key("publishable")
    api.post({"email": "ADA@example.com", "city": "Bonn"}, key=public, headers=PAGE)
    assert events(api) == [
        ("contact.created", '["email","plan"]', None),
        ("contact.updated", '["plan"]', None),
        ("contact.updated", '["email","city"]', None),
        ("contact.updated", '["city"]', None),
        ("submission.accepted", '["state","contact"]', 1),
    ]
    assert api.ask("DELETE", f"/v1/contacts/{ref}").status_int == 200
    assert events(api) == [("contact.deleted", "[]", None)]


def test_the_place_behind_a_second_is_asked_for_once_however_many_share_it(
    free, monkeypatch
):
    free.add("first@x.org")
    store, asked = free.services.store, []
    row = store.row

    def counted(sql, params=()):
        if sql.startswith("SELECT max(created_at)"):
            asked.append(params)
        return row(sql, params)

    monkeypatch.setattr(store, "row", counted)
    lines = ({"email": f"u{n}@x.org", "created_at": "2026-07-04"} for n in range(1999))
    assert counts(upload(free, jsonl(*lines))) == (1999, 0, 0, [])
    assert len(asked) == 1
    assert places(free)[1998] == "2026-07-04T00:00:00.001998Z"


def test_times_of_every_kind_find_places_of_their_own(free):
    wanted = [
        *("00.999998", "00.999999", "00.999999", "00.999998", "01.000002"),
        *("01.000000", "00.999999", "01.000001"),
    ]
    lines = (
        {"email": f"u{n}@x.org", "created_at": f"2026-07-04T09:00:{time}Z"}
        for n, time in enumerate(wanted)
    )
    assert counts(upload(free, jsonl(*lines))) == (8, 0, 0, [])
    got = {one["email"][1]: one["created_at"][17:-1] for one in exported(free)}
    assert [got[str(n)] for n in range(8)] == [
        *("00.999998", "00.999999", "01.000000", "01.000001", "01.000002"),
        *("01.000003", "01.000004", "01.000005"),
    ]


def test_a_place_is_found_behind_a_thousand_seconds_that_are_used_up(free):
    lines = (
        {"email": f"u{n}@x.org", "created_at": f"2026-07-04T{time}.999999Z"}
        for n, time in enumerate(
            f"09:{n // 60:02}:{n % 60:02}" for n in (*range(1200), 0)
        )
    )
    assert counts(upload(free, jsonl(*lines))) == (1201, 0, 0, [])
    assert places(free)[-1] == "2026-07-04T09:20:00.000000Z"


def test_what_is_larger_than_may_be_written_now_may_be_left_as_it_is(free):
    (ref,) = free.add("ada@example.com", notes="n" * 2000)
    free.services.contacts.max_body = 1024
    for body in ({}, {"email": "ada@example.com"}, {"notes": "n" * 2000}):
        assert free.patch(ref, body).status_int == 200
    assert counts(upload(free, jsonl({"email": "ada@example.com"}))) == (0, 1, 0, [])
    assert free.patch(ref, {"plan": "pro"}).status_int == 413
    assert free.patch(ref, {"notes": "n"}).status_int == 200
