use std::process::{Child, ExitStatus};
use std::time::Duration;

/// The peak of the resident set of a running process, in bytes; 0 when it has ended.
pub fn peak_memory(process_id: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process_id}/status")).unwrap_or_default();
    // A process that has ended has no such line.
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Waits for a process to end. Returns the peak of its resident set, in bytes.
pub fn wait_watching_memory(child: &mut Child) -> (ExitStatus, u64) {
    let mut peak = 0;
    loop {
        peak = peak.max(peak_memory(child.id()));
        if let Some(status) = child.try_wait().expect("it is ours") {
            assert!(peak > 0, "the process reports no memory");
            return (status, peak);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
