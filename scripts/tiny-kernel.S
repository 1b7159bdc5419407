# tiny-kernel.S - what stands before the tiny guest's kernel on its disk, so that GRUB starts it by BIOS without the kernel's
# own unpacking, which is xz and costs seconds under TCG. It is entered by Linux's 32-bit boot protocol (Documentation/arch/
# x86/boot.rst: %esi has boot_params, segments are flat, interrupts off), unpacks the kernel's flat image to KERNEL, for which it
# was linked, maps the first 4 GiB to themselves, and enters the kernel in 64-bit mode with boot_params in %rsi.
#
# Assembled by scripts/tiny-guest, which puts it behind what that kernel is packed to: `payload`, in lz4's legacy format
# (lz4_Frame_format.md: a magic, then blocks, each with its length before it). Nothing here needs a stack.

.set KERNEL,	0x1000000		# CONFIG_PHYSICAL_START
.set TABLES,	0xf00000		# six pages: PML4, PDPT, four page directories
.set EFER,	0xc0000080

.code32
.globl _start
_start:
	cld
	movl	%esi, %ebp
	movl	$payload + 4, %esi	# behind the magic
	movl	$KERNEL, %edi

block:
	cmpl	$payload_end, %esi
	jae	unpacked
	movl	(%esi), %edx
	addl	$4, %esi
	addl	%esi, %edx		# where it ends
sequence:
	movzbl	(%esi), %ebx		# the token: how many literals, how long a match
	incl	%esi
	movl	%ebx, %ecx
	shrl	$4, %ecx
	cmpl	$15, %ecx
	jne	2f
1:	movzbl	(%esi), %eax
	incl	%esi
	addl	%eax, %ecx
	cmpb	$255, %al
	je	1b
2:	rep movsb
	cmpl	%edx, %esi		# a block ends with literals
	jae	block
	movzwl	(%esi), %eax		# how far behind the match lies
	addl	$2, %esi
	movl	%ebx, %ecx
	andl	$15, %ecx
	cmpl	$15, %ecx
	jne	4f
3:	movzbl	(%esi), %ebx
	incl	%esi
	addl	%ebx, %ecx
	cmpb	$255, %bl
	je	3b
4:	addl	$4, %ecx
	movl	%esi, %ebx
	movl	%edi, %esi
	subl	%eax, %esi
	rep movsb			# byte by byte: it may overlap what it makes
	movl	%ebx, %esi
	jmp	sequence

unpacked:
	movl	$TABLES, %edi
	xorl	%eax, %eax
	movl	$6 * 1024, %ecx
	rep stosl
	movl	$TABLES + 0x1003, TABLES	# present, writable
	movl	$TABLES + 0x2003, TABLES + 0x1000
	movl	$TABLES + 0x3003, TABLES + 0x1008
	movl	$TABLES + 0x4003, TABLES + 0x1010
	movl	$TABLES + 0x5003, TABLES + 0x1018
	movl	$TABLES + 0x2000, %edi
	movl	$0x83, %eax		# and of 2 MiB
	movl	$2048, %ecx
5:	movl	%eax, (%edi)
	addl	$0x200000, %eax
	addl	$8, %edi
	loop	5b

	lgdt	gdt_limit
	movl	%cr4, %eax
	orl	$0x20, %eax		# PAE
	movl	%eax, %cr4
	movl	$TABLES, %eax
	movl	%eax, %cr3
	movl	$EFER, %ecx
	rdmsr
	orl	$0x100, %eax		# LME
	wrmsr
	movl	%cr0, %eax
	orl	$0x80000000, %eax	# PG
	movl	%eax, %cr0
	ljmp	$0x10, $in_64_bits

.code64
in_64_bits:
	movl	%ebp, %esi
	movl	$KERNEL, %eax
	jmp	*%rax

.balign 8
gdt:
	.quad	0, 0
	.quad	0x00af9a000000ffff	# 0x10: code, 64 bits
	.quad	0x00cf92000000ffff	# 0x18: data
gdt_limit:
	.word	. - gdt - 1
	.long	gdt

payload:
	.incbin	"payload"
payload_end:
