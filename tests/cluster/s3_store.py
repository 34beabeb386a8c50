"""An S3 server on this machine for the pods of a cluster, and the Secret and options by which they use it."""

import base64
import os
import sys
from pathlib import Path

import pytest

from resultsfw import Kind

sys.path.append(str(Path(__file__).parents[1] / "object_store"))

from s3server import S3Server

SECRETS = Kind("", "v1", "secrets", "Secret")
HOST = os.environ.get("RESULTSFW_S3_HOST", "")
"""An address of this machine that pods reach."""


@pytest.fixture
def s3(tmp_path_factory, monkeypatch):
    server = S3Server(tmp_path_factory.mktemp("s3"), listen="0.0.0.0")  # noqa: S104 - pods come from elsewhere
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)  # the controller's own
    server.wait()
    yield server
    server.stop()


def create_secret(place, s3):
    """Creates the Secret with the credentials of the sidecar."""
    place.server.create(
        SECRETS,
        {
            "metadata": {"name": "store", "namespace": place.namespace},
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in s3.env.items()},
        },
    )


def options_of(s3):
    config = {
        "url": "s3://results/cluster",
        "options": {"endpoint": f"http://{HOST}:{s3.port}", "region": "us-east-1"},
        "secret": "store",
    }
    if image := os.environ.get("RESULTSFW_STORE_SIDECAR_IMAGE"):
        config["image"] = image
    return config
