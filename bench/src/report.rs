//! Says where each stands.

use crate::options::Options;
use crate::rounds::{Rates, Ratio};

/// What is wanted of a number.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// Only to be seen.
    None,
}

impl Target {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(wanted) => value >= wanted,
            Self::AtMost(wanted) => value <= wanted,
            Self::None => true,
        }
    }

    fn show(self) -> String {
        match self {
            Self::AtLeast(wanted) => format!("at least {wanted}"),
            Self::AtMost(wanted) => format!("at most {wanted}"),
            Self::None => String::new(),
        }
    }
}

pub(crate) struct Report {
    lines: Vec<String>,
}

impl Report {
    pub(crate) fn new(options: &Options) -> Self {
        println!(
            "Medians of {} rounds in turns; the rates are of this machine and this hour, the ratios are what counts.",
            options.rounds
        );
        Self { lines: Vec::new() }
    }

    pub(crate) fn heading(&self, name: &str, what: &str) {
        println!("\n## {name}: {what}");
    }

    /// A part of a scenario and the rates in it.
    pub(crate) fn part(&self, title: &str, all: &[Rates]) {
        println!("\n{title}");
        for rates in all {
            println!("  {:<28} {:>14}/s", rates.name, grouped(rates.median()));
        }
    }

    pub(crate) fn note(&self, note: &str) {
        println!("  {note}");
    }

    /// A ratio and its target.
    pub(crate) fn ratio(&mut self, what: &str, ratio: Ratio, target: Target) {
        let range = format!("({:.2} to {:.2})", ratio.least, ratio.most);
        self.line(what, ratio.median, &range, target);
    }

    /// A number that is no ratio.
    pub(crate) fn number(&mut self, what: &str, value: f64, unit: &str, target: Target) {
        self.line(what, value, unit, target);
    }

    fn line(&mut self, what: &str, value: f64, beside: &str, target: Target) {
        let verdict = match target {
            Target::None => "",
            _ if target.is_met(value) => "reached",
            _ => "MISSED",
        };
        let line = format!(
            "{what:<58} {value:>8.2} {beside:<18} {:<16} {verdict}",
            target.show()
        );
        let line = line.trim_end().to_owned();
        println!("  {line}");
        self.lines.push(line);
    }

    /// Something that is wanted and that holds or not.
    pub(crate) fn holds(&mut self, what: &str, holds: bool) {
        let line = format!("{what:<58} {}", if holds { "yes" } else { "MISSED: no" });
        println!("  {line}");
        self.lines.push(line);
    }

    pub(crate) fn not_measured(&mut self, what: &str, why: &str) {
        let line = format!("{what:<58} not measured: {why}");
        println!("  {line}");
        self.lines.push(line);
    }

    pub(crate) fn summary(&self) {
        println!("\n## summary");
        for line in &self.lines {
            println!("  {line}");
        }
    }
}

fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
