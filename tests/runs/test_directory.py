"""The run directory: created whole or not at all, and read with suspicion."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ostinato.errors import RunError
from ostinato.runs import checkpoints
from ostinato.runs.checkpoints import Checkpoint
from ostinato.runs.directory import RunDirectory, check_free, next_path, open_run


def checkpoint(step: int = 0, **position) -> Checkpoint:
    groups = {group: {"a": np.full((2,), step, "f4")} for group in ("weights", "optimizer", "state")}
    return Checkpoint(step, {"step": step} | position, groups)


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    """A run directory, just created."""
    source = {"description": {"kind": "named", "path": "pydoc"}, "sha256": "0" * 64}
    directory = RunDirectory(tmp_path / "run", "painter", {"width": 3}, {"steps": 5}, source, {"name": "é"})
    directory.create(checkpoint())
    return directory


def change_config(run: RunDirectory, **changes) -> None:
    file = run.path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


# Creating.


def test_what_is_created_opens_again_with_everything_in_it(run):
    assert open_run(run.path) == run
    assert open_run(str(run.path)) == run
    assert [entry.name for entry in run.path.parent.iterdir()] == ["run"]


def test_a_run_has_a_checkpoint_from_its_first_instant(run):
    found, problems = run.newest_checkpoint()
    assert (found.step, problems) == (0, [])


def test_missing_folders_above_it_are_made(run, tmp_path):
    deep = replace(run, path=tmp_path / "a" / "b" / "run")
    deep.create(checkpoint())
    assert open_run(deep.path) == deep


def test_an_empty_folder_may_become_a_run(run, tmp_path):
    (tmp_path / "empty").mkdir()
    taken = replace(run, path=tmp_path / "empty")
    taken.create(checkpoint())
    assert open_run(taken.path) == taken


def test_what_lies_in_the_way_is_left_alone(run, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "photo").write_text("mine")
    for name, message in {
        "run": r"already holds a run; resume it \(ostinato.resume\(.*\)\), replace it \(overwrite=True\)",
        "file": "exists and is not a folder; choose another out=",
        "folder": "exists, is not empty, and is not a run directory",
        "..": "cannot be the name of a run directory",
    }.items():
        with pytest.raises(RunError, match=message):
            replace(run, path=tmp_path / name).create(checkpoint())
    for name in ("file", "folder"):
        with pytest.raises(RunError):
            replace(run, path=tmp_path / name).create(checkpoint(), overwrite=True)
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "photo").read_text() == "mine"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder", "run"]


def test_overwrite_replaces_a_run_and_all_that_was_in_it(run):
    run.append_metrics({"step": 1})
    replace(run, task="sculptor").create(checkpoint(), overwrite=True)
    assert open_run(run.path).task == "sculptor"
    assert run.rows() == []


def test_a_run_is_safe_before_it_has_its_name_and_its_name_when_it_is_created(disk, run):
    assert disk.renamed[-1] == run.path
    assert (disk.too_early, disk.owed, disk.unsafe(run.path)) == ([], [], [])


def test_a_replaced_run_goes_when_the_new_one_is_safe(disk, run):
    replace(run, task="sculptor").create(checkpoint(), overwrite=True)
    assert [path.name.split(".replaced")[0] for path in disk.renamed[-2:]] == [".run", "run"]
    assert (disk.too_early, disk.owed, disk.unsafe(run.path)) == ([], [], [])
    assert set(disk.entries(run.path.parent)) == {path.name for path in disk.renamed[-2:]}
    assert [entry.name for entry in run.path.parent.iterdir()] == ["run"]


@pytest.mark.parametrize("path", ["", ".", "..", "x" * 300])
def test_names_that_cannot_be_a_run_are_refused(run, path, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(RunError):
        replace(run, path=type(run.path)(path)).create(checkpoint())
    assert list((tmp_path / "here").iterdir()) == []


def test_a_path_that_cannot_be_written_leaves_nothing(run, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match=r"could not write .*: Not a directory"):
        replace(run, path=tmp_path / "file" / "run").create(checkpoint())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "run"]


def test_runs_are_numbered_on_from_the_highest(tmp_path):
    folder = tmp_path / "runs"
    assert next_path("lm", folder) == folder / "lm-001"
    for name in ("lm-001", "lm-007", "lm-x", "lm-", "mt-050", "lm-003-copy"):
        (folder / name).mkdir(parents=True)
    assert next_path("lm", folder) == folder / "lm-008"
    (folder / "lm-1200").mkdir()
    assert next_path("lm", folder) == folder / "lm-1201"
    assert next_path("mt", folder) == folder / "mt-051"


def test_a_free_path_is_free(tmp_path):
    check_free(tmp_path / "new")
    check_free(tmp_path)  # empty


# Metrics.


def test_metrics_are_cut_back_to_where_a_checkpoint_was(run):
    assert run.rows() == []
    run.append_metrics({"step": 1})
    length = run.sync_metrics()
    run.append_metrics({"step": 2, "loss": 0.1})
    assert run.rows() == [{"step": 1}, {"step": 2, "loss": 0.1}]
    run.cut_metrics(length)
    assert run.rows() == [{"step": 1}]
    run.cut_metrics(10**6)  # never makes it longer
    assert run.sync_metrics() == length


def test_synced_metrics_are_safe(disk, run):
    for step in (1, 2):
        run.append_metrics({"step": step})
        assert run.metrics in disk.unsafe(run.path)
        run.sync_metrics()
        assert disk.unsafe(run.path) == []


def test_a_line_torn_by_a_kill_is_left_out(run):
    run.append_metrics({"step": 1})
    with open(run.metrics, "ab") as file:
        file.write(b'{"step": 2, "lo')
    assert run.rows() == [{"step": 1}]


# Reading.


def test_no_run_a_file_and_another_folder_are_told_apart(run, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "other").mkdir()
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "config.json").write_text('{"format": "another program"}')
    for name, message in {
        "nothing": "there is no run at .*nothing$",
        "file": "there is no run at .*: it is a file, not a folder",
        "other": r"is not a run directory: it has no config\.json",
        "app": r"is not a run directory: its config\.json has another format",
        "x" * 300: "File name too long",
    }.items():
        with pytest.raises(RunError, match=message):
            open_run(tmp_path / name)


@pytest.mark.parametrize("content", ["", "{", "[1, 2", "\x00"])
def test_a_damaged_config_is_called_so(run, content):
    (run.path / "config.json").write_text(content)
    with pytest.raises(RunError, match=r"config\.json is damaged"):
        open_run(run.path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, r"written by a newer version of ostinato \(run format 2, this one reads up to 1\)"),
        ({"version": 0}, "damaged: version 0"),
        ({"version": "1"}, "damaged: version '1'"),
        ({"task_config": 3}, "damaged"),
        ({"source": None}, "damaged"),
    ],
)
def test_a_config_of_a_newer_version_or_with_wrong_parts_is_refused(run, changes, message):
    change_config(run, **changes)
    with pytest.raises(RunError, match=message):
        open_run(run.path)


def test_a_missing_part_of_the_config_is_refused(run):
    file = run.path / "config.json"
    config = json.loads(file.read_text())
    del config["training"]
    file.write_text(json.dumps(config))
    with pytest.raises(RunError, match=r"damaged: KeyError\('training'\)"):
        open_run(run.path)


@pytest.mark.parametrize("content", ["", "[1]", "7", "null"])
def test_a_damaged_vocabulary_is_refused(run, content):
    (run.path / "vocabulary.json").write_text(content)
    with pytest.raises(RunError, match="damaged"):
        open_run(run.path)
    (run.path / "vocabulary.json").unlink()
    with pytest.raises(RunError, match=r"vocabulary\.json is missing"):
        open_run(run.path)


def test_the_newest_whole_checkpoint_is_found_and_what_was_wrong_with_newer_ones(run):
    for step in (4, 8, 12):
        checkpoints.save(run.checkpoints, checkpoint(step))
    (checkpoints.path_of(run.checkpoints, 12) / "state.safetensors").write_bytes(b"")
    (checkpoints.path_of(run.checkpoints, 8) / "manifest.json").unlink()
    found, problems = run.newest_checkpoint()
    assert found.step == 4
    assert "step-000000012" in problems[0]
    assert "step-000000008" in problems[1]
    assert len(problems) == 2


def test_a_run_without_a_whole_checkpoint_is_damaged(run):
    (checkpoints.path_of(run.checkpoints, 0) / "manifest.json").unlink()
    with pytest.raises(RunError, match=r"manifest\.json is missing"):
        run.newest_checkpoint()
    checkpoints.remove_all_but(run.checkpoints, set())
    with pytest.raises(RunError, match="has no checkpoint; the run directory is damaged"):
        run.newest_checkpoint()


def test_the_best_checkpoint_is_the_one_the_newest_names(run):
    assert run.weights("best").step == 0  # none is known to be best yet: the newest
    checkpoints.save(run.checkpoints, checkpoint(4, best_step=4))
    checkpoints.save(run.checkpoints, checkpoint(8, best_step=4))
    assert (run.weights("best").step, run.weights("last").step) == (4, 8)
    checkpoints.save(run.checkpoints, checkpoint(9, best_step="x"))
    with pytest.raises(RunError, match="damaged: best_step is 'x'"):
        run.weights("best")
