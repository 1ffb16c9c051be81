"""What readers report: kept while they live, bounded, and nothing but counts. By arithmetic."""

from __future__ import annotations

from typing import Any

import pytest

from one_liner.errors import MalformedError
from one_liner.rpc.sessions import Sessions
from one_liner.streams.ledger import ReaderStatistics
from one_liner.streams.readers import MAX_STREAMS, ReaderReports, report_of

ANNA, BEN = 1, 2
COUNTED = ReaderStatistics(37, 4, 6, 27, 0, 3, 2, 1, 1)
REPORT = report_of({"cam": lambda: COUNTED})


@pytest.fixture
def sessions() -> Sessions:
    sessions = Sessions()
    sessions.heard(ANNA, "anna", b"a", 1.0, 100.0)
    sessions.heard(BEN, "ben", b"b", 1.0, 100.0)
    return sessions


def test_the_last_word_of_each_reader_counts(sessions: Sessions) -> None:
    reports = ReaderReports(sessions)
    reports.note(ANNA, {}, 100.0)
    reports.note(ANNA, REPORT, 101.0)
    reports.note(BEN, report_of({"cam": lambda: COUNTED, "laser": lambda: COUNTED}), 102.0)
    assert reports.by_stream(102.5) == {
        "cam": [
            {"who": "anna", "age_s": 1.5, **COUNTED.as_dict()},
            {"who": "ben", "age_s": 0.5, **COUNTED.as_dict()},
        ],
        "laser": [{"who": "ben", "age_s": 0.5, **COUNTED.as_dict()}],
    }
    assert COUNTED.accounted
    reports.forget()
    assert reports.by_stream(102.5) == {}


def test_only_those_who_live_are_heard_and_kept(sessions: Sessions) -> None:
    reports = ReaderReports(sessions)
    reports.note(7, REPORT, 100.0)
    assert reports._reports == {}, "whoever makes numbers up fills no memory"
    reports.note(ANNA, REPORT, 100.0)
    reports.note(BEN, REPORT, 100.0)
    sessions.heard(BEN, "ben", b"b", 1.0, 103.5)
    assert [one["who"] for one in reports.by_stream(103.5)["cam"]] == ["ben"]


def test_a_report_is_bounded_at_both_ends(sessions: Sessions) -> None:
    many = {f"s{number}": lambda: COUNTED for number in range(MAX_STREAMS + 1)}
    assert len(report_of(many)) == MAX_STREAMS
    assert report_of({"x" * 1001: lambda: COUNTED}) == {}
    reports = ReaderReports(sessions)
    with pytest.raises(MalformedError):
        reports.note(ANNA, dict.fromkeys(many, REPORT["cam"]), 100.0)


@pytest.mark.parametrize(
    "streams",
    [
        None,
        [],
        {1: REPORT["cam"]},
        {"x" * 1001: REPORT["cam"]},
        {"cam": None},
        {"cam": []},
        {"cam": "text"},
        {"cam": {"received": 1}},
        *({"cam": {**REPORT["cam"], "dropped": wrong}} for wrong in (-1, 1.0, True, "1", None, 1 << 63)),
    ],
)
def test_what_is_no_report_is_malformed_and_changes_nothing(sessions: Sessions, streams: Any) -> None:
    reports = ReaderReports(sessions)
    reports.note(ANNA, REPORT, 100.0)
    before = reports.by_stream(100.0)
    with pytest.raises(MalformedError):
        reports.note(ANNA, streams, 100.0)
    assert reports.by_stream(100.0) == before


def test_counters_of_a_later_version_are_passed_over(sessions: Sessions) -> None:
    reports = ReaderReports(sessions)
    reports.note(ANNA, {"cam": {**REPORT["cam"], "new": 5}}, 100.0)
    assert "new" not in reports.by_stream(100.0)["cam"][0]
