"""ostinato train translate"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ostinato.cli import options
from ostinato.cli.start import check_choices, checked, ready, train


def translator(
    source: Annotated[
        str,
        typer.Argument(
            help="A file (or its .gz) with a sentence, a TAB and its translation on every line; or a file of "
            "sentences, whose translations are in TARGET.",
            show_default=False,
        ),
    ],
    target: Annotated[
        str | None,
        typer.Argument(help="A file with the translation of each line of SOURCE.", show_default=False),
    ] = None,
    skip_bad_rows: Annotated[
        bool,
        typer.Option(
            "--skip-bad-rows", help="Leave out lines that are no pair.", rich_help_panel=options.DATA
        ),
    ] = False,
    out: Annotated[Path | None, options.run_directory("runs/translate-001")] = None,
    overwrite: options.Overwrite = False,
    recipe: options.RecipeName = None,
    config: options.RecipeFile = None,
    init_from: Annotated[Path | None, options.other_run("network and vocabularies")] = None,
    source_encoder: Annotated[
        str | None,
        options.option(
            "A token of the source: char, byte, word, bpe; or auto, by its script.", panel=options.DATA
        ),
    ] = None,
    target_encoder: Annotated[
        str | None, options.option("The same of the target.", panel=options.DATA)
    ] = None,
    source_vocabulary: Annotated[
        int | None, options.option("Words or subwords of the source to know at most.", panel=options.DATA)
    ] = None,
    target_vocabulary: Annotated[
        int | None, options.option("The same of the target.", panel=options.DATA)
    ] = None,
    joint_vocabulary: Annotated[
        bool | None,
        options.option(
            "One vocabulary and one embedding for both sides.",
            "--joint-vocabulary/--own-vocabularies",
            panel=options.DATA,
        ),
    ] = None,
    min_count: Annotated[
        int | None, options.option("Rarer words and characters become <unk>.", panel=options.DATA)
    ] = None,
    unicode: Annotated[
        str | None, options.option("How both sides are normalised: nfkc, nfc or none.", panel=options.DATA)
    ] = None,
    lowercase: Annotated[
        str | None, options.option("What is lower-cased: none, source or both.", panel=options.DATA)
    ] = None,
    max_tokens: Annotated[
        int | None,
        options.option(
            "Pairs with more tokens on a side are left out; later, longer sources are cut.",
            panel=options.DATA,
        ),
    ] = None,
    validation_fraction: Annotated[
        float | None, options.option("Part of the sources kept for validation, about.", panel=options.DATA)
    ] = None,
    test_fraction: Annotated[
        float | None, options.option("Part of the sources kept for testing, about.", panel=options.DATA)
    ] = None,
    cell: options.Cell = None,
    units: options.Units = None,
    layers: options.Layers = None,
    decoder_units: Annotated[
        str | None,
        options.option("The same as --units, of the decoder.", panel=options.NETWORK),
    ] = None,
    reset_before: options.ResetBefore = None,
    bidirectional: Annotated[
        bool | None,
        options.option(
            "Read every source from its end, too.", "--bidirectional/--one-way", panel=options.NETWORK
        ),
    ] = None,
    bridge: Annotated[
        str | None,
        options.option(
            "From the encoder's last state to the decoder's first: copy, dense, zeros or auto.",
            panel=options.NETWORK,
        ),
    ] = None,
    attention: Annotated[
        str | None, options.option("none, additive or multiplicative.", panel=options.NETWORK)
    ] = None,
    input_feeding: Annotated[
        bool | None,
        options.option(
            "Feed what multiplicative attention found to the next step.",
            "--input-feeding/--no-input-feeding",
            panel=options.NETWORK,
        ),
    ] = None,
    embedding: Annotated[
        int | None, options.option("Size of the embeddings of both sides.", panel=options.NETWORK)
    ] = None,
    tied: Annotated[
        bool | None,
        options.option(
            "The output layer shares the target embedding's weights.",
            "--tied/--untied",
            panel=options.NETWORK,
        ),
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
    label_smoothing: Annotated[
        float | None,
        options.option("Probability spread over all tokens in the training loss.", panel=options.TRAINING),
    ] = None,
    scheduled_sampling: Annotated[
        float | None,
        options.option(
            "Fraction of target tokens replaced by what the network would have written.",
            panel=options.TRAINING,
        ),
    ] = None,
    scheduled_sampling_steps: Annotated[
        int | None,
        options.option("Over so many steps that fraction rises from 0.", panel=options.TRAINING),
    ] = None,
    batch: Annotated[int | None, options.option("Pairs in a batch.", panel=options.TRAINING)] = None,
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
    """Trains a translator from sentence pairs: a network that reads a sentence and writes another one.

    Any task of that kind will do: from one language to another, from written dates to ISO dates, from letters
    to sounds.

    Example: ostinato train translate pairs.tsv --test-fraction 0.05

    Example: ostinato train translate europarl.en europarl.fr --units 512 --attention additive --minutes 60
    """
    flags = dict(locals())
    check_choices(flags)
    from ostinato.data.sources.pairs import open_pairs
    from ostinato.tasks.translator import TranslatorConfig

    settings = checked(TranslatorConfig, flags)
    pairs = open_pairs(source if target is None else (source, target), skip_bad_rows=skip_bad_rows)
    if ready():
        train(flags, *settings, pairs)
