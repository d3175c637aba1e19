//! CPU time and memory of processes, from `/proc`.

use anyhow::Context;
use guichet_core::bounds::BENCH_PROCESSES_MAX as PROCESSES_MAX;
use std::time::Duration;

/// These processes and all below them: nginx works in children of the process that was started.
pub(crate) fn process_tree(roots: &[u32]) -> Vec<u32> {
    let mut tree = roots.to_vec();
    let mut index = 0;
    while index < tree.len() && tree.len() < PROCESSES_MAX {
        for thread in threads(tree[index]) {
            let children = std::fs::read_to_string(format!("/proc/{}/task/{thread}/children", tree[index]));
            // A process that ended since has no children to add.
            tree.extend(children.unwrap_or_default().split_whitespace().filter_map(|p| p.parse::<u32>().ok()));
        }
        index += 1;
    }
    tree
}

fn threads(pid: u32) -> Vec<u32> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/task"));
    let names = entries.into_iter().flatten().filter_map(Result::ok).map(|e| e.file_name());
    names.filter_map(|n| n.to_str()?.parse().ok()).take(PROCESSES_MAX).collect()
}

/// User and system time of the processes so far, over all their threads, in the scheduler's nanoseconds.
///
/// # Errors
/// When the kernel doesn't tell, or a process has ended.
pub(crate) fn cpu_time(roots: &[u32]) -> anyhow::Result<Duration> {
    let mut nanos = 0_u64;
    for pid in process_tree(roots) {
        let threads = threads(pid);
        anyhow::ensure!(!threads.is_empty(), "process {pid} has ended");
        for thread in threads {
            let path = format!("/proc/{pid}/task/{thread}/schedstat");
            let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
            let run = text.split_whitespace().next().and_then(|t| t.parse::<u64>().ok());
            nanos += run.with_context(|| format!("{path} tells no time"))?;
        }
    }
    Ok(Duration::from_nanos(nanos))
}

/// Resident bytes of the processes.
///
/// # Errors
/// When a process has ended.
pub(crate) fn resident_bytes(roots: &[u32]) -> anyhow::Result<u64> {
    let mut total = 0;
    for pid in process_tree(roots) {
        let path = format!("/proc/{pid}/status");
        let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        let kib = text.lines().find_map(|l| l.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok());
        total += kib.with_context(|| format!("{path} tells no VmRSS"))? * 1024;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_time_and_memory() {
        let own = [std::process::id()];
        let before = cpu_time(&own).unwrap();
        let mut sum = 0_u64;
        for n in 0..5_000_000_u64 {
            sum = std::hint::black_box(sum.wrapping_add(n * n));
        }
        assert!(cpu_time(&own).unwrap() > before);
        assert!(resident_bytes(&own).unwrap() > 500_000);
        assert!(process_tree(&own).contains(&own[0]));
        assert!(cpu_time(&[u32::MAX - 1]).is_err(), "no such process");
    }
}
