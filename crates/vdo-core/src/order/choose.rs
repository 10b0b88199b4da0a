//! Which release of a driver. Pure.

use vdo_api::VsphereCloudConfig;
use vdo_compat::{
    Channel, Chosen, Cluster, Driver, KubernetesVersion, Pin, Release, Request, Selection, Vcenter,
    VsphereVersion, explain, select,
};
use vdo_plan::{Finding, Reading};

use super::matrix;
use crate::reasons;

/// What is asked about one driver.
pub struct Question<'a> {
    /// Which driver.
    pub driver: Driver,
    /// The version of the API server, as it says it.
    pub kubernetes: &'a str,
    /// Each vCenter that the spec names for this driver.
    pub vcenters: Vec<(&'a str, Reading<&'a VsphereCloudConfig>)>,
    /// The release that the user pinned.
    pub pin: Option<&'a str>,
    /// The release that is installed.
    pub installed: Option<Release>,
    /// The release that was rolled back and is not tried again before something changes.
    pub refused: Option<Release>,
    /// The matrix, or why there is none.
    pub matrix: &'a Result<matrix::Chosen, Finding>,
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

/// Chooses over every vCenter. A first installation waits until each was read; later its last known version counts.
pub fn answer(question: &Question<'_>) -> Answer {
    let chosen = match question.matrix {
        Ok(chosen) => chosen,
        Err(finding) => return Answer::Held(finding.clone()),
    };
    let Ok(kubernetes) = question.kubernetes.parse::<KubernetesVersion>() else {
        return Answer::Held(Finding::hold(
            &reasons::KUBERNETES_VERSION_UNKNOWN,
            format!("the API server says its version is {:?}, which cannot be read", question.kubernetes),
        ));
    };
    let mut vcenters = Vec::new();
    let mut unread = Vec::new();
    for (name, config) in &question.vcenters {
        match config.present().and_then(|config| last_known(config)) {
            Some(version) => vcenters.push(Vcenter { name: (*name).to_owned(), version }),
            None => unread.push(*name),
        }
    }
    if !unread.is_empty() && (question.installed.is_none() || vcenters.is_empty()) {
        return Answer::Held(Finding::hold(
            &reasons::VCENTERS_NOT_READ,
            format!(
                "waits until each vCenter was verified once; see the conditions of VsphereCloudConfig {}",
                vdo_api::condition::name_some(&unread)
            ),
        ));
    }
    let pin = match question.pin.map(str::parse::<Pin>).transpose() {
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
        channel: Channel::default(),
    };
    match select(&chosen.matrix, question.driver, &Cluster { kubernetes, vcenters }, &request) {
        // Nobody is sent to what has just been rolled back.
        Selection::Chosen(chosen) => {
            let newer = chosen.newer.filter(|newer| Some(*newer) != question.refused);
            Answer::Chosen(Box::new(Chosen { newer, ..*chosen }))
        }
        no_match @ Selection::NoMatch(_) => Answer::Held(Finding::hold(
            &vdo_plan::driver::reasons::NO_RELEASE_FITS,
            explain::selection(&no_match),
        )),
    }
}

#[cfg(test)]
mod tests {
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
            pin: None,
            installed: installed.map(|it| it.parse().unwrap()),
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
    fn no_match_and_an_unreadable_version_are_holds() {
        let one = [("a", Some("8.0.3"))];
        let answer = ask(&one, "v1.3.0", None);
        assert_eq!(reason(&answer), "NoReleaseFits");
        assert!(answer.text().contains("nearest row"), "{}", answer.text());
        assert_eq!(reason(&ask(&one, "what", None)), "KubernetesVersionUnknown");
    }

    #[test]
    fn the_version_of_another_server_does_not_count() {
        let mut moved = verified(config("a"), "8.0.3");
        assert!(last_known(&moved).is_some());
        moved.spec.vc_ip = "elsewhere".into();
        assert_eq!(last_known(&moved), None);
    }
}
