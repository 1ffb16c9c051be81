"""What a request means: an object and its attribute, in which lane, and whose leases it touches."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, NamedTuple

from one_liner.rpc.lanes import Lane

if TYPE_CHECKING:
    from one_liner.commands.parameter import Shape


class Touched(NamedTuple):
    """A served object that is reached by a path.

    Attributes:
        key: what all its names have in common.
        names: under which it is served.
        rest: the path from there on.
    """

    key: Hashable
    names: tuple[str, ...]
    rest: str


class Target(NamedTuple):
    """What a call or an attribute access will act on.

    Attributes:
        owner: the object that holds the attribute, or the object itself when `name` is empty.
        name: the attribute; empty when the object itself is meant.
        lane: whose turn to wait for; None may run beside others.
        where: the whole path, for messages: `rig.stage.move`.
        steps: what is still to be walked from `owner` before `name`, because it takes running the object's own code.
        direct: `name` is a method of the owner's type: nothing has to be found out when it is called.
        touches: every served object on the way, the target's own last, as far as it can be seen without running code.
        is_property: `name` is a property or a plain value, which a call without arguments reads.
        command: how it is called, where it asks for the job that it is run as; None where it does not.
    """

    owner: Any
    name: str
    lane: Lane | None
    where: str
    steps: tuple[str, ...] = ()
    direct: bool = False
    touches: tuple[Touched, ...] = ()
    is_property: bool = False
    command: Shape | None = None
