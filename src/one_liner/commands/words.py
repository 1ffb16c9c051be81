"""What a client may ask a server about jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from one_liner.cascade import Cascade
from one_liner.clock import Clock
from one_liner.commands.desk import CommandDesk
from one_liner.rpc.sessions import Sessions


def job_words(
    desk: CommandDesk, cascade: Cascade, sessions: Sessions, clock: Clock, heartbeat_s: float
) -> dict[str, Callable[..., Any]]:
    """The words for CONTROL, each with what answers it."""

    def submit(
        path: str,
        trail: tuple[int, ...],
        client: int,
        attr_name: Any = "",
        args: Any = None,
        kwargs: Any = None,
        timeout_s: Any = None,
        on_death: Any = "keep",
        who: Any = "",
    ) -> dict[str, Any]:
        if on_death == "cancel":
            # Whoever comes through routers is vouched for by a heartbeat of theirs, and that may be on its way.
            sessions.expect(client, str(who) or "somebody", len(trail) * heartbeat_s, clock.now())
        return desk.submit(
            path,
            attr_name,
            args,
            kwargs,
            timeout_s=timeout_s,
            on_death=on_death,
            client=client,
            who=str(who)[:_MAX_WHO],
        ).as_dict()

    def jobs(path: str, trail: tuple[int, ...], **_: Any) -> list[dict[str, Any]]:
        return [*(info.as_dict() for info in desk.all()), *cascade.jobs(trail)]

    return {
        "submit": submit,
        "jobs": jobs,
        "job": lambda path, **_: desk.info(path).as_dict(),
        "job_result": lambda path, **_: desk.result(path),
        "job_log": lambda path, **_: desk.lines(path),
        "cancel_job": lambda path, client, **_: desk.cancel(path, sessions.name_of(client), client),
        "pause_job": lambda path, client, **_: desk.pause(path, client),
        "resume_job": lambda path, client, **_: desk.resume(path, client),
    }


_MAX_WHO = 200
