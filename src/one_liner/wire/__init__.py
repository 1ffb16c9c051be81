"""What travels, as bytes: values (`codec`), messages (`messages`) and exceptions (`faults`).

A codec has a `writer` and a `reader`; `extensions` shows what both agree on, and `explanation` what cannot travel.
Nothing here opens a socket, starts a thread or reads a clock. `docs/reference/protocol.md` is the authority on the
layouts; these modules carry it out.
"""
