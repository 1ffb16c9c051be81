"""Under which names something may be served, and which members may be spoken of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from one_liner.errors import ConfigurationError
from one_liner.rpc.members import MISSING, bound_callable, may_make_up, member, member_names
from one_liner.rpc.wording import a, hint, quoted


def check_name(name: str) -> None:
    """Refuse what cannot be a public name.

    Raises:
        ConfigurationError: it is empty or no text, starts with an underscore, or holds `/`, `.` or control characters.
    """
    if not isinstance(name, str):
        raise ConfigurationError(f"a name is text, not {a(type(name).__name__)}")
    if not name:
        raise ConfigurationError("a name cannot be empty")
    if name[0] == "_":
        raise ConfigurationError(f"{quoted(name)} cannot be a name: what starts with an underscore is private")
    for character in name:
        if character in "/." or (not character.isprintable() and _is_invisible(character)):
            raise ConfigurationError(f"{quoted(name)} cannot be a name: it holds {character!r}")


def _is_invisible(character: str) -> bool:
    import unicodedata  # Python does not print more than these: spaces of every kind, and what it does not know yet.

    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def check_members(what: str, name: str, obj: Any, members: Iterable[str]) -> frozenset[str]:
    """Names of methods and properties that an object has.

    Args:
        what: what is being declared about them, for the message.
        name: of the object.
        obj: the object.
        members: their names, dotted for those of nested objects.

    Raises:
        ConfigurationError: it has none of such a name.
    """
    if isinstance(members, str):
        raise ConfigurationError(f"{what} of {name!r} is a list of names: {what}=[{members!r}]")
    names = frozenset(members)
    for path in names:
        missing = _missing_step(obj, str(path).split("."))
        if missing is not None:
            owner, step = missing
            raise ConfigurationError(
                f"{what} of {name!r} names {quoted(path)}, which it does not have; "
                f"{hint(step, member_names(owner), 'known')}"
            )
    return names


def _missing_step(obj: Any, steps: Sequence[str]) -> tuple[Any, str] | None:
    """The first step that leads nowhere, and from where; None when all lead somewhere, as far as can be seen."""
    owner = obj
    for step in steps:
        found = member(owner, step)
        if found is None:
            return None if may_make_up(owner, step) else (owner, step)
        if found.value is MISSING and found.kind == "property":
            # Only the object's own code could tell what comes behind.
            return None
        owner = bound_callable(owner, found) if found.value is MISSING else found.value
    return None
