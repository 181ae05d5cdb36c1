"""Campaigns: the model, the state machine, the commands that move a campaign, and `explain`.

May import `daemon.domain.requests` and `daemon.domain.schedule`; does not know attempts.
"""
