"""Stands for a GPU that records steps."""


class Recorder:
    """Stands for a graph: records by running, as CUDA does to warm up, and replays by calling."""

    def __init__(self):
        self.n_recorded = self.n_replayed = 0

    def __call__(self, function):
        self.n_recorded += 1
        function()

        def replay():
            self.n_replayed += 1
            function()

        return replay
