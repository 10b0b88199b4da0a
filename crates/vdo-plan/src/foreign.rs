//! Somebody else's installation: found before our first write, named, and not touched.

use vdo_api::condition::name_some;

use crate::finding::ROLES;
use crate::{Finding, ObjectRef, Reading};

/// Reasons of this module.
pub mod reasons {
    vdo_api::reasons! {
        FOREIGN_INSTALLATION = "ForeignInstallation" {
            "The driver, or another build of it, is installed already, and not by VDO.",
            "VDO writes nothing of this driver.",
            "Remove the installation that the message names, or leave this driver out of the VDOConfig.",
        }
        PLATFORM_MANAGES_DRIVERS = "PlatformManagesDrivers" {
            "The platform brings its own drivers: a vSphere Supervisor, or OpenShift on vSphere.",
            "VDO writes nothing of this driver.",
            "Use the drivers of the platform; remove the VDOConfig.",
        }
        FOREIGN_CHECK_INCOMPLETE = "ForeignCheckIncomplete" {
            "Whether the driver is installed by somebody else could not be read.",
            "Nothing of this driver is installed.",
            "The message says what could not be read; the roles of the chart allow it.",
        }
    }
}

/// Who else manages drivers here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Nobody.
    Plain,
    /// A Supervisor cluster of vSphere.
    Supervisor,
    /// OpenShift installed on vSphere.
    OpenShiftOnVsphere,
}

/// What was looked for before the first write.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// Who else manages drivers here.
    pub platform: Reading<Platform>,
    /// Workloads and registrations of the driver without our label, wherever they are.
    pub others: Reading<Vec<ObjectRef>>,
    /// Objects that we would write and that exist without our label.
    pub taken: Reading<Vec<ObjectRef>>,
}

/// Whether this is somebody else's. `driver` is the name for the message.
pub fn foreign(driver: &str, traces: &Traces) -> Option<Finding> {
    let managed = |what: &str| {
        Some(Finding::hands_off(
            &reasons::PLATFORM_MANAGES_DRIVERS,
            format!("this cluster is {what}, which brings its own {driver}; remove the VDOConfig"),
        ))
    };
    match &traces.platform {
        Reading::Present(Platform::Supervisor) => return managed("a vSphere Supervisor"),
        Reading::Present(Platform::OpenShiftOnVsphere) => return managed("OpenShift on vSphere"),
        Reading::Unreadable(why) => return Some(incomplete(driver, why)),
        Reading::Present(Platform::Plain) | Reading::Absent => {}
    }
    let mut found = Vec::new();
    for list in [&traces.others, &traces.taken] {
        match list {
            Reading::Present(objects) => found.extend(objects.iter().map(ObjectRef::to_string)),
            Reading::Absent => {}
            Reading::Unreadable(why) => return Some(incomplete(driver, why)),
        }
    }
    found.sort();
    found.dedup();
    (!found.is_empty()).then(|| {
        Finding::hands_off(
            &reasons::FOREIGN_INSTALLATION,
            format!(
                "{driver} is installed already, not by VDO: {}; remove it, or leave {driver} out of the VDOConfig",
                name_some(&found)
            ),
        )
    })
}

fn incomplete(driver: &str, why: &str) -> Finding {
    Finding::hands_off(
        &reasons::FOREIGN_CHECK_INCOMPLETE,
        format!("whether {driver} is installed already could not be read: {why}; {ROLES}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces() -> Traces {
        Traces {
            platform: Reading::Present(Platform::Plain),
            others: Reading::Present(Vec::new()),
            taken: Reading::Present(Vec::new()),
        }
    }

    #[test]
    fn a_foreign_workload_is_named_and_nothing_is_written() {
        let other = ObjectRef {
            api_version: "apps/v1".into(),
            kind: "DaemonSet".into(),
            namespace: Some("kube-system".into()),
            name: "vsphere-cpi".into(),
        };
        let seen = Traces { others: Reading::Present(vec![other]), ..traces() };
        let finding = foreign("CPI", &seen).unwrap();
        assert_eq!(finding.verdict, crate::Verdict::HandsOff);
        assert!(finding.message.contains("DaemonSet kube-system/vsphere-cpi"), "{}", finding.message);
    }

    #[test]
    fn what_cannot_be_read_is_never_taken_for_nobody() {
        let seen = Traces { others: Reading::Unreadable("forbidden".into()), ..traces() };
        assert_eq!(foreign("CPI", &seen).unwrap().reason, &reasons::FOREIGN_CHECK_INCOMPLETE);
        assert_eq!(foreign("CPI", &traces()), None);
    }
}
