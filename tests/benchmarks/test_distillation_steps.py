import distillation_steps
import keras
import numpy as np
import pytest


@pytest.mark.parametrize("name", ["logits", "features"])
def test_ours_learns_what_the_step_by_hand_learns(name, monkeypatch):
    keras.utils.set_random_seed(0)
    students = {}

    def remember(variant):
        make = getattr(distillation_steps, variant)

        def made(name, student, teacher):
            students[variant] = student
            return make(name, student, teacher)

        return made

    for variant in ("by_hand", "ours"):
        monkeypatch.setattr(distillation_steps, variant, remember(variant))
    monkeypatch.setattr(distillation_steps, "peer", lambda *models: None)
    steps = distillation_steps.steps(name)
    losses = [
        float(steps[variant](distillation_steps.batches(seed=0))["loss"])
        for variant in ("by hand", "ours")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    by_hand, ours = (students[v].get_weights() for v in ("by_hand", "ours"))
    for a, b in zip(by_hand, ours, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
