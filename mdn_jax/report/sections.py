"""The sections of a run's page, in the reader's order."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mdn_jax.config import Config
from mdn_jax.data import Dataset
from mdn_jax.heads import HEADS
from mdn_jax.judging import coverage_interval
from mdn_jax.judging.coverage import FEWEST, MOST_KINDS
from mdn_jax.report.columns import data_section, inputs_of
from mdn_jax.report.page import details, figure, heading, items, page, paragraph, preformatted, section, table, tiles
from mdn_jax.report.text import few, listed, number, percent, sentence

__all__ = ["made_section", "nats", "report_html"]

CAPTIONS = {
    "health": "Which components answer, how sharp they are, and what intervals hold. Bars are Wilson intervals of two "
    "standard errors.",
    "calibration": "Flat on the left and diagonal on the right is calibrated; grey is 95 % of what chance does.",
    "predictions": "Each test row: what was observed against the predicted mean.",
    "test_rows": "The whole predicted density of some test rows, with what was observed.",
    "data_and_samples": "The data, and as many draws from the model: they should look alike.",
    "density": "The predicted density, with the regions that hold 50 and 90 % of it.",
    "parameters": "The mixture's parameters along the input: weights, centres and standard deviations.",
    "contours": "Joint densities of the two targets at some test rows.",
    "reliability": "How often the most probable kind is right, against its probability, in up to ten groups of rows.",
    "confusion": "How many test rows of each kind are taken for which.",
    "loss": "The loss during training.",
}
REGIONS = {
    "central": "central interval",
    "highest_density": "highest-density region",
    "joint": "joint region of all targets",
}
BASELINES = {
    "one_gaussian": "one Gaussian (the same network)",
    "least_squares": "linear least squares, constant variance",
    "softmax": "linear softmax classifier",
    "linear": "linear least squares and softmax classifier",
    "marginal": "the targets' own Gaussian, no inputs",
    "frequencies": "the class frequencies, no inputs",
    "no_inputs": "the targets' own Gaussian and class frequencies, no inputs",
}
OF_NUMBERS = ("RMSE", "CRPS", "90 % intervals hold")
OF_KINDS = ("log loss (nats)", "accuracy", "calibration error")
MODEL = "this model"
MOST_TARGETS, MOST_LEFT_OUT = 4, 8


def report_html(
    name: str, config: Config, dataset: Dataset, metrics: Mapping[str, Any], figures: Mapping[str, bytes], toml: str
) -> str:
    """A run on one page.

    Args:
        name: of the run.
        config: as it was run.
        dataset: its rows.
        metrics: what metrics.json says.
        figures: file stem -> PNG.
        toml: the config's text.

    Returns:
        The text of one HTML file, which fetches nothing and runs no script.
    """
    wrong = items([sentence(text) for text in metrics["warnings"]])
    parts = [
        *_headline(name, config, dataset, metrics),
        section("What looks wrong", wrong or paragraph("Nothing that these checks can see.")),
        _scores(config, dataset, metrics),
        _figures(figures, ("health",), "Health"),
        _coverage(metrics),
        _diagnosis(metrics),
        data_section(config, dataset, metrics),
        _figures(figures, [stem for stem in CAPTIONS if stem != "health"], "Figures"),
        made_section(metrics, toml),
    ]
    return page(f"{name}: {few(dataset.target_names, 3)}", parts)


def _headline(name: str, config: Config, dataset: Dataset, metrics: Mapping[str, Any]) -> list[str]:
    """The targets, the inputs, and the numbers to see first."""
    inputs, targets = inputs_of(dataset), dataset.target_names
    networks = config.training.ensemble_size
    of = f", made by {networks} networks" if networks > 1 else ""
    trained = "" if metrics["status"] == "ok" else f" Training {metrics['status'].replace('_', ' ')}."
    values = [("test NLL", nats(metrics["test_nll"]), f"± {metrics['test_nll_standard_error']:.2g} nats per row")]
    if len(targets) == 1 and not metrics["test_rmse"]:
        _, right, error = _own_scores(metrics, targets[0])
        values += [("accuracy", right, "of the test rows are of the most probable kind")]
        values += [("calibration error", error, "between probability and accuracy")]
    elif len(targets) == 1:
        (rmse, crps, held), unit = _own_scores(metrics, targets[0]), f"in the unit of {targets[0]}"
        values += [("root mean squared error", rmse, unit), ("CRPS", crps, unit)]
        values += [("90 % intervals hold", held, "of the test rows")]
    for record in metrics["coverage"]["regions"]:
        if record["region"] == "joint" and record["share"] == 0.9:
            values.append(("90 % regions of all targets hold", percent(record["held"]), "of the test rows"))
    several = targets if len(targets) > 1 else ()
    scores = [(name, *_own_scores(metrics, name), number(metrics["width_90"][name])) for name in metrics["test_rmse"]]
    kinds = [(name, *_own_scores(metrics, name)) for name in metrics.get("test_log_loss", ())]
    return [
        paragraph(name, "kicker"),
        heading(f"{few(targets, 4)} {f'from {few(inputs, 4)}' if inputs else 'without inputs'}"),
        paragraph(
            f"Every answer is {_answer(config, dataset)}{of}. Trained on {metrics['num_train']:,} rows and judged on "
            f"{metrics['num_test']:,} that training never saw.{trained}",
            "lead",
        ),
        tiles(values),
        table(["target, in its own unit", *OF_NUMBERS, "and are wide"], scores if several else ()),
        table(["target of kinds", *OF_KINDS], kinds if several else ()),
        paragraph(_meaning(metrics), "note"),
    ]


def _answer(config: Config, dataset: Dataset) -> str:
    """The kind of answer that a model gives for each row."""
    if config.model.head not in HEADS:
        return f"a distribution made by {config.model.head}"
    numbers = sum(count is None for count in dataset.num_classes)
    components = config.model.num_components * config.training.ensemble_size
    gaussians = "one Gaussian" if components == 1 else f"a mixture of {components} Gaussians"
    each = " for each number" if config.model.head == "independent" and numbers > 1 else ""
    kinds = "the probabilities of " + listed([f"{count} kinds" for count in dataset.num_classes if count is not None])
    return " and ".join([f"{gaussians}{each}"] * (numbers > 0) + [kinds] * (numbers < len(dataset.num_classes)))


def _scores(config: Config, dataset: Dataset, metrics: Mapping[str, Any]) -> str:
    """The model beside what it has to beat: all in one table, or one for each of several targets."""
    targets, baselines = dataset.target_names, metrics["baselines"]
    named = {MODEL: metrics} | {text: baselines[name] for name, text in BASELINES.items() if baselines.get(name)}
    nll = {text: nats(scores["test_nll"]) if "test_nll" in scores else "–" for text, scores in named.items()}
    if "oracle_nll" in metrics:
        nll["the exact density"] = nats(metrics["oracle_nll"])
    own = {target: {text: _own_scores(scores, target) for text, scores in named.items()} for target in targets}
    if len(targets) == 1:
        head = OF_NUMBERS if metrics["test_rmse"] else OF_KINDS
        dashes = ("–",) * len(head)
        rows = [(text, value, *own[targets[0]].get(text, dashes)) for text, value in nll.items()]
        tables = [table(["", "NLL (nats per row)", *head], rows, first=MODEL)]
    else:
        tables = [table(["", "NLL (nats per row)"], list(nll.items()), first=MODEL)]
        for target in targets[:MOST_TARGETS]:
            head = OF_NUMBERS if target in metrics["test_rmse"] else OF_KINDS
            rows = [(text, *values) for text, values in own[target].items()]
            tables.append(table(["", *head], rows, title=target, first=MODEL))
    skipped = [f"{sentence(BASELINES[name])[:-1]}: {reason}." for name, reason in baselines["skipped"].items()]
    if baselines["one_gaussian"]:
        steps, all_steps = baselines["one_gaussian"]["num_steps"], config.training.num_steps
        skipped.append(f"The one Gaussian was trained for {steps:,} steps, the model for {all_steps:,}.")
    return section(
        "Beside simpler answers",
        paragraph(
            "Scores on the test rows: lower is better"
            + (", and 90 % intervals should hold 90 %." if metrics["test_rmse"] else ", but for the accuracy.")
        ),
        *tables,
        paragraph(" ".join(skipped), "note"),
        _ordered(targets, metrics),
    )


def _own_scores(scores: Mapping[str, Any], target: str) -> tuple[str, str, str]:
    if target not in scores["test_rmse"]:
        loss, right, error = (scores[name][target] for name in ("test_log_loss", "test_accuracy", "calibration_error"))
        return number(loss), percent(right), number(error, 3)
    rmse, crps, held = (scores[name][target] for name in ("test_rmse", "test_crps", "coverage_90"))
    return number(rmse), number(crps), percent(held)


def _ordered(targets: Sequence[str], metrics: Mapping[str, Any]) -> str:
    """The same model trained on the first rows and judged on the last."""
    ordered = metrics.get("ordered_split")
    if not ordered:
        return ""
    targets = list(metrics["coverage_90"])
    rows = [
        (text, nats(scores["test_nll"]), *(percent(scores["coverage_90"][target]) for target in targets[:MOST_TARGETS]))
        for text, scores in (("rows drawn at random", metrics), ("the last rows", ordered))
    ]
    several = len(targets) > 1
    holds = [f"90 % intervals hold{f', {name}' if several else ''}" for name in targets[:MOST_TARGETS]]
    return table(["tested on", "NLL (nats per row)", *holds], rows, title="In the order of the file")


def _coverage(metrics: Mapping[str, Any]) -> str:
    """Regions against what they promise, for each nominal share; then by kind and by width."""
    coverage = metrics["coverage"]
    if not coverage["regions"]:
        return ""
    regions: dict[tuple, dict[float, Mapping[str, Any]]] = {}
    for record in coverage["regions"]:
        regions.setdefault((record["region"], record["target"]), {})[record["share"]] = record
    shares = sorted({record["share"] for record in coverage["regions"]})
    after = any("calibrated" in record for record in coverage["regions"])
    states = {"held": "as trained"} | ({"calibrated": "calibrated"} if after else {})
    rows = []
    for (region, target), found in regions.items():
        name = REGIONS[region] + (f" of {target}" if target and len(metrics["test_rmse"]) > 1 else "")
        rows += [(name, title, *(_held(found[share], state) for share in shares)) for state, title in states.items()]
    kinds = [
        (record["column"], record["kind"], record["target"], *_rows_held(record, states))
        for record in coverage["by_kind"]
    ]
    widths = [
        (record["target"], number(record["group"]), number(record["width"], 3), *_rows_held(record, states))
        for record in coverage["by_width"]
    ]
    held = ["rows", "90 % intervals hold", *list(states)[1:]]
    counts = sorted({record["rows"] for record in coverage["regions"]})
    of = f"{counts[0]:,} to {counts[-1]:,}" if len(counts) > 1 else f"{counts[0]:,}"
    said = (
        f"How many of {of} test rows the regions hold. In brackets, the Wilson interval of two standard errors: where "
        "it leaves out the nominal share, chance hardly explains the difference."
    )
    if after:
        said += f" Calibrated ones ask for the mass that {metrics['num_calibration']:,} rows kept apart needed."
    return section(
        "Calibration",
        paragraph(said),
        table(["region", "", *(f"{100 * share:g} %" for share in shares)], rows, texts=2),
        table(["column", "kind", "target", *held], kinds, texts=3, title="For each kind"),
        paragraph(_not_judged(coverage.get("kinds_not_judged", ())), "note"),
        details("From narrow to wide intervals", table(["target", "group", "typical width", *held], widths)),
    )


def _not_judged(records: Sequence[Mapping[str, Any]]) -> str:
    """The kinds that stand in no table, with the reason."""
    rare, many = {}, {}  # texts in order, each once: most kinds have the same rows for all targets
    for record in records:
        for kind, rows in record["rows"].items():
            text = f"{record['column']} {kind} ({rows:,} row{'s' * (rows != 1)})"
            (rare if rows < FEWEST else many)[text] = None
    said = [f"Too few test rows to judge, fewer than {FEWEST}: {few(list(rare), MOST_LEFT_OUT)}."] if rare else []
    if many:
        said.append(f"Not among the {MOST_KINDS} most frequent kinds: {few(list(many), MOST_LEFT_OUT)}.")
    return " ".join(said)


def _diagnosis(metrics: Mapping[str, Any]) -> str:
    """The components that the mixture uses."""
    found = metrics["diagnosis"]
    shown = {
        "components": ("components", 4),
        "effective_components": ("as varied as this many equally used", 3),
        "dead_components": ("never responsible for a test row", 4),
        "responsibility_entropy_nats": ("entropy of the responsibilities (nats)", 3),
    }
    rows = [(text, number(found[name], digits)) for name, (text, digits) in shown.items() if name in found]
    if len(found["statuses"]) > 1:
        counts = {status: found["statuses"].count(status) for status in dict.fromkeys(found["statuses"])}
        rows.append(("networks", listed([f"{count} {status.replace('_', ' ')}" for status, count in counts.items()])))
    sigmas = [
        (name, number(smallest, 3), number(found["sigma_floor"][name], 3), percent(found["share_on_floor"][name]))
        for name, smallest in found.get("smallest_sigma", {}).items()
    ]
    return section(
        "Diagnosis",
        table(["the mixture" if "components" in found else "the model", ""], rows),
        table(["target, in its own unit", "smallest sigma", "floor", "test rows on the floor"], sigmas),
    )


def _figures(figures: Mapping[str, bytes], stems: Sequence[str], title: str) -> str:
    return section(title, *(figure(figures[stem], CAPTIONS[stem]) for stem in stems if stem in figures))


def made_section(metrics: Mapping[str, Any], toml: str) -> str:
    """The origin of the run: config, machine, versions."""
    rate = metrics["steps_per_second"]
    rows = [
        ("parameters", number(metrics["num_parameters"])),
        ("compiling", f"{metrics['compile_seconds']:.1f} s"),
        ("training", f"{metrics['train_seconds']:.1f} s{f', {rate:,.0f} steps per second' if rate else ''}"),
        ("device", metrics["device"]),
        ("versions", ", ".join(f"{name} {version}" for name, version in metrics["versions"].items())),
    ]
    made = table(["", ""], rows, texts=2)
    return section("How it was made", made, details("The whole config", preformatted(toml)))


def _meaning(metrics: Mapping[str, Any]) -> str:
    nll, said = metrics["test_nll"], ""
    if "test_log_loss" in metrics:
        said = (
            "Log loss: minus the log probability of the kind that was observed; 0 is right and certain. Calibration "
            "error: how far the probability of the most probable kind lies from how often it is right."
        )
    if not metrics["test_rmse"]:
        return f"NLL: minus the log probability of what was observed. {said}"
    negative = (
        " It is negative because the predicted densities exceed 1, as they do where a target varies by less than its "
        "unit."
        if nll < 0
        else ""
    )
    return (
        "NLL: minus the log density of what was observed, with targets in the units given; another unit shifts it, so "
        f"only differences on the same rows mean something.{negative} CRPS: how far the whole answer lies "
        f"from what was observed, in the target's unit; of a single value it is the absolute error. {said}"
    ).rstrip()


def nats(value: float) -> str:
    """An NLL to three decimals; a dash where it is not finite."""
    return f"{value:.3f}".replace("-", "−") if np.isfinite(value) else "–"


def _held(record: Mapping[str, Any], name: str) -> str:
    """A share held with its interval; a dash where no row tells."""
    share = record.get(name)
    return percent(share, within=None if share is None else coverage_interval(record, name))


def _rows_held(record: Mapping[str, Any], states: Iterable[str]) -> tuple[str, ...]:
    return number(record["rows"]), *(_held(record, state) for state in states)
