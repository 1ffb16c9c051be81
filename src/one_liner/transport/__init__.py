"""Sockets: where they are born, where they point to, and the proxy that joins the streams.

The only place that opens a ZeroMQ socket by hand. What the bytes mean is `one_liner.wire`'s business.
"""
