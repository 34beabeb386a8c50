"""Parses the arguments of Tekton's entrypoint as Go's flag package does."""

from .durations import seconds

TERMINATION_MESSAGE = "termination-message"

_TEXT = {
    "entrypoint",
    "on_error",
    "post_file",
    "result_from",
    "results",
    "stderr_path",
    "stdout_path",
    "step_metadata_dir",
    "step_results",
    "termination_path",
    "timeout",
    "wait_file",
    "when_expressions",
}
_CREDENTIALS = {"basic-docker", "basic-git", "docker-cfg", "docker-config", "ssh-git"}
_BOOL = {"wait_file_content", "compress_termination_message"}
_TRUE = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE = {"0", "f", "F", "FALSE", "false", "False"}
_CLUSTER_ONLY = {
    "breakpoint_on_failure": "debugging with breakpoints",
    "debug_before_step": "debugging with breakpoints",
    "enable_spire": "signatures by Tekton's entrypoint",
}


class FlagsError(Exception):
    """The arguments are invalid, or need a cluster."""


class Flags:
    """The flags of the entrypoint, with Tekton's names.

    Attributes:
        wait_files: Files to wait for.
        wait_content: Whether these must have content.
        post_file: File to write at the end; with the suffix ``.err`` if the Step failed.
        termination_path: File of the termination message.
        metadata_dir: The Step's own folder, for ``exitCode``, ``results/`` and ``artifacts/``.
        results: Names of the Task's results.
        step_results: Names of the Step's own results.
        result_from: Where results go; only ``termination-message`` puts them into the message.
        compress: Whether the message may be compressed.
        on_error: "continue", or anything else to stop.
        timeout: Seconds; 0: no timeout.
        when: The Step's when expressions as JSON; "" if it has none.
        credentials: The flags of credentials and their values, in order.
        streams: Files into which the command's streams are copied, by the stream's number.
        command: The command; empty: none.
    """

    def __init__(self) -> None:
        self.wait_files: list[str] = []
        self.wait_content = False
        self.post_file = ""
        self.termination_path = "/tekton/termination"
        self.metadata_dir = ""
        self.results: list[str] = []
        self.step_results: list[str] = []
        self.result_from = TERMINATION_MESSAGE
        self.compress = False
        self.on_error = ""
        self.timeout = 0.0
        self.when = ""
        self.credentials: list[tuple[str, str]] = []
        self.streams: dict[int, str] = {}
        self.command: list[str] = []


def parse(arguments: list[str]) -> tuple[Flags, list[str]]:
    """Return the flags, and the arguments after them (a subcommand with its arguments).

    Raises:
        FlagsError: A flag is unknown, lacks its value, or needs a cluster.
    """
    before, _, after = _split(arguments)
    flags = Flags()
    values, rest = _values(before, flags.credentials)
    flags.wait_files = _names(values.get("wait_file", ""))
    flags.wait_content = values.get("wait_file_content") == "true"
    flags.post_file = values.get("post_file", "")
    flags.termination_path = values.get("termination_path", flags.termination_path)
    flags.metadata_dir = values.get("step_metadata_dir", "")
    flags.results = _names(values.get("results", ""))
    flags.step_results = _names(values.get("step_results", ""))
    flags.result_from = values.get("result_from", flags.result_from)
    flags.compress = values.get("compress_termination_message") == "true"
    flags.on_error = values.get("on_error", "")
    flags.when = values.get("when_expressions", "")
    paths = ((1, values.get("stdout_path")), (2, values.get("stderr_path")))
    flags.streams = {stream: path for stream, path in paths if path}
    try:
        flags.timeout = seconds(values.get("timeout", "0"))
    except ValueError as error:
        raise FlagsError(f"flag -timeout: {error}") from None
    entrypoint = values.get("entrypoint", "")
    flags.command = [entrypoint, *after] if entrypoint else after
    return flags, rest


def _split(arguments: list[str]) -> tuple[list[str], str, list[str]]:
    if "--" not in arguments:
        return arguments, "", []
    place = arguments.index("--")
    return arguments[:place], "--", arguments[place + 1 :]


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _values(arguments: list[str], credentials: list[tuple[str, str]]) -> tuple[dict[str, str], list[str]]:
    """Return the value of each flag, and the arguments from the first that is not a flag.

    Flags of credentials, which may be given several times, are added to ``credentials``.
    """
    values: dict[str, str] = {}
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        argument = rest.pop(0)
        name, equals, value = argument.removeprefix("-").removeprefix("-").partition("=")
        if name in _CLUSTER_ONLY:
            feature = _CLUSTER_ONLY[name]
            raise FlagsError(f"this Step needs {feature} (-{name}), which is only possible on a cluster")
        if name in _BOOL:
            value = _boolean(name, value if equals else "true")
        elif name not in _TEXT and name not in _CREDENTIALS:
            raise FlagsError(f"flag provided but not defined: -{name}")
        elif not equals:
            if not rest:
                raise FlagsError(f"flag needs an argument: -{name}")
            value = rest.pop(0)
        if name in _CREDENTIALS:
            credentials.append((name, value))
        else:
            values[name] = value
    return values, rest


def _boolean(name: str, value: str) -> str:
    if value in _TRUE:
        return "true"
    if value in _FALSE:
        return "false"
    raise FlagsError(f'invalid boolean value "{value}" for -{name}')
