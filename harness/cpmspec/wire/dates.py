"""The two forms of time on the wires: the SIP-date of RFC 3261 20.17 (RFC 1123, GMT only) and RFC 3339."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# RFC 3261 25.1: rfc1123-date = wkday "," SP date1 SP time SP "GMT" ; date1 = 2DIGIT SP month SP 4DIGIT
_SIP_DATE = re.compile(
    rf"({'|'.join(_DAYS)}), ([0-9]{{2}}) ({'|'.join(_MONTHS)}) ([0-9]{{4}}) ([0-9]{{2}}):([0-9]{{2}}):([0-9]{{2}}) GMT"
)

# RFC 3339 5.6: full-date "T" partial-time time-offset ; "T" and "Z" in either case
_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:([Zz])|([+-])([0-9]{2}):([0-9]{2}))"
)


def parse_sip_date(text: str) -> datetime | None:
    """Read a SIP-date, the weekday unchecked; ``None`` if it is none. A leap second reads as the second before it."""
    match = _SIP_DATE.fullmatch(text)
    if match is None:
        return None
    month = _MONTHS.index(match[3]) + 1
    return _moment(int(match[4]), month, int(match[2]), int(match[5]), int(match[6]), int(match[7]))


def format_sip_date(moment: datetime) -> str:
    """Write a SIP-date, whole seconds.

    :raises ValueError: the moment has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError("a moment without time zone")
    utc = moment.astimezone(UTC)
    day, month = _DAYS[utc.weekday()], _MONTHS[utc.month - 1]
    return f"{day}, {utc.day:02d} {month} {utc.year:04d} {utc.hour:02d}:{utc.minute:02d}:{utc.second:02d} GMT"


def parse_rfc3339(text: str) -> datetime | None:
    """Read an RFC 3339 date-time (microseconds at most); ``None`` if it is none."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(match[index]) for index in range(1, 7))
    zone = UTC
    if match[9]:
        hours, minutes = int(match[10]), int(match[11])
        if hours > 23 or minutes > 59:
            return None
        shift = timedelta(hours=hours, minutes=minutes)
        zone = timezone(shift if match[9] == "+" else -shift)
    moment = _moment(year, month, day, hour, minute, second, zone)
    return None if moment is None else moment.replace(microsecond=int((match[7] or "0")[:6].ljust(6, "0")))


def format_rfc3339(moment: datetime) -> str:
    """Write an RFC 3339 date-time in UTC, with microseconds only if there are any.

    :raises ValueError: the moment has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError("a moment without time zone")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _moment(
    year: int, month: int, day: int, hour: int, minute: int, second: int, zone: timezone = UTC
) -> datetime | None:
    try:
        return datetime(year, month, day, hour, minute, 59 if second == 60 else second, tzinfo=zone)
    except ValueError:
        return None
