{{/*
Everything of one operator but its roles. Context: the chart's root. Objects are named after the chart, since a cluster
has one VDO: the operators' Leases and the roles of the charts count on these names.
*/}}
{{- define "vdo-lib.operator" -}}
{{ include "vdo-lib.serviceaccount" . }}
---
{{ include "vdo-lib.deployment" . }}
{{- if .Values.global.metrics.enabled }}
---
{{ include "vdo-lib.service" . }}
{{- if .Values.global.metrics.serviceMonitor.enabled }}
---
{{ include "vdo-lib.servicemonitor" . }}
{{- end }}
{{- end }}
{{- if .Values.global.networkPolicy.enabled }}
---
{{ include "vdo-lib.networkpolicy" . }}
{{- end }}
{{- if .Values.podDisruptionBudget.enabled }}
---
{{ include "vdo-lib.budget" . }}
{{- end }}
{{- end }}

{{- define "vdo-lib.serviceaccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .Chart.Name }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "vdo-lib.labels" . | nindent 4 }}
automountServiceAccountToken: true
{{- end }}

{{/*
The image: by digest where one is given, else by tag, else of the chart's own version.
*/}}
{{- define "vdo-lib.image" -}}
{{- $image := .Values.image }}
{{- $registry := .Values.global.imageRegistry | default $image.registry }}
{{- $name := printf "%s/%s" $registry $image.repository }}
{{- if $image.digest }}
{{- printf "%s@%s" $name $image.digest }}
{{- else }}
{{- printf "%s:%s" $name ($image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{/*
The port of probes and metrics. On the host's network each operator has its own, so that two fit on one node.
*/}}
{{- define "vdo-lib.port" -}}
{{- if .Values.global.bootstrap.hostNetwork }}{{ .Values.hostPort }}{{ else }}8080{{ end }}
{{- end }}

{{- define "vdo-lib.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ .Chart.Name }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "vdo-lib.labels" . | nindent 4 }}
spec:
  type: ClusterIP
  selector:
    {{- include "vdo-lib.selector" . | nindent 4 }}
  # The operator that does not lead has metrics too, also while it is not ready.
  publishNotReadyAddresses: true
  ports:
    - name: metrics
      port: 8080
      targetPort: metrics
      protocol: TCP
{{- end }}

{{- define "vdo-lib.budget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .Chart.Name }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "vdo-lib.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "vdo-lib.selector" . | nindent 6 }}
{{- end }}

{{/*
For the Prometheus operator.
*/}}
{{- define "vdo-lib.servicemonitor" -}}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  name: {{ .Chart.Name }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "vdo-lib.labels" . | nindent 4 }}
    {{- with .Values.global.metrics.serviceMonitor.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  selector:
    matchLabels:
      {{- include "vdo-lib.selector" . | nindent 6 }}
  endpoints:
    - port: metrics
      interval: {{ .Values.global.metrics.serviceMonitor.interval }}
{{- end }}

{{/*
What may reach the operator, and what it may reach: the API server, vCenters and DNS. Probes come from the node, which no
policy keeps away.
*/}}
{{- define "vdo-lib.networkpolicy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .Chart.Name }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "vdo-lib.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "vdo-lib.selector" . | nindent 6 }}
  policyTypes:
    - Ingress
    - Egress
  ingress:
    - ports:
        - port: metrics
          protocol: TCP
      {{- with .Values.global.networkPolicy.metricsFrom }}
      from:
        - namespaceSelector:
            matchExpressions:
              - key: kubernetes.io/metadata.name
                operator: In
                values:
                  {{- toYaml . | nindent 18 }}
      {{- end }}
  egress:
    - ports:
        {{- range .Values.global.networkPolicy.egressPorts }}
        - port: {{ . }}
          protocol: TCP
        {{- end }}
    - ports:
        - port: 53
          protocol: UDP
        - port: 53
          protocol: TCP
{{- end }}
