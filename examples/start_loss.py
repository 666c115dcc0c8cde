"""
Plot the loss
=============

The loss on the training set and on the validation set shows whether a network has trained long
enough, and whether it overfits. With 1,000 rows or more the network holds out a tenth of them,
stops when their loss no longer improves, and keeps the weights of the best epoch.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbinary import LossCurveDisplay, TorchMLPClassifier

X, y = load_digits(return_X_y=True)
network = TorchMLPClassifier(learning_rate_init=0.003, random_state=2)
model = make_pipeline(StandardScaler(), network).fit(X, y == 9)

display = LossCurveDisplay.from_estimator(model, log_scale=True)
print(f"best epoch: {network.best_epoch_} of {network.n_iter_}")
print(f"stopped by: {network.stop_reason_}")

# %%
# The curves are on a logarithmic scale, which shows changes of a small loss.
plt.show()
