"""Settings: their names, types and defaults, where values come from, and the error messages.

Invariants: No other package reads the environment. A settings object is complete, checked and
frozen. All problems are reported at once. Components receive values, never the settings object. May
import `daemon.domain` only.
"""
