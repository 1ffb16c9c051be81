"""One target under libFuzzer, until its time is up or something is found: `python -m fuzz.engine values -runs=1000`.

The only file that needs atheris. What is imported here is watched, branch by branch, so this has to be the first
import of the library in its process; and libFuzzer ends the process itself. `fuzz.__main__` starts one for each target.
"""

from __future__ import annotations

import logging
import sys
from functools import partial

import atheris


def main() -> None:
    """Run the target that the first argument names; all others are libFuzzer's."""
    name, *flags = sys.argv[1:]
    with atheris.instrument_imports(include=["one_liner"]):
        from fuzz.targets import run
    logging.getLogger("one_liner").setLevel(logging.CRITICAL)
    atheris.Setup([sys.argv[0], *flags], partial(run, name))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
