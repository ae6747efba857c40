"""Sampling profiles, and seeds that depend on what is drawn and on nothing else."""

from __future__ import annotations

import subprocess
import sys
from itertools import product

import numpy as np
import pytest

from alliance.data_prep.errors import InputError
from alliance.inference.estimands.estimands import limit_error
from alliance.inference.sampling.profiles import (
    PHASES,
    PROFILES,
    SamplerProfile,
    find_profile,
    seed_sequence,
)

# Typed from a first run: a change to any of them changes every published draw.
KNOWN_STATES = {
    (1, "sampling", "function", 0): 7431774214898578661,
    (1, "sampling", "gpe", 0): 8671902827527740581,
    (1, "therapist_effects", "function", 0): 675179574229481725,
    (1, "therapist_effects", "function", 1): 12105897492384589776,
    (2**63 - 1, "sampling", "function", 0): 5575078456072172106,
}


def state(seed: int, phase: str, outcome: str, chain: int = 0) -> int:
    return int(seed_sequence(seed, phase, outcome, chain).generate_state(1, np.uint64)[0])


class TestSeeds:
    @pytest.mark.parametrize("drawn", KNOWN_STATES)
    def test_are_what_they_were(self, drawn: tuple[int, str, str, int]) -> None:
        assert state(*drawn) == KNOWN_STATES[drawn]

    def test_differ_between_runs_phases_outcomes_and_chains(self) -> None:
        outcomes = ("function", "gpe", "pain", "disability", "a", "b", "ab", "ba")
        drawn = list(product((0, 1, 2), PHASES, outcomes, range(4)))
        assert len({state(*one) for one in drawn}) == len(drawn)

    def test_do_not_depend_on_what_was_asked_before(self) -> None:
        outcomes = ("function", "gpe", "pain")
        forwards = {name: state(1, "sampling", name) for name in outcomes}
        backwards = {name: state(1, "sampling", name) for name in reversed(outcomes)}
        assert forwards == backwards

    def test_do_not_depend_on_the_process(self) -> None:
        """Python salts its own hashes of text anew in every process."""
        program = (
            "from alliance.inference.sampling.profiles import seed_sequence;"
            "print(seed_sequence(1, 'sampling', 'function').generate_state(1, 'uint64')[0])"
        )
        salted = [
            subprocess.run(
                [sys.executable, "-c", program],
                check=True,
                capture_output=True,
                text=True,
                env={"PYTHONHASHSEED": salt},
            ).stdout
            for salt in ("1", "2")
        ]
        assert [int(text) for text in salted] == [state(1, "sampling", "function")] * 2

    def test_names_beyond_ascii_have_seeds_of_their_own(self) -> None:
        assert state(1, "sampling", "schmerz_ä") != state(1, "sampling", "schmerz_a")


class TestProfiles:
    def test_chains_and_draws(self) -> None:
        sizes = {name: (p.chains, p.draws) for name, p in PROFILES.items()}
        assert sizes["ci"][0] == 2
        assert sizes["standard"] == (4, 1000)
        chains, draws = sizes["publication"]
        assert chains * draws > 4 * 1000

    def test_ci_is_a_part_of_standard(self) -> None:
        """All that decides a chain is the same, so its chains are the first of standard."""
        short, long = PROFILES["ci"].to_dict(), PROFILES["standard"].to_dict()
        assert {name for name in short if short[name] != long[name]} == {"name", "chains"}

    @pytest.mark.parametrize("name", PROFILES)
    def test_plain_values_make_the_profile_again(self, name: str) -> None:
        profile = find_profile(name)
        assert profile.name == name
        assert SamplerProfile(**profile.to_dict()) == profile

    def test_an_unknown_name_is_refused_with_the_nearest(self) -> None:
        with pytest.raises(InputError, match=r"'standart'.*Did you mean 'standard'"):
            find_profile("standart")

    def test_a_name_like_none_is_refused_with_all(self) -> None:
        with pytest.raises(InputError, match="'ci', 'standard', 'publication'"):
            find_profile("quick")

    def test_settings_of_ones_own_keep_the_name(self) -> None:
        found = find_profile("ci").adjusted(
            draws=1500, tune=2000, target_accept=0.95, max_treedepth=12
        )
        assert (found.name, found.chains) == ("ci", 2)
        assert (found.draws, found.tune) == (1500, 2000)
        assert (found.target_accept, found.max_treedepth) == (0.95, 12)
        assert find_profile("ci").adjusted() == find_profile("ci")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *(("target_accept", 1.0), ("target_accept", 0.0)),
            *(("tune", 0), ("draws", -5), ("max_treedepth", 0), ("max_treedepth", 40)),
        ],
    )
    def test_settings_out_of_range_are_refused(self, name: str, value: float) -> None:
        with pytest.raises(InputError, match=f"{name} cannot be"):
            find_profile("ci").adjusted(**{name: value})  # type: ignore[arg-type]


class TestLimits:
    def test_error_is_that_of_simulated_quantiles(self) -> None:
        """Both limits of 2,000 sets of 2,000 normal draws: 6% of the SD, and not 1%.

        An SD from 2,000 values is known to 1.6%; 5 of that, and 1% for the finite number of draws.
        """
        draws = np.random.default_rng(1).standard_normal((2_000, 2_000))
        found = np.quantile(draws, [0.025, 0.975], axis=1).std(axis=1)
        np.testing.assert_allclose(found, limit_error(2_000), rtol=0.09)
        assert limit_error(2_000) == pytest.approx(0.060, abs=0.0005)

    def test_publication_knows_a_limit_to_two_percent(self) -> None:
        """With every draw worth an independent one; NUTS draws of slopes are worth 0.7 of one."""
        known = PROFILES["publication"]
        whole = known.chains * known.draws
        assert limit_error(whole) == pytest.approx(0.019, abs=0.0005)
        assert limit_error(0.7 * whole) == pytest.approx(0.0226, abs=0.0005)
