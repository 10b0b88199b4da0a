//! The fault proxy: it stands between one operator and the API server, and makes what can go wrong between them go wrong.
//!
//! It ends TLS with a certificate of the bed's authority, and goes on to the API server with the operator's own
//! credentials. Each request is classified in the words of the audit log ([`Request`]), each write gets a number
//! (1, 2, 3 …), and every request and its end is a line of the log and a [`Record`]. [`Rule`]s say what goes wrong where:
//! the same rules and the same requests give the same faults, so a case that failed is replayed from one line.
//!
//! A test starts one with [`FaultProxy::start`], in its own process, and asserts with [`FaultProxy::assert_all_fired`] that each
//! rule acted: one that never did has shown nothing. Start reading at [`rule`](Rule), then `serve.rs`, the way of one request.
//!
//! **Invariant:** a request reaches the server once or not at all. Nothing is tried again, and nothing is forwarded of a
//! client after a rule began to kill it.

mod answer;
pub mod command;
mod peer;
mod record;
mod request;
mod rule;
mod serve;
mod state;
mod stream;
mod tls;

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::oneshot;

pub use record::{Events, Outcome, Record, Server};
pub use request::{Kind, Request, Verb};
pub use rule::{Action, Body, Event, Match, Nth, Point, Rule, parse};
pub use state::Fate;

use crate::addresses::{API_SERVER, API_SERVER_PORT, SERVICES};
use crate::bed::Bed;
use record::Log;
use state::Shared;

/// Kills the client. It returns when the client is dead, and must not start it again before it returns.
pub type KillClient = Arc<dyn Fn() + Send + Sync>;

/// What a proxy needs.
#[derive(Clone)]
pub struct Settings {
    /// Where clients connect; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The API server, as HOST:PORT.
    pub upstream: String,
    /// The authority that signed the API server's certificate.
    pub authority: PathBuf,
    /// What clients are shown; signed by an authority that they believe.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The first rules.
    pub rules: Vec<Rule>,
    /// Where the lines go; they are added to what is there.
    pub log: Option<PathBuf>,
    /// How the rule `Kill` kills. Without it the kernel is asked who holds the other end of the connection.
    pub kill: Option<KillClient>,
}

/// A running proxy. It ends when this is dropped; what it holds then never goes on.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Settings {
    /// In front of the bed's API server, on an address that every pod reaches, with a free port. `name` names the log:
    /// `log/faultproxy-NAME.log`.
    pub fn in_bed(bed: &Bed, name: &str) -> Settings {
        Settings {
            listen: SocketAddr::from((SERVICES.gateway, 0)),
            upstream: format!("{API_SERVER}:{API_SERVER_PORT}"),
            authority: bed.path("pki/ca.crt"),
            certificate: bed.path("pki/faultproxy.crt"),
            key: bed.path("pki/faultproxy.key"),
            rules: Vec::new(),
            log: Some(bed.path(format!("log/faultproxy-{name}.log"))),
            kill: None,
        }
    }
}

impl FaultProxy {
    /// Starts one, on a thread of its own.
    pub fn start(settings: Settings) -> Result<FaultProxy> {
        rule::check(&settings.rules)?;
        let door = serve::Door {
            shared: Arc::new(Shared::new(settings.rules, Log::open(settings.log.as_deref())?)),
            acceptor: tls::acceptor(&settings.certificate, &settings.key)?,
            upstream: tls::Upstream::new(&settings.upstream, &settings.authority)?,
            kill: settings.kill,
        };
        let shared = door.shared.clone();
        let listener = TcpListener::bind(settings.listen)
            .with_context(|| format!("failed to listen on {}", settings.listen))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("faultproxy".to_owned()).spawn(move || {
            runtime.block_on(async {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => tokio::select! {
                        never = serve::serve(listener, Arc::new(door)) => match never {},
                        // Told to stop, or nobody is left to tell.
                        _ = stopped => {}
                    },
                    Err(fault) => eprintln!("fault proxy: {fault}"),
                }
            });
            // A killer that does not return must not keep us.
            runtime.shutdown_background();
        })?;
        Ok(FaultProxy { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells the pods of an app (`NAMESPACE/APP`) this API server from their next container on.
    pub fn take_over(&self, bed: &Bed, app: &str) -> Result<()> {
        let path = bed.path("kubelet/api-override.json");
        let mut overrides: BTreeMap<String, String> = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).context("failed to read the overrides")?,
            Err(_) => BTreeMap::new(),
        };
        overrides.insert(app.to_owned(), self.address.to_string());
        // The pod runner reads it at any time and must not see half of it.
        let half = path.with_extension("half");
        fs::write(&half, serde_json::to_vec(&overrides)?)?;
        fs::rename(&half, &path).with_context(|| format!("failed to write {}", path.display()))
    }

    /// Replaces all rules; counts begin anew. What the old ones hold goes on. Rules of watches count the watches that are
    /// open now first, oldest first.
    pub fn set_rules(&self, rules: Vec<Rule>) -> Result<()> {
        rule::check(&rules)?;
        self.shared.set_rules(rules);
        Ok(())
    }

    /// Lets everything go on that the rule holds; the rule acts no more. A silent watch ends.
    #[track_caller]
    pub fn release(&self, rule: &str) {
        assert!(self.shared.release(|fate| fate.name == rule), "there is no rule {rule}");
    }

    /// The same for all rules.
    pub fn release_all(&self) {
        self.shared.release(|_| true);
    }

    /// How each rule fares.
    pub fn rules(&self) -> Vec<Fate> {
        self.shared.fates()
    }

    /// All requests so far, in the order of their arrival.
    pub fn records(&self) -> Vec<Record> {
        self.shared.look(<[Record]>::to_vec)
    }

    /// Looks at all records so far, and copies none.
    pub fn look<T>(&self, look: impl FnOnce(&[Record]) -> T) -> T {
        self.shared.look(look)
    }

    /// The numbered writes so far.
    pub fn writes(&self) -> Vec<Record> {
        let numbered = |record: &&Record| record.request.kind == Kind::Write && record.number.is_some();
        self.shared.look(|records| records.iter().filter(numbered).cloned().collect())
    }

    /// Waits until `look` finds something in the records. At the end of `within` it panics with `what` and the last record.
    #[track_caller]
    pub fn wait_for<T>(&self, within: Duration, what: &str, look: impl Fn(&[Record]) -> Option<T>) -> T {
        let found = self.shared.wait(within, |records, _| look(records));
        match found {
            Some(found) => found,
            None => panic!("{what}: not after {within:?}; {}", self.situation()),
        }
    }

    /// Waits until the write with this number has come, and returns its record.
    #[track_caller]
    pub fn wait_for_write(&self, number: u64, within: Duration) -> Record {
        let it = |record: &&Record| record.request.kind == Kind::Write && record.number == Some(number);
        self.wait_for(within, &format!("write {number} comes"), |records| records.iter().find(it).cloned())
    }

    /// Waits until the rule acted.
    #[track_caller]
    pub fn wait_for_fired(&self, rule: &str, within: Duration) {
        self.wait_for_fate(rule, within, "acts", |fate| fate.fired > 0);
    }

    /// Waits until the rule holds something: a request, an answer, events, a silent watch.
    #[track_caller]
    pub fn wait_for_held(&self, rule: &str, within: Duration) {
        self.wait_for_fate(rule, within, "holds something", |fate| fate.holds > 0);
    }

    #[track_caller]
    fn wait_for_fate(&self, rule: &str, within: Duration, what: &str, look: impl Fn(&Fate) -> bool) {
        let found = self
            .shared
            .wait(within, |_, fates| fates.iter().any(|fate| fate.name == rule && look(fate)).then_some(()));
        assert!(found.is_some(), "the rule {rule} {what}: not after {within:?}; {}", self.situation());
    }

    /// Panics when a rule never acted, and shows it as it can be replayed: such a case has shown nothing.
    #[track_caller]
    pub fn assert_all_fired(&self) {
        let idle: Vec<String> = self
            .rules()
            .into_iter()
            .filter(|fate| fate.fired == 0)
            .map(|fate| format!("\n  {} (counted {})", fate.rule, fate.counted))
            .collect();
        assert!(idle.is_empty(), "rules that never acted:{}\n{}", idle.concat(), self.situation());
    }

    /// Ends it: connections are closed, new ones refused.
    pub fn stop(self) {
        drop(self);
    }

    fn situation(&self) -> String {
        self.shared.look(|records| match records.last() {
            Some(last) => {
                format!("requests so far: {}; the last: {} {:?}", records.len(), last.request, last.outcome)
            }
            None => "there was no request".to_owned(),
        })
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
