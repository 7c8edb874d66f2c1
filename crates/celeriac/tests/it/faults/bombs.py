"""Writes compressed streams that inflate to far more than their size, for a test."""
import bz2, lzma, pathlib, struct, sys, zlib

import brotli
from backports import zstd

folder = pathlib.Path(sys.argv[1])
chunk, times = bytes(1_000_000), 200


def write(name, compressor, last):
    parts = [compressor(chunk) for _ in range(times)]
    (folder / name).write_bytes(b"".join(parts) + last())


packer = zlib.compressobj(9)
write("zlib", packer.compress, packer.flush)
packer = bz2.BZ2Compressor(9)
write("bzip2", packer.compress, packer.flush)
packer = lzma.LZMACompressor(preset=0)
write("xz", packer.compress, packer.flush)
packer = brotli.Compressor(quality=1)
write("brotli", packer.process, packer.finish)
packer = zstd.ZstdCompressor()
write("zstd", packer.compress, packer.flush)
# A frame with a content size of 1 GB (8 bytes) and one block of one byte, which is the last.
frame = bytes.fromhex("28b52ffd") + bytes([0b1110_0000]) + struct.pack("<Q", 1 << 30)
(folder / "zstd-declared").write_bytes(frame + bytes.fromhex("090000") + b"x")
