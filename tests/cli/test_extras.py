"""What a command says if a module of an extra is not installed."""

import pytest

from resultsfw.cli.extras import needs
from resultsfw.errors import InputError


def test_a_missing_module_of_an_extra_is_named_with_the_command_that_installs_it():
    said = r"\"cluster\": pip install 'resultsfw\[cluster\]' \(kubernetes is"
    with pytest.raises(InputError, match=said), needs("cluster"):
        raise ModuleNotFoundError("no", name="kubernetes.client")


def test_another_missing_module_is_a_fault():
    with pytest.raises(ImportError, match="no"), needs("cluster"):
        raise ModuleNotFoundError("no", name="resultsfw.gone")
