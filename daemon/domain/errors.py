"""The errors that campaignd raises on purpose.

    CampaigndError
    ├── InvalidInput        a request body or a preview case that is invalid (400, 413, 422)
    ├── Refused             a command that the campaign's status forbids (400, 422)
    ├── NotFound            an unknown campaign, run or key (404)
    ├── Conflict            a concurrent change by another session (409)
    ├── PreconditionFailed  another revision than the request expects (412)
    └── Unavailable         a dependency that may be back soon (503)

`message` is the fixed text of the interface ("Invalid schedule values"). `detail` names the key,
the value and the allowed values, in lower case. An optional `hint` names the remedy. A class's
docstring is its default message.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import ClassVar

IN_THE_PAST = "Scheduled time is in the past"
INVALID_CONFIGURATION = "Invalid schedule configuration"
INVALID_VALUES = "Invalid schedule values"

__all__ = [
    "INVALID_CONFIGURATION",
    "INVALID_VALUES",
    "IN_THE_PAST",
    "CampaigndError",
    "Conflict",
    "InvalidInput",
    "NotFound",
    "PreconditionFailed",
    "Refused",
    "Unavailable",
]


class CampaigndError(Exception):
    """campaignd could not do what was asked"""

    status: int = 500
    default_message: ClassVar[str] = "campaignd could not do what was asked"
    # Whether the same request may succeed later.
    retryable: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.default_message = inspect.cleandoc(cls.__doc__ or cls.__name__).split("\n", 1)[0]

    def __init__(
        self,
        detail: str = "",
        *,
        status: int | None = None,
        message: str | None = None,
        hint: str | None = None,
        errors: Mapping[str, list[str]] | None = None,
    ) -> None:
        self.message = message if message is not None else self.default_message
        self.detail = detail or self.message
        self.hint = hint
        self.errors: dict[str, list[str]] = dict(errors or {})
        if status is not None:
            self.status = status
        super().__init__(self.detail)


class InvalidInput(CampaigndError):
    """Invalid schedule values"""

    status = 400

    def __init__(
        self,
        status: int,
        message: str,
        detail: str,
        errors: Mapping[str, list[str]] | None = None,
        *,
        hint: str | None = None,
    ) -> None:
        super().__init__(detail, status=status, message=message, hint=hint, errors=errors)


class Refused(CampaigndError):
    """Not allowed in this status"""

    status = 400


class NotFound(CampaigndError):
    """Campaign not found"""

    status = 404


class Conflict(CampaigndError):
    """Changed by another session"""

    status = 409
    retryable = True


class PreconditionFailed(CampaigndError):
    """Precondition failed"""

    status = 412


class Unavailable(CampaigndError):
    """Service Unavailable"""

    status = 503
    retryable = True
    is_outage: ClassVar[bool] = True
    """Whether the dependency is away; False if it only refused this attempt in favour of others."""
