//! Values that are wrong, each refused before anything is asked of a cluster, with the name of what is wrong.

use e2e::stand::rendered_chart;
use testbed::bed::Bed;

/// What is typed after `--set`, and a word that the answer must have.
const WRONG: &[(&str, &str)] = &[
    ("nmespaces.create=true", "nmespaces"),
    ("namespaces.create=perhaps", "create"),
    ("namespaces.creat=true", "creat"),
    ("global.imageRegistry=mirror.example.com/", "imageRegistry"),
    ("global.imagePullSecrets=mirror", "imagePullSecrets"),
    ("global.imagePullSecrets[0]=My_Secret", "imagePullSecrets"),
    ("global.listenAddress=localhost", "listenAddress"),
    ("global.credentials.kubeSystemSecrets[0]=UPPER", "kubeSystemSecrets"),
    ("global.bootstrap.hostNetwork=1", "hostNetwork"),
    ("global.bootstrap.hostNetwrk=true", "hostNetwrk"),
    ("global.metrics.enabled=sometimes", "enabled"),
    ("global.metrics.serviceMonitor.interval=30", "interval"),
    ("global.metrics.serviceMonitor.labels.release=not valid", "release"),
    ("global.networkPolicy.egressPorts[0]=70000", "egressPorts"),
    ("global.networkPolicy.metricsFrom[0]=Bad_Name", "metricsFrom"),
    ("global.extraLabels.team=has space", "team"),
    ("vdo-core.replicas=5", "replicas"),
    ("vdo-core.replicas=-1", "replicas"),
    ("vdo-core.replicas=two", "replicas"),
    ("vdo-core.image.tag=a/b", "tag"),
    ("vdo-core.image.digest=sha256:abc", "digest"),
    ("vdo-core.image.pullPolicy=Sometimes", "pullPolicy"),
    ("vdo-core.log.format=xml", "format"),
    ("vdo-core.log.level=", "level"),
    ("vdo-core.resources.requets.cpu=1", "requets"),
    ("vdo-core.hostPort=0", "hostPort"),
    ("vdo-core.tolerations[0].operator=Maybe", "operator"),
    ("vdo-core.affinity.nodeAfinity.x=1", "nodeAfinity"),
    ("vdo-core.priorityClassName=Not Valid", "priorityClassName"),
    ("vdo-core.enabled=perhaps", "enabled"),
    ("vdo-crds.enabled=perhaps", "enabled"),
    ("cpi-operator.rolloutDeadlineSeconds=5", "rolloutDeadlineSeconds"),
    ("cpi-operator.rolloutDeadlineSeconds=soon", "rolloutDeadlineSeconds"),
    ("cpi-operator.podAnnotations.note=1", "note"),
    ("csi-operator.rolloutSoakSeconds=-1", "rolloutSoakSeconds"),
    ("csi-operator.podDisruptionBudget.enabled=maybe", "enabled"),
    ("alerts.runbookURL=ftp://example.com", "runbookURL"),
    ("dashboard.enabled=1", "enabled"),
    ("config.create=true", "vsphereCloudConfigs"),
    ("config.vsphereCloudConfigs.Bad_Name.vcIp=vcenter.example.com", "Bad_Name"),
];

#[test]
fn every_wrong_value_is_refused_by_name() {
    let bed = Bed::from_env();
    let mut accepted = Vec::new();
    for (value, word) in WRONG {
        let key = value.split('=').next().unwrap();
        match rendered_chart(&bed, "vdo", &["--set", value]) {
            Ok(_) => accepted.push(format!("{value}: accepted")),
            Err(error) => {
                let said = format!("{error:#}");
                // The chart or the part that it is about, and the field.
                let part = key.split('.').next().unwrap();
                let of_part = part == "global" || said.contains(part);
                if !said.contains(word) || !of_part || said.contains("panic") {
                    accepted.push(format!("{value}: {said}"));
                }
            }
        }
    }
    assert!(accepted.is_empty(), "{}", accepted.join("\n"));
    println!("{} wrong values refused", WRONG.len());
    assert!(WRONG.len() >= 30);
}
