"""How models are run."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Plan:
    """How each model is run.

    Attributes:
        backend: `"xnnpack"`, or `"cpu"` for TFLite's own kernels; in the app also
            `"nnapi"` and `"gpu"`, if the device has them.
        num_threads: threads that kernels may use.
        warm_up: runs before the timed ones.
        runs: minimum number of timed runs.
        seconds: minimum duration of the timed runs.
        timeout: seconds after which a model is aborted.
    """

    backend: str = "xnnpack"
    num_threads: int = 1
    warm_up: int = 5
    runs: int = 50
    seconds: float = 0.5
    timeout: int = 600

    def to_dict(self, checks_accuracy):
        """The plan in the form used in result files and by the app."""
        return {
            "backend": self.backend,
            "num_threads": self.num_threads,
            "warm_up": self.warm_up,
            "runs": self.runs,
            "seconds": self.seconds,
            "checks_accuracy": checks_accuracy,
        }
