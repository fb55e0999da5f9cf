"""`tidegate compile`: compile every loop now and keep the result on disk, so that no start waits for it."""

import argparse
import os
import sys
import time

from flows.cli import OK
from flows.commands.run import FLOWS
from flows.settings import load_settings


def add_arguments(_: argparse.ArgumentParser) -> None:
    """Add nothing: there is only one way to do it."""


def main(args: argparse.Namespace) -> int:
    """Do `tidegate compile`."""
    started = time.perf_counter()
    settings = load_settings(args.config, os.environ)
    for flow in FLOWS.values():
        flow.warm_up(settings)
    sys.stderr.write(f"compiled in {time.perf_counter() - started:.1f} s\n")
    return OK
