"""Run the suite of resultsfw on my-extension, and test what it is for."""

import pytest
from resultsfw_my_extension import MyExtension, Options

from resultsfw import ExtractedResult, Extraction, ResultSpec, Run
from resultsfw.testing import ExtensionSuite


class TestMyExtension(ExtensionSuite):
    """Test everything that is asked of an extension."""

    extension = "my-extension"


@pytest.mark.parametrize(("trim", "expected"), [(True, "x"), (False, "x\n")])
def test_line_ends_are_trimmed(trim: bool, expected: str) -> None:
    """Drive the wrapper as the core does: up to its yield, then with what the backend returned."""
    run = Run(namespace="n", name="r", uid="u", results=(ResultSpec(name="a"),))
    wrapper = MyExtension(Options(trim=trim)).extract(run)
    next(wrapper)
    with pytest.raises(StopIteration) as end:
        wrapper.send(Extraction(results=(ExtractedResult(name="a", value="x\n", source="log"),)))
    assert end.value.value.results[0].value == expected
