//! Rounds in turns: A B C, B C A, …, so that what disturbs the machine
//! disturbs all of them.

use crate::Result;

/// What is measured, and the rate of each round in operations a second.
pub(crate) struct Contender<'a> {
    pub(crate) name: &'static str,
    /// Does one round; answers operations and nanoseconds.
    pub(crate) round: Box<dyn FnMut(usize) -> Result<Work> + 'a>,
}

impl<'a> Contender<'a> {
    pub(crate) fn new(name: &'static str, round: impl FnMut(usize) -> Result<Work> + 'a) -> Self {
        Self {
            name,
            round: Box::new(round),
        }
    }
}

/// What a round did.
#[derive(Clone, Copy)]
pub(crate) struct Work {
    pub(crate) operations: u64,
    pub(crate) nanos: u128,
}

/// The rates of one contender, a round each.
pub(crate) struct Rates {
    pub(crate) name: &'static str,
    pub(crate) rates: Vec<f64>,
}

impl Rates {
    pub(crate) fn median(&self) -> f64 {
        median(&self.rates)
    }

    /// How this one stands to another: the ratio of the medians, and the least
    /// and the greatest ratio of a round.
    pub(crate) fn over(&self, other: &Self) -> Ratio {
        let each = || self.rates.iter().zip(&other.rates).map(|(a, b)| a / b);
        Ratio {
            median: self.median() / other.median(),
            least: each().fold(f64::INFINITY, f64::min),
            most: each().fold(0.0, f64::max),
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

/// One round to warm up, which is not counted, then `rounds` that are.
pub(crate) fn run(rounds: usize, contenders: &mut [Contender<'_>]) -> Result<Vec<Rates>> {
    let mut all: Vec<Rates> = contenders
        .iter()
        .map(|contender| Rates {
            name: contender.name,
            rates: Vec::new(),
        })
        .collect();
    for round in 0..=rounds {
        let count = contenders.len().max(1);
        for turn in 0..count {
            let at = (turn + round) % count;
            let (Some(contender), Some(rates)) = (contenders.get_mut(at), all.get_mut(at)) else {
                continue;
            };
            let work =
                (contender.round)(round).map_err(|error| format!("{}: {error}", contender.name))?;
            if round > 0 {
                rates
                    .rates
                    .push(work.operations as f64 * 1e9 / work.nanos.max(1) as f64);
            }
        }
    }
    Ok(all)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
