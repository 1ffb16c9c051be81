"""Calls: from the caller's thread to the object and back.

`client`, `link`, `channel` and `proxy` are the caller's side; `server`, `crew`, `exposure` and `lanes` the object's
side; `forwarder` passes a call on to another server. Streams of samples do not live here: see `one_liner.streams`.
"""
