"""`one-liner keys`: make keys, show what may be handed out, and write down who may come in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

import one_liner.keys as files
from one_liner.errors import ConfigurationError

_WITH_DASHES = {"ignore_unknown_options": True}
"""A key may begin with a dash."""
_DEFAULT_ROLE = "control"

keys_app = typer.Typer(help="Make keys, and allow clients to use a secured server.", no_args_is_help=True)


@keys_app.command()
def make(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is; the files are called so.")],
    folder: Annotated[
        Path, typer.Option("--folder", metavar="DIR", help="Where the files go; it is made if it does not exist.")
    ] = Path("."),
    force: Annotated[bool, typer.Option("--force", help="Replace files of this name; their key is lost.")] = False,
) -> None:
    """Make a key: `NAME.key`, a secret, and `NAME.pub` to hand out."""
    with _one_line():
        secret_file, public_file = files.make(name, folder, overwrite=force)
        public = files.read_public(public_file)
    print(f"{secret_file}  secret: whoever has it is {name}")
    print(f"{public_file}  to hand out; the public key in it is {public}")


@keys_app.command()
def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A key file, `*.key` or `*.pub`.")],
) -> None:
    """Print the public key of a file, never the secret one."""
    with _one_line():
        print(files.read_public(file))


@keys_app.command(context_settings=_WITH_DASHES)
def allow(
    clients: Annotated[
        Path, typer.Argument(metavar="CLIENTS_FILE", help="Who may come in, in TOML; made if it does not exist.")
    ],
    public: Annotated[
        str, typer.Argument(metavar="PUBLIC_KEY_OR_FILE", help="The client's public key, or its file, `*.pub`.")
    ],
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help="`read`, `control` or `admin`.")] = _DEFAULT_ROLE,
    objects: Annotated[
        str | None,
        typer.Option(
            "--objects", metavar="NAME,NAME…", help="What it may act on; everything if not given.", show_default=False
        ),
    ] = None,
    name: Annotated[
        str, typer.Option("--name", metavar="TEXT", help="Whose key it is, for people.", show_default=False)
    ] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Replace the entry of this key; comments in the file are lost.")
    ] = False,
) -> None:
    """Allow the holder of a key to use a server that has this file. A server reads it when it starts."""
    names = None if objects is None else [one.strip() for one in objects.split(",")]
    with _one_line():
        files.allow(clients, public, role, names, name, overwrite=force)
    what = "everything" if names is None else ", ".join(names)
    print(f"{clients}: {name or 'this key'} has the role {role} for {what}; a server reads this when it starts")


@contextmanager
def _one_line() -> Iterator[None]:
    """What the system says of a path that cannot be, said as our other errors are."""
    try:
        yield
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise ConfigurationError(f"{place}{error.strerror or error}") from None
