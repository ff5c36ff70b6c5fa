"""Which processor this is, how many threads there are, and what the environment of a worker says of them."""

from __future__ import annotations

import os
import platform
from pathlib import Path

THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
RESULTS = Path(__file__).parents[1] / "results"

# Zen by family, and by the models of a family: the last that begins at or below a model.
ZEN = {
    23: {0x00: "zen", 0x30: "zen2"},
    25: {0x00: "zen3", 0x10: "zen4", 0x20: "zen3", 0x60: "zen4"},
    26: {0x00: "zen5"},
}
XEON = {
    0x3F: "haswell",
    0x4F: "broadwell",
    0x55: "skylake",
    0x6A: "ice-lake",
    0x6C: "ice-lake",
    0x8F: "sapphire-rapids",
    0xAD: "granite-rapids",
    0xAE: "granite-rapids",
    0xCF: "emerald-rapids",
}
CASCADE_LAKE_STEPPING = 5


def cpuinfo() -> dict[str, str]:
    """What /proc/cpuinfo says of the first processor; nothing where there is no such file."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    first = text.split("\n\n", 1)[0]
    return {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())
    }


def processor() -> str:
    """The name that the processor gives itself."""
    return cpuinfo().get("model name", platform.processor())


def processor_slug(info: dict[str, str]) -> str:
    """A short name of a processor's kind, such as amd-epyc-zen3, for the name of a file.

    Args:
        info: as of `cpuinfo`: vendor_id, cpu family, model, stepping, model name.
    """
    numbers = [
        int(info.get(key, "-1")) if info.get(key, "").isdecimal() else -1
        for key in ("cpu family", "model", "stepping")
    ]
    family, model, stepping = numbers
    name = info.get("model name", "").lower()
    if info.get("vendor_id") == "AuthenticAMD" and family in ZEN:
        kind = ZEN[family][max(start for start in ZEN[family] if start <= max(model, 0))]
        brand = [word for word in ("epyc", "ryzen") if word in name]
        return "-".join(["amd", *brand, kind])
    if info.get("vendor_id") == "GenuineIntel" and family == 6 and model in XEON:
        kind = XEON[model]
        if kind == "skylake" and stepping >= CASCADE_LAKE_STEPPING:
            kind = "cascade-lake"
        return "-".join(["intel", *(["xeon"] if "xeon" in name else []), kind])
    vendor = {"AuthenticAMD": "amd", "GenuineIntel": "intel"}.get(info.get("vendor_id", ""))
    return f"{vendor}-{family}-{model}" if vendor else platform.machine().lower() or "unknown"


def results_file() -> Path:
    """Where `benchmarks/engine.py` keeps what it measures on this processor."""
    return RESULTS / f"engine-{processor_slug(cpuinfo())}.json"


def environment(peer: str, library: Path | None = None, threads: int = THREADS) -> dict[str, str]:
    """The environment of a worker: as many threads for each, and no setting that would hold one back."""
    variables = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OSTINATO_THREADS", "NPROC"):
        variables[name] = str(threads)
    variables |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    variables["KERAS_BACKEND"] = "jax" if peer == "keras-jax" else "tensorflow"
    if peer in ("keras-jax", "jax-scan"):
        eigen = str(threads > 1).lower()
        variables["XLA_FLAGS"] = (
            f"--xla_cpu_multi_thread_eigen={eigen} intra_op_parallelism_threads={threads}"
        )
    if peer == "old":
        variables["OSTINATO_LIBRARY"] = str(library)
    if peer == "torch-passive":
        variables["OMP_WAIT_POLICY"] = "passive"
    return variables
