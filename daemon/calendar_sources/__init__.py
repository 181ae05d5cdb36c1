"""Sources of shared calendars, iCalendar text and public holidays; and the calendar feed.

*Invariants.* A source makes the same value as the JSON body (`daemon.domain.requests`), or refuses:
an entry that cannot be understood is never left out in silence. Reading may take seconds, so that
callers do it outside the event loop, and outside the process that fires where they can.

The feed writes what is to come, for calendar programs.

*May import* `daemon.domain`, icalendar, dateutil and holidays, which are imported nowhere else.
"""
