"""
Randomized search: how many candidates are enough?
==================================================

A randomized search samples layer sizes, learning rates, penalties and dropout rates. Candidates
with the same layer sizes are trained as a batch of models. The first ten candidates bring most of
the improvement.
"""

# %%
# The task: odd digits against even digits, which are not linearly separable.
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import loguniform, uniform
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbinary import SearchDisplay, TorchMLPClassifier, VectorizedRandomizedSearchCV

X, y = load_digits(return_X_y=True)
model = make_pipeline(
    StandardScaler(),
    TorchMLPClassifier(
        max_iter=20, n_iter_no_change=20, early_stopping=False, random_state=0
    ),
)
distributions = {
    "torchmlpclassifier__hidden_layer_sizes": [(16,), (32, 16)],
    "torchmlpclassifier__learning_rate_init": loguniform(1e-4, 1e-1),
    "torchmlpclassifier__alpha": loguniform(1e-4, 1e2),
    "torchmlpclassifier__dropout": uniform(0, 0.4),
}
search = VectorizedRandomizedSearchCV(
    model, distributions, n_iter=60, scoring="neg_log_loss", cv=3, random_state=0
).fit(X, y % 2)

# %%
# The best parameters, and the lowest log loss among the first n candidates, averaged over 500
# random orders of the candidates.
scores = search.cv_results_["mean_test_score"]
shuffled = np.random.default_rng(0).permuted(np.tile(scores, (500, 1)), axis=1)
so_far = -np.maximum.accumulate(shuffled, axis=1)

for name, value in search.best_params_.items():
    shown = value if isinstance(value, tuple) else f"{value:.3g}"
    print(f"{name.removeprefix('torchmlpclassifier__')}: {shown}")
print(f"log loss {-search.best_score_:.3f}")
for n in (1, 10, 30, 60):
    print(f"lowest of {n:2} candidates, on average: {so_far[:, n - 1].mean():.3f}")

# %%
# All candidates, over two of the parameters.
SearchDisplay.from_estimator(search, params=["learning_rate_init", "alpha"])

# %%
# The lowest log loss among the first n candidates.
figure, ax = plt.subplots(layout="constrained")
numbers = np.arange(1, len(scores) + 1)
low, high = np.quantile(so_far, [0.05, 0.95], axis=0)
ax.fill_between(
    numbers, low, high, color="#0072B2", alpha=0.2, lw=0, label="90% of the orders"
)
ax.plot(numbers, so_far.mean(axis=0), color="#0072B2", label="mean")
ax.plot(
    numbers,
    -np.maximum.accumulate(scores),
    color="#D55E00",
    ls="--",
    label="in the order of the search",
)
ax.set(xlabel="number of candidates", ylabel="lowest log loss so far", ylim=(0, None))
ax.legend(frameon=False)
ax.set_title("Lowest log loss so far", loc="left")
ax.spines[["top", "right"]].set_visible(False)

plt.show()
