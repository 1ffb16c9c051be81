"""On which line of a TOML file each key and each element stands; `tomllib` gives the values alone.

The text has been accepted by `tomllib` before, so this scanner need not refuse anything: it only has to know where a
value ends. Keys are read by `tomllib` itself.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from typing import Final

Path = tuple[str | int, ...]
"""The way to a value: keys, and indices of arrays."""

_KEY = r"""(?:[^\s."'=\[\]{},#]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_KEYS: Final = re.compile(rf"{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*")
_SPACE: Final = re.compile(r"(?:\s+|#[^\n]*)*")
_SCALAR: Final = re.compile(
    r'"""(?:\\.|[^\\])*?""""{0,2}'  # up to two quotes may stand before the closing three
    r"|'''.*?''''{0,2}"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'"
    r"|[^,\]}\n#]+",
    re.DOTALL,
)


def lines_of(text: str) -> dict[Path, int]:
    """The line of everything in a valid TOML text, counted from 1; a table is where its header or first key is."""
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._newlines = [found.start() for found in re.finditer("\n", text)]
        self._lines: dict[Path, int] = {}
        self._lengths: dict[Path, int] = {}  # of the arrays of tables, so far

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        self._skip_space()
        while self._at < len(self._text):
            if self._next() == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip_space()
        return self._lines

    def _header(self) -> Path:
        of_array = self._text.startswith("[[", self._at)
        line = self._line()
        self._at += 2 if of_array else 1
        self._skip_space()
        *parents, last = self._keys()
        self._skip_space()
        self._at += 2 if of_array else 1
        path: Path = ()
        for key in parents:
            path = self._newest((*path, key))
        path = (*path, last)
        if of_array:
            self._lengths[path] = self._lengths.get(path, 0) + 1
        path = self._newest(path)
        self._note(path, line)
        self._lines[path] = line  # The header says more than a table below it that came first.
        return path

    def _newest(self, path: Path) -> Path:
        """The last element, if this is an array of tables."""
        return (*path, self._lengths[path] - 1) if path in self._lengths else path

    def _pair(self, table: Path) -> None:
        line = self._line()
        path = (*table, *self._keys())
        self._note(path, line)
        self._skip_space()
        self._at += 1  # the sign "="
        self._skip_space()
        self._value(path)

    def _value(self, path: Path) -> None:
        if self._next() == "[":
            self._array(path)
        elif self._next() == "{":
            self._inline_table(path)
        else:
            self._at = self._match(_SCALAR)

    def _array(self, path: Path) -> None:
        index = 0
        while self._opens("]"):
            self._note((*path, index), self._line())
            self._value((*path, index))
            index += 1

    def _inline_table(self, path: Path) -> None:
        while self._opens("}"):
            self._pair(path)

    def _opens(self, end: str) -> bool:
        """Step over an opening sign or a comma; whether another element follows."""
        self._skip_space()
        if self._next() != end:
            self._at += 1
            self._skip_space()
        if self._next() == end:
            self._at += 1
            return False
        return True

    def _keys(self) -> list[str]:
        start, self._at = self._at, self._match(_KEYS)
        found: list[str] = []
        tree = tomllib.loads(f"{self._text[start : self._at]} = 0")
        while isinstance(tree, dict):
            ((key, tree),) = tree.items()
            found.append(key)
        return found

    def _note(self, path: Path, line: int) -> None:
        for length in range(1, len(path) + 1):
            self._lines.setdefault(path[:length], line)

    def _next(self) -> str:
        return self._text[self._at]

    def _line(self) -> int:
        return bisect_right(self._newlines, self._at - 1) + 1

    def _skip_space(self) -> None:
        self._at = self._match(_SPACE)

    def _match(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self._text, self._at)
        assert found is not None, "the text is valid TOML"
        return found.end()
