{{- define "vdo-lib.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Chart.Name }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "vdo-lib.labels" . | nindent 4 }}
spec:
  replicas: {{ .Values.replicas }}
  revisionHistoryLimit: 3
  selector:
    matchLabels:
      {{- include "vdo-lib.selector" . | nindent 6 }}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      # One replica leads and the other waits, so one at a time may be away. A third would find no free port on a
      # small cluster that uses the host's network.
      maxUnavailable: 1
      maxSurge: 0
  template:
    metadata:
      # No version here: a chart that changes nothing about the pods restarts none.
      labels:
        {{- include "vdo-lib.selector" . | nindent 8 }}
        app.kubernetes.io/part-of: vdo
        {{- with .Values.global.extraLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        kubectl.kubernetes.io/default-container: {{ .Chart.Name }}
        {{- with .Values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ .Chart.Name }}
      priorityClassName: {{ .Values.priorityClassName }}
      terminationGracePeriodSeconds: 15
      # Cluster DNS does not run before CPI has initialised a node.
      dnsPolicy: Default
      {{- if .Values.global.bootstrap.hostNetwork }}
      hostNetwork: true
      {{- end }}
      {{- with .Values.global.imagePullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
        runAsGroup: 65532
        seccompProfile:
          type: RuntimeDefault
      containers:
        - name: {{ .Chart.Name }}
          image: {{ include "vdo-lib.image" . }}
          imagePullPolicy: {{ .Values.image.pullPolicy }}
          env:
            {{- include "vdo-lib.env" . | nindent 12 }}
          ports:
            - name: metrics
              containerPort: {{ include "vdo-lib.port" . }}
              protocol: TCP
          livenessProbe:
            httpGet:
              path: /healthz
              port: metrics
            periodSeconds: 20
            timeoutSeconds: 5
            failureThreshold: 3
          readinessProbe:
            httpGet:
              path: /readyz
              port: metrics
            periodSeconds: 5
            timeoutSeconds: 5
          resources:
            {{- toYaml .Values.resources | nindent 12 }}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities:
              drop:
                - ALL
      {{- with .Values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      affinity:
        {{- if .Values.affinity }}
        {{- toYaml .Values.affinity | nindent 8 }}
        {{- else }}
        {{- include "vdo-lib.affinity" . | nindent 8 }}
        {{- end }}
      tolerations:
        {{- include "vdo-lib.tolerations" . | nindent 8 }}
        {{- with .Values.tolerations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
{{- end }}

{{- define "vdo-lib.env" -}}
- name: POD_UID
  valueFrom:
    fieldRef:
      fieldPath: metadata.uid
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: VDO_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: VDO_LISTEN
  value: {{ printf "%s:%s" .Values.global.listenAddress (include "vdo-lib.port" .) | quote }}
- name: VDO_LOG
  value: {{ .Values.log.level | quote }}
- name: VDO_LOG_FORMAT
  value: {{ .Values.log.format | quote }}
{{- if not .Values.global.metrics.enabled }}
- name: VDO_METRICS
  value: "false"
{{- end }}
{{- with .Values.global.credentials.kubeSystemSecrets }}
- name: VDO_KUBE_SYSTEM_SECRETS
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.rolloutDeadlineSeconds }}
- name: VDO_ROLLOUT_DEADLINE_SECONDS
  value: {{ . | int | quote }}
{{- end }}
{{- with .Values.proxy }}
{{- with .https }}
- name: VDO_HTTPS_PROXY
  value: {{ . | quote }}
{{- end }}
{{- with .noProxy }}
- name: VDO_NO_PROXY
  value: {{ join "," . | quote }}
{{- end }}
{{- end }}
{{- with .Values.caBundle }}
- name: VDO_CA_BUNDLE
  value: {{ . | quote }}
{{- end }}
{{- if hasKey .Values "rolloutSoakSeconds" }}
- name: VDO_ROLLOUT_SOAK_SECONDS
  value: {{ .Values.rolloutSoakSeconds | int | quote }}
{{- end }}
{{- end }}

{{/*
Control-plane nodes if they can be had, since only they are sure to be there before CPI works; replicas apart.
*/}}
{{- define "vdo-lib.affinity" -}}
nodeAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    {{- range list "control-plane" "controlplane" "master" }}
    - weight: 50
      preference:
        matchExpressions:
          - key: node-role.kubernetes.io/{{ . }}
            operator: Exists
    {{- end }}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "vdo-lib.selector" . | nindent 12 }}
{{- end }}

{{/*
Operators work before any node does: that is what they are for. Only an outage of their own node moves them.
*/}}
{{- define "vdo-lib.tolerations" -}}
- key: node.cloudprovider.kubernetes.io/uninitialized
  operator: Exists
- key: node.kubernetes.io/network-unavailable
  operator: Exists
- key: node.kubernetes.io/not-ready
  operator: Exists
  effect: NoSchedule
- key: node.kubernetes.io/not-ready
  operator: Exists
  effect: NoExecute
  tolerationSeconds: 300
- key: node.kubernetes.io/unreachable
  operator: Exists
  effect: NoSchedule
- key: node.kubernetes.io/unreachable
  operator: Exists
  effect: NoExecute
  tolerationSeconds: 60
{{- range list "control-plane" "controlplane" "master" "etcd" }}
- key: node-role.kubernetes.io/{{ . }}
  operator: Exists
{{- end }}
- key: CriticalAddonsOnly
  operator: Exists
{{- end }}
