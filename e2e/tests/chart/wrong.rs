//! Values that are wrong, each refused before anything is asked of a cluster, with the name of what is wrong.

use std::collections::BTreeMap;

use e2e::stand::{OPERATORS, rendered_chart, what_it_said};
use testbed::bed::Bed;

/// What is typed after `--set`, the chart whose schema it breaks, and what helm says of it after "- at ". A global value is
/// refused by every chart that has it.
const WRONG: &[(&str, &str, &str)] = &[
    ("nmespaces.create=true", "vdo", "'': additional properties 'nmespaces' not allowed"),
    ("namespaces.create=perhaps", "vdo", "'/namespaces/create': got string, want boolean"),
    ("namespaces.creat=true", "vdo", "'/namespaces': additional properties 'creat' not allowed"),
    (
        "global.imageRegistry=mirror.example.com/",
        GLOBAL,
        "'/global/imageRegistry': 'mirror.example.com/' does not match",
    ),
    ("global.imagePullSecrets=mirror", GLOBAL, "'/global/imagePullSecrets': got string, want array"),
    (
        "global.imagePullSecrets[0]=My_Secret",
        GLOBAL,
        "'/global/imagePullSecrets/0': 'My_Secret' does not match",
    ),
    ("global.listenAddress=localhost", GLOBAL, "'/global/listenAddress': 'localhost' does not match"),
    (
        "global.credentials.kubeSystemSecrets[0]=UPPER",
        GLOBAL,
        "'/global/credentials/kubeSystemSecrets/0': 'UPPER' does not match",
    ),
    ("global.bootstrap.hostNetwork=1", GLOBAL, "'/global/bootstrap/hostNetwork': got number, want boolean"),
    (
        "global.bootstrap.hostNetwrk=true",
        GLOBAL,
        "'/global/bootstrap': additional properties 'hostNetwrk' not allowed",
    ),
    ("global.metrics.enabled=sometimes", GLOBAL, "'/global/metrics/enabled': got string, want boolean"),
    (
        "global.metrics.serviceMonitor.interval=30",
        GLOBAL,
        "'/global/metrics/serviceMonitor/interval': got number, want string",
    ),
    (
        "global.metrics.serviceMonitor.labels.release=not valid",
        GLOBAL,
        "'/global/metrics/serviceMonitor/labels/release': 'not valid' does not match",
    ),
    (
        r"global.metrics.serviceMonitor.labels.helm\.sh/chart=x",
        GLOBAL,
        "'/global/metrics/serviceMonitor/labels/helm.sh~1chart': false schema",
    ),
    (
        "global.networkPolicy.egressPorts[0]=70000",
        GLOBAL,
        "'/global/networkPolicy/egressPorts/0': maximum: got 70,000, want 65,535",
    ),
    (
        "global.networkPolicy.metricsFrom[0]=Bad_Name",
        GLOBAL,
        "'/global/networkPolicy/metricsFrom/0': 'Bad_Name' does not match",
    ),
    ("global.extraLabels.team=has space", GLOBAL, "'/global/extraLabels/team': 'has space' does not match"),
    (
        r"global.extraLabels.app\.kubernetes\.io/name=x",
        GLOBAL,
        "'/global/extraLabels/app.kubernetes.io~1name': false schema",
    ),
    (
        r"global.extraLabels.app\.kubernetes\.io/instance=x",
        GLOBAL,
        "'/global/extraLabels/app.kubernetes.io~1instance': false schema",
    ),
    (
        r"global.extraLabels.app\.kubernetes\.io/part-of=x",
        GLOBAL,
        "'/global/extraLabels/app.kubernetes.io~1part-of': false schema",
    ),
    (
        r"global.extraLabels.app\.kubernetes\.io/version=x",
        GLOBAL,
        "'/global/extraLabels/app.kubernetes.io~1version': false schema",
    ),
    (
        r"global.extraLabels.app\.kubernetes\.io/managed-by=x",
        GLOBAL,
        "'/global/extraLabels/app.kubernetes.io~1managed-by': false schema",
    ),
    ("vdo-core.replicas=5", "vdo-core", "'/replicas': maximum: got 5, want 3"),
    ("vdo-core.replicas=-1", "vdo-core", "'/replicas': minimum: got -1, want 0"),
    ("vdo-core.replicas=two", "vdo-core", "'/replicas': got string, want integer"),
    ("vdo-core.image.tag=a/b", "vdo-core", "'/image/tag': 'a/b' does not match"),
    ("vdo-core.image.digest=sha256:abc", "vdo-core", "'/image/digest': 'sha256:abc' does not match"),
    (
        "vdo-core.image.pullPolicy=Sometimes",
        "vdo-core",
        "'/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'",
    ),
    ("vdo-core.log.format=xml", "vdo-core", "'/log/format': value must be one of 'text', 'json'"),
    ("vdo-core.log.level=", "vdo-core", "'/log/level': minLength: got 0, want 1"),
    (
        "vdo-core.resources.requets.cpu=1",
        "vdo-core",
        "'/resources': additional properties 'requets' not allowed",
    ),
    ("vdo-core.hostPort=0", "vdo-core", "'/hostPort': minimum: got 0, want 1"),
    (
        "vdo-core.tolerations[0].operator=Maybe",
        "vdo-core",
        "'/tolerations/0/operator': value must be one of 'Exists', 'Equal'",
    ),
    (
        "vdo-core.affinity.nodeAfinity.x=1",
        "vdo-core",
        "'/affinity': additional properties 'nodeAfinity' not allowed",
    ),
    ("vdo-core.priorityClassName=Not Valid", "vdo-core", "'/priorityClassName': 'Not Valid' does not match"),
    ("vdo-core.proxy.https=socks5://x", "vdo-core", "'/proxy/https': 'socks5://x' does not match"),
    ("vdo-core.caBundle=x", "vdo-core", "'/caBundle': 'x' does not match"),
    ("vdo-core.enabled=perhaps", "vdo-core", "'/enabled': got string, want boolean"),
    ("vdo-crds.enabled=perhaps", "vdo-crds", "'/enabled': got string, want boolean"),
    (
        "cpi-operator.rolloutDeadlineSeconds=5",
        "cpi-operator",
        "'/rolloutDeadlineSeconds': minimum: got 5, want 30",
    ),
    (
        "cpi-operator.rolloutDeadlineSeconds=soon",
        "cpi-operator",
        "'/rolloutDeadlineSeconds': got string, want integer",
    ),
    ("cpi-operator.podAnnotations.note=1", "cpi-operator", "'/podAnnotations/note': got number, want string"),
    ("csi-operator.rolloutSoakSeconds=-1", "csi-operator", "'/rolloutSoakSeconds': minimum: got -1, want 0"),
    (
        "csi-operator.podDisruptionBudget.enabled=maybe",
        "csi-operator",
        "'/podDisruptionBudget/enabled': got string, want boolean",
    ),
    (
        "alerts.runbookURL=ftp://example.com",
        "vdo",
        "'/alerts/runbookURL': 'ftp://example.com' does not match",
    ),
    (
        r"alerts.labels.app\.kubernetes\.io/version=x",
        "vdo",
        "'/alerts/labels/app.kubernetes.io~1version': false schema",
    ),
    ("dashboard.enabled=1", "vdo", "'/dashboard/enabled': got number, want boolean"),
    (
        r"dashboard.labels.app\.kubernetes\.io/managed-by=x",
        "vdo",
        "'/dashboard/labels/app.kubernetes.io~1managed-by': false schema",
    ),
    ("config.create=true", "vdo", "'/config/vsphereCloudConfigs': minProperties: got 0, want 1"),
];
/// In the place of a chart: every one that has global values.
const GLOBAL: &str = "global";
/// A name that is wrong. helm says which, and not where.
const WRONG_NAME: (&str, &str) =
    ("config.vsphereCloudConfigs.Bad_Name.vcIp=vcenter.example.com", "invalid propertyName 'Bad_Name'");

/// What helm says of each chart, by its name: the lines of "at '/place': what is wrong".
fn by_chart(said: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut charts = BTreeMap::new();
    let mut chart = "";
    let (_, refused) =
        said.split_once("values don't meet the specifications of the schema(s)").unwrap_or_default();
    for line in refused.lines().skip(1) {
        match (line.strip_prefix("- at "), line.strip_suffix(':')) {
            (Some(fault), _) => charts.entry(chart).or_insert_with(Vec::new).push(fault),
            (None, Some(name)) => chart = name,
            (None, None) => {}
        }
    }
    charts
}

#[test]
fn every_wrong_value_is_refused_by_name() {
    let bed = Bed::from_env();
    let mut wrong = Vec::new();
    for (value, chart, fault) in WRONG {
        let Err(error) = rendered_chart(&bed, "vdo", &["--set", value]) else {
            wrong.push(format!("{value}: accepted"));
            continue;
        };
        let said = what_it_said(&error);
        let refused = by_chart(&said);
        let all = OPERATORS.iter().chain(&["vdo"]).copied().collect();
        let charts = if *chart == GLOBAL { all } else { vec![*chart] };
        let says =
            |chart| refused.get(chart).is_some_and(|faults| faults.iter().any(|it| it.starts_with(fault)));
        if !charts.into_iter().all(says) {
            wrong.push(format!("{value}: {said}"));
        }
    }
    let (value, fault) = WRONG_NAME;
    let said = what_it_said(&rendered_chart(&bed, "vdo", &["--set", value]).unwrap_err());
    assert!(said.contains(fault), "{value}: {said}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{} wrong values refused", WRONG.len() + 1);
}
