"""Samples: from a function, the application or a foreign publisher to every reader.

`registry` (what streams there are), `ticker` (calls functions at a rate) and `relay` (other publishers) are the
server side; `receiver` (takes all off the wire) and `subscription` (what one reader holds) the client side. `schedule`,
`timing`, `buffers` and `ledger` are the arithmetic that both rely on. The proxy between them is `transport.fanout`.
"""
