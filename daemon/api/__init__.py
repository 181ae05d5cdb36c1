"""The HTTP interface: FastAPI on uvicorn, in a thread and an event loop of its own.

A request passes `server.http_protocol` (slow clients), `middleware` (request id, limits, API key,
rate limit, log) and a handler of `routes` or `console`. The handler parses the request, calls the
campaign service or a store, and returns the response. `errors` converts errors to responses.

Invariants: no data is read before the key is valid and its scope sufficient; a change and the
response stored for its Idempotency-Key are one transaction; `daemon.domain` parses the bodies of
schedules, and this package only describes them. May import `daemon.campaign_service`,
`daemon.runtime` and `daemon.domain`; the only home of FastAPI, uvicorn and limits.
"""
