//! `docs/conditions.md`: every reason that a condition, an event or `vdoctl explain` can name, from the code itself.
//!
//! A catalogue is a module that declares reasons; a new one is added to [`CATALOGUES`]. Where a reason is not shown in
//! all conditions of its catalogue, [`NARROWER`] says where.

use std::collections::BTreeMap;
use std::path::PathBuf;

use vdo_api::Reason;

/// Where the page goes.
const FILE: &str = "docs/conditions.md";

/// Reasons that are declared together.
struct Catalogue {
    title: &'static str,
    /// What they are about, in one sentence.
    about: &'static str,
    /// Who shows them, and where, unless [`NARROWER`] says otherwise.
    shown: &'static str,
    reasons: &'static [Reason],
}

const DRIVERS: &str = "cpi-operator in `CPIReady` and csi-operator in `CSIReady` of a VDOConfig";
const CPI: &str = "cpi-operator in `CPIReady` of a VDOConfig";
const CSI: &str = "csi-operator in `CSIReady` of a VDOConfig";
const CSI_GATE: &str = "vdo-core in `status.gates.csi` and csi-operator in `CSIReady` of a VDOConfig";
const REFUSED: &str =
    "cpi-operator in `status.cpi.refused` and csi-operator in `status.csi.refused` of a VDOConfig";
const DRIFT_EVENTS: &str =
    "cpi-operator and csi-operator in events of a VDOConfig, one for each object; it changes no condition";
const TAKEN_OVER: &str = "cpi-operator and csi-operator in the metric `vdo_driver_finding`, and in the message of \
     `CPIReady` and `CSIReady` if that has other news; it is the reason of no condition";
const UPGRADEABLE: &str = "vdo-core in `Upgradeable` of a VDOConfig";
const RESOLVED: &str = "vdo-core in `CompatibilityResolved` of a VDOConfig";
const ACCEPTED: &str = "vdo-core in `Accepted` of a VDOConfig";
const STRAY: &str =
    "vdo-core in `Accepted` and `Ready` of a VDOConfig and in `Ready` of a VsphereCloudConfig";
const NODES: &str = "vdo-core in `NodesInitialised` of a VDOConfig";
const FINDINGS: &str = "vdo-core in `status.nodes.findings` of a VDOConfig";
const SUMMARY: &str = "vdo-core in `Ready`, `Progressing` or `Degraded` of a VDOConfig";
const REACHABLE: &str = "vdo-core in `Reachable` and `Ready` of a VsphereCloudConfig";
const TRUSTED: &str = "vdo-core in `Trusted` and `Ready` of a VsphereCloudConfig";
const CREDENTIALS: &str = "vdo-core in `CredentialsValid` and `Ready` of a VsphereCloudConfig";
const DATACENTERS: &str = "vdo-core in `DatacentersFound` and `Ready` of a VsphereCloudConfig";

const CATALOGUES: &[Catalogue] = &[
    Catalogue {
        title: "All operators",
        about: "The same words wherever they fit.",
        shown: "any operator in any condition",
        reasons: vdo_api::reason::ALL,
    },
    Catalogue {
        title: "Drivers",
        about: "How far a driver is, and what holds it.",
        shown: DRIVERS,
        reasons: vdo_plan::driver::reasons::ALL,
    },
    Catalogue {
        title: "vCenters, as the drivers see them",
        about: "What keeps a driver from being configured with a vCenter.",
        shown: DRIVERS,
        reasons: vdo_plan::vcenter::reasons::ALL,
    },
    Catalogue {
        title: "Installations of others",
        about: "What was there before VDO. Nothing of it is touched.",
        shown: DRIVERS,
        reasons: vdo_plan::foreign::reasons::ALL,
    },
    Catalogue {
        title: "Cloud provider (CPI)",
        about: "What only cpi-operator says.",
        shown: CPI,
        reasons: cpi_operator::inputs::reasons::ALL,
    },
    Catalogue {
        title: "Storage (CSI)",
        about: "What only csi-operator says.",
        shown: CSI,
        reasons: csi_operator::reasons::ALL,
    },
    Catalogue {
        title: "vCenters, releases and nodes",
        about: "What only vdo-core says.",
        shown: "vdo-core in the conditions of a VsphereCloudConfig",
        reasons: vdo_core::reasons::ALL,
    },
    Catalogue {
        title: "Nodes, as vdoctl sees them",
        about: "What is wrong with a node, where no operator has a word for it.",
        shown: "`vdoctl nodes`",
        reasons: vdoctl::nodes::reasons::ALL,
    },
];

/// Reasons that are shown elsewhere than the rest of their catalogue.
const NARROWER: &[(&str, &str)] = &[
    ("CPINotReady", CSI_GATE),
    ("CloudProviderRequired", CSI_GATE),
    ("NoPodNetwork", CSI_GATE),
    ("CPIStillThere", CSI),
    ("RolloutTimedOut", REFUSED),
    ("DriftRepaired", DRIFT_EVENTS),
    ("Settling", TAKEN_OVER),
    ("VolumesExist", CSI),
    ("CSIStillThere", CPI),
    ("ReleasesChosen", RESOLVED),
    ("VCentersNotRead", RESOLVED),
    ("MatrixInvalid", RESOLVED),
    ("TwoMatrices", RESOLVED),
    ("MatrixNotFetched", RESOLVED),
    ("MatrixFetchFailed", RESOLVED),
    ("MatrixNotTrusted", RESOLVED),
    ("MatrixOutdated", RESOLVED),
    ("MatrixNotSettled", RESOLVED),
    ("BundleUnsupported", RESOLVED),
    ("KubernetesVersionUnknown", RESOLVED),
    ("MayBeUpgraded", UPGRADEABLE),
    ("DriversFirst", UPGRADEABLE),
    ("NothingFitsNext", UPGRADEABLE),
    ("NotActive", ACCEPTED),
    ("CRDsOutdated", ACCEPTED),
    ("NotInOperatorsNamespace", STRAY),
    ("NotDecodable", STRAY),
    ("VsphereCloudConfigUnreadable", ACCEPTED),
    ("NodesUnreadable", NODES),
    ("NodesWait", NODES),
    ("VMNotFound", FINDINGS),
    ("ToolsNotRunning", FINDINGS),
    ("HostNameMismatch", FINDINGS),
    ("WaitsForCloudProvider", FINDINGS),
    ("OperatorSilent", SUMMARY),
    ("WorkUnderWay", SUMMARY),
    ("Reached", REACHABLE),
    ("DNSFailure", REACHABLE),
    ("ConnectionRefused", REACHABLE),
    ("Timeout", REACHABLE),
    ("NotAVCenter", REACHABLE),
    ("VCenterTooOld", REACHABLE),
    ("AddressNotAllowed", REACHABLE),
    ("CertificateTrusted", TRUSTED),
    ("InsecureByRequest", TRUSTED),
    ("CertificateUntrusted", TRUSTED),
    ("ThumbprintMismatch", TRUSTED),
    ("TLSFailed", TRUSTED),
    ("TrustSettingsInvalid", TRUSTED),
    ("LoggedIn", CREDENTIALS),
    ("LoginUnderWay", CREDENTIALS),
    ("LoginRefused", CREDENTIALS),
    ("SecretMissing", CREDENTIALS),
    ("SecretUnreadable", CREDENTIALS),
    ("SecretInvalid", CREDENTIALS),
    ("SecretNotForServer", CREDENTIALS),
    ("DuplicateServer", CREDENTIALS),
    ("DatacentersFound", DATACENTERS),
    ("DatacenterMissing", DATACENTERS),
    ("DatacenterAmbiguous", DATACENTERS),
];

/// The conditions of both kinds, with what each of them says when it is True.
const CONDITIONS: &[(&str, &str, &str, &str)] = &[
    ("VDOConfig", "Accepted", "vdo-core", "This is the VDOConfig that counts, and its spec makes sense."),
    ("VDOConfig", "CompatibilityResolved", "vdo-core", "A release fits for each driver that is wanted."),
    (
        "VDOConfig",
        "Upgradeable",
        "vdo-core",
        "Kubernetes may be upgraded by a minor with the drivers that are installed.",
    ),
    (
        "VDOConfig",
        "NodesInitialised",
        "vdo-core",
        "Every node of vSphere was initialised by a cloud provider.",
    ),
    ("VDOConfig", "CPIReady", "cpi-operator", "The cloud provider is installed as wanted, and works."),
    ("VDOConfig", "CSIReady", "csi-operator", "Storage is installed as wanted, and works."),
    ("VDOConfig", "Ready", "vdo-core", "All of the above that matters to workloads: the one to wait for."),
    ("VDOConfig", "Progressing", "vdo-core", "Something is being installed, changed or removed."),
    ("VDOConfig", "Degraded", "vdo-core", "What is installed does not work as it should."),
    ("VsphereCloudConfig", "Reachable", "vdo-core", "A vCenter answers at the address."),
    (
        "VsphereCloudConfig",
        "Trusted",
        "vdo-core",
        "Its certificate was verified, or `insecure` was asked for.",
    ),
    ("VsphereCloudConfig", "CredentialsValid", "vdo-core", "It accepted the user and the password."),
    ("VsphereCloudConfig", "DatacentersFound", "vdo-core", "It has the datacenters that the spec names."),
    ("VsphereCloudConfig", "Ready", "vdo-core", "All four; the drivers may use it."),
];

const OPENING: &str = "<!-- Generated by `make generate` from the reasons in the code; edits are lost. -->

# Conditions and their reasons

A condition has a *type* (what it is about), a *status* (`True`, `False`, `Unknown`), a *reason* (one word of the list
below) and a *message* (which object, what was seen, what to do next). To see them:

<!-- run: see-conditions -->
```console
$ kubectl -n vmware-system-vdo describe vdo,vcc
```

A condition counts for the `observedGeneration` that it names. If that is not the object's `metadata.generation`, the
operator has not looked at your last change yet: read it as `Unknown`.

With the reason in hand, look it up below: what it means, what VDO does meanwhile, what you do.

## Condition types

| Kind | Condition | Written by | `True` says |
|---|---|---|---|
";

/// The page, by its path.
pub fn files() -> BTreeMap<PathBuf, String> {
    [(PathBuf::from(FILE), page(CATALOGUES))].into()
}

/// Whether an operator writes a condition of this type.
#[cfg(test)]
pub fn is_condition(name: &str) -> bool {
    CONDITIONS.iter().any(|(_, condition, _, _)| *condition == name)
}

/// Whether a reason of this name is on the page.
#[cfg(test)]
pub fn is_reason(name: &str) -> bool {
    reasons().any(|reason| reason.name == name)
}

/// Every reason of the page.
#[cfg(test)]
pub fn reasons() -> impl Iterator<Item = &'static Reason> {
    CATALOGUES.iter().flat_map(|catalogue| catalogue.reasons)
}

fn page(catalogues: &[Catalogue]) -> String {
    let mut text = OPENING.to_owned();
    for (kind, condition, by, says) in CONDITIONS {
        text.push_str(&format!("| {kind} | `{condition}` | {by} | {says} |\n"));
    }
    text.push_str("\n## All reasons, by name\n\n| Reason | Means |\n|---|---|\n");
    let mut all: Vec<&Reason> = catalogues.iter().flat_map(|catalogue| catalogue.reasons).collect();
    all.sort_by_key(|reason| reason.name);
    for reason in all {
        let anchor = reason.name.to_ascii_lowercase();
        text.push_str(&format!("| [{}](#{anchor}) | {} |\n", reason.name, cell(reason.meaning)));
    }
    for catalogue in catalogues {
        text.push_str(&format!("\n## {}\n\n{}\n", catalogue.title, catalogue.about));
        for reason in catalogue.reasons {
            let shown = NARROWER.iter().find(|(name, _)| *name == reason.name);
            let shown = shown.map_or(catalogue.shown, |(_, shown)| shown);
            text.push_str(&format!(
                "\n### {}\n\n- **Means:** {}\n- **Meanwhile:** {}\n- **You:** {}\n- Shown by {shown}.\n",
                reason.name, reason.meaning, reason.meanwhile, reason.remedy
            ));
        }
    }
    text
}

/// A text that ends no cell of a table.
pub fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// A row of a table.
pub fn row<T: AsRef<str>>(cells: &[T]) -> String {
    let cells: Vec<String> = cells.iter().map(|text| cell(text.as_ref())).collect();
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_one_line_and_one_section() {
        let text = page(CATALOGUES);
        for reason in CATALOGUES.iter().flat_map(|catalogue| catalogue.reasons) {
            for once in [format!("\n| [{}](#", reason.name), format!("\n### {}\n", reason.name)] {
                assert_eq!(text.matches(&once).count(), 1, "{once}");
            }
        }
    }

    /// A test that raises a reason says its name as a text, or that of its constant: a name without quotes is a variant or
    /// a type. What the tests of vdoctl make up for a screen raises nothing, but for the reasons that are its own.
    #[test]
    fn every_reason_is_raised_by_a_test() {
        let texts = crate::sources::texts_of_tests();
        let of_vdoctl = |reason: &Reason| vdoctl::nodes::reasons::ALL.contains(reason);
        let is_raised = |reason: &&Reason| {
            let counts =
                |path: &std::path::Path| path.iter().any(|part| part == "vdoctl") == of_vdoctl(reason);
            texts.iter().any(|(path, text)| counts(path) && raises(text, reason.name))
        };
        let silent: Vec<&str> =
            reasons().filter(|reason| !is_raised(reason)).map(|reason| reason.name).collect();
        println!("{} reasons, {} of them raised by no test", reasons().count(), silent.len());
        assert!(silent.is_empty(), "no test says {silent:?}");
    }

    /// Whether a test with this text says that a condition, an event or a finding has this reason.
    fn raises(text: &str, name: &str) -> bool {
        // Where a condition bears the same name, the reason is what stands behind its status.
        let quoted = if is_condition(name) { format!("Truth::True, \"{name}") } else { format!("\"{name}") };
        let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        text.split(&quoted).skip(1).any(ends)
            || crate::sources::words(text).any(|word| word == constant(name))
    }

    #[test]
    fn a_variant_a_type_of_a_condition_and_a_longer_name_raise_no_reason() {
        for text in [
            "Held::ObjectsUnreadable",
            "use Aspect::{DatacentersFound, Trusted};",
            "(\"ObjectsUnreadableNow\")",
        ] {
            assert!(!raises(text, "ObjectsUnreadable"), "{text}");
        }
        assert!(!raises("await_condition(\"DatacentersFound\", \"False\")", "DatacentersFound"));
        assert!(raises("(Truth::True, \"DatacentersFound\")", "DatacentersFound"));
        assert!(raises("said[0].starts_with(\"ObjectsUnreadable: \")", "ObjectsUnreadable"));
        assert!(raises("[&reasons::OBJECTS_UNREADABLE]", "ObjectsUnreadable"));
    }

    #[test]
    fn the_page_lists_what_vdoctl_explains() {
        let sorted = |names: &mut dyn Iterator<Item = &'static Reason>| {
            let mut names: Vec<&str> = names.map(|reason| reason.name).collect();
            names.sort_unstable();
            names
        };
        assert_eq!(sorted(&mut reasons()), sorted(&mut vdoctl::explain::all()));
    }

    /// `CSINetworkInvalid` as `CSI_NETWORK_INVALID`.
    fn constant(name: &str) -> String {
        let letters: Vec<char> = name.chars().collect();
        let mut text = String::new();
        for (index, letter) in letters.iter().enumerate() {
            let before = index.checked_sub(1).map(|before| letters[before]);
            let after = letters.get(index + 1);
            let begins = letter.is_uppercase()
                && before
                    .is_some_and(|it| it.is_lowercase() || after.is_some_and(|after| after.is_lowercase()));
            if begins {
                text.push('_');
            }
            text.push(letter.to_ascii_uppercase());
        }
        text
    }

    #[test]
    fn a_name_is_spelt_as_its_constant() {
        for (name, expected) in [
            ("Installed", "INSTALLED"),
            ("CSINetworkInvalid", "CSI_NETWORK_INVALID"),
            ("NoReleaseFits", "NO_RELEASE_FITS"),
        ] {
            assert_eq!(constant(name), expected);
        }
    }

    #[test]
    fn a_reason_that_is_shown_elsewhere_exists() {
        for (name, _) in NARROWER {
            let mut reasons = CATALOGUES.iter().flat_map(|catalogue| catalogue.reasons);
            assert!(reasons.any(|reason| reason.name == *name), "{name} is no reason");
        }
    }

    #[test]
    fn a_bar_in_a_text_ends_no_cell() {
        assert_eq!(cell("a | b"), "a \\| b");
    }
}
