"""The sidecar as a process that signs as the run's pod, and what it signed."""

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.hashes import SHA256

from resultsfw.testing.workload_api import ServedSvid
from resultsfw_signing import dsse, statement

SIDECAR = Path(__file__).parents[2] / "sidecar"
DOMAIN, POD = "example.org", "pod-uid"
RUN = {"namespace": "ns", "name": "build", "uid": "run-uid", "attempt": 0}
POD_ID = "spiffe://example.org/ns/ns/taskrun/build/pod/pod-uid"
RUN_ID = "spiffe://example.org/ns/ns/taskrun/build"
SPEC = "5" * 64


def served(credential, authority, name=POD_ID):
    """A credential as the Workload API serves it."""
    chain = (credential.der, *credential.intermediates_der)
    return ServedSvid(name, chain, credential.key_der, (authority.der,))


def signing(api, **changed):
    """The variable RESULTSFW_SIGNING."""
    keys = {"socket": api.address, "domain": DOMAIN, "run": RUN, "specDigest": SPEC, "wait": 20.0}
    return json.dumps({**keys, **changed})


def verified(envelope):
    """The statement of an envelope, after the signature was verified, and the SPIFFE ID of its signer."""
    parsed = json.loads(envelope)
    [signature] = parsed["signatures"]
    certificate = x509.load_der_x509_certificate(base64.b64decode(signature["certificate"]))
    payload = base64.b64decode(parsed["payload"])
    signed = dsse.signed_bytes(statement.PAYLOAD_TYPE, payload)
    verify(certificate, base64.b64decode(signature["sig"]), signed)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    [name] = names.get_values_for_type(x509.UniformResourceIdentifier)
    assert signature["keyid"] == name
    return json.loads(payload), name


def verify(certificate, signature, signed):
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, signed, ec.ECDSA(SHA256()))
    else:
        key.verify(signature, signed, padding.PKCS1v15(), SHA256())


class Pod:
    """A pod's folders, whose Steps have ended, and the sidecar as a process."""

    def __init__(self, root):
        self.root = root
        self.results = root / "results"
        self.message = root / "message"
        for folder in (self.results, root / "run/0/status/results", root / "steps", root / "artifacts"):
            folder.mkdir(parents=True)
        (root / "steps/step-build").symlink_to(root / "run/0/status")
        (root / "run/0/out").touch()
        self.message.touch()
        self.processes = []
        self.environment = {}

    def start(self, *names, flags=(), **variables):
        """Starts the sidecar; each variable without its prefix RESULTSFW_."""
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "resultsfw_sidecar", "-results-dir", self.results),
                *("-result-names", ",".join(names), *flags),
            ],
            env={
                "PYTHONPATH": str(SIDECAR),
                "PATH": os.environ["PATH"],
                **self.environment,
                "RESULTSFW_TEKTON_ROOT": str(self.root),
                "RESULTSFW_TERMINATION_LOG": str(self.message),
                "RESULTSFW_POD_UID": POD,
                **{f"RESULTSFW_{name}": value for name, value in ({"WIRE": "1"} | variables).items()},
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.processes.append(process)
        return process

    def records(self, process):
        """The records of a process that ended well, after the end record was checked."""
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err, self.message.read_text()) == (0, b"", "")
        *lines, last = out.splitlines(keepends=True)
        end = json.loads(last)
        assert (end["type"], end["count"]) == ("end", len(lines))
        assert end["sha256"] == hashlib.sha256(b"".join(lines)).hexdigest()
        return [json.loads(line) for line in lines]

    def close(self):
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.communicate()
