"""Where written texts end, and what they begin with."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.data.encoders.byte import ByteEncoder
from ostinato.data.encoders.char import CharEncoder
from ostinato.errors import ConfigError, EncodingError
from ostinato.tasks.language_model import LanguageModelConfig
from ostinato.tasks.language_model.endings import Endings
from ostinato.tasks.language_model.vocabulary import LanguageVocabulary

from ...ready import Ready, stirred

TEXT = "abab cab\nbac abba cc?\n" * 12


@pytest.fixture(scope="module")
def use(tmp_path_factory):
    """The use of an untrained model of one long text."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTINATO_CACHE", str(tmp_path_factory.mktemp("cache")))
        ready = Ready(LanguageModelConfig(units=6, seq_len=8, batch=4, cell="gru"), [TEXT])
        return ready.use(stirred(ready.build(), 0.3))


@given(st.text("abé", min_size=1, max_size=40), st.text("abé", min_size=1, max_size=3), st.integers(1, 9))
def test_what_is_sure_only_grows_and_ends_as_the_text_before_the_stop(text, stop, step):
    words = LanguageVocabulary(ByteEncoder())
    ids = words.prompt("é" + text)
    endings = Endings(words, ids[:2], stop)
    told, ended = "", False
    for size in range(step, len(ids) + step, step):
        found, ended = endings.text(ids[2:][:size])
        sure = endings.sure(found, ended)
        assert sure.startswith(told)
        told = sure
        if ended:
            break
    expected = text.find(stop)
    assert ended == (expected >= 0)
    assert endings.text(ids[2:])[0] == "é" + (text if expected < 0 else text[:expected])


def test_a_line_ends_at_its_end_symbol_and_rows_when_all_have_ended():
    words = LanguageVocabulary(CharEncoder("ab"), lines=True)
    end = words.end
    endings = Endings(words, words.prompt("b"), None)
    rows = np.array([[0, 1, end, 0], [end, 1, 1, 1]])
    assert [endings.text(row)[0] for row in rows] == ["bab", "b"]
    assert endings.all_ended(rows)
    assert not endings.all_ended(rows[:, :1])
    assert not Endings(LanguageVocabulary(CharEncoder("ab")), rows[0, :0], None).all_ended(rows)


@pytest.mark.parametrize("options", [{"seed": 3}, {"beam": 3}], ids=["sampled", "searched"])
def test_a_text_ends_before_the_stop_and_not_within_the_prompt(use, options):
    whole = use.generate(prompt="ab ", length=60, **options)[0]
    stop = whole[20:22]
    (text,) = use.generate(prompt="ab ", length=60, stop=stop, **options)
    assert text == whole[: whole.index(stop, 3)]
    assert use.generate(prompt=f"ab {stop}", length=9, stop=stop, seed=1)[0].startswith(f"ab {stop}")


def test_every_prompt_is_continued_in_order_and_on_its_own(use):
    prompts = ["ab", "", "cab"]
    texts = use.generate(prompts=prompts, count=2, length=9, seed=4)
    assert len(texts) == 6
    for number, each in enumerate(prompts):
        assert texts[:2] == use.generate(prompt=each, count=2, length=9, seed=4 + number)
        texts = texts[2:]


def test_unknown_symbols_of_a_prompt_are_dropped_or_replaced(use):
    with pytest.raises(EncodingError, match="'X'"):
        use.generate(prompt="aXb")
    assert use.generate(prompt="aXb", unknown="drop", length=1)[0].startswith("ab")
    assert use.generate(prompt="aXb", unknown="replace", length=1)[0].startswith("a?b")
    words = Ready(LanguageModelConfig(encoder="word", seq_len=2, batch=1), [TEXT]).data.vocabulary
    words = LanguageVocabulary.from_json(words)
    assert words.text(words.prompt("abab dog cab", "drop")) == "abab cab"
    assert words.text(words.prompt("abab dog cab", "replace")) == "abab<unk> cab"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"prompt": "a", "prompts": ["b"]}, "prompt and prompts both say what texts begin with"),
        ({"prompts": []}, r"prompts must be a list of at least one text, got \[\]"),
        ({"prompts": "ab"}, "prompts must be a list of at least one text, got 'ab'"),
        ({"stop": ""}, "stop must not be empty"),
        ({"unique": True}, "unique needs a model of lines; train one with lines=True"),
        ({"unknown": "skip"}, "unknown must be error, drop or replace, got skip"),
    ],
)
def test_options_that_do_not_work_are_refused(use, options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        use.generate(**options)
