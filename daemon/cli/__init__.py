"""The command line: one module for each command under `commands/`, errors and exit codes in `main`.

Invariants: A command is imported only when it is invoked. An error reaches the operator as one
clear line on standard error. No rule about campaigns is decided here. May import every package.
"""
