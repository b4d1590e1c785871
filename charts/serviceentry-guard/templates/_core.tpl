{{- /* Constants of the core. This file is generated: `make reference` writes it, and a test compares it. */ -}}
{{- define "seg.core.annotationPrefix" -}}"serviceentry-guard.io/"{{- end -}}
{{- define "seg.core.compliantResolutions" -}}["DNS", "DYNAMIC_DNS"]{{- end -}}
{{- define "seg.core.namingProtocols" -}}["GRPC", "GRPC-WEB", "HTTP", "HTTP2", "HTTPS", "HTTP_PROXY", "TLS"]{{- end -}}
{{- define "seg.core.reservedEnds" -}}[".default.", ".istio-system.", ".kube-node-lease.", ".kube-public.", ".kube-system."]{{- end -}}
{{- define "seg.core.tlsPort" -}}443{{- end -}}
{{- define "seg.core.tlsProtocols" -}}["HTTPS", "HTTP_PROXY", "TLS"]{{- end -}}
