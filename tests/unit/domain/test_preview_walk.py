"""Ten thousand mixed previews agree with a walk over every day that shares no code with them."""

from __future__ import annotations

import calendar
import io
import json
import random
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from daemon.cli.commands.preview import answer_cases

ZONES = [
    "UTC", "America/New_York", "Australia/Lord_Howe", "America/Nuuk", "Africa/Casablanca",
    "Asia/Gaza",
    "Pacific/Apia", "Europe/Dublin", "America/Sao_Paulo", "Antarctica/Troll", "America/Asuncion",
    "America/St_Johns", "Asia/Tehran", "Africa/Cairo", "Asia/Kolkata",
]  # fmt: skip
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
UNITS = {"day": "daily", "week": "weekly", "month": "monthly"}
COUNT = 10_000


def wall(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def resolve(local: datetime, zone: ZoneInfo) -> datetime:
    """Try the nearby offsets; in a gap use the one before it. Does not use fold."""
    near = local.replace(tzinfo=UTC)
    before, *others = (
        (near + timedelta(hours=hours)).astimezone(zone).utcoffset() or timedelta(0)
        for hours in (-26, 0, 26)
    )
    passes = [near - offset for offset in (before, *others)]
    return min((each for each in passes if wall(each, zone) == local), default=near - before)


def parse(text: str, zone: ZoneInfo) -> tuple[datetime, datetime]:
    written = datetime.fromisoformat(text)
    if written.tzinfo is None:
        return resolve(written, zone), written
    return written.astimezone(UTC), wall(written, zone)


def wanted(spec: dict[str, Any], day: date) -> bool:
    """Return whether a recurrence with interval 1 has this day."""
    if spec["frequency"] != "monthly":
        return not spec["weekdays"] or day.isoweekday() in spec["weekdays"]
    length = calendar.monthrange(day.year, day.month)[1]
    if spec["nth"] is None:
        if spec["day"] > length and spec["omit"]:
            return False
        return bool(day.day == min(spec["day"], length))
    if day.isoweekday() not in spec["weekdays"]:
        return False
    same = [each for each in range(1, length + 1) if (each - day.day) % 7 == 0]
    return day.day == same[min(spec["nth"], len(same)) - 1]


def on_step(spec: dict[str, Any], first: date, day: date) -> bool:
    if spec["frequency"] == "daily":
        steps = (day - first).days
    elif spec["frequency"] == "weekly":
        steps = (day.toordinal() - day.weekday() - first.toordinal() + first.weekday()) // 7
    else:
        steps = (day.year - first.year) * 12 + day.month - first.month
    return bool(steps % spec["interval"] == 0)


def walk(spec: dict[str, Any], zone: ZoneInfo, after: datetime, count: int) -> list[datetime]:
    """Walk day by day from before the anchor, until the count or the end is reached."""
    anchor_at, anchor_local = spec["anchor"] or (after + timedelta(microseconds=1), None)
    day = (anchor_local or wall(after, zone)).date() - timedelta(days=1)
    first: date | None = None
    found: list[datetime] = []
    for _ in range(40_000):
        day += timedelta(days=1)
        if not wanted(spec, day) or (first and not on_step(spec, first, day)):
            continue
        local = datetime.combine(day, spec["time"])
        at = anchor_at if local == anchor_local else resolve(local, zone)
        if at < anchor_at:
            continue
        first = first or day
        if spec["last_day"] and day > spec["last_day"]:
            break
        if spec["end"] and at > spec["end"]:
            break
        if at > max([after, *found[-1:]]):
            found.append(at)
        if len(found) == count:
            break
    return found


class Maker:
    """Random cases, each with the facts that the walk needs."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def moment(self, low: str, days: int) -> datetime:
        start = datetime.fromisoformat(low)
        return start + timedelta(seconds=self.random.randrange(days * 86_400))

    def text(self, moment: datetime) -> str:
        suffixes = ["", "", "Z", "+05:30", "-0330", ".000Z", ".25"]
        return f"{moment:%Y-%m-%dT%H:%M:%S}{self.random.choice(suffixes)}"

    def case(self, number: int) -> tuple[dict[str, Any], list[str]]:
        choose = self.random.choice
        name = choose(ZONES)
        zone = ZoneInfo(name)
        after = self.moment("2009-06-01T00:00", 9000).replace(tzinfo=UTC)
        start = self.text(after.replace(tzinfo=None) + timedelta(days=choose([1, 2, 9, 300])))
        count = choose([1, 2, 3, 5, 8])
        make = choose([self.saved, self.saved, self.updated, self.updated, self.window, self.once])
        kind, body, spec = make(start, zone, after)
        case = {
            "id": number,
            "after": f"{after:%Y-%m-%dT%H:%M:%S}Z",
            "count": count,
            "campaign": {"type": kind, "timezone": name},
            "schedule": body,
        }
        if spec is None:
            found = [parse(start, zone)[0]]
        elif "every" in spec:
            found = [spec["anchor"][0] + timedelta(seconds=spec["every"] * k) for k in range(count)]
            found = [at for at in found if not spec["end"] or at <= spec["end"]]
        else:
            found = walk(spec, zone, after, count)
        return case, [at.isoformat().replace("+00:00", "Z") for at in found]

    def saved(self, start: str, zone: ZoneInfo, after: datetime) -> tuple[str, Any, Any]:
        choose, sample = self.random.choice, self.random.sample
        frequency = choose(["daily", "weekly", "monthly"])
        anchor = parse(start, zone) if choose([True, True, False]) else None
        days = sample(range(1, 8), choose([1, 2, 3])) if choose([True, False]) else None
        month_day = choose([None, 1, 15, 28, 29, 30, 31])
        hour = choose([None, "00:00", "00:30", "01:30", "02:30", "23:45", "09:00"])
        if anchor is None:
            hour, days, month_day = hour or "02:15", days or [2, 7], month_day or 31
        spec: dict[str, Any] = {
            "frequency": frequency,
            "interval": choose([1, 1, 2, 3]),
            "anchor": anchor,
            "omit": choose([True, False]),
            "nth": None,
            "end": None,
            "last_day": None,
        }
        local = anchor[1] if anchor else after.replace(tzinfo=None)
        spec["time"] = datetime.strptime(hour, "%H:%M").time() if hour else local.time()  # noqa: DTZ007
        spec["weekdays"] = days or ([local.isoweekday()] if frequency == "weekly" else [])
        spec["day"] = month_day or local.day
        config = {
            "frequency": frequency,
            "interval": spec["interval"],
            "days_of_week": days,
            "day_of_month": month_day,
            "time": hour,
            "skip": "omit" if spec["omit"] else None,
        }
        if choose([True, False]):
            end = local + timedelta(days=400 + self.random.randrange(100))
            if choose([True, False]):
                spec["last_day"] = end.date()
                config["end_date"] = end.date().isoformat()
            else:
                config["end_date"] = self.text(end)
                spec["end"] = parse(config["end_date"], zone)[0]
        body = {"schedule_type": "recurring", "recurring_config": config}
        return "recurring", body | ({"scheduled_at": start} if anchor else {}), spec

    def updated(self, start: str, zone: ZoneInfo, after: datetime) -> tuple[str, Any, Any]:
        choose, sample = self.random.choice, self.random.sample
        anchor = parse(start, zone)
        unit = choose(["day", "week", "month"])
        days = sample(range(1, 8), choose([0, 1, 2, 3]))
        month = choose(["nth_day", "nth_weekday", "last_day"])
        nth = unit == "month" and month == "nth_weekday"
        own = [anchor[1].isoweekday()]
        spec = {
            "frequency": UNITS[unit],
            "interval": choose([1, 1, 2, 3]),
            "anchor": anchor,
            "time": anchor[1].time(),
            "weekdays": days or (own if unit == "week" or nth else []),
            "day": 31 if month == "last_day" else anchor[1].day,
            "nth": (anchor[1].day - 1) // 7 + 1 if nth else None,
            "omit": False,
            "end": None,
            "last_day": None,
        }
        body: dict[str, Any] = {
            "startdate": start,
            "repeating_schedule_attributes": {
                "interval_size": spec["interval"],
                "interval_unit": unit,
                "days_of_week": [DAYS[day - 1] for day in days],
                "day_of_month": month,
            },
        }
        if choose([True, False]):
            body["enddate"] = self.text(anchor[1] + timedelta(days=200 + self.random.randrange(99)))
            spec["end"] = parse(body["enddate"], zone)[0]
        return "recurring", body, spec

    def window(self, start: str, zone: ZoneInfo, after: datetime) -> tuple[str, Any, Any]:
        anchor = parse(start, zone)
        body = {"startdate": start}
        spec: dict[str, Any] = {
            "frequency": "daily", "interval": 1, "anchor": anchor, "time": anchor[1].time(),
            "weekdays": [], "end": None, "last_day": None,
        }  # fmt: skip
        if self.random.random() < 0.5:
            body["enddate"] = self.text(anchor[1] + timedelta(days=self.random.randrange(2, 9)))
            spec["end"] = parse(body["enddate"], zone)[0]
        if self.random.random() < 0.3:
            body["recurring_schedule"] = "continuously"
            spec = {"anchor": anchor, "every": 300, "end": spec["end"]}
        return "segment_triggered", body, spec

    def once(self, start: str, zone: ZoneInfo, after: datetime) -> tuple[str, Any, Any]:
        if self.random.random() < 0.5:
            return "one_time", {"schedule_type": "scheduled", "scheduled_at": start}, None
        return "one_time", {"startdate": start}, None


def test_ten_thousand_cases() -> None:
    maker = Maker(20260701)
    cases = [maker.case(number) for number in range(COUNT)]
    source = io.BytesIO("".join(json.dumps(case) + "\n" for case, _ in cases).encode())
    out = io.StringIO()
    started = time.perf_counter()
    assert answer_cases(source, out, datetime.fromtimestamp(0, UTC), False) == 0
    took = time.perf_counter() - started
    answers = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(answers) == COUNT
    for (case, expected), answer in zip(cases, answers, strict=True):
        assert answer.get("occurrences") == expected, (case, answer)
        assert answer["id"] == case["id"]
    assert sum(bool(expected) for _, expected in cases) > COUNT * 0.9
    # Seconds, not minutes; about half a second on an idle core.
    assert took < 10
