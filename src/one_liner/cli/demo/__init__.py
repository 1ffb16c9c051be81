"""`one-liner demo`: the sensors of this machine and an image source, served in one process and watched in another.

`instruments` are what is served, `__main__` the process that serves them, `serving` starts and ends it, and `command`
watches. What is watched is measured: where a machine has no sensor, the demo says so. `simulated` are the instruments
of `one-liner gateway --demo`.
"""
