"""Completion of the word at the cursor in a shell.

`complete -C` of bash, which zsh supports too, runs `tfcompress completion` with the line
in `COMP_LINE`. Where nothing is offered, the shell completes file names.
"""


def offers(line, commands):
    """The completions of the last word of a line.

    Args:
        line: the text up to the cursor.
        commands: `{name: function that returns the command's flags}`.

    Example:
        >>> offers("tfcompress com", {"compare": dict, "compress": dict, "demo": dict})
        ['compare', 'compress']
    """
    *before, word = line.split(" ")
    before = [each for each in before if each]
    if len(before) < 2:
        return _beginning(word, commands)
    if before[1] not in commands:
        return []
    flags = _by_argument(commands[before[1]]())
    name, equals, _ = word.partition("=")
    if equals:
        return _beginning(word, [f"{name}={each}" for each in _choices(flags, name)])
    if word.startswith("-"):
        return _beginning(word, flags)
    name = before[-1]
    takes_word = name in flags and not flags[name].boolean
    return _beginning(word, _choices(flags, name)) if takes_word else []


def from_word(offered, line, word):
    """The offers without the text before `word`, since bash splits words at `=`.

    >>> from_word(["--sparse=auto"], "tfcompress convert --sparse=a", "a")
    ['auto']
    """
    skipped = len(line.rpartition(" ")[2]) - len(word)
    return [each[skipped:] for each in offered]


def _by_argument(values):
    return {f"--{name.replace('_', '-')}": values[name] for name in values}


def _choices(flags, name):
    if name not in flags:
        return ()
    flag = flags[name]
    return (
        ("true", "false") if flag.boolean else getattr(flag.parser, "enum_values", ())
    )


def _beginning(start, words):
    return [word for word in words if word.startswith(start)]
