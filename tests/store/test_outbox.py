"""The outbox: claimed once, one at a time for a target, tried again by a schedule."""

import random
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

import contactapi
from client import called, keep_house
from contactapi import NotTaken, Outbox, Refused, Reply, Sender
from processes import until

DAY = 86_400


class Fake(Sender):
    """Sends into a list. The next of `answers` comes first: an error
    to raise, or a function that is called and returns one, or None."""

    RETRIES = (10, 100)

    def __init__(self, **options):
        self.sent, self.heard, self.answers, self.wanted = [], [], [], True
        for name, value in options.items():
            setattr(self, name, value)

    def send(self, delivery):
        if not self.wanted:
            return None
        self.sent.append(delivery.target)
        answer = self.answers.pop(0) if self.answers else None
        answer = answer() if callable(answer) else answer
        if answer is not None:
            raise answer
        return Reply("thank you", 200)

    def delivered(self, delivery, reply):
        self.heard.append(("delivered", delivery.target, reply.text))

    def failed(self, delivery, reply):
        self.heard.append(("failed", delivery.target, reply.text))


def busy(seconds=None):
    return NotTaken(Reply("busy", 503), seconds)


@pytest.fixture
def outbox(api):
    """One whose pauses are those of the schedule, with a sender `fake`."""
    return another(api)


def another(api, **options):
    outbox = Outbox(api.services.store, api.clock, chance=lambda: 0.5)
    outbox.senders["fake"] = Fake(**options)
    return outbox


def add(outbox, *targets, sender="fake"):
    def work():
        for target in targets:
            outbox.add(1, sender, target, None)

    outbox.store.write(work)


def drain(outbox):
    """What is sent until nothing is due."""
    fake = outbox.senders["fake"]
    fake.sent.clear()
    for _ in range(1000):
        if not outbox.step():
            return list(fake.sent)
    raise AssertionError("the outbox does not come to rest")


def kept(outbox):
    """(target, state, tries, last status, last answer) of each delivery."""
    sql = "SELECT target, state, tries, last_status, last_answer FROM delivery"
    return outbox.store.rows(f"{sql} ORDER BY id")


def test_what_is_added_is_sent_once_oldest_first_and_told(api, outbox):
    add(outbox, "a", "b")
    api.turn(1)
    add(outbox, "c")
    assert drain(outbox) == ["a", "b", "c"]
    api.turn(100 * DAY)
    assert drain(outbox) == []
    told = [("delivered", target, "thank you") for target in "abc"]
    assert outbox.senders["fake"].heard == told
    assert kept(outbox) == [(t, "delivered", 1, 200, "thank you") for t in "abc"]


def test_what_a_transaction_that_fails_added_is_not_sent(outbox):
    def work():
        outbox.add(1, "fake", "a", None)
        raise LookupError

    with pytest.raises(LookupError):
        outbox.store.write(work)
    assert drain(outbox) == [] and kept(outbox) == []


def test_what_was_not_taken_is_tried_again_by_the_schedule_and_then_has_failed(
    api, outbox
):
    outbox.senders["fake"].answers = [busy(), busy(), busy()]
    add(outbox, "a")
    moments = []
    for second in range(200):
        moments += [second for _ in drain(outbox)]
        api.turn(1)
    assert moments == [0, 10, 110]
    assert outbox.senders["fake"].heard == [("failed", "a", "busy")]
    assert kept(outbox) == [("a", "failed", 3, 503, "busy")]


@pytest.mark.parametrize("chance, pause", [(0.0, 8), (0.5, 10), (0.999, 11.998)])
def test_pauses_differ_by_a_fifth_either_way(api, outbox, chance, pause):
    outbox.chance = lambda: chance
    outbox.senders["fake"].answers = [busy()]
    add(outbox, "a")
    drain(outbox)
    api.turn(pause - 0.01)
    assert drain(outbox) == []
    api.turn(0.02)
    assert drain(outbox) == ["a"]


def test_by_itself_the_outbox_takes_chances(api):
    assert api.services.outbox.chance == random.random


def test_a_pause_that_the_other_side_names_is_kept(api, outbox):
    outbox.senders["fake"].answers = [busy(seconds=5000)]
    add(outbox, "a")
    drain(outbox)
    api.turn(4999)
    assert drain(outbox) == []
    api.turn(1)
    assert drain(outbox) == ["a"]


def test_what_is_refused_is_never_sent_again(api, outbox):
    outbox.senders["fake"].answers = [Refused(Reply("no " * 100, 400))]
    add(outbox, "a")
    assert drain(outbox) == ["a"]
    api.turn(DAY)
    assert drain(outbox) == []
    assert outbox.senders["fake"].heard == [("failed", "a", "no " * 100)]
    assert kept(outbox) == [("a", "failed", 1, 400, ("no " * 100)[:200])]


@pytest.mark.parametrize("seconds, sent", [(59, ["a"]), (60, [])])
def test_what_waited_too_long_is_not_sent(api, seconds, sent):
    outbox = another(api, EXPIRES=60)
    add(outbox, "a")
    api.turn(seconds)
    assert drain(outbox) == sent
    told = ("delivered", "a", "thank you") if sent else ("failed", "a", "expired")
    assert outbox.senders["fake"].heard == [told]


def test_what_is_put_off_beyond_its_time_expires_in_time(api):
    outbox = another(api, EXPIRES=60, answers=[busy(seconds=5000)])
    add(outbox, "a")
    drain(outbox)
    api.turn(60)
    assert drain(outbox) == []
    assert kept(outbox) == [("a", "failed", 1, None, "expired")]


def test_what_is_not_wanted_any_more_is_not_sent_and_not_told(outbox):
    outbox.senders["fake"].wanted = False
    add(outbox, "a")
    assert drain(outbox) == []
    assert outbox.senders["fake"].heard == []
    assert kept(outbox) == [("a", "failed", 1, None, "not wanted any more")]


def test_one_that_waits_for_its_next_try_does_not_hold_up_its_target(api, outbox):
    outbox.senders["fake"].answers = [busy()]
    add(outbox, "a", "a")
    assert drain(outbox) == ["a", "a"]
    states = [row[1] for row in kept(outbox)]
    assert states == ["waiting", "delivered"]


def test_while_one_is_sent_no_other_goes_to_its_target(api, outbox):
    """Another process looks at the same database meanwhile."""
    other, seen = another(api), []
    outbox.senders["fake"].answers = [lambda: seen.append(drain(other))]
    add(outbox, "a", "a", "b")
    assert outbox.step()
    assert seen == [["b"]]
    assert drain(outbox) == ["a"]
    assert [row[1:3] for row in kept(outbox)] == [("delivered", 1)] * 3


def test_two_at_once_send_each_once(api):
    pair = another(api), another(api)
    add(pair[0], *(f"target {n}" for n in range(50)))
    with ThreadPoolExecutor(2) as pool:
        sent = list(pool.map(drain, pair))
    assert sorted(sent[0] + sent[1]) == sorted(f"target {n}" for n in range(50))


def died():
    raise SystemExit


@pytest.mark.parametrize("repeats", [True, False])
def test_what_was_interrupted_is_sent_again_only_where_that_may_be(api, repeats):
    outbox = another(api, REPEATS=repeats, LEASE=20, answers=[died])
    add(outbox, "a")
    with pytest.raises(SystemExit):
        outbox.step()
    after = another(api, REPEATS=repeats, LEASE=20)
    api.turn(19.9)
    assert drain(after) == []
    api.turn(0.1)
    assert drain(after) == (["a"] if repeats else [])
    told = ("delivered", "a", "thank you")
    interrupted = ("failed", "a", "interrupted: it may have got through")
    assert after.senders["fake"].heard == [told if repeats else interrupted]


def test_what_is_interrupted_each_time_has_failed_after_the_last(api):
    outbox = another(api, answers=[died] * 9)
    add(outbox, "a")
    for _ in range(3):
        with pytest.raises(SystemExit):
            outbox.step()
        api.turn(20)
    assert outbox.step() and not outbox.step()
    interrupted = ("failed", "a", "interrupted: it may have got through")
    assert outbox.senders["fake"].heard == [interrupted]


def test_what_came_of_a_lapsed_claim_is_passed_over(api, outbox):
    """A sender took longer than its lease; another process sent it once more."""
    other = another(api)

    def takes_long():
        api.turn(21)
        assert drain(other) == ["a"]
        return Refused(Reply("too late", 400))

    outbox.senders["fake"].answers = [takes_long]
    add(outbox, "a")
    drain(outbox)
    assert outbox.senders["fake"].heard == []
    assert kept(outbox) == [("a", "delivered", 2, 200, "thank you")]


def test_what_has_no_sender_here_waits_for_one(api, outbox):
    add(outbox, "a", sender="absent")
    add(outbox, "b")
    assert drain(outbox) == ["b"]
    outbox.senders["absent"] = Fake()
    drain(outbox)
    assert outbox.senders["absent"].sent == ["a"]


def test_without_senders_nothing_is_due(api, outbox):
    add(outbox, "a")
    outbox.senders.clear()
    assert not outbox.step()


def test_a_delivery_goes_with_its_contact(api):
    (gone, stays) = api.add("a@x.org", "b@x.org")
    outbox = another(api)
    for ref in (gone, stays):
        uid = called(api, ref)["id"].removeprefix("call_")
        number = api.services.calls.find("call.uid = ?", uid).id
        api.services.store.write(lambda n=number, r=ref: outbox.add(1, "fake", r, n))
    api.ask("DELETE", f"/v1/contacts/{gone}")
    assert drain(outbox) == [stays]


def test_what_is_erased_while_it_is_sent_is_not_told(api, outbox):
    def erased():
        run = outbox.store.run
        outbox.store.write(lambda: run("DELETE FROM delivery"))

    outbox.senders["fake"].answers = [erased]
    add(outbox, "a")
    assert drain(outbox) == ["a"]
    assert outbox.senders["fake"].heard == [] and kept(outbox) == []


def test_what_has_ended_is_kept_for_30_days_and_what_waits_for_ever(api, outbox):
    add(outbox, *["a"] * 700)
    drain(outbox)
    add(outbox, "b", sender="absent")
    api.turn(29 * DAY)
    add(outbox, "c")
    drain(outbox)
    keep_house(api).tidy()
    assert len(kept(outbox)) == 702
    api.turn(1 * DAY + 1)
    keep_house(api).tidy()
    assert [row[0] for row in kept(outbox)] == ["b", "c"]


def test_a_look_at_ten_thousand_that_wait_reads_no_more_than_at_ten(api, outbox):
    path, steps = api.services.store.path, []

    def work_of_a_look():
        """How often SQLite's machine took 100 steps."""
        connection = outbox.store.database.connection()
        steps.clear()
        connection.set_progress_handler(lambda: steps.append(1) and 0, 100)
        assert outbox.due()
        connection.set_progress_handler(None, 0)
        return len(steps)

    add(outbox, *(f"target {n}" for n in range(10)))
    few = work_of_a_look()
    add(outbox, *(f"target {n}" for n in range(10_000)))
    assert work_of_a_look() <= few + 1
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT count(*) FROM delivery").fetchone() == (10_010,)


def test_the_worker_sends_what_comes_and_outlives_what_fails(api, outbox, caplog):
    fake = outbox.senders["fake"]
    fake.answers = [lambda: 1 / 0]
    worker = contactapi.Worker(outbox)
    worker.start()
    try:
        for target in "ab":
            add(outbox, target)
            outbox.wake.set()
            assert until(lambda target=target: target in fake.sent)
    finally:
        worker.stop()
    assert not worker.is_alive()
    assert "ZeroDivisionError" in caplog.text
    assert [row[:3] for row in kept(outbox)] == [
        ("a", "sending", 1),
        ("b", "delivered", 1),
    ]
