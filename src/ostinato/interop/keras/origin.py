"""Where the configuration of a model comes from, and whom to believe about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """What must be known beside a configuration in order to build its model.

    Attributes:
        version: the Keras that wrote it, as in its file: "2.2.4", or "2.2.4-tf" for TensorFlow's own.
        custom_objects: classes and functions of the file's owner, by the names that the file gives them.
        safe_mode: False runs the Python code of Lambda layers.
    """

    version: str = "2"
    custom_objects: Mapping[str, object] = field(default_factory=dict)
    safe_mode: bool = True

    @property
    def number(self) -> tuple[int, ...]:
        """The version as numbers, as far as it has them."""
        digits = [part for part in self.version.partition("-")[0].split(".") if part.isdigit()]
        return tuple(map(int, digits))

    @property
    def is_tensorflow(self) -> bool:
        """Whether TensorFlow's Keras wrote it. Since 2.4 that is all there was; before, there were two."""
        return self.version.endswith("-tf") or self.number >= (2, 4)

    @property
    def is_keras_3(self) -> bool:
        """Whether Keras 3 or a later one wrote it."""
        return self.number >= (3,)
