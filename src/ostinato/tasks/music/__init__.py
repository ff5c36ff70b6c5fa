"""Music: a network that predicts which keys sound at the next step of a piece.

    config.py    the settings
    source.py    the files that it reads
    pieces.py    the rolls of a source
    keyboard.py  the keys that a model knows
    data.py      pieces in parts and batches
    network.py   the keras.Model
    task.py      loss and metrics
    answers.py   the use of a trained network: pieces
    output.py    what the command line prints

Source: Boulanger-Lewandowski et al. 2012 (arXiv:1206.6392), who made the four sets and the measure; Eck and
Schmidhuber 2002, the first LSTM that improvised.
"""

import importlib
from typing import TYPE_CHECKING

from ostinato.tasks.base import TaskSpec
from ostinato.tasks.music import output
from ostinato.tasks.music.config import MusicConfig
from ostinato.tasks.music.source import open_source

if TYPE_CHECKING:
    from ostinato.tasks.music.network import RecurrentMusicModel
    from ostinato.tasks.music.task import MusicModel

__all__ = ["SPEC", "MusicConfig", "MusicModel", "RecurrentMusicModel"]

SPEC = TaskSpec(
    command="music",
    config=MusicConfig,
    task="ostinato.tasks.music.task:MusicModel",
    source=open_source,
    output={"generate": output.generate, "evaluate": output.evaluate},
)


def __getattr__(name: str) -> object:
    # Settings are checked before TensorFlow, which takes seconds to import, is needed.
    modules = {"MusicModel": "task", "RecurrentMusicModel": "network"}
    if name in modules:
        return getattr(importlib.import_module(f"ostinato.tasks.music.{modules[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
