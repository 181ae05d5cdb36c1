"""What can be wrong with a target before anything is handed to it."""

from __future__ import annotations

from daemon.domain.errors import CampaigndError


class UnusableTarget(CampaigndError):
    """A target can not be used as it is configured"""

    exit_code = 2
