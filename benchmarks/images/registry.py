"""The registry of image sets; installed packages add theirs by the entry-point group 'supertau.images'.

Nothing here imports torch: names are listed without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supertau.search_spaces.registry import Registry

if TYPE_CHECKING:
    from supertau.benchmarks.images.source import ImageSource

IMAGES: Registry[type[ImageSource]] = Registry(
    kind="image set",
    base="supertau.benchmarks.images.source:ImageSource",
    group="supertau.images",
    builtin={
        "digits": "supertau.benchmarks.images.digits:Digits",
        "cifar10": "supertau.benchmarks.images.cifar:Cifar10",
        "cifar100": "supertau.benchmarks.images.cifar:Cifar100",
        "imagenet16-120": "supertau.benchmarks.images.imagenet16:ImageNet16",
        "fashion-mnist": "supertau.benchmarks.images.fashion_mnist:FashionMnist",
    },
)

register = IMAGES.register
