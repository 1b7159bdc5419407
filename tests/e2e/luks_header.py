#!/usr/bin/python3
"""luks_header.py IMAGE CIPHER MODE HASH KEY-BYTES: makes a LUKS image of an empty qcow2 image, as far as what is told of it goes.

qemu-img makes them itself, and takes seconds to measure how often it shall hash.
"""
import struct
import sys

path, cipher, mode, digest, key_bytes = sys.argv[1:]
with open(path, "r+b") as f:
    image = bytearray(f.read())
    version, cluster_bits = struct.unpack_from(">I", image, 4)[0], struct.unpack_from(">I", image, 20)[0]
    struct.pack_into(">I", image, 32, 2)  # crypt_method
    cluster = 1 << cluster_bits
    at = -(-len(image) // cluster) * cluster
    split = -(-int(key_bytes) * 4000 // 4096) * 8  # sectors of a key slot
    payload = 8 + 8 * split
    header = struct.pack(">6sH32s32s32sII20s32sI40s", b"LUKS\xba\xbe", 1, cipher.encode(), mode.encode(), digest.encode(),
                         payload, int(key_bytes), b"d" * 20, b"s" * 32, 1234, b"5e9a5a3c-0000-4000-8000-000000000001")
    for slot in range(8):
        active = slot % 3 == 0
        header += struct.pack(">II32sII", 0xAC71F3 if active else 0xDEAD, 4321 if active else 0, b"", 8 + slot * split, 4000)
    extension = struct.pack(">IIQQ", 0x0537BE77, 16, at, payload * 512)
    head = 112 if version == 3 else 72
    image[head + len(extension):cluster] = image[head:cluster - len(extension)]
    image[head:head + len(extension)] = extension
    f.seek(0)
    f.write(image)
    f.seek(at)
    f.write(header)
    f.truncate(at + payload * 512)
