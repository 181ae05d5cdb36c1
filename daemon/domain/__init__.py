"""The rules of campaignd, as pure functions and values.

*Invariants.* No I/O, no clock (`now` is always an argument) and no framework. Only the tz database,
which zoneinfo reads, comes from files. The packages import one another in one order: `schedule`,
`requests`, `campaign`, `run`, `preview`; each may import those before it.

*May import* the standard library, and no other package.
"""
