"""Names that files, groups and quantities of a run have are no names of outcomes."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import STUDY, alliance, write_small_trial

from alliance.data_prep.study.rules import RESERVED_NAMES
from alliance.inference.draws.datatree import GROUPS
from alliance.inference.estimands.estimands import SCALE_QUANTITIES
from alliance.inference.published.findings import QUANTITIES
from alliance.inference.runs import run_folder
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.whole_files import PAGES
from alliance.models.spec import JOINT


def test_every_name_of_a_run_is_reserved(made_fit: Fit, tmp_path: Path) -> None:
    """Those that come later, too: they are taken from where they are used."""
    run_folder.save_fit(made_fit, tmp_path / "run")
    own = {path.stem for path in (tmp_path / "run").iterdir()} - set(made_fit.outcomes)
    files = (run_folder.MANIFEST, run_folder.STUDY, run_folder.PUBLISHED, *PAGES)
    own |= {Path(name).stem for name in (*files, run_folder.FLOW, run_folder.SUMMARY)}
    groups = {name for tree in made_fit.trees.values() for name in tree.children}
    quantities = {*QUANTITIES, *SCALE_QUANTITIES, *made_fit.summary()["quantity"]}
    used = own | groups | set(GROUPS) | quantities | {JOINT}
    assert used <= RESERVED_NAMES
    assert {"joint", "con", "nul", "com1", "lpt9"} <= RESERVED_NAMES


@pytest.mark.parametrize("name", ["joint", "Joint", "manifest", "posterior", "residual_sd", "NUL"])
def test_check_refuses_it_and_says_what_to_do(tmp_path: Path, name: str) -> None:
    write_small_trial(tmp_path)
    text = STUDY.replace("[outcomes.function]", f"[outcomes.{name}]")
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    answer = alliance("check", tmp_path / "study.toml", tmp_path / "trial.csv")
    assert answer.code == 2
    assert f"outcomes.{name}" in answer.said
    assert f"another name, such as {name}_score" in answer.said
