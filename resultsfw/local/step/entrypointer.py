"""Runs a Step as Tekton's entrypoint does: waits for its turn, runs the command, writes the message.

The order is Tekton's (pkg/entrypoint/entrypointer.go), except that results are read before the next Step is
released, not after. As in Tekton, a refused result fails this Step only: the post file says how the command
ended.
"""

import os
import sys
import time
from collections.abc import Callable  # noqa: TC003 - typing costs 5 ms

from . import artifacts, command_runner, message, references, wait_files
from .files import NOT_UTF8, RefusedError, read, read_result, write, write_message
from .flags import TERMINATION_MESSAGE, Flags, FlagsError, parse
from .paths import Paths, decode, localized
from .subcommands import SubcommandError, run_subcommand
from .when_expressions import WhenError, allows

ENV_ROOT = "RESULTSFW_TEKTON_ROOT"
ENV_BUDGET = "RESULTSFW_MESSAGE_BUDGET"
ENV_PATHS = "RESULTSFW_PATHS"
ENV_SCRATCH = "RESULTSFW_SCRATCH"
_OWN_VARIABLES = (ENV_ROOT, ENV_BUDGET, ENV_PATHS, ENV_SCRATCH)

FAILED, USAGE, CANCELLED, SIGNALLED = 1, 2, 9, 255
_OWN_BYTES = 1 << 20  # limit of a termination file that a Step wrote to


def main(arguments: list[str]) -> int:
    """Run the entrypoint with these arguments and this process's environment; return the exit status."""
    try:
        flags, rest = parse(arguments)
    except FlagsError as error:
        say(str(error))
        return USAGE
    tekton = os.environ.get(ENV_ROOT) or "/tekton"
    if rest:
        try:
            say(run_subcommand(rest, tekton))
        except (SubcommandError, OSError) as error:
            say(f"{rest[0]} error: {error}")
            return FAILED
        return 0
    entrypointer = Entrypointer(flags, tekton)
    try:
        entrypointer.read_credentials()
    except FlagsError as error:
        say(str(error))
        return USAGE
    return entrypointer.run()


def say(text: str) -> None:
    """Write a line to the container's log."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


class StepOutcome:
    """How a Step ended.

    Args:
        status: Exit status of the container; unless it is 0, later Steps are skipped.
        exit_code: Content of the file ``exitCode``; "" where Tekton does not write it.
        ran: Whether the Step was to run at all.
    """

    def __init__(self, status: int, exit_code: str = "", *, ran: bool = True) -> None:
        self.status = status
        self.exit_code = exit_code
        self.ran = ran


class Entrypointer:
    """Runs one Step.

    Args:
        flags: The flags of the entrypoint.
        tekton: The folder that replaces ``/tekton``.
    """

    def __init__(self, flags: Flags, tekton: str) -> None:
        self.flags = flags
        self.tekton = tekton
        self.environment = dict(os.environ)
        self.paths = Paths(decode(self.environment.get(ENV_PATHS, "")))
        self.scratch = self.environment.get(ENV_SCRATCH, "")
        budget = self.environment.get(ENV_BUDGET, "")
        known = budget.isascii() and budget.isdigit()
        limit = min(int(budget), message.MESSAGE_BYTES) if known else message.MESSAGE_BYTES
        self.message = message.Message(limit, compress=flags.compress)
        for name in _OWN_VARIABLES:
            self.environment.pop(name, None)
        self.place_credentials: Callable[[str, str, str, Callable[[str], None]], None] | None = None

    def read_credentials(self) -> None:
        """Read the Secrets that the flags name.

        Raises:
            FlagsError: A Secret lacks a key; as in Tekton, the Step does not start.
        """
        if self.flags.credentials:
            from . import credentials  # noqa: PLC0415 - few Steps need it, and it costs 5 ms

            self.place_credentials = credentials.Credentials(
                self.flags.credentials, lambda secret: self.paths.rewrite(f"/tekton/creds-secrets/{secret}")
            ).place

    def run(self) -> int:
        """Run the Step and write the message; return the exit status."""
        try:
            status = self._wait_and_run()
        except Exception as error:  # noqa: BLE001 - without a post file the next Step waits for ever
            say(f"Error executing command: {error}")
            self._post(failed=True)
            status = FAILED
        try:
            refused = self._write_message(status)
        except (OSError, RefusedError) as error:
            say(f"Error while writing message: {error}")
            return FAILED
        return status or (FAILED if refused else 0)

    def _wait_and_run(self) -> int:
        """Wait for the Step's turn, run it and release the next Step; return the exit status."""
        flags = self.flags
        if flags.metadata_dir:
            for folder in ("results", "artifacts"):
                os.makedirs(f"{flags.metadata_dir}/{folder}", exist_ok=True)  # noqa: PTH103
        try:
            for file in flags.wait_files:
                wait_files.wait_for(file, content=flags.wait_content)
        except wait_files.SkipError:
            self._post(failed=True)
            self._internal("StartedAt", _now())
            self._internal("Reason", "Skipped")
            say("Skipping step because a previous step failed")
            return FAILED
        self._internal("StartedAt", _now())
        if self.place_credentials is not None:
            # After the wait, unlike Tekton: Steps share a home, and one would read what another just writes.
            folder, home = self.paths.rewrite("/tekton/creds"), self.environment.get("HOME", "")
            pod = os.path.dirname(os.path.dirname(self.scratch)) if self.scratch else ""  # noqa: PTH120
            self.place_credentials(folder, home, pod, say)
        end = self._execute()
        if end.ran and flags.result_from == TERMINATION_MESSAGE:
            # Before the next Step is released, which may write results. Tekton reads them after that.
            self._collect(f"{self.tekton}/results", flags.results, message.TASK_RESULT)
            self._collect(f"{flags.metadata_dir}/results", flags.step_results, message.STEP_RESULT)
            self._artifacts()
        if end.exit_code and flags.metadata_dir:
            write(f"{flags.metadata_dir}/exitCode", end.exit_code)
        self._post(failed=end.status != 0)
        return end.status

    def _execute(self) -> "StepOutcome":
        """Run the command and return how it ended."""
        flags = self.flags
        try:
            if not allows(flags.when, f"{self.tekton}/steps"):
                say("Step was skipped due to when expressions were evaluated to false.")
                self._internal("Reason", "Skipped")
                return StepOutcome(0, "0", ran=False)
            code = self._run(self._substituted())
        except command_runner.CancelledError:
            say("Step was cancelled")
            self._internal("Reason", "Cancelled")
            return StepOutcome(CANCELLED, "killed")
        except command_runner.TimeoutExceededError:
            say(f"Step ran longer than its timeout of {flags.timeout:g} s")
            self._internal("Reason", "TimeoutExceeded")
            return StepOutcome(FAILED)
        except references.UnresolvedError as error:
            # Tekton's entrypoint logs that and runs the command with the reference in it, which a shell takes
            # for a command substitution.
            say(f"The Step's command needs what an earlier Step did not write: {error}")
            return StepOutcome(FAILED)
        except (command_runner.StartError, WhenError) as error:
            say(str(error))
            return StepOutcome(error.status if isinstance(error, command_runner.StartError) else FAILED)
        if code == 0 or flags.on_error == "continue":
            if code:
                self._internal("ExitCode", str(code))
            return StepOutcome(0, str(code))
        return StepOutcome(code if code > 0 else SIGNALLED)

    def _run(self, command: list[str]) -> int:
        if self.flags.timeout < 0:
            raise command_runner.StartError("negative timeout specified", FAILED)
        if not command:
            return 0
        scripts = f"{self.tekton}/scripts"
        file = command[0]
        if self.scratch:
            ash = command_runner.shell_for_ash(self.environment.get("PATH", ""))
            file = localized(file, scripts, self.scratch, self.paths, ash=ash)
        if len(command) == 1 and command[0].startswith(f"{scripts}/"):  # Tekton's rule
            file = artifacts.replaced_script(file, f"{self.tekton}/steps", self.scratch or scripts)
        return command_runner.run(
            [file, *command[1:]],
            self.environment,
            self.flags.timeout,
            f"{self.tekton}/downward/cancel",
            self.flags.streams,
        )

    def _substituted(self) -> list[str]:
        """Return the command with references to Steps' results and artifacts replaced, but for its script.

        Raises:
            UnresolvedError: An earlier Step did not write what a reference names.
        """
        steps = f"{self.tekton}/steps"
        references.in_environment(self.environment, steps)
        command = references.in_command(self.flags.command, steps)
        for name, value in self.environment.items():
            self.environment[name] = artifacts.replaced(value, steps)
        return [artifacts.replaced(argument, steps) for argument in command]

    def _post(self, *, failed: bool) -> None:
        if self.flags.post_file:
            write(self.flags.post_file + (".err" if failed else ""))

    def _internal(self, key: str, value: str) -> None:
        self.message.internal.append((key, value, message.INTERNAL))

    def _collect(self, folder: str, names: list[str], kind: int) -> None:
        """Read results into the message; a file that is too large to fit is not read."""
        limit = self.message.budget
        most = message.INFLATED_BYTES if self.flags.compress else limit
        for name in names:
            try:
                found = read_result(folder, name, most)
            except RefusedError as error:
                recorded_limit = limit if error.reason == NOT_UTF8 else None
                self._refuse(message.refusal(name, kind, error.reason, error.size, recorded_limit))
                continue
            if found is None:
                continue
            text, size = found
            if text is None:
                self._refuse(message.refusal(name, kind, message.TOO_LARGE, size, limit))
            else:
                self.message.results.append((name, text, kind))

    def _refuse(self, record: message.Refusal) -> None:
        self.message.refusals.append(record)

    def _artifacts(self) -> None:
        """Read the provenance of artifacts into the message, with its container path as key."""
        step, task = f"{self.flags.metadata_dir}/artifacts", f"{self.tekton}/artifacts"
        for folder, kind in ((step, message.STEP_ARTIFACTS), (task, message.TASK_ARTIFACTS)):
            key = self.paths.restore(f"{folder}/provenance.json")
            try:
                found = read_result(folder, "provenance.json", message.INFLATED_BYTES)
            except RefusedError as error:
                self._refuse(message.refusal(key, kind, error.reason, error.size, None))
                continue
            if found is None:
                continue
            text, size = found
            if text is None:
                self._refuse(message.refusal(key, kind, message.TOO_LARGE, size, self.message.budget))
            else:
                self.message.artifacts.append((key, text, kind))

    def _write_message(self, status: int) -> bool:
        """Write the message and log omitted results; return whether there are any."""
        path = self.flags.termination_path
        found = read(path, _OWN_BYTES) if os.path.isfile(path) and not os.path.islink(path) else None  # noqa: PTH113, PTH114
        if found and found[0].strip():
            own = message.unpack(found[0])
            if own is None:
                say("The termination file holds something that is no message of results; it is overwritten")
            self.message.own = own or []
        if status == 0:
            # The command succeeded: its container fails only because of the results.
            self.message.on_refusal = [("Reason", message.REFUSED, message.INTERNAL)]
        data = self.message.build()
        write_message(path, data)
        for record in self.message.refusals:
            say(_refusal_text(record))
        return bool(self.message.refusals)


_KINDS = {
    message.TASK_RESULT: "result",
    message.STEP_RESULT: "Step result",
    message.TASK_ARTIFACTS: "artifacts of the Task",
    message.STEP_ARTIFACTS: "artifacts of the Step",
}


def _refusal_text(record: message.Refusal) -> str:
    whose = _KINDS[int(record["type"])]
    if record["reason"] != message.TOO_LARGE:
        return f'{whose} "{record["name"]}" is refused: {record["reason"]}'
    return (
        f'{whose} "{record["name"]}" has {record["bytes"]} bytes and does not fit into the termination '
        f"message, which may have {record['limit']} bytes"
    )


def _now() -> str:
    """Return the time in RFC 3339 with milliseconds in UTC, as Tekton's entrypoint writes it."""
    now = time.time()
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03d}Z"
