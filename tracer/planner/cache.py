"""The cache of keys and values, with room for what is still to be written."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

ROOM = 512
"""Tokens a row, from one allocation to the next."""


class RoomyLayer(DynamicLayer):
    """A layer that writes into spare room. Its parent copies all keys and values for every token that is added."""

    keys: Tensor
    values: Tensor
    _whole: tuple[Tensor, ...] = ()
    _made: Tensor | None = None
    """The view of the keys made last: whoever puts another in its place, as a beam search does, gets new room."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Add keys and values (rows, heads, added, size); return views of all of them, (rows, heads, tokens, size)."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        given = (key_states, value_states)
        used = self.get_seq_length()
        total = used + key_states.shape[-2]
        if self.keys is not self._made or total > self._whole[0].shape[-2]:
            kept = (self.keys, self.values)
            self._whole = tuple(new.new_empty(*new.shape[:-2], total + ROOM, new.shape[-1]) for new in given)
            for whole, old in zip(self._whole, kept, strict=True) if used else ():
                whole[..., :used, :] = old
        for whole, new in zip(self._whole, given, strict=True):
            whole[..., used:total, :] = new
        self.keys, self.values = (whole[..., :total, :] for whole in self._whole)
        self._made = self.keys
        return self.keys, self.values


def cache(model: Any) -> Cache:
    """An empty cache for a model; layers that attend to a window, or not at all, are as transformers makes them."""
    made = DynamicCache(config=getattr(model, "module", model).config)
    made.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in made.layers]
    return made
