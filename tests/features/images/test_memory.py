from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from features.images import memory
from features.images.memory import MemoryBudget


def test_threads_together_never_hold_more_than_the_limit() -> None:
    budget = MemoryBudget(100)
    lock, held, most = threading.Lock(), 0, 0

    def take(amount: int) -> None:
        nonlocal held, most
        with budget.reserved(amount):
            with lock:
                held += amount
                most = max(most, held)
            with lock:
                held -= amount

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(take, [10, 60, 35, 5, 90, 50] * 200))
    assert held == 0
    assert most <= 100


def test_what_fits_goes_beside() -> None:
    budget = MemoryBudget(100)
    with budget.reserved(60):
        assert budget._fits(40)
        assert not budget._fits(41)
    assert budget._fits(1000)


def test_little_that_would_fit_does_not_overtake_much_that_waits() -> None:
    budget, order = MemoryBudget(100), []

    def take(amount: int) -> None:
        with budget.reserved(amount):
            order.append(amount)

    with ThreadPoolExecutor(2) as pool, budget.reserved(60):
        for asking, amount in enumerate((100, 10), 1):
            pool.submit(take, amount)
            while len(budget._queue) < asking and not order:
                time.sleep(0.001)
    assert order == [100, 10]


def test_more_than_the_limit_is_given_to_one_alone() -> None:
    budget = MemoryBudget(100)
    inside, leave = threading.Event(), threading.Event()

    def take_much() -> None:
        with budget.reserved(1000):
            inside.set()
            assert leave.wait(30)

    def take_little() -> str:
        with budget.reserved(1):
            return "after" if leave.is_set() else "beside"

    with ThreadPoolExecutor(2) as pool:
        much = pool.submit(take_much)
        assert inside.wait(30)
        little = pool.submit(take_little)
        threading.Timer(0.2, leave.set).start()
        assert little.result(30) == "after"
        much.result(30)


def test_who_fails_gives_back_what_it_held() -> None:
    budget = MemoryBudget(10)
    for _ in range(3):
        with pytest.raises(KeyError), budget.reserved(10):
            raise KeyError


@pytest.mark.parametrize(("available", "limit"), [(2**36, 2**32), (2**30, 2**28), (0, 2**28), (None, 2**30)])
def test_by_default_the_limit_follows_the_machine(
    available: int | None, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: available)
    budget = MemoryBudget()
    with budget.reserved(1):
        assert budget._limit == limit
