# efi_program.py FILE TEXT [reset]: a UEFI program that says TEXT on the firmware's console, then resets the machine or stays.
# A PE32+ image with one section, by the UEFI specification (2.10): 2.1.1 images, 4.3 system table, 8.5 ResetSystem().
import struct
import sys

text = (sys.argv[2] + "\r\n\0").encode("utf-16-le")
says = (
    b"\x48\x83\xec\x28"      # sub rsp, 40
    b"\x48\x89\xd3"          # mov rbx, rdx: the system table
    b"\x48\x8b\x4b\x40"      # mov rcx, [rbx+64]: ConOut
    b"\x48\x8d\x15%s"        # lea rdx, [rip+TEXT]
    b"\xff\x51\x08"          # call [rcx+8]: OutputString
)
resets = (
    b"\x48\x8b\x43\x58"      # mov rax, [rbx+88]: RuntimeServices
    b"\x31\xc9\x31\xd2"      # xor ecx, ecx: cold; xor edx, edx
    b"\x4d\x31\xc0\x4d\x31\xc9"  # xor r8, r8; xor r9, r9
    b"\xff\x50\x68"          # call [rax+104]: ResetSystem
)
stays = b"\xf3\x90\xeb\xfc"  # pause; jmp
after = (resets if len(sys.argv) > 3 else b"") + stays
code = says % struct.pack("<i", 3 + len(after)) + after + text
code += bytes(-len(code) % 512)

dos = b"MZ" + bytes(58) + struct.pack("<I", 64)
coff = b"PE\0\0" + struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, 240, 0x22)
optional = struct.pack("<HBBIIIII", 0x20B, 0, 0, len(code), 0, 0, 4096, 4096)
optional += struct.pack("<QIIHHHHHHIIIIHH", 0, 4096, 512, 0, 0, 0, 0, 2, 0, 0, 8192, 512, 0, 10, 0)
optional += struct.pack("<QQQQII", 65536, 65536, 65536, 65536, 0, 16) + bytes(128)
section = struct.pack("<8sIIIIIIHHI", b".text", len(code), 4096, len(code), 512, 0, 0, 0, 0, 0x60000020)
head = dos + coff + optional + section
open(sys.argv[1], "wb").write(head + bytes(512 - len(head)) + code)
