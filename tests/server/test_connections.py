"""Limits of open connections."""

import socket

import pytest

from resultsfw.server.connections import Connection, Connections, listen


def connected(connections, number, address):
    """As many connections from an address, accepted."""
    ends = []
    for _ in range(number):
        ours, theirs = socket.socketpair()
        accepted = connections.admit(theirs, address)
        theirs.close()
        ends.append((ours, accepted))
    return ends


def close(*groups):
    for group in groups:
        for ours, accepted in group:
            ours.close()
            if accepted is not None:
                accepted.close()


def test_the_oldest_connection_of_an_address_is_closed_at_its_limit():
    connections = Connections(100, 3)
    ends = connected(connections, 5, "a")
    assert connections.total == 3
    assert [ours.recv(1) for ours, _ in ends[:2]] == [b"", b""]
    for ours, _ in ends[2:]:
        ours.setblocking(False)
        with pytest.raises(BlockingIOError):
            ours.recv(1)
    assert connections.shed == {"address": 2, "total": 0}
    close(ends)
    assert connections.total == 0


def test_a_connection_of_the_busiest_address_is_closed_at_the_total_limit():
    connections = Connections(10, 9)
    few, many = connected(connections, 2, "few"), connected(connections, 8, "many")
    new = connected(connections, 4, "new")
    assert connections.total == 10
    for ours, _ in [*few, *new]:
        ours.setblocking(False)
        with pytest.raises(BlockingIOError):
            ours.recv(1)
    assert [ours.recv(1) for ours, _ in many[:4]] == [b""] * 4
    close(few, many, new)
    assert connections.total == 0


def test_a_connection_with_an_authenticated_request_is_kept():
    connections = Connections(2, 2)
    ends = connected(connections, 2, "a")
    for one in connections._by_file.values():
        one.held = True
    [(ours, refused)] = connected(connections, 1, "a")
    [(other, also)] = connected(connections, 1, "b")
    assert (refused, also, connections.total) == (None, None, 2)
    assert connections.shed == {"address": 1, "total": 1}
    ours.close()
    other.close()
    close(ends)


def test_a_garbage_collected_socket_is_not_counted():
    connections = Connections(10, 5)
    [(ours, accepted)] = connected(connections, 1, "a")
    with pytest.warns(ResourceWarning):
        del accepted
    assert connections.total == 0
    ours.close()


def test_a_listener_refuses_with_an_error_after_which_asyncio_goes_on():
    connections = Connections(1, 1)
    with listen("127.0.0.1", 0, connections) as listener:
        address = listener.getsockname()
        with socket.create_connection(address) as first, socket.create_connection(address) as second:
            accepted, _ = listener.accept()
            next(iter(connections._by_file.values())).held = True
            with pytest.raises(ConnectionAbortedError):
                listener.accept()
            assert second.recv(1) == b""
            accepted.close()
            assert first.recv(1) == b""


def test_a_transport_without_a_counted_socket_gets_an_uncounted_connection():
    class Transport:
        def get_extra_info(self, _name):
            return None

        def abort(self):
            pass

    assert isinstance(Connections(1, 1).of(Transport()), Connection)
