"""The base class of every target, built in or from another package."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from daemon.domain.run.attempt import Attempt
from daemon.domain.run.outcome import Outcome


class Target(ABC):
    """The destination that a campaign's runs are delivered to.

    One instance serves every attempt of a configured target, up to its ``concurrency`` at once.
    All methods run on the daemon's event loop, so a call that blocks for more than a few
    milliseconds belongs in a thread.

    Example:
        A target that appends each run to a file::

            import asyncio
            from pathlib import Path

            from campaignd.plugin import Attempt, Delivered, Emit, Retry, Target

            class Spool(Target):
                waits = True

                def __init__(self, path: Path) -> None:
                    self._path = path

                async def deliver(self, attempt: Attempt) -> Delivered | Retry:
                    try:
                        await asyncio.to_thread(self._append, f"{attempt.run_id}\\n")
                    except OSError as error:
                        return Retry(str(error), after=30)
                    return Delivered()

                def _append(self, line: str) -> None:
                    with self._path.open("a") as file:
                        file.write(line)

            def make(name: str, options: dict, emit: Emit) -> Spool:
                return Spool(Path(options["path"]))
    """

    waits: bool = False
    """Whether an attempt waits on an external system.

    The node then claims fewer runs in advance, because no other node can execute a claimed run.
    """
    batch_size: int = 1
    """Maximum attempts that ``deliver_many`` takes at once.

    A batch counts as one attempt of the target's ``concurrency``.
    """
    sends_payload: bool = True
    """Whether ``deliver`` uses the payload, which is otherwise not read from the database."""

    @abstractmethod
    async def deliver(self, attempt: Attempt) -> Outcome:
        """Hand one run over and return the outcome.

        Delivery is at least once: an attempt with the same ``run_id`` may follow after a failure
        or a crash. An exception counts as `OutcomeUnknown`.
        """

    async def deliver_many(self, attempts: Sequence[Attempt]) -> Sequence[Outcome]:
        """Hand over up to ``batch_size`` runs and return the outcome of each, in their order.

        Override it together with ``batch_size`` if many runs cost little more than one. By default
        it calls ``deliver`` for each. An exception counts as `OutcomeUnknown` for every run.
        """
        return [await self.deliver(attempt) for attempt in attempts]

    async def check(self) -> None:  # noqa: B027 - optional to override
        """Raise an exception if the target could take no run now. Does nothing by default.

        `campaignd check` calls this method, which must send and change nothing, and prints the
        exception's text.
        """

    async def cancel(self, attempt: Attempt) -> None:  # noqa: B027 - optional to override
        """Undo or ignore an attempt whose campaign was stopped. Does nothing by default.

        The daemon calls this method once for each attempt that it cancelled during ``deliver``. An
        exception is logged as ``target_error``.
        """

    async def close(self) -> None:  # noqa: B027 - optional to override
        """Release connections and threads. Does nothing by default.

        The daemon calls this method once, after the target's last attempt. An exception is logged
        as ``target_error``.
        """
