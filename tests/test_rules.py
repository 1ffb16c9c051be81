"""What was said of methods when their object was served."""

from __future__ import annotations

import pytest

from one_liner.rpc.rules import RuleBook, Rules


@pytest.fixture
def book() -> RuleBook:
    book = RuleBook()
    book.add("stage", ["stop", "axis.stop"], ["where"], "park")
    book.add("laser", [], [], "")
    book.add("abort", ["__call__"], [], "")
    return book


@pytest.mark.parametrize(
    ("names", "rest", "free"),
    [
        (["stage"], "stop", True),
        (["stage"], "axis.stop", True),
        (["stage"], "where", True),
        (["stage"], "move", False),
        (["stage"], "axis", False),
        (["stage"], "", False),
        (["stage"], "stop.now", False),
        (["laser"], "stop", False),
        (["laser", "stage"], "stop", True),
        (["abort"], "", True),
        (["unknown"], "stop", False),
        ([], "stop", False),
    ],
)
def test_urgent_methods_and_those_that_only_read_are_free(
    book: RuleBook, names: list[str], rest: str, free: bool
) -> None:
    assert book.frees(names, rest) is free


def test_only_objects_that_can_be_made_safe_are_listed(book: RuleBook) -> None:
    assert book.safe_calls() == {"stage": "park"}


def test_a_name_that_is_removed_has_no_rules(book: RuleBook) -> None:
    book.remove("stage")
    book.remove("stage")
    assert not book.frees(["stage"], "stop")
    assert book.safe_calls() == {}


def test_a_name_that_is_served_anew_has_new_rules(book: RuleBook) -> None:
    book.add("stage", ["abort"], [], "")
    assert not book.frees(["stage"], "stop")
    assert book.frees(["stage"], "abort")
    assert book.safe_calls() == {}


def test_rules_are_nothing_by_default() -> None:
    assert set(vars(Rules()).values()) == {frozenset(), ""}


@pytest.mark.parametrize(
    ("where", "reads"),
    [("stage.where", True), ("stage.stop", False), ("stage", False), ("laser.where", False), ("nobody.where", False)],
)
def test_what_only_reads(book: RuleBook, where: str, reads: bool) -> None:
    assert book.only_reads(where) is reads
