"""The pools of all configured targets, by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from daemon.domain.brakes import NO_BRAKES
from daemon.domain.run.attempt import Attempt
from daemon.domain.run.outcome import Outcome, Reject
from daemon.domain.run.retry import RetryPolicy
from daemon.domain.run.target import Target
from daemon.pipeline.completer import Completer
from daemon.pipeline.context import PipelineContext
from daemon.pipeline.target_pool import TargetPool

TargetConfiguration = tuple[Target, RetryPolicy, int]
"""A target, its retry policy, and its maximum of attempts at once."""


class UnconfiguredTarget(Target):
    """Rejects every attempt: no later attempt on this node could succeed."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def deliver(self, attempt: Attempt) -> Outcome:
        """Reject the attempt."""
        return Reject(f"target {self._name!r} is not configured")


class TargetPools:
    """One pool for each target; a name without a configuration gets a pool that rejects.

    Args:
        context: what the stages of the pipeline share.
        completer: receives every outcome.
    """

    def __init__(self, context: PipelineContext, completer: Completer) -> None:
        self._context = context
        self._completer = completer
        self._pools: dict[str, TargetPool] = {}
        self.brakes = NO_BRAKES
        """The brakes, for pools that are added."""
        self.without_payload: list[str] = []
        """Targets that do not send payloads, which are not read for them."""

    def __iter__(self) -> Iterator[TargetPool]:
        return iter(list(self._pools.values()))

    def of(self, name: str) -> TargetPool:
        """Return the pool of a target."""
        pool = self._pools.get(name)
        return pool if pool is not None else self._add_pool(name, *_unconfigured_target(name))

    def dispatch_again(self, attempts: Iterable[Attempt]) -> None:
        """Queue later attempts of runs; earlier ones that are still in flight are cancelled."""
        for attempt in attempts:
            pool = self.of(attempt.target)
            earlier = self._context.in_flight.find(attempt.key)
            if earlier is None:
                pool.dispatch([attempt])
            elif earlier.target == attempt.target:
                pool.supersede(earlier, attempt)
            else:
                self.of(earlier.target).cancel(earlier)
                pool.dispatch([attempt])

    def configure(self, targets: Mapping[str, TargetConfiguration]) -> None:
        """Take over the targets as configured now; attempts under way end with the former ones."""
        removed = {name: _unconfigured_target(name) for name in self._pools if name not in targets}
        for name, configuration in {**targets, **removed}.items():
            if name in self._pools:
                self._pools[name].replace(*configuration)
            else:
                self._add_pool(name, *configuration)
        self.without_payload = [pool.name for pool in self if not pool.target.sends_payload]
        self._context.node.hold_targets = [pool.name for pool in self if pool.policy.holds]

    def full(self) -> list[str]:
        """Return the targets whose backlog in memory is full."""
        return [pool.name for pool in self._pools.values() if pool.is_full]

    def _add_pool(
        self, name: str, target: Target, policy: RetryPolicy, concurrency: int
    ) -> TargetPool:
        pool = self._pools[name] = TargetPool(
            name, target, policy, concurrency, context=self._context, completer=self._completer
        )
        pool.set_frozen(self.brakes.freeze_of(name) is not None)
        return pool


def _unconfigured_target(name: str) -> TargetConfiguration:
    return UnconfiguredTarget(name), RetryPolicy(), 1
