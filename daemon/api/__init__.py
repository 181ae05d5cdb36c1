"""The HTTP interface: FastAPI on uvicorn, in a thread and an event loop of its own.

A request goes `protocol` (slow clients) -> `gate` (request id, bounds, key, rate limit, log) -> a
handler of `routes_*` (parse, call control or a read port, answer). Errors become answers in
`problems`.

Invariants: nothing is looked up before the key is known to be good and its scope large enough; a
change and the answer kept for its Idempotency-Key are one transaction; the bodies of schedules are
parsed by `daemon.domain`, and only described here. May import `daemon.campaign_service`,
`daemon.runtime` and `daemon.domain`; the only home of FastAPI, uvicorn and limits.
"""
