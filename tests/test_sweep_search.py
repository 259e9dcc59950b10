"""Which members a tpe search asks for, and what becomes of a sweep's rows in Optuna: no network is trained here."""

import math

import numpy as np
import optuna
import pytest
from small_sweeps import BASE, GRID, TPE, space_of

from mdn_jax import InputError
from mdn_jax.sweeps.search import Members, export_study, importance, is_finished
from mdn_jax.sweeps.space import settings_of

AXES = '"model.hidden_sizes" = [4, [8, 8]]\n"training.batch_size" = [16, "full"]\n'
NAME = "training.learning_rate"


def row(member, settings, val_nll, status="ok", steps=40):
    scores = {"val_nll": val_nll, "test_nll": val_nll + 0.1, "status": status, "steps": steps}
    # as JSON gives it back: tuples have become lists
    told = {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}
    return {"member": member, "settings": told} | scores


def answer(members, rows, loss):
    """Every open member with a row: one round of a sweep."""
    return rows | {member: row(member, members[member], loss(members[member])) for member in members.open(rows)}


def near(rate):
    """A loss that is least at a learning rate."""
    return lambda settings: abs(math.log10(settings[NAME] / rate))


# tpe


def test_members_are_asked_for_in_rounds():
    members = Members(space_of(TPE))
    assert members.configs == {} and members.open({}) == [0, 1, 2, 3]
    rows = answer(members, {}, near(1e-2))
    assert members.open(rows) == [4, 5, 6, 7] and sorted(members.configs) == list(range(8))
    half = {member: rows[member] for member in (0, 2)}
    assert Members(space_of(TPE)).open(half) == [1, 3]
    rows = answer(members, rows, near(1e-2))
    assert members.open(rows) == []


def test_the_last_round_is_what_is_left():
    members = Members(space_of(TPE.replace("= 8", "= 6")))
    assert members.open(answer(members, {}, near(1e-2))) == [4, 5]


def test_a_rounds_questions_depend_on_the_rounds_before():
    rounds = {}
    for rate in (1e-4, 1e-1):
        members = Members(space_of(TPE))
        rows = answer(members, {}, near(rate))
        members.open(rows)
        rounds[rate] = [members[member] for member in range(8)]
    assert rounds[1e-4][:4] == rounds[1e-1][:4] and rounds[1e-4][4:] != rounds[1e-1][4:]


def test_the_same_rows_make_the_same_questions_in_another_process():
    members = Members(space_of(TPE + AXES))
    rows = answer(members, answer(members, {}, near(1e-3)), near(1e-3))
    after_one_round = {member: rows[member] for member in range(4)}
    for known in (after_one_round, after_one_round | {6: rows[6]}, rows):
        again = Members(space_of(TPE + AXES))
        again.open(known)
        assert [again[member] for member in range(8)] == [members[member] for member in range(8)]
        assert again.configs == members.configs


def test_the_seed_moves_the_questions():
    first, other = (Members(space_of(TPE, BASE.replace("seed = 1", f"seed = {seed}"))) for seed in (1, 2))
    assert first.open({}) == other.open({}) == [0, 1, 2, 3]
    assert [first[member][NAME] for member in range(4)] != [other[member][NAME] for member in range(4)]


def test_diverged_and_halved_members_are_heard():
    members = Members(space_of(TPE))
    rows = answer(members, {}, near(1e-2))
    rows[1] |= {"status": "diverged", "val_nll": math.nan}
    rows[2] |= {"status": "halved", "steps": 5}
    assert members.open(rows) == [4, 5, 6, 7]


def test_a_search_finds_the_better_rates():
    text = 'sampler = "tpe"\nnum_members = 64\nask_batch = 16\n'
    members = Members(space_of(text + f'"{NAME}" = {{ low = 1e-6, high = 1.0, log = true }}\n'))
    rows = {}
    while members.open(rows):
        rows = answer(members, rows, near(1e-2))
    losses = np.array([rows[member]["val_nll"] for member in range(64)])
    assert np.median(losses[48:]) < 0.5 * np.median(losses[:16])


# Optuna


@pytest.fixture
def rows():
    """A grid's rows, one of each status."""
    space = space_of(GRID)
    statuses = {1: ("diverged", math.nan, 3), 2: ("halved", 3.0, 5), 3: ("stopped_early", 1.5, 20)}
    told = {}
    for member in range(space.num_members):
        status, loss, steps = statuses.get(member, ("ok", 1.0 + member, 40))
        told[member] = row(member, settings_of(space, member), loss, status, steps)
    return told


def assert_same_trials(study, space, rows):
    states = optuna.trial.TrialState
    expected = {"ok": states.COMPLETE, "stopped_early": states.COMPLETE, "halved": states.PRUNED}
    assert [trial.user_attrs["member"] for trial in study.trials] == sorted(rows)
    for trial, one in zip(study.trials, rows.values(), strict=True):
        assert trial.state == expected.get(one["status"], states.FAIL)
        assert trial.params == one["settings"]
        assert trial.value == (one["val_nll"] if is_finished(one) else None)
        assert trial.user_attrs["status"] == one["status"]
        if one["status"] == "halved":
            assert trial.intermediate_values == {one["steps"]: one["val_nll"]}
    assert study.best_trial.user_attrs["member"] == 0


def test_a_study_as_a_journal(tmp_path, rows):
    path = tmp_path / "somewhere" / "study.journal"
    for _ in range(2):  # the second replaces the first
        export_study(space_of(GRID), rows, str(path), "small")
        assert [child.name for child in path.parent.iterdir()] == ["study.journal"]
        backend = optuna.storages.journal.JournalFileBackend(str(path))
        study = optuna.load_study(study_name="small", storage=optuna.storages.JournalStorage(backend))
        assert_same_trials(study, space_of(GRID), rows)


def test_a_study_in_a_database(tmp_path, rows):
    url = f"sqlite:///{tmp_path}/study.db"
    export_study(space_of(GRID), rows, url, "small")
    storage = optuna.storages.RDBStorage(url)
    assert_same_trials(optuna.load_study(study_name="small", storage=storage), space_of(GRID), rows)
    storage.engine.dispose()
    with pytest.raises(InputError, match=r"has a study named 'small' already: delete it, or export elsewhere"):
        export_study(space_of(GRID), rows, url, "small")


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all/study.db", "nosuchdatabase://host/name"])
def test_a_database_that_cannot_be_reached(rows, url):
    with pytest.raises(InputError) as caught:
        export_study(space_of(GRID), rows, url, "small")
    assert str(caught.value).startswith(f"cannot export to {url}: ") and "\n" not in str(caught.value)


def test_lists_among_the_settings(tmp_path):
    space = space_of(AXES)
    rows = {member: row(member, settings_of(space, member), float(member)) for member in range(4)}
    export_study(space, rows, str(tmp_path / "study.journal"), "small")
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "study.journal"))
    study = optuna.load_study(study_name="small", storage=optuna.storages.JournalStorage(backend))
    assert {trial.params["model.hidden_sizes"] for trial in study.trials} == {"[4]", "[8, 8]"}
    assert {trial.params["training.batch_size"] for trial in study.trials} == {16, "full"}


def test_what_matters_is_told():
    space = space_of('"training.learning_rate" = [1e-3, 1e-2, 1e-1]\n"model.num_components" = [1, 2]\nseed.count = 8\n')
    rows = {}
    for member in range(space.num_members):
        settings = settings_of(space, member)
        rows[member] = row(member, settings, near(1e-2)(settings) + 1e-3 * (member % 7))
    shares = importance(space, rows)
    assert sorted(shares) == ["model.num_components", "training.learning_rate"]  # seeds are no choice
    assert shares["training.learning_rate"] > 0.8 and sum(shares.values()) == pytest.approx(1.0)


def test_nothing_is_said_of_too_few_members(rows):
    assert importance(space_of(GRID), rows) == {}  # one axis beside the seeds
    two = space_of('"training.learning_rate" = [1e-3, 1e-2]\n"model.num_components" = [1, 2]\n')
    assert importance(two, {m: row(m, settings_of(two, m), float(m)) for m in range(4)}) == {}
