"""Distillation methods by name, METHODS, and their interface."""

from typing import Any

from da_jax.errors import unknown_name
from da_jax.methods.at import AT
from da_jax.methods.crd import CRD
from da_jax.methods.crld import CRLD
from da_jax.methods.ctkd import CTKD
from da_jax.methods.dist import DIST
from da_jax.methods.dkd import DKD
from da_jax.methods.fitnet import FitNet
from da_jax.methods.interface import (
    Losses,
    Method,
    MethodInputs,
    Outputs,
    ViewOutputs,
    Weights,
)
from da_jax.methods.kd import KD
from da_jax.methods.kdsvd import KDSVD
from da_jax.methods.mlkd import MLKD
from da_jax.methods.nkd import NKD
from da_jax.methods.nst import NST
from da_jax.methods.ofd import OFD
from da_jax.methods.pkt import PKT
from da_jax.methods.reviewkd import ReviewKD
from da_jax.methods.rkd import RKD
from da_jax.methods.rld import RLD
from da_jax.methods.sdd import SDD
from da_jax.methods.simkd import SimKD
from da_jax.methods.sld import SLD
from da_jax.methods.sp import SP
from da_jax.methods.ttm import TTM, WTTM
from da_jax.methods.vanilla import Vanilla
from da_jax.methods.vid import VID
from da_jax.methods.wkd import WKD_L

__all__ = [
    "METHODS",
    "Losses",
    "Method",
    "MethodInputs",
    "Outputs",
    "ViewOutputs",
    "Weights",
    "create_method",
]

METHODS: dict[str, type[Method]] = {
    "KD": KD,
    "DKD": DKD,
    "MLKD": MLKD,
    "AT": AT,
    "FitNet": FitNet,
    "RKD": RKD,
    "SP": SP,
    "PKT": PKT,
    "NST": NST,
    "VID": VID,
    "KDSVD": KDSVD,
    "OFD": OFD,
    "ReviewKD": ReviewKD,
    "CRD": CRD,
    "DIST": DIST,
    "SimKD": SimKD,
    "CTKD": CTKD,
    "NKD": NKD,
    "TTM": TTM,
    "WTTM": WTTM,
    "SDD": SDD,
    "CRLD": CRLD,
    "WKD_L": WKD_L,
    "RLD": RLD,
    "SLD": SLD,
    "vanilla": Vanilla,
}


def create_method(name: str, **settings: Any) -> Method:
    """Creates the method `name` with these attributes.

    Raises:
      UserError: there is no such method.
    """
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    return METHODS[name](**settings)
