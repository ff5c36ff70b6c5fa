"""The tests are a regular package: the wheel of tf2onnx brings one called `tests`, too."""
