"""When: APScheduler, driven through its own plug-in points. The only importer of apscheduler.

Invariants: what the timer believes is never the truth; a late, early, double or lost alarm costs a
lost claim or a second's delay, never a run. Every entry comes from the loader. May import
`daemon.pipeline`, `daemon.runtime` and `daemon.domain`.
"""
