"""The rules of campaignd: schedules, requests, campaigns and runs. Pure.

No I/O, no clock (`now` is always an argument), no framework. May import the standard library and
python-dateutil only, and nothing else of campaignd. Only reading the time-zone database, through
zoneinfo and for its version, touches files.
"""
