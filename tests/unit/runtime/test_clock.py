"""The database clock stays known while this machine's clock is set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from daemon.runtime.clock import DatabaseClock
from tests.support.clocks import SettableClock

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("step", [-300, -5, 5, 300])
def test_a_step_does_not_move_the_database_s_clock(step: int) -> None:
    """Not even until it is measured again, so that no attempt counts as too late meanwhile."""
    clock = SettableClock()
    database_clock = DatabaseClock(clock)
    assert database_clock.now() == clock.now()
    database_clock.set_skew(timedelta(seconds=7))
    before = database_clock.now()
    assert before == clock.now() + timedelta(seconds=7)

    clock.offset = timedelta(seconds=step)
    clock.seconds += 0.5
    assert database_clock.now() == before + timedelta(seconds=0.5)

    database_clock.set_skew(timedelta(seconds=7 - step))  # as the next heartbeat finds
    assert database_clock.now() == before + timedelta(seconds=0.5)
