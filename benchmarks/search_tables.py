"""The tables and the figure of `benchmarks/search.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import lcbench, omniglot
from benchmarks.lcbench import BUDGETS, Regrets
from benchmarks.methods import OURS
from benchmarks.methods.searches import NEAR, TABLE_BUDGET, near_best
from benchmarks.omniglot import Table

LIMITS = {"20": 0.55, "40": 0.45}  # of random search's regret, by budget
TABLE_LIMIT = 0.5  # of random search's epochs
SHARES = tuple(number / 10 for number in range(1, 11))  # of the budget in seconds
NOT_COMPARED = ("10%",)  # hardly a training has ended by then
NUM_SAMPLES = 10_000  # of a bootstrap

Row = dict[str, NDArray[np.float64]]  # by budget: the regret of each run


def resampled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the means of bootstrap samples of the runs, the same runs for each method."""
    picks = np.random.default_rng(0).integers(len(values), size=(NUM_SAMPLES, len(values)))
    means: NDArray[np.float64] = values[picks].mean(1)
    return means


def interval(values: NDArray[np.float64]) -> list[float]:
    """Return the bootstrap's 95 % interval of a mean."""
    return [float(bound) for bound in np.quantile(resampled(values), (0.025, 0.975))]


def not_worse(ours: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the share of paired bootstrap samples in which our mean regret is not larger."""
    return float((resampled(ours - other) <= 0).mean())


def rows_of(regrets: Regrets, *, is_parallel: bool) -> dict[str, Row]:
    """Return the regrets of each method after each budget of full trainings, or after the time that they take."""

    def at(method: str, budget: int) -> NDArray[np.float64]:
        if is_parallel:
            return regrets.after_share(method, budget / BUDGETS[-1])
        return regrets.after_epochs(method, budget * lcbench.EPOCHS)

    return {method: {str(budget): at(method, budget) for budget in BUDGETS} for method in regrets.methods}


def shares_of(regrets: Regrets) -> dict[str, Row]:
    """Return the regrets of each method after each tenth of the time."""
    return {
        method: {f"{share:.0%}": regrets.after_share(method, share) for share in SHARES} for method in regrets.methods
    }


def means_of(rows: dict[str, Row]) -> dict[str, dict[str, float]]:
    """Return the mean regrets by method and budget."""
    return {method: {key: float(values.mean()) for key, values in row.items()} for method, row in rows.items()}


def intervals_of(rows: dict[str, Row]) -> dict[str, dict[str, list[float]]]:
    """Return the bootstrap's 95 % intervals by method and budget."""
    return {method: {key: interval(values) for key, values in row.items()} for method, row in rows.items()}


def print_regrets(rows: dict[str, Row], regrets: Regrets) -> None:
    """Print the mean regret of each method at each budget."""
    budgets = list(next(iter(rows.values())))
    print(f"{'LCBench: mean regret':28}" + "".join(f"{f'@{budget}':>8}" for budget in budgets) + "   trials   runs")
    for method, row in rows.items():
        values = "".join(f"{values.mean():8.3f}" for values in row.values())
        print(f"{method:28}{values}{regrets.num_trials(method):9.0f}{len(row[budgets[0]]):7}")


def compare(rows: dict[str, Row]) -> bool:
    """Print how ours compares with the best other method at each budget; return whether it is never worse."""
    holds = True
    for budget, ours in rows.get(OURS, {}).items():
        rivals = {method: row[budget] for method, row in rows.items() if method != OURS}
        rivals = {method: values for method, values in rivals.items() if len(values) == len(ours)}
        if not rivals or budget in NOT_COMPARED:
            continue
        best = min(rivals, key=lambda method: rivals[method].mean())
        share = not_worse(ours, rivals[best])
        holds &= share >= 0.05
        print(f"@{budget}: the best other method is {best}; ours is not worse in {100 * share:.1f} % of the samples")
        if budget in LIMITS and "random" in rivals:
            ratio = ours.mean() / rivals["random"].mean()
            holds &= ratio <= LIMITS[budget]
            print(f"@{budget}: {ratio:.2f} of random's regret, the limit is {LIMITS[budget]}")
    return holds


def print_epochs(records: list[dict[str, Any]]) -> bool:
    """Print the epochs until a training on Omniglot came near the best; return whether the limit holds."""
    table = Table()
    near = table.num_from(near_best(table))
    print(f"\nOmniglot: {len(table)} settings, {near} of them within {NEAR:.0%} of the best mAP, {table.best:.4f}")
    print(f"{'epochs until there':28}{'median':>8}{'quartiles':>16}   runs")
    medians = {}
    for method in dict.fromkeys(record["method"] for record in records):
        spent = [_epochs_until_near(record, table) for record in records if record["method"] == method]
        medians[method] = float(np.median(spent))
        low, high = np.quantile(spent, (0.25, 0.75))
        print(f"{method:28}{medians[method]:8.0f}{f'{low:.0f} to {high:.0f}':>16}{len(spent):7}")
    if "random" not in medians or OURS not in medians:
        return True
    ratio = medians[OURS] / medians["random"]
    print(f"{ratio:.2f} of random's epochs, the limit is {TABLE_LIMIT}")
    return ratio <= TABLE_LIMIT


def _epochs_until_near(record: dict[str, Any], table: Table) -> int:
    """Return the epochs spent until a training came near the best; the whole budget if none did."""
    budget = TABLE_BUDGET * len(table) * omniglot.EPOCHS
    return next((epochs for epochs, value, _ in record["finished"] if value >= near_best(table)), budget)


def draw_figure(regrets: Regrets, path: Path) -> None:
    """Plot the mean regret over the epochs spent, one line per method."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 4.5), layout="constrained")
    trainings = np.linspace(1, BUDGETS[-1], 157)
    for method in regrets.methods:
        ours = method == OURS
        means = [regrets.after_epochs(method, round(number * lcbench.EPOCHS)).mean() for number in trainings]
        axes.plot(
            trainings, means, label=method, linewidth=3 if ours else 1.4,
            color="black" if ours else None, zorder=3 if ours else 2,
        )  # fmt: skip
    axes.set(xlabel="epochs spent, in full trainings", ylabel="normalized regret, mean", yscale="log", xlim=(1, 40))
    axes.grid(alpha=0.3, which="both")
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(path)
