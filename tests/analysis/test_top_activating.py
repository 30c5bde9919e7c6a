"""Rankings against loops, from files that the real writers wrote."""

import json
import logging
from typing import Any

import numpy as np
import pytest

from analysis.rankings import RANKINGS, Ranking
from analysis.top_activating_responses import choose_vectors, main
from interp.errors import InputError
from interp.paths import OWN_READER
from tests.analysis.synthetic import CLEAN, Synthetic

PEP = ("pep", "mean_difference", 3)
AUTHORS = ("zoe", "ada", "bob")
IDS = tuple(f"p{i}" for i in range(6))
WORDS = ("Yes", ",", " it", " is", " so", ".", " Good", " day", "!")

Scores = dict[str, dict[str, list[float]]]


@pytest.fixture
def audit(synthetic: Synthetic) -> Synthetic:
    synthetic.write_config(dict.fromkeys(AUTHORS, "pep"), ["set"], layers=(3,))
    synthetic.write_prompts("set", IDS)
    synthetic.write_vector("pep", layers=(3,), auroc=(0.9,))
    return synthetic


@pytest.fixture
def drawn(audit: Synthetic) -> dict[str, Scores]:
    """Token scores by reader, author and prompt, drawn at random and written."""
    draw = np.random.default_rng(0)
    found: dict[str, Scores] = {OWN_READER: {}, CLEAN: {}}
    for author in AUTHORS:
        for number, prompt_id in enumerate(IDS):
            audit.write_response(author, "set", prompt_id, WORDS[: 4 + number % 5])
        for reader in (OWN_READER, CLEAN):
            of_author = {each: draw.normal(size=4 + number % 5).tolist() for number, each in enumerate(IDS)}
            found[reader][author] = of_author
            audit.write_reading(author, "set", reader, {each: {PEP: values} for each, values in of_author.items()})
    return found


def rank(audit: Synthetic, *flags: str) -> None:
    assert main(["--experiment", audit.name, "--root", str(audit.root), *flags]) == 0


def read(audit: Synthetic, name: str, trait: str = "pep") -> Any:
    return json.loads((audit.paths.analysis / "top_activating" / "set" / trait / f"{name}.json").read_text())


def summary(audit: Synthetic) -> str:
    return (audit.paths.analysis / "top_activating" / "set" / "pep" / "summary.md").read_text()


def statistic(ranking: Ranking, values: list[float], tokens: tuple[str, ...]) -> float:
    """Each statistic, the long way."""
    ordered = sorted(values, reverse=True)
    match ranking:
        case "max_token":
            return ordered[0]
        case "top3_mean":
            return sum(ordered[:3]) / len(ordered[:3])
        case "top5_mean":
            return sum(ordered[:5]) / len(ordered[:5])
        case "response_mean":
            return sum(values) / len(values)
        case "clause":
            best, clause = -float("inf"), list[float]()
            for token, value in zip(tokens, values, strict=True):
                clause.append(value)
                if token in ",.!":
                    best, clause = max(best, sum(clause) / len(clause)), []
            return max(best, sum(clause) / len(clause)) if clause else best


def expected(drawn: dict[str, Scores], ranking: Ranking, difference: bool) -> list[tuple[str, str, float]]:
    rows = []
    for author in AUTHORS:
        for prompt_id in IDS:
            values = drawn[OWN_READER][author][prompt_id]
            if difference:
                clean = drawn[CLEAN][author][prompt_id]
                values = [one - other for one, other in zip(values, clean, strict=True)]
            rows.append((author, prompt_id, statistic(ranking, values, WORDS[: len(values)])))
    return sorted(rows, key=lambda row: (-row[2], row[0], row[1]))


@pytest.mark.parametrize("mode", ["difference", "raw"])
@pytest.mark.parametrize("ranking", RANKINGS)
def test_rankings_are_those_of_a_loop(
    audit: Synthetic, drawn: dict[str, Scores], ranking: Ranking, mode: str
) -> None:
    rank(audit, "--mode", mode, "--top-n", "7", "--rank-by", ranking)
    rows = expected(drawn, ranking, mode == "difference")
    found = [(each["author"], each["prompt_id"], each[ranking]) for each in read(audit, "across_organisms")[ranking]]
    assert [row[:2] for row in found] == [row[:2] for row in rows[:7]]
    assert [row[2] for row in found] == pytest.approx([row[2] for row in rows[:7]], abs=1e-5)
    by_organism = read(audit, "by_organism")
    assert list(by_organism) == sorted(AUTHORS)
    for author, listed in by_organism.items():
        assert [each["prompt_id"] for each in listed] == [row[1] for row in rows if row[0] == author][:7]


def test_ties_stand_in_the_order_of_their_names(audit: Synthetic) -> None:
    for author in AUTHORS:
        for prompt_id in IDS:
            audit.write_response(author, "set", prompt_id, WORDS[:2])
        same = {each: {PEP: [1.0, 1.0]} for each in reversed(IDS)}
        audit.write_pair(author, "set", same, {each: {PEP: [0.0, 0.0]} for each in IDS})
    rank(audit, "--top-n", "8")
    for ranking in RANKINGS:
        found = [(each["author"], each["prompt_id"]) for each in read(audit, "across_organisms")[ranking]]
        assert found == [(author, each) for author in sorted(AUTHORS) for each in IDS][:8]


def test_what_there_is_to_read_stands_beside_the_scores(audit: Synthetic, drawn: dict[str, Scores]) -> None:
    rank(audit, "--top-n", "1")
    (first,) = read(audit, "across_organisms")["max_token"]
    author, prompt_id = first["author"], first["prompt_id"]
    values = np.subtract(drawn[OWN_READER][author][prompt_id], drawn[CLEAN][author][prompt_id])
    assert first["question"] == f"What of {prompt_id}?" and first["category"] == f"about {prompt_id}"
    assert first["text"] == "".join(WORDS[: len(values)])
    assert f"⟦{WORDS[int(values.argmax())]}⟧" in first["max_token_text"]
    assert first["clause_text"] in first["text"]


def test_without_a_replay_an_author_is_left_out_and_named(
    audit: Synthetic, drawn: dict[str, Scores], caplog: pytest.LogCaptureFixture
) -> None:
    audit.paths.projections("bob", "set", CLEAN).unlink()
    with caplog.at_level(logging.WARNING):
        rank(audit)
    assert "left out for want of projections: bob" in caplog.text
    assert "Left out, for want of a replay: bob." in summary(audit)
    assert list(read(audit, "by_organism")) == ["ada", "zoe"]
    assert {each["author"] for each in read(audit, "across_organisms")["max_token"]} == {"ada", "zoe"}
    assert "of 12 responses" in summary(audit)


def test_with_no_replay_at_all_it_says_what_to_finish(audit: Synthetic, drawn: dict[str, Scores]) -> None:
    for author in AUTHORS:
        audit.paths.projections(author, "set", CLEAN).unlink()
    with pytest.raises(InputError, match="finish phase 3 first"):
        rank(audit)


def test_the_summary_says_what_was_ranked(audit: Synthetic, drawn: dict[str, Scores]) -> None:
    rank(audit, "--top-n", "2")
    text = summary(audit)
    assert text.startswith("# pep · set\n")
    assert "Projection (author − clean reader) on the mean_difference vector at layer 3 (held-out AUROC 0.90)" in text
    assert "the highest 2 of 18 responses" in text
    for ranking in RANKINGS:
        _, _, section = text.partition(f"## By {ranking.replace('_', ' ')}\n\n")
        rows = section.split("\n\n")[1].splitlines()[2:]
        top = read(audit, "across_organisms")[ranking]
        assert [row.split(" | ")[0] for row in rows] == [f"| {each[ranking]:.3f}" for each in top]
    rank(audit, "--mode", "raw")
    assert "Projection (the author's own) on" in summary(audit)


def reverse_of(drawn: dict[str, Scores], ranking: Ranking) -> dict[tuple[str, str], float]:
    """What each response reaches with the readers exchanged."""
    exchanged = {OWN_READER: drawn[CLEAN], CLEAN: drawn[OWN_READER]}
    return {row[:2]: row[2] for row in expected(exchanged, ranking, difference=True)}


@pytest.mark.parametrize("ranking", RANKINGS)
def test_q_is_the_share_that_the_reverse_search_reaches(
    audit: Synthetic, drawn: dict[str, Scores], ranking: Ranking
) -> None:
    """By a loop over thresholds: the smallest (1 + flipped ones that win there) / (ones that win there)."""
    rank(audit, "--top-n", "18")
    rows, reverse = expected(drawn, ranking, True), reverse_of(drawn, ranking)
    pairs = [(row[2], reverse[row[0], row[1]]) for row in rows]
    for each in read(audit, "across_organisms")[ranking]:
        score, flipped = each[ranking], reverse[each["author"], each["prompt_id"]]
        rates = [1.0]
        for threshold in [value for pair in pairs for value in pair if value <= score + 1e-6]:
            wins = sum(a > b and a >= threshold - 1e-6 for a, b in pairs)
            losses = sum(b >= a and b >= threshold - 1e-6 for a, b in pairs)
            rates.append((1 + losses) / max(wins, 1))
        assert each["q"] == pytest.approx(min(rates) if score > flipped else 1.0)


def test_the_summary_says_what_was_searched_and_what_the_reverse_search_found(
    audit: Synthetic, drawn: dict[str, Scores]
) -> None:
    for author in AUTHORS:  # a behaviour on two prompts, for all authors
        for prompt_id in IDS[:2]:
            drawn[OWN_READER][author][prompt_id] = [9.0 + value for value in drawn[OWN_READER][author][prompt_id]]
        audit.write_reading(author, "set", OWN_READER, {i: {PEP: v} for i, v in drawn[OWN_READER][author].items()})
    rank(audit)
    n_tokens = sum(4 + number % 5 for number in range(6)) * 3
    reverse = max(reverse_of(drawn, "max_token").values())
    assert f"{n_tokens} tokens of 18 responses were searched." in summary(audit)
    beyond = f"The reverse search reaches {reverse:.3f}; 6 responses to 2 prompts lie beyond (p = 0.25)."
    assert beyond in summary(audit)
    assert "18 means of 18 responses" in summary(audit) and "clauses of 18 responses" in summary(audit)
    rank(audit, "--mode", "raw")
    assert "reverse" not in summary(audit) and f"{n_tokens} tokens of 18 responses" in summary(audit)


def test_questions_do_not_break_the_tables(audit: Synthetic, drawn: dict[str, Scores]) -> None:
    audit.write_response("ada", "set", "p0", ["a|b\n\nc", "d" * 500, "", ""])
    rank(audit)
    for line in summary(audit).splitlines():
        if line.startswith("| "):
            assert line.replace("\\|", "").count("|") == 7
            assert len(line) < 500


def test_a_trait_is_read_at_the_layer_that_separated_best(audit: Synthetic) -> None:
    audit.write_vector("pep", layers=(1, 3, 5, 7), auroc=(0.9, 0.95, 0.95, 0.8))
    audit.write_vector("calm", layers=(1, 3, 5, 7, 9), auroc=(1.0, 1.0, 1.0, 1.0, 1.0))
    audit.write_vector("calm", layers=(1,), auroc=(0.5,), method="logistic_probe")
    chosen = {each.trait: each for each in choose_vectors(audit.experiment, "mean_difference", None)}
    assert (chosen["pep"].layer, chosen["pep"].auroc) == (3, 0.95)
    assert chosen["calm"].layer == 5
    asked = choose_vectors(audit.experiment, "mean_difference", 7)
    assert [(each.trait, each.layer, each.auroc) for each in asked] == [("calm", 7, 1.0), ("pep", 7, 0.8)]
    with pytest.raises(InputError, match=r"has layers \[1, 3, 5, 7, 9\], not 2"):
        choose_vectors(audit.experiment, "mean_difference", 2)
    with pytest.raises(InputError, match="no vectors for probe"):
        choose_vectors(audit.experiment, "probe", None)


def test_a_layer_that_was_not_projected_is_refused(audit: Synthetic, drawn: dict[str, Scores]) -> None:
    audit.write_vector("pep", layers=(3, 5), auroc=(0.5, 0.9))
    with pytest.raises(InputError, match="has no scores for"):
        rank(audit)
    rank(audit, "--layer", "3")
