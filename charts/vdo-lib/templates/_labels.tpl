{{/*
Labels of every object of a chart. Context: the chart's root.
*/}}
{{- define "vdo-lib.labels" -}}
{{ include "vdo-lib.selector" . }}
app.kubernetes.io/part-of: vdo
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.global.extraLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
What a Deployment, a Service and a budget select pods by. It never changes: an API server will not change a selector.
*/}}
{{- define "vdo-lib.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
