"""The only module that touches DataTree groups: builds them, and reads draws and patients back.

A tree of draws as the bytes of a NetCDF file, chunked and compressed.

How long the phases of an outcome's fit took.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import h5netcdf
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import H5NetCDFStore

from alliance.data_prep.errors import InputError
from alliance.models.clinics import CLINIC_TERM
from alliance.models.design.design import Design
from alliance.models.gaussian.gaussian_draws import GaussianDraws, TherapistDraws
from alliance.models.nesting import RESIDUAL_GROUP
from alliance.models.trials.collapsed import TrialsDraws
from alliance.models.trials.design import TrialsDesign

Array = NDArray[np.float64]

# nutpie's names of sample statistics, and those that ArviZ and PyMC look for.
ARVIZ_STATISTICS = {
    "depth": "tree_depth",
    "maxdepth_reached": "reached_max_treedepth",
    "logp": "lp",
}
SAMPLED = ("posterior", "sample_stats")
# What every fitted outcome has.
GROUPS = (*SAMPLED, "observed_data", "constant_data")
# Parameters that only serve the sampler, by the end of their names.
INTERNAL = ("_standard", "_above_ceiling", "_half", "category_share")
PARAMETERS = tuple(field.name for field in fields(GaussianDraws) if field.name != "beta")


def sampled_tree(sampled: xr.DataTree, design: Design, sampling_time: float) -> xr.DataTree:
    """Draws of one outcome under ArviZ's names: what is of interest, without absent coefficients.

    Parameters
    ----------
    sampled : xarray.DataTree
        As nutpie returns it.
    design : Design
    sampling_time : float
        Seconds of tuning and sampling.

    Returns
    -------
    xarray.DataTree
        Groups ``posterior`` and ``sample_stats``.
    """
    draws = sampled["posterior"].dataset
    present = {design.coefficients[k] for k in design.present}
    kept = [name for name in draws.data_vars if not str(name).endswith(INTERNAL)]
    fitted = [name for name in draws["coefficient"].values if name in present]
    posterior = draws[kept].sel(coefficient=fitted)
    posterior.attrs = _attributes(sampling_time)
    statistics = _statistics(sampled)
    return xr.DataTree.from_dict({"posterior": posterior, "sample_stats": statistics})


def instant_tree(
    beta: Array,
    coefficients: Sequence[str],
    scalars: Mapping[str, Array],
    log_density: Array,
    groups: Mapping[str, Sequence[str]],
    cutpoints: Array | None = None,
) -> xr.DataTree:
    """Draws that were not sampled by nutpie, under the same names.

    Parameters
    ----------
    beta : ndarray, shape (chain, draw, p)
    coefficients : sequence of p str
    scalars : mapping of str to ndarray, shape (chain, draw)
        The residual SD of several groups (chain, draw, group).
    log_density : ndarray, shape (chain, draw)
        Of the scalars, the coefficients integrated out.
    groups : mapping of str to sequence of str
        Name and labels of the dimension of the groups, if there are any.
    cutpoints : ndarray, shape (chain, draw, K - 1), optional

    Returns
    -------
    xarray.DataTree
        Groups ``posterior`` and ``sample_stats``.
    """
    dims = ("chain", "draw")
    numbered = {dim: np.arange(size) for dim, size in zip(dims, log_density.shape, strict=True)}
    draws = xr.Dataset(
        {name: ((*dims, *groups)[: values.ndim], values) for name, values in scalars.items()},
        coords={**numbered, **groups, "coefficient": list(coefficients)},
    )
    draws["beta"] = ((*dims, "coefficient"), beta)
    if cutpoints is not None:
        draws = draws.assign_coords(threshold=np.arange(1, cutpoints.shape[-1] + 1))
        draws["cutpoint"] = ((*dims, "threshold"), cutpoints)
    draws.attrs = {**_attributes(0.0), "inference_library": "alliance"}
    statistics = xr.Dataset({"lp": (dims, log_density)}, coords=numbered)
    return xr.DataTree.from_dict({"posterior": draws, "sample_stats": statistics})


def trials_tree(
    design: TrialsDesign,
    drawn: TrialsDraws,
    values: Mapping[str, Array],
    statistics: xr.DataTree | xr.Dataset,
    attributes: Mapping[str, str | float],
) -> xr.DataTree:
    """Draws of several trials: those of an average trial as of one trial, and each trial's own.

    Parameters
    ----------
    design : TrialsDesign
        T trials, p coefficients.
    drawn : TrialsDraws
        Dims chain and draw first.
    values : mapping of str to ndarray, shape (chain, draw)
        SDs; ``residual_sd`` (chain, draw, T).
    statistics : xarray.DataTree or xarray.Dataset
        As nutpie returns them, or those of the instant engine.
    attributes : mapping of str to str or float

    Returns
    -------
    xarray.DataTree
        Groups ``posterior`` and ``sample_stats``. The average trial's ``beta`` has the means of
        what trials share, and of the rest the trials' own, weighed by patients; its ``residual_sd``
        is the root of the mean variance, weighed alike. ``trial_beta`` (trial, coefficient) and
        ``trial_residual_sd`` (trial) are the trials' own, around the trial's own mean alliance;
        ``trial_across`` (arm_basis) is the interaction across trials.
    """
    dims = ("chain", "draw")
    own, means = drawn.own, drawn.means
    weights = design.patients / design.patients.sum()
    average = np.einsum("t,cdtp->cdp", weights, own)
    average[..., design.shared] = means
    variances = values["residual_sd"] ** 2
    arms = [name for name, kind in zip(design.coefficients, design.kinds, strict=True)
            if kind == "arm"]  # fmt: skip
    numbered = {dim: np.arange(size) for dim, size in zip(dims, own.shape, strict=False)}
    draws = xr.Dataset(
        {
            "beta": ((*dims, "coefficient"), average),
            "trial_beta": ((*dims, "trial", "coefficient"), own),
            "trial_residual_sd": ((*dims, "trial"), values["residual_sd"]),
            "residual_sd": (dims, np.sqrt(variances @ weights)),
            **{name: (dims, each) for name, each in values.items() if name != "residual_sd"},
        },
        coords={
            **numbered, "coefficient": list(design.coefficients), "trial": list(design.trials),
        },
    )  # fmt: skip
    if drawn.across is not None:
        draws = draws.assign_coords(arm_basis=arms)
        draws["trial_across"] = ((*dims, "arm_basis"), drawn.across)
    draws.attrs = {**_attributes(0.0), **attributes}
    if isinstance(statistics, xr.DataTree):
        found = _statistics(statistics)
    else:
        found = statistics.assign_coords(numbered)
    return xr.DataTree.from_dict({"posterior": draws, "sample_stats": found})


def mark_fallback(tree: xr.DataTree, **facts: float) -> None:
    """Say in NUTS draws why those of the instant engine were not used.

    Parameters
    ----------
    tree : xarray.DataTree
    **facts : float
        ``pareto_k`` of its weights, or ``integration_error`` of its log likelihood.
    """
    for name, value in facts.items():
        tree["sample_stats"].attrs[f"instant_{name}"] = value


def fell_back(facts: Mapping[str, Any]) -> bool:
    """Whether NUTS took over from the instant engine, by `engine_facts`."""
    return any(name.startswith("instant_") for name in facts)


def engine_facts(tree: xr.DataTree) -> dict[str, Any]:
    """How the draws were made: the engine, and what its importance weights are worth."""
    found = tree["sample_stats"].attrs
    told = (
        "pareto_k",
        "effective_draws",
        "proposals",
        "nodes",
        "integration_error",
        "instant_pareto_k",
        "instant_integration_error",
    )
    engine = "instant" if "pareto_k" in found else "nuts"
    return {"engine": engine, **{name: found[name] for name in told if name in found}}


def divergences(tree: xr.DataTree) -> int:
    """Draws at which the sampler diverged; none where it was not NUTS."""
    statistics = tree["sample_stats"].dataset
    return int(statistics["diverging"].sum()) if "diverging" in statistics else 0


def _attributes(sampling_time: float) -> dict[str, str | float]:
    return {
        "inference_library": "nutpie",
        "sampling_time": sampling_time,
        "scale": "standardised: outcome, moderator, baseline and covariates have mean 0 and SD 1",
    }


def _statistics(sampled: xr.DataTree) -> xr.Dataset:
    """The sampler's statistics under ArviZ's names."""
    statistics = sampled["sample_stats"].dataset
    statistics = statistics.rename(
        {old: new for old, new in ARVIZ_STATISTICS.items() if old in statistics}
    )
    if "divergence_message" in statistics:
        # None where a draw did not diverge, which NetCDF cannot hold.
        messages = statistics["divergence_message"]
        statistics["divergence_message"] = messages.where(messages.notnull(), "").astype(str)
    return statistics


def joint_trees(
    sampled: xr.DataTree,
    designs: Mapping[str, Design],
    beta: Array,
    scalars: Mapping[str, Array],
    effects: Array,
    shared: xr.Dataset,
    sampling_time: float,
    *,
    ordinal: int | None = None,
) -> tuple[dict[str, xr.DataTree], xr.DataTree]:
    """Draws of a joint model as trees of its outcomes, and one of what they share.

    Parameters
    ----------
    sampled : xarray.DataTree
        As nutpie returns it.
    designs : mapping of str to Design
        By outcome, K of them.
    beta : ndarray, shape (chain, draw, K, p)
    scalars : mapping of str to ndarray, shape (chain, draw, K)
        What each outcome has one number of: SDs, and the correlation of therapists' effects;
        residual SDs of several groups as (chain, draw, K, group).
    effects : ndarray, shape (chain, draw, J, K, q)
    shared : xarray.Dataset
    sampling_time : float
        Seconds of tuning and sampling.
    ordinal : int, optional
        Position of the outcome that is ordinal.

    Returns
    -------
    dict of str to xarray.DataTree
        By outcome, groups ``posterior`` and ``sample_stats`` as of `sampled_tree`.
    xarray.DataTree
        The same groups with `shared`.
    """
    draws, statistics = sampled["posterior"].dataset, _statistics(sampled)
    trees = {}
    for k, (name, design) in enumerate(designs.items()):
        own = draws[["cutpoint"]] if k == ordinal else draws[[]]
        for scalar, values in scalars.items():
            if scalar == "residual_sd" and k == ordinal:  # the latent residual's SD is 1
                continue
            by_group = (RESIDUAL_GROUP,) if values.ndim > 3 else ()
            own[scalar] = (("chain", "draw", *by_group), values[:, :, k])
        own = own.assign_coords(design.nesting.coords(design.arms))
        own = own.assign_coords(
            coefficient=[design.coefficients[column] for column in design.present]
        )
        own["beta"] = (("chain", "draw", "coefficient"), beta[:, :, k, design.present])
        own.attrs = _attributes(sampling_time)
        tree = xr.DataTree.from_dict({"posterior": own, "sample_stats": statistics})
        if design.effects:
            drawn = [TherapistDraws(chain[..., k, :], None) for chain in effects]
            add_therapist_effects(tree, drawn, design)
        trees[name] = tree
    shared.attrs = _attributes(sampling_time)
    return trees, xr.DataTree.from_dict({"posterior": shared, "sample_stats": statistics})


def add_therapist_effects(
    tree: xr.DataTree, drawn: Iterable[TherapistDraws], design: Design, *, keep_draws: bool = True
) -> None:
    """Put the therapists' effects into the posterior, or their means and SDs beside it.

    Parameters
    ----------
    tree : xarray.DataTree
    drawn : iterable of TherapistDraws
        For each chain; not more than one is held at a time where draws are not kept.
    design : Design
    keep_draws : bool
        Otherwise the group ``therapist_summary`` has ``therapist_effect_mean`` and ``_sd``, over
        therapist and effect, and the same of ``moderator_therapist_mean``.
    """
    names = {"effect": "therapist_effect", "moderator_mean": "moderator_therapist_mean"}
    dims = {"effect": ("therapist", "effect"), "moderator_mean": ("therapist",)}
    labels = {"therapist": list(design.therapists), "effect": list(design.effects)}
    if design.clinic_effects:
        names |= {"clinic_effect": "clinic_effect"}
        dims |= {"clinic_effect": ("clinic", CLINIC_TERM)}
        labels |= {"clinic": list(design.clinics), CLINIC_TERM: list(design.clinic_effects)}
    if keep_draws:
        posterior = tree["posterior"].to_dataset().assign_coords(labels)
        chains = list(drawn)
        for field, name in names.items():
            kept = [getattr(chain, field) for chain in chains]
            if all(values is not None and values.size for values in kept) and kept:
                posterior[name] = (("chain", "draw", *dims[field]), np.stack(kept))
        tree["posterior"] = xr.DataTree(posterior)
        return
    found: dict[str, list[tuple[Array, Array]]] = {}
    for chain in drawn:
        for field in names:
            values = getattr(chain, field)
            if values is not None and values.size:
                moments = values.mean(axis=0), values.var(axis=0)
                found.setdefault(field, []).append(moments)
    sampled = tree["posterior"].to_dataset().drop_vars(names.values(), errors="ignore")
    tree["posterior"] = xr.DataTree(sampled)
    summary = xr.Dataset(coords=labels)
    for field, chains_moments in found.items():
        means, variances = (np.stack(parts) for parts in zip(*chains_moments, strict=True))
        sd = np.sqrt(variances.mean(axis=0) + means.var(axis=0))
        summary[f"{names[field]}_mean"] = (dims[field], means.mean(axis=0))
        summary[f"{names[field]}_sd"] = (dims[field], sd)
    tree["therapist_summary"] = xr.DataTree(summary)


def require_effect_draws(draws: xr.Dataset) -> None:
    """Refuse a posterior whose therapist effects were summed up.

    Raises
    ------
    InputError
    """
    apart = "moderator_slope_between" in draws and "moderator_therapist_mean" not in draws
    levels = ("therapist", "clinic")
    summed = any(f"{own}_sd" in draws and f"{own}_effect" not in draws for own in levels)
    if apart or summed:
        raise InputError(
            "This run keeps means and SDs of its therapists' effects, not their draws.",
            "Ask about new therapists or an average one, or fit again with "
            '`therapist_effects="draws"`.',
        )


def add_patients(tree: xr.DataTree, analysed: xr.Dataset) -> None:
    """Keep the analysed patients, by position, as ``observed_data`` and ``constant_data``."""
    tree["observed_data"] = xr.DataTree(analysed[["outcome"]].drop_attrs())
    tree["constant_data"] = xr.DataTree(analysed.drop_vars("outcome").drop_attrs())


def add_moments(tree: xr.DataTree, moments: xr.Dataset) -> None:
    """Keep cross-products instead of patients, as `inference.runs.fit` has them."""
    tree["observed_data"] = xr.DataTree(xr.Dataset())
    tree["constant_data"] = xr.DataTree(moments)


def kept_moments(tree: xr.DataTree) -> xr.Dataset | None:
    """The cross-products that `add_moments` kept; None where there are patients."""
    found = tree["constant_data"].to_dataset()
    return found if "cross_products" in found else None


def analysed_patients(tree: xr.DataTree) -> xr.Dataset:
    """The patients that `add_patients` kept, as `Trial.analysed` gave them."""
    return xr.merge([tree["constant_data"].to_dataset(), tree["observed_data"].to_dataset()])


def with_log_likelihood(draws: xr.Dataset, pointwise: xr.DataArray) -> xr.DataTree:
    """The draws beside their pointwise log likelihood, as ArviZ looks for them.

    Parameters
    ----------
    draws : xarray.Dataset
    pointwise : xarray.DataArray
        Dims chain, draw and what is left out.

    Returns
    -------
    xarray.DataTree
        Groups ``posterior`` and ``log_likelihood``, the latter with the variable ``outcome``.
    """
    likelihood = pointwise.to_dataset(name="outcome")
    return xr.DataTree.from_dict({"posterior": draws, "log_likelihood": likelihood})


def power_scaling_tree(
    quantities: xr.Dataset, log_priors: xr.Dataset, log_likelihoods: xr.Dataset
) -> xr.DataTree:
    """Draws beside their log priors and log likelihoods, as ArviZ's power-scaling looks for them.

    Parameters
    ----------
    quantities, log_priors, log_likelihoods : xarray.Dataset
        Variables over chain and draw; of the likelihoods over units too.

    Returns
    -------
    xarray.DataTree
        Groups ``posterior``, ``log_prior`` and ``log_likelihood``.
    """
    return xr.DataTree.from_dict(
        {"posterior": quantities, "log_prior": log_priors, "log_likelihood": log_likelihoods}
    )


def draws_of(tree: xr.DataTree) -> xr.Dataset:
    """Posterior draws on the standardised scale, dims ``chain`` and ``draw`` first."""
    return tree["posterior"].dataset


def sampling_time(tree: xr.DataTree) -> float:
    """Seconds of tuning and sampling."""
    return float(tree["posterior"].attrs["sampling_time"])


def gaussian_draws(draws: Mapping[str, xr.DataArray] | xr.Dataset, design: Design) -> GaussianDraws:
    """Draws as flat arrays for `models.gaussian.gaussian_draws`, chain after chain.

    Parameters
    ----------
    draws : xarray.Dataset
        Posterior of the outcome; dims ``chain, draw, ...``.
    design : Design
        The coefficient of an absent baseline is filled with zero.

    Returns
    -------
    GaussianDraws
    """
    beta = np.asarray(draws["beta"].transpose("chain", "draw", "coefficient"))
    full = np.zeros((beta.shape[0] * beta.shape[1], len(design.coefficients)))
    full[:, design.present] = beta.reshape(len(full), -1)
    own = {}
    for name in PARAMETERS:
        if name in draws:
            values = np.asarray(draws[name].transpose("chain", "draw", ...))
            own[name] = values.reshape(len(full), *values.shape[2:])
    return GaussianDraws(beta=full, **own)


def predictions_tree(draws: xr.Dataset, asked: xr.Dataset) -> xr.DataTree:
    """Predictions under ArviZ's names: what was predicted, and for whom.

    Parameters
    ----------
    draws : xarray.Dataset
        Variables over chain, draw and row.
    asked : xarray.Dataset
        What each row is.

    Returns
    -------
    xarray.DataTree
        Groups ``predictions`` and ``predictions_constant_data``.
    """
    return xr.DataTree.from_dict({"predictions": draws, "predictions_constant_data": asked})


def flat(draws: xr.Dataset, name: str) -> Array:
    """Draws of one variable with its own dims, chain after chain: shape (d, ...)."""
    values = np.asarray(draws[name].transpose("chain", "draw", ...).values)
    return values.reshape(-1, *values.shape[2:])


def patient_moderator(design: Design, draws: xr.Dataset) -> Array:
    """The patients' standardised alliance: (1, n) where observed, (d, n) where latent."""
    value = design.X[None, :, design.coefficients.index("moderator")]
    if "moderator_latent" in draws:
        latent = flat(draws, "moderator_latent")
        value = np.repeat(value, len(latent), axis=0)
        value[:, draws["latent_patient"].values] = latent
    return value


LARGE = 2**20  # bytes of an array that is worth compressing
MOST_IN_CHUNK = 1_000  # of any dim


def netcdf_bytes(tree: xr.DataTree) -> bytes:
    """What `xarray.DataTree.to_netcdf` writes, without Dask's scheduler, which it imports (0.3 s).

    Parameters
    ----------
    tree : xarray.DataTree
        In memory.

    Returns
    -------
    bytes
        Of a file in memory: where the disk is full, HDF5 prints tracebacks of its own and may
        crash.
    """
    encoding = compression(tree)
    buffer = io.BytesIO()
    with h5netcdf.File(buffer, "w") as file:
        root = H5NetCDFStore(file)
        for node in tree.subtree:
            store = root if node is tree else root.get_child_store(node.path)
            own = node.to_dataset(inherit=node is tree)
            own.dump_to_store(store, encoding=encoding.get(node.path))
    return buffer.getvalue()


def compression(tree: xr.DataTree) -> dict[str, dict[str, dict[str, Any]]]:
    """How NetCDF keeps large arrays: in chunks of one chain, compressed without loss.

    Draws of real numbers are left as they are: all but their first bits are noise, so that gzip
    takes a tenth off them for a second for each 60 MB.

    Parameters
    ----------
    tree : xarray.DataTree

    Returns
    -------
    dict
        Encoding by group and variable, for those of `LARGE` bytes or more.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for node in tree.subtree:
        for name, values in node.data_vars.items():
            noise = values.dtype.kind == "f" and "draw" in values.dims
            if values.nbytes >= LARGE and values.dtype.kind in "fi" and not noise:
                chunks = tuple(
                    1 if dim == "chain" else min(size, MOST_IN_CHUNK)
                    for dim, size in zip(values.dims, values.shape, strict=True)
                )
                own = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
                found.setdefault(node.path, {})[str(name)] = own | {"chunksizes": chunks}
    return found


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds spent on one outcome.

    Attributes
    ----------
    compilation : float
        Zero where a model of the same shape had been compiled before, or nothing is compiled.
    sampling : float
    therapist_effects : float
    """

    compilation: float
    sampling: float
    therapist_effects: float
