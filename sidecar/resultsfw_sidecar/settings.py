"""Reads what the container was started with: Tekton's flags, Tekton's variable and ours."""

from . import wire

DEFAULT_INTERVAL = 0.1
LEAST_INTERVAL = 0.001  # Go takes 0 and spins; a busy loop helps nobody
LONGEST_INTERVAL = 3600.0
LINGER = 60.0  # seconds in which Steps that have recorded their end must have ended

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_TRUE = ("1", "t", "T", "TRUE", "true", "True")  # as Go reads a boolean flag
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


class SettingsError(Exception):
    """A flag or a variable makes no sense.

    Attributes:
        reason: `wire.BAD_FLAG` or `wire.BAD_ENVIRONMENT`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Environment:
    """The variables.

    Args:
        variables: All of the process.
        ceiling: Bytes that a value, and all together, may have at most whatever is asked for.

    Attributes:
        variables: As given.
        wire: The wire version that is asked for.
        max_result_size: Bytes a value may have.
        max_run_size: Bytes all values together may have.
        pod: The pod's uid, or nothing.
        root: Tekton's folder.
        interval: Seconds between two checks, where inotify is not used.
        poll: Whether inotify is not wanted.
        task_artifacts: Whether to deliver provenance of the Task's artifacts.
        signal: Whether there are no run folders, and SIGTERM says that the Steps have ended.
        linger: Seconds for which a native sidecar that has delivered everything waits for SIGTERM.

    Raises:
        SettingsError: A variable makes no sense.
    """

    def __init__(self, variables: dict[bytes, bytes], ceiling: int = wire.CEILING) -> None:
        def get(name: str, default: str) -> str:
            # Empty is as good as absent: a manifest cannot always leave a variable out.
            return variables.get(name.encode(), b"").decode("utf-8", "surrogateescape") or default

        def size(name: str) -> int:
            text = get(name, str(ceiling))
            if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text)):  # noqa: PLR2004 - 64 bits
                raise SettingsError(
                    wire.BAD_ENVIRONMENT, f"{name}: {text!a} is not a number of bytes above 0"
                )
            return min(int(text), ceiling)

        asked = get(wire.ENV_WIRE, str(wire.TEKTON))
        if asked not in map(str, wire.WIRES):
            raise SettingsError(
                wire.BAD_ENVIRONMENT, f"{wire.ENV_WIRE}: this sidecar knows 0, 1 and 2, not {asked!a}"
            )
        self.variables = variables
        self.wire = int(asked)
        self.max_result_size = size(wire.ENV_MAX_RESULT_SIZE)
        self.max_run_size = size(wire.ENV_MAX_RUN_SIZE)
        self.pod = get(wire.ENV_POD_UID, "")
        self.root = get(wire.ENV_TEKTON_ROOT, "/tekton").encode("utf-8", "surrogateescape").rstrip(b"/")
        interval = go_duration(get(wire.ENV_POLLING_INTERVAL, ""))
        self.interval = (
            DEFAULT_INTERVAL if interval is None else min(max(interval, LEAST_INTERVAL), LONGEST_INTERVAL)
        )
        linger = go_duration(get(wire.ENV_LINGER, ""))
        self.linger = LINGER if linger is None else max(linger, 0.0)
        watch = get(wire.ENV_WATCH, "")
        self.poll = watch == wire.WATCH_POLL
        self.task_artifacts = get(wire.ENV_TASK_ARTIFACTS, "") == "true"
        self.signal = watch == wire.WATCH_SIGNAL


class Flags:
    """The flags, as Go's flag package reads them: `-name value`, `--name value`, `-name=value`.

    Attributes:
        results_folder: Where Task results lie.
        task_results: Names of Task results, each once, in order.
        step_results: The same for each Step, by its container's name (`step-build`).
        artifact_steps: Containers of the Steps whose provenance of artifacts is to be delivered.
        native: Whether we are a native sidecar, which Kubernetes would start again if it ended.

    Raises:
        SettingsError: A flag makes no sense.
    """

    def __init__(self, arguments: list[bytes]) -> None:
        self.results_folder = b"/tekton/results"
        self.task_results: list[str] = []
        self.step_results: dict[str, list[str]] = {}
        self.artifact_steps: list[str] = []
        self.native = False
        rest = arguments[::-1]
        while rest:
            argument = rest.pop()
            name, equals, value = argument.removeprefix(b"-").removeprefix(b"-").partition(b"=")
            if not argument.startswith(b"-") or not name:
                raise SettingsError(wire.BAD_FLAG, f"{_printable(argument)} is no flag")
            if not equals:
                if name != b"kubernetes-sidecar-mode":
                    if not rest:
                        raise SettingsError(wire.BAD_FLAG, f"flag {_printable(argument)} needs a value")
                    value = rest.pop()
                elif rest and not rest[-1].startswith(b"-"):
                    value = rest.pop()  # Go stops here and takes the flag alone for true
                else:
                    value = b"true"
            self._set(name, value)

    def _set(self, name: bytes, value: bytes) -> None:
        try:
            text = value.decode()
        except UnicodeDecodeError:
            raise SettingsError(wire.BAD_FLAG, f"flag {_printable(name)}: not UTF-8") from None
        if name == b"results-dir":
            self.results_folder = value
        elif name == b"result-names":
            # Tekton passes an empty list as one empty name. A name twice is one result.
            self.task_results = list(dict.fromkeys(filter(None, text.split(","))))
        elif name == b"step-results":
            self.step_results = _step_results(text)
        elif name == b"kubernetes-sidecar-mode":
            if text not in _TRUE + _FALSE:
                raise SettingsError(
                    wire.BAD_FLAG, f"flag {_printable(name)}: {text!a} is neither true nor false"
                )
            self.native = text in _TRUE
        elif name == b"step-names":
            self.artifact_steps = list(dict.fromkeys(filter(None, text.split(","))))
        else:
            raise SettingsError(wire.BAD_FLAG, f"there is no flag {_printable(name)}")


def _step_results(text: str) -> dict[str, list[str]]:
    if text in ("", "{}", "null"):  # most Tasks: spare them the import
        return {}
    import json  # noqa: PLC0415 - 3 ms, for this flag only

    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingsError(wire.BAD_FLAG, f"flag -step-results: not JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise SettingsError(wire.BAD_FLAG, "flag -step-results: not a JSON object")
    for step, names in parsed.items():
        if not isinstance(names, list | None) or not all(isinstance(name, str) for name in names or ()):
            raise SettingsError(wire.BAD_FLAG, f"flag -step-results: {step!a} has no list of names")
    return {step: list(dict.fromkeys(names or ())) for step, names in parsed.items()}


def go_duration(text: str) -> float | None:
    """Seconds of a Go duration such as `100ms` or `1m30s`; none if it is not one, or is negative."""
    rest = text.removeprefix("+")
    if rest == "0":
        return 0.0
    if not rest:
        return None
    total = 0.0
    while rest:
        number, rest = _leading(rest, "0123456789.")
        unit, rest = _leading(rest, "nuµμmsh")
        if unit not in _UNITS or not number.strip(".") or number.count(".") > 1:
            return None
        total += float(number) * _UNITS[unit]
    return total


def _leading(text: str, of: str) -> tuple[str, str]:
    rest = text.lstrip(of)
    return text[: len(text) - len(rest)], rest


def _printable(argument: bytes) -> str:
    return ascii(argument.decode("utf-8", "backslashreplace"))
