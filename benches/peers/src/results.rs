//! Runs all measurements in order.

use std::time::Duration;

use anyhow::{Result, anyhow};
use indicatif::ProgressBar;

use crate::allocations::Allocations;
use crate::builds::{self, Build};
use crate::core::{self, Sides};
use crate::crowd::{self, Pending, Rates};
use crate::idle::{self, Idle};
use crate::logins::{self, Times};
use crate::machine::Machine;
use crate::memory;
use crate::peers::{self, Entry, Id};
use crate::python;
use crate::records::{self, Flow, Flows, Kind, Size};
use crate::sample::Sample;

/// The number of rounds of each measurement.
pub struct Extent {
    pub logins: usize,
    pub core: usize,
    pub memory: usize,
    pub crowd: usize,
    /// The number of logins of a peer in a round, if there are not more clients. There is at least
    /// one login for each client.
    pub crowd_logins: usize,
    pub records: usize,
    pub builds: bool,
    pub writes: bool,
}

impl Extent {
    pub const REPORT: Self = Self {
        logins: 1000,
        core: 1000,
        memory: 1000,
        crowd: 5,
        crowd_logins: 2000,
        records: 200,
        builds: true,
        writes: true,
    };

    pub const QUICK: Self = Self {
        logins: 20,
        core: 20,
        memory: 20,
        crowd: 1,
        crowd_logins: 100,
        records: 5,
        builds: false,
        writes: false,
    };

    /// Returns the number of steps of the progress bar.
    pub fn steps(&self) -> u64 {
        let records = self.records * Size::ALL.len();
        let rounds = self.logins + self.core + self.memory + self.crowd + records;
        (rounds + if self.builds { builds::STEPS } else { 0 }) as u64
    }
}

pub struct Results {
    pub machine: Machine,
    pub rounds: usize,
    pub crowd_logins: usize,
    /// The fastest configuration of each peer that has several.
    pub choices: Vec<(Id, String)>,
    pub logins: Vec<(Id, Result<Times>)>,
    pub core: Sides,
    pub memory: Vec<(Id, Result<InMemory>)>,
    pub crowd: Vec<(Id, Result<Rates>)>,
    pub pending: Vec<(Id, Result<Pending>)>,
    pub records: Flows,
    pub idle: Vec<Idle>,
    pub builds: Vec<(&'static str, Result<Build>)>,
    pub took: Duration,
}

/// Where there are two values, the client's is the first.
#[derive(Default)]
pub struct InMemory {
    /// Seconds.
    pub times: [Sample; 2],
    pub allocations: [Allocations; 2],
    pub bytes: usize,
    pub messages: usize,
}

impl Results {
    pub fn measure(extent: &Extent, bar: &ProgressBar) -> Result<Self> {
        bar.enable_steady_tick(Duration::from_millis(500));
        let mut machine = Machine::ask();
        // Before this thread is pinned, since child processes inherit the core.
        stage(bar, "builds");
        let builds = if extent.builds {
            builds::measure(bar)
        } else {
            Vec::new()
        };
        // The progress bar does not run on the core that is measured.
        bar.disable_steady_tick();
        stage(bar, "choosing the fastest configurations");
        let python = python::newest();
        machine.python = python.as_ref().map(ToString::to_string).ok();
        machine.pin();
        let entries = peers::all();

        stage(bar, "logins");
        let logins = logins::measure(&entries, &python, extent.logins, bar)?;
        stage(bar, "the core");
        let core = core::measure(extent.core, bar);
        stage(bar, "logins in memory");
        let memory = in_memory(&entries, extent.memory, bar);
        stage(bar, "many clients");
        let crowd = crowd::measure(&entries, extent, bar)?;
        stage(bar, "pending logins");
        let pending = (entries.iter())
            .filter(|entry| crowd::runs_here(entry.id))
            .map(|entry| {
                (
                    entry.id,
                    entry.peer().and_then(|peer| crowd::pending(&peer)),
                )
            })
            .collect();
        stage(bar, "records");
        let records = records::measure(extent.records, bar);
        stage(bar, "idle streams");
        let idle = idle::measure();

        Ok(Self {
            machine,
            rounds: extent.logins,
            crowd_logins: extent.crowd_logins,
            choices: (entries.into_iter())
                .map(|entry| (entry.id, entry.choice))
                .filter(|(id, choice)| !choice.is_empty() && !id.is_beside())
                .collect(),
            logins,
            core,
            memory,
            crowd,
            pending,
            records,
            idle,
            builds,
            took: bar.elapsed(),
        })
    }

    /// The medians of turns.
    pub fn login(&self, id: Id) -> Option<&Sample> {
        find(&self.logins, id).map(|times| &times.turns)
    }

    pub fn in_memory(&self, id: Id) -> Option<&InMemory> {
        find(&self.memory, id)
    }

    pub fn crowd(&self, id: Id) -> Option<&Rates> {
        find(&self.crowd, id)
    }

    pub fn records(&self, size: Size, kind: Kind) -> Option<&Flow> {
        let (_, flows) = self.records.iter().find(|(other, _)| *other == size)?;
        find(flows, kind)
    }
}

fn find<I: Copy + PartialEq, T>(all: &[(I, Result<T>)], id: I) -> Option<&T> {
    let (_, found) = all.iter().find(|(other, _)| *other == id)?;
    found.as_ref().ok()
}

fn in_memory(entries: &[Entry], rounds: usize, bar: &ProgressBar) -> Vec<(Id, Result<InMemory>)> {
    let mut all: Vec<_> = (entries.iter())
        .map(|entry| (entry, entry.peer().map(|_| InMemory::default())))
        .collect();
    for _ in 0..rounds {
        for (entry, costs) in &mut all {
            let Ok(so_far) = costs else { continue };
            match entry.peer().and_then(|peer| memory::second_login(&*peer)) {
                Ok(login) => {
                    for (sample, time) in so_far.times.iter_mut().zip(login.times) {
                        sample.push_time(time);
                    }
                    so_far.allocations = login.allocations;
                    (so_far.bytes, so_far.messages) = (login.bytes, login.messages);
                }
                Err(error) => *costs = Err(anyhow!("{error:#}")),
            }
        }
        all.reverse();
        bar.inc(1);
    }
    all.sort_by_key(|(entry, _)| entry.id);
    all.into_iter()
        .map(|(entry, costs)| (entry.id, costs))
        .collect()
}

/// Says what is being measured, in a line of its own if there is no progress bar.
fn stage(bar: &ProgressBar, name: &'static str) {
    bar.set_message(name);
    if bar.is_hidden() {
        eprintln!("{:>4} s: {name}", bar.elapsed().as_secs());
    }
}
