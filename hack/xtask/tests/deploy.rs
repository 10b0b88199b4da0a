//! `hack/deploy` against programs that only write down how they were called.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of programs that write down how they were called.
struct Scene {
    folder: PathBuf,
}

impl Scene {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("deploy-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let scene = Scene { folder };
        // What helm was given: its arguments, and what is in its kubeconfig.
        scene.program("helm", r#"echo "helm $* ($(cat "$KUBECONFIG"))" >>"$LOG""#);
        scene.program("ssh", r#"echo "ssh $*" >>"$LOG"; echo from-the-node"#);
        scene.program("sshpass", r#"echo "sshpass $* (${SSHPASS:+a password})" >>"$LOG"; shift; "$@""#);
        scene.program(
            "kind",
            r#"echo "kind $*" >>"$LOG"; case "$*" in "get clusters") echo other ;; get*) echo of-kind ;; esac"#,
        );
        scene.program("make", r#"echo "make $*" >>"$LOG""#);
        scene
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.folder.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Runs it with these variables, and gives what the programs wrote down.
    fn deploy(&self, words: &[&str], variables: &[(&str, &str)]) -> (Output, String) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
        let mut command = Command::new(script);
        let path = format!("{}:/usr/bin:/bin", self.folder.display());
        command
            .args(words)
            .env("PATH", path)
            .env("LOG", self.folder.join("log"))
            .env("TMPDIR", self.temporary());
        for name in ["KUBECONFIG", "K8S_MASTER_IP", "K8S_MASTER_SSH_USER", "K8S_MASTER_SSH_PWD"] {
            command.env_remove(name);
        }
        let output = command.envs(variables.iter().copied()).output().unwrap();
        assert_eq!(fs::read_dir(self.temporary()).unwrap().count(), 0, "it left a kubeconfig behind");
        (output, fs::read_to_string(self.folder.join("log")).unwrap_or_default())
    }

    fn temporary(&self) -> PathBuf {
        let folder = self.folder.join("tmp");
        fs::create_dir_all(&folder).unwrap();
        folder
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_cluster_is_reached_by_its_kubeconfig() {
    let scene = Scene::new("kubeconfig");
    let kubeconfig = scene.folder.join("kubeconfig");
    fs::write(&kubeconfig, "mine").unwrap();
    let variables =
        [("KUBECONFIG", kubeconfig.to_str().unwrap()), ("IMAGE_REGISTRY", "mirror.example.com/vdo")];
    let (output, log) = scene.deploy(&["cluster", "--set", "a=b"], &variables);
    assert!(output.status.success(), "{output:?}");
    let last = log.lines().last().unwrap();
    assert!(last.starts_with("helm upgrade --install vdo "), "{log}");
    assert!(last.ends_with("--set global.imageRegistry=mirror.example.com/vdo --set a=b (mine)"), "{log}");
    assert_eq!(log.lines().filter(|line| line.starts_with("helm dependency build")).count(), 4, "{log}");
    assert!(!log.contains("ssh"), "{log}");
}

#[test]
fn a_cluster_is_reached_by_its_control_plane_and_the_password_is_no_argument() {
    let scene = Scene::new("ssh");
    let password = "p4ss w0rd";
    let variables =
        [("K8S_MASTER_IP", "192.0.2.7"), ("K8S_MASTER_SSH_USER", "admin"), ("K8S_MASTER_SSH_PWD", password)];
    let (output, log) = scene.deploy(&["cluster"], &variables);
    assert!(output.status.success(), "{output:?}");
    assert!(log.contains("ssh admin@192.0.2.7 sudo cat /etc/kubernetes/admin.conf"), "{log}");
    assert!(log.contains("(a password)") && !log.contains(password), "{log}");
    assert!(log.trim_end().ends_with("(from-the-node)"), "{log}");
}

#[test]
fn a_kind_cluster_is_made_and_gets_the_images() {
    let scene = Scene::new("kind");
    let (output, log) = scene.deploy(&["kind"], &[]);
    assert!(output.status.success(), "{output:?}");
    let made = log.find("kind create cluster --name vdo").unwrap();
    assert!(made < log.find("images").unwrap(), "{log}");
    assert!(log.contains("kind load image-archive --name vdo "), "{log}");
    assert!(log.trim_end().ends_with("(of-kind)"), "{log}");
}

#[test]
fn without_a_cluster_it_says_how_to_name_one() {
    let scene = Scene::new("none");
    let (output, log) = scene.deploy(&["cluster"], &[]);
    assert_eq!((output.status.code(), log.as_str()), (Some(2), ""));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("KUBECONFIG") && said.contains("K8S_MASTER_IP"), "{said}");
    assert_eq!(scene.deploy(&["nowhere"], &[]).0.status.code(), Some(2));
}
