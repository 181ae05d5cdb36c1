"""The pipeline: due entries are claimed, attempts dispatched to targets, outcomes completed.

`pipeline` lists the steps in order; docs/architecture.md#the-way-of-one-run follows one run through
the files.

Invariants: nothing is dispatched that this node has not claimed in the database; nothing is claimed
that no target has room for; the outcome of every dispatched attempt is written, or the lease of its
run ends and another node takes the run over. May import `daemon.runtime` and `daemon.domain`.
"""
