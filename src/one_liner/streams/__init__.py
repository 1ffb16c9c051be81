"""Samples: from a function, the application or a foreign publisher to every reader.

`registry`, `ticker`, `relay` are the server's side; `receiver` the reader's; `schedule`, `timing`, `buffers` and
`ledger` are the arithmetic both rely on. The sockets between them belong to `one_liner.transport`.
"""
