//! What may strike a job that is checked: families of faults, to be narrowed down while one looks for a cause.

use crate::world::{FaultKind, Requests};

/// Families of faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Faults {
    crashes: bool,
    network: bool,
    storage: bool,
    pauses: bool,
}

impl Faults {
    /// None: only the order of things differs from run to run.
    pub const NONE: Self = Self { crashes: false, network: false, storage: false, pauses: false };
    /// All there are.
    pub const ALL: Self = Self { crashes: true, network: true, storage: true, pauses: true };
    /// Processes die and come up again.
    pub const CRASHES: Self = Self { crashes: true, ..Self::NONE };
    /// Connections break, hang, cannot be made, or carry what no right worker says.
    pub const NETWORK: Self = Self { network: true, ..Self::NONE };
    /// Storage and external systems fail, are slow, or leave it open whether something happened.
    pub const STORAGE: Self = Self { storage: true, ..Self::NONE };
    /// Processes stand still, also for so long that they are replaced meanwhile; clocks jump.
    pub const PAUSES: Self = Self { pauses: true, ..Self::NONE };

    /// These and those.
    pub const fn and(self, other: Self) -> Self {
        Self {
            crashes: self.crashes || other.crashes,
            network: self.network || other.network,
            storage: self.storage || other.storage,
            pauses: self.pauses || other.pauses,
        }
    }

    /// Whether a fault is among them.
    pub fn allow(self, fault: &FaultKind) -> bool {
        match fault {
            FaultKind::Crash { .. } | FaultKind::CrashTogether { .. } => self.crashes,
            FaultKind::Pause { .. } | FaultKind::Zombie { .. } | FaultKind::JumpWallClock { .. } => self.pauses,
            FaultKind::OneWay { .. }
            | FaultKind::Disconnect { .. }
            | FaultKind::HalfOpen { .. }
            | FaultKind::Refuse { .. }
            | FaultKind::ResetConnections { .. }
            | FaultKind::Rogue { .. }
            | FaultKind::SlowLinks { .. }
            | FaultKind::Partition { .. } => self.network,
            FaultKind::StallStorage { .. }
            | FaultKind::SlowStorage { .. }
            | FaultKind::FailStorage { .. }
            | FaultKind::LoseReplies { .. }
            | FaultKind::HangStorage { .. }
            | FaultKind::DelayPastTheEnd { .. }
            | FaultKind::ThrottleStorage { .. }
            | FaultKind::LimitBandwidth { .. }
            | FaultKind::ShortReads { .. }
            | FaultKind::ChangeInput { .. }
            | FaultKind::StaleListings { .. } => self.storage,
        }
    }
}

/// Storage faults that would strike input and output strike the systems that it writes to instead.
pub(crate) fn outside(fault: &mut FaultKind) {
    match fault {
        FaultKind::SlowStorage { prefix, .. }
        | FaultKind::ThrottleStorage { prefix, .. }
        | FaultKind::LimitBandwidth { prefix, .. } => aim(prefix),
        FaultKind::FailStorage { prefix, requests, .. }
        | FaultKind::LoseReplies { prefix, requests, .. }
        | FaultKind::HangStorage { prefix, requests, .. } => {
            aim(prefix);
            if prefix == OUTSIDE {
                *requests = Requests::All;
            }
        }
        FaultKind::Crash { .. }
        | FaultKind::CrashTogether { .. }
        | FaultKind::Pause { .. }
        | FaultKind::Zombie { .. }
        | FaultKind::JumpWallClock { .. }
        | FaultKind::OneWay { .. }
        | FaultKind::Disconnect { .. }
        | FaultKind::HalfOpen { .. }
        | FaultKind::Refuse { .. }
        | FaultKind::ResetConnections { .. }
        | FaultKind::Rogue { .. }
        | FaultKind::SlowLinks { .. }
        | FaultKind::Partition { .. }
        | FaultKind::StallStorage { .. }
        | FaultKind::DelayPastTheEnd { .. }
        | FaultKind::ShortReads { .. }
        | FaultKind::ChangeInput { .. }
        | FaultKind::StaleListings { .. } => {}
    }
}

const OUTSIDE: &str = "external/";

fn aim(prefix: &mut String) {
    if prefix == "output" || prefix == "input" {
        OUTSIDE.clone_into(prefix);
    }
}
