"""Networks of NDS as the dictionary of an official file."""

from __future__ import annotations

import json

import pytest

from supertau.search_spaces.errors import InvalidArchitecture
from supertau.search_spaces.nds.space import NDSResNet, NDSResNeXtA, NDSVanilla

RESNET, RESNEXT, VANILLA = NDSResNet(), NDSResNeXtA(), NDSVanilla()
NET = {
    "block_type": "res_basic_block",
    "ds": [1, 12, 1, 16],
    "ws": [16, 24, 40, 256],
    "ss": [1, 1, 2, 2],
    "bot_muls": [],
    "num_gs": [],
}
# A network that NNI's documentation prints, with its parameters.
PRINTED = {
    "block_type": "res_bottleneck_block",
    "ds": [1, 16, 1, 4],
    "ws": [16, 64, 128, 16],
    "ss": [1, 1, 2, 2],
    "bot_muls": [0.0, 0.25, 0.25, 0.25],
    "num_gs": [1, 2, 1, 2],
}


@pytest.mark.parametrize("form", [str, json.dumps, lambda net: json.dumps({"net": net, "min_test_top1": None})])
def test_an_official_dictionary_is_read_without_the_stem(form):
    assert RESNET.format(RESNET.parse(form(NET))) == "d12-1-16_w24-40-256"
    assert RESNEXT.format(RESNEXT.parse(form(PRINTED))) == "d16-1-4_w64-128-16_b0.25-0.25-0.25_g2-1-2"


def test_dictionaries_of_a_column():
    assert RESNET.read([NET, json.dumps(NET), {"net": NET}]) == [RESNET.parse("d12-1-16_w24-40-256")] * 3
    assert RESNEXT.cost(RESNEXT.read([PRINTED])[0], RESNEXT.benchmark).parameters == 83_002


@pytest.mark.parametrize(
    ("space", "change", "message"),
    [
        (VANILLA, {}, "block_type is 'res_basic_block'; those of Vanilla are 'double_plain_block'"),
        (RESNET, {"ss": [4, 1, 2, 2]}, "the stem's stride is 4: a network for ImageNet"),
        (RESNET, {"ds": [12, 1, 16]}, r"ds is \[12, 1, 16\]; expected 4 numbers, stem first"),
        (RESNET, {"ws": [8, 24, 40, 256]}, "expected .* the stem being first"),
        (RESNET, {"ds": [1, 12, 1, 17]}, "depth 17 of stage 3 is not on the grid"),
        (RESNET, {"ws": "wide"}, "'ws' is 'wide'; expected list"),
        (RESNET, {"genotype": {}}, "a network of cells"),
    ],
)
def test_what_is_wrong_with_a_dictionary_is_named(space, change, message):
    with pytest.raises(InvalidArchitecture, match=f"^{space.name}: .*{message}"):
        space.parse(json.dumps({**NET, **change}))


def test_other_dictionaries_are_shown_the_expected_form():
    for text in ('{"depths": [1, 2, 3]}', "{", '{"ds": 1, "ds": 2}', "[1]"):
        with pytest.raises(InvalidArchitecture, match=r"^nds-resnet: cannot read .* a form like d1-1-1_w16-16-16"):
            RESNET.parse(text)


def test_the_nearest_is_on_the_grids():
    assert RESNET.nearest("d12-1-17_w25-40-1000") == "d12-1-16_w24-40-256"
    assert RESNEXT.nearest("d16-1-5_w16-64-128_b0.3-0.25-1_g2-1-3") == "d16-1-4_w16-64-128_b0.25-0.25-1_g2-1-2"
    assert RESNET.nearest("rubbish") is None
    assert "Nearest: d12-1-16_w24-40-256" in str(_refused("d12-1-17_w24-40-256"))


def _refused(text):
    with pytest.raises(InvalidArchitecture) as caught:
        RESNET.read([text])
    return caught.value
