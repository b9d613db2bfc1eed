//! Replays the corpus of every fuzz target.

use std::collections::BTreeSet;
use std::path::PathBuf;

use holdall_fuzz_targets::TARGETS;

/// A seed whose name starts with `ok` is to be accepted, one with `bad` to be
/// refused. Others were found by the fuzzer; they only must do no harm.
#[test]
fn every_seed_does_what_its_name_says() {
    let mut wrong = Vec::new();
    for (name, target) in TARGETS {
        let mut replayed = 0;
        for entry in corpus().join(name).read_dir().expect(name) {
            let path = entry.expect(name).path();
            let data = std::fs::read(&path).expect("a seed is read");
            // A panic shows the name of the seed, as it is the last one said.
            eprintln!("{}", path.display());
            let accepted = target(&data);
            let seed = path.file_name().unwrap_or_default().to_string_lossy();
            let expected = match seed.split('-').next() {
                Some("ok") => true,
                Some("bad") => false,
                _ => accepted,
            };
            if accepted != expected {
                wrong.push(format!("{name}/{seed} was accepted: {accepted}"));
            }
            replayed += 1;
        }
        assert!(replayed >= 10, "{name} has only {replayed} seeds");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_folder_of_the_corpus_has_its_target() {
    let folders: BTreeSet<_> = corpus()
        .read_dir()
        .expect("the corpus")
        .map(|entry| {
            entry
                .expect("a folder")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let targets: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(folders, targets);
}

fn corpus() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../corpus"))
}
