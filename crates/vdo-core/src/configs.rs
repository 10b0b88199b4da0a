//! The VDOConfigs as a pass takes them: the rows of the watch, under what this process knows to be newer. Pure.
//!
//! A pass asks the API server for them only now and then. That is safe because every write carries the version that
//! it was decided on: a view that is too old ends in a conflict, and after one the next pass looks live.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::core::DynamicObject;
use vdo_api::VDOConfig;
use vdo_runtime::clock::Monotonic;
use vdo_runtime::configs::{compare_versions, which_counts, without_field_owners};
use vdo_runtime::run::LONGEST;

use crate::strays::{Kind, Stray, admitted};

/// What is kept of a VDOConfig, in whatever namespace it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    /// It is one of those of which one counts.
    Contends(Box<VDOConfig>),
    /// It can never count as it is.
    Strays(Box<Stray>),
}

impl Row {
    /// The row of an object, for operators of this namespace.
    pub fn of(object: &DynamicObject, namespace: &str) -> Self {
        match admitted::<VDOConfig>(Kind::Vdo, object, namespace) {
            Ok(config) => Row::Contends(Box::new(without_field_owners(config))),
            Err(stray) => Row::Strays(stray),
        }
    }

    /// The VDOConfig, if it may count.
    pub fn contender(&self) -> Option<&VDOConfig> {
        match self {
            Row::Contends(config) => Some(config),
            Row::Strays(_) => None,
        }
    }

    /// The object, if it cannot count.
    pub fn stray(&self) -> Option<&Stray> {
        match self {
            Row::Strays(stray) => Some(stray),
            Row::Contends(_) => None,
        }
    }
}

/// What is known beyond the rows of the watch: what our writes were answered, and what the last live look found.
#[derive(Default)]
pub struct Ahead {
    newer: BTreeMap<String, VDOConfig>,
    looked: Option<Monotonic>,
}

impl Ahead {
    /// Whether the API server has to be asked: at the start, after a pass that failed, and now and then, so that a
    /// change that the watch lost is found.
    pub fn wants_look(&self, now: Monotonic) -> bool {
        self.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= LONGEST)
    }

    /// What was decided on is not what is stored: the next pass asks.
    pub fn doubt(&mut self) {
        self.looked = None;
    }

    /// Remembers what a live look found.
    pub fn looked(&mut self, found: &[VDOConfig], now: Monotonic) {
        self.newer.clear();
        found.iter().for_each(|config| self.note(config.clone()));
        self.looked = Some(now);
    }

    /// Remembers what a write of ours was answered.
    pub fn note(&mut self, written: VDOConfig) {
        self.newer.insert(uid(&written), without_field_owners(written));
    }

    /// The rows, each replaced by what is newer until the watch shows that version or a later one.
    pub fn over(&mut self, rows: Vec<VDOConfig>) -> Vec<VDOConfig> {
        let mut kept = BTreeMap::new();
        let configs = rows.into_iter().map(|row| match self.newer.remove(&uid(&row)) {
            Some(newer) if !shows(&row, &newer) => {
                kept.insert(uid(&row), newer.clone());
                newer
            }
            Some(_) | None => row,
        });
        let configs = configs.collect();
        self.newer = kept;
        configs
    }
}

/// Whether the row is at least as new.
fn shows(row: &VDOConfig, known: &VDOConfig) -> bool {
    let version = |config: &VDOConfig| config.resource_version().unwrap_or_default();
    compare_versions(&version(row), &version(known)).is_some_and(|order| order.is_ge())
}

fn uid(config: &VDOConfig) -> String {
    config.uid().unwrap_or_default()
}

/// The VDOConfigs of the operators' namespace.
#[derive(Debug, PartialEq)]
pub struct Found {
    /// The one that counts.
    pub active: Option<VDOConfig>,
    /// The others.
    pub others: Vec<VDOConfig>,
}

impl Found {
    /// Tells which one counts.
    pub fn among(mut configs: Vec<VDOConfig>) -> Self {
        let active = which_counts(&configs).map(|index| configs.remove(index));
        Found { active, others: configs }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;
    use vdo_api::names::CPI_FINALIZER;
    use vdo_runtime::clock::monotonic;

    use super::*;

    fn config(name: &str, version: &str) -> VDOConfig {
        let mut config = VDOConfig::new(name, Default::default());
        config.metadata.uid = Some(format!("uid of {name}"));
        config.metadata.resource_version = Some(version.to_owned());
        config
    }

    fn versions(configs: &[VDOConfig]) -> Vec<(String, String)> {
        configs.iter().map(|it| (it.name_any(), it.resource_version().unwrap())).collect()
    }

    fn shown(ahead: &mut Ahead, rows: &[(&str, &str)]) -> Vec<(String, String)> {
        versions(&ahead.over(rows.iter().map(|(name, version)| config(name, version)).collect()))
    }

    #[test]
    fn what_a_write_was_answered_counts_until_the_watch_shows_it() {
        let mut ahead = Ahead::default();
        ahead.note(config("a", "10"));
        // As text "9" is the greater one.
        assert_eq!(
            shown(&mut ahead, &[("a", "9"), ("b", "5")]),
            [("a".to_owned(), "10".to_owned()), ("b".to_owned(), "5".to_owned())]
        );
        assert_eq!(shown(&mut ahead, &[("a", "9")])[0].1, "10");
        assert_eq!(shown(&mut ahead, &[("a", "12")])[0].1, "12");
        // The watch has overtaken it, and never falls behind it again.
        assert!(ahead.newer.is_empty());
    }

    #[test]
    fn what_was_deleted_does_not_come_back_from_memory() {
        let mut ahead = Ahead::default();
        ahead.note(config("a", "10"));
        assert_eq!(shown(&mut ahead, &[]), []);
        let mut again = config("a", "7");
        again.metadata.uid = Some("another".to_owned());
        assert_eq!(versions(&ahead.over(vec![again])), [("a".to_owned(), "7".to_owned())]);
    }

    #[test]
    fn versions_that_are_no_numbers_are_only_equal_or_not() {
        let mut ahead = Ahead::default();
        ahead.note(config("a", "x2"));
        assert_eq!(shown(&mut ahead, &[("a", "x1")])[0].1, "x2");
        assert_eq!(shown(&mut ahead, &[("a", "x2")])[0].1, "x2");
        assert!(ahead.newer.is_empty());
    }

    #[test]
    fn the_server_is_asked_at_first_in_doubt_and_now_and_then() {
        let start = monotonic();
        let mut ahead = Ahead::default();
        assert!(ahead.wants_look(start));
        ahead.looked(&[config("a", "10")], start);
        assert!(!ahead.wants_look(start + LONGEST - Duration::from_secs(1)));
        assert!(ahead.wants_look(start + LONGEST));
        ahead.doubt();
        assert!(ahead.wants_look(start));
        // What it found counts over a watch that has not come so far.
        assert_eq!(shown(&mut ahead, &[("a", "9")])[0].1, "10");
    }

    #[test]
    fn a_look_replaces_what_was_known_before() {
        let mut ahead = Ahead::default();
        ahead.note(config("a", "10"));
        ahead.looked(&[config("b", "11")], monotonic());
        assert_eq!(shown(&mut ahead, &[("a", "9")])[0].1, "9");
    }

    #[test]
    fn a_row_is_decoded_only_where_it_may_count_and_keeps_no_owners() {
        let object = |namespace: &str, spec: serde_json::Value| -> DynamicObject {
            serde_json::from_value(json!({
                "apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VDOConfig",
                "metadata": {"name": "vdo", "namespace": namespace, "resourceVersion": "3"}, "spec": spec,
            }))
            .unwrap()
        };
        let mut good = object("here", json!({"cloudProvider": {"vsphereCloudConfigs": ["vc"]}}));
        good.metadata.managed_fields = Some(vec![ManagedFieldsEntry::default()]);
        let row = Row::of(&good, "here");
        let config = row.contender().unwrap();
        assert_eq!(config.spec.cpi_vcenters(), ["vc"]);
        assert_eq!(config.metadata.managed_fields, None);
        assert_eq!(Row::of(&good, "there").stray().unwrap().reason.name, "NotInOperatorsNamespace");
        let broken = Row::of(&object("here", json!({"cloudProvider": 3})), "here");
        assert_eq!(broken.stray().unwrap().reason.name, "NotDecodable");
    }

    #[test]
    fn the_oldest_counts_but_one_with_drivers_behind_it_before_all() {
        let born = |name: &str, second: i64| {
            let mut it = config(name, "1");
            it.metadata.creation_timestamp = Some(Time(Timestamp::from_second(second).unwrap()));
            it
        };
        let name = |found: &Found| found.active.as_ref().map(ResourceExt::name_any);
        let found = Found::among(vec![born("c", 2), born("b", 1), born("a", 1)]);
        assert_eq!(name(&found).as_deref(), Some("a"));
        assert_eq!(found.others.len(), 2);
        let mut driven = born("c", 2);
        driven.metadata.finalizers = Some(vec![CPI_FINALIZER.to_owned()]);
        assert_eq!(name(&Found::among(vec![born("a", 1), driven])).as_deref(), Some("c"));
        assert_eq!(name(&Found::among(Vec::new())), None);
    }
}
