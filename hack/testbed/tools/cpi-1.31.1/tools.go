//go:build tools

// Package tools pins the real CPI that the test bed builds.
package tools

import _ "k8s.io/cloud-provider-vsphere/cmd/vsphere-cloud-controller-manager"
