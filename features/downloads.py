"""Downloads: kept in Keras's cache, checked by hash, given up soon where nothing answers."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from features.errors import BottleneckError

#: A host that has not answered after so many seconds, or that falls silent for so long, is given up.
PATIENCE = 8.0

_CHUNK = 1 << 20


class DownloadError(BottleneckError):
    """A file that could not be downloaded: which, why, and where to put it by hand."""


#: Called as a download goes on: the file's name, bytes so far, bytes in all or None.
DownloadProgress = Callable[[str, int, int | None], None]


def cache_dir() -> Path:
    """Keras's own cache, so that neither fetches again what the other has: `KERAS_HOME`, or `~/.keras`."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser().absolute()


def fetch(
    url: str,
    *,
    known_hash: str,
    path: Path,
    patience: float = PATIENCE,
    progress: DownloadProgress | None = None,
) -> Path:
    """The file at `path`, downloaded from `url` unless it is there already.

    The file appears at `path` whole and checked, or not at all; a file that is there with the right
    hash is not asked for again.

    Args:
        url: http or https.
        known_hash: `sha256:…` or `md5:…`, in hex.
        path: where the file is kept; folders are made.
        patience: seconds until a silent host is given up.
        progress: called as bytes come in.

    Raises:
        DownloadError: for a host that can't be reached or says no, a connection that breaks, other
            content than expected, or a cache that can't be written to.
    """
    import pooch
    import requests

    downloader = _Downloader(path.name, patience, progress)
    logger = pooch.get_logger()  # which prints, and has no other way to be silent
    level = logger.level
    logger.setLevel("WARNING")
    try:
        pooch.retrieve(url, known_hash, fname=path.name, path=path.parent, downloader=downloader)
    except (requests.RequestException, OSError, ValueError) as error:
        raise DownloadError(
            f"could not download {url}: {_why(error, url)}; "
            f"if you can get the file another way, put it at {path}"
        ) from None  # a chain of three libraries' errors
    finally:
        logger.setLevel(level)
    return path


class _Downloader:
    """What `pooch.retrieve` calls to fill a temporary file; it checks the hash and moves the file itself."""

    def __init__(self, name: str, patience: float, progress: DownloadProgress | None) -> None:
        self.name = name
        self.patience = patience
        self.progress = progress

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        with _ask(url, self.patience) as answer:
            answer.raise_for_status()
            size = int(answer.headers.get("Content-Length", 0)) or None
            done = 0
            with open(output_file, "wb") as file:
                for chunk in answer.iter_content(_CHUNK):
                    done += file.write(chunk)
                    if self.progress is not None:
                        self.progress(self.name, done, size)


def _ask(url: str, patience: float) -> Any:
    """The response to a GET, its body still to be read.

    On a thread of its own, since `requests` bounds neither the look-up of the host's name nor the sum
    over all of the host's addresses (a large host has dozens, each of which may swallow packets).
    """
    import requests

    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            headers = {"Accept-Encoding": "identity"}  # the hash is that of the bytes as they are stored
            answers.put(requests.get(url, stream=True, timeout=patience, headers=headers))
        except Exception as error:  # carried over to the caller's thread
            answers.put(error)

    threading.Thread(target=ask, name=f"download {url}", daemon=True).start()
    try:
        answer = answers.get(timeout=patience + 1)  # a little more: the usual time-outs say what is wrong
    except queue.Empty:
        raise requests.Timeout(f"no answer within {patience:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _why(error: Exception, url: str) -> str:
    """What went wrong in a few words; the libraries' own messages are chains of class names."""
    import requests

    host = urlsplit(url).netloc
    text = str(error)
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"{host} answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout) or "timed out" in text:
        return f"{host} does not answer"
    if "NameResolutionError" in text:
        return f"{host} can't be reached (its name can't be resolved)"
    if "refused" in text:
        return f"{host} refused the connection"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return f"{host} broke off the connection"
    if isinstance(error, ValueError) and "hash" in text:
        return f"{host} sent another file than expected (its hash differs)"
    return text
