"""Records as they are kept."""

from client import PAGE, exported


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
        "SELECT type, changed, submitted IS NOT NULL FROM event "
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
        ("contact.created", '["email","plan"]', 0),
        ("contact.updated", '["plan"]', 0),
        ("contact.updated", '["email","city"]', 0),
        ("contact.updated", '["city"]', 1),
    ]
    assert api.ask("DELETE", f"/v1/contacts/{ref}").status_int == 200
    assert events(api) == [("contact.deleted", "[]", 0)]
