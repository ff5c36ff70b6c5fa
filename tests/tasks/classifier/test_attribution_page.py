"""Attributions as a web page."""

from ostinato.tasks.classifier import ClassifierConfig
from ostinato.tasks.classifier.attribution_page import page

from ...ready import Ready
from .reviews import PAIRS


def test_a_page_shows_texts_and_labels_as_text():
    source = [(f"{text} {n}", f"<b>{label}</b>") for n, (text, label) in enumerate(PAIRS)]
    ready = Ready(ClassifierConfig(units=5, embedding=4), source)
    texts = ["<script>alert('great')</script> & more", "", "awful"]
    html = page(list(ready.use(ready.drawn(0.7)).attributions(texts)), "runs/<1>")
    assert "<script" not in html
    assert "&lt;script&gt;alert(&#x27;great&#x27;)&lt;/script&gt;" in html
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert html.count("<title>runs/&lt;1&gt;</title>") == 1
    assert html.count("<section>") == 3
    assert html.count('title="') == 4
    assert "nothing in it to read" in html
