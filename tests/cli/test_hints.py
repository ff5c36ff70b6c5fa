"""What was probably meant: the same in another case, a usual word, a typo; in commands and in Python."""

import pytest

import ostinato as package
from ostinato.wording import _SYNONYMS, did_you_mean, nearest

OPTIONS = {
    "train lm": {
        "--units": "--hidden --hidden-size --num-units --hidden-units --UNITS --hidden_size",
        "--learning-rate": "--learningrate --alpha",
        "--batch": "--batch-size --bs",
        "--layers": "--num-layers --n-layers",
        "--seq-len": "--sequence-length --seq-length --bptt --seq_len",
        "--epochs": "--epoch --num-epochs",
        "--out": "--output --output-dir",
        "--embedding": "--emb --embedding-dim --embed --embedding-size",
        "--cell": "--rnn --model --rnn-type",
        "--encoder": "--tokenizer",
        "--test-fraction": "--test-size --test-split",
        "--validation-fraction": "--val-split --validation-split",
        "--vocabulary-size": "--vocab-size --vocab",
        "--optimizer": "--optim",
        "--schedule": "--scheduler",
        "--init-from": "--finetune --pretrained",
        "--patience": "--early-stopping",
        "--clip": "--grad-clip",
    },
    "train translate": {"--source-vocabulary": "--src-vocab-size", "--decoder-units": "--decoder-size"},
    "train classify": {"--text": "--text-column", "--label": "--target-column"},
    "generate": {
        "--temperature": "--temp",
        "--count": "--num-samples --samples",
        "--length": "--max-new-tokens --num-tokens",
        "--prompt": "--prefix",
        "--beam": "--beam-size --num-beams",
    },
    "predict": {"--n-best": "--nbest --num-return-sequences", "--file": "--input"},
    "bench": {"--rounds": "--repeat"},
    "launch": {"--workers": "--nproc --wrokers"},
}


@pytest.mark.parametrize(
    ("command", "given", "meant"),
    [
        (command, given, meant)
        for command, options in OPTIONS.items()
        for meant, words in options.items()
        for given in words.split()
    ],
)
def test_an_option_by_its_usual_name_is_told_its_name_here(ostinato, folder, command, given, meant):
    answer = ostinato(*command.split(), given, "3")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == f"Error: No such option: {given}; did you mean {meant!r}?\n"


def test_an_option_that_is_like_none_gets_no_hint(ostinato):
    assert ostinato("train", "lm", "--dry").err == "Error: No such option: --dry\n"


@pytest.mark.parametrize(
    ("task", "flag", "given", "meant"),
    [
        ("lm", "--cell", "LSTM", "lstm"),
        ("lm", "--cell", "SimpleRNN", "rnn"),
        ("lm", "--cell", "BiLSTM", "lstm"),
        ("lm", "--optimizer", "Adam", "adam"),
        ("lm", "--optimizer", "AdamW", "adamw"),
        ("lm", "--schedule", "Cosine", "cosine"),
        ("lm", "--schedule", "cosine-annealing", "cosine"),
        ("lm", "--encoder", "BPE", "bpe"),
        ("lm", "--encoder", "sentencepiece", "bpe"),
        ("lm", "--engine", "Native", "native"),
        ("lm", "--engine", "tensorflow", "keras"),
        ("lm", "--sampling", "stateful", "sequential"),
        ("lm", "--normalize", "None", "none"),
        ("lm", "--recipe", "D2L", "d2l"),
        ("lm", "--recipe", "textbook", "d2l"),
        ("translate", "--attention", "Bahdanau", "additive"),
        ("translate", "--attention", "Luong", "multiplicative"),
        ("translate", "--recipe", "D2L", "textbook"),
    ],
)
def test_a_choice_by_its_usual_name_is_told_its_name_here(ostinato, folder, task, flag, given, meant):
    answer = ostinato("train", task, "text.txt", flag, given)
    assert answer.code == 2
    assert f"did you mean {meant!r}?" in answer.err.replace("Did", "did")


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["train", "LM"], "did you mean ostinato train lm?"),
        (["train", "language-model"], "did you mean ostinato train lm?"),
        (["train", "translator"], "did you mean ostinato train translate?"),
        (["train", "classifier"], "did you mean ostinato train classify?"),
        (["train", "clasify"], "did you mean ostinato train classify?"),
        (["train", "TimeMachine"], "did you mean 'timemachine'?"),
        (["trian"], "did you mean 'train'?"),
        (["Train"], "did you mean 'train'?"),
        (["sample"], "did you mean 'generate'?"),
        (["eval"], "did you mean 'evaluate'?"),
        (["benchmark"], "did you mean 'bench'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_task_or_corpus_by_its_usual_name_is_told_its_name_here(ostinato, folder, arguments, meant):
    answer = ostinato(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert meant in answer.err
    assert answer.err.count("\n") == 1


def test_a_file_called_like_a_task_is_a_text(ostinato, folder):
    (folder / "translator").write_text("ab")
    assert "too few for one window" in ostinato("train", "translator").err


@pytest.mark.parametrize(
    ("config", "settings", "meant"),
    [
        ("LanguageModelConfig", {"cell": "LSTM"}, "lstm"),
        ("LanguageModelConfig", {"encoder": "Char"}, "char"),
        ("LanguageModelConfig", {"engine": "Keras"}, "keras"),
        ("LanguageModelConfig", {"hidden_size": 8}, "units"),
        ("LanguageModelConfig", {"bptt": 8}, "seq_len"),
        ("ClassifierConfig", {"pooling": "average"}, "mean"),
        ("TranslatorConfig", {"attention": "Bahdanau"}, "additive"),
        ("TrainingConfig", {"optimizer": "Adam"}, "adam"),
        ("TrainingConfig", {"lr": 1}, "learning_rate"),
    ],
)
def test_a_config_in_python_gives_the_same_hints(config, settings, meant):
    with pytest.raises(package.OstinatoError, match=f"[Dd]id you mean '{meant}'"):
        getattr(package, config)(**settings)


def test_what_is_known_comes_before_what_it_is_usual_for():
    assert nearest("rnn", ("rnn", "cell")) == "rnn"
    assert nearest("Label", ("label", "predict")) == "label"


def test_only_names_that_are_known_are_meant():
    for words in _SYNONYMS.values():
        for word in words.split():
            assert nearest(word, (), typos=True) is None
            assert did_you_mean(word, ("zzzzzzzz",)) == ""
