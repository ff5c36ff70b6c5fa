"""Processes that train together: whose lines are whose, how it ends, and that no worker is left behind.

Most workers here are a few lines of Python. Where one must wait for another, it reads from a named pipe.
"""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.cli.launch.processes import Lines

from ... import hanging

# The alarms make a failure of what would otherwise wait for ever; the workers' come first.
LAUNCHER = f"""
import json, os, signal, sys
from ostinato.cli.launch.processes import run_workers
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.alarm({2 * hanging.SECONDS})
grace, *programs = json.loads(sys.argv[1])
python, alarm = [sys.executable, "-S", "-u", "-c"], "import signal; signal.alarm({hanging.SECONDS})"
commands = [[*python, f"{{alarm}}\\n{{program}}"] for program in programs]
sys.exit(run_workers(commands, [os.environ] * len(programs), grace))
"""

# On a signal, a worker says its name and goes on.
STUBBORN = """
import signal
for each in (signal.SIGINT, signal.SIGTERM):
    signal.signal(each, lambda number, _: print(signal.Signals(number).name))
print("ready")
while True:
    signal.pause()
"""


@pytest.fixture
def start(tmp_path):
    """start(program, …) -> the launcher of these workers, its outputs to be read as text."""
    started = []

    def start(*programs, grace=hanging.SECONDS, **options):
        outputs = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        command = [sys.executable, "-c", LAUNCHER, json.dumps([grace, *programs])]
        started.append(subprocess.Popen(command, cwd=tmp_path, text=True, start_new_session=True, **outputs))
        return started[-1]

    yield start
    for launcher in started:
        with launcher:
            launcher.kill()


@pytest.fixture
def pipe(tmp_path) -> Path:
    """A named pipe in the workers' folder."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def lines_of(stream, count) -> set[str]:
    return {stream.readline().rstrip("\n") for _ in range(count)}


def ended(launcher) -> tuple[int, str, str]:
    out, err = launcher.communicate()
    return launcher.returncode, out, err


# Lines.


@given(text=st.binary(max_size=40) | st.text("a\r\n").map(str.encode), data=st.data())
def test_lines_do_not_depend_on_the_pieces_they_come_in(text, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    lines = Lines(b"[7] ")
    ends = zip([0, *cuts], [*cuts, len(text)], strict=True)
    got = b"".join(lines.feed(text[start:end]) for start, end in ends) + lines.end()
    expected = re.split(rb"\r\n|\r|\n", text)
    if not expected[-1]:
        expected.pop()
    assert got == b"".join(b"[7] " + line + b"\n" for line in expected)


def test_every_line_goes_where_it_came_from_with_its_number_in_front(start):
    talk = "import sys; sys.stdout.write('one\\r\\n10%\\r20%\\n\\nlast'); sys.stderr.write('oh\\nno')"
    code, out, err = ended(start("print('hello')", talk))
    assert code == 0
    assert set(out.splitlines()) == {"[0] hello", "[1] one", "[1] 10%", "[1] 20%", "[1] ", "[1] last"}
    assert [line for line in out.splitlines() if line.startswith("[1]")][-1] == "[1] last"
    assert err == "[1] oh\n[1] no\n"


def test_many_fast_writers_never_break_each_others_lines(start):
    workers, count = 6, 300
    # Lines of more than a page of memory, in pieces, on both outputs, into a single pipe.
    writer = f"""
import sys
for number in range({count}):
    for name, stream in (("out", sys.stdout), ("err", sys.stderr)):
        stream.write(f"{{name}} {{number}} ")
        stream.write("x" * (number * 37 % 9000) + "\\n")
"""
    code, out, _ = ended(start(*[writer] * workers, stderr=subprocess.STDOUT))
    assert code == 0
    seen = {(worker, name): [] for worker in range(workers) for name in ("out", "err")}
    for line in out.splitlines():
        worker, name, number, text = re.fullmatch(r"\[(\d)\] (out|err) (\d+) (x*)", line).groups()
        assert len(text) == int(number) * 37 % 9000
        seen[int(worker), name].append(int(number))
    assert all(numbers == list(range(count)) for numbers in seen.values())


def test_what_a_worker_started_cannot_hold_up_the_end(start, pipe):
    # It has the worker's outputs until it is told to end; were it waited for, it would say so after a while.
    child = f"""
import os, select
told, _, _ = select.select([os.open("pipe", os.O_RDWR)], [], [], {hanging.SECONDS})
print("" if told else "waited for")
"""
    launcher = start(
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]); print('done', end='')"
    )
    assert ended(launcher) == (0, "[0] done\n", "")
    pipe.write_text("end")


def test_workers_do_not_share_the_launchers_input(start, tmp_path):
    (tmp_path / "text").write_text("for one of them")
    with open(tmp_path / "text") as text:
        assert ended(start("print([*open(0)])", stdin=text)) == (0, "[0] []\n", "")


# How it ends.


def test_a_worker_that_ends_well_leaves_the_others_alone(start, pipe):
    first, second = "open('pipe', 'w').write('go')", "print(open('pipe').read())"
    assert ended(start(first, second)) == (0, "[1] go\n", "")


@pytest.mark.parametrize(
    ("failure", "code", "sentence"),
    [
        ("raise SystemExit(3)", 3, "ended with exit code 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137, "was killed by SIGKILL"),
    ],
)
def test_a_worker_that_fails_takes_the_others_down(start, pipe, failure, code, sentence):
    patient = "import signal; open('pipe', 'w').close(); signal.pause()"
    launcher = start(patient, f"open('pipe').read(); {failure}")
    assert ended(launcher) == (code, "", f"worker 1 {sentence}; stopping the others\n")


def test_who_ignores_that_is_killed_after_the_grace_period(start, pipe):
    ignoring = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('pipe', 'w').close(); "
    launcher = start(ignoring + "signal.pause()", "open('pipe').read(); raise SystemExit(3)", grace=0.2)
    code, _, err = ended(launcher)
    assert code == 3
    assert err.splitlines() == [
        "worker 1 ended with exit code 3; stopping the others",
        "worker 0 did not end within 0.2 s; killing it",
    ]


def test_the_last_worker_to_fail_stops_no_others(start):
    assert ended(start("raise SystemExit(2)")) == (2, "", "worker 0 ended with exit code 2\n")


def test_ctrl_c_on_a_terminal_reaches_every_worker_once_and_a_second_one_kills(start):
    launcher = start(STUBBORN, STUBBORN)
    assert lines_of(launcher.stdout, 2) == {"[0] ready", "[1] ready"}
    os.killpg(launcher.pid, signal.SIGINT)  # as a terminal does: to the launcher and all in its group
    assert lines_of(launcher.stdout, 2) == {"[0] SIGINT", "[1] SIGINT"}
    os.killpg(launcher.pid, signal.SIGINT)
    assert ended(launcher) == (130, "", "")


def test_a_sigterm_is_passed_on_and_ends_with_143(start):
    saving = STUBBORN.replace("lambda number, _: print(signal.Signals(number).name)", "save")
    saving = f"def save(*_):\n    print('saved')\n    raise SystemExit(130)\n{saving}"
    launcher = start(saving, saving)
    assert lines_of(launcher.stdout, 2) == {"[0] ready", "[1] ready"}
    launcher.terminate()
    code, out, err = ended(launcher)
    assert (code, sorted(out.splitlines()), err) == (143, ["[0] saved", "[1] saved"], "")


def test_it_ends_when_told_to_even_if_nobody_reads_its_output(start, pipe):
    until_all_is_full = """
import os, select, signal
os.set_blocking(1, False)
while select.select([], [1], [], 0.3)[1]:
    os.write(1, b"a line\\n" * 500)
open("pipe", "w").close()
signal.pause()
"""
    launcher = start(until_all_is_full)
    pipe.read_text()
    launcher.terminate()
    assert launcher.wait() == 143


def test_a_reader_who_has_enough_stops_the_workers_and_is_told(start):
    launcher = start("while True: print('more')")
    launcher.stdout.readline()
    launcher.stdout.close()
    assert launcher.stderr.read() == "cannot write to standard output (Broken pipe); stopping the workers\n"
    assert launcher.wait() == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_a_launcher_that_is_killed_leaves_no_worker(start, pipe):
    # Were a worker to live on, it would say so after a while.
    worker = "import time; held = open('pipe', 'w'); print('ready'); "
    worker += f"time.sleep({hanging.SECONDS // 2}); held.write('alive')"
    launcher = start(worker, worker)
    with open(pipe) as held:
        assert lines_of(launcher.stdout, 2) == {"[0] ready", "[1] ready"}
        launcher.kill()
        assert held.read() == ""


def test_a_program_that_cannot_be_started_is_an_error_of_ours(start, tmp_path):
    launcher = "from ostinato.cli.launch.processes import run_workers; run_workers([[''], ['']], [{}, {}], 1)"
    done = subprocess.run([sys.executable, "-c", launcher], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith(
        "ostinato.errors.OstinatoError: worker 0 cannot be started"
    )
