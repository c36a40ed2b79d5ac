"""Where the numbers of a page come from, as HTML: ground truths with checksums, runs with hashes and versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from supertau.benchmarks.report.cells import DASH
from supertau.benchmarks.report.tasks import seed_of

if TYPE_CHECKING:
    from supertau.benchmarks.record import Run


def _flat(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield `name value` of nested entries, missing ones left out."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        elif value is not None:
            yield f"{name} {', '.join(map(str, value)) if isinstance(value, list) else value}"


def provenance(runs: Sequence[Run]) -> str:
    """Return truth tables with checksums, and every run with its hashes, versions and times."""
    truths: dict[str, Mapping[str, Any]] = {}
    for run in runs:
        truths.update(run.record.get("truths") or {})
    lines = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape('; '.join(_flat(p)))}</dd>" for name, p in sorted(truths.items())
    )
    rows = []
    for run in runs:
        r = run.record
        environment = "; ".join(_flat(r.get("environment") or {}))
        fields = (
            r.get("title"),
            seed_of(r),
            r["run_id"],
            r.get("identity"),
            r.get("finished"),
            environment,
            r.get("source"),
        )
        rows.append(
            "<tr>"
            + "".join(f'<td class="text note">{escape(DASH if f is None or f == "" else str(f))}</td>' for f in fields)
            + "</tr>"
        )
    names = ("Estimator", "Seed", "Run", "Identity", "Finished", "Environment", "Source")
    heads = "".join(f'<th scope="col" class="text">{h}</th>' for h in names)
    return f"""<h3>Ground truth</h3><dl>{lines}</dl>
<details><summary>Runs ({len(runs)})</summary><div class="scroll"><table><thead><tr>{heads}</tr></thead>
<tbody>{"".join(rows)}</tbody></table></div></details>"""
