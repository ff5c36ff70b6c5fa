"""ostinato train: one command per task, and --resume for the runs of all"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ostinato.cli import options
from ostinato.cli.defaults import RecipesCommand
from ostinato.cli.start import in_cluster, progress, ready, tell
from ostinato.cli.train_classify import classifier
from ostinato.cli.train_lm import language_model
from ostinato.cli.train_translate import translator
from ostinato.wording import nearest

_RESUME_ALONE = "--resume takes every setting from the run; leave out the task and its options"


class _DefaultTask(TyperGroup):
    """`ostinato train …` without a task's name is `ostinato train lm …`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        resumes = any(arg.split("=")[0] == "--resume" for arg in args)
        if not resumes and (not args or args[0] not in {*self.commands, *ctx.help_option_names}):
            if args and (meant := self._meant(args[0])):
                raise typer.BadParameter(
                    f"there is no task, text or corpus {args[0]!r}; did you mean ostinato train {meant}?"
                )
            args = ["lm", *args]
        if resumes and args[0] in self.commands:
            raise typer.BadParameter(_RESUME_ALONE)
        return super().parse_args(ctx, args)

    def _meant(self, name: str) -> str | None:
        """The task that a name stands for, which is neither a task, an option nor a source."""
        from ostinato.data.sources.named import NAMED

        if name.startswith("-") or name in NAMED or os.path.exists(name):
            return None
        return nearest(name, self.commands, typos=nearest(name, NAMED) is None and "." not in name)


app = typer.Typer(
    cls=_DefaultTask, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)


@app.callback()
def train(
    ctx: typer.Context,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Go on with a run that was interrupted or killed.")
    ] = None,
    devices: options.Devices = None,
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
    if not in_cluster():
        from ostinato.cli.runs import check_resume

        check_resume(resume)
    if not ready():
        return
    from ostinato.training import run as training

    with progress() as view:
        trained = training.resume(resume, devices=devices, on_event=view, on_progress=view.reading)
    tell(trained, as_json)


app.command("lm", cls=RecipesCommand)(language_model)
app.command("classify", cls=RecipesCommand)(classifier)
app.command("translate", cls=RecipesCommand)(translator)
