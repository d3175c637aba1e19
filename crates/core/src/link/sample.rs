//! What was read at one moment. Counters only grow until the machine starts again; `None`: could not be read.

use crate::Moment;

/// Everything read at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// When.
    pub at: Moment,
    /// The lines to the world, at most [`LINK_INTERFACES_MAX`](crate::bounds::LINK_INTERFACES_MAX) are looked at.
    pub interfaces: Vec<InterfaceSample>,
    /// What the kernel's network stack lost.
    pub counts: Counts,
    /// Connections that the kernel tracks, and how many it can.
    pub conntrack: Option<(u64, u64)>,
    /// Time of the processors.
    pub cpu: Option<Cpu>,
    /// Bytes of memory that are available, and all there are.
    pub memory: Option<(u64, u64)>,
    /// The services behind the door.
    pub services: Vec<ServiceSample>,
}

/// Counters of one network interface.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InterfaceSample {
    /// Its name.
    pub name: String,
    /// What the line can carry in one direction, bits a second, as declared; 0: not declared.
    pub rate_bits_s: u64,
    /// Packets a second that the line can carry in one direction, as declared; 0: not declared.
    pub rate_packets_s: u64,
    /// Bytes that each packet takes on the line and the kernel does not count.
    pub overhead_bytes: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Packets lost on the way in: by the card's queue or the driver.
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets lost on the way out.
    pub tx_dropped: u64,
}

/// Counters of the network stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections lost because a queue of `accept` was full.
    pub listen_overflows: Option<u64>,
    /// Connections lost at a listening socket for any reason.
    pub listen_drops: Option<u64>,
    /// Openings lost because the queue of half-open connections was full.
    pub syn_drops: Option<u64>,
    /// Openings answered with a SYN cookie, which is how a full queue is survived.
    pub syn_cookies: Option<u64>,
    /// Packets lost because a processor's queue was full.
    pub softnet_dropped: Option<u64>,
    /// How often a processor had packets left when its time was over.
    pub softnet_squeezed: Option<u64>,
}

/// Time of all processors together, in ticks of whatever length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Nothing to do (idle, or waiting for a disk).
    pub idle: u64,
    /// All time.
    pub total: u64,
}

/// A service, as the brain and the pools see it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceSample {
    /// Its name.
    pub name: String,
    /// Requests in flight.
    pub in_flight: u64,
    /// Its adaptive limit.
    pub limit: u64,
    /// Requests that wait.
    pub queued: u64,
    /// 0 calm, 0.5 elevated, 1 pressed.
    pub pressure: f64,
    /// Servers in its pool.
    pub servers: u64,
    /// Of these, those that are asked.
    pub servers_well: u64,
    /// Requests that came for it since start.
    pub requests: u64,
}
