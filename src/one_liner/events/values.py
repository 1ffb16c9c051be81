"""The values that properties had when they were last seen, to tell a change and what was before."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from one_liner.frozen import Frozen

MAX_KEPT_BYTES: Final = 4096
MAX_NAMES: Final = 10_000


class Seen(Frozen):
    """A value as it was written.

    Attributes:
        digest: tells it from others.
        body: the value itself, where it is small.
    """

    digest: bytes
    body: bytes | None


class KnownValues:
    """The last value of each property. Holds no lock: its owner guards it.

    They are kept as they are written on the wire: an object that changes what it was given does not change them, and
    two that are written alike are alike (also a NaN, and an array).
    """

    def __init__(self, most: int = MAX_NAMES) -> None:
        self._most = most
        self._seen: OrderedDict[str, Seen] = OrderedDict()

    def replace(self, name: str, body: bytes, buffers: Sequence[bytes] = ()) -> tuple[bool, Seen | None]:
        """Note the value that a property has now.

        Returns:
            Whether it is another one than before, and what is known of the one before.
        """
        from hashlib import blake2b  # It loads OpenSSL, which takes a tenth of all our importing.

        digest = blake2b(body, digest_size=16)
        for buffer in buffers:
            digest.update(buffer)
        small = not buffers and len(body) <= MAX_KEPT_BYTES
        now = Seen(digest.digest(), body if small else None)
        before = self._seen.pop(name, None)
        self._seen[name] = now
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
        return before is None or before.digest != now.digest, before

    def forget(self, name: str) -> None:
        """Know nothing of a property any more."""
        self._seen.pop(name, None)
