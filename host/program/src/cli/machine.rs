//! The machine that this process runs on.

/// The memory that this process can use, in bytes: all of the machine, or the limit of the control group if that is lower.
/// `None` when the system does not report it.
#[cfg(target_os = "linux")]
pub(super) fn memory() -> Option<u64> {
    let system = rustix::system::sysinfo();
    // The types of the fields differ between architectures.
    #[allow(clippy::useless_conversion)]
    let machine = u64::from(system.totalram).checked_mul(u64::from(system.mem_unit))?;
    // Version 2 and version 1 of control groups. Without a limit, the first holds `max`, the second a huge number.
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok());
    limits.chain([machine]).min().filter(|memory| *memory > 0)
}

/// `None`: this program can't read it on this system.
#[cfg(not(target_os = "linux"))]
pub(super) fn memory() -> Option<u64> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_no_more_than_the_system_reports() {
        let report = std::fs::read_to_string("/proc/meminfo").unwrap();
        let total = report.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
        let total = total.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() * 1024;
        let memory = memory().unwrap();
        assert!((1..=total).contains(&memory), "{memory} of {total}");
    }
}
