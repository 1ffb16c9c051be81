"""Commands: what takes long. Accepted at once, watched, paused, cancelled, and found again by its id.

`state`, `info` and `record` say what a job is and what may become of it, `parameter` how a function asks for its `job`,
and `results` keeps those that have ended. `steering` is where a job and those who watch it meet; `desk` is the server
side, `handle` and `follower` the client side. Calls that are answered at once do not live here: see `one_liner.rpc`.
"""
