//go:build tools

// Package tools pins the chart installer that the test bed builds.
package tools

import _ "helm.sh/helm/v3/cmd/helm"
