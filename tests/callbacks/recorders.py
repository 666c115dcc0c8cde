"""skorch callbacks that record what they receive, or raise."""

from copy import deepcopy

from skorch.callbacks import Callback


class Recorder(Callback):
    """Records the weights and the history at the end of each epoch."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.initial_ = deepcopy(net.module_.state_dict())
        self.states_ = []
        self.names_ = [name for name, _ in net.callbacks_]

    def on_epoch_end(self, net, **kwargs):
        self.states_.append(deepcopy(net.module_.state_dict()))
        self.history_ = deepcopy(net.history)

    def on_train_end(self, net, X=None, y=None, **kwargs):
        self.history_ = deepcopy(net.history)


class EpochRecorder(Callback):
    """Records the calls of the epoch-level methods."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.events_ = ["train_begin"]

    def on_epoch_begin(self, net, **kwargs):
        self.events_.append("epoch_begin")

    def on_epoch_end(self, net, **kwargs):
        self.events_.append("epoch_end")

    def on_train_end(self, net, X=None, y=None, **kwargs):
        self.events_.append("train_end")


class BatchRecorder(Callback):
    """Records the calls of the batch-level methods."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.begun_, self.ended_, self.sizes_, self.n_gradients_ = [], [], [], 0

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        self.begun_.append(training)

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.n_gradients_ += 1

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        self.ended_.append(training)
        self.sizes_.append(len(batch[0]))


class RaiseAtTrainBegin(Callback):
    """Raises before the first epoch."""

    def __init__(self, error):
        self.error = error

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        raise self.error


class RaiseAtEpochEnd(Callback):
    """Raises at the end of an epoch."""

    def __init__(self, error, epoch):
        self.error = error
        self.epoch = epoch

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.epoch:
            raise self.error


class RaiseAtBatchEnd(Callback):
    """Raises at the end of the second batch of an epoch."""

    def __init__(self, error, epoch):
        self.error = error
        self.epoch = epoch

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        if len(net.history) == self.epoch and len(net.history[-1, "batches"]) == 2:
            raise self.error
