"""The run folder: what is written is what is read, and nothing else is ever replaced."""

from __future__ import annotations

import errno
import json
import stat
from dataclasses import replace
from pathlib import Path

import arviz as az
import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from made_draws import FEW_DRAWS, PATIENT_ID, NoSampler, small_trial
from run_folders import BESIDE, contents, one_outcome, written

from alliance.data_prep.errors import InputError
from alliance.data_prep.study.description import bundled_studies
from alliance.data_prep.trial.trial import Trial
from alliance.inference.draws.datatree import netcdf_bytes
from alliance.inference.runs.fit import Fit
from alliance.inference.runs.fitting import fit_trial
from alliance.inference.runs.run_folder import load_fit, read_manifest, require_free, save_fit

OUTCOMES = ("function", "gpe", "pain", "disability")


@pytest.fixture(scope="module")
def real_run(simulated_fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("real") / "deep" / "run"
    save_fit(simulated_fit, path)
    return path


@pytest.fixture(scope="module")
def read(real_run: Path) -> Fit:
    return load_fit(real_run)


@pytest.mark.mcmc
class TestRealRun:
    def test_is_read_as_it_was_written(self, simulated_fit: Fit, read: Fit) -> None:
        assert read.outcomes == simulated_fit.outcomes == OUTCOMES
        for outcome in OUTCOMES:
            xr.testing.assert_identical(read.trees[outcome], simulated_fit.trees[outcome])
        assert read.study == simulated_fit.study
        assert read.specs == simulated_fit.specs
        assert read.profile == simulated_fit.profile
        assert written(read.manifest) == simulated_fit.manifest
        assert read.differences == ()
        pd.testing.assert_frame_equal(read.flow, simulated_fit.flow)
        pd.testing.assert_frame_equal(read.summary(), simulated_fit.summary(), check_exact=True)

    def test_groups_have_the_names_that_arviz_knows(self, real_run: Path) -> None:
        tree = xr.load_datatree(real_run / "function.nc", engine="h5netcdf")
        assert set(tree.children) == {
            "posterior",
            "sample_stats",
            "observed_data",
            "constant_data",
        }
        draws = tree["posterior"]
        assert draws.attrs["sampling_time"] > 0
        assert draws.attrs["inference_library"] == "nutpie"
        for values in draws.data_vars.values():
            assert values.dims[:2] == ("chain", "draw")
            assert values.shape[:2] == (2, 1000)
        dims = ("chain", "draw", "therapist", "effect")
        assert draws["therapist_effect"].dims == dims
        statistics = tree["sample_stats"]
        for name in ("diverging", "energy", "tree_depth", "reached_max_treedepth", "lp"):
            assert statistics[name].dims == ("chain", "draw")

    def test_arviz_reads_it(self, real_run: Path, simulated_fit: Fit) -> None:
        tree = az.from_netcdf(real_run / "gpe.nc")
        try:
            assert "baseline" not in tree["posterior"]["coefficient"].values
            for name, values in simulated_fit.trees["gpe"]["posterior"].data_vars.items():
                np.testing.assert_array_equal(tree["posterior"][name].values, values.values)
        finally:
            tree.close()

    def test_patients_are_positions(self, read: Fit, simulated_trial: Trial) -> None:
        for outcome in OUTCOMES:
            tree, analysed = read.trees[outcome], simulated_trial.analysed(outcome)
            kept = {**tree["observed_data"].data_vars, **tree["constant_data"].data_vars}
            assert set(kept) == set(analysed.data_vars)
            for name, values in kept.items():
                np.testing.assert_array_equal(values.values, analysed[name].values)
            for group in tree.children.values():
                assert "patient" not in group.coords
            assert "baseline" not in kept or outcome != "gpe"

    def test_no_file_names_a_patient(self, real_run: Path, simulated_trial: Trial) -> None:
        assert simulated_trial.data.sizes["patient"] == 240
        found = contents(real_run)
        assert set(found) == BESIDE | {f"{outcome}.nc" for outcome in OUTCOMES}
        for name, content in found.items():
            assert PATIENT_ID.encode() not in content, name
            assert PATIENT_ID.encode("utf-16-le") not in content, name

    def test_no_file_holds_python_objects(self, real_run: Path) -> None:
        """NetCDF, JSON, TOML and CSV only, and no array of opaque bytes."""
        for outcome in OUTCOMES:

            def look(name: str, item: h5py.Dataset | h5py.Group) -> None:
                if isinstance(item, h5py.Dataset):
                    text = h5py.check_string_dtype(item.dtype) is not None
                    assert text or item.dtype.kind in "biuf", name

            with h5py.File(real_run / f"{outcome}.nc") as file:
                file.visititems(look)

    def test_tables_hold_every_digit(self, real_run: Path, simulated_fit: Fit) -> None:
        table = pd.read_csv(real_run / "summary.csv", dtype=str, keep_default_na=False)
        expected = simulated_fit.summary()
        assert set(table.pop("data")) == {"SIMULATED"}
        assert list(table.columns) == list(expected.columns)
        for name in expected:
            texts = table[name]
            if pd.api.types.is_numeric_dtype(expected[name]):
                numbers = [float(text) if text else np.nan for text in texts]
                np.testing.assert_array_equal(numbers, expected[name].to_numpy())
            else:
                assert list(texts) == list(expected[name])

    def test_manifest_says_how_it_came_about(self, real_run: Path) -> None:
        manifest = json.loads((real_run / "manifest.json").read_text(encoding="utf-8"))
        assert manifest["seed"] == 1
        assert manifest["profile"]["chains"] == 2
        assert manifest["simulated"] is True
        assert set(manifest["specifications"]) == set(OUTCOMES)
        assert manifest["specifications"]["pain"]["priors"]["moderator_slope"] == 0.3
        assert len(manifest["data"]["sha256"]) == 64
        assert {"python", "pymc", "nutpie", "numba", "numpy"} <= set(manifest["versions"])
        assert set(manifest["files"]) == {path.name for path in real_run.iterdir()} - {
            "manifest.json"
        }
        assert all(seconds["sampling"] > 0 for seconds in manifest["seconds"].values())


class TestWriting:
    def test_a_run_without_simulation_says_nothing_of_it(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        NoSampler().install(monkeypatch)
        fit = fit_trial(small_trial(simulated=False), FEW_DRAWS, seed=1)
        save_fit(one_outcome(fit), tmp_path / "run")
        for content in contents(tmp_path / "run").values():
            assert b"SIMULATED" not in content

    def test_further_tables_and_published_findings_are_kept(
        self, made_fit: Fit, tmp_path: Path
    ) -> None:
        published = bundled_studies()["ferreira2013"].with_name("published.toml")
        gate = pd.DataFrame({"check": ["r_hat"], "value": [1.0]})
        path = tmp_path / "run"
        save_fit(one_outcome(made_fit), path, published=published, tables={"gate.csv": gate})
        assert (path / "published.toml").read_bytes() == published.read_bytes()
        assert (path / "gate.csv").read_text() == "check,value,data\nr_hat,1.0,SIMULATED\n"
        assert set(read_manifest(path)["files"]) == BESIDE - {"manifest.json"} | {
            "published.toml",
            "gate.csv",
            "gpe.nc",
        }

    def test_a_run_read_back_can_be_written_again(self, made_run: Path, tmp_path: Path) -> None:
        one = load_fit(made_run)
        save_fit(one, tmp_path / "again")
        other = load_fit(tmp_path / "again")
        assert one.manifest.keys() == other.manifest.keys()
        assert written(one.manifest) == written(other.manifest)
        for outcome in one.outcomes:
            xr.testing.assert_identical(one.trees[outcome], other.trees[outcome])

    def test_only_its_owner_may_read_it(self, made_run: Path) -> None:
        """It holds patients' values."""
        assert stat.S_IMODE(made_run.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in made_run.iterdir()} == {0o600}

    def test_an_outcome_may_have_any_valid_name(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """`nan` and `null` are text, though readers of CSV files take them for missing."""
        NoSampler().install(monkeypatch)
        trial = small_trial()
        both = ("nan", "null")
        outcomes = dict(zip(both, trial.study.outcomes.values(), strict=True))
        study = trial.study.model_copy(update={"outcomes": outcomes})
        names = dict(zip(trial.study.outcomes, both, strict=True))
        renamed = {
            f"{old}_{part}": f"{new}_{part}"
            for old, new in names.items()
            for part in ("followup", "baseline")
            if f"{old}_{part}" in trial.data
        }
        flow = trial.flow.assign(outcome=both)
        changed = replace(trial, study=study, data=trial.data.rename(renamed), flow=flow)
        save_fit(fit_trial(changed, FEW_DRAWS, seed=1), tmp_path / "run")
        assert list(load_fit(tmp_path / "run").flow["outcome"]) == list(both)


class TestPlaces:
    def test_an_existing_run_is_kept(self, made_fit: Fit, run: Path) -> None:
        before = contents(run.parent)
        with pytest.raises(InputError, match=r"exists already.*`overwrite=True`"):
            save_fit(made_fit, run)
        assert contents(run.parent) == before

    def test_an_existing_run_is_replaced_when_asked(self, made_fit: Fit, run: Path) -> None:
        (run / "report.html").write_text('<meta name="generator" content="alliance report">')
        save_fit(one_outcome(made_fit, seed=77), run, overwrite=True)
        assert set(contents(run.parent)) == {f"run/{name}" for name in BESIDE | {"gpe.nc"}}
        assert load_fit(run).manifest["seed"] == 77

    @pytest.mark.parametrize("kind", ["folder", "empty folder", "file", "dangling link"])
    @pytest.mark.parametrize("overwrite", [True, False])
    def test_what_is_no_run_is_never_replaced(
        self, made_fit: Fit, tmp_path: Path, kind: str, overwrite: bool
    ) -> None:
        place = tmp_path / "thesis"
        if kind == "file":
            place.write_text("years of work")
        elif kind == "dangling link":
            place.symlink_to(tmp_path / "nowhere")
        else:
            place.mkdir()
        if kind == "folder":
            (place / "summary.csv").write_text("years of work")
        before = contents(tmp_path)
        with pytest.raises(InputError, match=r"'.*thesis' exists"):
            save_fit(made_fit, place, overwrite=overwrite)
        assert contents(tmp_path) == before
        assert [path.name for path in tmp_path.iterdir()] == ["thesis"]

    def test_a_file_on_the_way_is_named(self, made_fit: Fit, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        for place in (tmp_path / "file" / "run", tmp_path / "file" / "deep" / "run"):
            for refuse in (require_free, lambda path: save_fit(made_fit, path)):
                with pytest.raises(InputError, match=r"/file' is not a folder"):
                    refuse(place)

    @pytest.mark.skipif(not Path("/proc").is_dir(), reason="a folder that nobody can write to")
    def test_a_folder_that_nobody_can_write_to(self, made_fit: Fit) -> None:
        for refuse in (require_free, lambda path: save_fit(made_fit, path)):
            with pytest.raises(InputError, match="cannot be written to '/proc'"):
                refuse(Path("/proc/alliance-run"))

    def test_a_folder_without_permission(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """Permissions do not bind the superuser, who may run the tests: a stand-in says no."""

        def forbidden(*_: object, **__: object) -> str:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr("tempfile.mkdtemp", forbidden)
        with pytest.raises(InputError, match=r"cannot be written to .*: Permission denied"):
            require_free(tmp_path / "run")

    def test_a_name_too_long_is_found_before_sampling(self, tmp_path: Path) -> None:
        """The folder's own name would fit, but not the hidden one in which it is written."""
        with pytest.raises(InputError, match="File name too long"):
            require_free(tmp_path / ("x" * 250))

    def test_a_free_place_is_left_clean(self, tmp_path: Path) -> None:
        require_free(tmp_path / "deep" / "run")
        assert list(tmp_path.iterdir()) == []

    def test_a_place_taken_while_writing_is_kept(
        self, made_fit: Fit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """Two runs with one name: the second to finish does not replace the first."""

        def meanwhile(tree: xr.DataTree) -> bytes:
            (tmp_path / "run").mkdir(exist_ok=True)
            (tmp_path / "run" / "manifest.json").write_text("of another process")
            return netcdf_bytes(tree)

        monkeypatch.setattr("alliance.inference.runs.run_folder.netcdf_bytes", meanwhile)
        with pytest.raises(InputError, match="exists already"):
            save_fit(one_outcome(made_fit), tmp_path / "run")
        assert contents(tmp_path) == {"run/manifest.json": b"of another process"}
