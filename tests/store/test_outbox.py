"""The outbox: claimed once, one at a time for a target, tried again by a schedule."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import contactapi
from client import called, keep_house, running_worker
from extras.outbox import Outbox
from extras.senders import NotNow, NotTaken, Refused, Reply, Sender
from extras.worker import Worker
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
            outbox.add(1, sender, target)

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
        outbox.add(1, "fake", "a")
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
    assert not outbox.step()
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


def test_what_has_no_sender_here_holds_up_nothing_else_at_its_endpoint(api, outbox):
    for sender in ("absent", "fake", "absent", "fake"):
        outbox.store.write(lambda s=sender: outbox.add(1, s, s, "one"))
    assert drain(outbox) == ["fake", "fake"]
    outbox.senders["absent"] = Fake()
    api.turn(60)
    drain(outbox)
    assert outbox.senders["absent"].sent == ["absent", "absent"]


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
        api.services.store.write(
            lambda n=number, r=ref: outbox.add(1, "fake", r, call=n)
        )
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


@pytest.mark.parametrize("endpoint", [None, "one for all"])
def test_a_claim_among_ten_thousand_that_wait_is_as_much_work_as_among_ten(
    outbox, endpoint
):
    """Be they each for another endpoint or all for one, which has just failed."""
    steps, fake = [], outbox.senders["fake"]

    def work_of_a_turn():
        """How often SQLite's machine took 100 steps."""
        connection = outbox.store.writing.connection()
        steps.clear()
        connection.set_progress_handler(lambda: steps.append(1) and 0, 100)
        fake.answers = [busy(seconds=1000)]
        assert outbox.step()
        connection.set_progress_handler(None, 0)
        return len(steps)

    def work():
        for n in range(count):
            outbox.add(1, "fake", f"target {n}", endpoint)

    count = 10
    outbox.store.write(work)
    few = work_of_a_turn()
    count = 10_000
    outbox.store.write(work)
    assert work_of_a_turn() <= few + 1
    assert len(kept(outbox)) == 10_010


def test_no_look_at_the_outbox_scans(outbox):
    """Each of its questions goes by an index, whatever SQLite knows of the tables."""
    asked, ask = [], outbox.store.row
    outbox.store.row = lambda sql, params=(): asked.append(sql) or ask(sql, params)
    outbox.senders["fake"].answers = [busy()] * 6
    add(outbox, *["a"] * 8)
    while claimed := outbox.claim():
        while claimed := outbox.send(claimed, more=lambda: True):
            pass
    assert len(set(asked)) == 4
    for sql in {*asked, f"{outbox.IS_DUE} WHERE name = ?"}:
        plan = outbox.store.rows(f"EXPLAIN QUERY PLAN {sql}", (None,) * count_of(sql))
        assert not [row for row in plan if "SCAN" in row[3] or "TEMP" in row[3]], sql


def count_of(sql):
    return max(sql.count("?"), *(n for n in range(9) if f"?{n}" in sql), 0)


# -- an endpoint that fails


def test_after_five_tries_in_vain_one_is_tried_for_each_step_of_the_schedule(
    api, outbox
):
    outbox.senders["fake"].RETRIES = (10, 100, 1000)
    outbox.senders["fake"].answers = [busy()] * 10
    add(outbox, *["a"] * 20, "b")
    outbox.senders["fake"].answers = [lambda: busy() if failing else None] * 999
    failing, moments = True, []
    drain(outbox)  # the five, and b's
    for second in range(1, 2500):
        api.turn(1)
        moments += [second for target in drain(outbox) if target == "a"]
    assert moments == [10, 110, 1110, 2110]
    failing = False
    api.turn(1000)
    assert drain(outbox) == ["a"] * 20


def test_another_endpoint_is_not_held_up_by_one_that_fails(api, outbox):
    outbox.senders["fake"].answers = [busy()] * 5
    add(outbox, *["a"] * 20)
    assert drain(outbox) == ["a"] * 5
    add(outbox, "b")
    assert drain(outbox) == ["b"]


def test_a_try_that_is_taken_ends_the_pause(api, outbox):
    outbox.senders["fake"].answers = [busy()] * 5
    add(outbox, *["a"] * 20)
    drain(outbox)
    api.turn(10)
    assert drain(outbox) == ["a"] * 20
    outbox.senders["fake"].answers = [busy()] * 4
    add(outbox, *["a"] * 5)
    assert drain(outbox) == ["a"] * 5


def test_what_says_nothing_against_its_endpoint_does_not_count(outbox):
    blameless = NotTaken(Reply("greylisted", 450), blameless=True)
    outbox.senders["fake"].answers = [blameless] * 9
    add(outbox, *["a"] * 9)
    assert drain(outbox) == ["a"] * 9


def test_each_try_in_vain_is_told(outbox):
    heard, fake = [], outbox.senders["fake"]
    fake.missed = lambda delivery, reply: heard.append((delivery.tries, reply.text))
    fake.answers = [busy(), Refused(Reply("no"))]
    add(outbox, "a", "a")
    drain(outbox)
    assert heard == [(1, "busy")]


def test_a_pause_of_more_than_a_day_is_a_day(api, outbox):
    outbox.senders["fake"].answers = [busy(seconds=10 * DAY)]
    add(outbox, "a")
    drain(outbox)
    api.turn(DAY - 1)
    assert drain(outbox) == []
    api.turn(1)
    assert drain(outbox) == ["a"]


def test_at_a_start_all_that_waits_is_due_oldest_first_and_failures_begin_anew(
    api, outbox
):
    outbox.senders["fake"].answers = [busy(seconds=5000 - n) for n in range(5)]
    targets = [f"target {n}" for n in range(10)]
    for target in targets:
        outbox.store.write(lambda t=target: outbox.add(1, "fake", t, "one"))
        api.turn(1)
    assert drain(outbox) == targets[:5]
    api.turn(1)
    assert drain(outbox) == []
    outbox.begin()
    assert drain(outbox) == targets


def test_what_is_to_be_sent_later_waits_until_then_whatever_starts(api, outbox):
    later = contactapi.micros(api.clock() + 3600)
    outbox.store.write(lambda: outbox.add(1, "fake", "later", "one", due_at=later))
    outbox.store.write(lambda: outbox.add(1, "fake", "now", "one"))
    outbox.begin()
    assert drain(outbox) == ["now"]
    api.turn(3599)
    assert drain(outbox) == []
    api.turn(1)
    assert drain(outbox) == ["later"]


def test_not_now_is_no_try_and_has_the_whole_endpoint_wait(api, outbox):
    outbox.senders["fake"].answers = [lambda: NotNow(600)]
    add(outbox, "a", "a", "b")
    assert drain(outbox) == ["a", "b"]
    assert [row[:3] for row in kept(outbox)] == [
        ("a", "waiting", 0),
        ("a", "waiting", 0),
        ("b", "delivered", 1),
    ]
    api.turn(599)
    assert drain(outbox) == []
    api.turn(1)
    assert drain(outbox) == ["a", "a"]


def test_an_endpoint_that_is_held_keeps_what_waits_until_it_is_released(api, outbox):
    add(outbox, "a", "b")
    outbox.store.write(lambda: outbox.hold("a"))
    add(outbox, "a")
    outbox.begin()
    api.turn(3 * DAY)
    assert drain(outbox) == ["b"]
    outbox.store.write(lambda: outbox.release("a"))
    assert drain(outbox) == ["a", "a"]


def test_an_endpoint_that_is_held_while_it_is_sent_to_stays_so(outbox):
    def held():
        outbox.store.write(lambda: outbox.hold("a"))

    outbox.senders["fake"].answers = [held]
    add(outbox, "a", "a")
    assert drain(outbox) == ["a"]


def test_by_hand_one_goes_again_before_the_others_though_its_endpoint_fails(
    api, outbox
):
    outbox.senders["fake"].answers = [None] + [busy()] * 5
    outbox.store.write(lambda: outbox.add(1, "fake", "first", "one"))
    drain(outbox)
    for n in range(9):
        outbox.store.write(lambda n=n: outbox.add(1, "fake", f"{n}", "one"))
    assert drain(outbox) == ["0", "1", "2", "3", "4"]
    outbox.store.write(lambda: outbox.again(1, "one"))
    assert drain(outbox)[0] == "first"
    assert kept(outbox)[0] == ("first", "delivered", 2, 200, "thank you")


def test_what_is_erased_before_its_turn_holds_up_nothing(outbox):
    add(outbox, "a", "a")
    outbox.store.write(lambda: outbox.store.run("DELETE FROM delivery WHERE id = 1"))
    assert drain(outbox) == ["a"]
    add(outbox, "a")
    outbox.store.write(lambda: outbox.store.run("DELETE FROM delivery"))
    assert drain(outbox) == []
    add(outbox, "a")
    assert drain(outbox) == ["a"]


# -- the worker


def test_the_worker_sends_what_comes_and_outlives_what_fails(api, outbox, caplog):
    fake = outbox.senders["fake"]
    fake.answers = [lambda: 1 / 0]
    with running_worker(outbox) as worker:
        for target in "ab":
            add(outbox, target)
            outbox.wake.set()
            assert until(lambda target=target: target in fake.sent)
    assert not worker.is_alive()
    assert "ZeroDivisionError" in caplog.text
    assert [row[:3] for row in kept(outbox)] == [
        ("a", "sending", 1),
        ("b", "delivered", 1),
    ]


def test_targets_that_hang_hold_up_no_other_and_take_a_thread_each_at_most(outbox):
    let_go, begun, fake = threading.Event(), [], outbox.senders["fake"]

    def send(delivery):
        begun.append(delivery.target)
        if delivery.target.startswith("hangs"):
            let_go.wait(60)
        return Reply("thank you", 200)

    fake.send = send
    hanging = [f"hangs {n}" for n in range(Worker.MOST - 1)]
    add(outbox, *hanging * 3, *["quick"] * 300)
    before = threading.active_count()
    with running_worker(outbox):
        try:
            assert until(lambda: begun.count("quick") == 300)
            threads = threading.active_count()
            assert sorted(t for t in begun if t != "quick") == sorted(hanging)
            assert threads <= before + 1 + Worker.MOST
        finally:
            let_go.set()
        assert until(lambda: len(begun) == 300 + 3 * len(hanging))
    assert until(lambda: threading.active_count() == before)


def test_one_that_has_much_to_send_lets_others_have_their_turn(
    api, outbox, monkeypatch
):
    """Though there is but one thread."""
    monkeypatch.setattr(Worker, "MOST", 1)
    fake = outbox.senders["fake"]
    fake.answers = [lambda: api.turn(0.001)] * 501
    add(outbox, *["a"] * 500, "b")
    with running_worker(outbox):
        assert until(lambda: "b" in fake.sent)
        assert fake.sent.index("b") == Worker.TURNS
        assert until(lambda: len(fake.sent) == 501)


def test_a_worker_that_stops_lets_what_is_sent_end_and_begins_no_more(outbox):
    sending, fake = threading.Event(), outbox.senders["fake"]
    worker = Worker(outbox)

    def send(delivery):
        sending.set()
        assert until(lambda: worker.stopped)
        return Reply("thank you", 200)

    fake.send = send
    add(outbox, "a", "a")
    with running_worker(outbox, worker):
        assert sending.wait(60)
    assert [row[1] for row in kept(outbox)] == ["delivered", "waiting"]


def test_threads_that_end_leave_no_connection_behind(outbox):
    fake, reading = outbox.senders["fake"], outbox.store.reading
    fake.send = lambda _: Reply(str(outbox.store.row("SELECT 1")), 200)
    before = len(reading.opened)
    with running_worker(outbox):
        for n in range(30):
            add(outbox, f"target {n}")
            outbox.wake.set()
        assert until(lambda: {row[1] for row in kept(outbox)} == {"delivered"})
        assert len(kept(outbox)) == 30
    assert len(reading.opened) <= before + 1
