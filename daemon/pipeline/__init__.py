"""The pipeline: due events are claimed, runs dispatched to their targets, outcomes finished.

Invariants: nothing is dispatched that was not claimed by this node in the database; nothing is
claimed that no target has room for; every dispatched run's outcome is written or, when that fails
for good, its lease ends and another node takes it over. May import `daemon.runtime` and
`daemon.domain`.
"""
