"""Generate the protobuf stubs from ``v1/phyletic_v1.proto``.

`make stubs` runs it with grpcio-tools 1.76, whose stubs load under protobuf 6.31 and 7.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

PROTO = Path(__file__).parent / "v1" / "phyletic_v1.proto"
GENERATED = ("phyletic_v1_pb2.py", "phyletic_v1_pb2.pyi")


def generate(folder: Path) -> list[Path]:
    """Generate the stubs, and return their files.

    Args:
        folder: Under which to write them, in the folders of their package.

    Raises:
        RuntimeError: The compiler refused the definition.
    """
    from grpc_tools import protoc

    source = PROTO.parents[3]
    arguments = [f"-I{source}", f"--python_out={folder}", f"--pyi_out={folder}", str(PROTO)]
    if protoc.main(["protoc", *arguments]) != 0:
        raise RuntimeError(f"protoc refused {PROTO}")
    package = folder / PROTO.parent.relative_to(source)
    return [package / name for name in GENERATED]


def stale() -> list[str]:
    """Return the names of the committed stubs that differ from what the definition gives."""
    with tempfile.TemporaryDirectory() as folder:
        return [
            made.name for made in generate(Path(folder)) if made.read_bytes() != (PROTO.parent / made.name).read_bytes()
        ]


if __name__ == "__main__":
    if "--check" in sys.argv:
        found = stale()
        sys.exit(f"{', '.join(found)}: not what {PROTO.name} gives; run: make stubs" if found else 0)
    print(*generate(PROTO.parents[3]), sep="\n", file=sys.stderr)
