//! The volumes of a pod: made before its containers start, kept up to date while they run.
//!
//! Files of ConfigMaps, Secrets, tokens and the downward API are swapped as the kubelet does it: a new folder with all files,
//! then one rename of the link `..data`. A program that watches its configuration sees exactly what it would see on a node.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Pod, ServiceAccount, Volume};
use kube::Api;
use kube::api::PostParams;

use super::cluster::Kind;
use super::env::downward;
use super::pod::PodContext;

/// Kubelet's default for a token that names none.
const TOKEN_SECONDS: i64 = 3600;

/// Files of one volume: path to content and mode.
type Files = BTreeMap<String, (Vec<u8>, u32)>;

/// What one source gives, and whether it can still change.
struct Content {
    files: Files,
    fixed: bool,
}

/// Tokens of the pod, by audience and lifetime, each with the time at which it is asked for again.
type Tokens = BTreeMap<(String, i64), (Vec<u8>, jiff::Timestamp)>;

/// The volumes of one pod on disk.
#[derive(Default)]
pub(super) struct Volumes {
    /// Files as last written, of volumes that may change.
    written: BTreeMap<String, Option<Files>>,
    tokens: Tokens,
    mounted: Vec<PathBuf>,
}

/// Where a volume is on this machine; the container's mount binds it.
pub(super) fn place(pod: &PodContext, volume: &Volume) -> PathBuf {
    match &volume.host_path {
        Some(host) => pod.node_root().join(host.path.trim_start_matches('/')),
        None => pod.folder.join("volumes").join(&volume.name),
    }
}

impl Volumes {
    /// Makes what is not there yet and rewrites what changed. The error is what keeps the pod in ContainerCreating.
    pub(super) async fn refresh(&mut self, pod: &PodContext) -> Result<(), String> {
        let spec = pod.spec();
        for volume in spec.volumes.iter().flatten() {
            let failed = |reason: String| {
                format!("MountVolume.SetUp failed for volume \"{}\" : {reason}", volume.name)
            };
            let place = place(pod, volume);
            if let Some(empty) = &volume.empty_dir {
                if self.written.contains_key(&volume.name) {
                    continue;
                }
                self.make_empty(pod, &place, empty.medium.as_deref() == Some("Memory"))
                    .map_err(|e| failed(e.to_string()))?;
                self.written.insert(volume.name.clone(), None);
            } else if let Some(host) = &volume.host_path {
                let root = pod.node_root();
                let made = NODE_FOLDERS.iter().try_for_each(|folder| fs::create_dir_all(root.join(folder)));
                made.map_err(|fault| failed(fault.to_string()))?;
                check_host_path(&place, &host.path, host.type_.as_deref().unwrap_or_default())
                    .map_err(failed)?;
            } else {
                if let Some(None) = self.written.get(&volume.name) {
                    continue; // immutable
                }
                let content = self.content(pod, volume).await.map_err(failed)?;
                let same =
                    matches!(self.written.get(&volume.name), Some(Some(files)) if *files == content.files);
                if !same {
                    swap(&place, &content.files, pod.file_owner()).map_err(|e| failed(e.to_string()))?;
                }
                self.written.insert(volume.name.clone(), (!content.fixed).then_some(content.files));
            }
        }
        Ok(())
    }

    /// Keeps the files up to date until the task is dropped.
    pub(super) async fn keep_fresh(&mut self, pod: &PodContext) {
        let mut changes = pod.runner.objects.changes();
        let mut live = pod.live.clone();
        loop {
            let until_token = self.tokens.values().map(|(_, again)| *again).min().map_or(
                Duration::from_secs(600),
                |again| {
                    Duration::try_from(again.duration_since(jiff::Timestamp::now())).unwrap_or(Duration::ZERO)
                },
            );
            tokio::select! {
                _ = changes.changed() => {}
                _ = live.changed() => {}
                () = tokio::time::sleep(until_token.max(Duration::from_secs(1))) => {}
            }
            if let Err(message) = self.refresh(pod).await {
                // As on a node: the old files stay, and the next change is tried again.
                super::note(format!("{}: {message}", pod.full_name()));
            }
        }
    }

    /// Unmounts what was mounted; the folder goes with the pod's.
    pub(super) fn release(&mut self) {
        for place in self.mounted.drain(..) {
            if let Err(fault) = nix::mount::umount2(&place, nix::mount::MntFlags::MNT_DETACH) {
                super::note(format!("unmount {}: {fault}", place.display()));
            }
        }
    }

    fn make_empty(&mut self, pod: &PodContext, place: &Path, memory: bool) -> io::Result<()> {
        fs::create_dir_all(place)?;
        if memory {
            let none: Option<&str> = None;
            nix::mount::mount(Some("emptydir"), place, Some("tmpfs"), nix::mount::MsFlags::empty(), none)?;
            self.mounted.push(place.to_owned());
        }
        let group = pod.spec().security_context.as_ref().and_then(|context| context.fs_group);
        let mode = if group.is_some() { 0o2777 } else { 0o777 };
        chown(place, None, group.and_then(|group| u32::try_from(group).ok()))?;
        fs::set_permissions(place, fs::Permissions::from_mode(mode))
    }

    async fn content(&mut self, pod: &PodContext, volume: &Volume) -> Result<Content, String> {
        let live = pod.live_pod();
        let mode = |mode: Option<i32>| mode.map_or(0o644, i32::cast_unsigned);
        if let Some(map) = &volume.config_map {
            let optional = map.optional == Some(true);
            return keys(
                pod,
                Kind::ConfigMap,
                &map.name,
                map.items.as_deref(),
                optional,
                mode(map.default_mode),
            );
        }
        if let Some(secret) = &volume.secret {
            let name = secret.secret_name.as_deref().unwrap_or_default();
            let optional = secret.optional == Some(true);
            return keys(
                pod,
                Kind::Secret,
                name,
                secret.items.as_deref(),
                optional,
                mode(secret.default_mode),
            );
        }
        if let Some(fields) = &volume.downward_api {
            return Ok(Content {
                files: field_files(pod, &live, fields.items.iter().flatten(), mode(fields.default_mode))?,
                fixed: false,
            });
        }
        let Some(projected) = &volume.projected else { return Err("the volume has no source".to_owned()) };
        let default_mode = mode(projected.default_mode);
        let mut all = Content { files: Files::new(), fixed: true };
        for source in projected.sources.iter().flatten() {
            if let Some(token) = &source.service_account_token {
                let audience = token.audience.clone().unwrap_or_default();
                let seconds = token.expiration_seconds.unwrap_or(TOKEN_SECONDS);
                let text = self.token(pod, audience, seconds).await?;
                let mode = if pod.file_owner() == (None, None) { default_mode } else { 0o600 };
                all.files.insert(token.path.clone(), (text, mode));
                all.fixed = false;
            }
            let one = if let Some(map) = &source.config_map {
                keys(
                    pod,
                    Kind::ConfigMap,
                    &map.name,
                    map.items.as_deref(),
                    map.optional == Some(true),
                    default_mode,
                )?
            } else if let Some(secret) = &source.secret {
                let optional = secret.optional == Some(true);
                keys(pod, Kind::Secret, &secret.name, secret.items.as_deref(), optional, default_mode)?
            } else if let Some(fields) = &source.downward_api {
                let files = field_files(pod, &live, fields.items.iter().flatten(), default_mode)?;
                Content { files, fixed: false }
            } else {
                continue;
            };
            all.files.extend(one.files);
            all.fixed &= one.fixed;
        }
        Ok(all)
    }

    /// A token bound to the pod; the same one until a fifth of its life is left.
    async fn token(&mut self, pod: &PodContext, audience: String, seconds: i64) -> Result<Vec<u8>, String> {
        let key = (audience, seconds);
        if let Some((token, again)) = self.tokens.get(&key)
            && jiff::Timestamp::now() < *again
        {
            return Ok(token.clone());
        }
        let account = pod.spec().service_account_name.as_deref().unwrap_or("default");
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: if key.0.is_empty() { Vec::new() } else { vec![key.0.clone()] },
                expiration_seconds: Some(seconds),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: Some(pod.name.clone()),
                    uid: Some(pod.uid.clone()),
                }),
            },
            ..TokenRequest::default()
        };
        let accounts = Api::<ServiceAccount>::namespaced(pod.runner.client.clone(), &pod.namespace);
        let answer = accounts
            .create_token_request(account, &PostParams::default(), &request)
            .await
            .map_err(|fault| format!("failed to fetch token: {fault}"))?;
        let status = answer.status.ok_or("the API server sent no token")?;
        let token = status.token.into_bytes();
        // The API server may have shortened or prolonged it; the kubelet goes by what was asked for, too.
        let again = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds * 4 / 5);
        self.tokens.insert(key, (token.clone(), again));
        Ok(token)
    }
}

fn keys(
    pod: &PodContext,
    kind: Kind,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: bool,
    mode: u32,
) -> Result<Content, String> {
    let found: Option<Arc<_>> = pod.runner.objects.find(kind, &pod.namespace, name);
    let Some(object) = found else {
        let missing = format!("{} \"{name}\" not found", kind.word());
        return if optional { Ok(Content { files: Files::new(), fixed: false }) } else { Err(missing) };
    };
    let files = select_keys(&object.values, items, optional, mode).map_err(|key| {
        format!(
            "references non-existent {} key: {key}",
            if kind == Kind::Secret { "secret" } else { "config" }
        )
    })?;
    Ok(Content { files, fixed: object.immutable })
}

/// All keys, or those that `items` names; the error is the key that is missing.
fn select_keys(
    values: &BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    optional: bool,
    mode: u32,
) -> Result<Files, String> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(values.iter().map(|(key, value)| (key.clone(), (value.clone(), mode))).collect());
    };
    let mut files = Files::new();
    for item in items {
        match values.get(&item.key) {
            Some(value) => {
                let mode = item.mode.map_or(mode, i32::cast_unsigned);
                files.insert(item.path.clone(), (value.clone(), mode));
            }
            None if optional => {}
            None => return Err(item.key.clone()),
        }
    }
    Ok(files)
}

fn field_files<'a>(
    context: &PodContext,
    pod: &Pod,
    items: impl Iterator<Item = &'a DownwardAPIVolumeFile>,
    mode: u32,
) -> Result<Files, String> {
    let (pod_ip, host_ip) = context.addresses();
    items
        .filter_map(|item| Some((item, item.field_ref.as_ref()?)))
        .map(|(item, field)| {
            let text = downward(field, pod, &pod_ip, &host_ip)?;
            Ok((item.path.clone(), (text.into_bytes(), item.mode.map_or(mode, i32::cast_unsigned))))
        })
        .collect()
}

/// Folders that every node has; node plug-ins mount them with the type Directory.
const NODE_FOLDERS: [&str; 9] = [
    "etc",
    "dev",
    "sys/block",
    "sys/devices",
    "tmp",
    "var/log",
    "var/lib/kubelet/plugins",
    "var/lib/kubelet/plugins_registry",
    "var/lib/kubelet/pods",
];

/// Makes or checks a path on the node, which is a folder of ours.
fn check_host_path(place: &Path, named: &str, kind: &str) -> Result<(), String> {
    let made = match kind {
        "Directory" if place.is_dir() => Ok(()),
        "Directory" => return Err(format!("hostPath type check failed: {named} is not a directory")),
        "File" if place.is_file() => Ok(()),
        "File" => return Err(format!("hostPath type check failed: {named} is not a file")),
        "FileOrCreate" => fs::OpenOptions::new().append(true).create(true).open(place).map(drop),
        _ if place.is_file() && kind.is_empty() => Ok(()),
        _ => fs::create_dir_all(place),
    };
    made.map_err(|fault| format!("{named}: {fault}"))
}

/// Replaces the files below `place` at once.
fn swap(place: &Path, files: &Files, owner: (Option<u32>, Option<u32>)) -> io::Result<()> {
    fs::create_dir_all(place)?;
    let data = place.join("..data");
    let old = fs::read_link(&data).ok();
    let stamp = jiff::Timestamp::now().strftime("..%Y_%m_%d_%H_%M_%S.%9f").to_string();
    let new = place.join(&stamp);
    fs::create_dir(&new)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
    for (path, (content, mode)) in files {
        if Path::new(path).components().any(|part| !matches!(part, Component::Normal(_))) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{path} leaves the volume")));
        }
        let file = new.join(path);
        fs::create_dir_all(file.parent().unwrap_or(&new))?;
        fs::write(&file, content)?;
        // A group that was asked for may read, whatever the mode says.
        let mode = if owner.1.is_some() { mode | 0o440 } else { *mode };
        fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
        chown(&file, owner.0, owner.1)?;
    }
    let next = place.join("..data_tmp");
    let _ = fs::remove_file(&next); // left over when a swap was cut short
    symlink(&stamp, &next)?;
    fs::rename(&next, &data)?;
    let tops: BTreeSet<&str> = files.keys().map(|path| path.split('/').next().unwrap_or(path)).collect();
    for top in &tops {
        let link = place.join(top);
        if link.symlink_metadata().is_err() {
            symlink(Path::new("..data").join(top), &link)?;
        }
    }
    for entry in fs::read_dir(place)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !tops.contains(&*name) {
            fs::remove_file(place.join(&*name))?;
        }
    }
    match old {
        Some(old) => fs::remove_dir_all(place.join(old)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("podrunner-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&folder);
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn files(rows: &[(&str, &str)]) -> Files {
        rows.iter().map(|(path, text)| ((*path).to_owned(), (text.as_bytes().to_vec(), 0o640))).collect()
    }

    #[test]
    fn a_swap_replaces_all_files_behind_one_link() {
        let folder = Folder::new("swap");
        swap(&folder.0, &files(&[("a", "1"), ("gone", "x"), ("deep/b", "2")]), (None, None)).unwrap();
        assert_eq!(fs::read_link(folder.0.join("a")).unwrap(), Path::new("..data/a"));
        assert_eq!(fs::read_to_string(folder.0.join("deep/b")).unwrap(), "2");
        assert_eq!(fs::metadata(folder.0.join("a")).unwrap().permissions().mode() & 0o777, 0o640);
        let before = fs::read_link(folder.0.join("..data")).unwrap();

        swap(&folder.0, &files(&[("a", "3"), ("deep/b", "2")]), (None, None)).unwrap();
        assert_eq!(fs::read_to_string(folder.0.join("a")).unwrap(), "3");
        assert!(folder.0.join("gone").symlink_metadata().is_err());
        assert_ne!(fs::read_link(folder.0.join("..data")).unwrap(), before);
        assert!(!folder.0.join(before).exists());
    }

    #[test]
    fn a_path_that_leaves_the_volume_is_refused() {
        let folder = Folder::new("escape");
        assert!(swap(&folder.0, &files(&[("../x", "1")]), (None, None)).is_err());
    }

    #[test]
    fn chosen_keys_get_their_path_and_mode_and_a_missing_one_is_named() {
        let values = BTreeMap::from([("k".to_owned(), b"v".to_vec()), ("other".to_owned(), vec![])]);
        let item = |key: &str| KeyToPath { key: key.to_owned(), path: "file".to_owned(), mode: Some(0o400) };
        let chosen = select_keys(&values, Some(&[item("k")]), false, 0o644).unwrap();
        assert_eq!(chosen, Files::from([("file".to_owned(), (b"v".to_vec(), 0o400))]));
        assert_eq!(select_keys(&values, Some(&[item("absent")]), false, 0o644), Err("absent".to_owned()));
        assert_eq!(select_keys(&values, Some(&[item("absent")]), true, 0o644), Ok(Files::new()));
        assert_eq!(select_keys(&values, None, false, 0o644).unwrap().len(), 2);
    }
}
