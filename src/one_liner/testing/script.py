"""Faults as text: one per line, in the words that one would say.

    drop 10% samples to_client broadcast     # a chance
    delay 50ms..200ms rpc                    # at least .. at most; the order stays
    duplicate every 5th to_server rpc
    drop message 3 calls to_client           # the third one of each connection, this one only
    reorder 2% within 3
    truncate 1% ; corrupt 1% bytes=3         # `;` ends a line, too
    sever times 1 stream=cam
    throttle 2MB/s to_client
    freeze at 2s for 1s
    cut every 10s for 500ms broadcast

A line is a fault and its words, in any order. `#` begins a comment.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import MISSING, fields
from decimal import Decimal
from typing import Any, Final, NoReturn

from one_liner.errors import ConfigurationError
from one_liner.testing.faults import ALL, BOTH, DIRECTIONS, FAULTS, PORTS, TRAFFIC, Delay, Fault, TimedFault

_KINDS: Final = {cls.word: cls for cls in FAULTS}
_DURATION = r"(\d+(?:\.\d+)?)(us|ms|s|min)"
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
_SPAN = re.compile(rf"{_DURATION}(?:\.\.{_DURATION})?")
_RATE = re.compile(r"(\d+(?:\.\d+)?)(B|kB|MB)/s")
_RATES = {"B": 1.0, "kB": 1e3, "MB": 1e6}
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)%")
_COUNT = re.compile(r"(\d{1,9})(?:st|nd|rd|th)?")
_ASSIGNMENT = re.compile(r"([a-z_]+)=(.+)")

# Words that stand for themselves: the attribute they set, and its value.
_PLAIN: Final[dict[str, tuple[str, Any]]] = {
    **{word: ("direction", word) for word in DIRECTIONS},
    **{word: ("port", word) for word in PORTS},
    **{word: ("traffic", word) for word in TRAFFIC},
    "commands": ("commands", True),
    "raw": ("raw", True),
}
# Words that a number follows, or a duration.
_WITH_COUNT: Final = {"every": "every", "message": "message", "times": "times", "within": "within"}
_WITH_DURATION: Final = {"at": "at_s", "for": "for_s", "every": "every_s", "hold": "hold_s"}
_ASSIGNED: Final = ("bytes", "copies", "lose", "stream")
_NEUTRAL: Final = (BOTH, ALL)
_NEEDED: Final = {"seconds": "a duration such as 50ms or 50ms..200ms", "bytes_per_s": "a rate such as 500kB/s or 2MB/s"}


def parse(script: str) -> list[Fault]:
    """The faults of a script, in its order.

    Raises:
        ConfigurationError: a word is not understood; the message names the line, the word and what is allowed there.
    """
    return [
        _Line(number, text).fault()
        for number, line in enumerate(script.splitlines(), 1)
        for text in line.partition("#")[0].split(";")
        if text.strip()
    ]


def write(faults: Iterable[Fault]) -> str:
    """The script of some faults: `parse` gives them back."""
    return "\n".join(map(_written, faults))


class _Line:
    """One fault of a script, as it is read word by word."""

    def __init__(self, number: int, text: str) -> None:
        self._number = number
        self._words = text.split()
        kind = _KINDS.get(self._words[0])
        if kind is None:
            self._fail(self._words[0], "is no fault", _KINDS)
        self._kind = kind
        self._allowed = {field.name for field in fields(kind)}
        self._values: dict[str, Any] = {}

    def fault(self) -> Fault:
        words = iter(self._words[1:])
        for word in words:
            if word in _PLAIN and _PLAIN[word][0] in self._allowed:
                self._set(word, *_PLAIN[word])
            elif (attribute := self._followed(word)) is not None:
                self._set(word, attribute, self._number_after(word, attribute, next(words, "")))
            elif (match := _ASSIGNMENT.fullmatch(word)) and match[1] in _ASSIGNED and match[1] in self._allowed:
                self._set(word, match[1], match[2] if match[1] == "stream" else self._count(word, match[2]))
            elif (match := _PERCENT.fullmatch(word)) and "probability" in self._allowed:
                self._set(word, "probability", float(Decimal(match[1]) / 100))
            elif self._kind is Delay and (match := _SPAN.fullmatch(word)):
                self._set(word, "seconds", float(match[1]) * _UNITS[match[2]])
                if match[3] is not None:
                    self._values["up_to_s"] = float(match[3]) * _UNITS[match[4]]
            elif "bytes_per_s" in self._allowed and (match := _RATE.fullmatch(word)):
                self._set(word, "bytes_per_s", float(match[1]) * _RATES[match[2]])
            else:
                self._fail(word, f"does not fit {self._kind.word}", self._vocabulary())
        for needed, example in _NEEDED.items():
            if needed in self._allowed and needed not in self._values:
                raise ConfigurationError(
                    f"line {self._number}: {self._kind.word} needs {example}", line=self._number, word=self._kind.word
                )
        try:
            return self._kind(**self._values)
        except ConfigurationError as error:
            raise ConfigurationError(f"line {self._number}: {error}", line=self._number) from None

    def _followed(self, word: str) -> str | None:
        """The attribute of a word that is followed by a number; which one depends on the fault."""
        for table in (_WITH_COUNT, _WITH_DURATION):
            attribute = table.get(word)
            if attribute in self._allowed:
                return attribute
        return None

    def _number_after(self, word: str, attribute: str, text: str) -> Any:
        if attribute in _WITH_COUNT.values():
            return self._count(word, text)
        match = _SPAN.fullmatch(text)
        if match is None or match[3] is not None:
            self._wrong(word, text, "a duration such as 500ms or 2s")
        return float(match[1]) * _UNITS[match[2]]

    def _count(self, word: str, text: str) -> int:
        match = _COUNT.fullmatch(text)
        if match is None:
            self._wrong(word, text, "a number such as 3 or 5th")
        return int(match[1])

    def _set(self, word: str, attribute: str, value: Any) -> None:
        if attribute in self._values:
            raise ConfigurationError(
                f"line {self._number}: {word!r} says for a second time what {attribute} is",
                line=self._number,
                word=word,
            )
        self._values[attribute] = value

    def _vocabulary(self) -> list[str]:
        """Every word that fits the fault of this line, as one would write it."""
        words = [word for word, (attribute, _) in _PLAIN.items() if attribute in self._allowed]
        words += [f"{word} …" for word in {**_WITH_COUNT, **_WITH_DURATION} if self._followed(word)]
        words += [f"{word}=…" for word in _ASSIGNED if word in self._allowed]
        words += ["10%"] if "probability" in self._allowed else []
        words += ["500kB/s"] if "bytes_per_s" in self._allowed else []
        return words + (["50ms", "50ms..200ms"] if self._kind is Delay else [])

    def _wrong(self, word: str, text: str, wanted: str) -> NoReturn:
        found = f"not {text!r}" if text else "and the line ends there"
        raise ConfigurationError(
            f"line {self._number}: after {word!r} comes {wanted}, {found}", line=self._number, word=text or word
        )

    def _fail(self, word: str, what: str, allowed: Iterable[str]) -> NoReturn:
        choices = list(allowed)
        bare = {choice.rstrip(" …=").strip(): choice for choice in choices}
        close = difflib.get_close_matches(word.partition("=")[0], bare, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise ConfigurationError(
            f"line {self._number}: {word!r} {what}{hint} Allowed: {', '.join(choices)}", line=self._number, word=word
        )


def _written(fault: Fault) -> str:
    words = [fault.word]
    values = {
        field.name: getattr(fault, field.name)
        for field in fields(fault)
        if field.default is MISSING or getattr(fault, field.name) != field.default
    }
    timed = isinstance(fault, TimedFault)
    if isinstance(fault, Delay):
        longest = values.pop("up_to_s", None)
        span = f"{_digits(values.pop('seconds'))}s"
        words.append(span if longest is None else f"{span}..{_digits(longest)}s")
    followed = {attribute: word for word, attribute in (_WITH_DURATION if timed else _WITH_COUNT).items()}
    followed["hold_s"] = "hold"
    for name, value in values.items():
        if name == "probability":
            words.append(f"{_digits(100 * Decimal(repr(value)))}%")
        elif name == "bytes_per_s":
            words.append(f"{_digits(value)}B/s")
        elif name in followed:
            words.append(f"{followed[name]} {_digits(value)}s" if name.endswith("_s") else f"{followed[name]} {value}")
        elif name in _ASSIGNED:
            words.append(f"{name}={value}")
        elif value is True:
            words.append(name)
        elif value not in _NEUTRAL:
            words.append(value)
    return " ".join(words)


def _digits(number: float | Decimal) -> str:
    """A number without an exponent, to the last digit."""
    return format(Decimal(repr(number)) if isinstance(number, float | int) else number, "f")
