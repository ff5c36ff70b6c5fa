"""ostinato tune: a command for each task, and --resume for a search that was stopped."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ostinato.cli import flags, usage
from ostinato.cli.commands.train import resolved_settings
from ostinato.cli.flags import own
from ostinato.cli.task_group import TaskGroup, group_command
from ostinato.cli.training import progress, ready
from ostinato.cli.usage import Command
from ostinato.errors import RunError
from ostinato.tasks import registry
from ostinato.tasks.base import Given, Opened, TaskSpec
from ostinato.tasks.config import Settings
from ostinato.training.config import BUDGETS, LIMITS, TrainingConfig

_MINUTES = 60.0


class Tasks(TaskGroup):
    """A command for each task."""

    @staticmethod
    def make(spec: TaskSpec) -> Command:
        return _task_command(spec)


def command() -> Command:
    """The group of all tasks' commands."""
    return group_command(Tasks, tune, bare_is_help=True)


def tune(
    ctx: typer.Context,
    resume: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Go on with a search that was stopped.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --resume: print one JSON object at the end.")
    ] = False,
) -> None:
    """Searches for better settings by short trainings, and writes them as a recipe.

    Nine settings get a short training each, the best three a longer one, the best of these the longest. The
    first are those of a training without a search; the others differ in learning rate, dropout and width. A
    flag of the task fixes a setting for all.

    Example: ostinato tune lm book.txt --minutes 60

    Example: ostinato tune --resume runs/tune-001
    """
    if resume is None:
        return
    if ctx.invoked_subcommand is not None:
        raise typer.BadParameter("--resume takes everything from the search; leave out the task")
    if not (resume / "search.json").exists():
        raise RunError(f"{resume} is not a search: it has no search.json")
    if ready():
        from ostinato.training.tuning import Search

        search = Search.open(resume)
        _search(search, Opened(search.source), as_json)


def _task_command(spec: TaskSpec) -> Command:
    arguments, of_source = flags.of_function(spec.source)
    left_out = {*BUDGETS, *LIMITS, "patience"}
    settings = [
        each
        for each in [*flags.of_config(spec.config), *flags.of_config(TrainingConfig)]
        if each.name not in left_out
    ]

    def run(**given: Any) -> None:
        positional = [given[each.name] for each in arguments]
        while positional and positional[-1] is None:
            positional.pop()
        absent = dict.fromkeys([*left_out, "recipe", "config", "init_from", "validation"])
        config, training, free = resolved_settings(spec, settings, absent | given)
        config.check_given({name for name, value in given.items() if value is not None})
        source = Opened(spec.open(Given(tuple(positional), flags.values(of_source, given))))
        folder = given["out"] or _next_folder()
        if folder.exists() and any(folder.iterdir()):
            raise RunError(
                f"{folder} exists and is not empty; go on with its search (ostinato tune --resume {folder}), "
                "or choose another --out"
            )
        if not ready():
            return
        from ostinato.training import tuning

        search = tuning.begin(
            folder, config, training, free, minutes=given["minutes"], seed=given["search_seed"]
        )
        _search(search, source, given["as_json"])

    run.__doc__ = (
        f"Searches for better settings of ostinato train {spec.command}, with the same flags.\n\n"
        f"Example: ostinato tune {spec.command} SOURCE --minutes {_MINUTES:g}"
    )
    parameters = [*map(flags.argument, arguments), *map(flags.option, of_source), *_own_flags()]
    run.__signature__ = flags.signature([*parameters, *map(flags.option, settings)])  # pyright: ignore[reportFunctionMemberAccess]
    return usage.click_command(run, name=spec.command)


def _own_flags() -> list[Any]:
    out = typer.Option(help="The folder of the search.", show_default="runs/tune-001 and so on")
    minutes = typer.Option(help="The time for all trainings of the search together.", min=0.01, max=1e6)
    seed = typer.Option(help="The random seed of what is tried.", min=0, max=2**31 - 1)
    return [
        own("out", Path | None, out),
        own("minutes", float, minutes, _MINUTES),
        own("search_seed", int, seed, 0),
        own("as_json", bool, typer.Option("--json", help="Print one JSON object at the end."), False),
    ]


def _next_folder() -> Path:
    from ostinato.runs.directory import next_path

    return next_path("tune")


def _search(search: Any, source: object, as_json: bool) -> None:
    """Searches with a progress bar, writes the recipe, and prints what was tried."""
    from ostinato.files.atomic import replace
    from ostinato.training import tuning
    from ostinato.training.recipes import to_toml

    with progress() as view:
        tuning.run_search(search, source, view)
    config, training = tuning.best_settings(search)
    recipe = search.folder / "recipe.toml"
    replace(recipe, to_toml(tuning.description(search), config, training).encode())
    tried: list[Settings] = tuning.rows(search)
    if as_json:
        print(json.dumps({"recipe": str(recipe), "metric": search.metric, "tried": tried}))
        return
    _print_tried(search.metric, tried)
    name = registry.spec(search.task).command
    print(f"use it: ostinato train {name} SOURCE --config {recipe} --minutes 10", file=sys.stderr)
    print(recipe)


def _print_tried(metric: str, tried: list[Settings]) -> None:
    from rich.console import Console
    from rich.table import Table

    from ostinato.wording import print_table

    columns = list(tried[0])
    headers = [f"{metric.replace('_', ' ')}, {name}" if name != "settings" else name for name in columns]
    table = Table(*headers, box=None, header_style="bold", pad_edge=False)
    for row in tried:
        table.add_row(*(_cell(row[name]) for name in columns))
    print_table(table, Console(), wraps=["settings"])


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
