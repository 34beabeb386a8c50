"""What Tekton's entrypoint does in a Step's container, from waiting for its turn to the last message.

The order is Tekton's (pkg/entrypoint/entrypointer.go), but that results are read before the next Step is
released and not after. A result that is refused fails this Step and no other, as there: the post file says
how the command ended.
"""

import os
import sys
import time

from . import child, message, references, waiting
from .files import NOT_UTF8, RefusedError, read, read_result, write, write_message
from .flags import TERMINATION_MESSAGE, Flags, FlagsError, parse
from .paths import Paths, decode, localized
from .preparing import PrepareError, prepare
from .when import WhenError, allows

ENV_ROOT = "RESULTSFW_TEKTON_ROOT"
ENV_BUDGET = "RESULTSFW_MESSAGE_BUDGET"
ENV_PATHS = "RESULTSFW_PATHS"
ENV_SCRATCH = "RESULTSFW_SCRATCH"
_OURS = (ENV_ROOT, ENV_BUDGET, ENV_PATHS, ENV_SCRATCH)

FAILED, USAGE, CANCELLED, SIGNALLED = 1, 2, 9, 255
_OWN_BYTES = 1 << 20  # of a termination file that a Step wrote into; more is not parsed


def main(arguments: list[str]) -> int:
    """The entrypoint on these arguments and this process's environment; returns the exit status."""
    try:
        flags, rest = parse(arguments)
    except FlagsError as error:
        say(str(error))
        return USAGE
    tekton = os.environ.get(ENV_ROOT) or "/tekton"
    if rest:
        try:
            say(prepare(rest, tekton))
        except (PrepareError, OSError) as error:
            say(f"{rest[0]} error: {error}")
            return FAILED
        return 0
    return Step(flags, tekton).run()


def say(text: str) -> None:
    """Tell a person, in the container's log."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


class End:
    """How a Step ended.

    Args:
        status: Exit status of its container; not 0: later Steps are skipped.
        exit_code: For the file of that name, which Tekton writes in some cases only.
        ran: Whether it was to run at all.
    """

    def __init__(self, status: int, exit_code: str = "", *, ran: bool = True) -> None:
        self.status = status
        self.exit_code = exit_code
        self.ran = ran


class Step:
    """One Step on its way.

    Args:
        flags: What to do.
        tekton: The folder that stands for ``/tekton``.
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
        for name in _OURS:
            self.environment.pop(name, None)

    def run(self) -> int:
        """Wait, run, tell; returns the exit status."""
        try:
            status = self._go()
        except Exception as error:  # noqa: BLE001 - without a post file the next Steps would wait for ever
            say(f"Error executing command: {error}")
            self._post(failed=True)
            status = FAILED
        try:
            refused = self._write_message(status)
        except (OSError, RefusedError) as error:
            say(f"Error while writing message: {error}")
            return FAILED
        return status or (FAILED if refused else 0)

    def _go(self) -> int:
        flags = self.flags
        if flags.metadata_dir:
            for folder in ("results", "artifacts"):
                os.makedirs(f"{flags.metadata_dir}/{folder}", exist_ok=True)  # noqa: PTH103
        try:
            for file in flags.wait_files:
                waiting.wait_for(file, content=flags.wait_content)
        except waiting.SkipError:
            self._post(failed=True)
            self._internal("StartedAt", _now())
            self._internal("Reason", "Skipped")
            say("Skipping step because a previous step failed")
            return FAILED
        self._internal("StartedAt", _now())
        end = self._execute()
        if end.ran and flags.result_from == TERMINATION_MESSAGE:
            # While no other Step runs: Tekton reads after the next one was released, which may be writing.
            self._collect(f"{self.tekton}/results", flags.results, message.TASK_RESULT)
            self._collect(f"{flags.metadata_dir}/results", flags.step_results, message.STEP_RESULT)
            self._artifacts()
        if end.exit_code and flags.metadata_dir:
            write(f"{flags.metadata_dir}/exitCode", end.exit_code)
        self._post(failed=end.status != 0)
        return end.status

    def _execute(self) -> "End":
        """Run the command; how that ended."""
        flags = self.flags
        try:
            if not allows(flags.when, f"{self.tekton}/steps"):
                say("Step was skipped due to when expressions were evaluated to false.")
                self._internal("Reason", "Skipped")
                return End(0, "0", ran=False)
            code = self._run(self._substituted())
        except child.CancelledError:
            say("Step was cancelled")
            self._internal("Reason", "Cancelled")
            return End(CANCELLED, "killed")
        except child.TimeoutExceededError:
            say(f"Step ran longer than its timeout of {flags.timeout:g} s")
            self._internal("Reason", "TimeoutExceeded")
            return End(FAILED)
        except (child.StartError, WhenError) as error:
            say(str(error))
            return End(error.status if isinstance(error, child.StartError) else FAILED)
        if code == 0 or flags.on_error == "continue":
            if code:
                self._internal("ExitCode", str(code))
            return End(0, str(code))
        return End(code if code > 0 else SIGNALLED)

    def _run(self, command: list[str]) -> int:
        if self.flags.timeout < 0:
            raise child.StartError("negative timeout specified", FAILED)
        if not command:
            return 0
        scripts = f"{self.tekton}/scripts"
        file = localized(command[0], scripts, self.scratch, self.paths) if self.scratch else command[0]
        return child.run(
            [file, *command[1:]], self.environment, self.flags.timeout, f"{self.tekton}/downward/cancel"
        )

    def _substituted(self) -> list[str]:
        """The command with Step results put in.

        Raises:
            StartError: One is not there. Tekton's entrypoint logs it and runs the command as it is written,
                which a shell reads as another one.
        """
        try:
            references.in_environment(self.environment, f"{self.tekton}/steps")
            return references.in_command(self.flags.command, f"{self.tekton}/steps")
        except references.UnresolvedError as error:
            raise child.StartError(f"The Step's command needs a Step result: {error}", FAILED) from error

    def _post(self, *, failed: bool) -> None:
        if self.flags.post_file:
            write(self.flags.post_file + (".err" if failed else ""))

    def _internal(self, key: str, value: str) -> None:
        self.message.internal.append((key, value, message.INTERNAL))

    def _collect(self, folder: str, names: list[str], kind: int) -> None:
        """Take results from their files into the message; nothing is read of one that cannot fit."""
        limit = self.message.budget
        most = message.INFLATED_BYTES if self.flags.compress else limit
        for name in names:
            try:
                found = read_result(folder, name, most)
            except RefusedError as error:
                limit_told = limit if error.reason == NOT_UTF8 else None
                self._refuse(message.refusal(name, kind, error.reason, error.size, limit_told))
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
        """Provenance of artifacts, under the path a container would have it at."""
        step, task = f"{self.flags.metadata_dir}/artifacts", f"{self.tekton}/artifacts"
        for folder, kind in ((step, message.STEP_ARTIFACTS), (task, message.TASK_ARTIFACTS)):
            try:
                found = read_result(folder, "provenance.json", message.INFLATED_BYTES)
            except RefusedError as error:
                say(f"Error while handling artifacts: {folder}/provenance.json: {error.reason}")
                continue
            if found and found[0] is not None:
                key = self.paths.restore(f"{folder}/provenance.json")
                self.message.artifacts.append((key, found[0], kind))

    def _write_message(self, status: int) -> bool:
        """Write the message; whether anything had to be left out, which a person is told."""
        path = self.flags.termination_path
        found = read(path, _OWN_BYTES) if os.path.isfile(path) and not os.path.islink(path) else None  # noqa: PTH113, PTH114
        if found and found[0].strip():
            own = message.unpack(found[0])
            if own is None:
                say("The termination file holds something that is no message of results; it is overwritten")
            self.message.own = own or []
        if status == 0:
            # The Step itself did well: that its container fails is for the results alone.
            self.message.on_refusal = [("Reason", message.REFUSED, message.INTERNAL)]
        data = self.message.build()
        write_message(path, data)
        for record in self.message.refusals:
            say(_told(record))
        return bool(self.message.refusals)


def _told(record: message.Refusal) -> str:
    whose = "result" if record["type"] == message.TASK_RESULT else "Step result"
    if record["reason"] != message.TOO_LARGE:
        return f'{whose} "{record["name"]}" is refused: {record["reason"]}'
    return (
        f'{whose} "{record["name"]}" has {record["bytes"]} bytes and does not fit into the termination '
        f"message, which may have {record['limit']} bytes"
    )


def _now() -> str:
    """RFC 3339 with milliseconds, as Tekton's entrypoint writes it in a container, whose zone is UTC."""
    now = time.time()
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03d}Z"
