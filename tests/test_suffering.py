from __future__ import annotations

from one_liner.streams.suffering import PAUSE_S, WINDOW_S, Suffering


def _run(suffering: Suffering, start: float, seconds: float, skipped: int, took_s: float) -> list[str]:
    """Ticks of 100 Hz."""
    said = []
    for index in range(int(seconds * 100)):
        text = suffering.ticked(skipped, took_s, start + index * 0.01)
        if text is not None:
            said.append(text)
    return said


def test_says_how_many_were_skipped_and_what_helps() -> None:
    (text,) = _run(Suffering(0.01, 0.0), 0.0, WINDOW_S + 1, skipped=1, took_s=0.001)
    assert text.startswith("50% of ")
    assert "took 1 ms at most" in text
    assert "switch_interval_s" in text


def test_is_quiet_when_nothing_is_skipped() -> None:
    assert _run(Suffering(0.01, 0.0), 0.0, 3 * WINDOW_S, skipped=0, took_s=0.001) == []


def test_is_quiet_when_the_functions_are_slow_themselves() -> None:
    assert _run(Suffering(0.01, 0.0), 0.0, 3 * WINDOW_S, skipped=1, took_s=0.009) == []


def test_a_slow_function_of_an_earlier_window_is_forgotten() -> None:
    suffering = Suffering(0.01, 0.0)
    assert _run(suffering, 0.0, WINDOW_S + 0.02, skipped=1, took_s=0.009) == []
    assert len(_run(suffering, WINDOW_S + 0.02, 2 * WINDOW_S, skipped=1, took_s=0.001)) == 1


def test_complains_once_in_a_while_only() -> None:
    suffering = Suffering(0.01, 0.0)
    assert len(_run(suffering, 0.0, PAUSE_S, skipped=1, took_s=0.001)) == 1
    assert len(_run(suffering, PAUSE_S, PAUSE_S, skipped=1, took_s=0.001)) == 1
