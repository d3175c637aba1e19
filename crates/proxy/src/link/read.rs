//! Reads what the kernel tells under /proc. A file that is missing or odd leaves its figures out, and is told of.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use guichet_core::bounds::LINK_FILE_BYTES_MAX;
use guichet_core::link::{Counts, Cpu, InterfaceSample, Sample};

use crate::config::LinkInterface;

/// Reads below one folder, which is /proc in truth and a recorded tree in tests.
#[derive(Debug)]
pub struct Reader {
    root: PathBuf,
}

/// What was read, and what could not be.
#[derive(Debug, Default, PartialEq)]
pub struct Figures {
    /// The figures; `at` and `services` are the caller's.
    pub sample: Sample,
    /// What is missing, in words; empty when all is there.
    pub missing: Vec<String>,
}

impl Reader {
    /// A reader below `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Reads everything once. Never fails, and takes well under a millisecond.
    #[must_use]
    pub fn read(&self, interfaces: &[LinkInterface]) -> Figures {
        let mut figures = Figures::default();
        let missing = &mut figures.missing;
        let sample = &mut figures.sample;
        if !interfaces.is_empty() {
            let dev = self.text("net/dev", missing);
            for interface in interfaces {
                match of_interface(&dev, interface) {
                    Some(read) => sample.interfaces.push(read),
                    None if dev.is_empty() => {}
                    None => missing.push(format!("there is no interface {} on this host", interface.name)),
                }
            }
        }
        let netstat = self.text("net/netstat", missing);
        let ext = |name: &str| table(&netstat, "TcpExt:", name);
        let softnet = softnet(&self.text("net/softnet_stat", missing));
        sample.counts = Counts {
            listen_overflows: ext("ListenOverflows"),
            listen_drops: ext("ListenDrops"),
            syn_drops: ext("TCPReqQFullDrop"),
            syn_cookies: ext("SyncookiesSent"),
            softnet_dropped: softnet.map(|(dropped, _)| dropped),
            softnet_squeezed: softnet.map(|(_, squeezed)| squeezed),
        };
        sample.cpu = cpu(&self.text("stat", missing));
        sample.memory = memory(&self.text("meminfo", missing));
        // Without the module there is no table that could be full: that is no fault.
        let tracked = |name: &str| self.open(&format!("sys/net/netfilter/{name}")).ok()?.trim().parse().ok();
        sample.conntrack = tracked("nf_conntrack_count").zip(tracked("nf_conntrack_max"));
        figures
    }

    fn text(&self, path: &str, missing: &mut Vec<String>) -> String {
        match self.open(path) {
            Ok(text) => text,
            Err(error) => {
                missing.push(format!("{} cannot be read: {error}", self.root.join(path).display()));
                String::new()
            }
        }
    }

    fn open(&self, path: &str) -> std::io::Result<String> {
        let mut bytes = Vec::new();
        File::open(self.root.join(path))?.take(LINK_FILE_BYTES_MAX as u64).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// A line of /proc/net/dev: name, eight figures of what came in, eight of what went out.
fn of_interface(dev: &str, declared: &LinkInterface) -> Option<InterfaceSample> {
    let line = dev.lines().find_map(|line| line.trim_start().strip_prefix(&declared.name)?.strip_prefix(':'))?;
    let figures: Vec<u64> = line.split_whitespace().map_while(|figure| figure.parse().ok()).collect();
    let &[rx_bytes, rx_packets, _, rx_drop, rx_fifo, _, _, _, tx_bytes, tx_packets, _, tx_dropped, ..] = &figures[..]
    else {
        return None;
    };
    Some(InterfaceSample {
        name: declared.name.clone(),
        rate_bits_s: declared.rate_bits_s,
        rate_packets_s: declared.rate_packets_s,
        overhead_bytes: declared.overhead_bytes,
        rx_bytes,
        rx_packets,
        rx_dropped: rx_drop.saturating_add(rx_fifo),
        tx_bytes,
        tx_packets,
        tx_dropped,
    })
}

/// A figure of a file that has lines of names and lines of figures with the same head, as netstat and snmp.
fn table(text: &str, head: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(head));
    while let (Some(names), Some(figures)) = (lines.next(), lines.next()) {
        if let Some(at) = names.split_whitespace().position(|known| known == name) {
            return figures.split_whitespace().nth(at)?.parse().ok();
        }
    }
    None
}

/// Dropped and squeezed, over the processors' lines of hexadecimal columns.
fn softnet(text: &str) -> Option<(u64, u64)> {
    let mut sums = None;
    for line in text.lines() {
        let mut columns = line.split_whitespace().skip(1).map(|column| u64::from_str_radix(column, 16));
        let (Some(Ok(dropped)), Some(Ok(squeezed))) = (columns.next(), columns.next()) else { return None };
        let (a, b) = sums.unwrap_or((0_u64, 0_u64));
        sums = Some((a.saturating_add(dropped), b.saturating_add(squeezed)));
    }
    sums
}

/// The line of all processors: user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
fn cpu(stat: &str) -> Option<Cpu> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|figure| figure.parse().ok()).collect();
    let (idle, waiting) = (ticks.get(3)?, ticks.get(4)?);
    let total = ticks.iter().try_fold(0_u64, |sum, one| sum.checked_add(*one))?;
    Some(Cpu { idle: idle.checked_add(*waiting)?, total })
}

/// Available and all memory, bytes.
fn memory(meminfo: &str) -> Option<(u64, u64)> {
    let field = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    };
    Some((field("MemAvailable:")?, field("MemTotal:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str) -> LinkInterface {
        LinkInterface { name: name.into(), rate_bits_s: 1_000_000_000, rate_packets_s: 0, overhead_bytes: 24 }
    }

    /// A tree as a machine with two processors had it, shortened.
    const TREE: [(&str, &str); 7] = [
        (
            "net/dev",
            "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    lo: 5 5 0 0 0 0 0 0 5 5 0 0 0 0 0 0\n  eth0:1834 21 1 7 2 0 0 3 922 11 0 4 0 0 0 0\n eth01: 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n",
        ),
        (
            "net/netstat",
            "TcpExt: SyncookiesSent SyncookiesRecv ListenOverflows ListenDrops TCPReqQFullDoCookies TCPReqQFullDrop\nTcpExt: 3 0 41 42 9 12\nIpExt: InNoRoutes ListenDrops\nIpExt: 0 7\n",
        ),
        ("net/softnet_stat", "000000ff 00000010 00000002 0\n0000000a 00000001 00000003 0\n"),
        ("stat", "cpu  100 1 50 800 20 0 5 4 90 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"),
        ("meminfo", "MemTotal:        2000 kB\nMemFree:          100 kB\nMemAvailable:     500 kB\n"),
        ("sys/net/netfilter/nf_conntrack_count", "250\n"),
        ("sys/net/netfilter/nf_conntrack_max", "262144\n"),
    ];

    fn tree(leave_out: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in TREE.iter().filter(|(path, _)| *path != leave_out) {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn a_recorded_tree_is_read() {
        let folder = tree("");
        let figures = Reader::new(folder.path()).read(&[interface("eth0")]);
        assert_eq!(figures.missing, Vec::<String>::new());
        let sample = figures.sample;
        let eth0 = &sample.interfaces[0];
        assert_eq!((eth0.rx_bytes, eth0.rx_packets, eth0.rx_dropped), (1834, 21, 9));
        assert_eq!((eth0.tx_bytes, eth0.tx_packets, eth0.tx_dropped), (922, 11, 4));
        let counts = Counts {
            listen_overflows: Some(41),
            listen_drops: Some(42),
            syn_drops: Some(12),
            syn_cookies: Some(3),
            softnet_dropped: Some(17),
            softnet_squeezed: Some(5),
        };
        assert_eq!(sample.counts, counts);
        assert_eq!(sample.cpu, Some(Cpu { idle: 820, total: 980 }));
        assert_eq!(sample.memory, Some((512_000, 2_048_000)));
        assert_eq!(sample.conntrack, Some((250, 262_144)));
    }

    #[test]
    fn what_is_missing_is_told_and_the_rest_is_read() {
        for (path, _) in &TREE[..5] {
            let folder = tree(path);
            let figures = Reader::new(folder.path()).read(&[interface("eth0")]);
            assert_eq!(figures.missing.len(), 1, "{path}: {:?}", figures.missing);
            assert!(figures.missing[0].contains(path), "{path}: {:?}", figures.missing);
            let sample = &figures.sample;
            let there = [
                !sample.interfaces.is_empty(),
                sample.counts.listen_drops.is_some(),
                sample.counts.softnet_dropped.is_some(),
                sample.cpu.is_some(),
                sample.memory.is_some(),
                sample.conntrack.is_some(),
            ];
            assert_eq!(there.iter().filter(|there| !**there).count(), 1, "{path}: {there:?}");
        }
        let folder = tree("sys/net/netfilter/nf_conntrack_max");
        let figures = Reader::new(folder.path()).read(&[interface("eth9")]);
        assert_eq!(figures.sample.conntrack, None);
        assert_eq!(figures.missing, ["there is no interface eth9 on this host"]);
    }

    #[test]
    fn odd_files_are_left_out() {
        for (path, text) in [
            ("net/dev", "eth0: 1 2 3\n"),
            ("net/dev", "eth0: 99999999999999999999999 2 3 4 5 6 7 8 9 10 11 12 13\n"),
            ("net/netstat", "TcpExt: ListenDrops\n"),
            ("net/netstat", "TcpExt: ListenDrops\nTcpExt: x\n"),
            ("net/softnet_stat", "xyz\n"),
            ("stat", "cpu  1 2 3\n"),
            ("stat", "cpu  18446744073709551615 1 1 18446744073709551615 1\n"),
            ("meminfo", "MemTotal: x kB\n"),
        ] {
            let folder = tree("");
            std::fs::write(folder.path().join(path), text).unwrap();
            let sample = Reader::new(folder.path()).read(&[interface("eth0")]).sample;
            match path {
                "net/dev" => assert!(sample.interfaces.is_empty(), "{text}"),
                "net/netstat" => assert_eq!(sample.counts.listen_drops, None, "{text}"),
                "net/softnet_stat" => assert_eq!(sample.counts.softnet_dropped, None, "{text}"),
                "stat" => assert_eq!(sample.cpu, None, "{text}"),
                _ => assert_eq!(sample.memory, None, "{text}"),
            }
        }
    }

    #[test]
    fn this_machine_can_be_read() {
        let figures = Reader::new(Path::new("/proc")).read(&[interface("lo")]);
        assert_eq!(figures.missing, Vec::<String>::new());
        assert!(figures.sample.cpu.is_some() && figures.sample.memory.is_some());
        assert!(figures.sample.counts.listen_overflows.is_some() && figures.sample.counts.softnet_dropped.is_some());
    }
}
