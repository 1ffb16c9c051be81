"""Names of one_liner as subjects of NATS, and back.

Below a prefix: `lab.stream.camera`, `lab.event.emergency`, `lab.call.laser.set_power`. Names stay as they are, but for
what a subject cannot have, which is percent-encoded: space, `*`, `>`, `%`, and a dot that would leave a part empty.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from one_liner.errors import ConfigurationError

_SAFE = "".join(chr(code) for code in range(33, 127) if chr(code) not in "*>%")
_EMPTY_PART = re.compile(r"^\.|\.$|(?<=\.)\.")
EVENT_MARK = ":"
"""With this begins the name of a stream that carries events."""


class Subjects:
    """The subjects of one bridge.

    Args:
        prefix: in front of all; one part or several, `lab` or `lab.north`.

    Raises:
        ConfigurationError: it cannot be part of a subject.
    """

    def __init__(self, prefix: str) -> None:
        if not re.fullmatch(r"[^\s.*>$%][^\s.*>%]*(\.[^\s.*>%]+)*", prefix):
            raise ConfigurationError(f"a prefix is a word, or several with dots between, not {prefix!r}")
        self._prefix = prefix

    def of_stream(self, name: str) -> str:
        """`power` is `lab.stream.power`, the stream of events `:emergency` is `lab.event.emergency`."""
        route, slash, last = name.rpartition("/")
        if last.startswith(EVENT_MARK):
            return f"{self._prefix}.event.{_encoded(route + slash + last.removeprefix(EVENT_MARK))}"
        return f"{self._prefix}.stream.{_encoded(name)}"

    def of_call(self, obj_name: str, attr_name: str) -> str:
        """`laser`, `set_power` is `lab.call.laser.set_power`."""
        return f"{self._prefix}.call.{_encoded(f'{obj_name}.{attr_name}')}"

    def called(self, subject: str) -> tuple[str, str]:
        """The object and its method that a subject of a call names: the reverse of `of_call`."""
        obj_name, _, attr_name = unquote(subject.removeprefix(f"{self._prefix}.call.")).rpartition(".")
        return obj_name, attr_name

    @property
    def calls(self) -> str:
        """All calls."""
        return f"{self._prefix}.call.>"

    @property
    def description(self) -> str:
        """Where what is served is asked for."""
        return f"{self._prefix}.describe"

    @property
    def published(self) -> list[str]:
        """Everything that is published."""
        return [f"{self._prefix}.stream.>", f"{self._prefix}.event.>"]


def _encoded(name: str) -> str:
    return _EMPTY_PART.sub("%2E", quote(name, safe=_SAFE))
