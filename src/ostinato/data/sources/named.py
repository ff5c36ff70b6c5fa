"""The corpora that have names: one ships inside Python, two are downloaded once into the cache."""

import hashlib
import http.client
import os
import pydoc_data.topics
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from ostinato.errors import SourceError
from ostinato.files import cache

DEFAULT = "pydoc"
TIMEOUT_SECONDS = 30
LARGEST_DOWNLOAD = 16 << 20
"""Bytes; every corpus in the table is far smaller."""


@dataclass(frozen=True)
class Named:
    """A corpus known by name: a line about it and, if it is downloaded, its address and SHA-256."""

    name: str
    description: str
    url: str | None = None
    sha256: str = ""


NAMED: dict[str, Named] = {
    entry.name: entry
    for entry in (
        Named("pydoc", "the Python language reference that ships inside Python, 0.5 MB, no download"),
        Named(
            "timemachine",
            "The Time Machine by H. G. Wells, 0.2 MB",
            "https://raw.githubusercontent.com/probml/probml-data/main/data/timemachine.txt",
            "4149e15a170aa94068969282e8b2cee7aaab0d889bf1c0d684378177040267dd",
        ),
        Named(
            "tinyshakespeare",
            "forty thousand lines of Shakespeare's plays, 1.1 MB",
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
            "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        ),
    )
}


def pydoc_text() -> str:
    """Python's language reference by topics, in the order of their names; every Python has its own."""
    topics: dict[str, str] = pydoc_data.topics.topics
    return "\n\n".join(topics[key] for key in sorted(topics))


def fetch(entry: Named) -> Path:
    """The path of a downloadable corpus in the cache, downloaded and verified if it is not there yet.

    The environment variable OSTINATO_CORPORA_URL, if set, is the base address of a mirror with NAME.txt.

    Raises:
        SourceError: it cannot be downloaded, is not the expected text, or the cache cannot be written.
    """
    path = cache.folder() / "corpora" / f"{entry.name}.txt"
    try:
        if hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256:
            return path
    except OSError:
        pass  # not there yet, or unreadable: download it
    data = _download(entry)
    with cache.writing(path) as file:
        file.write(data)
    return path


def _download(entry: Named) -> bytes:
    mirror = os.environ.get("OSTINATO_CORPORA_URL")
    url = f"{mirror.rstrip('/')}/{entry.name}.txt" if mirror else entry.url or ""
    way_out = (
        f"pass the path of a text file, or set OSTINATO_CORPORA_URL to a mirror that holds {entry.name}.txt"
    )
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
            data = response.read(LARGEST_DOWNLOAD + 1)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise SourceError(
            f"could not download the corpus {entry.name!r} from {url} ({reason}); {way_out}"
        ) from error
    if len(data) > LARGEST_DOWNLOAD:
        raise SourceError(
            f"{url} is not the corpus {entry.name!r}: it is larger than {LARGEST_DOWNLOAD} bytes; {way_out}"
        )
    found = hashlib.sha256(data).hexdigest()
    if found != entry.sha256:
        raise SourceError(
            f"{url} is not the corpus {entry.name!r}: its SHA-256 is {found}, "
            f"expected {entry.sha256}; {way_out}"
        )
    return data
