"""How a window counts."""

import random
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import contactapi
from client import Clock


def test_a_window_takes_exactly_its_limit_in_any_60_seconds():
    ticker = Clock(1000.0)
    window = contactapi.SlidingWindow(3, 60, ticker)
    assert [window.count("a") for _ in range(2)] == [(True, 2, 60), (True, 1, 60)]
    ticker.now = 1030.0
    assert window.count("a") == (True, 0, 30)
    assert window.count("a") == (False, 0, 30)
    ticker.now = 1059.999
    assert window.count("a") == (False, 0, 1)
    ticker.now = 1060.0
    assert [window.count("a").allowed for _ in range(3)] == [True, True, False]
    assert window.count("b").allowed is True


def test_a_window_agrees_with_a_plain_list_of_times():
    random.seed(7)
    ticker = Clock(5000.0)
    window, accepted = contactapi.SlidingWindow(5, 10, ticker), []
    for _ in range(3000):
        ticker.now += random.choice([0, 0.25, 0.5, 1, 2.5, 10])
        accepted = [moment for moment in accepted if moment + 10 > ticker.now]
        standing = window.count("a")
        assert standing.allowed is (len(accepted) < 5)
        if standing.allowed:
            accepted.append(ticker.now)
        assert standing.remaining == 5 - len(accepted)


def test_retry_after_is_honest_and_as_short_as_whole_seconds_allow():
    random.seed(11)
    ticker = Clock(123456.789)
    window = contactapi.SlidingWindow(4, 60, ticker)
    refused = 0
    for _ in range(3000):
        ticker.now += random.random() * 20
        standing = window.count("a")
        if not standing.allowed:
            refused += 1
            began = ticker.now
            ticker.now = began + standing.seconds - 1.001
            assert standing.seconds == 1 or not window.standing("a").allowed
            ticker.now = began + standing.seconds
            assert window.count("a").allowed
    assert refused > 100


def test_a_refused_request_does_not_count():
    ticker = Clock(1000.0)
    window = contactapi.SlidingWindow(2, 60, ticker)
    for second in range(60):
        ticker.now = 1000.0 + second
        window.count("a")
    ticker.now = 1061.0
    assert [window.count("a").allowed for _ in range(3)] == [True, True, False]


def test_above_1000_the_window_may_count_in_hundredths_but_never_too_many():
    random.seed(13)
    ticker, accepted = Clock(10_000.0), []
    window = contactapi.SlidingWindow(2000, 60, ticker)
    for _ in range(20_000):
        ticker.now += random.random() * 0.04
        standing = window.count("a")
        if standing.allowed:
            accepted.append(ticker.now)
    for first, last in zip(accepted, accepted[2000:]):
        assert last - first >= 60
    assert len(accepted) > 2000
    assert len(window.windows["a"].ends) <= 102
    ticker.now += standing.seconds
    assert window.count("a").allowed


def test_a_window_of_a_hundred_thousand_addresses_stays_small():
    tracemalloc.start()
    try:
        ticker = Clock(1000.0)
        window = contactapi.SlidingWindow(100, 60, ticker)
        for number in range(100_000):
            ticker.now += 0.0001
            window.count(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(window.windows) <= 20_000
    assert used < 15_000_000


def test_past_its_room_a_window_forgets_those_idle_longest():
    ticker = Clock(1000.0)
    window = contactapi.SlidingWindow(1, 60, ticker, room=3)
    for who in "abc":
        ticker.now += 1
        window.count(who)
    ticker.now += 1
    assert window.count("a").allowed is False
    window.count("d")
    assert set(window.windows) == {"c", "a", "d"}


def test_a_window_that_has_emptied_is_forgotten():
    ticker = Clock(1000.0)
    window = contactapi.SlidingWindow(1, 60, ticker)
    for number in range(50):
        window.count(str(number))
    ticker.now += 61
    window.count("a")
    assert set(window.windows) == {"a"}


def test_sixteen_threads_are_let_through_exactly_as_often_as_the_limit_says():
    window = contactapi.SlidingWindow(100, 60, Clock(1000.0))
    with ThreadPoolExecutor(16) as pool:
        standings = list(pool.map(window.count, ["a"] * 400))
    assert sum(standing.allowed for standing in standings) == 100


def test_amounts_never_exceed_the_limit_and_fit_after_the_seconds_told():
    random.seed(7)
    ticker, taken = Clock(50.0), []
    window = contactapi.SlidingWindow(10_000, 3600, ticker)

    def take(amount):
        standing = window.count("a", amount)
        if standing.allowed:
            taken.append((ticker.now, amount))
            recent = [n for at, n in taken if at + 3600 > ticker.now]
            assert sum(recent) <= 10_000
        return standing

    refused = 0
    for _ in range(3000):
        ticker.now += random.choice([0, 0, 1, 20, 300])
        amount = random.choice([1, 30, 900, 4000])
        standing = take(amount)
        if not standing.allowed:
            refused += 1
            ticker.now += standing.seconds
            assert take(amount).allowed
    assert 100 < refused < 2900


def test_an_amount_given_back_is_free_again():
    window = contactapi.SlidingWindow(5000, 3600, Clock(50.0))
    assert window.count("a", 4000).allowed and not window.count("a", 2000).allowed
    window.give_back("a", 4000)
    assert window.count("a", 5000) == (True, 0, 3600 + 22)
