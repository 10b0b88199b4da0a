//! What this process keeps of each vCenter: the session, the task under way, and what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use tokio::task::JoinHandle;
use vdo_api::VsphereCloudConfig;
use vdo_api::vcenter::{Login, LoginOutcome, SecretVersion};
use vdo_runtime::Wake;
use vdo_runtime::clock::{Monotonic, monotonic};
use vsphere_client::{About, Client, Error, HostVersions, Retry, Session, Vm};

use super::check::{Connect, Report, Unread};
use super::due::{Due, Reached, SessionUse, Situation, Went, due};
use super::verdict::{self, Evidence, Proof};
use super::{Access, Aspect, Errand, Subject, check};
use crate::metrics::CoreMetrics;

/// How long a task may go on at a stop before it is left.
const FAREWELL: Duration = Duration::from_secs(1);

/// All vCenters, by the UID of their VsphereCloudConfig.
pub struct Memory {
    wake: Wake,
    metrics: CoreMetrics,
    /// Whether the matrix asks what the hosts run; `None` before one was read.
    hosts: Option<HostVersions>,
    entries: BTreeMap<String, Entry>,
}

/// One vCenter.
#[derive(Default)]
pub struct Entry {
    subject: Option<Subject>,
    task: Option<(Subject, JoinHandle<Report>)>,
    reached: Option<(Access, i64, Went, Monotonic)>,
    client: Option<Client>,
    held: Option<Held>,
    failures: u32,
    unmatched: Option<(BTreeSet<String>, u32)>,
    /// What was seen, about the present subject.
    pub evidence: Evidence,
    /// A login that status does not name yet; `Some(None)` takes the name of one back.
    pub pending: Option<Option<Login>>,
    /// Its machines, as last read.
    pub machines: Option<Vec<Vm>>,
    /// When the task that is under way began, and when the last read of the machines did.
    began: Option<Monotonic>,
    read_began: Option<Monotonic>,
    /// What our last write made of the object, until the watch shows it.
    pub written: Option<(String, VsphereCloudConfig)>,
}

/// A session. It is away while a task uses it.
struct Held {
    session: Option<Session>,
    access: Access,
    secret: SecretVersion,
    about: About,
    used: Monotonic,
    read: Option<(i64, Went, Monotonic)>,
    /// Whether the last good read was one of the hosts, too.
    hosts: HostVersions,
}

impl Memory {
    /// Knows nothing yet.
    pub fn new(wake: &Wake, metrics: &CoreMetrics) -> Self {
        Memory { wake: wake.clone(), metrics: metrics.clone(), hosts: None, entries: BTreeMap::new() }
    }

    /// Whether the next read of this vCenter is one of its hosts, too: if the matrix asks, and before one was read, if
    /// the matrix of an earlier process asked.
    pub fn hosts(&self, config: &VsphereCloudConfig) -> HostVersions {
        let before = || match config.status.as_ref().and_then(|status| status.esxi.as_ref()) {
            Some(_) => HostVersions::Read,
            None => HostVersions::Skip,
        };
        self.hosts.unwrap_or_else(before)
    }

    /// Takes in what the matrix asks for. Gives whether something is due because of that.
    pub fn ask_for_hosts(&mut self, hosts: HostVersions) -> bool {
        self.hosts.replace(hosts) != Some(hosts) && hosts == HostVersions::Read
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.entries.values().filter(|entry| entry.held.is_some()).count()
    }

    /// What is kept of this vCenter.
    pub fn of(&mut self, uid: &str) -> &mut Entry {
        self.entries.entry(uid.to_owned()).or_default()
    }

    /// Its machines, as last read.
    pub fn machines(&self, uid: &str) -> Option<&[Vm]> {
        self.entries.get(uid)?.machines.as_deref()
    }

    /// When that read began: a machine that was made since may be missing.
    pub fn read_began(&self, uid: &str) -> Option<Monotonic> {
        self.entries.get(uid)?.read_began
    }

    /// Leaves the vCenters that nobody names any more.
    pub fn keep_only(&mut self, uids: &BTreeSet<String>) {
        let gone: Vec<String> = self.entries.keys().filter(|uid| !uids.contains(*uid)).cloned().collect();
        for mut entry in gone.iter().filter_map(|uid| self.entries.remove(uid)) {
            entry.leave();
        }
    }

    /// Starts what is due and needs no word in status first.
    pub fn start(&mut self, uid: &str, config: &VsphereCloudConfig, errand: &Errand, due: Due) {
        let (wake, meter, hosts) = (self.wake.clone(), Arc::new(self.metrics.clone()), self.hosts(config));
        let entry = self.of(uid);
        match due {
            Due::Reach => {
                let target = check::target(errand.endpoint.clone(), errand.trust.clone(), meter);
                let connect = if errand.credentials.is_ok() { Connect::ForLogin } else { Connect::ToLook };
                entry.client = None;
                entry.run(errand, wake, check::reach(target, connect));
            }
            Due::Read => {
                if let Some(session) = entry.held.as_mut().and_then(|held| held.session.take()) {
                    entry.run(errand, wake, check::read(session, config.spec.datacenters.clone(), hosts));
                }
            }
            Due::KeepAlive => {
                if let Some(session) = entry.held.as_mut().and_then(|held| held.session.take()) {
                    entry.run(errand, wake, check::keep_alive(session));
                }
            }
            Due::LogOut => {
                entry.leave();
                wake.raise();
            }
            Due::Announce | Due::Wait(_) => {}
        }
    }

    /// Logs in. Only after status names the login.
    pub fn log_in(&mut self, uid: &str, errand: &Errand) {
        let (wake, logins) = (self.wake.clone(), self.metrics.logins.clone());
        let entry = self.of(uid);
        if let (Some(client), Ok(credentials)) = (entry.client.take(), &errand.credentials) {
            let (user, password) = (credentials.username.clone(), credentials.password.clone());
            let work = async move {
                let report = check::log_in(client, user, password).await;
                if let Report::LoggedIn(outcome) = &report {
                    logins.with_label_values(&[login_result(outcome)]).inc();
                }
                report
            };
            entry.run(errand, wake, work);
        }
    }

    /// Logs out of every vCenter.
    pub async fn farewell(&mut self) {
        for entry in self.entries.values_mut() {
            if let Some((_, mut task)) = entry.task.take() {
                match tokio::time::timeout(FAREWELL, &mut task).await {
                    Ok(Ok(Report::LoggedIn(Ok(session)))) => drop(session.logout().await),
                    Ok(Ok(Report::Read(session, _) | Report::Alive(session, _))) => {
                        drop(session.logout().await);
                    }
                    Ok(_) => {}
                    Err(_) => task.abort(),
                }
            }
            if let Some(session) = entry.held.take().and_then(|held| held.session)
                && let Err(error) = session.logout().await
            {
                tracing::warn!(%error, "a session stays behind until it is idle for too long");
            }
        }
    }
}

impl Entry {
    fn run(&mut self, errand: &Errand, wake: Wake, work: impl Future<Output = Report> + Send + 'static) {
        let task = tokio::spawn(async move {
            let report = work.await;
            wake.raise();
            report
        });
        self.task = Some((errand.subject.clone(), task));
        self.began = Some(monotonic());
    }

    /// Turns to this subject; what was seen of another one says nothing about it.
    pub fn turn_to(&mut self, subject: &Subject) {
        if let Some(before) = &self.subject {
            if before.access != subject.access {
                self.evidence = Evidence::default();
                self.machines = None;
                self.failures = 0;
            }
            if before.secret != subject.secret && subject.secret.is_some() {
                let same =
                    self.held.as_ref().is_some_and(|held| Some(&held.secret) == subject.secret.as_ref());
                if !same {
                    self.evidence.login = None;
                    self.evidence.read = None;
                }
            }
            if before.generation != subject.generation {
                self.evidence.read = None;
                self.failures = 0;
            }
        }
        self.subject = Some(subject.clone());
    }

    /// Takes in what a task came back with, if one did.
    pub async fn collect(
        &mut self,
        config: &VsphereCloudConfig,
        errand: Option<&Errand>,
        login: Option<&Login>,
        now: Timestamp,
    ) {
        if !self.task.as_ref().is_some_and(|(_, task)| task.is_finished()) {
            return;
        }
        let Some((asked, task)) = self.task.take() else { return };
        let report = match task.await {
            Ok(report) => report,
            Err(error) => {
                tracing::error!(%error, "a check ended without an answer");
                self.held = self.held.take().filter(|held| held.session.is_some());
                return;
            }
        };
        // A report about another subject is only good for its session and its login.
        let errand = errand.filter(|it| it.subject.access == asked.access);
        match report {
            Report::Reached(outcome) => self.reached(config, errand, &asked, outcome),
            Report::LoggedIn(outcome) => self.logged_in(config, errand, &asked, outcome, login, now),
            Report::Read(session, outcome) => self.read(config, errand, &asked, session, outcome),
            Report::Alive(session, outcome) => match outcome {
                Err(Error::NotAuthenticated) => self.forget_session(),
                Err(error) => self.failed(config, errand, &asked, session, &error),
                Ok(()) => {
                    if let Some(held) = &mut self.held {
                        held.session = Some(session);
                        held.used = monotonic();
                    }
                }
            },
        }
    }

    fn went(&mut self, retry: Retry) -> Went {
        self.failures += 1;
        match retry {
            Retry::Transient => Went::Transient(self.failures),
            Retry::Terminal => Went::Terminal,
        }
    }

    fn reached(
        &mut self,
        config: &VsphereCloudConfig,
        errand: Option<&Errand>,
        asked: &Subject,
        outcome: Result<check::Reach, Error>,
    ) {
        let Some(errand) = errand else { return };
        let went = match outcome {
            Ok(reach) => {
                self.failures = 0;
                self.client = reach.client;
                self.evidence.presented = Some(verdict::presented(&reach.presented));
                self.evidence.reached = Some(Ok(()));
                Went::Well
            }
            Err(error) => {
                self.evidence.reached = Some(Err(verdict::failure(config, errand, &error)));
                if let Some(shown) = verdict::shown(&error) {
                    self.evidence.presented = Some(shown);
                }
                self.went(error.retry())
            }
        };
        self.reached = Some((asked.access.clone(), asked.generation, went, monotonic()));
    }

    fn logged_in(
        &mut self,
        config: &VsphereCloudConfig,
        errand: Option<&Errand>,
        asked: &Subject,
        outcome: Result<Session, Error>,
        login: Option<&Login>,
        now: Timestamp,
    ) {
        let Some(secret) = asked.secret.clone() else { return };
        let ended = |outcome: LoginOutcome| {
            let login = login.filter(|login| login.tried == secret);
            login.map(|login| Login { outcome, at: Time(now), interrupted: 0, ..login.clone() })
        };
        let current = errand.filter(|it| it.subject.secret.as_ref() == Some(&secret));
        match outcome {
            Ok(session) => {
                self.pending = ended(LoginOutcome::Accepted).map(Some);
                self.held = Some(Held {
                    about: session.about().clone(),
                    session: Some(session),
                    access: asked.access.clone(),
                    secret,
                    used: monotonic(),
                    read: None,
                    hosts: HostVersions::Skip,
                });
                self.evidence.login = current.map(|_| Ok(()));
            }
            Err(error) => {
                let obstacle = current.map(|errand| verdict::failure(config, errand, &error));
                tracing::info!(vcenter = asked.access.endpoint, %error, "no login");
                if matches!(error, Error::InvalidLogin) {
                    self.pending = ended(LoginOutcome::Refused).map(Some);
                    self.evidence.login = obstacle.map(Err);
                    return;
                }
                if verdict::was_not_judged(&error) {
                    self.pending = Some(None);
                }
                let Some(obstacle) = obstacle else { return };
                if obstacle.aspect >= Aspect::CredentialsValid {
                    self.evidence.login = Some(Err(obstacle));
                } else {
                    self.evidence.reached = Some(Err(obstacle));
                    let went = self.went(error.retry());
                    self.reached = Some((asked.access.clone(), asked.generation, went, monotonic()));
                }
            }
        }
    }

    fn read(
        &mut self,
        config: &VsphereCloudConfig,
        errand: Option<&Errand>,
        asked: &Subject,
        session: Session,
        outcome: Result<check::Inventory, Unread>,
    ) {
        let inventory = match outcome {
            Ok(inventory) => inventory,
            Err(Unread::Vcenter(Error::NotAuthenticated)) => return self.forget_session(),
            Err(Unread::Vcenter(error)) => return self.failed(config, errand, asked, session, &error),
            Err(why) => {
                self.evidence.read = errand.map(|errand| Err(verdict::unread(config, errand, &why)));
                self.back(session, asked, Went::Terminal);
                return;
            }
        };
        self.failures = 0;
        if let (Some(held), Some(_)) = (&mut self.held, errand) {
            held.hosts = match &inventory.hosts {
                Some(_) => HostVersions::Read,
                None => HostVersions::Skip,
            };
            let proof = Proof {
                about: held.about.clone(),
                datacenters: inventory.datacenters,
                hosts: inventory.hosts,
            };
            self.evidence.reached = Some(Ok(()));
            self.evidence.read = Some(Ok(proof));
            if let (count @ 1.., Some(denied)) = inventory.hidden {
                tracing::warn!(
                    count,
                    object = denied.object,
                    privilege = denied.privilege,
                    "machines are hidden"
                );
            }
            self.machines = Some(inventory.machines);
            self.read_began = self.began;
        }
        self.back(session, asked, Went::Well);
    }

    /// The session comes back from a task.
    fn back(&mut self, session: Session, asked: &Subject, went: Went) {
        if let Some(held) = &mut self.held {
            held.session = Some(session);
            held.used = monotonic();
            held.read = Some((asked.generation, went, monotonic()));
        }
    }

    /// The vCenter did not answer; the session may well be alive.
    fn failed(
        &mut self,
        config: &VsphereCloudConfig,
        errand: Option<&Errand>,
        asked: &Subject,
        session: Session,
        error: &Error,
    ) {
        let went = self.went(error.retry());
        if let Some(errand) = errand {
            let obstacle = verdict::failure(config, errand, error);
            if obstacle.aspect < Aspect::CredentialsValid {
                self.evidence.reached = Some(Err(obstacle));
            } else {
                self.evidence.read = Some(Err(obstacle));
            }
            if let Some(shown) = verdict::shown(error) {
                self.evidence.presented = Some(shown);
            }
        }
        self.back(session, asked, went);
    }

    fn forget_session(&mut self) {
        (self.held, self.client, self.reached) = (None, None, None);
        (self.evidence.login, self.evidence.read) = (None, None);
    }

    /// Ends the session, if there is one, in the background.
    fn leave(&mut self) {
        if let Some(session) = self.held.take().and_then(|held| held.session) {
            tokio::spawn(session.logout());
        }
        (self.client, self.reached) = (None, None);
    }

    /// Remembers which nodes another read may help: reads for the same ones, or fewer of them, become rare.
    pub fn note_unmatched(&mut self, nodes: BTreeSet<String>) {
        let reads = match &self.unmatched {
            Some((before, reads)) if before.is_superset(&nodes) => *reads,
            Some(_) | None => 0,
        };
        self.unmatched = (!nodes.is_empty()).then_some((nodes, reads));
    }

    /// What is due.
    pub fn due(
        &mut self,
        errand: &Errand,
        config: &VsphereCloudConfig,
        login: Option<&Login>,
        hosts: HostVersions,
        now: Timestamp,
    ) -> Due {
        let clock = monotonic();
        let next = due(&Situation {
            busy: self.task.is_some(),
            subject: &errand.subject,
            server: &errand.server,
            reached: self.reached.as_ref().map(|(access, generation, went, at)| Reached {
                access: access.clone(),
                generation: *generation,
                went: *went,
                age: clock.duration_since(*at),
                connected: self.client.is_some(),
            }),
            session: self.held.as_ref().map(|held| SessionUse {
                access: held.access.clone(),
                secret: held.secret.clone(),
                idle: clock.duration_since(held.used),
                read: held.read.map(|(generation, went, at)| (generation, went, clock.duration_since(at))),
                hosts: held.hosts,
            }),
            login,
            retry: verdict::retry(config),
            unmatched: self.unmatched.as_ref().map(|(_, reads)| *reads),
            hosts,
            now,
        });
        if next == Due::Read
            && let Some((_, reads)) = &mut self.unmatched
        {
            *reads += 1;
        }
        next
    }
}

fn login_result(outcome: &Result<Session, Error>) -> &'static str {
    match outcome {
        Ok(_) => "accepted",
        Err(Error::InvalidLogin) => "refused",
        Err(_) => "failed",
    }
}

#[cfg(test)]
mod tests {
    use vdo_api::vcenter::EsxiHosts;
    use vdo_runtime::metrics::Metrics;

    use super::*;
    use crate::vcenter::tests::config;

    #[test]
    fn hosts_are_asked_for_as_the_matrix_says_and_until_it_is_known_as_before() {
        let metrics = CoreMetrics::new(&Metrics::new("vdo-core", "1").unwrap()).unwrap();
        let mut memory = Memory::new(&Wake::new(), &metrics);
        let (new, mut known) = (config("a"), config("b"));
        known.status.get_or_insert_default().esxi = Some(EsxiHosts::default());
        assert_eq!((memory.hosts(&new), memory.hosts(&known)), (HostVersions::Skip, HostVersions::Read));
        for (asked, is_news) in [
            (HostVersions::Skip, false),
            (HostVersions::Read, true),
            (HostVersions::Read, false),
            (HostVersions::Skip, false),
            (HostVersions::Read, true),
        ] {
            assert_eq!(memory.ask_for_hosts(asked), is_news, "{asked:?}");
            assert_eq!((memory.hosts(&new), memory.hosts(&known)), (asked, asked));
        }
    }
}
