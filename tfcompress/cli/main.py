"""`tfcompress COMMAND`: the toolkit from the shell.

Importing `tfcompress` imports TensorFlow. So this folder is installed as a package next to
it, `tfcompress_cli`, and imports its own modules relatively: help and usage errors appear
at once, and a command imports what it needs when it runs.
"""

import functools
import importlib
import importlib.metadata
import json
import os
import sys

from absl import flags

from . import completion

COMMANDS = (
    "demo",
    "recipes",
    "compress",
    "convert",
    "inspect",
    "benchmark",
    "compare",
    "fit-check",
)
_ENDING = """
example: tfcompress demo

For completion in bash, add this line to ~/.bashrc:
  complete -o default -C "tfcompress completion" tfcompress
In zsh, add these lines to ~/.zshrc:
  autoload -U compinit bashcompinit && compinit && bashcompinit
  complete -o default -C "tfcompress completion" tfcompress"""
_ERRORS = (ImportError, KeyError, OSError, RuntimeError, TypeError, ValueError)


def run(arguments=None):
    """Runs a command and returns the exit code: 0, 1 for errors, 2 for wrong usage."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0 if arguments else 2
    name, *rest = arguments
    if name == "--version":
        print(importlib.metadata.version("tfcompress"))
        return 0
    if name == "completion":
        return _complete(*rest)
    if name not in COMMANDS:
        return _fail(
            f"unknown command {name!r}; expected one of {', '.join(COMMANDS)}.", 2
        )
    command = _module(name)
    values = _flags(name)
    try:
        positional = values([name, *map(_as_absl_writes_it, rest)])[1:]
    except flags.Error as error:
        return _fail(f"{error} See 'tfcompress {name} --help'.", 2)
    if values.help:
        print(_help(command, values))
        return 0
    most = sys.maxsize if getattr(command, "MORE", False) else command.ARGUMENTS
    if not command.ARGUMENTS <= len(positional) <= most:
        usage = command.__doc__.strip().splitlines()[0]
        return _fail(f"got {len(positional)} arguments. Usage: {usage}", 2)
    return _execute(command, values, positional)


def _module(name):
    return importlib.import_module(f".{name.replace('-', '_')}", __package__)


def _flags(name):
    values = flags.FlagValues()
    _module(name).define(values)
    flags.DEFINE_bool("json", False, "Print one JSON object and nothing else.", values)
    flags.DEFINE_bool("help", False, "Show this text.", values)
    return values


def _complete(program="", word=None, previous=""):
    """Prints completions; bash passes the word at the cursor as it splits it."""
    line = os.environ.get("COMP_LINE", "")
    line = line[: int(os.environ.get("COMP_POINT", len(line)))]
    commands = {name: functools.partial(_flags, name) for name in COMMANDS}
    offered = completion.offers(line, commands)
    if word is not None:
        offered = completion.from_word(offered, line, word)
    print("\n".join(offered))
    return 0


def _as_absl_writes_it(argument):
    """`--data_dir=x` for `--data-dir=x`."""
    flag, equals, value = argument.partition("=")
    if not flag.startswith("--"):
        return argument
    return f"--{flag[2:].replace('-', '_')}{equals}{value}"


def _execute(command, values, positional):
    # Importing our package imports TensorFlow, whose notes are dropped.
    from tfcompress.core.quiet import native_notes_dropped

    with native_notes_dropped(with_warnings=True):
        import tensorflow as tf

        # TensorFlow's first operation complains loudly on machines without a GPU.
        tf.constant(0)
    try:
        result = command.main(values, *positional)
    except KeyboardInterrupt:
        return _fail("interrupted.", 130)
    except _ERRORS as error:
        return _fail(_one_line(error))
    print(json.dumps(result.to_dict(), indent=2) if values.json else result)
    return 0


def _overview():
    lines = [
        "Network compression for Keras 3.",
        "",
        "usage: tfcompress COMMAND [--help] …",
        "",
    ]
    for name in COMMANDS:
        lines.append(f"  {name:10s} {_module(name).SUMMARY}")
    return "\n".join([*lines, _ENDING])


def _help(command, values):
    lines = [command.__doc__.strip(), "", "flags:"]
    for name in sorted(values):
        flag = values[name]
        default = (
            ""
            if flag.default is None or flag.boolean
            else f" (default: {flag.default})"
        )
        lines.append(
            f"  --{name.replace('_', '-'):14s} {' '.join(flag.help.split())}{default}"
        )
    return "\n".join(lines)


def _fail(message, code=1):
    print(f"tfcompress: error: {message}", file=sys.stderr)
    return code


def _one_line(error):
    message = error.args[0] if isinstance(error, KeyError) and error.args else error
    return " ".join(str(message).split())
