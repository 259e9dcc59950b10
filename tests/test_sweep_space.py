"""What a sweep searches: axes from a table, members from seed and number alone, programs, and every mistake."""

import itertools
import math

import numpy as np
import pytest
from small_runs import LEAST_SQUARES, TEXT, config_of

from mdn_jax import InputError
from mdn_jax.config import differences, parse, varying_fields
from mdn_jax.sweeps.planning import Shard
from mdn_jax.sweeps.search import Members
from mdn_jax.sweeps.space import member_config, program_of, read_space, settings_of, with_checksums

GRID = '"model.num_components" = [1, 2, 5]\n"training.learning_rate" = [1e-3, 1e-2]\n'
RATE = '"training.learning_rate" = { low = 1e-4, high = 1e-2, log = true }\n'
RANDOM = 'sampler = "random"\nnum_members = 200\n'


def space_of(sweep, text=TEXT, folder=None, source="small.toml"):
    config, table = parse(text + "\n[sweep]\n" + sweep, source)
    return read_space(config, table, source, folder)


def settings(sweep, text=TEXT):
    space = space_of(sweep, text)
    return [settings_of(space, member) for member in range(space.num_members)]


def draws(sweep, name, text=TEXT):
    return np.array([one[name] for one in settings(sweep, text)])


# Grid


def test_a_grid_counts_through_its_axes_the_last_one_fastest():
    expected = itertools.product([1, 2, 5], [1e-3, 1e-2])
    assert settings(GRID) == [{"model.num_components": k, "training.learning_rate": rate} for k, rate in expected]
    assert space_of(GRID).num_members == 6


def test_members_of_a_large_grid_are_told_at_once():
    counts = "".join(f"{name} = {{ count = 400 }}\n" for name in ("seed", '"dataset.seed"'))
    space = space_of(counts)
    assert space.num_members == 160_000
    assert settings_of(space, 159_999) == {"seed": 1 + 399, "dataset.seed": 399}
    assert settings_of(space, 400) == {"seed": 2, "dataset.seed": 0}


def test_a_members_config_is_the_base_with_its_settings():
    space = space_of(GRID)
    changed = TEXT.replace("num_components = 2", "num_components = 5") + "learning_rate = 0.001\n"
    assert member_config(space, settings_of(space, 4)) == config_of(changed)
    assert Members(space).configs[4] == config_of(changed)


def test_seeds_are_counted_from_the_configs_own():
    assert [one["seed"] for one in settings("seed = { count = 8 }\n")] == list(range(1, 9))
    text = TEXT.replace("num_points", "seed = 7\nnum_points")
    assert [one["dataset.seed"] for one in settings('"dataset.seed" = { count = 3 }\n', text)] == [7, 8, 9]
    assert [one["seed"] for one in settings("seed = [5, 3]\n")] == [5, 3]


def test_the_seed_never_moves_data():
    configs = Members(space_of("seed = { count = 3 }\n")).configs.values()
    assert len({config.dataset for config in configs}) == 1 and len({config.seed for config in configs}) == 3


@pytest.mark.parametrize(
    ("values", "expected"),
    [("[5, 10]", [(5,), (10,)]), ("[[5], [10, 10]]", [(5,), (10, 10)]), ("[5, [10, 10], []]", [(5,), (10, 10), ()])],
)
def test_hidden_sizes_as_numbers_or_lists(values, expected):
    space = space_of(f'"model.hidden_sizes" = {values}\n')
    assert [config.model.hidden_sizes for config in Members(space).configs.values()] == expected


@pytest.mark.parametrize(
    ("quoted", "plain"),
    [
        ('"model.num_components" = [1, 2]', "model.num_components = [1, 2]"),
        ('"seed" = { count = 2 }', "seed.count = 2"),
        ('"training.batch_size" = [16, "full"]', 'training = { batch_size = [16, "full"] }'),
    ],
)
def test_quoted_and_plain_dotted_keys_mean_the_same(quoted, plain):
    assert space_of(quoted) == space_of(plain)


def test_a_range_by_quoted_and_plain_keys():
    plain = "training.learning_rate.low = 1e-4\ntraining.learning_rate.high = 1e-2\ntraining.learning_rate.log = true\n"
    assert settings(RANDOM + plain) == settings(RANDOM + RATE)


def test_a_space_comes_back_from_its_own_table():
    for sweep in (GRID, RANDOM + RATE + 'seed = { count = 2 }\n"model.hidden_sizes" = [5, [6, 7]]\nhalving = true\n'):
        space = space_of(sweep)
        table = space.to_dict()
        again = read_space(config_of(), table.pop("sweep"), space.source, None)
        assert again.to_dict() == space.to_dict() and again.num_members == space.num_members
        assert Members(again).configs == Members(space).configs


# Random


def test_draws_are_a_function_of_seed_and_member():
    first, other = settings(RANDOM + RATE), settings(RANDOM.replace("200", "300") + RATE)
    assert first == other[:200] and len({one["training.learning_rate"] for one in other}) == 300
    moved = draws(RANDOM + RATE, "training.learning_rate", TEXT.replace("seed = 1", "seed = 2"))
    assert not np.isin(moved, [one["training.learning_rate"] for one in first]).any()


def test_another_axis_leaves_the_draws_of_the_first():
    noise = '"training.input_noise" = { low = 0.0, high = 0.1 }\n"model.num_components" = [1, 2, 3]\n'
    name = "training.learning_rate"
    alone = draws(RANDOM + RATE, name)
    np.testing.assert_array_equal(draws(RANDOM + RATE + noise, name), alone)
    np.testing.assert_array_equal(draws(RANDOM + noise + RATE, name), alone)


def test_axes_of_one_range_are_drawn_apart():
    both = RANDOM + "".join(f'"training.{name}_noise" = {{ low = 0.0, high = 1.0 }}\n' for name in ("input", "target"))
    first, second = (draws(both, f"training.{name}_noise") for name in ("input", "target"))
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / math.sqrt(200)


def test_a_range_is_even():
    values = draws(RANDOM + '"training.input_noise" = { low = 0.25, high = 0.75 }\n', "training.input_noise")
    assert values.min() >= 0.25 and values.max() <= 0.75
    counts, _ = np.histogram(values, 4, (0.25, 0.75))
    assert np.all(np.abs(counts - 50) < 4 * math.sqrt(200 * 0.25 * 0.75))


def test_a_logarithmic_range_is_even_in_the_logarithm():
    values = draws(RANDOM + RATE, "training.learning_rate")
    assert values.min() >= 1e-4 and values.max() <= 1e-2
    counts, _ = np.histogram(np.log10(values), 4, (-4, -2))
    assert np.all(np.abs(counts - 50) < 4 * math.sqrt(200 * 0.25 * 0.75))


@pytest.mark.parametrize("log", ["false", "true"])
def test_whole_numbers_with_both_ends(log):
    sweep = RANDOM + f'"model.num_components" = {{ low = 1, high = 4, log = {log} }}\n'
    values = draws(sweep, "model.num_components")
    assert all(type(value) is int for value in (one["model.num_components"] for one in settings(sweep)))
    counts = np.bincount(values, minlength=5)
    assert counts[0] == 0 and len(counts) == 5 and np.all(counts[1:] > 0)
    if log == "true":
        assert counts[1] > counts[4]
    else:
        assert np.all(np.abs(counts[1:] - 50) < 4 * math.sqrt(200 * 0.25 * 0.75))


def test_whole_ends_of_a_field_of_any_number():
    values = draws(RANDOM + '"training.clip_norm" = { low = 1, high = 10 }\n', "training.clip_norm")
    assert values.dtype == np.float64 and len(np.unique(values)) == 200


def test_random_members_take_values_of_lists_too():
    values = draws(RANDOM + '"model.num_components" = [1, 5, 7]\n', "model.num_components")
    assert set(values.tolist()) == {1, 5, 7}


# Programs


def program(extra="", **changes):
    table = config_of(TEXT + extra).to_dict()
    for name, value in changes.items():
        section, _, field = name.rpartition("__")
        (table[section] if section else table)[field] = value
    return program_of(parse_config(table))


def parse_config(table):
    return type(config_of()).model_validate(table)


VARYING = {"learning_rate": 0.5, "weight_decay": 0.2, "clip_norm": 2.0, "input_noise": 0.3, "target_noise": 0.3}
VARYING |= {"averaging": 0.9}


@pytest.mark.parametrize(
    ("base", "change"),
    [
        ("", {"seed": 9}),
        ("", {"training__learning_rate": 0.5}),
        ("weight_decay = 0.1\n", {"training__weight_decay": 0.2}),
        ("clip_norm = 1.0\n", {"training__clip_norm": 2.0}),
        ("input_noise = 0.1\n", {"training__input_noise": 0.3}),
        ("target_noise = 0.1\n", {"training__target_noise": 0.3}),
        ("target_noise = 0.1\n", {"training__input_noise": 0.3}),  # noise is drawn for both, or for none
    ],
)
def test_members_that_share_a_program(base, change):
    assert program(base) == program(base, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"model__num_components": 3},
        {"model__hidden_sizes": [5]},
        {"model__hidden_sizes": [4, 4]},
        {"model__covariance": "full"},
        {"model__activation": "tanh"},
        {"model__min_std": 0.1},
        {"training__batch_size": 17},
        {"training__batch_size": "full"},
        {"training__optimizer": "sgd"},
        {"training__num_steps": 41},
        {"training__evaluate_every": 5},
        {"training__patience": 3},
        {"training__validation_fraction": 0.2},
        {"training__ensemble_size": 2},
        {"dataset__seed": 1},
        {"dataset__num_points": 65},
    ],
)
def test_members_of_another_program(change):
    assert program() != program(**change)


def test_what_is_off_is_switched_on_by_a_program_of_its_own():
    assert set(varying_fields(type(config_of().training))) == set(VARYING)
    alone = {name: program(**{f"training__{name}": value}) for name, value in VARYING.items()}
    assert alone["learning_rate"] == program() and alone["input_noise"] == alone["target_noise"]
    switches = ("weight_decay", "clip_norm", "input_noise", "averaging")
    assert len({program(), *(alone[name] for name in switches)}) == 5


# Mistakes

NOISE = '"training.input_noise" = '


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ('"model.num_component" = [1]', "[sweep] has no field 'model.num_component' to vary: did you mean 'model.num_"),
        ("model.hidden_size = [1]", "no field 'model.hidden_size' to vary: did you mean 'model.hidden_sizes'?"),
        ("learning_rate = [0.1]", "no field 'learning_rate' to vary: did you mean 'training.learning_rate'?"),
        ("num_member = 3\n" + GRID, "no field 'num_member' to vary: did you mean 'num_members'?"),
        ('"sead" = [1]', "no field 'sead' to vary: did you mean 'seed'?"),
        ("training = 3", "no field 'training' to vary"),
        ("", "[sweep] has no axis: add one, for example"),
        ('sampler = "grid"', "[sweep] has no axis: add one, for example"),
        ("seed = []", "sweep axis 'seed' is empty: give at least one value"),
        ('"model.num_components" = [1]\nmodel.num_components = [2]', "names 'model.num_components' twice"),
        ("seed = 3", "sweep axis 'seed': give a list of values or a table; got 3"),
        ("seed = [1, 2, 1]", "sweep axis 'seed' has a value twice: [1, 2, 1]"),
        ('"training.learning_rate" = [1, 1.0]', "sweep axis 'training.learning_rate' has a value twice"),
        (RATE, "is a range, and a grid takes lists: list values, or set sampler = \"random\""),
        ('"model.num_components" = [1, 0]', "model.num_components: input should be greater than or equal to 1; got 0"),
        ('"model.num_components" = [1, 2.5]', "model.num_components: input should be a valid integer"),
        ('"model.hidden_sizes" = [5, -1]', "model.hidden_sizes.0: input should be greater than or equal to 1; got -1"),
        ('"training.learning_rate" = [0.1, nan]', "training.learning_rate: input should be"),
        ('"training.optimizer" = ["adam", "adan"]', "training.optimizer: input should be 'adam', 'adamw'"),
        ("seed = [1, -1]", "seed: input should be greater than or equal to 0; got -1"),
        ('"training.objective" = ["nll", "squared_error"]', "member with training.objective = squared_error: "),
        ('"model.num_components" = { count = 3 }', "count is for seeds: give a list of values"),
        ("seed = { count = 0 }", "count must be a whole number, 1 or more; got 0"),
        ("seed = { count = 2.5 }", "count must be a whole number, 1 or more; got 2.5"),
        ("seed = { count = true }", "count must be a whole number, 1 or more; got True"),
        ("seed = { cuont = 3 }", "unknown key 'cuont': did you mean 'count'?"),
        (RANDOM + NOISE + "{ low = 0.2, high = 0.1 }", "low must be under high; got 0.2 and 0.1"),
        (RANDOM + NOISE + "{ low = 0.2, high = 0.2 }", "low must be under high; got 0.2 and 0.2"),
        (RANDOM + NOISE + "{ low = 0.0, high = 0.2, log = true }", "begins above 0; got low = 0.0"),
        (RANDOM + NOISE + "{ low = 0.1, high = 0.2, log = 1 }", "log is true or false; got 1"),
        (RANDOM + NOISE + "{ low = 0.1 }", "a range needs low and high"),
        (RANDOM + NOISE + "{ low = 0.1, hihg = 0.2 }", "unknown key 'hihg': did you mean 'high'?"),
        (RANDOM + NOISE + "{ low = -0.1, high = 0.2 }", "low: training.input_noise: input should be greater than or"),
        (RANDOM + '"training.clip_norm" = { low = 1.0, high = inf }', "the ends of a range are finite numbers"),
        (RANDOM + '"training.optimizer" = { low = "adam", high = "sgd" }', "the ends of a range are finite numbers"),
        ('sampler = "random"\n' + RATE, "sampler random needs sweep.num_members"),
        ('sampler = "tpe"\n' + RATE, "sampler tpe needs sweep.num_members"),
        ("num_members = 3\n" + GRID, "a grid has as many members as combinations: drop num_members"),
        ('sampler = "radnom"\n' + GRID, "sweep.sampler: input should be 'grid', 'random' or 'tpe'; got 'radnom'"),
        ('sampler = "random"\nnum_members = 0\n' + RATE, "sweep.num_members: input should be greater than or equal to"),
        ("ask_batch = 0\n" + GRID, "sweep.ask_batch: input should be greater than or equal to 1"),
        ('halving = "yes"\n' + GRID, "sweep.halving: input should be a valid boolean"),
        ('"training.validation_fraction" = [0.1, 0.0]', "set training.validation_fraction above 0"),
        ('halving = true\n"training.objective" = ["nll", "crps"]', "halving compares losses"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_names_its_field(sweep, message):
    with pytest.raises(InputError) as caught:
        Members(space_of(sweep))
    line = str(caught.value)
    assert message in line and line.startswith("small.toml: ") and "\n" not in line


def test_a_best_needs_validation_rows():
    with pytest.raises(InputError, match=r"small.toml: .*set training.validation_fraction above 0"):
        space_of(GRID, TEXT + "validation_fraction = 0.0\n")
    space_of('"training.validation_fraction" = [0.1, 0.2]\n', TEXT + "validation_fraction = 0.0\n")


def test_tables_as_an_axis_are_found_beside_the_config(tmp_path):
    space = space_of('"dataset.path" = ["a.csv", "../b.csv", "/c.csv"]\n', LEAST_SQUARES, tmp_path)
    expected = [str(tmp_path / "a.csv"), str(tmp_path.parent / "b.csv"), "/c.csv"]
    assert [config.dataset.path for config in Members(space).configs.values()] == expected
    assert len({program_of(config) for config in Members(space).configs.values()}) == 3


# Shards


def test_a_shard_from_its_text():
    assert Shard.parse("2/8") == Shard(2, 8) and str(Shard(2, 8)) == "2-of-8"


@pytest.mark.parametrize("text", ["", "2", "0/2", "3/2", "a/2", "1/b", "-1/2", "1/2/3", "1.0/2"])
def test_a_shard_that_cannot_be(text):
    with pytest.raises(InputError, match=r"--shard takes I/N with I from 1 to N, for example 1/4"):
        Shard.parse(text)


# Options and import paths

OWN = TEXT.replace('"sinusoid"\nnum_points = 64\nnum_test_points = 100', '"own.py:rings"\noptions = { noise = 0.1 }')


def test_an_option_is_an_axis_like_any_field():
    quoted = '"model.network_options.dropout" = [0.0, 0.1]\n"dataset.options.noise" = [1, [2, 3]]\n'
    plain = "model.network_options.dropout = [0.0, 0.1]\ndataset.options.noise = [1, [2, 3]]\n"
    space = space_of(quoted, OWN)
    assert space_of(plain, OWN) == space
    configs = list(Members(space).configs.values())
    assert [config.model.network_options for config in configs[::2]] == [{"dropout": 0.0}, {"dropout": 0.1}]
    assert [config.dataset.options for config in configs[:2]] == [{"noise": 1}, {"noise": (2, 3)}]
    assert len({program_of(config) for config in configs}) == 4
    table = space.to_dict()
    again = read_space(config_of(OWN), table.pop("sweep"), space.source, None)
    assert again.to_dict() == space.to_dict() and Members(again).configs == Members(space).configs


def test_a_range_of_an_option_is_whole_where_its_ends_are():
    axes = '"dataset.options.a" = { low = 1, high = 4 }\n"dataset.options.b" = { low = 0.5, high = 4 }\n'
    drawn = settings(RANDOM + axes, OWN)
    assert {one["dataset.options.a"] for one in drawn} == {1, 2, 3, 4}
    assert len({one["dataset.options.b"] for one in drawn}) == 200


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ('"dataset.option.noise" = [1]', "[sweep] has no field 'dataset.option.noise' to vary"),
        ('"dataset.options" = [1]', "[sweep] has no field 'dataset.options' to vary"),
        ('"dataset.options.noise" = [{ a = 1 }]', "values are numbers, strings, true or false, or lists; got {'a': 1}"),
        ('"dataset.options.noise" = []', "sweep axis 'dataset.options.noise' is empty"),
        ('"dataset.options.noise" = [2024-01-01]', "option 'noise' must be a number, a string, true or false, a list"),
        (RANDOM + '"dataset.options.noise" = { low = "a", high = "b" }', "the ends of a range are finite numbers"),
        ('"model.network" = ["mlp", "mpl"]', "no network 'mpl': did you mean 'mlp'?"),
    ],
)
def test_a_mistake_of_an_option_is_one_line(sweep, message):
    with pytest.raises(InputError) as caught:
        Members(space_of(sweep, OWN))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_sources_as_an_axis_are_noted_together(tmp_path):
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(f"# {name}\n")
    text = TEXT.replace("hidden_sizes = [4]", f'network = "{tmp_path}/a.py:build"')  # not the one that changes
    axis = '"model.network" = ["a.py:build", "mlp", "b.py:build"]\n'
    space = with_checksums(space_of(axis, text, tmp_path))
    assert space.axes[0].values == (f"{tmp_path}/a.py:build", "mlp", f"{tmp_path}/b.py:build")
    both = space.base.checksums or {}
    assert list(both) == ["model.network"] and len(both["model.network"]) == 16 + 1 + 16
    assert [config.checksums for config in Members(space).configs.values()] == [None] * 3  # each run notes its own
    assert with_checksums(space) == space
    (tmp_path / "b.py").write_text("# changed\n")
    with pytest.raises(
        InputError, match=r"a source of this axis has changed since this config noted its checksum \(mod"
    ):
        with_checksums(space)
    (told,) = differences(space, with_checksums(space_of(axis, text, tmp_path)))
    assert told.startswith(f"a source of this axis has changed since (checksums.model.network: {both['model.network']}")
