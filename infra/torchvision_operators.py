"""Declares the operators that torchvision looks for when it is imported; its own library needs CUDA."""

import torch

for name in ("nms", "qnms"):
    torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
