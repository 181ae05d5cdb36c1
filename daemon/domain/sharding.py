"""Which node looks after which shards: rendezvous hashing, so a change moves only what it must."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

SHARDS = 64
"""Parts of all schedules, by campaign id modulo; small enough to hash anew at every change."""


def weight(node: str, shard: int) -> bytes:
    """How much ``node`` wants ``shard``; the highest wins."""
    return blake2b(f"{shard}:{node}".encode(), digest_size=8).digest()


def shards_of(node: str, others: Iterable[str]) -> tuple[int, ...]:
    """The shards that ``node`` looks after beside ``others``; alone, all of them."""
    rivals = list(others)
    return tuple(
        shard
        for shard in range(SHARDS)
        if all(weight(node, shard) > weight(rival, shard) for rival in rivals)
    )
