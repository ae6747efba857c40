"""`alliance share`, and `alliance fit` with what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import alliance

import alliance as al

FIT = ("--engine", "instant", "--profile", "ci", "--outcome", "pain")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("share")
    al.simulate(patients=180, therapists=5, seed=4).save(place / "trial.csv")
    answer = alliance(
        "share", place / "study.toml", place / "trial.csv", "--out", place / "t.share"
    )
    assert answer.code == 0, answer.stderr
    assert "no anonymisation" in answer.stdout
    assert "The attack told no row" in answer.stdout
    return place


def test_a_share_is_told_in_words(folder: Path) -> None:
    told = alliance("share", "--show", folder / "t.share").stdout
    for words in ("5 therapists under numbers drawn at random", "sums and cross-products", "Left"):
        assert words in told


def test_a_share_is_its_owners_alone_and_readable(folder: Path) -> None:
    assert (folder / "t.share").stat().st_mode & 0o077 == 0
    content = json.loads((folder / "t.share").read_text(encoding="utf-8"))
    assert content["format"] == "alliance share"
    assert "no differential privacy" in content["caution"]


def test_fit_takes_a_share_and_counts_whom_it_lacks(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    answer = alliance("fit", folder / "study.toml", folder / "t.share", "--out", run, *FIT)
    assert answer.code == 0, answer.stderr
    assert "left out of pain" in answer.said
    assert "left out of gpe" not in answer.said  # it is not fitted
    shown = alliance("summary", run)
    assert shown.code == 0
    assert "without enough in cell" in shown.stdout
    effects = alliance("effects", run)
    assert effects.code == 0
    assert "percentile" not in effects.stdout  # of ratings that nobody has
    assert "where the better arm changes" not in effects.stdout
    assert alliance("report", run, "--word", tmp_path / "kit.docx").code == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    # Prior predictive check, checks of the model, sensitivity
    refused = "Not available: This run was fitted from cross-products"
    assert page.count(refused) == page.count("Not available: ") > 3
    assert "without enough others in their c" in page
    assert "(n = 0)" not in page


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("share", "study.toml", "trial.csv", "--out", "t.share"), "exists"),
        (("share", "study.toml", "trial.csv", "--out", "t.json"), "does not end in .share"),
        (("share", "study.toml", "trial.csv", "--out", "n.share", "--least", "1"), "no protection"),
        (("share", "study.toml", ".", "--out", "n.share"), "a share is made of one"),
        (("share", "--show", "trial.csv"), "is no share"),
        (("share",), "name a study"),
        (("share", "--show", "nowhere.share"), "There is no share"),
        (("fit", "study.toml", "t.share", "t.share", "--out", "r"), "same share twice"),
        (("fit", "study.toml", "t.share", "trial.csv", "--out", "r"), "same file twice"),
        (("fit", "study.toml", "t.share", "--joint", "--out", "r"), "needs the rows"),
        (
            ("fit", "study.toml", "t.share", "--missing-alliance", "impute", "--out", "r"),
            "many files, and shares, are read as cross-products",
        ),
        (("share", "headache_over_time", "trial.csv", "--out", "n.share"), "visits needs the rows"),
        (("fit", "study.toml", "t.share", "--sample-therapists", "3", "--out", "r"), "several or"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    typed: tuple[str, ...], said: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(path.name for path in folder.iterdir())
    answer = alliance(*typed)
    assert answer.code == 2
    assert said in " ".join((answer.said + answer.stderr).split())
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.mcmc
def test_nuts_gives_the_draws_of_the_files_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    text = (folder / "trial.csv").read_text(encoding="utf-8").splitlines()
    head, rows = text[0], text[1:]
    column = head.split(",").index("therapist")
    study = al.study(folder)
    files, shares = [], []
    for k in range(2):
        own = [row for row in rows if (row.split(",")[column] in ("T01", "T02")) == (k == 0)]
        file = tmp_path / f"s{k}.csv"
        file.write_text("\n".join([head, *own]) + "\n", encoding="utf-8")
        files.append(file)
        shares.append(al.share(study, file, tmp_path / f"s{k}.share", allow_small_cells=True))
    asked = {"outcome": "pain", "profile": "ci", "seed": 2, "progress": False}
    one, other = (al.fit(study.read(each), **asked)["pain"].draws for each in (files, shares))
    assert one.equals(other.assign_coords(one.coords))  # therapists have other names
