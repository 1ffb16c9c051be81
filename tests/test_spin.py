"""When it pays to look out for an answer instead of sleeping until it comes."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any, cast

import pytest

from one_liner.rpc import channel as channel_module
from one_liner.rpc.channel import Channel
from one_liner.rpc.spin import Spin, can_look_out, offer_core


def looks(spin: Spin, calls: int, *, quick: bool) -> int:
    """How often a caller looks out in so many calls whose answers are quick, or are not."""
    count = 0
    for _ in range(calls):
        if spin.pays():
            count += 1
            if quick:
                spin.won()
            else:
                spin.missed()
    return count


def test_with_quick_answers_it_always_pays() -> None:
    assert looks(Spin(), 1000, quick=True) == 1000


def test_with_slow_answers_it_soon_does_not() -> None:
    spin = Spin()
    assert looks(spin, 1000, quick=False) <= 11
    assert looks(spin, 100_000, quick=False) <= 100_000 // 1024 + 1, "one call in a thousand finds out"


def test_it_finds_its_way_back() -> None:
    spin = Spin()
    looks(spin, 10_000, quick=False)
    assert looks(spin, 1024, quick=True) >= 1
    assert looks(spin, 1000, quick=True) == 1000, "a single quick answer opens the way"


def test_who_is_answered_soon_after_going_to_sleep_looks_out_again_before_long() -> None:
    spin = Spin()
    looks(spin, 10_000, quick=False)
    slept = 0
    while not spin.pays():
        spin.slept(150e-6)
        slept += 1
    assert slept < 60
    spin.missed()
    for _ in range(500):
        assert not spin.pays()
        spin.slept(1e-3)


def test_one_miss_costs_one_call() -> None:
    spin = Spin()
    spin.missed()
    assert not spin.pays()
    assert spin.pays()


def test_where_it_cannot_pay_it_is_never_done() -> None:
    assert looks(Spin(enabled=False), 1000, quick=True) == 0


def test_the_core_is_offered_and_nobody_need_take_it() -> None:
    offer_core()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="where a process may run can be told on Linux only")
def test_on_a_single_core_nobody_looks_out() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert not can_look_out()
    finally:
        os.sched_setaffinity(0, allowed)


class Still:
    """A socket at which nothing comes."""

    def getsockopt(self, _: int) -> int:
        return 0


@pytest.mark.parametrize(
    ("step_s", "looks_in_between"), [(10e-6, 26), (40e-6, 7), (60e-6, 1)], ids=["alone", "disturbed", "kept away"]
)
def test_who_is_kept_from_the_core_looks_out_no_longer(
    monkeypatch: pytest.MonkeyPatch, step_s: float, looks_in_between: int
) -> None:
    came = [0]

    def now() -> float:
        came[0] += 1
        return came[0] * step_s

    monkeypatch.setattr(channel_module, "SYSTEM_CLOCK", SimpleNamespace(now=now))
    channel = Channel.__new__(Channel)
    channel._socket, channel._spin = cast(Any, Still()), Spin()
    channel._look_out(0.0)
    assert came[0] == looks_in_between
    assert not channel._spin.pays(), "a miss, after which it sleeps at once"
