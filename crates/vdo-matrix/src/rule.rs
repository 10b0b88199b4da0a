//! The catalogue of what may be wrong with a matrix. `vdoctl matrix lint` and docs/matrix-lint.md print it.

use std::fmt;

use serde::{Serialize, Serializer};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The matrix, or a row of it, cannot do what it is for.
    Error,
    /// Probably not what its author means.
    Warning,
    /// Good to know.
    Note,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// No matrix at all.
    Unreadable,
    /// A matrix of a later version of VDO.
    TooNew,
    /// A text that is no version.
    UnparsableVersion,
    /// A range that no version lies in.
    InvertedRange,
    /// A recommended range that is not within the hard one.
    WiderThanHard,
    /// A field that does nothing.
    UnknownField,
    /// A value that somebody forgot to fill in.
    Placeholder,
    /// Images in a registry that is gone.
    RetiredRegistry,
    /// Images from elsewhere than the makers publish.
    OtherRegistry,
    /// A release whose images are gone, or never were.
    NoImage,
    /// A release that the operators cannot build.
    NotRenderable,
    /// Manifests that are not applied.
    PathIgnored,
    /// An upper bound that means none.
    NoUpperBound,
    /// Order by letters and order by numbers differ.
    StringOrder,
    /// Two rows for the same clusters.
    Overlap,
    /// A row that is never chosen by itself.
    Shadowed,
    /// A release for the few, where there is none for everybody.
    StandsAlone,
    /// A release that nobody can move to.
    FollowsNothing,
    /// A release that its makers have given up.
    EndOfSupport,
    /// A row that no cluster lies in.
    NoCluster,
    /// A vSphere bound below what the driver needs.
    VsphereFloor,
    /// No row for the Kubernetes of today.
    Behind,
    /// A manifest that is named and was not given, where others were.
    MissingManifest,
    /// A manifest that was given and cannot be read.
    UnreadableManifest,
    /// Another image than the row says.
    OtherImage,
    /// An image by tag only.
    MissingDigest,
    /// A selector that no node fits.
    DeadSelector,
    /// A webhook that refuses everything because it cannot run.
    DeadWebhook,
    /// A webhook that must answer, and that the API server has no reason to trust.
    WebhookWithoutAuthority,
    /// Pods that their own namespace refuses.
    PodSecurity,
}

/// What a rule is about, in words.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Its id, which stays.
    pub id: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What it means.
    pub meaning: &'static str,
    /// What its author should do.
    pub remedy: &'static str,
}

impl Rule {
    /// All of them, in the order of the docs.
    pub const ALL: [Self; 30] = [
        Self::Unreadable,
        Self::TooNew,
        Self::UnparsableVersion,
        Self::InvertedRange,
        Self::WiderThanHard,
        Self::UnknownField,
        Self::Placeholder,
        Self::RetiredRegistry,
        Self::OtherRegistry,
        Self::NoImage,
        Self::NotRenderable,
        Self::PathIgnored,
        Self::NoUpperBound,
        Self::StringOrder,
        Self::Overlap,
        Self::Shadowed,
        Self::StandsAlone,
        Self::FollowsNothing,
        Self::EndOfSupport,
        Self::NoCluster,
        Self::VsphereFloor,
        Self::Behind,
        Self::MissingManifest,
        Self::UnreadableManifest,
        Self::OtherImage,
        Self::MissingDigest,
        Self::DeadSelector,
        Self::DeadWebhook,
        Self::WebhookWithoutAuthority,
        Self::PodSecurity,
    ];

    /// Its entry.
    pub const fn about(self) -> About {
        let (id, level, meaning, remedy) = match self {
            Self::Unreadable => (
                "unreadable",
                Level::Error,
                "The document is no matrix. The operators refuse it as a whole and keep what is installed.",
                "Correct the place that is named; the first fault is shown, others may follow",
            ),
            Self::TooNew => (
                "too-new",
                Level::Error,
                "The `schemaVersion` is one that only a later version of VDO reads. The operators refuse the document and keep what is installed.",
                "Upgrade VDO first, or write the matrix in an older form",
            ),
            Self::UnparsableVersion => (
                "unparsable-version",
                Level::Error,
                "A text stands where a version belongs and is none, or is more than one: a range, or a version with words \
                 beside it.",
                "Write one version in quotes with two to four numbers, as in \"1.31\" or \"8.0.3\"; a range has its ends in min and max",
            ),
            Self::InvertedRange => (
                "inverted-range",
                Level::Error,
                "The lower bound lies above the upper one by number, though perhaps not by letter: 1.10 is newer than 1.9.",
                "Swap or correct the bounds",
            ),
            Self::WiderThanHard => (
                "wider-than-hard",
                Level::Error,
                "A release is recommended for versions that its hard bound refuses.",
                "Widen the hard bound, or narrow the recommended one",
            ),
            Self::UnknownField => (
                "unknown-field",
                Level::Warning,
                "The format has no such field, so it does nothing; often it is a misspelled one.",
                "Correct its name, or take it out",
            ),
            Self::Placeholder => (
                "placeholder",
                Level::Error,
                "A value still has to be filled in: it holds `${…}`, `{{…}}` or `<…>`.",
                "Fill it in",
            ),
            Self::RetiredRegistry => (
                "retired-registry",
                Level::Error,
                "A registry is named that serves these images no more. Pods would wait for their image for ever.",
                "Name registry.k8s.io, or a mirror of your own",
            ),
            Self::OtherRegistry => (
                "other-registry",
                Level::Note,
                "Images come from another registry than the one in which the drivers' makers publish.",
                "Make sure that every node may pull from it, and that the images are the makers' own",
            ),
            Self::NoImage => (
                "no-image",
                Level::Error,
                "No official image of this release can be pulled: its registry was deleted, or the image was never promoted.",
                "Take the row out, or name a newer patch of the same line",
            ),
            Self::NotRenderable => (
                "not-renderable",
                Level::Warning,
                "These operators do not know how to build the objects of this release, and apply no manifests, so it is never chosen.",
                "Take the row out, or upgrade VDO to a version that knows the release",
            ),
            Self::PathIgnored => (
                "path-ignored",
                Level::Note,
                "The operators build the objects of this release themselves; its manifests are not applied.",
                "Nothing; the field has to be there for the original's format",
            ),
            Self::NoUpperBound => (
                "no-upper-bound",
                Level::Note,
                "An upper bound like 100.0.0 is read as none.",
                "Nothing, if none is meant",
            ),
            Self::StringOrder => (
                "string-order",
                Level::Warning,
                "The original compared releases letter by letter; here the numbers count, and another release is the newest.",
                "Check that the newest release by number is the one to install",
            ),
            Self::Overlap => (
                "overlap",
                Level::Note,
                "Two releases are made for the same clusters in part. The newer one is chosen there.",
                "Nothing, if that is meant",
            ),
            Self::Shadowed => (
                "shadowed",
                Level::Note,
                "A newer release fits every cluster that this one fits, and is made for every one that this one is made for. This one is installed only if it is pinned.",
                "Keep it for those who pin it, or take it out",
            ),
            Self::StandsAlone => (
                "stands-alone",
                Level::Note,
                "A candidate, or a release known to be bad, fits clusters that no other row fits. New ones of them get no driver.",
                "Add a stable row for them, or leave it if that is meant",
            ),
            Self::FollowsNothing => (
                "follows-nothing",
                Level::Warning,
                "No older release of the matrix lies in `upgradesFrom`, so nobody who has one of them can move to this release.",
                "Correct the range, or add a row for the release that lies between",
            ),
            Self::EndOfSupport => (
                "end-of-support",
                Level::Warning,
                "The makers of the driver do not mend this release any more: the day in `endOfSupport` is past, or, in a row without one, they have a list of current releases and it is not on it. Those of CSI have no such list.",
                "Name a newer release for these clusters, and take the row out once nobody has it",
            ),
            Self::NoCluster => (
                "no-cluster",
                Level::Warning,
                "No cluster that the operators run on, or no vCenter that the driver runs with, lies in the ranges.",
                "Correct the ranges, or take the row out",
            ),
            Self::VsphereFloor => (
                "vsphere-floor",
                Level::Warning,
                "The range begins at a vCenter that the driver is not made for. CSI from 3.2.0 on ends at once on vSphere before 7.0.",
                "Raise the lower bound",
            ),
            Self::Behind => (
                "behind",
                Level::Warning,
                "No row fits a Kubernetes that this version of VDO knows a release for, so new clusters get no driver.",
                "Add rows for newer releases, or use the built-in matrix",
            ),
            Self::MissingManifest => (
                "missing-manifest",
                Level::Warning,
                "The folder of `--manifests` has no file of this name, so the manifest was not looked through.",
                "Put it there, under as much of its path as tells it from others",
            ),
            Self::UnreadableManifest => {
                ("unreadable-manifest", Level::Error, "A manifest is not the YAML of objects.", "Correct it")
            }
            Self::OtherImage => (
                "other-image",
                Level::Error,
                "The manifests of a row install another release of the driver than the row says.",
                "Name the manifests of that release",
            ),
            Self::MissingDigest => (
                "missing-digest",
                Level::Note,
                "An image is named by its tag, which may be moved.",
                "Add its digest, as in `@sha256:…`",
            ),
            Self::DeadSelector => (
                "dead-selector",
                Level::Error,
                "Pods select the label `node-role.kubernetes.io/master`, by `nodeSelector` or in every term of a required `nodeAffinity`, and no node of a current Kubernetes has it. None is scheduled.",
                "Select `node-role.kubernetes.io/control-plane` by the existence of the label",
            ),
            Self::DeadWebhook => (
                "dead-webhook",
                Level::Error,
                "A webhook that must answer cannot run: it waits for a certificate that only OpenShift makes. Until then every write that it watches is refused.",
                "Leave the webhook out where its certificate is not made",
            ),
            Self::WebhookWithoutAuthority => (
                "webhook-without-authority",
                Level::Warning,
                "A webhook that must answer has an empty `caBundle`, and no annotation asks cert-manager or OpenShift to fill it in. The API server does not trust its certificate, and refuses every write that it watches.",
                "Give it the authority of its certificate, or an annotation with which it is filled in",
            ),
            Self::PodSecurity => (
                "pod-security",
                Level::Error,
                "The namespace enforces a Pod Security level that refuses the pods of its own manifests.",
                "Label the namespace `pod-security.kubernetes.io/enforce: privileged`",
            ),
        };
        About { id, level, meaning, remedy }
    }

    /// Its id, which stays.
    pub const fn id(self) -> &'static str {
        self.about().id
    }

    /// How bad it is.
    pub const fn level(self) -> Level {
        self.about().level
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_rule_is_listed_once_under_an_id_of_its_own() {
        let ids: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.id()).collect();
        let rules: BTreeSet<Rule> = Rule::ALL.into();
        assert_eq!((ids.len(), rules.len()), (Rule::ALL.len(), Rule::ALL.len()));
        // The last one of the enum, so that a new one is not forgotten.
        assert_eq!(Rule::PodSecurity as usize + 1, Rule::ALL.len());
        for id in ids {
            assert!(id.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{id}");
        }
    }
}
