"""The calls that the demo makes while it watches, one of them wrong on purpose."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from itertools import chain, cycle
from typing import Any, Final

from one_liner.cli.values import in_one_line
from one_liner.client import RouterClient
from one_liner.errors import OneLinerError, RemoteError

_EVERY_S: Final = 1.0
_REMEMBERED: Final = 6


@dataclass(frozen=True, slots=True)
class Call:
    """One call.

    Attributes:
        raises: the type of the exception that it is there to show, if any.
    """

    obj_name: str
    attr_name: str
    args: tuple[Any, ...] = ()
    raises: str | None = None

    def __str__(self) -> str:
        return f"{self.obj_name}.{self.attr_name}({', '.join(map(repr, self.args))})"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call.

    Attributes:
        call: which.
        text: the result, or what was raised, in one line.
        duration_s: how long it took.
        raised: whether it was an exception.
        as_expected: whether that is what the call is there to show.
    """

    call: Call
    text: str
    duration_s: float
    raised: bool
    as_expected: bool

    def __str__(self) -> str:
        purpose = ", raised over there, on purpose" if self.raised and self.as_expected else ""
        return f"{self.call} -> {self.text}  ({self.duration_s * 1000:.1f} ms{purpose})"


_FIRST = (Call("machine", "uptime"), Call("camera", "set_exposure", (-5,), raises="ValueError"))
_THEN = (
    Call("camera", "set_exposure", (20,)),
    Call("machine", "system"),
    Call("camera", "set_exposure", (10,)),
    Call("machine", "uptime"),
)


class Caller:
    """Makes a call each second.

    Attributes:
        made: how many so far.
        failed: how many of them went as they should not.
        first_failure: the first of these, in words.
        recent: the last answers, the newest last.
    """

    def __init__(self, client: RouterClient) -> None:
        self.made = 0
        self.failed = 0
        self.first_failure = ""
        self.recent: deque[Answer] = deque(maxlen=_REMEMBERED)
        self._client = client
        self._calls = chain(_FIRST, cycle(_THEN))
        self._next_at = time.perf_counter()

    def tend(self) -> Answer | None:
        """Make the next call if it is time; waits for its answer as long as the client waits."""
        if time.perf_counter() < self._next_at:
            return None
        answer = self._make(next(self._calls))
        self._next_at = max(self._next_at + _EVERY_S, time.perf_counter())
        self.made += 1
        self.recent.append(answer)
        if not answer.as_expected:
            self.failed += 1
            self.first_failure = self.first_failure or f"{answer.call} gave {answer.text}"
        return answer

    def _make(self, call: Call) -> Answer:
        began = time.perf_counter()
        raised: str | None = None
        try:
            text = in_one_line(self._client.call(call.obj_name, call.attr_name, call.args))
        except RemoteError as error:
            raised, text = error.type_name, f"{error.type_name}: {error.message}"
        except OneLinerError as error:
            raised, text = type(error).__name__, str(error)
        duration_s = time.perf_counter() - began
        return Answer(call, text, duration_s, raised is not None, raised == call.raises)
