"""Times that anybody may have written."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from resultsfw.times import later, timestamp

INT64 = st.integers(min_value=0, max_value=2**63 - 1)


def test_a_time_with_its_zone_is_in_utc():
    assert timestamp("2026-01-01T02:00:00+02:00") == datetime(2026, 1, 1, tzinfo=UTC)


def test_what_has_no_zone_or_is_no_time_is_none():
    for text in ("2026-01-01T00:00:00", "yesterday", "", None, 5, {}, "0001-01-01T00:00:00+14:00"):
        assert timestamp(text) is None


@given(st.text() | st.datetimes(timezones=st.timezones()).map(datetime.isoformat), INT64)
def test_every_text_and_every_number_of_seconds_can_be_computed_with(text, seconds):
    if (when := timestamp(text)) is not None:
        assert when.tzinfo is UTC
        assert later(when, seconds) >= when


def test_what_is_beyond_the_last_time_is_the_last_time():
    last = datetime.max.replace(tzinfo=UTC)
    assert later(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), 1) == last
    assert later(datetime(2026, 1, 1, tzinfo=UTC), 2**63) == last
