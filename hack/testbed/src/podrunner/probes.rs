//! Startup, readiness and liveness probes of one running container.
//!
//! Network probes run in a small process of ours inside the pod's network namespace, `exec` probes inside the container's
//! namespaces, with its user and environment.

use std::collections::BTreeMap;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::images::Image;
use super::pod::PodContext;

/// One running container, as its probes see it.
pub(super) struct Probed<'a> {
    pub(super) pod: &'a Arc<PodContext>,
    pub(super) container: &'a Container,
    /// Its first process, seen from the bed.
    pub(super) process: u32,
    pub(super) env: &'a BTreeMap<String, String>,
    pub(super) ids: (u32, u32),
    pub(super) image: &'a Image,
}

/// A container that has to be restarted.
#[derive(Debug)]
pub(super) struct Unhealthy {
    pub(super) message: String,
    /// The probe's own grace period.
    pub(super) grace: Option<i64>,
}

/// A network probe for the process inside.
#[derive(Debug, Serialize, Deserialize)]
enum Question {
    Http { url: String, headers: Vec<(String, String)>, seconds: u64 },
    Tcp { address: String, seconds: u64 },
}

/// Keeps the container's `started` and `ready` true to its probes; ends when it must be restarted.
pub(super) async fn watch_health(probed: &Probed<'_>) -> Unhealthy {
    let report = &probed.pod.report;
    let name = &probed.container.name;
    if let Some(probe) = &probed.container.startup_probe
        && let Err(message) = until_threshold(probed, probe).await
    {
        return Unhealthy {
            message: format!("startup probe failed: {message}"),
            grace: probe.termination_grace_period_seconds,
        };
    }
    report.row(name, |row| row.started = true);
    let readiness = async {
        match &probed.container.readiness_probe {
            None => report.row(name, |row| row.ready = true),
            Some(probe) => follow_readiness(probed, probe).await,
        }
        std::future::pending::<Unhealthy>().await
    };
    let liveness = async {
        let Some(probe) = &probed.container.liveness_probe else { return std::future::pending().await };
        let message = until_failed(probed, probe).await;
        Unhealthy {
            message: format!("liveness probe failed: {message}"),
            grace: probe.termination_grace_period_seconds,
        }
    };
    tokio::select! {
        unhealthy = readiness => unhealthy,
        unhealthy = liveness => unhealthy,
    }
}

/// How often, and how many times in a row.
struct Rhythm {
    delay: Duration,
    period: Duration,
    successes: i32,
    failures: i32,
}

impl Rhythm {
    fn of(probe: &Probe) -> Self {
        let positive = |value: Option<i32>, default: i32| value.filter(|value| *value > 0).unwrap_or(default);
        Self {
            delay: Duration::from_secs(u64::try_from(probe.initial_delay_seconds.unwrap_or(0)).unwrap_or(0)),
            period: Duration::from_secs(u64::from(positive(probe.period_seconds, 10).unsigned_abs())),
            successes: positive(probe.success_threshold, 1),
            failures: positive(probe.failure_threshold, 3),
        }
    }
}

async fn until_threshold(probed: &Probed<'_>, probe: &Probe) -> Result<(), String> {
    let rhythm = Rhythm::of(probe);
    tokio::time::sleep(rhythm.delay).await;
    let mut failures = 0;
    loop {
        match ask(probed, probe).await {
            Ok(()) => return Ok(()),
            Err(message) => {
                failures += 1;
                if failures >= rhythm.failures {
                    return Err(message);
                }
            }
        }
        tokio::time::sleep(rhythm.period).await;
    }
}

async fn until_failed(probed: &Probed<'_>, probe: &Probe) -> String {
    let rhythm = Rhythm::of(probe);
    tokio::time::sleep(rhythm.delay).await;
    let mut failures = 0;
    loop {
        match ask(probed, probe).await {
            Ok(()) => failures = 0,
            Err(message) => {
                failures += 1;
                if failures >= rhythm.failures {
                    return message;
                }
            }
        }
        tokio::time::sleep(rhythm.period).await;
    }
}

async fn follow_readiness(probed: &Probed<'_>, probe: &Probe) {
    let rhythm = Rhythm::of(probe);
    tokio::time::sleep(rhythm.delay).await;
    let (mut successes, mut failures) = (0, 0);
    let mut ready = false;
    loop {
        let answer = ask(probed, probe).await;
        match &answer {
            Ok(()) => (successes, failures) = (successes + 1, 0),
            Err(_) => (successes, failures) = (0, failures + 1),
        }
        let now = if ready { failures < rhythm.failures } else { successes >= rhythm.successes };
        if now != ready {
            ready = now;
            probed.pod.report.row(&probed.container.name, |row| row.ready = ready);
            if let Err(message) = answer {
                super::note(format!(
                    "{} {}: not ready: {message}",
                    probed.pod.full_name(),
                    probed.container.name
                ));
            }
        }
        tokio::time::sleep(rhythm.period).await;
    }
}

async fn ask(probed: &Probed<'_>, probe: &Probe) -> Result<(), String> {
    let seconds = u64::from(probe.timeout_seconds.filter(|value| *value > 0).unwrap_or(1).unsigned_abs());
    let mut command = Command::new("nsenter");
    // A busy machine must not fail a probe whose process had no chance to start: the time of the question itself is
    // kept inside, this is the bound on the whole.
    let mut bound = Duration::from_secs(seconds + 10);
    if let Some(exec) = &probe.exec {
        bound = Duration::from_secs(seconds);
        let process = probed.process.to_string();
        let (user, group) = (probed.ids.0.to_string(), probed.ids.1.to_string());
        command
            .args(["--target", &process, "--mount", "--pid", "--net", "--uts", "--ipc"])
            .args(["--setuid", &user, "--setgid", &group, "--"])
            .args(probed.image.command_line(exec.command.as_deref().unwrap_or_default(), &[]))
            .env_clear()
            .envs(probed.env);
    } else {
        let question = question(probed, probe, seconds)?;
        let holder = probed.pod.sandbox().holder().map_err(|fault| fault.to_string())?;
        let question = serde_json::to_string(&question).map_err(|fault| fault.to_string())?;
        command
            .args(["--target", &holder.to_string(), "--net", "--"])
            .arg(&probed.pod.runner.program)
            .args(["kubelet-probe", &question]);
    }
    let run = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(bound, run).await.map_err(|_| format!("no answer in {seconds} s"))?;
    let output = output.map_err(|fault| format!("start nsenter: {fault}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(String::from_utf8_lossy(&said).trim().chars().take(500).collect())
}

fn question(probed: &Probed<'_>, probe: &Probe, seconds: u64) -> Result<Question, String> {
    let pod_ip = probed.pod.addresses().0;
    if let Some(http) = &probe.http_get {
        let port = port(&http.port, probed.container)?;
        let headers =
            http.http_headers.iter().flatten().map(|header| (header.name.clone(), header.value.clone()));
        return Ok(Question::Http { url: url(http, &pod_ip, port), headers: headers.collect(), seconds });
    }
    let tcp = probe.tcp_socket.as_ref().ok_or("the probe asks nothing")?;
    let host = tcp.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(&pod_ip);
    Ok(Question::Tcp { address: format!("{host}:{}", port(&tcp.port, probed.container)?), seconds })
}

fn url(http: &HTTPGetAction, pod_ip: &str, port: u16) -> String {
    let scheme = http.scheme.as_deref().unwrap_or("HTTP").to_ascii_lowercase();
    let host = http.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(pod_ip);
    let path = http.path.as_deref().unwrap_or("/");
    format!("{scheme}://{host}:{port}/{}", path.trim_start_matches('/'))
}

fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let ports = container.ports.iter().flatten();
            let named = ports.filter(|port| port.name.as_ref() == Some(name)).map(|port| port.container_port);
            named.into_iter().next().ok_or_else(|| format!("no port is named {name}"))?
        }
    };
    u16::try_from(number).map_err(|_| format!("{number} is no port"))
}

/// `kubelet-probe QUESTION`, inside the pod's network namespace.
pub(super) async fn probe_once(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let question: Question = serde_json::from_str(arguments.first().context("no question")?)?;
    let answer = match question {
        Question::Tcp { address, seconds } => {
            let connected =
                tokio::time::timeout(Duration::from_secs(seconds), tokio::net::TcpStream::connect(&address))
                    .await;
            match connected {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(fault)) => Err(format!("connect {address}: {fault}")),
                Err(_) => Err(format!("connect {address}: no answer in {seconds} s")),
            }
        }
        Question::Http { url, headers, seconds } => ask_http(&url, &headers, seconds).await,
    };
    match answer {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(message) => {
            println!("{message}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// As a kubelet asks: any certificate, no proxy, success from 200 to 399.
async fn ask_http(url: &str, headers: &[(String, String)], seconds: u64) -> Result<(), String> {
    // Another crate may have installed it first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(seconds))
        .user_agent("kube-probe/testbed")
        .build()
        .map_err(|fault| fault.to_string())?;
    let mut request = client.get(url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let answer = request.send().await.map_err(|fault| format!("{:#}", anyhow::Error::new(fault)))?;
    let status = answer.status().as_u16();
    if (200..400).contains(&status) {
        Ok(())
    } else {
        Err(format!("HTTP probe failed with statuscode: {status}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_url_defaults_to_the_pod_and_to_http() {
        let of = |http: serde_json::Value| url(&serde_json::from_value(http).unwrap(), "10.0.0.5", 80);
        assert_eq!(of(json!({"port": 80})), "http://10.0.0.5:80/");
        assert_eq!(
            of(json!({"port": 80, "path": "/healthz", "scheme": "HTTPS", "host": "127.0.0.1"})),
            "https://127.0.0.1:80/healthz"
        );
    }

    #[test]
    fn a_port_is_found_by_its_name() {
        let container = json!({"name": "c", "ports": [{"name": "healthz", "containerPort": 9808}]});
        let container: Container = serde_json::from_value(container).unwrap();
        assert_eq!(port(&IntOrString::String("healthz".to_owned()), &container), Ok(9808));
        assert!(port(&IntOrString::String("absent".to_owned()), &container).is_err());
        assert_eq!(port(&IntOrString::Int(2112), &container), Ok(2112));
    }

    #[test]
    fn a_probe_without_numbers_has_the_api_s_defaults() {
        let rhythm = Rhythm::of(&Probe::default());
        assert_eq!((rhythm.period, rhythm.successes, rhythm.failures), (Duration::from_secs(10), 1, 3));
    }
}
