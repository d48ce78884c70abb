//! Turns and steals as arrays: a tick carries up to two thousand of them, ten times a second.

use std::collections::HashMap;
use std::panic::Location;

use openwork::snapshot::StealRecord;
use openwork_observatory::lanes::{Cell, Lane};
use serde::ser::{SerializeMap, SerializeTuple};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::words::site;

/// Turns and steals of a stretch of time, as the lane chart draws them.
#[derive(Debug, Serialize, ToSchema)]
pub struct Lanes {
    /// Per worker: `[start_ns, length_ns, source, share, turns, routine, site, workload]`, where `source` counts from
    /// `lifo` = 0 through `inbox`, `local`, `timer`, `injector`, `stolen` to `poller` = 6, `site` is a key of `sites`, and a
    /// `share` below 1 is the busy part of several merged turns. `turns` = 0 with `source` `null` is a turn that is not
    /// over: a later cell with the same start takes its place.
    #[schema(value_type = Vec<Vec<Vec<serde_json::Value>>>)]
    pub lanes: Vec<Vec<CellWire>>,
    /// Spawn sites (`path:line`) by the number used in `lanes`.
    #[schema(value_type = HashMap<String, String>)]
    pub sites: Sites,
    /// `[at_ns, thief, victim, moved]`.
    #[schema(value_type = Vec<Vec<u64>>)]
    pub steals: Vec<StealWire>,
    /// Turns drawn as part of a merged cell.
    pub merged: u64,
    /// Rectangles and steals left out to keep the message small.
    pub omitted: u64,
}

impl Lanes {
    /// Turns and steals with the table of the sites they name.
    pub fn new(lanes: &[Lane], steals: &[StealRecord], merged: u64, omitted: u64) -> Lanes {
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
    /// `None` while the turn is not over.
    source: Option<usize>,
    share: f32,
    turns: u32,
    routine: u64,
    site: usize,
    workload: Option<u64>,
}

impl CellWire {
    fn new(cell: &Cell, sites: &mut Sites) -> CellWire {
        CellWire {
            start_ns: cell.start_ns,
            length_ns: cell.length_ns,
            source: Some(cell.source as usize),
            share: cell.share,
            turns: cell.turns,
            routine: cell.routine.get(),
            site: sites.number(cell.site),
            workload: cell.workload.map(|id| id.get()),
        }
    }
}

impl Serialize for CellWire {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut cell = serializer.serialize_tuple(8)?;
        cell.serialize_element(&self.start_ns)?;
        cell.serialize_element(&self.length_ns)?;
        cell.serialize_element(&self.source)?;
        // A thousandth is finer than any rectangle on a screen, and six characters shorter.
        cell.serialize_element(&((self.share * 1000.0).round() / 1000.0))?;
        cell.serialize_element(&self.turns)?;
        cell.serialize_element(&Id(self.routine))?;
        cell.serialize_element(&self.site)?;
        cell.serialize_element(&self.workload.map(Id))?;
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
