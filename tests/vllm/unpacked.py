"""A worker that leaves weights as they are: vLLM packs those of linear layers on the CPU, and new ones would not fit.

Importing it is what counts; a server imports it as its worker's extension.
"""

from __future__ import annotations

from vllm import _custom_ops

_custom_ops._supports_onednn = False


class Unpacked:
    """Adds nothing to a worker."""
