"""The example trains both models, to the same loss."""

import re
from pathlib import Path

from .. import forks

EXAMPLE = Path(__file__).parents[2] / "examples" / "accelerate_existing_model.py"
# All that is changed: the report measures nothing, and the few steps are not traced.
SHORT = """
import functools, runpy, sys
import tensorflow as tf
import ostinato
ostinato.report = functools.partial(ostinato.report, measure=False)
tf.config.run_functions_eagerly(True)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_both_print_a_time_and_the_same_loss():
    printed = forks.run("-c", SHORT, EXAMPLE, "--reviews", "128", "--length", "8", check=True).stdout
    rows = re.findall(r"^(keras|ostinato) +loss ([\d.]+)  [\d.]+ s$", printed, re.M)
    assert [name for name, _ in rows] == ["keras", "ostinato"]
    assert abs(float(rows[0][1]) - float(rows[1][1])) < 1e-4
    assert "GRU(16)" in printed
