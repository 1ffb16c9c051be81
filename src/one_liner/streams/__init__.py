"""Samples: from a function, the application or a foreign publisher to every reader.

`registry` (what streams there are), `ticker` (calls functions at a rate) and `relay` (other publishers) are the
server side, brought together by `broadcast`; `receiver` (takes all off the wire) and `subscription` (what one reader
holds) the client side, brought together by `reception`. `schedule`, `timing`, `buffers` and `ledger` are the arithmetic
that both rely on. What a client may ask about streams is in `words`, the proxy between them is `transport.fanout`.
"""
