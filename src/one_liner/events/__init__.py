"""What happened: events, emergencies, changed properties and results, from the server to whoever listens.

`event` says what an event is, `selection` which ones somebody wants, `history` keeps the last ones and `ledger` notices
an emergency that is missing. `emitter` and `observer` are the server side, `hub` and `inbox` the client side. They
travel as streams with reserved names, so how they are sent and received is not here: see `one_liner.streams`.
"""
