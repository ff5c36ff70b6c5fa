"""The page of all settings, docs/settings.md, made from the configs' fields.

python -m ostinato.cli.settings_page > docs/settings.md
"""

from __future__ import annotations

from ostinato.cli import flags
from ostinato.tasks import registry
from ostinato.tasks.config import Config
from ostinato.training.config import TrainingConfig


def page() -> str:
    """The page, Markdown: a table for each task and one for training."""
    parts = [
        "# Settings",
        "Every setting of every task: the key in a recipe, the argument of the config in Python, the flag. "
        "Defaults are the config's; a recipe may set others (`ostinato train TASK --help-all` shows both). "
        "This page is made by `python -m ostinato.cli.settings_page`.",
    ]
    for spec in registry.specs():
        title = f"## `ostinato train {spec.command}`: `{spec.config.__name__}`"
        parts += [title, _table(spec.config)]
    parts += ["## Training, of all tasks: `TrainingConfig`", _table(TrainingConfig)]
    return "\n\n".join(parts) + "\n"


def _table(config: type[Config]) -> str:
    rows = ["| key | flag | default | |", "|---|---|---|---|"]
    for each in flags.of_config(config):
        field = config.model_fields[each.name]
        names = each.flag.names or (flags.dashed(each.name),)
        shown = "`, `".join(names)
        text = each.help.replace("|", "\\|")
        rows.append(f"| `{each.name}` | `{shown}` | {_shown(field.default)} | {text} |")
    return "\n".join(rows)


def _shown(value: object) -> str:
    """A default as a recipe writes it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


if __name__ == "__main__":
    print(page(), end="")
