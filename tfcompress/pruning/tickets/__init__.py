"""Sparse networks that train alone: found, compared with controls, and kept.

Who wants a small accurate network prunes while it trains: `tfc.callbacks.Pruning` with
`tfc.schedules.Polynomial` takes one training; try that first. To prune in rounds with the
whole learning rate schedule each time (`rewind="learning_rate"`) costs as many trainings
as there are rounds, and one more. Tickets that go back to their beginning, and
masks that are chosen before any training, are tools of research: they say which part of a
network was needed, and they say it only beside their controls. Of SNIP, GraSP and SynFlow
it is known that shuffling each layer's mask or drawing the weights anew changes nothing,
and that all stay below magnitude after training (Frankle et al., "Pruning Neural Networks
at Initialization: Why Are We Missing the Mark?", 2021).

| what | how |
| --- | --- |
| iterative fine-tuning (Han 2015) | `rewind="none"`, `fine_tune=` |
| learning rate rewinding (Renda 2020) | `rewind="learning_rate"` |
| lottery ticket (Frankle 2019) | `rewind="init"`, `rounds=15`, `rates={"head": 0.5}` |
| weight rewinding (Frankle 2020) | `rewind=1000`, a step |
| one-shot | `rounds=1` |
| before training (SNIP, GraSP) | `when="before_training"`, `criterion=`, `scope="global"` |
| the same in rounds (SynFlow) | ..., `rounds=100` |
| gradual (Zhu and Gupta 2017) | `sparsity=` a schedule |
"""

from tfcompress.pruning.tickets.controls import Control
from tfcompress.pruning.tickets.find_ticket import find_ticket
from tfcompress.pruning.tickets.reinitialize import reinitialize
from tfcompress.pruning.tickets.ticket import Ticket

__all__ = ["Control", "Ticket", "find_ticket", "reinitialize"]
