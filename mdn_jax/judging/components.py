"""The use that a mixture makes of its components, and the floor of its sigmas."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdn_jax._typing import Bool, Float
from mdn_jax.judging.metrics import LIVE_SHARE, Scores
from mdn_jax.judging.rows import Judged
from mdn_jax.models import Model

__all__ = ["Diagnosis", "diagnose"]

ON_FLOOR = 1.1  # times the floor: a sigma below it would be lower still if it could
TELLING_SHARE = 0.01  # of the rows on the floor that is worth a word
MANY_DEAD = 0.25  # share of the components that is worth a word: a few idle ones cost little


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The use a model makes of its components; K = 0 where its numbers are no mixture of any: only statuses are told.

    Attributes:
        target_names: of the D targets that are numbers.
        share: (K,) mean responsibility of each component: they sum to 1.
        dead: (K,) which of them hold less than a hundredth of a fair share, and are the most responsible for no row.
        entropy: mean over rows of the entropy of the responsibilities, nats: 0 where one component answers alone.
        sigma: (R, D) of the most responsible component of R rows, in the units of the targets.
        floor: (D,) the smallest sigma that the model can give, in the units of the targets; 0 where it has none.
        on_floor: (D,) share of the rows whose sigma lies within 10 % of its floor.
        scale: (D,) training standard deviations of the targets.
        statuses: (M,) of the networks: "ok", "diverged" or "stopped_early".
    """

    target_names: tuple[str, ...]
    share: Float[np.ndarray, " K"]
    dead: Bool[np.ndarray, " K"]
    entropy: float
    sigma: Float[np.ndarray, "R D"]
    floor: Float[np.ndarray, " D"]
    on_floor: Float[np.ndarray, " D"]
    scale: Float[np.ndarray, " D"]
    statuses: tuple[str, ...] = ()

    @property
    def effective_components(self) -> float:
        """exp of the entropy of `share`: as many equally used components would be as varied."""
        return float(np.exp(_entropy(self.share)))

    @property
    def many_dead(self) -> bool:
        """True where so many components are dead that `sentences` says so."""
        return int(self.dead.sum()) >= MANY_DEAD * max(len(self.share), 1)

    @property
    def telling_floor(self) -> Bool[np.ndarray, " D"]:
        """For which targets so many rows sit on the floor that `sentences` says so."""
        return self.on_floor >= TELLING_SHARE

    def report(self) -> dict[str, Any]:
        """Plain values for JSON."""

        def named(values: np.ndarray) -> dict[str, float]:
            return {name: float(value) for name, value in zip(self.target_names, values, strict=True)}

        if not len(self.share):
            return {"statuses": list(self.statuses)}
        return {
            "components": len(self.share),
            "effective_components": self.effective_components,
            "dead_components": int(self.dead.sum()),
            "component_shares": [round(float(share), 5) for share in self.share],
            "responsibility_entropy_nats": self.entropy,
            "smallest_sigma": named(self.sigma.min(axis=0)),
            "sigma_floor": named(self.floor),
            "share_on_floor": named(self.on_floor),
            "statuses": list(self.statuses),
        }

    def sentences(self) -> list[str]:
        """Warnings of all that looks wrong; none where nothing does."""
        said = []
        lost, networks = self.statuses.count("diverged"), len(self.statuses)
        if lost and networks > 1:
            said.append(f"{lost} of {networks} networks diverged: they answer with the best parameters before that")
        elif lost:
            said.append("training diverged: the model holds the best parameters before that; lower the learning rate")
        found = zip(self.target_names, self.on_floor, self.floor, self.telling_floor, strict=True)
        for name, share, floor, telling in found:
            if telling:
                said.append(
                    f"sigma of {name!r} sits on its floor ({floor:.3g}, from model.min_std) for {100 * share:.0f} % of "
                    "rows: is the target discrete or rounded? Then the NLL follows the floor: compare RMSE and CRPS"
                )
        dead, count = int(self.dead.sum()), len(self.share)
        if self.many_dead:
            is_are = "is" if dead == 1 else "are"
            said.append(f"{dead} of {count} components {is_are} never responsible for a row: fewer would do")
        return said


def diagnose(
    model: Model, scores: Scores, judged: Judged, *, target_names: Sequence[str], statuses: Sequence[str] = ()
) -> Diagnosis:
    """The diagnosis of a model from N rows.

    Args:
        model: from `fit` or `load`.
        scores: of the model on the rows, from `evaluate`.
        judged: from `judge`, of the same rows.
        target_names: D names.
        statuses: of the networks, `Fit.statuses`.

    Returns:
        A `Diagnosis`.

    Example:
        >>> import jax, numpy as np, mdn_jax as mdn
        >>> from mdn_jax.judging import diagnose, judge
        >>> x = np.linspace(-1, 1, 64)[:, None]
        >>> model = mdn.fit(jax.random.key(0), x, x**2, training=mdn.TrainingConfig(num_steps=2)).model
        >>> found = diagnose(model, mdn.evaluate(model, x, x**2), judge(model, x, x**2), target_names=("y",))
        >>> found.report()["components"]
        10
    """
    weight, numbers = scores.weights, scores.numbers
    if scores.responsibilities is None or judged.sigma is None:
        none = np.zeros(0)
        return Diagnosis((), none, none.astype(bool), 0.0, none, none, none, none, tuple(statuses))
    share = np.average(scores.responsibilities, axis=0, weights=weight)
    first = np.bincount(scores.responsibilities.argmax(axis=1), minlength=len(share))
    floors = component_floors(model, len(share))[:, numbers]
    own = floors[judged.component]
    return Diagnosis(
        target_names=tuple(target_names[dim] for dim in numbers),
        share=share,
        dead=(share < LIVE_SHARE / len(share)) & (first == 0),
        entropy=float(np.average(_entropy(scores.responsibilities), weights=weight)),
        sigma=judged.sigma,
        floor=floors.min(axis=0),
        on_floor=np.average(judged.sigma < ON_FLOOR * own, axis=0, weights=weight[judged.rows]),
        scale=np.asarray(model.targets.scale, np.float64)[numbers],
        statuses=tuple(statuses),
    )


def component_floors(model: Model, num_components: int) -> Float[np.ndarray, "K D"]:
    """The smallest sigma of each component in the units of the targets; 0 where the network sets none."""
    networks = model.networks
    heads = [getattr(network.conditional, "head", None) for network in networks]  # least squares shows none
    floors = [_floors(head, np.asarray(one.targets.scale)) for head, one in zip(heads, networks)]
    return np.repeat(np.stack(floors), num_components // len(networks), axis=0)


def _floors(head: Any, scale: Float[np.ndarray, " D"]) -> Float[np.ndarray, " D"]:
    """The smallest sigma of each target, block by block."""
    blocks = getattr(head, "specs", None)
    if not blocks:
        return getattr(head, "min_std", 0.0) * scale
    ends = np.cumsum([block.target_dim for block in blocks])[:-1]
    return np.concatenate([_floors(block, own) for block, own in zip(blocks, np.split(scale, ends))])


def _entropy(shares: Float[np.ndarray, "*N K"]) -> Float[np.ndarray, "*N"]:
    """Nats; 0 log 0 = 0."""
    return -np.sum(shares * np.log(np.where(shares > 0, shares, 1.0)), axis=-1)
