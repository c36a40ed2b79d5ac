"""What there is, as plain rows: search spaces and ground truths, image sets, estimators, metrics, presets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

from supertau.search_spaces.errors import SupertauError, unknown

# Each kind imports only what it lists: presets can be shown without torch, which takes seconds to import.

Row = dict[str, Any]


def spaces() -> list[Row]:
    """Return name, size (number of architectures), truths (data set: what there is of it, or what is missing), from."""
    from supertau.search_spaces.spaces import SPACES, get_space
    from supertau.search_spaces.truth import GroundTruth

    rows = []
    for name in SPACES:
        space = get_space(name)
        truths = dict.fromkeys(space.files, "read from files that you have: see `supertau data list`")
        for dataset in space.truths:
            try:
                truth = space.truth(dataset)
            except SupertauError as error:
                truths[dataset] = f"missing: {error}"
                continue
            assert isinstance(truth, GroundTruth)
            truths[dataset] = f"{len(truth.architectures):,} architectures, {len(truth.seeds)} seeds, {truth.split}"
        rows.append({"name": name, "size": space.size, "truths": truths, "from": SPACES.origin(name)})
    return rows


def images() -> list[Row]:
    """Return name, state (built in, present, or missing and how to get it), from."""
    from supertau.benchmarks.data.verify import list_data
    from supertau.benchmarks.images.registry import IMAGES

    items = {item.key: item for item in list_data()}
    rows = []
    for name in IMAGES:
        item = items.get(name)
        state = "built in" if item is None else "present" if item.present else f"missing: supertau data fetch {name}"
        rows.append({"name": name, "state": state, "from": IMAGES.origin(name)})
    return rows


def estimators() -> list[Row]:
    """Return name, title, role, source, settings with their defaults, presets (settings that they change), from.

    A plugin that cannot be used has name and broken, the reason.
    """
    from supertau.estimators.registry import ESTIMATORS

    rows: list[Row] = []
    for name in ESTIMATORS:
        cls = ESTIMATORS.get(name)
        rows.append(
            {
                "name": name,
                "title": cls.title or name,
                "role": cls.role,
                "source": cls.source,
                "settings": {f.name: getattr(cls.Config(), f.name) for f in fields(cls.Config)},
                "presets": cls.presets,
                "from": ESTIMATORS.origin(name),
            }
        )
    return rows + [{"name": name, "broken": reason} for name, reason in ESTIMATORS.broken.items()]


def metrics() -> list[Row]:
    """Return name, label, direction, description."""
    from supertau.benchmarks.metrics import METRICS

    return [
        {"name": m.key, "label": m.label, "direction": m.direction, "description": m.description}
        for m in METRICS.values()
    ]


def presets() -> list[Row]:
    """Return the fields of each preset."""
    from supertau.benchmarks.presets import PRESETS

    return [asdict(preset) for preset in PRESETS.values()]


KINDS: dict[str, Callable[[], list[Row]]] = {
    "spaces": spaces,
    "images": images,
    "estimators": estimators,
    "metrics": metrics,
    "presets": presets,
}


def listing(kind: str | None = None) -> dict[str, list[Row]]:
    """Return the rows of one kind, or of all; raise UnknownName with the nearest match."""
    if kind is not None and kind not in KINDS:
        raise unknown("list", kind, KINDS)
    return {name: KINDS[name]() for name in ([kind] if kind else KINDS)}
