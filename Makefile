# The ways in; `make` alone lists them. Each installs what it needs (.ci/setup) and isn't there yet.

.DEFAULT_GOAL := help
.PHONY: help demo test bench mutants fuzz check release

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

# A debug build: it is there minutes sooner, and a demonstration waits for servers, not for code.
demo: ## an exception from request to proof, against a real OpenBao and PostgreSQL
	@.ci/setup demo
	cargo build --locked --bins
	deploy/demo/run

# In memory where there is room: on a disk that is busy with something else, commits come too late for tests that are about
# something else.
ROOM_KB = 4000000
test: ## all tests
	@.ci/setup test
	room=$$(df -k --output=avail /dev/shm 2> /dev/null | tail -n 1); \
	if [ "$${room:-0}" -gt $(ROOM_KB) ]; then export TMPDIR=/dev/shm; fi; \
	cargo test --locked

bench: ## how fast an exception is
	@.ci/setup test
	cargo bench --locked

# Of the histories a few, since each is played for each mutant.
mutants: ## what the tests of the rules don't notice: some hours
	@.ci/setup mutants
	SIM_SEEDS=400 target/tools/bin/cargo-mutants mutants --output target

# With the stable compiler, which has to be told that it may. What is found stays below target/fuzz until it is kept
# (docs/architecture.md, "The seams, and testing with them"); the first input that fails ends it.
FUZZ_SECONDS = 600
FUZZ_TARGETS = configuration filter hours note page signature token
CARGO_FUZZ = RUSTC_BOOTSTRAP=1 target/tools/bin/cargo-fuzz
fuzz: ## any bytes against all that is read: over an hour
	@.ci/setup fuzz
	@set -e; for name in $(FUZZ_TARGETS); do \
		mkdir -p target/fuzz/corpus/$$name; \
		$(CARGO_FUZZ) run --fuzz-dir tests/fuzz --target-dir target/fuzz $$name \
			target/fuzz/corpus/$$name tests/fuzz/corpus/$$name -- \
			-max_total_time=$(FUZZ_SECONDS) -timeout=10 -print_final_stats=1; \
	done

check: ## format, lints, documentation, dependencies, protos
	@.ci/setup check
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet
	target/tools/bin/cargo-deny --locked check --hide-inclusion-graph bans licenses sources
	target/tools/buf/node_modules/.bin/buf lint proto

release: ## optimised binaries in target/release
	cargo build --locked --release --bins
