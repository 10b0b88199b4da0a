//! What stands in the document. The comments are the descriptions in its schema.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use super::{MAX_ADDRESS, MAX_CAUTIONS, MAX_IMAGES, MAX_SENTENCE, SCHEMA_VERSION};
use crate::tree::MAX_ROWS;

/// A line of versions: all that begin with these numbers.
const LINE: &str = r"^v?[0-9]{1,9}(\.[0-9]{1,9}){0,3}$";
/// One release.
const RELEASE: &str = r"^v?[0-9]{1,9}(\.[0-9]{1,9}){2,3}(-(alpha|beta|rc)\.[0-9]{1,9})?$";
const DAY: &str = "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$";

/// Which driver releases run with which Kubernetes and which vSphere.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub(super) struct Document {
    /// The version of this form. An older VDO refuses a newer one.
    #[schemars(range(min = SCHEMA_VERSION, max = SCHEMA_VERSION))]
    pub(super) schema_version: u64,
    /// A number that its author counts up. A copy with a lower one than the last is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) serial: Option<u64>,
    /// One row for each release, in any order.
    #[schemars(length(min = 1, max = MAX_ROWS))]
    pub(super) rows: Vec<Row>,
}

/// One driver release and what it runs with.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) driver: Driver,
    /// The release, as in "3.7.0".
    #[schemars(regex(pattern = RELEASE))]
    pub(super) release: String,
    /// Where its makers publish it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_ADDRESS))]
    pub(super) source: Option<String>,
    /// The API servers it runs against.
    pub(super) kubernetes: Bounds,
    /// The vCenters it runs against. Every vCenter of the cluster counts.
    pub(super) vsphere: Bounds,
    /// The ESXi hosts it runs on. Every host whose version is known counts. Hosts are looked at only if a row has this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) esxi: Option<Bounds>,
    /// The releases that it may follow. Any, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) upgrades_from: Option<Range>,
    /// For CSI only: does it wait until CPI has initialised the nodes? It does, if left out.
    #[serde(rename = "needsCPI", default, skip_serializing_if = "Option::is_none")]
    pub(super) needs_cpi: Option<bool>,
    /// The images of its containers, best with their digests. Shown and checked, not pulled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_IMAGES), inner(length(min = 1, max = MAX_ADDRESS)))]
    pub(super) images: Vec<String>,
    /// Who it is offered to: everybody, if left out.
    #[serde(default, skip_serializing_if = "Channel::is_stable")]
    pub(super) channel: Channel,
    /// The day on which its makers stop mending it, as in 2026-08-31.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DAY))]
    pub(super) end_of_support: Option<String>,
    /// Why it must not be installed any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_SENTENCE))]
    pub(super) known_bad: Option<String>,
    /// What to tell the admins of some clusters before they install it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_CAUTIONS))]
    pub(super) cautions: Vec<Caution>,
}

/// A driver.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
pub(super) enum Driver {
    /// The cloud controller manager, which initialises nodes.
    #[serde(rename = "CPI")]
    Cpi,
    /// The storage driver.
    #[serde(rename = "CSI")]
    Csi,
}

/// Who a release is offered to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Channel {
    /// Everybody.
    #[default]
    Stable,
    /// Those who ask for candidates, or name this release.
    Candidate,
}

impl Channel {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
    fn is_stable(&self) -> bool {
        *self == Self::Stable
    }
}

/// Where a release is refused and where advised against. With `min` or `max` it is the hard bound alone.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, transform = one_way)]
pub(super) struct Bounds {
    /// Outside of it the release is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hard: Option<Bound>,
    /// Outside of it the admin is warned. It lies within `hard`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) recommended: Option<Bound>,
    /// The oldest of the hard bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = LINE))]
    pub(super) min: Option<String>,
    /// The newest of the hard bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = LINE))]
    pub(super) max: Option<String>,
    /// The ground of the hard bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) evidence: Option<Evidence>,
}

/// One range, and why it is what it is.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Bound {
    /// The oldest line of versions in it, in quotes: "8.0" holds every 8.0.x. Left out: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = LINE))]
    pub(super) min: Option<String>,
    /// The newest line of versions in it, in quotes: "1.36" holds every 1.36.x. Left out: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = LINE))]
    pub(super) max: Option<String>,
    /// Its ground. Left out: its author says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) evidence: Option<Evidence>,
}

/// A range of versions, both ends within. An end that is left out is open.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Range {
    /// The oldest line of versions in it, in quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = LINE))]
    pub(super) min: Option<String>,
    /// The newest line of versions in it, in quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = LINE))]
    pub(super) max: Option<String>,
}

/// Why a range is what it is.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Evidence {
    pub(super) grade: Grade,
    /// On what it is founded: a public document, an issue, a test of your own.
    #[schemars(length(min = 1, max = MAX_ADDRESS))]
    pub(super) reference: String,
}

/// How well a range is founded.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Grade {
    /// It was seen to work.
    Tested,
    /// The makers of the driver wrote it down.
    Documented,
    /// It follows from neighbouring facts, but nobody wrote it down.
    Inferred,
    /// The author of the matrix says so.
    Stated,
}

/// What to tell the admins of clusters in all of the ranges. A range that is left out holds every cluster.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Caution {
    /// API servers it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kubernetes: Option<Range>,
    /// vCenters it concerns. One of the cluster's is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) vsphere: Option<Range>,
    /// Only those who leave one of these releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) leaving: Option<Range>,
    /// A sentence without a full stop.
    #[schemars(length(min = 1, max = MAX_SENTENCE))]
    pub(super) text: String,
}

/// Hard and recommended bounds, or the ends of the hard one.
fn one_way(schema: &mut Schema) {
    let ways = serde_json::json!([
        {
            "anyOf": [{"required": ["hard"]}, {"required": ["recommended"]}],
            "properties": {"min": false, "max": false, "evidence": false},
        },
        {
            "anyOf": [{"required": ["min"]}, {"required": ["max"]}],
            "properties": {"hard": false, "recommended": false},
        },
    ]);
    schema.insert("oneOf".to_owned(), ways);
}
