"""ONNX's LSTM with peepholes and coupled gates, for stored arrays and for the live comparison."""

import numpy as np
import onnx
import onnxruntime


def onnx_lstm(x, states, blocks, peephole=None, **attributes):
    """Runs ONNX's LSTM in ONNX Runtime.

    Args:
        x: (batch, time, features). states: h and c, each (batch, units).
        blocks: the gates i, o, f, c with their W (features, units), R (units, units) and b (units).
        peephole: the weights (units) of i, o and f; or None.
        attributes: of the operator, such as `input_forget=1`.

    Returns:
        The outputs (batch, time, units), and h and c after the last step.
    """
    joined = [np.concatenate([blocks[gate][at] for gate in "iofc"], -1) for at in range(3)]
    weights = {
        "W": joined[0].T[None],
        "R": joined[1].T[None],
        "B": np.concatenate([joined[2], np.zeros_like(joined[2])])[None],
        "P": np.concatenate(peephole)[None] if peephole else None,
    }
    given = {"X": x.transpose(1, 0, 2), "h": states[0][None], "c": states[1][None]}
    names = ["X", "W", "R", "B", "", "h", "c", *(["P"] if peephole else [])]
    node = onnx.helper.make_node(
        "LSTM", names, ["Y", "Yh", "Yc"], hidden_size=states[0].shape[-1], **attributes
    )
    kind = onnx.TensorProto.FLOAT
    inputs = [onnx.helper.make_tensor_value_info(name, kind, value.shape) for name, value in given.items()]
    outputs = [onnx.helper.make_tensor_value_info(name, kind, None) for name in ("Y", "Yh", "Yc")]
    fixed = [
        onnx.numpy_helper.from_array(value.astype("float32"), name)
        for name, value in weights.items()
        if value is not None
    ]
    graph = onnx.helper.make_graph([node], "lstm", inputs, outputs, fixed)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y, h, c = session.run(None, {name: value.astype("float32") for name, value in given.items()})
    return y[:, 0].transpose(1, 0, 2), [h[0], c[0]]
