"""The rescuer works beside the heartbeat, logs each lost node, and outlives an outage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from daemon.cluster.node_rescuer import NodeRescuer
from daemon.domain.errors import Unavailable
from tests.support.pipeline_harness import PipelineHarness
from tests.support.waiting import spin_until


class Nodes:
    """Lost nodes without a run; the rescue of one may be held up."""

    def __init__(self) -> None:
        self.held_up = ""
        self.resume = asyncio.Event()
        self.down = False
        self.not_ended: list[str] = []
        self.rescues = 0

    async def end_sessions(self, lost_node: str) -> list[str]:
        self.rescues += 1
        return self.not_ended

    async def take_over(
        self, node: str, lost_node: str, hold_targets: Sequence[str]
    ) -> AsyncIterator[list[Any]]:
        assert node == "me"
        if self.down:
            raise Unavailable("away")
        if lost_node == self.held_up:
            await self.resume.wait()
        yield []


def rescuer_of(harness: PipelineHarness, nodes: Nodes) -> NodeRescuer:
    return NodeRescuer(
        nodes,  # type: ignore[arg-type]
        harness.node,
        harness.timer,
        health=harness.health,
        emit=harness.emit,
    )


async def test_the_heartbeat_does_not_wait_for_a_rescue() -> None:
    async with PipelineHarness() as harness:
        nodes = Nodes()
        nodes.held_up = "a"
        service = rescuer_of(harness, nodes)
        await service.start()
        service.enqueue_lost_nodes(["a", "b"])
        await asyncio.sleep(0)
        assert harness.event_names().count("node_lost") == 0
        nodes.resume.set()
        await spin_until(lambda: harness.event_names().count("node_lost") == 2)
        assert harness.timer.attempts_asked
        service.enqueue_lost_nodes(["a", "b"])
        service.enqueue_lost_nodes([])
        await asyncio.sleep(0)
        assert harness.event_names().count("node_lost") == 2, "each is logged once"
        await service.stop()


async def test_sessions_that_cannot_be_ended_are_logged_once() -> None:
    async with PipelineHarness() as harness:
        nodes = Nodes()
        nodes.not_ended = ["owner"]
        service = rescuer_of(harness, nodes)
        await service.start()
        service.enqueue_lost_nodes(["a"])
        await spin_until(lambda: "node_lost" in harness.event_names())
        service.enqueue_lost_nodes(["a"])
        await spin_until(lambda: nodes.rescues == 2)
        await service.stop()
        assert harness.event_names().count("sessions_not_ended") == 1


async def test_an_outage_is_waited_out() -> None:
    async with PipelineHarness() as harness:
        nodes = Nodes()
        nodes.down = True
        service = rescuer_of(harness, nodes)
        await service.start()
        service.enqueue_lost_nodes(["a"])
        await spin_until(lambda: not harness.health.is_up)
        nodes.down = False
        service.enqueue_lost_nodes(["a"])
        await spin_until(lambda: harness.health.is_up and "node_lost" in harness.event_names())
        await service.stop()


async def test_it_stops_although_it_is_held_up() -> None:
    async with PipelineHarness() as harness:
        nodes = Nodes()
        nodes.held_up = "a"
        service = rescuer_of(harness, nodes)
        await service.start()
        service.enqueue_lost_nodes(["a"])
        await asyncio.sleep(0)
        await service.stop(0.01)
        assert "node_lost" not in harness.event_names()
