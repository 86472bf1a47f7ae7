"""The scripts import each other by name; peers import packages not installed here."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
collect_ignore = ["peers"]
