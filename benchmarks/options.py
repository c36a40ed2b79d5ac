"""The options of a run, declared once: the Python interface takes them as keywords, the command line as --options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Annotated, Any, Literal, TypedDict, get_args, get_origin, get_type_hints

from supertau.search_spaces.errors import SupertauError, unknown


@dataclass(frozen=True)
class Help:
    """What an option means, and its least value where it has one."""

    text: str
    least: int | None = None


class TaskOptions(TypedDict, total=False):
    """What is ranked, by what, and how large a run is. What is left out has the value of the preset."""

    space: Annotated[str, Help("Search space [default: nasbench201].")]
    preset: Annotated[str, Help("smoke, quick, standard or paper [default: quick].")]
    truth: Annotated[str, Help("Data set of the ground truth [default: the space's first].")]
    truth_path: Annotated[str, Help("Official file, NATS-Bench folder or table to read it from.")]
    truth_split: Annotated[
        str, Help("Images that true accuracies were measured on, where the source has several, e.g. x-test.")
    ]
    truth_epochs: Annotated[int, Help("Length of the true trainings, where the source has several.", least=1)]
    pool: Annotated[str, Help("all, unique, connected, any of them with :COUNT, or a file of architectures.")]
    images: Annotated[str, Help("Image set.")]
    image_size: Annotated[int, Help("Side of the images in pixels.", least=1)]
    train: Annotated[int, Help("Number of training images.", least=1)]
    validation: Annotated[int, Help("Number of held-out images.", least=1)]
    validation_split: Annotated[
        Literal["train", "test"],
        Help("train: hold images out of the training split [default]; test: use the official test split."),
    ]
    channels: Annotated[int, Help("Width C of the supernet.", least=1)]
    cells: Annotated[int, Help("Cells per stage, N.", least=1)]
    passes: Annotated[int, Help("Training images run forward and backward.", least=1)]
    curve_points: Annotated[int, Help("How often along training a part of the pool is scored.", least=0)]
    curve_pool: Annotated[int, Help("Architectures scored each time.", least=2)]


class ExecutionOptions(TypedDict, total=False):
    """Where and how runs are carried out; nothing here changes scores, apart from rounding."""

    device: Annotated[str, Help("auto, cpu, cuda or cuda:N [default: auto].")]
    devices: Annotated[
        int,
        Help(
            "Train each supernet on so many devices of this machine. batch_size stays that of all together, and scores "
            "stay the same but for rounding. Needs supertau[ddp] [default: 1].",
            least=1,
        ),
    ]
    workers: Annotated[int, Help("Runs side by side [default: one per core; one with several devices].", least=1)]
    threads: Annotated[
        int,
        Help(
            "CPU threads per run and device [default: cores / workers / devices]; with Ray the CPUs that each run asks "
            "for [default: 1].",
            least=1,
        ),
    ]
    scoring_memory: Annotated[
        int,
        Help(
            "MB for architectures that are scored together, roughly; less takes longer and gives the same scores.",
            least=1,
        ),
    ]
    executor: Annotated[
        Literal["local", "ray"],
        Help(
            "local: processes on this machine [default]. ray: a Ray cluster that is already there; the results folder "
            "and the folder this is started in must be on storage that its nodes share, and a run whose node is lost "
            "continues on another."
        ),
    ]
    ray_address: Annotated[
        str, Help("HOST:PORT of the Ray cluster [default: auto, the one that this machine is part of].")
    ]
    gpus: Annotated[float, Help("GPUs that each run asks Ray for; two runs share one with 0.5 [default: 0].", least=0)]
    restart: Annotated[bool, Help("Throw away what is there and run again.")]
    trust_pickle: Annotated[bool, Help("Read a ground-truth file that could run code when loaded.")]


class RunOptions(TaskOptions, ExecutionOptions, total=False):
    """All options of `supertau.run`."""


def check_options(options: Mapping[str, Any], declaration: type) -> None:
    """Raise SupertauError unless each option is declared, of its type, and at least its least value; None is left out.

    declaration: one of the above. An unknown name raises UnknownName with the nearest match.
    """
    hints = get_type_hints(declaration, include_extras=True)
    for name, value in options.items():
        if name not in hints:
            raise unknown("option", name, hints)
        kind, about = get_args(hints[name])
        if value is None:
            continue
        if get_origin(kind) is Literal:
            if value not in get_args(kind):
                raise unknown(name, str(value), get_args(kind))
            continue
        accepted = (int, float) if kind is float else (str, PathLike) if kind is str else (kind,)
        if not isinstance(value, accepted) or (kind is not bool and isinstance(value, bool)):
            raise SupertauError(f"{name}={value!r}: expected {_WORDS[kind]}.")
        if about.least is not None and not value >= about.least:
            raise SupertauError(f"{name}={value!r}: expected {_WORDS[kind]} of at least {about.least}.")


_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "True or False"}
