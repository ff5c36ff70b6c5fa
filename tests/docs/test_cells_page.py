"""docs/cells.md has the card of every cell, as the cells themselves make it, and a drawing."""

import pytest

from ostinato.cells import registry
from ostinato.cells.diagram import draw, traced
from ostinato.cli.cells_page import with_cards

from .pages import REPOSITORY, read


def test_the_cards_are_the_cells():
    page = read("docs/cells.md")
    assert with_cards(page) == page  # else: python -m ostinato.cli.cells_page docs


@pytest.mark.parametrize("name", registry.OWN)
def test_a_cell_has_a_drawing_that_begins_with_x_and_ends_with_its_state(name, tmp_path):
    assert (REPOSITORY / "docs" / "images" / "cells" / f"{name}.png").stat().st_size > 1000
    cell = registry.find(name)
    nodes = traced(cell).nodes
    assert "x" in [node.label for node in nodes if node.kind == "input"]
    ends = [node.label for node in nodes if node.kind == "output"]
    assert ends[: len(cell.states)] == [f"{spec.name}'" for spec in cell.states]
    draw(cell, tmp_path / "cell.png")
    assert (tmp_path / "cell.png").stat().st_size > 1000


def test_products_are_counted_from_the_step():
    assert traced(registry.find("lstm"), 8, 3).multiplications == (3 + 8) * 4 * 8
    assert traced(registry.find("mingru"), 8, 8).multiplications == 8 * 2 * 8
    assert traced(registry.find("rg-lru"), 128, 128).multiplications == 128 * 2 * 64
