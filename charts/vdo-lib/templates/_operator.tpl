{{/*
Everything of one operator but its roles. Context: the chart's root. Objects are named after the chart, since a cluster
has one VDO: the operators' Leases and the roles of the charts count on these names.
*/}}
{{- define "vdo-lib.operator" -}}
{{ include "vdo-lib.serviceaccount" . }}
---
{{ include "vdo-lib.deployment" . }}
---
{{ include "vdo-lib.service" . }}
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
