# The layer of third-party packages: wheels for $(MACHINE) of Lambda's Amazon Linux 2023 (glibc 2.34),
# whatever machine builds it, less what is never read there, with bytecode beside the sources, since
# /opt cannot be written to and every cold start would compile again.
LAYER_FOLDER := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
PACKAGES := $(ARTIFACTS_DIR)/python

.PHONY: build-ThirdPartyLayer
build-ThirdPartyLayer:
	python3.13 -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary=:all: \
	  --implementation cp --python-version 3.13 \
	  --platform manylinux2014_$(MACHINE) --platform manylinux_2_17_$(MACHINE) --platform manylinux_2_28_$(MACHINE) \
	  --target "$(PACKAGES)" --requirement "$(LAYER_FOLDER)/requirements.txt"
	rm -rf "$(PACKAGES)/bin"
	find "$(PACKAGES)" -type d \( -name __pycache__ -o -name tests -o -name test -o -name docs \) -prune -exec rm -rf {} +
	# netaddr's registry of hardware vendors: 8 MB of text that only EUI().oui would read
	rm -f "$(PACKAGES)"/netaddr/eui/*.txt "$(PACKAGES)"/netaddr/eui/*.idx
	python3.13 -m compileall -q -j 0 --invalidation-mode unchecked-hash -s "$(PACKAGES)" -p /opt/python "$(PACKAGES)"
