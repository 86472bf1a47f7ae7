"""Sparse networks that train in isolation: found, compared with controls, and saved.

To get a small, accurate network, prune while it trains: `tfc.callbacks.Pruning` with
`tfc.schedules.Polynomial` takes a single training; try that first. Pruning in rounds
with the full learning rate schedule each time (`rewind="learning_rate"`) costs one
training per round, plus one. Tickets that are rewound to initialization, and masks that
are chosen before training, are research tools: they show which part of a network was
needed, but only in comparison with their controls. For SNIP, GraSP and SynFlow it is
known that shuffling each layer's mask or reinitializing the weights makes no
difference, and that all of them remain below magnitude pruning after training (Frankle
et al., "Pruning Neural Networks at Initialization: Why Are We Missing the Mark?", 2021).

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
