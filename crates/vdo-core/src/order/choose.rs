//! Which release of a driver. Pure.

use k8s_openapi::jiff::Timestamp;
use vdo_api::VsphereCloudConfig;
use vdo_api::vdoconfig::{self, CloudProvider, StorageProvider};
use vdo_compat::{
    Channel, Chosen, Cluster, Downgrade, Driver, KubernetesVersion, Pin, Release, Request, Selection,
    Vcenter, VsphereVersion, Why, explain, select,
    upgrade::{self, Prospect},
};
use vdo_plan::{Finding, Reading};

use super::matrix;
use crate::reasons;
use crate::vcenter::place;

/// What is asked about one driver.
pub struct Question<'a> {
    /// Which driver.
    pub driver: Driver,
    /// The version of the API server, as it says it.
    pub kubernetes: &'a str,
    /// Each vCenter that the spec names for this driver.
    pub vcenters: Vec<(&'a str, Reading<&'a VsphereCloudConfig>)>,
    /// What the user asked for.
    pub wish: Wish<'a>,
    /// The release that is installed.
    pub installed: Option<Release>,
    /// The release that is being rolled out.
    pub attempted: Option<Release>,
    /// The release that was rolled back and is not tried again before something changes.
    pub refused: Option<Release>,
    /// The matrix, or why there is none.
    pub matrix: &'a Result<matrix::Chosen, Finding>,
}

/// What the VDOConfig says about the releases of one driver.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish<'a> {
    /// The release or line of releases that is pinned.
    pub pin: Option<&'a str>,
    /// Which releases are offered.
    pub channel: Channel,
    /// Whether the pin may go back.
    pub downgrade: Downgrade,
}

impl<'a> Wish<'a> {
    fn new(pin: Option<&'a str>, channel: vdoconfig::Channel, downgrade: vdoconfig::Downgrade) -> Self {
        let channel = match channel {
            vdoconfig::Channel::Stable => Channel::Stable,
            vdoconfig::Channel::Candidate => Channel::Candidate,
        };
        let downgrade = match downgrade {
            vdoconfig::Downgrade::Forbid => Downgrade::Forbid,
            vdoconfig::Downgrade::Allow => Downgrade::Allow,
        };
        Self { pin, channel, downgrade }
    }
}

impl<'a> From<&'a CloudProvider> for Wish<'a> {
    fn from(spec: &'a CloudProvider) -> Self {
        Self::new(spec.version.as_deref(), spec.channel, spec.downgrade)
    }
}

impl<'a> From<&'a StorageProvider> for Wish<'a> {
    fn from(spec: &'a StorageProvider) -> Self {
        Self::new(spec.version.as_deref(), spec.channel, spec.downgrade)
    }
}

/// The release, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This one.
    Chosen(Box<Chosen>),
    /// None for now.
    Held(Finding),
}

impl Answer {
    /// What was chosen.
    pub fn chosen(&self) -> Option<&Chosen> {
        match self {
            Answer::Chosen(chosen) => Some(chosen),
            Answer::Held(_) => None,
        }
    }

    /// In words.
    pub fn text(&self) -> String {
        match self {
            Answer::Chosen(chosen) => explain::selection(&Selection::Chosen(chosen.clone())),
            Answer::Held(finding) => finding.message.clone(),
        }
    }
}

/// The version that a vCenter was last seen with, if that was the server of the spec.
pub fn last_known(config: &VsphereCloudConfig) -> Option<VsphereVersion> {
    let verified = config.status.as_ref()?.verified.as_ref()?;
    if verified.server != config.spec.server() || verified.port != i32::from(config.spec.effective_port()) {
        return None;
    }
    VsphereVersion::reported(&verified.version, &verified.api_version).ok()
}

/// What the ESXi hosts of a vCenter were last seen to run, if that was the server of the spec. `None` where nobody has
/// looked; empty where nothing could be read, which refuses nothing.
pub fn last_known_hosts(config: &VsphereCloudConfig) -> Option<Vec<VsphereVersion>> {
    let esxi = config.status.as_ref()?.esxi.as_ref()?;
    if esxi.server != place(config) {
        return None;
    }
    Some(esxi.versions.iter().filter_map(|version| version.parse().ok()).collect())
}

/// Chooses over every vCenter. A first installation waits until each was read, with its hosts if the matrix has a bound for
/// them; later what was last known counts.
pub fn answer(question: &Question<'_>) -> Answer {
    let chosen = match question.matrix {
        Ok(chosen) => chosen,
        Err(finding) => return Answer::Held(finding.clone()),
    };
    let cluster = match cluster(question) {
        Ok(cluster) => cluster,
        Err(finding) => return Answer::Held(finding),
    };
    let pin = match question.wish.pin.map(str::parse::<Pin>).transpose() {
        Ok(pin) => pin,
        Err(error) => {
            return Answer::Held(Finding::hold(
                &vdo_plan::driver::reasons::NO_RELEASE_FITS,
                format!("{}: {error}; correct it", question.driver.pin_field()),
            ));
        }
    };
    let request = Request {
        pin,
        installed: question.installed,
        movement: chosen.movement,
        channel: question.wish.channel,
        downgrade: question.wish.downgrade,
    };
    match select(&chosen.matrix, question.driver, &cluster, &request) {
        Selection::Chosen(picked) => match chosen.settles.filter(|_| moves(question, picked.release())) {
            Some(settles) => Answer::Held(unsettled(question, picked.release(), settles)),
            // Nobody is sent to what has just been rolled back.
            None => {
                let newer = picked.newer.filter(|newer| Some(*newer) != question.refused);
                Answer::Chosen(Box::new(Chosen { newer, ..*picked }))
            }
        },
        Selection::NoMatch(no_match) => {
            let reason = match no_match.misfits.first().map(|nearest| &nearest.why) {
                Some(Why::NotRenderable) => &reasons::BUNDLE_UNSUPPORTED,
                Some(
                    Why::Outside(_)
                    | Why::NoVcenterKnown
                    | Why::KnownBad { .. }
                    | Why::Candidate
                    | Why::OlderThanInstalled { .. }
                    | Why::NotUpgradable { .. }
                    | Why::NotInMatrix,
                )
                | None => &vdo_plan::driver::reasons::NO_RELEASE_FITS,
            };
            Answer::Held(Finding::hold(reason, explain::selection(&Selection::NoMatch(no_match))))
        }
    }
}

/// Whether this release would begin to take the place of another one.
fn moves(question: &Question<'_>, release: Release) -> bool {
    question.installed.is_some_and(|installed| installed != release) && question.attempted != Some(release)
}

fn unsettled(question: &Question<'_>, release: Release, settles: Timestamp) -> Finding {
    let driver = question.driver;
    let installed = question.installed.map(|it| it.to_string()).unwrap_or_default();
    Finding::hold(
        &reasons::MATRIX_NOT_SETTLED,
        format!(
            "the compatibility matrix changed, and {driver} would move from {installed} to {release} because of it: \
             the matrix is read once more first, and nothing that is installed moves before {settles:.0}"
        ),
    )
}

/// What the driver has to run with, as far as it is known.
fn cluster(question: &Question<'_>) -> Result<Cluster, Finding> {
    let kubernetes = question.kubernetes.parse::<KubernetesVersion>().map_err(|_| {
        Finding::hold(
            &reasons::KUBERNETES_VERSION_UNKNOWN,
            format!("the API server says its version is {:?}, which cannot be read", question.kubernetes),
        )
    })?;
    let mut vcenters = Vec::new();
    let (mut unread, mut unseen) = (Vec::new(), Vec::new());
    for (name, config) in &question.vcenters {
        let Some(version) = config.present().and_then(|config| last_known(config)) else {
            unread.push(*name);
            continue;
        };
        let hosts = config.present().and_then(|config| last_known_hosts(config));
        if hosts.is_none() {
            unseen.push(*name);
        }
        vcenters.push(Vcenter { hosts: hosts.unwrap_or_default(), ..Vcenter::new(*name, version) });
    }
    if !unread.is_empty() && (question.installed.is_none() || vcenters.is_empty()) {
        return Err(Finding::hold(
            &reasons::VCENTERS_NOT_READ,
            format!(
                "waits until each vCenter was verified once; see the conditions of VsphereCloudConfig {}",
                vdo_api::condition::name_some(&unread)
            ),
        ));
    }
    let asked = question.matrix.as_ref().is_ok_and(|it| it.matrix.bounds_esxi(question.driver));
    if asked && !unseen.is_empty() && question.installed.is_none() {
        return Err(Finding::hold(
            &reasons::VCENTERS_NOT_READ,
            format!(
                "waits until the ESXi hosts of each vCenter were looked at once, because a row of the matrix has a bound for them; see the conditions of VsphereCloudConfig {}",
                vdo_api::condition::name_some(&unseen)
            ),
        ));
    }
    Ok(Cluster { kubernetes, vcenters })
}

/// What to do about the driver before the cluster gets the next minor of Kubernetes. None while it is not installed, or
/// something of that is not known.
pub fn before_the_next_kubernetes(question: &Question<'_>) -> Option<Prospect> {
    let matrix = &question.matrix.as_ref().ok()?.matrix;
    let now = cluster(question).ok()?;
    let next = Cluster { kubernetes: now.kubernetes.next_minor(), ..now.clone() };
    Some(upgrade::prospect(
        matrix,
        question.driver,
        question.installed?,
        question.refused,
        (&now, &next),
        question.wish.channel,
    ))
}

#[cfg(test)]
mod tests {
    use vdo_api::vcenter::EsxiHosts;

    use super::*;
    use crate::vcenter::tests::{config, verified};

    fn ask(vcenters: &[(&str, Option<&str>)], kubernetes: &str, installed: Option<&str>) -> Answer {
        ask_after(vcenters, kubernetes, installed, None)
    }

    fn ask_after(
        vcenters: &[(&str, Option<&str>)],
        kubernetes: &str,
        installed: Option<&str>,
        refused: Option<&str>,
    ) -> Answer {
        let configs: Vec<_> = vcenters
            .iter()
            .map(|(name, version)| match version {
                Some(version) => verified(config(name), version),
                None => config(name),
            })
            .collect();
        let names = configs.iter().map(|it| it.metadata.name.as_deref().unwrap());
        answer(&Question {
            driver: Driver::Cpi,
            kubernetes,
            vcenters: names.zip(configs.iter().map(Reading::Present)).collect(),
            wish: Wish::default(),
            installed: installed.map(|it| it.parse().unwrap()),
            attempted: None,
            refused: refused.map(|it| it.parse().unwrap()),
            matrix: &Ok(matrix::built_in()),
        })
    }

    fn reason(answer: &Answer) -> &'static str {
        match answer {
            Answer::Chosen(_) => "",
            Answer::Held(finding) => finding.reason.name,
        }
    }

    #[test]
    fn a_first_installation_waits_for_every_vcenter() {
        let two = [("a", Some("8.0.3")), ("b", None)];
        assert_eq!(reason(&ask(&two, "v1.35.0", None)), "VCentersNotRead");
        assert_eq!(reason(&ask(&two, "v1.35.0", Some("1.35.0"))), "");
        assert_eq!(reason(&ask(&[("b", None)], "v1.35.0", Some("1.35.0"))), "VCentersNotRead");
        assert_eq!(reason(&ask(&[("a", Some("8.0.3"))], "v1.35.0", None)), "");
    }

    #[test]
    fn a_release_that_was_rolled_back_is_not_recommended() {
        let one = [("a", Some("8.0.3"))];
        let newer = |refused| match ask_after(&one, "v1.36.0", Some("1.35.1"), refused) {
            Answer::Chosen(chosen) => chosen.newer.map(|it| it.to_string()),
            Answer::Held(finding) => panic!("{finding:?}"),
        };
        assert_eq!(newer(None).as_deref(), Some("1.36.0"));
        assert_eq!(newer(Some("1.36.0")), None);
        assert_eq!(newer(Some("1.35.0")).as_deref(), Some("1.36.0"));
    }

    #[test]
    fn a_release_that_was_rolled_back_is_not_advised_before_the_next_kubernetes_either() {
        let config = verified(config("a"), "8.0.3");
        let matrix = Ok(matrix::built_in());
        let ask = |refused: Option<&str>| {
            let question = Question {
                driver: Driver::Csi,
                kubernetes: "1.35.2",
                vcenters: vec![("a", Reading::Present(&config))],
                wish: Wish::default(),
                installed: Some("3.7.3".parse().unwrap()),
                attempted: None,
                refused: refused.map(|it| it.parse().unwrap()),
                matrix: &matrix,
            };
            before_the_next_kubernetes(&question).unwrap()
        };
        assert_eq!(ask(None).advice, upgrade::Advice::First("3.8.0".parse().unwrap()));
        assert_eq!(ask(Some("3.7.0")), ask(None));
        let without = ask(Some("3.8.0"));
        assert!(matches!(without.advice, upgrade::Advice::NotYet(_)), "{without:?}");
        let said = explain::prospect(&without);
        assert!(said.ends_with("; 3.8.0 would do, but was rolled back here"), "{said}");
    }

    /// A matrix that has just changed, or stood for long, over CPI 1.35.0 and 1.36.0.
    fn ask_pinned(settles: Option<Timestamp>, installed: Option<&str>, attempted: Option<&str>) -> Answer {
        let config = verified(config("a"), "8.0.3");
        answer(&Question {
            driver: Driver::Cpi,
            kubernetes: "v1.36.0",
            vcenters: vec![("a", Reading::Present(&config))],
            wish: Wish { pin: Some("1.36"), ..Wish::default() },
            installed: installed.map(|it| it.parse().unwrap()),
            attempted: attempted.map(|it| it.parse().unwrap()),
            refused: None,
            matrix: &Ok(matrix::Chosen { settles, ..matrix::built_in() }),
        })
    }

    #[test]
    fn a_matrix_that_has_just_changed_moves_nothing_that_is_installed_whatever_the_pin_says() {
        let soon = Some(Timestamp::from_second(120).unwrap());
        let held = ask_pinned(soon, Some("1.35.1"), None);
        assert_eq!(reason(&held), "MatrixNotSettled");
        for words in [
            "the compatibility matrix changed",
            "CPI would move from 1.35.1 to 1.36.0",
            "1970-01-01T00:02:00Z",
        ] {
            assert!(held.text().contains(words), "{words:?} is not in {}", held.text());
        }
        let chosen = |answer: Answer| answer.chosen().map(|it| it.release().to_string());
        for answer in [
            ask_pinned(None, Some("1.35.1"), None),
            // Nothing is there that could be harmed, or nothing moves, or it moves already.
            ask_pinned(soon, None, None),
            ask_pinned(soon, Some("1.36.0"), None),
            ask_pinned(soon, Some("1.35.1"), Some("1.36.0")),
        ] {
            assert_eq!(chosen(answer).as_deref(), Some("1.36.0"));
        }
    }

    #[test]
    fn a_release_that_vdo_cannot_build_is_a_hold_with_a_reason_of_its_own() {
        let row = r#"{"vSphere": {"min": "7.0.0", "max": "9.9.9"}, "k8s": {"min": "1.30", "max": "1.40"}, "deploymentPath": ["x"]}"#;
        let matrix = |csi: &str| {
            let text = format!(r#"{{"CSI": {{{csi}}}, "CPI": {{}}}}"#);
            let parsed = vdo_matrix::parse(vdo_compat::Source::ConfigMap, &text).unwrap();
            Ok(matrix::Chosen { matrix: parsed.matrix.into(), ..matrix::built_in() })
        };
        let unknown = matrix(&format!(r#""9.9.9": {row}"#));
        for installed in [None, Some("3.7.0")] {
            let answer = ask_with_hosts(None, installed, &unknown, Driver::Csi);
            assert_eq!(reason(&answer), "BundleUnsupported");
            let said = answer.text();
            assert!(said.contains("CSI 9.9.9 is a release that these operators cannot build"), "{said}");
        }
        // One beside it that VDO can build is chosen.
        let both = matrix(&format!(r#""9.9.9": {row}, "3.7.0": {row}"#));
        assert_eq!(reason(&ask_with_hosts(None, None, &both, Driver::Csi)), "");
    }

    #[test]
    fn the_next_kubernetes_is_looked_at_once_something_is_installed_and_everything_is_known() {
        let config = verified(config("a"), "8.0.3");
        let matrix = Ok(matrix::built_in());
        let ask = |kubernetes, installed: Option<&str>| {
            before_the_next_kubernetes(&Question {
                driver: Driver::Csi,
                kubernetes,
                vcenters: vec![("a", Reading::Present(&config))],
                wish: Wish::default(),
                installed: installed.map(|it| it.parse().unwrap()),
                attempted: None,
                refused: None,
                matrix: &matrix,
            })
        };
        let advice = |kubernetes, installed| ask(kubernetes, Some(installed)).unwrap().advice;
        let newest: Release = "3.8.0".parse().unwrap();
        assert_eq!(advice("1.35.2", "3.7.3"), upgrade::Advice::First(newest));
        assert_eq!(advice("1.35.2", "3.8.0"), upgrade::Advice::Go { then: None });
        assert!(ask("1.35.2", None).is_none() && ask("what", Some("3.8.0")).is_none());
    }

    #[test]
    fn no_match_and_an_unreadable_version_are_holds() {
        let one = [("a", Some("8.0.3"))];
        let answer = ask(&one, "v1.3.0", None);
        assert_eq!(reason(&answer), "NoReleaseFits");
        assert!(answer.text().contains("nearest row"), "{}", answer.text());
        assert_eq!(reason(&ask(&one, "what", None)), "KubernetesVersionUnknown");
    }

    /// Two releases: one for hosts from 8.0, an older one for any host of 7.0.
    fn matrix_with_hosts() -> Result<matrix::Chosen, Finding> {
        let row = |release: &str, esxi: &str| {
            format!(
                r#"{{"driver": "CSI", "release": "{release}", "kubernetes": {{"min": "1.30"}}, "vsphere": {{"min": "7.0"}}, "esxi": {esxi}}}"#
            )
        };
        let rows =
            [row("3.8.0", r#"{"min": "8.0"}"#), row("3.7.0", r#"{"min": "7.0", "max": "7.0"}"#)].join(",");
        let text = format!(r#"{{"schemaVersion": 1, "rows": [{rows}]}}"#);
        let matrix = vdo_matrix::parse(vdo_compat::Source::ConfigMap, &text).unwrap().matrix;
        Ok(matrix::Chosen { matrix: matrix.into(), ..matrix::built_in() })
    }

    /// `hosts` as read from `server`, if anybody looked.
    fn ask_with_hosts(
        hosts: Option<(&str, &[&str])>,
        installed: Option<&str>,
        matrix: &Result<matrix::Chosen, Finding>,
        driver: Driver,
    ) -> Answer {
        let mut config = verified(config("a"), "8.0.3");
        config.status.as_mut().unwrap().esxi = hosts.map(|(server, versions)| EsxiHosts {
            server: server.into(),
            versions: versions.iter().map(|it| (*it).to_owned()).collect(),
        });
        answer(&Question {
            driver,
            kubernetes: "v1.35.0",
            vcenters: vec![("a", Reading::Present(&config))],
            wish: Wish::default(),
            installed: installed.map(|it| it.parse().unwrap()),
            attempted: None,
            refused: None,
            matrix,
        })
    }

    #[test]
    fn a_host_outside_of_the_bound_of_a_row_refuses_it_in_the_words_of_explain() {
        let matrix = matrix_with_hosts();
        let ask = |versions: &[&str], installed| {
            ask_with_hosts(Some(("a.example.com", versions)), installed, &matrix, Driver::Csi)
        };
        let chosen = |answer: &Answer| answer.chosen().map(|it| it.release().to_string());
        assert_eq!(chosen(&ask(&["8.0.2", "9.0.0"], None)).as_deref(), Some("3.8.0"));
        assert_eq!(chosen(&ask(&["7.0.1", "7.0.3"], None)).as_deref(), Some("3.7.0"));
        // One older host is enough, and then no row is left.
        let answer = ask(&["7.0.3", "8.0.2"], None);
        assert_eq!(reason(&answer), "NoReleaseFits");
        assert!(
            answer.text().contains("CSI 3.8.0 needs ESXi 8.0 or newer, a host of vCenter a runs 7.0.3"),
            "{}",
            answer.text()
        );
        // What is installed stays where it is, and does not go on as if nothing were wrong.
        let answer = ask(&["7.0.3"], Some("3.8.0"));
        assert_eq!(reason(&answer), "NoReleaseFits");
        assert!(answer.text().contains("a host of vCenter a runs 7.0.3"), "{}", answer.text());
        // Hosts that nobody may read refuse nothing.
        assert_eq!(chosen(&ask(&[], None)).as_deref(), Some("3.8.0"));
    }

    #[test]
    fn a_first_installation_waits_for_hosts_that_its_driver_asks_for_and_no_other_one_does() {
        let (asking, built_in) = (matrix_with_hosts(), Ok(matrix::built_in()));
        let elsewhere = Some(("elsewhere.example.com", ["8.0.2"].as_slice()));
        for hosts in [None, elsewhere] {
            let answer = ask_with_hosts(hosts, None, &asking, Driver::Csi);
            assert_eq!(reason(&answer), "VCentersNotRead");
            assert!(answer.text().contains("the ESXi hosts of each vCenter"), "{}", answer.text());
            assert_eq!(reason(&ask_with_hosts(hosts, Some("3.8.0"), &asking, Driver::Csi)), "");
            assert_eq!(reason(&ask_with_hosts(hosts, None, &built_in, Driver::Csi)), "");
            assert_ne!(reason(&ask_with_hosts(hosts, None, &asking, Driver::Cpi)), "VCentersNotRead");
        }
    }

    #[test]
    fn the_version_of_another_server_does_not_count() {
        let mut moved = verified(config("a"), "8.0.3");
        assert!(last_known(&moved).is_some());
        moved.spec.vc_ip = "elsewhere".into();
        assert_eq!(last_known(&moved), None);
    }
}
