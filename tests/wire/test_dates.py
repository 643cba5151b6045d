"""SIP-date and RFC 3339: read strictly, written back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmspec.wire.dates import format_rfc3339, format_sip_date, parse_rfc3339, parse_sip_date

PROPERTY = settings(deadline=None, derandomize=True, database=None)
MOMENTS = st.datetimes(min_value=datetime(1000, 1, 2), max_value=datetime(9998, 12, 30), timezones=st.just(UTC))


@PROPERTY
@given(MOMENTS)
def test_what_is_written_is_read_back(moment: datetime) -> None:
    assert parse_rfc3339(format_rfc3339(moment)) == moment
    assert parse_sip_date(format_sip_date(moment)) == moment.replace(microsecond=0)


@PROPERTY
@given(st.text())
def test_any_text_is_taken(text: str) -> None:
    assert parse_rfc3339(text) is None
    assert parse_sip_date(text) is None


def test_other_zones_are_written_in_gmt() -> None:
    moment = datetime(2025, 1, 1, 0, 30, 5, tzinfo=timezone(timedelta(hours=1)))
    assert format_sip_date(moment) == "Tue, 31 Dec 2024 23:30:05 GMT"
    assert format_rfc3339(moment) == "2024-12-31T23:30:05Z"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-01-01T00:00:00Z", datetime(2025, 1, 1, tzinfo=UTC)),
        ("2025-01-01t00:00:00.25z", datetime(2025, 1, 1, 0, 0, 0, 250_000, tzinfo=UTC)),
        ("2025-01-01T00:00:00.123456789-08:00", datetime(2025, 1, 1, 8, 0, 0, 123_456, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2025-01-01 00:00:00Z", None),
        ("2025-01-01T00:00:00", None),
        ("2025-02-30T00:00:00Z", None),
        ("2025-01-01T00:00:00+24:00", None),
        ("0000-01-01T00:00:00Z", None),
    ],
)
def test_rfc3339(text: str, moment: datetime | None) -> None:
    assert parse_rfc3339(text) == moment


def test_without_a_time_zone_nothing_is_written() -> None:
    for write in (format_sip_date, format_rfc3339):
        with pytest.raises(ValueError, match="time zone"):
            write(datetime(2025, 1, 1))
