"""`ostinato.export`: a trained network as a file for another program, checked where it will run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from ostinato.errors import ConfigError, ExportError, OstinatoError
from ostinato.exports.network import Network, network_of
from ostinato.exports.report import Report
from ostinato.exports.requirements import need
from ostinato.exports.runs import networks_of
from ostinato.files.atomic import write_synced, writing
from ostinato.interop.keras.loading import load_source
from ostinato.interop.keras.sentences import describe_error
from ostinato.runs.trained import TrainedRun, load
from ostinato.wording import hint_after

FORMATS = {
    ".onnx": "onnx",
    ".tflite": "litert",
    ".h": "c",
    ".safetensors": "safetensors",
    ".json": "rtneural",
}
"""By the ending of a path. A path without one is a folder, of the format "saved_model"."""
QUANTIZED = ("int8", "int8-weights")


def export(
    model_or_run: Any,
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    states: str = "none",
    quantize: str | None = None,
    target: str | None = None,
    batch: int | None = None,
    time: int | None = None,
    opset: int = 17,
    check: bool = True,
) -> Report:
    """Writes a trained network for another program, and checks the file where it will run.

    A file is written aside, run on drawn inputs in its own runtime, and placed only if its results are those
    of the network, to 1e-5 of the largest number of an output.

    Args:
        model_or_run: a Keras model, its file, a run from `ostinato.load`, or the folder of one.
        path: where to write; its ending tells the format.
        format: "onnx", "litert", "saved_model", "c", "rtneural", "safetensors" (Keras' names) or
            "safetensors-torch" (PyTorch's). None asks the path.
        states: "inputs" makes the recurrent layers' states inputs and outputs; with "none" each call begins
            anew. A language model has them in any case, and so have layers with `stateful=True`.
        quantize: "int8-weights" stores weights as whole numbers with a scale for each row; "int8" lets ONNX
            Runtime and LiteRT compute with whole numbers where they can.
        target: "micro", a microcontroller; LiteRT alone has it.
        batch, time: fixed sizes of the first two axes of the inputs. None leaves them open.
        opset: the version of ONNX's operators, 13 to 18.
        check: False writes without running the file, the only way where the runtime is not installed.

    Returns:
        What was written, as a report; `print` shows it.

    Raises:
        ConfigError: the format is not known, or does not have an option.
        ExportError: something in the network cannot be exported, the file does not agree with it, or its
            runtime is missing.
        RunError: the path cannot be written.

    Example:
        >>> model = keras.Sequential([keras.Input((None, 3)), keras.layers.GRU(4)])
        >>> report = export(model, "gru.h")  # doctest: +SKIP
        >>> report.checked  # doctest: +SKIP
        True
    """
    path = Path(path)
    chosen = _format(path, format)
    _check_options(chosen, states, quantize, target, batch, time, opset)
    source = _source(model_or_run)
    options = {
        "quantize": quantize,
        "target": target,
        "batch": batch,
        "time": time,
        "opset": opset,
        "check": check,
    }
    main, *others = _networks(source, chosen, states == "inputs")
    if others and chosen not in ("onnx", "litert"):
        raise ExportError(
            f"{main.name} has several parts, which ONNX and LiteRT alone can have, got {chosen}"
        )
    write, is_folder = _WRITERS[chosen], chosen == "saved_model"
    names = [path, *(path.with_suffix(f".{each.part}{path.suffix}") for each in others)]
    with writing(path), tempfile.TemporaryDirectory(dir=path.parent, prefix=".ostinato-export-") as folder:
        asides = [Path(folder) / name.name for name in names]
        reports = [
            _written(write, source, network, aside, options)
            for network, aside in zip((main, *others), asides, strict=True)
        ]
        for aside, name in zip(asides, names, strict=True):
            _place(aside, name, is_folder=is_folder)
    first, *rest = (
        replace(report, path=str(name), bytes=_size(name))
        for report, name in zip(reports, names, strict=True)
    )
    return replace(first, parts=tuple(rest))


def _format(path: Path, format: str | None) -> str:
    known = sorted(_WRITERS)
    if format is not None and format not in known:
        raise ConfigError(
            f"format must be one of {', '.join(known)}, got {format!r}{hint_after(format, known)}"
        )
    found = FORMATS.get(path.suffix.lower()) or ("saved_model" if not path.suffix else None)
    if format is None and found is None:
        raise ConfigError(
            f"the path must end in {', '.join(FORMATS)}, or be a folder without an ending, got '{path}'; or "
            "give a format"
        )
    if not path.parent.is_dir():
        raise ConfigError(f"the path must be in a folder that exists, got '{path}'")
    chosen = format or found or ""
    if chosen != "saved_model" and path.is_dir():
        raise ConfigError(f"the path must be a file, got the folder '{path}'")
    if chosen == "saved_model" and path.exists() and not (path / "saved_model.pb").exists():
        raise ConfigError(f"the path must be a new folder, or one with a SavedModel, got '{path}'")
    return chosen


def _check_options(
    chosen: str,
    states: str,
    quantize: str | None,
    target: str | None,
    batch: int | None,
    time: int | None,
    opset: int,
) -> None:
    from ostinato.exports.onnx.convert import OPSETS

    if states not in ("none", "inputs"):
        raise ConfigError(f"states must be 'none' or 'inputs', got {states!r}")
    if quantize not in (None, *QUANTIZED):
        raise ConfigError(f"quantize must be one of {', '.join(QUANTIZED)}, or None, got {quantize!r}")
    allowed = {"onnx": QUANTIZED, "c": ("int8-weights",), "litert": ("int8",)}.get(chosen, ())
    if quantize is not None and quantize not in allowed:
        raise ConfigError(
            f"quantize must be {' or '.join((*allowed, 'None'))} for {chosen}, got {quantize!r}"
        )
    if target is not None and (target != "micro" or chosen != "litert"):
        raise ConfigError(f"target must be None for {chosen}, got {target!r}")
    if target == "micro" and (batch is None or time is None):
        raise ConfigError("batch and time must be given for a microcontroller, which has fixed sizes")
    for name, size in (("batch", batch), ("time", time)):
        if size is not None and size < 1:
            raise ConfigError(f"{name} must be at least 1, or None, got {size}")
    if chosen == "onnx" and opset not in OPSETS:
        raise ConfigError(f"opset must be {OPSETS[0]} to {OPSETS[-1]}, got {opset}")


def _source(given: Any) -> TrainedRun | keras.Model:
    """A run that nobody else uses, or a model."""
    if isinstance(given, TrainedRun):
        return load(given.directory.path)
    if isinstance(given, str | os.PathLike) and Path(given).is_dir():
        return load(given)
    return load_source(given, compile=False)


Source = TrainedRun | keras.Model
Writer = Callable[[Source, Network, Path, dict[str, Any]], Report]
"""Writes a network to a path, checked, and reports."""


def _networks(source: Source, chosen: str, states: bool) -> list[Network]:
    """The network in parts; only a run has more than one."""
    operators = chosen == "onnx"
    if isinstance(source, TrainedRun):
        return networks_of(source, operators=operators)
    return [network_of(source, states=states, operators=operators)]


def _onnx(_: Source, network: Network, path: Path, options: dict[str, Any]) -> Report:
    from ostinato.exports.onnx.write import require, write

    require(check=options["check"])
    return write(network, path, **{name: options[name] for name in options if name != "target"})


def _litert(_: Source, network: Network, path: Path, options: dict[str, Any]) -> Report:
    if options["check"]:
        need("ai_edge_litert", "litert", "checking LiteRT")
        if options["target"] == "micro":
            need("tflite_micro", "micro", "checking for microcontrollers")
    from ostinato.exports.litert import write

    return write(network, path, options)


def _saved_model(_: Source, network: Network, path: Path, options: dict[str, Any]) -> Report:
    from ostinato.exports.saved_model import write

    return write(network, path, options)


def _c(source: Source, network: Network, path: Path, options: dict[str, Any]) -> Report:
    from ostinato.exports.c.write import write

    return write(_model_of(source), network, path, options)


def _rtneural(source: Source, network: Network, path: Path, options: dict[str, Any]) -> Report:
    from ostinato.exports.weights import write_rtneural

    return write_rtneural(_model_of(source), network, path)


def _safetensors(source: Source, network: Network, path: Path, options: dict[str, Any]) -> Report:
    from ostinato.exports.weights import write_keras

    return write_keras(_model_of(source), path)


def _safetensors_torch(source: Source, network: Network, path: Path, options: dict[str, Any]) -> Report:
    from ostinato.exports.weights import write_torch

    return write_torch(_model_of(source), path)


_WRITERS: dict[str, Writer] = {
    "c": _c,
    "litert": _litert,
    "onnx": _onnx,
    "rtneural": _rtneural,
    "safetensors": _safetensors,
    "safetensors-torch": _safetensors_torch,
    "saved_model": _saved_model,
}


def _model_of(source: Source) -> keras.Model:
    return source.model if isinstance(source, TrainedRun) else source


def _written(write: Writer, source: Source, network: Network, aside: Path, options: dict[str, Any]) -> Report:
    """What `write` reports; whatever a converter or a runtime raises becomes a sentence."""
    try:
        return write(source, network, aside, options)
    except (OstinatoError, OSError):
        raise
    except Exception as error:
        why = describe_error(error)
        raise ExportError(f"{network.name} cannot be exported: {why}; nothing was written") from error


def _place(aside: Path, path: Path, *, is_folder: bool) -> None:
    """Moves what was written aside to its place."""
    if is_folder and path.exists():
        os.replace(path, aside.with_name("before"))
    if not is_folder:
        synced = aside.with_name("synced")
        write_synced(synced, aside.read_bytes())
        aside = synced
    os.replace(aside, path)


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(each.stat().st_size for each in files if each.is_file())
