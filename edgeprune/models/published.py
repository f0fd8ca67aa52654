"""Published weights of a network, whose tensors have other names here."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from edgeprune.errors import EdgepruneError

PublishedLayer = tuple[str, str, tuple[str, ...]]
"""A layer's name in the file, its name here, and its tensors."""


def published_tensors(
    path: Path | str, layers: Iterable[PublishedLayer], own: Mapping[str, Tensor], network: str, source: str, use: str
) -> dict[str, Tensor]:
    """The tensors of some layers, by their names here, from a .pth file that holds a state dict, maybe under "model".

    `own` is the state dict of the network they are meant for. Messages name the `network`, the `source` of the file
    and what to `use` where a shape differs.
    """
    try:
        content = dict(torch.load(path, map_location="cpu", weights_only=True))
        state = dict(content.get("model", content))
    except Exception as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else type(error).__name__
        raise EdgepruneError(
            f"{path}: cannot be read as a {network} state dict ({reason}); give the .pth file of {source}."
        ) from error
    tensors = {}
    for theirs, ours, kinds in layers:
        for kind in kinds:
            tensor, name = state.get(f"{theirs}.{kind}"), f"{ours}.{kind}"
            if not isinstance(tensor, Tensor):
                raise EdgepruneError(f"{path}: has no '{theirs}.{kind}'; it is not {source}.")
            if tensor.shape != own[name].shape:
                raise EdgepruneError(
                    f"{path}: '{theirs}.{kind}' is {list(tensor.shape)}, the network wants {list(own[name].shape)}; "
                    f"use {use}."
                )
            tensors[name] = tensor
    return tensors
