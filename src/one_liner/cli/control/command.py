"""The two commands as they are typed; what they do is imported when they are."""

from __future__ import annotations

from typing import Annotated

import typer

BroadcastPortOption = Annotated[str, typer.Option(metavar="PORT", help="Where events are published.")]
CommandPortOption = Annotated[str, typer.Option(metavar="PORT", help="Where commands are answered.")]
CommandsOption = Annotated[
    str | None,
    typer.Option(metavar="MODULE:ENUM", help="The commands, an enum with numbers; the built-in ones if not given."),
]
KindsOption = Annotated[
    str | None,
    typer.Option(metavar="MODULE:ENUM", help="The kinds of events, likewise."),
]


def control_console(
    host: Annotated[str, typer.Argument(metavar="[HOST]", help="Where the service is.")] = "127.0.0.1",
    broadcast_port: BroadcastPortOption = "5556",
    command_port: CommandPortOption = "5557",
    commands: CommandsOption = None,
    events: KindsOption = None,
    timeout: Annotated[float, typer.Option(metavar="S", min=0.001, help="How long to wait for an answer.")] = 5.0,
) -> None:
    """Send commands to a control service, and see its events as they come.

    In a terminal with history and completion; elsewhere it reads lines, and the exit code is 1 if a command failed.
    """
    from one_liner.cli.control.console import run_console  # Not everybody's time: the other commands need none of it.

    if not run_console(host, broadcast_port, command_port, commands, events, timeout):
        raise typer.Exit(1)


def control_demo(
    broadcast_port: BroadcastPortOption = "5556",
    command_port: CommandPortOption = "5557",
    interface: Annotated[str, typer.Option(metavar="ADDRESS", help="`*` for all of this machine.")] = "127.0.0.1",
    identifier: Annotated[str, typer.Option(metavar="TEXT", help="What heartbeats call it.")] = "control-demo",
    heartbeat: Annotated[float, typer.Option(metavar="S", min=0.01, help="How often a heartbeat is published.")] = 5.0,
    commands: CommandsOption = None,
    events: KindsOption = None,
    events_as_text: Annotated[
        bool, typer.Option("--events-as-text", help="For subscribers that expect a JSON string that holds JSON.")
    ] = False,
    seconds: Annotated[float | None, typer.Option(metavar="S", min=0.1, help="End after so many seconds.")] = None,
) -> None:
    """Stand in for an application: publish heartbeats and the events that you type, answer commands.

    Where nothing is typed, in the background, it goes on until it is ended.
    """
    from one_liner.cli.control.demo import run_demo

    run_demo(
        seconds,
        commands,
        events,
        identifier=identifier,
        interface=interface,
        broadcast_port=broadcast_port,
        command_port=command_port,
        heartbeat_s=heartbeat,
        events_as_text=events_as_text,
    )
