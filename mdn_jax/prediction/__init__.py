"""New tables answered: what a trained model says about each row, as columns.

`tables` reads what a model needs of a table, `questions` says what is asked and asks it of one mixture, `answers` goes
through the rows, `columns` names what comes out, `facts` are a model's, `notices` says what is strange about a table,
`predicting` holds `mdn.predict` and its siblings. Everything between a table and the standard units of a model is
float64 on the host. `rolling` draws futures of sequences step by step, `drawing` pen strokes.
"""

from mdn_jax.prediction.answers import answer, draw
from mdn_jax.prediction.drawing import draw_strokes, next_offsets, paper_densities
from mdn_jax.prediction.notices import notices_of
from mdn_jax.prediction.predicting import predict, predict_distributions, predict_samples, prepare
from mdn_jax.prediction.questions import Asked
from mdn_jax.prediction.rolling import rollout
from mdn_jax.prediction.tables import typed

__all__ = [
    "Asked",
    "answer",
    "draw",
    "draw_strokes",
    "next_offsets",
    "notices_of",
    "paper_densities",
    "predict",
    "predict_distributions",
    "predict_samples",
    "prepare",
    "rollout",
    "typed",
]
