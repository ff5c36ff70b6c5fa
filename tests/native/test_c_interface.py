"""The plain C interface: it builds from C, needs only the library, and computes what the layers compute."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from ostinato import kernels, layers
from ostinato.engines import native

pytestmark = pytest.mark.skipif(
    not native.available() or shutil.which("cc") is None, reason="there is no library, or no C compiler"
)
HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "c-interface.md"
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-D_POSIX_C_SOURCE=200809L"]
# (cell, options of its layer, whether it has a mask)
CASES = [
    ("rnn", {"activation": "relu"}, False),
    ("rnn", {"use_bias": False, "go_backwards": True}, True),
    ("gru", {"return_sequences": False}, True),
    ("gru", {"reset_after": False}, False),
    ("lstm", {}, True),
    ("lstm", {"return_sequences": False, "use_bias": False, "go_backwards": True}, False),
    ("rnn", {"activation": "selu"}, False),
    ("gru", {"activation": "silu", "recurrent_activation": "softsign"}, True),
    ("gru", {"activation": "linear", "recurrent_activation": "hard_sigmoid", "reset_after": False}, False),
    ("lstm", {"activation": "relu", "recurrent_activation": "hard_sigmoid"}, True),
]


def build(source, program):
    command = ["cc", *STRICT, str(source), *kernels.flags(), "-lpthread", "-o", str(program)]
    subprocess.run(command, check=True)
    return program


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return build(HERE / "c_interface_test.c", tmp_path_factory.mktemp("c") / "program")


def run(program, *arguments, given=b""):
    # With nothing to find Python or TensorFlow by.
    environment = {name: os.environ[name] for name in ("OSTINATO_ISA",) if name in os.environ}
    done = subprocess.run([program, *map(str, arguments)], input=given, env=environment, capture_output=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_it_checks_itself_from_c_and_refuses_in_sentences(program):
    assert run(program).endswith(b": 0 failures\n")


@pytest.mark.parametrize(("cell", "options", "masked"), CASES)
def test_its_numbers_are_those_of_the_layers_bit_for_bit(program, cell, options, masked):
    batch, time, features, units = 5, 9, 4, 19
    draw = np.random.default_rng(3)
    options = {"return_sequences": True} | options
    layer = layers.recurrent(cell, units, engine="native", return_state=True, **options)
    layer.build((batch, time, features))
    layer.set_weights([draw.normal(size=weight.shape) for weight in layer.get_weights()])
    x = draw.normal(size=(batch, time, features)).astype("float32")
    states = [draw.normal(size=(batch, units)).astype("float32") for _ in layer.state_size]
    mask = draw.random((batch, time)) < 0.7 if masked else None
    expected = [np.asarray(each) for each in layer(x, initial_state=states, mask=mask)]

    weights = layer.get_weights()
    arrays = [*weights, x, *states]
    given = b"".join(array.tobytes() for array in arrays) + (mask.tobytes() if masked else b"")
    written = run(
        program,
        *(cell, options.get("activation", "tanh"), options.get("recurrent_activation", "sigmoid")),
        int(options.get("reset_after", True)),
        *(int(layer.go_backwards), int(layer.return_sequences), features, units),
        *(weights[2].size if len(weights) == 3 else 0, batch, time, int(masked)),
        given=given,
    )
    found = np.frombuffer(written, "float32")
    np.testing.assert_array_equal(found, np.concatenate([each.ravel() for each in expected]))


def test_the_program_of_the_page_runs_and_its_two_ways_agree(tmp_path):
    (code,) = re.findall(r"```c\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    (tmp_path / "program.c").write_text(code)
    lines = run(build(tmp_path / "program.c", tmp_path / "program")).decode().splitlines()
    assert [line.split()[-2:] for line in lines[:3]] == [line.split()[-2:] for line in lines[3:]]
    assert len({tuple(line.split()[-2:]) for line in lines}) == 3


def test_python_prints_the_flags_without_tensorflow():
    code = "import sys, runpy; runpy.run_module('ostinato.kernels', run_name='__main__')"
    code += "; print('tensorflow' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    flags, imported = printed.splitlines()
    assert shlex.split(flags) == kernels.flags()
    assert imported == "False"


def test_the_header_is_all_that_a_wheel_has_of_the_sources():
    settings = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text())["tool"]["scikit-build"]
    patterns = settings["wheel"]["exclude"]
    folder = HERE.parents[1] / "src"
    sources = [path.relative_to(folder) for path in (folder / "ostinato" / "kernels").rglob("*.[ch]*")]
    kept = [
        str(path)
        for path in sources
        if not any(path.match(pattern) or pattern in map(str, path.parents) for pattern in patterns)
    ]
    assert kept == ["ostinato/kernels/ostinato.h"]
