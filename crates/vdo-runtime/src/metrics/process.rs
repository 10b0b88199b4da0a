//! The figures of the process, under the names that every Prometheus client uses.

use prometheus::core::Collector;
use prometheus::{Counter, Gauge, Opts};

use super::described::Described;

pub(super) const ALL: [Described; 6] = [CPU, RESIDENT, VIRTUAL, FDS, THREADS, START];
const CPU: Described =
    Described::counter("process_cpu_seconds_total", &[], "User and system time spent, in seconds.");
const RESIDENT: Described =
    Described::gauge("process_resident_memory_bytes", &[], "Resident memory, in bytes.");
const VIRTUAL: Described = Described::gauge("process_virtual_memory_bytes", &[], "Virtual memory, in bytes.");
const FDS: Described = Described::gauge("process_open_fds", &[], "Open file descriptors.");
const THREADS: Described = Described::gauge("process_threads", &[], "Threads.");
const START: Described =
    Described::gauge("process_start_time_seconds", &[], "When the process started, in seconds of Unix time.");

pub(super) struct Process {
    cpu: Counter,
    resident: Gauge,
    size: Gauge,
    fds: Gauge,
    threads: Gauge,
    start: Gauge,
}

impl Process {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        Ok(Process {
            cpu: Counter::with_opts(Opts::new(CPU.name, CPU.help))?,
            resident: RESIDENT.single()?,
            size: VIRTUAL.single()?,
            fds: FDS.single()?,
            threads: THREADS.single()?,
            start: START.single()?,
        })
    }

    pub(super) fn collectors(&self) -> [Box<dyn Collector>; 6] {
        [
            Box::new(self.cpu.clone()),
            Box::new(self.resident.clone()),
            Box::new(self.size.clone()),
            Box::new(self.fds.clone()),
            Box::new(self.threads.clone()),
            Box::new(self.start.clone()),
        ]
    }

    /// Takes the figures from procfs; what cannot be read keeps its last value.
    #[allow(clippy::disallowed_methods, reason = "procfs is where a process finds its own figures")]
    pub(super) fn read(&self) {
        // Clock ticks are 100 a second on every architecture that Linux exports to user space.
        const TICKS: f64 = 100.0;
        if let Ok(stat) = std::fs::read_to_string("/proc/self/stat")
            // The name of the program may hold spaces, but it ends with the last parenthesis.
            && let Some((_, fields)) = stat.rsplit_once(") ")
        {
            let fields: Vec<&str> = fields.split(' ').collect();
            let number = |index: usize| {
                fields.get(index).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default() as f64
            };
            let spent = (number(11) + number(12)) / TICKS;
            self.cpu.inc_by((spent - self.cpu.get()).max(0.0));
            self.threads.set(number(17));
            self.size.set(number(20));
            let boot = std::fs::read_to_string("/proc/stat").ok().and_then(|stat| {
                stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<u64>().ok())
            });
            if let Some(boot) = boot {
                self.start.set(boot as f64 + number(19) / TICKS);
            }
        }
        if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
            let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kib = resident.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u32>().ok());
            if let Some(kib) = kib {
                self.resident.set(f64::from(kib) * 1024.0);
            }
        }
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            self.fds.set(entries.count() as f64);
        }
    }
}
