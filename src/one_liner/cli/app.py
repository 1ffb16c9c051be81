"""The commands together, and what becomes of their errors: one line for people, one number for scripts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated

import typer
from typer.main import get_command

from one_liner.cli.bridge import bridge
from one_liner.cli.call import call, get_attribute, set_attribute
from one_liner.cli.control.command import control_console, control_demo
from one_liner.cli.demo.command import demo
from one_liner.cli.events import events
from one_liner.cli.gateway import gateway
from one_liner.cli.jobs import jobs
from one_liner.cli.keys import keys_app
from one_liner.cli.ledger import ledger
from one_liner.cli.listing import ls
from one_liner.cli.plot import plot
from one_liner.cli.run import run as run_command
from one_liner.cli.serve.command import serve
from one_liner.cli.state import leases, running
from one_liner.cli.switch import disable, enable
from one_liner.cli.watch import watch
from one_liner.cli.web import web_app
from one_liner.errors import (
    ConfigurationError,
    LocalProtocolError,
    MissingExtraError,
    OneLinerError,
    RemoteError,
    TransportError,
)
from one_liner.version import __version__

_FAILED, _USAGE, _NO_SERVER = 1, 2, 3
_WITH_DASHES = {"ignore_unknown_options": True}
"""A value may be negative: `-5` is an argument, not an option that nobody knows."""

app = typer.Typer(
    help="Serve Python objects, call them, and watch their streams.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)
app.command()(demo)
app.command()(serve)
app.command()(ls)
app.command(context_settings=_WITH_DASHES)(call)
app.command("get")(get_attribute)
app.command("set", context_settings=_WITH_DASHES)(set_attribute)
app.command("run", context_settings=_WITH_DASHES)(run_command)
app.command()(jobs)
app.command()(events)
app.command()(watch)
app.command()(enable)
app.command()(disable)
app.command()(ledger)
app.command()(running)
app.command()(leases)
app.command()(gateway)
app.command()(plot)
app.add_typer(web_app, name="web")
app.command("control-demo")(control_demo)
app.command("control-console")(control_console)
app.command()(bridge)
app.add_typer(keys_app, name="keys")


def _show_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options_of_all(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None: ...


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit code, see `one_liner.cli.main`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # A terminal that cannot show a sign shows another one.
    try:
        get_command(app)(None if arguments is None else list(arguments), prog_name="one-liner")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except OneLinerError as error:
        print(f"one-liner: {text_of(error)}", file=sys.stderr)
        return exit_code_of(error)
    return 0


def exit_code_of(error: OneLinerError) -> int:
    """The number by which a script tells the kinds of errors apart."""
    if isinstance(error, ConfigurationError | MissingExtraError | LocalProtocolError):
        return _USAGE
    return _NO_SERVER if isinstance(error, TransportError) else _FAILED


def text_of(error: OneLinerError) -> str:
    """The line for people."""
    return f"{error.type_name}: {error.message}" if isinstance(error, RemoteError) else str(error)
