"""docs/speed.md, from the results recorded in docs/bench."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracer.experiments.bench import MAX_REWARD_SHARE, PHASES
from tracer.experiments.stamp import machine, state
from tracer.lineage.digest import LineageError

GOAL = 1.5
"""How many times as fast as a bare TRL script stage 1 should be on the profile tiny."""
GIB = 2**30

HEAD = """\
# Speed

Written by `tracer bench` from the results in `docs/bench`; change neither by hand.

Our stage 1 beside `trl.GRPOTrainer` as it comes, given the same model, states, rewards and arguments. Each side is a
process of its own, and they take their steps in turns, so that whatever else the machine does falls on both alike.
Seconds are medians over the steps, tokens are means. *Generate* encodes the prompts and samples, *score* computes the
rewards, *update* is everything else up to the optimizer's step, *sync* hands the weights to vLLM.
"""


def write_page(results: Path, page: Path) -> None:
    """Write the page from every result in a folder; raises ``LineageError`` for an empty one."""
    found = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
    if not found:
        raise LineageError(f"{results} contains no result; run `tracer bench`")
    page.write_text("\n".join([HEAD, *(section(result) for result in found)]))


def section(result: Mapping[str, Any]) -> str:
    """One result: what was measured, on what, and what it means."""
    hardware = result["hardware"]
    kind = machine(hardware) + ("" if hardware["gpus"] else f", threads: {hardware['threads']}")
    stage, speedup = result["settings"]["stage1"], result["speedup"]
    lines = [
        f"## `{result['profile']}` on {kind}",
        "",
        f"Commit {state(result['git'])}; {result['steps']} steps of {stage['groups']} groups of {stage['group_size']}, "
        f"{result['seeds']} seed{'s' if result['seeds'] > 1 else ''}; torch {result['versions']['torch']}, "
        f"TRL {result['versions']['trl']}; load average {result['load'][0]:g} at the end.",
        "",
        "| | step s | " + " | ".join(f"{phase} s" for phase in PHASES) + " | tokens per step | tokens/s | peak GiB |",
        "|---|" + "---:|" * (len(PHASES) + 4),
    ]
    for side, name in (("ours", "ours"), ("trl", "bare TRL")):
        found = result["sides"][side]
        numbers = [found["seconds"]["step"], *(found["seconds"][phase] for phase in PHASES)]
        lines.append(
            f"| {name} | "
            + " | ".join(f"{value:.3g}" for value in numbers)
            + f" | {sum(found['tokens'].values()):.0f} | {found['tokens_per_second']:.0f}"
            + f" | {found['peak_bytes'] / GIB:.2f} |"
        )
    lines += [
        "",
        f"**{speedup['mean']:.2f} times as fast** (95 % interval {speedup['low']:.2f} to {speedup['high']:.2f} over "
        f"the turns){verdict(result)}. The reward takes {result['reward_share']:.2%} of a step "
        f"(the limit is {MAX_REWARD_SHARE:.0%}).",
        "",
        rewards(result),
        "",
        f"Where a step goes, by operator. Ours: {operators(result, 'ours')}. Bare TRL: {operators(result, 'trl')}.",
        "",
    ]
    return "\n".join(lines)


def verdict(result: Mapping[str, Any]) -> str:
    """The speed-up in a sentence, with its interval."""
    if result["profile"] != "tiny":
        return ""
    return f"; the target was {GOAL:g}" + ("" if result["speedup"]["mean"] >= GOAL else ", which is not reached")


def rewards(result: Mapping[str, Any]) -> str:
    """How the reward curves of both sides compare."""
    found, curves = result["rewards"]["difference"], result["rewards"]["curves"]
    if curves["ours"] == curves["trl"]:  # the same random numbers on both sides, and nearly the same probabilities
        steps = sum(map(len, curves["ours"]))
        return (
            f"Both sides sampled the same forecasts: their mean rewards are equal to six digits in all {steps} steps."
        )
    if found is None:
        return "One seed does not tell whether the reward curves agree; `--seeds 3` does."
    within = found["low"] <= 0 <= found["high"]
    return (
        f"Mean reward, ours less TRL's, over {result['seeds']} seeds: {found['mean']:+.4f} "
        f"({found['low']:+.4f} to {found['high']:+.4f}), where TRL's own spread over the seeds is "
        f"{result['rewards']['spread']:.4f}: the curves {'agree' if within else 'do not agree'}."
    )


def operators(result: Mapping[str, Any], side: str, count: int = 4) -> str:
    """The operators that take most of a step, in a sentence."""
    most = result["sides"][side]["operators"][:count]
    return ", ".join(f"`{each['name']}` {each['share']:.0%}" for each in most)
