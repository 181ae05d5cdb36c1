"""The command line: one module a command, and the exit-code policy in `main`.

Invariants: a command is imported only when it is asked for; errors reach the user as one clear line
on standard error; nothing here decides anything about campaigns. May import everything below it.
"""
