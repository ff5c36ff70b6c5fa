"""Small pictures, whose parts nothing arranges: at full size they are a fifth of a tiny training."""

from matplotlib.figure import Figure

draw = Figure.savefig


def savefig(figure, *arguments, **options):
    """`Figure.savefig` in the tests."""
    figure.set_layout_engine("none")
    return draw(figure, *arguments, **options | {"dpi": 20})
