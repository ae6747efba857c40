"""Publications behind the methods: those that ArviZ names for its functions, and the project's."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import arviz_base
import arviz_stats as azs

from alliance.diagnostics.report.material import Material
from alliance.diagnostics.report.parts import Paragraph, Reference, References, Section

BARG = Reference(
    "Kruschke JK. Bayesian analysis reporting guidelines. Nature Human Behaviour 2021;5:1282-1291.",
    "10.1038/s41562-021-01177-7",
)
ALWAYS = (
    BARG,
    Reference(
        "Abril-Pla O, Andreani V, Carroll C, et al. PyMC: a modern and comprehensive probabilistic "
        "programming framework in Python. PeerJ Computer Science 2023;9:e1516.",
        "10.7717/peerj-cs.1516",
    ),
    Reference(
        "Hoffman MD, Gelman A. The No-U-Turn sampler: adaptively setting path lengths in "
        "Hamiltonian Monte Carlo. Journal of Machine Learning Research 2014;15:1593-1623."
    ),
    Reference(
        "Hoyer S, Hamman J. xarray: N-D labeled arrays and datasets in Python. Journal of Open "
        "Research Software 2017;5:10.",
        "10.5334/jors.148",
    ),
)
MIXED_MODELS = (
    Reference(
        "Bates D, Mächler M, Bolker B, Walker S. Fitting linear mixed-effects models using lme4. "
        "Journal of Statistical Software 2015;67(1).",
        "10.18637/jss.v067.i01",
    ),
    Reference(
        "Kuznetsova A, Brockhoff PB, Christensen RHB. lmerTest package: tests in linear mixed "
        "effects models. Journal of Statistical Software 2017;82(13).",
        "10.18637/jss.v082.i13",
    ),
)
UNSEEN = Reference(
    "Cinelli C, Hazlett C. Making sense of sensitivity: extending omitted variable bias. Journal "
    "of the Royal Statistical Society Series B 2020;82:39-67.",
    "10.1111/rssb.12348",
)
EXPLAINED = Reference(
    "Gelman A, Goodrich B, Gabry J, Vehtari A. R-squared for Bayesian regression models. The "
    "American Statistician 2019;73:307-309.",
    "10.1080/00031305.2018.1549100",
)
CORRELATIONS = Reference(
    "Lewandowski D, Kurowicka D, Joe H. Generating random correlation matrices based on vines and "
    "extended onion method. Journal of Multivariate Analysis 2009;100:1989-2001.",
    "10.1016/j.jmva.2009.04.008",
)
PRIOR_OF_SLOPE = Reference(
    "Flückiger C, Del Re AC, Wampold BE, Horvath AO. The alliance in adult psychotherapy: a "
    "meta-analytic synthesis. Psychotherapy 2018;55:316-340.",
    "10.1037/pst0000172",
)
METHODS = (azs.rhat, azs.ess, azs.loo, azs.loo_pit, azs.psense_summary)
ACCENTS = {
    '"': "\N{COMBINING DIAERESIS}",
    "'": "\N{COMBINING ACUTE ACCENT}",
    "`": "\N{COMBINING GRAVE ACCENT}",
    "^": "\N{COMBINING CIRCUMFLEX ACCENT}",
    "~": "\N{COMBINING TILDE}",
}
_FIELD = re.compile(r"^\s*(\w+)\s*=\s*[{\"](.*?)[}\"],?\s*$", re.M)


def citations(material: Material) -> Section:
    """The study, the methods and the software.

    Parameters
    ----------
    material : Material
    """
    fit = material.fit
    found = [Reference(fit.study.citation)] if fit.study.citation else []
    found += [*ALWAYS, PRIOR_OF_SLOPE, UNSEEN, EXPLAINED]
    if any(spec.effects for spec in fit.specs.values()):
        found += MIXED_MODELS
    if any(len(spec.effects) > 1 for spec in fit.specs.values()) or fit.shared is not None:
        found.append(CORRELATIONS)
    held = {reference.doi for reference in found if reference.doi}
    found += [each for each in named_by_arviz() if each.doi not in held]
    lead = "Publications on the study, on the methods and on the software; please cite them."
    return Section("citations", "Methods and citations", [Paragraph(lead), References(found)])


def bibtex() -> str:
    """What ArviZ gives to cite it and the methods, as BibTeX."""
    # Any: the function gives text, or None where it is told to write a file
    citing: Any = arviz_base.citations
    return str(citing(methods=list(METHODS)))


def named_by_arviz() -> list[Reference]:
    """The publications that ArviZ names for itself and for the methods that the report uses."""
    found = []
    for entry in re.split(r"\n(?=@)", bibtex())[1:]:
        fields = {name.lower(): _plain(text) for name, text in _FIELD.findall(entry)}
        # "Last, First" as BibTeX has names; the references here have no commas within a name
        who = [name.replace(",", "") for name in fields.get("author", "").split(" and ")]
        names = ", ".join(who[:3]) + (", et al" if len(who) > 3 else "")
        place = fields.get("journal") or fields.get("booktitle") or fields.get("publisher", "")
        parts = [names, fields.get("title", ""), f"{place} {fields.get('year', '')}".strip()]
        told = ". ".join(part.rstrip(".") for part in parts if part)
        found.append(Reference(f"{told}.", fields.get("doi", "")))
    return found


def _plain(text: str) -> str:
    """BibTeX's text without its braces, accents as commands, formulas and line breaks."""
    text = re.sub(r"\$\\widehat\s*\{?\s*R\s*\}?\s*\$", "R-hat", text)
    text = re.sub(r"[{}]", "", text)
    text = re.sub(
        r"\\([\"'`^~])\s*(\w)",
        lambda found: unicodedata.normalize("NFC", found[2] + ACCENTS[found[1]]),
        text,
    )
    return re.sub(r"\s+", " ", text).strip()
