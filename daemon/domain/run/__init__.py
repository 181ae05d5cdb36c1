"""Runs: what is claimed, what is attempted, what an attempt comes to, and how it is logged.

May import `daemon.domain.campaign`, `daemon.domain.requests` and `daemon.domain.schedule`.
"""
