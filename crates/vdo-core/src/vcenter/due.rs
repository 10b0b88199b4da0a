//! What is due for one vCenter. Pure: ages are measured by the caller, and the one wall time is that of a login.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use vdo_api::vcenter::{Login, LoginOutcome, SecretVersion};
use vsphere_client::HostVersions;

use super::{Access, Subject};

/// The pauses between probes while something may right itself; the last one stays.
const PROBE_PAUSES: [u64; 4] = [5, 10, 20, 30];
/// How soon something is looked at again that a person has to change.
const TERMINAL: Duration = Duration::from_secs(300);
/// How often a vCenter is looked at that nobody logs in to, and how often the inventory is read.
const SELDOM: Duration = Duration::from_secs(600);
/// How soon the inventory is read again when the spec names a datacenter that is not there.
const DATACENTERS: Duration = Duration::from_secs(60);
/// The first pause of reads for nodes that are not matched; it doubles up to [`SELDOM`].
const EAGER: Duration = Duration::from_secs(30);
/// How often a session is kept alive.
const KEEPALIVE: Duration = Duration::from_secs(300);
/// A refused login is tried again after this time.
const REFUSED: SignedDuration = SignedDuration::from_hours(1);
/// A login whose end nobody saw is tried again after this time: an operator that was ended in the middle of its first one
/// costs a quarter of a minute, and an account that is locked after a few refusals in a row is far from it.
const INTERRUPTED: SignedDuration = SignedDuration::from_secs(15);
/// The same where the try before it came to no end either: an operator that dies again and again makes six in an hour.
const INTERRUPTED_AGAIN: SignedDuration = SignedDuration::from_mins(12);

/// The next thing to do with a vCenter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Look whether it is there and trusted; no login.
    Reach,
    /// Write down that a login is about to be made, then make it.
    Announce,
    /// Read datacenters and machines.
    Read,
    /// Reset the session's idle time.
    KeepAlive,
    /// End a session that was made with something else.
    LogOut,
    /// Nothing, before this time has passed.
    Wait(Duration),
}

/// How the last of several tries went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Went {
    /// Well.
    Well,
    /// It may right itself. The count is of failures in a row.
    Transient(u32),
    /// Somebody has to act.
    Terminal,
}

/// The last look at a vCenter.
#[derive(Clone, Debug)]
pub struct Reached {
    /// Where and how.
    pub access: Access,
    /// For this generation of the spec.
    pub generation: i64,
    /// How it went.
    pub went: Went,
    /// How long ago.
    pub age: Duration,
    /// Whether the connection is kept for a login.
    pub connected: bool,
}

/// The session, and what it was last used for.
#[derive(Clone, Debug)]
pub struct SessionUse {
    /// Where and how it was made.
    pub access: Access,
    /// With which Secret.
    pub secret: SecretVersion,
    /// How long ago it was last used.
    pub idle: Duration,
    /// The last read: for which generation, how it went, and how long ago.
    pub read: Option<(i64, Went, Duration)>,
    /// Whether the last good read was one of the hosts, too.
    pub hosts: HostVersions,
}

/// Everything that decides.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    /// Whether something is under way.
    pub busy: bool,
    /// What a check would be about.
    pub subject: &'a Subject,
    /// The server, as logins name it.
    pub server: &'a str,
    /// The last look.
    pub reached: Option<Reached>,
    /// The session.
    pub session: Option<SessionUse>,
    /// The login that status names.
    pub login: Option<&'a Login>,
    /// The annotation that asks for another login.
    pub retry: Option<&'a str>,
    /// For how many reads in a row the same nodes were not matched; `None` if all are.
    pub unmatched: Option<u32>,
    /// Whether a row of the matrix asks what the hosts run.
    pub hosts: HostVersions,
    /// The time.
    pub now: Timestamp,
}

/// When a login may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Now.
    Now,
    /// Not before.
    At(Timestamp),
}

/// Whether a login may be made: once for a Secret version and a server, until vCenter has accepted it.
pub fn permission(
    login: Option<&Login>,
    secret: &SecretVersion,
    server: &str,
    retry: Option<&str>,
    now: Timestamp,
) -> Permission {
    let Some(login) = login.filter(|login| login.tried == *secret && login.server == server) else {
        return Permission::Now;
    };
    if retry.is_some() && retry != login.retry.as_deref() {
        return Permission::Now;
    }
    let pause = match login.outcome {
        LoginOutcome::Accepted => return Permission::Now,
        LoginOutcome::Refused => REFUSED,
        LoginOutcome::Started if login.interrupted == 0 => INTERRUPTED,
        LoginOutcome::Started => INTERRUPTED_AGAIN,
    };
    match login.at.0.checked_add(pause) {
        Ok(again) if again > now => Permission::At(again),
        Ok(_) => Permission::Now,
        Err(_) => Permission::At(Timestamp::MAX),
    }
}

/// How many tries in a row have come to no end that was seen, when another one begins.
pub fn interrupted(before: Option<&Login>, secret: &SecretVersion, server: &str) -> i32 {
    let same = before.filter(|login| login.tried == *secret && login.server == server);
    let unseen = same.filter(|login| login.outcome == LoginOutcome::Started);
    unseen.map_or(0, |login| login.interrupted.saturating_add(1))
}

/// The pause before something that failed is tried again.
pub fn pause(went: Went) -> Duration {
    match went {
        Went::Well => SELDOM,
        Went::Transient(failures) => {
            let at = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
            Duration::from_secs(PROBE_PAUSES[at.min(PROBE_PAUSES.len() - 1)])
        }
        Went::Terminal => TERMINAL,
    }
}

/// What is due.
pub fn due(it: &Situation<'_>) -> Due {
    if it.busy {
        return Due::Wait(SELDOM);
    }
    match &it.session {
        Some(session) => with_session(it, session),
        None => without_session(it),
    }
}

fn with_session(it: &Situation<'_>, session: &SessionUse) -> Due {
    let other_secret = it.subject.secret.as_ref().is_some_and(|secret| *secret != session.secret);
    if session.access != it.subject.access || other_secret {
        return Due::LogOut;
    }
    let Some((_, went, age)) = session.read.filter(|(generation, _, _)| *generation == it.subject.generation)
    else {
        return Due::Read;
    };
    // A matrix that asks for more than was read does not wait for the next regular read; one that asks for less costs nothing.
    if went == Went::Well && it.hosts == HostVersions::Read && session.hosts == HostVersions::Skip {
        return Due::Read;
    }
    let interval = match went {
        Went::Well => match it.unmatched {
            Some(reads) => (EAGER * 2u32.pow(reads.min(5))).min(SELDOM),
            None => SELDOM,
        },
        Went::Transient(_) => pause(went),
        Went::Terminal => DATACENTERS,
    };
    match (interval.checked_sub(age), KEEPALIVE.checked_sub(session.idle)) {
        (None | Some(Duration::ZERO), _) => Due::Read,
        // A read that failed is the sign of life that is waited for.
        (Some(_), None | Some(Duration::ZERO)) if went == Went::Well => Due::KeepAlive,
        (Some(read), alive) => Due::Wait(read.min(alive.unwrap_or(read))),
    }
}

fn without_session(it: &Situation<'_>) -> Due {
    let fresh = it
        .reached
        .as_ref()
        .filter(|reached| reached.access == it.subject.access && reached.generation == it.subject.generation);
    let Some(reached) = fresh else { return Due::Reach };
    let again = pause(reached.went).saturating_sub(reached.age);
    if again.is_zero() {
        return Due::Reach;
    }
    let Some(secret) = it.subject.secret.as_ref().filter(|_| reached.went == Went::Well) else {
        return Due::Wait(again);
    };
    match permission(it.login, secret, it.server, it.retry, it.now) {
        Permission::Now if reached.connected => Due::Announce,
        Permission::Now => Due::Reach,
        Permission::At(time) => {
            let left = Duration::try_from(time.duration_since(it.now)).unwrap_or(Duration::ZERO);
            Due::Wait(again.min(left))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn secret(version: &str) -> SecretVersion {
        SecretVersion {
            namespace: "n".into(),
            name: "s".into(),
            uid: "u".into(),
            resource_version: version.into(),
        }
    }

    fn access(trust: u64) -> Access {
        Access { endpoint: "vc:443".into(), trust }
    }

    fn subject() -> Subject {
        Subject { access: access(1), generation: 1, secret: Some(secret("1")) }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn login(outcome: LoginOutcome) -> Login {
        Login {
            tried: secret("1"),
            server: "vc".into(),
            outcome,
            at: Time(at(0)),
            retry: None,
            interrupted: 0,
        }
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn reached(went: Went, age: u64) -> Reached {
        Reached { access: access(1), generation: 1, went, age: seconds(age), connected: true }
    }

    fn situation(subject: &Subject) -> Situation<'_> {
        Situation {
            busy: false,
            subject,
            server: "vc",
            reached: None,
            session: None,
            login: None,
            retry: None,
            unmatched: None,
            hosts: HostVersions::Skip,
            now: at(0),
        }
    }

    #[test]
    fn one_login_for_a_secret_version_and_a_server() {
        use LoginOutcome::{Accepted, Refused, Started};
        type Case<'a> = (Option<LoginOutcome>, &'a str, &'a str, Option<&'a str>, i64, Permission);
        let hour = Permission::At(at(3600));
        let soon = Permission::At(at(15));
        let cases: [Case<'_>; 13] = [
            (None, "1", "vc", None, 0, Permission::Now),
            (Some(Refused), "1", "vc", None, 1, hour),
            (Some(Refused), "1", "vc", None, 3599, hour),
            (Some(Refused), "1", "vc", None, 3600, Permission::Now),
            (Some(Refused), "2", "vc", None, 1, Permission::Now),
            (Some(Refused), "1", "other", None, 1, Permission::Now),
            (Some(Refused), "1", "vc", Some("please"), 1, Permission::Now),
            // After a crash in the middle nobody knows: it may have been refused.
            (Some(Started), "1", "vc", None, 1, soon),
            (Some(Started), "1", "vc", None, 15, Permission::Now),
            (Some(Started), "2", "vc", None, 1, Permission::Now),
            (Some(Started), "1", "vc", Some("please"), 1, Permission::Now),
            (Some(Accepted), "1", "vc", None, 1, Permission::Now),
            (Some(Accepted), "2", "vc", None, 1, Permission::Now),
        ];
        for (outcome, version, server, retry, now, expected) in cases {
            let stored = outcome.map(login);
            let got = permission(stored.as_ref(), &secret(version), server, retry, at(now));
            assert_eq!(got, expected, "{outcome:?} {version} {server} {retry:?} {now}");
        }
    }

    #[test]
    fn an_operator_that_dies_in_every_login_makes_six_in_an_hour() {
        let (mut last, mut tries) = (None::<Login>, Vec::new());
        for second in 0..3600 {
            if permission(last.as_ref(), &secret("1"), "vc", None, at(second)) == Permission::Now {
                let interrupted = interrupted(last.as_ref(), &secret("1"), "vc");
                last = Some(Login { at: Time(at(second)), interrupted, ..login(LoginOutcome::Started) });
                tries.push(second);
            }
        }
        assert_eq!(tries, [0, 15, 735, 1455, 2175, 2895]);
        // Another Secret, another server, or an end that was seen begins anew.
        let last = last.unwrap();
        assert_eq!(interrupted(Some(&last), &secret("2"), "vc"), 0);
        assert_eq!(interrupted(Some(&last), &secret("1"), "other"), 0);
        let refused = Login { outcome: LoginOutcome::Refused, ..last };
        assert_eq!(interrupted(Some(&refused), &secret("1"), "vc"), 0);
    }

    #[test]
    fn the_same_annotation_asks_once() {
        let refused = Login { retry: Some("a".into()), ..login(LoginOutcome::Refused) };
        let ask = |retry| permission(Some(&refused), &secret("1"), "vc", retry, at(1));
        assert_eq!(ask(Some("a")), Permission::At(at(3600)));
        assert_eq!(ask(Some("b")), Permission::Now);
        assert_eq!(ask(None), Permission::At(at(3600)));
    }

    #[test]
    fn nothing_is_sent_before_the_login_is_announced() {
        let subject = subject();
        let mut it = situation(&subject);
        assert_eq!(due(&it), Due::Reach);
        it.reached = Some(reached(Went::Well, 0));
        assert_eq!(due(&it), Due::Announce);
        it.busy = true;
        assert!(matches!(due(&it), Due::Wait(_)));
    }

    #[test]
    fn what_is_not_reached_is_probed_and_never_logged_in_to() {
        let subject = subject();
        for (went, age, expected) in [
            (Went::Transient(1), 0, Due::Wait(seconds(5))),
            (Went::Transient(1), 5, Due::Reach),
            (Went::Transient(99), 29, Due::Wait(seconds(1))),
            (Went::Transient(99), 30, Due::Reach),
            (Went::Terminal, 299, Due::Wait(seconds(1))),
            (Went::Terminal, 300, Due::Reach),
        ] {
            let it = Situation { reached: Some(reached(went, age)), ..situation(&subject) };
            assert_eq!(due(&it), expected, "{went:?} {age}");
        }
    }

    #[test]
    fn a_changed_spec_or_trust_is_looked_at_at_once() {
        let now = subject();
        for old in [
            Reached { generation: 0, ..reached(Went::Terminal, 0) },
            Reached { access: access(9), ..reached(Went::Terminal, 0) },
        ] {
            let it = Situation { reached: Some(old), ..situation(&now) };
            assert_eq!(due(&it), Due::Reach);
        }
    }

    #[test]
    fn a_refused_login_waits_and_a_mended_secret_does_not() {
        let mut now = subject();
        let refused = login(LoginOutcome::Refused);
        let look = |subject: &Subject| {
            let it = Situation {
                reached: Some(reached(Went::Well, 0)),
                login: Some(&refused),
                ..situation(subject)
            };
            due(&it)
        };
        assert_eq!(look(&now), Due::Wait(SELDOM));
        now.secret = Some(secret("2"));
        assert_eq!(look(&now), Due::Announce);
        now.secret = None;
        assert_eq!(look(&now), Due::Wait(SELDOM));
    }

    fn session() -> SessionUse {
        SessionUse {
            access: access(1),
            secret: secret("1"),
            idle: seconds(0),
            read: Some((1, Went::Well, seconds(0))),
            hosts: HostVersions::Skip,
        }
    }

    #[test]
    fn a_matrix_that_begins_to_ask_for_hosts_is_answered_at_once_and_only_once() {
        let now = subject();
        let with = |asked, read, went, age| {
            let session = SessionUse {
                hosts: read,
                read: Some((1, went, seconds(age))),
                idle: seconds(0),
                ..session()
            };
            due(&Situation { session: Some(session), hosts: asked, ..situation(&now) })
        };
        use HostVersions::{Read, Skip};
        assert_eq!(with(Read, Skip, Went::Well, 0), Due::Read);
        // What was read with hosts is read again when everything is.
        assert_eq!(with(Read, Read, Went::Well, 0), Due::Wait(seconds(300)));
        assert_eq!(with(Read, Read, Went::Well, 599), Due::Wait(seconds(1)));
        assert_eq!(with(Read, Read, Went::Well, 600), Due::Read);
        // Nobody asks any more: that is no reason to call.
        assert_eq!(with(Skip, Read, Went::Well, 0), Due::Wait(seconds(300)));
        // A vCenter that does not answer is not asked more often.
        assert_eq!(with(Read, Skip, Went::Transient(9), 1), Due::Wait(seconds(29)));
        assert_eq!(with(Read, Skip, Went::Terminal, 1), Due::Wait(seconds(59)));
    }

    #[test]
    fn a_session_is_used_kept_alive_and_left() {
        let now = subject();
        let with = |session: SessionUse, unmatched: Option<u32>| {
            due(&Situation { session: Some(session), unmatched, ..situation(&now) })
        };
        assert_eq!(with(SessionUse { read: None, ..session() }, None), Due::Read);
        let read = |went, age| Some((1, went, seconds(age)));
        assert_eq!(
            with(SessionUse { read: Some((0, Went::Well, seconds(1))), ..session() }, None),
            Due::Read
        );
        assert_eq!(with(session(), None), Due::Wait(seconds(300)));
        assert_eq!(with(SessionUse { idle: seconds(300), ..session() }, None), Due::KeepAlive);
        assert_eq!(with(SessionUse { read: read(Went::Well, 600), ..session() }, None), Due::Read);
        assert_eq!(with(SessionUse { read: read(Went::Well, 30), ..session() }, Some(0)), Due::Read);
        assert_eq!(
            with(SessionUse { read: read(Went::Well, 30), ..session() }, Some(1)),
            Due::Wait(seconds(30))
        );
        assert_eq!(with(SessionUse { read: read(Went::Transient(1), 5), ..session() }, None), Due::Read);
        assert_eq!(with(SessionUse { read: read(Went::Terminal, 60), ..session() }, None), Due::Read);
        assert_eq!(with(SessionUse { access: access(2), ..session() }, None), Due::LogOut);
        assert_eq!(with(SessionUse { secret: secret("0"), ..session() }, None), Due::LogOut);
    }

    #[test]
    fn a_secret_that_is_gone_does_not_end_the_session() {
        let gone = Subject { secret: None, ..subject() };
        let it = Situation { session: Some(session()), ..situation(&gone) };
        assert_eq!(due(&it), Due::Wait(seconds(300)));
    }
}
