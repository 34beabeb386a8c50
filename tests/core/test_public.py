"""What is public: names, hooks and errors, each documented."""

import importlib
import inspect
import pkgutil
import re

import pluggy
import pytest

import resultsfw
from resultsfw import errors, hookspecs, types

MODULES = [module.name for module in pkgutil.iter_modules(resultsfw.__path__) if not module.ispkg]


def test_all_is_sorted_and_importable():
    names = resultsfw.__all__
    # As ruff sorts: constants, classes, functions.
    kind = {name: 0 if name.isupper() else 1 if name[0].isupper() else 2 for name in names}
    assert names == sorted(names, key=lambda name: (kind[name], name))
    assert len(set(names)) == len(names)
    for name in names:
        assert getattr(resultsfw, name) is not None


@pytest.mark.parametrize("module", MODULES)
def test_every_module_names_what_is_there(module):
    loaded = importlib.import_module(f"resultsfw.{module}")
    assert loaded.__doc__
    for name in getattr(loaded, "__all__", ()):
        assert hasattr(loaded, name), name


@pytest.mark.parametrize("name", [name for name in resultsfw.__all__ if not name.isupper()])
def test_every_public_class_and_function_is_documented(name):
    thing = getattr(resultsfw, name)
    if inspect.isclass(thing) or inspect.isfunction(thing):
        assert inspect.getdoc(thing)
        if inspect.isclass(thing):
            for member, value in vars(thing).items():
                if inspect.isfunction(value) and not member.startswith("_"):
                    assert inspect.getdoc(value), f"{name}.{member}"


def hooks():
    """The hooks of the contract, as pluggy sees them."""
    manager = pluggy.PluginManager("resultsfw")
    manager.add_hookspecs(hookspecs)
    return sorted(name for name in vars(manager.hook) if not name.startswith("_"))


def test_the_contract_has_these_hooks():
    assert hooks() == [
        "attest_status",
        "close",
        "collection_failed",
        "decrypt",
        "dereference",
        "extract",
        "place_files",
        "pod_created",
        "pod_ready",
        "prepare_pod",
        "purge",
        "results_collected",
    ]


@pytest.mark.parametrize("name", hooks())
def test_each_hook_and_each_of_its_arguments_is_documented(name):
    hook = getattr(hookspecs, name)
    assert inspect.getdoc(hook)
    documented = set(re.findall(r"^``(\w+)``", hookspecs.__doc__, re.MULTILINE))
    telling = {"reference", "collected", "problems"}  # by their types and the hook's own words
    assert set(inspect.signature(hook).parameters) <= documented | telling


def test_every_error_has_the_one_root_and_a_code_of_its_own():
    classes = [getattr(errors, name) for name in errors.__all__]
    assert all(issubclass(error, errors.ResultsError) for error in classes)
    assert len({error.code for error in classes}) == len(classes)
    assert all(error.__doc__ for error in classes)
    error = errors.FlagError("what and why", subject="key")
    assert (str(error), error.message, error.subject) == ("what and why", "what and why", "key")


def test_which_errors_of_a_cluster_can_come_right():
    retryable = {
        name
        for name in errors.__all__
        if issubclass(getattr(errors, name), errors.ClusterError) and getattr(errors, name).retryable
    }
    assert retryable == {
        "ConflictError",
        "ForbiddenError",
        "LogUnavailableError",
        "TooEarlyError",
        "UnavailableError",
    }


def test_plain_data_cannot_be_changed_by_whoever_gets_it():
    for name in types.__all__:
        thing = getattr(types, name)
        if hasattr(thing, "__dataclass_fields__"):
            assert thing.__dataclass_params__.frozen, name


def test_the_api_version_is_the_capabilities_default():
    assert resultsfw.Capabilities(summary="x").api_version == resultsfw.API_VERSION
