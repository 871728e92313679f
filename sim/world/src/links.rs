//! Windows on the ways of a process: while one is open, what it sends and gets is slow, held up or refused.
//!
//! Nothing is lost on a way that is held up: it arrives when the window closes (as TCP sends again). What is slowed
//! down or held up goes on at its ordinary pace when the run heals.

use super::fault::FaultRecord;
use cofferdam_properties::history::Process;

/// What a window does to the ways of its process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// Frames take so many times as long.
    Slow(u64),
    /// Nothing gets through, either way.
    Cut,
    /// Nothing leaves it.
    CutOut,
    /// Nothing reaches it.
    CutIn,
    /// Its port refuses connections.
    Refuse,
    /// Its storage requests are held up.
    StorageStalled,
}

struct Window {
    fault: usize,
    until: u64,
    process: Process,
    way: Way,
}

/// All open windows.
#[derive(Default)]
pub(crate) struct Links {
    windows: Vec<Window>,
    /// The process of each incarnation.
    members: Vec<Process>,
}

impl Links {
    /// A further incarnation, of this process.
    pub fn incarnation_added(&mut self, process: Process) {
        self.members.push(process);
    }

    /// Opens a window.
    pub fn open(&mut self, now: u64, fault: usize, until: u64, process: Process, way: Way) {
        self.windows.retain(|window| window.until > now);
        self.windows.push(Window { fault, until, process, way });
    }

    /// Nothing strikes any more.
    pub fn heal(&mut self) {
        self.windows.clear();
    }

    /// When something leaves that is sent now between two incarnations (the receiving one may not be known yet), and how
    /// many times slower it goes.
    #[inline]
    pub fn leaves(&self, now: u64, from: u32, to: Option<u32>, records: &mut [FaultRecord]) -> (u64, u64) {
        let (mut leaves, mut factor) = (now, 1_u64);
        let from = self.members[from as usize];
        let to = to.map(|index| self.members[index as usize]);
        for window in self.windows.iter().filter(|window| window.until > now) {
            let (out, inbound) = (window.process == from, Some(window.process) == to);
            match window.way {
                Way::Slow(by) if out || inbound => factor = factor.saturating_mul(by),
                Way::Cut if out || inbound => leaves = leaves.max(window.until),
                Way::CutOut if out => leaves = leaves.max(window.until),
                Way::CutIn if inbound => leaves = leaves.max(window.until),
                Way::Slow(_) | Way::Cut | Way::CutOut | Way::CutIn | Way::Refuse | Way::StorageStalled => continue,
            }
            records[window.fault].struck += 1;
        }
        (leaves, factor)
    }

    /// Whether the port of an incarnation refuses a connection.
    pub fn refuses(&self, now: u64, at: u32, records: &mut [FaultRecord]) -> bool {
        self.hit(now, at, Way::Refuse, records).is_some()
    }

    /// When a storage request of an incarnation, or the reply to it, sets out that would do so now.
    #[inline]
    pub fn storage_leaves(&self, now: u64, by: u32, records: &mut [FaultRecord]) -> u64 {
        self.hit(now, by, Way::StorageStalled, records).unwrap_or(now)
    }

    /// Until when the longest open window of this kind hits an incarnation.
    fn hit(&self, now: u64, index: u32, way: Way, records: &mut [FaultRecord]) -> Option<u64> {
        if self.windows.is_empty() {
            return None;
        }
        let process = self.members[index as usize];
        let open = self.windows.iter().filter(|w| w.until > now && w.way == way && w.process == process);
        let longest = open.max_by_key(|window| window.until)?;
        records[longest.fault].struck += 1;
        Some(longest.until)
    }

    /// Whether no window was opened.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_engine::ids::WorkerId;

    const WORKER: Process = Process::Worker(WorkerId(0));

    fn links(way: Way) -> Links {
        let mut links = Links::default();
        links.incarnation_added(Process::COORDINATOR);
        links.incarnation_added(WORKER);
        links.open(0, 0, 100, WORKER, way);
        links
    }

    #[test]
    fn a_one_way_cut_holds_up_one_direction_until_it_closes() {
        let mut records = [FaultRecord::default()];
        let (out, inbound) = (links(Way::CutOut), links(Way::CutIn));
        assert_eq!(out.leaves(10, 1, Some(0), &mut records), (100, 1));
        assert_eq!(out.leaves(10, 0, Some(1), &mut records), (10, 1));
        assert_eq!(inbound.leaves(10, 1, Some(0), &mut records), (10, 1));
        assert_eq!(inbound.leaves(10, 0, Some(1), &mut records), (100, 1));
        assert_eq!(out.leaves(100, 1, Some(0), &mut records), (100, 1));
        assert_eq!(records[0].struck, 2);
    }

    #[test]
    fn each_window_hits_its_own_process_and_its_own_kind_of_way() {
        let mut records = [FaultRecord::default()];
        let refusing = links(Way::Refuse);
        assert!(refusing.refuses(10, 1, &mut records));
        assert!(!refusing.refuses(10, 0, &mut records));
        assert_eq!(refusing.leaves(10, 1, Some(0), &mut records), (10, 1));
        let stalled = links(Way::StorageStalled);
        assert_eq!(stalled.storage_leaves(10, 1, &mut records), 100);
        assert_eq!(stalled.storage_leaves(10, 0, &mut records), 10);
    }
}
