"""Batch: one thing that moves as a whole."""

from __future__ import annotations

import torch

from hydromae.batching.batch import Batch
from samples import sample


def tensors(batch: Batch) -> list[torch.Tensor]:
    held = [*batch.values.values(), *batch.observed.values(), *batch.variance.values(), batch.days]
    for metadata in batch.site_metadata.values():
        held += [metadata.position, metadata.valid, metadata.static_attributes, metadata.is_known]
    assert batch.cells is not None
    return [*held, batch.cells.slot, batch.cells.patch, batch.cells.pixel, batch.cells.weight]


def test_every_tensor_goes_to_the_device() -> None:
    batch = sample("base")
    moved = batch.to("meta")
    assert all(tensor.device.type == "meta" for tensor in tensors(moved)) and len(tensors(moved)) == 28
    assert all(tensor.device.type == "cpu" for tensor in tensors(batch))
    assert list(moved.values) == list(batch.values)


def test_a_batch_without_footprints_moves_too() -> None:
    assert sample("rivers").to("meta").cells is None


def test_size_and_places_of_a_modality() -> None:
    batch = sample("base", size=3, sites=4, patches=2)
    assert batch.size == 3
    assert batch.metadata_of("temperature").position.shape == (3, 2, 1, 2)
    assert batch.metadata_of("riverflow").position.shape == (3, 4, 3, 2)
