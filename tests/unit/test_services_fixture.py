"""A missing service is loud only where services are promised, and a port that merely listens is not a broker."""

import contextlib
import socket
import threading

import pytest


@pytest.fixture
def services(request: pytest.FixtureRequest):
    """The conftest module itself."""
    return next(plugin for plugin in request.config.pluginmanager.get_plugins() if hasattr(plugin, "kafka_answers"))


@pytest.fixture
def listener():
    """A server that accepts one connection and sends `reply`; gives (address, set_reply)."""
    server = socket.create_server(("127.0.0.1", 0))
    replies: list[bytes] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = server.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(replies[0])

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"127.0.0.1:{server.getsockname()[1]}", replies.append
    with contextlib.suppress(OSError):
        socket.create_connection(server.getsockname(), 1).close()
    thread.join(timeout=5)
    server.close()


def test_a_missing_service_skips_on_a_laptop(services, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="No Kafka"):
        services.missing("No Kafka.")


def test_a_missing_service_fails_under_ci(services, monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="No Kafka"):
        services.missing("No Kafka.")


@pytest.mark.parametrize(
    ("reply", "answers"),
    [
        (b"\0\0\0\x40" + b"\0\0\0\x01" + b"\0\0\0\0" + b"\0\0\0\x01", True),
        (b"\0\0\0\x40" + b"\0\0\0\x01" + b"\0\0\0\0" + b"\0\0\0\0", False),
        (b"HTTP/1.1", False),
        (b"", False),
    ],
    ids=["one broker", "no broker registered yet", "another protocol", "hangs up"],
)
def test_only_a_broker_that_counts_itself_answers(services, listener, reply, answers):
    address, set_reply = listener
    set_reply(reply)
    assert services.kafka_answers(address) is answers


def test_nothing_listening_is_not_kafka(services):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert services.kafka_answers(f"127.0.0.1:{port}") is False
