# roost: one Makefile, sources by name. `make help` lists the targets.

VERSION  := 0.1
PREFIX   ?= /usr/local
DESTDIR  ?=
CC       ?= gcc
BUILD    ?= build
CFLAGS   ?= -O2 -g
WARN     := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wvla -Wno-gnu-statement-expression
HARDEN   := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE -fno-plt
ALL_CFLAGS = -std=gnu17 -D_GNU_SOURCE -I. $(WARN) $(HARDEN) -DROOST_VERSION='"$(VERSION)"' \
	-DROOST_LIBEXEC='"$(PREFIX)/libexec/roost"' -MMD -MP $(CFLAGS) $(EXTRA_CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed $(LDFLAGS) $(EXTRA_LDFLAGS)

base := err mem str json fs clock sock proc
qmp := wire client server command schema agent
images := qcow2 chain
# what roost, roostd and roost-keeper share
shared := paths definition

objects = $(patsubst %,$(BUILD)/%.o,$(1))
