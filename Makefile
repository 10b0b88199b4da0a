# One door for people and CI. Everything below is a thin call of `cargo xtask`.
XTASK := cargo run --quiet --package xtask --

# Where hack/prerequisites puts cargo tools.
export PATH := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/vdo-ci/bin:$(PATH)

# What hack/deploy gives helm besides.
DEPLOY_ARGS ?=

.PHONY: help demo test bench images deploy deploy-k8s-cluster generate manifests tidy fmt testbed

help: ## What can be made.
	@grep -E '^[a-z0-9 -]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ -/'

demo: prerequisites-demo ## The real thing on this machine: control plane, vCenter simulator, chart, both drivers.
	@$(XTASK) demo

test: prerequisites-test ## Everything that CI runs.
	@$(XTASK) ci

bench: prerequisites-bench ## What VDO costs at 100, 1,000 and 5,000 nodes, against the budgets. Takes an hour and a half.
	@$(XTASK) bench

images: prerequisites-bench ## The images of the operators, as archives in target/images.
	@$(XTASK) images

deploy: ## The operators in a local kind cluster, with images built here. DEPLOY_ARGS go to helm.
	@hack/deploy kind $(DEPLOY_ARGS)

deploy-k8s-cluster: ## The operators in the cluster of KUBECONFIG, or of K8S_MASTER_IP over ssh (see hack/deploy).
	@hack/deploy cluster $(DEPLOY_ARGS)

generate manifests: ## Write the generated files: CRDs, roles, docs.
	@$(XTASK) generate

tidy: ## The rules of the house.
	@$(XTASK) tidy

fmt: ## Format the code.
	@cargo fmt --all

testbed: prerequisites-demo ## Build the programs of the test bed into the cache.
	@$(XTASK) testbed build

# The demo and the bed need less than the tests.
.PHONY: prerequisites-bench prerequisites-demo prerequisites-test
prerequisites-bench prerequisites-demo prerequisites-test: prerequisites-%:
	@hack/prerequisites $*
	@test -x target/debug/xtask || echo "First, the tasks of the workspace are built: about three minutes on two cores."
