"""The typed record: what is written is read back, older schemas are upgraded, anything else is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from supertau.benchmarks.files import checksum
from supertau.benchmarks.judging.judge import judge
from supertau.benchmarks.record import Phase, Record, Role, Status, pool_digest, truth_key
from supertau.benchmarks.results import DamagedRecord, Run, latest, load_runs, plain, read_run
from supertau.benchmarks.runs.plan import identify, resolve
from supertau.benchmarks.runs.runner import run
from supertau.benchmarks.runs.settings import Settings
from supertau.search_spaces.errors import DataError, UnknownName

VERSION_1 = Path(__file__).parents[1] / "data" / "records-v1"
"""Three runs as the schema before this one wrote them: a free baseline, a noise ceiling, a one-shot estimator."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return shutil.copytree(VERSION_1, tmp_path / "old")


def test_records_of_version_1_are_upgraded(old: Path) -> None:
    runs = {run.record.estimator: run for run in load_runs(old)}
    assert set(runs) == {"params", "oracle_noise", "spos"}
    for name, upgraded in runs.items():
        before = json.loads((upgraded.folder / "record.json").read_text())
        assert before["schema_version"] == 1, "reading writes nothing"
        record, (judgement,) = upgraded.record, upgraded.record.judgements
        assert record.status is Status.FINISHED
        assert record.role.value == before["role"]
        assert record.config.as_dict() == {**before["config"], "truth_split": None, "truth_epochs": None}
        assert record.cost.train_images == before["cost"]["train_images"]
        assert record.environment.threads == before["environment"]["threads"]
        assert judgement.truth.sha256 == before["truths"]["cifar10"]["sha256"]
        assert len(judgement.metrics) == len(before["metrics"])
        for row, held in zip(judgement.metrics, before["metrics"], strict=True):
            assert {"truth": "cifar10", **vars(row)} == {"undefined": None, **held}
        assert record.pool.digest == pool_digest(upgraded.scores["architecture"])
        assert upgraded.trials(judgement.truth).shape == (len(upgraded.scores), 3)
        assert identify(record.config).run_id == record.run_id == upgraded.folder.name, name
    assert runs["oracle_noise"].record.judgements[0].left_out == "777"
    (judgement,) = runs["spos"].record.judgements
    assert judgement == judge(runs["spos"].scores, runs["spos"].truth, judgement.truth, asked=judgement.asked)


def test_a_run_of_version_1_is_reused_and_judged_by_another_truth(old: Path) -> None:
    first = run(resolve("params", preset="smoke"), Settings(old, threads=1))
    assert len(first.record.judgements) == 1, "the same command finds it"
    both = run(resolve("params", preset="smoke", truth="cifar100"), Settings(old, threads=1))
    assert [j.truth.dataset for j in both.record.judgements] == ["cifar10", "cifar100"]
    written = json.loads((both.folder / "record.json").read_text())
    assert written["schema_version"] == 2
    assert read_run(both.folder).record == both.record
    fresh = run(resolve("params", preset="smoke", truth="cifar100"), Settings(old / "fresh", threads=1))
    assert both.record.judgements[1] == fresh.record.judgements[0]


def test_what_is_written_is_read_back(old: Path) -> None:
    for stored in load_runs(old):
        text = stored.record.to_json()
        assert Record.from_json(text, "here") == stored.record
        assert json.loads(text)["schema_version"] == 2


def test_numbers_without_a_json_form_are_an_error_of_the_writer(old: Path) -> None:
    record = load_runs(old)[0].record
    with pytest.raises(ValueError, match="not JSON compliant"):
        replace(record, diagnostics={"loss": float("nan")}).to_json()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a record"),
        ("[]", "is not a record"),
        ("null", "is not a record"),
        ('{"schema_version": 0}', "is not a record"),
        ('{"schema_version": "2"}', "is not a record"),
        ('{"schema_version": true}', "is not a record"),
        ('{"schema_version": 1}', "is not a record"),
        ('{"schema_version": 2, "run_id": "x"}', "is not a record"),
        ('{"schema_version": 99}', "schema version 99, this supertau reads up to 2: upgrade it"),
    ],
)
def test_what_is_no_record_is_named(tmp_path: Path, text: str, message: str) -> None:
    folder = tmp_path / "runs" / "x"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_run(folder)
    with pytest.warns(DamagedRecord, match=message):
        assert len(load_runs(tmp_path)) == 0
    assert str(folder / "record.json") in str(caught.value)


def test_unknown_and_missing_keys_are_refused(old: Path) -> None:
    stored = json.loads(load_runs(old)[0].record.to_json())
    del stored["checksum"]

    def read(values: dict) -> Record:
        return Record.from_json(json.dumps({**values, "checksum": checksum(values)}), "here")

    read(stored)
    for changed in ({**stored, "surprise": 1}, {k: v for k, v in stored.items() if k != "title"}):
        with pytest.raises(DataError, match="is not a record"):
            read(changed)
    for name, wrong in (("status", "done"), ("role", "judge")):
        with pytest.raises(DataError, match=wrong):
            read({**stored, name: wrong})


def test_an_edited_record_is_refused(old: Path) -> None:
    stored = json.loads(load_runs(old)[0].record.to_json())
    stored["judgements"][0]["metrics"][0]["low"] = 0.9
    with pytest.raises(DataError, match="'here' was changed after it was written"):
        Record.from_json(json.dumps(stored), "here")


def test_truths_that_differ_in_anything_have_different_columns() -> None:
    base = ("x-valid", 200, "a file", "abc")
    others = [("x-test", *base[1:]), ("x-valid", 12, *base[2:]), (*base[:2], "b file", "abc"), (*base[:3], None)]
    keys = {truth_key("cifar10", *identity) for identity in (base, *others)}
    assert len(keys) == 5
    assert all(key.startswith("cifar10@") for key in keys)


def test_a_pool_is_known_by_its_content_in_any_order() -> None:
    assert pool_digest(["b", "a"]) == pool_digest(["a", "b"]) != pool_digest(["a"])


def test_tables_of_runs(old: Path) -> None:
    runs = load_runs(old)
    assert len(runs) == 3
    assert [r.record.run_id for r in runs[:2]] == [r.record.run_id for r in runs][:2]
    metrics = runs.metrics
    assert set(metrics["estimator"]) == {r.record.title for r in runs}
    tau = metrics.query("view == 'all' and key == 'kendall_tau'")
    for one in runs:
        value = one.judgement().find("all", one.record.primary, "kendall_tau").value
        assert value in tau[tau["run_id"] == one.record.run_id]["value"].tolist()
    assert len(runs.scores) == sum(len(r.scores) for r in runs)
    assert isinstance(runs[0].metrics, pd.DataFrame)
    with pytest.raises(UnknownName, match="cifar10"):
        runs[0].judgement("cifar11")


def test_notebooks_show_a_table_and_nothing_runs_in_it(old: Path) -> None:
    one = load_runs(old)[0]
    one.record = replace(one.record, title="<script>alert(1)</script>")
    html = one._repr_html_()
    assert "<table" in html
    assert "<script" not in html


def test_an_unfinished_run_says_so(old: Path) -> None:
    stored = load_runs(old)[0]
    one = Run(stored.folder, replace(stored.record, status=Status.RUNNING, judgements=()))
    with pytest.raises(DataError, match="is running and has no"):
        _ = one.scores
    with pytest.raises(DataError, match="was not judged"):
        one.judgement()
    assert one.metrics.empty


def test_latest_keeps_the_last_of_repeated_runs(old: Path) -> None:
    one = load_runs(old)[0]
    again = Run(one.folder, replace(one.record, run_id="again", finished="2999-01-01T00:00:00+00:00"))
    assert latest([again, one]) == [again]
    other_title = Run(one.folder, replace(one.record, title="another"))
    assert len(latest([one, other_title])) == 2


def test_enums_say_what_reports_and_progress_need() -> None:
    assert {role for role in Role if role.is_reference} == {Role.BASELINE, Role.CEILING, Role.CHANCE}
    assert {phase for phase in Phase if phase.is_end} == {
        Phase.FINISHED, Phase.REUSED, Phase.FAILED, Phase.ERROR, Phase.INTERRUPTED
    }  # fmt: skip


def test_numbers_of_numpy_become_plain() -> None:
    import numpy as np

    value = plain({"a": np.float64(0.5), "b": [np.int64(1), np.array([1.0, 2.0])], "c": (True, None)})
    assert json.dumps(value) == '{"a": 0.5, "b": [1, [1.0, 2.0]], "c": [true, null]}'
