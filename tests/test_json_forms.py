"""What Python values are in JSON: at the gateway, with `--json` on the command line, and at the control port.

The first two have the same forms; the control port has its peers', and where it has none it refuses. The table here is
the one of `docs/reference/json.md`.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import enum
import json
import re
import uuid
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any, Final

import pytest

pytest.importorskip("orjson", reason="the gateway needs one_liner[gateway]")

import numpy as np
import pydantic

from one_liner.cli.values import to_json
from one_liner.control.plain import plain, to_bytes
from one_liner.errors import NotCarriableError
from one_liner.gateway.json_values import dumps
from one_liner.json_forms.values import to_plain
from one_liner.wire.types import EnumValue

REFUSED: Final = object()
"""It has no form, and is named."""

UTC = datetime.UTC
AT = datetime.datetime(2026, 1, 2, 3, 4, 5, 500_000, UTC)
AT_S = 1767323045.5


class Mode(enum.Enum):
    FAST = 3


class Word(enum.StrEnum):
    FAST = "fast"


class Pins(enum.IntFlag):
    FIRST = 1
    SECOND = 2


@dataclasses.dataclass
class Point:
    x_um: float = 1.5


class Model(pydantic.BaseModel):
    x_um: float = float("nan")


class Text(str):
    pass


# What is given; what gateway and command line show; what the control port shows where that is something else.
TABLE: list[tuple[Any, ...]] = [
    (None, None),
    (True, True),
    (2**70, 2**70),
    (-0.5, -0.5),
    ("é", "é"),
    (Text("text"), "text"),
    (float("nan"), None),
    (float("-inf"), None),
    (1 + 2j, [1.0, 2.0], REFUSED),
    (complex(float("nan"), 1), [None, 1.0], REFUSED),
    (b"\0\xff", "AP8=", REFUSED),
    (bytearray(b"a"), "YQ==", REFUSED),
    (memoryview(b"a"), "YQ==", REFUSED),
    (AT, "2026-01-02T03:04:05.500000+00:00", AT_S),
    (AT.date(), "2026-01-02"),
    (AT.time(), "03:04:05.500000"),
    (datetime.timedelta(minutes=1.5), 90.0),
    (Decimal("1.10"), "1.10"),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (PurePosixPath("/a/b"), "/a/b"),
    (Mode.FAST, 3),
    (Word.FAST, "fast"),
    (Pins.FIRST | Pins.SECOND, 3),
    (EnumValue("lab.Mode", "FAST", 3), 3),
    (EnumValue("lab.Mode", "FAST", None), "FAST"),
    (Point(), {"x_um": 1.5}, {"xUm": 1.5}),
    (Model(), {"x_um": None}, {"xUm": None}),
    ((1, (2, [3])), [1, [2, [3]]]),
    ({1}, [1]),
    (frozenset([1]), [1]),
    (range(3), [0, 1, 2]),
    (collections.deque([1]), [1]),
    ({1: "a", None: "b", 2.5: "c"}, {"1": "a", "null": "b", "2.5": "c"}),
    ({Mode.FAST: 1, uuid.UUID(int=1): 2}, {"3": 1, "00000000-0000-0000-0000-000000000001": 2}),
    ({(1, 2): 3}, {"(1, 2)": 3}, REFUSED),
    (object, "<class 'object'>", REFUSED),
    (Model, repr(Model), REFUSED),
    # numpy
    (np.float32(1.5), 1.5),
    (np.float64("nan"), None),
    (np.longdouble(1.5), 1.5),
    (np.int64(3), 3),
    (np.bool_(True), True),
    (np.str_("é"), "é"),
    (np.bytes_(b"a"), "YQ==", REFUSED),
    (np.complex64(1 + 2j), [1.0, 2.0], REFUSED),
    (np.datetime64("2026-01-02T03:04:05.5"), "2026-01-02T03:04:05.500", AT_S),
    (np.datetime64("2026-01-02T03:04:05.500000000"), "2026-01-02T03:04:05.500000000", AT_S),
    (np.datetime64("2026-01-02"), "2026-01-02"),
    (np.datetime64("NaT"), None),
    (np.datetime64("NaT", "ns"), None),
    (np.timedelta64(1500, "ms"), 1.5),
    (np.timedelta64(1_500_000_000, "ns"), 1.5),
    (np.timedelta64("NaT", "s"), None),
    (np.timedelta64(2, "Y"), 2),
    (np.array([[1.0, np.nan]]), [[1.0, None]]),
    (np.array(5.0), 5.0),
    (np.zeros((2, 0)), [[], []]),
    (np.array([np.inf], np.longdouble), [None]),
    (np.array(["a", "é"]), ["a", "é"]),
    (np.array([1 + 2j]), [[1.0, 2.0]], REFUSED),
    (np.array([b"a"]), ["YQ=="], REFUSED),
    (np.array(["2026-01-02T03:04:05.5", "NaT"], "M8[ms]"), ["2026-01-02T03:04:05.500", None], [AT_S, None]),
    (np.array(["2026-01-02", "NaT"], "M8[D]"), ["2026-01-02", None]),
    (np.array([1500], "m8[ms]"), [1500], [1.5]),
    (np.array([(1, 2.5)], [("a_um", "i4"), ("b", "f8")]), [{"a_um": 1, "b": 2.5}], [{"aUm": 1, "b": 2.5}]),
    (np.array((1, 2.5), [("a_um", "i4"), ("b", "f8")]), {"a_um": 1, "b": 2.5}, {"aUm": 1, "b": 2.5}),
    (np.array([{1}], object), [[1]]),
]


def _name(row: tuple[Any, ...]) -> str:
    # The same in each process: where something is in memory is not.
    shown = re.sub(r" at 0x\w+", "", repr(row[0]))
    return f"{type(row[0]).__name__} {shown:.40}"


@pytest.mark.parametrize("row", TABLE, ids=_name)
@pytest.mark.parametrize("nested", [False, True])
def test_a_value_has_one_form_wherever_it_is_shown(row: tuple[Any, ...], nested: bool) -> None:
    value, shown, at_the_port = row[0], row[1], row[-1]
    if nested:
        value, shown = {"k": [value]}, {"k": [shown]}
        at_the_port = at_the_port if at_the_port is REFUSED else {"k": [at_the_port]}
    assert json.loads(dumps(value)) == shown
    assert json.loads(to_json(value)) == shown
    if at_the_port is REFUSED:
        with pytest.raises(NotCarriableError, match="v"):
            plain(value, "v")
    else:
        assert json.loads(to_bytes(plain(value, "v"))) == at_the_port


def test_an_instant_of_numpy_is_utc_wherever_the_port_is(monkeypatch: pytest.MonkeyPatch) -> None:
    time = pytest.importorskip("time")
    if not hasattr(time, "tzset"):
        pytest.skip("this system has one zone for each process")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert plain(np.datetime64("2026-01-02T03:04:05.5"), "v") == AT_S
        assert plain(AT, "v") == AT_S
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_is_nested_without_end_is_cut_off() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert "list" in json.dumps(to_plain(endless))
    assert "list" in to_json(endless)
    with pytest.raises(NotCarriableError, match="nested"):
        plain(endless, "v")


def test_the_table_is_in_the_reference() -> None:
    page = (Path(__file__).parent.parent / "docs" / "reference" / "json.md").read_text(encoding="utf-8")
    for word in ("NaN", "complex", "bytes", "datetime64", "timedelta64", "enum", "Decimal", "UUID", "longdouble"):
        assert word in page
