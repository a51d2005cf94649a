"""`python -m bench.cuda.wheels`: carry `bench.cuda` to a machine without a network.

`pack` needs a network and pip. `install` runs on the other machine, in PyTorch's environment.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench import command
from bench.cuda.wheels import install
from commandline.ranges import COUNT

_PIECE_MIB = 56


def main(argv: list[str] | None = None) -> int:
    parser = command.parser("bench.cuda.wheels", __doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    packing = verbs.add_parser("pack", help="download, build and split")
    packing.add_argument("--out", type=Path, required=True, help="folder for the pieces")
    packing.add_argument("--piece-mib", type=COUNT, default=_PIECE_MIB, help="limit of a piece")
    installing = verbs.add_parser("install", help="join, verify and install")
    installing.add_argument("folder", type=Path, help="with the list of pieces, and some of them")
    installing.add_argument("--into", type=Path, required=True, help="where it is installed")
    arguments = parser.parse_args(argv)
    if arguments.verb == "install":
        return install.main([str(arguments.folder), "--into", str(arguments.into)])
    from bench.cuda.wheels.pack import PackError, pack

    try:
        pieces = pack(arguments.out, arguments.piece_mib << 20)
    except PackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    size = sum(piece.stat().st_size for piece in pieces)
    print(f"{arguments.out}: {len(pieces)} pieces, {size / 2**20:.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
