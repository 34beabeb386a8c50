"""Check and validate the options of plugins: a strict pydantic model each."""

import inspect
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from resultsfw.errors import FlagError
from resultsfw.flags import CONFIG_PREFIX, did_you_mean

__all__ = ["NoConfig", "PluginFault", "get_config_type", "instantiate", "validate_config"]

_UNKNOWN: Final = "extra_forbidden"
_TOO_SHORT: Final = "too_short"
"""Types of errors whose messages speak of Python."""
_NAME_LENGTH: Final = 64
"""Characters of an unknown option for which a similar one is searched."""


class PluginFault(Exception):  # noqa: N818 - internal: becomes the text of another error
    """Says why a plugin cannot be used."""


class NoConfig(BaseModel):
    """Options of a plugin without options."""

    model_config = ConfigDict(extra="forbid")


def get_config_type(plugin: object) -> type[BaseModel]:
    """Return the model of a plugin's options.

    Raises:
        PluginFault: Its ``Config`` violates the contract.
    """
    config_type = getattr(plugin, "Config", NoConfig)
    if not (inspect.isclass(config_type) and issubclass(config_type, BaseModel)):
        raise PluginFault("its `Config` is not a pydantic model")
    if config_type.model_config.get("extra") != "forbid":
        raise PluginFault(
            'its `Config` must forbid unknown options: model_config = ConfigDict(extra="forbid")'
        )
    if required := [name for name, option in config_type.model_fields.items() if option.is_required()]:
        raise PluginFault(f"its `Config` has options without a default: {', '.join(required)}")
    return config_type


def instantiate(plugin: type[Any], *arguments: object) -> object:
    """Create a plugin's instance from its class, with its validated options if it is given any.

    Raises:
        PluginFault: Its constructor cannot be called so; the message lists the arguments that it takes.
    """
    try:
        signature = inspect.signature(plugin)
    except (TypeError, ValueError):  # a class in C does not say; the call will
        return plugin(*arguments)
    try:
        signature.bind(*arguments)
    except TypeError as error:
        given = "one argument, its `Config`" if arguments else "no argument, since it has no `Config`"
        raise PluginFault(
            f"its constructor takes ({', '.join(map(str, signature.parameters.values()))}), and is called "
            f"with {given}"
        ) from error
    return plugin(*arguments)


def validate_config(name: str, config_type: type[BaseModel], raw: Mapping[str, Any]) -> BaseModel:
    """Validate the options of the plugin of that name.

    Raises:
        FlagError: An option is unknown or has an invalid value; the message names each.
    """
    try:
        return config_type.model_validate(raw)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        faults = "; ".join(f"{_option(config_type, fault)}: {_why(config_type, fault)}" for fault in found)
        key = f"{CONFIG_PREFIX}{name}"
        raise FlagError(f'feature flag "{key}": {faults}', subject=key) from error


def _option(config_type: type[BaseModel], fault: Mapping[str, Any]) -> str:
    """Return an option's name as operators write it: of an invalid default, pydantic names the attribute."""
    first, *rest = map(str, fault["loc"] or ("the whole",))
    field = config_type.model_fields.get(first)
    alias = field.alias if field and fault["type"] != _UNKNOWN else None
    return ".".join((alias or first, *rest))


def _why(config_type: type[BaseModel], fault: Mapping[str, Any]) -> str:
    """Return what is wrong with an option, in the words of operators."""
    if fault["type"] == _UNKNOWN:
        names = [field.alias or name for name, field in config_type.model_fields.items()]
        if len(fault["loc"]) > 1 or not names:
            return "is no option"
        return f"is no option{did_you_mean(str(fault['loc'][0])[:_NAME_LENGTH], names)}"
    if fault["type"] == _TOO_SHORT:
        return f"must have {fault['ctx']['min_length']} or more entries"
    # pydantic puts its own words before those of a validator.
    return str(fault["msg"]).removeprefix("Value error, ")
