"""The bench itself: that it measures what it says, in real processes, and that it tells a change from noise.

No figure is asserted here: how fast anything is depends on the machine.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from threading import Event

import psutil
import pytest

from benchmarks.children import Children
from benchmarks.comparison import Pair, failed_now, pairs
from benchmarks.contenders import NAMES
from benchmarks.contenders.contender import Reader, Sample
from benchmarks.contenders.draining import Drained
from benchmarks.credit import Credit
from benchmarks.figures import median, percentile, spread
from benchmarks.page.behind import behind
from benchmarks.page.goals import GOALS
from benchmarks.page.text import UNEXPLAINED, load_remarks, text, unexplained
from benchmarks.results import Results
from benchmarks.rounds import run
from benchmarks.session import FailedError, Worker
from benchmarks.workloads import WORKLOADS
from benchmarks.workloads.grid import Grid
from tests.conftest import poll_until

ROOT = Path(__file__).parent.parent
PATIENCE_S = 120.0
CONTENDERS = {
    "ours": {"title": "one_liner", "version": "1", "can": ["calls"]},
    "bare": {"title": "bare pyzmq", "version": "2", "can": ["calls"]},
    "pyro5": {"title": "Pyro5", "version": "3", "can": ["calls"]},
}


def start(*arguments: str) -> subprocess.Popen[str]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths, "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def bench(*arguments: str) -> tuple[int, str, str]:
    """Exit code, and what it wrote."""
    with start(*arguments) as process:
        output, errors = process.communicate(timeout=PATIENCE_S)
    return process.returncode, output, errors


def results_of(**figures: list[float]) -> Results:
    """Of a small call: `ours=[…]` are p50 in µs, calls per second follow from them."""
    results = Results(3, 1.0, contenders={name: CONTENDERS[name] for name in figures})
    for name, p50_us in figures.items():
        for figure in p50_us:
            results.add("small_call", name, {"echo_p50_us": figure, "echo_calls_per_s": 1e6 / figure})
    return results


# --- in processes ----------------------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
def test_a_run_measures_us_and_bare_pyzmq_and_is_compared_with_one_that_was_faster(tmp_path):
    new, old = tmp_path / "new.json", tmp_path / "old.json"
    code, output, errors = bench("--quick", "--only", "small_call", "--contenders", "ours,bare", "--json", str(new))
    assert code == 0, output + errors
    assert "A small call (small_call)" in output
    data = json.loads(new.read_text(encoding="utf-8"))
    assert set(data) == {field.name for field in dataclasses.fields(Results)}
    assert not data["failures"]
    assert not data["left_out"]
    assert set(data["machine"]) >= {"processor", "cores", "system", "python", "libraries"}
    assert len(data["load_averages"]) in (0, 2)
    assert set(data["figures"]) == {"small_call"}
    assert set(data["figures"]["small_call"]) == {"ours", "bare"}
    for figures in data["figures"]["small_call"].values():
        assert set(figures) == set(WORKLOADS["small_call"].metrics)
        assert all(len(figure) == 1 and figure[0] > 0 for figure in figures.values())

    assert bench("--load", str(new), "--compare", str(new))[0] == 0
    ours = data["figures"]["small_call"]["ours"]
    for name, figures in ours.items():  # as if we had been ten times as fast
        ours[name] = [figure * (10 if name.endswith("per_s") else 0.1) for figure in figures]
    old.write_text(json.dumps(data), encoding="utf-8")
    code, output, _ = bench("--load", str(new), "--compare", str(old))
    assert code == 1
    count = len(WORKLOADS["small_call"].metrics)
    assert output.count("worse: ") == count
    assert f"{count} of {count} figures changed" in output
    assert bench("--load", str(old), "--compare", str(new))[0] == 0


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--only", "no_such_thing"], "no workload begins with"),
        (["--contenders", "carrier_pigeon"], "is no contender"),
        (["--rounds", "0"], "--rounds"),
        (["--compare", "README.md"], "no results"),
        (["--load", "no_such_file"], "no_such_file"),
    ],
)
def test_what_cannot_be_measured_is_refused(wrong, said):
    code, _, errors = bench(*wrong)
    assert code == 2
    assert said in errors


@pytest.mark.timeout(120)
@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent by a signal")
def test_ctrl_c_keeps_what_was_measured_and_leaves_nothing_behind(tmp_path):
    with start(
        "--only", "idle", "--contenders", "ours", "--rounds", "100", "--json", str(tmp_path / "a.json")
    ) as process:
        children = poll_until(psutil.Process(process.pid).children, PATIENCE_S, "a process to be measured")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, output + errors
    assert "interrupted" in errors
    assert Results.load(tmp_path / "a.json").rounds == 100
    poll_until(lambda: not any(child.is_running() for child in children), PATIENCE_S, "them to end")


@pytest.mark.timeout(120)
def test_who_is_not_installed_is_left_out_by_name():
    results = Results(1, 0.1)
    run([], ["ours", *NAMES[2:]], results, lambda *_: None)
    assert results.contenders["ours"]["title"] == "one_liner"
    # Each peer either says its version or is left out with the reason, whatever is installed here.
    assert set(results.contenders) | set(results.left_out) == {"ours", *NAMES[2:]}
    assert all(results.contenders[name]["version"] for name in results.contenders)
    assert all(results.left_out[name] for name in results.left_out)


@pytest.mark.timeout(120)
def test_a_process_that_fails_is_an_error_that_says_why():
    with Worker("serve", "ours", "no such workload") as worker, pytest.raises(FailedError, match="KeyError"):
        worker.hear(PATIENCE_S)


def _answers(line):
    while True:
        line.send(2 * line.recv())


def _waits(line):
    line.recv()


def _fails(line):
    raise SystemExit(3)


def _is_done(line):
    line.send("done")


@pytest.mark.timeout(120)
def test_children_are_heard_and_ended():
    with Children() as children:
        first, second = children.start(_answers), children.start(_answers)
        assert first.ask(1) == 2
        with children.start(_is_done) as third:
            assert third.hear() == "done"
        # One that has ended in good order is no reason to end.
        children.start(_is_done).process.join()
        assert second.ask(21) == 42
    assert not first.process.is_alive()
    assert not second.process.is_alive()


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "wait",
    [
        lambda children, failing, waiting: failing.hear(),
        lambda children, failing, waiting: waiting.hear(),
        lambda children, failing, waiting: children.wait_for(lambda: False),
    ],
    ids=["for itself", "for another", "for something"],
)
def test_who_waits_for_a_child_that_has_failed_is_told_and_does_not_hang(wait):
    with Children() as children:
        waiting, failing = children.start(_waits), children.start(_fails)
        with pytest.raises(SystemExit, match="'_fails' ended with 3"):
            wait(children, failing, waiting)
    assert not waiting.process.is_alive()


# --- arithmetic ------------------------------------------------------------------------------------------------------


def test_percentiles_are_values_that_were_measured():
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert percentile([1.0, 2.0], 50) == 1.0
    assert percentile(range(1, 101), 99) == 99
    assert percentile([5.0], 99) == percentile([5.0], 1) == 5.0
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 50)


def test_the_median_is_in_the_middle():
    assert median([3.0, 1.0, 2.0]) == 2.0
    assert median([4.0, 1.0]) == 2.5
    assert spread([2.0, 5.0, 3.0]) == 3.0


@pytest.mark.parametrize("phase", [0.0, 0.3e-3, 0.9999e-3])
def test_a_grid_is_found_in_ticks_that_are_late_and_missing(phase):
    noise = random.Random(1)
    # Every tick is 100 µs late, give or take 5; one in ten 700 more.
    late = [100e-6 + noise.uniform(-5e-6, 5e-6) + (700e-6 if index % 10 == 7 else 0) for index in range(2000)]
    instants = [1234.5 + phase + index * 1e-3 + late[index] for index in range(2000) if index % 50 != 20]
    grid = Grid.of(instants, 1000.0)
    assert grid.due == 2000
    assert grid.missed == 40
    assert grid.rate_hz == pytest.approx(1000, rel=1e-5)
    assert percentile(grid.distances_s, 50) < 6e-6
    assert percentile(grid.distances_s, 85) < 12e-6
    assert percentile(grid.distances_s, 99) == pytest.approx(700e-6, abs=15e-6)


def test_one_tick_is_no_grid():
    with pytest.raises(ValueError, match="no grid"):
        Grid.of([1.0], 10.0)


def test_names_of_workloads_are_their_own_and_their_metrics_say_which_way_is_good():
    assert len({workload.title for workload in WORKLOADS.values()}) == len(WORKLOADS)
    for name, workload in WORKLOADS.items():
        assert workload.name == name
        assert workload.metrics


def test_a_publisher_is_never_further_ahead_than_its_window_unless_samples_are_lost():
    with closing(Credit()) as publisher, closing(Credit(publisher.port)) as reader:
        stop = Event()
        turns = publisher.turns(2, stop)
        reader.give()
        assert [next(turns) for _ in range(3)] == [None] * 3  # the window, and for the one that arrived
        next(turns)  # Nothing has arrived: it comes when that counts as lost.
        reader.give()
        heard = publisher.heard(stop)
        next(heard)
        stop.set()
        assert not list(turns)
        assert not list(heard)
        assert list(publisher.turns(3, stop)) == [None] * 3


class Numbers(Reader):
    """Samples 0 to 9, and then none."""

    def __init__(self) -> None:
        self.numbers = iter(range(10))
        self.empty = Event()

    def take(self, timeout_s: float) -> Sample:
        for number in self.numbers:
            return Sample(number, 0.0, None)
        self.empty.set()
        raise TimeoutError


def test_a_drained_queue_is_a_cache():
    numbers = Numbers()
    with closing(Drained(numbers)) as cache:
        assert numbers.empty.wait(PATIENCE_S)
        assert cache.take(PATIENCE_S).number == 9
        with pytest.raises(TimeoutError):
            cache.take(0.0)


# --- a change or noise -----------------------------------------------------------------------------------------------


def changes(old: Results, new: Results) -> list[Pair]:
    return [pair for pair in pairs(old, new) if pair.is_change]


def worse(old: Results, new: Results) -> list[str]:
    return [str(change) for change in changes(old, new) if change.is_worse]


def test_twice_as_slow_is_a_change():
    old, new = results_of(ours=[100, 101, 102]), results_of(ours=[200, 201, 205])
    found = worse(old, new)
    assert len(found) == 2  # in µs and in calls/s
    assert "100" in found[0] or "101" in found[0]
    assert not worse(new, old)
    assert len(changes(new, old)) == 2


def test_what_is_within_the_spreads_is_none():
    assert not changes(results_of(ours=[100, 130, 160]), results_of(ours=[150, 180, 210]))


def test_a_change_of_less_than_a_tenth_is_none_however_small_the_spread():
    assert not changes(results_of(ours=[100, 100, 100]), results_of(ours=[109, 109, 109]))


def test_a_machine_that_is_slower_for_everybody_is_no_change():
    old = results_of(ours=[100, 101, 102], bare=[80, 81, 82])
    new = results_of(ours=[200, 202, 204], bare=[160, 162, 164])
    assert not changes(old, new)
    assert worse(old, results_of(ours=[200, 202, 204], bare=[80, 81, 82]))


def test_ratios_are_of_the_same_round():
    assert results_of(ours=[100, 400], bare=[50, 200]).ratios("small_call", "ours", "echo_p50_us") == [2, 2]
    # A round that failed has no partner; the others are held against the median.
    assert results_of(ours=[100, 400], bare=[50, 200, 50]).ratios("small_call", "ours", "echo_p50_us") == [2, 8]


def test_a_workload_that_fails_now_is_worse():
    old, new = results_of(ours=[100]), Results(1, 1.0)
    new.failures.append({"workload": "small_call", "contender": "ours", "round": 0, "error": "it hung"})
    assert failed_now(old, new) == ["small_call"]
    assert not failed_now(old, old)


def test_results_come_back_from_their_file_as_they_were(tmp_path):
    results = results_of(ours=[100, 200], bare=[50, 60])
    results.save(tmp_path / "a.json")
    assert Results.load(tmp_path / "a.json") == results
    (tmp_path / "b.json").write_text('{"schema": 0}', encoding="utf-8")
    with pytest.raises(ValueError, match="no results"):
        Results.load(tmp_path / "b.json")


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_says_what_was_reached_and_why_not():
    results = results_of(ours=[100, 101, 102], bare=[50, 51, 50], pyro5=[40, 41, 42])
    results.left_out["nats"] = "there is no nats-server on the path"
    results.machine["cores"], results.load_averages = 2, [1.5, 3.0]
    rows = unexplained(results, {})
    assert rows == [
        "goals: small_call_echo_p50",
        "goals: calls_of_peers",
        "behind: small_call.echo_p50_us",
        "behind: small_call.echo_calls_per_s",
    ]
    remarks = {"goals": {"small_call_echo_p50": "because of the journal"}}
    assert unexplained(results, remarks) == rows[1:]
    page = text(results, remarks, {"A picture": "a.svg"})
    assert "The load average was 1.5 to 3.0, on 2 cores." in page
    assert "Others were at work" not in page
    results.load_averages.append(4.5)
    assert "Others were at work" in text(results, remarks, {})
    assert "| small call, echo, p50 | ≤ 1.15 × bare | 2.00 (1.98 to 2.04) | **no** |" in page
    assert "- small call, echo, p50: because of the journal" in page
    assert f"| Pyro5 41 | {UNEXPLAINED} |" in page
    assert "![A picture](a.svg)" in page
    assert "- nats was left out: there is no nats-server on the path" in page
    assert "## How it grows" not in page


def test_the_pictures_are_the_same_for_the_same_figures(tmp_path):
    pytest.importorskip("matplotlib", reason='needs matplotlib: pip install "one_liner[examples]"')
    from benchmarks.page.plots import draw

    results = results_of(ours=[100, 120], bare=[50, 60], pyro5=[90, 99])
    for count in (1, 8):
        for name in ("ours", "bare"):
            results.add(f"clients_{count}", name, {"calls_per_s": 1000.0 * count, "p99_us": 100.0})
    first = {title: path.read_bytes() for title, path in draw(results, tmp_path).items()}
    assert len(first) == 2
    assert all(b"<svg" in picture for picture in first.values())
    assert first == {title: path.read_bytes() for title, path in draw(results, tmp_path).items()}


def test_what_overlaps_is_not_behind():
    assert not list(behind(results_of(ours=[100, 120], pyro5=[90, 110])))
    assert next(behind(results_of(ours=[100, 120], pyro5=[90, 99]))).ahead == {"Pyro5": 94.5}


def test_bare_pyzmq_is_no_peer():
    assert not list(behind(results_of(ours=[100], bare=[10])))


def test_every_remark_belongs_to_a_row_that_exists():
    remarks = load_remarks()
    assert set(remarks) == {"goals", "behind"}
    assert set(remarks["goals"]) <= {goal.name for goal in GOALS}
    rows = {f"{name}.{metric}" for name, workload in WORKLOADS.items() for metric in workload.metrics}
    assert set(remarks["behind"]) <= rows


def test_every_goal_names_figures_that_a_run_gives():
    results = Results(1, 1.0, contenders=CONTENDERS)
    for name, workload in WORKLOADS.items():
        for contender in CONTENDERS:
            results.add(name, contender, dict.fromkeys(workload.metrics, 1.0))
    assert all(goal.figures(results) for goal in GOALS)
    assert {row for row in text(results, {}, {}).splitlines() if "nan" in row} == set()
