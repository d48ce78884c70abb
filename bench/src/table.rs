//! Results as text, for a terminal.

use std::fmt::{self, Write as _};

use crate::catalogue::{CATALOGUE, Limit};
use crate::host::Machine;
use crate::measure::{CPU, TIME};
use crate::peer::Peer;
use crate::rounds::{Line, PeerLine, Verdict};
use crate::statistics::Spread;

/// The benches with their questions.
pub fn catalogue() -> String {
    let mut text = String::new();
    let mut group = "";
    for bench in CATALOGUE {
        if bench.group != group {
            group = bench.group;
            let _infallible = writeln!(text, "{group}");
        }
        let _infallible = writeln!(text, "  {:<18} {}", bench.name, bench.question);
    }
    text
}

/// What the figures belong to.
#[derive(Clone, Debug)]
pub struct Heading<'a> {
    /// Where.
    pub machine: &'a Machine,
    /// Of what.
    pub commit: Option<&'a str>,
    /// Which Go they are compared with.
    pub go: Option<&'a str>,
    /// How often.
    pub rounds: u32,
    /// Whether our workers recorded turns and thefts.
    pub recorder: bool,
}

impl fmt::Display for Heading<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = "unknown";
        write!(
            f,
            "{}, {} cores, {}; commit {}{}; recorder {}; {} round{}",
            self.machine.cpu.as_deref().unwrap_or(unknown),
            self.machine.cores,
            self.machine.kernel.as_deref().unwrap_or(unknown),
            self.commit.unwrap_or(unknown),
            self.go
                .map_or(String::new(), |version| format!("; {version}")),
            if self.recorder { "on" } else { "off" },
            self.rounds,
            if self.rounds == 1 { "" } else { "s" },
        )
    }
}

/// One bench: for each figure a row per peer, with our share of theirs.
pub fn line(line: &Line) -> String {
    let mut text = format!(
        "{}, {} worker{}: {}\n",
        line.bench.name,
        line.workers,
        if line.workers == 1 { "" } else { "s" },
        line.bench.question
    );
    for (name, unit) in figures(line) {
        let what = match name {
            TIME => format!("{unit} per {}", line.bench.operation),
            _ => format!("{name}, {unit}"),
        };
        let with_cpu = name == TIME;
        let cpu = if with_cpu { "cpu" } else { "" };
        let heads = ["min", "median", "max", cpu].map(|head| format!("{head:>10}"));
        let _infallible = writeln!(text, "  {what:<26}{}", heads.concat());
        for peer in &line.peers {
            row(&mut text, line, peer, name, with_cpu);
        }
    }
    remarks(&mut text, &line.peers);
    for verdict in &line.verdicts {
        let _infallible = writeln!(text, "  {}", goal(verdict));
    }
    text
}

/// Names and units of the figures, each once; `cpu` has its column beside `time`.
fn figures(line: &Line) -> Vec<(&str, &str)> {
    let mut names: Vec<(&str, &str)> = Vec::new();
    for figure in line.peers.iter().flat_map(|peer| &peer.figures) {
        let seen = names.iter().any(|(name, _)| *name == figure.name);
        if !seen && (figure.name != CPU || line.bench.figure == CPU) {
            names.push((&figure.name, &figure.unit));
        }
    }
    names
}

fn row(text: &mut String, line: &Line, peer: &PeerLine, name: &str, with_cpu: bool) {
    let find = |name: &str| peer.figures.iter().find(|figure| figure.name == name);
    let Some(figure) = find(name) else { return };
    let Spread {
        min, median, max, ..
    } = figure.spread;
    let _infallible = write!(
        text,
        "    {:<24}{:>10}{:>10}{:>10}",
        peer.peer.name(),
        digits(min),
        digits(median),
        digits(max)
    );
    let cpu = find(CPU).filter(|_| with_cpu);
    let cpu = cpu.map_or(String::new(), |cpu| digits(cpu.spread.median));
    let _infallible = write!(text, "{cpu:>10}");
    let mut ratios = line.ratios.iter();
    if let Some(ratio) = ratios.find(|ratio| ratio.peer == peer.peer && ratio.figure == name) {
        let Spread {
            min, median, max, ..
        } = ratio.spread;
        let _infallible = write!(
            text,
            "   openwork is {median:.2} of it ({min:.2} to {max:.2})"
        );
        let cpu = line
            .ratios
            .iter()
            .filter(|cpu| cpu.peer == peer.peer && cpu.figure == CPU);
        for cpu in cpu.filter(|_| with_cpu) {
            let _infallible = write!(text, ", {:.2} in cpu", cpu.spread.median);
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
}

fn remarks(text: &mut String, peers: &[PeerLine]) {
    for peer in peers {
        if let Some(why) = &peer.failed {
            let _infallible = writeln!(text, "  {} failed: {why}", peer.peer);
        }
    }
    let disturbed: Vec<_> = peers
        .iter()
        .filter(|peer| peer.disturbed > 0)
        .map(|peer| format!("{} {}", peer.peer.name(), peer.disturbed))
        .collect();
    if disturbed.is_empty() {
        return;
    }
    let busy = peers
        .iter()
        .filter_map(|peer| peer.others)
        .fold(0.0, f64::max);
    let _infallible = writeln!(
        text,
        "  disturbed rounds: {}; others kept up to {busy:.1} processors busy: look at cpu first",
        disturbed.join(", ")
    );
}

/// A goal and what became of it, in a sentence.
pub fn goal(verdict: &Verdict) -> String {
    let bound = match verdict.at_most {
        Limit::Of(peer, share) => format!("{share} of {}", peer.name()),
        Limit::Value(value) => digits(value),
    };
    let measured = match verdict.at_most {
        Limit::Of(..) => format!("{:.2}", verdict.measured),
        Limit::Value(_) => digits(verdict.measured),
    };
    let end = if verdict.is_met() { "met" } else { "missed" };
    format!(
        "goal: {} at most {bound}: {measured}, {end}",
        verdict.figure
    )
}

/// Three digits that mean something.
pub fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// All lines in one table: what ours took, and its share of each peer's, in wall time or what the bench is about, and in
/// processor time behind the stroke.
pub fn summary(lines: &[Line]) -> String {
    let peers: Vec<_> = Peer::ALL
        .into_iter()
        .skip(1)
        .filter(|peer| {
            lines
                .iter()
                .any(|line| line.ratios.iter().any(|r| r.peer == *peer))
        })
        .collect();
    let mut text = format!("{:<24}{:>22}", "openwork, median", "");
    for peer in &peers {
        let _infallible = write!(text, "{:>14}", format!("of {}", peer.name()));
    }
    text.push('\n');
    for line in lines {
        let name = format!("{}, {}", line.bench.name, line.workers);
        let ours = line.peers.iter().filter(|peer| peer.peer == Peer::Openwork);
        let mut ours = ours.flat_map(|ours| &ours.figures);
        let shown = ours.find(|figure| figure.name == line.bench.figure);
        let value = shown.map_or("failed".to_owned(), |figure| {
            format!(
                "{} {} {}",
                digits(figure.spread.median),
                figure.unit,
                figure.name
            )
        });
        let _infallible = write!(text, "{name:<24}{value:>22}");
        for peer in &peers {
            let _infallible = write!(text, "{:>14}", shares(line, *peer));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

fn shares(line: &Line, peer: Peer) -> String {
    let ratio = |name: &str| {
        let mut found = line
            .ratios
            .iter()
            .filter(|r| r.peer == peer && r.figure == name);
        found
            .next()
            .map(|ratio| format!("{:.2}", ratio.spread.median))
    };
    let first = ratio(line.bench.figure).unwrap_or_default();
    match ratio(CPU).filter(|_| line.bench.figure != CPU) {
        Some(cpu) => format!("{first} / {cpu}"),
        None => first,
    }
}

/// The peers that are not compared with, each with the reason; `go` is why the Go program is missing.
pub(crate) fn left_out(go: Option<&str>) -> Vec<String> {
    let mut lines: Vec<_> = go
        .map(|why| format!("go is left out: {why}"))
        .into_iter()
        .collect();
    if !Peer::Tokio.is_built_in() {
        let how = "tokio and may are left out: build with `--features peers` to compare with them";
        lines.push(how.to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::named;
    use crate::measure::Figure;
    use crate::rounds::{Measured, run};

    fn measured(time: f64, others: f64) -> Result<Measured, String> {
        Ok(Measured {
            figures: vec![
                Figure::new(TIME, "ns", time),
                Figure::new(CPU, "ns", time + 1.0),
            ],
            others: Some(others),
        })
    }

    #[test]
    fn a_line_shows_figures_ratios_goals_and_failures() {
        let bench = named("yield_alone")[0];
        let peers = [Peer::Openwork, Peer::Go, Peer::May];
        let workers = crate::host::cores();
        let measure = |peer| match peer {
            Peer::Openwork => measured(12.0, 0.0),
            Peer::Go => measured(48.0, 0.5),
            _ => Err("signal: 6".to_owned()),
        };
        let text = line(&run(bench, workers, &peers, 2, measure, |_| true));
        for part in [
            "ns per yield                     min    median       max       cpu",
            "openwork                      12.0      12.0      12.0      13.0\n",
            "48.0      49.0   openwork is 0.25 of it (0.25 to 0.25), 0.27 in cpu\n",
            "may failed: signal: 6",
            "disturbed rounds: go 2; others kept up to 0.5 processors busy",
            "goal: time at most 0.2 of go: 0.25, missed",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }

    #[test]
    fn the_summary_has_a_row_a_line_and_a_column_a_peer() {
        let bench = named("yield_alone")[0];
        let measure = |peer| match peer {
            Peer::Openwork => measured(12.0, 0.0),
            _ => measured(48.0, 0.0),
        };
        let lines = [run(
            bench,
            1,
            &[Peer::Openwork, Peer::Go],
            1,
            measure,
            |_| true,
        )];
        let text = summary(&lines);
        let rows: Vec<_> = text
            .lines()
            .map(|row| row.split_whitespace().collect::<Vec<_>>())
            .collect();
        assert_eq!(rows[0], ["openwork,", "median", "of", "go"]);
        assert_eq!(
            rows[1],
            [
                "yield_alone,",
                "1",
                "12.0",
                "ns",
                "time",
                "0.25",
                "/",
                "0.27"
            ]
        );
        assert_eq!(rows.len(), 2);
    }

    #[test]
    fn values_keep_three_digits() {
        let cases = [
            (1234.5, "1234"),
            (99.96, "100"),
            (12.34, "12.3"),
            (0.126, "0.13"),
        ];
        for (value, expected) in cases {
            assert_eq!(digits(value), expected);
        }
    }

    #[test]
    fn the_list_has_every_bench_under_its_group() {
        let text = catalogue();
        for bench in CATALOGUE {
            assert!(
                text.contains(bench.name) && text.contains(bench.group),
                "{}",
                bench.name
            );
        }
    }
}
