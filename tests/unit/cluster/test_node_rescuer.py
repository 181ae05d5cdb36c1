"""Taking over goes on beside the heartbeat, tells of each lost node, and outlives an outage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from daemon.cluster.node_rescuer import NodeRescuer
from daemon.domain.errors import Unavailable
from tests.support.pipeline_world import World, until


class Nodes:
    """Lost nodes without a run; one of them may be held up."""

    def __init__(self) -> None:
        self.held_up = ""
        self.resume = asyncio.Event()
        self.down = False

    async def take_over(self, node: str, dead_node: str) -> AsyncIterator[list[Any]]:
        assert node == "me"
        if self.down:
            raise Unavailable("away")
        if dead_node == self.held_up:
            await self.resume.wait()
        yield []


def taking_over(world: World, nodes: Nodes, freed: list[int]) -> NodeRescuer:
    return NodeRescuer(
        nodes,  # type: ignore[arg-type]
        node=lambda: "me",
        link=world.link,
        emit=world.emit,
        on_freed=lambda: freed.append(1),
    )


async def test_whoever_tells_of_a_lost_node_does_not_wait() -> None:
    async with World() as world:
        nodes, freed = Nodes(), list[int]()
        nodes.held_up = "a"
        service = taking_over(world, nodes, freed)
        await service.start()
        service.lost(["a", "b"])
        await asyncio.sleep(0)
        assert world.names().count("node_lost") == 0
        nodes.resume.set()
        await until(lambda: world.names().count("node_lost") == 2)
        assert freed
        service.lost(["a", "b"])
        service.lost([])
        await asyncio.sleep(0)
        assert world.names().count("node_lost") == 2, "each is told of once"
        await service.stop()


async def test_an_outage_is_waited_out() -> None:
    async with World() as world:
        nodes = Nodes()
        nodes.down = True
        service = taking_over(world, nodes, [])
        await service.start()
        service.lost(["a"])
        await until(lambda: not world.link.is_up)
        nodes.down = False
        service.lost(["a"])
        await until(lambda: world.link.is_up and "node_lost" in world.names())
        await service.stop()


async def test_it_stops_although_it_is_held_up() -> None:
    async with World() as world:
        nodes = Nodes()
        nodes.held_up = "a"
        service = taking_over(world, nodes, [])
        await service.start()
        service.lost(["a"])
        await asyncio.sleep(0)
        await service.stop(0.01)
        assert "node_lost" not in world.names()
