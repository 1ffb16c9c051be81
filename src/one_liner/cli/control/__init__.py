"""`one-liner control-console` and `one-liner control-demo`: the two ends of a control port, for people.

`prompt` reads lines beside what happens in the meantime, `words` finds the command that a word means, `show` writes
what came. What a control port is lives in `one_liner.control`.
"""
