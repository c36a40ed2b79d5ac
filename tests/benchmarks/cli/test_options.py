"""Options that are generated from their declaration."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

import pytest
from typer.testing import CliRunner

from supertau.benchmarks.cli.options import GroupedCommand, Json, application, takes
from supertau.benchmarks.cli.run import parse_settings
from supertau.benchmarks.options import Help
from supertau.search_spaces.errors import SupertauError


class Size(TypedDict, total=False):
    """How large it is. This is not shown."""

    image_size: Annotated[int, Help("Side in pixels.", least=1)]
    split: Annotated[Literal["train", "test"], Help("Which images.")]


class Place(TypedDict, total=False):
    """Where it runs."""

    gpus: Annotated[float, Help("GPUs of each run.", least=0)]
    restart: Annotated[bool, Help("Begin anew.")]


received: dict[str, Any] = {}
app = application()


@app.command("go", cls=GroupedCommand, epilog="Example: go")
@takes(Size, Place)
def command(name: str, as_json: Json = False, **options: Any) -> None:
    """Go."""
    received.clear()
    received.update(name=name, as_json=as_json, **options)


def call(*arguments: str, status: int = 0) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == status, done.output
    return done.output


def test_only_given_options_are_passed_on() -> None:
    call("spos")
    assert received == {"name": "spos", "as_json": False}
    call("spos", "--image-size", "8", "--split", "test", "--gpus", "0", "--restart", "--json")
    assert received == {
        "name": "spos", "as_json": True, "image_size": 8, "split": "test", "gpus": 0.0, "restart": True,
    }  # fmt: skip
    assert type(received["split"]) is str, "it goes into records and hashes"


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["--image-size", "0"], "'--image-size'"),
        (["--image-size", "small"], "'--image-size'"),
        (["--split", "validation"], "'--split'"),
        (["--gpus", "-1"], "'--gpus'"),
    ],
)
def test_a_value_that_is_not_allowed_is_an_error_of_use(arguments: list[str], option: str) -> None:
    assert f"Invalid value for {option}" in call("spos", *arguments, status=2)


def test_help_has_a_section_for_each_declaration() -> None:
    lines = call("--help").splitlines()
    sections = {line.rstrip(":"): place for place, line in enumerate(lines) if line and not line.startswith(" ")}
    assert list(sections)[1:] == ["Arguments", "Options", "How large it is", "Where it runs"]
    text = "\n".join(lines)
    assert text.index("How large it is") < text.index("--image-size") < text.index("--split <train|test>")
    assert text.index("Where it runs") < text.index("--restart")
    assert text.index("--json") < text.index("How large it is")
    assert "Side in pixels.  [x>=1]" in text
    assert text.rstrip().endswith("Example: go")


def test_settings_are_json_lists_or_text() -> None:
    assert parse_settings(["a=1", "b=0.5", "c=x", "d=x,y", "e=[1, 2]", "f=true", "g=a=b"]) == {
        "a": 1, "b": 0.5, "c": "x", "d": ["x", "y"], "e": [1, 2], "f": True, "g": "a=b",
    }  # fmt: skip
    with pytest.raises(SupertauError, match="expected name=value"):
        parse_settings(["batch_size"])
