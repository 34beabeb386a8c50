"""Builds the termination message: Tekton's JSON, and the names of results that do not fit into it."""

import json

TYPE_CHECKING = False  # typing costs 3 ms
if TYPE_CHECKING:
    from collections.abc import Callable

TASK_RESULT, INTERNAL, STEP_RESULT, STEP_ARTIFACTS, TASK_ARTIFACTS = 1, 3, 4, 5, 6

MESSAGE_BYTES = 4096
"""Limit of a container's message: the kubelet reads no more, and Tekton's entrypoint writes no more."""

COMPRESSED = b"tknz:"
INFLATED_BYTES = 131_072
"""Limit of a decompressed message in Tekton's controller (pkg/termination/write.go)."""

REFUSED = "ResultsRefused"
"""Key of the internal entry that names omitted results: a JSON list of
``{"name", "type", "bytes", "limit", "reason"}``, which ends with ``{"more": N}`` if not all names fit."""

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
_REFUSAL_BYTES = 256  # bytes of the refusal of one result whose name is not long
_COMPRESSED_ATTEMPTS = 64  # single entries that are tried where each attempt costs a compression

Entry = tuple[str, str, int]
"""Key, value, type."""

Refusal = dict[str, str | int]


def refusal(name: str, kind: int, reason: str, size: int | None, limit: int | None) -> Refusal:
    """Return the record of an omitted result; sizes are in bytes."""
    record: Refusal = {"name": name, "type": kind}
    if size is not None:
        record["bytes"] = size
    if limit is not None:
        record["limit"] = limit
    record["reason"] = reason
    return record


def go_json(value: object) -> str:
    """Return JSON as Go's ``encoding/json`` writes it, so that it has the same length as on a cluster."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for char, escape in _GO_ESCAPES.items():
        text = text.replace(char, escape)
    return text


def encode(entry: Entry) -> bytes:
    """Return an entry as the message contains it."""
    key, value, kind = entry
    body: dict[str, str | int] = {"key": key, "value": value}
    if kind:
        body["type"] = kind
    # A name or value that the Step wrote may contain a lone surrogate.
    return go_json(body).encode("utf-8", "replace")


def pack(entries: list[bytes], *, compress: bool) -> bytes:
    """Return the message: a JSON array, or with ``compress`` its compressed form if that is smaller."""
    plain = b"[" + b",".join(entries) + b"]"
    if not compress or len(plain) > INFLATED_BYTES:
        return plain
    import binascii  # noqa: PLC0415 - few Steps compress
    import zlib  # noqa: PLC0415

    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = deflate.compress(plain) + deflate.flush()
    small = COMPRESSED + binascii.b2a_base64(packed, newline=False).rstrip(b"=")
    return small if len(small) < len(plain) else plain


def unpack(data: bytes) -> list[Entry] | None:
    """Return the entries of an existing message; ``None`` if it is not a message."""
    try:
        if data.startswith(COMPRESSED):
            data = _inflate(data[len(COMPRESSED) :])
        entries = json.loads(data)
        if not isinstance(entries, list):
            return None
        return [_entry(entry) for entry in entries if entry is not None]
    except (ValueError, RecursionError):
        return None


def _inflate(text: bytes) -> bytes:
    import binascii  # noqa: PLC0415 - few Steps compress
    import zlib  # noqa: PLC0415

    try:
        unpacked = zlib.decompressobj(-zlib.MAX_WBITS)
        plain = unpacked.decompress(binascii.a2b_base64(text + b"=" * (-len(text) % 4)), INFLATED_BYTES + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(plain) > INFLATED_BYTES or not unpacked.eof:
        raise ValueError("not a whole message")
    return plain


def _entry(decoded: object) -> Entry:
    """Return an entry as Go's decoder accepts it: other fields are dropped, wrong types are errors."""
    if not isinstance(decoded, dict):
        raise ValueError("not an object")  # noqa: TRY004 - the caller handles only ValueError
    key, value, kind = decoded.get("key", ""), decoded.get("value", ""), decoded.get("type", 0)
    if isinstance(kind, str):
        kind = _OLD_TYPES.get(kind, _UNKNOWN_TYPE)
    if not isinstance(key, str) or not isinstance(value, str) or type(kind) is not int:
        raise ValueError("not an entry")
    return key, value, kind


class Message:
    """Builds a message.

    Args:
        budget: Limit of the message in bytes.
        compress: Whether the message may be compressed.

    Attributes:
        own: Entries that the Step wrote itself; they come first, as in Tekton, and are omitted first.
        results: Results, in the order in which they are added.
        internal: Entries of the entrypoint.
        on_refusal: Further entries of the entrypoint if anything is omitted.
        artifacts: Provenance of artifacts.
        refusals: Omitted results; `build` adds to them.
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
        """Return the message, which is never over the budget."""
        wanted = [*self.results, *self.artifacts, *self.own]
        encoded = [encode(entry) for entry in wanted]
        internal = [encode(entry) for entry in self.internal]
        kept = set(range(len(wanted)))
        if self.refusals or not self._fits(self._ordered(encoded, kept, internal)):
            # Omitted results are named, and their names need space that other results then lack: iterate.
            given = self.refusals
            internal += [encode(entry) for entry in self.on_refusal]
            while True:
                omitted = [entry for index, entry in enumerate(wanted) if index not in kept]
                self.refusals = [*given, *(self._too_large(entry) for entry in omitted if entry[2] in _NAMED)]
                fit = self._choose(encoded, [*internal, *self._reserved(internal)])
                if not kept <= fit:
                    kept &= fit
                elif kept and not self._fits(self._ordered(encoded, kept, internal)):
                    # In another order and without the names, the entries may compress worse than before.
                    kept.discard(max(kept))
                else:
                    break
        entries = self._ordered(encoded, kept, internal)
        while entries and not self._fits(entries):
            entries = entries[:-1]  # the budget is too small even for the entrypoint's entries
        names = self._names(lambda entry: self._fits([*entries, entry]))
        return pack([*entries, *names], compress=self.compress)

    def _ordered(self, encoded: list[bytes], kept: set[int], internal: list[bytes]) -> list[bytes]:
        """Return entries in Tekton's order: the Step's own, results, the entrypoint's, artifacts."""
        first, second = len(self.results), len(self.results) + len(self.artifacts)
        results = [encoded[index] for index in range(first) if index in kept]
        artifacts = [encoded[index] for index in range(first, second) if index in kept]
        own = [encoded[index] for index in range(second, len(encoded)) if index in kept]
        return [*own, *results, *internal, *artifacts]

    def _too_large(self, entry: Entry) -> Refusal:
        name, value, kind = entry
        return refusal(name, kind, TOO_LARGE, len(value.encode("utf-8", "replace")), self.budget)

    def _fits(self, entries: list[bytes]) -> bool:
        return len(pack(entries, compress=self.compress)) <= self.budget

    def _reserved(self, internal: list[bytes]) -> list[bytes]:
        """Return the names that may displace results: up to a quarter of the budget, but at least one."""
        remaining = self.budget - len(pack([*internal, b""], compress=False))
        most = min(max(self.budget // 4, _REFUSAL_BYTES), remaining)
        return self._names(lambda entry: len(entry) <= most)

    def _names(self, fits: "Callable[[bytes], bool]") -> list[bytes]:
        """Return the entry with as many names as fit and the count of the others; none if it does not fit."""
        if not self.refusals:
            return []
        low, high = 0, len(self.refusals)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if fits(_refused_entry(self.refusals, middle)) else (low, middle - 1)
        entry = _refused_entry(self.refusals, low)
        return [entry] if fits(entry) else []

    def _choose(self, encoded: list[bytes], fixed: list[bytes]) -> set[int]:
        """Return the indexes of entries that fit beside the fixed ones: in order, later ones filling gaps."""
        chosen: set[int] = set()
        if not self.compress:
            remaining = self.budget - len(pack(fixed, compress=False))
            for index, data in enumerate(encoded):
                size = len(data) + bool(fixed or chosen)
                if size <= remaining:
                    remaining -= size
                    chosen.add(index)
            return chosen
        low, high = 0, len(encoded)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._fits([*encoded[:middle], *fixed]) else (low, middle - 1)
        chosen = set(range(low))
        for index in range(low, min(len(encoded), low + _COMPRESSED_ATTEMPTS)):
            if self._fits([*(encoded[index] for index in sorted(chosen)), encoded[index], *fixed]):
                chosen.add(index)
        return chosen


def _refused_entry(refusals: list[Refusal], count: int) -> bytes:
    listed: list[Refusal] = refusals[:count]
    if count < len(refusals):
        listed = [*listed, {"more": len(refusals) - count}]
    return encode((REFUSED, go_json(listed), INTERNAL))
