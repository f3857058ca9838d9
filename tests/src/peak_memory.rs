use std::process::{Child, ExitStatus};
use std::time::Duration;

/// Waits for a process to end. Returns the peak of its resident set, in bytes.
pub fn wait_watching_memory(child: &mut Child) -> (ExitStatus, u64) {
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        // A process that has ended has no such line.
        let text = std::fs::read_to_string(&status_file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) * 1024);
        if let Some(status) = child.try_wait().expect("it is ours") {
            assert!(peak > 0, "{status_file} reports no memory");
            return (status, peak);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
