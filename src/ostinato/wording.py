"""Values and names in messages, and the probable meaning of an unknown name."""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def shown(name: str) -> str:
    """A name or value for a message: at most 200 characters."""
    return name if len(name) <= 200 else f"{name[:200]}…"


def quoted(text: object) -> str:
    """Untrusted text for a message: at most 200 characters, and printable."""
    return printable(shown(str(text)))


def printable(text: str) -> str:
    """The text with its unprintable characters escaped, as in a Python string."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


_front_end: list[str] = ["python"]


@contextmanager
def naming_flags() -> Iterator[None]:
    """A context in which messages name settings by their flags, for the command line."""
    _front_end.append("flags")
    try:
        yield
    finally:
        _front_end.pop()


def either(python: str, command: str) -> str:
    """What to do, as code where Python shows the message, or as a command where the command line does."""
    return python if _front_end[-1] == "python" else command


def option(name: str, value: object = None) -> str:
    """A setting or argument as the user of a message gives it: `skip_bad_rows=True`, or `--skip-bad-rows`.

    Args:
        name: its name in Python.
        value: a value to give; None names it alone, as in `label=` and `--label`.
    """
    flag = f"--{name.replace('_', '-')}"
    return either(
        f"{name}={'' if value is None else repr(value)}",
        flag if value is None or value is True else f"{flag} {value}",
    )


_WRAPPED_WIDTH = 30
"""The least width of a column of a table whose texts may go on in the next line."""
_WORD = re.compile(r"(?:(?<!\w)(['\"`])[^'\"`\n]*\1(?!\w)|\S)+")


def shortened(sentence: str, at_most: int = 200) -> str:
    """A sentence of at most so many characters and "…", cut between words and not within a quoted name.

    A single word may be longer, up to twice as long.
    """
    if len(sentence) <= at_most:
        return sentence
    end = 0
    for word in _WORD.finditer(sentence):
        if end and word.end() > at_most:
            break
        end = word.end()
    kept = sentence[: min(end, 2 * at_most)]
    return kept if kept == sentence else f"{kept.rstrip(' ,;:')}…"


def print_table(table: "Table", console: "Console", wraps: Collection[str] = ()) -> None:
    """Prints a table without cutting a cell: it becomes wider than a narrow console.

    Args:
        table: the table.
        console: where to print it.
        wraps: the headings of the columns whose texts may go on in the next line.
    """
    from rich.cells import cell_len
    from rich.measure import Measurement

    for column in table.columns:
        column.no_wrap = column.header not in wraps
        cells = [cell_len(str(cell)) for cell in (column.header, *column.cells)]
        column.min_width = max(cells) if column.no_wrap else min(_WRAPPED_WIDTH, max(cells))
    width = console.width
    # The measurement of a table is at most as wide as the console.
    console.width = 10_000
    console.width = max(width, Measurement.get(console, console.options, table).minimum)
    console.print(table)
    console.width = width


# What was meant: the same name in another case, a synonym, or a typo.

_SYNONYMS = {
    # Settings and options.
    "attention": "attn attention_type attention_mechanism score_function",
    "batch": "batch_size batchsize bs minibatch mini_batch rows",
    "beam": "beam_size beam_width num_beams beams size",
    "bidirectional": "bi bidir birnn",
    "cell": "rnn rnn_type cell_type rnn_cell unit_type layer_type model model_type arch recurrence",
    "checkpoint": "ckpt checkpoint_path weights step",
    "class_weights": "class_weight weighted balanced balance",
    "clip": "clipnorm clip_norm grad_clip gradient_clip gradient_clipping max_grad_norm max_norm clipping",
    "config": "config_file cfg configuration settings yaml toml",
    "count": "num_samples n_samples samples num_texts number num_return_sequences",
    "decoder_units": "decoder_size decoder_hidden decoder_hidden_size decoder_hidden_units",
    "devices": "gpus num_gpus n_gpus device num_devices gpu",
    "dropout": "drop dropout_rate drop_prob p_drop keep_prob",
    "embedding": "emb embed embeddings emb_size embed_size embed_dim embedding_dim embedding_size d_model",
    "embedding_dropout": "embed_dropout emb_dropout spatial_dropout",
    "encoder": "tokenizer tokeniser tokenization tokenisation token_type level tokens vocab_type",
    "engine": "backend implementation impl",
    "epochs": "epoch num_epochs n_epochs max_epochs num_train_epochs passes",
    "evaluations": "eval_every eval_interval evals validate_every eval_steps",
    "file": "input input_file in infile source_file",
    "init_from": "finetune fine_tune pretrained from_pretrained initialize_from load warm_start restore_from",
    "keep": "save_total_limit keep_checkpoints max_to_keep",
    "label": "label_column target_column label_col y",
    "layers": "num_layers n_layers layer depth nlayers",
    "learning_rate": "lr learningrate alpha eta step_size base_lr rate",
    "length": "num_tokens n_tokens max_length max_len max_new_tokens chars characters size len",
    "lowercase": "lower lowercased do_lower_case",
    "max_tokens": "max_length max_len maxlen max_seq_len max_sequence_length truncate limit",
    "min_count": "min_freq min_frequency min_occurrences",
    "minutes": "time time_limit max_time max_minutes duration",
    "n_best": "nbest num_return_sequences hypotheses",
    "no_repeat": "no_repeat_ngram no_repeat_ngram_size ngram_block block_ngram",
    "optimizer": "optim opt optimiser solver",
    "out": "output output_dir output_directory outdir out_dir save save_dir save_to run_dir logdir log_dir "
    "model_dir name",
    "overwrite": "force overwrite_output_dir replace",
    "patience": "early_stopping early_stop early_stopping_patience",
    "prompt": "start start_with prefix seed_text prime context",
    "recipe": "preset profile",
    "recurrent_dropout": "rnn_dropout variational_dropout weight_drop",
    "repetition_penalty": "repeat_penalty rep_penalty frequency_penalty",
    "resume": "continue restore restart resume_from",
    "rounds": "repeat repeats runs iterations repetitions",
    "schedule": "scheduler lr_schedule lr_scheduler learning_rate_schedule decay",
    "seed": "random_seed random_state rng",
    "seq_len": "sequence_length seq_length seqlen sequence_len bptt bptt_len num_steps unroll timesteps "
    "time_steps context_length block_size window window_size tbptt",
    "source_vocabulary": "src_vocab source_vocab src_vocab_size source_vocab_size",
    "split": "part subset set",
    "steps": "max_steps num_steps n_steps iterations iters max_iters updates",
    "target_vocabulary": "tgt_vocab target_vocab tgt_vocab_size target_vocab_size",
    "temperature": "temp heat",
    "test_fraction": "test_size test_split test_ratio test_frac",
    "text": "text_column text_col x content",
    "tied": "tie tie_weights tied_weights weight_tying tie_embeddings share_embeddings",
    "top_k": "k",
    "top_p": "nucleus p",
    "units": "hidden hidden_size hidden_units hidden_dim num_units n_units nhid num_hidden hidden_layer_size "
    "rnn_size rnn_units lstm_units gru_units state_size width neurons unit size dim",
    "validation": "val valid dev development validation_file val_file valid_file dev_file",
    "validation_fraction": "validation_split val_split validation_size val_size valid_fraction val_fraction "
    "val_ratio dev_fraction",
    "vocabulary_size": "vocab_size vocab num_words max_words max_features n_words max_vocab",
    "warmup": "warmup_ratio warmup_steps warmup_fraction warm_up",
    "weight_decay": "wd l2 decay",
    "word_dropout": "token_dropout",
    "workers": "processes nproc num_workers n_workers n np nprocs",
    # Engines and what else is chosen by name.
    "native": "cpp c++ fast cudnn fused c",
    "keras": "tf tensorflow keras3",
    "scratch": "python naive numpy textbook from_scratch",
    "auto": "automatic default",
    "char": "chars character characters letter letters",
    "byte": "bytes utf8 utf_8",
    "word": "words whitespace",
    "bpe": "subword subwords sentencepiece wordpiece byte_pair byte_pair_encoding spm unigram",
    "adamw": "adam_w decoupled",
    "sgd": "stochastic_gradient_descent gradient_descent gd momentum vanilla",
    "constant": "none fixed const flat",
    "cosine": "cos cosine_annealing cosine_decay cosine_schedule",
    "step": "steps piecewise step_decay multistep",
    "additive": "bahdanau concat mlp bahdanau_attention additive_attention",
    "multiplicative": "luong dot dot_product general scaled_dot_product scaled_dot luong_attention bilinear",
    "none": "no off false null nothing without",
    "sequential": "stateful consecutive contiguous ordered in_order",
    "random": "shuffle shuffled stateless",
    "pre": "left before front",
    "post": "right after back",
    "mean": "average avg",
    "max": "maximum max_pooling global_max",
    "last": "final newest latest end recent",
    "best": "lowest optimum",
    "balanced": "balance weighted",
    "both": "all",
    "train": "training fit learn lm",
    "test": "testing held_out",
    # Commands and tasks.
    "generate": "sample write text complete",
    "predict": "classify translate infer inference label",
    "evaluate": "eval test score judge measure validate",
    "neighbors": "neighbours nearest similar neighbor neighbour most_similar",
    "bench": "benchmark profile speed time",
    "launch": "distributed mpirun torchrun run",
    "recipes": "recipe presets list",
    "info": "version doctor env environment cells status about",
    "lm": "language_model language_modeling language_modelling languagemodel",
    "classify": "classifier classification sentiment text_classification class",
    "translate": "translator translation seq2seq nmt mt encoder_decoder",
    # Texts and recipes by name.
    "pydoc": "python pydocs python_docs",
    "timemachine": "time_machine the_time_machine",
    "tinyshakespeare": "shakespeare tiny_shakespeare",
    "d2l": "textbook dive dive_into_deep_learning",
    "textbook": "d2l dive dive_into_deep_learning",
    "tutorial20": "pedersen tutorial hvass",
}
"""Synonyms by the name used here. A word may be a synonym of several names; the known ones decide."""


def _meant(synonyms: Mapping[str, str]) -> dict[str, frozenset[str]]:
    return {
        name: frozenset(re.sub(r"[^a-z0-9+]", "", word) for word in words.split())
        for name, words in synonyms.items()
    }


_MEANT = _meant(_SYNONYMS)


def nearest(
    name: object, known: Iterable[str], *, typos: bool = True, synonyms: Mapping[str, str] | None = None
) -> str | None:
    """The known name that was probably meant.

    Args:
        name: the given name.
        known: all known names.
        typos: whether to accept a name that only looks similar.
        synonyms: more synonyms, divided by blanks, by the known name that each stands for.

    Returns:
        The name that differs only in case, blanks, - and _; else the one with `name` as a synonym; else the
        most similar one; None when there is none.
    """
    meant = _MEANT | _meant(synonyms or {})
    names = {_plain(each): each for each in reversed(list(known))}
    plain = _plain(str(name))
    if plain in names:
        return names[plain]
    for each in reversed(names):
        if plain in meant.get(_snake(names[each]), ()):
            return names[each]
    like = difflib.get_close_matches(plain, names, n=1) if typos else []
    return names[like[0]] if like else None


def did_you_mean(name: object, known: Iterable[str], synonyms: Mapping[str, str] | None = None) -> str:
    """The question "did you mean 'lstm'?"; empty when no known name is similar."""
    found = nearest(name, known, synonyms=synonyms)
    return "" if found is None else f"did you mean {found!r}?"


def hint_after(name: object, known: Iterable[str], synonyms: Mapping[str, str] | None = None) -> str:
    """`did_you_mean` after a semicolon, to end a message; empty when no known name is similar."""
    question = did_you_mean(name, known, synonyms)
    return f"; {question}" if question else ""


def _plain(name: str) -> str:
    return re.sub(r"[\s_.-]", "", name.strip().lower())


def _snake(name: str) -> str:
    return name.lstrip("-").replace("-", "_").lower()
