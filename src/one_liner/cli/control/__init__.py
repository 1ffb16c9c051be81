"""`one-liner control-console` and `one-liner control-demo`: the two ends of a control port, for people.

`command` is what is typed, `console` and `demo` do it. `prompt` reads lines beside what happens in the meantime,
`words` finds the command that a word means, `show` writes what came, `application` is what the demo stands in for. What
a control port is lives in `one_liner.control`.
"""
