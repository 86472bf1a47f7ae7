# Written by tests/typing/stubs.py.
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras


import tfcompress
import tfcompress.criteria
import tfcompress.patterns
import tfcompress.pruning.tickets
import tfcompress.schedules
import tfcompress.scopes

from tfcompress.pruning.tickets.controls import Control as Control
def find_ticket(model: keras.Model, train: Callable[..., Any], sparsity: float | tfcompress.schedules.Schedule | type[tfcompress.schedules.Schedule] | str | Mapping[str, Any] | float | int, rounds: int = 1, when: Literal['after_training', 'before_training'] = 'after_training', rewind: Literal['init', 'learning_rate', 'none'] | int = 'init', fine_tune: Callable[..., Any] | None = None, criterion: tfcompress.criteria.Criterion | type[tfcompress.criteria.Criterion] | str | Mapping[str, Any] = 'magnitude', pattern: tfcompress.patterns.Pattern | type[tfcompress.patterns.Pattern] | str | Mapping[str, Any] = 'weight', scope: tfcompress.scopes.Scope | type[tfcompress.scopes.Scope] | str | Mapping[str, Any] = 'local', rates: Mapping[Any, float] | None = None, data: Any = None, evaluate: Callable[..., Any] | None = None, folder: str | os.PathLike[str] | None = None, seed: int = 0) -> tfcompress.pruning.tickets.Ticket: ...
def reinitialize(model: keras.Model, seed: int = 0) -> keras.Model: ...
from tfcompress.pruning.tickets.ticket import Ticket as Ticket
