"""Results for people, in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from benchmarks.results import Results
from benchmarks.table import table_of
from benchmarks.workloads import WORKLOADS


def show(results: Results, console: Console) -> None:
    """One table for each workload; what failed and who is not there below."""
    for name in results.figures:
        head, rows = table_of(results, WORKLOADS[name])
        console.print(f"\n{WORKLOADS[name].title} ({name})", highlight=False, style="bold")
        table = Table(*head)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for name, reason in results.left_out.items():
        console.print(f"left out: {name}: {reason}", highlight=False)
    for failure in results.failures:
        console.print(f"failed: {failure['workload']} of {failure['contender']}: {failure['error']}", highlight=False)
