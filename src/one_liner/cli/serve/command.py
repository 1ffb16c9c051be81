"""`one-liner serve`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from one_liner.errors import ConfigurationError, MissingExtraError


def serve(
    file: Annotated[Path, typer.Argument(metavar="RIG.TOML", help="What to serve.")],
    rpc_port: Annotated[str | None, typer.Option(metavar="PORT", help="For calls; 0 takes a free one.")] = None,
    broadcast_port: Annotated[str | None, typer.Option(metavar="PORT", help="For streams; 0 takes a free one.")] = None,
    interface: Annotated[str | None, typer.Option(metavar="ADDRESS", help="`*` for all of this machine.")] = None,
    protocol: Annotated[str | None, typer.Option(metavar="PROTOCOL", help="`tcp` or `ipc`.")] = None,
) -> None:
    """Serve what a TOML file describes, until Ctrl-C.

    The file is checked as a whole before anything is made. The options come before what the file says.
    """
    try:
        # Not at the top: pydantic takes as long to import as all the rest, and the other commands need neither.
        from one_liner.cli.serve.build import build
        from one_liner.cli.serve.rig import RigFile
    except ImportError as error:
        if error.name is None or not error.name.startswith("pydantic"):
            raise
        raise MissingExtraError("this needs: pip install 'one_liner[cli]'") from None
    options = {"rpc_port": rpc_port, "broadcast_port": broadcast_port, "interface": interface, "protocol": protocol}
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Service managers send it; it ends this as Ctrl-C does.
    try:
        with build(RigFile.read(file), {key: value for key, value in options.items() if value is not None}) as server:
            print(f"serving at {server.rpc_endpoint}")
            print(f"streams at {server.broadcast_endpoint}")
            if server.public_key is not None:
                print(f"public key {server.public_key}")
            print(f"objects: {', '.join(server.instances) or 'none'}; Ctrl-C ends it", flush=True)
            server.run(block=True)
    except KeyboardInterrupt:
        pass
    except ConfigurationError as error:
        # As compilers write it, so that editors find the line.
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None
