"""The command `one-liner`. It is a client like any other: only `serve` and `demo` make servers, by the front door.

One file per command; `app` puts them together. What they need beyond the core comes with the extra `one_liner[cli]`,
which is why nothing but `main` lives here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from one_liner.errors import MissingExtraError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what stands behind `one-liner`; those of this process if None.

    Returns:
        The exit code: 0 it worked, 1 it did not (a call failed, nothing came), 2 what was asked for cannot be, 3 the
        server cannot be reached.
    """
    try:
        from one_liner.cli.app import run
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] not in ("typer", "rich"):
            raise
        missing = MissingExtraError("this needs: pip install 'one_liner[cli]'")
        print(f"one-liner: {missing}", file=sys.stderr)
        return 2
    return run(arguments)
