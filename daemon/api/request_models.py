"""What requests look like, for the specification: the constraints are those of the semantics.

These models describe; they parse nothing. What a body of a schedule means is decided by
`daemon.domain.requests` alone, and a test holds the two against each other.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from daemon.domain.api_keys import NAME_LIMIT as KEY_NAME_LIMIT
from daemon.domain.campaign.model import NAME_LIMIT
from daemon.domain.requests.context import LONGEST_GRACE

_DATE = r"(?!0000)[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?"
_OFFSET = r"(Z|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])?"

_LONG_DATE = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"


def _text(pattern: str, **more: Any) -> Any:
    return Field(json_schema_extra={"pattern": f"^{pattern}$", **more})


Instant = Annotated[
    str,
    _text(f"{_LONG_DATE}T{_TIME}{_OFFSET}", examples=["2031-07-01T09:00:00"]),
    Field(
        description="YYYY-MM-DDTHH:MM[:SS[.fraction]], with optional Z, +HH:MM or +HHMM. With an "
        "offset it is that instant, without one wall-clock time in the schedule's zone."
    ),
]
EndDate = Annotated[
    str,
    _text(f"{_LONG_DATE}(T{_TIME}{_OFFSET})?", examples=["2031-12-31"]),
    Field(description="A date, inclusive by local date, or a datetime, an inclusive instant."),
]
Zone = Annotated[
    str,
    Field(
        description="IANA time zone name, in its exact case.",
        examples=["America/New_York", "Europe/London", "UTC"],
        min_length=1,
    ),
]
Ref = Annotated[int, Field(ge=1, le=2**63 - 1)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Extras(_Body):
    misfire_grace_time: Annotated[int, Field(ge=1, le=LONGEST_GRACE)] | None = Field(
        None, description="Seconds after which an occurrence is too late to be started. Kept."
    )
    coalesce: bool | None = Field(
        None, description="Of several late occurrences only the newest fires. Kept."
    )
    overlap: Literal["skip", "queue", "allow"] | None = Field(
        None, description="What an occurrence does while a run is open. Kept."
    )


class Immediate(_Extras):
    """No schedule: the campaign starts when it is told to. Clears an existing one."""

    schedule_type: Literal["immediate"]
    scheduled_at: Instant | None = None
    timezone: Zone | None = None
    recurring_config: Any = Field(None, description="Ignored unread.")


class Scheduled(_Extras):
    """Once, at a date and time."""

    schedule_type: Literal["scheduled"]
    scheduled_at: Instant
    timezone: Zone | None = None
    recurring_config: Any = Field(None, description="Ignored unread.")


class RecurringConfig(_Body):
    """When a recurring campaign runs."""

    frequency: Literal["daily", "weekly", "monthly"]
    interval: Annotated[int, Field(ge=1, le=999)] | None = Field(
        None, description="Every so many days, weeks or months. Default: 1."
    )
    days_of_week: Annotated[list[Annotated[int, Field(ge=1, le=7)]], Field(min_length=1)] | None = (
        Field(None, description="1 to 7, Monday is 1.")
    )
    day_of_month: Annotated[int, Field(ge=1, le=31)] | None = Field(
        None, description="In a shorter month its last day, unless skip says otherwise."
    )
    time: Annotated[str, _text("([01][0-9]|2[0-3]):[0-5][0-9]")] | None = Field(
        None, description="HH:MM. Default: scheduled_at's.", examples=["09:00"]
    )
    time_zone: Zone | None = None
    end_date: EndDate | None = None
    skip: Literal["backward", "omit"] | None = Field(
        None, description="A month without the day: its last day (backward), or no run (omit)."
    )


class Recurring(_Extras):
    """Again and again."""

    schedule_type: Literal["recurring"]
    scheduled_at: Instant | None = Field(None, description="The earliest possible run.")
    timezone: Zone | None = None
    recurring_config: RecurringConfig


class RepeatingAttributes(_Body):
    """The recurrence of a recurring campaign; what is absent stays, null clears.

    Another value is a 422 for such a campaign, and for all others ignored, as the whole object is.
    """

    interval_size: Annotated[int, Field(ge=1, le=999)] | int | None = None
    interval_unit: Literal["day", "week", "month"] | str | None = None
    days_of_week: (
        list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] | list[str] | None
    ) = None
    day_of_month: Literal["nth_day", "nth_weekday", "last_day"] | str | None = None


class UpdateSchedule(_Extras):
    """A change of a campaign's schedule; what is absent stays, null clears."""

    startdate: Instant
    enddate: Instant | None = Field(None, description="Null: for ever.")
    timezone: Zone | None = None
    recurring_schedule: Literal["daily", "continuously"] | str | None = Field(
        None,
        description="How often a segment_triggered campaign runs. Another text is a 422 for such a "
        "campaign, and for all others ignored, as the whole field is.",
    )
    repeating_schedule_attributes: RepeatingAttributes | None = None


class NewCampaign(_Body):
    """A campaign to create; it begins as a draft."""

    name: Annotated[str, Field(min_length=1, max_length=NAME_LIMIT)]
    type: (
        Literal["one_time", "recurring", "segment_triggered", "event_triggered", "live_content"]
        | None
    ) = Field(None, description="Default: one_time.")
    uuid: (
        Annotated[str, _text(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")]
        | None
    ) = Field(None, description="Default: a random one.")
    timezone: Zone | None = Field(None, description="Default: UTC.")
    target: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="Name of a configured target. Default: log.", examples=["log"]
    )
    payload: dict[str, Any] | None = Field(
        None, description="Handed to the target with every run; at most 64 KiB. Default: {}."
    )


class _Attempt(_Body):
    attempt: Annotated[int, Field(ge=1, le=32767)] = Field(
        description="The attempt that the target was given; the answer to another one is refused."
    )


class CompleteRequest(_Attempt):
    """The run is done."""


class FailRequest(_Attempt):
    """The attempt failed."""

    error: Annotated[str, Field(min_length=1, max_length=2000)] = Field(
        description="Why, for people."
    )
    retry: bool | None = Field(
        None, description="Whether another attempt is of use. Default: true."
    )


class HeartbeatRequest(_Attempt):
    """The attempt goes on."""

    seconds: Annotated[int, Field(ge=1, le=86400)] | None = Field(
        None, description="For how long nobody may take the run over. Default: 60."
    )


class NewKey(_Body):
    """An API key to create."""

    name: Annotated[
        str,
        Field(min_length=1, max_length=KEY_NAME_LIMIT, description="Printable characters."),
    ]
    scope: Literal["read", "write", "admin"]


MODELS: tuple[type[BaseModel], ...] = (
    Immediate,
    Scheduled,
    Recurring,
    UpdateSchedule,
    NewCampaign,
    CompleteRequest,
    FailRequest,
    HeartbeatRequest,
    NewKey,
)
SAVE_BODY = (Immediate, Scheduled, Recurring)
PREVIEW_BODY = (*SAVE_BODY, UpdateSchedule)
