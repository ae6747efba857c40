"""Shares: what leaves, what an adversary can tell from it, and what is refused on the way back."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import alliance as al
from alliance.data_prep.cell_moments import CellMoments, cell_moments
from alliance.data_prep.errors import InputError
from alliance.data_prep.shares.disclosure import attack, exposed, kept_of_cell
from alliance.data_prep.shares.pooling import _fingerprints, load_pooled
from alliance.data_prep.shares.share_files import make_share, read_share, write_share
from alliance.data_prep.study.description import Study, read_study

STUDY = """
title = "Shared"
covariates = ["age", "sex", "site_kind"]
categorical = ["sex", "site_kind"]
continuous = ["age"]
[columns]
patient = "patient"
therapist = "therapist"
arm = "arm"
[arms]
A = "Usual care"
B = "Exercise"
[moderator]
label = "Alliance"
column = "wai"
range = [12, 84]
[outcomes.pain]
label = "Pain"
baseline = "pain_0"
followup = "pain_8"
range = [0, 100]
better = "lower"
[outcomes.gpe]
label = "Perceived effect"
followup = "gpe"
range = [-50, 50]
better = "higher"
"""
FIELDS = ("moderator", "age", "sex", "site_kind")


def rows_of_trial(seed: int, sizes: tuple[int, ...] = ()) -> list[dict[str, Any]]:
    """A trial with therapists of 1 to 60 patients, lone patients, copies and missing outcomes."""
    rng = np.random.default_rng(seed)
    sizes = sizes or (1, 2, 3, *rng.integers(4, 61, size=6).tolist())
    rows: list[dict[str, Any]] = []
    for j, size in enumerate(sizes):
        for _ in range(size):
            copied = rows and rng.random() < 0.1 and rows[-1]["therapist"] == f"T{j:02d}"
            if copied:
                rows.append({**rows[-1], "patient": len(rows)})
                continue
            rows.append(
                {
                    "patient": len(rows),
                    "therapist": f"T{j:02d}",
                    "arm": "AB"[int(rng.random() < 0.5)],
                    "wai": round(rng.uniform(40, 84), 1),
                    "age": int(rng.integers(20, 80)),
                    "sex": "FM"[int(rng.random() < 0.25)],
                    "site_kind": "xyz"[int(rng.choice(3, p=[0.6, 0.3, 0.1]))],
                    "pain_0": round(rng.uniform(20, 90), 1),
                    "pain_8": "" if rng.random() < 0.08 else round(rng.uniform(0, 90), 1),
                    "gpe": "" if rng.random() < 0.08 else round(rng.uniform(-50, 50), 1),
                }
            )
    return rows


def written(
    folder: Path, rows: list[dict[str, Any]], name: str = "trial.csv"
) -> tuple[Study, Path]:
    folder.mkdir(exist_ok=True)
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return read_study(folder / "study.toml"), folder / name


# Disclosure --------------------------------------------------------------------------------------


def rotated(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other rows with the same sums, products and columns of two values; a certificate.

    Whatever lies outside the span of a one and the columns of two values is turned by an orthogonal
    matrix, which changes no sum and no product of any two columns.
    """
    few = [k for k in range(values.shape[1]) if len(np.unique(values[:, k])) <= 2]
    fixed = np.column_stack([np.ones(len(values)), values[:, few]])
    left, singular, _ = np.linalg.svd(fixed, full_matrices=True)
    free = left[:, (singular > 1e-9 * singular[0]).sum() :]
    turn, _ = np.linalg.qr(rng.normal(size=(free.shape[1], free.shape[1])))
    return values + free @ (turn - np.eye(free.shape[1])) @ free.T @ values


def certified(values: np.ndarray, seed: int = 0) -> bool:
    """Whether every row could be another, with all moments and all two-valued columns the same."""
    other = rotated(values, np.random.default_rng(seed))
    assert np.allclose(other.sum(0), values.sum(0))
    assert np.allclose(other.T @ other, values.T @ values)
    scale = values.std(axis=0).max()
    return bool((np.abs(other - values).max(axis=1) > 1e-6 * scale).all())


def columns(rows: list[dict[str, Any]], outcome: str) -> np.ndarray:
    """Columns of one outcome as the share has them; NaN where a patient is not analysed."""
    baseline = ["pain_0"] if outcome == "pain" else []
    followup = "pain_8" if outcome == "pain" else "gpe"
    made = [[row["wai"], row["age"]] for row in rows]
    levels = [[row["sex"] == "F", row["sex"] == "M"] for row in rows]
    kinds = [[row["site_kind"] == kind for kind in "xyz"] for row in rows]
    rest = [[row[name] or np.nan if row[name] == "" else row[name]
             for name in (*baseline, followup)] for row in rows]  # fmt: skip
    return np.hstack([np.array(each, dtype=float) for each in (made, levels, kinds, rest)])


def survives(seed: int, folder: Path) -> tuple[int, int]:
    """Cells that leave by default, each certified; and rows that the attack told in all."""
    rows = rows_of_trial(seed)
    study, data = written(folder, rows)
    share = make_share(study, data)
    told = attack(share.facts.moments)
    assert told == []
    cells = 0
    for outcome, own in share.facts.moments.items():
        values = columns(rows, outcome)
        groups: dict[tuple[str, str], list[int]] = {}
        for k, row in enumerate(rows):
            groups.setdefault((row["therapist"], row["arm"]), []).append(k)
        found = sorted(groups)
        everyone = {key: np.array(groups[key]) for key in found}
        kept = {
            key: kept_of_cell(
                {name: columns([rows[k] for k in group], name) for name in ("pain", "gpe")},
                {
                    name: ~np.isnan(columns([rows[k] for k in group], name)).any(axis=1)
                    for name in ("pain", "gpe")
                },
                5,
            )[outcome]
            for key, group in everyone.items()
        }
        sizes = [int(mask.sum()) for mask in kept.values() if mask.any()]
        assert sorted(sizes) == sorted(own.count.tolist())
        for key, mask in kept.items():
            if mask.any():
                assert mask.sum() >= 5
                assert certified(values[everyone[key]][mask])
                cells += 1
    return cells, len(attack(make_share(study, data, allow_small_cells=True).facts.moments))


def test_no_row_can_be_told_from_default_shares(tmp_path: Path) -> None:
    """Of five trials; 100 of them in the validation lane."""
    found = [survives(seed, tmp_path / str(seed)) for seed in range(5)]
    assert all(cells > 5 and told > 3 for cells, told in found)


@pytest.mark.validation
def test_no_row_can_be_told_from_default_shares_of_100_trials(tmp_path: Path) -> None:
    for seed in range(100, 200):
        cells, told = survives(seed, tmp_path / str(seed))
        assert cells > 3
        assert told > 3


def test_the_attack_tells_the_rows_of_lone_pairs_and_singled_patients() -> None:
    rng = np.random.default_rng(3)
    values = np.column_stack([rng.normal(50, 9, 14), rng.normal(5, 2, 14), np.zeros(14)])
    values[[0, 5], 2] = 1.0  # the lone patient of cell 0; one man among six in cell 2
    therapist = np.array([0, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3])
    names, zero = ["moderator", "outcome", "sex"], np.zeros(14, dtype=np.int64)
    own = cell_moments(names, values.T, list("abcd"), therapist, zero)
    told = {tuple(np.round(each.row, 6)) for each in attack({"pain": own})}
    assert told == {tuple(np.round(values[k], 6)) for k in (0, 1, 2, 5)}


def test_a_difference_of_two_outcomes_is_a_patient() -> None:
    rng = np.random.default_rng(4)
    values = np.column_stack([rng.normal(50, 9, 9), rng.normal(5, 2, 9), rng.normal(0, 1, 9)])
    zero = np.zeros(9, dtype=np.int64)
    first = cell_moments(["moderator", "age", "outcome"], values.T, ["a"], zero, zero)
    second = cell_moments(["moderator", "age", "outcome"], values[1:].T, ["a"], zero[1:], zero[1:])
    [told] = attack({"pain": first, "gpe": second})
    assert told.row == pytest.approx(values[0, :2])
    present = {"pain": np.ones(9, dtype=bool), "gpe": np.arange(9) > 0}
    kept = kept_of_cell({"pain": values, "gpe": values}, present, 5)
    assert [mask.tolist() for mask in kept.values()] == [[False] + [True] * 8] * 2


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.ones((8, 3)), [True] * 8),  # copies of one another
        (np.arange(8.0).reshape(2, 4), [True] * 2),  # two patients
        # sex explains the others: two kinds of patients, and whose is whose is known
        (np.repeat([[1.0, 2.0, 0.0], [4.0, 7.0, 1.0]], 4, axis=0), [True] * 8),
        # all but one share their values
        (np.vstack([np.tile([1.0, 2.0, 3.0], (7, 1)), [[4.0, 5.0, 9.0]]]), [True] * 8),
    ],
)
def test_whose_rows_a_cell_tells(values: np.ndarray, told: list[bool]) -> None:
    assert exposed(values).tolist() == told


def test_the_only_man_is_told_and_left_out() -> None:
    rng = np.random.default_rng(5)
    values = np.column_stack([rng.normal(size=(9, 3)), np.arange(9) == 4])
    assert np.flatnonzero(exposed(values)).tolist() == [4]


def test_no_id_and_no_extreme_value_leaves(tmp_path: Path) -> None:
    rows = rows_of_trial(7)
    for row in rows:
        row["patient"], row["therapist"] = f"SECRET{row['patient']}", f"Dr-{row['therapist']}"
    rows[40]["wai"] = 83.77
    study, data = written(tmp_path, rows)
    text = make_share(study, data).text
    assert "SECRET" not in text
    assert "Dr-" not in text
    assert "83.77" not in text


def test_a_category_that_only_a_patient_has_who_is_left_out_is_not_told(tmp_path: Path) -> None:
    rows = rows_of_trial(9, sizes=(30, 30, 40))
    rows[3]["site_kind"] = "clinic of Dr Z"
    study, data = written(tmp_path, rows)
    assert "Dr Z" not in make_share(study, data).text
    assert "Dr Z" in make_share(study, data, allow_small_cells=True).text


def test_without_therapist_effects_small_cells_are_folded_and_nobody_is_left_out(
    tmp_path: Path,
) -> None:
    rows = rows_of_trial(8, sizes=(3,) * 20 + (40,))
    for row in rows:
        row["pain_8"] = row["pain_8"] or 10.0
        row["gpe"] = row["gpe"] or 10.0
    study, data = written(tmp_path, rows)
    none = study.model_copy(update={"model": study.model.model_copy(update={"therapist": "none"})})
    folded = make_share(none, data).content.control
    assert sum(folded.patients_left_out.values()) < 10  # whom a cell would tell, at most
    assert make_share(study, data).content.control.patients_left_out["pain"] > 30


# Pooling -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trial in seven files by site, and a share of each with nothing left out."""
    folder = tmp_path_factory.mktemp("sites")
    rows = rows_of_trial(11, sizes=(40, 44, 50, 38, 46, 41, 55, 60, 40, 42, 44, 48, 39, 52))
    study, _ = written(folder, rows)
    for k in range(7):
        own = [row for row in rows if int(row["therapist"][1:]) // 2 == k]
        _, file = written(folder, own, f"s{k}.csv")
        share = make_share(study, file, allow_small_cells=True)
        write_share(share, folder / f"s{k}.share")
    (folder / "all").mkdir()
    written(folder / "all", rows, "s.csv")
    return folder


def same(one: CellMoments, other: CellMoments) -> bool:
    names = ("therapist_index", "arm_index", "count", "centre", "sums", "products")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


@pytest.mark.parametrize(
    "chosen",
    [
        ["s0.share"],
        [f"s{k}.share" for k in range(7)],
        [f"s{k}.share" for k in (6, 2, 0, 4, 1, 3, 5)],  # in any order
        ["s0.share", "s1.csv", "s2.share", "s3.csv", "s4.csv", "s5.share", "s6.share"],
    ],
)
def test_shares_pool_to_the_moments_of_the_files_bit_for_bit(
    chosen: list[str], sites: Path
) -> None:
    study = read_study(sites / "study.toml")
    files = [sites / f"{Path(name).stem}.csv" for name in chosen]
    rows, shared = load_pooled(study, files), load_pooled(study, [sites / name for name in chosen])
    assert {name: same(own, shared.moments[name]) for name, own in rows.moments.items()} == {
        "pain": True,
        "gpe": True,
    }
    assert shared.flow[list(rows.flow.columns)].equals(rows.flow)
    assert shared.therapists_in_arms == rows.therapists_in_arms


def test_shares_pool_to_the_moments_of_all_rows(sites: Path) -> None:
    """Of one file with all rows; sums of the same numbers in another order."""
    study = read_study(sites / "study.toml")
    whole = load_pooled(study, [sites / "all" / "s.csv"])
    shared = load_pooled(study, [sites / f"s{k}.share" for k in range(7)])
    for name, own in whole.moments.items():
        for part in ("centre", "sums", "products"):
            made, wanted = getattr(shared.moments[name], part), getattr(own, part)
            assert np.abs(made - wanted).max() < 1e-12 * np.abs(wanted).max()


def test_draws_of_shares_are_those_of_the_files_bit_for_bit(sites: Path) -> None:
    study = al.study(sites / "study.toml")
    asked: dict[str, Any] = {"engine": "instant", "profile": "ci", "seed": 3, "progress": False}
    shares = [sites / f"s{k}.share" for k in range(7)]
    mixed = [*shares[:3], *(sites / f"s{k}.csv" for k in range(3, 7))]
    runs = [
        al.fit(study.read(each), outcome="pain", **asked)
        for each in ([sites / f"s{k}.csv" for k in range(7)], shares, mixed)
    ]
    for one, other in pairwise(runs):
        own, others = one["pain"].draws, other["pain"].draws
        assert own.equals(others.assign_coords(own.coords))  # therapists have other names


@pytest.mark.validation
@pytest.mark.parametrize("chosen", ["one site", "seven sites", "mixed with files"])
@pytest.mark.parametrize(
    ("engine", "alliance"),
    [("instant", "total"), ("nuts", "total"), ("nuts", "within_between")],
)
def test_sharing_then_fitting_gives_the_draws_of_the_files(
    chosen: str, engine: str, alliance: str, sites: Path
) -> None:
    """Bit for bit, whatever was fitted; joint models and visits are refused: see the commands.

    One file is read as cross-products, as several are, where a pattern names it.
    """
    study = al.study(sites / "study.toml").choose("pain", model={"alliance": alliance})
    number = 1 if chosen == "one site" else 7
    files: list[Any] = [sites / f"s{k}.csv" for k in range(number)]
    shares = [path.with_suffix(".share") for path in files]
    if chosen == "mixed with files":
        shares[1], shares[4] = files[1], files[4]
    if chosen == "one site":
        files = [str(sites / "s0*.csv")]
    asked: dict[str, Any] = {"engine": engine, "profile": "ci", "seed": 3, "progress": False}
    one, other = (al.fit(study.read(each), **asked)["pain"].draws for each in (files, shares))
    assert one.equals(other.assign_coords(one.coords))  # therapists have other names


def test_draws_of_the_share_of_one_file_are_those_of_its_rows_to_rounding(sites: Path) -> None:
    """Sums of the same numbers in another order: as many digits as sums of 84 products keep."""
    study = al.study(sites / "study.toml")
    asked: dict[str, Any] = {"engine": "instant", "profile": "ci", "seed": 3, "progress": False}
    rows, shared = (
        al.fit(study.read(sites / name), outcome="pain", **asked)["pain"].draws
        for name in ("s0.csv", "s0.share")
    )
    for name in ("beta", "residual_sd", "therapist_sd", "therapist_effect"):
        assert shared[name].values == pytest.approx(rows[name].values, rel=1e-6, abs=1e-8)


# What is refused ---------------------------------------------------------------------------------


def changed(path: Path, change: Callable[[dict[str, Any]], Any], target: Path) -> Path:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    target.write_text(json.dumps(content), encoding="utf-8")
    return target


def _set(*place: Any) -> Callable[[dict[str, Any]], None]:
    *keys, last, value = place

    def change(content: Any) -> None:
        for key in keys:
            content = content[key]
        content[last] = value

    return change


DAMAGED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another version": (_set("version", 2), "version 2"),
    "no share": (_set("format", "pickle"), "is no share"),
    "an unknown key": (_set("extra", 1), "damaged at extra"),
    "text for a number": (_set("moments", "pain", "sums", 0, 0, "7"), "damaged at"),
    "a count of none": (_set("moments", "pain", "count", 0, 0), "damaged at moments.pain.count"),
    "a therapist that is not there": (
        _set("moments", "pain", "therapist", -1, 99),
        "a therapist or arm that there is not",
    ),
    "a cell twice": (_set("moments", "pain", "arm", 1, 0), "not in order, or stand twice"),
    "sums away from the centre": (_set("moments", "pain", "sums", 0, 0, 1e6), "damaged at"),
    "squares below zero": (_set("moments", "pain", "products", 0, 0, -5.0), "no patients have"),
    "a short list": (
        lambda content: content["moments"]["pain"]["centre"].pop(),
        "lists of different lengths",
    ),
    "an outcome without cells": (lambda content: content["moments"].pop("gpe"), "not those of"),
    "patients that the flow does not count": (
        _set("flow", "pain", "analysed", 3),
        "patients are in the cells",
    ),
    "a mean outside the range": (_set("moments", "pain", "centre", -1, 1e4), "no score of its"),
    "a study that is none": (_set("study", "title = 3"), "no description of a study"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_share_is_refused_with_its_place(kind: str, sites: Path, tmp_path: Path) -> None:
    change, said = DAMAGED[kind]
    path = changed(sites / "s0.share", change, tmp_path / "bad.share")
    with pytest.raises(InputError, match=r"bad\.share") as refused:
        read_share(path)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[" * 100_000, '{"format": NaN}', '{"a": 1, "a": 2}', "\x80\x04K\x01.", "null"],
)
def test_what_is_no_share_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.share"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"bad\.share"):
        read_share(path)


def test_a_share_is_taken_once_and_only_for_its_study(sites: Path, tmp_path: Path) -> None:
    study = read_study(sites / "study.toml")
    first = sites / "s0.share"
    copy = tmp_path / "copy.share"
    copy.write_bytes(first.read_bytes())
    with pytest.raises(InputError, match="same share twice"):
        load_pooled(study, [first, copy])
    with pytest.raises(InputError, match="same file twice"):
        load_pooled(study, [first, sites / "s0.csv"])
    again = tmp_path / "again.share"
    write_share(make_share(study, sites / "s0.csv", site="elsewhere"), again)
    with pytest.raises(InputError, match="made of the same file of rows"):
        load_pooled(study, [first, again])
    named = tmp_path / "named.share"
    write_share(make_share(study, sites / "s1.csv", site="s0"), named)
    with pytest.raises(InputError, match="both of the site 's0'"):
        load_pooled(study, [first, named])
    rows = (sites / "s0.csv").read_text().splitlines()
    some = tmp_path / "some.csv"  # a therapist's patients, under another name of file and site
    some.write_text("\n".join([rows[0], *(row for row in rows if ",T00," in row)]))
    write_share(make_share(study, some, allow_small_cells=True), tmp_path / "some.share")
    for overlapping in ("some.share", "some.csv"):
        with pytest.raises(InputError, match="hold the same patients") as refused:
            load_pooled(study, [first, tmp_path / overlapping])
        assert f"s0.share and {overlapping}" in str(refused.value)
    other = STUDY.replace("range = [0, 100]", "range = [0, 10]")
    (tmp_path / "study.toml").write_text(other, encoding="utf-8")
    with pytest.raises(InputError, match="the range of pain is 0 to 100 in the share and 0 to 10"):
        load_pooled(read_study(tmp_path / "study.toml"), [first])
    trial = STUDY.replace('title = "Shared"', 'title = "Another trial"')
    (tmp_path / "study.toml").write_text(trial, encoding="utf-8")
    with pytest.raises(InputError, match="different trials are not pooled as sites of one"):
        load_pooled(read_study(tmp_path / "study.toml"), [first])
    renamed = STUDY.replace("[outcomes.gpe]", "[outcomes.effect]")
    (tmp_path / "study.toml").write_text(renamed, encoding="utf-8")
    with pytest.raises(InputError, match="has no outcome 'effect'"):
        load_pooled(read_study(tmp_path / "study.toml"), [first])


def test_cells_that_are_alike_by_chance_are_no_patients_twice(tmp_path: Path) -> None:
    """Of ratings and scores of two values many cells have the same means and products."""
    shares = []
    for k in range(2):
        rows = rows_of_trial(20 + k, sizes=(24,) * 30)
        for row in rows:
            row["wai"] = 40 if row["wai"] < 60 else 60
            row["gpe"] = 0 if row["gpe"] == "" or row["gpe"] < 0 else 10
        study, data = written(tmp_path, rows, f"s{k}.csv")
        shares.append(tmp_path / f"s{k}.share")
        write_share(make_share(study, data, allow_small_cells=True), shares[-1])
    one = study.model_copy(update={"outcomes": {"gpe": study.outcomes["gpe"]}})
    cells = [set(_fingerprints(one, read_share(path).facts.moments["gpe"], "gpe"))
             for path in shares]  # fmt: skip
    assert cells[0] & cells[1]
    assert load_pooled(one, shares).moments["gpe"].n > 1_000


def test_what_was_left_out_is_counted_in_the_flow(tmp_path: Path) -> None:
    study, data = written(tmp_path, rows_of_trial(12))
    share = make_share(study, data)
    write_share(share, tmp_path / "a.share")
    pooled = load_pooled(study, [tmp_path / "a.share"])
    flow = pooled.flow.set_index("outcome")
    left_out = flow.loc["pain", "without_enough_in_cell"]
    assert left_out > 0
    whole = load_pooled(study, [data]).flow.set_index("outcome")
    assert flow.loc["pain", "analysed"] + left_out == whole.loc["pain", "analysed"]
    assert any("left out of pain" in note for note in pooled.notes)
