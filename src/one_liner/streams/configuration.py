"""What can be said of a stream: as it was asked for, and as it goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from one_liner.errors import MalformedError
from one_liner.frozen import Frozen

GROUPS: Final = {"periodic": "periodic_streams", "manual": "manual_streams", "zmq": "zmq_streams"}


class StreamConfiguration(Frozen):
    """One stream, at the instant of asking.

    Attributes:
        name: as readers configure it, with the prefix of the routers on the way.
        kind: "periodic" (a function called at a rate), "manual" (pushed by the application), "zmq" (relayed).
        enabled: whether it runs.
        encoding: how its values are written: "msgpack", "json", "raw", "pickle", "custom", "frames".
        return_type: the function's return annotation as text; None when there is none.
        frequency_hz: the rate asked for; None unless periodic.
        on_demand: whether the function is called only while somebody listens.
        source: what is called, or where the relayed publisher is.
        achieved_hz: the rate of the last samples.
        jitter_s: standard deviation of the interval between two samples from what it should be.
        lateness_s: how long after its deadline the function is called, on average.
        duration_mean_s: how long the function takes.
        duration_max_s: how long it took at worst.
        overruns: how often it took longer than one period.
        produced: samples made, those that are an error among them.
        published: samples handed to the broadcast.
        failed: samples that are an error.
        skipped_late: ticks that passed while a tick of the same frequency still ran.
        skipped_busy: ticks that found the object at work.
        last_holder: with what it was at work then.
    """

    name: str
    kind: str
    enabled: bool
    encoding: str
    return_type: str | None = None
    frequency_hz: float | None = None
    on_demand: bool = False
    source: str = ""
    achieved_hz: float | None = None
    jitter_s: float | None = None
    lateness_s: float | None = None
    duration_mean_s: float | None = None
    duration_max_s: float | None = None
    overruns: int = 0
    produced: int = 0
    published: int = 0
    failed: int = 0
    skipped_late: int = 0
    skipped_busy: int = 0
    last_holder: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, data: Any) -> StreamConfiguration:
        """Read it back; fields that a later version adds are passed over.

        Raises:
            MalformedError: it is something else.
        """
        try:
            return cls(**{name: value for name, value in _dict(data).items() if name in cls.field_names()})
        except TypeError:
            raise MalformedError("the description of a stream cannot be read") from None


class StreamConfigurations(Mapping[str, StreamConfiguration]):
    """All streams of a server by name, those behind its routers too."""

    def __init__(self, configurations: Mapping[str, StreamConfiguration]) -> None:
        self._all = dict(configurations)

    def __getitem__(self, name: str) -> StreamConfiguration:
        return self._all[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def periodic_streams(self) -> dict[str, StreamConfiguration]:
        """Those whose function is called at a rate."""
        return self._of_kind("periodic")

    @property
    def manual_streams(self) -> dict[str, StreamConfiguration]:
        """Those that the application pushes."""
        return self._of_kind("manual")

    @property
    def zmq_streams(self) -> dict[str, StreamConfiguration]:
        """Those that are relayed from another publisher."""
        return self._of_kind("zmq")

    def as_dict(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Plain data: `periodic_streams`, `manual_streams` and `zmq_streams`, each by name."""
        return {
            group: {name: configuration.as_dict() for name, configuration in self._of_kind(kind).items()}
            for kind, group in GROUPS.items()
        }

    @classmethod
    def from_dict(cls, data: Any) -> StreamConfigurations:
        """Read it back.

        Raises:
            MalformedError: it is something else.
        """
        groups = [_dict(_dict(data).get(group)) for group in GROUPS.values()]
        return cls(
            {name: StreamConfiguration.from_dict(entry) for entries in groups for name, entry in entries.items()}
        )

    def _of_kind(self, kind: str) -> dict[str, StreamConfiguration]:
        return {name: entry for name, entry in self._all.items() if entry.kind == kind}

    def __repr__(self) -> str:
        return f"StreamConfigurations({', '.join(self._all)})"


def _dict(data: Any) -> dict[str, Any]:
    """What has to be a dict with text for its keys."""
    if type(data) is not dict or not all(type(key) is str for key in data):
        raise MalformedError("the description of the streams cannot be read")
    return data
