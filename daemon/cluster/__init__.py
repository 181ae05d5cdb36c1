"""The nodes of one database: this node's heartbeat, and the rescue of nodes that are lost.

Invariants: an identity is new at every registration, and is the fence of every later write; a node
whose lease may have ended starts no attempt. May import `daemon.runtime` and `daemon.domain`.
"""
