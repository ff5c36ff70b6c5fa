"""Music as a task: its network, loss and metrics."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from ostinato.cells.base import State, StateSpec
from ostinato.layers.dropout import DropoutKey
from ostinato.tasks.base import Batch, Json, Loss, Metrics, OnProgress, Task
from ostinato.tasks.music import data
from ostinato.tasks.music.answers import Answers
from ostinato.tasks.music.config import MusicConfig
from ostinato.tasks.music.keyboard import Keyboard
from ostinato.tasks.music.loss import loss, metrics
from ostinato.tasks.music.network import RecurrentMusicModel
from ostinato.tasks.music.source import Music


@dataclass(frozen=True)
class MusicModel(Task):
    """The task; see `ostinato.tasks.base.Task` for the methods."""

    config: MusicConfig

    unit = "steps"

    def read(
        self,
        source: Music,
        *,
        vocabulary: Json | None = None,
        whole: bool = False,
        on_progress: OnProgress | None = None,
    ) -> data.MusicData:
        keyboard = None if vocabulary is None else Keyboard.from_json(vocabulary)
        return data.read(self.config, source, keyboard, whole, on_progress)

    def build(self, vocabulary: Json) -> RecurrentMusicModel:
        keyboard = Keyboard.from_json(vocabulary)
        model = RecurrentMusicModel(self.config, keyboard.size, keyboard.onsets)
        model.make_weights()
        return model

    def states(self, model: RecurrentMusicModel) -> tuple[StateSpec, ...]:
        return model.stack.states

    def loss(
        self, model: RecurrentMusicModel, batch: Batch, state: State, *, step: tf.Tensor | None = None
    ) -> Loss:
        key = None
        if step is not None:
            key = DropoutKey(tf.constant(self.config.seed), step, batch["first_row"])
        return loss(model, batch, state, key)

    def metrics(self, sums: Loss) -> Metrics:
        return metrics(sums)

    def use(self, model: RecurrentMusicModel, vocabulary: Json) -> Answers:
        return Answers(model, Keyboard.from_json(vocabulary))
