"""The options by which a script chooses a judge, and the judge that they describe."""

import argparse
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import urlsplit

from interp.cli import positive, positive_number, seconds_argument
from interp.errors import InputError
from interp.judges.answers import Judge
from interp.judges.batch_api import judge_in_batches
from interp.judges.judging import Item, Report, Tally, judge_all
from interp.judges.limits import Limits
from interp.judges.openai_judge import Endpoint, OpenAIJudge
from interp.judges.prices import Price, read_price, require_price
from interp.judges.rubrics import Rubric
from interp.judges.scripted import read_scripted_judge
from interp.judges.spending import Spending
from interp.judges.verdicts import VerdictFile

SCRIPTED = "scripted:"
_OPENAI_URL = "https://api.openai.com/v1"


def judge_options(required: bool = False) -> argparse.ArgumentParser:
    """--judge and what goes with it, as a parent parser."""
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("judge")
    add = group.add_argument
    add("--judge", metavar="MODEL", required=required, help="model at the endpoint, or scripted:FILE for a script")
    add("--base-url", metavar="URL", help=f"endpoint (default: $OPENAI_BASE_URL or {_OPENAI_URL}); it is sent the key")
    add("--max-in-flight", type=positive, default=256, metavar="N", help="calls at one time, at most (default: 256)")
    for what in ("requests", "tokens"):
        text = f"{what} a minute, at most (default: what the endpoint's headers say)"
        add(f"--{what}-per-minute", type=positive, metavar="N", help=text)
    add("--timeout", type=seconds_argument, default=60.0, metavar="S", help="seconds of one request (default: 60)")
    add(
        "--longest-pause", type=seconds_argument, default=600.0, metavar="S",
        help="seconds that the endpoint may have everything wait, at most (default: 600)",
    )
    add(
        "--max-output-tokens", type=positive, default=2000, metavar="N",
        help="tokens of one answer, at most, silent reasoning included (default: 2000)",
    )
    add("--spend-at-most", type=positive_number, metavar="USD", help="cap of this run; never passed (default: none)")
    add("--prices", type=Path, metavar="FILE", help="prices by model (default: datasets/rubrics/prices.json)")
    add("--batch-api", action="store_true", help="hand calls in as batches: cheaper, within a day (default: at once)")
    return parser


def make_judge(args: argparse.Namespace) -> Judge:
    """The judge that the options describe.

    Raises:
        InputError: no judge, no key, a script that is malformed, or a cap on a model whose price is not known.
    """
    if not args.judge:
        raise InputError("no judge: give --judge MODEL, or --judge scripted:FILE")
    if args.judge.startswith(SCRIPTED):
        if args.batch_api:
            raise InputError("--batch-api needs a model behind an endpoint, not a script")
        return read_scripted_judge(Path(args.judge.removeprefix(SCRIPTED)))
    price = price_of(args)
    if args.spend_at_most is not None:
        require_price(args.judge, price)
    base_url = args.base_url or os.environ.get("OPENAI_BASE_URL") or _OPENAI_URL
    endpoint = Endpoint(args.judge, base_url, _key(base_url), args.timeout, args.max_output_tokens)
    limits = Limits(args.max_in_flight, args.requests_per_minute, args.tokens_per_minute, args.longest_pause)
    return OpenAIJudge(endpoint, limits, Spending(price, args.spend_at_most))


def price_of(args: argparse.Namespace) -> Price | None:
    """What the judge costs; None where it is not known. A script costs nothing."""
    if args.judge.startswith(SCRIPTED):
        return Price(input=0, output=0)
    price = read_price(args.judge, args.prices)
    return price.in_batches if price and args.batch_api else price


def judge_items(
    items: Iterable[Item], args: argparse.Namespace, judge: Judge, rubric: Rubric, file: VerdictFile, *,
    on_progress: Report | None = None, stop: Callable[[], bool] | None = None,
) -> Tally:  # fmt: skip
    """`judge_all`, or `judge_in_batches` where the options ask for it."""
    if args.batch_api:
        assert isinstance(judge, OpenAIJudge)
        return judge_in_batches(items, judge, rubric, file, on_progress=on_progress, stop=stop)
    return judge_all(items, judge, rubric, file, on_progress=on_progress, stop=stop)


def _key(base_url: str) -> str:
    """The key from the environment; an endpoint of one's own may need none.

    Raises:
        InputError: a public endpoint, and no key.
    """
    host = urlsplit(base_url).hostname or ""
    if not host:
        raise InputError(f"--base-url {base_url!r} is no address: write https://host/v1")
    variable = "OPENROUTER_API_KEY" if host == "openrouter.ai" or host.endswith(".openrouter.ai") else "OPENAI_API_KEY"
    key = os.environ.get(variable, "").strip()
    if key:
        return key
    if host.endswith(("openai.com", "openrouter.ai")):
        raise InputError(f"set {variable} to the key for {host}")
    return ""
