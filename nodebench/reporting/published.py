"""Published values for comparison with ours, from Chen et al. 2018, arXiv 1806.07366."""

from collections.abc import Callable

# Table 1: test error in %, parameters in millions, by our name of the model.
TABLE_1 = {"mlp": (1.60, 0.24), "resnet": (0.41, 0.60), "rknet": (0.47, 0.22), "odenet": (0.42, 0.22)}

# Table 2: RMSE beyond the window, by our name of the model and the number of observations.
TABLE_2 = {
    "rnn": {30: 0.3937, 50: 0.3202, 100: 0.1813},
    "latent-ode": {30: 0.1642, 50: 0.1502, 100: 0.1346},
}


def published(study: str, metric: str, axis: Callable[[str], object]) -> float | None:
    """Return the published value of a metric, or None; ``axis`` gives the values of a configuration."""
    model = str(axis("model"))
    if study in ("table1", "mnist-full") and model in TABLE_1 and axis("solver") in (None, "dopri5"):
        return {"test_error": TABLE_1[model][0], "parameters": TABLE_1[model][1] * 1e6}.get(metric)
    if study == "table2" and metric == "extrapolation_rmse" and axis("variant") in (None, "paper"):
        observations = axis("observations")
        return TABLE_2.get(model, {}).get(observations) if isinstance(observations, int) else None
    return None
