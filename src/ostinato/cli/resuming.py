"""`ostinato train --resume RUN`: an interrupted run ends, a finished one goes on with a larger budget."""

from __future__ import annotations

from pathlib import Path

import typer

from ostinato.cli.flags import Values
from ostinato.cli.training import in_cluster, print_trained, progress, ready

MORE = typer.Option(
    help="With --resume: a finished run goes on until it has had so many, counted from its beginning.",
    show_default=False,
)


def resume_run(run: Path, more: Values, devices: int | None, as_json: bool) -> None:
    """Resumes a run with a progress bar, and prints the result.

    Args:
        run: the run directory.
        more: `epochs`, `steps`, `minutes` and `schedule` of a larger budget; None for those not given.
        devices: as for `ostinato.resume`.
        as_json: whether the result is printed as JSON.
    """
    from ostinato.training.continuing import More

    More.of(**more)
    if not in_cluster():
        from ostinato.runs.opened import check_resume

        check_resume(run)
    if not ready():
        return
    from ostinato.training import run as training

    with progress() as view:
        trained = training.resume(run, **more, devices=devices, on_event=view, on_progress=view.reading)
    print_trained(trained, as_json)
