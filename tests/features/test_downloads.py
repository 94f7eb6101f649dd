from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pooch
import pytest

from features.downloads import DownloadError, cache_dir, fetch
from features.errors import BottleneckError

CONTENT = bytes(range(256)) * 10_000
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Behaves well at /good and in another way at each other path; keeps what was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.encodings: list[str | None] = []
        self.closing = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.encodings.append(self.headers["Accept-Encoding"])
        if self.path[1:].isdigit():
            self.send_error(int(self.path[1:]))
            return
        body = CONTENT
        if self.path == "/wrong":
            body = CONTENT[::-1]
        self.send_response(200)
        if self.path != "/no-length":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if self.path in ("/short", "/stalls"):
            body = CONTENT[: len(CONTENT) // 2]
        self.wfile.write(body)
        if self.path == "/stalls":
            self.wfile.flush()
            self.server.closing.wait()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()


def assert_refused(url: str, path: Path, why: str, **options: Any) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch(url, known_hash=SHA256, path=path, **options)
    assert isinstance(caught.value, BottleneckError)
    assert str(caught.value) == (
        f"could not download {url}: {urlsplit(url).netloc} {why}; "
        f"if you can get the file another way, put it at {path}"
    )
    assert list(path.parent.iterdir()) == []  # not even half a file


@pytest.mark.parametrize("known_hash", [SHA256, MD5])
def test_downloads_once(server: Server, tmp_path: Path, known_hash: str) -> None:
    path = tmp_path / "a" / "b" / "file.bin"
    for _ in range(2):
        assert fetch(server.url("/good"), known_hash=known_hash, path=path) == path
    assert path.read_bytes() == CONTENT
    assert server.asked == ["/good"]
    assert server.encodings == ["identity"]  # what a host compresses on the way is another file
    assert list(path.parent.iterdir()) == [path]


def test_what_someone_else_put_there_is_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(CONTENT)
    fetch(server.url("/good"), known_hash=SHA256, path=tmp_path / "file.bin")
    assert server.asked == []


def test_another_file_in_its_place_is_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(CONTENT[:1000])
    fetch(server.url("/good"), known_hash=SHA256, path=tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/wrong", "sent another file than expected (its hash differs)"),
        ("/404", "answered 404 Not Found"),
        ("/500", "answered 500 Internal Server Error"),
        ("/short", "broke off the connection"),
    ],
)
def test_a_server_that_behaves_badly(server: Server, tmp_path: Path, path: str, why: str) -> None:
    assert_refused(server.url(path), tmp_path / "file.bin", why)
    assert server.asked == [path]


def test_a_server_that_falls_silent_is_given_up(server: Server, tmp_path: Path) -> None:
    calls: list[tuple[str, int, int | None]] = []
    url, path = server.url("/stalls"), tmp_path / "file.bin"
    assert_refused(url, path, "does not answer", patience=1, progress=lambda *call: calls.append(call))
    assert calls == [("file.bin", 1 << 20, len(CONTENT))]  # what had come was told as it came


def test_a_server_that_accepts_and_never_answers_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file"
        assert_refused(url, tmp_path / "file.bin", "does not answer", patience=0.2)


def test_a_server_that_drips_its_headers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each byte ends the wait for the next one, so no socket's time-out ever comes.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    done = threading.Event()

    def drip(silent: socket.socket) -> None:
        connection, _ = silent.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
            while not done.wait(0.05):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as silent:
        thread = threading.Thread(target=drip, args=(silent,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file"
        assert_refused(url, tmp_path / "file.bin", "does not answer", patience=0.2)
        waiting = [thread for thread in threading.enumerate() if thread.name == f"download {url}"]
        assert [thread.daemon for thread in waiting] == [True]  # it keeps no program from its end
        done.set()
        thread.join()


def test_nothing_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert_refused(f"http://127.0.0.1:{port}/file", tmp_path / "file.bin", "refused the connection")


def test_a_host_of_unknown_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    why = "can't be reached (its name can't be resolved)"
    assert_refused("http://no.such.host:81/file", tmp_path / "file.bin", why)


def test_a_cache_that_can_not_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "file.bin"
    with pytest.raises(DownloadError, match=r"/good: .*(Not a directory|File exists).*; if you can"):
        fetch(server.url("/good"), known_hash=SHA256, path=path)


@pytest.mark.parametrize(("path", "size"), [("/good", len(CONTENT)), ("/no-length", None)])
def test_progress_is_a_callback_and_nothing_is_printed(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str], path: str, size: int | None
) -> None:
    calls: list[tuple[str, int, int | None]] = []
    file, level = tmp_path / "photos.tgz", pooch.get_logger().level
    fetch(server.url(path), known_hash=SHA256, path=file, progress=lambda *call: calls.append(call))
    assert file.read_bytes() == CONTENT
    assert calls == [("photos.tgz", done, size) for done in (1 << 20, 2 << 20, len(CONTENT))]
    assert capfd.readouterr() == ("", "")
    assert pooch.get_logger().level == level


def test_cache_dir_is_that_of_keras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.setenv("KERAS_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".keras"
