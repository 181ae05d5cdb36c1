"""What a daemon stands on: the process that it runs in, as whoever starts it describes that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.domain.ports import Emit

if TYPE_CHECKING:
    from config.settings import Settings


@dataclass(frozen=True, slots=True)
class ProcessContext:
    """What the daemon is told by whoever starts it."""

    settings: Settings
    dsn: str
    emit: Emit
    reload: Callable[[], Settings]
    """Reads the configuration again. Raises ConfigurationError."""
    apply_log: Callable[[Settings, str], None]
    """Configures the log for a node's name."""
    notify: Callable[..., None]
    """Tells the service manager: ``ready``, ``stopping``, ``reloading``, ``status`` ..."""
    embedded: bool = False
    sign_every: float | None = None
    """Seconds between signs of life that the service manager waits for."""
