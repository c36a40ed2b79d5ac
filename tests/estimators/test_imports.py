"""What importing the room costs: names of estimators are there without the estimators, and without torch."""

import subprocess
import sys

import pytest

import supertau.estimators


def modules_after(script):
    done = subprocess.run(
        [sys.executable, "-c", f"{script}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_the_room_is_imported_without_torch():
    assert "torch" not in modules_after("import supertau.estimators")


def test_names_are_listed_without_importing_an_estimator():
    script = "from supertau.estimators import ESTIMATORS; assert 'spos' in ESTIMATORS.names()"
    assert not {"supertau.estimators.estimator", "supertau.estimators.spos"} & modules_after(script)


def test_every_public_name_is_there():
    for name in supertau.estimators.__all__:
        assert getattr(supertau.estimators, name) is not None
    assert dir(supertau.estimators) == sorted(supertau.estimators.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Estimators'"):
        _ = supertau.estimators.Estimators
