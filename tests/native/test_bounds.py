"""How exact the engine's exp, sigmoid and tanh are: with `--thorough` over every float there is."""

import os
import shutil
import subprocess

import pytest

from ..variants import thorough
from .test_passes import HERE, ISAS, KERNELS, supported

# The largest error, in units of the last place, and itself where the result is at most one.
# Over every float AVX2 has 1.02, 1.45, 2.49 and 5.27 units; without fused multiply-add, or with AVX-512's
# estimate of a reciprocal, there is a rounding more.
BOUNDS = {"exp": (1.5, 9e-8), "expm1": (2.0, 9e-8), "sigmoid": (4.0, 1.8e-7), "tanh": (8.0, 5e-7)}


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
