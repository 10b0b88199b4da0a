//! The image table: which binary is behind an image name.
//!
//! ```json
//! {
//!   "images": {
//!     "registry.example/driver:v1": {"binary": "/bin/driver", "path": "/bin/driver", "args": [], "needs_libs": false, "user": "65532:65532"},
//!     "registry.example/csi-driver:v3": {"binary": "/bin/csi", "stand_in_if": "X_CSI_MODE=node"},
//!     "registry.example/csi-attacher:v4": {"stand_in": true}
//!   }
//! }
//! ```
//!
//! A name must match exactly, tag or digest included: a wrong tag is an unknown image, as in a registry.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Deserialize;

/// What a container gets from its image.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(super) struct Image {
    /// The program on this machine; for a stand-in, our own.
    #[serde(default)]
    pub(super) binary: PathBuf,
    /// Where the image has it; `/NAME` of the binary by default.
    #[serde(default)]
    pub(super) path: Option<String>,
    /// Default arguments; those of a container take their place.
    #[serde(default)]
    pub(super) args: Vec<String>,
    /// Further files or folders, read-only: path in the image to path on this machine.
    #[serde(default)]
    pub(super) files: BTreeMap<String, PathBuf>,
    /// Whether the program is linked dynamically, so that it gets this machine's libraries.
    #[serde(default)]
    pub(super) needs_libs: bool,
    /// The user of the image, `UID` or `UID:GID`; root by default.
    #[serde(default)]
    pub(super) user: Option<String>,
    /// The real program cannot run here; ours takes its place.
    #[serde(default)]
    pub(super) stand_in: bool,
    /// `NAME=VALUE`: a container with this variable gets the stand-in, others the program.
    #[serde(default)]
    pub(super) stand_in_if: Option<String>,
}

impl Image {
    /// The whole command line for what a container asks for. A stand-in keeps its own first words.
    pub(super) fn command_line(&self, command: &[String], args: &[String]) -> Vec<String> {
        let entrypoint = self.entrypoint();
        match command.split_first() {
            // The image's own program by name is its entrypoint.
            Some((first, rest)) if self.stand_in && *first == entrypoint => {
                [vec![entrypoint], self.args.clone(), rest.to_vec(), args.to_vec()].concat()
            }
            Some(_) => [command, args].concat(),
            None if args.is_empty() || self.stand_in => {
                [vec![entrypoint], self.args.clone(), args.to_vec()].concat()
            }
            None => [vec![entrypoint], args.to_vec()].concat(),
        }
    }

    /// Path of the program inside the container's root.
    pub(super) fn entrypoint(&self) -> String {
        let named = || format!("/{}", self.binary.file_name().unwrap_or_default().to_string_lossy());
        self.path.clone().unwrap_or_else(named)
    }

    /// User and group of the image.
    pub(super) fn ids(&self) -> Result<(u32, u32), String> {
        let Some(user) = &self.user else { return Ok((0, 0)) };
        let (user, group) = user.split_once(':').unwrap_or((user, "0"));
        match (user.parse(), group.parse()) {
            (Ok(user), Ok(group)) => Ok((user, group)),
            _ => Err(format!("image has non-numeric user ({user})")),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    images: BTreeMap<String, Image>,
}

impl Table {
    pub(super) fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("read the image table {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in the image table {}", path.display()))
    }

    fn parse(text: &[u8]) -> anyhow::Result<Self> {
        let table: Self = serde_json::from_slice(text)?;
        for (name, image) in &table.images {
            if image.stand_in != image.binary.as_os_str().is_empty() {
                bail!("{name}: an image has either a binary or is a stand-in");
            }
        }
        Ok(table)
    }

    /// The image behind exactly this name, for a container with this environment.
    pub(super) fn find(
        &self,
        name: &str,
        env: &BTreeMap<String, String>,
        own_program: &Path,
    ) -> Option<Image> {
        let mut image = self.images.get(name)?.clone();
        let asked = image.stand_in_if.as_deref().and_then(|pair| pair.split_once('='));
        image.stand_in |= asked.is_some_and(|(name, value)| env.get(name).is_some_and(|set| set == value));
        if image.stand_in {
            image.path = Some(image.path.unwrap_or_else(|| format!("/{}", short_name(name))));
            let short = short_name(name).to_owned();
            image.binary = own_program.to_owned();
            image.args = ["stand-in".to_owned(), short].into_iter().chain(image.args).collect();
            image.needs_libs = true; // our own program is a development build
        }
        Some(image)
    }
}

/// `csi-attacher` of `registry.example/sig-storage/csi-attacher:v4.1`.
fn short_name(image: &str) -> &str {
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split(['@', ':']).next().unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table::parse(
            br#"{"images": {
                "r.example/cpi:v1": {"binary": "/bin/cpi", "user": "1001"},
                "r.example/sig/csi-attacher:v4": {"stand_in": true}}}"#,
        )
        .unwrap()
    }

    #[test]
    fn a_wrong_tag_is_an_unknown_image() {
        assert_eq!(
            table().find("r.example/cpi:v1", &BTreeMap::new(), Path::new("/own")).unwrap().entrypoint(),
            "/cpi"
        );
        assert_eq!(table().find("r.example/cpi:v2", &BTreeMap::new(), Path::new("/own")), None);
        assert_eq!(table().find("r.example/cpi", &BTreeMap::new(), Path::new("/own")), None);
    }

    #[test]
    fn a_stand_in_runs_our_own_program_under_the_name_of_its_image() {
        let image =
            table().find("r.example/sig/csi-attacher:v4", &BTreeMap::new(), Path::new("/own")).unwrap();
        assert_eq!(image.binary, Path::new("/own"));
        assert_eq!(image.entrypoint(), "/csi-attacher");
        assert_eq!(image.args, ["stand-in", "csi-attacher"]);
    }

    #[test]
    fn one_image_can_be_a_stand_in_in_one_mode_only() {
        let text = br#"{"images": {"r/driver:v3": {"binary": "/bin/vsphere-csi", "stand_in_if": "X_CSI_MODE=node"}}}"#;
        let table = Table::parse(text).unwrap();
        let mode = |mode: &str| {
            let env = BTreeMap::from([("X_CSI_MODE".to_owned(), mode.to_owned())]);
            table.find("r/driver:v3", &env, Path::new("/own")).unwrap()
        };
        assert_eq!(mode("controller").binary, Path::new("/bin/vsphere-csi"));
        assert_eq!((mode("node").binary, mode("node").args[1].as_str()), (PathBuf::from("/own"), "driver"));
    }

    #[test]
    fn a_stand_in_is_recognised_when_it_is_called_by_its_path() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let image =
            table().find("r.example/sig/csi-attacher:v4", &BTreeMap::new(), Path::new("/own")).unwrap();
        let called = image.command_line(&words(&["/csi-attacher", "--probe"]), &words(&["-x"]));
        assert_eq!(called, ["/csi-attacher", "stand-in", "csi-attacher", "--probe", "-x"]);
        let cpi = table().find("r.example/cpi:v1", &BTreeMap::new(), Path::new("/own")).unwrap();
        assert_eq!(cpi.command_line(&[], &words(&["--v=2"])), ["/cpi", "--v=2"]);
        assert_eq!(cpi.command_line(&words(&["/x"]), &words(&["--v=2"])), ["/x", "--v=2"]);
    }

    #[test]
    fn a_binary_in_a_stand_in_row_is_refused() {
        assert!(Table::parse(br#"{"images": {"a:1": {"binary": "/x", "stand_in": true}}}"#).is_err());
        assert!(Table::parse(br#"{"images": {"a:1": {}}}"#).is_err());
        assert!(Table::parse(br#"{"images": {"a:1": {"binary": "/x", "surprise": 1}}}"#).is_err());
    }
}
