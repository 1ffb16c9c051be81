"""Results for people, in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from benchmarks.contenders import OURS
from benchmarks.figures import median
from benchmarks.page.text import in_words
from benchmarks.results import Results
from benchmarks.workloads import WORKLOADS


def show(results: Results, console: Console) -> None:
    """One table for each workload; what failed and who is not there below."""
    for name, by_contender in results.figures.items():
        workload = WORKLOADS[name]
        console.print(f"\n{workload.title} ({name})", highlight=False, style="bold")
        table = Table()
        table.add_column("")
        for contender in by_contender:
            table.add_column(results.contenders[contender]["title"], justify="right")
        for metric_name, metric in workload.metrics.items():
            cells = [in_words(results.of(name, contender, metric_name), metric.digits) for contender in by_contender]
            table.add_row(metric.title, *cells)
            ratios = [results.ratios(name, contender, metric_name) for contender in by_contender]
            if metric.better and OURS in by_contender and any(ratios):
                table.add_row("  of bare", *(f"{median(ratio):.2f}" if ratio else "" for ratio in ratios), style="cyan")
        console.print(table)
    for name, reason in results.left_out.items():
        console.print(f"left out: {name}: {reason}", highlight=False)
    for failure in results.failures:
        console.print(f"failed: {failure['workload']} of {failure['contender']}: {failure['error']}", highlight=False)
