"""The `dst` object of a request body: its declaration, its policy, and its canonical form."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from daemon.domain.requests.declaration import Body, declare_field
from daemon.domain.requests.forms import enum_form
from daemon.domain.schedule.daylight_saving import DEFAULT, DaylightSaving, Fold, Gap, is_in_gap
from daemon.domain.schedule.timezones import zone


class Dst(NamedTuple):
    """The meaning of local times that a clock change skips or repeats."""

    gap: Gap = declare_field(
        enum_form(Gap),
        default=Gap.SHIFT,
        doc="A local time that is skipped: by the offset before the gap, so that 02:30 becomes "
        "03:30 (shift), by the offset after it, so that it becomes 01:30 (before), or no run "
        "(skip).",
    )
    fold: Fold = declare_field(
        enum_form(Fold),
        default=Fold.FIRST,
        doc="A local time that is repeated: the first pass, the second pass, or a run at both.",
    )


DST = Body(Dst)


def policy_of(dst: Dst) -> DaylightSaving | None:
    """Return the policy of a `dst` object; None for the default, also of an empty object."""
    policy = DaylightSaving(dst.gap, dst.fold)
    return None if policy == DEFAULT else policy


def canonical_dst(policy: DaylightSaving | None) -> dict[str, str] | None:
    """Return the shortest `dst` object with the meaning of a policy, or None for the default."""
    if policy is None:
        return None
    words = zip(policy._fields, policy, DEFAULT, strict=True)
    return {name: word.value for name, word, default in words if word != default} or None


def skipped_start(written: datetime, timezone: str, policy: DaylightSaving | None) -> str | None:
    """Return the fault of a naive start that `Gap.SKIP` would skip, after the field's name."""
    if policy is None or policy.gap is not Gap.SKIP or written.tzinfo is not None:
        return None
    if not is_in_gap(written, zone(timezone)):
        return None
    return f"{written.isoformat()} does not exist in {timezone}, so it would be skipped"
