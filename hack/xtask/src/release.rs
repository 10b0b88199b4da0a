//! The programs as they are released, static, and the images that hold nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::shell;

const TARGET: &str = "x86_64-unknown-linux-musl";
/// The operators; each has an image.
const OPERATORS: [&str; 3] = ["vdo-core", "cpi-operator", "csi-operator"];
/// What is released besides.
const CLI: &str = "vdoctl";
const CONTAINERFILE: &str = "hack/images/Containerfile";
/// The registry that the chart names.
const REGISTRY: &str = "ghcr.io/vdo-project";
/// What the images are kept in while they are built, and their archives.
const FOLDER: &str = "target/images";

/// Builds the released programs and gives their folder.
pub fn programs(root: &Path) -> Result<PathBuf> {
    // With what it brings itself the compiler links for musl; C code needs no more than the machine's compiler.
    let compiler = format!("CC_{}=cc", TARGET.replace('-', "_"));
    let mut args = vec![compiler.as_str(), "cargo", "build", "--release", "--target", TARGET];
    for package in OPERATORS.iter().chain([&CLI]) {
        args.extend(["--package", package]);
    }
    shell::run(root, "env", &args)?;
    Ok(root.join("target").join(TARGET).join("release"))
}

/// Builds the images of released programs, as archives that any container runtime can load, and gives the bytes of each.
pub fn images(root: &Path, programs: &Path) -> Result<BTreeMap<String, u64>> {
    let folder = root.join(FOLDER);
    fs::create_dir_all(&folder)?;
    let store = format!("--root={}", folder.join("store").display());
    // Copying files needs no driver that a kernel has to support.
    let buildah = |args: &[&str]| {
        shell::run(root, "buildah", &[&[store.as_str(), "--storage-driver=vfs"][..], args].concat())
    };
    let context = programs.to_str().context("a path that is not UTF-8")?;
    let mut sizes = BTreeMap::new();
    for name in OPERATORS {
        let tag = format!("{REGISTRY}/{name}:{}", env!("CARGO_PKG_VERSION"));
        let archive = folder.join(format!("{name}.tar"));
        if archive.exists() {
            fs::remove_file(&archive)?;
        }
        buildah(&["build", "--quiet", "--file", CONTAINERFILE, "--target", name, "--tag", &tag, context])?;
        buildah(&["push", "--quiet", &tag, &format!("docker-archive:{}:{tag}", archive.display())])?;
        let bytes = fs::metadata(&archive).with_context(|| archive.display().to_string())?.len();
        println!("{tag}: {bytes} bytes, {}", archive.display());
        sizes.insert(name.to_owned(), bytes);
    }
    Ok(sizes)
}
