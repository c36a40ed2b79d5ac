"""The registry of estimators: in the tree by lazy target, outside it by the entry-point group 'supertau.estimators'."""

from __future__ import annotations

from estimators.estimator import Estimator
from search_spaces.registry import Registry

ESTIMATORS: Registry[type[Estimator]] = Registry(
    kind="estimator",
    base=Estimator,
    group="supertau.estimators",
    builtin={
        "spos": "estimators.spos:SPOS",
        "shifting": "estimators.shifting:Shifting",
        "pinas": "estimators.pinas:PiNAS",
        "naov2": "estimators.naov2:NAOV2",
        "close": "estimators.close:CLOSE",
        "random": "estimators.free:Random",
        "params": "estimators.free:Params",
        "macs": "estimators.free:Macs",
        "grad_norm": "estimators.zero_cost:GradNorm",
        "snip": "estimators.zero_cost:Snip",
        "synflow": "estimators.zero_cost:Synflow",
        "jacob_cov": "estimators.zero_cost:JacobCov",
        "naswot": "estimators.zero_cost:Naswot",
        "oracle_noise": "estimators.oracle_noise:OracleNoise",
    },
)

register = ESTIMATORS.register
