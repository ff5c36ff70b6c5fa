"""ostinato train lm"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ostinato.cli import options
from ostinato.cli.start import check_choices, checked, in_cluster, ready, train


def language_model(
    source: Annotated[
        str | None,
        typer.Argument(
            help="A text file, .gz, folder or 'glob*' of files, - for standard input, or a corpus by name: "
            "pydoc (the default: Python's own language reference), timemachine, tinyshakespeare.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path | None, options.run_directory("runs/lm-001")] = None,
    overwrite: options.Overwrite = False,
    recipe: options.RecipeName = None,
    config: options.RecipeFile = None,
    init_from: Annotated[Path | None, options.other_run("network and vocabulary")] = None,
    encoder: options.EncoderName = None,
    normalize: options.Normalize = None,
    min_count: options.MinCount = None,
    vocabulary_size: Annotated[
        int | None, options.option("Subwords to learn (bpe encoder).", panel=options.DATA)
    ] = None,
    max_tokens: Annotated[
        int | None, options.option("Use the first so many tokens only.", panel=options.DATA)
    ] = None,
    validation_fraction: Annotated[
        float | None,
        options.option("Part of the text kept for validation, before the test part.", panel=options.DATA),
    ] = None,
    test_fraction: Annotated[
        float | None, options.option("Part of the text kept for testing, at its end.", panel=options.DATA)
    ] = None,
    cell: options.Cell = None,
    units: options.Units = None,
    layers: options.Layers = None,
    reset_before: options.ResetBefore = None,
    embedding: Annotated[
        int | None,
        options.option("Size of the token embedding; 0 feeds one-hot vectors.", panel=options.NETWORK),
    ] = None,
    tied: Annotated[
        bool | None,
        options.option(
            "The output layer shares the embedding's weights.", "--tied/--untied", panel=options.NETWORK
        ),
    ] = None,
    input_dropout: Annotated[
        float | None, options.option("Fraction of the inputs dropped.", panel=options.NETWORK)
    ] = None,
    dropout: options.Dropout = None,
    recurrent_dropout: options.RecurrentDropout = None,
    output_dropout: options.OutputDropout = None,
    engine: options.Engine = None,
    batch: Annotated[int | None, options.option("Rows read in parallel.", panel=options.TRAINING)] = None,
    seq_len: Annotated[
        int | None, options.option("Time steps between two changes of the weights.", panel=options.TRAINING)
    ] = None,
    sampling: Annotated[
        str | None,
        options.option(
            "sequential (rows read on, state carried) or random (state reset).", panel=options.TRAINING
        ),
    ] = None,
    optimizer: options.OptimizerName = None,
    learning_rate: options.LearningRate = None,
    schedule: options.Schedule = None,
    warmup: options.Warmup = None,
    clip: options.Clip = None,
    weight_decay: options.WeightDecay = None,
    epochs: options.Epochs = None,
    steps: options.Steps = None,
    minutes: options.Minutes = None,
    evaluations: options.Evaluations = None,
    patience: options.Patience = None,
    keep: options.Keep = None,
    seed: options.Seed = None,
    devices: options.Devices = None,
    as_json: options.AsJson = False,
) -> None:
    """Trains a language model: a network that predicts the next character, byte, word or subword of a text.

    Example: ostinato train lm book.txt --minutes 5

    Example: ostinato train lm tinyshakespeare --cell gru --units 512 --dropout 0.2 --epochs 10
    """
    flags = dict(locals())
    check_choices(flags)
    from ostinato.data.sources.corpora import open_corpus
    from ostinato.tasks.language_model import LanguageModelConfig

    settings = checked(LanguageModelConfig, flags)
    corpus = source if in_cluster() else open_corpus(source)
    if ready():
        train(flags, *settings, corpus)
