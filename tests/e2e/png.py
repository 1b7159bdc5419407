#!/usr/bin/env python3
"""png.py FILE: decodes a PNG as the specification says, and prints "WIDTH HEIGHT COLOURS"; fails if it is none."""
import struct
import sys
import zlib

data = open(sys.argv[1], "rb").read()
assert data[:8] == b"\x89PNG\r\n\x1a\n", "not a PNG's signature"
at, pixels, names = 8, b"", []
while at < len(data):
    length, name = struct.unpack(">I4s", data[at : at + 8])
    body = data[at + 8 : at + 8 + length]
    (crc,) = struct.unpack(">I", data[at + 8 + length : at + 12 + length])
    assert crc == zlib.crc32(name + body), f"the checksum of {name}"
    if name == b"IHDR":
        width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", body)
    elif name == b"IDAT":
        pixels += body
    names.append(name)
    at += 12 + length
assert names[0] == b"IHDR" and names[-1] == b"IEND", names
assert depth == 8 and kind in (2, 6) and not interlaced, (depth, kind, interlaced)
size = 3 if kind == 2 else 4
rows, stride, colours, above = zlib.decompress(pixels), width * size, set(), bytearray(width * size)
assert len(rows) == height * (stride + 1), "it is not whole"


def paeth(a, b, c):
    p = a + b - c
    return min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]


for y in range(height):
    filtered, row = rows[y * (stride + 1)], bytearray(rows[y * (stride + 1) + 1 : (y + 1) * (stride + 1)])
    for x in range(stride) if filtered else ():
        left, corner = (row[x - size], above[x - size]) if x >= size else (0, 0)
        guess = (0, left, above[x], (left + above[x]) // 2, paeth(left, above[x], corner))[filtered]
        row[x] = (row[x] + guess) & 255
    colours.update(bytes(row[x : x + 3]) for x in range(0, stride, size))
    above = row
print(width, height, len(colours))
