"""`python -m ostinato.kernels`: prints the flags with which a C compiler finds the engine."""

import shlex
import sys

from ostinato import kernels
from ostinato.errors import EngineError

try:
    print(shlex.join(kernels.flags()))
except EngineError as error:
    print(f"Error: {error}", file=sys.stderr)
    raise SystemExit(2) from None
