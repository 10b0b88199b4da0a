//! What a reader types: the blocks of the pages, run in a folder of their own.
// Not every test uses all of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The top of the checkout.
fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A page by its path in the checkout.
pub fn page(name: &str) -> String {
    std::fs::read_to_string(top().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The README and the pages of `docs/`, each with its name.
pub fn pages() -> Vec<(String, String)> {
    let files = std::fs::read_dir(top().join("docs")).unwrap();
    let names = files.map(|file| format!("docs/{}", file.unwrap().file_name().to_str().unwrap()));
    let names = names.filter(|name| name.ends_with(".md")).chain(["README.md".to_owned()]);
    names.map(|name| (name.clone(), page(&name))).collect()
}

/// The text of the block after a marker, without the indent of a list.
pub fn block(page: &str, marker: &str, kind: &str) -> String {
    let marker = format!("<!-- {marker} -->");
    let mut lines = page.lines().skip_while(|line| line.trim() != marker).skip(1);
    let fence = lines.next().unwrap_or_else(|| panic!("no block after {marker}"));
    let indent = fence.len() - fence.trim_start().len();
    assert_eq!(fence.trim(), format!("```{kind}"), "{marker}");
    let inside = lines.take_while(|line| line.trim() != "```");
    inside.map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect()
}

/// A folder that goes with the test.
pub struct Folder(pub PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    /// An empty one.
    pub fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    /// Runs a command as a reader types it, with the programs of this folder before others; gives whether it succeeded, and
    /// what it printed.
    pub fn run(&self, command: &str) -> (bool, String) {
        let mut folders =
            vec![self.0.clone(), PathBuf::from(env!("CARGO_BIN_EXE_vdoctl")).parent().unwrap().to_owned()];
        folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
        let mut shell = Command::new("sh");
        shell.args(["-ec", &format!("exec 2>&1; {command}")]).current_dir(&self.0);
        let output = shell.env("PATH", std::env::join_paths(folders).unwrap()).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    }
}
