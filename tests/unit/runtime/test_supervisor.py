"""The supervisor: the first signal asks for a stop, the second one ends the process."""

from __future__ import annotations

import asyncio
import signal
import weakref

import pytest

from daemon.runtime.supervisor import Supervisor


class Referent:
    """An object that can be weakly referenced."""


async def _reload() -> None:
    raise AssertionError("nothing asks for a reload")


async def _interrupted(supervisor: Supervisor) -> None:
    """Interrupt the process for the second time where Python ignores exceptions, then wait."""
    referent = Referent()
    reference = weakref.ref(referent, lambda _: signal.raise_signal(signal.SIGINT))
    del referent
    assert reference() is None
    await asyncio.sleep(30)
    raise AssertionError(f"not interrupted: {supervisor}")


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_interrupt_counts_wherever_it_comes(first: signal.Signals) -> None:
    stopped = []

    async def run() -> None:
        supervisor = Supervisor(_reload)
        supervisor.handle_signals()
        signal.raise_signal(first)
        assert await supervisor.watch([]) is None
        stopped.append(first)
        await _interrupted(supervisor)

    handler = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(run())
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert stopped == [first]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
