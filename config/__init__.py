"""Settings: what can be set, where values come from, and what is wrong with them.

Invariants: the only reader of the environment; a settings object is complete, checked and frozen;
everything wrong is reported at once; components receive values, never the settings object. May
import `daemon.domain` only.
"""
