//go:build tools

// Package tools pins the real CSI driver and syncer that the test bed builds.
package tools

import (
	_ "sigs.k8s.io/vsphere-csi-driver/v3/cmd/syncer"
	_ "sigs.k8s.io/vsphere-csi-driver/v3/cmd/vsphere-csi"
)
