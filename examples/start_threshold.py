"""
Tune the threshold to a recall of 95%
=====================================

One in ten of the handwritten digits is a nine. The objective is to find at least 95% of the nines,
with as few false alarms as possible. Pass the objective as the threshold, and ``fit`` tunes it on
data that the model was not trained on.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.metrics import precision_score, recall_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbinary import ThresholdDisplay, TorchLogisticClassifier

X, y = load_digits(return_X_y=True)
y = y == 9
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

model = make_pipeline(
    StandardScaler(), TorchLogisticClassifier(threshold={"recall": 0.95})
)
model.fit(X_train, y_train)

# Compare the tuned threshold with 0.5 on test data.
tuned = model[-1].threshold_
probability = model.predict_proba(X_test)[:, 1]
for threshold in (0.5, tuned):
    found = probability >= threshold
    recall, precision = recall_score(y_test, found), precision_score(y_test, found)
    print(f"threshold {threshold:.3f}: recall {recall:.1%}, precision {precision:.1%}")
same = (model.predict(X_test) == (probability >= tuned)).all()
print(f"predict uses the tuned threshold: {same}")

# %%
# Precision and recall on the test data for every threshold, with the tuned one marked.
ThresholdDisplay.from_estimator(model, X_test, y_test)
plt.show()
