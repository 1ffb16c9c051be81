"""What is closed when its `with` block ends."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Closing:
    """Base of what has a `close`, and may be used with `with`. No ABC: users put their own metaclass beside it."""

    def close(self) -> None:
        """Stop, and give everything back. Any number of times."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
