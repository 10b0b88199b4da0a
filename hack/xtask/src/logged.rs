//! Programs whose output is shown, and kept for the check of the claims.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Where outputs are kept.
pub const FOLDER: &str = "target/ci";

/// The file of a log, in the folder of all.
pub fn file(root: &Path, log: &str) -> Result<PathBuf> {
    let folder = root.join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder.join(format!("{log}.log")))
}

/// How the output of a program is kept.
pub struct Logged<'a> {
    pub root: &'a Path,
    /// The name of the log.
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
        let path = file(self.root, self.log)?;
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
            let said = fs::read(&path).with_context(|| path.display().to_string())?;
            let why = telling(&String::from_utf8_lossy(&said));
            bail!("`{program} {}` failed: {status}; it said:\n{why}", args.join(" "));
        }
        Ok(())
    }
}

/// Leaves what cargo prints for tests of this binary that passed in a log of its own, where the check of the claims reads it.
pub fn prove(root: &Path, log: &str, binary: &str, tests: &[&str]) -> Result<()> {
    let lines: String = tests.iter().map(|test| format!("test {test} ... ok\n")).collect();
    print!("{lines}");
    let path = file(root, log)?;
    fs::write(&path, format!("     Running {log} ({binary})\n{lines}"))
        .with_context(|| path.display().to_string())
}

/// The lines of a failed program that say why: from its first panic on, and its last ones.
///
/// They are said again at the very end, where other programs of the stage no longer bury them.
fn telling(said: &str) -> String {
    const PANIC: usize = 8;
    const LAST: usize = 8;
    let lines: Vec<&str> = said.lines().collect();
    let panic = lines.iter().position(|line| line.contains("panicked at")).unwrap_or(lines.len());
    let last = lines.len().saturating_sub(LAST);
    let shown = |(at, line): (usize, &&str)| {
        let tells = (panic..panic.saturating_add(PANIC)).contains(&at) || at >= last;
        tells.then(|| format!("    {line}"))
    };
    lines.iter().enumerate().filter_map(shown).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_program_is_quoted() {
        let folder = std::env::temp_dir().join(format!("logged-{}", std::process::id()));
        let why = Logged::new(&folder, "failing").run("sh", &["-c", "echo why; exit 3"]);
        fs::remove_dir_all(&folder).unwrap();
        let why = why.unwrap_err().to_string();
        assert!(why.ends_with("failed: exit status: 3; it said:\n    why"), "{why}");
    }

    #[test]
    fn what_is_quoted_is_the_first_panic_and_the_last_lines() {
        let numbers =
            |from: u32, to: u32| (from..=to).map(|number| format!("{number}\n")).collect::<String>();
        let said =
            format!("{}thread 'main' panicked at a.rs:1\nCPIReady\n{}", numbers(1, 50), numbers(51, 99));
        let quoted: Vec<String> = telling(&said).lines().map(|line| line.trim().to_owned()).collect();
        let expected = "thread 'main' panicked at a.rs:1|CPIReady|51|52|53|54|55|56|92|93|94|95|96|97|98|99";
        assert_eq!(quoted.join("|"), expected);
    }

    #[test]
    fn a_short_output_is_quoted_once() {
        assert_eq!(telling("a\nb panicked at c\n"), "    a\n    b panicked at c");
        assert_eq!(telling(""), "");
    }
}
