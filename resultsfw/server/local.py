"""Authenticate the local engine's tokens, and print the flags that make the local engine use this server."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from resultsfw.local import tokens
from resultsfw.server.review import Identity

__all__ = ["LocalReviewer", "flags_for"]

_POD_UID = "authentication.kubernetes.io/pod-uid"


class LocalReviewer:
    """Accepts the local engine's tokens. They are not signed, so this is for one's own machine only.

    Args:
        audience: The audience that a token must have.
    """

    def __init__(self, audience: str) -> None:
        self._audience = audience

    def review(self, token: str) -> Identity | None:
        """See `resultsfw.server.review.Reviewer`."""
        known = tokens.read(token)
        if known is None or known.audience != self._audience:
            return None
        extra = {_POD_UID: (known.pod_uid,)} if known.pod_uid else {}
        return Identity(username=known.user, extra=extra)

    def known(self, token: str) -> tuple[bool, Identity | None]:
        """See `resultsfw.server.review.Reviewer`."""
        return True, self.review(token)

    def allows(self, identity: Identity, verb: str, namespace: str) -> bool:  # noqa: ARG002 - all or nothing
        """See `resultsfw.server.review.Reviewer`; a client that is not a pod is the engine itself."""
        return not identity.pod_uid


@contextlib.contextmanager
def flags_for(url: str, audience: str) -> Iterator[str]:
    """Yield a ConfigMap ``feature-flags`` for ``resultsfw run``; its token file exists within the context."""
    me = tokens.Token(
        namespace="resultsfw", service_account="resultsfw-controller", pod="", pod_uid="", audience=audience
    )
    with tempfile.TemporaryDirectory(prefix="resultsfw-server-") as folder:
        token = Path(folder, "token")
        token.touch(mode=0o600)
        token.write_text(tokens.make(me))
        config = yaml.safe_dump({"url": url, "audience": audience, "token-file": os.fspath(token)})
        manifest = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "feature-flags"},
            "data": {"results-from": "http", "config.http": config},
        }
        yield yaml.safe_dump(manifest, sort_keys=False)
