"""
Start: a vectorized search
==========================

How fast may the network learn, how strong should its penalty be, and where should it say yes? The
grid is written as for ``GridSearchCV``; what differs is the name of the search, and that all
candidates are trained side by side. A threshold costs no training.
"""

from sklearn.datasets import load_digits
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skbinary import SearchDisplay, TorchMLPClassifier, VectorizedGridSearchCV

X, y = load_digits(return_X_y=True)

# A fixed number of epochs, so that all candidates see as much.
network = TorchMLPClassifier((32,), max_iter=60, n_iter_no_change=60, random_state=0)
model = Pipeline([("scale", StandardScaler()), ("network", network)])
grid = {
    "network__learning_rate_init": [0.0003, 0.001, 0.003, 0.01],
    "network__alpha": [0.0001, 0.01, 1.0],
    "network__threshold": [0.3, 0.5, 0.7],
}
search = VectorizedGridSearchCV(model, grid, scoring="f1", cv=5).fit(X, y == 9)

print(f"F1 of the best: {search.best_score_:.3f}")
print("trained in stacks:", (search.cv_results_["fit_mode"] == "stacked").all())
for name, value in search.best_params_.items():
    print(f"{name}: {value}")

# F1 over two of the parameters, with the best threshold for each pair.
SearchDisplay.from_estimator(search, params=["learning_rate_init", "alpha"], kind="heatmap")
