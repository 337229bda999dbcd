"""`aasp alias WHAT …`: the aliasing laboratory, with one command per measurement and one for their report."""

from __future__ import annotations

from aasp.cli.main import listed, run_named

COMMANDS = {
    "stability": "how far an encoder's embeddings move when the sound is shifted or modulated",
    "response": "which modulation rates a stem passes, and where those beyond its Nyquist frequency land",
    "kernels": "where decays and frequencies go for real clips, and which rates each patch looks at",
    "report": "one HTML page of all that was measured into a folder",
}

HELP = """\
usage: aasp alias COMMAND [ARGUMENTS]     aasp alias COMMAND --help

Patches alias modulations: does it matter for an encoder, and does its stem prevent it? Each command writes its numbers
into a folder; the report is drawn from them.

commands:
{commands}
"""


def run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(HELP.format(commands=listed(COMMANDS)), end="")
        return 0 if argv else 2
    return run_named(argv, COMMANDS, above="alias")
