"""Cached reviews of tokens and permissions."""

import threading

import pytest

from resultsfw.cluster import Object
from resultsfw.errors import UnavailableError
from resultsfw.server.refusals import RefusalError
from resultsfw.server.review import AUDIENCE, ClusterReviewer, Identity


class Reviewing:
    """A cluster that counts reviews, and answers when it may."""

    def __init__(self):
        self.asked = 0
        self.known = set()
        self.may = threading.Event()
        self.may.set()
        self.began = threading.Semaphore(0)

    def create(self, kind, obj) -> Object:
        self.asked += 1
        self.began.release()
        self.may.wait(60)
        spec = obj["spec"]
        if kind.kind == "TokenReview":
            good = spec["token"] in self.known
            return {"status": {"authenticated": good, "audiences": [AUDIENCE], "user": {"username": "u"}}}
        return {"status": {"allowed": False}}


def test_the_refusal_of_a_token_is_cached():
    cluster = Reviewing()
    reviewer = ClusterReviewer(cluster)
    assert [reviewer.review("forged") for _ in range(5)] == [None] * 5
    assert cluster.asked == 1
    assert reviewer.known("forged") == (True, None)
    assert reviewer.known("another") == (False, None)


def test_refused_tokens_do_not_evict_valid_ones_and_are_limited():
    cluster = Reviewing()
    cluster.known.add("good")
    reviewer = ClusterReviewer(cluster)
    assert reviewer.review("good") == Identity(username="u")
    for number in range(3000):
        reviewer.review(f"forged-{number}")
    before = cluster.asked
    assert reviewer.review("good") == Identity(username="u")
    assert cluster.asked == before
    assert len(reviewer._unknown._kept) <= 1024
    assert not [key for key in (*reviewer._unknown._kept, *reviewer._identities._kept) if "o" in key]


def test_the_refusal_of_a_permission_is_cached():
    cluster = Reviewing()
    reviewer = ClusterReviewer(cluster)
    assert [reviewer.allows(Identity(username="u"), "get", "ns") for _ in range(5)] == [False] * 5
    assert cluster.asked == 1


def test_concurrent_reviews_of_one_token_are_one_request_and_share_its_failure():
    cluster = Reviewing()
    reviewer = ClusterReviewer(cluster)
    cluster.may.clear()
    heard = []

    def review():
        try:
            heard.append(reviewer.review("token"))
        except RefusalError as error:
            heard.append(error.code)

    threads = [threading.Thread(target=review) for _ in range(5)]
    for one in threads:
        one.start()
    assert cluster.began.acquire(timeout=60)

    def fail(kind, obj):
        raise UnavailableError("away", subject=kind.kind)

    cluster.may.set()
    for one in threads:
        one.join(60)
    assert heard == [None] * 5
    assert cluster.asked == 1
    cluster.create = fail
    with pytest.raises(RefusalError):
        reviewer.review("other")
    assert reviewer.known("other") == (False, None)  # a failure is no refusal
