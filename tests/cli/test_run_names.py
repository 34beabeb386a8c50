"""Names of runs on the command line, and ages in a list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.cli.inspect.list_runs import age
from resultsfw.cli.sources.run_names import RunName, parse_names, qualified
from resultsfw.errors import InputError
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("build", RunName("build")),
        ("tr/build", RunName("build", TASKRUNS)),
        ("TaskRuns/build", RunName("build", TASKRUNS)),
        (qualified("TaskRun", "build"), RunName("build", TASKRUNS)),
        ("pr/build", RunName("build", PIPELINERUNS)),
        ("pipelineruns.v1.tekton.dev/build", RunName("build", PIPELINERUNS)),
    ],
)
def test_a_name_is_read_as_kubectl_writes_it(word, name):
    assert parse_names([word]) == [name]


@pytest.mark.parametrize("word", ["", "-", "pods/x", "a/b/c", "/", "tr/", __file__])
def test_a_word_that_is_no_name_is_refused(word):
    with pytest.raises(InputError):
        parse_names([word])


@given(st.text(max_size=300))
def test_any_word_is_a_name_or_refused(word):
    try:
        [name] = parse_names([word])
    except InputError:
        return
    assert word.endswith(name.name)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((-5, "0s"), (0, "0s"), (119.9, "119s"), (120, "2m"), (135, "2m15s"), (599, "9m59s"), (600, "10m")),
        *((3600, "60m"), (10800, "3h"), (11000, "3h3m"), (28800, "8h"), (172800, "2d"), (9e7, "1041d")),
    ],
)
def test_an_age_is_printed_as_kubectl_does(seconds, text):
    assert age(seconds) == text
