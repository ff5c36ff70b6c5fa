"""Every figure on the pages that was measured into benchmarks/results is the one that stands there."""

import json
import re
import statistics
import sys
from collections.abc import Callable
from typing import Any

import pytest

from .pages import REPOSITORY, read, section, table, tables_of

sys.path.insert(0, str(REPOSITORY / "benchmarks"))
from comparison import claims as claimed
from comparison.tables import claim_line
from comparison.tables import table as engine_table

BENCHMARKS = "docs/benchmarks.md"
# The processors whose results are there; what the first page says is of this one.
ENGINES = sorted(path.stem for path in (REPOSITORY / "benchmarks" / "results").glob("engine-*.json"))
FIRST_PAGE = "engine-intel-avx512"
MACHINES = (2, 4, 8, 16)


def results(name: str) -> dict[str, Any]:
    return json.loads((REPOSITORY / "benchmarks" / "results" / f"{name}.json").read_text())


ENGINE, FIT, DISTRIBUTED = results(FIRST_PAGE), results("keras_fit"), results("distributed")
MODEL, CHECKPOINTS, MACHINE = results("language_model"), results("checkpoints"), results("time_machine")
TRANSLATION = {
    row["title"]: row["figures"] for rows in results("translation")["checks"].values() for row in rows
}
CHECKS = {row["title"]: row for row in ENGINE["checks"]}
LAYERS = {(row["title"], row["pass"]): row for row in ENGINE["layers"] if row["threads"] == 2}


def test_the_table_of_quality_is_what_the_script_makes_of_the_results():
    from quality import table_of

    files = (REPOSITORY / "benchmarks" / "results").glob("quality-*.json")
    for path in files:
        for line in table_of(results(path.stem)):
            assert line in read(BENCHMARKS).splitlines()


def agrees(shown: str, value: float) -> bool:
    """Whether a number is the value, rounded to the digits that are shown; thousands to four of them."""
    number = shown.replace(",", "").replace("−", "-")
    mantissa, _, exponent = number.partition("e")
    decimals = len(mantissa.partition(".")[2])
    unit = 10.0 ** (int(exponent or 0) - decimals)
    if not decimals and abs(value) >= 10_000 and number.endswith("0"):
        unit = 10.0 ** (len(number.lstrip("-")) - 4)
    return abs(float(number) - value) <= 0.5000001 * unit


def numbers(text: str) -> list[str]:
    return re.findall(r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]\d+)?", text)


def assert_row(cells: list[str], values: list[float | str | None]) -> None:
    """Each cell is the value beside it: equal text, a number rounded, or nothing where there is none."""
    assert len(cells) == len(values)
    for cell, value in zip(cells, values, strict=True):
        if isinstance(value, str):
            assert cell == value, cells
        elif value is None:
            assert cell in ("", "–"), cells
        else:
            [shown, *_] = numbers(cell)
            assert agrees(shown, value), (cell, value, cells)


def held(value: bool | None) -> str:
    return {True: "yes", False: "no", None: ""}[value]


@pytest.mark.parametrize("name", ENGINES)
def test_the_tables_of_the_engine(name):
    """Those of the chosen layers have to be there; those of drawn layers may."""
    found = results(name)
    shown = {each[0][0]: each for each in tables_of(section(BENCHMARKS, f"`{name}.json`"))}
    compared = set()
    for prefix, rows in (("", found["layers"]), ("drawn, ", found["drawn"])):
        for threads, what in {(row["threads"], row["pass"]) for row in rows}:
            title = f"{prefix}{claimed.PASSES[what]}, {claimed.threads_named(threads)}"
            if prefix and title not in shown:
                continue
            [header, *body] = shown[title]
            peers = [cell.removeprefix("× ") for cell in header if cell.startswith("× ")]
            expected = engine_table(title, claimed.of(rows, threads, what), peers)
            assert [header, *body] == tables_of(expected)[0]
            assert {peer for row in claimed.of(rows, threads, what) for peer in row["ratios"]} == set(peers)
            compared.add(title)
    assert compared >= {title for title in shown if re.match(r"(drawn, )?forward", title)}


@pytest.mark.parametrize("name", ENGINES)
def test_the_claims_are_those_of_the_figures_and_stand_on_the_page(name):
    found = results(name)
    assert found["claims"] == claimed.claims(found["layers"], found["drawn"])
    page = section(BENCHMARKS, f"`{name}.json`")
    assert [line for line in page.splitlines() if re.match(r"- (met|\*\*unmet\*\*): ", line)] == [
        claim_line(claim) for claim in found["claims"]
    ]
    for row in found["layers"] + found["drawn"]:
        assert row["missed"] == claimed.missed(row)
        for peer, ratio in row["ratios"].items():
            rounds = row["ms_of_rounds"]
            fast = peer in claimed.WITHOUT_TENSORFLOW and claimed.FAST_PREDICT in rounds
            ours = rounds[claimed.FAST_PREDICT if fast else "ostinato"]
            assert statistics.median(rounds[peer]) / statistics.median(ours) == pytest.approx(ratio)


@pytest.mark.parametrize("picture", ["engine", *ENGINES])
def test_a_picture_shows_the_results_of_the_engine(picture):
    from PIL import Image

    with Image.open(REPOSITORY / "docs" / "images" / f"{picture}.png") as image:
        drawn = json.loads(image.info["Description"])
    assert drawn["results"] == f"{FIRST_PAGE if picture == 'engine' else picture}.json"
    rows = {
        (row["title"], row["threads"], row["pass"]): row["ratios"]
        for row in results(drawn["results"].removesuffix(".json"))["layers"]
    }
    shown = {(row["title"], row["threads"], row["pass"]): row["ratios"] for row in drawn["rows"]}
    if picture == "engine":
        assert len(shown) == 4
        rows = {key: {peer: rows[key][peer] for peer in ("keras", "keras-jit", "torch")} for key in shown}
    assert shown == rows


def test_the_table_of_fit_and_its_shares():
    rows = table(BENCHMARKS, "`model.fit`")
    assert len(rows) == len(FIT["layers"])
    for cells, row in zip(rows, FIT["layers"], strict=True):
        ratio, alone = (
            row["keras_ms"] / row["ostinato_ms"],
            LAYERS[row["title"], "training"]["ratios"]["keras"],
        )
        assert (row["ratio"], row["engine_ratio"]) == pytest.approx((ratio, alone))
        figures = [row["keras_ms"], row["ostinato_ms"], ratio, alone, ratio / alone, row["wanted"]]
        assert_row(cells, [row["title"], *figures, held(row["held"])])
        assert row["held"] == (ratio / alone >= row["wanted"])


def check_rows(first: str, text: str) -> list[list[str]]:
    """The table of checks that begins with this one."""
    [found] = [each[1:] for each in tables_of(text) if each[0][0] == "check" and each[1][0] == first]
    return found


@pytest.mark.parametrize("name", [*ENGINES, "layer_options"])
def test_the_tables_of_checks(name):
    checks = results(name)["checks"]
    if not checks:
        return
    rows = check_rows(
        checks[0]["title"], section(BENCHMARKS, f"`{name}.json`") if name in ENGINES else read(BENCHMARKS)
    )
    assert len(rows) == len(checks)
    for cells, row in zip(rows, checks, strict=True):
        assert cells[0] == row["title"]
        assert cells[2:] == [row["wanted"], held(row["held"])]
        shown = [re.fullmatch(r"(.+) (\S+) " + re.escape(row["unit"]), each) for each in cells[1].split(", ")]
        assert [match and match[1] for match in shown] == list(row["figures"])
        for match, value in zip(shown, row["figures"].values(), strict=True):
            assert match
            assert agrees(match[2], value), (match[0], value)


def test_the_tables_of_the_translator():
    rows = check_rows("`default`: training", read(BENCHMARKS))
    for recipe, cells in zip(("default", "textbook"), rows[:2], strict=True):
        figures = TRANSLATION[f"{recipe}: training"]
        ours, theirs = figures["ostinato"], figures["Keras"]
        assert_row(cells[:1] + numbers(cells[1]), [f"`{recipe}`: training", ours, theirs, ours / theirs])
    for cells in rows[2:]:
        assert agrees(numbers(cells[1])[0], TRANSLATION[cells[0]]["rate"])
    for cells in table(BENCHMARKS, "share of a training step"):
        recipe = cells[0].strip("`")
        step = TRANSLATION[f"{recipe}: a training step of ostinato"]
        parts = ("recurrence", "attention", "logits", "optimizer", "rest")
        shares = [100 * step[part] / step["step"] if part in step else None for part in parts]
        assert_row(cells[1:], [*shares, step["step"]])


def test_the_table_of_the_language_model():
    rows = table(BENCHMARKS, "question")
    assert [cells[0].replace(" ", "_") for cells in rows] == list(MODEL["results"])
    for cells, figures in zip(rows, MODEL["results"].values(), strict=True):
        shown = dict(each.rsplit(" ", 1) for each in cells[1].split(", "))
        assert list(shown) == [key.replace("_", " ") for key in figures]
        for number, value in zip(shown.values(), figures.values(), strict=True):
            assert agrees(number, value), (cells, value)


def test_the_tables_of_several_workers():
    rates = ("1 worker, half the processors", "1 worker", "2 workers", "1 worker, 2 devices")
    for cells in table(BENCHMARKS, "tokens/s"):
        half, one, two, devices = map(DISTRIBUTED["results"][cells[0]]["tokens_per_second"].get, rates)
        assert_row(cells[1:], [half, one, two, devices, two / half, two / one])
    for cells in table(BENCHMARKS, "network", "workers"):
        found, count = DISTRIBUTED["results"][cells[0]], int(cells[1])
        seconds = found["all_reduce_seconds"][f"{count} workers"]
        figures = [2 * (count - 1) / count * found["bytes"] / 1e3]
        figures += [found["exchanged_bytes"][f"{count} workers"] / 1e3, 1e3 * seconds]
        both = [found["half_batch_on_half_seconds"] + seconds, found["two_workers_seconds"]]
        assert_row(cells[2:], [*figures, *([1e3 * each for each in both] if count == 2 else [None, None])])


def test_the_table_of_expected_machines():
    rows, latency = table(BENCHMARKS, "network", "N"), DISTRIBUTED["assumed"]["latency_microseconds"] / 1e6
    assert [(cells[0], int(cells[1])) for cells in rows] == [
        (name, machines) for name in DISTRIBUTED["results"] for machines in MACHINES
    ]
    for cells in rows:
        found, machines = DISTRIBUTED["results"][cells[0]], int(cells[1])
        steps = found["step_seconds"]
        whole, part = steps[str(found["batch"])], steps[str(found["batch"] // machines)]
        values = [part * 1e3]
        for gigabits in DISTRIBUTED["assumed"]["bandwidths"]:
            hops = 2 * (machines - 1)
            seconds = hops / machines * 8 * found["bytes"] / (1e9 * gigabits) + hops * latency
            strong, weak = whole / (part + seconds), machines * whole / (whole + seconds)
            values += [1e3 * seconds, strong, 100 * strong / machines, weak, 100 * weak / machines]
        shown = [number for cell in cells[2:] for number in numbers(cell)]
        assert_row(shown, values)


def test_the_table_of_a_busy_machine():
    found = [row for row in results("busy-amd-epyc-zen3")["rows"] if row["busy"] == 2]
    names = {"forward": "forward", "training": "forward + backward"}
    rows = table("docs/native-engine.md", "LSTM", "pass")
    assert len(rows) == len(found)
    for cells, row in zip(rows, found, strict=True):
        assert cells[:2] == [row["shape"].replace("x", "×").replace("-", "→"), names[row["pass"]]]
        figures = [row[f"{kind}_{what}"] for kind in ("median", "p99") for what in ("1", "2", "ratio")]
        assert_row(cells[2:], figures)


def ratio(peer: str, title: str, what: str = "training") -> float:
    return LAYERS[title, what]["ratios"][peer]


def ms(title: str, what: str) -> float:
    return LAYERS[title, what]["ms"]


def most(peer: str) -> float:
    """The highest ratio to a peer, forward and backward on two threads, rounded down: what "up to" may say.

    It is that of the processor where it is least, so that it holds on all.
    """
    highest = [
        max(row["ratios"].get(peer, 0) for row in claimed.of(results(name)["layers"], 2, "training"))
        for name in ENGINES
    ]
    return float(int(min(highest)))


def at_the_peak(title: str) -> float:
    return ratio("keras", title) / LAYERS[title, "training"]["share_of_peak"]


def seconds(trainer: str) -> float:
    return statistics.median(each["seconds"] for each in MACHINE["rounds"][trainer])


SMALL, USUAL = "LSTM 64×100×8→16", "LSTM 32×35×28→256"
RATES = ENGINE["matmul_gflops"]["2"]
PEAK = max(RATES.values())
MEMORY, ABOVE = (row["figures"] for title, row in CHECKS.items() if "peak memory" in title)
SAVES = CHECKPOINTS["results"]
SHORT = results("quality-amd-epyc-zen4")["jobs"]["lm-tinyshakespeare-2.3"]
# Sentences: a page, what it says with a group for each number, and these numbers.
SENTENCES: list[tuple[str, str, Callable[[], list[float]]]] = [
    (
        "README.md",
        r"up to (\d+) times faster than Keras' own and up to (\d+) times faster than PyTorch's",
        lambda: [most("keras"), most("torch")],
    ),
    (
        "README.md",
        r"mean of three seeds\) tinyshakespeare's last tenth costs ([\d.]+) nats",
        lambda: [statistics.fmean(each["figures"]["nats per character"] for each in SHORT.values())],
    ),
    (BENCHMARKS, r"matrices in the same run, (\d+) GFLOP/s", lambda: [PEAK]),
    (
        BENCHMARKS,
        r"in all includes .* arrays: ([\d,]+) MiB of ostinato's, ([\d,]+) of Keras'",
        lambda: [MEMORY[peer] - ABOVE[peer] for peer in ("ostinato", "keras")],
    ),
    (BENCHMARKS, r"Here they run at (\d+), and Keras gains", lambda: [RATES["tensorflow"]]),
    (
        BENCHMARKS,
        r"at the full peak of (\d+) GFLOP/s, .* would be ([\d.]+) times faster than Keras, "
        r"those of 650 and of 128 units ([\d.]+) times",
        lambda: [PEAK, at_the_peak(USUAL), at_the_peak("LSTM 20×35×650→650")],
    ),
    (BENCHMARKS, r"650 and of 128 units ([\d.]+) times", lambda: [at_the_peak("LSTM 128×100×128→128")]),
    (
        BENCHMARKS,
        r"a third of the small LSTM's time and (\d+) % of the other's",
        lambda: [100 * 0.19 / ms(USUAL, "forward")],
    ),
    (
        BENCHMARKS,
        r"of the small layer's ([\d.]+), forward, and 0.6 of ([\d.]+) with the backward pass",
        lambda: [ms(SMALL, "forward"), ms(SMALL, "training")],
    ),
    (BENCHMARKS, r"Two threads, medians of (\d+) rounds", lambda: [FIT["rounds"]]),
    (
        BENCHMARKS,
        r"for (\d+) epochs, median of three rounds: ostinato ([\d.]+), PyTorch ([\d.]+), .* perplexities "
        r"are ([\d.]+) and ([\d.]+)\.",
        lambda: [
            MACHINE["epochs"],
            seconds("ostinato"),
            seconds("PyTorch"),
            *(MACHINE["rounds"][each][0]["perplexity"] for each in ("ostinato", "PyTorch")),
        ],
    ),
    (
        BENCHMARKS,
        r"saves ([\d.]+) MB .* Over (\d+) saves one took (\d+) ms in the median and (\d+) ms at most, "
        r"and the steps after it (\d+) ms more than others: ([\d.]+) % .* ([\d.]+) % if .* at most (\d+) %",
        lambda: [
            SAVES["bytes_written"] / 1e6,
            *(
                SAVES[key]
                for key in ("saves", "median_save_ms", "longest_save_ms", "steps_after_a_save_ms_more")
            ),
            SAVES["per_cent_of_the_time"],
            SAVES["per_cent_if_all_took_the_longest"],
            CHECKPOINTS["wanted_per_cent"],
        ],
    ),
    (
        BENCHMARKS,
        r"\(batch (\d+) × 64 steps, ([\d,]+) weights\) and one with two LSTMs of 650 units \(([\d,]+)\)",
        lambda: [
            DISTRIBUTED["results"]["default"]["batch"],
            *(DISTRIBUTED["results"][each]["parameters"] for each in ("default", "large")),
        ],
    ),
    (BENCHMARKS, r"with (\d+) µs of latency", lambda: [DISTRIBUTED["assumed"]["latency_microseconds"]]),
]


@pytest.mark.parametrize(("page", "said", "values"), SENTENCES, ids=[each[1][:40] for each in SENTENCES])
def test_a_sentence_says_what_was_measured(page, said, values):
    [shown] = re.finditer(said, " ".join(read(page).split()))
    for number, value in zip(shown.groups(), values(), strict=True):
        assert agrees(number, value), (shown[0], value)


def test_means_and_ratios_are_those_of_the_figures_beside_them():
    for header in ("recipe", "trained by"):
        for cells in table(BENCHMARKS, header, "test accuracy"):
            assert agrees(cells[2], statistics.mean(map(float, numbers(cells[1])))), cells
    ours, keras, *_ = table(BENCHMARKS, "trained by", "test accuracy")
    [shown] = re.findall(r"An epoch is ([\d.]+) times as fast as plain Keras", read(BENCHMARKS))
    assert agrees(shown, float(keras[3]) / float(ours[3]))
    [shown] = re.findall(r"The accuracies differ by ([\d.]+) points", read(BENCHMARKS))
    assert agrees(shown, 100 * (float(ours[2]) - float(keras[2])))


def test_pages_say_the_same_of_a_translation():
    [bleu, minutes] = re.findall(
        r"([\d.]+) BLEU from English to Mandarin after (\d+)", read("docs/translation.md")
    )[0]
    measured = results("quality-amd-epyc-zen4")["jobs"][f"cmn-{minutes}"]["0"]["figures"]
    assert agrees(bleu, measured["BLEU"])
    greedy, beam = re.findall(r"the test part has ([\d.]+) BLEU .* \*\*([\d.]+)\*\*", read(BENCHMARKS))[0]
    assert agrees(greedy, measured["greedy"])
    assert agrees(beam, measured["BLEU"])


CELLS, ABILITIES = results("cells-amd-epyc-zen3"), results("abilities")


def figures_of(title: str) -> dict[str, float]:
    return next(row["figures"] for row in CELLS["checks"] if row["title"] == title)


def test_the_cells_of_the_first_page_take_as_long_as_measured():
    (rows,) = [rows for rows in tables_of(read("README.md")) if "`mingru`" in rows[0]]
    ms = figures_of("whole layers: time")
    names = [cell.strip("`") for cell in rows[0]]
    assert {*names} == ms.keys() - {"lstm", "zoneout"}
    for name, shown in zip(names, rows[1], strict=True):
        assert agrees(shown, ms[name] / ms["lstm"]), name


def test_the_page_of_cells_has_the_measured_times_and_abilities():
    tables = tables_of(section("docs/cells.md", "What they cost"))
    ms = figures_of("whole layers: time")
    for name, step, share, *recurrence in tables[0][1:]:
        key = "zoneout" if "zoneout" in name else name.strip("`")
        assert agrees(step, ms[key])
        assert agrees(share, ms[key] / ms["lstm"])
        if recurrence[0]:
            alone = figures_of(f"{key}, recurrence: time")
            scans = [
                alone[peer] / alone["ostinato"] for peer in ("tf.scan", "associative_scan") if peer in alone
            ]
            shown = [cell for cell in recurrence if cell]
            assert len(shown) == 1 + len(scans)
            for cell, value in zip(shown, [alone["ostinato"], *scans], strict=True):
                assert agrees(cell, value)
    found = {row["title"]: next(iter(row["figures"].values())) for row in ABILITIES["checks"]}
    for name, parity, adding, recall in tables_of(section("docs/cells.md", "What they can do"))[0][1:]:
        cell = name.strip("`")
        if recall:
            (right,) = [value for title, value in found.items() if re.fullmatch(f"recall .*: {cell}", title)]
            assert agrees(recall.removesuffix(" %"), 100 * right)
        if parity:
            assert agrees(parity.removesuffix(" %"), 100 * found[f"parity at 250: {cell}"])
        if adding:
            assert agrees(adding, found[f"adding, 200 steps: {cell}"])
