"""The forms of DARTS cells beyond those of nasbench301, NASLib and aw_nas, and how others are named."""

from __future__ import annotations

import json

import pytest

from supertau.search_spaces.errors import InvalidArchitecture
from supertau.search_spaces.nasbench301.features import TRAINING, configuration
from supertau.search_spaces.nasbench301.genotype import decoded, to_compact, to_genotype
from supertau.search_spaces.nasbench301.space import DARTS

SPACE = DARTS()
CELLS = (0, 3, 3, 0, 3, 3, 0, 2, 3, 1, 2, 5, 0, 0, 0, 2, 0, 2, 1, 0, 2, 4, 0, 2)
GENOTYPE = to_genotype(CELLS)
FIELDS = eval(GENOTYPE, {"Genotype": dict})
CONFIGURATION = configuration(CELLS)
SHORT = {name.rpartition(":")[2]: value for name, value in CONFIGURATION.items()}


def targets(kind):
    return [(name, source, 2 + at // 2) for at, (name, source) in enumerate(FIELDS[kind])]


FORMS = {
    "assigned": f"DARTS_V2 = {GENOTYPE}",
    "of a module": GENOTYPE.replace("Genotype", "genotypes.Genotype"),
    "assigned, of a module": f"best=cnn.genotypes.{GENOTYPE}",
    "dictionary": str(FIELDS),
    "JSON": json.dumps(FIELDS),
    "JSON in another order": json.dumps(dict(reversed(FIELDS.items()))),
    "without the output": json.dumps({"normal": FIELDS["normal"], "reduce": FIELDS["reduce"]}),
    "aw_nas as a dictionary": json.dumps({"normal_0": targets("normal"), "reduce_1": targets("reduce")}),
    "compact JSON": json.dumps(eval(to_compact(CELLS))),
    "configuration": str(CONFIGURATION),
    "configuration as JSON": json.dumps(CONFIGURATION),
    "configuration with inactive edges": str({**dict.fromkeys(f"edge_normal_{n}" for n in range(14)), **SHORT}),
    "configuration of everything": json.dumps({**dict.fromkeys(TRAINING, True), **CONFIGURATION}),
    "configuration, short names": str(SHORT),
    "configuration as printed": f"Configuration(values={{\n{json.dumps(CONFIGURATION, indent=2)[1:-1]},\n}})",
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_that_are_read(form):
    assert SPACE.parse(FORMS[form]) == CELLS


def without(name):
    return str({key: value for key, value in SHORT.items() if key != name})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", r"it has nothing; expected a form like Genotype\("),
        ('{"normal": []}', "it has normal; expected"),
        (str({**FIELDS, "score": 1}), "it has normal, normal_concat, reduce, reduce_concat, score; expected"),
        (str(FIELDS)[:-1] + ", 'normal': []}", "a key is there twice"),
        (GENOTYPE[:-1] + ", normal=[])", "a name is there twice"),
        (str({**FIELDS, "normal_concat": [3, 4, 5]}), r"normal_concat is \[3, 4, 5\]; all four nodes"),
        (str({**FIELDS, "other_concat": [2, 3, 4, 5]}), "it has other_concat"),
        (f"a = b = {GENOTYPE}", "cannot read"),
        (f"evil(0).{GENOTYPE}", "cannot read"),
        (GENOTYPE.replace("Genotype", "Genotype(x=1).other"), "cannot read"),
        ("a." * 4000 + GENOTYPE, "cannot read"),
        ("[1, 2]", "a normal cell has 8 entries"),
        ("12", "cannot read '12'"),
        (without("inputs_node_reduce_4"), "the configuration has no inputs_node_reduce_4"),
        (without("edge_normal_0"), "the configuration has no edge_normal_0"),
        (str({**SHORT, "edge_normal_12": "skip_connect"}), "has edge_normal_12, which its inputs_node entries do not"),
        (str({**SHORT, "edge_normal_0": "none"}), "edge_normal_0 is 'none'; expected one of max_pool_3x3, "),
        (str({**SHORT, "edge_normal_0": 3}), "edge_normal_0 is 3; expected one of max_pool_3x3, "),
        (str({**SHORT, "inputs_node_normal_3": "1_0"}), "inputs_node_normal_3 is '1_0'; expected one of 0_1, 0_2, 1_2"),
    ],
)
def test_the_others_are_named(text, message):
    with pytest.raises(InvalidArchitecture, match=rf"(?s)^nasbench301: .*{message}"):
        SPACE.parse(text)


def test_the_forms_above_are_of_these_cells():
    assert decoded(CELLS)[0][3] == ((0, 2), (2, 5))
    assert len(FIELDS) == 4
