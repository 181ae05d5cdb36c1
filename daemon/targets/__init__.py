"""Where runs are handed to. One module for each type; `registry` is the explicit list.

Invariant: a target answers with one of the outcomes of `daemon.domain.run.outcome`; an
exception counts as a transport fault. Delivery is at least once: every call carries the run's id.
May import `daemon.domain` and `daemon.runtime`.
"""
