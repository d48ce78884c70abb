//! Measuring in turns: in each round every peer has one, in an order that is rotated from round to
//! round, so that what disturbs the machine for a while disturbs all of them.

use std::time::{Duration, Instant};

use crate::catalogue::{Bench, Limit};
use crate::host;
use crate::measure::Figure;
use crate::peer::Peer;
use crate::statistics::Spread;

/// What one turn of a peer gave.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Its figures.
    pub figures: Vec<Figure>,
    /// Processors that others kept busy meanwhile.
    pub others: Option<f64>,
}

/// A bench with a number of workers, measured.
#[derive(Clone, Debug)]
pub struct Line {
    /// The bench.
    pub bench: &'static Bench,
    /// Workers.
    pub workers: usize,
    /// Every peer that has such a bench, ours first.
    pub peers: Vec<PeerLine>,
    /// Ours to each peer's, for each figure that both have.
    pub ratios: Vec<Ratio>,
    /// The goals of the bench that could be judged.
    pub verdicts: Vec<Verdict>,
}

/// A peer's part of a [`Line`].
#[derive(Clone, Debug)]
pub struct PeerLine {
    /// Who.
    pub peer: Peer,
    /// Each figure over the rounds.
    pub figures: Vec<FigureLine>,
    /// Why a round has no figures; the last such reason.
    pub failed: Option<String>,
    /// Rounds in which others took processors that the bench needed.
    pub disturbed: u32,
    /// Processors that others kept busy, in the middle round.
    pub others: Option<f64>,
}

/// A figure over the rounds.
#[derive(Clone, Debug)]
pub struct FigureLine {
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Its values.
    pub spread: Spread,
}

/// Our figure divided by a peer's in the same round, over the rounds.
#[derive(Clone, Debug)]
pub struct Ratio {
    /// Whose figure ours is divided by.
    pub peer: Peer,
    /// Which figure.
    pub figure: String,
    /// The quotients.
    pub spread: Spread,
}

/// Whether a goal was reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Which figure.
    pub figure: &'static str,
    /// Its bound.
    pub at_most: Limit,
    /// What was measured: the median of the ratios, or of the figure itself.
    pub measured: f64,
}

impl Verdict {
    /// Whether the bound was kept.
    pub fn is_met(&self) -> bool {
        let bound = match self.at_most {
            Limit::Of(_, share) => share,
            Limit::Value(value) => value,
        };
        self.measured <= bound
    }
}

/// Runs `rounds` rounds of `peers` that have the bench. `measure` makes one measurement or says why it
/// could not; `told` hears of every turn that is over, and ends the rounds by answering `false`.
pub fn run(
    bench: &'static Bench,
    workers: usize,
    peers: &[Peer],
    rounds: u32,
    mut measure: impl FnMut(Peer) -> Result<Measured, String>,
    mut told: impl FnMut(Peer) -> bool,
) -> Line {
    let mut turns: Vec<(Peer, Vec<Result<Measured, String>>)> =
        peers.iter().map(|&peer| (peer, Vec::new())).collect();
    'rounds: for round in 0..rounds as usize {
        for place in 0..turns.len() {
            let index = (place + round) % turns.len();
            let (peer, taken) = &mut turns[index];
            taken.push(measure(*peer));
            if !told(*peer) {
                break 'rounds;
            }
        }
    }
    line(bench, workers, &turns)
}

fn line(
    bench: &'static Bench,
    workers: usize,
    turns: &[(Peer, Vec<Result<Measured, String>>)],
) -> Line {
    let ratios = ratios(turns);
    let peers: Vec<_> = turns
        .iter()
        .map(|(peer, taken)| peer_line(*peer, taken, workers))
        .collect();
    let verdicts = verdicts(bench, &peers, &ratios);
    Line {
        bench,
        workers,
        peers,
        ratios,
        verdicts,
    }
}

fn peer_line(peer: Peer, taken: &[Result<Measured, String>], workers: usize) -> PeerLine {
    let measured = || taken.iter().flatten();
    let mut figures: Vec<FigureLine> = Vec::new();
    for figure in measured().flat_map(|measured| &measured.figures) {
        if figures.iter().any(|line| line.name == figure.name) {
            continue;
        }
        let runs = measured().filter_map(|m| value(m, &figure.name)).collect();
        if let Some(spread) = Spread::of(runs) {
            figures.push(FigureLine {
                name: figure.name.clone(),
                unit: figure.unit.clone(),
                spread,
            });
        }
    }
    let others = measured().filter_map(|measured| measured.others);
    let is_disturbed = |others: &f64| *others > spare_cores(workers) + DISTURBING;
    PeerLine {
        peer,
        figures,
        failed: taken.iter().rev().find_map(|turn| turn.clone().err()),
        disturbed: others.clone().filter(is_disturbed).count() as u32,
        others: Spread::of(others.collect()).map(|spread| spread.median),
    }
}

/// Processors that others may use before a round is called disturbed, beyond those that it does not need itself. Clocks tick
/// in hundredths of a second, and every machine has something to do.
const DISTURBING: f64 = 0.1;

fn spare_cores(workers: usize) -> f64 {
    host::cores().saturating_sub(workers) as f64
}

fn value(measured: &Measured, name: &str) -> Option<f64> {
    let figure = measured.figures.iter().find(|figure| figure.name == name)?;
    Some(figure.value)
}

fn ratios(turns: &[(Peer, Vec<Result<Measured, String>>)]) -> Vec<Ratio> {
    let Some((_, ours)) = turns.iter().find(|(peer, _)| *peer == Peer::Openwork) else {
        return Vec::new();
    };
    let names = ours
        .iter()
        .flatten()
        .next()
        .map(|first| first.figures.iter().map(|f| &f.name));
    let mut ratios = Vec::new();
    for (peer, theirs) in turns.iter().filter(|(peer, _)| *peer != Peer::Openwork) {
        for name in names.clone().into_iter().flatten() {
            let rounds = ours.iter().zip(theirs);
            let quotients = rounds.filter_map(|(ours, theirs)| {
                let (ours, theirs) = (ours.as_ref().ok()?, theirs.as_ref().ok()?);
                let quotient = value(ours, name)? / value(theirs, name)?;
                quotient.is_finite().then_some(quotient)
            });
            if let Some(spread) = Spread::of(quotients.collect()) {
                ratios.push(Ratio {
                    peer: *peer,
                    figure: name.clone(),
                    spread,
                });
            }
        }
    }
    ratios
}

fn verdicts(bench: &Bench, peers: &[PeerLine], ratios: &[Ratio]) -> Vec<Verdict> {
    let measured = |figure: &str, at_most| match at_most {
        Limit::Of(peer, _) => {
            let mut found = ratios
                .iter()
                .filter(|r| r.peer == peer && r.figure == figure);
            Some(found.next()?.spread.median)
        }
        Limit::Value(_) => {
            let ours = peers.iter().find(|line| line.peer == Peer::Openwork)?;
            let mut found = ours.figures.iter().filter(|line| line.name == figure);
            Some(found.next()?.spread.median)
        }
    };
    bench
        .goals
        .iter()
        .filter_map(|goal| {
            Some(Verdict {
                figure: goal.figure,
                at_most: goal.at_most,
                measured: measured(goal.figure, goal.at_most)?,
            })
        })
        .collect()
}

/// Watches what others do on this machine while something is measured.
#[derive(Debug)]
pub(crate) struct Neighbours {
    began: Instant,
    machine: Option<Duration>,
    own: Option<Duration>,
}

impl Neighbours {
    pub(crate) fn watch() -> Neighbours {
        Neighbours {
            began: Instant::now(),
            machine: host::machine_busy(),
            own: host::own_busy(),
        }
    }

    /// Processors that others kept busy since then.
    pub(crate) fn busy(&self) -> Option<f64> {
        let wall = self.began.elapsed().as_secs_f64();
        let grown = |now: Option<Duration>, then: Option<Duration>| {
            Some(now?.as_secs_f64() - then?.as_secs_f64())
        };
        let machine = grown(host::machine_busy(), self.machine)?;
        let own = grown(host::own_busy(), self.own)?;
        Some(((machine - own) / wall).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::named;
    use crate::measure::TIME;

    fn yield_alone() -> &'static Bench {
        named("yield_alone")[0]
    }

    fn measured(value: f64) -> Result<Measured, String> {
        Ok(Measured {
            figures: vec![Figure::new(TIME, "ns", value)],
            others: Some(0.0),
        })
    }

    #[test]
    fn the_order_is_rotated_and_everybody_has_a_turn_a_round() {
        let mut order = Vec::new();
        run(
            yield_alone(),
            1,
            &[Peer::Openwork, Peer::Go, Peer::Threads],
            2,
            |peer| {
                order.push(peer);
                measured(1.0)
            },
            |_| true,
        );
        let expected = [
            Peer::Openwork,
            Peer::Go,
            Peer::Threads,
            Peer::Go,
            Peer::Threads,
            Peer::Openwork,
        ];
        assert_eq!(order, expected);
    }

    #[test]
    fn a_ratio_is_taken_within_a_round() {
        // The machine is twice as slow in the second round; the ratio is not.
        let mut ours = [10.0, 20.0, 10.0].into_iter();
        let mut theirs = [50.0, 100.0, 40.0].into_iter();
        let line = run(
            yield_alone(),
            1,
            &[Peer::Openwork, Peer::Go],
            3,
            |peer| {
                let runs = match peer {
                    Peer::Openwork => &mut ours,
                    _ => &mut theirs,
                };
                measured(runs.next().unwrap())
            },
            |_| true,
        );
        let ratio = &line.ratios[0].spread;
        assert_eq!((ratio.min, ratio.median, ratio.max), (0.2, 0.2, 0.25));
        let [verdict] = line.verdicts[..] else {
            panic!("{:?}", line.verdicts);
        };
        assert!(verdict.is_met(), "{verdict:?}");
    }

    #[test]
    fn a_round_that_failed_leaves_the_others() {
        let mut round = 0;
        let line = run(
            yield_alone(),
            1,
            &[Peer::Openwork],
            3,
            |_| {
                round += 1;
                if round == 2 {
                    Err("broken".to_owned())
                } else {
                    measured(f64::from(round))
                }
            },
            |_| true,
        );
        assert_eq!(line.peers[0].failed.as_deref(), Some("broken"));
        assert_eq!(line.peers[0].figures[0].spread.runs, [1.0, 3.0]);
    }

    #[test]
    fn rounds_end_when_nobody_wants_more() {
        let mut turns = 0;
        run(
            yield_alone(),
            1,
            &[Peer::Openwork],
            5,
            |_| measured(1.0),
            |_| {
                turns += 1;
                turns < 2
            },
        );
        assert_eq!(turns, 2);
    }

    #[test]
    fn others_are_disturbing_when_they_take_what_is_needed() {
        let busy = |others| {
            vec![Ok(Measured {
                figures: Vec::new(),
                others: Some(others),
            })]
        };
        let all = host::cores();
        assert_eq!(peer_line(Peer::Go, &busy(0.5), all).disturbed, 1);
        assert_eq!(peer_line(Peer::Go, &busy(0.01), all).disturbed, 0);
    }
}
