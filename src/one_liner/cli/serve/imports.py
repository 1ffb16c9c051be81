"""Things by their import path: `package.module:Name`."""

from __future__ import annotations

import importlib
import traceback
from difflib import get_close_matches
from types import ModuleType
from typing import Any

from one_liner.errors import ConfigurationError


def load_module(name: str) -> ModuleType:
    """Import a module.

    Raises:
        ConfigurationError: there is none of this name, or its own code raised; the message says which, and where.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise ConfigurationError(f"there is no module {error.name!r}{_not_a_package(error.name)}") from None
        raise ConfigurationError(f"importing {name} raised {what_was_raised(error)}") from error
    except (Exception, SystemExit) as error:
        raise ConfigurationError(f"importing {name} raised {what_was_raised(error)}") from error


def load(path: str) -> Any:
    """Import what `package.module:Name.of.it` names.

    Raises:
        ConfigurationError: as `load_module`, or the module has no such name.
    """
    module_name, _, names = path.partition(":")
    found: Any = load_module(module_name)
    reached = module_name
    for name in names.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            close = get_close_matches(name, [other for other in dir(found) if not other.startswith("_")], 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise ConfigurationError(f"{reached} has no {name!r}{hint}") from None
        reached += f".{name}"
    return found


def what_was_raised(error: BaseException) -> str:
    """An exception in one line, with the place in the user's own code: `ValueError: no COM3 (lasers.py:12)`."""
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} ({error.filename}:{error.lineno})"
    text = " ".join("".join(traceback.format_exception_only(error)).split())
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_foreign(frame.filename)]
    return f"{text} ({places[-1].filename}:{places[-1].lineno})" if places else text


def _is_foreign(filename: str) -> bool:
    return filename != __file__ and not filename.startswith("<frozen") and filename != importlib.__file__


def _not_a_package(name: str) -> str:
    package, dot, _ = name.rpartition(".")
    return f"; {package} has none" if dot else ""
