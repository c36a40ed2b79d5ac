"""Reading the checkpoint that a run leaves in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from supertau.search_spaces.errors import DataError

CHECKPOINT = "checkpoint.pt"


def read_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Return what a checkpoint holds: under 'estimator' the state of the estimator.

    path: the file, or the folder of its run. Raises DataError when it is missing or damaged.
    """
    if path.is_dir():
        path = path / CHECKPOINT
    try:
        held: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise DataError(
            f"there is no checkpoint '{path}'; expected the folder of a run, or its {CHECKPOINT}."
        ) from None
    except Exception as error:  # torch raises whatever the damaged bytes lead to
        raise DataError(f"checkpoint '{path}' cannot be read ({error}). Run it again with --restart.") from error
    if not isinstance(held, dict) or "estimator" not in held:
        raise DataError(f"'{path}' is not a checkpoint of supertau: it holds no state of an estimator.")
    return held
