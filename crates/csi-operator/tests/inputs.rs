//! What is accepted, what is held, and in which words.
#![allow(clippy::unwrap_used)]

mod fixture;

use csi_operator::inputs::{Home, Placement, Trust, is_control_plane};
use fixture::{field, said};
use k8s_openapi::api::core::v1::Node;
use vdo_api::vcenter::TrustMode;
use vdo_api::vdoconfig::FileAccess;
use vdo_plan::{Reading, Verdict};

#[test]
fn replicas_fit_the_control_plane() {
    for (control_plane, nodes, placement, replicas) in [
        (1, 1, Placement::ControlPlane, 1),
        (2, 9, Placement::ControlPlane, 2),
        (3, 9, Placement::ControlPlane, 3),
        (7, 9, Placement::ControlPlane, 3),
        (0, 0, Placement::ControlPlane, 1),
        (0, 2, Placement::Anywhere, 2),
        (0, 9, Placement::Anywhere, 3),
    ] {
        let inputs = field().of_nodes(control_plane, nodes).inputs();
        assert_eq!((inputs.placement, inputs.replicas), (placement, replicas), "{control_plane} of {nodes}");
    }
}

#[test]
fn every_spelling_of_the_control_plane_label_counts_whatever_its_value() {
    for label in ["control-plane", "controlplane", "master"] {
        let mut node = Node::default();
        assert!(!is_control_plane(&node));
        node.metadata.labels = Some([(format!("node-role.kubernetes.io/{label}"), "true".to_owned())].into());
        assert!(is_control_plane(&node), "{label}");
    }
}

#[test]
fn a_fingerprint_is_written_as_the_driver_compares_it() {
    let Trust::Thumbprint(written) = field().trusting(TrustMode::Thumbprint).inputs().trust else {
        panic!("not by thumbprint")
    };
    assert!(
        written.expose().starts_with("2C:26:B4:6B:") && written.expose().len() == 95,
        "{}",
        written.expose()
    );
}

#[test]
fn trust_is_never_weakened_by_what_is_missing() {
    let mut no_fingerprint = field().trusting(TrustMode::Thumbprint);
    no_fingerprint.verified.as_mut().unwrap().trust.sha256.clear();
    let mut no_map = field().with_authority();
    no_map.authority = Reading::Absent;
    let mut dark = field().with_authority();
    dark.authority = Reading::Unreadable("forbidden".into());
    let mut no_pem = field().with_authority();
    no_pem.authority = Reading::Present("hello".into());
    for (field, reason) in [
        (no_fingerprint, "CSITrustUnusable: "),
        (no_map, "CertificateAuthorityMissing: "),
        (dark, "CertificateAuthorityMissing: "),
        (no_pem, "CSITrustUnusable: "),
    ] {
        let said = field.obstacles();
        assert!(said.len() == 1 && said[0].starts_with(reason) && said[0].contains("vc1"), "{said:?}");
    }
}

#[test]
fn an_insecure_vcenter_is_said_aloud() {
    assert_eq!(
        said(&field().trusting(TrustMode::Insecure).inputs().advice),
        [
            "CSICertificateNotVerified: VsphereCloudConfig vc1: CSI does not verify the certificate of the vCenter; set \
          its spec.caRef or spec.thumbprint and remove spec.insecure"
        ]
    );
    assert_eq!(said(&field().inputs().advice), [""; 0]);
}

#[test]
fn only_what_was_verified_is_used() {
    let mut unverified = field();
    unverified.verified = None;
    assert!(unverified.obstacles()[0].starts_with("VCenterNotVerified: "));
    let mut edited = field();
    edited.generation = 4;
    assert!(edited.obstacles()[0].starts_with("VCenterNotVerified: "));
    let mut rotated = field();
    rotated.verified.as_mut().unwrap().secret.resource_version = "41".into();
    assert!(rotated.obstacles()[0].starts_with("CredentialsNotVerified: "));
}

#[test]
fn every_obstacle_is_reported_at_once_and_holds() {
    let mut field = field().wanting("2.7.0").trusting(TrustMode::Thumbprint).on_datacenters(&["/a,b"]);
    field.verified.as_mut().unwrap().trust.sha256.clear();
    field.cluster.snapshot_api = Reading::Unreadable("timed out".into());
    field.cluster_id.drivers_own = Reading::Unreadable("forbidden".into());
    let findings = field.resolve().unwrap_err();
    assert_eq!(said(&findings).len(), 5);
    assert!(findings.iter().all(|finding| finding.verdict == Verdict::Hold));
    let words: Vec<&str> = findings.iter().map(|finding| finding.reason.name).collect();
    assert_eq!(
        words,
        [
            "CSIReleaseUnknown",
            "CSIClusterIDUnreadable",
            "CSISnapshotAPIUnreadable",
            "CSITrustUnusable",
            "CSIDatacenterUnrepresentable"
        ]
    );
}

#[test]
fn datacenters_are_given_only_when_the_user_names_some_and_in_one_order() {
    assert!(field().inputs().datacenters.is_empty());
    let of = |paths: &[&str]| -> Vec<String> {
        field().on_datacenters(paths).inputs().datacenters.iter().map(|dc| dc.expose().to_owned()).collect()
    };
    assert_eq!(of(&["/z", "/a b", "/z"]), ["/a b", "/z"]);
    assert_eq!(of(&["/a b", "/z"]), of(&["/z", "/a b"]));
    for bad in ["/a,b", "/a ", "", "/a\nb"] {
        let said = field().on_datacenters(&[bad]).obstacles();
        assert!(said[0].starts_with("CSIDatacenterUnrepresentable: VsphereCloudConfig vc1: "), "{said:?}");
    }
}

#[test]
fn an_existing_cluster_id_stays_where_it_is() {
    let mut field = field();
    field.cluster_id.drivers_own = Reading::Present("made-by-the-driver".into());
    let id = field.inputs().cluster_id;
    assert_eq!((id.value.expose(), id.home), ("made-by-the-driver", Home::DriversConfigMap));
}

#[test]
fn networks_are_checked_and_contradictions_are_named() {
    let all = ("*", Some(FileAccess::ReadOnly), false);
    let one = ("10.0.0.0/8", None, false);
    assert_eq!(
        said(&field().with_file_volumes(&[all, one]).inputs().advice),
        [
            "CSINetworksOverlap: netPermissions * and 10.0.0.0/8 of CSI overlap and give different rights; make the \
          networks disjoint, or their rights equal"
        ]
    );
    let same_right = ("10.1.0.0/16", Some(FileAccess::ReadWrite), false);
    assert_eq!(said(&field().with_file_volumes(&[one, same_right]).inputs().advice), [""; 0]);
    let said = field().with_file_volumes(&[("999.1.1.1", None, false)]).obstacles();
    assert_eq!(
        said,
        [
            "CSINetworkInvalid: netPermissions of CSI: \"999.1.1.1\" is no network; use *, an address or 10.0.0.0/8"
        ]
    );
}

#[test]
fn a_list_of_datastores_that_no_release_reads_is_said_to_be_ignored() {
    let mut field = field().with_file_volumes(&[]);
    let volumes = field.storage().file_volumes.as_mut().unwrap();
    volumes.vsan_data_store_url = vec!["ds:///vmfs/volumes/vsan:52cdfa80721ff516-ea1e993113acfc77/".into()];
    assert!(said(&field.inputs().advice)[0].starts_with("CSIDatastoresIgnored: CSI 3.7.0 does not read"));
}

#[test]
fn what_the_user_says_of_the_cluster_wins_over_what_was_detected() {
    let mut field = field();
    let seen = |field: &fixture::Field| {
        let inputs = field.inputs();
        (inputs.kubelet_root, inputs.distribution.expose().to_owned())
    };
    assert_eq!(seen(&field), ("/var/lib/kubelet".into(), "VanillaK8S".into()));
    field.cluster.kubelet_root = Some("/var/lib/rancher/k3s/agent/kubelet/".into());
    field.cluster.distribution = Some("k3s".into());
    assert_eq!(seen(&field), ("/var/lib/rancher/k3s/agent/kubelet".into(), "k3s".into()));
    field.storage().custom_kubelet_path = Some("/var/lib/k0s/kubelet".into());
    field.storage().cluster_distribution = Some("k0s".into());
    assert_eq!(seen(&field), ("/var/lib/k0s/kubelet".into(), "k0s".into()));
}

#[test]
fn inputs_never_show_a_password() {
    let inputs = field().with_password(b"hunter2").inputs();
    assert!(!format!("{inputs:?}").contains("hunter2"));
}

#[test]
fn what_the_driver_cannot_read_is_named_by_its_field() {
    let mut nobody = field();
    let Reading::Present(secret) = &mut nobody.credentials else { panic!("a Secret") };
    secret.content.as_mut().unwrap().username = "administrator".to_owned();
    let said = nobody.obstacles();
    assert!(said[0].starts_with("CSICredentialsUnsuitable: ") && said[0].contains("username"), "{said:?}");

    let mut broken = field();
    broken.storage().cluster_distribution = Some("Van\nilla".to_owned());
    let said = broken.obstacles();
    assert!(
        said[0].starts_with("CSIConfigurationUnrepresentable: spec.storageProvider.clusterDistribution"),
        "{said:?}"
    );
}
