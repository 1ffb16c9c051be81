"""Memory of large frames, counted in pages that the system had to clear."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_BLOCKS = 50
_SCRIPT = f"""
import resource, sys
from one_liner.transport.heap import keep_freed_memory

def faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if sys.argv[1] == "keep":
    keep_freed_memory()
content = b"x" * 1000
before = 0
for index in range({_BLOCKS} + 5):
    if index == 5:  # The first ones have to come from somewhere.
        before = faults()
    block = content * 6221
    other = content * 6221
    del block, other
print(faults() - before)
"""


def _faults(word: str) -> int:
    return int(subprocess.run([sys.executable, "-c", _SCRIPT, word], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library of Linux is the one that can be told")
def test_pages_are_cleared_once_and_not_for_every_frame() -> None:
    assert _faults("keep") < _BLOCKS, "less than one page for two frames"
    # Three pages at least, also where they are of 2 MiB. Should this fail, the C library has learnt, and `heap` can go.
    assert _faults("do not") > 3 * _BLOCKS
