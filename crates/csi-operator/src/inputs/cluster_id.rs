//! The id under which vCenter knows this cluster's volumes. It is found once and never changes: with another id the
//! driver's full sync would take the volumes for somebody else's and drop their records.

use vdo_api::names;
use vdo_plan::finding::ROLES;
use vdo_plan::{Finding, Reading};

use crate::gcfg::Text;
use crate::reasons;

/// The ConfigMap that the driver makes for an id of its own.
pub const DRIVERS_CONFIG_MAP: &str = "vsphere-csi-cluster-id";
/// The key of that ConfigMap.
pub const DRIVERS_KEY: &str = "clusterID";
/// What the driver refuses to exceed.
const LONGEST: usize = 64;

/// Where an id may be found, first to last.
#[derive(Clone, Debug)]
pub struct ClusterIdSources {
    /// Our own immutable record, in the operators' namespace.
    pub recorded: Reading<String>,
    /// [`DRIVERS_CONFIG_MAP`] in the driver's namespace.
    pub drivers_own: Reading<String>,
    /// `cluster-id` in the configuration Secret of an earlier installation.
    pub earlier_secret: Reading<String>,
    /// The UID of the namespace `kube-system`.
    pub kube_system: Reading<String>,
}

/// An id and where the driver finds it.
#[derive(Clone, Debug)]
pub struct ClusterId {
    /// The id.
    pub value: Text,
    /// Where the driver finds it.
    pub home: Home,
}

/// Where the driver finds the id. In both places at once it refuses to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// In the configuration that we write.
    Configuration,
    /// In its own ConfigMap, from an earlier installation.
    DriversConfigMap,
}

/// The id: the recorded one, else one that exists, else the UID of `kube-system`.
pub fn choose(sources: &ClusterIdSources) -> Result<ClusterId, Finding> {
    let recorded_at = format!("ConfigMap {}", names::CLUSTER_ID_CONFIG_MAP);
    let drivers_at = format!("ConfigMap {}/{DRIVERS_CONFIG_MAP}", names::CSI_NAMESPACE);
    let recorded = readable(&sources.recorded, &recorded_at)?;
    let drivers_own = readable(&sources.drivers_own, &drivers_at)?;
    match (recorded, drivers_own) {
        (Some(recorded), Some(own)) if recorded != own => Err(Finding::hold(
            &reasons::CSI_CLUSTER_ID_CONFLICT,
            format!("{recorded_at} says {recorded}, {drivers_at} says {own}; remove the wrong one"),
        )),
        (_, Some(own)) => checked(own, &drivers_at, Home::DriversConfigMap),
        (Some(recorded), None) => checked(recorded, &recorded_at, Home::Configuration),
        (None, None) => match readable(&sources.earlier_secret, "the Secret of an earlier installation")? {
            Some(earlier) => checked(earlier, "the Secret of an earlier installation", Home::Configuration),
            None => match readable(&sources.kube_system, "Namespace kube-system")? {
                Some(uid) => checked(uid, "Namespace kube-system", Home::Configuration),
                None => Err(Finding::hold(
                    &reasons::CSI_CLUSTER_ID_UNREADABLE,
                    "Namespace kube-system does not exist, so no cluster id can be made for CSI; create it",
                )),
            },
        },
    }
}

fn readable<'a>(source: &'a Reading<String>, place: &str) -> Result<Option<&'a str>, Finding> {
    match source {
        Reading::Present(id) => Ok(Some(id)),
        Reading::Absent => Ok(None),
        Reading::Unreadable(why) => {
            let message =
                format!("{place}, which may name the cluster id of CSI, cannot be read: {why}; {ROLES}");
            Err(Finding::hold(&reasons::CSI_CLUSTER_ID_UNREADABLE, message))
        }
    }
}

fn checked(id: &str, place: &str, home: Home) -> Result<ClusterId, Finding> {
    match Text::new(id) {
        Ok(value) if !id.is_empty() && id.len() <= LONGEST => Ok(ClusterId { value, home }),
        Ok(_) | Err(_) => Err(Finding::hold(
            &reasons::CSI_CLUSTER_ID_UNUSABLE,
            format!(
                "the cluster id of CSI in {place} is not 1 to {LONGEST} characters of text; correct it there"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use vdo_plan::finding::next_step;

    use super::*;

    fn fresh() -> ClusterIdSources {
        ClusterIdSources {
            recorded: Reading::Absent,
            drivers_own: Reading::Absent,
            earlier_secret: Reading::Absent,
            kube_system: Reading::Present("uid".into()),
        }
    }

    /// The reason of what stands in the way. It names an object and ends in a next step.
    fn refused(sources: &ClusterIdSources) -> &'static str {
        let finding = choose(sources).unwrap_err();
        assert!(next_step(&finding.message).is_some(), "{}", finding.message);
        finding.reason.name
    }

    fn present(id: &str) -> Reading<String> {
        Reading::Present(id.to_owned())
    }

    fn chosen(sources: &ClusterIdSources) -> (String, Home) {
        let id = choose(sources).unwrap();
        (id.value.expose().to_owned(), id.home)
    }

    #[test]
    fn a_recorded_id_wins_then_an_existing_one_then_kube_system() {
        let mut sources = fresh();
        assert_eq!(chosen(&sources), ("uid".into(), Home::Configuration));
        sources.earlier_secret = present("earlier");
        assert_eq!(chosen(&sources), ("earlier".into(), Home::Configuration));
        sources.drivers_own = present("own");
        assert_eq!(chosen(&sources), ("own".into(), Home::DriversConfigMap));
        sources.recorded = present("own");
        assert_eq!(chosen(&sources), ("own".into(), Home::DriversConfigMap));
        sources.drivers_own = Reading::Absent;
        assert_eq!(chosen(&sources), ("own".into(), Home::Configuration));
    }

    #[test]
    fn two_different_ids_are_a_hold() {
        let sources = ClusterIdSources { recorded: present("a"), drivers_own: present("b"), ..fresh() };
        assert_eq!(refused(&sources), "CSIClusterIDConflict");
    }

    #[test]
    fn nothing_is_guessed_while_a_place_cannot_be_read() {
        let dark = || Reading::Unreadable("forbidden".to_owned());
        for sources in [
            ClusterIdSources { recorded: dark(), ..fresh() },
            ClusterIdSources { drivers_own: dark(), ..fresh() },
            ClusterIdSources { drivers_own: dark(), recorded: present("a"), ..fresh() },
            ClusterIdSources { earlier_secret: dark(), ..fresh() },
            ClusterIdSources { kube_system: dark(), ..fresh() },
            ClusterIdSources { kube_system: Reading::Absent, ..fresh() },
        ] {
            assert_eq!(refused(&sources), "CSIClusterIDUnreadable", "{sources:?}");
        }
    }

    #[test]
    fn an_id_that_the_driver_refuses_is_a_hold() {
        for id in ["", "a\nb", &"x".repeat(65)] {
            let sources = ClusterIdSources { earlier_secret: present(id), ..fresh() };
            assert_eq!(refused(&sources), "CSIClusterIDUnusable", "{id:?}");
        }
        let longest = ClusterIdSources { earlier_secret: present(&"x".repeat(64)), ..fresh() };
        assert!(choose(&longest).is_ok());
    }
}
