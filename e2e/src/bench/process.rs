//! The memory of processes, as /proc tells it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use super::rounded;
use crate::stand::OPERATORS;

/// The resident memory of each operator in MiB; of its replicas the largest.
pub fn resident() -> Result<BTreeMap<String, f64>> {
    let mut most = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        // What ends while it is looked at is no operator at work.
        let Some((name, size)) = of_process(&entry?.path()) else { continue };
        let largest = most.entry(name).or_insert(0.0_f64);
        *largest = largest.max(size);
    }
    ensure!(most.len() == OPERATORS.len(), "not every operator runs: {most:?}");
    Ok(most)
}

/// The largest of them.
pub fn largest(of: &BTreeMap<String, f64>) -> f64 {
    of.values().copied().fold(0.0, f64::max)
}

fn of_process(folder: &Path) -> Option<(String, f64)> {
    let name = fs::read_to_string(folder.join("comm")).ok()?.trim().to_owned();
    if !OPERATORS.contains(&name.as_str()) {
        return None;
    }
    let status = fs::read_to_string(folder.join("status")).ok()?;
    Some((name, rounded(resident_kib(&status)? / 1024.0, 1)))
}

fn resident_kib(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_and_not_the_peak() {
        assert_eq!(resident_kib("VmHWM:\t   9000 kB\nVmRSS:\t   8192 kB\n"), Some(8192.0));
        assert_eq!(resident_kib("Name:\tx\n"), None);
    }
}
