//! Whether the cluster may be upgraded with what is installed, and in which order to move. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use vdo_compat::upgrade::{Advice, Prospect, may_upgrade, prospect};
use vdo_compat::{
    Channel, Cluster, Driver, KubernetesVersion, Matrix, Release, Vcenter, VsphereVersion, explain,
};

use crate::look::{Look, Mark};
use crate::page::Page;

/// What is there, and what it shall become.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What is installed.
    pub installed: BTreeMap<Driver, Installed>,
    /// The cluster as it is.
    pub now: Versions,
    /// As it shall be.
    pub next: Versions,
}

/// What is installed of a driver.
#[derive(Clone, Copy, Debug)]
pub struct Installed {
    /// Its release.
    pub release: Release,
    /// Which releases are offered.
    pub channel: Channel,
    /// The release that was rolled back there.
    pub refused: Option<Release>,
}

impl Installed {
    /// This release of the channel that is the default, with nothing rolled back.
    pub fn new(release: Release) -> Self {
        Installed { release, channel: Channel::Stable, refused: None }
    }
}

/// The versions of a cluster.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Versions {
    /// The API server.
    pub kubernetes: KubernetesVersion,
    /// Each vCenter.
    pub vsphere: Vec<VsphereVersion>,
    /// What the ESXi hosts of each vCenter run, as far as that is known.
    #[serde(skip_serializing_if = "nobody_looked")]
    pub esxi: Vec<Vec<VsphereVersion>>,
}

fn nobody_looked(esxi: &[Vec<VsphereVersion>]) -> bool {
    esxi.iter().all(Vec::is_empty)
}

impl Versions {
    /// After an upgrade to these versions: one of vSphere for all vCenters, or one for each. The hosts stay as they are.
    pub fn becomes(
        &self,
        kubernetes: Option<KubernetesVersion>,
        vsphere: &[VsphereVersion],
    ) -> anyhow::Result<Versions> {
        let vsphere = match vsphere {
            [] => self.vsphere.clone(),
            [one] => vec![*one; self.vsphere.len()],
            each if each.len() == self.vsphere.len() => each.to_vec(),
            each => anyhow::bail!("{} versions of vSphere for {} vCenters", each.len(), self.vsphere.len()),
        };
        Ok(Versions { kubernetes: kubernetes.unwrap_or(self.kubernetes), vsphere, esxi: self.esxi.clone() })
    }

    fn cluster(&self) -> Cluster {
        let named = |(at, version): (usize, &VsphereVersion)| Vcenter {
            hosts: self.esxi.get(at).cloned().unwrap_or_default(),
            ..Vcenter::new((at + 1).to_string(), *version)
        };
        Cluster {
            kubernetes: self.kubernetes,
            vcenters: self.vsphere.iter().enumerate().map(named).collect(),
        }
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Where the rows came from.
    pub matrix: String,
    /// The cluster as it is.
    pub now: Versions,
    /// As it shall be.
    pub next: Versions,
    /// Whether it may be upgraded right now.
    pub may_upgrade: bool,
    /// One for each driver that is installed.
    pub drivers: Vec<DriverAnswer>,
    /// What to do, in this order; nothing while a driver stands in the way.
    pub steps: Vec<String>,
}

/// The answer for one driver.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DriverAnswer {
    /// What to do.
    #[serde(flatten)]
    pub prospect: Prospect,
    /// The same in the words of the condition `Upgradeable`.
    pub message: String,
}

/// Whether the cluster may be upgraded.
pub fn answer(name: &str, matrix: &Matrix, asked: &Asked) -> Answer {
    let (now, next) = (asked.now.cluster(), asked.next.cluster());
    let prospects: Vec<Prospect> = asked
        .installed
        .iter()
        .map(|(driver, it)| prospect(matrix, *driver, it.release, it.refused, (&now, &next), it.channel))
        .collect();
    let drivers =
        prospects.iter().map(|it| DriverAnswer { prospect: it.clone(), message: explain::prospect(it) });
    Answer {
        matrix: name.to_owned(),
        now: asked.now.clone(),
        next: asked.next.clone(),
        may_upgrade: may_upgrade(&prospects),
        drivers: drivers.collect(),
        steps: steps(&prospects, &asked.now, &asked.next),
    }
}

/// What to do, in this order.
fn steps(prospects: &[Prospect], now: &Versions, next: &Versions) -> Vec<String> {
    let mut steps = Vec::new();
    let set = |driver: Driver, release| {
        format!("set {} to {release}, and wait until Ready is True", driver.pin_field())
    };
    for it in prospects {
        match it.advice {
            Advice::First(release) => steps.push(set(it.driver, release)),
            Advice::Go { .. } => {}
            Advice::NotYet(_) | Advice::Stop(_) => return Vec::new(),
        }
    }
    let mut vsphere = next.vsphere.clone();
    vsphere.sort();
    vsphere.dedup();
    if next.vsphere != now.vsphere {
        let names: Vec<String> = vsphere.iter().map(ToString::to_string).collect();
        steps.push(format!("upgrade the vCenters to {}", names.join(", ")));
    }
    let kubernetes = next.kubernetes != now.kubernetes;
    if kubernetes {
        steps.push(format!("upgrade the API servers to {}", next.kubernetes));
    }
    let afterwards = |driver: Driver| {
        prospects.iter().filter(move |it| it.driver == driver).find_map(|it| match it.advice {
            Advice::Go { then } => then,
            Advice::First(_) | Advice::NotYet(_) | Advice::Stop(_) => None,
        })
    };
    steps.extend(afterwards(Driver::Cpi).map(|release| set(Driver::Cpi, release)));
    if kubernetes {
        steps.push("upgrade the kubelets".to_owned());
    }
    steps.extend(afterwards(Driver::Csi).map(|release| set(Driver::Csi, release)));
    steps
}

/// Draws the answer: yes or no, each driver, and what to do in which order.
pub fn draw(answer: &Answer, look: Look) -> String {
    let mut page = Page::new(look);
    let mark = if answer.may_upgrade { Mark::Good } else { Mark::Bad };
    let said = match (answer.may_upgrade, answer.steps.is_empty()) {
        (true, _) => "yes",
        (false, false) => "not yet: a driver has to move first",
        (false, true) => "no",
    };
    page.item(mark, "May it be upgraded? ", said);
    page.gap();
    for driver in &answer.drivers {
        let mark = if driver.prospect.advice.may_upgrade() { Mark::Good } else { Mark::Bad };
        page.row(mark, driver.prospect.driver.name(), &driver.message);
    }
    if !answer.steps.is_empty() {
        page.gap();
        for (at, step) in answer.steps.iter().enumerate() {
            page.row(Mark::None, &format!("{}.", at + 1), step);
        }
    }
    page.text()
}

#[cfg(test)]
mod tests {
    use vdo_compat::builtin;

    use super::*;

    fn versions(kubernetes: &str, vsphere: &str) -> Versions {
        Versions {
            kubernetes: kubernetes.parse().unwrap(),
            vsphere: vec![vsphere.parse().unwrap()],
            esxi: Vec::new(),
        }
    }

    fn ask(cpi: &str, csi: &str, now: (&str, &str), next: (&str, &str)) -> Answer {
        let installed = [(Driver::Cpi, cpi), (Driver::Csi, csi)]
            .map(|(driver, release)| (driver, Installed::new(release.parse().unwrap())));
        let asked = Asked {
            installed: installed.into(),
            now: versions(now.0, now.1),
            next: versions(next.0, next.1),
        };
        super::answer("built in", builtin::matrix(), &asked)
    }

    #[test]
    fn the_steps_come_in_the_order_of_the_skew_policy() {
        let said = ask("1.35.1", "3.7.3", ("1.35.4", "8.0.3"), ("1.36.1", "8.0.3"));
        assert!(!said.may_upgrade);
        assert_eq!(
            said.steps,
            [
                "set spec.storageProvider.version to 3.8.0, and wait until Ready is True",
                "upgrade the API servers to 1.36.1",
                "set spec.cloudProvider.version to 1.36.0, and wait until Ready is True",
                "upgrade the kubelets",
            ]
        );
        assert!(draw(&said, Look::plain(80)).contains("a driver has to move first"));
    }

    #[test]
    fn hosts_stay_as_they_are_when_their_vcenter_is_upgraded() {
        let hosts = vec![vec!["7.0.3".parse().unwrap()]];
        let now = Versions { esxi: hosts.clone(), ..versions("1.36.1", "8.0.3") };
        let next = now.becomes(None, &["9.0.1".parse().unwrap()]).unwrap();
        assert_eq!(next.cluster().vcenters[0].hosts, hosts[0]);
        assert_eq!(next.esxi, hosts);
    }

    #[test]
    fn what_nothing_is_made_for_has_no_steps() {
        let said = ask("1.36.0", "3.8.0", ("1.36.1", "8.0.3"), ("1.37.0", "8.0.3"));
        assert_eq!((said.may_upgrade, said.steps.len()), (false, 0));
        assert_eq!(
            said.drivers[1].message,
            "no CSI release of the matrix is made for that: CSI 3.8.0 is made for Kubernetes 1.34 to 1.36, the cluster \
             would run 1.37.0"
        );
        let text = draw(&said, Look::plain(80));
        assert!(text.starts_with("May it be upgraded? no\n"), "{text}");
    }

    #[test]
    fn a_vcenter_alone_is_upgraded_without_touching_kubernetes() {
        let said = ask("1.36.0", "3.8.0", ("1.36.1", "8.0.3"), ("1.36.1", "9.0.1"));
        assert!(said.may_upgrade);
        assert_eq!(said.steps, ["upgrade the vCenters to 9.0.1"]);
    }
}
