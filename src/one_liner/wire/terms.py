"""What one side lets through, in what it sends and in what arrives."""

from __future__ import annotations

from typing import NamedTuple

from one_liner.limits import DEFAULT_LIMITS


class Terms(NamedTuple):
    """For one codec, its writers and its readers.

    Attributes:
        allow_pickle: whether what can't be carried otherwise is pickled, and pickles that arrive are loaded.
        max_depth: how many containers may sit inside each other.
        max_elements: how many items the containers of what arrives may have together.
    """

    allow_pickle: bool = False
    max_depth: int = DEFAULT_LIMITS.depth
    max_elements: int = DEFAULT_LIMITS.elements
