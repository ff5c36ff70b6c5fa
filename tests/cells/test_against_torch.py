"""PyTorch's LSTM with a projection beside ours, live. Needs torch: `make test-torch`."""

import numpy as np
import pytest
import tensorflow as tf

from ostinato.layers import LSTM

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(("features", "units", "outputs"), [(5, 9, 4), (1, 40, 39), (33, 16, 1)])
def test_the_projection_is_that_of_pytorch(features, units, outputs):
    torch.manual_seed(0)
    module = torch.nn.LSTM(features, units, proj_size=outputs, batch_first=True)
    layer = LSTM(units, projection=outputs, return_sequences=True, return_state=True)
    layer.build((3, 7, features))
    theirs = {name: value.detach().numpy() for name, value in module.state_dict().items()}
    ours = {
        "kernel": theirs["weight_ih_l0"].T,
        "recurrent_kernel": theirs["weight_hh_l0"].T,
        "bias": theirs["bias_ih_l0"] + theirs["bias_hh_l0"],
        "projection_kernel": theirs["weight_hr_l0"].T,
    }
    for variable in layer.trainable_variables:
        variable.assign(ours[variable.name])
    x = np.random.default_rng(0).normal(size=(3, 7, features)).astype("float32")
    inputs = torch.tensor(x, requires_grad=True)
    wanted, (h, c) = module(inputs)
    torch.sin(wanted).sum().backward()
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        found, *states = layer(x)
        total = tf.reduce_sum(tf.sin(found))
    gradients = tape.gradient(total, [x, *layer.trainable_variables])
    of_torch = {name: value.grad.numpy() for name, value in module.named_parameters()}
    expected = [inputs.grad.numpy(), of_torch["weight_ih_l0"].T, of_torch["weight_hh_l0"].T]
    expected += [of_torch["bias_ih_l0"], of_torch["weight_hr_l0"].T]
    for a, b in zip((found, *states, *gradients), (wanted, h[0], c[0], *expected), strict=True):
        b = b.detach().numpy() if torch.is_tensor(b) else b
        np.testing.assert_allclose(a, b, atol=2e-5 * max(1.0, float(np.abs(b).max())))
