"""ostinato train"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ostinato.cli.quiet import import_tensorflow

_FROM_RECIPE = "the recipe's value"
_RESUME_ALONE = "--resume takes every setting from the run; leave out the task and its options"


class _DefaultTask(TyperGroup):
    """`ostinato train …` without a task's name is `ostinato train lm …`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        resumes = any(arg.split("=")[0] == "--resume" for arg in args)
        if not resumes and (not args or args[0] not in {*self.commands, *ctx.help_option_names}):
            args = ["lm", *args]
        if resumes and args[0] in self.commands:
            raise typer.BadParameter(_RESUME_ALONE)
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_DefaultTask, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)


@app.callback()
def train(
    ctx: typer.Context,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Go on with a run that was interrupted or killed.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --resume: print one JSON object at the end.")
    ] = False,
) -> None:
    """Trains a model; without a task's name a language model, see [bold]ostinato train lm --help[/bold].

    Every setting comes from a recipe (ostinato recipes); a flag overrides it.
    """
    if resume is None:
        return
    if ctx.invoked_subcommand is not None:
        raise typer.BadParameter(_RESUME_ALONE)
    import_tensorflow()
    from ostinato.training import run as training
    from ostinato.training.progress import ProgressView

    if training.is_finished(resume):
        print(f"{resume} is finished; there is nothing to resume", file=sys.stderr)
        trained = training.load(resume)
    else:
        view = ProgressView(sys.stderr)
        try:
            trained = training.resume(resume, on_event=view, on_progress=view.reading)
        finally:
            view.close()
    _tell(trained, as_json)


def _option(help_text: str, *names: str, panel: str) -> Any:
    return typer.Option(*names, help=help_text, show_default=_FROM_RECIPE, rich_help_panel=panel)


_TEXT, _TEXTS, _NET, _TRAIN = "Text", "Texts", "Network", "Training"


@app.command("lm")
def language_model(
    source: Annotated[
        str | None,
        typer.Argument(
            help="A text file, .gz, folder or 'glob*' of files, - for standard input, or a corpus by name: "
            "pydoc (the default: Python's own language reference), timemachine, tinyshakespeare.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run directory.", show_default="runs/lm-001 and so on")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that --out names.")] = False,
    recipe: Annotated[
        str | None, typer.Option(help="Settings by name; see ostinato recipes.", show_default="default")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml", help="Settings from a recipe file of your own.", show_default=False
        ),
    ] = None,
    init_from: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Start from the weights of another run (fine-tuning), with its network and vocabulary.",
            show_default=False,
        ),
    ] = None,
    encoder: Annotated[str | None, _option("What a token is: char, byte, word or bpe.", panel=_TEXT)] = None,
    normalize: Annotated[
        str | None,
        _option("none, or letters: a-z and single spaces only, as the textbook does.", panel=_TEXT),
    ] = None,
    min_count: Annotated[int | None, _option("Rarer words become <unk> (word encoder).", panel=_TEXT)] = None,
    vocabulary_size: Annotated[int | None, _option("Subwords to learn (bpe encoder).", panel=_TEXT)] = None,
    max_tokens: Annotated[int | None, _option("Use the first so many tokens only.", panel=_TEXT)] = None,
    validation_fraction: Annotated[
        float | None, _option("Part of the text kept for validation, before the test part.", panel=_TEXT)
    ] = None,
    test_fraction: Annotated[
        float | None, _option("Part of the text kept for testing, at its end.", panel=_TEXT)
    ] = None,
    cell: Annotated[
        str | None, _option("The recurrence: rnn, gru, lstm (ostinato info lists all).", panel=_NET)
    ] = None,
    units: Annotated[str | None, _option("Hidden units: 256, or 256,128 for two layers.", panel=_NET)] = None,
    layers: Annotated[int | None, _option("How many recurrent layers.", panel=_NET)] = None,
    reset_before: Annotated[
        bool | None,
        _option(
            "GRU: reset before the recurrent product, the textbook's form.",
            "--reset-before/--reset-after",
            panel=_NET,
        ),
    ] = None,
    embedding: Annotated[
        int | None, _option("Size of the token embedding; 0 feeds one-hot vectors.", panel=_NET)
    ] = None,
    tied: Annotated[
        bool | None,
        _option("The output layer shares the embedding's weights.", "--tied/--untied", panel=_NET),
    ] = None,
    input_dropout: Annotated[float | None, _option("Fraction of the inputs dropped.", panel=_NET)] = None,
    dropout: Annotated[
        float | None,
        _option(
            "Fraction dropped between layers and, unless --output-dropout says else, after the last.",
            panel=_NET,
        ),
    ] = None,
    output_dropout: Annotated[
        float | None, _option("Fraction dropped before the output layer.", panel=_NET)
    ] = None,
    engine: Annotated[
        str | None, _option("How the recurrence runs over time: auto, native, keras or scratch.", panel=_NET)
    ] = None,
    batch: Annotated[int | None, _option("Rows read in parallel.", panel=_TRAIN)] = None,
    seq_len: Annotated[
        int | None, _option("Time steps between two changes of the weights.", panel=_TRAIN)
    ] = None,
    sampling: Annotated[
        str | None, _option("sequential (rows read on, state carried) or random (state reset).", panel=_TRAIN)
    ] = None,
    optimizer: Annotated[str | None, _option("sgd, adam or adamw.", panel=_TRAIN)] = None,
    learning_rate: Annotated[
        float | None, _option("The highest learning rate.", "--lr", "--learning-rate", panel=_TRAIN)
    ] = None,
    schedule: Annotated[str | None, _option("constant, step or cosine.", panel=_TRAIN)] = None,
    warmup: Annotated[
        float | None, _option("Fraction of the budget over which the rate rises.", panel=_TRAIN)
    ] = None,
    clip: Annotated[
        float | None, _option("Greatest global norm of the gradient; 0 does not clip.", panel=_TRAIN)
    ] = None,
    weight_decay: Annotated[float | None, _option("AdamW's weight decay.", panel=_TRAIN)] = None,
    epochs: Annotated[int | None, _option("Budget: passes over the training part.", panel=_TRAIN)] = None,
    steps: Annotated[int | None, _option("Budget: changes of the weights.", panel=_TRAIN)] = None,
    minutes: Annotated[float | None, _option("Budget: minutes on the clock.", panel=_TRAIN)] = None,
    evaluations: Annotated[
        int | None, _option("How often to read the validation part.", panel=_TRAIN)
    ] = None,
    patience: Annotated[
        int | None, _option("Stop after so many evaluations without a better one.", panel=_TRAIN)
    ] = None,
    seed: Annotated[int | None, _option("Weights, batches and dropout follow from it.", panel=_TRAIN)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    """Trains a language model: a network that predicts the next character, byte, word or subword of a text.

    Example: ostinato train lm book.txt --minutes 5

    Example: ostinato train lm tinyshakespeare --cell gru --units 512 --dropout 0.2 --epochs 10
    """
    flags = dict(locals())
    _check_choices(flags)
    import_tensorflow()
    from ostinato.cli.settings import language_model_settings

    _train(flags, *language_model_settings(flags), source)


@app.command("classify")
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
            help="The column of the texts.", show_default="guessed, and said", rich_help_panel=_TEXTS
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            help="The column of the labels.", show_default="guessed, and said", rich_help_panel=_TEXTS
        ),
    ] = None,
    skip_bad_rows: Annotated[
        bool,
        typer.Option(
            "--skip-bad-rows", help="Leave out rows without a text or a label.", rich_help_panel=_TEXTS
        ),
    ] = False,
    validation: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="A table of its own for validation.",
            show_default=False,
            rich_help_panel=_TEXTS,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run directory.", show_default="runs/classify-001 and so on")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that --out names.")] = False,
    recipe: Annotated[
        str | None, typer.Option(help="Settings by name; see ostinato recipes.", show_default="default")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml", help="Settings from a recipe file of your own.", show_default=False
        ),
    ] = None,
    init_from: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Start from the weights of another run (fine-tuning), with its vocabulary and labels.",
            show_default=False,
        ),
    ] = None,
    encoder: Annotated[str | None, _option("What a token is: char, byte, word or bpe.", panel=_TEXTS)] = None,
    normalize: Annotated[
        str | None, _option("none, or letters: a-z in lower case and single spaces only.", panel=_TEXTS)
    ] = None,
    min_count: Annotated[
        int | None, _option("Rarer words become <unk> (word encoder).", panel=_TEXTS)
    ] = None,
    vocabulary_size: Annotated[
        int | None, _option("Words or subwords to know at most.", panel=_TEXTS)
    ] = None,
    max_tokens: Annotated[
        str | None,
        _option(
            "Longer texts are cut: a number, or auto (mean and two standard deviations of the lengths).",
            panel=_TEXTS,
        ),
    ] = None,
    truncation: Annotated[
        str | None, _option("pre keeps the end of a longer text, post its beginning.", panel=_TEXTS)
    ] = None,
    padding: Annotated[
        str | None, _option("pre or post: where padding stands when it is read.", panel=_TEXTS)
    ] = None,
    masked: Annotated[
        bool | None, _option("Whether padding is skipped.", "--masked/--unmasked", panel=_TEXTS)
    ] = None,
    label_separator: Annotated[
        str | None, _option("What stands between several labels of one text.", panel=_TEXTS)
    ] = None,
    validation_fraction: Annotated[
        float | None, _option("Part of the texts kept for validation.", panel=_TEXTS)
    ] = None,
    test_fraction: Annotated[
        float | None, _option("Part of the texts kept for testing; it is cut first.", panel=_TEXTS)
    ] = None,
    cell: Annotated[
        str | None, _option("The recurrence: rnn, gru, lstm (ostinato info lists all).", panel=_NET)
    ] = None,
    units: Annotated[str | None, _option("Hidden units: 64, or 16,8,4 for three layers.", panel=_NET)] = None,
    layers: Annotated[int | None, _option("How many recurrent layers.", panel=_NET)] = None,
    reset_before: Annotated[
        bool | None,
        _option(
            "GRU: reset before the recurrent product, the textbook's form.",
            "--reset-before/--reset-after",
            panel=_NET,
        ),
    ] = None,
    bidirectional: Annotated[
        bool | None,
        _option("Read every text from its end, too.", "--bidirectional/--one-way", panel=_NET),
    ] = None,
    pooling: Annotated[
        str | None,
        _option("What the decision is made from: last, mean, max or attention.", panel=_NET),
    ] = None,
    embedding: Annotated[int | None, _option("Size of the token embedding.", panel=_NET)] = None,
    word_dropout: Annotated[float | None, _option("Fraction of tokens dropped whole.", panel=_NET)] = None,
    embedding_dropout: Annotated[
        float | None, _option("Fraction of the embeddings' entries dropped.", panel=_NET)
    ] = None,
    dropout: Annotated[
        float | None,
        _option(
            "Fraction dropped between layers and, unless --output-dropout says else, after the last.",
            panel=_NET,
        ),
    ] = None,
    output_dropout: Annotated[
        float | None, _option("Fraction dropped before the output layer.", panel=_NET)
    ] = None,
    engine: Annotated[
        str | None, _option("How the recurrence runs over time: auto, native, keras or scratch.", panel=_NET)
    ] = None,
    class_weights: Annotated[
        str | None, _option("none, or balanced: rare labels weigh more in the loss.", panel=_TRAIN)
    ] = None,
    batch: Annotated[int | None, _option("Texts in a batch.", panel=_TRAIN)] = None,
    optimizer: Annotated[str | None, _option("sgd, adam or adamw.", panel=_TRAIN)] = None,
    learning_rate: Annotated[
        float | None, _option("The highest learning rate.", "--lr", "--learning-rate", panel=_TRAIN)
    ] = None,
    schedule: Annotated[str | None, _option("constant, step or cosine.", panel=_TRAIN)] = None,
    warmup: Annotated[
        float | None, _option("Fraction of the budget over which the rate rises.", panel=_TRAIN)
    ] = None,
    clip: Annotated[
        float | None, _option("Greatest global norm of the gradient; 0 does not clip.", panel=_TRAIN)
    ] = None,
    weight_decay: Annotated[float | None, _option("AdamW's weight decay.", panel=_TRAIN)] = None,
    epochs: Annotated[int | None, _option("Budget: passes over the training part.", panel=_TRAIN)] = None,
    steps: Annotated[int | None, _option("Budget: changes of the weights.", panel=_TRAIN)] = None,
    minutes: Annotated[float | None, _option("Budget: minutes on the clock.", panel=_TRAIN)] = None,
    evaluations: Annotated[
        int | None, _option("How often to read the validation part.", panel=_TRAIN)
    ] = None,
    patience: Annotated[
        int | None, _option("Stop after so many evaluations without a better one.", panel=_TRAIN)
    ] = None,
    seed: Annotated[
        int | None, _option("The split, weights, batches and dropout follow from it.", panel=_TRAIN)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    """Trains a text classifier from a table of texts and labels: two labels, many, or several for each text.

    Example: ostinato train classify reviews.csv --test-fraction 0.2

    Example: ostinato train classify tickets.jsonl --text body --label queue --class-weights balanced
    """
    flags = dict(locals())
    _check_choices(flags)
    if validation is not None and validation_fraction:
        raise typer.BadParameter("--validation and --validation-fraction both give the part; choose one")
    import_tensorflow()
    from ostinato.cli.settings import classifier_settings
    from ostinato.data.tables import open_table
    from ostinato.tasks.classifier.task import Tables

    task_config, training_config = classifier_settings(flags)
    table = open_table(source, text=text, label=label, skip_bad_rows=skip_bad_rows)
    judged = None
    if validation is not None:
        names = table.columns or (text, label)
        judged = open_table(validation, text=names[0], label=names[1], skip_bad_rows=skip_bad_rows)
    _train(flags, task_config, training_config, Tables(table, judged))


def _check_choices(flags: dict[str, Any]) -> None:
    """Refuses two budgets, or two places that the settings come from."""
    budgets = [name for name in ("epochs", "steps", "minutes") if flags[name] is not None]
    if len(budgets) > 1:
        raise typer.BadParameter(
            f"a run has one budget; choose one of {', '.join(f'--{name}' for name in budgets)}"
        )
    if flags["recipe"] is not None and flags["config"] is not None:
        raise typer.BadParameter("--recipe and --config both give the settings; choose one")


def _train(flags: dict[str, Any], task_config: Any, training_config: Any, source: Any) -> None:
    """Trains, shows how it goes, and tells what came of it."""
    from ostinato.training import run as training
    from ostinato.training.progress import ProgressView

    view = ProgressView(sys.stderr)
    try:
        trained = training.train(
            task_config,
            source,
            training=training_config,
            out=flags["out"],
            overwrite=flags["overwrite"],
            init_from=flags["init_from"],
            on_event=view,
            on_progress=view.reading,
        )
    finally:
        view.close()
    _tell(trained, flags["as_json"])


def _tell(trained: Any, as_json: bool) -> None:
    path, rows = trained.directory.path, trained.directory.rows()
    last = {row["split"]: row for row in rows}
    if as_json:
        print(json.dumps({"run": str(path), "best_step": trained.step, **last}))
        return
    uses = {"generate": "write with it: ostinato generate {}", "predict": 'ask it: ostinato predict {} "…"'}
    for use, sentence in uses.items():
        if hasattr(trained.task, use):
            print(sentence.format(path), file=sys.stderr)
    print(path)
