"""C headers on an emulated Cortex-M4, where its compiler and qemu are installed."""

import shutil
import subprocess
from pathlib import Path

import keras
import pytest

import ostinato

from .models import stirred

pytestmark = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None,
    reason="gcc-arm-none-eabi and qemu-system-arm are not installed",
)
HERE = Path(__file__).parent / "cortex_m"
CPU = ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"]
STRICT = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
K = keras.layers


@pytest.mark.parametrize("quantize", [None, "int8-weights"])
def test_the_headers_own_test_passes(quantize, tmp_path):
    layers = [K.LSTM(12, return_sequences=True), K.GRU(8), K.Dense(2)]
    model = stirred(keras.Sequential([keras.Input((None, 3)), *layers]))
    ostinato.export(model, tmp_path / "net.h", quantize=quantize)
    linked = ["--specs=rdimon.specs", "-nostartfiles", "-T", HERE / "memory.ld", "-DNET_TEST"]
    sources = ["-x", "c", tmp_path / "net.h", "-x", "c", HERE / "startup.c"]
    made = ["arm-none-eabi-gcc", *STRICT, *CPU, *linked, *sources, "-o", tmp_path / "net.elf", "-lm"]
    subprocess.run([*map(str, made)], check=True)
    machine = ["-M", "mps2-an386", "-cpu", "cortex-m4", "-nographic"]
    semihosting = ["-semihosting-config", "enable=on,target=native"]
    emulator = ["qemu-system-arm", *machine, *semihosting, "-kernel", str(tmp_path / "net.elf")]
    done = subprocess.run(emulator, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("net: the largest difference is ")
