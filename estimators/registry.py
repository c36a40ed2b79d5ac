"""The registry of estimators: in the tree by lazy target, outside it by the entry-point group 'supertau.estimators'."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supertau.search_spaces.registry import Registry

if TYPE_CHECKING:
    from supertau.estimators.estimator import Estimator

ESTIMATORS: Registry[type[Estimator]] = Registry(
    kind="estimator",
    base="supertau.estimators.estimator:Estimator",  # by name: listing names does not import torch
    group="supertau.estimators",
    builtin={
        "spos": "supertau.estimators.spos:SPOS",
        "shifting": "supertau.estimators.shifting:Shifting",
        "pinas": "supertau.estimators.pinas:PiNAS",
        "naov2": "supertau.estimators.naov2:NAOV2",
        "close": "supertau.estimators.close:CLOSE",
        "random": "supertau.estimators.baselines:Random",
        "params": "supertau.estimators.baselines:Params",
        "macs": "supertau.estimators.baselines:Macs",
        "grad_norm": "supertau.estimators.zero_cost:GradNorm",
        "snip": "supertau.estimators.zero_cost:Snip",
        "synflow": "supertau.estimators.zero_cost:Synflow",
        "jacob_cov": "supertau.estimators.zero_cost:JacobCov",
        "naswot": "supertau.estimators.zero_cost:Naswot",
        "oracle_noise": "supertau.estimators.oracle_noise:OracleNoise",
    },
)

register = ESTIMATORS.register
