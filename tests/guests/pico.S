# pico.S - a whole guest in one 512-byte boot sector, for tests that need a running machine but no Linux.
#
# It runs on QEMU's `pc` and `q35` with SeaBIOS, under KVM and TCG, from a virtio-blk or IDE disk, and needs nothing
# but a disk and COM1. It is in real mode all its life. What it says and obeys is listed in README.md next to it.
#
# Disk: sector 0 is this code, sector 1 begins with the boot counter (16 bits, little endian). Command 'f' overwrites
# everything from sector 64 to 64 MiB, in chunks of 64 sectors, round and round.
#
# Built by scripts/pico-guest with as and ld alone, hence GNU as syntax and no C preprocessor.

.code16

.set UART,	0x3f8			# COM1: data
.set UART_LSR,	0x3fd			# line status: bit 0 = a byte has come, bit 5 = ready to send
.set PM1_STS,	0x600			# ACPI registers, where SeaBIOS puts them on pc and on q35
.set PM1_EN,	0x602
.set PM1_CNT,	0x604
.set PWRBTN,	0x100			# the power button's bit in PM1_STS and PM1_EN
.set PIC2_MASK,	0xa1			# bit 1 = IRQ 9, ACPI's
.set PVPANIC,	0x505			# the ISA device "pvpanic"
.set KBD_CTRL,	0x64			# keyboard controller: command 0xfe resets the machine
.set TICKS,	0x46c			# the BIOS's timer, 18.2 per second
.set BIOS_READ,	0x42			# int 0x13, extended read and write
.set BIOS_WRITE, 0x43
.set COUNTER,	0x8000			# where sector 1 is kept
.set CHUNKS,	2048			# of 64 sectors: 64 MiB

.globl _start
_start:
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %es
	cli
	movw	%ax, %ss
	movw	$_start, %sp
	sti
	cld
	movb	%dl, drive		# the BIOS tells which disk this is

	movb	$BIOS_READ, %ah
	call	counter_io
	incw	COUNTER
	call	counter_save
	movw	$hello, %si
	movw	COUNTER, %ax
	call	print

	inb	$PIC2_MASK, %al
	orb	$2, %al
	outb	%al, $PIC2_MASK		# the button would raise IRQ 9 without end; it is polled instead
	movw	$PM1_EN, %dx
	movw	$PWRBTN, %ax
	outw	%ax, %dx
	xorl	%ebp, %ebp		# bp = seconds; only RAM and registers know it, so a reset shows

main:
	movw	$PM1_STS, %dx
	inw	%dx, %ax		# the whole word: QEMU answers 0 to a byte-wise read of its upper half
	testb	$PWRBTN >> 8, %ah
	jnz	power_off

	movw	$UART_LSR, %dx
	inb	%dx, %al
	testb	$1, %al
	jz	no_input
	movw	$UART, %dx
	inb	%dx, %al
	call	putc			# echo
	movb	%al, command
	cmpb	$'w', %al
	jne	1f
	call	counter_save
1:	cmpb	$'p', %al
	jne	1f
	movw	$PVPANIC, %dx
	movb	$1, %al			# PVPANIC_PANICKED
	outb	%al, %dx
1:	cmpb	$'r', %al
	jne	1f
	movb	$0xfe, %al
	outb	%al, $KBD_CTRL
	jmp	halt
1:	cmpb	$'h', %al
	je	halt

no_input:
	movw	TICKS, %ax
	subw	last, %ax
	cmpw	$18, %ax
	jb	work
	addw	%ax, last
	incw	%bp
	movb	$1, may_fill
	movw	$tick, %si
	movw	%bp, %ax
	call	print
	cmpb	$'f', command
	jne	work
	movw	$filled, %si
	movw	chunk, %ax
	call	print

# 'c' and 'f' last until another byte comes. They never sleep.
work:
	cmpb	$'c', command
	je	chatter
	cmpb	$'f', command
	je	fill
sleep:	hlt				# until the timer, 18 times a second
	jmp	main

chatter:
	movw	$line, %si
	movw	lines, %ax
	incw	lines
	call	print
	jmp	main

# After an error the same chunk is tried again, once a second.
fill:
	decb	may_fill
	js	fill_later
	movw	chunk, %ax
	shll	$16, %eax		# clears the low half, keeps the number in the high one
	shrl	$10, %eax		# times 64
	movl	%eax, fill_sector
	movw	$fill_packet, %si
	movb	$BIOS_WRITE, %ah
	call	disk_io
	jc	main
	movb	$1, may_fill
	incw	chunk
	andw	$CHUNKS - 1, chunk
	jnz	main
	incw	chunk			# never chunk 0: the boot sector and the counter are there
	jmp	main
fill_later:
	movb	$0, may_fill
	jmp	sleep

power_off:
	movw	$bye, %si
	call	puts
	movw	$PM1_CNT, %dx
	movw	$0x2000, %ax		# SLP_EN with sleep type 0, which is S5 for QEMU
	outw	%ax, %dx
halt:	cli
	hlt
	jmp	halt

counter_save:
	movb	$BIOS_WRITE, %ah
counter_io:
	movw	$counter_packet, %si
# ah = BIOS_READ or BIOS_WRITE, si = packet. Reports an error and returns with carry set.
disk_io:
	movb	drive, %dl
	movb	$0, %al
	int	$0x13
	jnc	1f
	movw	$error, %si
	call	puts
	stc
1:	ret

# si = text, ax = number: the text, the number in four hexadecimal digits, end of line
print:
	xchgw	%ax, %bx
	call	puts
	movw	$4, %cx
1:	rolw	$4, %bx
	movb	%bl, %al
	andb	$15, %al
	cmpb	$10, %al		# the classic three: 0..9 -> '0'.., 10..15 -> 'A'..
	sbbb	$0x69, %al
	das
	orb	$0x20, %al		# lower case; digits have that bit anyway
	call	putc
	loopw	1b
	movw	$newline, %si
puts:
	lodsb
	testb	%al, %al
	jz	1f
	call	putc
	jmp	puts
1:	ret

putc:
	pushw	%ax
	movw	$UART_LSR, %dx
1:	inb	%dx, %al
	testb	$0x20, %al
	jz	1b
	popw	%ax
	movw	$UART, %dx
	outb	%al, %dx
	ret

# What the BIOS wants to know: size of the packet, sectors, offset and segment in memory, first sector on disk.
counter_packet:
	.byte	16, 0
	.word	1, COUNTER, 0
	.quad	1
fill_packet:
	.byte	16, 0
	.word	64, _start, 0		# any 32 KiB that are not zeros
fill_sector:
	.quad	0

chunk:	.word	1
lines:	.word	0
last:	.word	0
drive:	.byte	0
command: .byte	0
may_fill: .byte	1

hello:	.asciz	"PICO-UP boot="
tick:	.asciz	"tick="
filled:	.asciz	"fill="
line:	.asciz	"line="
bye:	.asciz	"PICO-POWEROFF\r\n"
error:	.ascii	"PICO-DISK-ERROR"
newline: .asciz	"\r\n"

	.org	510
	.word	0xaa55
