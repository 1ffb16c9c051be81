"""The soak itself: a few seconds of it, as a user runs it, and what Ctrl-C does to it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.soak import LOSSES, MAYBE, NOT_RUN, RAN, Account, Soak
from one_liner.testing import poll_until

ROOT = Path(__file__).parent.parent
SMALL = ["--clients", "6", "--streams", "4"]


def start(*arguments: str) -> subprocess.Popen[str]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.soak", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
    return [int(word) for word in text.split()]


def count(table: str, row: str) -> int:
    found = re.search(rf"^{re.escape(row)} +(\d+)$", table, re.MULTILINE)
    assert found, f"no row {row!r} in\n{table}"
    return int(found[1])


@pytest.mark.timeout(150)
def test_every_call_and_every_sample_of_a_few_seconds_is_accounted_for():
    with start("--minutes", "0.1", *SMALL) as process:
        output, errors = process.communicate(timeout=140)
    assert process.returncode == 0, output + errors
    assert output.rstrip().endswith("all accounted for")
    assert count(output, "calls made") > count(output, "  answered") > 20
    assert count(output, "  failed: RemoteError, ValueError") > 0
    for row in ("calls unexplained", "calls executed twice", "calls whose error was not true"):
        assert count(output, row) == 0
    assert count(output, "samples produced") > 50
    assert count(output, "samples for all readers") == count(output, "samples accounted")
    assert count(output, "samples unaccounted") == count(output, "samples out of order") == 0
    assert re.search(r"^server .+ → .+$", output, re.MULTILINE)


@pytest.mark.timeout(90)
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in /proc")
def test_ctrl_c_leaves_nothing_behind():
    with start("--minutes", "10", *SMALL) as process:
        # The server and two processes of clients.
        children = poll_until(lambda: (found := children_of(process.pid))[2:] and found, 30.0, "the soak to start")
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=50)
    assert process.returncode == 130, output + errors
    assert "Traceback" not in errors
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize("wrong", [["--minutes", "0"], ["--clients", "1"], ["--streams", "2"], ["--minutes", "nan"]])
def test_a_soak_that_cannot_be_is_refused(wrong):
    with start(*wrong) as process:
        _, errors = process.communicate(timeout=50)
    assert process.returncode == 2
    assert "a soak takes some time" in errors


# --- it can fail -----------------------------------------------------------------------------------------------------


def account_of(said=(RAN,), executed=(1,), produced=3, **changes) -> Account:
    """Of one client with one stream of three samples."""
    statistics = dict.fromkeys(LOSSES, 0) | {"delivered": 3, "stale": 0, "accounted": True}
    report = {
        "number": 0,
        "said": bytes(said).hex(),
        "answered": len(said),
        "failed": {},
        "unexplained": 0,
        "strange": [],
        "errors": {},
        "longest_s": 0.1,
        "disordered": 0,
        "streams": {"a": statistics},
    }
    soak = Soak(1.0, 1, 1, 1, produced={"a": produced}, executed={0: bytes(executed)}, reports=[{**report, **changes}])
    return Account.of(soak)


@pytest.mark.parametrize(
    ("said", "executed"), [([RAN], [1]), ([NOT_RUN], []), ([NOT_RUN], [0]), ([MAYBE], []), ([MAYBE, RAN], [1, 1])]
)
def test_what_is_consistent_is_good(said, executed):
    assert account_of(said, executed).good


@pytest.mark.parametrize(
    ("said", "executed"),
    [([RAN], []), ([RAN], [2]), ([NOT_RUN], [1]), ([MAYBE], [2]), ([RAN, MAYBE], [1, 3]), ([RAN], [1, 1])],
)
def test_an_execution_that_contradicts_what_was_said_is_found(said, executed):
    account = account_of(said, executed)
    assert not account.good
    assert account.twice or account.contradicted
    assert account.troubles


@pytest.mark.parametrize("changes", [{"produced": 4}, {"disordered": 1}, {"unexplained": 1}, {"answered": 0}])
def test_everything_else_that_does_not_add_up_is_found(changes):
    assert not account_of(**changes).good
