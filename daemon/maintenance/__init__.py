"""What every node does now and then, whoever's turn it is: safe on all of them at once.

May import `daemon.pipeline`, `daemon.runtime` and `daemon.domain`.
"""
