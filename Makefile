# The front door. Every target installs what it lacks (tools/setup.sh) and
# builds with CMake below build/.
# SPDX-License-Identifier: MIT

ifeq ($(origin CC),default)
export CC = gcc
endif
PREFIX ?= /usr/local
DIR ?= .
# TLS=1: tour and serve speak TLS, with a certificate made for it.
TLS ?=
# The Pythons that `make test` uses; empty: all from 3.11 on that are found.
VERSIONS ?= $(shell python3 -c 'import sys; v = sys.version_info; \
    print("%d.%d" % v[:2] if v >= (3, 11) else "")' 2>/dev/null)
CERTIFICATE = build/tls/certificate.pem
KEY = build/tls/key.pem

.PHONY: help run tour serve test pytest wheel check bench docs format install clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' \
	    $(MAKEFILE_LIST)

run: ## serve the FastAPI example with uvicorn on kolk to 200 clients on kolk
	@tools/setup.sh build python
	@tools/venv.sh
	@build/venv/bin/python examples/python/tour.py

tour: ## the same in C: 200 clients read the documents from a web server
	@tools/setup.sh build $(if $(TLS),tls)
	@tools/build.sh release -DKOLK_TESTS=OFF -DKOLK_BENCH=OFF
	@$(if $(TLS),tools/certificate.sh build/tls)
	@build/release/examples/c/http_tour $(if $(TLS),-t $(CERTIFICATE) -k $(KEY)) \
	    . docs LICENSE $(wildcard *.md)

serve: ## serve the folder DIR over HTTP until Ctrl-C
	@tools/setup.sh build $(if $(TLS),tls)
	@tools/build.sh release -DKOLK_TESTS=OFF -DKOLK_BENCH=OFF
	@$(if $(TLS),tools/certificate.sh build/tls)
	@build/release/examples/c/http_server "$(DIR)" 8000 \
	    $(if $(TLS),$(CERTIFICATE) $(KEY))

test: ## the tests in C and, on the system's Python, in Python, on both backends
	@tools/setup.sh test python
	@tools/test.sh dev
	@VERSIONS="$(VERSIONS)" tools/python.sh build pytest

pytest: ## the Python package's tests, on every Python >= 3.11 that is found
	@tools/setup.sh test python
	@tools/python.sh

wheel: ## a wheel for each of them, audited and tested, in build/wheels
	@tools/setup.sh build python
	@tools/wheel.sh

check: ## all there is: format, layers, tidy, sanitizers, hard mode, targets
	@tools/setup.sh test check docs
	@tools/check.sh

docs: ## the documentation, as HTML and manual pages, below build/docs
	@tools/setup.sh docs
	@tools/docs.sh

bench: ## measure against other libraries; writes one table
	@tools/setup.sh build bench
	@tools/build.sh release -DKOLK_TESTS=OFF -DKOLK_BENCH=ON
	@bench/c/run.sh build/release/bench/c

format: ## settle the format of every C file
	@tools/setup.sh check
	@tools/format.sh

install: ## install the library to PREFIX (/usr/local)
	@tools/setup.sh build
	@tools/build.sh release -DKOLK_TESTS=OFF -DKOLK_BENCH=OFF
	@cmake --install build/release --prefix "$(PREFIX)"

clean: ## remove what was built
	rm -rf build
