"""How the daemon starts, is watched and stops.

Invariants: no component knows another; stopping is idempotent; nobody is told that the daemon is
ready before it is. May import `daemon.domain` and the standard library.
"""
