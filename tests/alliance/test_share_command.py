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


@pytest.fixture(scope="module")
def faulty(folder: Path) -> Path:
    """Studies and shares that do not go with `folder`'s, and one that would run a program."""
    place = folder / "faulty"
    place.mkdir()
    text = (folder / "study.toml").read_text(encoding="utf-8")
    share = (folder / "t.share").read_text(encoding="utf-8")
    rows = (folder / "trial.csv").read_text(encoding="utf-8").splitlines()
    column = rows[0].split(",").index("therapist")
    own = [row for row in rows[1:] if row.split(",")[column] == rows[1].split(",")[column]]
    (place / "scale.toml").write_text(text.replace("range = [0, 10]", "range = [0, 100]"))
    (place / "outcome.toml").write_text(text.replace("[outcomes.pain]", "[outcomes.ache]"))
    (place / "version.share").write_text(share.replace('"version": 1', '"version": 2', 1))
    (place / "cut.share").write_text(share[: len(share) // 2])
    (place / "some.csv").write_text("\n".join([rows[0], *own]) + "\n")
    al.share(folder, place / "some.csv", place / "some.share")
    al.share(folder, place / "some.csv", place / "site.share", site="trial")
    command = f"touch {place / 'executed'}"
    hostile = b"cos\nsystem\n(V" + command.encode() + b"\ntR."  # what `pickle.loads` would run
    (place / "pickle.share").write_bytes(hostile)
    return place


@pytest.mark.parametrize(
    ("study", "shares", "said"),
    [
        ("faulty/scale.toml", ["t.share"], "t.share: the range of pain is 0 to 10 in the share"),
        ("faulty/outcome.toml", ["t.share"], "t.share has no outcome 'ache'"),
        ("study.toml", ["faulty/version.share"], "version.share is a share of version 2"),
        ("study.toml", ["t.share", "faulty/site.share"], "are both of the site 'trial'"),
        ("study.toml", ["t.share", "faulty/some.share"], "hold the same patients"),
        ("study.toml", ["t.share", "faulty/some.csv"], "hold the same patients"),
        ("study.toml", ["faulty/cut.share"], "cut.share is no share"),
        ("study.toml", ["faulty/pickle.share"], "pickle.share is no share"),
    ],
)
def test_a_share_that_does_not_go_with_the_rest_is_refused(
    study: str,
    shares: list[str],
    said: str,
    folder: Path,
    faulty: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(map(str, folder.rglob("*")))
    answer = alliance("fit", study, *shares, "--out", "r", "--engine", "instant")
    assert answer.code == 2
    assert said in answer.said
    assert "Traceback" not in answer.stderr
    remedies = ("Ask for", "Ask its owner", "Leave one of them out")
    assert any(remedy in answer.said for remedy in remedies)
    assert sorted(map(str, folder.rglob("*"))) == before  # nor was anything executed
    assert not (faulty / "executed").exists()


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
