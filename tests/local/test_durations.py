"""Go's durations."""

import pytest

from resultsfw.local.step.durations import seconds


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("1s", 1),
        ("1h2m3.5s", 3723.5),
        ("-1.5m", -90),
        ("+2ms", 0.002),
        ("1µs", 1e-6),
        (".5s", 0.5),
        ("1.s", 1),
    ],
)
def test_a_go_duration_is_parsed(text, value):
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "1", "s", "1x", "1s2", ".s", "1..5s", "1 s", "--1s", "١s"])
def test_an_invalid_duration_is_refused(text):
    with pytest.raises(ValueError, match="invalid duration"):
        seconds(text)
