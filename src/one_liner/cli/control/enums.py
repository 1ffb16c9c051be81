"""Enums of the application, by their import path."""

from __future__ import annotations

import os
import sys
from enum import Enum
from typing import Any

from one_liner.cli.serve.imports import load


def enum_at(path: str | None, default: type[Enum]) -> type[Enum]:
    """The enum of this import path; the folder where we are counts, too.

    Raises:
        ConfigurationError: there is none.
    """
    if path is None:
        return default
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    found: Any = load(path)
    return found  # type: ignore[no-any-return]  # What it is, `Catalogue` finds out.
