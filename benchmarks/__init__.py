"""Measurements of the library under load: `python -m benchmarks.<name>`."""
