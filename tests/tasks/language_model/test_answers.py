"""The texts that a language model writes."""

import numpy as np
import pytest
import tensorflow as tf

from ostinato.cells.base import initial_state
from ostinato.errors import ConfigError, EncodingError
from ostinato.tasks.language_model import LanguageModelConfig

from ...ready import Ready, stirred

WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "saw", "rain", "fall", "–", "over", "hills")
LINES = np.random.default_rng(0).choice(WORDS, size=(60, 8))
TEXT = "\n".join(map(" ".join, LINES))


def prepared(**changes) -> Ready:
    defaults = {"units": 8, "seq_len": 8, "batch": 4}
    return Ready(LanguageModelConfig(**(defaults | changes)), [TEXT])


@pytest.fixture(scope="module")
def byte_writer(tmp_path_factory):
    """The use of an untrained model, whose random bytes are seldom UTF-8."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTINATO_CACHE", str(tmp_path_factory.mktemp("cache")))
        ready = prepared(encoder="byte")
        return ready.use(ready.build())


def test_a_text_begins_with_its_prompt_and_has_the_length_asked(byte_writer):
    texts = byte_writer.generate(prompt="naïve ", length=5, count=3, seed=1)
    assert len(texts) == 3
    assert all(text.startswith("naïve ") for text in texts)
    char = prepared()
    texts = char.use(char.build()).generate(prompt="the", length=17, count=2)
    assert [len(text) for text in texts] == [20, 20]


def test_the_same_seed_writes_the_same_texts(byte_writer):
    one = byte_writer.generate(length=40, count=2, seed=7)
    assert one == byte_writer.generate(length=40, count=2, seed=7)
    assert one != byte_writer.generate(length=40, count=2, seed=8)
    assert byte_writer.generate(length=40) != byte_writer.generate(length=40)


@pytest.mark.parametrize("seed", range(4))
def test_the_text_told_piece_by_piece_is_the_whole_text(byte_writer, seed):
    told = []
    (text,) = byte_writer.generate(prompt="–", length=200, seed=seed, temperature=1.5, on_text=told.append)
    assert "".join(told) == text
    assert len(told) > 2
    assert "\ufffd" in text


def test_a_prompt_with_strangers_is_refused_by_name():
    ready = prepared()
    with pytest.raises(EncodingError, match="'Z'"):
        ready.use(ready.build()).generate(prompt="the Zebra")


def test_the_unknown_word_is_never_written():
    ready = prepared(encoder="word", min_count=40)
    (text,) = ready.use(ready.build()).generate(length=300, temperature=2.0, seed=0)
    assert "<unk>" not in text


@pytest.mark.parametrize(
    ("name", "value"),
    [("length", 0), ("length", 10**9), ("count", 0), ("count", 10**6), ("top_k", 0), ("top_p", 2.0)],
)
def test_values_out_of_range_are_refused_by_name(byte_writer, name, value):
    with pytest.raises(ConfigError, match=f"{name} must be .*, got {value}"):
        byte_writer.generate(**{name: value})


def test_a_beam_as_wide_as_the_vocabulary_finds_the_likeliest_two_tokens():
    ready = prepared()
    model, encoder = stirred(ready.build(), 0.7, seed=4), ready.data.encoder
    found = ready.use(model).generate(prompt="the c", length=2, beam=encoder.size, count=5)

    ids = encoder.encode("the c").astype(np.int32)[np.newaxis]
    pairs = np.array(list(np.ndindex(encoder.size, encoder.size)), np.int32)
    texts = np.concatenate([np.repeat(ids, len(pairs), axis=0), pairs], axis=1)
    logits, _ = model(tf.constant(texts), initial_state(ready.task.states(model), len(texts)))
    logs = tf.gather(tf.nn.log_softmax(logits[:, :-1]), texts[:, 1:], batch_dims=2).numpy()[:, -2:].sum(1)
    likeliest = np.argsort(-logs)[:5]
    assert found == [encoder.decode(texts[number]) for number in likeliest]


def test_a_beam_of_one_writes_what_temperature_zero_writes():
    ready = prepared(cell="lstm", units=(8, 6))
    use = ready.use(ready.build())
    for prompt in ("", "t", "the cat"):
        greedy = use.generate(prompt=prompt, length=50, temperature=0.0)
        assert use.generate(prompt=prompt, length=50, beam=1) == greedy


def test_without_repeats_no_sequence_of_so_many_tokens_is_written_twice():
    ready = prepared()
    use = ready.use(ready.build())
    for text in use.generate(length=60, beam=3, count=3, no_repeat=2):
        pairs = [text[at : at + 2] for at in range(59)]
        assert len(set(pairs)) == 59
    (text,) = use.generate(length=60, beam=3)
    assert len({text[at : at + 2] for at in range(59)}) < 59


def test_the_unknown_word_is_never_found_and_the_text_is_told_once():
    ready, told = prepared(encoder="word", min_count=35), []
    assert ready.data.encoder.unknown is not None
    texts = ready.use(ready.build()).generate(length=20, beam=5, count=5, on_text=told.append)
    assert len(set(texts)) == 5
    assert not any("<unk>" in text for text in texts)
    assert told == [texts[0]]


def test_where_there_are_fewer_texts_than_asked_for_fewer_come():
    ready = prepared(encoder="word", min_count=40)
    size = ready.data.encoder.size
    known = size - (ready.data.encoder.unknown is not None)
    assert len(ready.use(ready.build()).generate(length=1, beam=size, count=size)) == known


def test_one_graph_searches_for_every_prompt_length_and_count():
    ready = prepared()
    model, traces = ready.build(), []
    model_call = model.call
    model.call = lambda *arguments: traces.append(arguments[0].shape) or model_call(*arguments)
    use = ready.use(model)
    for prompt, length, count in (("the", 5, 1), ("a mat", 9, 2), ("cat", 3, 3), ("rain fall", 8, 1)):
        use.generate(prompt=prompt, length=length, count=count, beam=3)
    assert len([shape for shape in traces if shape[1] == 1]) == 1
