"""A stand-in for the capture of CUDA graphs."""


class FakeCapture:
    """Captures a function by running it, as CUDA does to warm up, and replays it by calling it."""

    def __init__(self):
        self.n_captured = self.n_replayed = 0

    def __call__(self, function):
        self.n_captured += 1
        function()

        def replay():
            self.n_replayed += 1
            function()

        return replay
