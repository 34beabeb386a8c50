"""Stores that the tests run on: a folder, and a real S3 server; each test below a prefix of its own."""

import itertools
import os
import sys
from pathlib import Path

import pytest

# Test files are no packages: what they share is found here.
sys.path.insert(0, str(Path(__file__).parent))

from places import Place
from s3server import S3Server

_numbers = itertools.count()


@pytest.fixture(scope="session")
def s3server(tmp_path_factory):
    server = S3Server(tmp_path_factory.mktemp("s3"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.env.items():
            patch.setenv(name, value)
        server.wait()
    yield server
    server.stop()


@pytest.fixture
def s3(s3server, monkeypatch):
    for name, value in s3server.env.items():
        monkeypatch.setenv(name, value)
    url = f"s3://results/{os.getpid()}-{next(_numbers)}"
    return Place(url, dict(s3server.options), s3server.env)


@pytest.fixture
def folder(tmp_path):
    return Place(f"file://{tmp_path}/a%20store", {}, {})


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.slow)])
def place(request):
    return request.getfixturevalue(request.param)
