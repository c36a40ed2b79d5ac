"""The checkpoint that a run leaves in its folder: what it holds is sealed, so that damage is not trained on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch

from supertau.search_spaces.errors import DataError
from supertau.search_spaces.supernet import Supernet

CHECKPOINT = "checkpoint.pt"


def sealed(content: dict[str, Any], training: str) -> dict[str, Any]:
    """Return what goes into a checkpoint: the content, which training it is from, and a checksum of it all."""
    whole = {**content, "training": training}
    return {**whole, "checksum": _checksum(whole)}


def read_checkpoint(path: Path, device: torch.device, training: str | None = None) -> dict[str, Any]:
    """Return the content of a checkpoint; 'estimator' is the state of the estimator.

    path: the file, or the folder of its run. training: what it must be from, None for any. Raises DataError when it is
    missing, damaged, or from another training.
    """
    if path.is_dir():
        path = path / CHECKPOINT
    try:
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise DataError(
            f"there is no checkpoint '{path}'; expected the folder of a run, or its {CHECKPOINT}."
        ) from None
    except Exception as error:  # torch raises whatever the damaged bytes lead to
        raise DataError(f"checkpoint '{path}' cannot be read ({error}). Run it again with --restart.") from error
    if not isinstance(content, dict) or "estimator" not in content:
        raise DataError(f"'{path}' is not a checkpoint of supertau: it holds no state of an estimator.")
    if content.pop("checksum", None) != _checksum(content):
        raise DataError(f"checkpoint '{path}' is damaged: its checksum is another. Run it again with --restart.")
    if training is not None and content["training"] != training:
        raise DataError(f"checkpoint '{path}' is from another training. Run it again with --restart.")
    return content


def _checksum(content: Any) -> str:
    digest = hashlib.sha256()
    _feed(digest, content)
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    """Feed plain data and tensors to a hash: types, names and every byte."""
    if isinstance(value, torch.Tensor):
        digest.update(f"tensor {value.dtype} {tuple(value.shape)}".encode())
        # A copy, because a tensor of one number may count as contiguous whatever its stride is.
        plain = value.detach().cpu().clone(memory_format=torch.contiguous_format).reshape(-1)
        digest.update(plain.view(torch.uint8).numpy().data)
    elif isinstance(value, dict):
        digest.update(f"dict {len(value)}".encode())
        for key, member in value.items():
            digest.update(repr(key).encode())
            _feed(digest, member)
    elif isinstance(value, list | tuple):
        digest.update(f"list {len(value)}".encode())
        for member in value:
            _feed(digest, member)
    else:
        digest.update(f"{type(value).__name__} {value!r}".encode())


def load_supernet(supernet: Supernet, path: Path, device: torch.device, *, classifier: bool) -> str:
    """Load the supernet of a finished run, with or without its classifier; return the SHA-256 of what was loaded.

    Raises DataError when the checkpoint's supernet has other shapes.
    """
    source = read_checkpoint(path, device)["estimator"].get("supernet", {})
    own = supernet.state_dict()
    head = {name for name in own if name.startswith("classifier.")}
    names = own.keys() if classifier else own.keys() - head
    for name in sorted(names):
        shape = tuple(source[name].shape) if name in source else "nothing"
        if shape != tuple(own[name].shape):
            hint = " Another number of classes needs reset_classifier=true." if name in head else ""
            raise DataError(
                f"the supernet of '{path}' does not fit: {name} is {shape}, expected {tuple(own[name].shape)}. "
                f"Space, channels, cells and affine must be the same.{hint}"
            )
    supernet.load_state_dict({name: source[name] if name in names else own[name] for name in own})
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(source[name].cpu().numpy().tobytes())
    return digest.hexdigest()
