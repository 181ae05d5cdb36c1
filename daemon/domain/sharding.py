"""Shards of the schedules among the nodes, by rendezvous hashing.

A change of the live nodes moves only the shards of the nodes that joined or left.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

SHARDS = 64
"""Number of shards (campaign id modulo); few enough to hash again at every change of the nodes."""


def shard_weight(node: str, shard: int) -> bytes:
    """Return the weight of ``node`` for ``shard``; the node with the highest one owns it."""
    return blake2b(f"{shard}:{node}".encode(), digest_size=8).digest()


def shards_of(node: str, others: Iterable[str]) -> tuple[int, ...]:
    """Return the shards that ``node`` owns beside ``others``; without others, all shards."""
    rivals = list(others)
    return tuple(
        shard
        for shard in range(SHARDS)
        if all(shard_weight(node, shard) > shard_weight(rival, shard) for rival in rivals)
    )
