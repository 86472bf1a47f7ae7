"""How many exits in a row agree."""

import numpy as np

from tfcompress.core.nouns import ExitRule


class Patience(ExitRule):
    """How many consecutive exits just before this one gave the same answer.

    A threshold of 1 lets a sample leave at the first exit that confirms the previous one.
    Scores are integers, so a network with few exits can meet only few budgets.

    Source: PABEE: Zhou et al., "BERT Loses Patience" (2020), section 3.2.

    Example:
        >>> answers = np.array([[0], [1], [1], [1]])
        >>> Patience()(np.eye(2)[answers])[:, 0]
        array([0, 0, 1, 2])
    """

    def __call__(self, probabilities):
        """Scores `(exits, samples)`."""
        answers = np.argmax(probabilities, axis=-1)
        scores = np.zeros(answers.shape, int)
        for i in range(1, len(answers)):
            is_same = answers[i] == answers[i - 1]
            scores[i] = np.where(is_same, scores[i - 1] + 1, 0)
        return scores
