"""By reference: what a status carries in place of a value, how long it leads somewhere, and what it gives."""

import hashlib
import re
from dataclasses import dataclass, replace
from typing import Final

from resultsfw.core import ResultsManager
from resultsfw.errors import CorruptError, NotFoundError, ResultsError
from resultsfw.references import format_reference, read_reference
from resultsfw.tekton.spec.param_files import PARAMS_DIR
from resultsfw.testing.base import Base, Runs
from resultsfw.testing.damage import DAMAGE
from resultsfw.testing.judging import breach, closed, must_be_true, must_be_verdict
from resultsfw.testing.tasks import MARK, Write
from resultsfw.testing.world import Life, World
from resultsfw.types import Reference

__all__ = ["ReferenceCases"]

GIVEN: Final = "by reference: the status says what the value is, and dereference gives it, byte for byte"
CORRUPT: Final = "by reference: what is not as it was stored is noticed, and never handed out as whole"
KEPT: Final = "by reference: the value is there as long as its run, and gone with it"
OPEN: Final = "by reference: a reference stands in a status that many may read, and opens nothing"

_SIZE: Final = 2_500_000
"""Bytes: more than one API object holds."""

_CREDENTIALS: Final = re.compile(
    r"://[^/@]*@|[?&](sig|signature|token|se|sp|x-amz-[a-z-]+|x-goog-[a-z-]+|awsaccesskeyid|googleaccessid)=",
    re.IGNORECASE,
)
_SECRET_OPTION: Final = re.compile(r"secret|passw|token|key|credential", re.IGNORECASE)
_LONG_ENOUGH: Final = 6
"""Characters of an option's value that can be told from chance."""


class ReferenceCases(Base):
    """Open to backends with ``delivery="reference"``."""

    def test_beyond_one_object(self, world: World, runs: Runs) -> None:
        """A value larger than one API object arrives as a reference to it, and is given back."""
        life, reference = _large(world, runs)
        wrong = []
        content = life.writes[0].content or b""
        if reference.backend != world.name:
            wrong.append(f'backend is "{reference.backend}", not "{world.name}"')
        if reference.size != len(content):
            wrong.append(f"size is {reference.size}, written were {len(content)} bytes")
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if reference.digest != digest:
            wrong.append(f"digest is {reference.digest}, that of the value is {digest}")
        if read_reference(format_reference(reference)) != reference:
            wrong.append("it does not survive a status")
        if wrong:
            breach(GIVEN, "; ".join(wrong))
        given = b"".join(world.core().dereference(reference, world.cluster))
        if given != content:
            breach(
                GIVEN, f"dereference gives {len(given)} bytes that are not the {len(content)} written ones"
            )

    def test_restart_before_dereference(self, world: World, runs: Runs) -> None:
        """Who dereferences is another process than the one that collected, and has only the status."""
        life, reference = _large(world, runs)
        if _bytes(world.restarted(), world, reference) != life.writes[0].content:
            breach(GIVEN, "a process that was just started gets other bytes")

    def test_changed_reference(self, world: World, runs: Runs) -> None:
        """A reference with another digest or size, or that leads elsewhere, gives an error."""
        _, reference = _large(world, runs)
        for what, changed in (
            ("another digest", replace(reference, digest=f"sha256:{'0' * 64}")),
            ("another size", replace(reference, size=reference.size - 1)),
            ("a larger size", replace(reference, size=reference.size + 1)),
            ("another location", replace(reference, location=f"{reference.location}-not-there")),
            ("a location outside", replace(reference, location="../../../../etc/passwd")),
            ("no location", replace(reference, location="")),
        ):
            try:
                given = _bytes(world.core(), world, changed)
            except ResultsError as error:
                if "failed in dereference" in error.message:
                    breach(CORRUPT, f"{what}: dereference raised {type(error.__cause__).__name__}")
            else:
                breach(CORRUPT, f"{what}: dereference gives {len(given)} bytes without a word")

    def test_damaged_store(self, world: World, runs: Runs) -> None:
        """What is kept is damaged: dereference says so."""
        life, reference = _large(world, runs)
        kept = world.external_state
        if kept is None:
            closed(
                'external_state="elsewhere"', 'give a fixture "backend_outside" to show what is kept there'
            )
        content = life.writes[0].content or b""
        mine = [key for key in life.added if kept.get(key) == content]
        if not mine:
            closed("backend_outside", "no entry of it is the value as it was written")
        for key in mine:
            for kind in ("cut", "bit-flipped", "nul-bytes", "nothing"):
                damaged = next(iter(DAMAGE[kind](content, b"")))
                kept[key] = damaged
                try:
                    given = _bytes(world.core(), world, reference)
                except CorruptError:
                    continue
                except ResultsError as error:
                    breach(CORRUPT, f"{kind}: {type(error).__name__} instead of CorruptError: {error}")
                finally:
                    kept[key] = content
                breach(CORRUPT, f"{kind}: dereference gives {len(given)} bytes without a word")

    def test_another_namespace(self, world: World, runs: Runs) -> None:
        """What a run left is read on behalf of its own namespace, and of no other."""
        life, reference = _large(world, runs)
        given = world.core().dereference(reference, world.cluster, namespace=life.run.namespace)
        if b"".join(given) != life.writes[0].content:
            breach(OPEN, "on behalf of the namespace whose run left it, dereference gives other bytes")
        try:
            b"".join(world.core().dereference(reference, world.cluster, namespace="another"))
        except ResultsError:
            return
        breach(OPEN, 'dereference gives a value to namespace "another" that it has no part in')

    def test_placed_as_a_file(self, world: World, runs: Runs) -> None:
        """The next Task has the value as a file, byte for byte; with another it does not run."""
        _, reference = _large(world, runs)
        if not world.core().can_place_files(reference):
            closed("place_files", "it places no files")
        copy = _Copy(name="large", size=_SIZE)
        user = world.prepare([copy], params={"large": reference})
        world.start(user)
        world.follow(user)
        if _reference(world, user).digest != reference.digest:
            breach(GIVEN, "the file that a Task is given has other bytes than the value")
        wrong = replace(reference, digest=f"sha256:{'0' * 64}")
        try:
            user = world.prepare([copy], params={"large": wrong})
        except ResultsError:
            return
        world.start(user)
        world.follow(user)
        outcome = world.collect(user)
        if outcome.collected is not None and any(one.name == "large" for one in outcome.collected.results):
            breach(CORRUPT, "a Task ran with a file that is not what its reference says")

    def test_no_credentials_in_a_reference(self, world: World, runs: Runs) -> None:
        """Neither user and password, nor a signature, nor a secret option of the backend's."""
        _, reference = _large(world, runs)
        location = reference.location
        if found := _CREDENTIALS.search(location):
            breach(OPEN, f"its location has {found[0]!r} in it")
        for name, option in world.config.items():
            secret = isinstance(option, str) and len(option) >= _LONG_ENOUGH and _SECRET_OPTION.search(name)
            if secret and option in location:
                breach(OPEN, f'its location has the option "{name}" in it')

    def test_kept_until_the_run_is_deleted(self, world: World) -> None:
        """The value outlives its pod and the verdict, and goes when the run does."""
        _skip(world)
        life = world.ended([Write(name="large", size=_SIZE)])
        reference = _reference(world, life)
        world.purge(life, deleted=False)
        if _bytes(world.core(), world, reference) != life.writes[0].content:
            breach(KEPT, "the run is over and not deleted, and the value is not there any more")
        world.purge(life, deleted=True)
        try:
            given = _bytes(world.core(), world, reference)
        except NotFoundError:
            return
        except ResultsError as error:
            breach(
                KEPT, f"the run is deleted, and dereference raises {type(error).__name__}, not NotFoundError"
            )
        breach(KEPT, f"the run is deleted, and dereference gives {len(given)} bytes")

    def test_same_value_in_two_runs(self, world: World) -> None:
        """Two runs write the same bytes: purging one leaves the other its own."""
        _skip(world)
        same = [Write(name="large", size=_SIZE), Write(name="small", data=MARK.encode())]
        lives = [world.prepare(same), world.prepare(same)]
        world.start(*lives)
        world.follow(*lives)
        references = [_reference(world, life) for life in lives]
        world.purge(lives[0], deleted=True)
        if _bytes(world.core(), world, references[1]) != same[0].content:
            breach(KEPT, "purging one run took away what another one's status refers to")
        world.purge(lives[1], deleted=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copy(Write):
    """A result with what stands in the file of a parameter of its name."""

    def script(self) -> str:
        """The line that copies it."""
        return f'cat "{PARAMS_DIR}/{self.name}" > "$(results.{self.name}.path)"'


def _skip(world: World) -> None:
    if world.capabilities.delivery != "reference":
        closed('delivery="value"', "it hands out no references")
    limit = world.capabilities.result_bytes
    if limit is not None and limit < _SIZE:
        closed(f"result_bytes={limit}", "a value fits into one API object")


def _large(world: World, runs: Runs) -> tuple[Life, Reference]:
    _skip(world)
    life = runs(
        "large", [Write(name="large", size=_SIZE), Write(name="small", data=f"small {MARK}".encode())]
    )
    return life, _reference(world, life)


def _reference(world: World, life: Life) -> Reference:
    """What the large value's result carries."""
    collected = must_be_verdict(GIVEN, outcome := world.collect(life))
    must_be_true(GIVEN, world, life, outcome)
    value = next(one.value for one in collected.results if one.name == "large")
    if not isinstance(value, Reference):
        breach(GIVEN, f"a value of {_SIZE} bytes arrives itself: no API object holds it")
    return value


def _bytes(core: ResultsManager, world: World, reference: Reference) -> bytes:
    return b"".join(core.dereference(reference, world.cluster))
