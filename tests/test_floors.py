"""The floors of the house: imports point down only, every module stands on exactly one floor, there are no cycles.

The one table is the layers contract in `pyproject.toml`; every rule here reads its rows.
"""

from __future__ import annotations

import ast
import graphlib
import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import grimp
import pytest

ROOT = Path(__file__).parent.parent
PYPROJECT = ROOT / "pyproject.toml"
PACKAGE = "one_liner"
FLOORS = ("F5", "F4", "F3", "F2", "F1", "F0")

# The gateway and the command line are clients. Two commands make servers, by the front door; so do gateways that are
# joined without a broker, each of which serves its events to the others.
CLIENT_EDGES = (f"{PACKAGE}.cli", f"{PACKAGE}.gateway")
SERVER_MAKERS = (f"{PACKAGE}.cli.demo", f"{PACKAGE}.cli.serve", f"{PACKAGE}.gateway.backends.zmq")
INNER_ROOMS = (f"{PACKAGE}.rpc", f"{PACKAGE}.streams", f"{PACKAGE}.transport")

# `errors` alone names zmq.Again, as a base class.
PURE_BUT_NAMES_ZMQ = {f"{PACKAGE}.errors"}


def _is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


@pytest.fixture(scope="module")
def floors() -> dict[str, list[str]]:
    """The modules listed on each floor, as the contract has them."""
    config: dict[str, Any] = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))
    (contract,) = (c for c in config["tool"]["importlinter"]["contracts"] if c["id"] == "floors")
    assert len(contract["layers"]) == len(FLOORS)
    rows = (row.replace("|", ":").split(":") for row in contract["layers"])
    return {floor: [name.strip(" ()") for name in row] for floor, row in zip(FLOORS, rows, strict=True)}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(PACKAGE, include_external_packages=True, cache_dir=None)


@pytest.fixture(scope="module")
def modules(graph: grimp.ImportGraph) -> set[str]:
    return {module for module in graph.modules if _is_in(module, PACKAGE)}


def _floor_of(module: str, floors: dict[str, list[str]]) -> list[str]:
    return [floor for floor, names in floors.items() for name in names if _is_in(module, name)]


def test_imports_point_down_only() -> None:
    # In a process of its own: it configures the logging of the one it runs in, and silences everybody else's.
    command = (
        "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(*sys.argv[1:], no_cache=True))"
    )
    linter = subprocess.run([sys.executable, "-c", command, str(PYPROJECT)], capture_output=True, text=True, cwd=ROOT)
    assert linter.returncode == 0, linter.stdout + linter.stderr


def test_every_module_stands_on_exactly_one_floor(modules: set[str], floors: dict[str, list[str]]) -> None:
    listed = [name for names in floors.values() for name in names]
    # The roof, and folders that span floors: they hold no code of their own (see the next tests).
    spans = {module for module in modules if any(name.startswith(module + ".") for name in listed)}
    misplaced = {module: _floor_of(module, floors) for module in modules - spans}
    misplaced = {module: on for module, on in misplaced.items() if len(on) != 1}
    assert not misplaced, f"list each of these once in the layers contract of pyproject.toml: {misplaced}"


def test_a_folder_that_spans_floors_imports_nothing(
    graph: grimp.ImportGraph, modules: set[str], floors: dict[str, list[str]]
) -> None:
    listed = [name for names in floors.values() for name in names]
    spans = {m for m in modules if m != PACKAGE and any(name.startswith(m + ".") for name in listed)}
    busy = {module: found for module in spans if (found := graph.find_modules_directly_imported_by(module))}
    assert not busy


def test_nobody_imports_the_roof(graph: grimp.ImportGraph) -> None:
    # An import of a module that does not exist counts as one of the roof, too.
    by = graph.find_modules_that_directly_import(PACKAGE)
    lines = [d["line_contents"] for m in by for d in graph.get_import_details(importer=m, imported=PACKAGE)]
    assert not lines


def test_there_are_no_cycles(graph: grimp.ImportGraph, modules: set[str]) -> None:
    sorter = graphlib.TopologicalSorter(
        {module: graph.find_modules_directly_imported_by(module) & modules for module in modules}
    )
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_words_and_logic_know_no_sockets(
    graph: grimp.ImportGraph, modules: set[str], floors: dict[str, list[str]]
) -> None:
    pure = {module for module in modules if {"F0", "F1"} & set(_floor_of(module, floors))}
    impure = {module for module in pure if "zmq" in graph.find_modules_directly_imported_by(module)}
    assert impure <= PURE_BUT_NAMES_ZMQ


def _source_of(module: str) -> str:
    # Found and not imported: one of them needs numpy.
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text(encoding="utf-8")


def test_words_start_no_threads(modules: set[str], floors: dict[str, list[str]]) -> None:
    # A lock, or something kept per thread, is no thread.
    words = {module for module in modules if "F0" in _floor_of(module, floors)}
    threaded = {module for module in words if "Thread(" in _source_of(module)}
    assert not threaded


def test_the_command_line_and_the_gateway_are_clients(graph: grimp.ImportGraph, modules: set[str]) -> None:
    trespasses: list[str] = []
    for module in modules:
        if not any(_is_in(module, edge) for edge in CLIENT_EDGES):
            continue
        may_serve = any(_is_in(module, maker) for maker in SERVER_MAKERS)
        forbidden = INNER_ROOMS if may_serve else (*INNER_ROOMS, f"{PACKAGE}.server")
        imports = graph.find_modules_directly_imported_by(module)
        trespasses += [f"{module} imports {it}" for it in imports if any(_is_in(it, room) for room in forbidden)]
    assert not trespasses


def _calls(tree: ast.AST) -> list[tuple[str, str]]:
    """Every call of the form `something.name(...)`, as what stands before the last dot and the name after it."""
    attributes = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [(ast.unparse(f.value), f.attr) for f in attributes if isinstance(f, ast.Attribute)]


SOURCES = sorted((ROOT / "src" / PACKAGE).rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src" / PACKAGE)))
def test_habits_of_the_house(path: Path) -> None:
    calls = _calls(ast.parse(path.read_text(encoding="utf-8")))
    if not path.is_relative_to(ROOT / "src" / PACKAGE / "transport"):
        born = [call for call in calls if call[1] == "socket" or call == ("zmq", "Socket")]
        assert not [call for call in born if call != ("socket", "socket")], "sockets are born in transport/ only"
    assert ("logging", "basicConfig") not in calls, "a library does not configure logging"
