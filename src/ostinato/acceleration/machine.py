"""What figures were measured on: the processor, and the threads that work on it."""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path

import tensorflow as tf

from ostinato.engines import native


def machine() -> str:
    """The threads and the processor in words, as in "2 threads of AMD EPYC 7B13"."""
    count = threads()
    return f"{count} thread{'s' if count > 1 else ''} of {processor()}"


def threads() -> int:
    """How many threads the native engine uses, or TensorFlow's ops where that engine was not built."""
    if native.available():
        return native.threads()
    configured = tf.config.threading.get_intra_op_parallelism_threads()
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return configured or here or 1


@functools.cache
def processor() -> str:
    """The name of the processor; its architecture where the system does not tell more."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(filter(None, named), None) or platform.processor() or platform.machine() or "a processor"
