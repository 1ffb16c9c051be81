"""What a Python value is in JSON, where it is shown: by the gateway, and by the command line with `--json`.

Everything has a form here; `values` has those of Python's own types, `arrays` those of numpy's. The control port speaks
to programs that were there before us, with forms of its own: `one_liner.control.plain`. Reading JSON is not in here.
"""
