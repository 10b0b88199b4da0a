//! Files and standard input, within a bound.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Result, ensure};

/// The longest input that is read.
pub const LONGEST: u64 = 16 * 1024 * 1024;

/// Stands for standard input.
pub const STDIN: &str = "-";

/// The text of a file, or of standard input.
pub fn text(path: &Path) -> Result<String> {
    Ok(String::from_utf8(bytes(path, LONGEST)?)?)
}

/// The content of a file, or of standard input.
pub fn bytes(path: &Path, longest: u64) -> Result<Vec<u8>> {
    let source: Box<dyn Read> = if path.as_os_str() == STDIN {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(File::open(path)?)
    };
    let mut bytes = Vec::new();
    source.take(longest + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= longest, "it is longer than {longest} bytes");
    Ok(bytes)
}
