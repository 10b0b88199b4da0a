//! Passwords are in Secrets and nowhere else, whatever is logged and whoever looks.
//!
//! Canaries are the passwords of an installation that lives through a refused and a new one at every level of the logs.
//! Then whatever it left is searched for them, in every form that [`e2e::scan`] knows. One story, told once: the first
//! test tells it, the others look at what it left.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::crd::{NAMESPACE, apply, vcenter};
use e2e::scan::{Hit, Scanner};
use e2e::stand::{
    CONFIG, OPERATORS, SECRET, VCENTER, apply_secret, apply_vcenter, await_condition, await_said,
    both_drivers, install_chart, matrix, programs,
};
use e2e::vcenter::set_password;
use serde_json::{Value, json};
use testbed::bed::Bed;
use testbed::wait::eventually;

#[path = "canary/sources.rs"]
mod sources;

use sources::{Parts, decoded, etcd_history, http_get, processes, secrets};

const SOON: Duration = Duration::from_secs(150);

/// What the operators log, in which form, and the core of the password that they learn meanwhile.
///
/// The loosest comes first, and asks in vain for what VDO never lets its client library log.
const LEVELS: [(&str, &str, &str); 5] = [
    ("trace,kube_client=trace,hyper=trace", "text", "Tr7cWm2Vb9Lz4Rw8Kx3Q"),
    ("debug", "json", "Db5gHn3Xp8Qy2Vk6Mt9R"),
    ("info", "text", "Nf4oJc7Zs2Lw9Bq5Gd8H"),
    ("warn", "json", "Wr3nPk6Tx9Fm2Yb7Vc4S"),
    ("error", "text", "Er8rKd2Hq5Zn7Wf3Xj6T"),
];
/// The core of what the vCenter refuses.
const WRONG: &str = "Xw9gLs4Np7Vr2Ck8Fh3D";
/// A name that is planted wherever a name can be given: the searcher sees what stands there.
const PLANT: &str = "plant-q7h2k9v4m8x3c6z5t1w0-canary";
/// The drivers' namespaces.
const DRIVERS: [&str; 2] = ["vmware-system-cpi", "vmware-system-csi"];
/// What runs of VDO and of the drivers.
const PROGRAMS: [&str; 6] = [
    "vdo-core",
    "cpi-operator",
    "csi-operator",
    "vsphere-cloud-controller-manager",
    "vsphere-csi",
    "vsphere-syncer",
];

/// A password around this core. On both sides of it stands what one escape or another changes.
fn canary(core: &str) -> String {
    format!(r#"é& <"'\%+/{core}/+%\'"<; >&é"#)
}

/// All passwords of the story.
fn canaries() -> Scanner {
    let mut all: Vec<(&str, String)> =
        LEVELS.iter().map(|(filter, _, core)| (*filter, canary(core))).collect();
    all.push(("the refused one", canary(WRONG)));
    let all: Vec<(&str, &str)> = all.iter().map(|(name, password)| (*name, password.as_str())).collect();
    Scanner::new(&all).unwrap()
}

/// What is searched at once, and whether the planted name gets there by itself.
struct Channel {
    name: &'static str,
    parts: Parts,
    plant: Plant,
}

/// How the planted name gets into a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plant {
    /// As whatever a user writes does.
    Real,
    /// Nothing that a user writes gets there; it is put into what was collected.
    Fed,
}

impl Channel {
    fn bytes(&self) -> usize {
        self.parts.values().map(Vec::len).sum()
    }

    fn scan(&self, scanner: &Scanner) -> Vec<Hit> {
        self.parts
            .iter()
            .flat_map(|(part, bytes)| scanner.scan(&format!("{}: {part}", self.name), bytes))
            .collect()
    }
}

struct Story {
    bed: Bed,
    channels: Vec<Channel>,
    /// Of others than us: what the drivers' programs print.
    drivers: Channel,
}

fn story() -> &'static Story {
    static STORY: OnceLock<Option<Story>> = OnceLock::new();
    // Told once, whether it ends well or not: the first test shows what went wrong.
    let told = STORY.get_or_init(|| std::panic::catch_unwind(tell).ok());
    told.as_ref().expect("the installation ends well")
}

/// What is gone a moment later, collected again and again.
#[derive(Default)]
struct Looks {
    count: usize,
    processes: Parts,
    metrics: Parts,
    status: Parts,
    vdoctl: Parts,
}

impl Looks {
    fn look(&mut self, bed: &Bed) {
        self.count += 1;
        self.processes.extend(processes());
        let pods = bed.get(&["pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/part-of=vdo"]).unwrap();
        for pod in pods["items"].as_array().unwrap() {
            let name = pod["metadata"]["name"].as_str().unwrap();
            for path in ["/metrics", "/healthz", "/readyz"] {
                // A pod that is going answers no more, and one that stays is seen by the test.
                if let Ok(answer) =
                    pod["status"]["podIP"].as_str().context("no address").and_then(|it| http_get(it, path))
                {
                    self.metrics.insert(format!("{} {name} {path}", self.count), answer.into_bytes());
                }
            }
        }
        let objects = bed.get(&["vdo,vcc", "-A"]).unwrap();
        for object in objects["items"].as_array().unwrap() {
            let name = format!("{} {} {}", self.count, object["kind"], object["metadata"]["name"]);
            self.status.insert(name, object["status"].to_string().into_bytes());
        }
        for words in [
            &["status"] as &[&str],
            &["status", "-o", "json"],
            &["status", "-o", "yaml"],
            &["nodes", "-o", "wide"],
            &["nodes", "-o", "json"],
            &["version"],
            &["version", "-o", "json"],
            &["release"],
            &["plan", "--all"],
            &["plan", "-o", "json"],
            &["explain", "LoginRefused"],
            &["explain", PLANT],
            &["status", "--kubeconfig", "/nowhere"],
        ] {
            self.vdoctl(bed, words, "");
        }
    }

    /// Runs it and keeps both of its outputs. Gives its exit code.
    fn vdoctl(&mut self, bed: &Bed, words: &[&str], input: &str) -> Option<i32> {
        let mut child = Command::new(programs().join("vdoctl"))
            .args(words)
            .env("KUBECONFIG", bed.kubeconfig())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
        let output = child.wait_with_output().unwrap();
        let what = format!("{} {}", self.count, words.join(" "));
        self.vdoctl.insert(format!("{what}: output"), output.stdout);
        self.vdoctl.insert(format!("{what}: errors"), output.stderr);
        output.status.code()
    }
}

/// What `vdoctl render` is given: all that the installation is made of, with this user and this password.
fn render_input(bed: &Bed, user: &str, password: &str) -> String {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
        "metadata": {"name": SECRET, "namespace": NAMESPACE},
        "stringData": {"username": user, "password": password},
    });
    let config = vcenter(
        VCENTER,
        &json!({"vcIp": bed.vcenter(1).address, "insecure": true, "credentials": SECRET, "datacenters": ["DC0"]}),
    );
    [both_drivers(), config, secret].map(|it| it.to_string()).join("\n---\n")
}

const RENDER: [[&str; 6]; 2] = [
    ["render", "cpi", "--release", "1.36.0", "--input", "-"],
    ["render", "csi", "--release", "3.7.0", "--input", "-"],
];

fn tell() -> Story {
    let bed = Bed::from_env();
    let user = bed.vcenter(1).user.clone();
    let mut looks = Looks::default();
    let _planted = plant(&bed);
    for (round, (filter, format, core)) in LEVELS.into_iter().enumerate() {
        let mut values = vec![
            "cpi-operator.rolloutSoakSeconds=4".to_owned(),
            "csi-operator.rolloutSoakSeconds=4".to_owned(),
        ];
        for operator in OPERATORS {
            values.push(format!("{operator}.log.level={}", filter.replace(',', r"\,")));
            values.push(format!("{operator}.log.format={format}"));
        }
        install_chart(&bed, &values.iter().map(String::as_str).collect::<Vec<_>>());
        apply_secret(&bed, &user, &canary(WRONG));
        if round == 0 {
            apply_vcenter(&bed);
            apply(&bed, &matrix()).unwrap();
            apply(&bed, &both_drivers()).unwrap();
            plant_vcenter(&bed);
        }
        await_said(&bed, "vcc", VCENTER, "CredentialsValid", SOON, |said| said.reason == "LoginRefused");
        looks.look(&bed);

        let password = canary(core);
        set_password(&bed, &password).unwrap();
        apply_secret(&bed, &user, &password);
        await_condition(&bed, "vcc", VCENTER, "CredentialsValid", "True", SOON);
        delivered(&bed, &password);
        looks.look(&bed);
    }
    for arguments in &RENDER {
        let input = render_input(&bed, &user, &canary(LEVELS[0].2));
        assert_eq!(looks.vdoctl(&bed, arguments, &input), Some(0), "{arguments:?}");
        // What is wrong with a Secret is told, too.
        for (user, password) in [("nobody", canary(WRONG)), (&user, canary(WRONG) + "\n")] {
            looks.count += 1;
            let input = render_input(&bed, user, &password);
            assert_eq!(looks.vdoctl(&bed, arguments, &input), Some(1), "{arguments:?} for {user}");
        }
    }
    let drivers = Channel { name: "logs of the drivers", parts: logs(&bed, &DRIVERS), plant: Plant::Fed };
    let channels = collected(&bed, looks);
    Story { bed, channels, drivers }
}

/// Waits until both drivers have this password and work.
fn delivered(bed: &Bed, password: &str) {
    let scanner = Scanner::new(&[("the new one", password)]).unwrap();
    eventually(SOON, "both drivers have the new password and work", || {
        for namespace in DRIVERS {
            let held = secrets(bed, namespace)?;
            ensure!(
                held.iter().any(|secret| !scanner.scan("", &decoded(secret)).is_empty()),
                "not in {namespace}"
            );
        }
        let config = bed.get(&["vdo", CONFIG, "-n", NAMESPACE])?;
        let conditions = config["status"]["conditions"].as_array().context("no conditions")?;
        for type_ in ["CPIReady", "CSIReady", "Ready"] {
            let said = conditions.iter().find(|it| it["type"] == type_);
            ensure!(said.is_some_and(|it| it["status"] == "True"), "{type_}: {said:?}");
        }
        for driver in ["cpi", "csi"] {
            let record = &config["status"][driver];
            ensure!(record["attempt"].is_null() && record["installed"].is_object(), "{record}");
        }
        Ok(())
    });
}

/// A process of ours, ended with the story.
struct Planted(Child);

impl Drop for Planted {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Plants the name where anybody can write one.
fn plant(bed: &Bed) -> Planted {
    let create = |object: Value| {
        bed.kubectl_with(&["create", "-f", "-"], &object.to_string()).unwrap();
    };
    create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}));
    create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "plant", "namespace": NAMESPACE, "annotations": {"example.com/plant": PLANT}}}));
    create(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {
        "name": "plant", "namespace": NAMESPACE, "annotations": {"example.com/plant": PLANT}}}));
    // The API server logs the groups of custom resources, and the audit log shows whose name was asked for.
    let names = json!({"kind": "Plant", "listKind": "PlantList", "plural": "plants", "singular": "plant"});
    let versions = json!([{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]);
    create(json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("plants.{PLANT}.example")},
        "spec": {"group": format!("{PLANT}.example"), "names": names, "scope": "Cluster", "versions": versions}}));
    create(
        json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "plant", "namespace": NAMESPACE},
        "involvedObject": {"kind": "ConfigMap", "name": "plant", "namespace": NAMESPACE},
        "reason": "Planted", "message": PLANT, "type": "Normal"}),
    );
    let child = Command::new("sh")
        .args(["-c", "read line", PLANT])
        .env("PLANT", PLANT)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    Planted(child)
}

/// A vCenter whose Secret is not there: the name of that is in a condition, and its own in the metrics of its conditions.
fn plant_vcenter(bed: &Bed) {
    // Nobody answers there: two Secrets for one server would be told of instead.
    let spec =
        json!({"vcIp": "198.51.100.99", "insecure": true, "credentials": PLANT, "datacenters": ["DC0"]});
    apply(bed, &vcenter(PLANT, &spec)).unwrap();
    eventually(SOON, "its status names the Secret", || {
        let status = bed.get(&["vcc", PLANT, "-n", NAMESPACE])?["status"].to_string();
        ensure!(status.contains(PLANT), "{status}");
        Ok(())
    });
}

/// What the pods of these namespaces have printed.
fn logs(bed: &Bed, namespaces: &[&str]) -> Parts {
    let mut parts = Parts::new();
    for entry in fs::read_dir(bed.path("kubelet/logs")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if namespaces.iter().any(|namespace| name.starts_with(&format!("{namespace}_"))) {
            parts.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    parts
}

/// What the bed's own programs have printed. The simulated vCenters are told passwords as part of every story.
fn control_plane(bed: &Bed) -> Parts {
    let entries = fs::read_dir(bed.path("log")).unwrap().map(|entry| entry.unwrap());
    let named = entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
    named
        .filter(|(name, _)| !name.starts_with("vcenter"))
        .map(|(name, path)| (name, fs::read(path).unwrap()))
        .collect()
}

fn collected(bed: &Bed, looks: Looks) -> Vec<Channel> {
    let (of_secrets, etcd): (Parts, Parts) =
        etcd_history().unwrap().into_iter().partition(|(key, _)| key.starts_with("/registry/secrets/"));
    assert!(!of_secrets.is_empty() && !etcd.is_empty());
    let events = bed.get(&["events.events.k8s.io", "-A"]).unwrap();
    let metadata = |mut secret: Value| {
        let meta = &secret["metadata"];
        let name = format!("{} {}", meta["namespace"], meta["name"]);
        secret.as_object_mut().unwrap().remove("data");
        (name, secret.to_string().into_bytes())
    };
    let all = bed.get(&["secrets", "-A", "--show-managed-fields"]).unwrap();
    let secrets = all["items"].as_array().unwrap().iter().cloned().map(metadata).collect();
    let audit = fs::read(bed.path("audit.log")).unwrap();
    let one = |name: &str, bytes: Vec<u8>| BTreeMap::from([(name.to_owned(), bytes)]);
    let channel = |name, parts, plant| Channel { name, parts, plant };
    vec![
        channel("etcd outside of Secrets", etcd, Plant::Real),
        channel("logs of the operators", logs(bed, &[NAMESPACE]), Plant::Real),
        channel("logs of the control plane", control_plane(bed), Plant::Real),
        channel("audit log", one("audit.log", audit), Plant::Real),
        channel("events", one("events", events.to_string().into_bytes()), Plant::Real),
        channel("status", looks.status, Plant::Real),
        channel("metrics and health", looks.metrics, Plant::Real),
        channel("arguments and environment", looks.processes, Plant::Real),
        channel("output of vdoctl", looks.vdoctl, Plant::Real),
        channel("metadata of Secrets", secrets, Plant::Real),
    ]
}

/// Prints a line, and keeps it in the bed.
fn note(bed: &Bed, line: &str) {
    println!("{line}");
    let log = fs::File::options().create(true).append(true).open(bed.path("log/canary.log"));
    writeln!(log.unwrap(), "{line}").unwrap();
}

#[test]
fn no_password_is_found_outside_of_secrets_whatever_is_logged_and_whoever_looks() {
    let story = story();
    let scanner = canaries();
    let mut found = Vec::new();
    for channel in &story.channels {
        let hits = channel.scan(&scanner);
        let (name, parts, bytes) = (channel.name, channel.parts.len(), channel.bytes());
        note(&story.bed, &format!("canary: {name}: {parts} parts, {bytes} bytes, {} found", hits.len()));
        found.extend(hits);
    }
    let bytes: usize = story.channels.iter().map(Channel::bytes).sum();
    let (channels, needles) = (story.channels.len(), scanner.count());
    note(
        &story.bed,
        &format!("canary: {channels} channels, {needles} needles, {bytes} bytes, {} found", found.len()),
    );
    let found: Vec<String> = found.iter().map(Hit::to_string).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_canary_planted_in_each_channel_is_found_there() {
    let story = story();
    let planted = Scanner::new(&[("what was planted", PLANT)]).unwrap();
    let passwords = canaries();
    let (mut real, mut parts) = (0, 0);
    for channel in story.channels.iter().chain([&story.drivers]) {
        let hits = channel.scan(&planted);
        assert_eq!(!hits.is_empty(), channel.plant == Plant::Real, "{}: {hits:?}", channel.name);
        real += usize::from(!hits.is_empty());
        assert!(!channel.parts.is_empty(), "nothing of {} was collected", channel.name);
        for (part, bytes) in &channel.parts {
            let missed = passwords.blind_to(bytes);
            assert!(missed.is_empty(), "{}: {part}: blind to {missed:?}", channel.name);
            parts += 1;
        }
    }
    let fed = passwords.count();
    note(
        &story.bed,
        &format!(
            "canary: planted by name in {real} channels and found; {fed} needles put into each of {parts} parts and found"
        ),
    );
}

#[test]
fn what_was_searched_is_all_that_was_said_at_every_level_and_of_every_program() {
    let story = story();
    let text = |name: &str| {
        let channel = story.channels.iter().find(|channel| channel.name == name).unwrap();
        let texts =
            channel.parts.iter().map(|(part, bytes)| format!("{part}\n{}", String::from_utf8_lossy(bytes)));
        texts.collect::<Vec<_>>().join("\n")
    };
    let logs = text("logs of the operators");
    for words in [" TRACE ", " DEBUG ", " INFO ", "\"level\":\"DEBUG\"", "\"level\":\"INFO\"", "LoginRefused"]
    {
        assert!(logs.contains(words), "no line with {words}");
    }
    let processes = text("arguments and environment");
    for program in PROGRAMS {
        for what in ["arguments", "environment"] {
            let of_it = |line: &str| line.ends_with(&format!(" {program}: {what}"));
            assert!(processes.lines().any(of_it), "no {what} of {program}");
        }
    }
    for (filter, format, _) in LEVELS {
        for (name, value) in [("VDO_LOG", filter), ("VDO_LOG_FORMAT", format)] {
            assert!(processes.contains(&format!("{name}={value}\0")), "nobody ran with {name}={value}");
        }
    }
    let metrics = text("metrics and health");
    for operator in OPERATORS {
        let of_it = |line: &str| line.contains(operator) && line.starts_with("vdo_build_info");
        assert!(metrics.lines().any(of_it), "no metrics of {operator}");
    }
    // Each round was looked at twice, while a login was refused and while all was well.
    let status = text("status");
    for round in 1..=2 * LEVELS.len() {
        assert!(status.contains(&format!("{round} \"VDOConfig\" \"{CONFIG}\"")), "round {round}");
    }
    let vdoctl = text("output of vdoctl");
    // As the value of a Secret.
    let hidden = STANDARD.encode("(not shown; use --show-secrets)");
    for words in ["LoginRefused", &hidden, "apiVersion: apps/v1", "without a domain", "line break"] {
        assert!(vdoctl.contains(words), "vdoctl did not say {words}");
    }
    let etcd = text("etcd outside of Secrets");
    for key in [
        "/registry/configmaps/",
        "/registry/vdo.vmware.com/vdoconfigs/",
        "/registry/events/",
        "/registry/pods/",
    ] {
        assert!(etcd.contains(key), "nothing of {key}");
    }
    let secrets = text("metadata of Secrets");
    for name in ["vdo-cpi-journal", "vdo-csi-journal", SECRET] {
        assert!(secrets.contains(&format!("\"{NAMESPACE}\" \"{name}\"")), "nothing of Secret {name}");
    }
}

#[test]
fn the_password_is_where_it_belongs_in_the_secrets_of_both_drivers_and_in_the_journals() {
    let bed = &story().bed;
    let (_, _, last) = LEVELS[LEVELS.len() - 1];
    let scanner = Scanner::new(&[("the last one", &canary(last))]).unwrap();
    // As etcd holds them: its key space is read, and Secrets are not encrypted there.
    let history = etcd_history().unwrap();
    for prefix in [format!("{NAMESPACE}/{SECRET}"), format!("{}/", DRIVERS[0]), format!("{}/", DRIVERS[1])] {
        let prefix = format!("/registry/secrets/{prefix}");
        let mut there = history.iter().filter(|(key, _)| key.starts_with(&prefix));
        assert!(there.any(|(_, bytes)| !scanner.scan("", bytes).is_empty()), "not below {prefix}");
    }
    for name in ["vdo-cpi-journal", "vdo-csi-journal"] {
        let journal = bed.get(&["secret", name, "-n", NAMESPACE]).unwrap();
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(decoded(&journal).as_slice()).read_to_end(&mut bytes).unwrap();
        assert!(!scanner.scan(name, &bytes).is_empty(), "not in {name}");
    }
    // And vdoctl prints it to whoever asks for it.
    let input = render_input(bed, &bed.vcenter(1).user, &canary(last));
    for arguments in RENDER {
        let mut looks = Looks::default();
        looks.vdoctl(bed, &[&arguments[..], &["--show-secrets"]].concat(), &input);
        let printed = Channel { name: "vdoctl", parts: looks.vdoctl, plant: Plant::Fed };
        assert!(!printed.scan(&scanner).is_empty(), "{arguments:?}");
    }
}

#[test]
fn the_drivers_log_no_password_either() {
    let story = story();
    let hits = story.drivers.scan(&canaries());
    let Channel { name, parts, .. } = &story.drivers;
    let bytes = story.drivers.bytes();
    note(
        &story.bed,
        &format!("canary: {name} (not ours): {} parts, {bytes} bytes, {} found", parts.len(), hits.len()),
    );
    assert!(bytes > 10_000, "{bytes} bytes");
    let hits: Vec<String> = hits.iter().map(Hit::to_string).collect();
    assert!(hits.is_empty(), "{}", hits.join("\n"));
}
