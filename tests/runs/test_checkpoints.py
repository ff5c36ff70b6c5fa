"""A checkpoint comes back as it was, or is refused; never half of one."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ostinato.errors import RunError
from ostinato.runs import checkpoints
from ostinato.runs.checkpoints import Checkpoint

GROUPS = ("weights", "optimizer", "state")
NAMES = st.text("abc_/0.", min_size=1, max_size=8)
ARRAYS = st.sampled_from(["f4", "f8", "f2", "i4", "u1", "?"]).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
)


def small(step: int = 3) -> Checkpoint:
    random = np.random.default_rng(step)
    groups = {group: {f"{group}/a": random.normal(size=(4, 3)).astype("f4")} for group in GROUPS}
    return Checkpoint(step, {"step": step, "best_step": None}, groups)


@pytest.fixture
def folder(tmp_path):
    """A folder with one checkpoint, of step 3."""
    checkpoints.save(tmp_path / "checkpoints", small())
    return tmp_path / "checkpoints"


@given(
    step=st.integers(0, 10**12),
    groups=st.fixed_dictionaries({group: st.dictionaries(NAMES, ARRAYS, max_size=3) for group in GROUPS}),
    seconds=st.floats(0, 1e9),
)
def test_what_is_saved_comes_back_bit_by_bit(tmp_path_factory, step, groups, seconds):
    folder = tmp_path_factory.mktemp("checkpoints")
    saved = Checkpoint(step, {"step": step, "seconds": seconds, "ended": None}, groups)
    path = checkpoints.save(folder, saved)
    assert path == checkpoints.path_of(folder, step)
    assert checkpoints.steps(folder) == [step]
    loaded = checkpoints.load(folder, step)
    assert (loaded.step, loaded.position) == (saved.step, saved.position)
    for group in GROUPS:
        assert loaded.groups[group].keys() == groups[group].keys()
        for name, array in groups[group].items():
            same = loaded.groups[group][name]
            assert (same.shape, same.dtype, same.tobytes()) == (array.shape, array.dtype, array.tobytes())


def test_arrays_that_do_not_lie_row_by_row_come_back_too(tmp_path):
    array = np.arange(12.0).reshape(3, 4).T[::2]
    checkpoints.save(tmp_path, Checkpoint(0, {}, {group: {"a": array} for group in GROUPS}))
    np.testing.assert_array_equal(checkpoints.load(tmp_path, 0).groups["state"]["a"], array)


def test_only_the_groups_asked_for_are_read(folder):
    (checkpoints.path_of(folder, 3) / "optimizer.safetensors").unlink()
    assert checkpoints.load(folder, 3, groups=("weights",)).groups.keys() == {"weights"}
    assert checkpoints.load(folder, 3, groups=()).position == small().position


def test_steps_are_in_order_and_other_names_are_none(folder):
    for step in (1_000_000_000_000, 20):
        checkpoints.save(folder, small(step))
    for name in (".writing-1", ".removing-7", "step-7", "step-00000000x", "notes"):
        (folder / name).mkdir()
    assert checkpoints.steps(folder) == [3, 20, 1_000_000_000_000]
    assert checkpoints.steps(folder / "nowhere") == []


def test_a_step_that_has_a_checkpoint_keeps_its_arrays_and_gets_the_position(folder):
    other = Checkpoint(3, {"step": 3, "evaluations": 1}, small(9).groups)
    checkpoints.save(folder, other)
    saved = checkpoints.load(folder, 3)
    assert saved.position == other.position
    np.testing.assert_equal(saved.groups, small().groups)
    assert [entry.name for entry in folder.iterdir()] == [checkpoints.path_of(folder, 3).name]


def test_what_a_killed_save_left_behind_does_not_stop_the_next(folder):
    aside = folder / f".writing-{os.getpid()}"
    aside.mkdir()
    (aside / "weights.safetensors").write_bytes(b"half")
    checkpoints.save(folder, small(4))
    np.testing.assert_equal(checkpoints.load(folder, 4).groups, small(4).groups)
    assert not aside.exists()


def test_all_but_some_are_removed_with_what_killed_processes_left(folder):
    for step in (5, 6, 7):
        checkpoints.save(folder, small(step))
    for leftover in (".writing-1", ".removing-4"):
        (folder / leftover).mkdir()
        (folder / leftover / "state.safetensors").write_bytes(b"half")
    checkpoints.remove_all_but(folder, {5, 7, None})
    assert sorted(entry.name for entry in folder.iterdir()) == ["step-000000005", "step-000000007"]


# A power cut.


def test_a_new_checkpoint_is_safe_before_it_has_its_name_and_its_name_when_it_is_saved(tmp_path, disk):
    folder = tmp_path / "checkpoints"
    for step in (3, 4):
        assert checkpoints.save(folder, small(step)) == disk.renamed[-1]
        assert (disk.too_early, disk.owed, disk.unsafe(folder)) == ([], [], [])
    assert len(disk.renamed) == 2


def test_a_new_position_is_safe_before_it_takes_its_place_and_there_when_it_is_saved(tmp_path, disk):
    path = checkpoints.save(tmp_path, small())
    checkpoints.save(tmp_path, Checkpoint(3, {"step": 3, "evaluations": 1}, {}))
    assert disk.renamed[-1] == path / "manifest.json"
    assert (disk.too_early, disk.owed, disk.unsafe(path)) == ([], [], [])


# Damage.


@given(group=st.sampled_from(GROUPS), place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_flipped_byte_anywhere_is_found_before_anything_is_parsed(tmp_path_factory, group, place, flip):
    folder = tmp_path_factory.mktemp("checkpoints")
    file = checkpoints.save(folder, small()) / f"{group}.safetensors"
    data = bytearray(file.read_bytes())
    data[int(place * len(data))] ^= flip
    file.write_bytes(data)
    with pytest.raises(RunError, match=rf"{group}\.safetensors does not match its checksum"):
        checkpoints.load(folder, 3)


@pytest.mark.parametrize("size", [0, 1, 50])
def test_a_truncated_file_is_found(folder, size):
    file = checkpoints.path_of(folder, 3) / "state.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(RunError, match=r"state\.safetensors does not match its checksum"):
        checkpoints.load(folder, 3)


@pytest.mark.parametrize("group", GROUPS)
def test_a_missing_file_is_found(folder, group):
    (checkpoints.path_of(folder, 3) / f"{group}.safetensors").unlink()
    with pytest.raises(RunError, match=rf"damaged: {group}\.safetensors: No such file"):
        checkpoints.load(folder, 3)


def test_a_file_that_matches_its_checksum_and_is_no_safetensors_file_is_found(folder):
    path = checkpoints.path_of(folder, 3)
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "state.safetensors").write_bytes(b"")
    manifest["sha256"]["state.safetensors"] = (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match=r"damaged: state\.safetensors"):
        checkpoints.load(folder, 3)


def test_a_missing_manifest_or_folder_is_found(folder):
    (checkpoints.path_of(folder, 3) / "manifest.json").unlink()
    with pytest.raises(RunError, match=r"manifest\.json is missing"):
        checkpoints.load(folder, 3)
    shutil.rmtree(checkpoints.path_of(folder, 3))
    with pytest.raises(RunError, match=r"manifest\.json is missing"):
        checkpoints.load(folder, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, r"written by a newer version of ostinato \(format 2\); upgrade"),
        ({"version": "one"}, "damaged"),
        ({"step": 4}, "damaged: step must be 3, got 4"),
        ({"position": 5}, "damaged"),
        ({"sha256": None}, "damaged"),
        ({"sha256": {}}, "does not match its checksum"),
    ],
)
def test_a_manifest_of_a_newer_version_or_damaged_is_refused(folder, change, message):
    file = checkpoints.path_of(folder, 3) / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(RunError, match=message):
        checkpoints.load(folder, 3)


@pytest.mark.parametrize("content", ["", "[]", "null", "{}", '{"version": 1'])
def test_a_manifest_that_is_something_else_is_refused(folder, content):
    (checkpoints.path_of(folder, 3) / "manifest.json").write_text(content)
    with pytest.raises(RunError, match="damaged"):
        checkpoints.load(folder, 3)


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from ostinato.errors import RunError
from ostinato.runs import checkpoints
from ostinato.runs.checkpoints import Checkpoint

folder = Path(sys.argv[1])
def checkpoint(step, size):
    return Checkpoint(step, {}, {"weights": {"a": np.ones(10)}, "optimizer": {"a": np.ones(size)}})
checkpoints.save(folder, checkpoint(1, 10))
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    checkpoints.save(folder, checkpoint(2, 10_000))
except RunError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_last_checkpoint_and_nothing_half_written(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "could not write" in done.stdout
    assert "File too large; what was saved before is intact" in done.stdout
    assert [entry.name for entry in tmp_path.iterdir()] == ["step-000000001"]
    whole = checkpoints.load(tmp_path, 1, groups=("weights", "optimizer"))
    np.testing.assert_array_equal(whole.groups["optimizer"]["a"], np.ones(10))
