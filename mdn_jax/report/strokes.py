"""The page of a run on pen strokes."""

from collections.abc import Mapping
from typing import Any

from mdn_jax.report.page import figure, heading, items, page, paragraph, section, table, tiles
from mdn_jax.report.sections import made_section, nats
from mdn_jax.report.text import number, sentence

__all__ = ["strokes_html"]

CAPTIONS = {
    "samples": "Drawings from the model, each from nothing, one point after the other.",
    "test_drawings": "Test drawings, which training never saw.",
    "nats_by_step": "How surprising a point is, by its place in the drawing: of the offset, and of the pen.",
    "pen_calibration": "How often the pen is lifted, against its probability, in up to ten groups of points.",
    "calibration": "Of dx and dy: flat on the left and diagonal on the right is calibrated; grey is what chance does.",
    "loss": "The loss during training.",
}


def strokes_html(name: str, metrics: Mapping[str, Any], figures: Mapping[str, bytes], toml: str) -> str:
    """A run on one page.

    Args:
        name: of the run.
        metrics: what metrics.json says.
        figures: file stem -> PNG.
        toml: the config's text.

    Returns:
        The text of one HTML file, which fetches nothing and runs no script.
    """
    wrong = items([sentence(text) for text in metrics["warnings"]])
    trained = "" if metrics["status"] == "ok" else f" Training {metrics['status'].replace('_', ' ')}."
    parts = [
        paragraph(name, "kicker"),
        heading("Where the pen goes next, and whether it leaves the paper"),
        paragraph(
            f"Trained on drawings packed in {metrics['num_train']:,} rows and judged on "
            f"{metrics['num_test_points']:,} points of {metrics['num_test_drawings']:,} drawings that training never "
            f"saw. Offsets are told in units of their common standard deviation in training, {metrics['normaliser']:g} "
            f"in the file.{trained}",
            "lead",
        ),
        tiles(
            [
                ("test NLL", nats(metrics["test_nll"]), f"± {metrics['test_nll_standard_error']:.2g} nats per point"),
                ("of the offset", nats(metrics["test_nll_offset"]), "nats per point"),
                ("of the pen", nats(metrics["test_nll_pen"]), "nats per point"),
                ("per drawing", nats(metrics["test_nll_per_sequence"]), "nats"),
                ("squared error", number(metrics["test_sse"]), "of the mean offset"),
            ]
        ),
        section("What looks wrong", wrong or paragraph("Nothing that these checks can see.")),
        _beside(metrics),
        section("Figures", *(figure(figures[stem], text) for stem, text in CAPTIONS.items() if stem in figures)),
        made_section(metrics, toml),
    ]
    return page(f"{name}: strokes", parts)


def _beside(metrics: Mapping[str, Any]) -> str:
    rows = [("this model", nats(metrics["test_nll"]), number(metrics["test_sse"]))]
    pen = metrics["baselines"]["pen_alone"]
    rows.append(("20 Gaussians that know only the pen", nats(pen["test_nll"]), number(pen["test_sse"])))
    if metrics["test_nll_without_ends"] != metrics["test_nll"]:
        rows.append(("this model, of the pen only whether it is lifted", nats(metrics["test_nll_without_ends"]), "–"))
    if "test_nll_whole" in metrics:
        rows.append(("this model on the offsets as they stand", nats(metrics["test_nll_whole"]), "–"))
    floor = ", ".join(f"{number(value, 2)} for {name}" for name, value in metrics["min_std"].items())
    said = (
        f"Rounded offsets are spread over their own cell of width {number(metrics['grain'], 3)} before they are "
        f"scored; as they stand their NLL only follows the floor of the standard deviations ({floor})."
    )
    head = ["", "NLL (nats per point)", "squared error"]
    told = paragraph(said, "note") if metrics["grain"] else ""
    return section("Beside a simpler answer", table(head, rows, first="this model"), told)
