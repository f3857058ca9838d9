//! The table: one line per path, printed as soon as it is measured.

use anyhow::{Result, ensure};

use crate::measure::Rounds;

/// A path to measure.
pub struct Path {
    /// The name; a filter matches any part of it.
    pub name: &'static str,
    /// What it is compared with.
    pub floor: &'static str,
    /// The unit of its figures.
    pub unit: Unit,
    /// The goal.
    pub reach: Reach,
}

/// The unit of a figure.
#[derive(Clone, Copy)]
pub enum Unit {
    /// Events per second, from seconds per event.
    Rate,
    /// A time, from seconds.
    Time,
    /// Bytes.
    Bytes,
}

/// A goal.
#[derive(Clone, Copy)]
pub enum Reach {
    /// At least this ratio to the floor's speed.
    Speed(f64),
    /// At most this ratio to the floor's cost.
    Cost(f64),
    /// At most this many seconds; of a rate, seconds per event.
    Seconds(f64),
    /// None: the ratio of the speeds is only reported.
    Report,
}

/// Prints the results.
pub struct Report {
    filter: String,
    /// The names that do not match the filter.
    unmatched: Vec<&'static str>,
    lines: usize,
}

impl Report {
    /// A report on the paths whose names contain `filter`.
    pub fn new(filter: Option<String>) -> Self {
        Self { filter: filter.unwrap_or_default().to_lowercase(), unmatched: Vec::new(), lines: 0 }
    }

    /// Whether the filter selects the path.
    pub fn wants(&mut self, path: &Path) -> bool {
        let wanted = path.name.to_lowercase().contains(&self.filter);
        if !wanted {
            self.unmatched.push(path.name);
        }
        wanted
    }

    /// Reports on a path with a floor.
    pub fn compared(&mut self, path: &Path, rounds: &Rounds) {
        let mut ratios = rounds.costs();
        if !matches!(path.reach, Reach::Cost(_)) {
            ratios = ratios.into_iter().rev().map(|cost| 1.0 / cost).collect();
        }
        self.line(path, rounds.path(), Some((rounds.floor(), ratios)));
    }

    /// Reports on a figure that is the same in every round, and its floor.
    pub fn constant(&mut self, path: &Path, measured: f64, floor: f64) {
        self.line(path, measured, Some((floor, vec![measured / floor])));
    }

    /// Reports on a path that has no floor.
    pub fn alone(&mut self, path: &Path, measured: f64) {
        self.line(path, measured, None);
    }

    /// `ratios` ascend.
    fn line(&mut self, path: &Path, measured: f64, floor: Option<(f64, Vec<f64>)>) {
        if self.lines == 0 {
            println!("Each ratio is the median of the rounds, followed by the minimum and the maximum.\n");
            print_line(["path", "floor", "measured", "floor's", "ratio", "goal", "reached"]);
        }
        self.lines += 1;
        let ratio = floor.as_ref().map(|(_, ratios)| ratios[ratios.len() / 2]);
        let (wanted, reached) = match (path.reach, ratio) {
            (Reach::Speed(least), Some(ratio)) => (format!(">= {least}"), Some(ratio >= least)),
            (Reach::Cost(most), Some(ratio)) => (format!("<= {most}"), Some(ratio <= most)),
            (Reach::Seconds(most), _) => {
                let sign = if matches!(path.unit, Unit::Rate) { ">=" } else { "<=" };
                (format!("{sign} {}", path.unit.format(most)), Some(measured <= most))
            }
            (Reach::Speed(_) | Reach::Cost(_), None) | (Reach::Report, _) => ("-".into(), None),
        };
        let spread = match &floor {
            Some((_, ratios)) if ratios.len() > 1 => {
                format!(" ({}..{})", times(ratios[0]), times(ratios[ratios.len() - 1]))
            }
            _ => String::new(),
        };
        print_line([
            path.name,
            path.floor,
            &path.unit.format(measured),
            &floor.map_or("-".into(), |(floor, _)| path.unit.format(floor)),
            &ratio.map_or("-".into(), |ratio| format!("{}{spread}", times(ratio))),
            &wanted,
            reached.map_or("-", |reached| if reached { "yes" } else { "no" }),
        ]);
    }

    /// Fails when the filter matches no path.
    pub fn end(self) -> Result<()> {
        let names = self.unmatched.join("\n  ");
        ensure!(self.lines > 0, "no path matches `{}`; the paths are\n  {names}", self.filter);
        Ok(())
    }
}

fn print_line([path, floor, measured, floors, ratio, wanted, reached]: [&str; 7]) {
    println!("{path:<45} {floor:<38} {measured:>9} {floors:>9}  {ratio:<18} {wanted:<9} {reached}");
}

impl Unit {
    fn format(self, value: f64) -> String {
        match self {
            Self::Rate => rate(1.0 / value),
            Self::Time => time(value),
            Self::Bytes if value >= 1e6 => format!("{:.0} MB", value / 1e6),
            Self::Bytes => format!("{value:.0} B"),
        }
    }
}

fn rate(each_second: f64) -> String {
    match each_second {
        many if many >= 1e6 => format!("{:.2} M/s", many / 1e6),
        many if many >= 1e3 => format!("{:.0} k/s", many / 1e3),
        few => format!("{few:.0} /s"),
    }
}

/// A ratio with two significant digits.
fn times(ratio: f64) -> String {
    if ratio < 0.1 { format!("{ratio:.4}") } else { format!("{ratio:.2}") }
}

fn time(seconds: f64) -> String {
    match seconds {
        long if long >= 1e-3 => format!("{:.1} ms", long * 1e3),
        short if short >= 1e-5 => format!("{:.0} us", short * 1e6),
        short if short >= 1e-6 => format!("{:.2} us", short * 1e6),
        tiny => format!("{:.0} ns", tiny * 1e9),
    }
}
