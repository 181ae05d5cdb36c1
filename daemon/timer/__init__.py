"""The timer: APScheduler, driven through its own plug-in points. The only importer of apscheduler.

Invariants: what the timer believes is never the truth, so a late, early, double or lost wake-up
costs a lost claim or a second of delay, never a run; every entry comes from the loader, or from the
result of a claim. May import `daemon.pipeline`, `daemon.runtime` and `daemon.domain`.
"""
