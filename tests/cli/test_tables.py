"""Tables fit into a terminal, and what does not fit beside stands below."""

from hypothesis import given
from hypothesis import strategies as st

from resultsfw.cli.output.tables import columns

TEXT = "words that explain at length what the thing is for"


def printed(width, head, rows, **more):
    return "\n".join(line.plain for line in columns(width, head, rows, **more)).split("\n")


def test_the_last_column_is_wrapped_beside_the_others():
    assert printed(50, ("name", "what"), [("one", TEXT)]) == [
        "  name  what",
        "  one   words that explain at length what the",
        "        thing is for",
    ]


def test_the_last_cell_of_a_row_that_is_too_wide_stands_below_it():
    rows = [("a", "x", TEXT), ("b", "y" * 60, TEXT), ("c", "z", "")]
    assert printed(70, ("name", "default", "what"), rows) == [
        "  name  default  what",
        "  a     x        words that explain at length what the thing is for",
        f"  b     {'y' * 60}",
        "                 words that explain at length what the thing is for",
        "  c     z",
    ]


def test_all_last_cells_stand_below_where_most_rows_are_too_wide():
    rows = [("x" * 30, TEXT), ("y" * 30, ""), ("short", TEXT)]
    assert printed(40, ("name", "what"), rows) == [
        "  name",
        f"  {'x' * 30}",
        "    words that explain at length what",
        "    the thing is for",
        f"  {'y' * 30}",
        "  short",
        "    words that explain at length what",
        "    the thing is for",
    ]


CELL = st.text("ab \u65e5", max_size=40).map(str.strip)


@given(st.lists(st.tuples(CELL, CELL, CELL), max_size=5), st.integers(20, 120))
def test_no_cell_is_cut(rows, width):
    shown = "".join(printed(width, ("a", "b", ""), rows)).replace(" ", "")
    assert shown == "".join(["ab", *("".join(row) for row in rows)]).replace(" ", "")
