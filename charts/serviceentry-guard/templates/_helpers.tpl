{{- define "seg.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 46 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 46 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 46 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "seg.namespace" -}}
{{ .Values.namespaceOverride | default .Release.Namespace }}
{{- end -}}

{{- define "seg.webhookAccount" -}}
{{ .Values.webhook.serviceAccount.name | default (include "seg.serviceName" .) }}
{{- end -}}

{{- define "seg.controllerAccount" -}}
{{ .Values.controller.serviceAccount.name | default (printf "%s-controller" (include "seg.fullname" .)) }}
{{- end -}}

{{- define "seg.selectorLabels" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{- /* managed-by is Helm here: serviceentry-guard is what it says on the objects that the controller makes. */ -}}
{{- define "seg.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "seg.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: serviceentry-guard
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "seg.image" -}}
{{- with .Values.image -}}
{{- $tag := .tag | default $.Chart.AppVersion -}}
{{- with $.Values.global.imageRegistry | default .registry }}{{ . }}/{{ end }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ $tag }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "seg.serviceName" -}}
{{ include "seg.fullname" . }}-webhook
{{- end -}}

{{- define "seg.tlsSecret" -}}
{{- if eq .Values.certificates.mode "provided" -}}
{{ .Values.certificates.secretName }}
{{- else -}}
{{ include "seg.fullname" . }}-tls
{{- end -}}
{{- end -}}

{{- define "seg.policyConfigMap" -}}
{{ .Values.policyConfigMap | default (printf "%s-policy" (include "seg.fullname" .)) }}
{{- end -}}

{{- /* What the leader keeps in the cluster: the flag --backstop. */ -}}
{{- define "seg.backstop" -}}
{{- if eq .Values.admission.engine "native" -}}native{{- else if .Values.admission.backstop -}}validating{{- else -}}none{{- end -}}
{{- end -}}

{{- /* Whether the controller may have to patch ServiceEntries: a policy of someone else's ConfigMap may say so any time. */ -}}
{{- define "seg.remediates" -}}
{{- $base := default "Siblings" .Values.policy.existing -}}
{{- $layers := prepend (default (list) .Values.policy.namespaces) .Values.policy -}}
{{- range $layers -}}
{{- if ne (default $base .existing) "Report" -}}yes{{- end -}}
{{- end -}}
{{- if .Values.policyConfigMap -}}yes{{- end -}}
{{- end -}}

{{- define "seg.allPods" -}}
{{- include "seg.selector" (dict "root" .) -}},app.kubernetes.io/component in (webhook,controller)
{{- end -}}

{{- define "seg.selector" -}}
{{- $labels := include "seg.selectorLabels" . | fromYaml -}}
{{- $pairs := list -}}
{{- range $name, $value := $labels -}}
{{- $pairs = append $pairs (printf "%s=%s" $name $value) -}}
{{- end -}}
{{- join "," $pairs -}}
{{- end -}}

{{- define "seg.loggingArgs" -}}
{{- with .Values.logging.level }}
- --log-level={{ . }}
{{- end }}
{{- with .Values.logging.format }}
- --log-format={{ . }}
{{- end }}
{{- with .Values.tracing.otlpEndpoint }}
- --otlp-endpoint={{ . }}
{{- end }}
{{- end -}}

{{- define "seg.probes" -}}
{{- /*
The kubelet reports each probe that fails as a Warning. So the first one comes when the process listens; /startupz answers when
the process is ready, or after two minutes; and a pod that drains is ready to the kubelet: the API server's proxies know from the
pod's deletion that its endpoint is gone.
*/ -}}
{{- $started := dict "path" "/startupz" "port" "health" }}
{{- $alive := dict "path" "/healthz" "port" "health" }}
{{- $ready := dict "path" "/readyz?exclude=drain" "port" "health" }}
{{- $own := dict
  "startup" (dict "httpGet" $started "initialDelaySeconds" 2 "periodSeconds" 2 "timeoutSeconds" 150 "failureThreshold" 30)
  "liveness" (dict "httpGet" $alive "periodSeconds" 10 "timeoutSeconds" 5 "failureThreshold" 3)
  "readiness" (dict "httpGet" $ready "periodSeconds" 2 "timeoutSeconds" 2 "failureThreshold" 2) }}
{{- range $name, $probe := $own }}
{{ $name }}Probe:
  {{- toYaml (merge (deepCopy (get $.Values.probes $name | default dict)) $probe) | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "seg.scheduling" -}}
{{- with .priority | default .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .values.affinity }}
affinity:
  {{- toYaml .values.affinity | nindent 2 }}
{{- else }}
# There is no topologySpreadConstraint for zones: the scheduler leaves out nodes that lack the label of any constraint, and so would
# spread nothing in a cluster without zones.
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      {{- range $key, $weight := dict "kubernetes.io/hostname" 100 "topology.kubernetes.io/zone" 50 }}
      - weight: {{ $weight }}
        podAffinityTerm:
          topologyKey: {{ $key }}
          # Without the hash, the pods that a rollout replaces would push the new ones to the same other node.
          matchLabelKeys:
            - pod-template-hash
          labelSelector:
            matchLabels:
              {{- include "seg.selectorLabels" $ | nindent 14 }}
      {{- end }}
{{- end }}
topologySpreadConstraints:
{{- if .values.topologySpreadConstraints }}
  {{- toYaml .values.topologySpreadConstraints | nindent 2 }}
{{- else }}
  - topologyKey: kubernetes.io/hostname
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    # The hash: see above.
    matchLabelKeys:
      - pod-template-hash
    labelSelector:
      matchLabels:
        {{- include "seg.selectorLabels" $ | nindent 8 }}
{{- end }}
{{- end -}}

{{- define "seg.pod" -}}
{{- $secrets := .Values.imagePullSecrets }}
{{- range .Values.global.imagePullSecrets }}
{{- $secrets = append $secrets (kindIs "string" . | ternary (dict "name" .) .) }}
{{- end }}
{{- with $secrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
# A Service of our name would otherwise set SERVICEENTRY_GUARD_PORT, which is a flag of ours.
enableServiceLinks: false
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "seg.container" -}}
image: {{ include "seg.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with .Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* The hosts that hosts.owners of the policy lists, for all namespaces or some, as JSON. */ -}}
{{- define "seg.ownedHosts" -}}
{{- $found := list -}}
{{- range $settings := prepend (.Values.policy.namespaces | default list) .Values.policy -}}
{{- range $owner := ($settings.hosts | default dict).owners | default list -}}
{{- $found = concat $found $owner.match -}}
{{- end -}}
{{- end -}}
{{- toJson (uniq $found) -}}
{{- end -}}

{{- /* Whether the policy says anything about entries that every namespace sees. */ -}}
{{- define "seg.requiresExportTo" -}}
{{- range $settings := prepend (.Values.policy.namespaces | default list) .Values.policy -}}
{{- if has (($settings.exportTo | default dict).require | default "Off") (list "Namespace" "Warn") -}}
true
{{- end -}}
{{- end -}}
{{- end -}}

{{- /*
matchConditions of both webhooks. What "not-yet-compliant" leaves out is what the core has nothing to say about: resolution
DNS or DYNAMIC_DNS, none of our annotations (they have bounds), no host that is, or whose wildcard covers, a Kubernetes
Service's name, short ones too, and no port 443 that is not TLS (there are warnings about those). DNS_ROUND_ROBIN has a warning
too. That holds for every policy but for hosts.owners and exportTo.require: hosts with an owner are never left out, nor are
entries that every namespace sees if the policy asks for fewer. Where the policy is in a ConfigMap of its own, or lists more
hosts than a condition can afford to compare, nothing is left out. The object alone counts: what an update changes makes no
verdict on it harsher. tests/chart/test_match_conditions.py compares it with the core.
*/ -}}
{{- define "seg.matchConditions" -}}
{{- /* What the controller patches follows from the policy, and a resolution that it gives back must not be refused. */}}
- name: not-by-the-controller
  expression: >-
    request.userInfo.username != 'system:serviceaccount:{{ include "seg.namespace" . }}:{{ include "seg.controllerAccount" . }}'
{{- $owned := include "seg.ownedHosts" . | fromJsonArray }}
{{- if and .Values.admission.skipCompliant (not .Values.policyConfigMap) (le (len $owned) 100) }}
{{- $exact := list }}
{{- $ends := include "seg.core.reservedEnds" . | fromJsonArray }}
{{- range $owned }}
{{- if hasPrefix "*" . }}
{{- $ends = append $ends (printf "%s." (trimPrefix "*" .)) }}
{{- else }}
{{- $exact = append $exact (printf "%s." .) }}
{{- end }}
{{- end }}
- name: not-yet-compliant
  expression: >-
    !(has(object.spec) && has(object.spec.resolution) && object.spec.resolution in {{ include "seg.core.compliantResolutions" . }}
    && has(object.spec.hosts) && size(object.spec.hosts) > 0
    && object.spec.hosts.all(host, !host.startsWith('*') && !host.lowerAscii().contains('.svc'))
    && object.spec.hosts.map(host, (host.lowerAscii() + '.').replace('..', '.')).all(name,
    !(name in {{ toJson $exact }}) && !{{ toJson $ends }}.exists(end, name.endsWith(end)))
    {{- if include "seg.requiresExportTo" . }}
    && has(object.spec.exportTo) && size(object.spec.exportTo) > 0 && !('*' in object.spec.exportTo)
    {{- end }}
    && !(has(object.spec.ports) && object.spec.ports.exists(port, port.number == {{ include "seg.core.tlsPort" . }} && !(has(port.protocol)
    && port.protocol.upperAscii() in {{ include "seg.core.tlsProtocols" . }})))
    && !(has(object.metadata.annotations)
    && object.metadata.annotations.exists(name, name.startsWith({{ include "seg.core.annotationPrefix" . }}))))
{{- end }}
{{- with .Values.admission.matchConditions }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /*
Further matchConditions of the validating webhook: what it could only let in passes while every webhook pod is down. It is never
asked about an update that touches neither spec nor our annotations, nor in namespaces where the policy enforces nothing. With a
policy in the values, and unless hosts have owners or exportTo is required, it is not asked about entries of other locations,
entries that list endpoints (unless resolution.static is Deny somewhere) and entries none of whose ports names a host (unless
resolution.tcp is DNS somewhere); our annotations have bounds, so an entry with one is asked about. tests/chart/test_passes.py and
tests/chart/test_own_policies.py compare with the core.
*/ -}}
{{- define "seg.mayBeRejected" -}}
- name: touches-spec-or-our-annotations
  expression: >-
    request.operation == "CREATE" || object.?spec != oldObject.?spec ||
    object.metadata.?annotations.orValue({}).exists(name, name.startsWith({{ include "seg.core.annotationPrefix" . }}) &&
    oldObject.metadata.?annotations.orValue({})[?name] != object.metadata.?annotations.orValue({})[?name]) ||
    oldObject.metadata.?annotations.orValue({}).exists(name, name.startsWith({{ include "seg.core.annotationPrefix" . }}) &&
    !(name in object.metadata.?annotations.orValue({})))
{{- with include "seg.enforcedHere" . }}
- name: enforced-here
  expression: {{ . | quote }}
{{- end }}
{{- if and (not .Values.policyConfigMap) (not (include "seg.ownedHosts" . | fromJsonArray)) (not (include "seg.requiresExportTo" .)) }}
{{- $locations := list }}
{{- $static := "" }}
{{- $tcp := "" }}
{{- range $settings := prepend (.Values.policy.namespaces | default list) .Values.policy }}
{{- $locations = concat $locations (($settings.scope | default dict).locations | default list) }}
{{- $resolution := $settings.resolution | default dict }}
{{- if eq ($resolution.static | default "Warn") "Deny" }}{{ $static = "Deny" }}{{ end }}
{{- if eq ($resolution.tcp | default "Leave") "DNS" }}{{ $tcp = "DNS" }}{{ end }}
{{- end }}
{{- if not (.Values.policy.scope | default dict).locations }}{{ $locations = append $locations "MESH_EXTERNAL" }}{{ end }}
- name: looked-at
  expression: >-
    object.metadata.?annotations.orValue({}).exists(name, name.startsWith({{ include "seg.core.annotationPrefix" . }})) ||
    !(has(object.spec) && (
    !((has(object.spec.location) ? object.spec.location : "MESH_EXTERNAL") in {{ toJson (uniq $locations) }})
    {{- if not $static }}
    || (has(object.spec.resolution) && object.spec.resolution == "STATIC" && ((has(object.spec.endpoints) &&
    size(object.spec.endpoints) > 0) || has(object.spec.workloadSelector)))
    {{- end }}
    {{- if not $tcp }}
    || (has(object.spec.ports) && size(object.spec.ports) > 0 && object.spec.ports.all(port, !(has(port.protocol) &&
    port.protocol.upperAscii() in {{ include "seg.core.namingProtocols" . }})))
    {{- end }}
    ))
{{- end }}
{{- end -}}

{{- /*
Whether the policy can reject anything in the namespace of a request, as CEL: the first matching item of `namespaces` has the mode and
the excluded namespaces, else the policy itself. The items are a list: API servers limit how deep an expression is nested, Kubernetes 1.30
to less than 250 conditions. Empty if it can everywhere or nowhere (failurePolicy is Ignore then), or if a glob has
brackets or the policy is in a ConfigMap of its own, so that the condition cannot know.
tests/chart/test_enforced_here.py compares it with the core.
*/ -}}
{{- define "seg.enforcedHere" -}}
{{- $policy := .Values.policy -}}
{{- $base := $policy.mode | default "Enforce" -}}
{{- $left := ($policy.scope | default dict).excludedNamespaces | default list -}}
{{- $globs := $left -}}
{{- $always := and (eq $base "Enforce") (not $left) -}}
{{- $rules := list -}}
{{- range $item := $policy.namespaces | default list -}}
{{- $mode := $item.mode | default $base -}}
{{- $excluded := $left -}}
{{- if hasKey ($item.scope | default dict) "excludedNamespaces" -}}{{- $excluded = $item.scope.excludedNamespaces -}}{{- end -}}
{{- $globs = concat $globs $item.match $excluded -}}
{{- if or (ne $mode "Enforce") $excluded -}}{{- $always = false -}}{{- end -}}
{{- $rules = append $rules (printf "[%s, %s]" (include "seg.namespaceIn" $item.match) (include "seg.enforcedIn" (list $mode $excluded))) -}}
{{- end -}}
{{- $expression := include "seg.enforcedIn" (list $base $left) -}}
{{- if $rules -}}
{{- $expression = printf "[%s, [true, %s]].filter(rule, rule[0])[0][1]" (join ", " $rules) $expression -}}
{{- end -}}
{{- $known := not .Values.policyConfigMap -}}
{{- range $globs -}}
{{- if not (regexMatch "^[a-zA-Z0-9*?.-]+$" .) -}}{{- $known = false -}}{{- end -}}
{{- end -}}
{{- if and $known (not $always) (include "seg.mayEnforce" .) -}}{{ $expression }}{{- end -}}
{{- end -}}

{{- define "seg.enforcedIn" -}}
{{- $mode := index . 0 -}}
{{- $excluded := index . 1 -}}
{{- if ne $mode "Enforce" -}}false{{- else if $excluded -}}!{{ include "seg.namespaceIn" $excluded }}{{- else -}}true{{- end -}}
{{- end -}}

{{- define "seg.namespaceIn" -}}
{{- $all := list -}}
{{- range . -}}
{{- $all = append $all (lower . | replace "." "[.]" | replace "*" ".*" | replace "?" ".") -}}
{{- end -}}
request.namespace.matches('^({{ join "|" $all }})$')
{{- end -}}

{{- define "seg.webhook" -}}
- name: {{ .stage }}.serviceentry-guard.io
  admissionReviewVersions: ["v1"]
  clientConfig:
    {{- if .root.Values.webhook.url }}
    url: {{ printf "%s/%s" (trimSuffix "/" .root.Values.webhook.url) .stage | quote }}
    {{- else }}
    service:
      name: {{ include "seg.serviceName" .root }}
      namespace: {{ include "seg.namespace" .root }}
      path: /{{ .stage }}
      port: 443
    {{- end }}
    {{- /* Nobody but the controller or cert-manager's injector writes caBundle in the other modes: an upgrade would undo it. */ -}}
    {{- if and (eq .root.Values.certificates.mode "provided") .root.Values.certificates.caBundle }}
    caBundle: {{ .root.Values.certificates.caBundle | b64enc }}
    {{- end }}
  rules:
    - apiGroups: ["networking.istio.io"]
      apiVersions: ["*"]
      operations: ["CREATE", "UPDATE"]
      resources: ["serviceentries"]
      scope: Namespaced
  {{- /* The controller sets what the values ask for; an upgrade keeps what it has set, where Helm can ask the cluster. */}}
  failurePolicy: {{ include "seg.failurePolicy" . }}
  matchPolicy: Equivalent
  sideEffects: None
  timeoutSeconds: {{ .settings.timeoutSeconds }}
  namespaceSelector:
    {{- with .root.Values.admission.namespaceSelector.matchLabels }}
    matchLabels:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    matchExpressions:
      - key: kubernetes.io/metadata.name
        operator: NotIn
        values:
          {{- toYaml (append .root.Values.admission.excludedNamespaces (include "seg.namespace" .root) | uniq) | nindent 10 }}
      {{- with .root.Values.admission.namespaceSelector.matchExpressions }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  matchConditions:
    {{- include "seg.matchConditions" .root | trim | nindent 4 }}
    {{- if eq .stage "validate" }}
    {{- include "seg.mayBeRejected" .root | trim | nindent 4 }}
    {{- end }}
{{- end -}}

{{- define "seg.failurePolicy" -}}
{{- $live := lookup "admissionregistration.k8s.io/v1" .kind "" (include "seg.fullname" .root) | default dict -}}
{{- $held := false -}}
{{- range $live.webhooks -}}
{{- if eq .failurePolicy "Fail" -}}{{- $held = true -}}{{- end -}}
{{- end -}}
{{- if and $held (eq .settings.failurePolicy "Fail") (include "seg.mayEnforce" .root) -}}Fail{{- else -}}Ignore{{- end -}}
{{- end -}}

{{- /* Whether the policy enforces somewhere, as far as the values say: a policy of someone else's ConfigMap may. */ -}}
{{- define "seg.mayEnforce" -}}
{{- $base := default "Enforce" .Values.policy.mode -}}
{{- range prepend (default (list) .Values.policy.namespaces) .Values.policy -}}
{{- if eq (default $base .mode) "Enforce" -}}yes{{- end -}}
{{- end -}}
{{- if .Values.policyConfigMap -}}yes{{- end -}}
{{- end -}}

{{- define "seg.webhookAnnotations" -}}
{{- if eq .Values.certificates.mode "cert-manager" }}
  annotations:
    cert-manager.io/inject-ca-from: {{ include "seg.namespace" . }}/{{ include "seg.tlsSecret" . }}
{{- end }}
{{- end -}}

{{- define "seg.validate" -}}
{{- if and .Values.webhook.url (ne .Values.certificates.mode "provided") -}}
{{- fail "webhook.url: a webhook outside the cluster brings its own certificate: set certificates.mode to provided" -}}
{{- end -}}
{{- if and (eq .Values.certificates.mode "provided") (not .Values.certificates.secretName) (not .Values.webhook.url) -}}
{{- fail "certificates.secretName: name the Secret with the certificate that certificates.mode provided stands for" -}}
{{- end -}}
{{- if and .Values.policy .Values.policyConfigMap -}}
{{- fail "policyConfigMap: it stands in the place of policy: set one of them" -}}
{{- end -}}
{{- if and (eq .Values.admission.engine "native") (semverCompare "<1.36.0-0" .Capabilities.KubeVersion.Version) -}}
{{- fail (printf "admission.engine: native needs Kubernetes 1.36 or newer, and this cluster has %s: use webhook" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- $webhook := .Values.webhook -}}
{{- if and $webhook.hostNetwork (not $webhook.url) (eq (int $webhook.port) 10250) -}}
{{- fail "webhook.port: 10250 is the kubelet's on the node's network (webhook.hostNetwork): set another one, such as 10260" -}}
{{- end -}}
{{- if and $webhook.hostNetwork (not $webhook.url) (eq (int $webhook.port) (int $webhook.healthPort)) -}}
{{- fail "webhook.healthPort: it must not be webhook.port" -}}
{{- end -}}
{{- $clients := $webhook.clientCA -}}
{{- if and $clients.configMap $clients.secret -}}
{{- fail "webhook.clientCA: name a ConfigMap or a Secret, not both" -}}
{{- end -}}
{{- if and $clients.allowedSubjects (not $clients.configMap) (not $clients.secret) -}}
{{- fail "webhook.clientCA.allowedSubjects: name the CA of the clients too, in webhook.clientCA.configMap or secret" -}}
{{- end -}}
{{- if and $webhook.autoscaling.enabled (gt (int $webhook.autoscaling.minReplicas) (int $webhook.autoscaling.maxReplicas)) -}}
{{- fail "webhook.autoscaling.minReplicas: it must not be more than webhook.autoscaling.maxReplicas" -}}
{{- end -}}
{{- $metrics := .Values.metrics -}}
{{- $given := dict "commonLabels" .Values.commonLabels "webhook.podLabels" $webhook.podLabels "controller.podLabels" .Values.controller.podLabels -}}
{{- range $name := list "serviceMonitor" "prometheusRule" "dashboard" -}}
{{- $_ := set $given (printf "metrics.%s.labels" $name) (get $metrics $name).labels -}}
{{- end -}}
{{- range $path, $labels := $given -}}
{{- range $name, $_ := $labels -}}
{{- if or (has $name (list "helm.sh/chart" "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "app.kubernetes.io/part-of")) (and (ne $path "commonLabels") (hasKey $.Values.commonLabels $name)) -}}
{{- fail (printf "%s: the label %s is written by the chart already" $path $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- include "seg.refuseSecond" . -}}
{{- end -}}

{{- /* Of two installations one would do nothing: its controllers see the other's Lease. Only a cluster can be asked. */ -}}
{{- define "seg.refuseSecond" -}}
{{- $found := lookup "admissionregistration.k8s.io/v1" "ValidatingWebhookConfiguration" "" "" -}}
{{- range ($found | default dict).items -}}
{{- $labels := .metadata.labels | default dict -}}
{{- $notes := .metadata.annotations | default dict -}}
{{- $release := get $notes "meta.helm.sh/release-name" -}}
{{- $namespace := get $notes "meta.helm.sh/release-namespace" -}}
{{- if and (eq (get $labels "app.kubernetes.io/part-of" | toString) "serviceentry-guard") $release -}}
{{- if or (ne $release $.Release.Name) (ne $namespace $.Release.Namespace) -}}
{{- fail (printf "release %s in namespace %s has installed serviceentry-guard in this cluster already: upgrade or uninstall that one" $release $namespace) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "seg.uninstallHook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{- define "seg.backstopResources" -}}
- validatingadmissionpolicies
- validatingadmissionpolicybindings
- mutatingadmissionpolicies
- mutatingadmissionpolicybindings
{{- end -}}

{{- /* Of the admission policies that the leader keeps, and of their bindings. */ -}}
{{- define "seg.backstopNames" -}}
- serviceentry-guard-refuse
- serviceentry-guard-warn
- serviceentry-guard-repair
{{- end -}}

{{- define "seg.apiServerEgress" -}}
{{- if .Values.networkPolicy.apiServer -}}
{{- toYaml .Values.networkPolicy.apiServer -}}
{{- else -}}
# The API server's address and port differ from cluster to cluster.
- {}
{{- end -}}
{{- end -}}

{{- /* The port of a URL, or that of its scheme. */ -}}
{{- define "seg.portOf" -}}
{{- $parts := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $parts.host | trimPrefix ":" -}}
{{- $port | default (eq $parts.scheme "https" | ternary "443" "80") -}}
{{- end -}}

{{- /* Where traces go, and what else the values open for all pods. */ -}}
{{- define "seg.webhookEgress" -}}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- if .Values.webhook.url }}
- ports:
    - port: {{ include "seg.portOf" .Values.webhook.url }}
{{- else }}
- to:
    - podSelector:
        matchLabels:
          {{- include "seg.selectorLabels" (dict "root" . "component" "webhook") | nindent 10 }}
  ports:
    - port: webhook
{{- end }}
{{- end -}}

{{- define "seg.furtherEgress" -}}
{{- with .Values.tracing.otlpEndpoint }}
- ports:
    - port: {{ include "seg.portOf" . }}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- end }}
{{- with .Values.networkPolicy.egress }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "seg.priorityClass" -}}
{{- if and .Values.webhook.priorityClass.create (not .Values.webhook.priorityClassName) (not .Values.webhook.url) -}}
{{ include "seg.serviceName" . }}
{{- end -}}
{{- end -}}
