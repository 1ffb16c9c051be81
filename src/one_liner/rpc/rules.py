"""What the owner of an object said of its methods: which are urgent, which only read, which one makes it safe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Rules(NamedTuple):
    """What was declared for one served name.

    Attributes:
        urgent: methods that run at once, beside a call that holds the lane and in spite of a lease: `stop`, `abort`.
        read_only: methods that change nothing, so that they may be called while somebody else holds a lease.
        safe_call: the method that makes the object safe when whoever controls it is gone; "" for none.
    """

    urgent: frozenset[str] = frozenset()
    read_only: frozenset[str] = frozenset()
    safe_call: str = ""


class RuleBook:
    """The rules of everything that is served, by name. Replaced as a whole at each change: reading takes no lock."""

    def __init__(self) -> None:
        self._rules: dict[str, Rules] = {}

    def add(self, name: str, urgent: Iterable[str], read_only: Iterable[str], safe_call: str) -> None:
        """Write down what was declared for a name."""
        self._rules = {**self._rules, name: Rules(frozenset(urgent), frozenset(read_only), safe_call)}

    def remove(self, name: str) -> None:
        """Forget what was declared for a name."""
        self._rules = {known: rules for known, rules in self._rules.items() if known != name}

    def is_urgent(self, where: str) -> bool:
        """Whether a path such as `stage.stop` is urgent."""
        name, _, rest = where.partition(".")
        rules = self._rules.get(name)
        return rules is not None and rest in rules.urgent

    def only_reads(self, where: str) -> bool:
        """Whether calling a path such as `stage.get_position` changes nothing."""
        name, _, rest = where.partition(".")
        rules = self._rules.get(name)
        return rules is not None and rest in rules.read_only

    def safe_calls(self) -> dict[str, str]:
        """The method that makes each object safe, where one was named."""
        return {name: rules.safe_call for name, rules in self._rules.items() if rules.safe_call}
