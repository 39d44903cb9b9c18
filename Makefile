# `make demo` and `make test` do all set-up that is missing. See README.md.
.PHONY: demo test test-fast test-all test-packages lint serve boot-matrix bench-download bench-convert lock setup clean

PYTHON := .venv/bin/python
GUEST_PACKAGES := mmdebstrap mtools grub-efi-amd64-bin
# A browser that shows our pages; a real libvirt, validators and another reader of OVA that judge our definitions.
BROWSER_PACKAGES := chromium chromium-driver poppler-utils
LIBVIRT_PACKAGES := libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients
DEFINITION_PACKAGES := $(LIBVIRT_PACKAGES) libxml2-utils shellcheck virt-v2v
# A database for a Prefect server with several workers.
SERVER_PACKAGES := postgresql
TEST_PACKAGES := $(GUEST_PACKAGES) $(BROWSER_PACKAGES) $(DEFINITION_PACKAGES) $(SERVER_PACKAGES)

setup:
	@deployments/bootstrap.sh

# With a libvirt, which boots the server from its definition.
demo:
	@deployments/bootstrap.sh --also $(LIBVIRT_PACKAGES)
	@$(PYTHON) -m demo $(if $(FRESH),--fresh)

test: lint
	$(PYTHON) -m pytest -n 2 --dist loadfile -m "not exhaustive"

test-fast: setup
	$(PYTHON) -m pytest -n 2 -m "not slow"

lint: setup
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m ruff check
	$(PYTHON) -m mypy

# A Prefect server and a worker on this machine, with all flows deployed.
serve: setup
	@$(PYTHON) -m deployments.serve $(if $(PORT),--port $(PORT))

# What only some tests need, which skip where it is missing (some of them also where the user is not root).
test-packages:
	@deployments/bootstrap.sh --also $(TEST_PACKAGES)

test-all: test-packages lint
	$(PYTHON) -m pytest -n 2 --dist loadfile

# Boots a real guest for every cell of what the fstab check foretells; more than an hour without KVM.
# `make boot-matrix RECORD=1` keeps how the boots came out, and the table in docs/; with MATRIX=--go-on it boots the rest.
boot-matrix:
	@deployments/bootstrap.sh --also $(GUEST_PACKAGES)
	$(PYTHON) -m tests.boot_matrix $(MATRIX) $(if $(RECORD),--record tests/boot_matrix_boots.json --table docs/boot-matrix.md)

# Compares the download with what one would use instead, about 15 minutes; explained in benchmarks/README.md.
bench-download:
	@deployments/bootstrap.sh --also nginx-light aria2 rclone curl pigz libarchive-tools
	$(PYTHON) -m benchmarks.download --json benchmarks/results/download.json $(BENCH)

# Compares our conversions with the `qemu-img convert` that one would type, about 15 minutes.
bench-convert: setup
	$(PYTHON) -m benchmarks.convert --json benchmarks/results/convert.json $(BENCH)

# Chooses the versions in requirements.lock anew, as far as pyproject.toml lets it; needs uv.
lock:
	uv pip compile --quiet --upgrade --universal --python-version 3.10 --generate-hashes --no-header \
	  --extra emulator --extra openstack --extra dev pyproject.toml -o requirements.lock

clean:
	rm -rf .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
