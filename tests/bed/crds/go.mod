module serviceentry-guard/tests/bed/crds

go 1.26.0

require (
	github.com/cert-manager/cert-manager v1.21.2 // indirect
	github.com/kyverno/kyverno v1.13.4
	github.com/openreports/reports-api v0.2.1
	github.com/prometheus-operator/prometheus-operator v0.85.0 // indirect
)
