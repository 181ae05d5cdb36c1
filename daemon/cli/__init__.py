"""The command line: one module for each command under `commands/`, errors and exit codes in `main`.

Invariants: a command is imported only when it is invoked; an error reaches the operator as one
clear line on standard error; no rule about campaigns is decided here. May import every package.
"""
