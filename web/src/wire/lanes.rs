//! Turns and steals as arrays: a tick carries up to two thousand of them, ten times a second.

use std::collections::HashMap;
use std::panic::Location;

use openwork::snapshot::{HandOff, StealRecord};
use openwork_observatory::lanes::{Absence, Cell, Lane};
use serde::ser::{SerializeMap, SerializeTuple};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::words::site;

/// Turns and steals of a stretch of time, as the lane chart draws them.
#[derive(Debug, Serialize, ToSchema)]
pub struct Lanes {
    /// Per worker: `[start_ns, length_ns, source, share, turns, routine, site, workload, end]`, where `source` counts
    /// from `lifo` = 0 through `inbox`, `local`, `timer`, `injector`, `stolen` and `poller` to `wanting` = 7, `end` from
    /// `ended` = 0 through `blocked`, `yielded`, `gave_way` and `frozen` to `in_kernel` = 5, `site` is a key of `sites`, and a
    /// `share` below 1 is the busy part of several merged turns. `turns` = 0 with `end` `null` is a turn that is not
    /// over: a later cell with the same start takes its place.
    #[schema(value_type = Vec<Vec<Vec<serde_json::Value>>>)]
    pub lanes: Vec<Vec<CellWire>>,
    /// Spawn sites (`path:line`) by the number used in `lanes`.
    #[schema(value_type = HashMap<String, String>)]
    pub sites: Sites,
    /// `[at_ns, thief, victim, moved]`.
    #[schema(value_type = Vec<Vec<u64>>)]
    pub steals: Vec<StealWire>,
    /// Parts of turns for which a thread had no worker, which are of no worker's lane: `[start_ns, length_ns, wanting_ns,
    /// why, thread, from, to, routine, site, workload]`, where `why` is 0 for a worker taken from a thread asleep in the
    /// kernel and 1 for one taken from a thread that was stopped, `wanting_ns` the last part, in which it waited for a
    /// worker alone, and `to` the worker that it got. `to` is `null` while it goes on: a later one of the same thread with
    /// the same start takes its place.
    #[schema(value_type = Vec<Vec<serde_json::Value>>)]
    pub absences: Vec<AbsenceWire>,
    /// Turns drawn as part of a merged cell.
    pub merged: u64,
    /// Rectangles, steals and absences left out to keep the message small.
    pub omitted: u64,
}

impl Lanes {
    /// Turns and steals with the table of the sites they name.
    pub fn new(
        lanes: &[Lane],
        steals: &[StealRecord],
        absences: &[Absence],
        merged: u64,
        omitted: u64,
    ) -> Lanes {
        let mut sites = Sites::default();
        Lanes {
            lanes: lanes
                .iter()
                .map(|lane| {
                    lane.cells
                        .iter()
                        .map(|cell| CellWire::new(cell, &mut sites))
                        .collect()
                })
                .collect(),
            absences: absences
                .iter()
                .map(|absence| AbsenceWire::new(absence, &mut sites))
                .collect(),
            sites,
            steals: steals.iter().map(StealWire::from).collect(),
            merged,
            omitted,
        }
    }
}

/// A rectangle of a lane. An array, because a tick carries up to two thousand of them.
#[derive(Debug)]
pub struct CellWire {
    start_ns: u64,
    length_ns: u64,
    source: usize,
    share: f32,
    turns: u32,
    routine: u64,
    site: usize,
    workload: Option<u64>,
    /// `None` while the turn is not over.
    end: Option<usize>,
}

impl CellWire {
    fn new(cell: &Cell, sites: &mut Sites) -> CellWire {
        CellWire {
            start_ns: cell.start_ns,
            length_ns: cell.length_ns,
            source: cell.source as usize,
            share: cell.share,
            turns: cell.turns,
            routine: cell.routine.get(),
            site: sites.number(cell.site),
            workload: cell.workload.map(|id| id.get()),
            end: cell.end.map(|end| end as usize),
        }
    }
}

impl Serialize for CellWire {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut cell = serializer.serialize_tuple(9)?;
        cell.serialize_element(&self.start_ns)?;
        cell.serialize_element(&self.length_ns)?;
        cell.serialize_element(&self.source)?;
        // A thousandth is finer than any rectangle on a screen, and six characters shorter.
        cell.serialize_element(&((self.share * 1000.0).round() / 1000.0))?;
        cell.serialize_element(&self.turns)?;
        cell.serialize_element(&Id(self.routine))?;
        cell.serialize_element(&self.site)?;
        cell.serialize_element(&self.workload.map(Id))?;
        cell.serialize_element(&self.end)?;
        cell.end()
    }
}

/// An id on the wire is a string: a double holds only 53 bits of it.
struct Id(u64);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A part of a turn for which its thread had no worker, as an array.
#[derive(Debug)]
pub struct AbsenceWire {
    times: [u64; 3],
    frozen: bool,
    thread: u32,
    from: u32,
    to: Option<u32>,
    routine: u64,
    site: usize,
    workload: Option<u64>,
}

impl AbsenceWire {
    fn new(absence: &Absence, sites: &mut Sites) -> AbsenceWire {
        AbsenceWire {
            times: [absence.start_ns, absence.length_ns, absence.wanting_ns],
            frozen: absence.why == HandOff::Frozen,
            thread: absence.thread,
            from: absence.from.get(),
            to: absence.to.map(|worker| worker.get()),
            routine: absence.routine.get(),
            site: sites.number(absence.site),
            workload: absence.workload.map(|id| id.get()),
        }
    }
}

impl Serialize for AbsenceWire {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut absence = serializer.serialize_tuple(10)?;
        for time in &self.times {
            absence.serialize_element(time)?;
        }
        absence.serialize_element(&u8::from(self.frozen))?;
        absence.serialize_element(&self.thread)?;
        absence.serialize_element(&self.from)?;
        absence.serialize_element(&self.to)?;
        absence.serialize_element(&Id(self.routine))?;
        absence.serialize_element(&self.site)?;
        absence.serialize_element(&self.workload.map(Id))?;
        absence.end()
    }
}

/// One steal, `[at_ns, thief, victim, moved]`.
#[derive(Debug, Serialize)]
pub struct StealWire(u64, u32, u32, u32);

impl From<&StealRecord> for StealWire {
    fn from(steal: &StealRecord) -> StealWire {
        StealWire(
            steal.at_ns,
            steal.thief.get(),
            steal.victim.get(),
            steal.moved,
        )
    }
}

/// Numbers for the spawn sites of one message, so that each path is sent once.
#[derive(Debug, Default)]
pub struct Sites {
    numbers: HashMap<(&'static str, u32), usize>,
    names: Vec<String>,
}

impl Sites {
    fn number(&mut self, location: &'static Location<'static>) -> usize {
        let next = self.names.len();
        *self
            .numbers
            .entry((location.file(), location.line()))
            .or_insert_with(|| {
                self.names.push(site(location));
                next
            })
    }
}

impl Serialize for Sites {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.names.len()))?;
        for (number, name) in self.names.iter().enumerate() {
            map.serialize_entry(&number, name)?;
        }
        map.end()
    }
}
