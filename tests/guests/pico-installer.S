# pico-installer.S - an installer that is over in a moment, for tests of what comes before and after: it writes pico.S's
# boot sector onto the first hard disk and resets. It asks before: see README.md next to it.
#
# Assembled twice by scripts/pico-guest: as a boot image for a CD-ROM (El Torito, no emulation: the BIOS loads it at 0x7c00),
# and, with KERNEL defined, as what -kernel takes for Linux: its real-mode part alone, which is entered at 0x200 of its segment
# and never leaves it (Documentation/arch/x86/boot.rst; QEMU's linuxboot loads it at 0x1000:0 and the command line at 0x2000:0).

.code16

.set UART,	0x3f8			# COM1, as in pico.S
.set UART_LSR,	0x3fd
.set PM1_CNT,	0x604
.set RST_CNT,	0xcf9			# the chipset's: 6 resets the machine
.set BIOS_WRITE, 0x43
.set DISK,	0x80

.globl _start
_start:
.ifdef KERNEL
.set SEGMENT,	0x1000
.set COMMAND,	0x2000			# segment of the command line
	.org	0x1f1
	.byte	3			# setup_sects: sectors after the first one
	.org	0x1fe
	.word	0xaa55
	jmp	entry			# 0x200
	.org	0x202
	.ascii	"HdrS"
	.word	0x206			# the protocol's version
	.org	0x211
	.byte	1			# LOADED_HIGH
	.org	0x22c
	.long	0x37ffffff		# initrd_addr_max
	.org	0x238
	.long	2047			# cmdline_size
	.org	0x268
.else
.set SEGMENT,	0
.endif
entry:
	ljmp	$SEGMENT, $1f
1:	movw	$SEGMENT, %ax
	movw	%ax, %ds
	movw	%ax, %es
.ifndef KERNEL
	cli
	movw	%ax, %ss
	movw	$_start, %sp
	sti
.endif
	cld
	movw	$hello, %si
	call	print
.ifdef KERNEL
	pushw	%ds
	movw	$COMMAND, %ax
	movw	%ax, %ds
	xorw	%si, %si
	call	print
	popw	%ds
.endif
	movw	$end, %si
	call	print

ask:
	movw	$UART_LSR, %dx
	inb	%dx, %al
	testb	$1, %al
	jz	ask
	movw	$UART, %dx
	inb	%dx, %al
	cmpb	$'i', %al
	je	install
	cmpb	$'r', %al
	je	reset
	cmpb	$'p', %al
	jne	ask
	movw	$PM1_CNT, %dx
	movw	$0x2000, %ax		# SLP_EN, and SLP_TYP 0: off
	outw	%ax, %dx
	jmp	ask

install:
	movb	$BIOS_WRITE, %ah
	xorb	%al, %al
	movb	$DISK, %dl
	movw	$packet, %si
	int	$0x13
	movw	$failed, %si
	jc	1f
	movw	$done, %si
1:	call	print
reset:
	movw	$RST_CNT, %dx
	movb	$2, %al
	outb	%al, %dx
	movb	$6, %al
	outb	%al, %dx
	jmp	reset

# The text at %si to COM1.
print:
	lodsb
	testb	%al, %al
	jz	2f
	movb	%al, %ah
1:	movw	$UART_LSR, %dx
	inb	%dx, %al
	testb	$0x20, %al
	jz	1b
	movb	%ah, %al
	movw	$UART, %dx
	outb	%al, %dx
	jmp	print
2:	ret

hello:	.asciz	"INSTALLER-UP "
end:	.asciz	"\r\n"
done:	.asciz	"INSTALLED\r\n"
failed:	.asciz	"INSTALLER-FAILED\r\n"

	.balign	4
packet:	.byte	16, 0			# what int 0x13 writes: one sector, the first
	.word	1, sector, SEGMENT
	.quad	0

	.balign	16
sector:	.incbin	"sector"		# pico.S's
	.org	0x800
.ifdef KERNEL
	.fill	512			# a protected-mode part, which is never entered
.endif
