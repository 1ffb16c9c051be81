"""One event: something published under one topic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ALL_TOPICS: Final = "__EventNotifier_ALL_TOPICS__"
"""Who subscribes to this gets the events of every topic."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something published under one topic.

    Attributes:
        topic: exactly as published.
        data: JSON; written once, whoever gets it.
        notifier_id: who published it, and gets no echo; None for nobody who could.
        is_sample: it is one of many of a stream: a newer one makes it worthless where there is no room for both.
    """

    topic: str
    data: str
    notifier_id: str | None = None
    is_sample: bool = False
