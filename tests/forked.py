"""What a fork runs, see `forks`: it becomes the program of its job, JOB, given by whoever runs this."""

import atexit
import os
import runpy
import signal
import sys

from matplotlib.figure import Figure

job = globals()["JOB"]
for stream, path in ((sys.stdout, job["out"]), (sys.stderr, job["err"])):
    stream.flush()
    opened = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.dup2(opened, stream.fileno())
    os.close(opened)
os.environ.clear()
os.environ.update(job["env"])
os.chdir(job["cwd"])
sys.path[:0] = filter(None, job["env"].get("PYTHONPATH", "").split(os.pathsep))
signal.signal(signal.SIGINT, signal.default_int_handler)

if job["small_pictures"]:
    Figure.savefig = runpy.run_path(os.path.join(os.path.dirname(__file__), "pictures.py"))["savefig"]

first, *arguments = job["arguments"]
try:
    if first == "-c":
        code, *arguments = arguments
        sys.argv = ["-c", *arguments]
        main = type(sys)("__main__")
        sys.modules["__main__"] = main
        exec(compile(code, "<string>", "exec"), main.__dict__)
    else:
        sys.argv = [first, *arguments]
        sys.path.insert(0, os.path.dirname(first))
        runpy.run_path(first, run_name="__main__")
finally:
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
