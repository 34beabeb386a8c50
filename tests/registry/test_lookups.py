"""Images are looked up on threads of their own; no namespace keeps another waiting, and nothing grows."""

import threading
from functools import partial

import pytest

from resultsfw.errors import ForbiddenError
from resultsfw.registry import lookups
from resultsfw.registry.cache import CommandCache
from resultsfw.registry.lookups import LookupPool, look_up_images
from resultsfw.tekton.pod.image_commands import ImageCommand, ImageCommands
from resultsfw.tekton.taskrun.image_lookup import ImageLookupError, ImageRequest

SECONDS = 30


def request(namespace="ns", name="run", images=("image",), secrets=lambda: ([], "")):
    return ImageRequest(namespace, name, f"{namespace}/{name}", images, secrets)


class Pool:
    """A pool whose lookups wait until a test lets them end."""

    def __init__(self, **options):
        self.began, self.ended = threading.Semaphore(0), threading.Semaphore(0)
        self.may_end = threading.Event()
        self.running, self.notified = [], []
        self.pool = LookupPool(self.look_up, self.notify, **options)

    def look_up(self, asked):
        self.running.append(asked.namespace)
        self.began.release()
        assert self.may_end.wait(SECONDS)
        return {"image": ImageCommands(asked.name)}

    def notify(self, namespace, name):
        self.notified.append((namespace, name))
        self.ended.release()


def test_an_answer_is_there_when_its_run_is_notified_and_is_given_once():
    held = Pool()
    assert held.pool.look_up(request()) is None
    assert held.pool.look_up(request()) is None  # known: not looked up twice
    held.may_end.set()
    assert held.ended.acquire(timeout=SECONDS)
    assert held.notified == [("ns", "run")]
    assert held.pool.look_up(request()) == {"image": ImageCommands("run")}
    assert held.pool.look_up(request()) is None
    assert held.ended.acquire(timeout=SECONDS)
    assert held.running == ["ns", "ns"]


def test_a_slow_registry_of_one_namespace_leaves_threads_to_others():
    held = Pool(threads=3, threads_of_namespace=2)
    for number in range(50):
        assert held.pool.look_up(request("slow", str(number))) is None
    assert held.pool.look_up(request("other")) is None
    for _ in range(3):
        assert held.began.acquire(timeout=SECONDS)
    assert sorted(held.running) == ["other", "slow", "slow"]
    held.may_end.set()


def test_requests_that_wait_are_bounded(monkeypatch):
    monkeypatch.setattr(lookups, "MOST_WAITING", 8)
    held = Pool(threads=1)
    for number in range(100):
        held.pool.look_up(request("a", str(number)))
    assert len(held.pool._known) <= 4
    for number in range(100):
        held.pool.look_up(request(f"ns{number}"))
    assert len(held.pool._known) == 8
    held.may_end.set()


def test_answers_that_nobody_asks_for_are_bounded(monkeypatch):
    monkeypatch.setattr(lookups, "MOST_ANSWERS", 3)
    held = Pool()
    held.may_end.set()
    for number in range(10):
        held.pool.look_up(request(name=str(number)))
    for _ in range(10):
        assert held.ended.acquire(timeout=SECONDS)
    assert len(held.pool._answers) == 3


@pytest.mark.parametrize("error", [ForbiddenError("no"), ImageLookupError("no"), ZeroDivisionError("bug")])
def test_an_error_reaches_the_run_that_asked_and_ends_no_thread(error):
    ended = threading.Semaphore(0)

    def fail(_):
        raise error

    pool = LookupPool(fail, lambda *_: ended.release(), threads=1)
    for _ in range(2):
        assert pool.look_up(request()) is None
        assert ended.acquire(timeout=SECONDS)
        with pytest.raises(ImageLookupError if isinstance(error, ZeroDivisionError) else type(error)):
            pool.look_up(request())


def test_the_secrets_of_a_request_open_its_registry(registry):
    registry.push("1", cmd=["c"])
    registry.login, registry.challenge = "Basic dTpodW50ZXIy", "Basic realm=x"
    config = f'{{"{registry.address}": {{"username": "u", "password": "hunter2"}}}}'
    secret = {"type": "kubernetes.io/dockercfg", "stringData": {".dockercfg": config}}
    look_up = partial(look_up_images, CommandCache(), wait=lambda _: None)
    image = f"{registry.name}:1"
    assert look_up(request(images=(image,), secrets=lambda: ([secret], "")))[image].platforms
    with pytest.raises(ImageLookupError) as raised:
        look_up(request("other", images=(image,), secrets=lambda: ([], "; and no right")))
    assert f'image "{image}" could not be looked up: GET http://' in raised.value.message
    assert raised.value.message.endswith("401 Unauthorized; and no right")
    with pytest.raises(
        ImageLookupError, match='image "No Name" could not be looked up: could not parse reference'
    ):
        look_up(request(images=("No Name",)))


def test_all_images_of_a_run_have_one_limit_of_time(registry, monkeypatch):
    monkeypatch.setattr(lookups, "REQUEST_SECONDS", 0.0)
    registry.push("1", cmd=["c"])
    with pytest.raises(ImageLookupError, match="could not be looked up: no answer within 0 s"):
        look_up_images(CommandCache(), request(images=(f"{registry.name}:1",)), wait=lambda _: None)


def test_a_private_image_is_known_in_its_namespace_only():
    cache, image = CommandCache(), ImageCommands("r.io/a@sha256:0", {"linux/amd64": ImageCommand(("/e",))})
    cache.put("mine", image)
    assert cache.get("mine", image.reference) is image
    assert cache.get("other", image.reference) is None


def test_the_cache_forgets_what_was_not_used_for_longest():
    cache = CommandCache(most=3, most_bytes=1000)
    for number in range(4):
        cache.put("ns", ImageCommands(f"i{number}"))
        cache.get("ns", "i0")
    assert [cache.get("ns", f"i{number}") is not None for number in range(4)] == [True, False, True, True]
    cache.put("ns", ImageCommands("large", {"p": ImageCommand(("x" * 995,))}))
    cache.put("ns", ImageCommands("large", {"p": ImageCommand(("x" * 995,))}))
    assert cache.get("ns", "large") is not None
    assert cache._bytes <= 1000
    assert len(cache._images) == 1
