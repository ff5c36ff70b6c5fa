"""Imports TensorFlow without the log lines of its import."""

from __future__ import annotations

import os
import sys
import tempfile


def import_tensorflow() -> None:
    """Imports TensorFlow and Keras; shows their output only if the import fails.

    Raises:
        ConfigError: if TensorFlow is not installed.
    """
    from ostinato.errors import ConfigError

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            import keras  # noqa: F401
            import tensorflow  # noqa: F401
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "tensorflow":
                raise
            raise ConfigError(
                "TensorFlow is not installed; pip install 'ostinato[cpu]', or 'ostinato[gpu]'"
            ) from None
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
