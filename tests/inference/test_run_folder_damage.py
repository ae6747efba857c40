"""Runs that are damaged are refused with the file's name; what no longer matches is said."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from made_draws import FEW_DRAWS, NoSampler, named_patients
from run_folders import FILES, edited, refused

from alliance.data_prep.errors import InputError
from alliance.data_prep.simulator.simulation import simulate_trial
from alliance.data_prep.study.description import bundled_studies, narrowed, read_study
from alliance.data_prep.trial.trial import load_trial
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.fitting import fit_trial
from alliance.inference.runs.run_folder import load_fit, read_manifest, save_fit


class TestDamagedRuns:
    def test_no_run_there(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        for place in (tmp_path / "nowhere", tmp_path, tmp_path / "file"):
            assert (
                refused(place) == f"There is no run at {str(place)!r} (manifest.json is missing)."
            )

    @pytest.mark.parametrize("name", sorted(FILES - {"manifest.json", "summary.csv"}))
    def test_a_missing_file_is_named(self, run: Path, name: str) -> None:
        (run / name).unlink()
        assert f"lacks {name}" in refused(run)

    @pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
    def test_a_cut_file_of_draws_is_named(self, run: Path, share: float) -> None:
        whole = (run / "function.nc").read_bytes()
        (run / "function.nc").write_bytes(whole[: int(share * len(whole))])
        assert f"'{run / 'function.nc'}' is damaged" in refused(run)

    @pytest.mark.parametrize("start", [0, 8, 96, 600])
    def test_a_spoiled_file_of_draws_is_named(self, run: Path, start: int) -> None:
        content = bytearray((run / "function.nc").read_bytes())
        content[start : start + 40] = bytes(range(200, 240))
        (run / "function.nc").write_bytes(content)
        assert f"'{run / 'function.nc'}' is damaged" in refused(run)

    def test_a_file_that_holds_no_draws_is_named(self, run: Path) -> None:
        (run / "function.nc").unlink()
        xr.Dataset({"x": 1.0}).to_netcdf(run / "function.nc", engine="h5netcdf")
        told = refused(run, accept_changed=True)
        assert "function.nc' is damaged: it lacks the group posterior" in told

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{",
            '{"format": 1',
            "\udcff",
            '{"format": 1}',
            '{"format": 1, "data": {}, "files": {}, "profile": {}, "versions": {}}',
        ],
    )
    def test_a_damaged_manifest_is_named(self, run: Path, text: str) -> None:
        (run / "manifest.json").write_bytes(text.encode(errors="surrogateescape"))
        assert f"'{run / 'manifest.json'}' is damaged" in refused(run)

    def test_a_folder_for_a_manifest_is_named(self, run: Path) -> None:
        (run / "manifest.json").unlink()
        (run / "manifest.json").mkdir()
        assert "manifest.json' cannot be read" in refused(run)

    @pytest.mark.parametrize(
        "specification", [None, {}, {"priors": {"moderator_slope": 1}}, {"priors": {"odd": 1}}]
    )
    def test_a_damaged_specification_is_said(self, run: Path, specification: object) -> None:
        edited(run, lambda manifest: manifest["specifications"].update(gpe=specification))
        assert "manifest.json' is damaged: a specification" in refused(run)

    def test_an_earlier_model_of_the_alliance_is_not_read_as_this_one(self, run: Path) -> None:
        """It left arm, baseline and covariates out; a run without such a model is the same."""

        def earlier(manifest: dict[str, Any], structure: str) -> None:
            for specification in manifest["specifications"].values():
                specification["moderator"].pop("between_interaction", None)
                specification["moderator"]["structure"] = structure

        edited(run, lambda manifest: earlier(manifest, "total"))
        assert load_fit(run).outcomes
        edited(run, lambda manifest: earlier(manifest, "within_between"))
        assert "alliance's own model of an earlier version" in refused(run)

    @pytest.mark.parametrize("number", [0, 2, "1", None])
    def test_another_format_is_said(self, run: Path, number: object) -> None:
        edited(run, lambda manifest: manifest.update(format=number))
        assert f"The run at {str(run)!r} has another format" in refused(run)

    def test_a_damaged_study_is_named(self, run: Path) -> None:
        (run / "study.toml").write_text("title = ")
        assert "study.toml" in refused(run)

    def test_damaged_flow_counts_are_named(self, run: Path) -> None:
        (run / "flow.csv").write_text("")
        assert "flow.csv' is damaged" in refused(run)


class TestDifferences:
    def test_the_same_study_is_no_difference(self, made_run: Path, made_fit: Fit) -> None:
        assert load_fit(made_run, study=made_fit.study).differences == ()

    def test_a_changed_study_says_in_what(self, made_run: Path, made_fit: Fit) -> None:
        changed = narrowed(made_fit.study, outcomes=["gpe"], therapist="none")
        (said,) = load_fit(made_run, study=changed).differences
        assert said == "The study given differs from the one fitted in: outcomes, model."
        (said,) = load_fit(made_run, study=read_study(bundled_studies()["headache"])).differences
        assert "columns" in said

    def test_other_data_are_said(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        NoSampler().install(monkeypatch)
        made = simulate_trial(seed=4, patients=90, therapists=5)
        study = narrowed(made.study, outcomes=["gpe"])
        data, other = tmp_path / "trial.csv", tmp_path / "other.csv"
        named_patients(made.frame, made.study).to_csv(data, index=False)
        other.write_text(data.read_text() + "\n")
        fit = fit_trial(load_trial(study, data), FEW_DRAWS, seed=1)
        save_fit(fit, tmp_path / "run")
        assert load_fit(tmp_path / "run", data=data).differences == ()
        (said,) = load_fit(tmp_path / "run", data=other).differences
        assert said.startswith("other.csv is not the data that were fitted (trial.csv): ")
        assert hashlib.sha256(data.read_bytes()).hexdigest()[:12] in said
        with pytest.raises(InputError, match=r"no data file .*nowhere.csv"):
            load_fit(tmp_path / "run", data=tmp_path / "nowhere.csv")

    def test_other_versions_are_said(self, run: Path) -> None:
        now = read_manifest(run)["versions"]["pymc"]
        other = {"pymc": "5.0.0", "forgotten": "1.0"}
        edited(run, lambda manifest: manifest["versions"].update(other))
        assert set(load_fit(run).differences) == {
            f"The run was made with pymc 5.0.0; {now} is installed.",
            "The run was made with forgotten 1.0; none is installed.",
        }

    def test_a_missing_table_that_nothing_is_read_from_is_said(self, run: Path) -> None:
        (run / "summary.csv").unlink()
        (said,) = load_fit(run).differences
        assert said == "summary.csv in the run folder is no longer the file that was written."


def other_draws(run: Path) -> None:
    tree = xr.load_datatree(run / "gpe.nc", engine="h5netcdf")
    tree["posterior"]["residual_sd"].values[0, 0] += 1
    tree.to_netcdf(run / "gpe.nc", engine="h5netcdf")


def swapped(run: Path) -> None:
    """Sound files both, and each with the other's draws."""
    (run / "gpe.nc").rename(run / "aside")
    (run / "function.nc").rename(run / "gpe.nc")
    (run / "aside").rename(run / "function.nc")


def other_study(run: Path) -> None:
    text = (run / "study.toml").read_text(encoding="utf-8")
    (run / "study.toml").write_text(text.replace("higher", "lower"), encoding="utf-8")


def other_counts(run: Path) -> None:
    (run / "flow.csv").write_text((run / "flow.csv").read_text() + "\n")


def other_manifest(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    manifest["seed"] += 1
    (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


class TestChangedRuns:
    """What answers are read from is what was written, or is refused; asked for, it is read."""

    @pytest.mark.parametrize(
        ("change", "names"),
        [
            (other_draws, ["gpe.nc"]),
            (swapped, ["function.nc", "gpe.nc"]),
            (other_study, ["study.toml"]),
            (other_counts, ["flow.csv"]),
            (other_manifest, ["manifest.json"]),
        ],
    )
    def test_are_refused_or_said(
        self, run: Path, change: Callable[[Path], None], names: list[str]
    ) -> None:
        change(run)
        told = refused(run)
        assert told.startswith(f"{str(run / names[0])!r} is damaged or was changed")
        assert load_fit(run, accept_changed=True).differences == tuple(
            f"{name} in the run folder is no longer the file that was written." for name in names
        )

    def test_a_manifest_that_is_laid_out_anew_is_the_same(self, run: Path) -> None:
        """Another program's indents and order of keys change no entry."""
        manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
        turned = dict(reversed(manifest.items()))
        (run / "manifest.json").write_text(json.dumps(turned), encoding="utf-8")
        assert load_fit(run).differences == ()

    def test_a_run_of_before_there_were_hashes_is_read_and_said(self, run: Path) -> None:
        manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
        del manifest["files"], manifest["manifest_sha256"]
        (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        (said,) = load_fit(run).differences
        assert said == "The run was written without hashes of its files: they cannot be checked."
