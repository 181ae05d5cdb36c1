"""Schedules: recurrence arithmetic, zones, daylight saving, DTSTART, gates, misfires,
RFC 5545 text.

May import `daemon.domain.errors`; does not know request bodies, campaigns or runs.
"""
