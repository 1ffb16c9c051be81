"""What the owner of an object said of its methods: which are urgent, which only read, which one makes it safe."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock

from one_liner.frozen import Frozen


class Rules(Frozen):
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
        self._changing = Lock()
        self._rules: dict[str, Rules] = {}

    def add(self, name: str, urgent: Iterable[str], read_only: Iterable[str], safe_call: str) -> None:
        """Write down what was declared for a name."""
        with self._changing:
            self._rules = {**self._rules, name: Rules(frozenset(urgent), frozenset(read_only), safe_call)}

    def remove(self, name: str) -> None:
        """Forget what was declared for a name."""
        with self._changing:
            self._rules = {known: rules for known, rules in self._rules.items() if known != name}

    def frees(self, names: Iterable[str], rest: str) -> bool:
        """Whether a method may be called in spite of somebody else's lease: it is urgent, or only reads.

        Args:
            names: under which its object is served.
            rest: the path from there: `stop`, `axis.stop`, or `__call__` (also "") for the object itself.
        """
        found = (self._rules.get(name) for name in names)
        return any(rules is not None and (rest or "__call__") in rules.urgent | rules.read_only for rules in found)

    def only_reads(self, where: str) -> bool:
        """Whether calling a path such as `stage.get_position` was declared to change nothing."""
        name, _, rest = where.partition(".")
        rules = self._rules.get(name)
        return rules is not None and (rest or "__call__") in rules.read_only

    def safe_calls(self) -> dict[str, str]:
        """The method that makes each object safe, where one was named."""
        return {name: rules.safe_call for name, rules in self._rules.items() if rules.safe_call}
