use vdo_api::condition::find;
use vdo_api::vcenter::SecretVersion;
use vsphere_client::{Denied, Endpoint, Thumbprint};

use super::*;
use crate::vcenter::tests::{config, errand, secret, verified};

fn endpoint() -> Endpoint {
    Endpoint::new("a.example.com", 443).unwrap()
}

fn certificate() -> vsphere_client::Presented {
    vsphere_client::Presented {
        sha256: Thumbprint::Sha256([0xab; 32]),
        sha1: Thumbprint::Sha1([0xcd; 20]),
        subject: "CN=a".into(),
        issuer: "CN=ca".into(),
        not_before: None,
        not_after: Some(1_900_000_000),
        dns_names: Vec::new(),
        addresses: Vec::new(),
    }
}

fn untrusted(why: Distrust) -> Error {
    Error::Untrusted { endpoint: endpoint(), presented: Box::new(certificate()), why }
}

fn io() -> std::io::Error {
    std::io::Error::other("x")
}

#[test]
fn each_error_of_the_client_has_its_condition() {
    use Aspect::{CredentialsValid, DatacentersFound, Reachable, Trusted};
    let timeout = |phase| Error::Timeout { endpoint: endpoint(), phase, after: Default::default() };
    let pinned = Thumbprint::Sha256([1; 32]);
    let cases = [
        (Error::NameNotResolved { endpoint: endpoint(), source: io() }, Reachable, "DNSFailure"),
        (
            Error::AddressNotAdmitted { endpoint: endpoint(), address: [127, 0, 0, 1].into() },
            Reachable,
            "AddressNotAllowed",
        ),
        (Error::Refused { endpoint: endpoint() }, Reachable, "ConnectionRefused"),
        (Error::Unreachable { endpoint: endpoint(), source: Box::new(io()) }, Reachable, "Timeout"),
        (timeout(Phase::Connect), Reachable, "Timeout"),
        (timeout(Phase::Call("Login")), Reachable, "Timeout"),
        (Error::NotTls { endpoint: endpoint() }, Trusted, "TLSFailed"),
        (Error::TlsFailed { endpoint: endpoint(), why: "x".into() }, Trusted, "TLSFailed"),
        (untrusted(Distrust::UnknownIssuer), Trusted, "CertificateUntrusted"),
        (untrusted(Distrust::Expired), Trusted, "CertificateUntrusted"),
        (untrusted(Distrust::NameMismatch), Trusted, "CertificateUntrusted"),
        (untrusted(Distrust::ThumbprintMismatch { expected: pinned }), Trusted, "ThumbprintMismatch"),
        (Error::InvalidLogin, CredentialsValid, "LoginRefused"),
        (
            Error::NoPermission { privilege: "System.Read".into(), object: "Folder:x".into() },
            DatacentersFound,
            "PrivilegeMissing",
        ),
        (Error::NotAuthenticated, CredentialsValid, "LoginUnderWay"),
        (Error::TooOld { version: "6.5".into() }, Reachable, "VCenterTooOld"),
        (Error::NotVCenter { endpoint: endpoint(), found: "x".into() }, Reachable, "NotAVCenter"),
        (Error::Throttled { status: 503, retry_after: None }, Reachable, "VCenterBusy"),
        (Error::TooLarge { method: "x", limit: 1 }, Reachable, "NotAVCenter"),
        (Error::TooManyPages { limit: 1 }, Reachable, "NotAVCenter"),
        (Error::Fault { method: "x", name: "y".into(), message: "z".into() }, Reachable, "VCenterBusy"),
        (Error::Malformed { method: "x", why: "y" }, Reachable, "NotAVCenter"),
        (Error::Unwritable { field: "password" }, CredentialsValid, "SecretInvalid"),
        (Error::Setup { endpoint: endpoint(), source: Box::new(io()) }, Trusted, "TLSFailed"),
    ];
    let vc = config("a");
    for (error, aspect, reason) in cases {
        let obstacle = failure(&vc, &errand(&vc), &error);
        assert_eq!((obstacle.aspect, obstacle.reason.name), (aspect, reason), "{error}");
    }
}

#[test]
fn an_untrusted_certificate_comes_with_the_command_that_accepts_it() {
    let vc = config("a");
    let expected = Thumbprint::Sha256([1; 32]);
    for why in [Distrust::UnknownIssuer, Distrust::ThumbprintMismatch { expected }] {
        let message = failure(&vc, &errand(&vc), &untrusted(why.clone())).message;
        let command = format!(
            "kubectl patch vspherecloudconfig -n vdo a --type=merge -p '{{\"spec\":{{\"thumbprint\":\"{}\"}}}}'",
            certificate().sha256
        );
        assert!(message.contains(&command), "{message}");
        if matches!(why, Distrust::ThumbprintMismatch { .. }) {
            assert!(message.contains(&expected.to_string()), "{message}");
        }
    }
}

fn whole() -> Evidence {
    let about = About {
        version: "8.0.3".into(),
        api_version: "8.0.3.0".into(),
        build: "42".into(),
        instance_uuid: String::new(),
    };
    Evidence {
        reached: Some(Ok(())),
        presented: Some(presented(&certificate())),
        login: Some(Ok(())),
        read: Some(Ok(Proof { about, datacenters: vec!["/dc".into()], hosts: None })),
    }
}

/// The same with hosts of these versions, and some that tell none.
fn with_hosts(versions: &[(&str, &str)], unreadable: u32) -> Evidence {
    let product =
        |(version, api): &(&str, &str)| Product { version: (*version).into(), api_version: (*api).into() };
    let hosts = Hosts {
        products: versions.iter().map(product).collect(),
        seen: u32::try_from(versions.len()).unwrap() + unreadable,
        unreadable,
        first_unreadable: (unreadable > 0)
            .then(|| Denied { object: "HostSystem:host-9".into(), privilege: "System.Read".into() }),
    };
    let mut evidence = whole();
    let Some(Ok(proof)) = &mut evidence.read else { unreachable!() };
    proof.hosts = Some(hosts);
    evidence
}

fn ready(status: &VsphereCloudConfigStatus) -> (Truth, &str) {
    let ready = find(&status.conditions, "Ready").unwrap();
    (ready.status, &ready.message)
}

#[test]
fn what_hosts_run_is_kept_in_order_and_each_version_once() {
    let vc = config("a");
    // 6.7 Update 3 calls itself 6.7.0, and of two API versions of one version the status knows nothing.
    let read = [("8.0.2", "8.0.2.0"), ("10.0.0", ""), ("8.0.2", "8.0.2.1"), ("6.7.0", "6.7.3"), ("what", "")];
    let status = judge(&vc, &with_hosts(&read, 0), None).unwrap();
    let esxi = status.esxi.as_ref().unwrap();
    assert_eq!(
        (esxi.server.as_str(), esxi.versions.join(" ")),
        ("a.example.com", "6.7.3 8.0.2 10.0.0".into())
    );
    assert_eq!(ready(&status), (Truth::True, "vCenter 8.0.3 build 42; ESXi 6.7.3, 8.0.2, 10.0.0"));

    let mut turned = read;
    turned.reverse();
    let mut again = vc.clone();
    again.status = Some(status.clone());
    assert_eq!(judge(&again, &with_hosts(&turned, 0), None), Some(status), "there is nothing to write");
}

#[test]
fn of_very_many_versions_both_ends_are_kept() {
    let versions: Vec<String> = (0..100).map(|minor| format!("8.0.{minor}")).collect();
    let read: Vec<(&str, &str)> = versions.iter().map(|it| (it.as_str(), "")).collect();
    let kept = judge(&config("a"), &with_hosts(&read, 0), None).unwrap().esxi.unwrap().versions;
    assert_eq!(kept.len(), 2 * HOST_VERSIONS);
    assert_eq!((kept[0].as_str(), kept[15].as_str(), kept[16].as_str()), ("8.0.0", "8.0.15", "8.0.84"));
    assert_eq!(kept.last().map(String::as_str), Some("8.0.99"));
}

#[test]
fn hosts_that_may_not_be_read_fail_no_check_and_are_told() {
    let vc = config("a");
    let status = judge(&vc, &with_hosts(&[], 0), None).unwrap();
    assert_eq!(status.config, Some(ConfigState::Verified));
    assert_eq!(status.esxi.as_ref().unwrap().versions, [""; 0]);
    assert_eq!(
        ready(&status),
        (
            Truth::True,
            "vCenter 8.0.3 build 42; the account sees no ESXi host, so none refuses a release; if there are any, give \
             it System.View and System.Read on them"
        )
    );
    let mut forbidden = with_hosts(&[], 1);
    let Some(Ok(Proof { hosts: Some(hosts), .. })) = &mut forbidden.read else { unreachable!() };
    (hosts.seen, hosts.unreadable) = (0, 0);
    assert_eq!(
        ready(&judge(&vc, &forbidden, None).unwrap()),
        (
            Truth::True,
            "vCenter 8.0.3 build 42; the account may not look for ESXi hosts, so none refuses a release; give the \
             account System.Read on HostSystem:host-9"
        )
    );
    let status = judge(&vc, &with_hosts(&[("8.0.2", "")], 2), None).unwrap();
    assert_eq!(status.esxi.as_ref().unwrap().versions, ["8.0.2"]);
    assert_eq!(
        ready(&status),
        (
            Truth::True,
            "vCenter 8.0.3 build 42; ESXi 8.0.2; 2 ESXi hosts tell no version and refuse no release; give the account \
             System.Read on HostSystem:host-9"
        )
    );
}

#[test]
fn an_outage_keeps_what_hosts_ran_and_a_read_that_did_not_ask_ends_it() {
    let mut vc = config("a");
    vc.status = judge(&vc, &with_hosts(&[("7.0.3", "")], 0), None);
    let known = vc.status.as_ref().unwrap().esxi.clone();
    assert!(known.is_some());
    let obstacle = failure(&vc, &errand(&vc), &Error::Refused { endpoint: endpoint() });
    let outage = Evidence { reached: Some(Err(obstacle)), ..with_hosts(&[], 0) };
    assert_eq!(judge(&vc, &outage, None).unwrap().esxi, known);
    assert_eq!(judge(&vc, &Evidence::default(), None), None);
    assert_eq!(judge(&vc, &whole(), None).unwrap().esxi, None);
}

fn judge(
    config: &VsphereCloudConfig,
    evidence: &Evidence,
    login: Option<Login>,
) -> Option<VsphereCloudConfigStatus> {
    let errand = Ok(errand(config));
    status(&Case { config, errand: &errand, evidence, login, now: Timestamp::from_second(10_000).unwrap() })
}

fn said(status: &VsphereCloudConfigStatus) -> Vec<(&str, Truth, &str)> {
    status.conditions.iter().map(|it| (it.type_.as_str(), it.status, it.reason.as_str())).collect()
}

fn login(outcome: LoginOutcome, second: i64) -> Login {
    Login {
        tried: secret().version,
        server: "a.example.com".into(),
        outcome,
        at: Time(Timestamp::from_second(second).unwrap()),
        retry: None,
        interrupted: 0,
    }
}

#[test]
fn a_whole_check_is_verified_with_the_very_secret() {
    let status = judge(&config("a"), &whole(), Some(login(LoginOutcome::Accepted, 1))).unwrap();
    assert_eq!(
        said(&status),
        [
            ("Reachable", Truth::True, "Reached"),
            ("Trusted", Truth::True, "CertificateTrusted"),
            ("CredentialsValid", Truth::True, "LoggedIn"),
            ("DatacentersFound", Truth::True, "DatacentersFound"),
            ("Ready", Truth::True, "VCenterVerified"),
        ]
    );
    assert_eq!((status.config, status.message.as_str()), (Some(ConfigState::Verified), ""));
    let verified = status.verified.unwrap();
    assert_eq!(
        verified.secret,
        SecretVersion {
            namespace: "vdo".into(),
            name: "creds".into(),
            uid: "u".into(),
            resource_version: "1".into()
        }
    );
    assert_eq!(verified.trust.sha1, certificate().sha1.to_string());
    assert_eq!(verified.datacenters, ["/dc"]);
}

#[test]
fn the_first_obstacle_decides_and_what_follows_is_unknown() {
    let vc = config("a");
    let obstacle = failure(&vc, &errand(&vc), &untrusted(Distrust::UnknownIssuer));
    let evidence = Evidence { reached: Some(Err(obstacle)), ..Evidence::default() };
    let status = judge(&vc, &evidence, None).unwrap();
    assert_eq!(
        said(&status),
        [
            ("Reachable", Truth::True, "Reached"),
            ("Trusted", Truth::False, "CertificateUntrusted"),
            ("CredentialsValid", Truth::Unknown, "NotCheckedYet"),
            ("DatacentersFound", Truth::Unknown, "NotCheckedYet"),
            ("Ready", Truth::False, "CertificateUntrusted"),
        ]
    );
    assert_eq!(status.config, Some(ConfigState::Failed));
    assert!(!status.message.is_empty());
}

#[test]
fn a_failure_keeps_the_last_good_verification() {
    let vc = verified(config("a"), "8.0.3");
    let obstacle = failure(&vc, &errand(&vc), &Error::Refused { endpoint: endpoint() });
    let evidence = Evidence { reached: Some(Err(obstacle)), ..Evidence::default() };
    let status = judge(&vc, &evidence, None).unwrap();
    assert_eq!(status.verified, vc.status.unwrap().verified);
}

#[test]
fn a_restart_says_nothing_new_until_it_knows() {
    let mut vc = config("a");
    vc.status = judge(&vc, &whole(), Some(login(LoginOutcome::Accepted, 1)));
    let accepted = || vc.status.as_ref().unwrap().login.clone();
    assert_eq!(judge(&vc, &Evidence::default(), accepted()), None);
    // The word that a login is about to be made changes nothing else.
    let status = judge(&vc, &Evidence::default(), Some(login(LoginOutcome::Started, 10_000))).unwrap();
    assert_eq!(status.conditions, vc.status.as_ref().unwrap().conditions);
    assert_eq!(status.login.unwrap().outcome, LoginOutcome::Started);
}

#[test]
fn a_refused_login_is_said_after_a_restart_too() {
    let reached = Evidence { reached: Some(Ok(())), ..Evidence::default() };
    let status = judge(&config("a"), &reached, Some(login(LoginOutcome::Refused, 9_000))).unwrap();
    assert_eq!(said(&status)[2], ("CredentialsValid", Truth::False, "LoginRefused"));
    assert!(status.message.contains("retry-login"), "{}", status.message);
    let status = judge(&config("a"), &reached, Some(login(LoginOutcome::Started, 9_990))).unwrap();
    assert_eq!(said(&status)[2], ("CredentialsValid", Truth::Unknown, "LoginUnderWay"));
}

#[test]
fn a_restart_repeats_what_was_said_before_a_refused_login() {
    let mut vc = config("a");
    let reached = Evidence { reached: Some(Ok(())), ..Evidence::default() };
    let refused = || Some(login(LoginOutcome::Refused, 9_000));
    vc.status = judge(&vc, &reached, refused());
    assert_eq!(judge(&vc, &Evidence::default(), refused()), vc.status);
}

#[test]
fn insecure_is_said_loudly() {
    let mut vc = config("a");
    vc.spec.insecure = true;
    let status = judge(&vc, &whole(), None).unwrap();
    let trusted = find(&status.conditions, "Trusted").unwrap();
    assert_eq!((trusted.status, trusted.reason.as_str()), (Truth::True, "InsecureByRequest"));
    assert!(trusted.message.starts_with("WARNING"));
}

#[test]
fn only_a_login_that_was_surely_not_judged_is_made_again() {
    for (error, again) in [
        (Error::Refused { endpoint: endpoint() }, true),
        (untrusted(Distrust::Expired), true),
        (Error::InvalidLogin, false),
        (Error::Unreachable { endpoint: endpoint(), source: Box::new(io()) }, false),
        (Error::Malformed { method: "Login", why: "x" }, false),
    ] {
        assert_eq!(was_not_judged(&error), again, "{error}");
    }
}
