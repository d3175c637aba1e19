//! What the kernel tells of this process, under the names that Prometheus clients use.

use std::fs;
use std::sync::OnceLock;

use guichet_core::bounds::FDS_COUNTED_MAX;

use super::text::Exposition;

/// Kernel ticks a second in `/proc/self/stat`; the kernel's interface fixes it at 100 on every platform served here.
const TICKS_PER_S: f64 = 100.0;

pub(super) fn expose(out: &mut Exposition) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    if let Some(kib) = field(&status, "VmRSS:") {
        out.gauge("process_resident_memory_bytes", "Resident memory, bytes.");
        out.sample(&[], kib * 1024.0);
    }
    if let Some(threads) = field(&status, "Threads:") {
        out.gauge("process_threads", "Threads.");
        out.sample(&[], threads);
    }
    if let Ok(fds) = fs::read_dir("/proc/self/fd") {
        out.gauge("process_open_fds", "Open file descriptors.");
        out.sample(&[], fds.take(FDS_COUNTED_MAX).count() as f64);
    }
    if let Ok((soft, _)) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE) {
        out.gauge("process_max_fds", "File descriptors that may be open.");
        out.sample(&[], soft as f64);
    }
    if let Some((cpu_ticks, start_ticks)) = ticks(&stat) {
        out.counter("process_cpu_seconds_total", "CPU time used, seconds, user and system.");
        out.sample(&[], cpu_ticks / TICKS_PER_S);
        if let Some(boot) = boot_unix_s() {
            out.gauge("process_start_time_seconds", "When the process started, seconds since 1970.");
            out.sample(&[], boot + start_ticks / TICKS_PER_S);
        }
    }
}

fn field(status: &str, name: &str) -> Option<f64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// CPU ticks (user and system) and start, in ticks since boot. The command's name may hold anything, so fields count
/// from behind its closing bracket.
fn ticks(stat: &str) -> Option<(f64, f64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((number(11)? + number(12)?, number(19)?))
}

fn boot_unix_s() -> Option<f64> {
    static BOOT: OnceLock<Option<f64>> = OnceLock::new();
    *BOOT.get_or_init(|| field(&fs::read_to_string("/proc/stat").ok()?, "btime"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_an_odd_command_name() {
        let stat = "1 (a) b (c) S 2 3 4 5 6 7 8 9 10 11 250 50 14 15 16 17 18 19 987 21";
        assert_eq!(ticks(stat), Some((300.0, 987.0)));
        assert_eq!(ticks(""), None);
        assert_eq!(ticks("1 (x) S 2"), None);
    }
}
