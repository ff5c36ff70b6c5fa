"""Trains what a JSON file describes, one after another, with the workers and devices its arguments name.

python train_scenarios.py SCENARIOS.json FOLDER [DEVICES]
"""

import json
import sys
from pathlib import Path

import ostinato

CONFIGS = {
    "lm": ostinato.LanguageModelConfig,
    "classifier": ostinato.ClassifierConfig,
    "translator": ostinato.TranslatorConfig,
}


def main(scenarios: Path, folder: Path, devices: int | None) -> None:
    for name, (task, source, config, training) in json.loads(scenarios.read_text()).items():
        source = source if task == "lm" else [tuple(pair) for pair in source]
        ostinato.train(
            CONFIGS[task](**config),
            source,
            training=ostinato.TrainingConfig(**training),
            out=folder / name,
            devices=devices,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if sys.argv[3:] else None)
