"""The report of a sweep in a real browser: cells, filters, saved tables, keys, light and dark; no network."""

from pathlib import Path

import pytest

from tests import browsing
from tests.browsing import CONTRASTS, Open, Scheme
from tests.experiments.concept_injection.sweeps import judge_sweep, request_of, write_sweep
from tests.experiments.concept_injection.test_report import HOSTILE, fail_some, report

chromium, browser, opening = browsing.chromium, browsing.browser, browsing.opening
HOSTILE_ITEM = "fear_injection_L20_S4.0_t3"


@pytest.fixture(scope="module")
def page_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a planted sweep with a hostile reply, three trials unjudged."""
    paths = write_sweep(tmp_path_factory.mktemp("sweep"), request_of(), replies={HOSTILE_ITEM: HOSTILE})
    fail_some(paths, judge_sweep(paths), "ocean", [f"ocean_injection_L10_S2.0_t{number}" for number in range(3)])
    return report(paths, "--samples", "20") / "report.html"


def test_from_a_cell_to_its_replies_to_a_csv(page_path: Path, opening: Open) -> None:
    here = opening(page_path)
    here.cell(layer=20, strength=4).click()
    panel = here.tab.locator("#replies")
    assert panel.locator("h3").inner_text() == "Layer 20, strength 4: the concept's own vector"
    assert panel.get_by_text("40 of 40 replies").is_visible()
    panel.get_by_label("Outcome").select_option("detected")
    panel.get_by_label("Text").fill("<script>alert")
    assert panel.locator(".reply").all_inner_texts() == [HOSTILE]
    assert "Judge: It says yes." in panel.locator("li.card").inner_text()
    header, row = here.download(panel.locator(".browser .save"))
    found = dict(zip(header, row, strict=True))
    assert (found["id"], found["outcome"], found["claimed"]) == (HOSTILE_ITEM, "detected", "fear")
    assert found["response"] == HOSTILE


def test_what_is_unjudged_is_on_top_in_the_cell_and_among_the_replies(page_path: Path, opening: Open) -> None:
    here = opening(page_path)
    assert "3 of 580 trials are unjudged" in here.tab.locator("#missing").inner_text()
    cell = here.cell(layer=10, strength=2)
    assert "3 of 40 unjudged" in str(cell.get_attribute("aria-label"))
    assert here.tab.locator("table.heat td.marked").count() == 1
    cell.click()
    panel = here.tab.locator("#replies")
    panel.get_by_label("Outcome").select_option("unjudged")
    assert panel.locator("li.card").count() == 3
    assert "rate limit after 3 retries" in panel.locator("li.card").first.inner_text()


def test_measures_conditions_and_concepts_fill_the_map(page_path: Path, opening: Open) -> None:
    here = opening(page_path)
    heat = here.tab.locator("#heat-map")
    shown = {"detected": here.cell(layer=20, strength=4).inner_text()}
    heat.get_by_label("Show").select_option("corrected_shift")
    assert here.cell(layer=20, strength=4).inner_text() == "6.00"
    assert "beyond every random direction" in str(here.cell(layer=20, strength=4).get_attribute("aria-label"))
    heat.get_by_label("Injected").select_option("other")
    assert here.cell(layer=20, strength=4).inner_text() == "2.00"
    for name in ("claims_rate", "named_minus_control", "incoherent_rate"):
        heat.get_by_label("Show").select_option(name)
        shown[name] = here.cell(layer=20, strength=4).inner_text()
        assert shown[name].endswith("%") and here.tab.locator(".dose").count() == 2
    heat.get_by_label("Injected").select_option("random")
    heat.get_by_label("Show").select_option("detected_rate")
    assert here.cell(layer=20, strength=4).inner_text() == "–"
    heat.get_by_label("Injected").select_option("injection")
    heat.get_by_label("Which concept").select_option("ocean")
    assert here.cell(layer=20, strength=4).inner_text() != shown["detected"]


def test_the_keyboard_is_enough(page_path: Path, opening: Open) -> None:
    here = opening(page_path)
    here.tab.locator("table.heat td[tabindex='0']").focus()
    assert here.focused("layer", "strength") == ("10", "2")
    here.tab.keyboard.press("ArrowDown")
    here.tab.keyboard.press("End")
    assert here.focused("layer", "strength") == ("20", "4")
    here.tab.keyboard.press("Enter")
    assert here.tab.locator("#replies h3").inner_text().startswith("Layer 20, strength 4")
    here.tab.keyboard.press("Escape")
    assert here.focused("layer", "strength") == ("20", "4")
    here.tab.get_by_role("button", name="Show the control's replies").press("Enter")
    assert here.tab.locator("#replies h3").inner_text() == "Control: nothing injected"
    assert here.tab.locator("#replies").get_by_text("100 of 100 replies").is_visible()


def test_tables_sort_filter_and_save(page_path: Path, opening: Open) -> None:
    here = opening(page_path)
    table = here.tab.locator("#table-rates")
    table.get_by_label("Filter rows").fill("ocean injection")
    table.get_by_role("button", name="unjudged", exact=True).click()
    header, *rows = here.download(table.locator(".save"))
    assert [row[header.index("unjudged")] for row in rows] == ["3", "3", "0", "0", "0"]
    assert {row[header.index("concept")] for row in rows} == {"ocean"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_legible_in_light_and_dark(page_path: Path, opening: Open, tmp_path: Path, scheme: Scheme) -> None:
    here = opening(page_path, scheme)
    here.cell(layer=20, strength=4).click()
    found = here.tab.evaluate(CONTRASTS)
    assert len(found) == 4 and min(found) >= 4.5
    assert len(here.tab.screenshot(path=tmp_path / f"report-{scheme}.png", full_page=True)) > 20_000


def test_a_sweep_that_has_just_begun_can_be_looked_at(tmp_path: Path, opening: Open) -> None:
    paths = write_sweep(tmp_path, request_of())
    for name in ("fear", "ocean"):
        paths.records(name).unlink()
        paths.log_odds(name).unlink()
    here = opening(report(paths) / "report.html")
    assert "fear: 0 of" in here.tab.locator("#missing").inner_text()
    assert "no trial yet with anything injected" in here.tab.locator("#heat-map").inner_text()
    here.tab.get_by_role("button", name="Show the control's replies").click()
    assert here.tab.locator("#replies").get_by_text("100 of 100 replies").is_visible()


def test_without_verdicts_it_says_so_and_shows_log_odds(tmp_path: Path, opening: Open) -> None:
    here = opening(report(write_sweep(tmp_path, request_of())) / "report.html")
    assert "no reply has been judged" in here.tab.locator("#missing").inner_text()
    assert here.cell(layer=20, strength=2).inner_text() == "3.00"
    here.cell(layer=20, strength=2).click()
    assert here.tab.locator("#replies li.card").count() == 10
