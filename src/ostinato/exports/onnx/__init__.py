"""ONNX: the network's graph through tf2onnx, with ONNX's own operators in place of the engine's ops."""
