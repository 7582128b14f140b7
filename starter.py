"""The person's command line: `python starter.py --help`."""

import signal

# Until the command runs, Ctrl-C ends this without a word; Python would print a traceback of its imports.
signal.signal(signal.SIGINT, signal.SIG_DFL)

import desk.snapshot_commands  # noqa: E402, F401 (adds its commands)
from desk.app import main  # noqa: E402

if __name__ == "__main__":
    main()
