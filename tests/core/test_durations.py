"""Durations and quantities, read and printed as Go and Kubernetes do."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.durations import format_duration, parse_duration
from resultsfw.tekton.api.quantities import parse_quantity, share

SECOND = 10**9


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("1h30m", 5400 * SECOND),
        ("1.5h", 5400 * SECOND),
        (".5s", SECOND // 2),
        ("1.s", SECOND),
        ("500ms", SECOND // 2),
        ("3us", 3000),
        ("3µs", 3000),
        ("3μs", 3000),
        ("7ns", 7),
        ("1h1m1s1ms1us1ns", 3661 * SECOND + 1001001),
        ("-5s", -5 * SECOND),
        ("+5s", 5 * SECOND),
    ],
)
def test_a_duration_is_read_as_go_reads_it(text, nanoseconds):
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "5", "1d", "h", "1h 30m", "1h-30m", ".s", "1e3s", "999999999h", "５s"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1500, "1.5µs"),
        (2_500_000, "2.5ms"),
        (SECOND, "1s"),
        (90 * SECOND, "1m30s"),
        (3600 * SECOND, "1h0m0s"),
        (3601 * SECOND + SECOND // 2, "1h0m1.5s"),
        (-90 * SECOND, "-1m30s"),
    ],
)
def test_a_duration_is_printed_as_go_prints_it(nanoseconds, text):
    assert format_duration(nanoseconds) == text


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_a_printed_duration_is_read_back(nanoseconds):
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds


@given(st.text(max_size=20))
def test_any_text_is_a_duration_or_is_refused(text):
    try:
        parse_duration(text)
    except ValueError as error:
        assert "duration" in str(error)  # noqa: PT017 - most texts are refused


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2", 2),
        (2, 2),
        ("500m", Decimal("0.5")),
        ("1Ki", 1024),
        ("1.5Gi", 1.5 * 2**30),
        ("1k", 1000),
        ("1e3", 1000),
    ],
)
def test_quantities_are_read(text, number):
    assert parse_quantity(text) == number


@pytest.mark.parametrize("text", ["", "1ki", "1Kib", "x", "1 Gi", "--1"])
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(ValueError, match="quantity"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("resource", "amount", "parts", "each"),
    [
        ("cpu", "2", 2, "1"),
        ("cpu", "500m", 2, "250m"),
        ("cpu", "1", 3, "333m"),
        ("memory", "2Mi", 2, "1048576"),
        ("memory", "100m", 1, "1"),
        ("ephemeral-storage", "1Gi", 3, "357913941"),
    ],
)
def test_an_amount_is_shared_in_equal_parts(resource, amount, parts, each):
    assert share(resource, amount, parts) == each
