"""How exact the engine's exp, sigmoid and tanh are: with `--thorough` over every float there is."""

import os
import shutil
import subprocess

import pytest

from ..variants import thorough
from .test_passes import HERE, ISAS, KERNELS, supported

# The largest error, in units of the last place, and itself where the result is at most one.
BOUNDS = {"exp": (1.1, 6e-8), "expm1": (1.5, 6e-8), "sigmoid": (2.5, 9.5e-8), "tanh": (5.0, 3e-7)}


@pytest.fixture(scope="module", params=[isa for isa in ISAS if supported(isa)])
def program(request, tmp_path_factory):
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        pytest.skip("there is no C++ compiler")
    width, flags = ISAS[request.param]
    built = tmp_path_factory.mktemp("bounds") / "bounds_test"
    names = [f"-DOSTINATO_ISA={request.param}", f"-DOSTINATO_VEC={width}"]
    options = ["-std=c++17", "-O3", "-ffp-contract=fast", f"-I{KERNELS}", *flags, *names]
    source = str(HERE / "bounds_test.cc")
    subprocess.run([compiler, *options, source, "-o", str(built), "-lpthread"], check=True)
    return built


@pytest.mark.parametrize("step", [4093, thorough(1)])
def test_no_error_exceeds_its_bound(program, step):
    printed = subprocess.run([program, str(step)], capture_output=True, text=True, check=True).stdout
    found = {
        name: (float(ulp), float(error)) for name, ulp, _, error, _ in map(str.split, printed.splitlines())
    }
    assert found.keys() == BOUNDS.keys()
    for name, (ulp, error) in BOUNDS.items():
        assert found[name][0] <= ulp, printed
        assert found[name][1] <= error, printed
