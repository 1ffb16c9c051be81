"""Who is measured: each file is one contender, with a `CONTENDER` that says what it can do, a `Server` and a `Client`.

All have the face in `contender`, and each does the work as its own documentation would have a user do it. What is
measured is in `benchmarks.workloads`, not here.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Final

OURS: Final = "ours"
BARE: Final = "bare"
NAMES: Final = (OURS, BARE, "pyro5", "rpyc", "zerorpc", "xmlrpc", "grpc", "nats", "zenoh")


def load(name: str) -> ModuleType:
    """The module of a contender.

    Raises:
        ImportError: what it is made of is not installed.
    """
    return import_module(f"benchmarks.contenders.{name}")
