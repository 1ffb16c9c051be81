"""What a client may ask a server about itself: what it serves, what it does, and who controls it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from one_liner.cascade import Cascade
from one_liner.rpc.exposure import Exposure
from one_liner.rpc.rules import RuleBook
from one_liner.rpc.warden import Warden
from one_liner.version import __version__

if TYPE_CHECKING:
    from one_liner.rpc.description import ServerDescription


def server_words(
    describe: Callable[[tuple[int, ...]], ServerDescription],
    running_calls: Callable[[], list[dict[str, Any]]],
    exposure: Exposure,
    rules: RuleBook,
    cascade: Cascade,
) -> dict[str, Callable[..., Any]]:
    """The words for CONTROL that tell of the server, each with what answers it."""

    def describe_object(path: str, **_: Any) -> dict[str, Any]:
        from one_liner.rpc.describing import describe_served  # Not everybody's 5 ms.

        return describe_served(exposure, path, rules.only_reads).as_dict()

    def calls(path: str, **_: Any) -> list[dict[str, Any]]:
        # Whoever asks knows that they do.
        return [call for call in running_calls() if call["where"] != "server.running_calls"]

    return {
        "describe": lambda path, trail, **_: describe(trail).as_dict(),
        "describe_object": describe_object,
        "running_calls": calls,
        "version": lambda path, **_: __version__,
        "trace": lambda path, trail, **_: cascade.trace(trail),
    }


def lease_words(warden: Warden, heartbeat_s: float) -> dict[str, Callable[..., Any]]:
    """The words for CONTROL that are about leases, each with what answers it."""

    def take_lease(path: str, trail: tuple[int, ...], client: int, force: bool = False, who: str = "") -> None:
        # Whoever comes through routers is vouched for by a heartbeat of theirs, and that is still on its way.
        patience_s = len(trail) * heartbeat_s
        warden.take(path, client, str(who) or "somebody", patience_s, force=bool(force))

    return {
        "take_lease": take_lease,
        "give_lease_back": lambda path, client, **_: warden.give_back(path, client),
        "holds_lease": lambda path, client, **_: warden.holds(path, client),
        "leases": lambda path, **_: warden.report(),
    }
