"""
Search hyperparameters
======================

A grid over the learning rate, the penalty and the threshold of a network. The only difference from
scikit-learn is the name of the search: it trains candidates and folds as a batch of models.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skbinary import SearchDisplay, TorchMLPClassifier, VectorizedGridSearchCV

X, y = load_digits(return_X_y=True)

# A fixed number of epochs, the same for all candidates.
network = TorchMLPClassifier((32,), max_iter=60, n_iter_no_change=60, random_state=0)
model = Pipeline([("scale", StandardScaler()), ("network", network)])
grid = {
    "network__learning_rate_init": [0.0003, 0.001, 0.003, 0.01],
    "network__alpha": [0.0001, 0.01, 1.0],
    "network__threshold": [0.3, 0.5, 0.7],
}
search = VectorizedGridSearchCV(model, grid, scoring="f1", cv=5).fit(X, y == 9)

print(f"best F1: {search.best_score_:.3f}")
print(f"batched: {(search.cv_results_['fit_mode'] == 'batched').all()}")
for name, value in search.best_params_.items():
    print(f"{name}: {value}")

# %%
# F1 over two of the parameters, each with the best threshold.
SearchDisplay.from_estimator(
    search, params=["learning_rate_init", "alpha"], kind="heatmap"
)
plt.show()
