"""The person's command line: `python starter.py --help`."""

import signal

# Until the command runs, Ctrl-C ends this without a word; Python would print a traceback of its imports.
signal.signal(signal.SIGINT, signal.SIG_DFL)

# ruff: noqa: E402, F401 (after that, and each module adds its commands)
from connection import terminal

terminal.prepare(answers=True)

import desk.codec_command
import desk.commands
import desk.doctor_command
import desk.history_commands
import desk.keygen_command
import desk.mcp_command
import desk.memory_commands
import desk.observing_commands
import desk.proposal_commands
import desk.report_command
import desk.snapshot_commands
import desk.verification_commands
import desk.watching
from desk.app import main

if __name__ == "__main__":
    main()
