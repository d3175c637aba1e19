//! Which service is meant: a small number that indexes tables.

/// Position of a service in the tables of one node; below [`crate::bounds::SERVICES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u16);

impl ServiceId {
    /// No service: the door itself, where connections are told apart before anything is asked for.
    pub const DOOR: Self = Self(u16::MAX);

    /// Position in tables with one entry a service.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}
