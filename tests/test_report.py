"""The page of a run: whole HTML that fetches nothing, escapes what the data say, and tells every number with a unit."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest

from mdn_jax import runs
from mdn_jax.config import parse
from mdn_jax.data import load
from mdn_jax.report import report_html
from mdn_jax.report.text import few, listed, number, percent, sentence

EVIL = '<script>alert("1")</script>'
VOID = {"meta", "img", "br"}
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (1500).to_bytes(4, "big") + (900).to_bytes(4, "big")
TABLE = """
[dataset]
path = "table.csv"
inputs = ["size", '{evil}', "colour"]
categorical = ["colour"]
targets = ["price"]
missing_inputs = "indicate"
test_fraction = 0.25
calibration_fraction = 0.2

[model]
num_components = 2
hidden_sizes = [4]

[training]
num_steps = 20
evaluate_every = 10
"""


class Page(HTMLParser):
    """What stands in a page; every element must be closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.links, self.words, self.pictures = [], [], [], [], 0
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset", "action")]
        self.pictures += tag == "img" and bool(dict(attrs).get("alt"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def table_run(tmp_path_factory):
    """A run on a table with a category, missing values, a column of an evil name, and neighbours that are alike."""
    folder = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(0)
    lines = ["size,colour,price," + '"' + EVIL.replace('"', '""') + '"']
    for index in range(300):
        missing = "" if index % 10 == 3 else f"{rng.normal():.3f}"
        colour = ("red", EVIL.replace('"', "'"))[index % 2]
        lines.append(f"{rng.normal():.3f},{colour},{np.sin(index / 40) + 0.1 * rng.normal():.3f},{missing}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "table.toml").write_text(TABLE.replace("{evil}", EVIL), encoding="utf-8")
    config, _ = runs.read_config(folder / "table.toml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs.writing, "_draw", draw_nothing)
        return folder / "run", runs.run(config, folder / "run"), config


def draw_nothing(folder, *_):
    folder.mkdir(exist_ok=True)
    (folder / "health.png").write_bytes(PNG)


def test_the_page_is_whole_and_fetches_nothing(table_run):
    text = (table_run[0] / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.tags[:2] == ["html", "head"] and page.pictures == 1 and "script" not in page.tags
    assert all(link.startswith("data:image/png;base64,") for link in page.links) and len(page.links) == 1
    assert "url(" not in text and "@import" not in text and "http://" not in text and "https://" not in text
    assert "prefers-color-scheme: dark" in text and "width=device-width" in text


def test_what_the_data_say_is_escaped(table_run):
    text = (table_run[0] / "report.html").read_text(encoding="utf-8")
    assert EVIL not in text and "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;" in text
    assert EVIL in Page(text).text


def test_the_page_says_what_metrics_say(table_run):
    folder, metrics, _ = table_run
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert f"{metrics['test_nll']:.3f}".replace("-", "−") in page.text and "nats per row" in page.text
    for title in ("What looks wrong", "Beside simpler answers", "Calibration", "Diagnosis", "Data", "How it was made"):
        assert title in page.text
    counts = [metrics[f"num_{name}"] for name in ("train", "validation", "calibration", "test")]
    assert "{} train, {} choose the best step, {} calibrate and {} test".format(*counts) in page.text
    assert sum(counts) == 300
    assert "price from size" in page.text and "input, 2 kinds" in page.text
    assert "linear least squares, constant variance" in page.text
    assert "calibrated" in page.text and "num_steps = 20" in page.text
    for warning in metrics["warnings"]:
        assert sentence(warning) in page.text


def test_metrics_hold_the_findings(table_run):
    folder, metrics, _ = table_run
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert metrics["diagnosis"]["components"] == 2 and metrics["diagnosis"]["statuses"] == ["ok"]
    assert {record["kind"] for record in metrics["coverage"]["by_kind"]} == {"red", EVIL.replace('"', "'")}
    assert all("calibrated" in record for record in metrics["coverage"]["regions"])
    assert metrics["baselines"]["one_gaussian"]["num_steps"] == 5


def test_neighbours_that_are_alike_are_told_with_the_ordered_split(table_run):
    metrics = table_run[1]
    ordered = metrics["ordered_split"]
    assert ordered["num_test"] == metrics["num_test"] and ordered["autocorrelation"] > 0.5
    assert ordered["test_nll"] != metrics["test_nll"] and list(ordered["coverage_90"]) == ["price"]
    (said,) = (text for text in metrics["warnings"] if text.startswith("neighbouring rows are alike"))
    assert f"On the last 25 % of the rows the NLL is {ordered['test_nll']:.3f}" in said
    assert f"{100 * ordered['coverage_90']['price']:.1f} %" in said and "\n" not in said


def test_a_page_of_several_targets_and_a_known_density(table_run):
    """Numbers of another run's shape, on the same checks."""
    _, metrics, _ = table_run
    config = parse('dataset.name = "correlated_branches"\ndataset.num_points = 50\ndataset.num_test_points = 20', "x")[
        0
    ]
    data = load(config.dataset)
    names = data.target_names

    def double(report):
        return {
            k: dict.fromkeys(names, v["price"]) if isinstance(v, dict) and "price" in v else v
            for k, v in report.items()
        }

    own = double(metrics) | {"oracle_nll": -1.25, "test_nll": -1.0}
    own["diagnosis"] = double(metrics["diagnosis"])
    own["baselines"] = {name: double(report) for name, report in metrics["baselines"].items()}
    own["ordered_split"] = double(metrics["ordered_split"])
    joint = [record | {"region": "joint", "target": None} for record in metrics["coverage"]["regions"][:3]]
    own["coverage"] = metrics["coverage"] | {"regions": metrics["coverage"]["regions"] + joint}
    page = Page(report_html("two", config, data, own, {}, "seed = 0"))
    assert "the exact density −1.250" in page.text and "It is negative because" in page.text
    assert "90 % regions of all targets hold" in page.text and page.pictures == 0
    assert f"{names[0]} and {names[1]} from" in page.text and "built-in problem correlated_branches" in page.text


def test_kinds_that_are_not_judged_are_named(table_run):
    _, metrics, config = table_run
    left_out = [{"column": "town", "target": name, "rows": {"north": 25, "old": 9, "new": 1}} for name in ("a", "b")]
    own = metrics | {"coverage": metrics["coverage"] | {"kinds_not_judged": left_out}}
    page = Page(report_html("one", config, load(config.dataset), own, {}, "seed = 0"))
    assert "Too few test rows to judge, fewer than 20: town old (9 rows) and town new (1 row)." in page.text
    assert "Not among the 20 most frequent kinds: town north (25 rows)." in page.text
    before = {name: value for name, value in metrics["coverage"].items() if name != "kinds_not_judged"}
    page = Page(report_html("one", config, load(config.dataset), metrics | {"coverage": before}, {}, ""))
    assert "Too few test rows to judge" not in page.text  # a run of an older version


def test_the_page_is_written_again(table_run, monkeypatch):
    folder = table_run[0]
    before = (folder / "report.html").read_text(encoding="utf-8")
    (folder / "report.html").unlink()
    monkeypatch.setattr(runs.writing, "_draw", draw_nothing)
    runs.draw_figures(folder)
    assert (folder / "report.html").read_text(encoding="utf-8") == before


def test_words():
    assert [number(value) for value in (3, 12345, 0.123456, -2.0, 123456.7, float("nan"), None)] == [
        "3", "12,345", "0.1235", "−2", "123,457", "–", "–",
    ]  # fmt: skip
    assert percent(0.9, within=(0.88, 1.0)) == "90.0 % (88.0 to 100.0)"
    assert percent(None) == "–" and percent(0.5, decimals=0) == "50 %"
    assert (listed(["a"]), listed(["a", "b", "c"]), few(["a", "b", "c", "d"], 3)) == (
        "a",
        "a, b and c",
        "a, b and 2 more",
    )
    assert sentence("it is so") == "It is so." and sentence("Why?") == "Why?"
