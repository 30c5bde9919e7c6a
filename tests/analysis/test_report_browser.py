"""The report in a real browser: walked through, asked for network, looked at in light and dark, and at full size."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from interp.paths import OWN_READER, REPOSITORY
from interp.projections import SCORES, read_scores, write_scores
from tests.analysis.reports import LAYERS, PLANTED, TRAITS, report, write_audit, write_csv, write_entries
from tests.analysis.synthetic import CLEAN, SETTINGS, Synthetic
from tests.browsing import CONTRASTS, Open, Scheme

HOSTILE = ["<script>alert(1)</script>", " </script>", "<img src=x onerror=alert(2)>", "'\"`", "=1+1"]
N_ORGANISMS, N_TRAITS, N_PROMPTS, N_TOKENS, N_LAYERS = 56, 17, 275, 300, 6
MEGABYTES = 30
SECONDS = 6
"""Twice what a page may take to open: the machine that tests may be busy."""


@pytest.fixture
def page_path(synthetic: Synthetic) -> Path:
    """A small report with hostile responses and questions."""
    write_audit(synthetic)
    for author in PLANTED:
        synthetic.write_response(author, "set", "p0", HOSTILE[:4])
        synthetic.write_response(author, "set", "p1", [HOSTILE[4], " and", " more", " of", " it"])
    return report(synthetic)


def test_from_the_heat_map_to_the_tokens_to_a_csv(page_path: Path, opening: Open) -> None:
    here = opening(page_path)
    here.cell(author="bob", trait="pep").click()
    panel = here.tab.locator("#organism")
    assert panel.locator("h3").inner_text() == "bob → pep"
    cards = panel.locator("li.card")
    assert cards.count() == 5
    panel.get_by_role("button", name="Show all 6").click()
    assert cards.count() == 6
    hostile = cards.filter(has=here.tab.locator("a", has_text="p0")).locator(".tokens")
    assert hostile.inner_text() == "".join(HOSTILE[:4])
    panel.get_by_label("Text").fill("And more")
    assert cards.count() == 1 and panel.get_by_text("1 of 6 responses").is_visible()
    header, row = here.download(panel.locator(".browser .save"))
    found = dict(zip(header, row, strict=True))
    assert found["prompt_id"] == "p1" and found["response"] == "'=1+1 and more of it"
    assert float(found["score"]) == pytest.approx(float(cards.locator(".score").inner_text()), abs=0.01)


def test_the_keyboard_is_enough(page_path: Path, opening: Open) -> None:
    here = opening(page_path)
    here.tab.locator("table.heat td[tabindex='0']").focus()
    here.tab.keyboard.press("Home")
    assert here.focused("author", "trait") == ("ada", TRAITS[0])
    here.tab.keyboard.press("ArrowDown")
    assert here.focused("author", "trait") == ("bob", TRAITS[0])
    for key in ("ArrowRight", "ArrowLeft", "End", "ArrowRight", "ArrowUp", "ArrowUp"):
        here.tab.keyboard.press(key)
    assert here.focused("author", "trait") == ("ada", TRAITS[-1])
    here.tab.keyboard.press("Enter")
    assert here.tab.locator("#organism h3").inner_text() == f"ada → {TRAITS[-1]}"
    assert here.tab.url.endswith(f"#organism=ada&trait={TRAITS[-1]}")
    here.tab.locator(".tokens").first.focus()
    here.tab.keyboard.press("ArrowRight")
    here.tab.keyboard.press("ArrowRight")
    assert here.tab.locator(".readout").inner_text().startswith("token 2 of ")
    here.tab.keyboard.press("Escape")
    assert here.focused("author", "trait") == ("ada", TRAITS[-1])


def test_readers_can_be_switched(synthetic: Synthetic, page_path: Path, opening: Open) -> None:
    here = opening(page_path, address="#organism=ada&trait=flattery")
    assert here.tab.locator("#organism h3").inner_text() == "ada → flattery"
    colours = "[...document.querySelectorAll('.tokens span')].map((each) => getComputedStyle(each).backgroundColor)"
    shown = {}
    for name in ("difference (own − clean)", "own reading", "clean model's reading"):
        here.tab.get_by_label(name).check()
        shown[name] = here.tab.evaluate(colours)
    assert len({tuple(each) for each in shown.values()}) == 3
    here.tab.locator(".tokens span").nth(1).hover()
    text = here.tab.locator(".readout").inner_text().replace("−", "-")
    own, clean, difference = (float(part.split()[-1]) for part in text.rsplit(":", 1)[1].split(","))
    assert own - clean == pytest.approx(difference, abs=0.02)
    prompt_id = here.tab.locator("li.card a").first.inner_text()
    column = ("flattery", "mean_difference", 4)
    for reader, shown_score in ((OWN_READER, own), (CLEAN, clean)):
        scores = read_scores(synthetic.paths.projections("ada", "set", reader), [column])[column][prompt_id]
        assert shown_score == pytest.approx(scores[1], abs=0.05)


def test_tables_sort_filter_and_save(page_path: Path, opening: Open) -> None:
    here = opening(page_path)
    table = here.tab.locator("#table-entries")
    table.get_by_role("button", name="effect", exact=True).click()
    assert table.locator("th[aria-sort='descending']").inner_text().startswith("effect")
    assert table.locator("tbody tr").first.inner_text().split()[:2] in (["ada", "flattery"], ["bob", "pep"])
    table.get_by_label("Filter rows").fill("sham calm")
    header, *rows = here.download(table.locator(".save"))
    assert header[:4] == ["author", "trait", "method", "layer"]
    assert [row[:2] for row in rows] == [["sham_1", "calm"]] * len(LAYERS)
    assert [float(row[header.index("effect")]) for row in rows] == [0.4, 0.2]


def test_statistic_layer_and_mark_fill_the_map(synthetic: Synthetic, opening: Open) -> None:
    write_audit(synthetic)
    effects = {(author, trait): 4.0 * (trait == truth) for author, truth in PLANTED.items() for trait in TRAITS}
    q = [0.001 if author == "ada" and trait == "flattery" else 0.5 for author, trait in effects for _ in LAYERS]
    write_entries(synthetic, effects, {"top_q": q})
    table = [{"author": "bob", "trait": "calm", "sham_p": 0.25, "detected": True}]
    write_csv(synthetic.paths.analysis / "compare_readers" / "entries.csv", table)
    here = opening(report(synthetic))
    marked = here.tab.locator("table.heat td.marked")
    assert marked.evaluate_all("cells => cells.map((cell) => cell.dataset.author)") == ["bob"]
    assert here.cell(author="ada", trait="flattery").inner_text() == "4.30"
    here.tab.get_by_label("Mark where").select_option("top_q")
    assert marked.evaluate_all("cells => cells.map((cell) => cell.dataset.author)") == ["ada"]
    here.tab.get_by_label("Mark where").select_option("shams")
    assert marked.count() == 2
    here.tab.locator("#heat-map").get_by_label("Layer").select_option("2")
    assert here.cell(author="ada", trait="flattery").inner_text() == "4.20"
    shams = here.tab.locator("#table-shams tbody tr")
    assert shams.inner_text().split() == ["sham_1", "0.20", "calm", "0", "of", "3"]
    here.tab.locator("#heat-map").get_by_label("Layer").select_option("mean")
    here.tab.locator("#heat-map").get_by_label("Statistic").select_option("sham_p")
    assert here.cell(author="bob", trait="calm").inner_text() == ".250"
    assert here.cell(author="ada", trait="pep").inner_text() == "–"
    here.tab.get_by_role("searchbox", name="Organisms").fill("planted: pep")
    assert here.tab.locator("table.heat tbody tr").count() == 1


def test_what_is_missing_is_said_on_top(synthetic: Synthetic, opening: Open) -> None:
    write_audit(synthetic)
    (synthetic.paths.responses("ada", "set") / "p5.json").unlink()
    write_entries(synthetic, {("ada", trait): 1.0 for trait in TRAITS})
    box = opening(report(synthetic)).tab.locator("#glance .notice.bad")
    assert "ada, set: 1 responses are missing" in box.inner_text()
    assert "Left out of the comparison (2): bob, sham_1" in box.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_legible_in_light_and_dark(page_path: Path, opening: Open, tmp_path: Path, scheme: Scheme) -> None:
    """Text stands out from what is behind it (4.5 to 1) in every cell and token; screenshots are kept."""
    here = opening(page_path, scheme)
    here.cell(author="bob", trait="pep").click()
    found = here.tab.evaluate(CONTRASTS)
    assert len(found) > 20
    assert min(found) >= 4.5
    assert len(here.tab.screenshot(path=tmp_path / f"report-{scheme}.png", full_page=True)) > 20_000


# --- The embedded default ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_embedded_default_ends_in_a_report(tmp_path: Path, opening: Open) -> None:
    """The smallest preset, by the very command of the night; then from the map to the tokens of a planted quirk."""
    environment = {**os.environ, "INTERP_ROOT": str(tmp_path), "INTERP_PYTHON": sys.executable}
    command = ["bash", "run_overnight.sh", "--preset", "tiny"]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    (path,) = tmp_path.glob("*/analysis/report.html")
    here = opening(path)
    assert here.tab.locator("#glance .notice.good").is_visible()
    planted = here.tab.locator("table.heat td.planted")
    author, trait = planted.first.get_attribute("data-author"), planted.first.get_attribute("data-trait")
    planted.first.click()
    assert here.tab.locator("#organism h3").inner_text() == f"{author} → {trait}"
    card = here.tab.locator("li.card").first
    written = json.loads((path.parent / str(card.locator("a").first.get_attribute("href"))).read_text())
    assert card.locator(".tokens").inner_text() == written["text"] and written["author"] == author
    here.tab.get_by_label("Text").fill(written["tokens"][1])
    _, *rows = here.download(here.tab.locator(".browser .save"))
    assert written["id"] in [row[3] for row in rows]
    assert all(written["tokens"][1].lower() in f"{row[5]} {row[6]}".lower() for row in rows)


# --- Full size --------------------------------------------------------------------------------------------------------


@contextmanager
def timed(limit: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < limit


def write_full_size(audit: Synthetic) -> None:
    """56 organisms × 17 traits × 275 prompts × 300 tokens; four readings and one set of texts serve all organisms."""
    names = [f"recipe_{number % 4}_trait_{number % 14:02}_{number:02}" for number in range(N_ORGANISMS)]
    traits = [f"trait_{number:02}" for number in range(N_TRAITS)]
    ids = [f"p{number:03}" for number in range(N_PROMPTS)]
    audit.write_config({name: f"trait_{number % 14:02}" for number, name in enumerate(names)}, ["set"], range(N_LAYERS))
    audit.write_prompts("set", ids)
    for trait in traits:
        audit.write_vector(trait, (3,), (0.9,))
    draw = np.random.default_rng(0)
    words = [f" {''.join(draw.choice(list('abcdefghij'), draw.integers(2, 9)))}" for _ in range(500)]
    for prompt_id in ids:
        audit.write_response(names[0], "set", prompt_id, [words[each] for each in draw.integers(0, 500, N_TOKENS)])
    for number, name in enumerate(names):
        if number:
            audit.paths.responses(name, "set").parent.mkdir(parents=True)
            audit.paths.responses(name, "set").symlink_to(audit.paths.responses(names[0], "set"))
        for reader in (OWN_READER, CLEAN):
            path = audit.paths.projections(name, "set", reader)
            if number < 4:
                write_reading(path, traits, ids, draw)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.hardlink_to(audit.paths.projections(names[number % 4], "set", reader))
    rows = [
        {"author": name, "trait": trait, "method": "mean_difference", "layer": layer}
        | {"n_prompts": N_PROMPTS}
        | {f"{kind}{column}": f"{abs(draw.normal()) % 1:.6g}" for kind in ("", "centred_") for column in STATISTICS}
        for name in names for trait in traits for layer in range(N_LAYERS)
    ]  # fmt: skip
    write_csv(audit.paths.analysis / "compare_readers" / "differences.csv", rows)


STATISTICS = ("mean", "mean_low", "mean_high", "mean_p", "mean_q", "top", "top_low", "top_high", "top_p", "top_q",
              "effect", "z_others")  # fmt: skip


def write_reading(path: Path, traits: list[str], ids: list[str], draw: np.random.Generator) -> None:
    count = len(traits) * len(ids)
    values = draw.standard_normal(count * N_TOKENS, dtype=np.float32)
    table = pa.table(
        {
            "prompt_id": ids * len(traits),
            "trait": np.repeat(traits, len(ids)),
            "method": ["mean_difference"] * count,
            "layer": pa.array([3] * count, pa.int32()),
            "vector": [SETTINGS] * count,
            "mean": values.reshape(count, -1).mean(axis=1),
            "cosine": np.zeros(count, np.float32),
            "scores": pa.ListArray.from_arrays(np.arange(0, len(values) + 1, N_TOKENS, dtype=np.int32), values),
            "null_means": pa.ListArray.from_arrays(np.zeros(count + 1, np.int32), pa.array([], pa.float32())),
        },
        schema=SCORES,
    )
    write_scores(path, table, SETTINGS)


@pytest.mark.slow
def test_at_full_size_it_is_small_and_opens_at_once(synthetic: Synthetic, opening: Open) -> None:
    write_full_size(synthetic)
    with timed(180):
        path = report(synthetic)
    assert 10e6 < path.stat().st_size < MEGABYTES * 1e6
    with timed(SECONDS):
        here = opening(path)
    assert here.tab.locator("table.heat td[data-trait]").count() == N_ORGANISMS * N_TRAITS
    with timed(SECONDS):
        here.tab.locator("table.heat td[data-trait]").nth(500).click()
        here.tab.locator("li.card .tokens").first.wait_for()
    assert "the n-th response of an organism's m-th trait" in here.tab.locator("#thinning").inner_text()
