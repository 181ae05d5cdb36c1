"""What every node does periodically, safe on all of them at once.

May import `daemon.pipeline`, `daemon.runtime` and `daemon.domain`.
"""
