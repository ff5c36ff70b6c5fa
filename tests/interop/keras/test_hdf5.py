"""A damaged HDF5 file is found out in a process that may crash, and not in this one."""

import keras
import pytest

from ostinato.interop.keras import hdf5


@pytest.fixture
def path(tmp_path):
    model = keras.Sequential([keras.Input((None, 3)), keras.layers.GRU(4)])
    model.save(tmp_path / "model.h5")
    return tmp_path / "model.h5"


def test_nothing_is_wrong_with_a_model(path):
    assert hdf5.find_problem(path) == hdf5.find_problem(path) == hdf5.read_whole(str(path)) == ""


def test_a_file_on_which_the_library_crashes_is_damaged(path):
    # The type of the text's characters, which is none now.
    text, damaged = (b"keras_version\0\0\0\x19" + kind for kind in (b"\x01", b"\xff"))
    data = path.read_bytes()
    assert text in data
    path.write_bytes(data.replace(text, damaged))
    assert hdf5.find_problem(path).startswith("its HDF5 is damaged: ")


@pytest.mark.parametrize("size", [0, 8, 500, 5000])
def test_a_truncated_file_is_damaged(path, size):
    path.write_bytes(path.read_bytes()[:size])
    assert hdf5.find_problem(path).startswith("its HDF5 is damaged: ")


def test_what_was_sound_is_looked_at_again_when_it_changes(path):
    assert hdf5.find_problem(path) == ""
    path.write_bytes(path.read_bytes()[:1000])
    assert hdf5.find_problem(path) != ""
