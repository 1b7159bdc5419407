# roost: one Makefile, sources by name. `make help` lists the targets.

VERSION := 0.1
PREFIX  ?= /usr/local
DESTDIR ?=
CC      ?= gcc
BUILD   ?= build
CFLAGS  ?= -O2 -g
WARN    := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wvla
HARDEN  := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE -fno-plt
ALL_CFLAGS  = -std=gnu17 -D_GNU_SOURCE -I. $(WARN) $(HARDEN) -DROOST_VERSION='"$(VERSION)"' \
	-MMD -MP $(XML_CFLAGS) $(CFLAGS) $(EXTRA_CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed $(LDFLAGS) $(EXTRA_LDFLAGS)

# ---- sources -------------------------------------------------------------------------------------

base   := err mem str json fs new_file clock sock proc signals answer ask crc32 call_filter
netsetup := address netlink tap guard namespace link_watch dhcp
netsetup += uplink uplink_plan uplink_veth host_firewall legacy_firewall slirp nft_watch confine
# of it, what needs no library: every program may have it
net_plain := address
proxy  := proxy proxy_tcp proxy_udp
qmp    := wire client server command schema agent
images := qcow2_read qcow2_empty qcow2_create qcow2_copy image chain seed
images += store store_copy store_digest store_record store_tend
images += checksums
images += image_info qcow2_snapshots qcow2_bitmaps qcow2_crypt qcow2_grow tool
images += foreign installer_pairs
images += qcow2_map disk_ask tar qcow2_end
# the orchestrator's files that more than one program links
shared := definition_dump definition_nics \
	paths definition definition_node definition_keys definition_text definition_check \
	definition_identity definition_files definition_yaml accel firmware firmware_vars status record disk_open disk_tool disk_holder \
	ssh_params ssh_words access event_log publish port_holder reach

roost  := roost connect change verbs verb_define verb_power verb_look verb_console verb_events \
	verb_memory verb_device verb_ready verb_run verb_ssh readiness ssh_child ssh_entry guest_agent verb_help \
	validate validate_hardware validate_networks qemu_caps verb_validate verb_autostart verb_boot verb_halt children
roostd := roostd roostd_listen roostd_home roostd_networks roostd_reap roostd_commands roostd_keepers roostd_kill roostd_workers op_define op_undefine op_rename qemu_caps \
	seed_make
keeper := keeper keeper_commands guest_wait guest_home guest_tell guest_events guest_end op_start op_adopt \
	op_power op_shutdown op_memory op_vcpus op_disk op_interface op_screenshot op_agent attached \
	ports journal argv launch policy tpm vnc
roost  += verb_keys keys verb_screenshot verb_agent verb_cancel
roost  += complete verb_completion man man_pages editor verb_edit verb_rename
roost  += look look_block look_cpu look_net table verb_block verb_ids verb_net verb_nodeinfo verb_vcpu verb_domstats \
	verb_domcapabilities
roostd += op_capabilities op_disk_size op_host_key
keeper += guest_ask consoles op_link
shared += usage disk_size userdata_check userdata_parts mime
shared += smoke_suite smoke_step_keys guest_text smoke_expect smoke_report
roost  += verb_smoke smoke_run smoke_test smoke_steps smoke_ssh smoke_http smoke_clean smoke_show
roost  += network_leases verb_link plug_nic nic_config verb_display verb_doctor
roost  += verb_image verb_image_make verb_image_tool verb_image_map verb_image_chain image_remake image_stands tool_told
roost  += verb_seed
shared += seed_write password definition_cloud userdata_keys
shared += definition_hardware pci_place
shared += save_file store_open lineage committed
shared += image_change image_users image_name
roost  += verb_store verb_image_list image_ask
roostd += roostd_images
roost  += verb_save saving saved verb_media media
roost  += installer installing verb_install run_options
keeper += op_save op_restore op_media op_install
keeper += block_job block_node quiesce op_backup op_blockpull op_blockcommit
roost  += long_call backup_file backup_read verb_backup backup_stopped restore_backup verb_blockpull verb_blockcommit own_commit
roostd += define_files op_commit_record
shared += snapshots snapshot_alone bases bases_sweep unrecorded
roostd += op_snapshot snapshot_off snapshot_merge
keeper += op_snapshot_live op_snapshot_delete op_revert snapshot_merge running_disks
roost  += verb_snapshot
roostd += op_clone clone_source op_template roostd_clean
roost  += verb_clone verb_template
shared += df
roostd += nic_issue op_nic op_df op_file_look file_look op_doctor doctor_guests doctor_networks doctor_processes
roostd += op_blockpull_off op_blockcommit_off image_remake image_stands
roost  += verb_df df_running df_text
shared += another claim failpoint
shared += network network_keys network_subnet host_routes network_address network_address_void network_users
shared += network_call network_up network_tap network_publish nic_tap
roost  += logout
roostd += op_network op_network_update
roost  += verb_net_define verb_net_look verb_net_exec verb_net_update
roostd += op_managed connect logout saving saved media
# the old names
roost  += compat/compat compat/virsh compat/virsh_parse compat/virsh_life compat/virsh_list compat/virsh_other
roost  += compat/virsh_agent compat/virsh_guestinfo compat/virsh_net_update compat/virsh_refused compat/virsh_help compat/virsh_host
roost  += compat/virsh_event compat/virsh_lines
roost  += compat/virsh_look compat/virsh_size compat/virsh_disk compat/virsh_nic compat/virsh_snapshot compat/virsh_misc compat/virsh_net compat/storage
ssh    := roost-ssh ssh_authorize ssh_climb ssh_copy ssh_dial ssh_exec ssh_files ssh_keys ssh_login ssh_report ssh_scp \
	ssh_session ssh_sftp ssh_terminal ssh_watch
image  := roost-image seed_vfat seed_password installer
disk   := roost-disk
digest := roost-digest
roostd += op_sysprep op_renew sysprep_off sysprep_boot disk_server argv launch ports ssh_child
roost  += verb_sysprep sysprep_pack policy
sysprep := roost-sysprep nbd cached_disk ext_volume ext_recover ext_file ext_tree ext_write sysprep_files sysprep_identity sysprep_jail
images += sysprep_ops sysprep_script sysprep_stream sysprep_tar partition filesystem filesystem_ext filesystem_ext_file filesystem_ext_journal filesystem_fat \
	disk_usage jbd2 crc32c
shared += catalogue progress_bar
roost  += verb_pull pull
roost  += verb_dial verb_ssh_config verb_net_hosts uplinks
roost  += compat/tool compat/virt_clone compat/virt_sysprep compat/sysprep_stage compat/virt_df compat/virt_host_validate compat/virt_viewer \
	compat/virt_install compat/virt_install_parts compat/virt_install_disk compat/virt_install_os \
	compat/virt_install_guest compat/virt_install_end compat/virt_install_xml compat/virt_install_cloud compat/virt_install_devices \
	compat/cloud_localds compat/links verb_compat file_look
roost  += find_program verb_viewer viewer viewer_relay verb_ssh_keys
fetch  := roost-fetch fetch_one fetch_part
net    := roost-net holder holder_commands holder_ports holder_names holder_home holder_publish
net    += holder_check net_watch connect logout saving saved media

roost  += verb_adopt adopt verb_dumpxml libvirt_ask libvirt_keep libvirt_hosts
xml    := roost-xml libvirt_read libvirt_node libvirt_pci libvirt_domain libvirt_disks libvirt_nics libvirt_devices \
	libvirt_network libvirt_write libvirt_write_network

unit := base accel firmware qcow2_create qcow2_read chain image seed userdata definition wire client replay server ssh agent interfaces schema qemu smoke save
unit += publish proxy tool store checksums catalogue partition filesystem
unit += network network_address
# what every unit test is linked with
unit_all := peer
fuzz := userdata definition qcow2 ssh wire agent checksums disk nbd journal tar

# ---- what is built -------------------------------------------------------------------------------

BIN     := $(BUILD)/bin
LIBEXEC := $(BUILD)/libexec/roost
LIB     := $(BUILD)/lib.a

have = $(shell pkg-config --exists $(1) 2>/dev/null && echo yes)
PROGRAMS := $(BIN)/roost $(LIBEXEC)/roostd $(LIBEXEC)/roost-keeper
ifeq ($(call have,libssh),yes)
PROGRAMS += $(LIBEXEC)/roost-ssh
else
LEFT_OUT += roost-ssh(libssh)
endif
ifeq ($(call have,libarchive libcrypt),yes)
PROGRAMS += $(LIBEXEC)/roost-image
else
LEFT_OUT += roost-image(libarchive,libcrypt)
endif
ifeq ($(call have,libcrypto),yes)
PROGRAMS += $(LIBEXEC)/roost-digest
else
LEFT_OUT += roost-digest(libcrypto)
endif
ifeq ($(call have,ext2fs),yes)
PROGRAMS += $(LIBEXEC)/roost-sysprep
fuzz += ext
EXT2 := -lext2fs -lcom_err
else
LEFT_OUT += roost-sysprep(libext2fs)
endif
ifeq ($(call have,libcurl),yes)
PROGRAMS += $(LIBEXEC)/roost-fetch
else
LEFT_OUT += roost-fetch(libcurl)
endif

# Of these only the objects that are used, where the distribution has them: libarchive links ICU, libxml2 and others, and
# loading those takes longer than making a seed.
static = $(filter /%,$(shell $(CC) -print-file-name=lib$(1).a))
archive := $(if $(and $(call static,archive),$(call have,zlib)),$(call static,archive) $(or $(call static,z),-lz),-larchive)
crypt := $(or $(call static,crypt),-lcrypt)

# libvirt's XML: its own program's, its test's and its fuzzer's
ifeq ($(call have,libxml-2.0),yes)
PROGRAMS += $(LIBEXEC)/roost-xml
XML_CFLAGS := $(shell pkg-config --cflags libxml-2.0)
unit += libvirt
fuzz += libvirt
else
LEFT_OUT += roost-xml(libxml2)
endif

# what reads disks: in the library, for the tests too, but only roost-disk is linked with it
ifeq ($(call have,zlib libzstd),yes)
PROGRAMS += $(LIBEXEC)/roost-disk
images += volume volume_extents inflate
unit += volume mutated
fuzz += volume
INFLATE := -lz -lzstd
else
LEFT_OUT += roost-disk(zlib,libzstd)
endif

# the room of networks: its own program's, and its test's
ifeq ($(call have,libmnl libnftables),yes)
PROGRAMS += $(LIBEXEC)/roost-net
unit += netsetup holder
else
LEFT_OUT += roost-net(libmnl,libnftables)
endif

room = $(patsubst %,$(BUILD)/$(1)/%.o,$($(2)))
LIB_OBJECTS := $(call room,base,base) $(call room,qmp,qmp) $(call room,images,images) \
	$(call room,netsetup,net_plain) $(call room,orchestrator,shared)
UNIT_ALL := $(patsubst %,$(BUILD)/tests/unit/%.o,$(unit_all))
UNIT := $(patsubst %,$(BUILD)/tests/test_%,$(unit))
FUZZ := $(patsubst %,$(BUILD)/tests/fuzz_%,$(fuzz))

# completions and manual pages, which roost itself makes of its rows
SHARE := $(BUILD)/share
SHARED := bash-completion/completions/roost zsh/site-functions/_roost fish/vendor_completions.d/roost.fish \
	man/man1/roost.1 man/man5/roost-definition.5 man/man7/roost-qmp.7
SHARED := $(addprefix $(SHARE)/,$(SHARED))
CATALOGUE := $(SHARE)/roost/catalogue.yaml

.PHONY: all install install-units check asan fuzz fuzz-corpus bench lint clean help
all: $(PROGRAMS) $(SHARED) $(CATALOGUE)
	@$(if $(LEFT_OUT),echo "left out for want of a library: $(LEFT_OUT)")

$(BIN)/roost: $(call room,orchestrator,roost) $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) -lyaml -ljansson
$(LIBEXEC)/roostd: $(call room,orchestrator,roostd) $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) -ljansson
$(LIBEXEC)/roost-keeper: $(call room,orchestrator,keeper) $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) -ljansson
$(LIBEXEC)/roost-ssh: $(call room,orchestrator,ssh) $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) -lssh -ljansson
$(LIBEXEC)/roost-image: $(call room,images,image) $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) $(archive) $(crypt) -ljansson

$(LIBEXEC)/roost-disk: $(call room,images,disk) $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) $(INFLATE) -ljansson
$(LIBEXEC)/roost-fetch: $(call room,images,fetch) $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) -lcurl -ljansson
$(LIBEXEC)/roost-digest: $(call room,images,digest) $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) -lcrypto -ljansson
$(LIBEXEC)/roost-sysprep: $(call room,images,sysprep) $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) $(EXT2) -ljansson
$(LIBEXEC)/roost-net: $(call room,orchestrator,net) $(call room,netsetup,netsetup) $(call room,netsetup,proxy) $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) -lmnl -lnftables -ljansson

$(LIBEXEC)/roost-xml: $(call room,orchestrator,xml) $(BUILD)/images/sysprep_jail.o $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) -lxml2 -ljansson

$(SHARE)/%/roost: made_by = completion bash
$(SHARE)/%/_roost: made_by = completion zsh
$(SHARE)/%/roost.fish: made_by = completion fish
$(SHARE)/man/%: made_by = help --man $(@F)
$(SHARED): $(PROGRAMS)
	@mkdir -p $(@D)
	$(BIN)/roost $(made_by) >$@

$(CATALOGUE): images/catalogue.yaml
	@mkdir -p $(@D)
	cp $< $@

$(LIB): $(LIB_OBJECTS)
	@rm -f $@
	@$(AR) rcs $@ $^
$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

# ---- tests ---------------------------------------------------------------------------------------

$(BUILD)/tests/test_%: $(BUILD)/tests/unit/test_%.o $(UNIT_ALL) $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) -lcmocka -lyaml $(INFLATE) -ljansson
# it runs the program too, where that can be built
$(BUILD)/tests/test_seed: | $(filter %/roost-image,$(PROGRAMS))
$(BUILD)/tests/test_store: | $(filter %/roost-digest,$(PROGRAMS))
$(BUILD)/tests/test_holder: $(BUILD)/orchestrator/network_leases.o
$(BUILD)/tests/test_netsetup $(BUILD)/tests/test_holder: $(BUILD)/tests/test_%: $(BUILD)/tests/unit/test_%.o \
		$(call room,netsetup,netsetup) $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $(filter %.o,$^) $(LIB) $(ALL_LDFLAGS) -lcmocka -lmnl -lnftables -ljansson
$(BUILD)/tests/test_proxy: $(BUILD)/tests/unit/test_proxy.o $(call room,netsetup,proxy) \
		$(BUILD)/netsetup/link_watch.o $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) -lcmocka -lmnl
$(BUILD)/tests/test_libvirt: $(BUILD)/tests/unit/test_libvirt.o $(filter-out %/roost-xml.o,$(call room,orchestrator,xml)) $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) -lcmocka -lxml2 -ljansson
# the corpus of a fuzzer as an ordinary test: the driver feeds it file by file
$(BUILD)/tests/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/driver.o $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $(filter %.o,$^) $(LIB) $(ALL_LDFLAGS) -lyaml $(INFLATE) $(EXT2) $(XML2) -ljansson
# what they feed that only a program is linked with
$(BUILD)/tests/fuzz_nbd $(BUILD)/fuzz/nbd: $(BUILD)/images/nbd.o
$(BUILD)/tests/fuzz_ext $(BUILD)/fuzz/ext: $(patsubst %,$(BUILD)/images/%.o,cached_disk ext_volume ext_recover ext_file ext_tree ext_write sysprep_files)

$(BUILD)/tests/fuzz_libvirt $(BUILD)/fuzz/libvirt: $(filter-out %/roost-xml.o,$(call room,orchestrator,xml))
$(BUILD)/tests/fuzz_libvirt $(BUILD)/fuzz/libvirt: XML2 := -lxml2

check: $(UNIT) fuzz-corpus
	@failed=0; for t in $(UNIT); do $$t || failed=1; done; exit $$failed
fuzz-corpus: $(FUZZ)
	@for f in $(fuzz); do $(BUILD)/tests/fuzz_$$f tests/fuzz/corpus/$$f/* || exit 1; done

ASAN := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
asan:
	$(MAKE) BUILD=$(BUILD)/asan CFLAGS="-O1 -g $(ASAN)" HARDEN="-fPIE" check

# FUZZ_SECONDS per fuzzer, with clang's libFuzzer; new finds go to build/fuzz
FUZZ_SECONDS ?= 30
fuzz:
	$(MAKE) BUILD=$(BUILD)/libfuzzer CC=clang HARDEN="-fPIE" \
		CFLAGS="-O1 -g -fsanitize=fuzzer-no-link,address,undefined -Wno-gnu" libfuzzer
.PHONY: libfuzzer
libfuzzer: $(patsubst %,$(BUILD)/fuzz/%,$(fuzz))
	@for f in $(fuzz); do mkdir -p $(BUILD)/found/$$f; \
		$(BUILD)/fuzz/$$f -max_total_time=$(FUZZ_SECONDS) -print_final_stats=0 -verbosity=0 \
			$(BUILD)/found/$$f tests/fuzz/corpus/$$f || exit 1; echo "fuzz $$f: ok"; done
$(BUILD)/fuzz/%: $(BUILD)/tests/fuzz/fuzz_%.o $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -fsanitize=fuzzer -o $@ $(filter %.o,$^) $(LIB) $(ALL_LDFLAGS) -lyaml $(INFLATE) $(EXT2) $(XML2) -ljansson

$(BUILD)/tests/bench_%: $(BUILD)/tests/bench/bench_%.o $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) -ljansson

bench: all
	tests/bench/run
lint:
	scripts/lint

# ---- installing ----------------------------------------------------------------------------------

# systemd's folders: its own for a package of the distribution (PREFIX=/usr), else those below PREFIX, which it knows of
# /usr/local
from_systemd = $(or $(shell pkg-config --variable=$(1) systemd 2>/dev/null),$(2))
ifeq ($(PREFIX),/usr)
UNITS    ?= $(call from_systemd,systemdsystemunitdir,/usr/lib/systemd/system)
SYSUSERS ?= $(call from_systemd,sysusersdir,/usr/lib/sysusers.d)
TMPFILES ?= $(call from_systemd,tmpfilesdir,/usr/lib/tmpfiles.d)
else
UNITS    ?= $(PREFIX)/lib/systemd/system
SYSUSERS ?= $(PREFIX)/lib/sysusers.d
TMPFILES ?= $(PREFIX)/lib/tmpfiles.d
endif
units := roostd.socket roostd.service roost-guests.service

install: all install-units
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/roost \
		$(DESTDIR)$(PREFIX)/share/doc/roost
	install -m 755 $(BIN)/roost $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(filter $(LIBEXEC)/%,$(PROGRAMS)) $(DESTDIR)$(PREFIX)/libexec/roost/
	install -m 644 README.md LICENSE $(DESTDIR)$(PREFIX)/share/doc/roost/
	cd $(SHARE) && find . -type f -exec install -D -m 644 {} $(abspath $(DESTDIR)$(PREFIX))/share/{} \;
	@$(if $(DESTDIR),,echo "for a server: systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload &&"; \
		echo "              systemctl enable --now roostd.socket roost-guests.service")
install-units:
	install -d $(DESTDIR)$(UNITS) $(DESTDIR)$(SYSUSERS) $(DESTDIR)$(TMPFILES)
	@for unit in $(units); do \
		sed 's|@BIN@|$(PREFIX)/bin|; s|@LIBEXEC@|$(PREFIX)/libexec/roost|' orchestrator/units/$$unit.in \
			>$(DESTDIR)$(UNITS)/$$unit && chmod 644 $(DESTDIR)$(UNITS)/$$unit || exit 1; done
	install -m 644 orchestrator/units/sysusers.conf $(DESTDIR)$(SYSUSERS)/roost.conf
	install -m 644 orchestrator/units/tmpfiles.conf $(DESTDIR)$(TMPFILES)/roost.conf
clean:
	rm -rf $(BUILD)
help:
	@echo "make [all]     roost, roostd, roost-keeper and the programs under libexec, into $(BUILD)/"
	@echo "make install   to DESTDIR and PREFIX ($(PREFIX))"
	@echo "make check     unit tests and the fuzzers' corpora; make asan: the same under ASan and UBSan"
	@echo "make fuzz      libFuzzer, FUZZ_SECONDS=$(FUZZ_SECONDS) each;  make bench;  make lint;  make clean"

-include $(shell find $(BUILD) -type f -name '*.d' 2>/dev/null)
