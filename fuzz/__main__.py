"""`python -m fuzz --seconds 120`: all targets, or one, for as long as one likes; or `--inputs 50000 --seed 1`.

Begins with the kept corpus and what earlier runs added to it (in `.fuzz`, which git ignores). An input that fails is
written into the kept corpus, where `tests/test_fuzz_corpus.py` gives it to its target on every Python, until it passes;
the exit code is 1 then. With a number of inputs and a seed, two runs of the same code from the same corpus give the
same inputs, so that what a check says of a change is about that change.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fuzz.seeds import CORPUS, WORDS
from fuzz.targets import TARGETS

WORK: Final = Path(__file__).parent.parent / ".fuzz"
LONGEST_BYTES: Final = 4096
ONE_INPUT_S: Final = 60  # A loaded machine is no finding.
MEMORY_MB: Final = 2048
_STATUS = re.compile(r"^#(\d+)\s.* cov: (\d+) ft: (\d+) corp: (\d+)/", re.MULTILINE)


@dataclass
class Outcome:
    """What became of one target.

    Attributes:
        runs: how many inputs it was given.
        branches: how many counters of the watched code were reached.
        inputs: how many inputs are worth keeping for what they alone reach.
        findings: files with inputs that failed.
        log: what libFuzzer wrote.
        failed: it ended in another way than it should have.
    """

    target: str
    log: Path
    runs: int = 0
    branches: int = 0
    inputs: int = 0
    findings: list[Path] = field(default_factory=list)
    failed: bool = False


def fuzz(target: str, limit: str, seed: int) -> Outcome:
    """Give one target inputs until a limit, in the words of libFuzzer; seed 0 is another one each time."""
    work = WORK / target
    grown, found = work / "corpus", work / "found"
    shutil.rmtree(found, ignore_errors=True)
    for folder in (grown, found):
        folder.mkdir(parents=True, exist_ok=True)
    flags = [
        limit,
        f"-seed={seed}",
        f"-max_len={LONGEST_BYTES}",
        f"-timeout={ONE_INPUT_S}",
        f"-report_slow_units={ONE_INPUT_S}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-artifact_prefix={found}/",
        f"-dict={WORDS}",
        str(grown),
        str(CORPUS / target),
    ]
    outcome = Outcome(target, work / "log")
    with outcome.log.open("wb") as log:
        ended = subprocess.run(
            [sys.executable, "-m", "fuzz.engine", target, *flags],
            cwd=WORK.parent,
            env={**os.environ, "PYTHONHASHSEED": str(seed) if seed else "random"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    statuses = _STATUS.findall(outcome.log.read_text(encoding="utf-8", errors="replace"))
    if statuses:
        outcome.runs, outcome.branches, _, outcome.inputs = map(int, statuses[-1])
    outcome.findings = list(_kept(target, found))
    outcome.failed = ended.returncode != 0
    return outcome


def _kept(target: str, found: Path) -> Iterator[Path]:
    for path in sorted(found.iterdir()):
        content = path.read_bytes()
        kept = CORPUS / target / f"found-{hashlib.sha1(content, usedforsecurity=False).hexdigest()[:12]}"
        kept.write_bytes(content)
        yield kept


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=(__doc__ or "").partition("\n\n")[0])
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=float, default=60.0, help="for all targets together")
    length.add_argument("--inputs", type=int, help="for each target")
    parser.add_argument("--seed", type=int, default=0, help="0, the default, for another one each time")
    parser.add_argument("--target", choices=list(TARGETS), action="append", help="only this one; may be said again")
    arguments = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        sys.exit(
            "atheris is not installed: uv run --all-extras --group fuzz python -m fuzz. It exists for Linux on x86-64 "
            "only; elsewhere tests/test_fuzz_corpus.py gives the kept corpus to all targets."
        )
    targets = arguments.target or list(TARGETS)
    seconds = max(1, round(arguments.seconds / len(targets)))
    limit = f"-max_total_time={seconds}" if arguments.inputs is None else f"-runs={arguments.inputs}"
    print(f"{'target':<10}{'inputs':>12}{'branches':>12}{'kept':>8}   findings", flush=True)
    outcomes = []
    for target in targets:
        outcome = fuzz(target, limit, arguments.seed)
        outcomes.append(outcome)
        told = ", ".join(str(path.relative_to(WORK.parent)) for path in outcome.findings) or "none"
        print(f"{target:<10}{outcome.runs:>12}{outcome.branches:>12}{outcome.inputs:>8}   {told}", flush=True)
    bad = [outcome for outcome in outcomes if outcome.failed or outcome.findings]
    for outcome in bad:
        print(f"\n--- {outcome.target}, the end of {outcome.log}:")
        print("\n".join(outcome.log.read_text(encoding="utf-8", errors="replace").splitlines()[-40:]))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
