"""Transports inform the signer of the digest of what they deliver, and of nothing that they refuse."""

import hashlib

import pytest

from resultsfw_sidecar import wire
from resultsfw_sidecar.files import RefusedError
from resultsfw_sidecar.program import Sidecar
from resultsfw_sidecar.results import declared
from resultsfw_sidecar.settings import Environment, Flags
from resultsfw_sidecar.transports import LogTransport, Unsigned
from resultsfw_signing import transport as signing_transport
from resultsfw_transports.stored import ENV_INLINE, ENV_JSON, StoringTransport


def sha(value):
    return hashlib.sha256(value).hexdigest()


class Recorder(Unsigned):
    """Records its calls."""

    def __init__(self):
        super().__init__()
        self.found = {}

    def deliver(self, result, value):
        self.store(result, size=len(value), digest=sha(value))

    def store(self, result, *, size, digest, encrypted=False):
        self.found[result.name] = (size, digest, encrypted)

    def leave_out(self, result):
        self.found[result.name] = "absent"

    def refuse(self, result, reason):
        self.found[result.name] = reason


class Storing(StoringTransport):
    """Stores values nowhere, and keeps their bytes."""

    def open(self, environment, stop):
        super().open(environment, stop)
        self.stored = {}

    def store(self, result, file, size, digest):  # noqa: ARG002
        self.stored[result.name] = b"".join(file.pieces())
        return f"store/{digest}"


class Encryptor:
    """Gives each value the same key, sealed."""

    def value(self):
        return b"k" * 32, "sealed"


class Full(LogTransport):
    """Has no room for any value."""

    def record(self, result, value):  # noqa: ARG002
        raise RefusedError(wire.TRANSPORT_FULL, "no room")


@pytest.fixture
def collect(tmp_path):
    """Lets a transport collect results of these values; returns the calls of the signer."""

    def run(transport, *, encryptor=None, total=100, **values):
        for name, value in values.items():
            if value is not None:
                (tmp_path / name).write_bytes(value)
        variables = {ENV_INLINE: "4", ENV_JSON: "[]", wire.ENV_WIRE: "2", wire.ENV_MAX_RESULT_SIZE: "50"}
        variables[wire.ENV_MAX_RUN_SIZE] = str(total)
        environment = Environment({key.encode(): value.encode() for key, value in variables.items()})
        sidecar = Sidecar(environment.variables, None)
        sidecar._transport = transport
        transport.signer = Recorder()
        transport.open(environment, None)
        transport._encryptor = encryptor
        transport.output._file = -1  # nothing is flushed
        transport.output.flush = lambda: None
        names = ",".join(values).encode()
        for result in declared(b"/none", Flags([b"-results-dir", bytes(tmp_path), b"-result-names", names])):
            sidecar._pass_on(result)
        return transport.signer.found

    return run


def test_values_in_the_log_have_their_own_digest(collect):
    found = collect(LogTransport(), a=b"", b="é".encode(), absent=None, large=b"x" * 51, latin=b"\xff")
    assert found == {
        "a": (0, sha(b""), False),
        "b": (2, sha("é".encode()), False),
        "absent": "absent",
        "large": "TooLarge",
        "latin": "NotUtf8",
    }


def test_a_value_for_which_a_transport_has_no_room_is_refused(collect):
    assert collect(Full(), a=b"value") == {"a": "TransportFull"}


def test_a_reference_has_the_digest_of_what_is_stored(collect):
    transport = Storing()
    found = collect(transport, small=b"1234", large=b"12345")
    assert transport.stored == {"large": b"12345"}
    assert found == {"small": (4, sha(b"1234"), False), "large": (5, sha(b"12345"), False)}


def test_an_encrypted_reference_has_the_size_of_the_value_and_the_digest_of_what_is_stored(collect):
    transport = Storing()
    found = collect(transport, encryptor=Encryptor(), large=b"12345")
    assert transport.stored["large"] != b"12345"
    assert found == {"large": (5, sha(transport.stored["large"]), True)}


@pytest.mark.parametrize("held", [4, 100])
def test_a_container_that_only_signs_refuses_what_the_results_sidecar_refuses(collect, monkeypatch, held):
    monkeypatch.setattr(signing_transport, "HELD", held)
    values = {
        "a": b"12345",
        "none": None,
        "large": b"x" * 51,
        "latin": b"12345\xff",
        "b": b"67890",
        "c": b"1",
    }
    found = collect(signing_transport.Transport(), total=9, **values)
    assert found == {
        "a": (5, sha(b"12345"), False),
        "none": "absent",
        "large": "TooLarge",
        "latin": "NotUtf8",
        "b": "RunTooLarge",
        "c": (1, sha(b"1"), False),
    }
    assert found == collect(LogTransport(), total=9, **values)


class Changing:
    """A file that is written to while it is read the first times."""

    def __init__(self, *contents):
        self.contents = list(contents)

    def pieces(self):
        yield self.contents.pop(0) if len(self.contents) > 1 else self.contents[0]

    def changing(self):
        return RefusedError(wire.UNREADABLE, "still being written")


def test_only_what_was_read_twice_alike_is_signed():
    measure = signing_transport._measured_twice
    assert measure(Changing(b"a", b"b", b"c", b"d")) == (1, sha(b"d"))
    with pytest.raises(RefusedError):
        measure(Changing(*(b"%d" % number for number in range(20))))
