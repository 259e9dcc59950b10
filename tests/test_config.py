"""Configs: what is legal comes back unchanged, and every mistake is one line that names the field and the cure."""

import math

import pytest
import tomli_w

import mdn_jax as mdn
from mdn_jax.config import differences, parse, validate, varying_fields

DATA = '[dataset]\nname = "sinusoid"\n'
TABLE = '[dataset]\npath = "a.csv"\n'
MODEL, TRAIN = DATA + "[model]\n", DATA + "[training]\n"


def config_of(text):
    return parse(text, "a.toml")[0]


def test_defaults():
    config = config_of(DATA)
    assert (config.seed, config.model, config.training) == (0, mdn.ModelConfig(), mdn.TrainingConfig())
    assert config.training.clip_norm == math.inf and config.training.patience is None
    assert config.dataset == mdn.DatasetConfig(name="sinusoid")


@pytest.mark.parametrize(
    "text",
    [
        DATA,
        TABLE + 'inputs = ["a", "b"]\ntargets = ["größe"]\nsplit = "ordered"\n',
        TABLE + 'targets = ["a"]\n',
        "seed = 3\n" + MODEL + "hidden_sizes = []\nnum_components = 1\nmin_std = 1e-9\n",
        DATA
        + '[training]\nbatch_size = "full"\npatience = 4\nclip_norm = 1.5\nlearning_rate = 0.1234567890123456789\n',
        TRAIN + "clip_norm = inf\nvalidation_fraction = 0\n",
    ],
)
def test_a_config_written_and_read_is_the_same(text):
    config = config_of(text)
    again, sweep = parse(tomli_w.dumps(config.to_dict()), "b.toml")
    assert again == config and sweep == {} and differences(config, again) == []
    assert again.to_dict() == config.to_dict()


def test_resolved_means_every_field():
    table = config_of(DATA).to_dict()
    assert set(table) == {"seed", "dataset", "model", "training"}
    assert set(table["model"]) == set(mdn.ModelConfig.model_fields)
    assert set(table["training"]) == set(mdn.TrainingConfig.model_fields) - {"patience"}  # TOML has no null


def test_whole_numbers_are_legal_reals():
    assert config_of(TRAIN + "learning_rate = 1\n").training.learning_rate == 1.0


def test_the_sweep_is_split_off_unread():
    text = DATA + '[sweep]\nsampler = "grid"\n"model.num_components" = [1, 2]\nseed.count = 8\n'
    config, sweep = parse(text, "a.toml")
    assert config == config_of(DATA)
    assert sweep == {"sampler": "grid", "model.num_components": [1, 2], "seed": {"count": 8}}


def test_tables_dots_and_inline_tables_mean_the_same():
    texts = [
        MODEL + "num_components = 3\n",
        'dataset.name = "sinusoid"\nmodel.num_components = 3\n',
        'dataset = {name = "sinusoid"}\nmodel = {num_components = 3}\n',
        '"dataset"."name" = "sinusoid"\n"model".num_components = 3\n',
    ]
    assert len({config_of(text) for text in texts}) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # keys
        ("sead = 1\n" + DATA, "unknown key 'sead': did you mean 'seed'?"),
        ("[dataste]\n" + DATA, "unknown key 'dataste': did you mean 'dataset'?"),
        (DATA + "num_pionts = 3\n", "unknown key 'dataset.num_pionts': did you mean 'num_points'?"),
        (MODEL + "num_component = 3\n", "unknown key 'model.num_component': did you mean 'num_components'?"),
        (TRAIN + "learning-rate = 3\n", "unknown key 'training.learning-rate': did you mean 'learning_r"),
        (TRAIN + "zzz = 3\n", "unknown key 'training.zzz': expected one of: objective, optimizer, learning_"),
        ('"model.num_components" = 3\n' + DATA, "unknown key 'model.num_components': "),
        ("", 'missing [dataset]: say which data, for example name = "inverse_sinusoid"'),
        # data
        ("[dataset]\n", 'dataset: give either name = "..." of a built-in problem or path = "..." of a table'),
        (
            DATA + 'path = "a.csv"\ntargets = ["b"]\n',
            "targets describe a table; a built-in problem has its own columns",
        ),
        (TABLE, 'dataset: a table needs targets = ["..."], the columns to predict'),
        (TABLE + 'targets = ["a", "a"]\n', "dataset: column 'a' is named twice in inputs, targets and weight"),
        (
            TABLE + 'inputs = ["b", "a"]\ntargets = ["a"]\n',
            "dataset: column 'a' is named twice in inputs, targets and weight",
        ),
        (DATA + 'targets = ["a"]\n', "dataset: targets describe a table; a built-in problem has its own columns"),
        (TABLE + 'targets = "a"\n', "dataset.targets: input should be a valid tuple; got 'a'"),
        (TABLE + "targets = [1]\n", "dataset.targets.0: input should be a valid string; got 1"),
        (DATA + "test_fraction = 1\n", "dataset.test_fraction: input should be less than 1; got 1"),
        (DATA + 'split = "time"\n', "dataset.split: input should be 'random', 'ordered' or 'group'; got 'time'"),
        (DATA + "num_points = 0\n", "dataset.num_points: input should be greater than or equal to 1; got 0"),
        # types
        (MODEL + 'num_components = "3"\n', "model.num_components: input should be a valid integer; got '3'"),
        (MODEL + "num_components = 3.0\n", "model.num_components: input should be a valid integer; got 3.0"),
        (MODEL + "num_components = true\n", "model.num_components: input should be a valid integer; got True"),
        (TRAIN + "learning_rate = true\n", "training.learning_rate: input should be a valid number; got True"),
        (TRAIN + 'learning_rate = "1e-3"\n', "training.learning_rate: input should be a valid number; got"),
        (MODEL + "hidden_sizes = 8\n", "model.hidden_sizes: input should be a valid tuple; got 8"),
        (MODEL + "hidden_sizes = [8, 0]\n", "model.hidden_sizes.1: input should be greater than or equal to 1; g"),
        (MODEL + "hidden_sizes = [true]\n", "model.hidden_sizes.0: input should be a valid integer; got True"),
        ("model = 3\n" + DATA, "model: "),
        ("seed = true\n" + DATA, "seed: input should be a valid integer; got True"),
        # bounds
        ("seed = -1\n" + DATA, "seed: input should be greater than or equal to 0; got -1"),
        ("seed = 4294967296\n" + DATA, "seed: input should be less than 4294967296; got 4294967296"),
        (MODEL + "num_components = 0\n", "model.num_components: input should be greater than or equal to 1; g"),
        (MODEL + "min_std = 0.0\n", "model.min_std: input should be greater than 0; got 0.0"),
        (MODEL + "min_std = nan\n", "model.min_std: input should be "),
        (TRAIN + "learning_rate = inf\n", "training.learning_rate: input should be a finite number; got inf"),
        (TRAIN + "clip_norm = nan\n", "training.clip_norm: input should be greater than 0; got nan"),
        (TRAIN + "clip_norm = 0\n", "training.clip_norm: input should be greater than 0; got 0"),
        (TRAIN + "input_noise = -0.1\n", "training.input_noise: input should be greater than or equal to 0;"),
        (TRAIN + "validation_fraction = 1.0\n", "training.validation_fraction: input should be less than 1;"),
        (TRAIN + "patience = 0\n", "training.patience: input should be greater than or equal to 1; got 0"),
        (TRAIN + "num_samples = 1\n", "training.num_samples: input should be greater than or equal to 2;"),
        # choices
        (TRAIN + 'optimizer = "adan"\n', "training.optimizer: input should be 'adam', 'adamw', 'sgd' or 'rmsp"),
        (
            MODEL + 'covariance = "round"\n',
            "model.covariance: input should be 'isotropic', 'diagonal', 'tied', 'full' or",
        ),
        (MODEL + 'activation = "tahn"\n', "model.activation: input should be 'tanh', 'relu',"),
        (TRAIN + 'batch_size = "all"\n', "training.batch_size: input should be a valid integer or input should"),
        (TRAIN + "batch_size = 0\n", "training.batch_size: input should be greater than or equal to 1 or inpu"),
        # both tables at once
        (TRAIN + 'objective = "squared_error"\n', "squared_error trains one mean: set model.num_components = 1"),
        # TOML itself
        (
            "seed = 1\n[dataset\n",
            "not valid TOML: Expected ']' at the end of a table declaration (at line 2, column 9)",
        ),
        ("seed = 1\nseed = 2\n", "not valid TOML: Cannot overwrite a value (at line 2, column 9)"),
        ("sweep = 3\n" + DATA, "[sweep] must be a table"),
    ],
)
def test_a_mistake_is_one_line(text, message):
    with pytest.raises(mdn.InputError) as caught:
        parse(text, "a.toml")
    report = str(caught.value)
    assert report.startswith("a.toml: ") and message in report and "\n" not in report
    assert "constrained" not in report and "literal[" not in report  # words of the validator's own


def test_several_mistakes_are_counted():
    with pytest.raises(mdn.InputError, match=r"\(and 1 more\)$"):
        parse(MODEL + "num_components = 0\nmin_std = -1.0\n", "a.toml")


def test_python_sees_the_same_rules():
    with pytest.raises(ValueError, match="frozen"):
        mdn.TrainingConfig().num_steps = 3  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        mdn.ModelConfig(num_components=0)
    with pytest.raises(mdn.InputError, match="command line: unknown key"):
        validate({"dataset": {"name": "sinusoid"}, "modell": {}}, "command line")
    assert mdn.ModelConfig(hidden_sizes=[8, 8]).hidden_sizes == (8, 8)  # pyright: ignore[reportArgumentType]


def test_differences_name_the_fields():
    old = config_of(TRAIN + "patience = 3\n")
    new = config_of("seed = 2\n" + TABLE + 'targets = ["c"]\n[model]\nhidden_sizes = [8]\n')
    assert differences(old, old) == []
    assert set(differences(old, new)) == {
        "seed: 0 -> 2",
        "dataset.name: sinusoid -> None",
        "dataset.path: None -> a.csv",
        "dataset.targets: () -> ('c',)",
        "model.hidden_sizes: (32, 32) -> (8,)",
        "training.patience: 3 -> None",
    }


def test_what_may_vary_inside_one_program():
    names = ("learning_rate", "weight_decay", "clip_norm", "input_noise", "target_noise", "averaging")
    assert varying_fields(mdn.TrainingConfig) == names
    assert varying_fields(mdn.ModelConfig) == ()


def test_every_field_says_what_it_is():
    for model in (mdn.Config, mdn.DatasetConfig, mdn.ModelConfig, mdn.TrainingConfig):
        for name, field in model.model_fields.items():
            if name not in ("dataset", "model", "training"):
                assert field.description and field.description.endswith("."), name


# Seams

OWN = '[dataset]\nname = "own.py:rings"\noptions = { noise = 0.3, sizes = [1, 2], deep = { a = true } }\n'


def test_import_paths_and_options_come_back_unchanged():
    text = OWN + '[model]\nnetwork = "a/own.py:build"\nnetwork_options = { dropout = 0.1 }\nhead = "own:Spec"\n'
    config = config_of(text + '[training]\nobjective = "own.py:loss"\n')
    again, _ = parse(tomli_w.dumps(config.to_dict()), "b.toml")
    assert again == config and hash(again) == hash(config) and again.to_dict() == config.to_dict()
    assert config.dataset.options == {"noise": 0.3, "sizes": (1, 2), "deep": {"a": True}}
    assert config.to_dict()["dataset"]["options"] == {"noise": 0.3, "sizes": [1, 2], "deep": {"a": True}}
    assert differences(config, again) == []


def test_fields_of_ours_alone_are_not_said_of_someones_own():
    own = config_of(OWN + '[model]\nnetwork = "own.py:build"\nactivation = "tanh"\n')
    assert {"num_points", "num_test_points", "hidden_sizes"}.isdisjoint(own.dataset.to_dict() | own.model.to_dict())
    assert own.model.to_dict()["activation"] == "tanh"  # who looks for the network tells that it has no use
    again = parse(tomli_w.dumps(own.to_dict()), "b.toml")[0]
    assert again.model.model_fields_set & {"hidden_sizes", "activation"} == {"activation"}
    assert "num_points" not in again.dataset.model_fields_set


def test_differences_of_options_and_sources():
    old = config_of(OWN + '[checksums]\n"dataset.name" = "1"\n')
    new = config_of(OWN.replace("0.3", "0.4") + '[checksums]\n"dataset.name" = "2"\n')
    assert differences(old, new) == [
        "dataset.options.noise: 0.3 -> 0.4",
        "own.py has changed since (checksums.dataset.name: 1 -> 2)",
    ]
    moved = config_of(OWN.replace("own.py", "its.py") + '[checksums]\n"dataset.name" = "2"\n')
    assert differences(old, moved) == ["dataset.name: own.py:rings -> its.py:rings"]
    assert differences(config_of(OWN), old) == []


def test_an_object_is_taken_from_python_and_written_nowhere():
    model = mdn.ModelConfig(network=len, head=dict)
    assert model == mdn.ModelConfig(network=len, head=dict) and hash(model) == hash(model.model_copy())
    config = mdn.Config(dataset=mdn.DatasetConfig(name="sinusoid"), model=model)
    with pytest.raises(mdn.InputError, match=r"^model.network and model.head is an object, .*give its import path"):
        config.to_dict()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MODEL + 'network = "mpl"\n', "model.network: no network 'mpl': did you mean 'mlp'?"),
        (MODEL + 'head = "mixtures"\n', "model.head: no head 'mixtures': did you mean 'mixture'?"),
        (TRAIN + 'objective = "nl"\n', "training.objective: no objective 'nl': did you mean 'nll'?"),
        (TRAIN + 'objective = "own.py"\n', "training.objective: 'own.py' names no function: add it, as in own.py:"),
        (TRAIN + 'objective = "own.py:"\n', "training.objective: 'own.py:' is no import path: give file.py:function"),
        (TRAIN + "objective = 3\n", "training.objective: input should be a valid string or input should be callable"),
        (MODEL + "network_options = 3\n", "model.network_options: input should be a table of options; got 3"),
        (MODEL + "network_options = { a = 07:32:00 }\n", "network_options: option 'a' must be a number, a string,"),
        (MODEL + "network_option = { a = 1 }\n", "unknown key 'model.network_option': did you mean 'network_options'?"),
        ('[dataset]\nname = "own.py:"\n', "dataset: 'own.py:' is no import path"),
        (OWN + 'targets = ["a"]\n', "dataset: targets describe a table; your function has its own columns"),
        (TABLE + 'targets = ["a"]\noptions = { b = 1 }\n', 'options are of what name = "..." names; a table has none'),
        (TABLE + 'targets = ["a"]\ncategorical = ["b"]\n', "'b', which is neither among inputs nor targets: add it"),
    ],
)
def test_a_mistake_of_a_seam_is_one_line(text, message):
    with pytest.raises(mdn.InputError) as caught:
        parse(text, "a.toml")
    assert message in str(caught.value) and "\n" not in str(caught.value)
