"""`one-liner serve`: from a TOML file to a running server.

`toml_lines` knows where things stand, `rig` what may stand there, `imports` loads what is named, `build` makes the
server, and `command` is what the user types. Nothing here answers a call: that is `one_liner.server`.
"""
