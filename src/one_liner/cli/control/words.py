"""What a typed line means: a command or kind by a word of its name, and the data behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from one_liner.cli.values import read_arguments
from one_liner.errors import ConfigurationError


def number_meant(word: str, names: Mapping[str, int]) -> int:
    """The number of a name, written in full, as its beginning or as one of its words; or a number itself.

    Raises:
        ConfigurationError: nothing is called so, or several are.
    """
    if word.isdecimal():
        return int(word)
    wanted = _folded(word)
    same = [name for name in names if _folded(name) == wanted]
    begins = [name for name in names if _folded(name).startswith(wanted)]
    inside = [name for name in names if wanted in map(str.casefold, name.split("_"))]
    found = same or begins or inside
    if len({names[name] for name in found}) == 1:
        return names[found[0]]
    if found:
        raise ConfigurationError(f"{word!r} may be {', '.join(found)}")
    close = get_close_matches(word.casefold(), [name.casefold() for name in names], 1)
    raise ConfigurationError(f"there is no {word!r}{f'; did you mean {close[0]}?' if close else ''}")


def data_of(words: Sequence[str]) -> dict[str, Any] | None:
    """What stands behind the command: `name=value …`, one JSON object, or nothing.

    Raises:
        ConfigurationError: it is something else.
    """
    if not words:
        return None
    if words[0].startswith("{"):
        args, _ = read_arguments([" ".join(words)])
        if isinstance(args[0], dict):
            return args[0]
        raise ConfigurationError(f"{' '.join(words)} is no JSON object")
    args, kwargs = read_arguments(words)
    if args:
        raise ConfigurationError(f"data is written name=value, or as one JSON object, not {args[0]!r}")
    return kwargs


def _folded(name: str) -> str:
    return name.replace("_", "").casefold()
