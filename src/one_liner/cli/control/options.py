"""The options that both commands have."""

from __future__ import annotations

import os
import sys
from enum import Enum
from typing import Annotated, Any

import typer

from one_liner.cli.serve.imports import load

BroadcastPortOption = Annotated[str, typer.Option(metavar="PORT", help="Where events are published.")]
CommandPortOption = Annotated[str, typer.Option(metavar="PORT", help="Where commands are answered.")]
CommandsOption = Annotated[
    str | None,
    typer.Option(metavar="MODULE:ENUM", help="The commands, an enum with numbers; the built-in ones if not given."),
]
KindsOption = Annotated[
    str | None,
    typer.Option(metavar="MODULE:ENUM", help="The kinds of events, likewise."),
]


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
