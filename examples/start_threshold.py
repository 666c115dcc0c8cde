"""
Start: a threshold for 95% recall
=================================

Which of the handwritten digits are nines? One in ten is. We want to find at least 95% of them,
with as few false alarms as that allows. The aim stands where a number would stand, and ``fit``
chooses the threshold on rows that did not train the model that scored them.
"""

from sklearn.datasets import load_digits
from sklearn.metrics import precision_score, recall_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbinary import ThresholdDisplay, TorchLogisticClassifier

X, y = load_digits(return_X_y=True)
y = y == 9
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

model = make_pipeline(StandardScaler(), TorchLogisticClassifier(threshold={"recall": 0.95}))
model.fit(X_train, y_train)

# predict uses the chosen threshold. On new rows the recall comes close to what was asked for,
# where 0.5 would have missed more nines.
chosen = model[-1].threshold_
probability = model.predict_proba(X_test)[:, 1]
for threshold in (0.5, chosen):
    found = probability >= threshold
    recall, precision = recall_score(y_test, found), precision_score(y_test, found)
    print(f"threshold {threshold:.3f}: recall {recall:.1%}, precision {precision:.1%}")
print("as predict has it:", (model.predict(X_test) == (probability >= chosen)).all())

# What every other threshold would do on these rows.
ThresholdDisplay.from_estimator(model, X_test, y_test)
