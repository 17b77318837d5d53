"""Declares the operators that torchvision looks for when it is imported; its own library needs CUDA.

No image function uses them. Beside a torchvision of its own, an environment has this file as its sitecustomize.py.
"""

import torch

for name in ("nms", "qnms"):
    torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
