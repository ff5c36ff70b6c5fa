"""Trained networks for other programs: ONNX, SavedModel, C, safetensors. `ostinato.export` is all that users need."""
