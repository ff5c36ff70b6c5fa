"""Runs of tasks, exported, and used by the examples, which import neither TensorFlow nor ostinato."""

import csv
import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ostinato
from ostinato.decoding.beam import Beam
from ostinato.tasks.classifier import ClassifierConfig
from ostinato.tasks.language_model import LanguageModelConfig
from ostinato.tasks.translator import TranslatorConfig
from ostinato.training.config import TrainingConfig

from ..tiny import WORDS, made_once, text

pytest.importorskip("tf2onnx")
pytest.importorskip("onnxruntime")
EXAMPLES = Path(__file__).parents[2] / "examples" / "onnx"
TRAINING = TrainingConfig(steps=60)
# Whoever imports these in an example fails.
ALONE = "import sys; sys.modules |= {'tensorflow': None, 'keras': None, 'ostinato': None}; "


def run_example(name, *arguments, given):
    program = f"{ALONE}import runpy; sys.path.insert(0, {str(EXAMPLES)!r}); sys.argv = sys.argv[1:]; " + (
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", program, EXAMPLES / name, *arguments]
    done = subprocess.run([*map(str, command)], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def distinct(run, stddev=0.3):
    """Greater weights, so that no two scores are nearly the same."""
    random = np.random.default_rng(4)
    for variable in run.model.trainable_variables:
        variable.assign_add(stddev * random.normal(size=variable.shape))
    return run


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    def make(folder):
        (folder / "text.txt").write_text(text())
        config = LanguageModelConfig(cell="lstm", units=(48,), seq_len=30, batch=4)
        ostinato.train(config, folder / "text.txt", training=TRAINING, out=folder / "run")

    return made_once(tmp_path_factory, "a language model to export", make) / "run"


@pytest.fixture(scope="module")
def tokens(language_model):
    """A thousand tokens that the run itself writes after a prompt."""
    run = ostinato.load(language_model)
    (written,) = run.generate(prompt="the cat", length=1000, beam=1)
    return written


def test_a_thousand_tokens_of_a_language_model_in_onnx(language_model, tokens, tmp_path):
    report = ostinato.export(language_model, tmp_path / "model.onnx")
    assert [each.name for each in report.inputs] == ["tokens"]
    assert report.states[0][1].name == "layer_0_h_out"
    printed = run_example("language_model.py", tmp_path / "model.onnx", "--length", "1000", given="the cat\n")
    assert printed.rstrip("\n") == tokens.replace("\n", "\\n")
    ostinato.export(language_model, tmp_path / "small.onnx", quantize="int8-weights")
    printed = run_example("language_model.py", tmp_path / "small.onnx", "--length", "40", given="the cat\n")
    assert printed.rstrip("\n") == tokens.replace("\n", "\\n")[: len(printed.rstrip("\n"))]


def _greedy(step, encoder, prompt, length):
    """Tokens by a function from an id to the logits behind it."""
    for each in encoder.encode(prompt):
        logits = step(int(each))
    written = []
    while len(written) < length:
        written.append(int(np.argmax(logits)))
        logits = step(written[-1])
    return prompt + encoder.decode(written)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_a_thousand_tokens_of_a_language_model_in_c(language_model, tokens, tmp_path):
    ostinato.export(language_model, tmp_path / "lm.h")
    program = (
        '#include "lm.h"\nstatic lm_state state;\nvoid begin(void) { lm_init(&state); }\n'
        "void go(int id, float *logits) { lm_step(&state, id); lm_read(&state, logits); }\n"
    )
    (tmp_path / "run.c").write_text(program)
    made = [
        "gcc",
        "-std=c99",
        "-O2",
        "-shared",
        "-fPIC",
        tmp_path / "run.c",
        "-o",
        tmp_path / "run.so",
        "-lm",
    ]
    subprocess.run(made, check=True)
    library, run = ctypes.CDLL(str(tmp_path / "run.so")), ostinato.load(language_model)
    library.begin()
    logits = np.zeros(run.use._words.size, np.float32)

    def step(token):
        library.go(token, logits.ctypes.data_as(ctypes.c_void_p))
        return logits

    assert _greedy(step, run.use._words.encoder, "the cat", 1000) == tokens


def test_a_thousand_tokens_of_a_language_model_in_litert(language_model, tokens, tmp_path):
    interpreters = pytest.importorskip("ai_edge_litert.interpreter")
    ostinato.export(language_model, tmp_path / "lm.tflite")
    interpreter = interpreters.Interpreter(model_path=str(tmp_path / "lm.tflite"))
    runner = interpreter.get_signature_runner("step")
    state = {name: np.zeros((1, 48), np.float32) for name in ("layer_0_h", "layer_0_c")}

    def step(token):
        found = runner(tokens=np.array([[token]], np.int32), **state)
        state.update({name: found[f"{name}_out"] for name in state})
        return found["logits"][0, 0]

    encoder = ostinato.load(language_model).use._words.encoder
    assert _greedy(step, encoder, "the cat", 1000) == tokens


@pytest.mark.parametrize(
    "options", [{}, {"pooling": "last", "masked": False}, {"bidirectional": True, "encoder": "char"}]
)
def test_labels_of_a_classifier(options, tmp_path):
    random = np.random.default_rng(5)
    texts = [" ".join(random.choice(WORDS, size=random.integers(1, 12))) for _ in range(200)]
    with open(tmp_path / "table.csv", "w") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows([each, "rain" if "rain" in each else "dry"] for each in texts)
    config = ClassifierConfig(units=(8,), embedding=8, **options)
    run = ostinato.train(config, tmp_path / "table.csv", training=TRAINING, out=tmp_path / "run")
    ostinato.export(tmp_path / "run", tmp_path / "model.onnx")
    asked = [*texts, "", "?! zzz", "The  CAT\tsat"]
    printed = run_example("classify.py", tmp_path / "model.onnx", given="\n".join(asked) + "\n").splitlines()
    for line, wanted in zip(printed, run.predict(asked), strict=True):
        label, probability = line.split()
        assert label == wanted.label
        assert abs(float(probability) - wanted.probability) < 2e-4


@pytest.mark.parametrize(
    ("attention", "options"),
    [
        ("multiplicative", {"lexical": True, "source_ngrams": 4, "ngram_rows": 997}),
        ("multiplicative", {"seeds": 2}),
        pytest.param("additive", {"lexical": True, "seeds": 2}, marks=pytest.mark.thorough),
        pytest.param("none", {}, marks=pytest.mark.thorough),
    ],
)
def test_translations(attention, options, tmp_path):
    random = np.random.default_rng(6)
    sources = [" ".join(random.choice(WORDS, size=random.integers(1, 9))) for _ in range(200)]
    pairs = "\n".join(f"{each}\t{' '.join(word.upper() for word in each.split()[::-1])}" for each in sources)
    (tmp_path / "pairs.tsv").write_text(pairs + "\n")
    config = TranslatorConfig(units=(16,), embedding=12, attention=attention, **options)
    run = distinct(ostinato.train(config, tmp_path / "pairs.tsv", training=TRAINING, out=tmp_path / "run"))
    from ostinato.exports import export as exports

    # The run with the greater weights is the one in memory.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exports, "_source", lambda given: given)
        report = exports.export(run, tmp_path / "model.onnx")
    assert [Path(part.path).name for part in report.parts] == ["model.step.onnx"]
    for layer in run.model._flatten_layers():
        if getattr(layer, "engine", None) == "native":
            layer.engine = "auto"
    asked = [*sources, "", "zzz", "The CAT"]
    for size in (1, 5):
        wanted = [each.text for each in run.predict(asked, beam=Beam(size=size))]
        given = "\n".join(asked) + "\n"
        found = run_example("translate.py", tmp_path / "model.onnx", "--beam", size, given=given)
        assert found.removesuffix("\n").split("\n") == wanted  # a translation may have other ends of lines


def test_music_says_that_it_cannot_be_exported(tmp_path):
    from ostinato.errors import ExportError
    from ostinato.exports import runs

    class Run:
        use = object()
        directory = type("Directory", (), {"task": "music"})

    with pytest.raises(ExportError, match="a music run cannot be exported yet"):
        runs.networks_of(Run(), operators=True)
