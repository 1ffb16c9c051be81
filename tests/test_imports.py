"""What importing a face loads, and what it leaves for those who need it: most of what an import costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

# What everybody has loaded who uses ZeroMQ and logs.
GROUND = "import logging, zmq, msgpack"

NOT_NEEDED = {
    *("asyncio", "dataclasses", "decimal", "difflib", "fractions", "inspect", "ipaddress", "pathlib", "socket"),
    *("statistics", "subprocess", "tempfile", "tomllib", "unicodedata", "uuid", "zoneinfo"),
    *("numpy", "pydantic", "rich", "typer"),
    *("one_liner.aio", "one_liner.cli", "one_liner.control", "one_liner.gateway", "one_liner.testing"),
    *("one_liner.keys", "one_liner.transport.guard", "one_liner.transport.tenant"),
    *("one_liner.wire.advice", "one_liner.wire.arrays", "one_liner.wire.library"),
    *("one_liner.commands.bar", "one_liner.commands.parameter"),
    *(
        "one_liner.rpc.describing",
        "one_liner.rpc.description",
        "one_liner.rpc.misfit",
        "one_liner.rpc.proxy",
        "one_liner.rpc.signatures",
    ),
    "one_liner.rpc.switchboard",
}
ONLY_A_SERVER_NEEDS = {
    *("one_liner.cascade", "one_liner.server", "one_liner.commands.desk", "one_liner.commands.job"),
    *("one_liner.events.emitter", "one_liner.events.observer"),
    *("one_liner.rpc.dispatch", "one_liner.rpc.exposure", "one_liner.rpc.members", "one_liner.rpc.permission"),
    *(
        "one_liner.rpc.server",
        "one_liner.streams.broadcast",
        "one_liner.streams.registry",
        "one_liner.streams.sources",
        "one_liner.streams.ticker",
    ),
}
ONLY_A_CLIENT_NEEDS = {
    *("one_liner.client", "one_liner.commands.handle", "one_liner.events.hub", "one_liner.rpc.held"),
    *("one_liner.streams.receiver", "one_liner.streams.reception", "one_liner.streams.subscription"),
}


def _loaded_by(code: str) -> set[str]:
    """The modules of a new process after it has run `code`, those of the ground less."""
    script = (
        f"import sys\n{GROUND}\nground = set(sys.modules)\n{code}\nprint(*sorted(set(sys.modules) - ground), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_package_alone_loads_nothing() -> None:
    assert _loaded_by("import one_liner") == {"one_liner"}


@pytest.mark.parametrize(
    ("faces", "loaded", "others"),
    [
        ("RouterClient", "one_liner.client", ONLY_A_SERVER_NEEDS),
        ("RouterServer", "one_liner.server", ONLY_A_CLIENT_NEEDS),
        ("RouterServer, RouterClient", "one_liner.server", set()),
    ],
)
def test_a_face_loads_what_it_needs_and_no_more(faces: str, loaded: str, others: set[str]) -> None:
    modules = _loaded_by(f"from one_liner import {faces}")
    assert loaded in modules
    assert not modules & (NOT_NEEDED | others)


def test_what_is_not_needed_exists() -> None:
    """A module that was renamed would never be loaded under its old name."""
    ours = sorted(
        name for name in NOT_NEEDED | ONLY_A_SERVER_NEEDS | ONLY_A_CLIENT_NEEDS if name.startswith("one_liner.")
    )
    found = (
        "import importlib.util, sys\n"
        "print(*(name for name in sys.argv[1:] if importlib.util.find_spec(name) is None), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", found, *ours], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
