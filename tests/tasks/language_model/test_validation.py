"""How much of the validation part a training reads, and an evaluation."""

from ostinato.tasks.language_model import LanguageModel, LanguageModelConfig


def test_training_reads_the_beginning_of_a_long_validation_part_and_evaluation_all_of_it():
    config = LanguageModelConfig(units=8, seq_len=8, batch=4, validation_fraction=0.5, validation_tokens=41)
    task = LanguageModel(config)
    task.prepare(["the cat sat on a mat\n" * 40])
    assert sum(batch["weights"].sum() for batch in task.batches("validation")) == 40

    whole = task.for_evaluation(whole=False)
    whole.prepare(["the cat sat on a mat\n" * 40])
    assert sum(batch["weights"].sum() for batch in whole.batches("validation")) == 419
