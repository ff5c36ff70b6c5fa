"""The engine's headers without TensorFlow, compiled with the sanitizers of the compiler."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KERNELS = HERE.parents[1] / "src" / "ostinato" / "kernels"
X86 = {
    "sse2": ("4", ["-msse2"]),
    "avx2": ("8", ["-mavx2", "-mfma"]),
    "avx512": (
        "16",
        ["-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mfma", "-mprefer-vector-width=512"],
    ),
}
NOTHING = """#include "kernels.h"
namespace {0} {{ extern const ostinato::Kernels kernels{{}}; }}
namespace {0}_double {{ extern const ostinato::PlainKernels kernels{{}}; }}
"""
ISAS = X86 if platform.machine() in ("x86_64", "AMD64") else {"neon": ("4", [])}


def supported(isa):
    return {"avx2": "avx2", "avx512": "avx512bw"}.get(isa, "") in processor()


def processor():
    return Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""


def pairs():
    """Flags for products in bfloat16: with the processor's own instruction, or one that imitates it."""
    width, flags = ISAS[widest()]
    own = ["-mavx512bf16"] if "avx512_bf16" in processor() else []
    return ["-DOSTINATO_PAIRS", "-DOSTINATO_ISA=pairs", f"-DOSTINATO_VEC={width}", *flags, *own]


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        pytest.skip("there is no C++ compiler")

    def compile_with(sanitizers, checked):
        """The programs, with the kernels of the ISAs in `checked` alone: each takes long to compile."""
        folder, objects = tmp_path_factory.mktemp("native"), []
        flags = ["-std=c++17", "-ffp-contract=fast", f"-I{KERNELS}"]
        # What is inlined makes no difference to what the sanitizers see, and a third of the compiler's time.
        checks = ["-Og", "-Dalways_inline=unused", f"-fsanitize={sanitizers}"]

        def translate(source, name, *more):
            objects.append(str(folder / f"{name}.o"))
            subprocess.run([compiler, *flags, *more, "-c", str(source), "-o", objects[-1]], check=True)

        for isa, (width, isa_flags) in ISAS.items():
            if isa in checked:
                for name, source in ((isa, "kernels.cc"), (f"{isa}_double", "plain/plain.cc")):
                    names = [f"-DOSTINATO_ISA={name}", f"-DOSTINATO_VEC={width}"]
                    translate(KERNELS / source, name, *names, *isa_flags, *checks)
                names = [f"-DOSTINATO_ISA={isa}", f"-DOSTINATO_VEC={width}"]
                for other in ("elementwise", "gate", "headwise", "memory", "product", "rowwise", "update"):
                    translate(KERNELS / f"{other}.cc", f"{isa}_{other}", *names, *isa_flags, *checks)
            else:  # something to link, for dispatch.cc
                (folder / f"{isa}.cc").write_text(NOTHING.format(isa))
                translate(folder / f"{isa}.cc", isa)
        for source in (KERNELS / "threads.cc", KERNELS / "dispatch.cc"):
            translate(source, source.stem, *checks)
        kernels, programs = list(objects), []
        translate(KERNELS / "pairs.cc", "pairs", *pairs(), *checks)
        of_pairs = objects[-1:]
        for name, more, with_more in (
            ("passes_test", [], []),
            ("rows_test", [], []),
            ("pairs_test", pairs(), of_pairs),
        ):
            translate(HERE / f"{name}.cc", name, *more, *checks)
            programs.append(folder / name)
            linked = [*kernels, *with_more, objects[-1], "-o", str(programs[-1]), "-lpthread"]
            subprocess.run([compiler, *checks, *linked], check=True)
        return programs

    return compile_with


def run(program, isa, cases, *more):
    environment = os.environ | {"OSTINATO_ISA": isa, "TSAN_OPTIONS": "halt_on_error=1"}
    environment.pop("OSTINATO_THREADS", None)
    done = subprocess.run([str(program), str(cases), *more], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.startswith(f"{isa}: "), done.stdout


def widest():
    """The instructions that the engine takes on this machine."""
    return [isa for isa in ISAS if supported(isa)][-1]


def test_the_passes_equal_the_naive_equations_and_touch_no_memory_but_theirs(build):
    passes, rows, in_pairs = build("address,undefined", [widest()])
    run(passes, widest(), 25)
    run(rows, widest(), 25)
    run(in_pairs, widest(), 25)


@pytest.mark.thorough
def test_so_they_do_with_all_instructions_that_the_machine_has(build):
    chosen = [isa for isa in ISAS if supported(isa)]
    passes, rows, in_pairs = build("address,undefined", chosen)
    for isa in chosen:
        run(passes, isa, 60, "all")
        run(rows, isa, 60)
        run(in_pairs, isa, 60)


@pytest.mark.thorough
@pytest.mark.parametrize("more", [(), ("all",)])
def test_the_threads_race_for_nothing(build, more):
    passes, rows, in_pairs = build("thread", [widest()])
    run(passes, widest(), 3, *more)
    run(rows, widest(), 3)
    run(in_pairs, widest(), 3)
