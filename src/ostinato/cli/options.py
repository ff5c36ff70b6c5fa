"""Options that the commands which train have in common, each declared once.

Those of one task only, and those that mean something else in each, stand with the task's command.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ostinato.decoding.choices import Beam

DATA, NETWORK, TRAINING = "Data", "Network", "Training"
TRANSLATORS = "Translators"
"""The panels of the help."""


def option(help_text: str, *names: str, panel: str) -> Any:
    """An option that overrides a setting of the recipe; the help shows what each recipe sets instead.

    Args:
        help_text: what the help says.
        *names: its names, where they are not that of the setting.
        panel: where the help shows it.
    """
    return typer.Option(*names, help=help_text, show_default="the recipe's value", rich_help_panel=panel)


def run_directory(first: str) -> Any:
    """The option `--out` of a task whose runs are called like `first`, unless told."""
    return typer.Option(help="The run directory.", show_default=f"{first} and so on")


def other_run(kept: str) -> Any:
    """The option `--init-from` of a task that keeps `kept` of the other run besides its weights."""
    return typer.Option(
        metavar="RUN",
        help=f"Start from the weights of another run (fine-tuning), with its {kept}.",
        show_default=False,
    )


# The run and its settings.

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the run that --out names.")]
RecipeName = Annotated[
    str | None, typer.Option(help="Settings by name; see ostinato recipes.", show_default="default")
]
RecipeFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE.toml", help="Settings from a recipe file of your own.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")]

Devices = Annotated[
    int | None,
    typer.Option(
        help="Share each batch among so many devices: GPUs or, where there are none, parts of the CPU. The "
        "processes of a cluster are named by TF_CONFIG or Slurm instead.",
        show_default="1",
        min=1,
        max=1024,
    ),
]

# Data.

EncoderName = Annotated[str | None, option("What a token is: char, byte, word or bpe.", panel=DATA)]
Normalize = Annotated[
    str | None,
    option("none, or letters: a-z and single spaces only, as the textbook does.", panel=DATA),
]
MinCount = Annotated[int | None, option("Rarer words become <unk> (word encoder).", panel=DATA)]

# Network.

Cell = Annotated[
    str | None, option("The recurrence: rnn, gru, lstm (ostinato info lists all).", panel=NETWORK)
]
Units = Annotated[str | None, option("Hidden units: 256, or 256,128 for two layers.", panel=NETWORK)]
Layers = Annotated[int | None, option("How many recurrent layers.", panel=NETWORK)]
ResetBefore = Annotated[
    bool | None,
    option(
        "GRU: reset before the recurrent product, the textbook's form.",
        "--reset-before/--reset-after",
        panel=NETWORK,
    ),
]
Dropout = Annotated[
    float | None,
    option(
        "Fraction dropped between layers and, unless --output-dropout says else, after the last.",
        panel=NETWORK,
    ),
]
RecurrentDropout = Annotated[
    float | None,
    option(
        "Fraction of its own past state that each recurrent layer drops, the same at all time steps.",
        panel=NETWORK,
    ),
]
OutputDropout = Annotated[float | None, option("Fraction dropped before the output layer.", panel=NETWORK)]
Engine = Annotated[
    str | None, option("How the recurrence runs over time: auto, native, keras or scratch.", panel=NETWORK)
]

# Training.

OptimizerName = Annotated[str | None, option("sgd, adam or adamw.", panel=TRAINING)]
LearningRate = Annotated[
    float | None, option("The highest learning rate.", "--lr", "--learning-rate", panel=TRAINING)
]
Schedule = Annotated[str | None, option("constant, step or cosine.", panel=TRAINING)]
Warmup = Annotated[float | None, option("Fraction of the budget over which the rate rises.", panel=TRAINING)]
Clip = Annotated[
    float | None, option("Greatest global norm of the gradient; 0 does not clip.", panel=TRAINING)
]
WeightDecay = Annotated[float | None, option("AdamW's weight decay.", panel=TRAINING)]
Epochs = Annotated[int | None, option("Budget: passes over the training part.", panel=TRAINING)]
Steps = Annotated[int | None, option("Budget: changes of the weights.", panel=TRAINING)]
Minutes = Annotated[float | None, option("Budget: minutes on the clock.", panel=TRAINING)]
Evaluations = Annotated[int | None, option("How often to read the validation part.", panel=TRAINING)]
Patience = Annotated[
    int | None, option("Stop after so many evaluations without a better one.", panel=TRAINING)
]
Keep = Annotated[
    int | None, option("How many of the newest checkpoints to keep, besides the best.", panel=TRAINING)
]
Seed = Annotated[
    int | None,
    option("Weights, batches, dropout and whatever is split at random follow from it.", panel=TRAINING),
]

# Beam search.

BeamSize = Annotated[
    int | None,
    typer.Option(
        "--beam",
        help="Hypotheses kept at every step; 1 is greedy search.",
        show_default=f"{Beam().size}",
        rich_help_panel=TRANSLATORS,
    ),
]
LengthPenalty = Annotated[
    float | None,
    typer.Option(
        help="Above 0, longer translations score better (Wu et al. 2016).",
        show_default=f"{Beam().length_penalty:g}",
        rich_help_panel=TRANSLATORS,
    ),
]
CoveragePenalty = Annotated[
    float | None,
    typer.Option(
        help="Above 0, translations that looked at all of the source score better (Wu et al. 2016).",
        show_default=f"{Beam().coverage_penalty:g}",
        rich_help_panel=TRANSLATORS,
    ),
]
NoRepeat = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="No N tokens in a row occur twice in a translation; 0 allows them.",
        show_default=f"{Beam().no_repeat}",
        rich_help_panel=TRANSLATORS,
    ),
]
