"""The families' own parameters as PyMC variables, and their formulas' functions as symbols."""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from alliance.models.families.family import EDGE, FAR, GAMMA, Family, Operations, Parameter, Scale
from alliance.models.priors import Priors


def _ends(cutpoints: pt.TensorVariable, category: Any) -> tuple[Any, Any]:
    padded = pt.concatenate([[-FAR], cutpoints, [FAR]])
    return padded[category], padded[category + 1]


def _log_ndtr(x: Any) -> Any:
    # Each branch is kept to its own side, or the other's infinite gradient would spoil it.
    low, high = pt.minimum(x, -1.0), pt.maximum(x, -1.0)
    tail = pt.log(pt.erfcx(-low / np.sqrt(2)) / 2) - low**2 / 2
    return pt.switch(x < -1.0, tail, pt.log1p(-pt.erfc(high / np.sqrt(2)) / 2))


SYMBOLS = Operations(
    pt.log,
    pt.exp,
    pt.log1p,
    pt.sigmoid,
    pt.softplus,
    pt.log1mexp,
    pt.gammaln,
    _log_ndtr,
    pt.switch,
    _ends,
)


def family_parameters(family: Family, scale: Scale, priors: Priors) -> dict[str, Any]:
    """Declare a family's own parameters, inside a model.

    Parameters
    ----------
    family : Family
    scale : Scale
    priors : Priors

    Returns
    -------
    dict of str to tensor
    """
    return {parameter.name: _declare(parameter, scale, priors) for parameter in family.parameters}


def _declare(parameter: Parameter, scale: Scale, priors: Priors) -> Any:
    setting = None if parameter.scale is None else getattr(priors, parameter.scale)
    if parameter.prior == "half_normal":
        return pm.HalfNormal(parameter.name, setting)
    if parameter.prior == "gamma":
        if not setting:
            return pm.Gamma(parameter.name, **GAMMA)
        # PyTensor takes a whole number for single precision, whose gammaln is off by whole units.
        return pt.constant(setting, dtype="float64")
    # Shares of the categories for an average patient order the cutpoints, and leave unused
    # categories a prior of their own.
    shares = pm.Dirichlet("category_share", np.full(scale.top + 1, setting), dims="category")
    cumulative = pt.clip(pt.cumsum(shares)[:-1], EDGE, 1 - EDGE)
    if parameter.prior == "ordered_logit":
        cutpoints = pt.log(cumulative) - pt.log1p(-cumulative)
    else:
        cutpoints = np.sqrt(2) * pt.erfinv(2 * cumulative - 1)
    return pm.Deterministic(parameter.name, cutpoints, dims="threshold")
