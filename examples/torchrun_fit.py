"""
Fit one model to the rows of several processes
==============================================

``torchrun --nproc-per-node 2 torchrun_fit.py`` starts two processes, each of which runs this script
and fits with its own rows. Both get the same model. Started by ``python`` alone, it is one process
with all rows.
"""

import os

import numpy as np
import torch.distributed as dist
from sklearn.datasets import make_classification
from sklearn.metrics import log_loss

from skbinary import TorchLogisticClassifier, TorchMLPClassifier
from skbinary.distributed import fit

# torchrun sets these variables. They describe a single process if it has not.
single = {
    "RANK": "0",
    "WORLD_SIZE": "1",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "0",
}
for name, value in single.items():
    os.environ.setdefault(name, value)
dist.init_process_group("gloo")
rank, n_processes = dist.get_rank(), dist.get_world_size()

# Each process reads its own rows, such as some of the files of a folder.
X, y = make_classification(20_000, 30, n_informative=10, flip_y=0.1, random_state=0)
X_own = np.array_split(X, n_processes)[rank]
y_own = np.array_split(y, n_processes)[rank]

logistic = fit(TorchLogisticClassifier(), X_own, y_own)
# A batch of 2,000 rows, of all processes: each batch costs a message.
network = TorchMLPClassifier(
    (32,), batch_size=2000, learning_rate_init=0.01, random_state=0
)
fit(network, X_own, y_own)

if rank == 0:
    for model in (logistic, network):
        loss = log_loss(y, model.predict_proba(X))
        print(f"{type(model).__name__}: log loss {loss:.3f}")
dist.destroy_process_group()
