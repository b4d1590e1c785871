module serviceentry-guard/tests/bed/oldest/istio

go 1.24.0

tool istio.io/api/networking/v1

require (
	github.com/golang/protobuf v1.5.4 // indirect
	google.golang.org/genproto/googleapis/api v0.0.0-20240318140521-94a12d6c2237 // indirect
	google.golang.org/protobuf v1.33.0 // indirect
	istio.io/api v1.22.0 // indirect
)
