"""One store: what goes in comes out, all of a run goes, and errors say nothing that is secret."""

import http.server
import threading

import pytest
from s3server import KEY, SECRET

from resultsfw_transports import store as stores
from resultsfw_transports.store import PART, Store, StoreError

SIGNED = "http://h/x?X-Amz-Signature=deadbeef&sig=planted-sas"
LEAKS = ("deadbeef", "planted-sas", SECRET, KEY, "AWS4-HMAC")


class Faulty:
    """A server that answers every request with a status and a body that quotes secrets."""

    def __init__(self, status, code="Oops"):
        body = (
            f"<Error><Code>{code}</Code><Message>{SIGNED} {SECRET} {KEY} AWS4-HMAC</Message></Error>".encode()
        )

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_PUT = do_HEAD = do_POST = do_GET  # noqa: N815 - the server's names

            def log_message(self, *_args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self):
        self._thread.start()
        return {"endpoint": f"http://127.0.0.1:{self._server.server_port}", "region": "x"}

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join(60)
        self._server.server_close()


def pieces(data, size=300_000):
    return (data[at : at + size] for at in range(0, len(data), size))


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 2 * PART + 17])
def test_what_goes_in_comes_out(place, size):
    store, data = place.store(), bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    assert store.size("a/b/c") is None
    store.put("a/b/c", pieces(data) if size > PART else data)
    assert store.size("a/b/c") == size
    assert b"".join(store.pieces("a/b/c", size)) == data


def test_an_upload_that_is_given_up_leaves_nothing_to_be_read(place):
    store = place.store()

    def broken():
        yield from pieces(bytes(3 * PART))
        raise LookupError

    with pytest.raises(LookupError):
        store.put("a/b/c", broken())
    assert store.size("a/b/c") is None


def test_a_folder_goes_with_all_that_is_in_it_and_nothing_else(place, monkeypatch):
    monkeypatch.setattr(stores, "_LISTED", 2)
    store = place.store()
    for one in range(7):
        store.put(f"ns/run/{one}", b"x")
    store.put("ns/run-2/0", b"x")
    store.remove("ns/run")
    assert [store.size(f"ns/run/{one}") for one in range(7)] == [None] * 7
    assert store.size("ns/run-2/0") == 1
    store.remove("ns/run")
    store.remove("ns/never")


def test_two_may_remove_the_same(place):
    store = place.store()
    store.put("ns/run/1", b"x")
    store._delete(["ns/run/1", "ns/run/2"])
    assert store.size("ns/run/1") is None


def test_a_folder_goes_with_what_a_killed_upload_left(folder, tmp_path):
    store = folder.store()
    store.put("ns/run/1", b"x")
    left = tmp_path / "a store/ns/run/2#1"
    left.write_bytes(b"half")
    store.remove("ns/run")
    assert not left.exists()
    assert store.size("ns/run/1") is None


def test_a_folder_that_is_not_there_is_empty_and_is_made_only_to_be_filled(tmp_path):
    store = Store(f"file://{tmp_path}/none", {}, patience=1)
    assert store.size("ns/run/1") is None
    store.remove("ns/run")
    with pytest.raises(StoreError) as caught:
        store.put("ns/run/1", b"x")
    assert caught.value.kind == "missing"
    assert list(tmp_path.iterdir()) == []


def everything(store):
    """Every kind of request."""
    return {
        "size": lambda: store.size("a"),
        "put": lambda: store.put("a", b"x"),
        "parts": lambda: store.put("a", pieces(bytes(2 * PART))),
        "pieces": lambda: list(store.pieces("a", 1)),
        "remove": lambda: store.remove("a"),
    }


@pytest.mark.parametrize("request_", ["size", "put", "parts", "pieces", "remove"])
@pytest.mark.slow
def test_a_wrong_secret_is_forbidden(s3, request_, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-" + SECRET)
    with pytest.raises(StoreError) as caught:
        everything(s3.store())[request_]()
    assert caught.value.kind == "forbidden"
    assert str(caught.value).startswith("403 Forbidden")
    assert not [one for one in LEAKS if one in str(caught.value)]


@pytest.mark.parametrize(("status", "kind"), [(403, "forbidden"), (401, "forbidden"), (503, "unavailable")])
@pytest.mark.parametrize("request_", ["size", "put", "parts", "pieces", "remove"])
def test_what_a_server_says_is_not_repeated(monkeypatch, status, kind, request_):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with Faulty(status) as options, pytest.raises(StoreError) as caught:
        everything(Store("s3://b/p", options, patience=0.2))[request_]()
    assert caught.value.kind == kind
    said = f"{caught.value} {caught.value.__cause__}"
    assert str(status) in said
    assert not [one for one in LEAKS if one in said], said


def test_a_store_that_is_down_is_unavailable(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with Faulty(500) as options:
        pass
    for ask in everything(Store("s3://b/p", options, patience=0.2)).values():
        with pytest.raises(StoreError, match="Connection refused") as caught:
            ask()
        assert caught.value.kind == "unavailable"


def test_a_panic_of_the_library_is_an_error_like_others(folder, monkeypatch):
    panic = type("PanicException", (BaseException,), {})

    def head(*_args):
        raise panic("Expected something else")

    monkeypatch.setattr(stores.obstore, "head", head)
    with pytest.raises(StoreError, match="the library failed"):
        folder.store().size("a")
    monkeypatch.setattr(stores.obstore, "head", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        folder.store().size("a")
