"""Settings: their names, types and defaults, where values come from, and the error messages.

Invariants: the only reader of the environment; a settings object is complete, checked and frozen;
all problems are reported at once; components receive values, never the settings object. May import
`daemon.domain` only.
"""
