"""ostinato train: a command for each task, and --resume for the runs of all."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand

from ostinato.cli import flags, usage
from ostinato.cli.flags import Parameter, own
from ostinato.cli.recipe_help import show_recipes
from ostinato.cli.resuming import MORE, resume_run
from ostinato.cli.task_group import TaskGroup, group_command
from ostinato.cli.training import in_cluster, print_trained, progress, ready
from ostinato.cli.usage import Command
from ostinato.errors import ConfigError, RunError
from ostinato.tasks.base import Given, Opened, TaskSpec
from ostinato.tasks.config import Settings, TaskConfig
from ostinato.training.config import BUDGETS, LIMITS, TrainingConfig
from ostinato.wording import nearest

_RESUME_ALONE = "--resume takes every setting from the run; leave out the task and its options"
_DEVICES = typer.Option(
    help="Divide each batch among so many devices: GPUs or, without any, parts of the CPU. In a cluster, "
    "TF_CONFIG or Slurm names the processes instead.",
    show_default="1",
    min=1,
    max=1024,
)


class Tasks(TaskGroup):
    """A command for each task; `ostinato train …` without the name of a task runs the first one."""

    @staticmethod
    def make(spec: TaskSpec) -> Command:
        return task_command(spec)

    def parse_args(self, ctx: Command, args: list[str]) -> list[str]:
        tasks = self.list_commands(ctx)
        resumes = any(arg.split("=")[0] == "--resume" for arg in args)
        if not resumes and (not args or args[0] not in {*tasks, *ctx.help_option_names}):
            if args and (meant := self._meant(args[0], tasks)):
                raise typer.BadParameter(
                    f"there is no task, text or corpus {args[0]!r}; did you mean ostinato train {meant}?"
                )
            args = [tasks[0], *args]
        if resumes and args[0] in tasks:
            raise typer.BadParameter(_RESUME_ALONE)
        return super().parse_args(ctx, args)

    def _meant(self, name: str, tasks: list[str]) -> str | None:
        """The task that was probably meant by a name that is neither a task, an option nor a source."""
        from ostinato.data.sources.named import NAMED

        if name.startswith("-") or name in NAMED or os.path.exists(name):
            return None
        return nearest(name, tasks, typos=nearest(name, NAMED) is None and "." not in name)


class TaskCommand(TyperCommand):
    """A command with settings from recipes; its help shows their values, and --help-all shows every flag."""

    spec: TaskSpec
    settings: list[Parameter]

    def format_help(self, ctx: Command, formatter: Command) -> None:
        show_recipes(self.spec, self.settings, self.params)
        super().format_help(ctx, formatter)


def command() -> Command:
    """The group of all tasks' commands."""
    return group_command(Tasks, train, bare_is_help=False)


def train(
    ctx: typer.Context,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Resume a run that was interrupted or killed.")
    ] = None,
    epochs: Annotated[int | None, MORE] = None,
    steps: Annotated[int | None, MORE] = None,
    minutes: Annotated[float | None, MORE] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            metavar="constant|step|cosine",
            help="With --resume and a larger budget: the schedule of what is added. Without one the learning "
            "rate stays what it was at last.",
            show_default=False,
        ),
    ] = None,
    devices: Annotated[int | None, _DEVICES] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --resume: print one JSON object at the end.")
    ] = False,
) -> None:
    """Trains a model; by default a language model, see [bold]ostinato train lm --help[/bold].

    Every setting comes from a recipe (ostinato recipes); a flag overrides it.

    Example: ostinato train --resume runs/lm-001

    Example: ostinato train --resume runs/lm-001 --epochs 40
    """
    if resume is None:
        return
    if ctx.invoked_subcommand is not None:
        raise typer.BadParameter(_RESUME_ALONE)
    more = {"epochs": epochs, "steps": steps, "minutes": minutes, "schedule": schedule}
    resume_run(resume, more, devices, as_json)


# A task's command.


def task_command(spec: TaskSpec) -> Command:
    """The command that trains a task: the arguments and flags of its source, and a flag for every setting."""
    arguments, of_source = flags.of_function(spec.source)
    settings = [*flags.of_config(spec.config), *flags.of_config(TrainingConfig)]

    def run(**given: object) -> None:
        train_task(spec, arguments, of_source, settings, given)

    run.__doc__ = f"{inspect.getdoc(spec.config)}\n\nAll flags: ostinato train {spec.command} --help-all"
    parameters = [*map(flags.argument, arguments), *map(flags.option, of_source), *_run_flags(spec)]
    run.__signature__ = flags.signature([*parameters, *map(flags.option, settings)])  # pyright: ignore[reportFunctionMemberAccess]
    made = usage.click_command(run, TaskCommand, spec.command)
    made.spec, made.settings = spec, settings
    rare = {each.name for each in [*of_source, *settings] if not each.flag.common}
    for param in made.params:
        param.hidden = getattr(param, "hidden", False) or param.name in rare
    return made


def _help_all(ctx: typer.Context, asked: bool) -> None:
    """Shows every flag, and exits."""
    if asked:
        for param in ctx.command.params:
            param.hidden = False  # pyright: ignore[reportAttributeAccessIssue]
        print(ctx.get_help())
        raise typer.Exit


def _run_flags(spec: TaskSpec) -> list[inspect.Parameter]:
    return [
        own(
            "help_all",
            bool,
            typer.Option("--help-all", is_eager=True, callback=_help_all, help="Show every flag and exit."),
            False,
        ),
        own(
            "out",
            Path | None,
            typer.Option(help="The run directory.", show_default=f"runs/{spec.command}-001 and so on"),
        ),
        own(
            "overwrite",
            bool,
            typer.Option(
                "--overwrite", help="Replace the run that --out names, and the file of --save-recipe."
            ),
            False,
        ),
        own(
            "recipe",
            str | None,
            typer.Option(help="Settings by name; see ostinato recipes.", show_default="default"),
        ),
        own(
            "config",
            Path | None,
            typer.Option(metavar="FILE.toml", help="Settings from your own recipe file.", show_default=False),
        ),
        own(
            "save_recipe",
            Path | None,
            typer.Option(
                metavar="FILE.toml",
                help="Save all settings of this training as a recipe file.",
                show_default=False,
            ),
        ),
        own(
            "init_from",
            Path | None,
            typer.Option(
                metavar="RUN",
                help="Start from the weights of another run (fine-tuning), with its network and vocabulary.",
                show_default=False,
            ),
        ),
        own(
            "extend_vocabulary",
            bool,
            typer.Option(
                "--extend-vocabulary", help="With --init-from: add the source's symbols that the run lacks."
            ),
            False,
        ),
        own("devices", int | None, _DEVICES),
        own("as_json", bool, typer.Option("--json", help="Print one JSON object at the end."), False),
    ]


def train_task(
    spec: TaskSpec,
    arguments: list[Parameter],
    of_source: list[Parameter],
    settings: list[Parameter],
    given: Settings,
) -> None:
    """Checks the options, trains with a progress bar, and prints the result.

    Args:
        spec: the task.
        arguments, of_source: the arguments and flags of its source.
        settings: the flags of its settings and of training.
        given: the values by name; None for those that were not given.
    """
    _check_choices(given)
    config, training, free = resolved_settings(spec, settings, given)
    config.check_given({name for name, value in given.items() if value is not None})
    if not in_cluster():
        _check_places(given, config)
    positional = [given[each.name] for each in arguments]
    while positional and positional[-1] is None:
        positional.pop()
    source: Given | Opened = Given(tuple(positional), flags.values(of_source, given))
    if not in_cluster():
        source = Opened(spec.open(source))
    path = given["save_recipe"]
    if path is not None:
        _check_recipe(path, overwrite=given["overwrite"])
        _save_recipe(path, config, training)  # anew when a rule has chosen some of them
    if not ready():
        return
    from ostinato.training import run

    def keep(config: TaskConfig, training: TrainingConfig) -> None:
        if path is not None and free:
            _save_recipe(path, config, training)

    with progress() as view:
        trained = run.train(
            config,
            source,
            training=training,
            out=given["out"],
            overwrite=given["overwrite"],
            init_from=given["init_from"],
            extend_vocabulary=given["extend_vocabulary"],
            choose=free,
            on_settings=keep,
            devices=given["devices"],
            on_event=view,
            on_progress=view.reading,
        )
    print_trained(trained, given["as_json"])


def _check_choices(given: Settings) -> None:
    """Refuses two budgets, and two sources of settings."""
    budgets = [f"--{name}" for name in BUDGETS if given[name] is not None]
    if len(budgets) > 1:
        raise typer.BadParameter(f"a run has one budget; choose one of {', '.join(budgets)}")
    if given["recipe"] is not None and given["config"] is not None:
        raise typer.BadParameter("--recipe and --config both give the settings; choose one")
    if given["extend_vocabulary"] and given["init_from"] is None:
        raise typer.BadParameter("--extend-vocabulary extends that of another run; name it with --init-from")


def resolved_settings(
    spec: TaskSpec, parameters: list[Parameter], given: Settings
) -> tuple[TaskConfig, TrainingConfig, set[str]]:
    """The settings of a recipe or of the run to start from, overridden by flags; and the names of those that
    the task's rule may choose, which are all others where nothing but flags is given.

    Raises:
        ConfigError: a setting is unknown, out of range or contradictory.
    """
    from ostinato.runs.opened import check_start
    from ostinato.training.recipes import read_recipe, read_recipe_file

    name, chosen = spec.config.task, flags.values(parameters, given)
    free = given["recipe"] is None and given["config"] is None
    base = {}
    if given["init_from"] is not None and free:
        base = dict(check_start(given["init_from"], spec.config).task_config)
    if given["config"] is not None:
        recipe = read_recipe_file(name, given["config"])
    else:
        recipe = read_recipe(name, given["recipe"] or spec.config.usual_recipe(base | chosen))
    task = spec.config.migrated(base or dict(recipe.task))
    training = dict(recipe.training)
    if free and chosen.get("validation_fraction") == 0 and given.get("validation") is None:
        training.pop("patience", None)  # there is nothing to lose patience with
    if "units" in chosen:
        task.pop("layers", None)
    if chosen.keys() & {*BUDGETS}:
        training = {name: value for name, value in training.items() if name not in (*BUDGETS, *LIMITS)}
    task |= {name: chosen[name] for name in spec.config.model_fields if name in chosen}
    training |= {name: chosen[name] for name in TrainingConfig.model_fields if name in chosen}
    fitted = set[str]()
    if free and not base and recipe.name == "default":
        fitted = {*spec.config.model_fields, *TrainingConfig.model_fields} - chosen.keys()
        fitted -= {"units"} if "layers" in chosen else set()
    return spec.config(**task), TrainingConfig(**training), fitted


def _check_places(given: Settings, config: TaskConfig) -> None:
    """Refuses a starting run that cannot be used, and a path where no run can be written."""
    from ostinato.runs.directory import check_free
    from ostinato.runs.opened import check_start

    if given["init_from"] is not None:
        check_start(given["init_from"], type(config))
    if given["out"] is not None:
        check_free(given["out"], overwrite=given["overwrite"])
        _check_writable(given["out"])


def _check_writable(path: Path) -> None:
    """Refuses a path where no folder can be created."""
    place = Path(os.path.abspath(path)).parent
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    reason = "Not a directory" if not place.is_dir() else "Permission denied"
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise RunError(f"could not write {path}: {reason}")


def _check_recipe(path: Path, *, overwrite: bool) -> None:
    """Refuses a place where no recipe can be saved."""
    from ostinato.files.atomic import check_place

    check_place("--save-recipe", path)
    if path.exists() and not overwrite:
        raise ConfigError(f"--save-recipe {path}: the file exists; take another name, or --overwrite")


def _save_recipe(path: Path, config: TaskConfig, training: TrainingConfig) -> None:
    from ostinato.files.atomic import replace
    from ostinato.training.recipes import to_toml

    replace(path, to_toml(f"the settings of a training, kept as {path.name}", config, training).encode())
