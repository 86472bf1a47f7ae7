"""How models are run."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Plan:
    """How each model is run.

    Attributes:
        backend: `"xnnpack"`, or `"cpu"` for TFLite's own kernels; in the app `"nnapi"` and
            `"gpu"` too, where the device has them.
        num_threads: threads that kernels may use.
        warm_up: runs before the timed ones.
        runs: timed runs at least.
        seconds: of timed runs at least.
        timeout: seconds after which a model is given up.
    """

    backend: str = "xnnpack"
    num_threads: int = 1
    warm_up: int = 5
    runs: int = 50
    seconds: float = 0.5
    timeout: int = 600

    def to_dict(self, checks_accuracy):
        """The plan as result files and the app have it."""
        return {
            "backend": self.backend,
            "num_threads": self.num_threads,
            "warm_up": self.warm_up,
            "runs": self.runs,
            "seconds": self.seconds,
            "checks_accuracy": checks_accuracy,
        }
