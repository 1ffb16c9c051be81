"""Measurements of the library.

`python -m benchmarks` measures it beside bare ZeroMQ and what else a user would take: `contenders/` says who takes
part, `workloads/` what they do, `worker` is the process that each end runs in, `session` one contender doing one
workload, `rounds` all of them in turn, `results` what comes out, `comparison` and `page/` what is made of it.

Some are something else. `python -m benchmarks.soak`: everything at once, with faults, and an account of every call and
sample. Of the gateway: `gateway` (what HTTP costs beside a bare FastAPI route), `browser` (how old a sample is when a
browser has it), `video` (camera frames per second), `watchers` (hundreds of them, and some that never read). `bridge`:
NATS beside bare nats-py.
"""
