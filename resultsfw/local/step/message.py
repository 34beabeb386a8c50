"""Makes the termination message: Tekton's JSON, and by name what does not fit into it."""

import json

TYPE_CHECKING = False  # typing costs 3 ms
if TYPE_CHECKING:
    from collections.abc import Callable

TASK_RESULT, INTERNAL, STEP_RESULT, STEP_ARTIFACTS, TASK_ARTIFACTS = 1, 3, 4, 5, 6

MESSAGE_BYTES = 4096
"""What the kubelet reads of a container's message, and what Tekton's entrypoint writes at most."""

COMPRESSED = b"tknz:"
INFLATED_BYTES = 131_072
"""What Tekton's controller lets a compressed message grow to (pkg/termination/write.go)."""

REFUSED = "ResultsRefused"
"""Key of the internal entry that names the results left out: a JSON list of
``{"name", "type", "bytes", "limit", "reason"}``, at its end ``{"more": N}`` when not all names fit."""

TOO_LARGE = "TooLarge"

_OLD_TYPES = {
    "TaskRunResult": TASK_RESULT,
    "InternalTektonResult": INTERNAL,
    "StepResult": STEP_RESULT,
    "StepArtifactsResult": STEP_ARTIFACTS,
    "TaskRunArtifactsResult": TASK_ARTIFACTS,
}
_UNKNOWN_TYPE = 10
_GO_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_NAMED = (TASK_RESULT, STEP_RESULT, STEP_ARTIFACTS, TASK_ARTIFACTS)
_ONE_NAME = 256  # bytes that the refusal of one result needs, if its name is not a long one
_TRIES = 64  # of single entries, where each try costs a compression

Entry = tuple[str, str, int]
"""Key, value, type."""

Refusal = dict[str, str | int]


def refusal(name: str, kind: int, reason: str, size: int | None, limit: int | None) -> Refusal:
    """The record of a result that was left out; sizes in bytes."""
    record: Refusal = {"name": name, "type": kind}
    if size is not None:
        record["bytes"] = size
    if limit is not None:
        record["limit"] = limit
    record["reason"] = reason
    return record


def go_json(value: object) -> str:
    """JSON as Go's ``encoding/json`` writes it, so that it is as long here as it is on a cluster."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for char, escape in _GO_ESCAPES.items():
        text = text.replace(char, escape)
    return text


def encode(entry: Entry) -> bytes:
    """One entry as the message holds it."""
    key, value, kind = entry
    body: dict[str, str | int] = {"key": key, "value": value}
    if kind:
        body["type"] = kind
    # A name or value of the Step's own making may hold half a surrogate pair.
    return go_json(body).encode("utf-8", "replace")


def pack(entries: list[bytes], *, compress: bool) -> bytes:
    """The message: a JSON array, or that compressed where it is smaller so and may be."""
    plain = b"[" + b",".join(entries) + b"]"
    if not compress or len(plain) > INFLATED_BYTES:
        return plain
    import binascii  # noqa: PLC0415 - for the few that compress
    import zlib  # noqa: PLC0415

    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = deflate.compress(plain) + deflate.flush()
    small = COMPRESSED + binascii.b2a_base64(packed, newline=False).rstrip(b"=")
    return small if len(small) < len(plain) else plain


def unpack(data: bytes) -> list[Entry] | None:
    """The entries of a message that is there already; ``None`` when it is not one."""
    try:
        if data.startswith(COMPRESSED):
            data = _inflate(data[len(COMPRESSED) :])
        entries = json.loads(data)
        if not isinstance(entries, list):
            return None
        return [_entry(one) for one in entries if one is not None]
    except (ValueError, RecursionError):
        return None


def _inflate(text: bytes) -> bytes:
    import binascii  # noqa: PLC0415 - for the few that compress
    import zlib  # noqa: PLC0415

    try:
        unpacked = zlib.decompressobj(-zlib.MAX_WBITS)
        plain = unpacked.decompress(binascii.a2b_base64(text + b"=" * (-len(text) % 4)), INFLATED_BYTES + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(plain) > INFLATED_BYTES or not unpacked.eof:
        raise ValueError("not a whole message")
    return plain


def _entry(one: object) -> Entry:
    """One entry as Go's decoder takes it: other fields are dropped, wrong types are errors."""
    if not isinstance(one, dict):
        raise ValueError("not an object")  # noqa: TRY004 - the caller waits for one kind of error
    key, value, kind = one.get("key", ""), one.get("value", ""), one.get("type", 0)
    if isinstance(kind, str):
        kind = _OLD_TYPES.get(kind, _UNKNOWN_TYPE)
    if not isinstance(key, str) or not isinstance(value, str) or type(kind) is not int:
        raise ValueError("not an entry")
    return key, value, kind


class Message:
    """A message in the making.

    Args:
        budget: Bytes it may have.
        compress: Whether it may be compressed.

    Attributes:
        own: Entries the Step wrote itself; they stand first, as in Tekton, and yield first.
        results: The results, in the order they are to be tried.
        internal: Entries of the entrypoint.
        on_refusal: More of them, if anything is left out.
        artifacts: Provenance of artifacts.
        refusals: Results left out; `build` adds to them.
    """

    def __init__(self, budget: int, *, compress: bool = False) -> None:
        self.budget = budget
        self.compress = compress
        self.own: list[Entry] = []
        self.results: list[Entry] = []
        self.internal: list[Entry] = []
        self.on_refusal: list[Entry] = []
        self.artifacts: list[Entry] = []
        self.refusals: list[Refusal] = []

    def build(self) -> bytes:
        """The message, within the budget whatever there is to say."""
        wanted = [*self.results, *self.artifacts, *self.own]
        encoded = [encode(one) for one in wanted]
        internal = [encode(one) for one in self.internal]
        kept = set(range(len(wanted)))
        if self.refusals or not self._fits(self._ordered(encoded, kept, internal)):
            # What is left out must be named, and the names take room from what is not: settle it in rounds.
            given = self.refusals
            internal += [encode(one) for one in self.on_refusal]
            while True:
                left = [one for place, one in enumerate(wanted) if place not in kept]
                self.refusals = [*given, *(self._too_large(one) for one in left if one[2] in _NAMED)]
                fit = self._choose(encoded, [*internal, *self._reserved(internal)])
                if not kept <= fit:
                    kept &= fit
                elif kept and not self._fits(self._ordered(encoded, kept, internal)):
                    # Compressed in another order, without the names, they may take more room than was seen.
                    kept.discard(max(kept))
                else:
                    break
        entries = self._ordered(encoded, kept, internal)
        while entries and not self._fits(entries):
            entries = entries[:-1]  # a budget too small for even the entrypoint's own entries
        names = self._names(lambda entry: self._fits([*entries, entry]))
        return pack([*entries, *names], compress=self.compress)

    def _ordered(self, encoded: list[bytes], kept: set[int], internal: list[bytes]) -> list[bytes]:
        """Entries as Tekton orders them: the Step's own, results, the entrypoint's, artifacts."""
        first, second = len(self.results), len(self.results) + len(self.artifacts)
        results = [encoded[place] for place in range(first) if place in kept]
        artifacts = [encoded[place] for place in range(first, second) if place in kept]
        own = [encoded[place] for place in range(second, len(encoded)) if place in kept]
        return [*own, *results, *internal, *artifacts]

    def _too_large(self, entry: Entry) -> Refusal:
        name, value, kind = entry
        return refusal(name, kind, TOO_LARGE, len(value.encode("utf-8", "replace")), self.budget)

    def _fits(self, entries: list[bytes]) -> bool:
        return len(pack(entries, compress=self.compress)) <= self.budget

    def _reserved(self, internal: list[bytes]) -> list[bytes]:
        """The names as far as they may take room from results: a quarter, but enough for one."""
        left = self.budget - len(pack([*internal, b""], compress=False))
        most = min(max(self.budget // 4, _ONE_NAME), left)
        return self._names(lambda entry: len(entry) <= most)

    def _names(self, fits: "Callable[[bytes], bool]") -> list[bytes]:
        """The entry with as many names as fit, and the number of the others; nothing if that is too much."""
        if not self.refusals:
            return []
        low, high = 0, len(self.refusals)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if fits(_refused_entry(self.refusals, middle)) else (low, middle - 1)
        entry = _refused_entry(self.refusals, low)
        return [entry] if fits(entry) else []

    def _choose(self, encoded: list[bytes], fixed: list[bytes]) -> set[int]:
        """Which entries fit beside those that must stand: the first ones first, later ones in the gaps."""
        chosen: set[int] = set()
        if not self.compress:
            room = self.budget - len(pack(fixed, compress=False))
            for place, data in enumerate(encoded):
                size = len(data) + bool(fixed or chosen)
                if size <= room:
                    room -= size
                    chosen.add(place)
            return chosen
        low, high = 0, len(encoded)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._fits([*encoded[:middle], *fixed]) else (low, middle - 1)
        chosen = set(range(low))
        for place in range(low, min(len(encoded), low + _TRIES)):
            if self._fits([*(encoded[one] for one in sorted(chosen)), encoded[place], *fixed]):
                chosen.add(place)
        return chosen


def _refused_entry(refusals: list[Refusal], count: int) -> bytes:
    listed: list[Refusal] = refusals[:count]
    if count < len(refusals):
        listed = [*listed, {"more": len(refusals) - count}]
    return encode((REFUSED, go_json(listed), INTERNAL))
