"""The page of settings is made from the configs."""

from pathlib import Path

from ostinato.cli.settings_page import page


def test_the_page_is_what_the_configs_say():
    assert (Path(__file__).parents[2] / "docs" / "settings.md").read_text() == page()
