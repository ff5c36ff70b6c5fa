"""ostinato train classify"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ostinato.cli import options
from ostinato.cli.start import check_choices, checked, ready, train


def classifier(
    source: Annotated[
        str,
        typer.Argument(
            help="A .csv, .tsv or .jsonl file (or its .gz) with one column of texts and one of labels, a "
            "folder with a folder per label and a file per text, or imdb.",
            show_default=False,
        ),
    ],
    text: Annotated[
        str | None,
        typer.Option(
            help="The column of the texts.", show_default="guessed, and said", rich_help_panel=options.DATA
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            help="The column of the labels.", show_default="guessed, and said", rich_help_panel=options.DATA
        ),
    ] = None,
    skip_bad_rows: Annotated[
        bool,
        typer.Option(
            "--skip-bad-rows", help="Leave out rows without a text or a label.", rich_help_panel=options.DATA
        ),
    ] = False,
    validation: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="A table of its own for validation.",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    out: Annotated[Path | None, options.run_directory("runs/classify-001")] = None,
    overwrite: options.Overwrite = False,
    recipe: options.RecipeName = None,
    config: options.RecipeFile = None,
    init_from: Annotated[Path | None, options.other_run("network, vocabulary and labels")] = None,
    encoder: options.EncoderName = None,
    normalize: options.Normalize = None,
    min_count: options.MinCount = None,
    vocabulary_size: Annotated[
        int | None, options.option("Words or subwords to know at most.", panel=options.DATA)
    ] = None,
    max_tokens: Annotated[
        str | None,
        options.option(
            "Longer texts are cut: a number, or auto (mean and two standard deviations of the lengths).",
            panel=options.DATA,
        ),
    ] = None,
    truncation: Annotated[
        str | None,
        options.option("pre keeps the end of a longer text, post its beginning.", panel=options.DATA),
    ] = None,
    padding: Annotated[
        str | None, options.option("pre or post: where padding stands when it is read.", panel=options.DATA)
    ] = None,
    masked: Annotated[
        bool | None, options.option("Whether padding is skipped.", "--masked/--unmasked", panel=options.DATA)
    ] = None,
    label_separator: Annotated[
        str | None, options.option("What stands between several labels of one text.", panel=options.DATA)
    ] = None,
    validation_fraction: Annotated[
        float | None, options.option("Part of the texts kept for validation.", panel=options.DATA)
    ] = None,
    test_fraction: Annotated[
        float | None,
        options.option("Part of the texts kept for testing; it is cut first.", panel=options.DATA),
    ] = None,
    cell: options.Cell = None,
    units: options.Units = None,
    layers: options.Layers = None,
    reset_before: options.ResetBefore = None,
    bidirectional: Annotated[
        bool | None,
        options.option(
            "Read every text from its end, too.", "--bidirectional/--one-way", panel=options.NETWORK
        ),
    ] = None,
    pooling: Annotated[
        str | None,
        options.option(
            "What the decision is made from: last, mean, max or attention.", panel=options.NETWORK
        ),
    ] = None,
    embedding: Annotated[
        int | None, options.option("Size of the token embedding.", panel=options.NETWORK)
    ] = None,
    word_dropout: Annotated[
        float | None, options.option("Fraction of tokens dropped whole.", panel=options.NETWORK)
    ] = None,
    embedding_dropout: Annotated[
        float | None, options.option("Fraction of the embeddings' entries dropped.", panel=options.NETWORK)
    ] = None,
    dropout: options.Dropout = None,
    recurrent_dropout: options.RecurrentDropout = None,
    output_dropout: options.OutputDropout = None,
    engine: options.Engine = None,
    class_weights: Annotated[
        str | None,
        options.option("none, or balanced: rare labels weigh more in the loss.", panel=options.TRAINING),
    ] = None,
    batch: Annotated[int | None, options.option("Texts in a batch.", panel=options.TRAINING)] = None,
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
    """Trains a text classifier from a table of texts and labels: two labels, many, or several for each text.

    Example: ostinato train classify reviews.csv --test-fraction 0.2

    Example: ostinato train classify tickets.jsonl --text body --label queue --class-weights balanced
    """
    flags = dict(locals())
    check_choices(flags)
    if validation is not None and validation_fraction:
        raise typer.BadParameter("--validation and --validation-fraction both give the part; choose one")
    from ostinato.data.sources.tables import open_table
    from ostinato.tasks.classifier import ClassifierConfig

    settings = checked(ClassifierConfig, flags)
    table = open_table(source, text=text, label=label, skip_bad_rows=skip_bad_rows)
    judged = None
    if validation is not None:
        names = table.columns or (text, label)
        judged = open_table(validation, text=names[0], label=names[1], skip_bad_rows=skip_bad_rows)
    if ready():
        from ostinato.tasks.classifier.task import Tables

        train(flags, *settings, Tables(table, judged))
