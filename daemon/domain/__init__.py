"""The rules of campaignd: schedules, occurrences, late ones, statuses. Pure.

No I/O, no clock (`now` is always an argument), no framework. May import the standard library and
python-dateutil only, and nothing else of campaignd. Reading the tz database, through zoneinfo and
for its version, is the one thing that touches files.
"""
