"""The runtime of a long-running process: services, their supervision, clocks and database health.

Invariants: a service is ready when ``start`` returns and stops once; a service that dies ends the
process; only `clock` reads this machine's clocks. May import `daemon.domain`.
"""
