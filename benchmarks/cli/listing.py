"""supertau list: what there is, what is installed, and how to get what is missing."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Annotated, Any

import typer

from supertau.benchmarks.cli.output import Json, print_json, table
from supertau.benchmarks.data.verify import list_data
from supertau.benchmarks.images import IMAGES
from supertau.benchmarks.metrics import METRICS
from supertau.benchmarks.presets import PRESETS
from supertau.estimators.registry import ESTIMATORS
from supertau.search_spaces.errors import SupertauError, unknown
from supertau.search_spaces.spaces import SPACES, get_space
from supertau.search_spaces.truth import GroundTruth

EXAMPLES = """Examples:

supertau list

supertau list estimators

supertau list --json"""


def _spaces() -> list[dict[str, Any]]:
    found = []
    for name in SPACES:
        space = get_space(name)
        truths = dict.fromkeys(space.files, "read from files that you have: see `supertau data list`")
        for dataset in space.truths:
            try:
                truth = space.truth(dataset)
            except SupertauError as error:
                state = f"missing: {error}"
            else:
                assert isinstance(truth, GroundTruth)
                state = f"{len(truth.architectures):,} architectures, {len(truth.seeds)} seeds, {truth.split}"
            truths[dataset] = state
        found.append({"name": name, "size": space.size, "truths": truths, "from": SPACES.origin(name)})
    return found


def _images() -> list[dict[str, Any]]:
    present = {row.key: row for row in list_data()}
    found = []
    for name in IMAGES:
        row = present.get(name)
        state = "built in" if row is None else "present" if row.present else f"missing: supertau data fetch {name}"
        found.append({"name": name, "state": state, "from": IMAGES.origin(name)})
    return found


def _estimators() -> list[dict[str, Any]]:
    found = []
    for name in ESTIMATORS:
        cls = ESTIMATORS.get(name)
        settings = {f.name: getattr(cls.Config(), f.name) for f in fields(cls.Config)}
        found.append(
            {
                "name": name, "title": cls.title or name, "role": cls.role, "source": cls.source, "settings": settings,
                "presets": cls.presets, "from": ESTIMATORS.origin(name),
            }
        )  # fmt: skip
    found += [{"name": name, "broken": reason} for name, reason in ESTIMATORS.broken.items()]
    return found


def _metrics() -> list[dict[str, Any]]:
    return [
        {"name": m.key, "label": m.label, "direction": m.direction, "description": m.description}
        for m in METRICS.values()
    ]


KINDS = {
    "spaces": _spaces,
    "images": _images,
    "estimators": _estimators,
    "metrics": _metrics,
    "presets": lambda: [asdict(preset) for preset in PRESETS.values()],
}


def command(
    kind: Annotated[str | None, typer.Argument(help=f"One of: {', '.join(KINDS)} [default: all].")] = None,
    as_json: Json = False,
) -> None:
    """List spaces, truths, image sets, estimators (plugins too), metrics and presets."""
    if kind is not None and kind not in KINDS:
        raise unknown("list", kind, KINDS)
    found = {name: KINDS[name]() for name in ([kind] if kind else KINDS)}
    if as_json:
        print_json(found)
        return
    for name, entries in found.items():
        _show(name, entries)


def size_of(count: int) -> str:
    """Return a number of architectures, in full up to a million."""
    return f"{count:,}" if count < 10**6 else f"{float(count):.1e}"


def _show(name: str, entries: list[dict[str, Any]]) -> None:
    if name == "spaces":
        rows = [[e["name"], size_of(e["size"]), f"{d}: {state}"] for e in entries for d, state in e["truths"].items()]
        table("Search spaces and ground truths", ["space", "architectures", "ground truth"], rows)
    elif name == "images":
        table("Image sets", ["images", "state"], [[e["name"], e["state"]] for e in entries])
    elif name == "estimators":
        rows = [
            [e["name"], "broken", e["broken"], ""] if "broken" in e else [e["name"], e["role"], e["source"], e["from"]]
            for e in entries
        ]
        table("Estimators", ["estimator", "role", "source", "from"], rows)
        for e in entries:
            if e.get("settings"):
                table(
                    f"Settings of {e['name']} (--set name=value)", ["setting", "default", *e["presets"]],
                    [
                        [key, str(value), *(str(p.get(key, "")) for p in e["presets"].values())]
                        for key, value in e["settings"].items()
                    ],
                )  # fmt: skip
    elif name == "metrics":
        table("Metrics", ["metric", "better", "what"], [[e["name"], e["direction"], e["description"]] for e in entries])
    else:
        keys = [key for key in entries[0] if key not in ("name", "description")]
        rows = [[key, *(str(e[key]) for e in entries)] for key in keys]
        table("Presets", ["", *(e["name"] for e in entries)], rows)
        for e in entries:
            table("", ["preset", ""], [[e["name"], e["description"]]])
