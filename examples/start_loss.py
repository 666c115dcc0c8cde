"""
Start: the loss plot
====================

Has the network learnt enough, or too much? The loss on the rows that train, and on rows that do
not, tells. With 1,000 rows or more the network holds a tenth of them out, stops when their loss has
not fallen for a while, and keeps the weights of the best epoch.
"""

import sys
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbinary import LossCurveDisplay, TorchMLPClassifier

X, y = load_digits(return_X_y=True)
network = TorchMLPClassifier(learning_rate_init=0.003, random_state=2)
model = make_pipeline(StandardScaler(), network).fit(X, y == 9)

display = LossCurveDisplay.from_estimator(model, log_scale=True)
print(f"best epoch: {network.best_epoch_} of {network.n_iter_}")
print(f"why it stopped: {network.stop_reason_.description}")

# %%
# The picture goes into ``output/`` beside this script, or the folder named on the command line.
output = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "output"
output.mkdir(parents=True, exist_ok=True)
display.figure_.savefig(output / "start_loss.png", dpi=120)
