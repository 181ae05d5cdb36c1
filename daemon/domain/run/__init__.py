"""Runs: their claims, their attempts, the outcomes, and how they are logged.

May import `daemon.domain.campaign`, `daemon.domain.requests` and `daemon.domain.schedule`.
"""
