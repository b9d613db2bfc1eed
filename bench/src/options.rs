//! The arguments of a run.

use std::path::PathBuf;

use crate::{Result, scenarios, size};

pub(crate) const HELP: &str = "\
cargo xtask bench [SCENARIO]… [OPTION]…

  --rounds N       rounds that are counted, in turns; 5 by default
  --lines FILE     JSON lines to import; 63,000 made-up records without it
  --key PATH       the path of the key in these lines; `key` by default
  --rows N         rows that are queried; 1000000 by default
  --body SIZE      the large body, like 512MiB or 10GiB; 1GiB by default
  --dir FOLDER     where the files lie; beside the built programs by default
  --no-peers       leaves OpenDAL out

Scenarios, all by default:
";

pub(crate) enum Asked {
    Help,
    Run(Options),
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    scenarios: Vec<String>,
    pub(crate) rounds: usize,
    pub(crate) lines: Option<PathBuf>,
    pub(crate) key: String,
    pub(crate) rows: u64,
    pub(crate) body: u64,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) peers: bool,
}

impl Options {
    pub(crate) fn read(arguments: &[String]) -> Result<Asked> {
        let mut options = Self {
            scenarios: Vec::new(),
            rounds: 5,
            lines: None,
            key: "key".to_owned(),
            rows: 1_000_000,
            body: 1 << 30,
            dir: None,
            peers: true,
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || {
                rest.next()
                    .ok_or_else(|| format!("{argument} wants a value"))
            };
            match argument.as_str() {
                "--help" | "-h" => return Ok(Asked::Help),
                "--rounds" => options.rounds = number::<usize>(argument, value()?)?.max(1),
                "--lines" => options.lines = Some(value()?.into()),
                "--key" => options.key.clone_from(value()?),
                "--rows" => options.rows = number::<u64>(argument, value()?)?.max(1000),
                "--body" => options.body = size::parse(value()?)?,
                "--dir" => options.dir = Some(value()?.into()),
                "--no-peers" => options.peers = false,
                name if scenarios::ALL.iter().any(|known| known.name == name) => {
                    options.scenarios.push(name.to_owned());
                }
                other => {
                    return Err(format!(
                        "{other:?} is no scenario and no option; --help lists them"
                    )
                    .into());
                }
            }
        }
        Ok(Asked::Run(options))
    }

    pub(crate) fn wants(&self, scenario: &str) -> bool {
        self.scenarios.is_empty() || self.scenarios.iter().any(|wanted| wanted == scenario)
    }
}

fn number<T: std::str::FromStr>(option: &str, text: &str) -> Result<T> {
    text.parse()
        .map_err(|_| format!("{option} wants a number, not {text:?}").into())
}
