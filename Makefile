# make drill   a real failover and failback, in containers, with a report     (about 5 minutes the first time, then under 2)
# make test    everything: format, lints, unit, namespace and peer tests, the drills
# make setup   only the Debian packages that the two above need
# make release  the programs as they are installed: target/TRIPLE/release
# make bench   vipd, built as for a release, against the installed keepalived, in one run, as ratios    (about 12 minutes)
#              make bench BENCH="assign scale --runs 11 --strict"     some of it; docs/bench.md
# make bench-switchover  bcctl beside repmgr, pg_auto_failover and Patroni, in one run    (about 7 minutes; RUNS=100)
# make bench-failback    bcctl failback of 2 GB beside the eight steps of GoCD's page, in one run    (about 3 minutes)
# make clean   what drills may have left behind (containers, networks, volumes carrying our label), and target/

SHELL := /bin/bash
TRIPLE := $(shell rustc -vV | sed -n 's/^host: //p')
BIN := target/$(TRIPLE)/debug

# The tools are linked statically: one build runs on this machine and in every box, whatever its C library.
# An explicit target keeps these flags away from build scripts and procedural macros.
export CARGO_BUILD_TARGET := $(TRIPLE)
export RUSTFLAGS := -C target-feature=+crt-static
export CARGO_TERM_PROGRESS_WHEN ?= auto

RUNS ?= 20

.PHONY: drill test release bench bench-failback bench-switchover setup setup-test build lint unit drills clean

drill: setup build
	$(BIN)/bc-harness drill $(DRILL)

test: setup-test lint build unit drills

setup:
	@testenv/setup drill

setup-test:
	@testenv/setup test

build:
	cargo build --locked --workspace --bins

lint:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

# Everything but the drills, which want the machine for themselves. The cases of the property tests are the same each time:
# what failed fails again. New ones are sought by fuzz/run, or with another PROPTEST_RNG_SEED.
unit: export PROPTEST_RNG_SEED ?= 1
unit:
	cargo test --locked --workspace --exclude bc-tests --no-fail-fast

drills: build
	BC_HARNESS=$(CURDIR)/$(BIN)/bc-harness cargo test --locked -p bc-tests -- --test-threads=1 --nocapture

# At fixed addresses, so that a command starts without relocating itself (docs/decisions/0060).
RELEASE := RUSTFLAGS="$(RUSTFLAGS) -C relocation-model=static"

release:
	$(RELEASE) cargo build --locked --release --workspace --bins

bench: setup-test
	$(RELEASE) cargo bench --locked -p vipd --bench keepalived -- $(BENCH)

bench-failback: setup-test
	cargo bench --locked -p bcctl --bench failback -- $(BENCH)

bench-switchover:
	@testenv/setup bench
	cargo bench --locked -p bcctl --bench switchover -- --runs $(RUNS) $(BENCH)

clean:
	-$(BIN)/bc-harness gc
	cargo clean
