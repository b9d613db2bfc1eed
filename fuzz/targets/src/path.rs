use holdall_core::{Doc, Index, Path, Sort};

use crate::{lines, refused};

/// A path in the first line, a doc in the rest. What is read is written and
/// read again as the same path, and holds nothing that no doc can hold.
pub fn path(data: &[u8]) -> bool {
    let Some([text, doc]) = lines(data) else {
        return false;
    };
    let path = match Path::parse(text) {
        Ok(path) => path,
        Err(error) => {
            refused(&error);
            return false;
        }
    };
    let written = path.to_string();
    assert_eq!(
        Path::parse(&written).ok().as_ref(),
        Some(&path),
        "{written}"
    );
    if let Path::Doc(segments) = &path {
        assert!(segments.iter().all(|segment| !segment.contains('\0')));
    }
    for sort in [Sort::by(path.clone()), Sort::by(path.clone()).descending()] {
        assert_eq!(Sort::parse(&sort.to_string()).ok().as_ref(), Some(&sort));
    }
    let _any_answer_will_do = Index::on([path.clone()]).unique().validate();
    if let Ok(doc) = Doc::parse(doc.to_owned()) {
        let whole = doc.value().expect("a doc");
        let found = doc.at(&path).expect("a doc");
        assert_eq!(found.as_ref(), path.in_doc(&whole));
    }
    true
}
