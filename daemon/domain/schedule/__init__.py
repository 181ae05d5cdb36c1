"""Schedules: recurrence arithmetic, time zones, DTSTART, misfires and the RFC 5545 text.

May import `daemon.domain.errors`; does not know request bodies, campaigns or runs.
"""
