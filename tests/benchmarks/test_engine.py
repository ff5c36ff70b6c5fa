"""The benchmark of the engine: its random layers, names of processors, turns, and what it claims."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import peers
from comparison import claims, layers, machine, workers

LSTM = layers.Layer("lstm", 2, 3, 4, 5)
SECONDS = st.floats(1e-5, 10)


@given(st.integers(0, 2**32))
def test_a_draw_is_that_of_its_seed_and_within_the_limits(seed):
    drawn = layers.draw(seed)
    assert drawn == layers.draw(seed)
    assert len(set(drawn)) == layers.SHAPES_OF_A_DRAW
    for layer in drawn:
        assert layers.Layer.parse(layer.name) == layer
        assert all(1 <= getattr(layer, name) <= most for name, most in layers.DRAWN.items())
        assert layer.operations("forward") <= 6e9


def test_draws_reach_every_cell_and_the_ends_of_every_size():
    drawn = [layer for seed in range(40) for layer in layers.draw(seed)]
    assert {layer.cell for layer in drawn} == set(layers.GATES)
    for name, most in layers.DRAWN.items():
        sizes = [getattr(layer, name) for layer in drawn]
        assert min(sizes) == 1
        assert max(sizes) > most / 2


@pytest.mark.parametrize(
    ("vendor", "family", "model", "stepping", "name", "slug"),
    [
        ("AuthenticAMD", 25, 1, 1, "AMD EPYC", "amd-epyc-zen3"),
        ("AuthenticAMD", 25, 17, 1, "AMD EPYC 9R14", "amd-epyc-zen4"),
        ("AuthenticAMD", 25, 33, 0, "AMD Ryzen 9 5900X", "amd-ryzen-zen3"),
        ("AuthenticAMD", 23, 49, 0, "AMD EPYC 7R32", "amd-epyc-zen2"),
        ("AuthenticAMD", 26, 2, 1, "AMD EPYC 9755", "amd-epyc-zen5"),
        ("GenuineIntel", 6, 143, 8, "Intel(R) Xeon(R) Platinum 8488C", "intel-xeon-sapphire-rapids"),
        ("GenuineIntel", 6, 85, 7, "Intel(R) Xeon(R) Platinum 8259CL", "intel-xeon-cascade-lake"),
        ("GenuineIntel", 6, 85, 4, "Intel(R) Xeon(R) Platinum 8175M", "intel-xeon-skylake"),
        ("GenuineIntel", 6, 1, 1, "Intel(R) Celeron(R)", "intel-6-1"),
    ],
)
def test_a_processor_has_a_name_for_files(vendor, family, model, stepping, name, slug):
    info = {"vendor_id": vendor, "cpu family": str(family), "model": str(model)}
    assert machine.processor_slug(info | {"stepping": str(stepping), "model name": name}) == slug


@given(ours=SECONDS, theirs=SECONDS, peak=st.floats(0.001, 1000))
def test_a_peer_is_missed_below_the_ratio_claimed(ours, theirs, peak):
    found = {
        workers.Job("ostinato", "forward", LSTM): [ours],
        workers.Job("keras", "forward", LSTM): [theirs],
    }
    [row] = claims.judge(LSTM, 1, found, peak)
    share = LSTM.operations("forward") / theirs / 1e9 / peak
    if abs(share - 0.85) > 1e-9:
        assert row["missed"] == (["keras"] if theirs / ours < (1.0 if share > 0.85 else 1.05) else [])
    assert claims.slower_than_keras(row) == (row["ratios"]["keras"] < 1)


def test_a_forward_pass_without_tensorflow_stands_beside_fast_predict():
    seconds = {"ostinato": 4.0, "fast-predict": 1.0, "keras": 8.0, "onnxruntime": 3.0}
    found = {workers.Job(peer, "forward", LSTM): [each] for peer, each in seconds.items()}
    [row] = claims.judge(LSTM, 1, found, 100.0)
    assert row["ratios"] == {"keras": 2.0, "onnxruntime": 3.0}
    assert (row["ms"], row["ms_of_fast_predict"]) == (4000.0, 1000.0)
    assert claims.wanted(row, "onnxruntime") == 1.05
    at_the_peak = row | {"share_of_peak": 0.7}  # of the layer; ONNX Runtime has 0.7 · 4 / 3
    assert (claims.wanted(at_the_peak, "keras"), claims.wanted(at_the_peak, "onnxruntime")) == (1.05, 1.0)
    del found[workers.Job("fast-predict", "forward", LSTM)]
    [row] = claims.judge(LSTM, 1, found, 100.0)
    assert row["ratios"] == {"keras": 2.0, "onnxruntime": 0.75}


def rows_of(ratios: list[dict[str, float]]) -> list[dict]:
    rows = [
        {"threads": 1, "pass": "forward", "share_of_peak": 0.1, "ratios": each, "ms": 1.0, "title": "LSTM"}
        for each in ratios
    ]
    return [row | {"missed": claims.missed(row)} for row in rows]


def test_nine_of_ten_drawn_layers_have_to_be_ahead_and_none_behind_keras():
    def held(ratios):
        return [claim["held"] for claim in claims.claims([], rows_of(ratios))]

    ahead, behind_onnx = {"keras": 2.0, "onnxruntime": 1.1}, {"keras": 2.0, "onnxruntime": 0.9}
    assert held([ahead] * 9 + [behind_onnx]) == [True, True]
    assert held([ahead] * 8 + [behind_onnx] * 2) == [False, True]
    assert held([ahead] * 9 + [{"keras-jit": 0.99}]) == [True, False]


def test_the_mean_over_torch_is_geometric():
    chosen = rows_of([{"torch": 1.2}, {"torch": 1.5}, {"keras": 1.06}])
    every, mean = claims.claims(chosen, [])
    assert every["figures"] == {"held": 3, "all": 3}
    assert mean["figures"] == {"torch": pytest.approx(1.8**0.5)}
    assert mean["held"]


def test_another_build_of_ours_is_no_peer():
    [row] = rows_of([{"old": 0.5, "torch": 1.4}])
    assert row["missed"] == []
    assert claims.smallest(row) == (1.4, "torch")


@pytest.mark.parametrize(("seconds", "least", "calls"), [(0.0, 1, 1 + 3), (0.0, 5, 1 + 5)])
def test_a_turn_calls_often_enough(seconds, least, calls):
    made = []
    times = peers.turn(lambda: made.append(1), seconds, least)
    assert len(made) == calls
    assert len(times) == calls - 1


def test_a_turn_of_a_long_call_has_no_more_than_it_must(monkeypatch):
    monkeypatch.setattr(peers, "LONG_CALL_SECONDS", 0.0)
    made = []
    assert len(peers.turn(lambda: made.append(1), 10.0, 2)) == len(made) == 2
