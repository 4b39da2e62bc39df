# Tintype. `make help` lists the targets.
SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
GO          ?= go
VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BUILD       := CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-X main.version=$(VERSION)"
TOOL        := $(GO) tool -modfile=tools.mod
PHOTOS      ?=
SEED        ?= 1
ARGS        ?=

# A linter's cache that checkouts share has the paths of another one, which the
# exclusions of .golangci.yml do not fit.
export GOLANGCI_LINT_CACHE := $(CURDIR)/.cache/golangci-lint

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.PHONY: build
build: ## Build bin/tintype and bin/chserver
	@mkdir -p bin
	$(BUILD) -o bin/ ./cmd/tintype ./cmd/chserver

.PHONY: demo
demo: build ## Develop photos on this machine (PHOTOS=folder, ARGS=--once)
	@bin/tintype demo $(if $(PHOTOS),--photos "$(PHOTOS)") $(ARGS)

.PHONY: test
test: ## Pass the tests; what they need they fetch, once
	TINTYPE_REQUIRE_ENGINE=1 $(GO) test -shuffle=on -timeout 10m ./...

.PHONY: test-race
test-race: ## Pass the tests of what runs concurrently under the race detector
	TINTYPE_REQUIRE_ENGINE=1 $(GO) test -race -shuffle=on -short -timeout 15m ./blob/... ./event/... ./exactly/... ./extract/... ./topologies/... ./transform/... ./internal/lifecycle/... ./internal/produce/... ./internal/servers/...

.PHONY: test-kafka
test-kafka: ## Pass the end-to-end tests and those of exactly on a real Apache Kafka
	TINTYPE_REQUIRE_ENGINE=1 TINTYPE_REQUIRE_KAFKA=1 $(GO) run ./internal/kafkatest/cmd/kafka-run -- $(GO) test -count=1 -shuffle=on -timeout 15m ./exactly/... ./internal/e2e/...

.PHONY: test-streams
test-streams: ## Hold the windows against Kafka Streams, in its test driver and on a real Apache Kafka
	TINTYPE_REQUIRE_KAFKA=1 $(GO) run ./internal/kafkatest/cmd/kafka-run -- $(GO) test -count=1 -shuffle=on -timeout 15m ./internal/kstreams/...

.PHONY: chaos
chaos: build ## Break real processes for an hour by SEED, each fault 20 times, and recount
	bin/tintype chaos --seed $(SEED) --minutes 60 --rate 8 --uploads 20000 $(ARGS)

.PHONY: chaos-seed
chaos-seed: build ## Break real processes by the first seed that once failed, in minutes
	read -r seed minutes why < internal/chaos/testdata/seeds.txt; bin/tintype chaos --seed $$seed --minutes $$minutes $(ARGS)

.PHONY: bench
bench: build ## Measure the throughput of the whole pipeline and of the bare loop
	bin/tintype bench throughput $(ARGS)

.PHONY: lint
lint: ## Check the code with golangci-lint
	$(TOOL) golangci-lint run

.PHONY: fmt
fmt: ## Format the code
	$(TOOL) golangci-lint fmt

.PHONY: generate
generate: ## Generate the Go code of the Protobuf messages
	$(TOOL) buf generate

.PHONY: generate-check
generate-check: ## Fail if the generated code is not what the messages say
	$(TOOL) buf lint
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; $(TOOL) buf generate -o "$$dir"; \
	for f in event/eventpb/*.pb.go; do diff -q "$$f" "$$dir/$$f" || { echo "make generate, then commit"; exit 1; }; done

.PHONY: clean
clean: ## Delete what was built
	rm -rf bin
