//! Programs whose output is shown, and kept for the check of the claims.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// How the output of a program is kept.
pub struct Logged<'a> {
    pub root: &'a Path,
    /// The name of the log in `target/ci`.
    pub log: &'a str,
    /// The test binary that the program runs, if cargo does not name it.
    pub tests: Option<&'a str>,
    /// What begins each line that is shown, where several programs run side by side.
    pub label: Option<&'a str>,
    /// Where it runs: as cargo does, in the folder of the package.
    pub folder: &'a Path,
}

impl<'a> Logged<'a> {
    /// A program that is run by cargo, alone, in the checkout.
    pub fn new(root: &'a Path, log: &'a str) -> Self {
        Logged { root, log, tests: None, label: None, folder: root }
    }

    /// Runs a program, and fails as it does.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<()> {
        let path = self.root.join("target/ci").join(format!("{}.log", self.log));
        let mut log = fs::File::create(&path).with_context(|| path.display().to_string())?;
        if let Some(binary) = self.tests {
            // As cargo prints it.
            writeln!(log, "     Running {} ({binary})", self.log)?;
        }
        let (reader, writer) = std::io::pipe()?;
        let mut child = Command::new(program)
            .args(args)
            .current_dir(self.folder)
            .env("CARGO_MANIFEST_DIR", self.folder)
            // A failed assertion says where it stands; the frames below it only hide what it says.
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .spawn()
            .with_context(|| format!("cannot start {program}; is it installed?"))?;
        let label = self.label.map(|name| format!("[{name}] ")).unwrap_or_default();
        for line in BufReader::new(reader).split(b'\n') {
            let mut line = line?;
            line.push(b'\n');
            log.write_all(&line)?;
            std::io::stdout().write_all(&[label.as_bytes(), &line].concat())?;
        }
        let status = child.wait()?;
        if !status.success() {
            bail!("`{program} {}` failed: {status}", args.join(" "));
        }
        Ok(())
    }
}
