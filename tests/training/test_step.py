"""What a step learns from a batch."""

import numpy as np
import pytest
import tensorflow as tf

from ostinato.cells.base import initial_state
from ostinato.tasks.language_model import LanguageModelConfig
from ostinato.training.config import TrainingConfig
from ostinato.training.optimizers import Optimizer
from ostinato.training.step import as_tensors, make_train_step

from .. import forks
from ..ready import Ready
from ..tiny import text


@pytest.fixture
def ready() -> Ready:
    config = LanguageModelConfig(cell="gru", units=8, seq_len=8, batch=4, output_dropout=0.3)
    return Ready(config, [text(90)])


@pytest.mark.parametrize("clip", [None, 0.01, 1e6])
def test_a_step_takes_the_mean_gradient_clipped_by_its_global_norm(ready, clip):
    config = TrainingConfig(optimizer="sgd", clip=clip)
    model = ready.drawn()
    batch = next(ready.batches(epoch=0))
    batch["weights"][0, :5] = 0.0
    batch, state = as_tensors(batch), initial_state(ready.task.states(model), 4)
    weights = [variable.value for variable in model.trainable_variables]
    with tf.GradientTape() as tape:
        total, weight, _, expected_state, _ = ready.task.loss(model, batch, state, step=tf.constant(7))
        mean = total / weight
    gradients = tape.gradient(mean, weights)
    norm = np.sqrt(sum(np.sum(np.square(gradient)) for gradient in gradients))
    scale = 0.3 * (1.0 if clip is None else min(1.0, clip / norm))
    expected = [
        weight.numpy() - scale * gradient for weight, gradient in zip(weights, gradients, strict=True)
    ]

    optimizer = Optimizer(config, [str(number) for number in range(len(weights))], model.trainable_variables)
    train_step = make_train_step(ready.task, model, ready.part().signature, optimizer)
    loss, counted, sums, told_norm, (new_state,), signals = train_step(
        (batch,), (state,), tf.constant(7), tf.constant(0.3, tf.float32), tf.constant([1.0, 0.0])
    )
    assert signals.numpy().tolist() == [1.0, 0.0]
    assert float(loss) == pytest.approx(float(total), rel=1e-5)
    assert float(counted) == float(weight) == 27.0
    assert float(sums["characters"]) == 27.0
    assert float(told_norm) == pytest.approx(norm, rel=1e-5)
    for variable, array in zip(weights, expected, strict=True):
        np.testing.assert_allclose(variable, array, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(new_state[0], expected_state[0], atol=1e-6)


TWO_REPLICAS = """
import numpy as np
import tensorflow as tf

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from ostinato.cells.base import initial_state
from ostinato.runs import weights
from ostinato.tasks.language_model import LanguageModel, LanguageModelConfig
from ostinato.tasks.language_model.source import open_source
from ostinato.training.config import TrainingConfig
from ostinato.training.optimizers import Optimizer
from ostinato.training.step import as_tensors, make_train_step
from ostinato.training.workers import Workers

def trained(strategy):
    task = LanguageModel(LanguageModelConfig(cell="gru", units=8, seq_len=8, batch=4, output_dropout=0.3))
    data = task.read(open_source(["the cat sat on a mat\\n" * 60]))
    part = data.part("train")
    workers, config = Workers(strategy), TrainingConfig(optimizer="adam", clip=0.1)
    count = workers.replica_count
    with strategy.scope():
        model = task.build(data.vocabulary)
        names = weights.names(model, model.trainable_variables)
        optimizer = Optimizer(config, names, model.trainable_variables)
        step = make_train_step(task, model, part.signature, optimizer, workers)
        shards = [part.batches(epoch=0, shard=(index, count)) for index in range(count)]
        states = (initial_state(task.states(model), 4 // count),) * count
        for number, batches in zip(range(3), zip(*shards)):
            batches = tuple(as_tensors(batch) for batch in batches)
            signals = tf.constant([1.0, number])
            learned = step(batches, states, tf.constant(number), tf.constant(0.1), signals)
            assert learned.signals.numpy().tolist() == [1.0, number]
            states = learned.states
        return [variable.numpy() for variable in model.trainable_variables]

one = trained(tf.distribute.get_strategy())
two = trained(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
for array, same in zip(one, two, strict=True):
    np.testing.assert_allclose(array, same, rtol=1e-4, atol=1e-5)
print("equal")
"""


def test_two_replicas_with_half_the_rows_each_learn_what_one_worker_learns():
    done = forks.run("-c", TWO_REPLICAS)
    assert done.stdout == "equal\n", done.stderr
