"""How errors name what was asked for: short, in words, and never a second line that somebody made up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from one_liner.errors import UnknownAttributeError
from one_liner.rpc.members import is_class, is_function, is_module, member, member_names

_MAX_SHOWN: Final = 80
_MAX_LISTED: Final = 10


def unknown_attribute(owner: Any, whole: str, index: int) -> UnknownAttributeError:
    """The error of a path whose step at this index, counted behind the served name, leads nowhere."""
    root, *steps = whole.split(".")
    name = steps[index]
    where = ".".join([root, *steps[: len(steps) + index if index < 0 else index]])
    known = [known for known in member_names(owner) if member(owner, known) is not None]
    return UnknownAttributeError(f"{shown(where)} has no attribute {quoted(name)}; {hint(name, known, 'it has')}")


def hint(name: str, known: Sequence[str], verb: str) -> str:
    """What might have been meant by a name that is not among the known ones; otherwise what there is."""
    from difflib import get_close_matches  # For this message only.

    close = get_close_matches(name, known) if len(name) <= _MAX_SHOWN else []
    if close:
        return f"did you mean {' or '.join(repr(match) for match in close)}?"
    if not known:
        return f"{verb}: nothing"
    listed = ", ".join(sorted(known)[:_MAX_LISTED])
    return f"{verb}: {listed}{', ...' if len(known) > _MAX_LISTED else ''}"


def kind_of(value: Any) -> str:
    """What something is, with its article: `a function`, `an int`."""
    if is_class(value):
        return "a class"
    if is_module(value):
        return "a module"
    return "a function" if is_function(value) else a(type(value).__name__)


def a(name: str) -> str:
    """The name of a class with its article."""
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def shown(text: str) -> str:
    """A path for a message: what came from outside is neither long nor able to fake a line."""
    short = text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."
    return short if short.isprintable() else ascii(short)


def quoted(text: object) -> str:
    """A name from outside as Python would write it, cut off where it gets long."""
    from one_liner.rpc.signatures import repr_text  # For messages only.

    return repr_text(text, _MAX_SHOWN)
