"""Every shard has one owner, and a change of nodes moves as few shards as possible."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daemon.domain.sharding import SHARDS, shards_of

NODES = st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=8, unique=True)


def owners(nodes: list[str]) -> dict[int, str]:
    found: dict[int, str] = {}
    for node in nodes:
        for shard in shards_of(node, [other for other in nodes if other != node]):
            assert shard not in found, "two owners"
            found[shard] = node
    return found


@given(NODES)
def test_every_shard_has_one_owner(nodes: list[str]) -> None:
    assert owners(nodes).keys() == set(range(SHARDS))


@given(NODES.filter(lambda nodes: len(nodes) > 1))
def test_who_leaves_moves_only_its_own_share(nodes: list[str]) -> None:
    before, after = owners(nodes), owners(nodes[1:])
    moved = {shard for shard in before if before[shard] != after[shard]}
    assert moved == {shard for shard in before if before[shard] == nodes[0]}


@given(NODES, st.randoms())
def test_the_order_means_nothing(nodes: list[str], random: object) -> None:
    shuffled = list(nodes)
    random.shuffle(shuffled)
    assert owners(shuffled) == owners(nodes)


def test_alone_a_node_has_everything() -> None:
    assert shards_of("only", []) == tuple(range(SHARDS))


def test_shares_are_about_equal() -> None:
    counts = [
        len(shards_of(f"node-{n}", [f"node-{m}" for m in range(4) if m != n])) for n in range(4)
    ]
    assert min(counts) >= SHARDS // 16
