"""How fast is the negative log-likelihood and its gradient? Against numpyro's mixture and a plain JAX formula.

Each case is the value and the gradient of the mean NLL of B targets, with respect to the logits, centres and log
standard deviations of B mixtures of K diagonal Gaussians in D dimensions, compiled as one function.

    ours     jax.vmap(mdn.nll): the closed-form gradient (responsibilities), written for one example
    plain    logsumexp(log_softmax(logits) + sum of normal log densities), batched by hand, differentiated by JAX
    numpyro  MixtureSameFamily(Categorical, Normal.to_event(1)).log_prob, batched by its own shapes

COMMAND: python experiments/benchmarks/density.py
TIME:    half a minute
DEVICE:  any that JAX finds
RESULT (2026-11-22, AMD EPYC, 2 cores shared with other work; median of 9 ratios, range):
    numpyro / ours  2.04 (1.59..2.56), 2.49 (2.01..2.74), 1.30 (0.96..1.77); geometric mean 1.84 (1.72..2.07)
    plain / ours    1.05 (0.83..1.12), 1.13 (1.04..1.55), 1.31 (1.22..1.64)
    from raw outputs, in times of diagonal: isotropic 0.46, tied 1.18, full 3.93
"""

import math
from collections.abc import Callable
from typing import Any

import harness
import jax
import jax.numpy as jnp

import mdn_jax as mdn

SHAPES = ((4_096, 8, 1), (65_536, 8, 1), (16_384, 16, 8))
COVARIANCE_SHAPE = (16_384, 8, 4)
COVARIANCES = ("isotropic", "diagonal", "tied", "full")
NOISE = 0.05  # two equal programs differ by so much from run to run

Parameters = dict[str, jax.Array]
Loss = Callable[[Parameters, jax.Array], jax.Array]


def ours(parameters: Parameters, y: jax.Array) -> jax.Array:
    scale = mdn.Diagonal(parameters["log_std"])
    return jnp.mean(jax.vmap(mdn.nll)(mdn.Mixture(parameters["logits"], parameters["locs"], scale), y))


def plain(parameters: Parameters, y: jax.Array) -> jax.Array:
    z = (y[:, None, :] - parameters["locs"]) * jnp.exp(-parameters["log_std"])
    log_normal = jnp.sum(-0.5 * z**2 - parameters["log_std"] - 0.5 * math.log(2 * math.pi), axis=-1)
    return -jnp.mean(jax.nn.logsumexp(jax.nn.log_softmax(parameters["logits"]) + log_normal, axis=-1))


def numpyro_loss() -> Loss:
    import numpyro.distributions as dist  # noqa: PLC0415  (optional)

    def numpyro(parameters: Parameters, y: jax.Array) -> jax.Array:
        components = dist.Normal(parameters["locs"], jnp.exp(parameters["log_std"])).to_event(1)
        mixture = dist.MixtureSameFamily(dist.Categorical(logits=parameters["logits"]), components)
        return -jnp.mean(mixture.log_prob(y))

    return numpyro


def draw(batch: int, components: int, dim: int) -> tuple[Parameters, jax.Array]:
    """Random mixtures and targets."""
    logits, locs, log_std, y = jax.random.split(jax.random.key(0), 4)
    parameters = {
        "logits": jax.random.normal(logits, (batch, components)),
        "locs": jax.random.normal(locs, (batch, components, dim)),
        "log_std": 0.3 * jax.random.normal(log_std, (batch, components, dim)),
    }
    return parameters, jax.random.normal(y, (batch, dim))


def bind(loss: Callable, *arguments: Any) -> Callable[[], object]:
    """One call of the compiled value and gradient."""
    compiled = jax.jit(jax.value_and_grad(loss))
    return lambda: compiled(*arguments)


def from_raw(spec: mdn.MixtureSpec) -> Loss:
    """The mean NLL of raw outputs, for covariances that have no common parameters."""
    return lambda raw, y: jnp.mean(jax.vmap(lambda raw, y: mdn.nll(mdn.unpack(spec, raw), y))(raw, y))


def compare(report: harness.Report, repeats: int) -> None:
    losses: dict[str, Loss] = {"ours": ours, "plain": plain}
    if harness.installed("numpyro"):
        losses["numpyro"] = numpyro_loss()
    else:
        report.skip("numpyro", 'pip install "mdn-jax[benchmark]"')
    results = {}
    for shape in SHAPES:
        parameters, y = draw(*shape)
        cases = {name: bind(loss, parameters, y) for name, loss in losses.items()}
        results[shape] = harness.measure(cases, repeats, seconds=0.1)
    others = [name for name in losses if name != "ours"]
    rows = [
        [
            str(shape),
            *(harness.median_time(times, name) for name in losses),
            *(str(harness.speedup(times, "ours", other)) for other in others),
        ]
        for shape, times in results.items()
    ]
    report.table("NLL, value and gradient", ["B, K, D", *losses, *(f"{other} / ours" for other in others)], rows)
    tables = list(results.values())
    if "numpyro" in losses:
        mean = harness.geometric_mean(tables, "ours", "numpyro")
        report.at_least("ours against numpyro, geometric mean", 1.3, mean)
    for shape, times in results.items():
        ratio = harness.speedup(times, "ours", "plain")
        report.at_least(f"ours against plain JAX, {shape}", 1.0, ratio, noise=NOISE)


def covariances(report: harness.Report, repeats: int) -> None:
    batch, components, dim = COVARIANCE_SHAPE
    y = jax.random.normal(jax.random.key(1), (batch, dim))
    specs = {name: mdn.MixtureSpec(components, dim, name) for name in COVARIANCES}
    cases = {
        name: bind(from_raw(spec), jax.random.normal(jax.random.key(2), (batch, spec.num_outputs)), y)
        for name, spec in specs.items()
    }
    times = harness.measure(cases, repeats, seconds=0.1)
    rows = [
        [name, str(spec.num_outputs), harness.median_time(times, name), str(harness.speedup(times, "diagonal", name))]
        for name, spec in specs.items()
    ]
    columns = ["covariance", "raw outputs", "time", "time / diagonal"]
    report.table(f"From raw outputs, B, K, D = {COVARIANCE_SHAPE}", columns, rows)


def main() -> None:
    options = harness.arguments(__doc__, repeats=11).parse_args()
    report = harness.Report("Density benchmark")
    compare(report, options.repeats)
    covariances(report, options.repeats)
    report.save(options.json)


if __name__ == "__main__":
    main()
