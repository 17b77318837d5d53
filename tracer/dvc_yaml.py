"""dvc.yaml, written from the flow's list of steps: ``tracer dvc-yaml > dvc.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tracer.config import Config
from tracer.flow import STEPS, FlowStep, folder, of
from tracer.lineage.digest import HEADLINE
from tracer.training.gates import CURVE
from tracer.training.settings import RetrainConfig

HEAD = """\
# Generated from the steps of tracer/flow.py by `tracer dvc-yaml > dvc.yaml`; do not edit.
#
# Each stage is one `tracer` command, and does nothing that the command alone would not do. The profile is the one that
# params.yaml names first; the data and the base planner are where that profile has them. Every stage depends on the
# whole profile and on all of tracer/: the command itself knows what of it matters, and finds its finished folder by its
# digest if nothing does. Folders persist, because a step resumes what a kill left, and stay out of DVC's cache: `dvc
# pull` on a fresh clone asks the remote for the data alone, and a checkpoint is shared through the registry.
"""
CURVES = {"reward": "reward", "dead groups": "frac_reward_zero_std", "unparsable forecasts": "unparsable"}
"""What is plotted of every stage, and its column."""


def dvc_yaml(config: Config) -> str:
    """The text of dvc.yaml, with the data and the base planner where the configuration has them."""
    # DVC fills in the variables when it reads the file: the folders are those of a profile with the variable's name.
    # A registered version that training starts from is brought by the steps themselves, and DVC knows only the base.
    own = {"profile": "${profile}", "seed": 0, "retrain": RetrainConfig()}
    config = config.model_copy(update=own)
    seeded = config.folder.with_name("seed${seed}")

    def place(path: Path) -> str:
        return str(seeded / path.relative_to(config.folder) if path.is_relative_to(config.folder) else path)

    def stage(step: FlowStep) -> dict[str, Any]:
        read = [place(folder(config, name)) for name in step.reads]
        return {
            "desc": step.about,
            "cmd": f"tracer {step.command} --profile ${{profile}} --seed ${{seed}}",
            "deps": ["tracer", *([config.registry.policy] if step.kind == "promote" else []), *read],
            "params": ["profiles.${profile}"],
            # A browser that was missing, and is there now, is no file that DVC could see.
            **({"always_changed": True} if step.kind == "online" else {}),
            "outs": [{place(step.out(config)): {"persist": True, "cache": False}}],
        }

    curves = [place(step.out(config) / CURVE) for step in of("gate")]
    document = {
        "vars": [{"seed": 0}],
        "stages": {step.name: stage(step) for step in STEPS},
        "metrics": [place(step.out(config) / HEADLINE) for step in STEPS if step.headline],
        "plots": [
            {title: {"x": "step", "y": dict.fromkeys(curves, column), "x_label": "optimizer step", "y_label": title}}
            for title, column in CURVES.items()
        ],
    }
    return HEAD + yaml.safe_dump(document, sort_keys=False, width=120)
