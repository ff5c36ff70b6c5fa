"""Attributions as a web page: each word is coloured by its contribution."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ostinato.tasks.classifier.attribution import Attribution


def page(attributions: Sequence[Attribution], title: str) -> str:
    """A complete HTML page without scripts or external resources.

    Args:
        attributions: the attributions of any number of texts.
        title: the title of the page, for example the path of the run.
    """
    texts = "\n".join(map(_section, attributions))
    return _PAGE.format(style=_STYLE, title=escape(title), texts=texts)


def _section(attribution: Attribution) -> str:
    prediction = attribution.prediction
    label = escape(prediction.label) or "no label"
    notes = [f"probability {prediction.probability:.4f}"]
    if attribution.towards != prediction.label:
        notes.append(f"likeliest: {escape(attribution.towards)}")
    if prediction.empty:
        notes.append("nothing in it to read: these are the shares of the training texts")
    else:
        notes.append(f"score {attribution.score:+.3f}, of the baseline {attribution.baseline:+.3f}")
    if prediction.cut:
        others = (
            "of its other words only n-grams were read"
            if attribution.whole
            else "only what was read is shown"
        )
        notes.append(f"the text was cut: {others}")
    if not attribution.adds_up:
        notes.append(f"{attribution.gap:.3f} of the difference could not be told to come from any word")
    words = " ".join(
        _marked(word, contribution, strength)
        for (word, contribution), strength in zip(
            attribution.contributions, attribution.strengths, strict=True
        )
    )
    return f"<section>\n<h2>{label}</h2>\n<p class=notes>{'; '.join(notes)}</p>\n<p>{words}</p>\n</section>"


def _marked(word: str, contribution: float, strength: float) -> str:
    side = "for" if strength > 0 else "against"
    return (
        f'<span class={side} style="--strength: {abs(strength):.2f}" title="{contribution:+.3f}">'
        f"{escape(word)}</span>"
    )


_STYLE = """\
body { font: 16px/1.7 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem;
       color: #111; background: #fff; }
section { border-top: 1px solid #ccc; margin-top: 1.5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin-bottom: 0; }
.notes { color: #555; font-size: 0.85rem; margin: 0; }
span { border-radius: 3px; padding: 1px 2px; }
.for { background: rgb(40 160 70 / calc(var(--strength) * 0.75)); }
.against { background: rgb(220 50 47 / calc(var(--strength) * 0.75));
           text-decoration: underline dotted rgb(0 0 0 / var(--strength)); }"""

_PAGE = """\
<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<h1>{title}</h1>
<p><span class=for style="--strength: 1">Green</span> words pushed the score towards the label,
<span class=against style="--strength: 1">red</span> words away from it; the stronger the colour, the more,
compared with the other words of the same text. The number that appears over a word is its contribution: all
of a text add up to its score less that of the baseline, a text whose words all have the embedding zero
(integrated gradients, <i>arXiv:1703.01365</i>).</p>
{texts}
</body>
</html>
"""
