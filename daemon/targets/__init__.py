"""Targets: the destinations that runs are delivered to, one module per type; see `registry`.

Invariants: a target returns one of the outcomes in `daemon.domain.run.outcome`; an exception counts
as `OutcomeUnknown`. Delivery is at least once, so every delivery carries the run's id. Packages
outside this repository use `campaignd.plugin`. May import `daemon.domain` and `daemon.runtime`.
"""

from daemon.domain.errors import CampaigndError


class UnusableTarget(CampaigndError):
    """A target cannot be used as it is configured"""

    exit_code = 2
