"""The state of the results server has the requests in progress, and nothing that clients chose freely."""

import asyncio

from prometheus_client import CollectorRegistry

from resultsfw.server.connections import Connections
from resultsfw.server.metrics import Metrics
from resultsfw.server.middleware import RequestMiddleware
from resultsfw.server.usage import Usage


def test_requests_in_progress_are_listed_without_invalid_paths():
    metrics = Metrics(CollectorRegistry(), lambda: 0, Connections(1, 1), Usage())
    seen = []

    async def app(scope, _receive, _send):
        scope["path_params"] = {"namespace": "n", "run": "uid"}
        scope["state"] = {"code": scope.pop("refusal", "")}
        seen.extend(middleware.running())

    middleware = RequestMiddleware(app, metrics)
    for more in ({}, {"refusal": "BadRequest"}):
        scope = {"type": "http", "method": "PUT", "path": "/v1/x", "headers": [], **more}
        asyncio.run(middleware(scope, None, None))
    assert [(verb, parts) for verb, parts, _ in seen] == [
        ("put", {"namespace": "n", "run": "uid"}),
        ("put", {}),
    ]
    assert middleware.running() == []
