"""Calls: from the caller's thread to the object and back.

The caller's side is `client` (asks and waits), with `channel` (one call's socket), `link` (does the server live?),
`proxy` and `held` (a lease). On the object's side `server` receives, `dispatch` tells what a request means and
`workshop` has it carried out, by the threads of `crew` or at an object's `home`; what may be reached is in `exposure`,
whose turn it is in `lanes`, who controls what in `lease`, what was answered in `journal`; what may be asked of the
server itself in `words`. `forwarder` passes a call on to another server. Streams of samples do not live here: see
`one_liner.streams`.
"""
