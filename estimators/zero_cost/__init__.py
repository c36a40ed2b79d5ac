"""Zero-cost measures: figures of an untrained network, computed on one mini-batch. Nothing is trained.

As published in Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS", ICLR 2021 (grad_norm, snip, synflow,
jacob_cov) and Mellor et al., "Neural Architecture Search without Training", ICML 2021 (naswot); where a paper and its
code differ, the class says which is followed and names the option that gives the other.
"""

from supertau.estimators.zero_cost.grad_norm import GradNorm
from supertau.estimators.zero_cost.jacob_cov import JacobCov
from supertau.estimators.zero_cost.naswot import Naswot
from supertau.estimators.zero_cost.probe import Probe
from supertau.estimators.zero_cost.snip import Snip
from supertau.estimators.zero_cost.synflow import Synflow

__all__ = ["GradNorm", "JacobCov", "Naswot", "Probe", "Snip", "Synflow"]
