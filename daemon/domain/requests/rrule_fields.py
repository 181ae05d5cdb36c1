"""The rrule of a stored recurring_config as the fields that it stands for, and back.

An `update_schedule` body changes single fields of a recurrence, also of one that was given as text.
"""

from __future__ import annotations

from typing import Any

from daemon.domain.requests.rrule import STANDS_FOR, parse_rrule, without_until, write_rrule
from daemon.domain.schedule.recurrence import Skip

_RULE = (*STANDS_FOR, "nth", "month")


def spell_out(config: dict[str, Any]) -> dict[str, Any]:
    """Return a recurring_config without rrule, with the fields that it stands for.

    `nth` and `month` stand beside these fields where the rule has them; `skip` is absent where it
    is the default.
    """
    if "rrule" not in config:
        return dict(config)
    rule = parse_rrule(config["rrule"])
    spelled = {name: value for name, value in config.items() if name != "rrule"}
    spelled["frequency"] = rule.frequency.value
    if rule.interval != 1:
        spelled["interval"] = rule.interval
    if rule.weekdays:
        spelled["days_of_week"] = list(rule.weekdays)
    if rule.skip is not Skip.BACKWARD:
        spelled["skip"] = rule.skip.value
    optional = {
        "day_of_month": rule.month_day,
        "nth": rule.nth,
        "month": rule.month,
        "end_date": rule.end_date,
    }
    return spelled | {name: value for name, value in optional.items() if value is not None}


def write_back(config: dict[str, Any], written: dict[str, Any]) -> dict[str, Any]:
    """Return the recurring_config to store for fields that `spell_out` gave of `written`.

    The text of an rrule stays as it is written while it says the same. Another rule is stored as
    fields, and as text only where they cannot express it.
    """
    before = spell_out(written)
    text = None
    if "rrule" in written and _rule_of(config) == _rule_of(before):
        text = written["rrule"]
        if config.get("end_date") != before.get("end_date"):
            text = without_until(text)
        elif "end_date" not in written:
            config = {name: value for name, value in config.items() if name != "end_date"}
    elif "nth" in config or "month" in config:
        text = write_rrule(
            config.get("interval", 1),
            tuple(config.get("days_of_week", ())),
            -1 if config.get("nth") == 5 and "skip" not in config else config.get("nth"),
            config.get("month"),
            month_day=config.get("day_of_month"),
            skip=Skip(config.get("skip", Skip.BACKWARD)),
        )
    if text is None:
        return config
    return {name: value for name, value in config.items() if name not in _RULE} | {"rrule": text}


def _rule_of(config: dict[str, Any]) -> dict[str, Any]:
    return {name: config[name] for name in _RULE if name in config}
