"""Piano rolls from .mat and .npz files."""

import numpy as np
import pytest

from ostinato.data.events.rolls import content_hash, read_mat, read_npz
from ostinato.errors import SourceError


def piece(steps, keys=88, seed=0):
    return (np.random.default_rng([seed, steps]).random((steps, keys)) < 0.1).astype(np.uint8)


def as_cells(*pieces):
    cells = np.empty((1, len(pieces)), object)
    cells[0, :] = pieces
    return cells


def test_the_parts_of_a_mat_file(tmp_path):
    savemat = pytest.importorskip("scipy.io").savemat
    pieces = {"traindata": (piece(5), piece(9)), "validdata": (piece(3),), "testdata": (piece(4),)}
    savemat(tmp_path / "set.mat", {name: as_cells(*each) for name, each in pieces.items()})
    parts = read_mat(tmp_path / "set.mat")
    for name, part in (("traindata", "train"), ("validdata", "validation"), ("testdata", "test")):
        for found, wanted in zip(parts[part], pieces[name], strict=True):
            assert found.shape == (len(wanted), 128)
            np.testing.assert_array_equal(found[:, 21:109] > 0, wanted > 0)


def test_an_npz_file_with_and_without_parts(tmp_path):
    np.savez(tmp_path / "set.npz", train_0=piece(5), valid_0=piece(3, 128), test=piece(4), other=piece(6) > 0)
    parts = read_npz(tmp_path / "set.npz")
    assert {name: [len(roll) for roll in rolls] for name, rolls in parts.items()} == {
        "train": [5, 6],
        "validation": [3],
        "test": [4],
    }
    np.testing.assert_array_equal(parts["validation"][0] > 0, piece(3, 128) > 0)


def test_other_content_is_refused_in_one_sentence(tmp_path):
    savemat = pytest.importorskip("scipy.io").savemat
    (tmp_path / "text.mat").write_bytes(b"no matrix at all")
    savemat(tmp_path / "other.mat", {"weights": np.zeros((2, 2))})
    savemat(
        tmp_path / "narrow.mat",
        {f"{part}data": as_cells(piece(4, 12)) for part in ("train", "valid", "test")},
    )
    np.savez(tmp_path / "pickled.npz", train=as_cells(piece(3)), allow_pickle=True)
    (tmp_path / "text.npz").write_bytes(b"no archive at all")
    for name, sentence in {
        "text.mat": "not a .mat file",
        "other.mat": "traindata, validdata, testdata, got weights",
        "narrow.mat": r"\(steps, 88\) or \(steps, 128\), got",
        "pickled.npz": "plain arrays",
        "text.npz": "plain arrays",
        "none.npz": "No such file",
    }.items():
        with pytest.raises(SourceError, match=sentence) as error:
            (read_mat if name.endswith(".mat") else read_npz)(tmp_path / name)
        assert name in str(error.value)
        assert "\n" not in str(error.value)


def test_the_hash_is_that_of_the_rolls_and_their_borders():
    one, two = piece(4, 128), piece(5, 128)
    assert content_hash([one, two]) == content_hash([one.copy(), two.copy()])
    assert content_hash([one, two]) != content_hash([np.concatenate([one, two])])
    assert content_hash([one, two]) != content_hash([two, one])
